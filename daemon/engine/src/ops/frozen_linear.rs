//! `y = x W^T + b` with a weight that is never trained through an adapter's run: the backward pass yields the input's gradient only.
//!
//! candle's own matmul gradient would also compute and keep `dW`, as large as the model. This file owns the weight's layout: a packed
//! or quantised one is its private matter.

use candle_core::{Result, Tensor};

#[derive(Debug, Clone)]
pub struct FrozenLinear {
    /// `[out, in]`
    weight: Tensor,
    /// `[out]`
    bias: Option<Tensor>,
}

impl FrozenLinear {
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// Only full-parameter training does this.
    pub(crate) fn set_weight(&mut self, weight: Tensor) {
        self.weight = weight;
    }

    /// `x: [tokens, in]` to `[tokens, out]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = x.matmul(&self.weight.t()?)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }

    /// `dy: [tokens, out]` to `dx: [tokens, in]`.
    pub fn backward(&self, dy: &Tensor) -> Result<Tensor> {
        dy.matmul(&self.weight)
    }

    /// `dW = dy^T x`, for full-parameter training.
    pub(crate) fn weight_gradient(x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        dy.t()?.matmul(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{random, slope};

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
}
