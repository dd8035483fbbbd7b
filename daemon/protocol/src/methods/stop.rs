//! Ends the daemon.

use serde::{Deserialize, Serialize};

use super::Nothing;

super::method!(
    /// Answered before the daemon leaves. A run in progress is checkpointed and goes on at the next start.
    Stop, "daemon/stop", StopParams, Nothing
);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopParams {
    pub when: StopWhen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopWhen {
    /// At once; runs are checkpointed.
    Now,
    /// When no run is left; new runs are refused meanwhile.
    Idle,
}
