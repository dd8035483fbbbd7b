//! Stops watching a dataset.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Nothing;

super::method!(
    /// The adapter and the run in progress stay.
    Unwatch, "dataset/unwatch", UnwatchParams, Nothing
);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnwatchParams {
    /// Absolute.
    pub folder: PathBuf,
}
