//! The registers of 64-bit ARM processors, all of which have NEON: two of four values side by side.

#![expect(clippy::inline_always, reason = "a kernel's innermost loop must hold all that it calls")]

use std::arch::aarch64::{
    float32x4_t, int16x8_t, uint16x4_t, uint16x8_t, uint32x4_t, vadd_f32, vaddq_f32, vaddq_u32, vand_u8,
    vandq_u32, vbslq_u32, vceqq_f32, vcombine_u16, vcvtq_f32_s32, vcvtq_f32_u32, vdup_n_u8, vdup_n_u16,
    vdupq_n_f32, vdupq_n_s32, vdupq_n_u32, vfmaq_f32, vget_high_f32, vget_high_s16, vget_high_u16,
    vget_lane_f32, vget_low_f32, vget_low_s16, vget_low_u16, vld1_s8, vld1_u8, vld1q_f32, vld1q_u16,
    vmovl_s8, vmovl_s16, vmovl_u8, vmovl_u16, vmulq_f32, vorr_u8, vorrq_u32, vreinterpretq_f32_f64,
    vreinterpretq_f32_u16, vreinterpretq_f32_u32, vreinterpretq_f64_f32, vreinterpretq_s32_u32,
    vreinterpretq_u32_f32, vshl_n_u8, vshlq_n_u32, vshr_n_u8, vshrn_n_u32, vshrq_n_u32, vst1q_f32, vsubq_s32,
    vtrn1q_f32, vtrn1q_f64, vtrn2q_f32, vtrn2q_f64,
};
use std::arch::asm;

use half::{bf16, f16};

use super::lanes::{Bf16Pairs, Lanes};

/// Eight values.
#[derive(Clone, Copy)]
pub(crate) struct Neon(float32x4_t, float32x4_t);

/// Applies one instruction to both halves.
macro_rules! both {
    ($apply:ident($($operand:expr),+)) => {
        Neon($apply($($operand.0),+), $apply($($operand.1),+))
    };
}

/// Eight whole numbers as f32 values.
///
/// # Safety
/// The processor has NEON.
#[expect(unsafe_code, reason = "vector instructions")]
#[inline(always)]
unsafe fn signed(values: int16x8_t) -> Neon {
    // SAFETY: NEON is there; no memory is touched.
    unsafe {
        let half = |values| vcvtq_f32_s32(vmovl_s16(values));
        Neon(half(vget_low_s16(values)), half(vget_high_s16(values)))
    }
}

/// The same without a sign.
///
/// # Safety
/// The processor has NEON.
#[expect(unsafe_code, reason = "vector instructions")]
#[inline(always)]
unsafe fn unsigned(values: uint16x8_t) -> Neon {
    // SAFETY: NEON is there; no memory is touched.
    unsafe {
        let half = |values| vcvtq_f32_u32(vmovl_u16(values));
        Neon(half(vget_low_u16(values)), half(vget_high_u16(values)))
    }
}

/// Four f16 values. The standard library's form of the instruction is not stable.
///
/// # Safety
/// The processor has NEON.
#[expect(unsafe_code, reason = "vector instructions")]
#[inline(always)]
unsafe fn widen_f16(halves: uint16x4_t) -> float32x4_t {
    let wide: float32x4_t;
    // SAFETY: NEON is there; the instruction reads one register and writes another, as the operands say.
    unsafe {
        asm!(
            "fcvtl {wide:v}.4s, {halves:v}.4h",
            wide = lateout(vreg) wide,
            halves = in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    wide
}

#[expect(unsafe_code, reason = "vector instructions")]
impl Lanes for Neon {
    const COUNT: usize = 8;
    type Eight = Self;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: NEON is there; no memory is touched.
        unsafe { Self(vdupq_n_f32(value), vdupq_n_f32(value)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: NEON is there, and the caller has eight values at `from`; the instruction asks for no alignment, as for all that follow.
        unsafe { Self(vld1q_f32(from), vld1q_f32(from.wrapping_add(4))) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        // SAFETY: NEON is there, and the caller has eight values at `from`, two bytes each.
        unsafe {
            let halves = vld1q_u16(from.cast());
            let wide = |half| vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(half)));
            Self(wide(vget_low_u16(halves)), wide(vget_high_u16(halves)))
        }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: NEON is there, and the caller has eight values at `from`, two bytes each.
        unsafe {
            let halves = vld1q_u16(from.cast());
            Self(widen_f16(vget_low_u16(halves)), widen_f16(vget_high_u16(halves)))
        }
    }

    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: NEON is there, and the caller has eight bytes at `from`.
        unsafe { signed(vmovl_s8(vld1_s8(from))) }
    }

    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self {
        // SAFETY: NEON is there, and the caller has eight bytes at `from`.
        unsafe { unsigned(vmovl_u8(vld1_u8(from))) }
    }

    #[inline(always)]
    unsafe fn load_nibbles(from: *const u8) -> (Self, Self) {
        // SAFETY: NEON is there, and the caller has eight bytes at `from`.
        unsafe {
            let bytes = vld1_u8(from);
            let low = vand_u8(bytes, vdup_n_u8(15));
            (unsigned(vmovl_u8(low)), unsigned(vmovl_u8(vshr_n_u8::<4>(bytes))))
        }
    }

    #[inline(always)]
    unsafe fn load_six_bits<const QUARTER: u32>(low: *const u8, high: *const u8) -> Self {
        // SAFETY: NEON is there, and the caller has eight bytes at each of both pointers.
        unsafe {
            let (low, high) = (vld1_u8(low), vld1_u8(high));
            let low = match QUARTER {
                0 | 1 => vand_u8(low, vdup_n_u8(15)),
                _ => vshr_n_u8::<4>(low),
            };
            let high = match QUARTER {
                0 => vshl_n_u8::<4>(high),
                1 => vshl_n_u8::<2>(high),
                2 => high,
                _ => vshr_n_u8::<2>(high),
            };
            let number = vmovl_u8(vorr_u8(low, vand_u8(high, vdup_n_u8(0x30))));
            let less = |half| {
                let number = vreinterpretq_s32_u32(vmovl_u16(half));
                vcvtq_f32_s32(vsubq_s32(number, vdupq_n_s32(32)))
            };
            Self(less(vget_low_u16(number)), less(vget_high_u16(number)))
        }
    }

    #[inline(always)]
    unsafe fn splat_f16(bytes: [u8; 2]) -> Self {
        // SAFETY: NEON is there; no memory is touched.
        unsafe {
            let values = widen_f16(vdup_n_u16(u16::from_le_bytes(bytes)));
            Self(values, values)
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: NEON is there, and the caller has room for eight values at `to`.
        unsafe {
            vst1q_f32(to, self.0);
            vst1q_f32(to.wrapping_add(4), self.1);
        }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: NEON is there; no memory is touched.
        unsafe { both!(vaddq_f32(self, other)) }
    }

    #[inline(always)]
    unsafe fn multiply(self, factor: Self) -> Self {
        // SAFETY: NEON is there; no memory is touched.
        unsafe { both!(vmulq_f32(self, factor)) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: NEON is there; no memory is touched.
        unsafe { both!(vfmaq_f32(sum, self, factor)) }
    }

    #[inline(always)]
    unsafe fn total(self) -> f32 {
        // SAFETY: NEON is there; no memory is touched.
        unsafe {
            let four = vaddq_f32(self.0, self.1);
            let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
            vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
        }
    }

    #[inline(always)]
    unsafe fn prefetch<E>(at: *const E) {
        // The standard library's form is not stable. SAFETY: every processor of 64 bits has the instruction, and it faults at no address.
        unsafe {
            asm!("prfm pldl1keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags, readonly));
        }
    }

    #[inline(always)]
    unsafe fn prefetch_far<E>(at: *const E) {
        // SAFETY: every processor of 64 bits has the instruction, and it faults at no address.
        unsafe {
            asm!("prfm pldl2keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags, readonly));
        }
    }

    #[inline(always)]
    unsafe fn transpose8(rows: [Self; 8], to: *mut f32, to_stride: usize) {
        // SAFETY: NEON is there, and the caller has room for eight columns of eight values, `to_stride` apart.
        unsafe {
            // Four columns of rows `from` to `from + 3`.
            let four = |from: usize, half: fn(Neon) -> float32x4_t| -> [float32x4_t; 4] {
                let [a, b, c, d] = [0, 1, 2, 3].map(|row| half(rows[from + row]));
                let (ab0, ab1) = (vtrn1q_f32(a, b), vtrn2q_f32(a, b));
                let (cd0, cd1) = (vtrn1q_f32(c, d), vtrn2q_f32(c, d));
                let lower = |ab, cd| {
                    vreinterpretq_f32_f64(vtrn1q_f64(vreinterpretq_f64_f32(ab), vreinterpretq_f64_f32(cd)))
                };
                let upper = |ab, cd| {
                    vreinterpretq_f32_f64(vtrn2q_f64(vreinterpretq_f64_f32(ab), vreinterpretq_f64_f32(cd)))
                };
                [lower(ab0, cd0), lower(ab1, cd1), upper(ab0, cd0), upper(ab1, cd1)]
            };
            for (side, half) in [(0, (|row| row.0) as fn(Neon) -> float32x4_t), (4, |row| row.1)] {
                let (first, second) = (four(0, half), four(4, half));
                for column in 0..4 {
                    // Wrapping: the caller's room for all of it says that nothing overflows.
                    let to = to.wrapping_add((side + column) * to_stride);
                    Neon(first[column], second[column]).store(to);
                }
            }
        }
    }
}

/// Each value rounded to the nearest bf16, in the upper half of its place; the lower half is of no meaning.
///
/// # Safety
/// The processor has NEON.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
unsafe fn round_to_bf16(values: float32x4_t) -> uint32x4_t {
    // SAFETY: NEON is there; no memory is touched.
    unsafe {
        let bits = vreinterpretq_u32_f32(values);
        let last = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
        let rounded = vaddq_u32(bits, vaddq_u32(last, vdupq_n_u32(0x7fff)));
        // What is not a number must not be carried into one.
        let quiet = vorrq_u32(bits, vdupq_n_u32(0x0040_0000));
        vbslq_u32(vceqq_f32(values, values), rounded, quiet)
    }
}

#[expect(unsafe_code, reason = "vector instructions")]
impl Bf16Pairs for Neon {
    #[inline(always)]
    unsafe fn pair_neighbours(first: Self, second: Self) -> Self {
        // SAFETY: NEON is there; no memory is touched.
        unsafe {
            let halves = |values: Self| -> float32x4_t {
                let half = |values| vshrn_n_u32::<16>(round_to_bf16(values));
                vreinterpretq_f32_u16(vcombine_u16(half(values.0), half(values.1)))
            };
            Self(halves(first), halves(second))
        }
    }

    #[inline(always)]
    unsafe fn line(first: Self, second: Self) -> Self {
        // SAFETY: NEON is there; no memory is touched.
        unsafe { Self::pair_neighbours(first, second) }
    }

    #[inline(always)]
    unsafe fn pair(first: Self, second: Self) -> Self {
        // SAFETY: NEON is there; no memory is touched.
        unsafe {
            let pair = |first, second| {
                let first = vshrq_n_u32::<16>(round_to_bf16(first));
                let second = vandq_u32(round_to_bf16(second), vdupq_n_u32(0xffff_0000));
                vreinterpretq_f32_u32(vorrq_u32(first, second))
            };
            both!(pair(first, second))
        }
    }

    #[inline(always)]
    unsafe fn dot_pairs(left: Self, right: Self, sum: Self) -> Self {
        // SAFETY: NEON is there; no memory is touched.
        unsafe {
            let lower = |pair| vreinterpretq_f32_u32(vshlq_n_u32::<16>(vreinterpretq_u32_f32(pair)));
            let upper = |pair| {
                vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(pair), vdupq_n_u32(0xffff_0000)))
            };
            // A product of two such values is exact in f32, so it does not matter that it is fused with the sum.
            let dot = |left, right, sum| {
                let sum = vfmaq_f32(sum, upper(left), upper(right));
                vfmaq_f32(sum, lower(left), lower(right))
            };
            both!(dot(left, right, sum))
        }
    }
}
