//! The places of the inner length that a panel's unit holds: one value in f32, or two in bf16.
//!
//! Owns how values become units and what one unit adds to a sum. It must not know where panels lie.

#![expect(
    clippy::inline_always,
    reason = "a kernel compiled for some instructions must hold all that it calls, or that is compiled without them"
)]

use super::Gemm;
use super::dots::{self, Rows};
use super::lanes::{Bf16Pairs, Lanes, Stored, pair};
use super::nibbles::{self, Nibbles};

/// How a stretch of the inner length is put in units of 32 bits.
#[expect(unsafe_code, reason = "registers are loaded through pointers")]
pub trait Places<L: Lanes> {
    /// Places of a unit.
    const COUNT: usize;

    /// Eight units of one line, from place `at` on, a multiple of eight times [`COUNT`](Self::COUNT).
    ///
    /// # Safety
    /// For all functions here: the processor has the instructions of `L`, and all the values that are named are there. In a unit of several,
    /// [`across`](Self::across) and [`line`](Self::line) begin at a multiple of what a register holds.
    unsafe fn along<E: Stored>(from: *const E, at: usize) -> L::Eight;

    /// A register of units of neighbouring lines: values from place `at` on, each with those of the next lines, `stride` units of `E` apart.
    unsafe fn across<E: Stored>(from: *const E, stride: usize, at: usize) -> L;

    /// As many neighbours of one line as a register of units takes, from place `at` on.
    unsafe fn line<E: Stored>(from: *const E, at: usize) -> L;

    /// Values of two registers as units of one, the first one's before the second's, as far as [`COUNT`](Self::COUNT) registers go.
    unsafe fn join(first: L, second: L) -> L;

    /// `LINES` lines of blocks of four bits a number, from `column` on, with `ROWS` rows from `row` on.
    ///
    /// # Safety
    /// As [`Stored::group`].
    unsafe fn nibbles<E: Nibbles, const LINES: usize, const ROWS: usize>(
        problem: &Gemm<'_, E>,
        column: usize,
        row: usize,
        rows: Rows,
    );

    /// One unit of up to [`COUNT`](Self::COUNT) values; what is missing is zero.
    fn unit(values: impl Iterator<Item = f32>) -> f32;

    unsafe fn multiply_add(left: L, right: L, sum: L) -> L;
}

/// One value, in f32.
pub(crate) struct Single;

#[expect(unsafe_code, reason = "as above")]
impl<L: Lanes> Places<L> for Single {
    const COUNT: usize = 1;

    #[inline(always)]
    unsafe fn along<E: Stored>(from: *const E, at: usize) -> L::Eight {
        // SAFETY: as the caller promises: eight units are eight values here, and `at` is a multiple of eight.
        unsafe { E::load(from, at) }
    }

    #[inline(always)]
    unsafe fn across<E: Stored>(from: *const E, _: usize, at: usize) -> L {
        // SAFETY: as the caller promises: a register of values from `at` on, of one line.
        unsafe { E::load(from, at) }
    }

    #[inline(always)]
    unsafe fn line<E: Stored>(from: *const E, at: usize) -> L {
        // SAFETY: as the caller promises: a register of units is one of values here.
        unsafe { E::load(from, at) }
    }

    #[inline(always)]
    unsafe fn join(first: L, _: L) -> L {
        first
    }

    #[inline(always)]
    unsafe fn nibbles<E: Nibbles, const LINES: usize, const ROWS: usize>(
        problem: &Gemm<'_, E>,
        column: usize,
        row: usize,
        rows: Rows,
    ) {
        // SAFETY: it asks for what `Stored::group` does, which the caller promises; rows that are not put in pairs are single values.
        unsafe { dots::group_of_blocks::<L, E, LINES, ROWS>(problem, column, row, rows) }
    }

    #[inline(always)]
    fn unit(mut values: impl Iterator<Item = f32>) -> f32 {
        values.next().unwrap_or(0.0)
    }

    #[inline(always)]
    unsafe fn multiply_add(left: L, right: L, sum: L) -> L {
        // SAFETY: the caller has the instructions of `L`, and no memory is touched.
        unsafe { left.multiply_add(right, sum) }
    }
}

/// Two values, rounded to the nearest bf16; their products are added up in f32.
pub(crate) struct InPairs;

#[expect(unsafe_code, reason = "as above")]
impl<L: Bf16Pairs> Places<L> for InPairs {
    const COUNT: usize = 2;

    #[inline(always)]
    unsafe fn along<E: Stored>(from: *const E, at: usize) -> L::Eight {
        // SAFETY: as the caller promises: eight units are sixteen values, and `at` is a multiple of sixteen.
        unsafe { E::load_pairs::<L>(from, at) }
    }

    #[inline(always)]
    unsafe fn across<E: Stored>(from: *const E, stride: usize, at: usize) -> L {
        // SAFETY: as the caller promises: a register of values from `at` on, of this line and of the next one.
        unsafe { L::pair(E::load(from, at), E::load(from.wrapping_add(stride), at)) }
    }

    #[inline(always)]
    unsafe fn line<E: Stored>(from: *const E, at: usize) -> L {
        // SAFETY: as the caller promises: two values for each unit of the register.
        unsafe { E::load_line(from, at) }
    }

    #[inline(always)]
    unsafe fn join(first: L, second: L) -> L {
        // SAFETY: the caller has the instructions of `L`, and no memory is touched.
        unsafe { L::line(first, second) }
    }

    #[inline(always)]
    unsafe fn nibbles<E: Nibbles, const LINES: usize, const ROWS: usize>(
        problem: &Gemm<'_, E>,
        column: usize,
        row: usize,
        rows: Rows,
    ) {
        // SAFETY: it asks for what `Stored::group` does, which the caller promises; rows for four bits are put in pairs in the order it wants.
        unsafe { nibbles::group::<L, E, LINES, ROWS>(problem, column, row, rows) }
    }

    #[inline(always)]
    fn unit(mut values: impl Iterator<Item = f32>) -> f32 {
        let mut next = || values.next().unwrap_or(0.0);
        pair(next(), next())
    }

    #[inline(always)]
    unsafe fn multiply_add(left: L, right: L, sum: L) -> L {
        // SAFETY: the caller has the instructions of `L`, and no memory is touched.
        unsafe { L::dot_pairs(left, right, sum) }
    }
}
