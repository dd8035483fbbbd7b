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

/// Rows whose starts are a multiple of so many bytes apart fight for one place of the cache.
const CONFLICT: usize = 1024;
/// Keeps the rows of a copy from that.
const GAP: usize = 16;

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
    let copies = problem.left.order == Order::Columns
        || (rows.len() > ROWS && (problem.left.stride * size_of::<f32>()).is_multiple_of(CONFLICT));
    let copied_stride = DEPTH + GAP;
    let copied = if copies { rows.len() * copied_stride } else { 0 };
    let (left, right) = scratch.parts(copied, DEPTH * width);
    assert!(left.len() >= copied && right.len() >= DEPTH * width);
    let stretches = problem.inner.div_ceil(DEPTH).max(1);
    let step = problem.inner.div_ceil(stretches).next_multiple_of(8).min(DEPTH);
    let mut from = 0;
    loop {
        let to = problem.inner.min(from + step);
        let depth = to - from;
        let (left, left_stride) = if copies {
            let copy = left.as_mut_ptr();
            unsafe { copy_left::<L>(&problem.left, rows.clone(), from..to, (copy, copied_stride)) };
            (copy.cast_const(), copied_stride)
        } else {
            let start = rows.start * problem.left.stride + from;
            (problem.left.values.as_ptr().wrapping_add(start), problem.left.stride)
        };
        let mut column = columns.start;
        while column < columns.end {
            let count = width.min(columns.end - column);
            unsafe { fill_right::<L, E>(&problem.right, from..to, column, count, right.as_mut_ptr()) };
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
                    let mut lines = [left; ROWS];
                    for (row, line) in lines.iter_mut().enumerate() {
                        // Behind the last row it is used again, and the result left out.
                        let row = (tile * ROWS + row).min(rows.len() - 1);
                        *line = left.wrapping_add(row * left_stride);
                    }
                    if count > L::COUNT {
                        multiply::<L, ROWS, 2>(lines, right.as_ptr(), depth, &place);
                    } else {
                        multiply::<L, ROWS, 1>(lines, right.as_ptr(), depth, &place);
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
/// Each of `lines` holds `depth` values, `right` holds `depth` rows of two registers, and `place` is inside the result.
#[inline(always)]
#[expect(unsafe_code, reason = "as `block`")]
unsafe fn multiply<L: Lanes, const ROWS: usize, const VECTORS: usize>(
    lines: [*const f32; ROWS],
    right: *const f32,
    depth: usize,
    place: &Place,
) {
    unsafe {
        let mut sums = [[L::splat(0.0); VECTORS]; ROWS];
        for row in 0..ROWS {
            L::prefetch(place.target.wrapping_add(row.wrapping_mul(place.stride)));
        }
        let mut right = right;
        for at in 0..depth {
            let mut vectors = [L::splat(0.0); VECTORS];
            for vector in 0..VECTORS {
                vectors[vector] = L::load(right.add(vector * L::COUNT));
            }
            right = right.add(2 * L::COUNT);
            for row in 0..ROWS {
                let value = L::splat(*lines[row].add(at));
                for vector in 0..VECTORS {
                    sums[row][vector] = value.multiply_add(vectors[vector], sums[row][vector]);
                }
            }
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

/// `to[row * to_stride + at]` of the rows and the stretch of the inner length.
///
/// # Safety
/// The ranges lie inside `left`, and `to` has room for the rows.
#[inline(always)]
#[expect(unsafe_code, reason = "as `block`")]
unsafe fn copy_left<L: Lanes>(
    left: &Matrix<'_, f32>,
    rows: Range<usize>,
    inner: Range<usize>,
    (to, to_stride): (*mut f32, usize),
) {
    let values = left.values.as_ptr();
    let depth = inner.len();
    match left.order {
        Order::Rows => {
            let start = values.wrapping_add(rows.start * left.stride + inner.start);
            for row in 0..rows.len() {
                unsafe {
                    let from = start.wrapping_add(row * left.stride);
                    let to = to.add(row * to_stride);
                    let later = from.wrapping_add(2 * left.stride);
                    let mut at = 0;
                    while at + 16 <= depth {
                        L::prefetch(later.wrapping_add(at));
                        copy16::<L>(from.add(at), to.add(at));
                        at += 16;
                    }
                    to.add(at).copy_from_nonoverlapping(from.add(at), depth - at);
                }
            }
        }
        Order::Columns => unsafe {
            let from = values.add(inner.start * left.stride + rows.start);
            transpose::<L, f32>((from, left.stride), (depth, rows.len()), (to, to_stride));
        },
    }
}

#[inline(always)]
#[expect(unsafe_code, reason = "as `block`")]
unsafe fn copy16<L: Lanes>(from: *const f32, to: *mut f32) {
    for at in (0..16).step_by(L::COUNT) {
        unsafe { L::load(from.add(at)).store(to.add(at)) };
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
