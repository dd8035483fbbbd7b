//! Adapters in the store and their versions.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Nothing;
use crate::knobs::Method;
use crate::run::{Guard, RunId, RunKind};

super::method!(
    /// All adapters, by name.
    Adapters, "adapter/list", Nothing, Vec<AdapterInfo>
);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterInfo {
    pub name: String,
    pub base: String,
    pub folder: Option<PathBuf>,
    /// The version that answers.
    pub current: u32,
    /// Examples that it learnt are gone from the folder.
    pub stale: bool,
    /// Oldest first.
    pub versions: Vec<VersionInfo>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionInfo {
    pub version: u32,
    pub path: PathBuf,
    /// RFC 3339, UTC.
    pub created: String,
    pub run: RunId,
    pub kind: RunKind,
    pub base_heldout_loss: f64,
    pub heldout_loss: f64,
    pub examples: usize,
    pub steps: usize,
    pub seconds: f64,
    #[serde(default)]
    pub guard: Option<Guard>,
    #[serde(default = "lora")]
    pub method: Method,
}

/// What all versions were before there was a choice.
fn lora() -> Method {
    Method::Lora
}
