//! Where a run is: everything that decides what its next steps will be, and what it brings in the end.
//!
//! An incremental run is there for its new examples: of the steps whose held-out loss is within the margin, the one that is best on the new held-out examples
//! is kept. The lowest loss on all would keep the old version whenever a single new note does not help the old ones.

use serde::{Deserialize, Serialize};

use super::data::Losses;
use super::event::{FoldFigures, StopReason};
use super::learner::Learner;
use super::settings::most_allowed;
use super::trained_weights::TrainedWeights;
use crate::guard::{Futile, GuardFigures};

/// A run whose loss is beyond this many times its first one, or this much above it, has diverged.
const FAR_TIMES: f64 = 3.0;
const FAR_ABOVE: f64 = 5.0;
/// What early stopping calls a gain: this part of all that the run has gained (`min_delta` elsewhere). On a plateau each look has its chance of a new best by
/// a hair; notes of one voice went on to step 98 or 217 for less than 0.01 of the loss that they had at 63 and 77.
const MIN_GAIN: f64 = 0.002;

/// A run's fruit.
#[derive(Debug)]
pub struct Outcome {
    /// The best on the held-out examples, not the last; after cross-validation, what was learnt from all examples.
    pub learnt: TrainedWeights,
    pub best_step: usize,
    /// Optimiser steps, those of cross-validation included (a step of all folds counts once).
    pub steps: usize,
    /// Real tokens that went through training.
    pub tokens: usize,
    /// Losses on the held-out examples. In cross-validation each example is judged by what was learnt from the other folds.
    pub base_loss: Losses,
    /// Of the adapter the run started from; the base's where there was none.
    pub start_loss: Losses,
    pub best_loss: Losses,
    /// Mean training loss between the evaluation before the best one and the best one.
    pub train_loss: f64,
    pub reason: StopReason,
    pub guard: GuardFigures,
    /// Why the examples had better not be trained on, where that is so.
    pub futile: Option<Futile>,
    pub folds: Option<FoldFigures>,
}

#[derive(Debug, Clone)]
pub(super) struct Best {
    /// `None` in cross-validation: what counts there is the step.
    pub(super) learnt: Option<TrainedWeights>,
    pub(super) step: usize,
    pub(super) losses: Losses,
    pub(super) train_loss: f64,
    pub(super) folds: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Some examples are held out.
    Split,
    /// One learner for each fold, all of them at the same step.
    Folds,
    /// What follows cross-validation: so many steps on all examples.
    All { steps: usize },
}

/// Everything that decides what the next steps will be; the rest of [`Trainer`] follows from it and the data.
pub(super) struct Progress {
    pub(super) phase: Phase,
    /// One for each fold, or one.
    pub(super) learners: Vec<Learner>,
    /// What the learner after cross-validation begins with.
    pub(super) initial: Option<TrainedWeights>,
    pub(super) counts: Counts,
    pub(super) base: Option<Losses>,
    pub(super) start: Option<Losses>,
    pub(super) best: Option<Best>,
    pub(super) folds: Option<FoldFigures>,
    pub(super) guard: Option<GuardFigures>,
    /// The base's answers to the prompts.
    pub(super) base_answers: Option<Vec<String>>,
    pub(super) stopped: Option<StopReason>,
    /// Whether the run began from an adapter rather than from the bare base.
    pub(super) continues: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Optimiser steps of this phase that all learners have done.
    pub(super) step: usize,
    /// Learners that have done the next one too, and the sums of their losses and tokens.
    pub(super) ahead: usize,
    pub(super) ahead_loss: f64,
    pub(super) ahead_tokens: usize,
    /// Steps of cross-validation before this phase.
    pub(super) earlier: usize,
    pub(super) tokens: usize,
    /// The last evaluation that brought a gain, and those since.
    #[serde(default)]
    pub(super) gained: Option<Gained>,
    pub(super) without_gain: usize,
    /// Evaluations, and steps, in a row with a loss far above the first one.
    pub(super) far_evaluations: usize,
    pub(super) far_steps: usize,
    /// Evaluations in a row at which the base's own answers were gone and no nearer than before, and the drift of the last.
    #[serde(default)]
    pub(super) forgetful_evaluations: usize,
    #[serde(default)]
    pub(super) forgotten: Option<f64>,
    /// The best step so far, if the base's own answers are gone at it and it is kept for want of a better one.
    #[serde(default)]
    pub(super) forgetful_best: Option<usize>,
    /// Sum and number of the training losses since the last evaluation.
    pub(super) window: (f64, usize),
    /// Whether the evaluation that belongs to `step` is done, and the answers that go with it.
    pub(super) evaluated: bool,
    pub(super) sampled: bool,
    /// Somebody has asked for the end of this phase.
    #[serde(default)]
    pub(super) asked: bool,
}

/// An evaluation that was better by enough.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Gained {
    pub(super) step: usize,
    /// What the run is judged by: the loss on new held-out examples where it goes on from an adapter and has some, else on all.
    pub(super) loss: f64,
}

/// Whether a loss is a gain after the last one that was, in a run that began with `first`.
pub(super) fn is_gain(first: f64, last: f64, loss: f64) -> bool {
    last - loss > MIN_GAIN * (first - loss)
}

impl Progress {
    /// Whether something with these losses should replace the best so far.
    ///
    /// A run from the bare base takes the lowest held-out loss. A run that goes on from an adapter is there for its new examples: it takes the
    /// lowest loss on the new ones that are held out (on all, where none is), of those steps that are not worse than the start on all by more
    /// than `margin` allows; the start itself only if there is no such step.
    pub(super) fn is_better(&self, losses: &Losses, margin: f64) -> bool {
        let Some(best) = &self.best else { return true };
        let Some(start) = self.start.filter(|_| self.continues) else { return losses.all < best.losses.all };
        losses.all <= most_allowed(start.all, margin)
            && (best.step == 0 || self.wanted(losses) < self.wanted(&best.losses))
    }

    /// Whether losses make a step the best, if it has not forgotten the base's own answers: any gain does while the best has.
    pub(super) fn may_be_best(&self, losses: &Losses, margin: f64) -> bool {
        let start = self.start.or(self.base);
        let gains = self.counts.forgetful_best.is_some() && start.is_some_and(|start| losses.all < start.all);
        gains || self.is_better(losses, margin)
    }

    /// Whether a step that has forgotten them may be the best for want of another: a first run is told what has become of it, and what helps; a save leaves
    /// the version that was there.
    pub(super) fn may_forget(&self) -> bool {
        !self.continues && (self.counts.forgetful_best.is_some() || self.best_step() == 0)
    }

    fn wanted(&self, losses: &Losses) -> f64 {
        losses.new.filter(|_| self.continues).unwrap_or(losses.all)
    }

    /// What these losses, the best so far, are to early stopping, if they are better than the last gain by [`MIN_GAIN`] of all that was gained.
    pub(super) fn gain(&self, losses: &Losses, step: usize) -> Option<Gained> {
        let loss = self.wanted(losses);
        let first = self.start.or(self.base).map_or(loss, |first| self.wanted(&first));
        let enough = self.counts.gained.is_none_or(|last| is_gain(first, last.loss, loss));
        enough.then_some(Gained { step, loss })
    }

    /// Whether a loss is far above where the run began.
    pub(super) fn is_far(&self, loss: f64) -> bool {
        let Some(first) = self.start.or(self.base) else { return false };
        loss > (FAR_TIMES * first.all).min(first.all + FAR_ABOVE)
    }

    /// A run that was ended before anything was better than its start has nothing whose figures anybody would want.
    pub(super) fn nothing_kept(&mut self, reason: StopReason) {
        if matches!(reason, StopReason::Asked { best_step: 0, .. }) {
            self.guard = Some(GuardFigures::default());
            self.counts.sampled = true;
        }
    }

    pub(super) fn best_step(&self) -> usize {
        self.best.as_ref().map_or(0, |best| best.step)
    }

    /// What the run would keep if it ended now.
    pub(super) fn kept(&self) -> Option<&TrainedWeights> {
        let best = self.best.as_ref().and_then(|best| best.learnt.as_ref());
        best.or_else(|| self.learners.first().map(|learner| &learner.learnt))
    }
}
