//! `y = x W^T + b` with a weight that is never trained through an adapter's run: the backward pass yields the input's gradient only.
//!
//! candle's own matmul gradient would also compute and keep `dW`, as large as the model. How a weight lies in memory is
//! [`FrozenWeight`]'s matter. In CPU memory the kernels of [`hotplate_gemm`] widen 16-bit and quantised values in
//! registers, or multiply them as bf16 where the processor does, so a smaller weight takes less memory, and less time where reading weights is what takes time.

use std::ops::Range;

use candle_core::{Result, Tensor};
use half::f16;
use hotplate_gemm::{
    AddedProduct, FEW_ROWS, FewRows, Layer, LoraFactors, Machine, Matrix, RowAdapters, Stored,
};

use super::frozen_weight::FrozenWeight;
use super::host::{HostRead, HostSlice, on_host};
use super::quantised::Work;

#[derive(Debug, Clone)]
pub struct FrozenLinear {
    /// `[out, in]`
    weight: FrozenWeight,
    /// `[out]`, f32
    bias: Option<Tensor>,
}

impl FrozenLinear {
    /// `weight: [out, in]`, kept as it is; `bias: [out]` in f32.
    pub fn new(weight: impl Into<FrozenWeight>, bias: Option<Tensor>) -> Self {
        Self { weight: weight.into(), bias }
    }

    /// As it is stored.
    pub fn weight(&self) -> &FrozenWeight {
        &self.weight
    }

    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    pub fn inputs(&self) -> usize {
        self.weight.columns()
    }

    pub fn outputs(&self) -> usize {
        self.weight.rows()
    }

    /// Only full-parameter training does this.
    pub fn set_weight(&mut self, weight: impl Into<FrozenWeight>) {
        *self = Self::new(weight, self.bias.take());
    }

    /// `x: [tokens, in]` to `[tokens, out]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_part(x, 0..self.outputs())
    }

    /// The outputs of `range` alone, `[tokens, range]`.
    pub fn forward_part(&self, x: &Tensor, range: Range<usize>) -> Result<Tensor> {
        let outputs = range.len();
        let bias = self.bias.as_ref().map(|bias| bias.narrow(0, range.start, outputs)).transpose()?;
        if !self.kernels_apply(x) {
            let weight = self.weight.values()?.narrow(0, range.start, outputs)?;
            let y = x.matmul(&weight.to_dtype(x.dtype())?.t()?)?;
            return match bias {
                Some(bias) => y.broadcast_add(&bias),
                None => Ok(y),
            };
        }
        let (rows, inputs) = self.check(x, self.inputs())?;
        let (x, bias) = (HostSlice::new(x)?, bias.as_ref().map(HostSlice::new).transpose()?);
        let (x, bias) = (x.read()?, bias.as_ref().map(HostSlice::read).transpose()?);
        let shape = (rows, inputs, outputs);
        let y = self.weight.with_rows(range, Forward { x: &x, shape, bias: bias.as_deref() })?;
        Tensor::from_vec(y, (rows, outputs), self.weight.device())
    }

    /// `forward(x) + thin b^T` with `thin = scale * x a^T`, in one pass over the result, and `thin`, `[tokens, r]`: `a: [r, in]`, `b: [out, r]`.
    pub(crate) fn forward_adapted(
        &self,
        x: &Tensor,
        (a, b): (&Tensor, &Tensor),
        scale: f64,
    ) -> Result<(Tensor, Tensor)> {
        if !self.kernels_apply(x) {
            let thin = (x.matmul(&a.t()?)? * scale)?;
            return Ok((self.forward(x)?.add(&thin.matmul(&b.t()?)?)?, thin));
        }
        let (rows, inputs) = self.check(x, self.inputs())?;
        let (outputs, rank) = (self.outputs(), a.dim(0)?);
        if a.dims() != [rank, inputs] || b.dims() != [outputs, rank] {
            let (a, b) = (a.dims(), b.dims());
            candle_core::bail!(
                "factors of shapes {a:?} and {b:?} do not fit a layer of {inputs} inputs and {outputs} outputs"
            );
        }
        let (x, a, b) = (HostSlice::new(x)?, HostSlice::new(a)?, HostSlice::new(b)?);
        let (x, a, b) = (x.read()?, a.read()?, b.read()?);
        let bias = self.bias.as_ref().map(HostSlice::new).transpose()?;
        let bias = bias.as_ref().map(HostSlice::read).transpose()?;
        let factors = LoraFactors {
            rank,
            a: Matrix::rows(&a, inputs).transposed(),
            b: Matrix::rows(&b, rank).transposed(),
            scale: scale as f32,
        };
        let forward = Forward { x: &x, shape: (rows, inputs, outputs), bias: bias.as_deref() };
        let (y, thin) = self.weight.with_rows(0..outputs, Adapted { forward, factors })?;
        let device = self.weight.device();
        Ok((Tensor::from_vec(y, (rows, outputs), device)?, Tensor::from_vec(thin, (rows, rank), device)?))
    }

    /// What each of several layers, and the pairs beside some of its rows, make of the same few rows, in one pass over the threads.
    ///
    /// # Errors
    /// Other memory, more than [`FEW_ROWS`], shapes that do not fit.
    pub(crate) fn forward_few(
        layers: &[(&FrozenLinear, &RowAdapters<'_>)],
        x: &Tensor,
        soon: &[&[f16]],
    ) -> Result<Vec<Tensor>> {
        let Some((first, _)) = layers.first() else { return Ok(Vec::new()) };
        let (rows, inputs) = first.check(x, first.inputs())?;
        if rows > FEW_ROWS || layers.iter().any(|(layer, _)| layer.inputs() != inputs) {
            candle_core::bail!("{rows} rows of {inputs} do not fit layers that take few rows");
        }
        let slice = HostSlice::new(x)?;
        let biases = layers.iter().map(|(layer, _)| layer.bias.as_ref().map(HostSlice::new).transpose());
        let biases = biases.collect::<Result<Vec<_>>>()?;
        let biases = biases.iter().map(|bias| bias.as_ref().map(HostSlice::read).transpose());
        let biases = biases.collect::<Result<Vec<_>>>()?;
        let rest: Vec<_> = layers
            .iter()
            .zip(&biases)
            .map(|((layer, pairs), bias)| (*layer, *pairs, bias.as_deref()))
            .collect();
        let together =
            Together { x: &slice.read()?, shape: (rows, inputs), made: Vec::new(), rest: &rest, soon };
        let values = together.next()?;
        let layers = layers.iter().zip(values);
        layers
            .map(|((layer, _), y)| Tensor::from_vec(y, (rows, layer.outputs()), layer.weight.device()))
            .collect()
    }

    /// `dy: [tokens, out]` to `dx: [tokens, in]`.
    pub fn backward(&self, dy: &Tensor) -> Result<Tensor> {
        self.multiply_back(dy, 0..self.outputs(), None)
    }

    /// What the outputs of `range` alone give: `dy: [tokens, range]` to `[tokens, in]`.
    pub fn backward_part(&self, dy: &Tensor, range: Range<usize>) -> Result<Tensor> {
        self.multiply_back(dy, range, None)
    }

    /// `backward(dy) + dthin a` in one pass over the result: `dthin: [tokens, r]`, `a: [r, in]`.
    pub(crate) fn backward_adapted(&self, dy: &Tensor, dthin: &Tensor, a: &Tensor) -> Result<Tensor> {
        self.multiply_back(dy, 0..self.outputs(), Some((dthin, a)))
    }

    fn multiply_back(
        &self,
        dy: &Tensor,
        range: Range<usize>,
        beside: Option<(&Tensor, &Tensor)>,
    ) -> Result<Tensor> {
        let outputs = range.len();
        if !self.kernels_apply(dy) {
            let weight = self.weight.values()?.narrow(0, range.start, outputs)?;
            let dx = dy.matmul(&weight.to_dtype(dy.dtype())?)?;
            return match beside {
                Some((dthin, a)) => dx.add(&dthin.matmul(a)?),
                None => Ok(dx),
            };
        }
        let (rows, _) = self.check(dy, outputs)?;
        let inputs = self.inputs();
        let beside = beside.map(|(dthin, a)| ThinBack::new(dthin, a, (rows, inputs))).transpose()?;
        let beside = beside.as_ref().map(ThinBack::read).transpose()?;
        let dy = HostSlice::new(dy)?;
        let extra = beside.as_ref().map(ThinBackRead::extra);
        let shape = (rows, outputs, inputs);
        let dx = self.weight.with_rows(range, Backward { dy: &dy.read()?, shape, extra })?;
        Tensor::from_vec(dx, (rows, inputs), self.weight.device())
    }

    /// `dW = dy^T x`, for full-parameter training.
    pub(crate) fn weight_gradient(x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        if !on_host(x) || !on_host(dy) {
            return dy.t()?.matmul(x);
        }
        let ((tokens, inputs), (rows, outputs)) = (x.dims2()?, dy.dims2()?);
        if tokens != rows {
            candle_core::bail!("{rows} rows of gradients do not fit {tokens} rows of inputs");
        }
        let (x, dy) = (HostSlice::new(x)?, HostSlice::new(dy)?);
        let (x, dy) = (x.read()?, dy.read()?);
        let left = Matrix::rows(&dy, outputs).transposed();
        let dw = hotplate_gemm::new_product((outputs, tokens, inputs), left, Matrix::rows(&x, inputs), None);
        Tensor::from_vec(dw, (outputs, inputs), &candle_core::Device::Cpu)
    }

    /// Other devices, and other types of activations, go through candle.
    fn kernels_apply(&self, x: &Tensor) -> bool {
        on_host(x) && self.weight.on_host()
    }

    /// Rows and columns of what comes in.
    fn check(&self, x: &Tensor, wanted: usize) -> Result<(usize, usize)> {
        let (rows, columns) = x.dims2()?;
        if columns != wanted {
            candle_core::bail!(
                "{columns} columns do not fit a weight of {} rows and {} columns",
                self.outputs(),
                self.inputs()
            );
        }
        Ok((rows, columns))
    }
}

/// A thin product beside the way back: `[rows, r]` times a factor `[r, columns]`.
struct ThinBack {
    rank: usize,
    columns: usize,
    thin: HostSlice,
    factor: HostSlice,
}

struct ThinBackRead<'a> {
    rank: usize,
    columns: usize,
    thin: HostRead<'a>,
    factor: HostRead<'a>,
}

impl ThinBack {
    fn new(thin: &Tensor, factor: &Tensor, (rows, columns): (usize, usize)) -> Result<Self> {
        let rank = thin.dim(1)?;
        if thin.dim(0)? != rows || factor.dims() != [rank, columns] {
            let (thin, factor) = (thin.dims(), factor.dims());
            candle_core::bail!(
                "factors of shapes {thin:?} and {factor:?} do not fit {rows} rows of {columns}"
            );
        }
        Ok(Self { rank, columns, thin: HostSlice::new(thin)?, factor: HostSlice::new(factor)? })
    }

    fn read(&self) -> Result<ThinBackRead<'_>> {
        let (rank, columns) = (self.rank, self.columns);
        Ok(ThinBackRead { rank, columns, thin: self.thin.read()?, factor: self.factor.read()? })
    }
}

impl ThinBackRead<'_> {
    fn extra(&self) -> AddedProduct<'_> {
        let right = Matrix::rows(&self.factor, self.columns);
        AddedProduct { inner: self.rank, left: Matrix::rows(&self.thin, self.rank), right }
    }
}

/// `x W^T + b`; shapes are rows, inputs, outputs.
struct Forward<'a> {
    x: &'a [f32],
    shape: (usize, usize, usize),
    bias: Option<&'a [f32]>,
}

impl Work for Forward<'_> {
    type Output = Vec<f32>;

    fn run<E: Stored>(self, weight: &[E], stride: usize) -> Vec<f32> {
        let inputs = self.shape.1;
        let right = Matrix::rows(weight, stride).transposed();
        hotplate_gemm::new_product(self.shape, Matrix::rows(self.x, inputs), right, self.bias)
    }
}

/// The same with factors beside it.
struct Adapted<'a> {
    forward: Forward<'a>,
    factors: LoraFactors<'a>,
}

impl Work for Adapted<'_> {
    type Output = (Vec<f32>, Vec<f32>);

    fn run<E: Stored>(self, weight: &[E], stride: usize) -> (Vec<f32>, Vec<f32>) {
        let Forward { x, shape, bias } = self.forward;
        let right = Matrix::rows(weight, stride).transposed();
        hotplate_gemm::new_product_with_factors(shape, Matrix::rows(x, shape.1), right, self.factors, bias)
    }
}

/// Layers that are to be computed in one pass: those whose memory is at hand, and the rest with their pairs and biases.
struct Together<'a> {
    x: &'a [f32],
    /// Rows and inputs.
    shape: (usize, usize),
    made: Vec<Layer<'a>>,
    /// Memory that is read behind them.
    soon: &'a [&'a [f16]],
    rest: &'a [(&'a FrozenLinear, &'a RowAdapters<'a>, Option<&'a [f32]>)],
}

impl Together<'_> {
    /// The values of the rest, in its order.
    fn next(self) -> Result<Vec<Vec<f32>>> {
        let Some((layer, ..)) = self.rest.first() else {
            hotplate_gemm::run(Machine::here(), self.made, self.soon);
            return Ok(Vec::new());
        };
        let outputs = layer.outputs();
        layer.weight.with_rows(0..outputs, self)?
    }
}

/// Holds the memory of one layer while those behind it are looked up.
impl Work for Together<'_> {
    type Output = Result<Vec<Vec<f32>>>;

    fn run<E: Stored>(self, weight: &[E], stride: usize) -> Self::Output {
        let Together { x, shape: (rows, inputs), made, rest, soon } = self;
        let Some(((layer, pairs, bias), rest)) = rest.split_first() else { return Ok(Vec::new()) };
        let right = Matrix::rows(weight, stride).transposed();
        let shape = (rows, inputs, layer.outputs());
        let mut product = FewRows::new(shape, Matrix::rows(x, inputs), right, *bias);
        let mut together = Together { x, shape: (rows, inputs), made, rest, soon };
        together.made.push(Layer::new(&mut product, pairs));
        let mut values = vec![Vec::new()];
        values.extend(together.next()?);
        values[0] = product.into_values();
        Ok(values)
    }
}

/// `dy W`; shapes are rows, outputs, inputs.
struct Backward<'a> {
    dy: &'a [f32],
    shape: (usize, usize, usize),
    extra: Option<AddedProduct<'a>>,
}

impl Work for Backward<'_> {
    type Output = Vec<f32>;

    fn run<E: Stored>(self, weight: &[E], stride: usize) -> Vec<f32> {
        let left = Matrix::rows(self.dy, self.shape.1);
        hotplate_gemm::new_product_with(self.shape, left, Matrix::rows(weight, stride), self.extra, None)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::fixtures::{distance, flat, random, slope};
    use hotplate_gemm::{Machine, Values};

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (x, w, b) = (random(&[5, 7], 1), random(&[3, 7], 2), random(&[3], 3));
        let layer = FrozenLinear::new(w.clone(), Some(b.clone()));
        let dy = random(&[5, 3], 4);
        let dx = layer.backward(&dy).unwrap();
        slope(&x, &dx, &dy, |x| layer.forward(x));
        let dw = FrozenLinear::weight_gradient(&x, &dy).unwrap();
        slope(&w, &dw, &dy, |w| FrozenLinear::new(w.clone(), Some(b.clone())).forward(&x));
    }

    /// Both ways, in all storages, against candle's own product of the same values.
    #[test]
    fn products_are_candles_in_every_storage() {
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            for tokens in [1, 3, 40] {
                let rounds = dtype == DType::BF16 && Machine::here().values() == Values::Bf16;
                let near = if rounds { 3e-2 } else { 1e-5 };
                let stored = random(&[70, 33], 2).to_dtype(dtype).unwrap();
                let (w, b) = (stored.to_dtype(DType::F32).unwrap(), random(&[70], 3));
                let layer = FrozenLinear::new(stored, Some(b.clone()));
                let (x, dy) = (random(&[tokens, 33], 1), random(&[tokens, 70], 4));
                let y = x.matmul(&w.t().unwrap()).unwrap().broadcast_add(&b).unwrap();
                assert!(distance(&layer.forward(&x).unwrap(), &y) < near);
                let part = layer.forward_part(&x, 11..46).unwrap();
                assert!(distance(&part, &y.narrow(1, 11, 35).unwrap()) < near);
                for rank in [1, 16, 70] {
                    let (thin, a, b) =
                        (random(&[tokens, rank], 5), random(&[rank, 33], 6), random(&[70, rank], 7));
                    let (adapted, told) = layer.forward_adapted(&x, (&a, &b), 0.2).unwrap();
                    let inner = (x.matmul(&a.t().unwrap()).unwrap() * 0.2).unwrap();
                    assert!(distance(&told, &inner) < 1e-5);
                    let beside = inner.matmul(&b.t().unwrap()).unwrap();
                    assert!(distance(&adapted, &(&y + beside).unwrap()) < near);
                    let dx = (dy.matmul(&w).unwrap() + thin.matmul(&a).unwrap()).unwrap();
                    assert!(distance(&layer.backward_adapted(&dy, &thin, &a).unwrap(), &dx) < near);
                }
                assert!(distance(&layer.backward(&dy).unwrap(), &dy.matmul(&w).unwrap()) < near);
                let narrow = dy.narrow(1, 11, 35).unwrap();
                let part = layer.backward_part(&narrow, 11..46).unwrap();
                let whole = narrow.contiguous().unwrap().matmul(&w.narrow(0, 11, 35).unwrap()).unwrap();
                assert!(distance(&part, &whole) < near);
                let dw = FrozenLinear::weight_gradient(&x, &dy).unwrap();
                assert!(distance(&dw, &dy.t().unwrap().contiguous().unwrap().matmul(&x).unwrap()) < 1e-5);
            }
        }
    }

    /// Whichever of the threads is done first, with the thin product or without it.
    #[test]
    fn factors_beside_few_rows_give_the_same_bits_on_any_number_of_threads() {
        let (layer, x) = (FrozenLinear::new(random(&[700, 600], 1), None), random(&[2, 600], 2));
        let (a, b) = (random(&[9, 600], 3), random(&[700, 9], 4));
        let run = || flat(&layer.forward_adapted(&x, (&a, &b), 0.3).unwrap().0);
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(run);
        for threads in [2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for _ in 0..50 {
                assert_eq!(pool.install(run), alone);
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let layer = FrozenLinear::new(random(&[3, 7], 1), None);
        assert!(layer.forward(&random(&[2, 6], 1)).is_err());
        let (thin, x, a, b) =
            (random(&[2, 2], 1), random(&[2, 7], 1), random(&[2, 7], 1), random(&[3, 2], 1));
        assert!(layer.forward_adapted(&x, (&a, &b), 1.0).is_ok());
        assert!(layer.forward_adapted(&x, (&random(&[1, 7], 1), &b), 1.0).is_err());
        assert!(layer.forward_adapted(&x, (&a, &random(&[7, 2], 1)), 1.0).is_err());
        assert!(layer.forward_adapted(&x, (&random(&[2, 6], 1), &b), 1.0).is_err());
        assert!(layer.backward_adapted(&random(&[2, 3], 1), &thin, &b).is_err());
        assert!(layer.backward(&random(&[2, 7], 1)).is_err());
        assert!(layer.forward_part(&random(&[2, 7], 1), 2..4).is_err());
        assert!(FrozenLinear::weight_gradient(&random(&[2, 7], 1), &random(&[3, 3], 1)).is_err());
    }
}
