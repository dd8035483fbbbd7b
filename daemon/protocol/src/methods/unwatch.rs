//! Stops watching a dataset.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

super::method!(
    /// The adapter and the run in progress stay.
    Unwatch, "dataset/unwatch", UnwatchParams, Unwatched
);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnwatchParams {
    /// Absolute.
    pub folder: PathBuf,
    /// Where this folder is not watched: the adapter whose folder is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unwatched {
    /// That was watched.
    pub folder: PathBuf,
    pub adapter: String,
}
