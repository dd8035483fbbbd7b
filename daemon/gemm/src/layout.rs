//! How both sides of a product with many rows are laid out for the caches, and asked for ahead of their use.
//!
//! Owns the order of values in a thread's scratch memory. It must not know what is multiplied with them.

#![expect(
    clippy::inline_always,
    reason = "a kernel compiled for some instructions must hold all that it calls, or that is compiled without them"
)]

use std::ops::Range;

use super::lanes::{LINE, Lanes, Stored};
use super::places::Places;
use super::{Matrix, Order};

/// Registers are written whole, so that the last one reaches behind what was asked for.
pub(crate) const SPILL: usize = 16;
/// Tiles that are laid out together where neighbours in memory are neighbours in a column: they fill whole registers.
pub(crate) const COLUMN_TILES: usize = 4;

/// How the left side is laid out: tiles in groups, and in a group the values of its rows together for each place of the inner length. So a
/// tile is read from one end to the other, and whole registers are written.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// Tiles of a group.
    tiles: usize,
    /// Values from one place of the inner length to the next.
    pub(crate) stride: usize,
    /// Values from one group to the next: [`SPILL`] are left between them.
    group: usize,
}

impl Layout {
    #[inline(always)]
    pub(crate) const fn new(order: Order, rows: usize, depth: usize) -> Self {
        let tiles = match order {
            Order::Rows => 1,
            // As many as fill whole registers: their values are neighbours in memory already.
            Order::Columns => COLUMN_TILES,
        };
        Self { tiles, stride: tiles * rows, group: tiles * rows * depth + SPILL }
    }

    /// Where a tile begins.
    #[inline(always)]
    pub(crate) const fn tile(&self, tile: usize) -> usize {
        tile / self.tiles * self.group + tile % self.tiles * (self.stride / self.tiles)
    }
}

/// Lays out some rows and a stretch of the inner length, from place `to` of each tile on. Behind the last row it is used again. Whole registers
/// are written, so up to [`SPILL`] values behind a group's last one are, too.
///
/// # Safety
/// The ranges lie inside `left`, which has `all_rows` rows, there is room for that, and the processor has the instructions of `L`.
#[inline(always)]
#[expect(unsafe_code, reason = "values are moved through pointers")]
pub(crate) unsafe fn pack_left<L: Lanes, P: Places<L>, const ROWS: usize>(
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
                // SAFETY: as the caller promises; the tile has rows, and `wide` counts those that are there.
                unsafe { pack_rows::<L, P, ROWS>(left, row..rows.end, inner.clone(), to, wide) };
            }
        }
        Order::Columns => {
            // Lines lie far apart: few of them, and so few pages, at a time.
            let width = COLUMN_TILES * ROWS;
            let step = 8 * P::COUNT;
            for (piece, place) in inner.clone().step_by(step).enumerate() {
                let places = place..inner.end.min(place + step);
                for (group, row) in rows.clone().step_by(width).enumerate() {
                    let to = to.wrapping_add(group * layout.group + piece * 8 * layout.stride);
                    // SAFETY: as the caller promises; the group has rows, and a piece takes eight units of its room.
                    unsafe { pack_columns::<L, P, ROWS>(left, row..rows.end, places.clone(), to) };
                }
            }
        }
    }
}

/// One tile; `wide`: whether eight rows and [`ROWS`] ones may be read.
///
/// # Safety
/// As [`pack_left`]; `rows` is not empty.
#[inline(always)]
#[expect(unsafe_code, reason = "values are moved through pointers")]
unsafe fn pack_rows<L: Lanes, P: Places<L>, const ROWS: usize>(
    left: &Matrix<'_, f32>,
    rows: Range<usize>,
    inner: Range<usize>,
    to: *mut f32,
    wide: bool,
) {
    let from = left.values.as_ptr().wrapping_add(rows.start * left.stride + inner.start);
    let (whole, units) = units(P::COUNT, inner.len());
    let whole = if wide { whole } else { 0 };
    for unit in (0..whole).step_by(8) {
        // SAFETY: with `wide`, the left side has eight rows from the first one on, and `ROWS` ones, of which the last eight are read where those
        // are more. Eight units of each are inside `whole`. Where `ROWS` is less than eight, what is written beside them ends in the `SPILL` behind
        // the tile.
        unsafe {
            // Eight rows, whichever of them belong to the tile: what is written beside it is written again by what follows.
            let (from, to) = (from.add(unit * P::COUNT), to.add(unit * ROWS));
            L::transpose8(eight_lines::<L, P, f32>(from, left.stride, 0), to, ROWS);
            if ROWS > 8 {
                let late = ROWS - 8;
                let from = from.add(late * left.stride);
                L::transpose8(eight_lines::<L, P, f32>(from, left.stride, 0), to.add(late), ROWS);
            }
        }
    }
    for unit in whole..units {
        for i in 0..ROWS {
            // SAFETY: the row is one of `rows`, the last one again behind it, and its places are inside `inner`; the tile has room for `ROWS` of
            // each unit.
            unsafe {
                let row = from.add(i.min(rows.len() - 1) * left.stride);
                let places = unit * P::COUNT..inner.len().min((unit + 1) * P::COUNT);
                *to.add(unit * ROWS + i) = P::unit(places.map(|at| *row.add(at)));
            }
        }
    }
}

/// Units that come in eights, and all of them.
#[inline(always)]
const fn units(places: usize, inner: usize) -> (usize, usize) {
    (inner / (8 * places) * 8, inner.div_ceil(places))
}

/// # Safety
/// As [`Places::along`], for eight lines that are `stride` units of `E` apart.
#[inline(always)]
#[expect(unsafe_code, reason = "values are moved through pointers")]
unsafe fn eight_lines<L: Lanes, P: Places<L>, E: Stored>(
    from: *const E,
    stride: usize,
    at: usize,
) -> [L::Eight; 8] {
    // Wrapping: the caller's lines say that nothing overflows. Written out, so that nothing stays a call.
    let line = |i: usize| -> *const E { from.wrapping_add(i.wrapping_mul(stride)) };
    // SAFETY: as the caller promises, of each line.
    unsafe {
        [
            P::along(line(0), at),
            P::along(line(1), at),
            P::along(line(2), at),
            P::along(line(3), at),
            P::along(line(4), at),
            P::along(line(5), at),
            P::along(line(6), at),
            P::along(line(7), at),
        ]
    }
}

/// One group, some places of the inner length.
///
/// # Safety
/// As [`pack_left`]; `rows` is not empty.
#[inline(always)]
#[expect(unsafe_code, reason = "values are moved through pointers")]
unsafe fn pack_columns<L: Lanes, P: Places<L>, const ROWS: usize>(
    left: &Matrix<'_, f32>,
    rows: Range<usize>,
    inner: Range<usize>,
    to: *mut f32,
) {
    let width = COLUMN_TILES * ROWS;
    let from = left.values.as_ptr().wrapping_add(inner.start * left.stride + rows.start);
    for (unit, place) in (0..inner.len()).step_by(P::COUNT).enumerate() {
        let (from, to) = (from.wrapping_add(place * left.stride), to.wrapping_add(unit * width));
        let places = P::COUNT.min(inner.len() - place);
        // SAFETY: whole registers only where a group's rows and a unit's places are all there; `width` is a multiple of what they hold, and the
        // group has as much room for each unit. Otherwise values are read one by one, of places inside `inner` and of rows inside `rows`, the last
        // one again.
        unsafe {
            if rows.len() >= width && places == P::COUNT {
                for i in (0..width).step_by(L::COUNT) {
                    P::across(from, left.stride, i).store(to.add(i));
                }
            } else {
                for i in 0..width {
                    let line = from.add(i.min(rows.len() - 1));
                    *to.add(i) = P::unit((0..places).map(|at| *line.add(at * left.stride)));
                }
            }
        }
    }
}

/// `to[unit * width + j]` for `count` columns from `column`; what lies behind them in a row is of no meaning.
///
/// # Safety
/// The ranges lie inside `right`, `inner` starts at a multiple of eight units, `column` is a multiple of two registers' values and `count` at most as
/// many, `to` has room for the stretch, and the processor has the instructions of `L`.
#[inline(always)]
#[expect(unsafe_code, reason = "values are moved through pointers")]
pub(crate) unsafe fn fill_right<L: Lanes, P: Places<L>, E: Stored>(
    right: &Matrix<'_, E>,
    inner: Range<usize>,
    column: usize,
    count: usize,
    to: *mut f32,
) {
    let values = right.values.as_ptr();
    let width = 2 * L::COUNT;
    match right.order {
        Order::Columns => {
            // Wrapping: with no inner length, there may be no such column in memory.
            let from = values.wrapping_add(column * right.stride);
            // SAFETY: as the caller promises: `count` lines from here on that hold `inner`, and room for two registers of each unit.
            unsafe { transpose::<L, P, E>((from, right.stride), count, inner, (to, width)) }
        }
        Order::Rows => {
            let (block, first) = (column / E::VALUES, column % E::VALUES);
            let start = values.wrapping_add(inner.start * right.stride + block);
            for (unit, place) in (0..inner.len()).step_by(P::COUNT).enumerate() {
                let places = P::COUNT.min(inner.len() - place);
                // SAFETY: `places` lines from `place` on are inside `inner`, each with `count` values from `first` on; `to` has room for two
                // registers of each unit. Whole ones are read only where all of that is there, and a unit of several values holds a multiple of
                // both, as `first` is.
                unsafe {
                    let from = start.wrapping_add(place * right.stride);
                    let to = to.add(unit * width);
                    for line in 0..P::COUNT {
                        let ahead = (16 + line) * right.stride + (first + count - 1) / E::VALUES;
                        L::prefetch(from.wrapping_add(ahead));
                    }
                    if count == width && places == P::COUNT {
                        P::across(from, right.stride, first).store(to);
                        P::across(from, right.stride, first + L::COUNT).store(to.add(L::COUNT));
                    } else {
                        for j in first..first + count {
                            let block = from.add(j / E::VALUES);
                            let value = |line: usize| (*block.add(line * right.stride)).widen(j % E::VALUES);
                            *to.add(j - first) = P::unit((0..places).map(value));
                        }
                    }
                }
            }
        }
    }
}

/// `to[unit * to_stride + i]` is a unit of line `i`, for all lines and the values of `columns`, which start at a multiple of eight units.
///
/// # Safety
/// `from` has the lines and the values, `to` has room for the units, and the processor has the instructions of `L`.
#[inline(always)]
#[expect(unsafe_code, reason = "values are moved through pointers")]
unsafe fn transpose<L: Lanes, P: Places<L>, E: Stored>(
    (from, from_stride): (*const E, usize),
    lines: usize,
    columns: Range<usize>,
    (to, to_stride): (*mut f32, usize),
) {
    let whole_lines = lines / 8 * 8;
    let (whole_units, units) = units(P::COUNT, columns.len());
    let places = |unit: usize| {
        let place = columns.start + unit * P::COUNT;
        place..columns.end.min(place + P::COUNT)
    };
    for i in (0..whole_lines).step_by(8) {
        for unit in (0..whole_units).step_by(8) {
            let place = columns.start + unit * P::COUNT;
            // SAFETY: eight lines from `i` on and eight units from `unit` on are there, on both sides. A unit of several values holds a multiple of
            // 32, and `place` is a multiple of eight or, in pairs, of sixteen, so that eight units lie in one.
            unsafe {
                let from = from.add(i * from_stride + place / E::VALUES);
                let lines = eight_lines::<L, P, E>(from, from_stride, place % E::VALUES);
                L::transpose8(lines, to.add(unit * to_stride + i), to_stride);
            }
        }
    }
    for i in 0..lines {
        let done = if i < whole_lines { whole_units } else { 0 };
        for unit in done..units {
            // SAFETY: `i` is one of the lines, and `places` of a unit end with the values.
            unsafe {
                let values = places(unit).map(|at| value(from, from_stride, i, at));
                *to.add(unit * to_stride + i) = P::unit(values);
            }
        }
    }
}

/// # Safety
/// There is a line `i`, and it has a value `j`.
#[inline(always)]
#[expect(unsafe_code, reason = "values are moved through pointers")]
unsafe fn value<E: Stored>(from: *const E, stride: usize, i: usize, j: usize) -> f32 {
    // SAFETY: as the caller promises.
    unsafe { (*from.add(i * stride + j / E::VALUES)).widen(j % E::VALUES) }
}

/// The memory of the next panel, asked for bit by bit while this one is being used.
pub(crate) struct Ahead<E> {
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
    pub(crate) fn new(
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

    /// Asks for what is due at a tile.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    #[expect(unsafe_code, reason = "values are moved through pointers")]
    pub(crate) unsafe fn fetch<L: Lanes>(&mut self) {
        for _ in 0..self.at_once {
            if self.lines_left == 0 {
                return;
            }
            // The last byte of the piece: where pieces lie across two lines, the first one came with the piece before.
            self.byte += LINE;
            // SAFETY: the caller has the instructions of `L`, and any address will do.
            unsafe { L::prefetch_far(self.line.wrapping_byte_add(self.byte.min(self.length) - 1)) };
            if self.byte >= self.length {
                self.byte = 0;
                self.line = self.line.wrapping_add(self.stride);
                self.lines_left -= 1;
            }
        }
    }
}
