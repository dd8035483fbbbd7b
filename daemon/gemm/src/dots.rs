//! Products with few rows: each line of the right side is read once, straight from memory, and dotted with all rows of the left.
//!
//! What limits these is the memory's bandwidth, so lines are asked for ahead of their use.

#![expect(
    clippy::inline_always,
    reason = "a kernel compiled for some instructions must hold all that it calls, or that is compiled without them"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "numbers of registers: the loops are unrolled, and the shape of the code is the shape of the tile"
)]

use std::ops::Range;

use half::f16;

use super::block::Scratch;
use super::blocks::{Block, SUMMED};
use super::lanes::{LINE, Lanes, Stored};
use super::nibbles;
use super::places::{Places, Single};
use super::{Accumulate, Gemm};

/// Lines of the right side that are worked on together: a task's columns are a multiple of it.
pub(crate) const LINES: usize = 12;

/// The memory of the lines behind a group, asked for piece by piece in its own order: that is what memory is fastest at, and the order in
/// which several lines at a time are read is not.
pub(crate) struct Ahead {
    next: *const u8,
    /// Bytes that were due so far, less those that were asked for.
    due: usize,
}

impl Ahead {
    /// Short lines pass in less time than the memory needs: at least so many bytes ahead.
    const LEAST: usize = 4 << 10;

    /// What lies behind `lines` lines from `column` on.
    #[inline(always)]
    pub(crate) fn new<E: Stored>(problem: &Gemm<'_, E>, column: usize, lines: usize) -> Self {
        let bytes = (problem.right.stride * size_of::<E>()).max(1);
        let lines = column + lines.max(Self::LEAST / bytes);
        Self { next: problem.right.values.as_ptr().wrapping_add(lines * problem.right.stride).cast(), due: 0 }
    }

    /// Asks for as much as `bytes` that were read meanwhile.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    #[expect(unsafe_code, reason = "as `dots`")]
    pub(crate) unsafe fn fetch<L: Lanes>(&mut self, bytes: usize) {
        self.due = self.due.wrapping_add(bytes);
        while self.due >= LINE {
            // SAFETY: the caller has the instructions of `L`, and any address will do.
            unsafe { L::prefetch(self.next) };
            self.next = self.next.wrapping_add(LINE);
            self.due = self.due.wrapping_sub(LINE);
        }
    }
}

/// Memory that is read behind a task's products, asked for a few lines at a time while those keep the processor busy and the memory has
/// nothing to do.
pub(crate) struct Soon<'a> {
    pieces: std::slice::Iter<'a, &'a [f16]>,
    next: *const u8,
    /// Bytes of this piece that were not asked for.
    left: usize,
    lines_a_column: usize,
}

impl<'a> Soon<'a> {
    #[inline(always)]
    fn new(pieces: &'a [&'a [f16]], columns: usize) -> Self {
        let lines: usize = pieces.iter().map(|piece| size_of_val(*piece).div_ceil(LINE)).sum();
        let lines_a_column = lines.div_ceil(columns.max(1));
        Self { pieces: pieces.iter(), next: std::ptr::null(), left: 0, lines_a_column }
    }

    /// Asks for what is due when so many columns are done.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    #[expect(unsafe_code, reason = "as `dots`")]
    unsafe fn fetch<L: Lanes>(&mut self, columns: usize) {
        for _ in 0..columns.wrapping_mul(self.lines_a_column) {
            if self.left == 0 {
                let Some(piece) = self.pieces.next() else { return };
                (self.next, self.left) = (piece.as_ptr().cast(), size_of_val(*piece));
            }
            // SAFETY: the caller has the instructions of `L`, and any address will do.
            unsafe { L::prefetch_far(self.next) };
            self.next = self.next.wrapping_add(LINE);
            self.left = self.left.saturating_sub(LINE);
        }
    }
}

/// The left side's rows as a kernel wants them: where they are in pairs, the same register of all rows lies together, so that one address does for
/// many rows; and their sums, where blocks ask for those.
#[derive(Clone, Copy)]
pub struct Rows {
    values: *const f32,
    /// From a row's register to that of the next row, or where those lie together, to the same row's next one.
    stride: usize,
    sums: *const f32,
    /// From one part's sums to the next one's.
    sums_stride: usize,
}

#[expect(unsafe_code, reason = "registers are loaded through pointers")]
impl Rows {
    /// From one row to the next and from one register to the next.
    #[inline(always)]
    fn steps<L: Lanes, P: Places<L>>(self) -> (usize, usize) {
        if P::COUNT > 1 { (L::COUNT, self.stride) } else { (self.stride, L::COUNT) }
    }

    #[inline(always)]
    fn address<L: Lanes, P: Places<L>>(self, row: usize, register: usize) -> *const f32 {
        let (row_step, step) = self.steps::<L, P>();
        self.values.wrapping_add(row.wrapping_mul(row_step).wrapping_add(register.wrapping_mul(step)))
    }

    /// The same rows from one row and one register on, and from one part's sums.
    #[inline(always)]
    pub(crate) fn later<L: Lanes, P: Places<L>>(self, row: usize, register: usize, part: usize) -> Self {
        let sums = row.wrapping_mul(L::COUNT).wrapping_add(part.wrapping_mul(self.sums_stride));
        Self { values: self.address::<L, P>(row, register), sums: self.sums.wrapping_add(sums), ..self }
    }

    /// # Safety
    /// The row has so many registers, and the processor has the instructions of `L`.
    #[inline(always)]
    pub(crate) unsafe fn value<L: Lanes, P: Places<L>>(self, row: usize, register: usize) -> L {
        // SAFETY: as the caller promises: the row has that register, and `steps` say where `lay_out` put it.
        unsafe { L::load(self.address::<L, P>(row, register)) }
    }

    /// The sum of [`SUMMED`] values lane by lane, times [`sums_times`](Stored::sums_times).
    ///
    /// # Safety
    /// As [`value`](Self::value), and sums were asked for.
    #[inline(always)]
    pub(crate) unsafe fn sum<L: Lanes>(self, row: usize, part: usize) -> L {
        let at = row.wrapping_mul(L::COUNT).wrapping_add(part.wrapping_mul(self.sums_stride));
        // SAFETY: as the caller promises: sums were asked for, and `lay_out` put a register of them there for each row and part.
        unsafe { L::load(self.sums.wrapping_add(at)) }
    }
}

/// One task: columns of the result for all rows.
///
/// # Safety
/// The problem is checked, its left side has rows and its right side columns that are close together, `columns` lie inside it and belong
/// to this task alone, and the processor has the instructions of `L`.
#[inline(always)]
#[expect(unsafe_code, reason = "registers are loaded through pointers")]
pub(crate) unsafe fn dots<L: Lanes, P: Places<L>, E: Stored>(
    problem: &Gemm<'_, E>,
    columns: Range<usize>,
    soon: &[&[f16]],
    scratch: &mut Scratch,
) {
    debug_assert!(
        P::COUNT == 1 || E::VALUES == 1 || E::NIBBLES.is_some(),
        "what has more than four bits is not put in pairs"
    );
    let mut column = columns.start;
    let mut soon = Soon::new(soon, columns.len());
    // SAFETY: as the caller promises. `rows` point into the left side and into the scratch, which nobody else has until this returns; groups are
    // taken only while as many columns and rows are left.
    unsafe {
        let rows = lay_out::<L, P, E>(problem, scratch);
        match problem.rows {
            1 => column = sweep::<L, P, E, 4, 1>(problem, column..columns.end, rows, &mut soon),
            2 => column = sweep::<L, P, E, 4, 2>(problem, column..columns.end, rows, &mut soon),
            3 => column = sweep::<L, P, E, 4, 3>(problem, column..columns.end, rows, &mut soon),
            _ => {
                if P::COUNT > 1 && L::COUNT > 8 && problem.rows >= 8 {
                    while columns.end - column >= 2 {
                        let mut row = 0;
                        while row + 8 <= problem.rows {
                            E::group::<L, P, 2, 8>(problem, column, row, rows);
                            row += 8;
                        }
                        few_rows::<L, P, E, 2>(problem, column, row, rows);
                        soon.fetch::<L>(2);
                        column += 2;
                    }
                }
                // The lines stay in a cache near by while the rows pass in fours.
                while columns.end - column >= 3 {
                    few_rows::<L, P, E, 3>(problem, column, 0, rows);
                    soon.fetch::<L>(3);
                    column += 3;
                }
            }
        }
        while column < columns.end {
            few_rows::<L, P, E, 1>(problem, column, 0, rows);
            column += 1;
        }
    }
}

/// The left side's rows as [`Stored::group`] wants them; they point into the scratch, as long as that stays as it is.
///
/// # Safety
/// As [`dots`].
#[inline(always)]
#[expect(unsafe_code, reason = "as `dots`")]
unsafe fn lay_out<L: Lanes, P: Places<L>, E: Stored>(problem: &Gemm<'_, E>, scratch: &mut Scratch) -> Rows {
    let (count, inner) = (problem.rows, problem.inner);
    let (packs, width) = (P::COUNT > 1, P::COUNT * L::COUNT);
    let sums_stride = E::sums_times(P::COUNT).map_or(0, |_| count * L::COUNT);
    let stride = if packs { count * L::COUNT } else { problem.left.stride };
    let registers = match E::NIBBLES {
        Some(_) => inner.div_ceil(2 * width) * 2,
        None => inner.div_ceil(width),
    };
    let packed = if packs { registers * stride } else { 0 };
    let (sums, packed) = scratch.parts(inner / SUMMED * sums_stride, packed);
    let (sums, packed) = (sums.as_mut_ptr(), packed.as_mut_ptr());
    let left = problem.left.values.as_ptr();
    let values = if packs { packed.cast_const() } else { left };
    let rows = Rows { values, stride, sums: sums.cast_const(), sums_stride };
    // SAFETY: `packed` has room for `registers` of each row, and `sums` for one of each row and part. Rows are read in registers that end inside
    // `inner`: that is a multiple of twice `bytes`, of which a register takes a part of one half, and of `SUMMED` where sums are asked for; `rest`
    // reads what is left.
    unsafe {
        for row in 0..count {
            if packs {
                let from = left.wrapping_add(row * problem.left.stride);
                let to = |register: usize| {
                    packed.wrapping_add((row * L::COUNT).wrapping_add(register.wrapping_mul(stride)))
                };
                let whole = inner / width;
                if let Some(bytes) = E::NIBBLES {
                    for register in 0..registers {
                        let side = |side| {
                            let at = nibbles::place::<L>(bytes, register, side);
                            if at < inner { L::load(from.wrapping_add(at)) } else { L::splat(0.0) }
                        };
                        P::join(side(0), side(1)).store(to(register));
                    }
                } else {
                    for register in 0..whole {
                        P::line(from, register * width).store(to(register));
                    }
                    if whole * width < inner {
                        rest::<L, P, f32>(from.wrapping_add(whole * width), inner - whole * width)
                            .store(to(whole));
                    }
                }
            }
            if let Some(times) = E::sums_times(P::COUNT) {
                let one = L::splat(P::unit([1.0; 2].into_iter()));
                for part in 0..inner / SUMMED {
                    let mut sum = L::splat(0.0);
                    let mut add = |register| {
                        sum = P::multiply_add(rows.value::<L, P>(row, register), one, sum);
                    };
                    if packs {
                        nibbles::registers::<L>(part).for_each(&mut add);
                    } else {
                        let first = part * SUMMED / L::COUNT;
                        (first..first + SUMMED / L::COUNT).for_each(&mut add);
                    }
                    let to = sums.wrapping_add(row * L::COUNT + part * sums_stride);
                    sum.multiply(L::splat(times)).store(to);
                }
            }
        }
    }
    rows
}

/// All whole groups of `LINES`; where the rest begins.
///
/// # Safety
/// As [`dots`]; the problem has `ROWS` rows or more, and `rows` are what [`lay_out`] made of them.
#[inline(always)]
#[expect(unsafe_code, reason = "as `dots`")]
unsafe fn sweep<L: Lanes, P: Places<L>, E: Stored, const LINES: usize, const ROWS: usize>(
    problem: &Gemm<'_, E>,
    columns: Range<usize>,
    rows: Rows,
    soon: &mut Soon<'_>,
) -> usize {
    let mut column = columns.start;
    while columns.end - column >= LINES {
        // SAFETY: as the caller promises; `LINES` columns are left.
        unsafe {
            E::group::<L, P, LINES, ROWS>(problem, column, 0, rows);
            soon.fetch::<L>(LINES);
        }
        column += LINES;
    }
    column
}

/// `LINES` lines from `column` on with all rows from `row` on.
///
/// # Safety
/// As [`dots`]; the task has so many columns, and `rows` are what [`lay_out`] made.
#[inline(always)]
#[expect(unsafe_code, reason = "as `dots`")]
unsafe fn few_rows<L: Lanes, P: Places<L>, E: Stored, const LINES: usize>(
    problem: &Gemm<'_, E>,
    column: usize,
    mut row: usize,
    rows: Rows,
) {
    // SAFETY: as the caller promises; a group takes no more rows than are left.
    unsafe {
        while row + 4 <= problem.rows {
            E::group::<L, P, LINES, 4>(problem, column, row, rows);
            row += 4;
        }
        match problem.rows - row {
            1 => E::group::<L, P, LINES, 1>(problem, column, row, rows),
            2 => E::group::<L, P, LINES, 2>(problem, column, row, rows),
            3 => E::group::<L, P, LINES, 3>(problem, column, row, rows),
            _ => {}
        }
    }
}

/// [`Stored::group`] for single values.
///
/// # Safety
/// As there.
#[inline(always)]
#[expect(unsafe_code, reason = "as `dots`")]
pub(crate) unsafe fn group_of_values<
    L: Lanes,
    P: Places<L>,
    E: Stored,
    const LINES: usize,
    const ROWS: usize,
>(
    problem: &Gemm<'_, E>,
    column: usize,
    row: usize,
    rows: Rows,
) {
    let (stride, inner) = (problem.right.stride, problem.inner);
    let width = P::COUNT * L::COUNT;
    // The first rows to pass fetch the lines of a later group.
    let fetches = row == 0;
    let mut ahead = Ahead::new(problem, column, LINES);
    // SAFETY: as the caller promises: `LINES` lines from `column` on, and `ROWS` rows from `row` on. Registers take the values before `whole`, a
    // multiple of what they hold, and `rest` those between it and `inner`; rows that are packed have a register there.
    unsafe {
        let mut sums = [[L::splat(0.0); ROWS]; LINES];
        // Wrapping sums: inside a checked problem none overflows, and checks cost a part of the speed, and registers.
        let mut lines = [problem.right.values.as_ptr(); LINES];
        for line in 0..LINES {
            lines[line] = lines[line].wrapping_add(column.wrapping_add(line).wrapping_mul(stride));
        }
        let rows = rows.later::<L, P>(row, 0, 0);
        let whole = inner / width * width;
        let mut at = 0;
        while at < whole {
            if fetches {
                ahead.fetch::<L>(LINES * width * size_of::<E>());
            }
            let mut values = [L::splat(0.0); ROWS];
            for row_of in 0..ROWS {
                values[row_of] = rows.value::<L, P>(row_of, at / width);
            }
            for line in 0..LINES {
                let weights = P::line(lines[line], at);
                for row_of in 0..ROWS {
                    sums[line][row_of] = P::multiply_add(weights, values[row_of], sums[line][row_of]);
                }
            }
            at = at.wrapping_add(width);
        }
        if whole < inner {
            // The rest as one more register, filled up with zeros; where rows are packed, theirs are so already.
            let mut values = [L::splat(0.0); ROWS];
            for row_of in 0..ROWS {
                let register = whole / width;
                values[row_of] = if P::COUNT > 1 {
                    rows.value::<L, P>(row_of, register)
                } else {
                    rest::<L, P, f32>(rows.address::<L, P>(row_of, register), inner - whole)
                };
            }
            for line in 0..LINES {
                let weights = rest::<L, P, E>(lines[line].wrapping_add(whole), inner - whole);
                for row_of in 0..ROWS {
                    sums[line][row_of] = P::multiply_add(weights, values[row_of], sums[line][row_of]);
                }
            }
        }
        finish(problem, column, row, sums);
    }
}

/// The same for units of several values, which are not put in pairs: that is more work than one row's products save.
///
/// # Safety
/// As [`Stored::group`]; the rows are single values.
#[inline(always)]
#[expect(unsafe_code, reason = "as `dots`")]
pub(crate) unsafe fn group_of_blocks<L: Lanes, E: Block, const LINES: usize, const ROWS: usize>(
    problem: &Gemm<'_, E>,
    column: usize,
    row: usize,
    rows: Rows,
) {
    let width = L::COUNT;
    let fetches = row == 0;
    let mut ahead = Ahead::new(problem, column, LINES);
    let mut rows = rows.later::<L, Single>(row, 0, 0);
    // Pointers that move, by wrapping sums: inside a checked problem none overflows, and checks cost a part of the speed.
    let mut lines = [problem.right.values.as_ptr(); LINES];
    for line in 0..LINES {
        lines[line] = lines[line].wrapping_add(column.wrapping_add(line).wrapping_mul(problem.right.stride));
    }
    // SAFETY: as the caller promises: each of the lines holds `inner / E::VALUES` blocks, and the rows have the values and the sums for each of
    // those.
    unsafe {
        let mut sums = [[L::splat(0.0); ROWS]; LINES];
        for _ in 0..problem.inner / E::VALUES {
            if fetches {
                ahead.fetch::<L>(LINES * size_of::<E>());
            }
            for line in 0..LINES {
                sums[line] = E::add_products::<L, ROWS>(lines[line], rows, sums[line]);
                lines[line] = lines[line].wrapping_add(1);
            }
            rows = rows.later::<L, Single>(0, E::VALUES / width, E::VALUES / SUMMED);
        }
        finish(problem, column, row, sums);
    }
}

/// Writes a group's sums.
///
/// # Safety
/// As [`Stored::group`].
#[inline(always)]
#[expect(unsafe_code, reason = "as `dots`")]
pub(crate) unsafe fn finish<L: Lanes, E, const LINES: usize, const ROWS: usize>(
    problem: &Gemm<'_, E>,
    column: usize,
    row: usize,
    sums: [[L; ROWS]; LINES],
) {
    // Wrapping, here and above: inside a checked problem none overflows, and checks cost a part of the speed.
    let target = problem.target.0.wrapping_add(row.wrapping_mul(problem.target_stride).wrapping_add(column));
    // All of them; but a count that is known would be unrolled, and then the loops above are short of registers.
    let count = ROWS.min(problem.rows - row) * LINES;
    let sum = |at: usize| sums[at % LINES][(at / LINES).min(ROWS - 1)];
    for first in (0..count).step_by(4) {
        // SAFETY: the caller has the instructions of `L`, and no memory is touched.
        let totals = unsafe { L::totals([sum(first), sum(first + 1), sum(first + 2), sum(first + 3)]) };
        for (at, sum) in (first..count).zip(totals) {
            let (row, line) = (at / LINES, at % LINES);
            let target = target.wrapping_add(row.wrapping_mul(problem.target_stride).wrapping_add(line));
            // SAFETY: `count` ends with the problem's rows and the group's lines, so this is a place of the result that is the task's alone; with a
            // start of `Target` it holds a value.
            unsafe {
                *target = match problem.start {
                    Accumulate::Zero => sum,
                    Accumulate::Target => *target + sum,
                    Accumulate::Bias(bias) => bias[column + line] + sum,
                };
            }
        }
    }
}

/// `count` values, fewer than a register of units holds, and zeros behind them.
///
/// # Safety
/// They are there, single ones, and the processor has the instructions of `L`.
#[inline(always)]
#[expect(unsafe_code, reason = "as `dots`")]
unsafe fn rest<L: Lanes, P: Places<L>, E: Stored>(from: *const E, count: usize) -> L {
    let mut values = [0.0f32; 32];
    debug_assert!(count < P::COUNT * L::COUNT && P::COUNT * L::COUNT <= values.len());
    // SAFETY: as the caller promises; a register of units holds 32 values at most, as many as `values`.
    unsafe {
        for at in 0..count {
            values[at] = (*from.add(at)).widen(0);
        }
        P::line(values.as_ptr(), 0)
    }
}
