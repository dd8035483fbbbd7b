//! Products with many rows: panels of both sides are laid out for the caches, and tiles of the result stay in registers.
//!
//! For a stretch of the inner length, a task's rows of the left side stay in the second cache; each panel of the right side, two registers
//! wide, is widened and laid out for the first cache, and meets all of those rows.

#![expect(
    clippy::inline_always,
    reason = "a kernel compiled for some instructions must hold all that it calls, or that is compiled without them"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "numbers of registers: the loops are unrolled, and the shape of the code is the shape of the tile"
)]

use std::cell::RefCell;
use std::ops::Range;

use super::lanes::{LINE, Lanes, Portable, Stored};
use super::layout::{Ahead, COLUMN_TILES, Layout, fill_right, pack_left};
use super::places::{Places, Single};
use super::{Accumulate, Gemm, Order, Registers, TASK_COLUMNS};

/// The sizes of one machine's kernel.
pub(crate) struct Sizes {
    /// Rows of a tile: with two registers of columns, they fill the registers.
    pub(crate) rows: usize,
    /// Values in two registers.
    columns: usize,
    /// Units of the inner length in a stretch: a panel of the right side fills half of the first cache.
    pub(crate) depth: usize,
    /// Rows of a task, a multiple of a tile's: they fill half of the second cache.
    block: usize,
}

/// From so many columns on, laying out the left side pays for itself.
const PACKED_FROM: usize = 64;
/// Inner length that the second product may have: it is laid out behind the first one's last stretch.
pub(crate) const EXTRA_DEPTH: usize = 64;
/// Places of the inner length in a turn of the innermost loop.
const UNROLLED: usize = 4;
/// Rows whose starts are a multiple of so many bytes apart fight for one place of the cache.
const CONFLICT: usize = 1024;

#[cfg(target_arch = "x86_64")]
pub(crate) const AVX2: Sizes = Sizes { rows: 6, columns: 16, depth: 320, block: 258 };
/// The right side's panels are laid out anew for each block of rows.
#[cfg(target_arch = "x86_64")]
const AMX: Sizes = Sizes { rows: 32, columns: 32, depth: 256, block: 768 };
#[cfg(target_arch = "x86_64")]
pub(crate) const AVX512: Sizes = Sizes { rows: 12, columns: 32, depth: 256, block: 384 };
#[cfg(target_arch = "aarch64")]
pub(crate) const NEON: Sizes = Sizes { rows: 6, columns: 16, depth: 256, block: 240 };
const PORTABLE: Sizes = Sizes { rows: 2, columns: 16, depth: 256, block: 240 };

/// The most rows of a task, and rows and columns of a tile.
pub(crate) const fn shape(registers: Registers) -> (usize, (usize, usize)) {
    let sizes = match registers {
        #[cfg(target_arch = "x86_64")]
        Registers::Amx => AMX,
        #[cfg(target_arch = "x86_64")]
        Registers::Avx512 => AVX512,
        #[cfg(target_arch = "x86_64")]
        Registers::Avx2 => AVX2,
        #[cfg(target_arch = "aarch64")]
        Registers::Neon => NEON,
        Registers::Portable => PORTABLE,
    };
    (sizes.block, (sizes.rows, sizes.columns))
}

/// Columns of a task: enough to make up for laying out its rows of the left side, and not so many that results leave the last cache.
pub(crate) const fn task_columns(registers: Registers) -> Range<usize> {
    match registers {
        // What is laid out takes as long as three hundred columns' products.
        #[cfg(target_arch = "x86_64")]
        Registers::Amx => 2 * TASK_COLUMNS..4 * TASK_COLUMNS,
        _ => TASK_COLUMNS..2 * TASK_COLUMNS,
    }
}

/// Where a task lays out its panels: each thread keeps its own.
#[derive(Default)]
pub(crate) struct Scratch {
    memory: Vec<f32>,
}

impl Scratch {
    /// The left side's copy and the right side's panel, both at the start of a line.
    pub(crate) fn parts(&mut self, left: usize, right: usize) -> (&mut [f32], &mut [f32]) {
        let line = LINE / size_of::<f32>();
        let (left, right) = (left.next_multiple_of(line), right.next_multiple_of(line));
        if self.memory.len() < left + right + line {
            self.memory.resize(left + right + line, 0.0);
        }
        let start = self.memory.as_ptr().align_offset(LINE);
        let start = if start < line { start } else { 0 };
        self.memory[start..start + left + right].split_at_mut(left)
    }
}

pub(crate) fn with_scratch(run: impl FnOnce(&mut Scratch)) {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::default();
    }
    // A task starts no other one, so nobody on this thread holds the scratch.
    SCRATCH.with_borrow_mut(run);
}

/// [`block`] in plain Rust.
///
/// # Safety
/// As there.
#[expect(unsafe_code, reason = "as `block`")]
pub(crate) unsafe fn portable<P: Places<Portable>, E: Stored>(
    problem: &Gemm<'_, E>,
    rows: Range<usize>,
    columns: Range<usize>,
    scratch: &mut Scratch,
) {
    // SAFETY: as the caller promises; every processor has the instructions of `Portable`.
    unsafe { block::<Portable, P, E, { PORTABLE.rows }, { PORTABLE.depth }>(problem, rows, columns, scratch) }
}

/// One task.
///
/// # Safety
/// The problem is checked, `rows` and `columns` lie inside it and belong to this task alone, `columns` begin at a multiple of two registers'
/// values, and the processor has the instructions of `L`.
#[inline(always)]
#[expect(unsafe_code, reason = "registers are loaded through pointers")]
pub(crate) unsafe fn block<L: Lanes, P: Places<L>, E: Stored, const ROWS: usize, const DEPTH: usize>(
    problem: &Gemm<'_, E>,
    rows: Range<usize>,
    columns: Range<usize>,
    scratch: &mut Scratch,
) {
    let width = 2 * L::COUNT;
    let tiles = rows.len().div_ceil(ROWS);
    let conflict = (problem.left.stride * size_of::<f32>()).is_multiple_of(CONFLICT);
    let packs = P::COUNT > 1
        || columns.len() >= PACKED_FROM
        || problem.extra.is_some()
        || match problem.left.order {
            Order::Rows => rows.len() > ROWS && conflict,
            // In place, whole tiles are read.
            Order::Columns => conflict || !rows.len().is_multiple_of(ROWS),
        };
    if let Some(extra) = &problem.extra {
        assert!(extra.left.order == problem.left.order && extra.inner <= EXTRA_DEPTH);
    }
    let copied = if packs {
        Layout::new(problem.left.order, ROWS, DEPTH + EXTRA_DEPTH).tile(tiles.next_multiple_of(COLUMN_TILES))
    } else {
        0
    };
    let (left, right) = scratch.parts(copied, (DEPTH + EXTRA_DEPTH) * width);
    assert!(left.len() >= copied && right.len() >= (DEPTH + EXTRA_DEPTH) * width);
    let (left, right) = (left.as_mut_ptr(), right.as_mut_ptr());
    let values = problem.left.values.as_ptr();
    let most = DEPTH * P::COUNT;
    let stretches = problem.inner.div_ceil(most).max(1);
    let step = problem.inner.div_ceil(stretches).next_multiple_of(8 * P::COUNT).min(most);
    let mut from = 0;
    loop {
        let to = problem.inner.min(from + step);
        let units = (to - from).div_ceil(P::COUNT);
        // The second product rides on the last stretch: its sums are in the same registers.
        let extra = problem.extra.as_ref().filter(|_| to >= problem.inner);
        let depth = (units, extra.map_or(0, |extra| extra.inner));
        let layout = Layout::new(problem.left.order, ROWS, depth.0 + depth.1);
        if packs {
            // SAFETY: the task's rows and the stretch are inside the left side, and `left` has room, asserted above, for whole groups of tiles as
            // deep as a stretch and a second product can be. That one, checked and as high, comes behind the units of the first.
            unsafe {
                pack_left::<L, P, ROWS>(&problem.left, problem.rows, rows.clone(), from..to, left, layout);
                if let Some(extra) = extra {
                    let left = left.wrapping_add(units * layout.stride);
                    pack_left::<L, Single, ROWS>(
                        &extra.left,
                        problem.rows,
                        rows.clone(),
                        0..extra.inner,
                        left,
                        layout,
                    );
                }
            }
        }
        let mut column = columns.start;
        while column < columns.end {
            let count = width.min(columns.end - column);
            // SAFETY: the columns and the stretch are inside the right side; panels begin at multiples of their width, and stretches of eight
            // units. `right` has room for the units of a stretch and behind them for those of a second product, asserted above.
            unsafe {
                fill_right::<L, P, E>(&problem.right, from..to, column, count, right);
                if let Some(extra) = extra {
                    let place = right.wrapping_add(units * width);
                    fill_right::<L, Single, f32>(&extra.right, 0..extra.inner, column, count, place);
                }
            }
            let next = column + count;
            let next_count = width.min(columns.end - next);
            let mut ahead = Ahead::new(&problem.right, from..to, next, next_count, tiles);
            for tile in 0..tiles {
                // SAFETY: the tile's place, its rows and `count` columns are the task's, inside the result. Both sides are as deep as `depth`: they
                // were laid out above, or the left one is in memory, has no second product beside it, and either comes in whole tiles or uses its
                // last row again.
                unsafe {
                    ahead.fetch::<L>();
                    let row = rows.start + tile * ROWS;
                    let place = TileOrigin {
                        target: problem.target.0.add(row * problem.target_stride + column),
                        stride: problem.target_stride,
                        rows: ROWS.min(rows.end - row),
                        columns: count,
                        first: first_start(problem, from, column),
                    };
                    if packs {
                        let start = left.cast_const().wrapping_add(layout.tile(tile));
                        let side = Neighbours { start, stride: layout.stride };
                        multiply_as_wide::<L, P, _, ROWS>(side, right, depth, &place);
                    } else if problem.left.order == Order::Columns {
                        let start = values.wrapping_add(from * problem.left.stride + row);
                        let side = Neighbours { start, stride: problem.left.stride };
                        multiply_as_wide::<L, P, _, ROWS>(side, right, depth, &place);
                    } else {
                        // Behind the last row it is used again, and the result left out.
                        let rows = std::array::from_fn(|line| {
                            let row = (row + line).min(rows.end - 1);
                            values.wrapping_add(row * problem.left.stride + from)
                        });
                        let side = Apart::<ROWS> { rows, at: 0 };
                        multiply_as_wide::<L, P, _, ROWS>(side, right, depth, &place);
                    }
                }
            }
            column = next;
        }
        from = to;
        if from >= problem.inner {
            return;
        }
    }
}

/// Where a tile finds the left side.
#[expect(unsafe_code, reason = "as `block`")]
trait Side: Copy {
    /// # Safety
    /// `row` is one of the tile's, and `at` inside the stretch.
    unsafe fn value(&self, row: usize, at: usize) -> f32;

    /// The same side, seen from place `by` on.
    fn later(self, by: usize) -> Self;
}

/// Each row in memory of its own.
#[derive(Clone, Copy)]
struct Apart<const ROWS: usize> {
    rows: [*const f32; ROWS],
    at: usize,
}

/// The rows' values beside each other, for each place of the inner length.
#[derive(Clone, Copy)]
struct Neighbours {
    start: *const f32,
    stride: usize,
}

// Wrapping sums: inside a checked problem none overflows, and a check in the innermost loop costs a tenth of the speed.
#[expect(unsafe_code, reason = "as `block`")]
impl<const ROWS: usize> Side for Apart<ROWS> {
    #[inline(always)]
    unsafe fn value(&self, row: usize, at: usize) -> f32 {
        // SAFETY: as the caller promises: the row is as long as the stretch from its pointer on.
        unsafe { *self.rows[row].wrapping_add(self.at.wrapping_add(at)) }
    }

    #[inline(always)]
    fn later(self, by: usize) -> Self {
        Self { at: self.at.wrapping_add(by), ..self }
    }
}

#[expect(unsafe_code, reason = "as `block`")]
impl Side for Neighbours {
    #[inline(always)]
    unsafe fn value(&self, row: usize, at: usize) -> f32 {
        // SAFETY: as the caller promises: each place of the stretch has the values of all the tile's rows beside each other.
        unsafe { *self.start.wrapping_add(at.wrapping_mul(self.stride).wrapping_add(row)) }
    }

    #[inline(always)]
    fn later(self, by: usize) -> Self {
        Self { start: self.start.wrapping_add(by.wrapping_mul(self.stride)), ..self }
    }
}

/// # Safety
/// As [`multiply`].
#[inline(always)]
#[expect(unsafe_code, reason = "as `block`")]
unsafe fn multiply_as_wide<L: Lanes, P: Places<L>, S: Side, const ROWS: usize>(
    side: S,
    right: *const f32,
    depth: (usize, usize),
    place: &TileOrigin,
) {
    // SAFETY: as the caller promises; the result's columns fit in as many registers as are used.
    unsafe {
        if place.columns > L::COUNT {
            multiply::<L, P, S, ROWS, 2>(side, right, depth, place);
        } else {
            multiply::<L, P, S, ROWS, 1>(side, right, depth, place);
        }
    }
}

/// What a tile is added to.
#[derive(Clone, Copy)]
enum First {
    Zero,
    Target,
    /// One value a column.
    Bias(*const f32),
}

/// Later stretches of the inner length are added to what the earlier ones left.
#[inline(always)]
fn first_start<E: Stored>(problem: &Gemm<'_, E>, from: usize, column: usize) -> First {
    match problem.start {
        _ if from > 0 => First::Target,
        Accumulate::Zero => First::Zero,
        Accumulate::Target => First::Target,
        Accumulate::Bias(bias) => First::Bias(bias[column..].as_ptr()),
    }
}

/// A tile's place in the result.
struct TileOrigin {
    target: *mut f32,
    stride: usize,
    rows: usize,
    columns: usize,
    first: First,
}

/// `ROWS` rows of the left side times a panel. `depth`: units of `P`, and behind them single values.
///
/// # Safety
/// `side` has `ROWS` rows as deep as that, `right` holds as many rows of two registers, `place` is inside the result, this task's alone, and no wider
/// than the registers, and where it starts from a bias there is one for each column. The processor has the instructions of `L`.
#[inline(always)]
#[expect(unsafe_code, reason = "as `block`")]
unsafe fn multiply<L: Lanes, P: Places<L>, S: Side, const ROWS: usize, const VECTORS: usize>(
    side: S,
    right: *const f32,
    depth: (usize, usize),
    place: &TileOrigin,
) {
    // SAFETY: `along` passes as many units of both sides as `depth` says. Whole registers of the result and of the bias are read and written only
    // where the tile is whole; at an edge, rows and columns that are there, from a line that holds the two widest registers.
    unsafe {
        let mut sums = [[L::splat(0.0); VECTORS]; ROWS];
        for row in 0..ROWS {
            let line = place.target.wrapping_add(row.wrapping_mul(place.stride));
            for vector in 0..VECTORS {
                L::prefetch(line.wrapping_add(vector * L::COUNT));
            }
        }
        let behind = along::<L, P, S, ROWS, VECTORS>(side, right, depth.0, &mut sums);
        along::<L, Single, S, ROWS, VECTORS>(behind.0, behind.1, depth.1, &mut sums);
        if place.rows == ROWS && place.columns == VECTORS * L::COUNT {
            match place.first {
                First::Zero => {}
                First::Target => {
                    for row in 0..ROWS {
                        let at = place.target.wrapping_add(row.wrapping_mul(place.stride));
                        for vector in 0..VECTORS {
                            let before = L::load(at.add(vector * L::COUNT));
                            sums[row][vector] = before.add(sums[row][vector]);
                        }
                    }
                }
                First::Bias(bias) => {
                    for vector in 0..VECTORS {
                        let bias = L::load(bias.add(vector * L::COUNT));
                        for row in 0..ROWS {
                            sums[row][vector] = bias.add(sums[row][vector]);
                        }
                    }
                }
            }
            for row in 0..ROWS {
                let at = place.target.wrapping_add(row.wrapping_mul(place.stride));
                for vector in 0..VECTORS {
                    sums[row][vector].store(at.add(vector * L::COUNT));
                }
            }
            return;
        }
        // The edge of the result: the same sums, written one by one.
        let mut line = [0f32; 32];
        debug_assert!(VECTORS * L::COUNT <= line.len());
        for row in 0..ROWS {
            if row >= place.rows {
                break;
            }
            for vector in 0..VECTORS {
                sums[row][vector].store(line.as_mut_ptr().add(vector * L::COUNT));
            }
            for column in 0..place.columns {
                let at = place.target.add(row * place.stride + column);
                *at = match place.first {
                    First::Zero => line[column],
                    First::Target => *at + line[column],
                    First::Bias(bias) => *bias.add(column) + line[column],
                };
            }
        }
    }
}

/// `depth` units, one after the other; returns where the next one lies.
///
/// # Safety
/// As [`multiply`], of these two sides.
#[inline(always)]
#[expect(unsafe_code, reason = "as `block`")]
unsafe fn along<L: Lanes, P: Places<L>, S: Side, const ROWS: usize, const VECTORS: usize>(
    mut side: S,
    mut right: *const f32,
    depth: usize,
    sums: &mut [[L; VECTORS]; ROWS],
) -> (S, *const f32) {
    // SAFETY: as the caller promises: the turns pass `depth` units, and both sides move along with them.
    unsafe {
        for _ in 0..depth / UNROLLED {
            for at in 0..UNROLLED {
                outer::<L, P, S, ROWS, VECTORS>(side, right, at, sums);
            }
            side = side.later(UNROLLED);
            right = right.wrapping_add(UNROLLED * 2 * L::COUNT);
        }
        for _ in 0..depth % UNROLLED {
            outer::<L, P, S, ROWS, VECTORS>(side, right, 0, sums);
            side = side.later(1);
            right = right.wrapping_add(2 * L::COUNT);
        }
    }
    (side, right)
}

/// One unit of the inner length: every row's value times the panel's row.
///
/// # Safety
/// As [`multiply`], with `at < depth`.
#[inline(always)]
#[expect(unsafe_code, reason = "as `block`")]
unsafe fn outer<L: Lanes, P: Places<L>, S: Side, const ROWS: usize, const VECTORS: usize>(
    side: S,
    right: *const f32,
    at: usize,
    sums: &mut [[L; VECTORS]; ROWS],
) {
    // SAFETY: as the caller promises: unit `at` is there, a row of two registers on the right side and `ROWS` values on the left.
    unsafe {
        let right = right.add(at * 2 * L::COUNT);
        let mut vectors = [L::splat(0.0); VECTORS];
        for vector in 0..VECTORS {
            vectors[vector] = L::load(right.add(vector * L::COUNT));
        }
        for row in 0..ROWS {
            let value = L::splat(side.value(row, at));
            for vector in 0..VECTORS {
                sums[row][vector] = P::multiply_add(value, vectors[vector], sums[row][vector]);
            }
        }
    }
}
