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
    /// `None`: not measured, as for an import.
    pub base_heldout_loss: Option<f64>,
    /// `None`: not measured, as for an import.
    pub heldout_loss: Option<f64>,
    /// A name for the texts that judged it: losses are comparable where it is the same. `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_by: Option<String>,
    pub examples: usize,
    pub steps: usize,
    pub seconds: f64,
    #[serde(default)]
    pub guard: Option<Guard>,
    #[serde(default = "lora")]
    pub method: Method,
    #[serde(default)]
    pub files: VersionFiles,
}

impl VersionInfo {
    /// Whether it came from elsewhere: no run of this daemon made it, and nothing was measured.
    pub fn is_imported(&self) -> bool {
        self.run == RunId(0)
    }
}

/// Whether a version's files are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionFiles {
    #[default]
    Whole,
    /// Somebody else has removed them.
    Gone,
    /// They are there, and not whole.
    Damaged,
    /// Removed by a prune or a delete; the record stays because other versions were built on this one.
    Pruned,
}

/// What all versions were before there was a choice.
fn lora() -> Method {
    Method::Lora
}
