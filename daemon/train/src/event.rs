//! What a run says while it goes, and why it ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::data::Losses;
use crate::guard::Moved;

#[derive(Debug, Clone, PartialEq)]
pub enum TrainEvent {
    /// The base has answered what the run rehearses: so many answers.
    Rehearsed { answers: usize },
    /// A layer's worth of work was done.
    Working,
    /// An optimiser step was done; in cross-validation, one in each fold.
    Step {
        /// From 1. The steps on all examples that follow cross-validation are counted on from its own.
        step: usize,
        /// At most.
        steps: usize,
        epoch: f64,
        /// Mean over the step's supervised tokens, before its update; in cross-validation the mean of the folds'.
        loss: f64,
        learning_rate: f64,
        /// Real tokens that went through.
        tokens: usize,
    },
    /// Step 0: the base, then (where the run starts from an adapter) that adapter. In cross-validation the loss is over all folds. How far the base has been
    /// moved is measured where the losses alone would make it the best, and the base's own answers are rehearsed.
    Evaluated { step: usize, losses: Losses, best: bool, moved: Option<Moved> },
    /// Answers to the recipe's prompts.
    Sampled { step: usize, samples: Vec<SamplePair> },
    /// Cross-validation has found the number of steps; now all examples are learnt for so many.
    FoldsDone { folds: usize, best_step: usize, losses: Losses },
    /// Nothing more happens; call [`Trainer::finish`](super::Trainer::finish).
    Finished { reason: StopReason },
}

/// The same prompt, answered twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplePair {
    pub prompt: String,
    /// By the bare base.
    pub base: String,
    /// By what has been learnt.
    pub mine: String,
}

/// Which figure told that a run began to memorise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemorizationSign {
    /// The loss on what it trains on fell far below the loss on what is held out, which rose.
    Gap,
    /// Its answers repeat the training texts word for word.
    Copies,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum StopReason {
    AllSteps {
        steps: usize,
        best_step: usize,
    },
    NoGain {
        step: usize,
        best_step: usize,
    },
    Memorising {
        step: usize,
        best_step: usize,
        sign: MemorizationSign,
    },
    /// The base's own answers to everyday questions were gone.
    Forgot {
        step: usize,
        best_step: usize,
    },
    /// The same, and something was best before.
    Forgetting {
        step: usize,
        best_step: usize,
    },
    /// A loss or gradient was no longer a number; what was best before it is kept.
    NotFinite {
        step: usize,
        best_step: usize,
        learning_rate: f64,
    },
    /// The loss rose far above where the run began; what was best before it is kept.
    Diverged {
        step: usize,
        best_step: usize,
        learning_rate: f64,
    },
    /// All examples were learnt for as many steps as did best in cross-validation.
    Folds {
        folds: usize,
        best_step: usize,
        stopped_at: usize,
    },
    /// Somebody asked for the end.
    Asked {
        step: usize,
        best_step: usize,
    },
    /// The same, while all examples were being learnt for as many steps as did best in cross-validation.
    AskedAfterFolds {
        step: usize,
        best_step: usize,
    },
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopReason::AllSteps { steps: 1, best_step: 1 } => f.write_str("did its one step"),
            StopReason::AllSteps { steps, best_step } if steps == best_step => {
                write!(f, "did all {steps} steps; the last was the best")
            }
            StopReason::AllSteps { steps, best_step } => {
                write!(
                    f,
                    "did all {steps} steps; kept step {best_step}, which did best on the held-out examples"
                )
            }
            StopReason::NoGain { step, best_step: 0 } => write!(
                f,
                "stopped at step {step}: nothing that was learnt did better on the held-out examples than the start; fewer steps cannot help, \
                 more examples or a smaller learning rate may"
            ),
            StopReason::NoGain { step, best_step } => write!(
                f,
                "stopped at step {step}: the loss on the held-out examples stopped falling; kept step {best_step}, the best"
            ),
            StopReason::Memorising { step, best_step, sign } => {
                let why = match sign {
                    MemorizationSign::Gap => {
                        "it did ever better on what it trains on and worse on the held-out examples"
                    }
                    MemorizationSign::Copies => "its answers began to repeat the examples word for word",
                };
                write!(
                    f,
                    "stopped at step {step}: it began to memorise ({why}); kept step {best_step}, the best"
                )
            }
            StopReason::Forgot { step, best_step } => write!(
                f,
                "stopped at step {step}: it forgets what the base model answers to everyday questions; kept step {best_step} for want of a better one; a \
                 smaller learning rate or more rehearsal helps"
            ),
            StopReason::Forgetting { step, best_step: 0 } => write!(
                f,
                "stopped at step {step}: it forgot what the base model answers to everyday questions before it had learnt anything that could be kept; a \
                 smaller learning rate or more rehearsal helps"
            ),
            StopReason::Forgetting { step, best_step } => write!(
                f,
                "stopped at step {step}: it began to forget what the base model answers to everyday questions; kept step {best_step}, the best before \
                 that; a smaller learning rate or more rehearsal goes further"
            ),
            StopReason::NotFinite { step, best_step, learning_rate } => write!(
                f,
                "stopped at step {step}: the loss was no longer a number; kept step {best_step}, the best before it; a learning rate below \
                 {learning_rate} may go further"
            ),
            StopReason::Diverged { step, best_step, learning_rate } => write!(
                f,
                "stopped at step {step}: the loss rose far above where it began; kept step {best_step}, the best before it; try a learning \
                 rate of {}",
                tenth(*learning_rate)
            ),
            StopReason::Folds { folds, best_step: 0, stopped_at } => write!(
                f,
                "stopped at step {stopped_at}: over {folds} folds of the examples, no step did better on the fold left out than the start, so nothing was \
                 learnt; more examples or a smaller learning rate may help"
            ),
            StopReason::Folds { folds, best_step, stopped_at } => write!(
                f,
                "{folds} folds of the examples did best at step {best_step} (of {stopped_at} tried); trained on all examples for as many \
                 steps"
            ),
            StopReason::Asked { step, best_step: 0 } => {
                write!(
                    f,
                    "ended early at step {step}, before anything did better on the held-out examples than the start"
                )
            }
            StopReason::Asked { step, best_step } if step == best_step => {
                write!(f, "ended early at step {step}, which is the best so far")
            }
            StopReason::Asked { step, best_step } => {
                write!(f, "ended early at step {step}; kept step {best_step}, the best so far")
            }
            StopReason::AskedAfterFolds { step, best_step } => write!(
                f,
                "ended early: trained on all examples for {step} of the {best_step} steps that did best in cross-validation"
            ),
        }
    }
}

/// A tenth of a rate, as a person would write it.
pub(super) fn tenth(rate: f64) -> String {
    format!("{:.1e}", rate / 10.0)
}

/// What cross-validation found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldFigures {
    pub best_step: usize,
    /// Steps that each fold was trained.
    pub steps: usize,
    /// The loss of each fold at the best step, nats per supervised token.
    pub losses: Vec<f64>,
}
