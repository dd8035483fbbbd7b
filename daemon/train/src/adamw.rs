//! AdamW (Loshchilov and Hutter 2019, <https://arxiv.org/abs/1711.05101>), as PyTorch computes it, in one pass over each tensor.

use candle_core::{Result, Tensor};
use hotplate_engine::ops::host::{HostSlice, on_host};
use rayon::prelude::*;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;
const VALUES_PER_TASK: usize = 16 * 1024;

/// First and second moments of each parameter, in parameter order.
#[derive(Debug, Clone)]
pub(crate) struct AdamW {
    pub(crate) first: Vec<Tensor>,
    pub(crate) second: Vec<Tensor>,
    /// Updates so far.
    pub(crate) step: usize,
}

/// What holds for one update of all parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update {
    pub(crate) learning_rate: f64,
    pub(crate) weight_decay: f64,
    /// Gradients are multiplied by this first (clipping).
    pub(crate) gradient_factor: f64,
}

impl AdamW {
    pub(crate) fn new<'a>(parameters: impl IntoIterator<Item = &'a Tensor>) -> Result<AdamW> {
        let first = parameters.into_iter().map(Tensor::zeros_like).collect::<Result<Vec<_>>>()?;
        Ok(AdamW { second: first.clone(), first, step: 0 })
    }

    /// Counts one update of all parameters; call [`update`](Self::update) for each of them after it.
    pub(crate) fn next_step(&mut self) {
        self.step += 1;
    }

    /// The new value of parameter `index`.
    pub(crate) fn update(
        &mut self,
        index: usize,
        value: &Tensor,
        gradient: &Tensor,
        update: Update,
    ) -> Result<Tensor> {
        let (first, second) = (&self.first[index], &self.second[index]);
        let corrections = (1.0 - BETA1.powi(self.step as i32), 1.0 - BETA2.powi(self.step as i32));
        let (value, first, second) = if on_host(value) {
            fused(value, gradient, first, second, corrections, update)?
        } else {
            composed(value, gradient, first, second, corrections, update)?
        };
        self.first[index] = first;
        self.second[index] = second;
        Ok(value)
    }
}

/// The factor that brings the norm of all gradients together to `clip` at most (0: no limit), and that norm.
pub(crate) fn clip_factor<'a>(
    gradients: impl IntoIterator<Item = &'a Tensor>,
    clip: f64,
) -> Result<(f64, f64)> {
    let mut sum = 0f64;
    for gradient in gradients {
        if on_host(gradient) {
            let values = HostSlice::new(gradient)?;
            sum += values.read()?.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>();
        } else {
            sum += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
    }
    let norm = sum.sqrt();
    let factor = if clip > 0.0 { (clip / (norm + 1e-6)).min(1.0) } else { 1.0 };
    Ok((factor, norm))
}

type Moved = (Tensor, Tensor, Tensor);

fn fused(
    value: &Tensor,
    gradient: &Tensor,
    first: &Tensor,
    second: &Tensor,
    corrections: (f64, f64),
    update: Update,
) -> Result<Moved> {
    let read = |tensor: &Tensor| -> Result<Vec<f32>> { Ok(HostSlice::new(tensor)?.read()?.to_vec()) };
    let (mut values, mut firsts, mut seconds) = (read(value)?, read(first)?, read(second)?);
    let gradients = HostSlice::new(gradient)?;
    let gradients = gradients.read()?;
    let decay = (1.0 - update.learning_rate * update.weight_decay) as f32;
    let rate = (update.learning_rate / corrections.0) as f32;
    let root = (1.0 / corrections.1.sqrt()) as f32;
    let factor = update.gradient_factor as f32;
    values
        .par_chunks_mut(VALUES_PER_TASK)
        .zip(firsts.par_chunks_mut(VALUES_PER_TASK))
        .zip(seconds.par_chunks_mut(VALUES_PER_TASK))
        .zip(gradients.par_chunks(VALUES_PER_TASK))
        .for_each(|(((values, firsts), seconds), gradients)| {
            for (((value, first), second), gradient) in
                values.iter_mut().zip(firsts).zip(seconds).zip(gradients)
            {
                let g = gradient * factor;
                *first += (g - *first) * (1.0 - BETA1) as f32;
                *second = *second * BETA2 as f32 + g * g * (1.0 - BETA2) as f32;
                *value = *value * decay - rate * *first / (second.sqrt() * root + EPSILON as f32);
            }
        });
    let tensor = |values: Vec<f32>| Tensor::from_vec(values, value.dims(), value.device());
    Ok((tensor(values)?, tensor(firsts)?, tensor(seconds)?))
}

fn composed(
    value: &Tensor,
    gradient: &Tensor,
    first: &Tensor,
    second: &Tensor,
    corrections: (f64, f64),
    update: Update,
) -> Result<Moved> {
    let g = (gradient * update.gradient_factor)?;
    let first = ((first * BETA1)? + (&g * (1.0 - BETA1))?)?;
    let second = ((second * BETA2)? + (g.sqr()? * (1.0 - BETA2))?)?;
    let spread = ((second.sqrt()? * (1.0 / corrections.1.sqrt()))? + EPSILON)?;
    let moved = ((&first / spread)? * (update.learning_rate / corrections.0))?;
    let value = ((value * (1.0 - update.learning_rate * update.weight_decay))? - moved)?;
    Ok((value, first, second))
}

#[cfg(test)]
mod tests {
    use hotplate_engine::fixtures::{distance, flat, random};

    use super::*;

    const UPDATE: Update = Update { learning_rate: 0.1, weight_decay: 0.01, gradient_factor: 0.5 };

    #[test]
    fn one_pass_agrees_with_the_composition() {
        let (value, gradient) = (random(&[7, 9], 1), random(&[7, 9], 2));
        let (first, second) = (random(&[7, 9], 3), random(&[7, 9], 4).sqr().unwrap());
        let fused = fused(&value, &gradient, &first, &second, (0.3, 0.2), UPDATE).unwrap();
        let plain = composed(&value, &gradient, &first, &second, (0.3, 0.2), UPDATE).unwrap();
        assert!(distance(&fused.0, &plain.0) < 1e-5);
        assert!(distance(&fused.1, &plain.1) < 1e-6);
        assert!(distance(&fused.2, &plain.2) < 1e-6);
    }

    #[test]
    fn the_first_step_moves_by_the_learning_rate_against_the_gradient() {
        let value = random(&[4], 1);
        let mut optimiser = AdamW::new([&value]).unwrap();
        optimiser.next_step();
        let update = Update { weight_decay: 0.0, ..UPDATE };
        let moved = optimiser.update(0, &value, &random(&[4], 2), update).unwrap();
        for ((before, after), gradient) in flat(&value).iter().zip(flat(&moved)).zip(flat(&random(&[4], 2))) {
            assert!((before - 0.1 * gradient.signum() - after).abs() < 1e-4);
        }
    }

    #[test]
    fn a_large_gradient_is_scaled_to_the_clip() {
        let gradient = Tensor::new(&[3f32, 4.0], &candle_core::Device::Cpu).unwrap();
        let (factor, norm) = clip_factor([&gradient], 1.0).unwrap();
        assert!((norm - 5.0).abs() < 1e-6 && (factor - 0.2).abs() < 1e-6);
        for none in [10.0, 0.0] {
            assert!((clip_factor([&gradient], none).unwrap().0 - 1.0).abs() < 1e-9);
        }
    }
}
