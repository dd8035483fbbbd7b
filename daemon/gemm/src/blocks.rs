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

use super::Gemm;
use super::dots::{self, Rows};
use super::lanes::{Lanes, Stored, group};
use super::places::{Places, Single};

/// Values that share the sums of [`Block::add_products`].
pub(crate) const SUMMED: usize = 32;
/// Values of a block of the K kinds.
const LARGE: usize = 256;

/// A unit of several values.
#[expect(unsafe_code, reason = "registers are loaded through pointers")]
pub trait Block: Stored {
    /// `sums[row] + the block's values * rows[row]`, lane by lane.
    ///
    /// # Safety
    /// `from` holds a block, and `rows` as many single values for it, and their sums where [`sums_times`](Stored::sums_times) asks for them. The processor has
    /// the instructions of `L`.
    unsafe fn add_products<L: Lanes, const ROWS: usize>(
        from: *const Self,
        rows: Rows,
        sums: [L; ROWS],
    ) -> [L; ROWS];
}

/// `start + weights * values` of one row, lane by lane: as many `weights` as registers hold 32 values, and those values from register `first` on.
///
/// # Safety
/// `rows` have those values in single places, and the processor has the instructions of `L`.
#[inline(always)]
#[expect(unsafe_code, reason = "as above")]
unsafe fn products<L: Lanes>(
    weights: &[L; 4],
    rows: Rows,
    (row, first): (usize, usize),
    start: Option<L>,
) -> L {
    // SAFETY: as the caller promises: the registers of 32 values from `first` on are there. A register has eight places or more, so those are four
    // at most.
    unsafe {
        let mut sum = start.unwrap_or(L::splat(0.0));
        for index in 0..SUMMED / L::COUNT {
            sum = weights[index].multiply_add(rows.value::<L, Single>(row, first + index), sum);
        }
        sum
    }
}

/// `d * q`, eight bits a number: Q8_0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ8_0 {
    factor: [u8; 2],
    numbers: [i8; 32],
}

#[expect(unsafe_code, reason = "as above")]
impl Stored for BlockQ8_0 {
    const VALUES: usize = 32;
    const AS_BF16: bool = true;
    group!(dots::group_of_blocks::<L, Self, LINES, ROWS>);

    #[inline(always)]
    fn widen(&self, at: usize) -> f32 {
        f16::from_le_bytes(self.factor).to_f32() * f32::from(self.numbers[at])
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self, at: usize) -> L {
        // SAFETY: `from` holds a block, whose 32 numbers reach a register beyond `at`, as the caller promises.
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
        rows: Rows,
        mut sums: [L; ROWS],
    ) -> [L; ROWS] {
        // SAFETY: as the caller promises: a block at `from`, of which whole registers take all 32 numbers, and 32 values of each row.
        unsafe {
            let numbers = (&raw const (*from).numbers).cast::<i8>();
            let factor = L::splat_f16((*from).factor);
            let mut weights = [L::splat(0.0); 4];
            for index in 0..SUMMED / L::COUNT {
                weights[index] = L::load_i8(numbers.wrapping_add(index * L::COUNT));
            }
            for row in 0..ROWS {
                let product = products(&weights, rows, (row, 0), None);
                sums[row] = product.multiply_add(factor, sums[row]);
            }
        }
        sums
    }
}

/// `d * (q - 8)`, four bits a number: Q4_0. The lower halves of the bytes are the first 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ4_0 {
    pub(crate) factor: [u8; 2],
    pub(crate) numbers: [u8; 16],
}

#[expect(unsafe_code, reason = "as above")]
impl Stored for BlockQ4_0 {
    const VALUES: usize = 32;
    const AS_BF16: bool = true;
    const NIBBLES: Option<usize> = Some(16);
    group!(P::nibbles::<Self, LINES, ROWS>);

    #[inline(always)]
    fn sums_times(places: usize) -> Option<f32> {
        // In pairs, the numbers themselves are less by eight.
        (places == 1).then_some(-8.0)
    }

    #[inline(always)]
    fn widen(&self, at: usize) -> f32 {
        let number = self.numbers[at % 16] >> (at / 16 * 4) & 15;
        f16::from_le_bytes(self.factor).to_f32() * (f32::from(number) - 8.0)
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self, at: usize) -> L {
        // SAFETY: `from` holds a block. `at` is a multiple of a register's 8 or 16 places, so that as many of the 16 bytes lie behind `at % 16`.
        unsafe {
            let numbers = (&raw const (*from).numbers).cast::<u8>();
            let (low, high) = L::load_nibbles(numbers.add(at % 16));
            let number = if at < 16 { low } else { high };
            let factor = L::splat_f16((*from).factor);
            // Both products are exact, so that this is `d * (q - 8)`.
            number.multiply_add(factor, factor.multiply(L::splat(-8.0)))
        }
    }
}

#[expect(unsafe_code, reason = "as above")]
impl Block for BlockQ4_0 {
    #[inline(always)]
    unsafe fn add_products<L: Lanes, const ROWS: usize>(
        from: *const Self,
        rows: Rows,
        mut sums: [L; ROWS],
    ) -> [L; ROWS] {
        // SAFETY: as the caller promises: a block at `from`, which has the 16 bytes of `nibbles`, 32 values of each row, and their sum.
        unsafe {
            let numbers = (&raw const (*from).numbers).cast::<u8>();
            let factor = L::splat_f16((*from).factor);
            let weights = nibbles::<L>(numbers);
            for row in 0..ROWS {
                let product = products(&weights, rows, (row, 0), Some(rows.sum(row, 0)));
                sums[row] = product.multiply_add(factor, sums[row]);
            }
        }
        sums
    }
}

/// The lower halves of 16 bytes, then the upper ones.
///
/// # Safety
/// The bytes are there, and the processor has the instructions of `L`.
#[inline(always)]
#[expect(unsafe_code, reason = "as above")]
unsafe fn nibbles<L: Lanes>(from: *const u8) -> [L; 4] {
    // SAFETY: as the caller promises; a register's 8 or 16 places divide the 16 bytes.
    unsafe {
        let mut weights = [L::splat(0.0); 4];
        let half = 16 / L::COUNT;
        for index in 0..half {
            let (low, high) = L::load_nibbles(from.wrapping_add(index * L::COUNT));
            weights[index] = low;
            weights[half + index] = high;
        }
        weights
    }
}

/// `d * s * q - e * m`, four bits a number, with `s` and `m` of six bits for each 32: Q4_K. Each 32 bytes hold 64 numbers, the lower halves
/// first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ4K {
    pub(crate) factor: [u8; 2],
    pub(crate) shift: [u8; 2],
    pub(crate) scales: [u8; 12],
    pub(crate) numbers: [u8; LARGE / 2],
}

/// `s` of each 32 values of a block of Q4_K or Q5_K, and `m`: six bits each.
#[inline(always)]
pub fn k_scales(bytes: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
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
    const NIBBLES: Option<usize> = Some(SUMMED);
    group!(P::nibbles::<Self, LINES, ROWS>);

    #[inline(always)]
    fn sums_times(_: usize) -> Option<f32> {
        Some(-1.0)
    }

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
        // SAFETY: `from` holds a block. Each 32 of its 128 bytes are 64 numbers, and a register's 8 or 16 places divide 32, as they do `at`.
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
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
#[expect(unsafe_code, reason = "as above")]
pub(crate) unsafe fn times<L: Lanes>(numbers: [u8; 8], factor: L) -> [f32; 16] {
    let (mut padded, mut out) = ([0; 16], [0.0; 16]);
    padded[..8].copy_from_slice(&numbers);
    // SAFETY: the caller has the instructions, and both arrays hold 16, as many as the widest register.
    unsafe { L::load_u8(padded.as_ptr()).multiply(factor).store(out.as_mut_ptr()) };
    out
}

#[expect(unsafe_code, reason = "as above")]
impl Block for BlockQ4K {
    #[inline(always)]
    unsafe fn add_products<L: Lanes, const ROWS: usize>(
        from: *const Self,
        rows: Rows,
        mut sums: [L; ROWS],
    ) -> [L; ROWS] {
        // SAFETY: as the caller promises: a block at `from`, whose 128 bytes are four times the 32 of two halves, 256 values of each row, and the
        // sums of their eight parts.
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
                        let first = part * SUMMED / L::COUNT;
                        let product = products(&halves[half], rows, (row, first), None);
                        let row_sum: L = rows.sum(row, part);
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
pub struct BlockQ6K {
    low: [u8; LARGE / 2],
    high: [u8; LARGE / 4],
    scales: [i8; LARGE / 16],
    factor: [u8; 2],
}

impl BlockQ6K {
    /// The numbers from place `at` on.
    ///
    /// # Safety
    /// `from` holds a block, `at` is a place of it and a multiple of what a register holds, and the processor has the instructions of `L`.
    #[inline(always)]
    #[expect(unsafe_code, reason = "as above")]
    unsafe fn numbers<L: Lanes>(from: *const Self, at: usize) -> L {
        let (half, quarter, place) = (at / 128, at % 128 / 32, at % 32);
        // SAFETY: as the caller promises: a block at `from`. `low` has 64 bytes for each half and `high` 32, and a register from `place` on ends in
        // the same 32 of them.
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
    group!(dots::group_of_blocks::<L, Self, LINES, ROWS>);

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
        // SAFETY: as the caller promises: a block at `from`, and a register of values from its place `at` on.
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
        rows: Rows,
        mut sums: [L; ROWS],
    ) -> [L; ROWS] {
        // SAFETY: as the caller promises: a block at `from`, and 256 values of each row. Registers of 8 or 16 take all of its 16 scales, and of each
        // 16 numbers.
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
                    let register = at / L::COUNT;
                    let mut product = first.multiply(rows.value::<L, Single>(row, register));
                    if let Some(second) = second {
                        product = second.multiply_add(rows.value::<L, Single>(row, register + 1), product);
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
pub struct BlockWide {
    pub factor: f32,
    pub shift: f32,
    pub numbers: [u8; 32],
}

#[expect(unsafe_code, reason = "as above")]
impl Stored for BlockWide {
    const VALUES: usize = 32;
    const AS_BF16: bool = true;
    group!(dots::group_of_blocks::<L, Self, LINES, ROWS>);

    #[inline(always)]
    fn sums_times(_: usize) -> Option<f32> {
        Some(1.0)
    }

    #[inline(always)]
    fn widen(&self, at: usize) -> f32 {
        self.factor * f32::from(self.numbers[at]) + self.shift
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self, at: usize) -> L {
        // SAFETY: `from` holds a block, whose 32 numbers reach a register beyond `at`, as the caller promises.
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
        rows: Rows,
        mut sums: [L; ROWS],
    ) -> [L; ROWS] {
        // SAFETY: as the caller promises: a block at `from`, of which whole registers take all 32 numbers, 32 values of each row, and their sum.
        unsafe {
            let numbers = (&raw const (*from).numbers).cast::<u8>();
            let (factor, shift) = (L::splat((*from).factor), L::splat((*from).shift));
            let mut weights = [L::splat(0.0); 4];
            for index in 0..SUMMED / L::COUNT {
                weights[index] = L::load_u8(numbers.wrapping_add(index * L::COUNT));
            }
            for row in 0..ROWS {
                let product = products(&weights, rows, (row, 0), None);
                let row_sum: L = rows.sum(row, 0);
                sums[row] = row_sum.multiply_add(shift, product.multiply_add(factor, sums[row]));
            }
        }
        sums
    }
}
