//! LoRA's product: `s * (x A^T) B^T`, and a frozen layer with its pair.

use candle_core::{Device, Result, Tensor};

use super::add::add;
use super::frozen_linear::FrozenLinear;
use super::host::{HostSlice, change, on_host};
use super::matmul::{Matrix, Start, new_product, product};
use crate::lora::Lora;

/// A frozen layer's output with its pair, where it has one, and what backward needs of the pair.
pub fn adapted(linear: &FrozenLinear, x: &Tensor, pair: Option<&Lora>) -> Result<(Tensor, Option<Tensor>)> {
    let y = linear.forward(x)?;
    let Some(pair) = pair else { return Ok((y, None)) };
    if pair.dora.is_none() && on_host(x) {
        let thin = thin(x, pair)?;
        add_thin(&y, &thin, pair)?;
        return Ok((y, Some(thin)));
    }
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
    if on_host(x) {
        let thin = thin(x, pair)?;
        let y = Tensor::zeros((x.dim(0)?, pair.b.dim(0)?), x.dtype(), x.device())?;
        add_thin(&y, &thin, pair)?;
        return Ok((y, thin));
    }
    let thin = x.matmul(&pair.a.t()?)?;
    // The scale goes onto the thin side: r columns instead of `out`.
    let y = (&thin * pair.scale)?.matmul(&pair.b.t()?)?;
    Ok((y, thin))
}

/// `x A^T`.
fn thin(x: &Tensor, pair: &Lora) -> Result<Tensor> {
    let ((rows, inputs), (rank, width)) = (x.dims2()?, pair.a.dims2()?);
    if width != inputs {
        candle_core::bail!("a pair for {width} inputs was given {inputs}");
    }
    let (x, a) = (HostSlice::new(x)?, HostSlice::new(&pair.a)?);
    let (x, a) = (x.read()?, a.read()?);
    let a = Matrix::rows(&a, inputs).transposed();
    let thin = new_product((rows, inputs, rank), Matrix::rows(&x, inputs), a, None);
    Tensor::from_vec(thin, (rows, rank), &Device::Cpu)
}

/// `y += s * thin B^T`, where `y` lies: it was just made and nobody else has it.
fn add_thin(y: &Tensor, thin: &Tensor, pair: &Lora) -> Result<()> {
    let ((rows, rank), (outputs, width)) = (thin.dims2()?, pair.b.dims2()?);
    if width != rank || y.dims() != [rows, outputs] {
        candle_core::bail!("a pair of shape {:?} cannot be added to {:?}", pair.b.dims(), y.dims());
    }
    let scaled = scaled(thin, pair.scale)?;
    let b = HostSlice::new(&pair.b)?;
    let b = b.read()?;
    let b = Matrix::rows(&b, rank).transposed();
    change(y, |y| {
        product((rows, rank, outputs), (y, outputs), Matrix::rows(&scaled, rank), b, Start::Target);
    })
}

fn scaled(thin: &Tensor, scale: f64) -> Result<Vec<f32>> {
    let thin = HostSlice::new(thin)?;
    Ok(thin.read()?.iter().map(|value| value * scale as f32).collect())
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
    if !on_host(x) {
        let dthin = (dy.matmul(&pair.b)? * pair.scale)?;
        return Ok(LowRankGradients {
            da: dthin.t()?.matmul(x)?,
            db: dy.t()?.matmul(&(thin * pair.scale)?)?,
            dx: dthin.matmul(&pair.a)?,
        });
    }
    backward_onto(x.zeros_like()?, x, thin, dy, pair)
}

/// [`backward`] with `dx` added to the input's gradient. Its memory is taken: it was just made and nobody else has it.
pub fn backward_added(
    dx: Tensor,
    x: &Tensor,
    thin: &Tensor,
    dy: &Tensor,
    pair: &Lora,
) -> Result<LowRankGradients> {
    if on_host(x) {
        return backward_onto(dx, x, thin, dy, pair);
    }
    let inner = backward(x, thin, dy, pair)?;
    Ok(LowRankGradients { dx: add(&dx, &inner.dx)?, ..inner })
}

fn backward_onto(
    dx: Tensor,
    x: &Tensor,
    thin: &Tensor,
    dy: &Tensor,
    pair: &Lora,
) -> Result<LowRankGradients> {
    let ((rows, inputs), (outputs, rank)) = (x.dims2()?, pair.b.dims2()?);
    let fits = dy.dims() == [rows, outputs] && thin.dims() == [rows, rank] && pair.a.dims() == [rank, inputs];
    if !fits || dx.dims() != x.dims() {
        candle_core::bail!(
            "gradients of shape {:?} do not fit a pair of shape {:?}",
            dy.dims(),
            pair.b.dims()
        );
    }
    let thin = scaled(thin, pair.scale)?;
    let [x, dy, a, b] = [x, dy, &pair.a, &pair.b].map(HostSlice::new);
    let (x, dy, a, b) = (x?, dy?, a?, b?);
    let (x, dy, a, b) = (x.read()?, dy.read()?, a.read()?, b.read()?);
    let dy = Matrix::rows(&dy, outputs);
    let mut dthin = new_product((rows, outputs, rank), dy, Matrix::rows(&b, rank), None);
    dthin.iter_mut().for_each(|value| *value *= pair.scale as f32);
    let dthin = Matrix::rows(&dthin, rank);
    let da = new_product((rank, rows, inputs), dthin.transposed(), Matrix::rows(&x, inputs), None);
    let db = new_product((outputs, rows, rank), dy.transposed(), Matrix::rows(&thin, rank), None);
    let a = Matrix::rows(&a, inputs);
    change(&dx, |dx| product((rows, rank, inputs), (dx, inputs), dthin, a, Start::Target))?;
    let tensor = |values, rows, columns| Tensor::from_vec(values, (rows, columns), &Device::Cpu);
    Ok(LowRankGradients { da: tensor(da, rank, inputs)?, db: tensor(db, outputs, rank)?, dx })
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
        let before = random(&[5, 6], 5);
        let sum = (&before + &gradients.dx).unwrap();
        let added = backward_added(before, &x, &thin, &dy, &pair(&a, &b)).unwrap();
        assert!(distance(&added.dx, &sum) < 1e-5 && distance(&added.db, &gradients.db) == 0.0);
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
