//! Products with few rows whose right side has its rows close together: each of them is read once and added, weighted, to all rows of the
//! result, which stay in registers.
//!
//! Attention of a few queries mixes its values so.

#![expect(
    clippy::inline_always,
    reason = "a kernel compiled for some instructions must hold all that it calls, or that is compiled without them"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "numbers of registers: the loops are unrolled, and the shape of the code is the shape of the tile"
)]

use std::ops::Range;

use super::lanes::{Lanes, Stored};
use super::{Accumulate, Gemm};

/// Up to so many rows on the left; with more, laying the right side out pays for itself.
pub(crate) const ROWS: usize = 8;
/// Rows of the right side that are asked for ahead of their use.
const AHEAD: usize = 8;

/// One task: columns of the result for all rows.
///
/// # Safety
/// The problem is checked, both sides have rows that are close together, `columns` lie inside it, begin at a multiple of 32 and belong to this
/// task alone, and the processor has the instructions of `L`.
#[inline(always)]
#[expect(unsafe_code, reason = "registers are loaded through pointers")]
pub(crate) unsafe fn weighted<L: Lanes, E: Stored>(problem: &Gemm<'_, E>, columns: Range<usize>) {
    let mut row = 0;
    while row < problem.rows {
        let step = (problem.rows - row).min(4);
        // SAFETY: as the caller promises; `step` rows from `row` on are the problem's.
        unsafe {
            match step {
                1 => rows::<L, E, 1, 8>(problem, row, columns.clone()),
                2 => rows::<L, E, 2, 4>(problem, row, columns.clone()),
                3 => rows::<L, E, 3, 4>(problem, row, columns.clone()),
                _ => rows::<L, E, 4, 2>(problem, row, columns.clone()),
            }
        }
        row += step;
    }
}

/// # Safety
/// As [`weighted`], and the problem has `ROWS` rows from `row` on.
#[inline(always)]
#[expect(unsafe_code, reason = "as `weighted`")]
unsafe fn rows<L: Lanes, E: Stored, const ROWS: usize, const VECTORS: usize>(
    problem: &Gemm<'_, E>,
    row: usize,
    columns: Range<usize>,
) {
    let mut column = columns.start;
    // SAFETY: strips take whole registers, as many as the columns hold. What is left is read and written one by one, at rows, places and columns of
    // the checked problem; a right side's row holds whole units, so that each column is in one.
    unsafe {
        while columns.end - column >= VECTORS * L::COUNT {
            strip::<L, E, ROWS, VECTORS>(problem, row, column);
            column += VECTORS * L::COUNT;
        }
        while columns.end - column >= L::COUNT {
            strip::<L, E, ROWS, 1>(problem, row, column);
            column += L::COUNT;
        }
        for column in column..columns.end {
            for row in row..row + ROWS {
                // Wrapping: with no inner length, there may be no such row in memory.
                let left = problem.left.values.as_ptr().wrapping_add(row * problem.left.stride);
                let mut sum = 0.0;
                for at in 0..problem.inner {
                    let unit = problem.right.values.as_ptr().add(at * problem.right.stride);
                    sum += *left.add(at) * (*unit.add(column / E::VALUES)).widen(column % E::VALUES);
                }
                let to = problem.target.0.add(row * problem.target_stride + column);
                *to = match problem.start {
                    Accumulate::Zero => sum,
                    Accumulate::Target => *to + sum,
                    Accumulate::Bias(bias) => bias[column] + sum,
                };
            }
        }
    }
}

/// `VECTORS` registers of columns for `ROWS` rows.
///
/// # Safety
/// As [`weighted`], and the problem has so many rows from `row` on and columns from `column` on, which is a multiple of what a register holds.
#[inline(always)]
#[expect(unsafe_code, reason = "as `weighted`")]
unsafe fn strip<L: Lanes, E: Stored, const ROWS: usize, const VECTORS: usize>(
    problem: &Gemm<'_, E>,
    row: usize,
    column: usize,
) {
    // SAFETY: as the caller promises: so many columns of each of the right side's rows, of the bias and of the result, and so many rows of the left
    // side and of the result. A unit of several holds a multiple of 32 values, so that no register reaches beyond its own.
    unsafe {
        let mut sums = [[L::splat(0.0); VECTORS]; ROWS];
        // Wrapping: with no inner length, there may be no such row in memory.
        let left = problem.left.values.as_ptr().wrapping_add(row * problem.left.stride);
        let right = problem.right.values.as_ptr();
        for at in 0..problem.inner {
            let line = right.add(at * problem.right.stride);
            for vector in 0..VECTORS {
                let place = column + vector * L::COUNT;
                let from = line.add(place / E::VALUES);
                L::prefetch(from.wrapping_add(AHEAD * problem.right.stride));
                let values = E::load::<L>(from, place % E::VALUES);
                for row_of in 0..ROWS {
                    let weight = L::splat(*left.add(row_of * problem.left.stride + at));
                    sums[row_of][vector] = values.multiply_add(weight, sums[row_of][vector]);
                }
            }
        }
        for row_of in 0..ROWS {
            let to = problem.target.0.add((row + row_of) * problem.target_stride + column);
            for vector in 0..VECTORS {
                let (sum, to) = (sums[row_of][vector], to.add(vector * L::COUNT));
                match problem.start {
                    Accumulate::Zero => sum,
                    Accumulate::Target => L::load(to).add(sum),
                    Accumulate::Bias(bias) => L::load(bias[column + vector * L::COUNT..].as_ptr()).add(sum),
                }
                .store(to);
            }
        }
    }
}
