//! LoRA's product: `s * (x A^T) B^T`, and a frozen layer with its pair.

mod answered;

use candle_core::{Device, Result, Tensor};
use hotplate_gemm::{Matrix, new_product};

pub use answered::{Groups, answered};

use super::add::add;
use super::frozen_linear::FrozenLinear;
use super::frozen_weight::FrozenWeight;
use super::host::{HostSlice, change, on_host};
use crate::lora::Lora;

/// A frozen layer's output with its pair, where it has one, and what backward needs of the pair: `s * x A^T`, `[tokens, r]`.
pub fn adapted(linear: &FrozenLinear, x: &Tensor, pair: Option<&Lora>) -> Result<(Tensor, Option<Tensor>)> {
    let Some(pair) = pair else { return Ok((linear.forward(x)?, None)) };
    let (y, thin) = linear.forward_adapted(x, (&pair.a, &pair.b), pair.scale)?;
    Ok((brought_to_length(linear, y, pair)?, Some(thin)))
}

/// What a layer with a pair gave, with DoRA's factor where it has one.
fn brought_to_length(linear: &FrozenLinear, y: Tensor, pair: &Lora) -> Result<Tensor> {
    let Some(dora) = &pair.dora else { return Ok(y) };
    let factor = dora.of_linear(pair, linear.weight())?;
    // The bias is not part of what is brought to length.
    match linear.bias() {
        Some(bias) => y.broadcast_sub(bias)?.broadcast_mul(&factor)?.broadcast_add(bias),
        None => y.broadcast_mul(&factor),
    }
}

/// The embedded `tokens` (`x`, which the base multiplies by `base_scale`) with the embedding's pair; `weight` is the embedding's.
pub fn adapted_embedding(
    x: &Tensor,
    tokens: &Tensor,
    pair: &Lora,
    weight: &FrozenWeight,
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

/// Returns the addition to the layer's output `[tokens, out]` and what backward needs: `s * x A^T`, `[tokens, r]`.
pub fn forward(x: &Tensor, pair: &Lora) -> Result<(Tensor, Tensor)> {
    let thin = thin(x, &pair.a.t()?, pair.scale)?;
    // The scale is on the thin side already: r columns instead of `out`.
    Ok((product(&thin, &pair.b.t()?)?, thin))
}

/// `scale * x factor`, with a `factor` of few columns.
fn thin(x: &Tensor, factor: &Tensor, scale: f64) -> Result<Tensor> {
    let thin = product(x, factor)?;
    if !on_host(&thin) {
        return thin * scale;
    }
    change(&thin, |values| values.iter_mut().for_each(|value| *value *= scale as f32))?;
    Ok(thin)
}

/// `left: [m, k]` times `right: [k, n]`, each of them contiguous or the transposition of what is.
fn product(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    if !on_host(left) || !on_host(right) {
        return left.matmul(right);
    }
    let ((rows, inner), (height, columns)) = (left.dims2()?, right.dims2()?);
    if height != inner {
        candle_core::bail!("matrices of shapes {:?} and {:?} do not fit", left.dims(), right.dims());
    }
    let (left, right) = (Lying::new(left)?, Lying::new(right)?);
    let (left_values, right_values) = (left.slice.read()?, right.slice.read()?);
    let (left, right) = (left.matrix(&left_values, rows, inner), right.matrix(&right_values, inner, columns));
    let values = new_product((rows, inner, columns), left, right, None);
    Tensor::from_vec(values, (rows, columns), &Device::Cpu)
}

/// A matrix's memory without a copy, where rows or columns are close together.
struct Lying {
    slice: HostSlice,
    transposed: bool,
}

impl Lying {
    fn new(matrix: &Tensor) -> Result<Self> {
        let transposed = !matrix.is_contiguous() && matrix.t()?.is_contiguous();
        let slice = if transposed { HostSlice::new(&matrix.t()?)? } else { HostSlice::new(matrix)? };
        Ok(Self { slice, transposed })
    }

    fn matrix<'a>(&self, values: &'a [f32], rows: usize, columns: usize) -> Matrix<'a, f32> {
        if self.transposed { Matrix::rows(values, rows).transposed() } else { Matrix::rows(values, columns) }
    }
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

/// The way back of [`forward`]; `thin` is what it returned.
pub fn backward(x: &Tensor, thin: &Tensor, dy: &Tensor, pair: &Lora) -> Result<LowRankGradients> {
    let dthin = self::thin(dy, &pair.b, pair.scale)?;
    let dx = product(&dthin, &pair.a)?;
    let (da, db) = factors(x, thin, dy, &dthin)?;
    Ok(LowRankGradients { da, db, dx })
}

/// The way back of [`adapted`], without DoRA: `dx` is the layer's and the pair's together.
pub fn adapted_backward(
    linear: &FrozenLinear,
    x: &Tensor,
    thin: &Tensor,
    dy: &Tensor,
    pair: &Lora,
) -> Result<LowRankGradients> {
    let dthin = self::thin(dy, &pair.b, pair.scale)?;
    let dx = linear.backward_adapted(dy, &dthin, &pair.a)?;
    let (da, db) = factors(x, thin, dy, &dthin)?;
    Ok(LowRankGradients { da, db, dx })
}

/// `da: [r, in]` and `db: [out, r]`.
fn factors(x: &Tensor, thin: &Tensor, dy: &Tensor, dthin: &Tensor) -> Result<(Tensor, Tensor)> {
    // The long side is the left one in both: a thin right side stays in the first cache.
    let da = product(&x.t()?, dthin)?.t()?.contiguous()?;
    Ok((da, product(&dy.t()?, thin)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{distance, flat, random, slope};
    use crate::lora::Dora;

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (x, a, b, dy) = (random(&[5, 6], 1), random(&[2, 6], 2), random(&[4, 2], 3), random(&[5, 4], 4));
        let pair = |a: &Tensor, b: &Tensor| Lora::plain(a.clone(), b.clone(), 1.7);
        let (_, thin) = forward(&x, &pair(&a, &b)).unwrap();
        let gradients = backward(&x, &thin, &dy, &pair(&a, &b)).unwrap();
        slope(&x, &gradients.dx, &dy, |x| Ok(forward(x, &pair(&a, &b))?.0));
        slope(&a, &gradients.da, &dy, |a| Ok(forward(&x, &pair(a, &b))?.0));
        slope(&b, &gradients.db, &dy, |b| Ok(forward(&x, &pair(&a, b))?.0));
        let layer = FrozenLinear::new(random(&[4, 6], 5), None);
        let sum = (layer.backward(&dy).unwrap() + &gradients.dx).unwrap();
        let both = adapted_backward(&layer, &x, &thin, &dy, &pair(&a, &b)).unwrap();
        assert!(distance(&both.dx, &sum) < 1e-5 && distance(&both.db, &gradients.db) == 0.0);
    }

    #[test]
    fn embedding_gradients_agree_with_finite_differences() {
        let (weight, a, b, dy) =
            (random(&[9, 4], 1), random(&[2, 9], 2), random(&[4, 2], 3), random(&[5, 4], 4));
        let tokens = Tensor::new(&[3u32, 0, 3, 8, 1], weight.device()).unwrap();
        let x = weight.index_select(&tokens, 0).unwrap();
        let weight = FrozenWeight::from(weight);
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
        let pair = Lora::plain(a, b, 1.7).with_dora(Some(Dora::new(magnitude)));
        for bias in [None, Some(bias)] {
            let plain = FrozenLinear::new(merged.clone(), bias.clone()).forward(&x).unwrap();
            let layer = FrozenLinear::new(w.clone(), bias);
            let dora = pair.dora.as_ref().map(|dora| Dora::new(dora.magnitude().clone()));
            let pair = pair.clone().with_dora(dora);
            let (y, _) = adapted(&layer, &x, Some(&pair)).unwrap();
            assert!(distance(&plain, &y) < 1e-5);
        }
    }
}
