//! Products with many rows on the tile registers of x86-64 (AMX, `TDPBF16PS`): sixteen rows times sixteen columns at a time, in pairs of bf16.
//!
//! Owns how both sides are laid out for tiles; [`tiles`](super::tiles) are asked for elsewhere. It must not know how a product is cut into tasks. A weight that is
//! stored in few bits is multiplied once, both sides rounded to bf16. Where both sides are f32, and for the second product beside a first one, each value is
//! the sum of two bf16 values (its rounding and what that left over), and three of the four products of those are added up: what is lost is at most
//! 2^-15 of a term, and an infinity becomes NaN. (Henry, Tang and Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations", 2019.)

use std::arch::asm;
use std::arch::x86_64::{
    __m256, __m256bh, __m256i, __m512, __m512bh, __m512i, _mm256_castpd_ps, _mm512_add_ps, _mm512_castps_pd,
    _mm512_castps512_ps256, _mm512_castsi512_ps, _mm512_cvtepu16_epi32, _mm512_cvtne2ps_pbh,
    _mm512_cvtneps_pbh, _mm512_extractf64x4_pd, _mm512_loadu_ps, _mm512_mask_storeu_ps,
    _mm512_maskz_loadu_ps, _mm512_or_si512, _mm512_setzero_ps, _mm512_slli_epi32, _mm512_sub_ps,
};
use std::mem::transmute;
use std::ops::Range;

use super::block::{EXTRA_DEPTH, Scratch};
use super::lanes::{Lanes, Stored};
use super::layout::fill_right;
use super::places::{InPairs, Single};
use super::{Accumulate, Gemm, Matrix, Order};

/// Rows of a tile, and columns.
const SIDE: usize = 16;
/// Places of the inner length in a tile.
const PLACES: usize = 32;
/// Units of 32 bits in a tile.
const TILE: usize = SIDE * SIDE;
/// Rows and columns of the result that stay in registers: four tiles.
const SQUARE: usize = 2 * SIDE;
/// Units of the right side in one step of the inner length.
const STEP: usize = SIDE * SQUARE;
/// Places of the inner length in a stretch: so long that most products take one, for each further one passes over the result again.
const DEPTH: usize = 1024;
/// The same where each value is two.
const SPLIT_DEPTH: usize = 256;

/// Columns from which a product of f32 values is faster on tiles.
pub(crate) const SPLIT_COLUMNS: usize = 96;

/// Two tiles of ones, to be multiplied with their like: what a child process tries.
pub(crate) struct Trial {
    ones: [u32; 2 * TILE],
    sums: [f32; 4 * TILE],
}

impl Trial {
    pub(crate) const fn new() -> Self {
        const PAIR: u32 = 0x3f80_3f80;
        Self { ones: [PAIR; 2 * TILE], sums: [0.0; 4 * TILE] }
    }

    /// Whether all sums are right.
    ///
    /// # Safety
    /// The processor has tiles, and this process was granted them.
    #[expect(unsafe_code, reason = "instructions without an intrinsic")]
    pub(crate) unsafe fn succeeds(&mut self) -> bool {
        let ones = self.ones.as_ptr().cast();
        // SAFETY: as the caller promises; one step reads a tile of each row of tiles and two of the panel, and the sums are 32 rows of 32.
        unsafe {
            CONFIG.load();
            multiply([ones, ones.wrapping_add(TILE)], ones, (1, 0), (self.sums.as_mut_ptr(), SQUARE));
            Config::release();
        }
        self.sums.iter().all(|sum| (*sum - PLACES as f32).abs() < f32::EPSILON)
    }
}

/// The shape of the tile registers: all eight are whole.
#[repr(C, align(64))]
struct Config([u8; 64]);

static CONFIG: Config = Config::new();

impl Config {
    const fn new() -> Self {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut tile = 0;
        while tile < 8 {
            bytes[16 + 2 * tile] = (PLACES * 2) as u8;
            bytes[48 + tile] = SIDE as u8;
            tile += 1;
        }
        Self(bytes)
    }

    /// # Safety
    /// The processor has tiles, and this process may use them.
    #[inline]
    #[expect(unsafe_code, reason = "instructions without an intrinsic")]
    unsafe fn load(&self) {
        // SAFETY: as the caller promises; all 64 bytes are there.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) self.0.as_ptr(), options(nostack, readonly, preserves_flags));
        }
    }

    /// # Safety
    /// As [`load`](Self::load).
    #[inline]
    #[expect(unsafe_code, reason = "as above")]
    unsafe fn release() {
        // SAFETY: as the caller promises.
        unsafe {
            asm!("tilerelease", options(nostack, nomem, preserves_flags));
        }
    }
}

/// Four tiles of sums: two tiles of the left side times two of the right one, which lie so many bytes behind the place of now.
macro_rules! step {
    ($behind:literal) => {
        concat!(
            "tileloadd tmm4, [{first} + {line}]\n",
            "tileloadd tmm6, [{right} + 2*{line} + ",
            $behind,
            "]\n",
            "tdpbf16ps tmm0, tmm4, tmm6\n",
            "tileloadd tmm7, [{right} + 2*{line} + 64 + ",
            $behind,
            "]\n",
            "tdpbf16ps tmm1, tmm4, tmm7\n",
            "tileloadd tmm5, [{second} + {line}]\n",
            "tdpbf16ps tmm2, tmm5, tmm6\n",
            "tdpbf16ps tmm3, tmm5, tmm7",
        )
    };
}

/// `to (32 x 32) = left * right`, in steps of the inner length: `single` ones whose values are one, and behind them `split` ones whose values are two.
///
/// # Safety
/// The tiles are configured; `left` are two rows of tiles and `right` is a panel, both as long as the steps say; `to` has 32 rows of 32, `stride`
/// apart.
#[inline]
#[expect(unsafe_code, reason = "instructions without an intrinsic")]
unsafe fn multiply(
    left: [*const f32; 2],
    right: *const f32,
    (single, split): (usize, usize),
    (to, stride): (*mut f32, usize),
) {
    // SAFETY: as the caller promises: each step moves on by one tile of a row and two of the panel, and the stores fill 32 rows of 32 `stride` apart.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "test {single}, {single}",
            "jz 3f",
            "2:",
            step!(0),
            "add {first}, 1024",
            "add {second}, 1024",
            "add {right}, 2048",
            "dec {single}",
            "jnz 2b",
            "3:",
            "test {split}, {split}",
            "jz 5f",
            "4:",
            // The roundings times the roundings,
            step!(0),
            // what is left over of the left side times them,
            "tileloadd tmm4, [{first} + {line} + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{second} + {line} + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // and they times what is left over of the right one.
            step!(2048),
            "add {first}, 2048",
            "add {second}, 2048",
            "add {right}, 4096",
            "dec {split}",
            "jnz 4b",
            "5:",
            "tilestored [{to} + {stride}], tmm0",
            "tilestored [{to} + {stride} + 64], tmm1",
            "tilestored [{below} + {stride}], tmm2",
            "tilestored [{below} + {stride} + 64], tmm3",
            first = inout(reg) left[0] => _,
            second = inout(reg) left[1] => _,
            right = inout(reg) right => _,
            single = inout(reg) single => _,
            split = inout(reg) split => _,
            line = in(reg) 64usize,
            to = in(reg) to,
            below = in(reg) to.wrapping_add(SIDE.wrapping_mul(stride)),
            stride = in(reg) stride.wrapping_mul(size_of::<f32>()),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// Steps of the inner length that so many places take.
const fn steps(places: usize) -> usize {
    places.div_ceil(PLACES)
}

/// One task.
///
/// # Safety
/// The problem is checked, `rows` and `columns` lie inside it and belong to this task alone, `columns` begins at a multiple of 32, and tiles are
/// [ready](super::tiles()).
#[target_feature(enable = "avx512bf16,avx512bw,avx512vl,avx512f,avx2,fma,f16c")]
#[expect(unsafe_code, reason = "registers are loaded through pointers")]
pub(crate) unsafe fn block<E: Stored>(
    problem: &Gemm<'_, E>,
    rows: Range<usize>,
    columns: Range<usize>,
    scratch: &mut Scratch,
) {
    let splits = !E::AS_BF16;
    if let Some(extra) = &problem.extra {
        assert!(extra.inner <= EXTRA_DEPTH);
    }
    // Tiles of one row of them in a stretch, and units of a panel in it.
    let most = if splits { SPLIT_DEPTH } else { DEPTH };
    let tiles_of = |(single, split): (usize, usize)| single + 2 * split;
    let most_tiles =
        tiles_of(if splits { (0, steps(most)) } else { (steps(most), 0) }) + 2 * steps(EXTRA_DEPTH);
    let tile_rows = rows.len().div_ceil(SQUARE) * 2;
    let (left, right) = scratch.parts(tile_rows * most_tiles * TILE, most_tiles * STEP + SQUARE * SQUARE);
    let (left, right) = (left.as_mut_ptr(), right.as_mut_ptr());
    let square = right.wrapping_add(most_tiles * STEP);
    let stretches = problem.inner.div_ceil(most).max(1);
    let stretch = problem.inner.div_ceil(stretches).next_multiple_of(PLACES);
    let mut from = 0;
    // SAFETY: tiles are here.
    unsafe { CONFIG.load() };
    loop {
        let to = problem.inner.min(from + stretch);
        // The second product rides on the last stretch: its sums are in the same registers.
        let extra = problem.extra.as_ref().filter(|_| to >= problem.inner);
        let own = if splits { (0, steps(to - from)) } else { (steps(to - from), 0) };
        let depth = (own.0, own.1 + extra.map_or(0, |extra| steps(extra.inner)));
        let line = tiles_of(depth) * TILE;
        // SAFETY: rows and places lie inside both left sides, and each row of tiles has `line` units of room.
        unsafe {
            let place = (left, line);
            if splits {
                pack_left::<true>(&problem.left, rows.clone(), from..to, place);
            } else {
                pack_left::<false>(&problem.left, rows.clone(), from..to, place);
            }
            if let Some(extra) = extra {
                let place = (left.wrapping_add(tiles_of(own) * TILE), line);
                pack_left::<true>(&extra.left, rows.clone(), 0..extra.inner, place);
            }
        }
        for column in columns.clone().step_by(SQUARE) {
            let count = SQUARE.min(columns.end - column);
            // SAFETY: the columns lie inside both right sides and begin at a multiple of 32; a panel has room for all steps; results go to this task's own rectangle,
            // in whole squares only where it has them.
            unsafe {
                if splits {
                    split_right(&problem.right, from..to, (column, count), right);
                } else {
                    fill_right::<__m512, InPairs, E>(&problem.right, from..to, column, count, right);
                    let units = (to - from).div_ceil(2) * SQUARE;
                    right.wrapping_add(units).write_bytes(0, own.0 * STEP - units);
                }
                if let Some(extra) = extra {
                    let place = right.wrapping_add(tiles_of(own) * STEP);
                    split_right(&extra.right, 0..extra.inner, (column, count), place);
                }
                for row in rows.clone().step_by(SQUARE) {
                    let above = left.wrapping_add((row - rows.start) / SIDE * line).cast_const();
                    let tiles = [above, above.wrapping_add(line)];
                    let target = problem.target.0.wrapping_add(row * problem.target_stride + column);
                    let height = SQUARE.min(rows.end - row);
                    let start = if from > 0 { Accumulate::Target } else { problem.start };
                    if matches!(start, Accumulate::Zero) && height == SQUARE && count == SQUARE {
                        multiply(tiles, right, depth, (target, problem.target_stride));
                        continue;
                    }
                    multiply(tiles, right, depth, (square, SQUARE));
                    add(square, (target, problem.target_stride), (height, column..column + count), start);
                }
            }
        }
        from = to;
        if from >= problem.inner {
            break;
        }
    }
    // Nothing is to be saved when this thread is put aside. SAFETY: as above.
    unsafe { Config::release() };
}

/// Lanes up to so many.
const fn lanes(count: usize) -> u16 {
    if count >= SIDE { u16::MAX } else { (1 << count) - 1 }
}

/// What tiles came to, on top of what the result starts from.
///
/// # Safety
/// The target has so many rows and columns, and `square` all of its own.
#[target_feature(enable = "avx512bf16,avx512bw,avx512vl,avx512f,avx2,fma,f16c")]
#[expect(unsafe_code, reason = "registers are loaded through pointers")]
unsafe fn add(
    square: *const f32,
    (target, stride): (*mut f32, usize),
    (rows, columns): (usize, Range<usize>),
    start: Accumulate<'_>,
) {
    for half in 0..columns.len().div_ceil(SIDE) {
        let mask = lanes(columns.len() - half * SIDE);
        // SAFETY: masks stop where the columns do, and the rows are there.
        unsafe {
            let bias = match start {
                Accumulate::Bias(bias) => {
                    _mm512_maskz_loadu_ps(mask, bias[columns.start + half * SIDE..columns.end].as_ptr())
                }
                _ => _mm512_setzero_ps(),
            };
            for row in 0..rows {
                let sum = _mm512_loadu_ps(square.wrapping_add(row * SQUARE + half * SIDE));
                let to = target.wrapping_add(row * stride + half * SIDE);
                let sum = match start {
                    Accumulate::Zero => sum,
                    Accumulate::Bias(_) => _mm512_add_ps(bias, sum),
                    Accumulate::Target => _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to), sum),
                };
                _mm512_mask_storeu_ps(to, mask, sum);
            }
        }
    }
}

/// Some rows and places of the left side as rows of tiles, `line` units apart. What lies behind them is zero.
///
/// # Safety
/// They lie inside `left`, and there is room for an even number of rows of tiles.
#[inline]
#[target_feature(enable = "avx512bf16,avx512bw,avx512vl,avx512f,avx2,fma,f16c")]
#[expect(unsafe_code, reason = "registers are loaded through pointers")]
unsafe fn pack_left<const SPLIT: bool>(
    left: &Matrix<'_, f32>,
    rows: Range<usize>,
    inner: Range<usize>,
    (to, line): (*mut f32, usize),
) {
    let tiles = if SPLIT { 2 } else { 1 };
    for tile_row in 0..rows.len().div_ceil(SQUARE) * 2 {
        let first = rows.start + tile_row * SIDE;
        let height = SIDE.min(rows.end.saturating_sub(first));
        let to = to.wrapping_add(tile_row * line);
        for (step, place) in inner.clone().step_by(PLACES).enumerate() {
            let to = to.wrapping_add(step * tiles * TILE);
            let places = PLACES.min(inner.end - place);
            // SAFETY: masks stop where rows and places do, and what lies behind them is not read.
            unsafe {
                match left.order {
                    Order::Rows => {
                        let masks = [lanes(places), lanes(places.saturating_sub(SIDE))];
                        for row in 0..SIDE {
                            let to = to.wrapping_add(row * SIDE);
                            let masks = if row < height { masks } else { [0; 2] };
                            let from = left.values.as_ptr().wrapping_add((first + row) * left.stride + place);
                            let values = [
                                _mm512_maskz_loadu_ps(masks[0], from),
                                _mm512_maskz_loadu_ps(masks[1], from.wrapping_add(SIDE)),
                            ];
                            if SPLIT {
                                let [first, second] = values.map(|values| split(values));
                                neighbours([first[0], second[0]]).store(to);
                                neighbours([first[1], second[1]]).store(to.wrapping_add(TILE));
                            } else {
                                neighbours(values).store(to);
                            }
                        }
                    }
                    Order::Columns => {
                        let mask = lanes(height);
                        let mut units = [[_mm512_setzero_ps(); SIDE]; 2];
                        #[expect(clippy::needless_range_loop, reason = "a number of two places, too")]
                        for unit in 0..places.div_ceil(2) {
                            let values = [0, 1].map(|at| {
                                let mask = if 2 * unit + at < places { mask } else { 0 };
                                let line = (place + 2 * unit + at) * left.stride + first;
                                _mm512_maskz_loadu_ps(mask, left.values.as_ptr().wrapping_add(line))
                            });
                            if SPLIT {
                                let [even, odd] = values.map(|values| split(values));
                                units[0][unit] = between([even[0], odd[0]]);
                                units[1][unit] = between([even[1], odd[1]]);
                            } else {
                                units[0][unit] = between(values);
                            }
                        }
                        for (tile, units) in units[..tiles].iter().enumerate() {
                            transpose(units, to.wrapping_add(tile * TILE));
                        }
                    }
                }
            }
        }
    }
}

/// Values of the right side as two each: for each step, the roundings' panel and then the one of what they left over.
///
/// # Safety
/// As [`fill_right`], with room for whole steps.
#[inline]
#[target_feature(enable = "avx512bf16,avx512bw,avx512vl,avx512f,avx2,fma,f16c")]
#[expect(unsafe_code, reason = "registers are loaded through pointers")]
unsafe fn split_right<E: Stored>(
    right: &Matrix<'_, E>,
    inner: Range<usize>,
    (column, count): (usize, usize),
    to: *mut f32,
) {
    let places = inner.len();
    let steps = steps(places);
    // SAFETY: there is room for whole steps, as the caller promises; a step is copied before it is written over.
    unsafe {
        // One value a unit takes as much room as two halves of it.
        fill_right::<__m512, Single, E>(right, inner, column, count, to);
        to.wrapping_add(places * SQUARE).write_bytes(0, steps * PLACES * SQUARE - places * SQUARE);
        let mut values = [0.0f32; PLACES * SQUARE];
        for step in 0..steps {
            let to = to.wrapping_add(step * PLACES * SQUARE);
            to.copy_to_nonoverlapping(values.as_mut_ptr(), values.len());
            for at in (0..STEP).step_by(SIDE) {
                let (unit, lane) = (at / SQUARE, at % SQUARE);
                let line = values.as_ptr().wrapping_add(2 * unit * SQUARE + lane);
                let [even, odd] = [0, SQUARE].map(|behind| split(_mm512_loadu_ps(line.wrapping_add(behind))));
                between([even[0], odd[0]]).store(to.wrapping_add(at));
                between([even[1], odd[1]]).store(to.wrapping_add(STEP + at));
            }
        }
    }
}

/// Each value's rounding to bf16, and what that leaves over.
#[inline]
#[target_feature(enable = "avx512bf16,avx512bw,avx512vl,avx512f,avx2,fma,f16c")]
fn split(values: __m512) -> [__m512; 2] {
    let rounded = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(half_words(values)));
    [rounded, _mm512_sub_ps(values, rounded)]
}

/// Each value's rounding to bf16, in the lower half of its place.
#[inline]
#[target_feature(enable = "avx512bf16,avx512bw,avx512vl,avx512f,avx2,fma,f16c")]
fn half_words(values: __m512) -> __m512i {
    #[expect(unsafe_code, reason = "two names of the same bits")]
    // SAFETY: both are 32 bytes of numbers.
    let halves = unsafe { transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values)) };
    _mm512_cvtepu16_epi32(halves)
}

/// Pairs of neighbours: the first register's, then the second's.
#[inline]
#[target_feature(enable = "avx512bf16,avx512bw,avx512vl,avx512f,avx2,fma,f16c")]
fn neighbours([first, second]: [__m512; 2]) -> __m512 {
    #[expect(unsafe_code, reason = "as above")]
    // SAFETY: as above.
    unsafe {
        transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(second, first))
    }
}

/// Pairs of a value of the first register and its like in the second.
#[inline]
#[target_feature(enable = "avx512bf16,avx512bw,avx512vl,avx512f,avx2,fma,f16c")]
fn between([first, second]: [__m512; 2]) -> __m512 {
    _mm512_castsi512_ps(_mm512_or_si512(half_words(first), _mm512_slli_epi32::<16>(half_words(second))))
}

/// Sixteen registers of sixteen units, lines and columns exchanged.
///
/// # Safety
/// There is room for a tile.
#[inline]
#[target_feature(enable = "avx512bf16,avx512bw,avx512vl,avx512f,avx2,fma,f16c")]
#[expect(unsafe_code, reason = "registers are stored through pointers")]
unsafe fn transpose(units: &[__m512; SIDE], to: *mut f32) {
    let upper = |unit: __m512| _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(unit)));
    for part in 0..2 {
        let eight: [__m512; 8] = std::array::from_fn(|at| units[part * 8 + at]);
        let to = to.wrapping_add(part * 8);
        // SAFETY: eight lines of eight, in each of the tile's quarters.
        unsafe {
            <__m256 as Lanes>::transpose8(eight.map(|unit| _mm512_castps512_ps256(unit)), to, SIDE);
            <__m256 as Lanes>::transpose8(eight.map(upper), to.wrapping_add(8 * SIDE), SIDE);
        }
    }
}
