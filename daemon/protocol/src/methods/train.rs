//! Plans and starts runs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use crate::knobs::Knobs;
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
    /// What holds where nobody names a base: not this request, not the recipe, and no adapter that is there already. `None`: the
    /// embedded one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_base: Option<String>,
    /// `None`: the folder's name.
    #[serde(default)]
    pub adapter: Option<String>,
    #[serde(default)]
    pub knobs: Knobs,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainResult {
    pub run: RunId,
    pub plan: Plan,
}
