//! Root-mean-square layer normalisation (Zhang and Sennrich 2019, <https://arxiv.org/abs/1910.07467>).

use candle_core::{D, Result, Tensor};
use hotplate_gemm::{dot, dot_weighted, wide};
use rayon::prelude::*;

use super::host::{HostSlice, on_host};

/// Rows that one task takes: fixed, so that sums have the same order whatever the number of threads.
const ROWS_PER_TASK: usize = 16;

/// `x: [tokens, n]`, `weight: [n]`; `y = x / sqrt(mean(x^2) + eps) * weight`.
pub fn forward(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    if !on_host(x) {
        return composed(x, weight, eps);
    }
    let n = x.dim(D::Minus1)?;
    let (xs, ws) = (HostSlice::new(x)?, HostSlice::new(weight)?);
    let (xs, ws) = (xs.read()?, ws.read()?);
    let mut ys = vec![0f32; xs.len()];
    let rows = n * ROWS_PER_TASK;
    ys.par_chunks_mut(rows).zip(xs.par_chunks(rows)).for_each(|(ys, xs)| normalise(ys, xs, &ws, eps as f32));
    Tensor::from_vec(ys, x.dims(), x.device())
}

/// The same from candle's operations: what runs on other devices, and what the loop is tested against.
fn composed(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let inverse = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?.recip()?;
    x.broadcast_mul(&inverse)?.broadcast_mul(weight)
}

/// `dx` for `dy`, both `[tokens, n]`, at the input `x`.
pub fn backward(x: &Tensor, weight: &Tensor, eps: f64, dy: &Tensor) -> Result<Tensor> {
    if !on_host(x) {
        return composed_backward(x, weight, eps, dy);
    }
    let n = x.dim(D::Minus1)?;
    let (xs, ws, dys) = (HostSlice::new(x)?, HostSlice::new(weight)?, HostSlice::new(dy)?);
    let (xs, ws, dys) = (xs.read()?, ws.read()?, dys.read()?);
    let mut dxs = vec![0f32; xs.len()];
    let rows = n * ROWS_PER_TASK;
    dxs.par_chunks_mut(rows)
        .zip(xs.par_chunks(rows))
        .zip(dys.par_chunks(rows))
        .for_each(|((dxs, xs), dys)| slopes(dxs, xs, dys, &ws, eps as f32));
    Tensor::from_vec(dxs, x.dims(), x.device())
}

fn composed_backward(x: &Tensor, weight: &Tensor, eps: f64, dy: &Tensor) -> Result<Tensor> {
    let n = x.dim(D::Minus1)? as f64;
    let inverse = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?.recip()?;
    let weighted = dy.broadcast_mul(weight)?;
    let along = ((x * &weighted)?.sum_keepdim(D::Minus1)? / n)?;
    let pull = (along * inverse.powf(3.0)?)?;
    weighted.broadcast_mul(&inverse)? - x.broadcast_mul(&pull)?
}

/// `dweight: [n]`, for full-parameter training.
pub fn weight_gradient(x: &Tensor, eps: f64, dy: &Tensor) -> Result<Tensor> {
    let inverse = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?.recip()?;
    (x.broadcast_mul(&inverse)? * dy)?.sum(0)
}

wide! {
    /// Whole rows, as long as the weight.
    fn normalise(ys: &mut [f32], xs: &[f32], weight: &[f32], eps: f32) {
        let n = weight.len();
        for (y, x) in ys.chunks_exact_mut(n).zip(xs.chunks_exact(n)) {
            let inverse = inverse_rms(x, eps);
            for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
                *y = x * inverse * w;
            }
        }
    }
}

wide! {
    fn slopes(dxs: &mut [f32], xs: &[f32], dys: &[f32], weight: &[f32], eps: f32) {
        let n = weight.len();
        for ((dx, x), dy) in dxs.chunks_exact_mut(n).zip(xs.chunks_exact(n)).zip(dys.chunks_exact(n)) {
            let inverse = inverse_rms(x, eps);
            let pull = dot_weighted(x, dy, weight) * inverse * inverse * inverse / n as f32;
            for (((dx, x), dy), w) in dx.iter_mut().zip(x).zip(dy).zip(weight) {
                *dx = dy * w * inverse - x * pull;
            }
        }
    }
}

#[inline(always)]
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + eps).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{distance, random, slope};

    const EPS: f64 = 1e-5;

    #[test]
    fn loops_agree_with_the_composition() {
        for n in [1, 15, 16, 33] {
            let (x, w, dy) = (random(&[37, n], 1), random(&[n], 2), random(&[37, n], 3));
            assert!(distance(&forward(&x, &w, EPS).unwrap(), &composed(&x, &w, EPS).unwrap()) < 1e-5);
            let (fused, plain) = (backward(&x, &w, EPS, &dy), composed_backward(&x, &w, EPS, &dy));
            assert!(distance(&fused.unwrap(), &plain.unwrap()) < 1e-3);
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (x, w, dy) = (random(&[3, 9], 1), random(&[9], 2), random(&[3, 9], 3));
        slope(&x, &backward(&x, &w, EPS, &dy).unwrap(), &dy, |x| forward(x, &w, EPS));
        slope(&w, &weight_gradient(&x, EPS, &dy).unwrap(), &dy, |w| forward(&x, w, EPS));
    }
}
