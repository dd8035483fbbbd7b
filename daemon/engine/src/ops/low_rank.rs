//! LoRA's product: `s * (x A^T) B^T`.

use candle_core::{Result, Tensor};

use crate::lora::Lora;

/// Returns the addition to the layer's output `[tokens, out]` and what backward needs: `x A^T`, `[tokens, r]`.
pub fn forward(x: &Tensor, pair: &Lora) -> Result<(Tensor, Tensor)> {
    let thin = x.matmul(&pair.a.t()?)?;
    // The scale goes onto the thin side: r columns instead of `out`.
    let y = (&thin * pair.scale)?.matmul(&pair.b.t()?)?;
    Ok((y, thin))
}

/// Gradients of the factors and of the input.
pub struct LowRankGradients {
    /// `[r, in]`
    pub da: Tensor,
    /// `[out, r]`
    pub db: Tensor,
    /// `[tokens, in]`
    pub dx: Tensor,
}

pub fn backward(x: &Tensor, thin: &Tensor, dy: &Tensor, pair: &Lora) -> Result<LowRankGradients> {
    let dthin = (dy.matmul(&pair.b)? * pair.scale)?;
    Ok(LowRankGradients {
        da: dthin.t()?.matmul(x)?,
        db: dy.t()?.matmul(&(thin * pair.scale)?)?,
        dx: dthin.matmul(&pair.a)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{random, slope};

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (x, a, b, dy) = (random(&[5, 6], 1), random(&[2, 6], 2), random(&[4, 2], 3), random(&[5, 4], 4));
        let pair = |a: &Tensor, b: &Tensor| Lora { a: a.clone(), b: b.clone(), scale: 1.7 };
        let (_, thin) = forward(&x, &pair(&a, &b)).unwrap();
        let gradients = backward(&x, &thin, &dy, &pair(&a, &b)).unwrap();
        slope(&x, &gradients.dx, &dy, |x| Ok(forward(x, &pair(&a, &b))?.0));
        slope(&a, &gradients.da, &dy, |a| Ok(forward(&x, &pair(a, &b))?.0));
        slope(&b, &gradients.db, &dy, |b| Ok(forward(&x, &pair(&a, b))?.0));
    }
}
