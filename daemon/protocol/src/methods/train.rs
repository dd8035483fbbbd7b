//! Plans and starts runs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::run::{Plan, RunId};

super::method!(
    /// Queues a run on a folder. The run belongs to the daemon: it goes on when the client leaves. Its events come
    /// as `run/event` to this session.
    Train, "train/start", TrainParams, TrainResult
);

super::method!(
    /// What `train/start` with the same params would do.
    PlanTrain, "train/plan", TrainParams, Plan
);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainParams {
    /// Absolute.
    pub folder: PathBuf,
    /// A Hugging Face folder, absolute; `None` or `hotplate-tiny`: the embedded base.
    #[serde(default)]
    pub base: Option<String>,
    /// `None`: the folder's name.
    #[serde(default)]
    pub adapter: Option<String>,
    #[serde(default)]
    pub knobs: Knobs,
}

/// Every knob is optional; what is left out is chosen from the data's size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Knobs {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Optimiser steps at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Examples per optimiser step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Longer examples are cut to this many tokens, with a finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainResult {
    pub run: RunId,
    pub plan: Plan,
}
