//! Negative log-likelihood through the language-model head, in nats; or, where another model is the teacher, the divergence from what it
//! would say next (distillation: Hinton et al. 2015, <https://arxiv.org/abs/1503.02531>).
//!
//! Takes the head's weight, so that full logits of a batch never exist: rows go through in chunks, and where a gradient is wanted it is made
//! in the same pass.

use candle_core::{D, Result, Tensor};
use hotplate_gemm::{exp, maximum, sum_of, wide};
use rayon::prelude::*;

use super::add::accumulate;
use super::frozen_linear::FrozenLinear;
use super::host::{HostSlice, change, on_host};
use super::low_rank;
use crate::lora::Lora;

/// Logits that may exist at once (floats). Each chunk of rows reads the whole head, so there should be a hundred rows in it.
pub const LOGITS_AT_ONCE: usize = 16 << 20;

/// What a row's next token should be.
#[derive(Debug, Clone, Copy)]
pub enum Targets<'a> {
    /// One token a row: the loss is its negative log-likelihood.
    Tokens(&'a [u32]),
    /// What a teacher thinks, by its rows `[n, hidden]` and its head: the loss is KL(teacher || this). Gradients take each row's loss as many times as its
    /// weight says.
    Teacher { hidden: &'a Tensor, head: &'a FrozenLinear, weights: &'a [f32] },
}

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

/// `hidden: [n, hidden]` are the rows whose next token is supervised by `targets`; `pair` is the head's, where an adapter has one. Gradients
/// are of `factor` times the sum of losses (weighted, where a teacher has weights); those of the pair come with [`Gradient::Hidden`].
pub fn cross_entropy(
    hidden: &Tensor,
    head: &FrozenLinear,
    pair: Option<&Lora>,
    targets: Targets<'_>,
    factor: f64,
    gradient: Gradient,
) -> Result<CrossEntropy> {
    let rows = hidden.dim(0)?;
    let vocab = head.outputs();
    let at_once = match targets {
        Targets::Tokens(tokens) => {
            if let Some(token) = tokens.iter().find(|token| **token as usize >= vocab) {
                candle_core::bail!("token {token} is outside the vocabulary of {vocab}");
            }
            LOGITS_AT_ONCE
        }
        Targets::Teacher { weights, .. } => {
            if weights.len() != rows {
                candle_core::bail!("{} weights for {rows} rows", weights.len());
            }
            LOGITS_AT_ONCE / 2
        }
    };
    let chunk = (at_once / vocab).max(1);
    let mut losses = Vec::with_capacity(rows);
    let mut dhidden = Vec::new();
    let mut dhead: Option<Tensor> = None;
    let (mut da, mut db): (Option<Tensor>, Option<Tensor>) = (None, None);
    for start in (0..rows).step_by(chunk) {
        let len = chunk.min(rows - start);
        let part = hidden.narrow(0, start, len)?;
        let (logits, thin) = low_rank::adapted(head, &part, pair)?;
        let (part_losses, dlogits) = match targets {
            Targets::Tokens(tokens) => rows_of(&logits, &tokens[start..start + len], factor, gradient)?,
            Targets::Teacher { hidden, head, weights } => {
                let wanted = head.forward(&hidden.narrow(0, start, len)?)?;
                let factors: Vec<f32> =
                    weights[start..start + len].iter().map(|weight| weight * factor as f32).collect();
                divergence(&logits, &wanted, &factors, gradient)?
            }
        };
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

/// KL(teacher || student) of each row of logits; slopes, as many times as each row's factor, take the student's memory, and the teacher's is used up.
fn divergence(
    logits: &Tensor,
    teacher: &Tensor,
    factors: &[f32],
    gradient: Gradient,
) -> Result<(Vec<f32>, Option<Tensor>)> {
    if !(on_host(logits) && on_host(teacher)) {
        return composed_divergence(logits, teacher, factors, gradient);
    }
    let vocab = logits.dim(1)?;
    let losses = change(logits, |own| {
        change(teacher, |teacher| {
            let rows = own.par_chunks_mut(vocab).zip(teacher.par_chunks_mut(vocab)).zip(factors);
            rows.map(|((own, teacher), factor)| apart(own, teacher, *factor)).collect()
        })
    })??;
    Ok((losses, (gradient != Gradient::None).then(|| logits.clone())))
}

fn composed_divergence(
    logits: &Tensor,
    teacher: &Tensor,
    factors: &[f32],
    gradient: Gradient,
) -> Result<(Vec<f32>, Option<Tensor>)> {
    let log = |logits: &Tensor| logits.broadcast_sub(&logits.log_sum_exp(D::Minus1)?.unsqueeze(1)?);
    let (own, teacher) = (log(logits)?, log(teacher)?);
    let wanted = teacher.exp()?;
    let losses = ((teacher - &own)? * &wanted)?.sum(D::Minus1)?.to_vec1()?;
    if gradient == Gradient::None {
        return Ok((losses, None));
    }
    let factors = Tensor::new(factors, logits.device())?.unsqueeze(1)?;
    Ok((losses, Some((own.exp()? - wanted)?.broadcast_mul(&factors)?)))
}

wide! {
    /// KL(teacher || own) of two rows of logits. Leaves the slopes in `own`, and nothing of use in `teacher`.
    fn apart(own: &mut [f32], teacher: &mut [f32], factor: f32) -> f32 {
        let (own_log, teacher_log) = (normaliser(own), normaliser(teacher));
        for (x, t) in own.iter_mut().zip(teacher.iter_mut()) {
            let (log_q, log_p) = (*x - own_log, *t - teacher_log);
            let (q, p) = (exp(log_q), exp(log_p));
            *x = (q - p) * factor;
            // What the teacher rules out has no part, whatever the student thinks of it.
            *t = if p > 0.0 { p * (log_p - log_q) } else { 0.0 };
        }
        // Rounding cannot make it negative.
        sum_of(teacher, |x| x).max(0.0)
    }
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
    use crate::fixtures::{distance, random, slope};

    #[test]
    fn gradients_agree_with_finite_differences_and_the_composition() {
        let (x, w) = (random(&[4, 5], 1), random(&[9, 5], 2));
        let targets = [0, 8, 3, 3];
        let factor = 0.25;
        let run = |x: &Tensor, w: &Tensor, gradient| {
            cross_entropy(
                x,
                &FrozenLinear::new(w.clone(), None),
                None,
                Targets::Tokens(&targets),
                factor,
                gradient,
            )
            .unwrap()
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
            cross_entropy(x, &head, Some(&pair), Targets::Tokens(&[0, 8, 3, 3]), 0.25, gradient).unwrap()
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
    fn a_teachers_gradients_agree_with_finite_differences_and_the_composition() {
        let (x, w) = (random(&[4, 5], 1), random(&[9, 5], 2));
        let (hidden, head) = (random(&[4, 5], 6), FrozenLinear::new(random(&[9, 5], 7), None));
        let weights = [1.0, 8.0, 0.0, 2.5];
        let targets = Targets::Teacher { hidden: &hidden, head: &head, weights: &weights };
        let run = |x: &Tensor, w: &Tensor, gradient| {
            cross_entropy(x, &FrozenLinear::new(w.clone(), None), None, targets, 0.25, gradient).unwrap()
        };
        let sum = |losses: &[f32]| {
            let weighted: Vec<f32> = losses.iter().zip(weights).map(|(loss, weight)| loss * weight).collect();
            Tensor::new(weighted, &Device::Cpu)?.sum_all()? * 0.25
        };
        let full = run(&x, &w, Gradient::HiddenAndHead);
        let one = Tensor::new(1f32, &Device::Cpu).unwrap();
        slope(&x, full.dhidden.as_ref().unwrap(), &one, |x| sum(&run(x, &w, Gradient::None).losses));
        slope(&w, full.dhead.as_ref().unwrap(), &one, |w| sum(&run(&x, w, Gradient::None).losses));
        let logits = || FrozenLinear::new(w.clone(), None).forward(&x).unwrap();
        let wanted = || head.forward(&hidden).unwrap();
        let factors = weights.map(|weight| weight * 0.25);
        let (losses, dlogits) =
            composed_divergence(&logits(), &wanted(), &factors, Gradient::Hidden).unwrap();
        let (fused_losses, fused) = divergence(&logits(), &wanted(), &factors, Gradient::Hidden).unwrap();
        assert!(losses.iter().all(|loss| *loss > 1e-3));
        assert!(losses.iter().zip(&fused_losses).all(|(l, r)| (l - r).abs() < 1e-5));
        assert!(distance(&dlogits.unwrap(), &fused.unwrap()) < 1e-6);
        // 0.5 ln 2 + 0.5 ln (2/3)
        let ln = |p: [f32; 2]| Tensor::new(&[p.map(f32::ln)], &Device::Cpu).unwrap();
        let (known, _) = divergence(&ln([0.25, 0.75]), &ln([0.5, 0.5]), &[1.0], Gradient::None).unwrap();
        assert!((known[0] - 0.5 * (2f32.ln() + (2.0f32 / 3.0).ln())).abs() < 1e-6);
        let own = FrozenLinear::new(w.clone(), None);
        let taught = |weights| {
            let itself = Targets::Teacher { hidden: &x, head: &own, weights };
            cross_entropy(&x, &own, None, itself, 1.0, Gradient::None).map(|entropy| entropy.losses)
        };
        assert_eq!(taught(&[1.0; 4]).unwrap(), [0.0; 4]);
        assert!(taught(&[1.0; 3]).is_err());
    }

    #[test]
    fn a_token_outside_the_vocabulary_is_an_error() {
        let head = FrozenLinear::new(random(&[3, 2], 1), None);
        assert!(
            cross_entropy(&random(&[1, 2], 2), &head, None, Targets::Tokens(&[3]), 1.0, Gradient::None)
                .is_err()
        );
    }
}
