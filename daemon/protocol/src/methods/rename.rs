//! Gives an adapter another name.

use serde::{Deserialize, Serialize};

use super::adapters::AdapterInfo;

super::method!(
    /// All versions and all that is known of them go along. Refused while the adapter is watched or trained.
    Rename, "adapter/rename", RenameParams, AdapterInfo
);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenameParams {
    pub adapter: String,
    /// The new name.
    pub name: String,
}
