//! `y = x W^T + b` with a weight that is never trained through an adapter's run: the backward pass yields the input's gradient only.
//!
//! candle's own matmul gradient would also compute and keep `dW`, as large as the model. This file owns how a weight lies in memory: as
//! the checkpoint has it, row by row, in f32, bf16 or f16. Arithmetic is in f32 in any case; in CPU memory the kernels of
//! [`super::matmul`] widen 16-bit values in registers, so a bf16 checkpoint takes half the memory, and half the time where reading
//! weights is what takes time.

use std::ops::Range;

use candle_core::{CpuStorage, DType, Result, Storage, Tensor};

use super::add::add;
use super::host::{HostSlice, on_host};
use super::matmul::{self, Matrix, Start, Stored};

#[derive(Debug, Clone)]
pub struct FrozenLinear {
    /// `[out, in]`, contiguous
    weight: Tensor,
    /// `[out]`, f32
    bias: Option<Tensor>,
}

impl FrozenLinear {
    /// `weight: [out, in]` in f32, bf16 or f16, kept as it is; `bias: [out]` in f32.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        // A weight that cannot be copied fails where it is used.
        let weight = weight.contiguous().unwrap_or(weight);
        Self { weight, bias }
    }

    /// As it is stored.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    pub fn inputs(&self) -> usize {
        self.weight.dims().get(1).copied().unwrap_or(0)
    }

    pub fn outputs(&self) -> usize {
        self.weight.dims().first().copied().unwrap_or(0)
    }

    /// Only full-parameter training does this.
    pub(crate) fn set_weight(&mut self, weight: Tensor) {
        *self = Self::new(weight, self.bias.take());
    }

    /// `x: [tokens, in]` to `[tokens, out]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_part(x, 0..self.outputs())
    }

    /// The outputs of `range` alone, `[tokens, range]`.
    pub fn forward_part(&self, x: &Tensor, range: Range<usize>) -> Result<Tensor> {
        let outputs = range.len();
        let weight = self.weight.narrow(0, range.start, outputs)?;
        let bias = self.bias.as_ref().map(|bias| bias.narrow(0, range.start, outputs)).transpose()?;
        if !self.kernels_apply(x) {
            let y = x.matmul(&weight.to_dtype(x.dtype())?.t()?)?;
            return match bias {
                Some(bias) => y.broadcast_add(&bias),
                None => Ok(y),
            };
        }
        let (rows, inputs) = self.check(x, self.inputs())?;
        let x = HostSlice::new(x)?;
        let x = x.read()?;
        let bias = bias.as_ref().map(HostSlice::new).transpose()?;
        let bias = bias.as_ref().map(HostSlice::read).transpose()?;
        let y =
            with_values(&weight, Forward { x: &x, shape: (rows, inputs, outputs), bias: bias.as_deref() })?;
        Tensor::from_vec(y, (rows, outputs), weight.device())
    }

    /// `onto + forward(x)` in one pass over the result, `onto: [tokens, out]`.
    pub fn forward_onto(&self, x: &Tensor, onto: &Tensor) -> Result<Tensor> {
        if self.bias.is_some() || !self.kernels_apply(x) || !on_host(onto) {
            return add(onto, &self.forward(x)?);
        }
        let (rows, inputs) = self.check(x, self.inputs())?;
        let outputs = self.outputs();
        if onto.dims() != [rows, outputs] {
            candle_core::bail!("{rows} rows of {outputs} cannot be added to a shape of {:?}", onto.dims());
        }
        let (x, onto) = (HostSlice::new(x)?, HostSlice::new(onto)?);
        let (x, mut y) = (x.read()?, onto.read()?.to_vec());
        with_values(&self.weight, Onto { y: &mut y, x: &x, shape: (rows, inputs, outputs) })?;
        Tensor::from_vec(y, (rows, outputs), self.weight.device())
    }

    /// `dy: [tokens, out]` to `dx: [tokens, in]`.
    pub fn backward(&self, dy: &Tensor) -> Result<Tensor> {
        self.backward_part(dy, 0..self.outputs())
    }

    /// What the outputs of `range` alone give: `dy: [tokens, range]` to `[tokens, in]`.
    pub fn backward_part(&self, dy: &Tensor, range: Range<usize>) -> Result<Tensor> {
        let outputs = range.len();
        let weight = self.weight.narrow(0, range.start, outputs)?;
        if !self.kernels_apply(dy) {
            return dy.matmul(&weight.to_dtype(dy.dtype())?);
        }
        let (rows, _) = self.check(dy, outputs)?;
        let inputs = self.inputs();
        let dy = HostSlice::new(dy)?;
        let dx = with_values(&weight, Backward { dy: &dy.read()?, shape: (rows, outputs, inputs) })?;
        Tensor::from_vec(dx, (rows, inputs), weight.device())
    }

    /// The weight's rows of these numbers, `[numbers, in]` in f32: what a tied embedding looks up.
    ///
    /// # Errors
    /// A number that is no row.
    pub fn rows(&self, numbers: &[u32]) -> Result<Tensor> {
        if let Some(number) = numbers.iter().find(|number| **number as usize >= self.outputs()) {
            candle_core::bail!("row {number} is outside a weight of {} rows", self.outputs());
        }
        let index = Tensor::new(numbers, self.weight.device())?;
        self.weight.index_select(&index, 0)?.to_dtype(DType::F32)
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
        let dw = matmul::new_product((outputs, tokens, inputs), left, Matrix::rows(&x, inputs), None);
        Tensor::from_vec(dw, (outputs, inputs), &candle_core::Device::Cpu)
    }

    /// Other devices, and other types of activations, go through candle.
    fn kernels_apply(&self, x: &Tensor) -> bool {
        let stored = matches!(self.weight.dtype(), DType::F32 | DType::BF16 | DType::F16);
        on_host(x) && stored && self.weight.device().is_cpu()
    }

    /// Rows and columns of what comes in.
    fn check(&self, x: &Tensor, wanted: usize) -> Result<(usize, usize)> {
        let (rows, columns) = x.dims2()?;
        if columns != wanted {
            candle_core::bail!("{columns} columns do not fit a weight of shape {:?}", self.weight.dims());
        }
        Ok((rows, columns))
    }
}

/// What is done with a weight's values, whatever their type.
trait Work {
    type Output;

    fn run<E: Stored>(self, weight: &[E]) -> Self::Output;
}

fn with_values<W: Work>(weight: &Tensor, work: W) -> Result<W::Output> {
    let (storage, layout) = weight.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("a weight's rows are not close together");
    };
    match &*storage {
        Storage::Cpu(CpuStorage::F32(values)) => Ok(work.run(&values[start..end])),
        Storage::Cpu(CpuStorage::BF16(values)) => Ok(work.run(&values[start..end])),
        Storage::Cpu(CpuStorage::F16(values)) => Ok(work.run(&values[start..end])),
        _ => candle_core::bail!("a weight in f32, bf16 or f16 in CPU memory was expected"),
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

    fn run<E: Stored>(self, weight: &[E]) -> Vec<f32> {
        let inputs = self.shape.1;
        let right = Matrix::rows(weight, inputs).transposed();
        matmul::new_product(self.shape, Matrix::rows(self.x, inputs), right, self.bias)
    }
}

/// `y += x W^T`
struct Onto<'a> {
    y: &'a mut [f32],
    x: &'a [f32],
    shape: (usize, usize, usize),
}

impl Work for Onto<'_> {
    type Output = ();

    fn run<E: Stored>(self, weight: &[E]) {
        let (_, inputs, outputs) = self.shape;
        let right = Matrix::rows(weight, inputs).transposed();
        let left = Matrix::rows(self.x, inputs);
        matmul::product(self.shape, (self.y, outputs), left, right, Start::Target);
    }
}

/// `dy W`; shapes are rows, outputs, inputs.
struct Backward<'a> {
    dy: &'a [f32],
    shape: (usize, usize, usize),
}

impl Work for Backward<'_> {
    type Output = Vec<f32>;

    fn run<E: Stored>(self, weight: &[E]) -> Vec<f32> {
        let (_, outputs, inputs) = self.shape;
        let left = Matrix::rows(self.dy, outputs);
        matmul::new_product(self.shape, left, Matrix::rows(weight, inputs), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{distance, random, slope};

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
                let stored = random(&[70, 33], 2).to_dtype(dtype).unwrap();
                let (w, b) = (stored.to_dtype(DType::F32).unwrap(), random(&[70], 3));
                let layer = FrozenLinear::new(stored, Some(b.clone()));
                let (x, dy) = (random(&[tokens, 33], 1), random(&[tokens, 70], 4));
                let y = x.matmul(&w.t().unwrap()).unwrap().broadcast_add(&b).unwrap();
                assert!(distance(&layer.forward(&x).unwrap(), &y) < 1e-5);
                let part = layer.forward_part(&x, 11..46).unwrap();
                assert!(distance(&part, &y.narrow(1, 11, 35).unwrap()) < 1e-5);
                let onto = layer.forward_onto(&x, &dy).unwrap();
                assert!(distance(&onto, &(&dy + &y).unwrap()) < 1e-5);
                let plain = FrozenLinear::new(layer.weight().clone(), None);
                let onto = plain.forward_onto(&x, &dy).unwrap();
                assert!(distance(&onto, &(&dy + plain.forward(&x).unwrap()).unwrap()) < 1e-5);
                assert!(distance(&layer.backward(&dy).unwrap(), &dy.matmul(&w).unwrap()) < 1e-5);
                let narrow = dy.narrow(1, 11, 35).unwrap();
                let part = layer.backward_part(&narrow, 11..46).unwrap();
                let whole = narrow.contiguous().unwrap().matmul(&w.narrow(0, 11, 35).unwrap()).unwrap();
                assert!(distance(&part, &whole) < 1e-5);
                let dw = FrozenLinear::weight_gradient(&x, &dy).unwrap();
                assert!(distance(&dw, &dy.t().unwrap().contiguous().unwrap().matmul(&x).unwrap()) < 1e-5);
            }
        }
    }

    #[test]
    fn rows_are_looked_up_in_f32() {
        let weight = random(&[5, 4], 1).to_dtype(DType::BF16).unwrap();
        let layer = FrozenLinear::new(weight.clone(), None);
        let wanted = weight.to_dtype(DType::F32).unwrap();
        let found = layer.rows(&[4, 0, 4]).unwrap();
        assert_eq!(found.dtype(), DType::F32);
        for (row, number) in [4, 0, 4].into_iter().enumerate() {
            assert!(distance(&found.get(row).unwrap(), &wanted.get(number).unwrap()) == 0.0);
        }
        assert!(layer.rows(&[5]).is_err());
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let layer = FrozenLinear::new(random(&[3, 7], 1), None);
        assert!(layer.forward(&random(&[2, 6], 1)).is_err());
        assert!(layer.forward_onto(&random(&[2, 7], 1), &random(&[3, 2], 1)).is_err());
        assert!(layer.backward(&random(&[2, 7], 1)).is_err());
        assert!(layer.forward_part(&random(&[2, 7], 1), 2..4).is_err());
        assert!(FrozenLinear::weight_gradient(&random(&[2, 7], 1), &random(&[3, 3], 1)).is_err());
    }
}
