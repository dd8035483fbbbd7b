//! DoRA (Liu et al. 2024, <https://arxiv.org/abs/2402.09353>): the adapted weight's rows are brought to lengths of their own.
//!
//! `y = m / |W + s B A| * (W x + s B A x) + bias`. The length of a row does not change while an adapter answers, so the factor is
//! made once, when the adapter first meets its base's weight.

use std::sync::{Arc, OnceLock};

use candle_core::{D, DType, Result, Tensor};

use super::Lora;
use crate::ops::frozen_weight::FrozenWeight;

/// Values of a weight that are looked at together.
const VALUES_AT_ONCE: usize = 4 << 20;

#[derive(Debug, Clone)]
pub struct Dora {
    /// `[out]`
    magnitude: Tensor,
    factor: Arc<OnceLock<Tensor>>,
}

impl Dora {
    pub fn new(magnitude: Tensor) -> Dora {
        Dora { magnitude, factor: Arc::new(OnceLock::new()) }
    }

    pub fn magnitude(&self) -> &Tensor {
        &self.magnitude
    }

    /// `m / |W + s B A|`, `[out]`, for a linear layer's `weight`, `[out, in]`.
    pub(crate) fn of_linear(&self, pair: &Lora, weight: &FrozenWeight) -> Result<Tensor> {
        self.once(|| {
            let (rows, columns) = (weight.rows(), weight.columns());
            let chunk = (VALUES_AT_ONCE / columns.max(1)).max(1);
            let mut squares = Vec::new();
            for start in (0..rows).step_by(chunk) {
                let len = chunk.min(rows - start);
                let part = weight.widened(start..start + len)?;
                let addition = pair.b.narrow(0, start, len)?.contiguous()?.matmul(&pair.a)?;
                squares.push((part + (addition * pair.scale)?)?.sqr()?.sum(D::Minus1)?);
            }
            Tensor::cat(&squares, 0)?.sqrt()
        })
    }

    /// The same for an embedding's `weight`, `[vocab, hidden]`, whose "rows" are the hidden values.
    pub(crate) fn of_embedding(&self, pair: &Lora, weight: &FrozenWeight) -> Result<Tensor> {
        self.once(|| {
            let (rows, columns) = (weight.rows(), weight.columns());
            let chunk = (VALUES_AT_ONCE / columns.max(1)).max(1);
            let mut squares = Tensor::zeros(columns, DType::F32, weight.device())?;
            for start in (0..rows).step_by(chunk) {
                let len = chunk.min(rows - start);
                let part = weight.widened(start..start + len)?;
                let addition = pair.a.narrow(1, start, len)?.t()?.contiguous()?.matmul(&pair.b.t()?)?;
                squares = (squares + (part + (addition * pair.scale)?)?.sqr()?.sum(0)?)?;
            }
            squares.sqrt()
        })
    }

    fn once(&self, lengths: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
        if let Some(factor) = self.factor.get() {
            return Ok(factor.clone());
        }
        let factor = (&self.magnitude / lengths()?)?;
        Ok(self.factor.get_or_init(|| factor).clone())
    }
}
