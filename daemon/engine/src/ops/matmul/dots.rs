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

use super::block::Scratch;
use super::blocks::{Block, SUMMED, lane_sums};
use super::lanes::{LINE, Lanes, Stored};
use super::{Problem, Start};

/// Lines of the right side that are worked on together: a task's columns are a multiple of it.
pub(super) const LINES: usize = 12;

/// The memory of the lines behind a group, asked for piece by piece in its own order: that is what memory is fastest at, and the order in
/// which several lines at a time are read is not.
struct Ahead {
    next: *const u8,
    /// Bytes that were due so far, less those that were asked for.
    due: usize,
}

impl Ahead {
    /// Short lines pass in less time than the memory needs: at least so many bytes ahead.
    const LEAST: usize = 4 << 10;

    /// What lies behind `lines` lines from `column` on.
    #[inline(always)]
    fn new<E: Stored>(problem: &Problem<'_, E>, column: usize, lines: usize) -> Self {
        let bytes = (problem.right.stride * size_of::<E>()).max(1);
        let lines = column + lines.max(Self::LEAST / bytes);
        Self { next: problem.right.values.as_ptr().wrapping_add(lines * problem.right.stride).cast(), due: 0 }
    }

    /// Asks for as much as `bytes` that were read meanwhile.
    #[inline(always)]
    #[expect(unsafe_code, reason = "as `dots`")]
    unsafe fn fetch<L: Lanes>(&mut self, bytes: usize) {
        self.due = self.due.wrapping_add(bytes);
        while self.due >= LINE {
            unsafe { L::prefetch(self.next) };
            self.next = self.next.wrapping_add(LINE);
            self.due = self.due.wrapping_sub(LINE);
        }
    }
}

/// One task: columns of the result for all rows.
///
/// # Safety
/// The problem is checked, its left side has rows and its right side columns that are close together, `columns` lie inside it and belong
/// to this task alone, and the processor has the instructions of `L`.
#[inline(always)]
#[expect(unsafe_code, reason = "registers are loaded through pointers")]
pub(super) unsafe fn dots<L: Lanes, E: Stored>(
    problem: &Problem<'_, E>,
    columns: Range<usize>,
    scratch: &mut Scratch,
) {
    let mut column = columns.start;
    let (sums, _) =
        scratch.parts(E::SUMS_TIMES.map_or(0, |_| problem.rows * problem.inner / SUMMED * L::COUNT), 0);
    let sums = sums.as_mut_ptr();
    unsafe {
        if let Some(times) = E::SUMS_TIMES {
            for row in 0..problem.rows {
                let values = problem.left.values.as_ptr().add(row * problem.left.stride);
                let to = sums.add(row * problem.inner / SUMMED * L::COUNT);
                lane_sums::<L>(values, problem.inner, times, to);
            }
        }
        match problem.rows {
            1 => column = sweep::<L, E, 4, 1>(problem, column..columns.end, sums),
            2 => column = sweep::<L, E, 4, 2>(problem, column..columns.end, sums),
            3 => column = sweep::<L, E, 4, 3>(problem, column..columns.end, sums),
            _ => {
                // The lines stay in a cache near by while the rows pass in fours.
                while columns.end - column >= 3 {
                    rows_in_fours::<L, E, 3>(problem, column, sums);
                    column += 3;
                }
            }
        }
        while column < columns.end {
            rows_in_fours::<L, E, 1>(problem, column, sums);
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
    sums: *const f32,
) -> usize {
    let mut column = columns.start;
    while columns.end - column >= LINES {
        unsafe { E::group::<L, LINES, ROWS>(problem, column, 0, sums) };
        column += LINES;
    }
    column
}

#[inline(always)]
#[expect(unsafe_code, reason = "as `dots`")]
unsafe fn rows_in_fours<L: Lanes, E: Stored, const LINES: usize>(
    problem: &Problem<'_, E>,
    column: usize,
    sums: *const f32,
) {
    let mut row = 0;
    unsafe {
        while row + 4 <= problem.rows {
            E::group::<L, LINES, 4>(problem, column, row, sums);
            row += 4;
        }
        match problem.rows - row {
            1 => E::group::<L, LINES, 1>(problem, column, row, sums),
            2 => E::group::<L, LINES, 2>(problem, column, row, sums),
            3 => E::group::<L, LINES, 3>(problem, column, row, sums),
            _ => {}
        }
    }
}

#[inline(always)]
#[expect(unsafe_code, reason = "as `dots`")]
pub(super) unsafe fn group_of_values<L: Lanes, E: Stored, const LINES: usize, const ROWS: usize>(
    problem: &Problem<'_, E>,
    column: usize,
    row: usize,
) {
    let (stride, inner) = (problem.right.stride, problem.inner);
    let left_stride = problem.left.stride;
    // The first rows to pass fetch the lines of a later group.
    let fetches = row == 0;
    let mut ahead = Ahead::new(problem, column, LINES);
    let mut sums = [[unsafe { L::splat(0.0) }; ROWS]; LINES];
    unsafe {
        let right = problem.right.values.as_ptr().add(column * stride);
        let left = problem.left.values.as_ptr().add(row * left_stride);
        let whole = inner / L::COUNT * L::COUNT;
        let mut at = 0;
        while at < whole {
            if fetches {
                ahead.fetch::<L>(LINES * L::COUNT * size_of::<E>());
            }
            let mut values = [L::splat(0.0); ROWS];
            for row in 0..ROWS {
                values[row] = L::load(left.add(row * left_stride + at));
            }
            for line in 0..LINES {
                let weights = E::load::<L>(right.add(line * stride), at);
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
        finish(problem, column, row, sums);
    }
}

/// The same for units of several values.
#[inline(always)]
#[expect(unsafe_code, reason = "as `dots`")]
pub(super) unsafe fn group_of_blocks<L: Lanes, E: Block, const LINES: usize, const ROWS: usize>(
    problem: &Problem<'_, E>,
    column: usize,
    row: usize,
    row_sums: *const f32,
) {
    let row_sum_step = E::VALUES / SUMMED * L::COUNT;
    let sums_per_row = problem.inner / SUMMED * L::COUNT;
    let fetches = row == 0;
    let mut ahead = Ahead::new(problem, column, LINES);
    // Pointers that move, by wrapping sums: inside a checked problem none overflows, and checks cost a part of the speed.
    let (mut lines, mut values, mut row_sums) =
        ([problem.right.values.as_ptr(); LINES], [problem.left.values.as_ptr(); ROWS], [row_sums; ROWS]);
    for line in 0..LINES {
        lines[line] = lines[line].wrapping_add((column + line) * problem.right.stride);
    }
    for row_of in 0..ROWS {
        values[row_of] = values[row_of].wrapping_add((row + row_of) * problem.left.stride);
        row_sums[row_of] = row_sums[row_of].wrapping_add((row + row_of) * sums_per_row);
    }
    unsafe {
        let mut sums = [[L::splat(0.0); ROWS]; LINES];
        for _ in 0..problem.inner / E::VALUES {
            if fetches {
                ahead.fetch::<L>(LINES * size_of::<E>());
            }
            for line in 0..LINES {
                sums[line] = E::add_products::<L, ROWS>(lines[line], values, row_sums, sums[line]);
                lines[line] = lines[line].wrapping_add(1);
            }
            for row_of in 0..ROWS {
                values[row_of] = values[row_of].wrapping_add(E::VALUES);
                row_sums[row_of] = row_sums[row_of].wrapping_add(row_sum_step);
            }
        }
        finish(problem, column, row, sums);
    }
}

/// Writes a group's sums.
#[inline(always)]
#[expect(unsafe_code, reason = "as `dots`")]
unsafe fn finish<L: Lanes, E, const LINES: usize, const ROWS: usize>(
    problem: &Problem<'_, E>,
    column: usize,
    row: usize,
    sums: [[L; ROWS]; LINES],
) {
    for row_of in 0..ROWS {
        unsafe {
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
    let mut values = [0.0; 16];
    debug_assert!(count < L::COUNT && L::COUNT <= values.len());
    unsafe {
        for at in 0..count {
            values[at] = (*from.add(at)).widen(0);
        }
        L::load(values.as_ptr())
    }
}
