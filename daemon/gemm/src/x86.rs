//! The registers of x86-64 processors with AVX2 or AVX-512, and the kernels compiled for them.

#![expect(
    clippy::inline_always,
    reason = "a kernel compiled for some instructions must hold all that it calls, or that is compiled without them"
)]

use std::arch::x86_64::{
    __m128, __m256, __m256bh, __m256i, __m512, __m512bh, _CMP_UNORD_Q, _MM_HINT_T0, _MM_HINT_T1, _mm_add_ps,
    _mm_add_ss, _mm_cvtss_f32, _mm_loadl_epi64, _mm_loadu_si128, _mm_movehdup_ps, _mm_movehl_ps,
    _mm_prefetch, _mm_set1_epi16, _mm256_add_epi32, _mm256_add_ps, _mm256_and_ps, _mm256_and_si256,
    _mm256_blendv_epi8, _mm256_castpd_ps, _mm256_castps_pd, _mm256_castps_si256, _mm256_castps256_ps128,
    _mm256_castsi256_ps, _mm256_cmp_ps, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32,
    _mm256_cvtepu16_epi32, _mm256_cvtph_ps, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_movehdup_ps, _mm256_mul_ps, _mm256_or_si256, _mm256_packus_epi32,
    _mm256_permute2f128_ps, _mm256_permute4x64_epi64, _mm256_set_m128i, _mm256_set1_epi16, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_shuffle_ps, _mm256_slli_epi32, _mm256_srli_epi32, _mm256_storeu_ps,
    _mm256_sub_epi32, _mm256_unpackhi_pd, _mm256_unpackhi_ps, _mm256_unpacklo_pd, _mm256_unpacklo_ps,
    _mm512_add_ps, _mm512_and_si512, _mm512_castpd_ps, _mm512_castps_pd, _mm512_castps256_ps512,
    _mm512_castps512_ps128, _mm512_castps512_ps256, _mm512_castsi512_ps, _mm512_cvtepi8_epi32,
    _mm512_cvtepi32_ps, _mm512_cvtepu8_epi16, _mm512_cvtepu8_epi32, _mm512_cvtepu16_epi32,
    _mm512_cvtne2ps_pbh, _mm512_cvtneps_pbh, _mm512_cvtph_ps, _mm512_dpbf16_ps, _mm512_extractf64x4_pd,
    _mm512_fmadd_ps, _mm512_insertf64x4, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_movehdup_ps,
    _mm512_mul_ps, _mm512_or_si512, _mm512_permute_ps, _mm512_permutexvar_epi16, _mm512_permutexvar_ps,
    _mm512_set_epi32, _mm512_set1_epi32, _mm512_set1_ps, _mm512_shuffle_f32x4, _mm512_slli_epi32,
    _mm512_srli_epi16, _mm512_srli_epi32, _mm512_storeu_ps, _mm512_sub_epi32,
};
use std::mem::transmute;
use std::ops::Range;

use bytemuck::Zeroable;
use half::{bf16, f16};

use super::block::{self, Scratch};
use super::blocks::BlockQ4_0;
use super::lanes::{Bf16Pairs, Lanes, Stored};
use super::panels::{self, HalfFactors, Part};
use super::places::{InPairs, Places, Single};
use super::{Gemm, dots, weighted};

// Who has the instructions: `Machine::all` offers these registers only where the processor has AVX2, FMA and F16C, and those of 512 bits only where it
// has F and VL of AVX-512, too, with pairs only with BF16 and BW.
#[expect(unsafe_code, reason = "vector instructions")]
impl Lanes for __m256 {
    const COUNT: usize = 8;
    type Eight = Self;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller has AVX.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller has AVX, and eight values at `from`; the instruction asks for no alignment, as for all that follow.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        // SAFETY: the caller has AVX2, and eight values, 16 bytes, at `from`.
        unsafe {
            let halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves))
        }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: the caller has F16C, and eight values, 16 bytes, at `from`.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: the caller has AVX2, and eight bytes at `from`, as many as are loaded.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self {
        // SAFETY: the caller has AVX2, and eight bytes at `from`, as many as are loaded.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn load_nibbles(from: *const u8) -> (Self, Self) {
        // SAFETY: the caller has AVX2, and eight bytes at `from`, as many as are loaded.
        unsafe {
            let bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()));
            let low = _mm256_and_si256(bytes, _mm256_set1_epi32(15));
            (_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(_mm256_srli_epi32::<4>(bytes)))
        }
    }

    #[inline(always)]
    unsafe fn load_six_bits<const QUARTER: u32>(low: *const u8, high: *const u8) -> Self {
        // SAFETY: the caller has AVX2, and eight bytes at each of both pointers.
        unsafe {
            let low = _mm256_cvtepu8_epi32(_mm_loadl_epi64(low.cast()));
            let low = match QUARTER {
                0 | 1 => _mm256_and_si256(low, _mm256_set1_epi32(15)),
                _ => _mm256_srli_epi32::<4>(low),
            };
            let high = _mm256_cvtepu8_epi32(_mm_loadl_epi64(high.cast()));
            let high = match QUARTER {
                0 => _mm256_slli_epi32::<4>(high),
                1 => _mm256_slli_epi32::<2>(high),
                2 => high,
                _ => _mm256_srli_epi32::<2>(high),
            };
            let number = _mm256_or_si256(low, _mm256_and_si256(high, _mm256_set1_epi32(0x30)));
            _mm256_cvtepi32_ps(_mm256_sub_epi32(number, _mm256_set1_epi32(32)))
        }
    }

    #[inline(always)]
    unsafe fn splat_f16(bytes: [u8; 2]) -> Self {
        // SAFETY: the caller has F16C; no memory is touched.
        unsafe { _mm256_cvtph_ps(_mm_set1_epi16(i16::from_le_bytes(bytes))) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller has AVX, and room for eight values at `to`.
        unsafe { _mm256_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller has AVX; no memory is touched.
        unsafe { _mm256_add_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn multiply(self, factor: Self) -> Self {
        // SAFETY: the caller has AVX; no memory is touched.
        unsafe { _mm256_mul_ps(self, factor) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: the caller has FMA; no memory is touched.
        unsafe { _mm256_fmadd_ps(self, factor, sum) }
    }

    #[inline(always)]
    unsafe fn total(self) -> f32 {
        // SAFETY: the caller has AVX; no memory is touched.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(self), _mm256_extractf128_ps::<1>(self));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }

    #[inline(always)]
    unsafe fn totals([a, b, c, d]: [Self; 4]) -> [f32; 4] {
        // SAFETY: the caller has AVX; no memory is touched, and a register is eight f32.
        unsafe {
            let half = |a, b| {
                _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b))
            };
            let (ab, cd) = (_mm256_castps_pd(half(a, b)), _mm256_castps_pd(half(c, d)));
            let (lower, upper) = (_mm256_unpacklo_pd(ab, cd), _mm256_unpackhi_pd(ab, cd));
            let two = _mm256_add_ps(_mm256_castpd_ps(lower), _mm256_castpd_ps(upper));
            let one = _mm256_add_ps(two, _mm256_movehdup_ps(two));
            let [a, _, c, _, b, _, d, _] = transmute::<__m256, [f32; 8]>(one);
            [a, b, c, d]
        }
    }

    #[inline(always)]
    unsafe fn prefetch<E>(at: *const E) {
        // SAFETY: every x86-64 processor has it, and it faults at no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    #[inline(always)]
    unsafe fn prefetch_far<E>(at: *const E) {
        // SAFETY: every x86-64 processor has it, and it faults at no address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }

    #[inline(always)]
    unsafe fn transpose8(rows: [Self; 8], to: *mut f32, to_stride: usize) {
        // SAFETY: the caller has AVX, and room for eight columns of eight values, `to_stride` apart.
        unsafe {
            // Wrapping: the caller's room for all of it says that nothing overflows.
            let to = |j: usize| -> *mut f32 { to.wrapping_add(j.wrapping_mul(to_stride)) };
            let [a, b, c, d, e, f, g, h] = rows;
            let (ab0, ab1) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (cd0, cd1) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let (ef0, ef1) = (_mm256_unpacklo_ps(e, f), _mm256_unpackhi_ps(e, f));
            let (gh0, gh1) = (_mm256_unpacklo_ps(g, h), _mm256_unpackhi_ps(g, h));
            let (u0, u1) = (_mm256_shuffle_ps::<0x44>(ab0, cd0), _mm256_shuffle_ps::<0xee>(ab0, cd0));
            let (u2, u3) = (_mm256_shuffle_ps::<0x44>(ab1, cd1), _mm256_shuffle_ps::<0xee>(ab1, cd1));
            let (v0, v1) = (_mm256_shuffle_ps::<0x44>(ef0, gh0), _mm256_shuffle_ps::<0xee>(ef0, gh0));
            let (v2, v3) = (_mm256_shuffle_ps::<0x44>(ef1, gh1), _mm256_shuffle_ps::<0xee>(ef1, gh1));
            _mm256_storeu_ps(to(0), _mm256_permute2f128_ps::<0x20>(u0, v0));
            _mm256_storeu_ps(to(1), _mm256_permute2f128_ps::<0x20>(u1, v1));
            _mm256_storeu_ps(to(2), _mm256_permute2f128_ps::<0x20>(u2, v2));
            _mm256_storeu_ps(to(3), _mm256_permute2f128_ps::<0x20>(u3, v3));
            _mm256_storeu_ps(to(4), _mm256_permute2f128_ps::<0x31>(u0, v0));
            _mm256_storeu_ps(to(5), _mm256_permute2f128_ps::<0x31>(u1, v1));
            _mm256_storeu_ps(to(6), _mm256_permute2f128_ps::<0x31>(u2, v2));
            _mm256_storeu_ps(to(7), _mm256_permute2f128_ps::<0x31>(u3, v3));
        }
    }
}

/// Each value rounded to the nearest bf16, in the upper half of its place; the lower half is of no meaning.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
unsafe fn round_to_bf16(values: __m256) -> __m256i {
    // SAFETY: the caller has AVX2; no memory is touched.
    unsafe {
        let bits = _mm256_castps_si256(values);
        let last = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(last, _mm256_set1_epi32(0x7fff)));
        // What is not a number must not be carried into one.
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
        let strange = _mm256_cmp_ps::<_CMP_UNORD_Q>(values, values);
        _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(strange))
    }
}

#[expect(unsafe_code, reason = "vector instructions")]
impl Bf16Pairs for __m256 {
    #[inline(always)]
    unsafe fn pair_neighbours(first: Self, second: Self) -> Self {
        // SAFETY: the caller has AVX2; no memory is touched.
        unsafe {
            let half = |values| _mm256_srli_epi32::<16>(round_to_bf16(values));
            let both = _mm256_packus_epi32(half(first), half(second));
            _mm256_castsi256_ps(_mm256_permute4x64_epi64::<0b11_01_10_00>(both))
        }
    }

    #[inline(always)]
    unsafe fn line(first: Self, second: Self) -> Self {
        // SAFETY: the caller has AVX2; no memory is touched.
        unsafe { Self::pair_neighbours(first, second) }
    }

    #[inline(always)]
    unsafe fn pair(first: Self, second: Self) -> Self {
        // SAFETY: the caller has AVX2; no memory is touched.
        unsafe {
            let first = _mm256_srli_epi32::<16>(round_to_bf16(first));
            let second = _mm256_and_si256(round_to_bf16(second), _mm256_set1_epi32(-0x1_0000));
            _mm256_castsi256_ps(_mm256_or_si256(first, second))
        }
    }

    #[inline(always)]
    unsafe fn dot_pairs(left: Self, right: Self, sum: Self) -> Self {
        // SAFETY: the caller has AVX2 and FMA; no memory is touched.
        unsafe {
            let lower = |pair| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(pair)));
            let upper = |pair| _mm256_and_ps(pair, _mm256_castsi256_ps(_mm256_set1_epi32(-0x1_0000)));
            // A product of two such values is exact in f32, so it does not matter that it is fused with the sum.
            let sum = _mm256_fmadd_ps(upper(left), upper(right), sum);
            _mm256_fmadd_ps(lower(left), lower(right), sum)
        }
    }
}

#[expect(unsafe_code, reason = "vector instructions")]
impl Lanes for __m512 {
    const COUNT: usize = 16;
    type Eight = __m256;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller has AVX-512.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller has AVX-512, and sixteen values at `from`; the instruction asks for no alignment, as for all that follow.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        // SAFETY: the caller has AVX-512, and sixteen values, 32 bytes, at `from`.
        unsafe {
            let halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves))
        }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: the caller has AVX-512, and sixteen values, 32 bytes, at `from`.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: the caller has AVX-512, and sixteen bytes at `from`.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self {
        // SAFETY: the caller has AVX-512, and sixteen bytes at `from`.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn load_nibbles(from: *const u8) -> (Self, Self) {
        // SAFETY: the caller has AVX-512, and sixteen bytes at `from`.
        unsafe {
            let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()));
            let low = _mm512_and_si512(bytes, _mm512_set1_epi32(15));
            (_mm512_cvtepi32_ps(low), _mm512_cvtepi32_ps(_mm512_srli_epi32::<4>(bytes)))
        }
    }

    #[inline(always)]
    unsafe fn load_six_bits<const QUARTER: u32>(low: *const u8, high: *const u8) -> Self {
        // SAFETY: the caller has AVX-512, and sixteen bytes at each of both pointers.
        unsafe {
            let low = _mm512_cvtepu8_epi32(_mm_loadu_si128(low.cast()));
            let low = match QUARTER {
                0 | 1 => _mm512_and_si512(low, _mm512_set1_epi32(15)),
                _ => _mm512_srli_epi32::<4>(low),
            };
            let high = _mm512_cvtepu8_epi32(_mm_loadu_si128(high.cast()));
            let high = match QUARTER {
                0 => _mm512_slli_epi32::<4>(high),
                1 => _mm512_slli_epi32::<2>(high),
                2 => high,
                _ => _mm512_srli_epi32::<2>(high),
            };
            let number = _mm512_or_si512(low, _mm512_and_si512(high, _mm512_set1_epi32(0x30)));
            _mm512_cvtepi32_ps(_mm512_sub_epi32(number, _mm512_set1_epi32(32)))
        }
    }

    #[inline(always)]
    unsafe fn splat_f16(bytes: [u8; 2]) -> Self {
        // SAFETY: the caller has AVX-512; no memory is touched.
        unsafe { _mm512_cvtph_ps(_mm256_set1_epi16(i16::from_le_bytes(bytes))) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller has AVX-512, and room for sixteen values at `to`.
        unsafe { _mm512_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller has AVX-512; no memory is touched.
        unsafe { _mm512_add_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn multiply(self, factor: Self) -> Self {
        // SAFETY: the caller has AVX-512; no memory is touched.
        unsafe { _mm512_mul_ps(self, factor) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: the caller has AVX-512; no memory is touched.
        unsafe { _mm512_fmadd_ps(self, factor, sum) }
    }

    #[inline(always)]
    unsafe fn total(self) -> f32 {
        // SAFETY: the caller has AVX-512, and so AVX; no memory is touched.
        unsafe {
            let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(self)));
            _mm256_add_ps(_mm512_castps512_ps256(self), high).total()
        }
    }

    #[inline(always)]
    unsafe fn totals([a, b, c, d]: [Self; 4]) -> [f32; 4] {
        // SAFETY: the caller has AVX-512; no memory is touched, and a quarter of a register is four f32.
        unsafe {
            let half = |a, b| {
                let lower = _mm512_shuffle_f32x4::<0b01_00_01_00>(a, b);
                _mm512_add_ps(lower, _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b))
            };
            let (ab, cd) = (half(a, b), half(c, d));
            let lower = _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd);
            let four = _mm512_add_ps(lower, _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd));
            let two = _mm512_add_ps(four, _mm512_permute_ps::<0b01_00_11_10>(four));
            let one = _mm512_add_ps(two, _mm512_movehdup_ps(two));
            let firsts = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 8, 4, 0);
            let firsts = _mm512_permutexvar_ps(firsts, one);
            transmute::<__m128, [f32; 4]>(_mm512_castps512_ps128(firsts))
        }
    }

    #[inline(always)]
    unsafe fn prefetch<E>(at: *const E) {
        // SAFETY: every x86-64 processor has it, and it faults at no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    #[inline(always)]
    unsafe fn prefetch_far<E>(at: *const E) {
        // SAFETY: every x86-64 processor has it, and it faults at no address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }

    #[inline(always)]
    unsafe fn transpose8(rows: [__m256; 8], to: *mut f32, to_stride: usize) {
        // SAFETY: the caller promises the same, and has AVX beside AVX-512.
        unsafe { <__m256 as Lanes>::transpose8(rows, to, to_stride) }
    }
}

/// Twice 0 to 15, less `LESS`, in bf16.
const fn whole_numbers<const LESS: u8>() -> [u16; 32] {
    let (mut numbers, mut at) = ([0; 32], 0u8);
    while at < 32 {
        let number = (at % 16) as f32 - LESS as f32;
        numbers[at as usize] = (number.to_bits() >> 16) as u16;
        at += 1;
    }
    numbers
}

#[expect(unsafe_code, reason = "vector instructions")]
impl Bf16Pairs for __m512 {
    #[inline(always)]
    unsafe fn pair_neighbours(first: __m256, second: __m256) -> __m256 {
        // SAFETY: the caller has BF16 of AVX-512; no memory is touched, and both types are 32 bytes of numbers.
        unsafe {
            let both = _mm512_insertf64x4::<1>(
                _mm512_castps_pd(_mm512_castps256_ps512(first)),
                _mm256_castps_pd(second),
            );
            transmute::<__m256bh, __m256>(_mm512_cvtneps_pbh(_mm512_castpd_ps(both)))
        }
    }

    #[inline(always)]
    unsafe fn line(first: Self, second: Self) -> Self {
        // SAFETY: the caller has BF16 of AVX-512; no memory is touched, and both types are 64 bytes of numbers.
        unsafe { transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(second, first)) }
    }

    #[inline(always)]
    unsafe fn pair(first: Self, second: Self) -> Self {
        // SAFETY: the caller has BF16 of AVX-512; no memory is touched, and both types are 32 bytes of numbers.
        unsafe {
            let half =
                |values| _mm512_cvtepu16_epi32(transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values)));
            let second = _mm512_slli_epi32::<16>(half(second));
            _mm512_castsi512_ps(_mm512_or_si512(half(first), second))
        }
    }

    #[inline(always)]
    unsafe fn dot_pairs(left: Self, right: Self, sum: Self) -> Self {
        // SAFETY: the caller has BF16 of AVX-512; no memory is touched, and both types are 64 bytes of numbers.
        unsafe {
            let (left, right) = (transmute::<__m512, __m512bh>(left), transmute::<__m512, __m512bh>(right));
            _mm512_dpbf16_ps(sum, left, right)
        }
    }

    #[inline(always)]
    unsafe fn nibbles<const LESS: u8>(parts: [*const u8; 2]) -> [Self; 2] {
        // SAFETY: the caller has BW of AVX-512, and sixteen bytes at each of both pointers; the table's 32 numbers are 64 bytes, a register.
        unsafe {
            let [first, second] = parts.map(|part| _mm_loadu_si128(part.cast()));
            let bytes = _mm512_cvtepu8_epi16(_mm256_set_m128i(second, first));
            // The look-up heeds five bits of a place, of which the table says the same whatever the fifth is.
            let numbers = _mm512_loadu_si512(const { &whole_numbers::<LESS>() }.as_ptr().cast());
            [bytes, _mm512_srli_epi16::<4>(bytes)]
                .map(|at| _mm512_castsi512_ps(_mm512_permutexvar_epi16(at, numbers)))
        }
    }

    #[inline(always)]
    unsafe fn q4_0(from: *const BlockQ4_0, blocks: usize) -> ([Self; 2], Self) {
        let none = BlockQ4_0::zeroed();
        // An odd number of blocks ends with one that is nothing.
        let blocks = [from, if blocks > 1 { from.wrapping_add(1) } else { &raw const none }];
        // SAFETY: the caller has BW of AVX-512, and a block at `from`, or two; where it is one, `none` is the other. Each has sixteen bytes of
        // numbers.
        unsafe {
            let numbers = Self::nibbles::<8>(blocks.map(|block| (&raw const (*block).numbers).cast()));
            let [first, second] = blocks.map(|block| _mm_set1_epi16(i16::from_le_bytes((*block).factor)));
            (numbers, _mm512_cvtph_ps(_mm256_set_m128i(second, first)))
        }
    }
}

/// # Safety
/// As [`dots::dots`], on a processor with these instructions.
#[target_feature(enable = "avx2,fma,f16c")]
#[expect(unsafe_code, reason = "compiled for instructions that the caller has asked for")]
pub(crate) unsafe fn dots_avx2<P: Places<__m256>, E: Stored>(
    problem: &Gemm<'_, E>,
    columns: Range<usize>,
    soon: &[&[f16]],
    scratch: &mut Scratch,
) {
    // SAFETY: as the caller promises; `__m256` takes no more instructions than these.
    unsafe { dots::dots::<__m256, P, E>(problem, columns, soon, scratch) }
}

/// # Safety
/// As [`dots::dots`], on a processor with these instructions.
#[target_feature(enable = "avx512vl,avx512f,avx2,fma,f16c")]
#[expect(unsafe_code, reason = "as above")]
pub(crate) unsafe fn dots_avx512<E: Stored>(
    problem: &Gemm<'_, E>,
    columns: Range<usize>,
    soon: &[&[f16]],
    scratch: &mut Scratch,
) {
    // SAFETY: as the caller promises; of `__m512`, all but pairs takes no more instructions than these.
    unsafe { dots::dots::<__m512, Single, E>(problem, columns, soon, scratch) }
}

/// # Safety
/// As [`dots::dots`], on a processor with these instructions.
#[target_feature(enable = "avx512bf16,avx512bw,avx512vl,avx512f,avx2,fma,f16c")]
#[expect(unsafe_code, reason = "as above")]
pub(crate) unsafe fn dots_avx512_in_pairs<E: Stored>(
    problem: &Gemm<'_, E>,
    columns: Range<usize>,
    soon: &[&[f16]],
    scratch: &mut Scratch,
) {
    // SAFETY: as the caller promises; `__m512` takes no more instructions than these.
    unsafe { dots::dots::<__m512, InPairs, E>(problem, columns, soon, scratch) }
}

/// # Safety
/// As [`weighted::weighted`], on a processor with these instructions.
#[target_feature(enable = "avx2,fma,f16c")]
#[expect(unsafe_code, reason = "as above")]
pub(crate) unsafe fn weighted_avx2<E: Stored>(problem: &Gemm<'_, E>, columns: Range<usize>) {
    // SAFETY: as the caller promises; `__m256` takes no more instructions than these.
    unsafe { weighted::weighted::<__m256, E>(problem, columns) }
}

/// # Safety
/// As [`weighted::weighted`], on a processor with these instructions.
#[target_feature(enable = "avx512vl,avx512f,avx2,fma,f16c")]
#[expect(unsafe_code, reason = "as above")]
pub(crate) unsafe fn weighted_avx512<E: Stored>(problem: &Gemm<'_, E>, columns: Range<usize>) {
    // SAFETY: as the caller promises; of `__m512`, all but pairs takes no more instructions than these.
    unsafe { weighted::weighted::<__m512, E>(problem, columns) }
}

/// # Safety
/// As [`panels::add`], on a processor with these instructions.
#[target_feature(enable = "avx2,fma,f16c")]
#[expect(unsafe_code, reason = "as above")]
pub(crate) unsafe fn panels_avx2(panels: &HalfFactors, part: &Part<'_>) {
    // SAFETY: as the caller promises; `__m256` takes no more instructions than these.
    unsafe { panels::add::<__m256>(panels, part) }
}

/// # Safety
/// As [`panels::add`], on a processor with these instructions.
#[target_feature(enable = "avx512vl,avx512f,avx2,fma,f16c")]
#[expect(unsafe_code, reason = "as above")]
pub(crate) unsafe fn panels_avx512(panels: &HalfFactors, part: &Part<'_>) {
    // SAFETY: as the caller promises; of `__m512`, all but pairs takes no more instructions than these.
    unsafe { panels::add::<__m512>(panels, part) }
}

/// # Safety
/// As [`block::block`], on a processor with these instructions.
#[target_feature(enable = "avx2,fma,f16c")]
#[expect(unsafe_code, reason = "as above")]
pub(crate) unsafe fn block_avx2<P: Places<__m256>, E: Stored>(
    problem: &Gemm<'_, E>,
    rows: Range<usize>,
    columns: Range<usize>,
    scratch: &mut Scratch,
) {
    // SAFETY: as the caller promises; `__m256` takes no more instructions than these.
    unsafe {
        block::block::<__m256, P, E, { block::AVX2.rows }, { block::AVX2.depth }>(
            problem, rows, columns, scratch,
        );
    }
}

/// # Safety
/// As [`block::block`], on a processor with these instructions.
#[target_feature(enable = "avx512vl,avx512f,avx2,fma,f16c")]
#[expect(unsafe_code, reason = "as above")]
pub(crate) unsafe fn block_avx512<E: Stored>(
    problem: &Gemm<'_, E>,
    rows: Range<usize>,
    columns: Range<usize>,
    scratch: &mut Scratch,
) {
    // SAFETY: as the caller promises; of `__m512`, all but pairs takes no more instructions than these.
    unsafe {
        block::block::<__m512, Single, E, { block::AVX512.rows }, { block::AVX512.depth }>(
            problem, rows, columns, scratch,
        );
    }
}

/// # Safety
/// As [`block::block`], on a processor with these instructions.
#[target_feature(enable = "avx512bf16,avx512vl,avx512f,avx2,fma,f16c")]
#[expect(unsafe_code, reason = "as above")]
pub(crate) unsafe fn block_avx512_in_pairs<E: Stored>(
    problem: &Gemm<'_, E>,
    rows: Range<usize>,
    columns: Range<usize>,
    scratch: &mut Scratch,
) {
    // SAFETY: as the caller promises; of `__m512`, only the look-ups of few rows take more instructions than these.
    unsafe {
        block::block::<__m512, InPairs, E, { block::AVX512.rows }, { block::AVX512.depth }>(
            problem, rows, columns, scratch,
        );
    }
}
