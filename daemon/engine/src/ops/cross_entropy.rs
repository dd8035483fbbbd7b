//! Negative log-likelihood through the language-model head, in nats.
//!
//! Takes the head's weight, so that full logits of a batch never exist: rows go through in chunks, and where a gradient is wanted it is made
//! in the same pass.

use candle_core::{D, Result, Tensor};
use rayon::prelude::*;

use super::add::accumulate;
use super::exp::exp;
use super::frozen_linear::FrozenLinear;
use super::host::{HostSlice, change, on_host};
use super::low_rank;
use super::simd::{maximum, sum_of, wide};
use crate::lora::Lora;

/// Logits that may exist at once (floats). Each chunk of rows reads the whole head, so there should be a hundred rows in it.
pub(crate) const LOGITS_AT_ONCE: usize = 16 << 20;

/// What is wanted beside the losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gradient {
    None,
    /// Of the hidden rows.
    Hidden,
    /// Of the hidden rows and of the head's weight (full-parameter training).
    HiddenAndHead,
}

/// The result for `n` rows.
pub struct CrossEntropy {
    /// One loss a row.
    pub losses: Vec<f32>,
    /// `d(factor * sum of losses) / d(hidden)`, `[n, hidden]`.
    pub dhidden: Option<Tensor>,
    /// The same for the head's weight, `[vocab, hidden]`.
    pub dhead: Option<Tensor>,
    /// The same for the factors of the head's pair, A and B.
    pub dpair: Option<(Tensor, Tensor)>,
}

/// `hidden: [n, hidden]` are the rows whose next token `targets[n]` is supervised; `pair` is the head's, where an adapter has one. Gradients
/// are of `factor` times the sum of losses; those of the pair come with [`Gradient::Hidden`].
pub fn cross_entropy(
    hidden: &Tensor,
    head: &FrozenLinear,
    pair: Option<&Lora>,
    targets: &[u32],
    factor: f64,
    gradient: Gradient,
) -> Result<CrossEntropy> {
    let rows = targets.len();
    let vocab = head.outputs();
    if let Some(target) = targets.iter().find(|target| **target as usize >= vocab) {
        candle_core::bail!("token {target} is outside the vocabulary of {vocab}");
    }
    let chunk = (LOGITS_AT_ONCE / vocab).max(1);
    let mut losses = Vec::with_capacity(rows);
    let mut dhidden = Vec::new();
    let mut dhead: Option<Tensor> = None;
    let (mut da, mut db): (Option<Tensor>, Option<Tensor>) = (None, None);
    for start in (0..rows).step_by(chunk) {
        let len = chunk.min(rows - start);
        let part = hidden.narrow(0, start, len)?;
        let (logits, thin) = low_rank::adapted(head, &part, pair)?;
        let (part_losses, dlogits) = rows_of(&logits, &targets[start..start + len], factor, gradient)?;
        losses.extend(part_losses);
        let Some(dlogits) = dlogits else { continue };
        dhidden.push(match (pair, thin) {
            (Some(pair), Some(thin)) => {
                let gradients = low_rank::adapted_backward(head, &part, &thin, &dlogits, pair)?;
                accumulate(&mut da, gradients.da)?;
                accumulate(&mut db, gradients.db)?;
                gradients.dx
            }
            _ => head.backward(&dlogits)?,
        });
        if gradient == Gradient::HiddenAndHead {
            accumulate(&mut dhead, FrozenLinear::weight_gradient(&part, &dlogits)?)?;
        }
    }
    let dhidden = if dhidden.is_empty() { None } else { Some(Tensor::cat(&dhidden, 0)?) };
    Ok(CrossEntropy { losses, dhidden, dhead, dpair: da.zip(db) })
}

/// Losses, and slopes where they are wanted: those may take the logits' memory.
fn rows_of(
    logits: &Tensor,
    targets: &[u32],
    factor: f64,
    gradient: Gradient,
) -> Result<(Vec<f32>, Option<Tensor>)> {
    if !on_host(logits) {
        return composed(logits, targets, factor, gradient);
    }
    let vocab = logits.dim(1)?;
    if gradient == Gradient::None {
        let values = HostSlice::new(logits)?;
        let values = values.read()?;
        let rows = values.par_chunks(vocab).zip(targets);
        let losses = rows.map(|(row, target)| normaliser(row) - row[*target as usize]);
        return Ok((losses.collect(), None));
    }
    // The slopes take the logits' place: nobody else has them.
    let losses = change(logits, |values| {
        let rows = values.par_chunks_mut(vocab).zip(targets);
        let row = |(row, target): (&mut [f32], &u32)| {
            let normaliser = normaliser(row);
            let loss = normaliser - row[*target as usize];
            slopes(row, normaliser, factor as f32);
            row[*target as usize] -= factor as f32;
            loss
        };
        rows.map(row).collect()
    })?;
    Ok((losses, Some(logits.clone())))
}

fn composed(
    logits: &Tensor,
    targets: &[u32],
    factor: f64,
    gradient: Gradient,
) -> Result<(Vec<f32>, Option<Tensor>)> {
    let normaliser = logits.log_sum_exp(D::Minus1)?;
    let index = Tensor::new(targets, logits.device())?.unsqueeze(1)?;
    let losses = (&normaliser - logits.gather(&index, 1)?.squeeze(1)?)?.to_vec1()?;
    if gradient == Gradient::None {
        return Ok((losses, None));
    }
    let softmax = (logits.broadcast_sub(&normaliser.unsqueeze(1)?)?.exp()? * factor)?;
    let minus = Tensor::full(-factor as f32, index.dims(), logits.device())?;
    Ok((losses, Some(softmax.scatter_add(&index, &minus, 1)?)))
}

wide! {
    /// The log of the sum of exponentials.
    fn normaliser(row: &[f32]) -> f32 {
        let top = maximum(row);
        top + sum_of(row, |x| exp(x - top)).ln()
    }
}

wide! {
    /// Logits to `factor` times their softmax, in place.
    fn slopes(row: &mut [f32], normaliser: f32, factor: f32) {
        for x in row {
            *x = exp(*x - normaliser) * factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::ops::gradient_check::{distance, random, slope};

    #[test]
    fn gradients_agree_with_finite_differences_and_the_composition() {
        let (x, w) = (random(&[4, 5], 1), random(&[9, 5], 2));
        let targets = [0, 8, 3, 3];
        let factor = 0.25;
        let run = |x: &Tensor, w: &Tensor, gradient| {
            cross_entropy(x, &FrozenLinear::new(w.clone(), None), None, &targets, factor, gradient).unwrap()
        };
        let sum = |losses: &[f32]| Tensor::new(losses, &Device::Cpu)?.sum_all()? * factor;
        let full = run(&x, &w, Gradient::HiddenAndHead);
        let one = Tensor::new(1f32, &Device::Cpu).unwrap();
        slope(&x, full.dhidden.as_ref().unwrap(), &one, |x| sum(&run(x, &w, Gradient::None).losses));
        slope(&w, full.dhead.as_ref().unwrap(), &one, |w| sum(&run(&x, w, Gradient::None).losses));
        let logits = FrozenLinear::new(w, None).forward(&x).unwrap();
        let (losses, dlogits) = composed(&logits, &targets, factor, Gradient::Hidden).unwrap();
        let (fused_losses, fused) = rows_of(&logits, &targets, factor, Gradient::Hidden).unwrap();
        assert!(losses.iter().zip(&fused_losses).all(|(l, r)| (l - r).abs() < 1e-5));
        assert!(distance(&dlogits.unwrap(), &fused.unwrap()) < 1e-6);
    }

    #[test]
    fn gradients_of_the_heads_pair_agree_with_finite_differences() {
        let (x, w) = (random(&[4, 5], 1), random(&[9, 5], 2));
        let (a, b) = (random(&[2, 5], 3), random(&[9, 2], 4));
        let head = FrozenLinear::new(w, None);
        let run = |x: &Tensor, a: &Tensor, b: &Tensor, gradient| {
            let pair = Lora::plain(a.clone(), b.clone(), 1.7);
            cross_entropy(x, &head, Some(&pair), &[0, 8, 3, 3], 0.25, gradient).unwrap()
        };
        let full = run(&x, &a, &b, Gradient::Hidden);
        let (da, db) = full.dpair.unwrap();
        let one = Tensor::new(1f32, &Device::Cpu).unwrap();
        let sum = |x: &Tensor, a: &Tensor, b: &Tensor| {
            Tensor::new(run(x, a, b, Gradient::None).losses, &Device::Cpu)?.sum_all()? * 0.25
        };
        slope(&x, full.dhidden.as_ref().unwrap(), &one, |x| sum(x, &a, &b));
        slope(&a, &da, &one, |a| sum(&x, a, &b));
        slope(&b, &db, &one, |b| sum(&x, &a, b));
    }

    #[test]
    fn a_token_outside_the_vocabulary_is_an_error() {
        let head = FrozenLinear::new(random(&[3, 2], 1), None);
        assert!(cross_entropy(&random(&[1, 2], 2), &head, None, &[3], 1.0, Gradient::None).is_err());
    }
}
