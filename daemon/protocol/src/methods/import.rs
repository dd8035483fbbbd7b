//! Takes an adapter from elsewhere into the store.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::adapters::AdapterInfo;

super::method!(
    /// The folder is only read; a copy becomes the adapter's newest version and answers from then on.
    Import, "adapter/import", ImportParams, AdapterInfo
);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportParams {
    /// A folder as PEFT or mlx-lm writes it; absolute.
    pub path: PathBuf,
    /// `None`: the folder's own name.
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub base: Option<String>,
    /// As in `train/start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_base: Option<String>,
}
