//! Full-parameter training outside a run: one step after the other, on whatever samples the caller brings. `hotplate-tiny` is made with it;
//! a run with [`Method::Full`](super::Method::Full) moves the same parameters through the same step.

use hotplate_engine::decoder::Decoder;
use hotplate_engine::sample::Sample;

use super::TrainError;
use super::learner::{Learner, Pool, Rates, Shape, StepWork};
use super::pass::{Goal, Pass, pack};
use super::trained_weights::TrainedWeights;

/// What holds for one step.
#[derive(Debug, Clone, Copy)]
pub struct FullStep {
    pub learning_rate: f64,
    /// On matrices; norms and biases are left alone.
    pub weight_decay: f64,
    pub clip: f64,
    /// Tokens that go through the decoder at once.
    pub row_tokens: usize,
}

pub struct FullTrainer {
    learner: Learner,
}

impl FullTrainer {
    pub fn new(decoder: &Decoder) -> Result<FullTrainer, TrainError> {
        Ok(FullTrainer { learner: Learner::new(TrainedWeights::of_base(decoder)?)? })
    }

    pub fn decoder(&self) -> &Decoder {
        let TrainedWeights::Base(decoder) = &self.learner.learnt else {
            unreachable!("a full trainer is made with a whole base and moves nothing else");
        };
        decoder
    }

    /// One optimiser step on all samples; the mean loss before it, nats per supervised token.
    pub fn step(&mut self, samples: &[Sample], settings: FullStep) -> Result<f64, TrainError> {
        let chosen: Vec<usize> = (0..samples.len()).collect();
        let shape = Shape { batch: samples.len(), row_tokens: settings.row_tokens, dropout: None };
        let pool = Pool { train: samples, rehearsal: &[] };
        let mut work = StepWork::new(&chosen, &[], pool, &self.learner.learnt, shape);
        let layers = self.decoder().config().layers;
        while !work.step(self.decoder(), &self.learner.learnt, pool, |_| layers)? {}
        let rates = Rates {
            learning_rate: settings.learning_rate,
            lora_plus: 1.0,
            weight_decay: settings.weight_decay,
            clip: settings.clip,
        };
        if self.learner.update(&work, rates)? {
            Ok(work.mean_loss())
        } else {
            let step = self.learner.optimiser.step + 1;
            Err(TrainError::NotFinite { step, learning_rate: settings.learning_rate })
        }
    }

    /// The mean loss, nats per supervised token.
    pub fn evaluate(&self, samples: &[Sample], row_tokens: usize) -> Result<f64, TrainError> {
        let supervised: usize = samples.iter().map(Sample::supervised_tokens).sum();
        let order: Vec<usize> = (0..samples.len()).collect();
        let mut loss = 0.0;
        for row in pack(&order, |index| samples[index].tokens.len(), row_tokens) {
            let samples: Vec<&Sample> = row.iter().map(|index| &samples[*index]).collect();
            let mut pass = Pass::new(self.decoder(), &samples, Goal::Loss, 0)?;
            loop {
                if let Some(result) = pass.step(self.decoder(), None)? {
                    loss += result.losses.iter().sum::<f64>();
                    break;
                }
            }
        }
        Ok(loss / supervised.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_base;

    #[test]
    fn a_small_decoder_learns_a_sequence_by_heart() {
        let mut trainer = FullTrainer::new(&test_base::decoder(3)).unwrap();
        let samples: Vec<Sample> = test_base::data(6).train;
        let settings = FullStep { learning_rate: 1e-2, weight_decay: 0.0, clip: 1.0, row_tokens: 64 };
        let first = trainer.evaluate(&samples, 64).unwrap();
        for _ in 0..40 {
            trainer.step(&samples, settings).unwrap();
        }
        let last = trainer.evaluate(&samples, 64).unwrap();
        assert!(last < 0.3 * first, "{first} -> {last}");
    }
}
