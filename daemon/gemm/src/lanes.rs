//! What a kernel needs of a vector register, and the registers of a processor that this crate does not know.

#![expect(
    clippy::inline_always,
    reason = "a kernel compiled for some instructions must hold all that it calls, or that is compiled without them"
)]

use bytemuck::Pod;
use half::{bf16, f16};

use super::Gemm;
use super::blocks::BlockQ4_0;
use super::dots::{self, Rows};
use super::places::Places;

/// Bytes of a cache's line.
pub(crate) const LINE: usize = 64;

/// A register of f32 values.
#[expect(
    unsafe_code,
    reason = "registers are loaded through pointers, by instructions that the processor must have"
)]
pub trait Lanes: Copy {
    const COUNT: usize;
    /// A register of eight values.
    type Eight: Lanes;

    /// # Safety
    /// For all functions here: the processor has the instructions, and pointers hold [`Self::COUNT`] values, at any address. Where
    /// [`transpose8`](Self::transpose8) writes, eight columns of eight have room, and `to` is aligned.
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn load_bf16(from: *const bf16) -> Self;
    unsafe fn load_f16(from: *const f16) -> Self;
    unsafe fn load_i8(from: *const i8) -> Self;
    unsafe fn load_u8(from: *const u8) -> Self;
    /// The lower and the upper four bits of so many bytes.
    unsafe fn load_nibbles(from: *const u8) -> (Self, Self);
    /// Numbers of six bits, less 32: four bits of each lie in `low` (the lower ones in the first two quarters), two in `high`.
    unsafe fn load_six_bits<const QUARTER: u32>(low: *const u8, high: *const u8) -> Self;
    /// A value as it lies in a file, little-endian.
    unsafe fn splat_f16(bytes: [u8; 2]) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn multiply(self, factor: Self) -> Self;
    /// `self * factor + sum`.
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self;
    /// The sum of the values, always in the same order.
    unsafe fn total(self) -> f32;
    /// The [`total`](Self::total) of each, the same bits.
    #[inline(always)]
    unsafe fn totals(four: [Self; 4]) -> [f32; 4] {
        // SAFETY: it needs no more than this function, whose caller has the instructions.
        four.map(|values| unsafe { values.total() })
    }
    /// Asks for the line at `at` ahead of its use. Any address will do.
    unsafe fn prefetch<E>(at: *const E);
    /// The same, to the second cache.
    unsafe fn prefetch_far<E>(at: *const E);
    /// Eight rows to eight columns: `to[j * to_stride + i]` is value `j` of row `i`, one column after the other, so that where they
    /// overlap the later ones stay.
    unsafe fn transpose8(rows: [Self::Eight; 8], to: *mut f32, to_stride: usize);
}

/// A register whose places may also hold pairs of bf16 values, the first one in the lower half.
#[expect(unsafe_code, reason = "as above")]
pub trait Bf16Pairs: Lanes {
    /// Sixteen neighbours, rounded to the nearest bf16, in eight pairs.
    ///
    /// # Safety
    /// For all functions here: as for those of [`Lanes`]; a pointer to numbers holds [`COUNT`](Lanes::COUNT) bytes, and one to blocks as many
    /// as are named.
    unsafe fn pair_neighbours(first: Self::Eight, second: Self::Eight) -> Self::Eight;
    /// The same for two registers: neighbours of `first`, then those of `second`.
    unsafe fn line(first: Self, second: Self) -> Self;
    /// Each value of `first` with the one of `second`, rounded so.
    unsafe fn pair(first: Self, second: Self) -> Self;
    /// `sum + left.1 * right.1 + left.0 * right.0`, in f32, as Intel's manual has it for `VDPBF16PS`.
    unsafe fn dot_pairs(left: Self, right: Self, sum: Self) -> Self;
    /// The numbers of four bits, less `LESS`, in the lower halves of as many bytes at each pointer as there are places, and those in the upper ones.
    #[inline(always)]
    unsafe fn nibbles<const LESS: u8>(parts: [*const u8; 2]) -> [Self; 2] {
        // SAFETY: as the caller promises: the instructions, and `COUNT` bytes at each of both pointers.
        unsafe {
            let less = Self::splat(-f32::from(LESS));
            let [(first, first_upper), (second, second_upper)] = parts.map(|part| Self::load_nibbles(part));
            let line = |first: Self, second: Self| Self::line(first.add(less), second.add(less));
            [line(first, second), line(first_upper, second_upper)]
        }
    }
    /// The numbers of so many blocks of Q4_0 as a register of pairs holds of lower halves, less eight, those of the upper ones, and their factors, each in the
    /// places of its block. Where there are fewer blocks, the rest is zero.
    #[inline(always)]
    unsafe fn q4_0(from: *const BlockQ4_0, blocks: usize) -> ([Self; 2], Self) {
        debug_assert!(Self::COUNT == 8 && blocks == 1, "a register of another width has its own way");
        // SAFETY: the caller has a block at `from`. Its numbers are 16 bytes: eight for the eight places of a register, and eight more.
        unsafe {
            let numbers = (&raw const (*from).numbers).cast::<u8>();
            (Self::nibbles::<8>([numbers, numbers.wrapping_add(8)]), Self::splat_f16((*from).factor))
        }
    }
}

/// How the values of a line lie in memory: in units, which are values of their own or blocks that share a factor.
#[expect(unsafe_code, reason = "as above")]
pub trait Stored: Pod + Send + Sync {
    /// Values in a unit: 1, or a multiple of 32.
    const VALUES: usize;

    /// The value at a place of the unit, exactly.
    fn widen(&self, at: usize) -> f32;

    /// As many values as a register holds from place `at` on, which is a multiple of that: of this unit, or where units are single
    /// values, of those behind it.
    ///
    /// # Safety
    /// They are there, and the processor has the instructions of `L`.
    unsafe fn load<L: Lanes>(from: *const Self, at: usize) -> L;

    /// Whether a processor that multiplies bf16 values may take these for such: what is stored in fewer bits than f32's has no more to lose.
    const AS_BF16: bool;

    /// Sixteen values from place `at` on as eight pairs of bf16.
    ///
    /// # Safety
    /// As [`load`](Self::load).
    #[inline(always)]
    unsafe fn load_pairs<L: Bf16Pairs>(from: *const Self, at: usize) -> L::Eight {
        // SAFETY: as the caller promises: sixteen values from `at` on, which two registers of eight are.
        unsafe { L::pair_neighbours(Self::load(from, at), Self::load(from, at + 8)) }
    }

    /// As many values from place `at` on as a register holds in pairs of bf16.
    ///
    /// # Safety
    /// As [`load`](Self::load).
    #[inline(always)]
    unsafe fn load_line<L: Bf16Pairs>(from: *const Self, at: usize) -> L {
        // SAFETY: as the caller promises: twice `L::COUNT` values from `at` on, two for each place.
        unsafe { L::line(Self::load(from, at), Self::load(from, at + L::COUNT)) }
    }

    /// Where numbers have four bits, the bytes whose lower halves are the numbers before those of the upper ones: such numbers are put in pairs for
    /// few rows, too.
    const NIBBLES: Option<usize> = None;

    /// Whether [`group`](Self::group) wants the left side's sums, with so many places in a unit, and what times.
    #[inline(always)]
    fn sums_times(_places: usize) -> Option<f32> {
        None
    }

    /// `LINES` lines of the right side from `column` on with `ROWS` rows of the left from `row` on: a part of [`dots`](super::dots::dots).
    ///
    /// # Safety
    /// As there; `rows` are the left side's as it wants them.
    unsafe fn group<L: Lanes, P: Places<L>, const LINES: usize, const ROWS: usize>(
        problem: &Gemm<'_, Self>,
        column: usize,
        row: usize,
        rows: Rows,
    );
}

/// [`Stored::group`] by one of the functions for it, which may name its generics.
macro_rules! group {
    ($group:expr) => {
        #[inline(always)]
        unsafe fn group<L: Lanes, P: Places<L>, const LINES: usize, const ROWS: usize>(
            problem: &Gemm<'_, Self>,
            column: usize,
            row: usize,
            rows: Rows,
        ) {
            // SAFETY: it asks for what `Stored::group` does, which the caller promises.
            unsafe { $group(problem, column, row, rows) }
        }
    };
}
pub(crate) use group;

macro_rules! stored_alone {
    ($type:ty, $load:ident, $widen:expr, $as_bf16:expr, { $($load_pairs:item)* }) => {
        #[expect(unsafe_code, reason = "as above")]
        impl Stored for $type {
            const VALUES: usize = 1;

            #[inline(always)]
            fn widen(&self, _: usize) -> f32 {
                let widen: fn($type) -> f32 = $widen;
                widen(*self)
            }

            #[inline(always)]
            unsafe fn load<L: Lanes>(from: *const Self, at: usize) -> L {
                // SAFETY: as the caller promises: `L::COUNT` values lie from `at` on, for a unit is one.
                unsafe { L::$load(from.wrapping_add(at)) }
            }

            const AS_BF16: bool = $as_bf16;
            $($load_pairs)*

            group!(dots::group_of_values::<L, P, Self, LINES, ROWS>);
        }
    };
}

stored_alone!(f32, load, |value| value, false, {});
// `bf16::to_f32` would also quieten a signalling NaN; every path here only moves the bits.
stored_alone!(bf16, load_bf16, |value| f32::from_bits(u32::from(value.to_bits()) << 16), true, {
    #[inline(always)]
    unsafe fn load_pairs<L: Bf16Pairs>(from: *const Self, at: usize) -> L::Eight {
        // Neighbours in memory are pairs already. SAFETY: as the caller promises: sixteen values, which take the room of eight f32.
        unsafe { L::Eight::load(from.wrapping_add(at).cast()) }
    }

    #[inline(always)]
    unsafe fn load_line<L: Bf16Pairs>(from: *const Self, at: usize) -> L {
        // SAFETY: as the caller promises: twice `L::COUNT` values, which take the room of `L::COUNT` f32.
        unsafe { L::load(from.wrapping_add(at).cast()) }
    }
});
// It has three bits that bf16 has not.
stored_alone!(f16, load_f16, f16::to_f32, false, {});

/// Plain Rust, which the compiler turns into the vector instructions that every processor of the target has. What is left to the caller's
/// promise is memory alone.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 8]);

#[expect(unsafe_code, reason = "as above")]
impl Lanes for Portable {
    const COUNT: usize = 8;
    type Eight = Self;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller has eight values at `from`, and no alignment is asked for.
        Self(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        // SAFETY: the caller has eight values at `from`, and no alignment is asked for.
        Self(unsafe { from.cast::<[bf16; 8]>().read_unaligned() }.map(|value| value.widen(0)))
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: the caller has eight values at `from`, and no alignment is asked for.
        Self(unsafe { from.cast::<[f16; 8]>().read_unaligned() }.map(f16::to_f32))
    }

    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: the caller has eight values at `from`, and no alignment is asked for.
        Self(unsafe { from.cast::<[i8; 8]>().read_unaligned() }.map(f32::from))
    }

    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self {
        // SAFETY: the caller has eight values at `from`, and no alignment is asked for.
        Self(unsafe { from.cast::<[u8; 8]>().read_unaligned() }.map(f32::from))
    }

    #[inline(always)]
    unsafe fn load_nibbles(from: *const u8) -> (Self, Self) {
        // SAFETY: the caller has eight bytes at `from`.
        let bytes = unsafe { from.cast::<[u8; 8]>().read_unaligned() };
        (Self(bytes.map(|byte| f32::from(byte & 15))), Self(bytes.map(|byte| f32::from(byte >> 4))))
    }

    #[inline(always)]
    unsafe fn load_six_bits<const QUARTER: u32>(low: *const u8, high: *const u8) -> Self {
        // SAFETY: the caller has eight bytes at each of both pointers.
        let low = unsafe { low.cast::<[u8; 8]>().read_unaligned() };
        // SAFETY: as above.
        let high = unsafe { high.cast::<[u8; 8]>().read_unaligned() };
        Self(std::array::from_fn(|lane| {
            let low = low[lane] >> (QUARTER / 2 * 4) & 15;
            f32::from(low | (high[lane] >> (2 * QUARTER) & 3) << 4) - 32.0
        }))
    }

    #[inline(always)]
    unsafe fn splat_f16(bytes: [u8; 2]) -> Self {
        Self([f16::from_le_bytes(bytes).to_f32(); 8])
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller has room for eight values at `to`, and no alignment is asked for.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn add(mut self, other: Self) -> Self {
        for lane in 0..8 {
            self.0[lane] += other.0[lane];
        }
        self
    }

    #[inline(always)]
    unsafe fn multiply(mut self, factor: Self) -> Self {
        for lane in 0..8 {
            self.0[lane] *= factor.0[lane];
        }
        self
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, mut sum: Self) -> Self {
        for lane in 0..8 {
            // Without the instruction, a fused multiplication is a slow function call.
            sum.0[lane] = if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
                self.0[lane].mul_add(factor.0[lane], sum.0[lane])
            } else {
                self.0[lane] * factor.0[lane] + sum.0[lane]
            };
        }
        sum
    }

    #[inline(always)]
    unsafe fn total(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }

    #[inline(always)]
    unsafe fn prefetch<E>(_: *const E) {}

    #[inline(always)]
    unsafe fn prefetch_far<E>(_: *const E) {}

    #[inline(always)]
    unsafe fn transpose8(rows: [Self; 8], to: *mut f32, to_stride: usize) {
        for j in 0..8 {
            for (i, row) in rows.iter().enumerate() {
                // SAFETY: the caller has room for eight columns of eight, `to_stride` apart, at an aligned address.
                unsafe { *to.add(j * to_stride + i) = row.0[j] }
            }
        }
    }
}

/// The bits of a pair.
#[inline(always)]
pub(crate) fn pair(first: f32, second: f32) -> f32 {
    let half = |value: f32| u32::from(bf16::from_f32(value).to_bits());
    f32::from_bits(half(first) | half(second) << 16)
}

#[expect(unsafe_code, reason = "as above")]
impl Bf16Pairs for Portable {
    #[inline(always)]
    unsafe fn pair_neighbours(first: Self, second: Self) -> Self {
        Self(std::array::from_fn(|at| {
            let side = if at < 4 { first.0 } else { second.0 };
            pair(side[at % 4 * 2], side[at % 4 * 2 + 1])
        }))
    }

    #[inline(always)]
    unsafe fn line(first: Self, second: Self) -> Self {
        // SAFETY: plain Rust, which touches no memory.
        unsafe { Self::pair_neighbours(first, second) }
    }

    #[inline(always)]
    unsafe fn pair(first: Self, second: Self) -> Self {
        Self(std::array::from_fn(|at| pair(first.0[at], second.0[at])))
    }

    #[inline(always)]
    unsafe fn dot_pairs(left: Self, right: Self, sum: Self) -> Self {
        let halves = |value: f32| {
            let bits = value.to_bits();
            (f32::from_bits(bits << 16), f32::from_bits(bits & 0xffff_0000))
        };
        Self(std::array::from_fn(|at| {
            let (left, right) = (halves(left.0[at]), halves(right.0[at]));
            sum.0[at] + left.1 * right.1 + left.0 * right.0
        }))
    }
}
