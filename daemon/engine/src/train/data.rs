//! What a run is given to learn from and to be judged by.

use serde::{Deserialize, Serialize};

use crate::sample::Sample;

/// An example that is never trained on in this run; it tells whether the run helps.
#[derive(Debug, Clone)]
pub struct HeldOut {
    pub sample: Sample,
    /// Whether it is among the new or changed ones of an incremental run; their loss is reported apart.
    pub is_new: bool,
}

#[derive(Debug, Clone)]
pub struct TrainData {
    pub train: Vec<Sample>,
    pub heldout: Vec<HeldOut>,
}

/// Held-out losses, nats per supervised token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    pub all: f64,
    /// Of the new examples alone.
    pub new: Option<f64>,
}
