//! Ends a run early.

use serde::{Deserialize, Serialize};

use super::Nothing;
use crate::run::RunId;

super::method!(
    /// The run ends with `Cancelled` and makes no version.
    CancelRun, "run/cancel", CancelRunParams, Nothing
);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRunParams {
    pub run: RunId,
}
