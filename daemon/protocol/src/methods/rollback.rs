//! Lets an older version of an adapter answer again.

use serde::{Deserialize, Serialize};

use super::adapters::AdapterInfo;

super::method!(
    /// Nothing is deleted: the newer versions stay and can be rolled forward to.
    Rollback, "adapter/rollback", RollbackParams, AdapterInfo
);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackParams {
    pub adapter: String,
    /// `None`: the newest version older than the current one.
    #[serde(default)]
    pub to: Option<u32>,
}
