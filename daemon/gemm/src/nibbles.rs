//! Few rows with numbers of four bits, in pairs of bf16: a whole number of so few bits is exact there, one look-up makes many of them, and their
//! factor waits until their products are added up. So what is rounded is only the rows.
//!
//! Owns the order in which rows lie for that, and what blocks of several lines add to their products. It must not know which rows and lines those are.

#![expect(
    clippy::inline_always,
    reason = "a kernel compiled for some instructions must hold all that it calls, or that is compiled without them"
)]
#![expect(clippy::needless_range_loop, reason = "numbers of registers: the loops are unrolled")]

use super::Gemm;
use super::blocks::{Block, BlockQ4_0, BlockQ4K, SUMMED, k_scales, times};
use super::dots::{Ahead, Rows, finish};
use super::lanes::{Bf16Pairs, Lanes, Stored};
use super::places::InPairs;

/// Blocks of numbers of four bits, which have [`NIBBLES`](Stored::NIBBLES).
#[expect(unsafe_code, reason = "registers are loaded through pointers")]
pub trait Nibbles: Block {
    /// `sums[line][row] + the line's blocks * rows[row]`, lane by lane: `blocks` of each line, up to [`step`].
    ///
    /// # Safety
    /// The lines have so many, and the rows the units for a whole step, in the order of [`place`], and their sums where
    /// [`sums_times`](Stored::sums_times) asks for them. The processor has the instructions of `L`.
    unsafe fn add_step<L: Bf16Pairs, const LINES: usize, const ROWS: usize>(
        lines: [*const Self; LINES],
        blocks: usize,
        rows: Rows,
        sums: [[L; ROWS]; LINES],
    ) -> [[L; ROWS]; LINES];
}

/// Blocks that fill two registers of units, or one that fills more.
const fn step(values: usize, width: usize) -> usize {
    if values < 2 * width { 2 * width / values } else { 1 }
}

/// Where in its row lies what a register of units begins with, `side` 0, and what its second half does, `side` 1: two registers are the lower and the
/// upper halves of the same bytes.
pub(crate) const fn place<L: Lanes>(bytes: usize, register: usize, side: usize) -> usize {
    let byte = (register / 2 * 2 + side) * L::COUNT;
    byte / bytes * 2 * bytes + register % 2 * bytes + byte % bytes
}

/// Those registers of a row that hold a part of [`SUMMED`] values, where that is one half of so many bytes.
pub(crate) fn registers<L: Lanes>(part: usize) -> impl Iterator<Item = usize> {
    let steps = SUMMED / (2 * L::COUNT);
    (0..steps).map(move |step| (part / 2 * steps + step) * 2 + part % 2)
}

/// `LINES` lines from `column` on with `ROWS` rows from `row` on.
///
/// # Safety
/// As [`Stored::group`]; the rows lie in the order of [`place`], filled up with zeros to whole steps.
#[inline(always)]
#[expect(unsafe_code, reason = "as above")]
pub(crate) unsafe fn group<L: Bf16Pairs, E: Nibbles, const LINES: usize, const ROWS: usize>(
    problem: &Gemm<'_, E>,
    column: usize,
    row: usize,
    rows: Rows,
) {
    let width = 2 * L::COUNT;
    let step = step(E::VALUES, width);
    let fetches = row == 0;
    let mut ahead = Ahead::new(problem, column, LINES);
    let mut rows = rows.later::<L, InPairs>(row, 0, 0);
    // Pointers that move, by wrapping sums: inside a checked problem none overflows, and checks cost a part of the speed.
    let mut lines = [problem.right.values.as_ptr(); LINES];
    for line in 0..LINES {
        lines[line] = lines[line].wrapping_add((column + line) * problem.right.stride);
    }
    // SAFETY: as the caller promises: each line has so many whole blocks, of which a step takes what is left at most, and each row the registers
    // and sums of whole steps; `LINES` columns from `column` on and `ROWS` rows from `row` on lie inside the result and are this task's.
    unsafe {
        let mut sums = [[L::splat(0.0); ROWS]; LINES];
        let mut left = problem.inner / E::VALUES;
        while left > 0 {
            if fetches {
                ahead.fetch::<L>(LINES * step * size_of::<E>());
            }
            sums = E::add_step::<L, LINES, ROWS>(lines, left.min(step), rows, sums);
            for line in &mut lines {
                *line = line.wrapping_add(step);
            }
            rows = rows.later::<L, InPairs>(0, step * E::VALUES / width, step * E::VALUES / SUMMED);
            left = left.saturating_sub(step);
        }
        finish(problem, column, row, sums);
    }
}

#[expect(unsafe_code, reason = "as above")]
impl Nibbles for BlockQ4_0 {
    #[inline(always)]
    unsafe fn add_step<L: Bf16Pairs, const LINES: usize, const ROWS: usize>(
        lines: [*const Self; LINES],
        blocks: usize,
        rows: Rows,
        mut sums: [[L; ROWS]; LINES],
    ) -> [[L; ROWS]; LINES] {
        // SAFETY: as the caller promises: so many blocks at each line, and both registers of units that a step takes of each row.
        unsafe {
            let mut weights = [[L::splat(0.0); 2]; LINES];
            let mut factors = [L::splat(0.0); LINES];
            for line in 0..LINES {
                (weights[line], factors[line]) = L::q4_0(lines[line], blocks);
            }
            for row in 0..ROWS {
                let values: [L; 2] = [rows.value::<L, InPairs>(row, 0), rows.value::<L, InPairs>(row, 1)];
                for line in 0..LINES {
                    let [low, high] = weights[line];
                    let product = L::dot_pairs(low, values[0], L::splat(0.0));
                    let product = L::dot_pairs(high, values[1], product);
                    sums[line][row] = product.multiply_add(factors[line], sums[line][row]);
                }
            }
        }
        sums
    }
}

#[expect(unsafe_code, reason = "as above")]
impl Nibbles for BlockQ4K {
    #[inline(always)]
    unsafe fn add_step<L: Bf16Pairs, const LINES: usize, const ROWS: usize>(
        lines: [*const Self; LINES],
        _: usize,
        rows: Rows,
        mut sums: [[L; ROWS]; LINES],
    ) -> [[L; ROWS]; LINES] {
        // SAFETY: as the caller promises: a block at each line, which is a whole step, with its units and the sums of its eight parts in each row.
        // A turn takes a register's places twice of the block's 128 bytes, and the turns end where those do.
        unsafe {
            let mut factors = [[0.0; 16]; LINES];
            let mut shifts = [[0.0; 16]; LINES];
            for line in 0..LINES {
                let (scale, shift) = k_scales(&(*lines[line]).scales);
                factors[line] = times(scale, L::splat_f16((*lines[line]).factor));
                shifts[line] = times(shift, L::splat_f16((*lines[line]).shift));
            }
            for step in 0..Self::VALUES / (4 * L::COUNT) {
                let byte = step * 2 * L::COUNT;
                let part = byte / SUMMED * 2;
                let mut weights = [[L::splat(0.0); 2]; LINES];
                for line in 0..LINES {
                    let numbers = (&raw const (*lines[line]).numbers).cast::<u8>().wrapping_add(byte);
                    weights[line] = L::nibbles::<0>([numbers, numbers.wrapping_add(L::COUNT)]);
                }
                for half in 0..2 {
                    for row in 0..ROWS {
                        let values: L = rows.value::<L, InPairs>(row, step * 2 + half);
                        for line in 0..LINES {
                            let product = L::dot_pairs(weights[line][half], values, L::splat(0.0));
                            let factor = L::splat(factors[line][part + half]);
                            sums[line][row] = product.multiply_add(factor, sums[line][row]);
                        }
                        if byte.is_multiple_of(SUMMED) {
                            let row_sum: L = rows.sum(row, part + half);
                            for line in 0..LINES {
                                let shift = L::splat(shifts[line][part + half]);
                                sums[line][row] = row_sum.multiply_add(shift, sums[line][row]);
                            }
                        }
                    }
                }
            }
        }
        sums
    }
}
