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
use super::{Machine, Matrix, Order, Problem, Start};

/// The sizes of one machine's kernel.
pub(super) struct Sizes {
    /// Rows of a tile: with two registers of columns, they fill the registers.
    pub(super) rows: usize,
    /// Values in two registers.
    columns: usize,
    /// Inner length of a stretch: a panel of the right side fills half of the first cache.
    pub(super) depth: usize,
    /// Rows of a task, a multiple of a tile's: they fill half of the second cache.
    block: usize,
}

/// From so many columns on, laying out the left side pays for itself.
const PACKED_FROM: usize = 64;
/// Inner length that the second product may have: it is laid out behind the first one's last stretch.
pub(super) const EXTRA_DEPTH: usize = 64;
/// Registers are written whole, so that the last one reaches behind what was asked for.
const SPILL: usize = 16;
/// Tiles that are laid out together where neighbours in memory are neighbours in a column: they fill whole registers.
const COLUMN_TILES: usize = 4;
/// Places of the inner length in a turn of the innermost loop.
const UNROLLED: usize = 4;
/// Rows whose starts are a multiple of so many bytes apart fight for one place of the cache.
const CONFLICT: usize = 1024;

pub(super) const AVX2: Sizes = Sizes { rows: 6, columns: 16, depth: 320, block: 258 };
pub(super) const AVX512: Sizes = Sizes { rows: 12, columns: 32, depth: 192, block: 384 };
const PORTABLE: Sizes =
    Sizes { rows: if cfg!(target_arch = "aarch64") { 6 } else { 2 }, columns: 16, depth: 256, block: 240 };

const fn sizes(machine: Machine) -> Sizes {
    match machine {
        #[cfg(target_arch = "x86_64")]
        Machine::Avx512 => AVX512,
        #[cfg(target_arch = "x86_64")]
        Machine::Avx2 => AVX2,
        Machine::Portable => PORTABLE,
    }
}

/// The most rows of a task, and rows and columns of a tile.
pub(super) const fn shape(machine: Machine) -> (usize, (usize, usize)) {
    let sizes = sizes(machine);
    (sizes.block, (sizes.rows, sizes.columns))
}

/// Where a task lays out its panels: each thread keeps its own.
#[derive(Default)]
pub(super) struct Scratch {
    memory: Vec<f32>,
}

impl Scratch {
    /// The left side's copy and the right side's panel, both at the start of a line.
    fn parts(&mut self, left: usize, right: usize) -> (&mut [f32], &mut [f32]) {
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

pub(super) fn with_scratch(run: impl FnOnce(&mut Scratch)) {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::default();
    }
    // A task starts no other one, so nobody on this thread holds the scratch.
    SCRATCH.with_borrow_mut(run);
}

#[expect(unsafe_code, reason = "as `block`")]
pub(super) unsafe fn portable<E: Stored>(
    problem: &Problem<'_, E>,
    rows: Range<usize>,
    columns: Range<usize>,
    scratch: &mut Scratch,
) {
    unsafe { block::<Portable, E, { PORTABLE.rows }, { PORTABLE.depth }>(problem, rows, columns, scratch) }
}

/// One task.
///
/// # Safety
/// The problem is checked, `rows` and `columns` lie inside it and belong to this task alone, and the processor has the instructions of `L`.
#[inline(always)]
#[expect(unsafe_code, reason = "registers are loaded through pointers")]
pub(super) unsafe fn block<L: Lanes, E: Stored, const ROWS: usize, const DEPTH: usize>(
    problem: &Problem<'_, E>,
    rows: Range<usize>,
    columns: Range<usize>,
    scratch: &mut Scratch,
) {
    let width = 2 * L::COUNT;
    let tiles = rows.len().div_ceil(ROWS);
    let conflict = (problem.left.stride * size_of::<f32>()).is_multiple_of(CONFLICT);
    let packs = columns.len() >= PACKED_FROM
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
    let stretches = problem.inner.div_ceil(DEPTH).max(1);
    let step = problem.inner.div_ceil(stretches).next_multiple_of(8).min(DEPTH);
    let mut from = 0;
    loop {
        let to = problem.inner.min(from + step);
        let inner = to - from;
        // The second product rides on the last stretch: its sums are in the same registers.
        let extra = problem.extra.as_ref().filter(|_| to >= problem.inner);
        let depth = inner + extra.map_or(0, |extra| extra.inner);
        let layout = Layout::new(problem.left.order, ROWS, depth);
        if packs {
            unsafe {
                pack_left::<L, ROWS>(&problem.left, problem.rows, rows.clone(), from..to, left, layout);
                if let Some(extra) = extra {
                    let left = left.wrapping_add(inner * layout.stride);
                    pack_left::<L, ROWS>(
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
            unsafe {
                fill_right::<L, E>(&problem.right, from..to, column, count, right);
                if let Some(extra) = extra {
                    let place = right.wrapping_add(inner * width);
                    fill_right::<L, f32>(&extra.right, 0..extra.inner, column, count, place);
                }
            }
            let next = column + count;
            let next_count = width.min(columns.end - next);
            let mut ahead = Ahead::new(&problem.right, from..to, next, next_count, tiles);
            for tile in 0..tiles {
                unsafe {
                    ahead.fetch::<L>();
                    let row = rows.start + tile * ROWS;
                    let place = Place {
                        target: problem.target.0.add(row * problem.target_stride + column),
                        stride: problem.target_stride,
                        rows: ROWS.min(rows.end - row),
                        columns: count,
                        first: first_start(problem, from, column),
                    };
                    if packs {
                        let start = left.cast_const().wrapping_add(layout.tile(tile));
                        let side = Neighbours { start, stride: layout.stride };
                        multiply_as_wide::<L, _, ROWS>(side, right, depth, &place);
                    } else if problem.left.order == Order::Columns {
                        let start = values.wrapping_add(from * problem.left.stride + row);
                        let side = Neighbours { start, stride: problem.left.stride };
                        multiply_as_wide::<L, _, ROWS>(side, right, depth, &place);
                    } else {
                        // Behind the last row it is used again, and the result left out.
                        let rows = std::array::from_fn(|line| {
                            let row = (row + line).min(rows.end - 1);
                            values.wrapping_add(row * problem.left.stride + from)
                        });
                        let side = Apart::<ROWS> { rows, at: 0 };
                        multiply_as_wide::<L, _, ROWS>(side, right, depth, &place);
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
unsafe fn multiply_as_wide<L: Lanes, S: Side, const ROWS: usize>(
    side: S,
    right: *const f32,
    depth: usize,
    place: &Place,
) {
    unsafe {
        if place.columns > L::COUNT {
            multiply::<L, S, ROWS, 2>(side, right, depth, place);
        } else {
            multiply::<L, S, ROWS, 1>(side, right, depth, place);
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
fn first_start<E>(problem: &Problem<'_, E>, from: usize, column: usize) -> First {
    match problem.start {
        _ if from > 0 => First::Target,
        Start::Zero => First::Zero,
        Start::Target => First::Target,
        Start::Bias(bias) => First::Bias(bias[column..].as_ptr()),
    }
}

/// A tile's place in the result.
struct Place {
    target: *mut f32,
    stride: usize,
    rows: usize,
    columns: usize,
    first: First,
}

/// `ROWS` rows of the left side times a panel.
///
/// # Safety
/// `side` has `ROWS` rows of `depth` values, `right` holds `depth` rows of two registers, and `place` is inside the result.
#[inline(always)]
#[expect(unsafe_code, reason = "as `block`")]
unsafe fn multiply<L: Lanes, S: Side, const ROWS: usize, const VECTORS: usize>(
    side: S,
    right: *const f32,
    depth: usize,
    place: &Place,
) {
    unsafe {
        let mut sums = [[L::splat(0.0); VECTORS]; ROWS];
        for row in 0..ROWS {
            L::prefetch(place.target.wrapping_add(row.wrapping_mul(place.stride)));
        }
        let (mut side, mut right) = (side, right);
        for _ in 0..depth / UNROLLED {
            for at in 0..UNROLLED {
                outer::<L, S, ROWS, VECTORS>(side, right, at, &mut sums);
            }
            side = side.later(UNROLLED);
            right = right.wrapping_add(UNROLLED * 2 * L::COUNT);
        }
        for _ in 0..depth % UNROLLED {
            outer::<L, S, ROWS, VECTORS>(side, right, 0, &mut sums);
            side = side.later(1);
            right = right.wrapping_add(2 * L::COUNT);
        }
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

/// One place of the inner length: every row's value times the panel's row.
///
/// # Safety
/// As [`multiply`], with `at < depth`.
#[inline(always)]
#[expect(unsafe_code, reason = "as `block`")]
unsafe fn outer<L: Lanes, S: Side, const ROWS: usize, const VECTORS: usize>(
    side: S,
    right: *const f32,
    at: usize,
    sums: &mut [[L; VECTORS]; ROWS],
) {
    unsafe {
        let right = right.add(at * 2 * L::COUNT);
        let mut vectors = [L::splat(0.0); VECTORS];
        for vector in 0..VECTORS {
            vectors[vector] = L::load(right.add(vector * L::COUNT));
        }
        for row in 0..ROWS {
            let value = L::splat(side.value(row, at));
            for vector in 0..VECTORS {
                sums[row][vector] = value.multiply_add(vectors[vector], sums[row][vector]);
            }
        }
    }
}

/// How the left side is laid out: tiles in groups, and in a group the values of its rows together for each place of the inner length. So a
/// tile is read from one end to the other, and whole registers are written.
#[derive(Clone, Copy)]
struct Layout {
    /// Tiles of a group.
    tiles: usize,
    /// Values from one place of the inner length to the next.
    stride: usize,
    /// Values from one group to the next: [`SPILL`] are left between them.
    group: usize,
}

impl Layout {
    #[inline(always)]
    const fn new(order: Order, rows: usize, depth: usize) -> Self {
        let tiles = match order {
            Order::Rows => 1,
            // As many as fill whole registers: their values are neighbours in memory already.
            Order::Columns => COLUMN_TILES,
        };
        Self { tiles, stride: tiles * rows, group: tiles * rows * depth + SPILL }
    }

    /// Where a tile begins.
    #[inline(always)]
    const fn tile(&self, tile: usize) -> usize {
        tile / self.tiles * self.group + tile % self.tiles * (self.stride / self.tiles)
    }
}

/// Lays out some rows and a stretch of the inner length, from place `to` of each tile on. Behind the last row it is used again. Whole registers
/// are written, so up to [`SPILL`] values behind a group's last one are, too.
///
/// # Safety
/// The ranges lie inside `left`, which has `all_rows` rows, and there is room for that.
#[inline(always)]
#[expect(unsafe_code, reason = "as `block`")]
unsafe fn pack_left<L: Lanes, const ROWS: usize>(
    left: &Matrix<'_, f32>,
    all_rows: usize,
    rows: Range<usize>,
    inner: Range<usize>,
    to: *mut f32,
    layout: Layout,
) {
    match left.order {
        Order::Rows => {
            for (tile, row) in rows.clone().step_by(ROWS).enumerate() {
                let to = to.wrapping_add(layout.tile(tile));
                let wide = row + ROWS.max(8) <= all_rows;
                unsafe { pack_rows::<L, ROWS>(left, row..rows.end, inner.clone(), to, wide) };
            }
        }
        Order::Columns => {
            // Lines lie far apart: few of them, and so few pages, at a time.
            let width = COLUMN_TILES * ROWS;
            for at in (0..inner.len()).step_by(8) {
                let piece = inner.start + at..inner.end.min(inner.start + at + 8);
                for (group, row) in rows.clone().step_by(width).enumerate() {
                    let to = to.wrapping_add(group * layout.group + at * layout.stride);
                    unsafe { pack_columns::<L, ROWS>(left, row..rows.end, piece.clone(), to) };
                }
            }
        }
    }
}

/// One tile; `wide`: whether eight rows and [`ROWS`] ones may be read.
///
/// # Safety
/// As [`pack_left`].
#[inline(always)]
#[expect(unsafe_code, reason = "as `block`")]
unsafe fn pack_rows<L: Lanes, const ROWS: usize>(
    left: &Matrix<'_, f32>,
    rows: Range<usize>,
    inner: Range<usize>,
    to: *mut f32,
    wide: bool,
) {
    let from = left.values.as_ptr().wrapping_add(rows.start * left.stride + inner.start);
    let depth = inner.len();
    let whole = if wide { depth / 8 * 8 } else { 0 };
    for at in (0..whole).step_by(8) {
        unsafe {
            // Eight rows, whichever of them belong to the tile: what is written beside it is written again by what follows.
            let (from, to) = (from.add(at), to.add(at * ROWS));
            L::transpose8(from, left.stride, to, ROWS);
            if ROWS > 8 {
                let late = ROWS - 8;
                L::transpose8(from.add(late * left.stride), left.stride, to.add(late), ROWS);
            }
        }
    }
    for at in whole..depth {
        for i in 0..ROWS {
            unsafe { *to.add(at * ROWS + i) = *from.add(i.min(rows.len() - 1) * left.stride + at) };
        }
    }
}

/// One group, some places of the inner length.
///
/// # Safety
/// As [`pack_left`].
#[inline(always)]
#[expect(unsafe_code, reason = "as `block`")]
unsafe fn pack_columns<L: Lanes, const ROWS: usize>(
    left: &Matrix<'_, f32>,
    rows: Range<usize>,
    inner: Range<usize>,
    to: *mut f32,
) {
    let width = COLUMN_TILES * ROWS;
    let from = left.values.as_ptr().wrapping_add(inner.start * left.stride + rows.start);
    for at in 0..inner.len() {
        let (from, to) = (from.wrapping_add(at * left.stride), to.wrapping_add(at * width));
        unsafe {
            if rows.len() >= width {
                for i in (0..width).step_by(L::COUNT) {
                    L::load(from.add(i)).store(to.add(i));
                }
            } else {
                for i in 0..width {
                    *to.add(i) = *from.add(i.min(rows.len() - 1));
                }
            }
        }
    }
}

/// `to[at * width + j]` for `count` columns from `column`; what lies behind them in a row is of no meaning.
///
/// # Safety
/// The ranges lie inside `right`, `count` is at most two registers, and `to` has room for the stretch.
#[inline(always)]
#[expect(unsafe_code, reason = "as `block`")]
unsafe fn fill_right<L: Lanes, E: Stored>(
    right: &Matrix<'_, E>,
    inner: Range<usize>,
    column: usize,
    count: usize,
    to: *mut f32,
) {
    let values = right.values.as_ptr();
    let width = 2 * L::COUNT;
    match right.order {
        Order::Columns => unsafe {
            let from = values.add(column * right.stride + inner.start);
            transpose::<L, E>((from, right.stride), (count, inner.len()), (to, width));
        },
        Order::Rows => {
            let start = values.wrapping_add(inner.start * right.stride + column);
            for at in 0..inner.len() {
                unsafe {
                    let from = start.wrapping_add(at * right.stride);
                    L::prefetch(from.wrapping_add(16 * right.stride + count - 1));
                    let to = to.add(at * width);
                    if count == width {
                        E::load::<L>(from).store(to);
                        E::load::<L>(from.add(L::COUNT)).store(to.add(L::COUNT));
                    } else {
                        for j in 0..count {
                            *to.add(j) = (*from.add(j)).widen();
                        }
                    }
                }
            }
        }
    }
}

/// `to[j * to_stride + i] = from[i * from_stride + j]` for `i < rows`, `j < columns`.
///
/// # Safety
/// Both sides have room for that.
#[inline(always)]
#[expect(unsafe_code, reason = "as `block`")]
unsafe fn transpose<L: Lanes, E: Stored>(
    (from, from_stride): (*const E, usize),
    (rows, columns): (usize, usize),
    (to, to_stride): (*mut f32, usize),
) {
    let (whole_rows, whole_columns) = (rows / 8 * 8, columns / 8 * 8);
    unsafe {
        for i in (0..whole_rows).step_by(8) {
            for j in (0..whole_columns).step_by(8) {
                let from = from.add(i * from_stride + j);
                L::transpose8(from, from_stride, to.add(j * to_stride + i), to_stride);
            }
            for j in whole_columns..columns {
                for i in i..i + 8 {
                    *to.add(j * to_stride + i) = (*from.add(i * from_stride + j)).widen();
                }
            }
        }
        for i in whole_rows..rows {
            for j in 0..columns {
                *to.add(j * to_stride + i) = (*from.add(i * from_stride + j)).widen();
            }
        }
    }
}

/// The memory of the next panel, asked for bit by bit while this one is being used.
struct Ahead<E> {
    line: *const E,
    stride: usize,
    lines_left: usize,
    /// Bytes of a line, and which of them are asked for next.
    length: usize,
    byte: usize,
    /// Pieces of a cache line's size to ask for at each tile.
    at_once: usize,
}

impl<E> Ahead<E> {
    /// What `fill_right` will read for `count` columns from `column`, which may be none.
    #[inline(always)]
    fn new(right: &Matrix<'_, E>, inner: Range<usize>, column: usize, count: usize, tiles: usize) -> Self {
        let (start, lines, length) = match right.order {
            Order::Columns => (column * right.stride + inner.start, count, inner.len()),
            Order::Rows => (inner.start * right.stride + column, inner.len(), count),
        };
        let length = length * size_of::<E>();
        let at_once = (lines * length.div_ceil(LINE)).div_ceil(tiles);
        let lines_left = if count == 0 { 0 } else { lines };
        Ahead {
            line: right.values.as_ptr().wrapping_add(start),
            stride: right.stride,
            lines_left,
            length,
            byte: 0,
            at_once,
        }
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "as `block`")]
    unsafe fn fetch<L: Lanes>(&mut self) {
        for _ in 0..self.at_once {
            if self.lines_left == 0 {
                return;
            }
            // The last byte of the piece: where pieces lie across two lines, the first one came with the piece before.
            self.byte += LINE;
            unsafe { L::prefetch_far(self.line.wrapping_byte_add(self.byte.min(self.length) - 1)) };
            if self.byte >= self.length {
                self.byte = 0;
                self.line = self.line.wrapping_add(self.stride);
                self.lines_left -= 1;
            }
        }
    }
}
