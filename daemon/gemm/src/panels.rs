//! A pair of thin factors as answering reads it: in halves, the second one in panels.
//!
//! Owns how such a pair lies in memory and the kernel that adds its product. It must not know whose pair it is. Each answer reads a pair once a
//! token, so its bytes are what it costs; and a line of the second factor is as short as the rank, so that dotting lines would spend more on adding up
//! registers than on multiplying.
//!
//! A factor's values are brought to the upper end of what f16 holds by a power of two, which is exact: what is rounded is 2^-11 of a value at most, and
//! of those that are less than 2^-28 of the largest one, more.

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
use half::slice::HalfFloatSliceExt;

use super::lanes::{LINE, Lanes};
use super::{Matrix, Target, thin};

/// Columns of a panel: whole registers of every kind, and a multiple of the lines that a kernel dots at once.
pub(crate) const PANEL: usize = 48;
/// Values that are put in halves at a time.
const PIECE: usize = 64;
/// The least powers of two that are no f16 any more.
const BEYOND: i32 = 15;
/// A factor is not brought further than this: two such powers are still an f32.
const FURTHEST: i32 = 60;

/// `scale * (x a) b`, with `a: inner x rank` and `b: rank x columns`.
#[derive(Debug)]
pub struct HalfFactors {
    rank: usize,
    inner: usize,
    columns: usize,
    /// Column after column.
    a: Vec<f16>,
    /// For each [`PANEL`] columns, row after row; zeros fill up the last panel.
    b: Vec<f16>,
    /// With what both factors were brought up by taken out again.
    scale: f32,
}

impl HalfFactors {
    /// `a` lies column after column, and so does `b`.
    ///
    /// # Panics
    /// If the slices are not as long as the shape says.
    pub fn new(shape: (usize, usize, usize), a: &[f32], b: &[f32], scale: f32) -> Self {
        let (rank, inner, columns) = shape;
        assert!(a.len() == rank * inner && b.len() == rank * columns, "factors of another shape");
        let (up_a, up_b) = (way_up(a), way_up(b));
        let mut halves = vec![f16::ZERO; a.len()];
        halve(a, up_a, &mut halves);
        let mut panels = vec![f16::ZERO; columns.div_ceil(PANEL) * PANEL * rank];
        let (mut line, width) = (vec![f16::ZERO; rank], rank.max(1));
        for (panel, columns) in panels.chunks_mut(PANEL * width).zip(b.chunks(PANEL * width)) {
            for (column, values) in columns.chunks_exact(width).enumerate() {
                halve(values, up_b, &mut line);
                for (to, value) in panel[column..].iter_mut().step_by(PANEL).zip(&line) {
                    *to = *value;
                }
            }
        }
        Self { rank, inner, columns, a: halves, b: panels, scale: scale * 2f32.powi(-up_a - up_b) }
    }

    /// Whether it goes beside a product of this inner length and so many columns.
    pub fn fit(&self, inner: usize, columns: usize) -> bool {
        (self.inner, self.columns) == (inner, columns)
    }

    /// The factor that is read first.
    pub fn first(&self) -> &[f16] {
        &self.a
    }

    /// The panels of these columns, the first of which begins one.
    pub(crate) fn of(&self, columns: Range<usize>) -> &[f16] {
        let place = |column: usize| (column * self.rank).min(self.b.len());
        &self.b[place(columns.start)..place(columns.end.next_multiple_of(PANEL))]
    }

    /// `scale * left * a`, `rows x rank`.
    pub(crate) fn thin(&self, rows: usize, left: Matrix<'_, f32>) -> Vec<f32> {
        let a = Matrix::rows(&self.a, self.inner).transposed();
        thin((rows, self.inner, self.rank), left, a, self.scale)
    }
}

/// The power of two that brings the largest value just below what f16 does not hold.
fn way_up(values: &[f32]) -> i32 {
    // As whole numbers, finite values have the same order, and the compiler takes many at a time.
    let size = |value: &f32| value.to_bits() & !(1 << 31);
    let finite = |bits: u32| if bits < f32::INFINITY.to_bits() { bits } else { 0 };
    let largest = f32::from_bits(values.iter().map(|value| finite(size(value))).max().unwrap_or(0));
    if largest == 0.0 { 0 } else { (BEYOND - 1 - largest.log2().floor() as i32).min(FURTHEST) }
}

/// Each value times a power of two.
fn halve(values: &[f32], up: i32, to: &mut [f16]) {
    let (mut scaled, factor) = ([0.0; PIECE], 2f32.powi(up));
    for (to, values) in to.chunks_mut(PIECE).zip(values.chunks(PIECE)) {
        for (to, value) in scaled.iter_mut().zip(values) {
            *to = value * factor;
        }
        to.convert_from_f32_slice(&scaled[..values.len()]);
    }
}

/// A part of the result that [`add`] changes.
pub(crate) struct Part<'a> {
    pub(crate) target: Target,
    pub(crate) stride: usize,
    pub(crate) rows: usize,
    /// Begins with a panel.
    pub(crate) columns: Range<usize>,
    /// `rows x rank`, scaled.
    pub(crate) thin: &'a [f32],
}

/// Adds `thin * b` to a part of the result.
///
/// # Safety
/// The part lies inside the result and inside the panels and belongs to this task alone, its first column is a multiple of [`PANEL`], `thin` has
/// `rows * rank` values, and the processor has the instructions of `L`.
#[inline(always)]
#[expect(unsafe_code, reason = "registers are loaded through pointers")]
pub(crate) unsafe fn add<L: Lanes>(panels: &HalfFactors, part: &Part<'_>) {
    let mut column = part.columns.start;
    while column < part.columns.end {
        let panel = panels.b.as_ptr().wrapping_add(column * panels.rank);
        let count = PANEL.min(part.columns.end - column);
        let mut row = 0;
        while row < part.rows {
            // Twelve registers of sums, or as many as leave some for what is loaded.
            let step = if L::COUNT < 16 { 1 } else { 4 };
            // SAFETY: as the caller promises; `column` is a multiple of `PANEL`, so that a panel begins there, and as many rows as are taken are
            // left.
            unsafe {
                let place = (row, column, count);
                match (part.rows - row).min(step) {
                    1 => rows::<L, 1>(panels, panel, part, place),
                    2 => rows::<L, 2>(panels, panel, part, place),
                    3 => rows::<L, 3>(panels, panel, part, place),
                    _ => rows::<L, 4>(panels, panel, part, place),
                }
            }
            row += step;
        }
        column += PANEL;
    }
}

/// # Safety
/// As [`add`]; `panel` is the one of `column`, and `ROWS` rows from `row` on and `count` columns from `column` on, a panel's at most, are the part's.
#[inline(always)]
#[expect(unsafe_code, reason = "as `add`")]
unsafe fn rows<L: Lanes, const ROWS: usize>(
    panels: &HalfFactors,
    panel: *const f16,
    part: &Part<'_>,
    (row, column, count): (usize, usize, usize),
) {
    let registers = PANEL / L::COUNT;
    // SAFETY: a panel has `rank` rows of `PANEL` values, which whole registers take, filled up with zeros where there are fewer columns; `thin` has
    // `rank` values for each of these rows. The result is changed in `count` columns of them, which are this task's alone: a register at a time
    // only in a whole panel.
    unsafe {
        let mut sums = [[L::splat(0.0); PANEL / 8]; ROWS];
        let thin = part.thin.as_ptr().wrapping_add(row * panels.rank);
        for at in 0..panels.rank {
            let line = panel.wrapping_add(at * PANEL);
            if row == 0 {
                // The next panel's.
                let next = line.wrapping_add(PANEL * panels.rank).cast::<u8>();
                L::prefetch(next);
                L::prefetch(next.wrapping_add(LINE / 2));
            }
            for register in 0..registers {
                let values = L::load_f16(line.wrapping_add(register * L::COUNT));
                for row_of in 0..ROWS {
                    let weight = L::splat(*thin.wrapping_add(row_of * panels.rank + at));
                    sums[row_of][register] = values.multiply_add(weight, sums[row_of][register]);
                }
            }
        }
        for row_of in 0..ROWS {
            let to = part.target.0.wrapping_add((row + row_of) * part.stride + column);
            if count == PANEL {
                for register in 0..registers {
                    let to = to.wrapping_add(register * L::COUNT);
                    L::load(to).add(sums[row_of][register]).store(to);
                }
                continue;
            }
            let mut line = [0.0f32; PANEL];
            for register in 0..registers {
                sums[row_of][register].store(line.as_mut_ptr().wrapping_add(register * L::COUNT));
            }
            for column in 0..count {
                *to.wrapping_add(column) += line[column];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_halves_of_the_same_size() {
        let (a, b) = ([3.0, -1.5e-3, 0.0, 7.0e-9], [1.0e-7, -2.5e-8]);
        let panels = HalfFactors::new((2, 2, 1), &a, &b, 0.5);
        let largest = |values: &[f16]| values.iter().map(|value| value.to_f32().abs()).fold(0.0, f32::max);
        assert!((16384.0..65504.0).contains(&largest(&panels.a)) && largest(&panels.b) >= 16384.0);
        let product = panels.a[0].to_f32() * panels.b[0].to_f32() * panels.scale;
        assert!((product / (3.0 * 1.0e-7 * 0.5) - 1.0).abs() < 1e-3, "{product}");
        assert_eq!(panels.b.len(), 2 * PANEL);
    }

    /// Against sums in f64, on all registers, where panels are whole and where they are not; a part leaves the columns beside it alone.
    #[test]
    fn products_are_those_of_the_factors() {
        let value = |at: usize, times: usize| ((at * times % 101) as f32 - 50.0) / 64.0;
        for (rows, inner, rank, columns) in
            [(1, 33, 16, 49), (2, 5, 3, 47), (3, 7, 1, 48), (4, 64, 8, 1), (7, 20, 16, 145), (24, 3, 70, 96)]
        {
            let x: Vec<f32> = (0..rows * inner).map(|at| value(at, 7)).collect();
            let a: Vec<f32> = (0..rank * inner).map(|at| value(at, 13) * 1e-3).collect();
            let b: Vec<f32> = (0..rank * columns).map(|at| value(at, 29) * 1e-4).collect();
            let panels = HalfFactors::new((rank, inner, columns), &a, &b, 2.0);
            let thin = panels.thin(rows, Matrix::rows(&x, inner));
            for machine in super::super::Machine::all() {
                for first in [0, PANEL] {
                    let mut found = vec![1.0; rows * columns];
                    let target = Target(found.as_mut_ptr());
                    let part = Part { target, stride: columns, rows, columns: first..columns, thin: &thin };
                    super::super::add_panels(machine, &panels, &part);
                    for (at, found) in found.iter().enumerate() {
                        let (row, column) = (at / columns, at % columns);
                        let (mut wanted, mut size) = (0.0, 1e-9);
                        for of in 0..rank {
                            let product = |at| f64::from(x[row * inner + at]) * f64::from(a[of * inner + at]);
                            let b = 2.0 * f64::from(b[column * rank + of]);
                            wanted += b * (0..inner).map(product).sum::<f64>();
                            size += b.abs() * (0..inner).map(|at| product(at).abs()).sum::<f64>();
                        }
                        let wanted = if column < first { 0.0 } else { wanted };
                        let difference = (f64::from(*found) - 1.0 - wanted).abs();
                        // Both factors are rounded; 1 is added in f32.
                        assert!(
                            difference < size * 6e-4 + 2e-7,
                            "{machine:?}, {row}, {column}: {difference}"
                        );
                    }
                }
            }
        }
    }

    /// Nothing, and what is no number, stay what they are.
    #[test]
    fn strange_values_stay_strange() {
        let panels = HalfFactors::new((1, 3, 1), &[f32::NAN, f32::INFINITY, 1e-40], &[0.0], 1.0);
        assert!(panels.a[0].is_nan() && panels.a[1].is_infinite() && panels.b[0] == f16::ZERO);
        assert!(panels.scale.is_finite() && panels.scale > 0.0);
        let empty = HalfFactors::new((0, 3, 2), &[], &[], 1.0);
        assert!(empty.b.is_empty() && empty.fit(3, 2) && !empty.fit(2, 3));
    }
}
