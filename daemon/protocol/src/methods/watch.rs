//! Watches a dataset: each save starts an incremental run.

use super::status::WatchStatus;
use super::train::TrainParams;

super::method!(
    /// Idempotent. Files that were saved since the last run (also while the daemon was down) are learnt at once.
    Watch, "dataset/watch", TrainParams, WatchStatus
);
