//! Training: a run is a value that steps.
//!
//! Owns the order of work inside a run (which examples, forward, backward, update, evaluation, what is kept) and its saved state. No
//! threads, no callbacks, no clock: the server owns time. Stepping it, saving and restoring it, and never having stopped give the same bits.

mod adamw;
mod data;
pub mod effort;
mod evaluation;
mod event;
mod example_losses;
mod final_metrics;
pub mod forecast;
pub mod full;
pub mod guard;
mod learner;
mod overlap;
mod pass;
mod progress;
pub mod reference_samples;
pub mod rehearsal;
mod samples;
mod schedule;
mod settings;
mod start;
mod state;
#[cfg(test)]
mod test_base;
mod trained_weights;
mod trainer;
mod work;

use std::path::PathBuf;

use hotplate_engine::lora::LoraError;

pub use data::{HeldOut, Losses, TrainData, Validation};
pub use event::{FoldFigures, MemorizationSign, SamplePair, StopReason, TrainEvent};
pub use example_losses::ExampleLosses;
pub use learner::gradients;
pub use overlap::trigram_overlap;
pub use progress::Outcome;
pub use schedule::Schedule;
pub use settings::{MARGIN, Method, Recompute, TrainSettings, most_allowed};
pub use trained_weights::TrainedWeights;
pub use trainer::Trainer;
pub use work::{Pace, Work, WorkKind};

/// Why a run cannot start, go on, or be saved.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error("there is nothing to train on: no example has a token that carries loss")]
    NoExamples,
    #[error("there is no held-out example to judge by; a run needs at least two examples")]
    NoHeldOut,
    #[error(
        "the loss is no longer a number at step {step}, and nothing before it was better than the start; try a learning rate of {} (now \
         {learning_rate})", event::tenth(*learning_rate)
    )]
    NotFinite { step: usize, learning_rate: f64 },
    #[error(
        "the loss rose far above where it began by step {step}, and nothing before it was better than the start; try a learning rate of {} \
         (now {learning_rate})", event::tenth(*learning_rate)
    )]
    Diverged { step: usize, learning_rate: f64 },
    #[error(
        "the base's own loss on the held-out examples is not a number: its weights are damaged or beyond what can be computed with; take \
         another copy of it"
    )]
    BrokenBase,
    #[error("the run has brought nothing yet")]
    Unfinished,
    #[error("the adapter to start from does not fit the base: {0}")]
    Misfit(String),
    #[error("a setting cannot be used: {0}")]
    BadSetting(String),
    #[error("the saved run in {folder} is of other examples or another base; start the run again")]
    OtherData { folder: PathBuf },
    #[error("the saved run in {folder} cannot be read ({why}); start the run again")]
    BadState { folder: PathBuf, why: String },
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("a sample could not be written: {0}")]
    Sample(#[from] hotplate_engine::generate::GenerateError),
    #[error("the base's own samples could not be written: {0}")]
    Neutral(#[from] reference_samples::ReferenceError),
    #[error(transparent)]
    Text(#[from] hotplate_engine::base_error::BaseError),
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl From<LoraError> for TrainError {
    fn from(error: LoraError) -> Self {
        match error {
            LoraError::BadSpec(why) => TrainError::BadSetting(why),
            LoraError::Tensor(error) => TrainError::Tensor(error),
        }
    }
}
