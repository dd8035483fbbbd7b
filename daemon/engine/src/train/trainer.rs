//! A LoRA run: warm-up, steps, evaluations, the best version kept.

use std::fmt;
use std::sync::Arc;

use candle_core::Tensor;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::adamw::{AdamW, Update, clip_factor};
use super::data::{Losses, TrainData};
use super::evaluation::Evaluation;
use super::pass::{Factor, Goal, Parameter, Pass, pack};
use super::{MARGIN, TrainError, TrainSettings};
use crate::base::Base;
use crate::decoder::Slot;
use crate::lora::{Adapter, Lora, Place};
use crate::ops::add::accumulate;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TrainEvent {
    /// A layer's worth of work was done.
    Working,
    /// An optimiser step was done.
    Step {
        /// From 1.
        step: usize,
        steps: usize,
        epoch: f64,
        /// Mean over the step's supervised tokens, before its update.
        loss: f64,
        learning_rate: f64,
        /// Real tokens that went through.
        tokens: usize,
    },
    /// Step 0: the base, then (where the run starts from an adapter) that adapter.
    Evaluated { step: usize, losses: Losses, best: bool },
    /// Nothing more happens; call [`Trainer::finish`].
    Finished { reason: StopReason },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopReason {
    AllSteps { steps: usize, best_step: usize },
    NoGain { step: usize, best_step: usize },
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopReason::AllSteps { steps, best_step } if steps == best_step => {
                write!(f, "did all {steps} steps; the last was the best")
            }
            StopReason::AllSteps { steps, best_step } => {
                write!(
                    f,
                    "did all {steps} steps; kept step {best_step}, which did best on the held-out examples"
                )
            }
            StopReason::NoGain { step, best_step } => write!(
                f,
                "stopped at step {step}: the loss on the held-out examples stopped falling; kept step {best_step}, the best"
            ),
        }
    }
}

/// A run's fruit.
#[derive(Debug)]
pub struct Outcome {
    /// The best on the held-out examples, not the last.
    pub adapter: Adapter,
    pub best_step: usize,
    pub steps: usize,
    /// Real tokens that went through training.
    pub tokens: usize,
    pub base_loss: Losses,
    /// Of the adapter the run started from; the base's where there was none.
    pub start_loss: Losses,
    pub best_loss: Losses,
    /// Mean training loss between the evaluation before the best one and the best one.
    pub train_loss: f64,
    pub reason: StopReason,
}

#[derive(Debug, Clone)]
pub(super) struct Best {
    pub(super) adapter: Adapter,
    pub(super) step: usize,
    pub(super) losses: Losses,
    pub(super) train_loss: f64,
}

/// Everything that decides what the next steps will be; the rest of [`Trainer`] follows from it and the data.
pub(super) struct Progress {
    pub(super) adapter: Adapter,
    pub(super) optimiser: AdamW,
    /// Optimiser steps done.
    pub(super) step: usize,
    pub(super) tokens: usize,
    pub(super) base: Option<Losses>,
    pub(super) start: Option<Losses>,
    pub(super) best: Option<Best>,
    pub(super) without_gain: usize,
    /// Sum and number of the training losses since the last evaluation.
    pub(super) window: (f64, usize),
    /// Whether the evaluation that belongs to `step` is done.
    pub(super) evaluated: bool,
    pub(super) stopped: Option<StopReason>,
    /// Whether the run began from an adapter rather than from the bare base.
    pub(super) continues: bool,
}

impl Progress {
    /// Whether an adapter with these losses should replace the best so far.
    ///
    /// A run from the bare base takes the lowest held-out loss. A run that goes on from an adapter is there for its new examples: it takes the
    /// lowest loss on the new ones that are held out (on all, where none is), of those steps that are not worse than the start on all by more
    /// than [`MARGIN`]; the start itself only if there is no such step.
    fn is_better(&self, losses: &Losses) -> bool {
        let Some(best) = &self.best else { return true };
        let Some(start) = self.start.filter(|_| self.continues) else { return losses.all < best.losses.all };
        let wanted = |losses: &Losses| losses.new.unwrap_or(losses.all);
        losses.all <= start.all * (1.0 + MARGIN) && (best.step == 0 || wanted(losses) < wanted(&best.losses))
    }
}

enum Activity {
    Between,
    Evaluating(Subject, Box<Evaluation>),
    Training(Box<Step>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Base,
    Start,
    Current,
}

/// One optimiser step in progress.
struct Step {
    rows: Vec<Vec<usize>>,
    next: usize,
    pass: Option<Pass>,
    supervised: usize,
    tokens: usize,
    loss: f64,
    gradients: Vec<Option<Tensor>>,
}

pub struct Trainer {
    pub(super) settings: TrainSettings,
    pub(super) data: Arc<TrainData>,
    pub(super) progress: Progress,
    activity: Activity,
}

impl Trainer {
    /// # Errors
    /// Nothing to train on or to judge by, settings that cannot be used, an adapter that does not fit.
    pub fn new(
        base: &Base,
        start: Option<&Adapter>,
        data: TrainData,
        settings: TrainSettings,
    ) -> Result<Trainer, TrainError> {
        settings.validate()?;
        let config = base.decoder.config();
        let adapter = match start {
            Some(adapter) if adapter.is_dora() => {
                return Err(TrainError::Misfit(
                    "it is a DoRA adapter, which answers here but is not trained; train a LoRA adapter under another name"
                        .to_owned(),
                ));
            }
            Some(adapter) if adapter.layers.len() == config.layers => adapter.clone(),
            Some(adapter) => {
                let (has, needs) = (adapter.layers.len(), config.layers);
                return Err(TrainError::Misfit(format!("it has {has} layers, the base {needs}")));
            }
            None => Adapter::fresh(config, &settings.spec(), settings.seed, &base.device)?,
        };
        let optimiser = AdamW::new(tensors(&adapter))?;
        let progress = Progress {
            adapter,
            optimiser,
            step: 0,
            tokens: 0,
            base: None,
            start: None,
            best: None,
            without_gain: 0,
            window: (0.0, 0),
            evaluated: false,
            stopped: None,
            continues: start.is_some(),
        };
        Trainer::from_progress(progress, data, settings)
    }

    pub(super) fn from_progress(
        progress: Progress,
        data: TrainData,
        settings: TrainSettings,
    ) -> Result<Trainer, TrainError> {
        if !data.train.iter().any(|sample| sample.supervised_tokens() > 0) {
            return Err(TrainError::NoExamples);
        }
        if !data.heldout.iter().any(|item| item.sample.supervised_tokens() > 0) {
            return Err(TrainError::NoHeldOut);
        }
        Ok(Trainer { settings, data: Arc::new(data), progress, activity: Activity::Between })
    }

    pub fn settings(&self) -> &TrainSettings {
        &self.settings
    }

    /// Optimiser steps at most.
    pub fn steps(&self) -> usize {
        self.settings.steps(self.data.train.len())
    }

    /// Optimiser steps done.
    pub fn step_number(&self) -> usize {
        self.progress.step
    }

    /// About one layer of work. After `Finished` it answers `Finished` again.
    pub fn step(&mut self, base: &Base) -> Result<TrainEvent, TrainError> {
        match &mut self.activity {
            Activity::Between => Ok(self.begin()),
            Activity::Evaluating(subject, evaluation) => {
                let subject = *subject;
                let adapter = (subject != Subject::Base).then_some(&self.progress.adapter);
                match evaluation.step(&base.decoder, adapter, &self.data.heldout)? {
                    None => Ok(TrainEvent::Working),
                    Some(losses) => {
                        self.activity = Activity::Between;
                        self.evaluated(subject, losses)
                    }
                }
            }
            Activity::Training(_) => self.train(base),
        }
    }

    /// Chooses what comes next.
    fn begin(&mut self) -> TrainEvent {
        let progress = &self.progress;
        if let Some(reason) = progress.stopped {
            return TrainEvent::Finished { reason };
        }
        let evaluate = |subject| {
            let evaluation = Evaluation::new(&self.data.heldout, self.settings.row_tokens);
            Activity::Evaluating(subject, Box::new(evaluation))
        };
        self.activity = if progress.base.is_none() {
            evaluate(Subject::Base)
        } else if progress.continues && progress.start.is_none() {
            evaluate(Subject::Start)
        } else if !progress.evaluated {
            evaluate(Subject::Current)
        } else {
            Activity::Training(Box::new(self.next_step()))
        };
        TrainEvent::Working
    }

    fn evaluated(&mut self, subject: Subject, losses: Losses) -> Result<TrainEvent, TrainError> {
        let steps = self.steps();
        let per_epoch = self.settings.steps_per_epoch(self.data.train.len());
        let progress = &mut self.progress;
        if !losses.all.is_finite() {
            let learning_rate = self.settings.learning_rate;
            return Err(TrainError::NotFinite { step: progress.step, learning_rate });
        }
        match subject {
            Subject::Base => progress.base = Some(losses),
            Subject::Start => progress.start = Some(losses),
            Subject::Current => {}
        }
        let is_start = match subject {
            Subject::Base => !progress.continues,
            Subject::Start => true,
            Subject::Current => false,
        };
        if is_start {
            // A fresh adapter changes nothing, so that the base's loss is also its own.
            progress.evaluated = true;
            let adapter = progress.adapter.clone();
            progress.best = Some(Best { adapter, step: 0, losses, train_loss: losses.all });
            return Ok(TrainEvent::Evaluated { step: 0, losses, best: true });
        }
        if subject == Subject::Base {
            return Ok(TrainEvent::Evaluated { step: 0, losses, best: false });
        }
        progress.evaluated = true;
        let better = progress.is_better(&losses);
        let train_loss = progress.window.0 / progress.window.1.max(1) as f64;
        progress.window = (0.0, 0);
        if better {
            progress.without_gain = 0;
            let adapter = progress.adapter.clone();
            progress.best = Some(Best { adapter, step: progress.step, losses, train_loss });
        } else {
            progress.without_gain += 1;
        }
        let best_step = progress.best.as_ref().map_or(0, |best| best.step);
        if progress.step >= steps {
            progress.stopped = Some(StopReason::AllSteps { steps, best_step });
        } else if progress.without_gain >= self.settings.patience && progress.step >= best_step + per_epoch {
            progress.stopped = Some(StopReason::NoGain { step: progress.step, best_step });
        }
        Ok(TrainEvent::Evaluated { step: progress.step, losses, best: better })
    }

    /// The examples of the next optimiser step. Each epoch has its own order, which follows from seed and epoch alone.
    fn next_step(&self) -> Step {
        let per_epoch = self.settings.steps_per_epoch(self.data.train.len());
        let (epoch, index) = (self.progress.step / per_epoch, self.progress.step % per_epoch);
        let mut order: Vec<usize> = (0..self.data.train.len()).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(self.settings.seed);
        rng.set_stream(epoch as u64 + 1);
        order.shuffle(&mut rng);
        let chosen = order.chunks(self.settings.batch).nth(index).unwrap_or_default();
        let train = &self.data.train;
        Step {
            rows: pack(chosen, |index| train[index].tokens.len(), self.settings.row_tokens),
            next: 0,
            pass: None,
            supervised: chosen.iter().map(|index| train[*index].supervised_tokens()).sum(),
            tokens: chosen.iter().map(|index| train[*index].tokens.len()).sum(),
            loss: 0.0,
            gradients: vec![None; self.progress.optimiser.first.len()],
        }
    }

    fn train(&mut self, base: &Base) -> Result<TrainEvent, TrainError> {
        let Activity::Training(step) = &mut self.activity else { return Ok(TrainEvent::Working) };
        let decoder = &base.decoder;
        if let Some(row) = step.rows.get(step.next) {
            if step.pass.is_none() {
                let samples: Vec<_> = row.iter().map(|index| &self.data.train[*index]).collect();
                let tokens = samples.iter().map(|sample| sample.tokens.len()).sum();
                let kept = self.settings.layers_kept(decoder.config(), tokens);
                let goal = Goal::Adapter { factor: 1.0 / step.supervised.max(1) as f64 };
                step.pass = Some(Pass::new(decoder, &samples, goal, kept)?);
            }
            let Some(pass) = &mut step.pass else { return Ok(TrainEvent::Working) };
            if let Some(result) = pass.step(decoder, Some(&self.progress.adapter))? {
                step.loss += result.losses.iter().sum::<f64>();
                let places = places(&self.progress.adapter);
                for (parameter, gradient) in result.gradients {
                    let Some(index) = places.iter().position(|place| *place == parameter) else { continue };
                    accumulate(&mut step.gradients[index], gradient)?;
                }
                step.pass = None;
                step.next += 1;
            }
            return Ok(TrainEvent::Working);
        }
        self.update()
    }

    /// All gradients of the step are there: moves the factors.
    fn update(&mut self) -> Result<TrainEvent, TrainError> {
        let Activity::Training(done) = std::mem::replace(&mut self.activity, Activity::Between) else {
            return Ok(TrainEvent::Working);
        };
        let steps = self.steps();
        let progress = &mut self.progress;
        let step = progress.step + 1;
        let learning_rate = self.settings.rate_at(step, steps);
        let loss = done.loss / done.supervised.max(1) as f64;
        let (factor, norm) = clip_factor(done.gradients.iter().flatten(), self.settings.clip)?;
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(TrainError::NotFinite { step, learning_rate: self.settings.learning_rate });
        }
        let update =
            Update { learning_rate, weight_decay: self.settings.weight_decay, gradient_factor: factor };
        progress.optimiser.next_step();
        let mut values: Vec<Tensor> = tensors(&progress.adapter).cloned().collect();
        for (index, gradient) in done.gradients.iter().enumerate() {
            if let Some(gradient) = gradient {
                values[index] = progress.optimiser.update(index, &values[index], gradient, update)?;
            }
        }
        progress.adapter = with_tensors(&progress.adapter, values);
        progress.step = step;
        progress.tokens += done.tokens;
        progress.window.0 += loss;
        progress.window.1 += 1;
        let interval = self.settings.evaluation_interval(self.data.train.len());
        progress.evaluated = !step.is_multiple_of(interval) && step < steps;
        let epoch = step as f64 / self.settings.steps_per_epoch(self.data.train.len()) as f64;
        Ok(TrainEvent::Step { step, steps, epoch, loss, learning_rate, tokens: done.tokens })
    }

    /// The best adapter so far. After `Finished`; before it, what the run has reached.
    ///
    /// # Errors
    /// If not even the start has been evaluated.
    pub fn finish(self) -> Result<Outcome, TrainError> {
        let progress = self.progress;
        let (Some(base_loss), Some(best)) = (progress.base, progress.best) else {
            return Err(TrainError::NoHeldOut);
        };
        Ok(Outcome {
            adapter: best.adapter,
            best_step: best.step,
            steps: progress.step,
            tokens: progress.tokens,
            base_loss,
            start_loss: progress.start.unwrap_or(base_loss),
            best_loss: best.losses,
            train_loss: best.train_loss,
            reason: progress
                .stopped
                .unwrap_or(StopReason::NoGain { step: progress.step, best_step: best.step }),
        })
    }
}

/// The factors in parameter order: for each pair, A then B.
pub(super) fn tensors(adapter: &Adapter) -> impl Iterator<Item = &Tensor> {
    adapter.pairs().flat_map(|(_, pair)| [&pair.a, &pair.b])
}

/// The parameters in the same order.
fn places(adapter: &Adapter) -> Vec<Parameter> {
    let both = |(place, _): (Place, &Lora)| match place {
        Place::Embedding => [Factor::A, Factor::B].map(Parameter::EmbeddingLora),
        Place::Block(layer, linear) => {
            [Slot::LoraA(linear), Slot::LoraB(linear)].map(|slot| Parameter::Block(layer, slot))
        }
        Place::Head => [Factor::A, Factor::B].map(Parameter::HeadLora),
    };
    adapter.pairs().flat_map(both).collect()
}

/// The same adapter with other factors, in parameter order.
pub(super) fn with_tensors(adapter: &Adapter, values: Vec<Tensor>) -> Adapter {
    let mut moved = adapter.clone();
    let mut values = values.into_iter();
    for (place, pair) in adapter.pairs() {
        if let (Some(a), Some(b)) = (values.next(), values.next()) {
            moved.set(place, Lora { a, b, ..pair.clone() });
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_base;

    #[test]
    fn a_run_learns_keeps_the_best_and_ends() {
        let base = test_base::base(1);
        let mut trainer = Trainer::new(&base, None, test_base::data(12), test_base::settings()).unwrap();
        let (mut evaluations, mut steps) = (Vec::new(), 0);
        loop {
            match trainer.step(&base).unwrap() {
                TrainEvent::Working => {}
                TrainEvent::Step { loss, .. } => {
                    assert!(loss.is_finite());
                    steps += 1;
                }
                TrainEvent::Evaluated { losses, .. } => evaluations.push(losses.all),
                TrainEvent::Finished { .. } => break,
            }
        }
        let best = evaluations.iter().copied().fold(f64::INFINITY, f64::min);
        let outcome = trainer.finish().unwrap();
        assert_eq!(outcome.steps, steps);
        assert!((outcome.base_loss.all - evaluations[0]).abs() < 1e-12);
        assert!((outcome.best_loss.all - best).abs() < 1e-12);
        assert!(outcome.best_loss.all < 0.8 * outcome.base_loss.all, "{evaluations:?}");
    }

    #[test]
    fn a_run_that_goes_on_takes_new_examples_within_the_margin() {
        let base = test_base::base(1);
        let start = Adapter::fresh(base.decoder.config(), &test_base::spec(2), 1, &base.device).unwrap();
        let mut trainer =
            Trainer::new(&base, Some(&start), test_base::data(12), test_base::settings()).unwrap();
        let losses = |all, new| Losses { all, new };
        let best = |step, losses| Some(Best { adapter: start.clone(), step, losses, train_loss: 0.0 });
        let progress = &mut trainer.progress;
        progress.start = Some(losses(2.0, Some(3.0)));
        progress.best = best(0, losses(2.0, Some(3.0)));
        assert!(
            progress.is_better(&losses(2.01, Some(3.1))),
            "anything within the margin is better than not learning"
        );
        assert!(
            !progress.is_better(&losses(2.1, Some(1.0))),
            "what is forgotten must not be bought with what is new"
        );
        progress.best = best(4, losses(2.01, Some(2.5)));
        assert!(progress.is_better(&losses(2.03, Some(2.4))));
        assert!(!progress.is_better(&losses(1.9, Some(2.6))));
        progress.best = best(4, losses(2.01, None));
        assert!(!progress.is_better(&losses(2.02, None)) && progress.is_better(&losses(2.0, None)));
    }

    #[test]
    fn nothing_to_learn_or_to_judge_by_is_an_error() {
        let base = test_base::base(1);
        let data = test_base::data(12);
        let without = |train, heldout| TrainData { train, heldout };
        let new = |data| Trainer::new(&base, None, data, test_base::settings());
        assert!(matches!(new(without(Vec::new(), data.heldout.clone())), Err(TrainError::NoExamples)));
        assert!(matches!(new(without(data.train.clone(), Vec::new())), Err(TrainError::NoHeldOut)));
        let settings = TrainSettings { rank: 0, ..test_base::settings() };
        assert!(matches!(Trainer::new(&base, None, data, settings), Err(TrainError::BadSetting(_))));
    }
}
