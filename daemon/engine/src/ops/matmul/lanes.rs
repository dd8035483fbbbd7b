//! What a kernel needs of a vector register, and the registers of a processor that this crate does not know.

#![expect(
    clippy::inline_always,
    reason = "a kernel compiled for some instructions must hold all that it calls, or that is compiled without them"
)]

use half::{bf16, f16};

use super::{Problem, dots};

/// Bytes of a cache's line.
pub(super) const LINE: usize = 64;

/// A register of f32 values.
#[expect(
    unsafe_code,
    reason = "registers are loaded through pointers, by instructions that the processor must have"
)]
pub(crate) trait Lanes: Copy {
    const COUNT: usize;

    /// # Safety
    /// For all functions here: the processor has the instructions, and pointers hold [`Self::COUNT`] values.
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
    /// Asks for the line at `at` ahead of its use. Any address will do.
    unsafe fn prefetch<E>(at: *const E);
    /// The same, to the second cache.
    unsafe fn prefetch_far<E>(at: *const E);
    /// Eight rows of eight values, `from_stride` units apart, to eight columns: `to[j * to_stride + i]` is value `at + j` of row `i`, one
    /// column after the other, so that where they overlap the later ones stay.
    unsafe fn transpose8<E: Stored>(
        from: *const E,
        at: usize,
        from_stride: usize,
        to: *mut f32,
        to_stride: usize,
    );
}

/// How the values of a line lie in memory: in units, which are values of their own or blocks that share a factor.
#[expect(unsafe_code, reason = "as above")]
pub(crate) trait Stored: Copy + Send + Sync {
    /// Values in a unit: 1, or a multiple of 32.
    const VALUES: usize;

    /// The value at a place of the unit, exactly.
    fn widen(&self, at: usize) -> f32;

    /// As many values as a register holds from place `at` on, which is a multiple of eight: of this unit, or where units are single
    /// values, of those behind it.
    ///
    /// # Safety
    /// They are there, and the processor has the instructions of `L`.
    unsafe fn load<L: Lanes>(from: *const Self, at: usize) -> L;

    /// Whether [`group`](Self::group) wants the left side's [`lane_sums`](super::blocks::lane_sums), and what times.
    const SUMS_TIMES: Option<f32> = None;

    /// `LINES` lines of the right side from `column` on with `ROWS` rows of the left from `row` on: a part of [`dots`](super::dots::dots).
    ///
    /// # Safety
    /// As there; `sums` holds what [`SUMS_TIMES`](Self::SUMS_TIMES) asks for, row after row.
    unsafe fn group<L: Lanes, const LINES: usize, const ROWS: usize>(
        problem: &Problem<'_, Self>,
        column: usize,
        row: usize,
        sums: *const f32,
    );
}

macro_rules! stored_alone {
    ($type:ty, $load:ident, $widen:expr) => {
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
                unsafe { L::$load(from.wrapping_add(at)) }
            }

            #[inline(always)]
            unsafe fn group<L: Lanes, const LINES: usize, const ROWS: usize>(
                problem: &Problem<'_, Self>,
                column: usize,
                row: usize,
                _: *const f32,
            ) {
                unsafe { dots::group_of_values::<L, Self, LINES, ROWS>(problem, column, row) }
            }
        }
    };
}

stored_alone!(f32, load, |value| value);
// `bf16::to_f32` would also quieten a signalling NaN; every path here only moves the bits.
stored_alone!(bf16, load_bf16, |value| f32::from_bits(u32::from(value.to_bits()) << 16));
stored_alone!(f16, load_f16, f16::to_f32);

/// Plain Rust, which the compiler turns into the vector instructions that every processor of the target has.
#[derive(Clone, Copy)]
pub(super) struct Portable([f32; 8]);

#[expect(unsafe_code, reason = "as above")]
impl Lanes for Portable {
    const COUNT: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        Self(unsafe { from.cast::<[bf16; 8]>().read_unaligned() }.map(|value| value.widen(0)))
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        Self(unsafe { from.cast::<[f16; 8]>().read_unaligned() }.map(f16::to_f32))
    }

    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        Self(unsafe { from.cast::<[i8; 8]>().read_unaligned() }.map(f32::from))
    }

    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self {
        Self(unsafe { from.cast::<[u8; 8]>().read_unaligned() }.map(f32::from))
    }

    #[inline(always)]
    unsafe fn load_nibbles(from: *const u8) -> (Self, Self) {
        let bytes = unsafe { from.cast::<[u8; 8]>().read_unaligned() };
        (Self(bytes.map(|byte| f32::from(byte & 15))), Self(bytes.map(|byte| f32::from(byte >> 4))))
    }

    #[inline(always)]
    unsafe fn load_six_bits<const QUARTER: u32>(low: *const u8, high: *const u8) -> Self {
        let low = unsafe { low.cast::<[u8; 8]>().read_unaligned() };
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
    unsafe fn transpose8<E: Stored>(
        from: *const E,
        at: usize,
        from_stride: usize,
        to: *mut f32,
        to_stride: usize,
    ) {
        let rows: [Self; 8] = std::array::from_fn(|i| unsafe { E::load(from.add(i * from_stride), at) });
        for j in 0..8 {
            for (i, row) in rows.iter().enumerate() {
                unsafe { *to.add(j * to_stride + i) = row.0[j] }
            }
        }
    }
}
