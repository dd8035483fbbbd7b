//! How both sides of a product with many rows are laid out for the caches, and asked for ahead of their use.
//!
//! Owns the order of values in a thread's scratch memory. It must not know what is multiplied with them.

#![expect(
    clippy::inline_always,
    reason = "a kernel compiled for some instructions must hold all that it calls, or that is compiled without them"
)]

use std::ops::Range;

use super::lanes::{LINE, Lanes, Stored};
use super::{Matrix, Order};

/// Registers are written whole, so that the last one reaches behind what was asked for.
pub(super) const SPILL: usize = 16;
/// Tiles that are laid out together where neighbours in memory are neighbours in a column: they fill whole registers.
pub(super) const COLUMN_TILES: usize = 4;

/// How the left side is laid out: tiles in groups, and in a group the values of its rows together for each place of the inner length. So a
/// tile is read from one end to the other, and whole registers are written.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Tiles of a group.
    tiles: usize,
    /// Values from one place of the inner length to the next.
    pub(super) stride: usize,
    /// Values from one group to the next: [`SPILL`] are left between them.
    group: usize,
}

impl Layout {
    #[inline(always)]
    pub(super) const fn new(order: Order, rows: usize, depth: usize) -> Self {
        let tiles = match order {
            Order::Rows => 1,
            // As many as fill whole registers: their values are neighbours in memory already.
            Order::Columns => COLUMN_TILES,
        };
        Self { tiles, stride: tiles * rows, group: tiles * rows * depth + SPILL }
    }

    /// Where a tile begins.
    #[inline(always)]
    pub(super) const fn tile(&self, tile: usize) -> usize {
        tile / self.tiles * self.group + tile % self.tiles * (self.stride / self.tiles)
    }
}

/// Lays out some rows and a stretch of the inner length, from place `to` of each tile on. Behind the last row it is used again. Whole registers
/// are written, so up to [`SPILL`] values behind a group's last one are, too.
///
/// # Safety
/// The ranges lie inside `left`, which has `all_rows` rows, and there is room for that.
#[inline(always)]
#[expect(unsafe_code, reason = "values are moved through pointers")]
pub(super) unsafe fn pack_left<L: Lanes, const ROWS: usize>(
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
#[expect(unsafe_code, reason = "values are moved through pointers")]
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
            L::transpose8(from, 0, left.stride, to, ROWS);
            if ROWS > 8 {
                let late = ROWS - 8;
                L::transpose8(from.add(late * left.stride), 0, left.stride, to.add(late), ROWS);
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
#[expect(unsafe_code, reason = "values are moved through pointers")]
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
#[expect(unsafe_code, reason = "values are moved through pointers")]
pub(super) unsafe fn fill_right<L: Lanes, E: Stored>(
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
            let from = values.add(column * right.stride);
            transpose::<L, E>((from, right.stride), count, inner, (to, width));
        },
        Order::Rows => {
            let (unit, place) = (column / E::VALUES, column % E::VALUES);
            let start = values.wrapping_add(inner.start * right.stride + unit);
            for at in 0..inner.len() {
                unsafe {
                    let from = start.wrapping_add(at * right.stride);
                    L::prefetch(from.wrapping_add(16 * right.stride + (place + count - 1) / E::VALUES));
                    let to = to.add(at * width);
                    if count == width {
                        E::load::<L>(from, place).store(to);
                        E::load::<L>(from, place + L::COUNT).store(to.add(L::COUNT));
                    } else {
                        for j in place..place + count {
                            *to.add(j - place) = (*from.add(j / E::VALUES)).widen(j % E::VALUES);
                        }
                    }
                }
            }
        }
    }
}

/// `to[(j - columns.start) * to_stride + i]` is value `j` of line `i`, for all lines and the values of `columns`, which start at a multiple
/// of eight.
///
/// # Safety
/// Both sides have room for that.
#[inline(always)]
#[expect(unsafe_code, reason = "values are moved through pointers")]
unsafe fn transpose<L: Lanes, E: Stored>(
    (from, from_stride): (*const E, usize),
    lines: usize,
    columns: Range<usize>,
    (to, to_stride): (*mut f32, usize),
) {
    let whole_lines = lines / 8 * 8;
    let whole_columns = columns.start + columns.len() / 8 * 8;
    for i in (0..whole_lines).step_by(8) {
        for j in (columns.start..whole_columns).step_by(8) {
            unsafe {
                let from = from.add(i * from_stride + j / E::VALUES);
                let to = to.add((j - columns.start) * to_stride + i);
                L::transpose8(from, j % E::VALUES, from_stride, to, to_stride);
            }
        }
        for j in whole_columns..columns.end {
            for i in i..i + 8 {
                unsafe { *to.add((j - columns.start) * to_stride + i) = value(from, from_stride, i, j) };
            }
        }
    }
    for i in whole_lines..lines {
        for j in columns.clone() {
            unsafe { *to.add((j - columns.start) * to_stride + i) = value(from, from_stride, i, j) };
        }
    }
}

/// # Safety
/// There is a line `i`, and it has a value `j`.
#[inline(always)]
#[expect(unsafe_code, reason = "values are moved through pointers")]
unsafe fn value<E: Stored>(from: *const E, stride: usize, i: usize, j: usize) -> f32 {
    unsafe { (*from.add(i * stride + j / E::VALUES)).widen(j % E::VALUES) }
}

/// The memory of the next panel, asked for bit by bit while this one is being used.
pub(super) struct Ahead<E> {
    line: *const E,
    stride: usize,
    lines_left: usize,
    /// Bytes of a line, and which of them are asked for next.
    length: usize,
    byte: usize,
    /// Pieces of a cache line's size to ask for at each tile.
    at_once: usize,
}

impl<E: Stored> Ahead<E> {
    /// What `fill_right` will read for `count` columns from `column`, which may be none.
    #[inline(always)]
    pub(super) fn new(
        right: &Matrix<'_, E>,
        inner: Range<usize>,
        column: usize,
        count: usize,
        tiles: usize,
    ) -> Self {
        let (first, lines, along) = match right.order {
            Order::Columns => (column, count, inner),
            Order::Rows => (inner.start, inner.len(), column..column + count),
        };
        let start = first * right.stride + along.start / E::VALUES;
        let length = (along.end.div_ceil(E::VALUES) - along.start / E::VALUES) * size_of::<E>();
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
    #[expect(unsafe_code, reason = "values are moved through pointers")]
    pub(super) unsafe fn fetch<L: Lanes>(&mut self) {
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
