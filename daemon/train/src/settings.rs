//! Every knob of a run, and the defaults that follow from the size of the data and of the base.
//!
//! Learning rate: one that is right at 1 B parameters hardly moves a toy. On the demo's English notes (width 256), held-out loss was 2.38 at 2.4e-3, 2.34 at
//! 3.5e-3 and 5e-3, and sooner. Epochs are a ceiling. A save gets 2 or 3 and no warm-up: with eight, ten saves of two notes cost as much as learning
//! everything anew, and the first of them made the held-out loss worse. Patience also waits for a whole epoch since the best: on 49 notes, two evaluations in
//! a row are noise (2.41 with bare patience, 2.35 so).

use hotplate_engine::config::{BlockNorms, DecoderConfig};
use hotplate_engine::lora::{Linear, LoraSpec};
use hotplate_engine::ops::cross_entropy::LOGITS_AT_ONCE;
use serde::{Deserialize, Serialize};

use super::{Schedule, TrainError};

/// Width at which the reference learning rate below holds.
const REFERENCE_HIDDEN: f64 = 2048.0;
const REFERENCE_LEARNING_RATE: f64 = 2e-4;
/// Of full-parameter training: every weight moves, so each one less.
const FULL_FACTOR: f64 = 0.1;

/// With so many examples, or fewer, each is learnt with one of the base's own answers. More examples make more steps, each of which would need less: the share falls
/// with their root, down to the least.
const REHEARSED_ONE_TO_ONE: f64 = 100.0;
const LEAST_REHEARSAL: f64 = 0.25;
/// More than this buries the examples.
const MOST_REHEARSAL: f64 = 10.0;

/// How much worse than the version it started from a run's result may be on the held-out examples (a part of the loss).
pub const MARGIN: f64 = 0.02;

/// What moves in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Low-rank factors beside the base's frozen weights.
    #[default]
    Lora,
    /// Every weight of the base.
    Full,
}

/// Whether the backward pass computes activations again instead of keeping them: less memory, a third more work. The bits are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recompute {
    /// As many layers are kept as [`TrainSettings::memory_budget`] allows.
    #[default]
    Auto,
    Always,
    Never,
}

/// A run as it was saved by an older version may lack a setting: that one has its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainSettings {
    pub method: Method,
    pub epochs: usize,
    /// Optimiser steps at most, whatever the epochs say.
    pub max_steps: Option<usize>,
    /// The peak; see [`Schedule`].
    pub learning_rate: f64,
    pub schedule: Schedule,
    /// `None`: a quarter of an epoch, at least 2 and at most 20 steps, and no more than half the run.
    pub warmup_steps: Option<usize>,
    /// LoRA+ (Hayou et al. 2024, <https://arxiv.org/abs/2402.12354>): the rate of B as a multiple of A's. 1 is plain LoRA.
    pub lora_plus: f64,
    /// Where a fresh adapter has its pairs, and their ranks and scales.
    pub lora: LoraSpec,
    /// The part of each LoRA pair's inputs that a training pass leaves out, below 1.
    pub dropout: f64,
    /// Examples that go through before their gradients are added up: what memory has to hold.
    pub batch: usize,
    /// Batches per optimiser step.
    pub accumulate: usize,
    /// Decoupled (AdamW), on factors and matrices; norms and biases are left alone.
    pub weight_decay: f64,
    /// Largest norm of all gradients together; 0 is no limit.
    pub clip: f64,
    pub seed: u64,
    /// Evaluations without gain after which the run stops, once a whole epoch has gone by since the best: every example has then had its say.
    pub patience: usize,
    pub evaluations_per_epoch: usize,
    /// Of the base's own answers, so many go along with each of the examples (see [`crate::rehearsal`]); 0: none.
    pub rehearsal: f64,
    /// How much worse a run that goes on from an adapter may become on all held-out examples: as [`most_allowed`] has it.
    pub margin: f64,
    pub recompute: Recompute,
    /// Bytes that kept activations may take; layers beyond it are computed again in the backward pass.
    pub memory_budget: u64,
    /// Tokens that go through the decoder at once; a longer example goes alone.
    pub row_tokens: usize,
    /// Answered at each evaluation, by the base and by what has been learnt.
    pub sample_prompts: Vec<String>,
    /// Tokens of such an answer at most.
    pub sample_tokens: usize,
}

/// The highest loss that is not clearly worse than `loss`, in nats a token: a part of it, or of one nat where it is less. A voice that is nearly known by
/// heart would otherwise let nothing new in, for hundredths of a nat that no reader sees.
pub fn most_allowed(loss: f64, margin: f64) -> f64 {
    loss + margin * loss.max(1.0)
}

impl Default for TrainSettings {
    fn default() -> TrainSettings {
        TrainSettings {
            method: Method::Lora,
            epochs: 3,
            max_steps: None,
            learning_rate: REFERENCE_LEARNING_RATE,
            schedule: Schedule::Linear,
            warmup_steps: None,
            lora_plus: 1.0,
            lora: LoraSpec::default(),
            dropout: 0.0,
            batch: 8,
            accumulate: 1,
            weight_decay: 0.01,
            clip: 1.0,
            seed: 0,
            patience: 2,
            evaluations_per_epoch: 4,
            rehearsal: 0.0,
            margin: MARGIN,
            recompute: Recompute::Auto,
            memory_budget: 4 << 30,
            row_tokens: 2048,
            sample_prompts: Vec::new(),
            sample_tokens: 60,
        }
    }
}

impl TrainSettings {
    /// Defaults for `examples` training examples.
    ///
    /// The learning rate is 2e-4 at width 2048 (the common default of LoRA trainers for 1 to 4 B parameters) and grows for narrower bases, whose
    /// best rate is known to be higher (about 1/width: Yang et al. 2022, <https://arxiv.org/abs/2203.03466>; at width 256 a little more did better
    /// in our measurements, see `tests/compare/learning.py`). Few
    /// examples are passed more often, since held-out loss decides when to stop, and with a little dropout.
    pub fn for_data(config: &DecoderConfig, examples: usize, incremental: bool) -> TrainSettings {
        let width = REFERENCE_HIDDEN / config.hidden as f64;
        let learning_rate = REFERENCE_LEARNING_RATE * width.powf(1.4).clamp(0.25, 24.0);
        let batch = if examples < 200 { 4 } else { 8 };
        let per_epoch = examples.div_ceil(batch).max(1);
        TrainSettings {
            epochs: if incremental {
                // A save should be learnt in seconds, the version it starts from knows the voice already, and ten saves should not cost more
                // than a third of learning everything anew.
                100_usize.div_ceil(per_epoch).clamp(2, 3)
            } else {
                300_usize.div_ceil(per_epoch).clamp(3, 12)
            },
            // Of three steps, a warm-up would waste the first.
            warmup_steps: incremental.then_some(0),
            learning_rate: if incremental { learning_rate / 2.0 } else { learning_rate },
            dropout: if examples < 300 { 0.05 } else { 0.0 },
            batch,
            rehearsal: (REHEARSED_ONE_TO_ONE / examples.max(1) as f64).sqrt().clamp(LEAST_REHEARSAL, 1.0),
            ..TrainSettings::default()
        }
    }

    /// The learning rate for another method, where the default's was asked for: full-parameter training takes a tenth of LoRA's.
    #[must_use]
    pub fn with_method(mut self, method: Method) -> TrainSettings {
        match (self.method, method) {
            (Method::Lora, Method::Full) => self.learning_rate *= FULL_FACTOR,
            (Method::Full, Method::Lora) => self.learning_rate /= FULL_FACTOR,
            _ => {}
        }
        self.method = method;
        self
    }

    /// Refuses what would divide by zero, never end, or train nothing.
    ///
    /// # Errors
    /// A sentence that names the setting, its value, and what it may be.
    pub fn validate(&self) -> Result<(), TrainError> {
        let bad = |why: String| Err(TrainError::BadSetting(why));
        for (name, value, least, most) in [
            ("epochs", self.epochs, 1, 10_000),
            ("max_steps", self.max_steps.unwrap_or(1), 1, 100_000_000),
            ("warmup_steps", self.warmup_steps.unwrap_or(0), 0, 100_000_000),
            ("batch", self.batch, 1, 65_536),
            ("accumulate", self.accumulate, 1, 65_536),
            ("patience", self.patience, 1, usize::MAX),
            ("evaluations", self.evaluations_per_epoch, 1, 10_000),
            ("row_tokens", self.row_tokens, 1, 1 << 24),
            ("sample_tokens", self.sample_tokens, 1, 4096),
            ("prompts (their number)", self.sample_prompts.len(), 0, 64),
        ] {
            if !(least..=most).contains(&value) {
                return bad(format!("{name} is {value} and must be between {least} and {most}"));
            }
        }
        for (name, value, above, most) in
            [("learning_rate", self.learning_rate, 0.0, 100.0), ("lora_plus", self.lora_plus, 0.0, 1e4)]
        {
            if !(value > above && value <= most) {
                return bad(format!("{name} is {value} and must be above {above} and at most {most}"));
            }
        }
        for (name, value, most) in [
            ("dropout", self.dropout, 0.95),
            ("weight_decay", self.weight_decay, 10.0),
            ("clip", self.clip, 1e6),
            ("rehearsal", self.rehearsal, MOST_REHEARSAL),
            ("margin", self.margin, 1.0),
        ] {
            if !(0.0..=most).contains(&value) {
                return bad(format!("{name} is {value} and must be between 0 and {most}"));
            }
        }
        if let Some(empty) = self.sample_prompts.iter().position(|prompt| prompt.trim().is_empty()) {
            return bad(format!("prompt {} is empty; write at least one word or take it out", empty + 1));
        }
        Ok(())
    }

    /// The same, and whether the adapter can be made for this base.
    ///
    /// # Errors
    /// See [`validate`](Self::validate) and [`LoraSpec::plan`].
    pub fn validate_for(&self, config: &DecoderConfig) -> Result<(), TrainError> {
        self.validate()?;
        if self.method == Method::Lora {
            self.lora.plan(config)?;
        }
        Ok(())
    }

    /// Examples of one optimiser step.
    pub fn examples_per_step(&self) -> usize {
        self.batch.saturating_mul(self.accumulate).max(1)
    }

    pub fn steps_per_epoch(&self, examples: usize) -> usize {
        examples.div_ceil(self.examples_per_step()).max(1)
    }

    /// Optimiser steps at most.
    pub fn steps(&self, examples: usize) -> usize {
        let all = self.epochs.saturating_mul(self.steps_per_epoch(examples));
        self.max_steps.map_or(all, |most| most.min(all))
    }

    /// Steps between two evaluations: a quarter epoch, but never so few that noise decides.
    pub fn evaluation_interval(&self, examples: usize) -> usize {
        self.steps_per_epoch(examples).div_ceil(self.evaluations_per_epoch.max(1)).max(4)
    }

    pub fn warmup(&self, examples: usize) -> usize {
        let quarter = (self.steps_per_epoch(examples) / 4).clamp(2, 20);
        self.warmup_steps.unwrap_or_else(|| quarter.min(self.steps(examples) / 2))
    }

    /// The rate of `step`, which counts from 1.
    pub fn rate_at(&self, step: usize, examples: usize) -> f64 {
        let factor = self.schedule.factor(step, self.steps(examples), self.warmup(examples));
        self.learning_rate * factor
    }

    /// Floats of one layer's kept activations for one token.
    fn kept_floats(&self, config: &DecoderConfig) -> usize {
        let queries = config.heads * config.head_dim;
        let keys = config.kv_heads * config.head_dim;
        let thin = Linear::of(config).len() * self.lora.rank;
        // What the further norms were given.
        let heads = if config.head_norms { queries + keys } else { 0 };
        let after = if config.block_norms == BlockNorms::Sandwich { 2 * config.hidden } else { 0 };
        4 * config.hidden + 2 * queries + 2 * keys + 3 * config.intermediate + thin + heads + after
    }

    /// How many layers may keep their activations for a row of `tokens`.
    pub(super) fn layers_kept(&self, config: &DecoderConfig, tokens: usize) -> usize {
        let layer = (4 * self.kept_floats(config) * tokens) as u64;
        match self.recompute {
            Recompute::Always => 0,
            Recompute::Never => config.layers,
            Recompute::Auto => ((self.memory_budget / layer.max(1)) as usize).min(config.layers),
        }
    }

    /// Values that a run moves.
    pub fn trainable_parameters(&self, config: &DecoderConfig) -> usize {
        match self.method {
            // What cannot be planned is refused before anybody asks.
            Method::Lora => self.lora.parameters(config).unwrap_or(0),
            Method::Full => {
                let block: usize =
                    Linear::of(config).iter().map(|linear| linear.shape(config)).map(|(o, i)| o * i).sum();
                block * config.layers + config.vocab * config.hidden
            }
        }
    }

    /// Bytes that training adds to the resident base at its peak, for rows of `tokens`.
    pub fn memory_bytes(&self, config: &DecoderConfig, tokens: usize) -> u64 {
        let tokens = tokens.min(self.row_tokens.max(1));
        let kept = self.layers_kept(config, tokens) * self.kept_floats(config) * tokens;
        let one_layer = 3 * self.kept_floats(config) * tokens;
        let logits = 2 * LOGITS_AT_ONCE.min(tokens * config.vocab).max(config.vocab);
        // What is trained, its gradients, two moments, the best copy, and one more while they are replaced.
        let factors = 6 * self.trainable_parameters(config);
        4 * (kept + one_layer + logits + factors) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(examples: usize) -> TrainSettings {
        TrainSettings::for_data(&crate::test_base::config(), examples, false)
    }

    #[test]
    fn the_warm_up_is_at_most_half_of_a_run_that_does_not_say() {
        let short = TrainSettings { max_steps: Some(2), ..settings(40) };
        assert_eq!(short.warmup(40), 1);
        assert!(short.rate_at(2, 40) > 0.0);
        assert_eq!(TrainSettings { warmup_steps: Some(7), ..short }.warmup(40), 7);
    }

    #[test]
    fn larger_folders_rehearse_less_with_each_example() {
        let percent = |examples| (100.0 * settings(examples).rehearsal).round() as u32;
        assert_eq!([0, 40, 100, 400, 1600, 100_000].map(percent), [100, 100, 100, 50, 25, 25]);
    }

    #[test]
    fn the_last_partial_batch_is_a_step() {
        let settings = TrainSettings { epochs: 2, batch: 4, ..settings(9) };
        assert_eq!(settings.steps(9), 6);
        assert_eq!(TrainSettings { max_steps: Some(5), ..settings.clone() }.steps(9), 5);
        assert_eq!(TrainSettings { accumulate: 2, ..settings }.steps(9), 4);
    }

    #[test]
    fn what_a_saved_run_lacks_has_its_default() {
        let old: TrainSettings = serde_json::from_str(r#"{"epochs": 7, "batch": 2}"#).unwrap();
        assert_eq!(old, TrainSettings { epochs: 7, batch: 2, ..TrainSettings::default() });
    }

    #[test]
    fn values_out_of_range_are_named() {
        let check = |settings: TrainSettings, word: &str| {
            let error = settings.validate().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        };
        settings(40).validate().unwrap();
        check(TrainSettings { dropout: 1.0, ..settings(40) }, "dropout is 1");
        check(TrainSettings { learning_rate: f64::NAN, ..settings(40) }, "learning_rate is NaN");
        check(TrainSettings { lora_plus: 0.0, ..settings(40) }, "lora_plus");
        check(TrainSettings { accumulate: 0, ..settings(40) }, "accumulate is 0");
        check(TrainSettings { sample_prompts: vec![" ".to_owned()], ..settings(40) }, "prompt 1 is empty");
    }
}
