//! Deletes a version of an adapter, or all of it.

use serde::{Deserialize, Serialize};

super::method!(
    /// Refused for the version that answers, for one that a run trains from, and for an adapter that is watched or trained. Answers
    /// in progress are finished with what they have.
    Delete, "adapter/delete", DeleteParams, DeleteResult
);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteParams {
    /// `name`: all of it; `name@version`: that version.
    pub adapter: String,
    /// Only say what would be deleted, or why it cannot be.
    #[serde(default)]
    pub dry_run: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteResult {
    pub adapter: String,
    /// Oldest first.
    pub versions: Vec<u32>,
    /// Whether the adapter itself is gone, with all that was known of its examples and runs.
    pub whole: bool,
    /// The version whose files go and whose record stays, because others were built on it.
    pub record_stays: bool,
    /// Of the files.
    pub bytes: u64,
    /// False for a dry run.
    pub deleted: bool,
}
