//! Quantised values: blocks of small whole numbers that share a factor, as GGUF files have them.
//!
//! Owns what the bytes of a block mean; the formats are those of llama.cpp's `ggml-common.h`. It must not know where blocks come from. A value
//! is always the product of the factor and the number in f32, less the block's shift where it has one: whoever widens a block gets the same bits.

#![expect(
    clippy::inline_always,
    reason = "a kernel compiled for some instructions must hold all that it calls, or that is compiled without them"
)]
#![expect(clippy::needless_range_loop, reason = "numbers of registers: the loops are unrolled")]

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::lanes::{Lanes, Stored};
use super::{Problem, dots};

/// Values that share the sums of [`Block::add_products`].
pub(super) const SUMMED: usize = 32;
/// Values of a block of the K kinds.
const LARGE: usize = 256;

/// A unit of several values.
#[expect(unsafe_code, reason = "registers are loaded through pointers")]
pub(crate) trait Block: Stored {
    /// `sums[row] + the block's values * values[row]`, lane by lane.
    ///
    /// # Safety
    /// `from` holds a block, each of `values` as many values, and each of `row_sums` a register for each [`SUMMED`] of those: their sums lane by
    /// lane, times [`SUMS_TIMES`](Stored::SUMS_TIMES). The processor has the instructions of `L`.
    unsafe fn add_products<L: Lanes, const ROWS: usize>(
        from: *const Self,
        values: [*const f32; ROWS],
        row_sums: [*const f32; ROWS],
        sums: [L; ROWS],
    ) -> [L; ROWS];
}

macro_rules! group_of_blocks {
    () => {
        #[inline(always)]
        unsafe fn group<L: Lanes, const LINES: usize, const ROWS: usize>(
            problem: &Problem<'_, Self>,
            column: usize,
            row: usize,
            sums: *const f32,
        ) {
            unsafe { dots::group_of_blocks::<L, Self, LINES, ROWS>(problem, column, row, sums) }
        }
    };
}

/// The sums that [`Block::add_products`] wants of `count` values, a multiple of [`SUMMED`].
///
/// # Safety
/// They are there, and there is room for a register for each [`SUMMED`] of them.
#[inline(always)]
#[expect(unsafe_code, reason = "as above")]
pub(super) unsafe fn lane_sums<L: Lanes>(values: *const f32, count: usize, times: f32, to: *mut f32) {
    for part in 0..count / SUMMED {
        unsafe {
            let from = values.add(part * SUMMED);
            let mut sum = L::load(from);
            for at in (L::COUNT..SUMMED).step_by(L::COUNT) {
                sum = sum.add(L::load(from.add(at)));
            }
            sum.multiply(L::splat(times)).store(to.add(part * L::COUNT));
        }
    }
}

/// `start + weights * values`, lane by lane; as many `weights` as registers hold 32 values.
#[inline(always)]
#[expect(unsafe_code, reason = "as above")]
unsafe fn products<L: Lanes>(weights: &[L; 4], values: *const f32, start: Option<L>) -> L {
    unsafe {
        let first = L::load(values);
        let mut sum = match start {
            Some(start) => weights[0].multiply_add(first, start),
            None => weights[0].multiply(first),
        };
        for index in 1..SUMMED / L::COUNT {
            let values = values.wrapping_add(index * L::COUNT);
            sum = weights[index].multiply_add(L::load(values), sum);
        }
        sum
    }
}

/// `d * q`, eight bits a number: Q8_0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockQ8_0 {
    factor: [u8; 2],
    numbers: [i8; 32],
}

#[expect(unsafe_code, reason = "as above")]
impl Stored for BlockQ8_0 {
    const VALUES: usize = 32;
    const AS_BF16: bool = true;
    const SUMS_TIMES: Option<f32> = None;
    group_of_blocks!();

    #[inline(always)]
    fn widen(&self, at: usize) -> f32 {
        f16::from_le_bytes(self.factor).to_f32() * f32::from(self.numbers[at])
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self, at: usize) -> L {
        unsafe {
            let numbers = (&raw const (*from).numbers).cast::<i8>();
            L::load_i8(numbers.add(at)).multiply(L::splat_f16((*from).factor))
        }
    }
}

#[expect(unsafe_code, reason = "as above")]
impl Block for BlockQ8_0 {
    #[inline(always)]
    unsafe fn add_products<L: Lanes, const ROWS: usize>(
        from: *const Self,
        values: [*const f32; ROWS],
        _: [*const f32; ROWS],
        mut sums: [L; ROWS],
    ) -> [L; ROWS] {
        unsafe {
            let numbers = (&raw const (*from).numbers).cast::<i8>();
            let factor = L::splat_f16((*from).factor);
            let mut weights = [L::splat(0.0); 4];
            for index in 0..SUMMED / L::COUNT {
                weights[index] = L::load_i8(numbers.wrapping_add(index * L::COUNT));
            }
            for row in 0..ROWS {
                let product = products(&weights, values[row], None);
                sums[row] = product.multiply_add(factor, sums[row]);
            }
        }
        sums
    }
}

/// `d * (q - 8)`, four bits a number: Q4_0. The lower halves of the bytes are the first 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockQ4_0 {
    factor: [u8; 2],
    numbers: [u8; 16],
}

#[expect(unsafe_code, reason = "as above")]
impl Stored for BlockQ4_0 {
    const VALUES: usize = 32;
    const AS_BF16: bool = true;
    const SUMS_TIMES: Option<f32> = Some(-8.0);
    group_of_blocks!();

    #[inline(always)]
    fn widen(&self, at: usize) -> f32 {
        let number = self.numbers[at % 16] >> (at / 16 * 4) & 15;
        f16::from_le_bytes(self.factor).to_f32() * (f32::from(number) - 8.0)
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self, at: usize) -> L {
        unsafe {
            let numbers = (&raw const (*from).numbers).cast::<u8>();
            let (low, high) = L::load_nibbles(numbers.add(at % 16));
            let number = if at < 16 { low } else { high };
            number.add(L::splat(-8.0)).multiply(L::splat_f16((*from).factor))
        }
    }
}

#[expect(unsafe_code, reason = "as above")]
impl Block for BlockQ4_0 {
    #[inline(always)]
    unsafe fn add_products<L: Lanes, const ROWS: usize>(
        from: *const Self,
        values: [*const f32; ROWS],
        row_sums: [*const f32; ROWS],
        mut sums: [L; ROWS],
    ) -> [L; ROWS] {
        unsafe {
            let numbers = (&raw const (*from).numbers).cast::<u8>();
            let factor = L::splat_f16((*from).factor);
            let weights = nibbles::<L>(numbers);
            for row in 0..ROWS {
                let product = products(&weights, values[row], Some(L::load(row_sums[row])));
                sums[row] = product.multiply_add(factor, sums[row]);
            }
        }
        sums
    }
}

/// The lower halves of 16 bytes, then the upper ones.
#[inline(always)]
#[expect(unsafe_code, reason = "as above")]
unsafe fn nibbles<L: Lanes>(from: *const u8) -> [L; 4] {
    let mut weights = [unsafe { L::splat(0.0) }; 4];
    let half = 16 / L::COUNT;
    for index in 0..half {
        let (low, high) = unsafe { L::load_nibbles(from.wrapping_add(index * L::COUNT)) };
        weights[index] = low;
        weights[half + index] = high;
    }
    weights
}

/// `d * s * q - e * m`, four bits a number, with `s` and `m` of six bits for each 32: Q4_K. Each 32 bytes hold 64 numbers, the lower halves
/// first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockQ4K {
    factor: [u8; 2],
    shift: [u8; 2],
    scales: [u8; 12],
    numbers: [u8; LARGE / 2],
}

/// `s` of each 32 values of a block of Q4_K or Q5_K, and `m`: six bits each.
#[inline(always)]
pub(crate) fn k_scales(bytes: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let [a, b, c] =
        [0, 4, 8].map(|at| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
    let (low, high) = (0x0f0f_0f0f, 0x3030_3030);
    let pair =
        |first: u32, second: u32| (u64::from(first & 0x3f3f_3f3f) | u64::from(second) << 32).to_le_bytes();
    (pair(a, c & low | a >> 2 & high), pair(b, c >> 4 & low | b >> 2 & high))
}

#[expect(unsafe_code, reason = "as above")]
impl Stored for BlockQ4K {
    const VALUES: usize = LARGE;
    const AS_BF16: bool = true;
    const SUMS_TIMES: Option<f32> = Some(-1.0);
    group_of_blocks!();

    #[inline(always)]
    fn widen(&self, at: usize) -> f32 {
        let (part, byte) = (at / SUMMED, at / 64 * 32 + at % 32);
        let number = self.numbers[byte] >> (part % 2 * 4) & 15;
        let (scales, shifts) = k_scales(&self.scales);
        let factor = f16::from_le_bytes(self.factor).to_f32() * f32::from(scales[part]);
        factor * f32::from(number) - f16::from_le_bytes(self.shift).to_f32() * f32::from(shifts[part])
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self, at: usize) -> L {
        unsafe {
            let numbers = (&raw const (*from).numbers).cast::<u8>();
            let part = at / SUMMED;
            let (low, high) = L::load_nibbles(numbers.add(at / 64 * 32 + at % 32));
            let (scales, shifts) = k_scales(&(*from).scales);
            let factor = L::splat_f16((*from).factor).multiply(L::splat(f32::from(scales[part])));
            let shift = L::splat_f16((*from).shift).multiply(L::splat(-f32::from(shifts[part])));
            // The product is exact, so that a fused addition rounds as a separate one does.
            (if part.is_multiple_of(2) { low } else { high }).multiply_add(factor, shift)
        }
    }
}

/// Each of eight small numbers times a factor.
#[inline(always)]
#[expect(unsafe_code, reason = "as above")]
unsafe fn times<L: Lanes>(numbers: [u8; 8], factor: L) -> [f32; 16] {
    let (mut padded, mut out) = ([0; 16], [0.0; 16]);
    padded[..8].copy_from_slice(&numbers);
    unsafe { L::load_u8(padded.as_ptr()).multiply(factor).store(out.as_mut_ptr()) };
    out
}

#[expect(unsafe_code, reason = "as above")]
impl Block for BlockQ4K {
    #[inline(always)]
    unsafe fn add_products<L: Lanes, const ROWS: usize>(
        from: *const Self,
        values: [*const f32; ROWS],
        row_sums: [*const f32; ROWS],
        mut sums: [L; ROWS],
    ) -> [L; ROWS] {
        unsafe {
            let numbers = (&raw const (*from).numbers).cast::<u8>();
            let (scales, shifts) = k_scales(&(*from).scales);
            let factors = times(scales, L::splat_f16((*from).factor));
            let shifts = times(shifts, L::splat_f16((*from).shift));
            for pair in 0..4 {
                let mut halves = [[L::splat(0.0); 4]; 2];
                for index in 0..SUMMED / L::COUNT {
                    let (low, high) = L::load_nibbles(numbers.wrapping_add(pair * 32 + index * L::COUNT));
                    halves[0][index] = low;
                    halves[1][index] = high;
                }
                for half in 0..2 {
                    let part = pair * 2 + half;
                    let (factor, shift) = (L::splat(factors[part]), L::splat(shifts[part]));
                    for row in 0..ROWS {
                        let product = products(&halves[half], values[row].wrapping_add(part * SUMMED), None);
                        let row_sum = L::load(row_sums[row].wrapping_add(part * L::COUNT));
                        sums[row] = row_sum.multiply_add(shift, product.multiply_add(factor, sums[row]));
                    }
                }
            }
        }
        sums
    }
}

/// `d * s * (q - 32)`, six bits a number, with an `s` for each 16: Q6_K. Each 64 bytes of four bits and 32 of two make 128 numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockQ6K {
    low: [u8; LARGE / 2],
    high: [u8; LARGE / 4],
    scales: [i8; LARGE / 16],
    factor: [u8; 2],
}

impl BlockQ6K {
    /// The numbers from place `at` on.
    #[inline(always)]
    #[expect(unsafe_code, reason = "as above")]
    unsafe fn numbers<L: Lanes>(from: *const Self, at: usize) -> L {
        let (half, quarter, place) = (at / 128, at % 128 / 32, at % 32);
        unsafe {
            let low = (&raw const (*from).low).cast::<u8>().add(half * 64 + quarter % 2 * 32 + place);
            let high = (&raw const (*from).high).cast::<u8>().add(half * 32 + place);
            match quarter {
                0 => L::load_six_bits::<0>(low, high),
                1 => L::load_six_bits::<1>(low, high),
                2 => L::load_six_bits::<2>(low, high),
                _ => L::load_six_bits::<3>(low, high),
            }
        }
    }
}

#[expect(unsafe_code, reason = "as above")]
impl Stored for BlockQ6K {
    const VALUES: usize = LARGE;
    const AS_BF16: bool = true;
    const SUMS_TIMES: Option<f32> = None;
    group_of_blocks!();

    #[inline(always)]
    fn widen(&self, at: usize) -> f32 {
        let (half, quarter, place) = (at / 128, at % 128 / 32, at % 32);
        let low = self.low[half * 64 + quarter % 2 * 32 + place] >> (quarter / 2 * 4) & 15;
        let high = self.high[half * 32 + place] >> (quarter * 2) & 3;
        let factor = f16::from_le_bytes(self.factor).to_f32() * f32::from(self.scales[at / 16]);
        factor * (f32::from(low | high << 4) - 32.0)
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self, at: usize) -> L {
        unsafe {
            let factor = L::splat_f16((*from).factor);
            let scale = L::splat(f32::from((*from).scales[at / 16]));
            Self::numbers::<L>(from, at).multiply(factor.multiply(scale))
        }
    }
}

#[expect(unsafe_code, reason = "as above")]
impl Block for BlockQ6K {
    #[inline(always)]
    unsafe fn add_products<L: Lanes, const ROWS: usize>(
        from: *const Self,
        values: [*const f32; ROWS],
        _: [*const f32; ROWS],
        mut sums: [L; ROWS],
    ) -> [L; ROWS] {
        unsafe {
            let scales = (&raw const (*from).scales).cast::<i8>();
            let factor = L::splat_f16((*from).factor);
            let mut factors = [0.0f32; LARGE / 16];
            for at in (0..factors.len()).step_by(L::COUNT) {
                L::load_i8(scales.add(at)).multiply(factor).store(factors.as_mut_ptr().add(at));
            }
            for part in 0..LARGE / 16 {
                let at = part * 16;
                let factor = L::splat(factors[part]);
                let first = Self::numbers::<L>(from, at);
                let second = if L::COUNT < 16 { Some(Self::numbers::<L>(from, at + L::COUNT)) } else { None };
                for row in 0..ROWS {
                    let values = values[row].wrapping_add(at);
                    let mut product = first.multiply(L::load(values));
                    if let Some(second) = second {
                        product = second.multiply_add(L::load(values.wrapping_add(L::COUNT)), product);
                    }
                    sums[row] = product.multiply_add(factor, sums[row]);
                }
            }
        }
        sums
    }
}

/// `d * q + m`, eight bits a number: what the kinds become that no kernel reads as they are (Q4_1, Q5_0, Q5_1 and Q5_K).
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockWide {
    pub(crate) factor: f32,
    pub(crate) shift: f32,
    pub(crate) numbers: [u8; 32],
}

#[expect(unsafe_code, reason = "as above")]
impl Stored for BlockWide {
    const VALUES: usize = 32;
    const AS_BF16: bool = true;
    const SUMS_TIMES: Option<f32> = Some(1.0);
    group_of_blocks!();

    #[inline(always)]
    fn widen(&self, at: usize) -> f32 {
        self.factor * f32::from(self.numbers[at]) + self.shift
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self, at: usize) -> L {
        unsafe {
            let numbers = (&raw const (*from).numbers).cast::<u8>();
            // The product is exact, so that a fused addition rounds as a separate one does.
            L::load_u8(numbers.add(at)).multiply_add(L::splat((*from).factor), L::splat((*from).shift))
        }
    }
}

#[expect(unsafe_code, reason = "as above")]
impl Block for BlockWide {
    #[inline(always)]
    unsafe fn add_products<L: Lanes, const ROWS: usize>(
        from: *const Self,
        values: [*const f32; ROWS],
        row_sums: [*const f32; ROWS],
        mut sums: [L; ROWS],
    ) -> [L; ROWS] {
        unsafe {
            let numbers = (&raw const (*from).numbers).cast::<u8>();
            let (factor, shift) = (L::splat((*from).factor), L::splat((*from).shift));
            let mut weights = [L::splat(0.0); 4];
            for index in 0..SUMMED / L::COUNT {
                weights[index] = L::load_u8(numbers.wrapping_add(index * L::COUNT));
            }
            for row in 0..ROWS {
                let product = products(&weights, values[row], None);
                let row_sum = L::load(row_sums[row]);
                sums[row] = row_sum.multiply_add(shift, product.multiply_add(factor, sums[row]));
            }
        }
        sums
    }
}
