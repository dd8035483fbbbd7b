//! Products and loops on slices of f32 in CPU memory, at the hardware's speed.
//!
//! Owns how a product is cut into tasks and which instructions run it. It must not know what a matrix means, nor of candle. Every element of a
//! result is one sum in one order, which depends on the instructions and on the inner length, and never on the number of threads or on
//! where a task begins.
//!
//! The right side may be stored in 16 bits or in quantised blocks: it is widened, exactly, when a panel of it is laid out for the first
//! cache, and arithmetic is in f32. Where the processor multiplies bf16 values, products do that instead ([`Arithmetic`]).
//! Laying out costs one pass over the panel and pays for itself from some twenty rows on the left; below that, rows are dotted straight
//! from memory ([`dots`]), at the memory's bandwidth.

#![warn(clippy::undocumented_unsafe_blocks, clippy::missing_safety_doc)]

#[cfg(target_arch = "x86_64")]
mod amx;
mod block;
mod blocks;
mod dots;
mod exp;
mod lanes;
mod layout;
mod machine;
pub mod measure;
#[cfg(target_arch = "aarch64")]
mod neon;
mod nibbles;
mod panels;
mod places;
mod processor;
#[cfg(test)]
mod tests;
mod tiles;
mod together;
mod weighted;
mod wide;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use half::f16;
use rayon::prelude::*;

pub use blocks::{BlockQ4_0, BlockQ4K, BlockQ6K, BlockQ8_0, BlockWide, k_scales};
pub use exp::exp;
pub use lanes::Stored;
pub use machine::{Arithmetic, Machine, Registers, UnknownArithmetic, Values, use_machine};
pub use panels::HalfFactors;
use panels::Part;
use places::{InPairs, Single};
pub use processor::Processor;
pub use tiles::{Tiles, tiles};
pub use together::{FewRows, Layer, RowAdapter, RowAdapters, run};
pub use wide::{dot, dot_weighted, maximum, sum, sum_of};

/// Products of fewer multiplications than this run on the calling thread: waking another costs more.
const ALONE: usize = 1 << 18;
/// Tasks of a large product: enough that a thread which a busy machine takes away does not hold up the others for long.
const TASKS: usize = 8;
/// The least columns of a task: enough to make up for fetching its rows of the left side.
const TASK_COLUMNS: usize = 256;
/// Bytes of the right side that one task reads when there are few rows.
const TASK_BYTES: usize = 1 << 17;
/// Up to so many rows on the left are dotted straight from memory.
pub const FEW_ROWS: usize = 24;

/// Whether neighbours in memory are neighbours in a row or in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Rows,
    Columns,
}

/// A matrix inside a slice: element `(row, column)` lies at `row * stride + column`, or for [`Order::Columns`] at `column * stride + row`.
/// Where units hold several values, the lines are whole units, and the stride counts those.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, E> {
    values: &'a [E],
    stride: usize,
    order: Order,
}

impl<'a, E: Stored> Matrix<'a, E> {
    /// `stride` units lie from one row's start to the next one's.
    pub const fn rows(values: &'a [E], stride: usize) -> Self {
        Self { values, stride, order: Order::Rows }
    }

    /// The same memory with rows and columns exchanged.
    #[must_use]
    pub const fn transposed(self) -> Self {
        let order = match self.order {
            Order::Rows => Order::Columns,
            Order::Columns => Order::Rows,
        };
        Self { values: self.values, stride: self.stride, order }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        let (lines, length) = match self.order {
            Order::Rows => (rows, columns),
            Order::Columns => (columns, rows),
        };
        length.is_multiple_of(E::VALUES) && holds(self.values.len(), self.stride, lines, length / E::VALUES)
    }
}

/// Whether `lines` lines of `length` values, `stride` apart, lie inside `len` values, without overlap.
fn holds(len: usize, stride: usize, lines: usize, length: usize) -> bool {
    if lines == 0 || length == 0 {
        return true;
    }
    let last = (lines - 1).checked_mul(stride).and_then(|start| start.checked_add(length));
    (length <= stride || lines == 1) && last.is_some_and(|end| end <= len)
}

/// A second product, added to the first: `left (rows x inner) * right (inner x columns)`, such as a pair of thin factors beside a layer.
#[derive(Debug, Clone, Copy)]
pub struct AddedProduct<'a> {
    pub inner: usize,
    pub left: Matrix<'a, f32>,
    pub right: Matrix<'a, f32>,
}

/// Thin factors beside a product of `left`: `scale * (left * a) * b` is added to it.
#[derive(Debug, Clone, Copy)]
pub struct LoraFactors<'a> {
    pub rank: usize,
    /// `inner x rank`
    pub a: Matrix<'a, f32>,
    /// `rank x columns`
    pub b: Matrix<'a, f32>,
    pub scale: f32,
}

/// What a product is added to.
#[derive(Debug, Clone, Copy)]
pub enum Accumulate<'a> {
    Zero,
    /// What the target holds.
    Target,
    /// One value a column.
    Bias(&'a [f32]),
}

/// One product, checked: every pointer that a kernel makes of it stays inside its slices.
pub struct Gemm<'a, E> {
    target: Target,
    target_stride: usize,
    rows: usize,
    inner: usize,
    columns: usize,
    left: Matrix<'a, f32>,
    right: Matrix<'a, E>,
    extra: Option<AddedProduct<'a>>,
    start: Accumulate<'a>,
}

/// The result's memory. Tasks write disjoint parts of it.
#[derive(Clone, Copy)]
pub(crate) struct Target(*mut f32);

#[expect(
    unsafe_code,
    reason = "tasks write disjoint rectangles of one matrix, which no safe slice expresses"
)]
// SAFETY: it never leaves this crate; `Gemm::run` and `together::run` give every task a rectangle of its own, and whoever calls them has the memory behind it to
// himself for as long as the tasks run.
unsafe impl Send for Target {}
#[expect(unsafe_code, reason = "as above")]
// SAFETY: as above.
unsafe impl Sync for Target {}

/// `target (rows x columns, rows target_stride apart) = start + left (rows x inner) * right (inner x columns)`.
///
/// # Panics
/// If a matrix reaches outside its slice: a fault of this crate, never of its input.
pub fn product<E: Stored>(
    shape: (usize, usize, usize),
    target: (&mut [f32], usize),
    left: Matrix<'_, f32>,
    right: Matrix<'_, E>,
    start: Accumulate<'_>,
) {
    product_with(shape, target, left, right, None, start);
}

/// [`product`] with a second one added in the same pass.
pub fn product_with<E: Stored>(
    shape: (usize, usize, usize),
    target: (&mut [f32], usize),
    left: Matrix<'_, f32>,
    right: Matrix<'_, E>,
    extra: Option<AddedProduct<'_>>,
    start: Accumulate<'_>,
) {
    product_on(Machine::here(), shape, target, left, right, extra, start);
}

/// [`product`] into new memory, rows close together.
pub fn new_product<E: Stored>(
    shape: (usize, usize, usize),
    left: Matrix<'_, f32>,
    right: Matrix<'_, E>,
    bias: Option<&[f32]>,
) -> Vec<f32> {
    new_product_with(shape, left, right, None, bias)
}

/// [`new_product`] with a second one added in the same pass.
pub fn new_product_with<E: Stored>(
    (rows, inner, columns): (usize, usize, usize),
    left: Matrix<'_, f32>,
    right: Matrix<'_, E>,
    extra: Option<AddedProduct<'_>>,
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let start = bias.map_or(Accumulate::Zero, Accumulate::Bias);
    let mut target: Vec<f32> = Vec::with_capacity(elements(rows, columns));
    let memory = Target(target.as_mut_ptr());
    run_on(Machine::here(), (rows, inner, columns), (memory, columns), left, right, extra, start);
    #[expect(unsafe_code, reason = "zeroing memory that is overwritten costs a pass over it")]
    // SAFETY: the capacity is there, and with a start of zero or a bias `run_on` writes every element before it reads any.
    unsafe {
        target.set_len(rows * columns);
    }
    target
}

/// [`new_product`] with thin factors beside it, and `scale * left * a`, `rows x rank`.
pub fn new_product_with_factors<E: Stored>(
    (rows, inner, columns): (usize, usize, usize),
    left: Matrix<'_, f32>,
    right: Matrix<'_, E>,
    factors: LoraFactors<'_>,
    bias: Option<&[f32]>,
) -> (Vec<f32>, Vec<f32>) {
    if few(rows, left.order, right.order) && few(rows, Order::Rows, factors.b.order) {
        let mut product = FewRows::new((rows, inner, columns), left, right, bias);
        let pairs = [(0..rows, RowAdapter::LoraFactors(factors))];
        let thin = run(Machine::here(), vec![Layer::new(&mut product, &pairs)], &[]).pop();
        return (product.into_values(), thin.unwrap_or_default());
    }
    let thin = thin((rows, inner, factors.rank), left, factors.a, factors.scale);
    let extra =
        AddedProduct { inner: factors.rank, left: Matrix::rows(&thin, factors.rank), right: factors.b };
    (new_product_with((rows, inner, columns), left, right, Some(extra), bias), thin)
}

/// Of a result: more than memory can be addressed with would be written past its end.
fn elements(rows: usize, columns: usize) -> usize {
    rows.checked_mul(columns).expect("a result that no memory holds")
}

/// `scale * left * a`, for `rows, inner, rank`.
fn thin<E: Stored>(
    shape: (usize, usize, usize),
    left: Matrix<'_, f32>,
    a: Matrix<'_, E>,
    scale: f32,
) -> Vec<f32> {
    let mut thin = new_product(shape, left, a, None);
    thin.iter_mut().for_each(|value| *value *= scale);
    thin
}

#[expect(unsafe_code, reason = "kernels work on pointers")]
fn add_panels(machine: Machine, panels: &HalfFactors, part: &Part<'_>) {
    // SAFETY: whoever makes a part answers for it; `Machine::all` asked the processor for these instructions.
    unsafe {
        match machine.registers {
            #[cfg(target_arch = "x86_64")]
            Registers::Amx | Registers::Avx512 => x86::panels_avx512(panels, part),
            #[cfg(target_arch = "x86_64")]
            Registers::Avx2 => x86::panels_avx2(panels, part),
            #[cfg(target_arch = "aarch64")]
            Registers::Neon => panels::add::<neon::Neon>(panels, part),
            Registers::Portable => panels::add::<lanes::Portable>(panels, part),
        }
    }
}

fn product_on<E: Stored>(
    machine: Machine,
    (rows, inner, columns): (usize, usize, usize),
    (target, target_stride): (&mut [f32], usize),
    left: Matrix<'_, f32>,
    right: Matrix<'_, E>,
    extra: Option<AddedProduct<'_>>,
    start: Accumulate<'_>,
) {
    assert!(holds(target.len(), target_stride, rows, columns), "the target is too small");
    let target = Target(target.as_mut_ptr());
    run_on(machine, (rows, inner, columns), (target, target_stride), left, right, extra, start);
}

/// The target must hold `rows` rows of `columns`, rows `target_stride` apart; its elements are read before they are written only for
/// [`Accumulate::Target`].
fn run_on<E: Stored>(
    machine: Machine,
    (rows, inner, columns): (usize, usize, usize),
    (target, target_stride): (Target, usize),
    left: Matrix<'_, f32>,
    right: Matrix<'_, E>,
    extra: Option<AddedProduct<'_>>,
    start: Accumulate<'_>,
) {
    let problem = Gemm::checked((rows, inner, columns), (target, target_stride), left, right, start);
    let beside = extra.map(|AddedProduct { inner, left, right }| {
        Gemm::checked((rows, inner, columns), (target, target_stride), left, right, Accumulate::Target)
    });
    if rows == 0 || columns == 0 {
        return;
    }
    match beside {
        // A pass of its own: few rows are not laid out, and a long stretch would not fit beside another.
        Some(beside) if problem.few() || problem.weighted() || beside.inner > block::EXTRA_DEPTH => {
            problem.run(machine);
            beside.run(machine);
        }
        _ => Gemm { extra, ..problem }.run(machine),
    }
}

/// Whether rows are dotted straight from memory.
fn few(rows: usize, left: Order, right: Order) -> bool {
    rows <= FEW_ROWS && left == Order::Rows && right == Order::Columns
}

impl<'a, E: Stored> Gemm<'a, E> {
    /// A product without a second one. Whoever makes it answers for the target's memory.
    fn checked(
        (rows, inner, columns): (usize, usize, usize),
        (target, target_stride): (Target, usize),
        left: Matrix<'a, f32>,
        right: Matrix<'a, E>,
        start: Accumulate<'a>,
    ) -> Self {
        assert!(left.holds(rows, inner), "the left matrix reaches outside its slice");
        assert!(right.holds(inner, columns), "the right matrix reaches outside its slice");
        if let Accumulate::Bias(bias) = start {
            assert_eq!(bias.len(), columns, "a bias has one value a column");
        }
        Self { target, target_stride, rows, inner, columns, left, right, extra: None, start }
    }

    /// Whether rows of the right side are added up straight from memory.
    fn weighted(&self) -> bool {
        self.rows <= weighted::ROWS && self.left.order == Order::Rows && self.right.order == Order::Rows
    }

    /// Those that many rows are multiplied with.
    fn registers(&self, machine: Machine) -> Registers {
        match machine.registers {
            // Putting the left side's values in twos costs more than a few columns' products save.
            #[cfg(target_arch = "x86_64")]
            Registers::Amx if !E::AS_BF16 && self.columns < amx::SPLIT_COLUMNS => Registers::Avx512,
            registers => registers,
        }
    }

    /// Whether rows are dotted straight from memory.
    fn few(&self) -> bool {
        few(self.rows, self.left.order, self.right.order)
    }

    /// Columns of a task where rows are dotted, a multiple of `unit`.
    fn step_of_few(&self, unit: usize) -> usize {
        let line = (self.inner * size_of::<E>() / E::VALUES).max(1);
        // With several rows there is more to do for each byte.
        let least = self.columns.div_ceil((self.work() / ALONE).clamp(1, TASKS));
        least.min(TASK_BYTES / line).max(1).next_multiple_of(unit)
    }

    /// Multiplications.
    fn work(&self) -> usize {
        self.rows * self.columns * self.inner.max(1)
    }

    fn run(&self, machine: Machine) {
        let work = self.work();
        if self.few() {
            let columns = self.columns;
            let step = if work < ALONE { columns } else { self.step_of_few(dots::LINES) };
            return each(columns.div_ceil(step), |task| {
                self.dots(machine, task * step..columns.min((task + 1) * step), &[]);
            });
        }
        if self.weighted() {
            let step = TASK_COLUMNS;
            let tasks = if work < ALONE { 1 } else { self.columns.div_ceil(step) };
            let step = if tasks == 1 { self.columns } else { step };
            each(tasks, |task| self.add_up(machine, task * step..self.columns.min((task + 1) * step)));
            return;
        }
        let registers = self.registers(machine);
        let (most_rows, tile) = block::shape(registers);
        let row_blocks = self.rows.div_ceil(most_rows);
        let row_step = self.rows.div_ceil(row_blocks).next_multiple_of(tile.0);
        let row_blocks = self.rows.div_ceil(row_step);
        let narrowest = self.columns.div_ceil(TASKS.div_ceil(row_blocks));
        let wide = block::task_columns(registers);
        let column_blocks = self.columns.div_ceil(narrowest.clamp(wide.start, wide.end));
        // As many for one thread as for another, unless that makes them narrow.
        let even = column_blocks.next_multiple_of(rayon::current_num_threads());
        let column_blocks = column_blocks.max(even.min(self.columns / TASK_COLUMNS));
        let column_step = self.columns.div_ceil(column_blocks).next_multiple_of(tile.1);
        let column_blocks = self.columns.div_ceil(column_step);
        let run = |task: usize| {
            // Blocks of rows first: the next task finds the same columns in the last cache.
            let (row, column) = (task % row_blocks * row_step, task / row_blocks * column_step);
            let rows = row..self.rows.min(row + row_step);
            self.block(machine, rows, column..self.columns.min(column + column_step));
        };
        let tasks = row_blocks * column_blocks;
        if work < ALONE { (0..tasks).for_each(run) } else { each(tasks, run) }
    }

    #[expect(unsafe_code, reason = "kernels work on pointers")]
    /// Some columns of a product whose rows are dotted; `soon` is what is read behind them.
    fn dots(&self, machine: Machine, columns: Range<usize>, soon: &[&[f16]]) {
        block::with_scratch(|scratch| {
            // SAFETY: `Gemm::checked` looked at the matrices, the columns lie inside them and belong to this task alone; `Machine::all` asked the
            // processor for these instructions.
            unsafe {
                match (machine.registers, machine.dots_bf16::<E>()) {
                    #[cfg(target_arch = "x86_64")]
                    (Registers::Amx | Registers::Avx512, true) => {
                        x86::dots_avx512_in_pairs(self, columns, soon, scratch);
                    }
                    #[cfg(target_arch = "x86_64")]
                    (Registers::Amx | Registers::Avx512, false) => {
                        x86::dots_avx512(self, columns, soon, scratch);
                    }
                    #[cfg(target_arch = "x86_64")]
                    (Registers::Avx2, true) => x86::dots_avx2::<InPairs, E>(self, columns, soon, scratch),
                    #[cfg(target_arch = "x86_64")]
                    (Registers::Avx2, false) => x86::dots_avx2::<Single, E>(self, columns, soon, scratch),
                    #[cfg(target_arch = "aarch64")]
                    (Registers::Neon, true) => {
                        dots::dots::<neon::Neon, InPairs, E>(self, columns, soon, scratch);
                    }
                    #[cfg(target_arch = "aarch64")]
                    (Registers::Neon, false) => {
                        dots::dots::<neon::Neon, Single, E>(self, columns, soon, scratch)
                    }
                    (Registers::Portable, true) => {
                        dots::dots::<lanes::Portable, InPairs, E>(self, columns, soon, scratch);
                    }
                    (Registers::Portable, false) => {
                        dots::dots::<lanes::Portable, Single, E>(self, columns, soon, scratch);
                    }
                }
            }
        });
    }

    #[expect(unsafe_code, reason = "kernels work on pointers")]
    fn add_up(&self, machine: Machine, columns: Range<usize>) {
        // SAFETY: as above.
        unsafe {
            match machine.registers {
                #[cfg(target_arch = "x86_64")]
                Registers::Amx | Registers::Avx512 => x86::weighted_avx512(self, columns),
                #[cfg(target_arch = "x86_64")]
                Registers::Avx2 => x86::weighted_avx2(self, columns),
                #[cfg(target_arch = "aarch64")]
                Registers::Neon => weighted::weighted::<neon::Neon, E>(self, columns),
                Registers::Portable => weighted::weighted::<lanes::Portable, E>(self, columns),
            }
        }
    }

    #[expect(unsafe_code, reason = "kernels work on pointers")]
    fn block(&self, machine: Machine, rows: Range<usize>, columns: Range<usize>) {
        block::with_scratch(|scratch| {
            // SAFETY: as above; the scratch is made for this machine.
            unsafe {
                match (self.registers(machine), machine.multiplies_bf16::<E>()) {
                    #[cfg(target_arch = "x86_64")]
                    (Registers::Amx, _) => amx::block(self, rows, columns, scratch),
                    #[cfg(target_arch = "x86_64")]
                    (Registers::Avx512, true) => x86::block_avx512_in_pairs(self, rows, columns, scratch),
                    #[cfg(target_arch = "x86_64")]
                    (Registers::Avx512, false) => x86::block_avx512(self, rows, columns, scratch),
                    #[cfg(target_arch = "x86_64")]
                    (Registers::Avx2, true) => x86::block_avx2::<InPairs, E>(self, rows, columns, scratch),
                    #[cfg(target_arch = "x86_64")]
                    (Registers::Avx2, false) => x86::block_avx2::<Single, E>(self, rows, columns, scratch),
                    #[cfg(target_arch = "aarch64")]
                    (Registers::Neon, true) => {
                        block::block::<neon::Neon, InPairs, E, { block::NEON.rows }, { block::NEON.depth }>(
                            self, rows, columns, scratch,
                        );
                    }
                    #[cfg(target_arch = "aarch64")]
                    (Registers::Neon, false) => {
                        block::block::<neon::Neon, Single, E, { block::NEON.rows }, { block::NEON.depth }>(
                            self, rows, columns, scratch,
                        );
                    }
                    (Registers::Portable, true) => {
                        block::portable::<InPairs, E>(self, rows, columns, scratch);
                    }
                    (Registers::Portable, false) => {
                        block::portable::<Single, E>(self, rows, columns, scratch);
                    }
                }
            }
        });
    }
}

/// Runs every task once, on the threads of the current pool: each thread tasks that are neighbours, as far as that goes, for what is asked for ahead
/// of its use belongs to the next one.
fn each(tasks: usize, run: impl Fn(usize) + Sync + Send) {
    if tasks == 1 { run(0) } else { (0..tasks).into_par_iter().with_max_len(1).for_each(run) }
}

/// The same with `firsts` of them taken up before all others, in their order.
fn each_after(firsts: usize, tasks: usize, run: impl Fn(usize) + Sync + Send) {
    let threads = rayon::current_num_threads().min(tasks).max(1);
    let first = AtomicUsize::new(0);
    let share = |thread: usize| firsts + (tasks - firsts) * thread / threads;
    let next: Vec<AtomicUsize> = (0..threads).map(|thread| AtomicUsize::new(share(thread))).collect();
    let take = |from: &AtomicUsize, end: usize| {
        while let task = from.fetch_add(1, Ordering::Relaxed)
            && task < end
        {
            run(task);
        }
    };
    (0..threads).into_par_iter().with_max_len(1).for_each(|thread| {
        take(&first, firsts);
        // Its own neighbours, then what others have not come to.
        for of in (0..threads).map(|by| (thread + by) % threads) {
            take(&next[of], share(of + 1));
        }
    });
}
