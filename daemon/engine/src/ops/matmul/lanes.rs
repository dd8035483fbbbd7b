//! What a kernel needs of a vector register, and the registers of a processor that this crate does not know.

#![expect(
    clippy::inline_always,
    reason = "a kernel compiled for some instructions must hold all that it calls, or that is compiled without them"
)]

use half::{bf16, f16};

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
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    /// `self * factor + sum`.
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self;
    /// The sum of the values, always in the same order.
    unsafe fn total(self) -> f32;
    /// Asks for the line at `at` ahead of its use. Any address will do.
    unsafe fn prefetch<E>(at: *const E);
    /// The same, to the second cache.
    unsafe fn prefetch_far<E>(at: *const E);
    /// Eight rows of eight values, `from_stride` apart, to eight columns: `to[j * to_stride + i] = from[i * from_stride + j]`, one column
    /// after the other, so that where they overlap the later ones stay.
    unsafe fn transpose8<E: Stored>(from: *const E, from_stride: usize, to: *mut f32, to_stride: usize);
}

/// How a value of the right side lies in memory.
#[expect(unsafe_code, reason = "as above")]
pub(crate) trait Stored: Copy + Send + Sync {
    const ZERO: Self;

    fn widen(self) -> f32;

    /// # Safety
    /// As [`Lanes::load`].
    unsafe fn load<L: Lanes>(from: *const Self) -> L;
}

#[expect(unsafe_code, reason = "as above")]
impl Stored for f32 {
    const ZERO: Self = 0.0;

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self) -> L {
        unsafe { L::load(from) }
    }
}

#[expect(unsafe_code, reason = "as above")]
impl Stored for bf16 {
    const ZERO: Self = bf16::ZERO;

    #[inline(always)]
    fn widen(self) -> f32 {
        // `bf16::to_f32` would also quieten a signalling NaN; every path here only moves the bits.
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self) -> L {
        unsafe { L::load_bf16(from) }
    }
}

#[expect(unsafe_code, reason = "as above")]
impl Stored for f16 {
    const ZERO: Self = f16::ZERO;

    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self) -> L {
        unsafe { L::load_f16(from) }
    }
}

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
        Self(unsafe { from.cast::<[bf16; 8]>().read_unaligned() }.map(Stored::widen))
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        Self(unsafe { from.cast::<[f16; 8]>().read_unaligned() }.map(Stored::widen))
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
    unsafe fn transpose8<E: Stored>(from: *const E, from_stride: usize, to: *mut f32, to_stride: usize) {
        for j in 0..8 {
            for i in 0..8 {
                unsafe { *to.add(j * to_stride + i) = from.add(i * from_stride + j).read_unaligned().widen() }
            }
        }
    }
}
