//! Training: a run is a value that steps.
//!
//! Owns the order of work inside a run (which examples, forward, backward, update, evaluation, what is kept) and its saved state. No
//! threads, no callbacks, no clock: the server owns time. Stepping it, saving and restoring it, and never having stopped give the same bits.

mod adamw;
mod data;
mod evaluation;
pub mod full;
mod pass;
mod settings;
mod state;
mod trainer;

pub use data::{HeldOut, Losses, TrainData};
pub use settings::{MARGIN, TrainSettings};
pub use trainer::{Outcome, StopReason, TrainEvent, Trainer};

use std::path::PathBuf;

use crate::lora::LoraError;

/// Why a run cannot start, go on, or be saved.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error("there is nothing to train on: no example has a token that carries loss")]
    NoExamples,
    #[error("there is no held-out example to judge by; a run needs at least two examples")]
    NoHeldOut,
    #[error(
        "the loss is no longer a number at step {step}; try a smaller learning rate (now {learning_rate})"
    )]
    NotFinite { step: usize, learning_rate: f64 },
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
