//! Every knob of a run, and the defaults that follow from the size of the data and of the base.

use serde::{Deserialize, Serialize};

use super::TrainError;
use crate::config::DecoderConfig;
use crate::lora::LoraSpec;
use crate::ops::cross_entropy::LOGITS_AT_ONCE;

/// Width at which the reference learning rate below holds.
const REFERENCE_HIDDEN: f64 = 2048.0;
const REFERENCE_LEARNING_RATE: f64 = 2e-4;

/// How much worse than the version it started from a run's result may be on the held-out examples (a part of the loss).
pub const MARGIN: f64 = 0.02;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainSettings {
    pub epochs: usize,
    /// Optimiser steps at most, whatever the epochs say.
    pub max_steps: Option<usize>,
    /// The peak; rises over the warm-up, then falls linearly towards 0.
    pub learning_rate: f64,
    pub rank: usize,
    pub alpha: f64,
    /// Examples per optimiser step.
    pub batch: usize,
    pub warmup_steps: usize,
    /// Decoupled (AdamW), on the factors.
    pub weight_decay: f64,
    /// Largest norm of all gradients together.
    pub clip: f64,
    pub seed: u64,
    /// Evaluations without gain after which the run stops, once a whole epoch has gone by since the best: every example has then had its say.
    pub patience: usize,
    pub evaluations_per_epoch: usize,
    /// Bytes that kept activations may take; layers beyond it are computed again in the backward pass.
    pub memory_budget: u64,
    /// Tokens that go through the decoder at once; a longer example goes alone.
    pub row_tokens: usize,
}

impl TrainSettings {
    /// Defaults for `examples` training examples.
    ///
    /// The learning rate is 2e-4 at width 2048 (the common default of LoRA trainers for 1 to 4 B parameters) and grows for narrower bases, whose
    /// best rate is known to be higher (about 1/width: Yang et al. 2022, <https://arxiv.org/abs/2203.03466>). Few
    /// examples are passed more often, since held-out loss decides when to stop.
    pub fn for_data(config: &DecoderConfig, examples: usize, incremental: bool) -> TrainSettings {
        let width = REFERENCE_HIDDEN / config.hidden as f64;
        let learning_rate = REFERENCE_LEARNING_RATE * width.powf(1.2).clamp(0.25, 16.0);
        let batch = if examples < 200 { 4 } else { 8 };
        let per_epoch = examples.div_ceil(batch).max(1);
        TrainSettings {
            epochs: if incremental {
                // A save should be learnt in seconds, and the version it starts from knows the voice already.
                100_usize.div_ceil(per_epoch).clamp(2, 8)
            } else {
                300_usize.div_ceil(per_epoch).clamp(3, 12)
            },
            max_steps: None,
            learning_rate: if incremental { learning_rate / 2.0 } else { learning_rate },
            rank: 16,
            alpha: 16.0,
            batch,
            warmup_steps: (per_epoch / 4).clamp(2, 20),
            weight_decay: 0.01,
            clip: 1.0,
            seed: 0,
            patience: 2,
            evaluations_per_epoch: 4,
            memory_budget: 4 << 30,
            row_tokens: 2048,
        }
    }

    /// Refuses what would divide by zero, never end, or train nothing.
    pub fn validate(&self) -> Result<(), TrainError> {
        let bad = |why: &str| Err(TrainError::BadSetting(why.to_owned()));
        if self.rank == 0 || self.rank > 4096 {
            return bad("the rank must be between 1 and 4096");
        }
        if self.batch == 0 {
            return bad("a step needs at least one example");
        }
        if self.epochs == 0 || self.max_steps == Some(0) {
            return bad("a run needs at least one step");
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return bad("the learning rate must be above 0");
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return bad("alpha must be above 0");
        }
        if self.row_tokens == 0 || self.patience == 0 || self.evaluations_per_epoch == 0 {
            return bad("row_tokens, patience and evaluations_per_epoch must be above 0");
        }
        Ok(())
    }

    /// The shape of a fresh adapter.
    pub fn spec(&self) -> LoraSpec {
        LoraSpec { rank: self.rank, alpha: self.alpha, ..LoraSpec::default() }
    }

    pub fn steps_per_epoch(&self, examples: usize) -> usize {
        examples.div_ceil(self.batch).max(1)
    }

    /// Optimiser steps at most.
    pub fn steps(&self, examples: usize) -> usize {
        let all = self.epochs.saturating_mul(self.steps_per_epoch(examples));
        self.max_steps.map_or(all, |most| most.min(all))
    }

    /// Steps between two evaluations: a quarter epoch, but never so few that noise decides.
    pub fn evaluation_interval(&self, examples: usize) -> usize {
        self.steps_per_epoch(examples).div_ceil(self.evaluations_per_epoch).max(4)
    }

    /// Linear warm-up from 0, then linear decay towards 0 after the last step. `step` counts from 1.
    pub(super) fn rate_at(&self, step: usize, steps: usize) -> f64 {
        let warmup = self.warmup_steps.min(steps / 2);
        if step <= warmup {
            return self.learning_rate * step as f64 / warmup as f64;
        }
        self.learning_rate * (steps + 1 - step) as f64 / (steps + 1 - warmup) as f64
    }

    /// Floats of one layer's kept activations for one token.
    fn kept_floats(&self, config: &DecoderConfig) -> usize {
        let queries = config.heads * config.head_dim;
        let keys = config.kv_heads * config.head_dim;
        4 * config.hidden + 2 * queries + 2 * keys + 3 * config.intermediate + 7 * self.rank
    }

    /// How many layers may keep their activations for a row of `tokens`.
    pub(super) fn layers_kept(&self, config: &DecoderConfig, tokens: usize) -> usize {
        let layer = (4 * self.kept_floats(config) * tokens) as u64;
        ((self.memory_budget / layer.max(1)) as usize).min(config.layers)
    }

    /// Bytes that training adds to the resident base at its peak, for rows of `tokens`.
    pub fn memory_bytes(&self, config: &DecoderConfig, tokens: usize) -> u64 {
        let tokens = tokens.min(self.row_tokens.max(1));
        let kept = self.layers_kept(config, tokens) * self.kept_floats(config) * tokens;
        let one_layer = 3 * self.kept_floats(config) * tokens;
        let logits = 2 * LOGITS_AT_ONCE.min(tokens * config.vocab).max(config.vocab);
        let pairs: usize = crate::lora::Linear::ALL
            .iter()
            .map(|linear| linear.shape(config))
            .map(|(o, i)| self.rank * (o + i))
            .sum();
        // Factors, their gradients, two moments, the best copy, and one more while they are replaced.
        let factors = 6 * pairs * config.layers;
        4 * (kept + one_layer + logits + factors) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_falls_and_never_reaches_zero() {
        let config = crate::test_base::config();
        let settings = TrainSettings { warmup_steps: 2, ..TrainSettings::for_data(&config, 40, false) };
        let rates: Vec<f64> = (1..=10).map(|step| settings.rate_at(step, 10)).collect();
        assert!(rates[0] < rates[1] && rates.windows(2).skip(2).all(|pair| pair[0] > pair[1]));
        assert!(rates.iter().all(|rate| *rate > 0.0 && *rate <= settings.learning_rate));
    }

    #[test]
    fn the_last_partial_batch_is_a_step() {
        let settings = TrainSettings {
            epochs: 2,
            batch: 4,
            ..TrainSettings::for_data(&crate::test_base::config(), 9, false)
        };
        assert_eq!(settings.steps(9), 6);
        assert_eq!(TrainSettings { max_steps: Some(5), ..settings }.steps(9), 5);
    }
}
