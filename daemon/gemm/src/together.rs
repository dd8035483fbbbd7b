//! Products of the same few rows with several right sides, and thin pairs beside them, in one pass over the threads: waking them for each would
//! cost more than a small layer does.
//!
//! Owns in which order that work is taken up. It must not know how lines are dotted, or whose pairs those are.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use half::f16;

use super::panels::{PANEL, Part};
use super::{
    ALONE, Accumulate, FEW_ROWS, Gemm, HalfFactors, LoraFactors, Machine, Matrix, Order, Stored, Target,
    add_panels, dots, each, each_after, elements, thin,
};

/// A thin pair beside some rows: `scale * (x a) b` is added to the product of those.
#[derive(Debug, Clone, Copy)]
pub enum RowAdapter<'a> {
    LoraFactors(LoraFactors<'a>),
    HalfFactors(&'a HalfFactors),
}

impl RowAdapter<'_> {
    /// Whether it goes beside a product of this inner length and so many columns.
    fn fits(&self, inner: usize, columns: usize) -> bool {
        match self {
            RowAdapter::LoraFactors(LoraFactors { rank, a, b, .. }) => {
                let dotted = a.order == Order::Columns && b.order == Order::Columns;
                dotted && a.holds(inner, *rank) && b.holds(*rank, columns)
            }
            RowAdapter::HalfFactors(panels) => panels.fit(inner, columns),
        }
    }

    /// `scale * left * a`, `rows x rank`.
    fn thin(&self, (rows, inner): (usize, usize), left: Matrix<'_, f32>) -> Vec<f32> {
        match self {
            RowAdapter::LoraFactors(LoraFactors { rank, a, scale, .. }) => {
                thin((rows, inner, *rank), left, *a, *scale)
            }
            RowAdapter::HalfFactors(panels) => panels.thin(rows, left),
        }
    }

    /// What [`add`](Self::add) reads for these columns, where it lies close together.
    fn read_behind(&self, columns: Range<usize>) -> Option<&[f16]> {
        match self {
            RowAdapter::HalfFactors(panels) => Some(panels.of(columns)),
            RowAdapter::LoraFactors(_) => None,
        }
    }

    /// Adds `thin * b` to a part of the result, `columns` in all.
    fn add(&self, machine: Machine, columns: usize, part: Part<'_>) {
        match self {
            RowAdapter::HalfFactors(panels) => add_panels(machine, panels, &part),
            RowAdapter::LoraFactors(LoraFactors { rank, b, .. }) => {
                let left = Matrix::rows(part.thin, *rank);
                let target = (part.target, part.stride);
                Gemm::checked((part.rows, *rank, columns), target, left, *b, Accumulate::Target).dots(
                    machine,
                    part.columns,
                    &[],
                );
            }
        }
    }
}

/// Pairs, and the rows that each stands beside.
pub type RowAdapters<'a> = [(Range<usize>, RowAdapter<'a>)];

/// A product of few rows that is to be computed with others, in memory of its own.
pub struct FewRows<'a, E> {
    problem: Gemm<'a, E>,
    memory: Vec<f32>,
    written: AtomicBool,
}

impl<'a, E: Stored> FewRows<'a, E> {
    /// `left * right + bias`, for `rows, inner, columns`.
    ///
    /// # Panics
    /// If a matrix reaches outside its slice, or rows are not few or do not lie so that they can be dotted.
    pub fn new(
        (rows, inner, columns): (usize, usize, usize),
        left: Matrix<'a, f32>,
        right: Matrix<'a, E>,
        bias: Option<&'a [f32]>,
    ) -> Self {
        let mut memory = Vec::with_capacity(elements(rows, columns));
        let target = (Target(memory.as_mut_ptr()), columns);
        let start = bias.map_or(Accumulate::Zero, Accumulate::Bias);
        let problem = Gemm::checked((rows, inner, columns), target, left, right, start);
        assert!(problem.few(), "a product of more than {FEW_ROWS} rows, or of other orders");
        Self { problem, memory, written: AtomicBool::new(false) }
    }

    /// The result, rows close together.
    ///
    /// # Panics
    /// Before [`run`].
    pub fn into_values(mut self) -> Vec<f32> {
        assert!(self.written.into_inner(), "a product that nobody computed");
        #[expect(unsafe_code, reason = "zeroing memory that is overwritten costs a pass over it")]
        // SAFETY: the capacity is there, and `run` wrote every element: its tasks cover all columns.
        unsafe {
            self.memory.set_len(self.problem.rows * self.problem.columns);
        }
        self.memory
    }
}

/// The same, whatever its right side holds.
pub(crate) trait Dotted: Sync {
    /// Rows, inner length and columns.
    fn shape(&self) -> (usize, usize, usize);
    fn left(&self) -> Matrix<'_, f32>;
    fn target(&self) -> (Target, usize);
    /// Columns of a task, a multiple of `unit`.
    fn step(&self, unit: usize) -> usize;
    /// Some columns; `soon` is what is read behind them.
    fn dots(&self, machine: Machine, columns: Range<usize>, soon: &[&[f16]]);
    /// All columns were dotted.
    fn is_written(&self);
}

impl<E: Stored> Dotted for FewRows<'_, E> {
    fn shape(&self) -> (usize, usize, usize) {
        (self.problem.rows, self.problem.inner, self.problem.columns)
    }

    fn left(&self) -> Matrix<'_, f32> {
        self.problem.left
    }

    fn target(&self) -> (Target, usize) {
        (self.problem.target, self.problem.target_stride)
    }

    fn step(&self, unit: usize) -> usize {
        self.problem.step_of_few(unit)
    }

    fn dots(&self, machine: Machine, columns: Range<usize>, soon: &[&[f16]]) {
        self.problem.dots(machine, columns, soon);
    }

    fn is_written(&self) {
        self.written.store(true, Ordering::Relaxed);
    }
}

/// One of the products, and what stands beside it. Nobody else has the product while it is to be computed: its memory is written without a lock.
pub struct Layer<'a> {
    product: &'a dyn Dotted,
    pairs: &'a RowAdapters<'a>,
}

/// A layer's columns, cut into tasks.
struct Cut {
    step: usize,
    tasks: usize,
}

impl<'a> Layer<'a> {
    pub fn new<E: Stored>(product: &'a mut FewRows<'_, E>, pairs: &'a RowAdapters<'a>) -> Self {
        Self { product, pairs }
    }

    fn work(&self) -> usize {
        let (rows, inner, columns) = self.product.shape();
        rows * inner * columns
    }

    fn cut(&self) -> Cut {
        let (_, _, columns) = self.product.shape();
        let step = self.product.step(if self.pairs.is_empty() { dots::LINES } else { PANEL });
        Cut { step, tasks: columns.div_ceil(step) }
    }

    /// The left side's rows that a pair stands beside.
    fn rows(&self, of: &Range<usize>) -> Matrix<'_, f32> {
        let left = self.product.left();
        Matrix { values: &left.values[(of.start * left.stride).min(left.values.len())..], ..left }
    }

    fn thin(&self, pair: usize) -> Vec<f32> {
        let (of, pair) = &self.pairs[pair];
        let (_, inner, _) = self.product.shape();
        pair.thin((of.len(), inner), self.rows(of))
    }

    fn add(&self, machine: Machine, pair: usize, thin: &[f32], columns: Range<usize>) {
        let (of, pair) = &self.pairs[pair];
        let (target, stride) = self.product.target();
        let target = Target(target.0.wrapping_add(of.start * stride));
        let part = Part { target, stride, rows: of.len(), columns, thin };
        pair.add(machine, self.product.shape().2, part);
    }
}

/// Computes all of the products; returns `scale * x a` of each pair, layer after layer. `soon` is memory that is read behind all of it.
///
/// # Panics
/// If a pair has another shape than its product, or stands beside rows that are not there.
#[expect(clippy::needless_pass_by_value, reason = "whoever computes products has them alone")]
pub fn run(machine: Machine, layers: Vec<Layer<'_>>, soon: &[&[f16]]) -> Vec<Vec<f32>> {
    for layer in &layers {
        let (rows, inner, columns) = layer.product.shape();
        for (of, pair) in layer.pairs {
            assert!(
                of.start <= of.end && of.end <= rows && pair.fits(inner, columns),
                "a pair of another shape"
            );
        }
    }
    let thins: Vec<(&Layer<'_>, usize)> =
        layers.iter().flat_map(|layer| (0..layer.pairs.len()).map(move |pair| (layer, pair))).collect();
    let cuts: Vec<Cut> = layers.iter().map(Layer::cut).collect();
    let parts = cuts.iter().map(|cut| cut.tasks).sum::<usize>();
    let tasks = thins.len() + parts;
    // The thin products are read from memory by some threads while others begin with the layers; whoever is done before them leaves that part.
    let made: Vec<OnceLock<Vec<f32>>> = thins.iter().map(|_| OnceLock::new()).collect();
    let late = Mutex::new(Vec::new());
    let part = |mut task: usize| {
        let mut first = 0;
        let number = task;
        let share = |of: &[f16]| of.len() * number / parts..of.len() * (number + 1) / parts;
        for (layer, cut) in layers.iter().zip(&cuts) {
            if task >= cut.tasks {
                task -= cut.tasks;
                first += layer.pairs.len();
                continue;
            }
            let (_, _, columns) = layer.product.shape();
            let columns = task * cut.step..columns.min((task + 1) * cut.step);
            // What this task reads itself, then its share of what is read behind all of them.
            let own = layer.pairs.iter().filter_map(|(_, pair)| pair.read_behind(columns.clone()));
            let soon: Vec<_> = own.chain(soon.iter().map(|of| &of[share(of)])).collect();
            layer.product.dots(machine, columns.clone(), &soon);
            for (pair, made) in made[first..first + layer.pairs.len()].iter().enumerate() {
                let columns = columns.clone();
                if let Some(thin) = made.get() {
                    layer.add(machine, pair, thin, columns);
                } else {
                    late.lock().unwrap_or_else(PoisonError::into_inner).push((first + pair, columns));
                }
            }
            return;
        }
    };
    let run = |task: usize| match (thins.get(task), made.get(task)) {
        (Some((layer, pair)), Some(made)) => _ = made.set(layer.thin(*pair)),
        _ => part(task - thins.len()),
    };
    if layers.iter().map(Layer::work).sum::<usize>() < ALONE {
        (0..tasks).for_each(run);
    } else if thins.is_empty() {
        each(tasks, run);
    } else {
        each_after(thins.len(), tasks, run);
    }
    let made: Vec<Vec<f32>> = made.into_iter().filter_map(OnceLock::into_inner).collect();
    for (at, columns) in late.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let (layer, pair) = thins[at];
        layer.add(machine, pair, &made[at], columns);
    }
    layers.iter().for_each(|layer| layer.product.is_written());
    made
}
