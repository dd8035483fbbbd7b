//! Deletes the versions of adapters that nobody needs any more.

use serde::{Deserialize, Serialize};

super::method!(
    /// Of each adapter there stay: the newest versions, the one that answers, the one that it was built on, and the full run at the
    /// root of both. Of others in its lineage the record stays, and the files go.
    Prune, "adapter/prune", PruneParams, PruneResult
);

/// Versions of each adapter that stay where nobody says how many.
pub const KEEP: usize = 10;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneParams {
    /// `None`: all adapters.
    #[serde(default)]
    pub adapter: Option<String>,
    /// The newest versions that stay; `None`: the daemon's own number, [`KEEP`] unless its environment says otherwise.
    #[serde(default)]
    pub keep: Option<usize>,
    /// Only say what would go.
    #[serde(default)]
    pub dry_run: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneResult {
    /// The newest versions that stay.
    pub keep: usize,
    /// Those of which something goes, by name.
    pub adapters: Vec<PrunedAdapter>,
    /// False for a dry run.
    pub pruned: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedAdapter {
    pub adapter: String,
    /// That go, oldest first.
    pub versions: Vec<u32>,
    /// That stay with their files, oldest first.
    pub stay: Vec<u32>,
    /// Of the files that go.
    pub bytes: u64,
}
