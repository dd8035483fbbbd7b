//! Base models that the daemon knows.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Nothing;
use crate::knobs::Quantize;

super::method!(
    /// The embedded base, those in memory, and those that adapters in the store were made for.
    Models, "model/list", Nothing, Vec<ModelInfo>
);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// `hotplate-tiny`, or the folder's name.
    pub name: String,
    /// The folder; `None` for the embedded base.
    pub path: Option<PathBuf>,
    /// Content hash of config, tokenizer and weights' headers, as adapters name it.
    pub fingerprint: Option<String>,
    pub architecture: Option<String>,
    pub parameters: Option<u64>,
    pub loaded: bool,
    /// Bytes in memory while loaded.
    pub bytes: u64,
    pub idle_seconds: Option<f64>,
    pub adapters: usize,
    /// How its weights are quantised; `None`: they are as they are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantize: Option<Quantize>,
}
