//! LoRA's product: `s * (x A^T) B^T`, and a frozen layer with its pair.

use candle_core::{Result, Tensor};

use super::add::add;
use super::frozen_linear::FrozenLinear;
use crate::lora::Lora;

/// A frozen layer's output with its pair, where it has one, and what backward needs of the pair.
pub fn adapted(linear: &FrozenLinear, x: &Tensor, pair: Option<&Lora>) -> Result<(Tensor, Option<Tensor>)> {
    let y = linear.forward(x)?;
    let Some(pair) = pair else { return Ok((y, None)) };
    let (addition, thin) = forward(x, pair)?;
    let Some(dora) = &pair.dora else { return Ok((add(&y, &addition)?, Some(thin))) };
    let factor = dora.of_linear(pair, || Ok(linear.weight().clone()))?;
    // The bias is not part of what is brought to length.
    let y = match linear.bias() {
        Some(bias) => y.broadcast_sub(bias)?.add(&addition)?.broadcast_mul(&factor)?.broadcast_add(bias)?,
        None => add(&y, &addition)?.broadcast_mul(&factor)?,
    };
    Ok((y, Some(thin)))
}

/// The embedded `tokens` (`x`, which the base multiplies by `base_scale`) with the embedding's pair; `weight` is the embedding's.
pub fn adapted_embedding(
    x: &Tensor,
    tokens: &Tensor,
    pair: &Lora,
    weight: &Tensor,
    base_scale: f64,
) -> Result<Tensor> {
    let thin = pair.a.index_select(tokens, 1)?.t()?.contiguous()?;
    let addition = (thin * (pair.scale * base_scale))?.matmul(&pair.b.t()?)?;
    let y = add(x, &addition)?;
    match &pair.dora {
        Some(dora) => y.broadcast_mul(&dora.of_embedding(pair, weight)?),
        None => Ok(y),
    }
}

/// Gradients of an embedding's factors: `(da [r, vocab], db [hidden, r])`. Only the columns of `tokens` are other than 0.
pub fn embedding_backward(
    tokens: &Tensor,
    dy: &Tensor,
    pair: &Lora,
    base_scale: f64,
) -> Result<(Tensor, Tensor)> {
    let scale = pair.scale * base_scale;
    let thin = pair.a.index_select(tokens, 1)?.t()?.contiguous()?;
    let db = dy.t()?.matmul(&(thin * scale)?)?;
    let dthin = (dy.matmul(&pair.b)? * scale)?;
    let (rank, vocab) = pair.a.dims2()?;
    let columns = Tensor::zeros((vocab, rank), dthin.dtype(), dthin.device())?;
    Ok((columns.index_add(tokens, &dthin, 0)?.t()?.contiguous()?, db))
}

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
    use crate::lora::Dora;
    use crate::ops::gradient_check::{distance, flat, random, slope};

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (x, a, b, dy) = (random(&[5, 6], 1), random(&[2, 6], 2), random(&[4, 2], 3), random(&[5, 4], 4));
        let pair = |a: &Tensor, b: &Tensor| Lora::plain(a.clone(), b.clone(), 1.7);
        let (_, thin) = forward(&x, &pair(&a, &b)).unwrap();
        let gradients = backward(&x, &thin, &dy, &pair(&a, &b)).unwrap();
        slope(&x, &gradients.dx, &dy, |x| Ok(forward(x, &pair(&a, &b))?.0));
        slope(&a, &gradients.da, &dy, |a| Ok(forward(&x, &pair(a, &b))?.0));
        slope(&b, &gradients.db, &dy, |b| Ok(forward(&x, &pair(&a, b))?.0));
    }

    #[test]
    fn embedding_gradients_agree_with_finite_differences() {
        let (weight, a, b, dy) =
            (random(&[9, 4], 1), random(&[2, 9], 2), random(&[4, 2], 3), random(&[5, 4], 4));
        let tokens = Tensor::new(&[3u32, 0, 3, 8, 1], weight.device()).unwrap();
        let x = weight.index_select(&tokens, 0).unwrap();
        let pair = |a: &Tensor, b: &Tensor| Lora::plain(a.clone(), b.clone(), 1.7);
        let (da, db) = embedding_backward(&tokens, &dy, &pair(&a, &b), 3.0).unwrap();
        slope(&a, &da, &dy, |a| adapted_embedding(&x, &tokens, &pair(a, &b), &weight, 3.0));
        slope(&b, &db, &dy, |b| adapted_embedding(&x, &tokens, &pair(&a, b), &weight, 3.0));
        assert!(flat(&da.narrow(1, 4, 4).unwrap().contiguous().unwrap()).iter().all(|value| *value == 0.0));
    }

    /// Against the plain definition: each row of `W + s B A` brought to its length, then the layer as ever.
    #[test]
    fn dora_is_a_layer_with_rows_of_given_lengths() {
        let (x, w, bias) = (random(&[5, 6], 1), random(&[4, 6], 5), random(&[4], 6));
        let (a, b) = (random(&[2, 6], 2), random(&[4, 2], 3));
        let magnitude = (random(&[4], 7).abs().unwrap() + 0.5).unwrap();
        let sum = (&w + (b.matmul(&a).unwrap() * 1.7).unwrap()).unwrap();
        let lengths = sum.sqr().unwrap().sum_keepdim(1).unwrap().sqrt().unwrap();
        let merged =
            sum.broadcast_div(&lengths).unwrap().broadcast_mul(&magnitude.unsqueeze(1).unwrap()).unwrap();
        let pair = Lora { dora: Some(Dora::new(magnitude)), ..Lora::plain(a, b, 1.7) };
        for bias in [None, Some(bias)] {
            let plain = FrozenLinear::new(merged.clone(), bias.clone()).forward(&x).unwrap();
            let layer = FrozenLinear::new(w.clone(), bias);
            let pair = Lora {
                dora: pair.dora.as_ref().map(|dora| Dora::new(dora.magnitude().clone())),
                ..pair.clone()
            };
            let (y, _) = adapted(&layer, &x, Some(&pair)).unwrap();
            assert!(distance(&plain, &y) < 1e-5);
        }
    }
}
