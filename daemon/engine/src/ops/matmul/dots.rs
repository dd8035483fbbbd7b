//! Products with few rows: each line of the right side is read once, straight from memory, and dotted with all rows of the left.
//!
//! What limits these is the memory's bandwidth, so lines are asked for ahead of their use.

#![expect(
    clippy::inline_always,
    reason = "a kernel compiled for some instructions must hold all that it calls, or that is compiled without them"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "numbers of registers: the loops are unrolled, and the shape of the code is the shape of the tile"
)]

use std::ops::Range;

use super::lanes::{LINE, Lanes, Stored};
use super::{Problem, Start};

/// Lines of the right side that are worked on together: a task's columns are a multiple of it.
pub(super) const LINES: usize = 12;

/// One task: columns of the result for all rows.
///
/// # Safety
/// The problem is checked, its left side has rows and its right side columns that are close together, `columns` lie inside it and belong
/// to this task alone, and the processor has the instructions of `L`.
#[inline(always)]
#[expect(unsafe_code, reason = "registers are loaded through pointers")]
pub(super) unsafe fn dots<L: Lanes, E: Stored>(problem: &Problem<'_, E>, columns: Range<usize>) {
    let mut column = columns.start;
    unsafe {
        match problem.rows {
            1 => column = sweep::<L, E, 4, 1>(problem, column..columns.end),
            2 => column = sweep::<L, E, 4, 2>(problem, column..columns.end),
            3 => column = sweep::<L, E, 4, 3>(problem, column..columns.end),
            _ => {
                // The lines stay in a cache near by while the rows pass in fours.
                while columns.end - column >= 3 {
                    rows_in_fours::<L, E, 3>(problem, column);
                    column += 3;
                }
            }
        }
        while column < columns.end {
            rows_in_fours::<L, E, 1>(problem, column);
            column += 1;
        }
    }
}

/// All whole groups of `LINES`; where the rest begins.
#[inline(always)]
#[expect(unsafe_code, reason = "as `dots`")]
unsafe fn sweep<L: Lanes, E: Stored, const LINES: usize, const ROWS: usize>(
    problem: &Problem<'_, E>,
    columns: Range<usize>,
) -> usize {
    let mut column = columns.start;
    while columns.end - column >= LINES {
        unsafe { group::<L, E, LINES, ROWS>(problem, column, 0) };
        column += LINES;
    }
    column
}

#[inline(always)]
#[expect(unsafe_code, reason = "as `dots`")]
unsafe fn rows_in_fours<L: Lanes, E: Stored, const LINES: usize>(problem: &Problem<'_, E>, column: usize) {
    let mut row = 0;
    unsafe {
        while row + 4 <= problem.rows {
            group::<L, E, LINES, 4>(problem, column, row);
            row += 4;
        }
        match problem.rows - row {
            1 => group::<L, E, LINES, 1>(problem, column, row),
            2 => group::<L, E, LINES, 2>(problem, column, row),
            3 => group::<L, E, LINES, 3>(problem, column, row),
            _ => {}
        }
    }
}

#[inline(always)]
#[expect(unsafe_code, reason = "as `dots`")]
unsafe fn group<L: Lanes, E: Stored, const LINES: usize, const ROWS: usize>(
    problem: &Problem<'_, E>,
    column: usize,
    row: usize,
) {
    let (stride, inner) = (problem.right.stride, problem.inner);
    let left_stride = problem.left.stride;
    // The first rows to pass fetch the lines of the next group.
    let fetches = row == 0;
    let mut sums = [[unsafe { L::splat(0.0) }; ROWS]; LINES];
    unsafe {
        let right = problem.right.values.as_ptr().add(column * stride);
        let left = problem.left.values.as_ptr().add(row * left_stride);
        let whole = inner / L::COUNT * L::COUNT;
        let per_line = LINE / size_of::<E>();
        let mut at = 0;
        while at < whole {
            if fetches && at % per_line == 0 {
                for line in 0..LINES {
                    L::prefetch(right.wrapping_add((LINES + line) * stride + at));
                }
            }
            let mut values = [L::splat(0.0); ROWS];
            for row in 0..ROWS {
                values[row] = L::load(left.add(row * left_stride + at));
            }
            for line in 0..LINES {
                let weights = E::load::<L>(right.add(line * stride + at));
                for row in 0..ROWS {
                    sums[line][row] = weights.multiply_add(values[row], sums[line][row]);
                }
            }
            at += L::COUNT;
        }
        if whole < inner {
            // The rest as one more register, filled up with zeros.
            let mut values = [L::splat(0.0); ROWS];
            for row in 0..ROWS {
                values[row] = rest::<L, f32>(left.add(row * left_stride + whole), inner - whole);
            }
            for line in 0..LINES {
                let weights = rest::<L, E>(right.add(line * stride + whole), inner - whole);
                for row in 0..ROWS {
                    sums[line][row] = weights.multiply_add(values[row], sums[line][row]);
                }
            }
        }
        for row_of in 0..ROWS {
            let target = problem.target.0.add((row + row_of) * problem.target_stride + column);
            for line in 0..LINES {
                let sum = sums[line][row_of].total();
                let at = target.add(line);
                *at = match problem.start {
                    Start::Zero => sum,
                    Start::Target => *at + sum,
                    Start::Bias(bias) => bias[column + line] + sum,
                };
            }
        }
    }
}

/// `count` values, fewer than a register holds.
#[inline(always)]
#[expect(unsafe_code, reason = "as `dots`")]
unsafe fn rest<L: Lanes, E: Stored>(from: *const E, count: usize) -> L {
    let mut values = [E::ZERO; 16];
    debug_assert!(count < L::COUNT && L::COUNT <= values.len());
    unsafe {
        values.as_mut_ptr().copy_from_nonoverlapping(from, count);
        E::load::<L>(values.as_ptr())
    }
}
