//! Ends a run early, and keeps the best so far.

use serde::{Deserialize, Serialize};

use super::Nothing;
use crate::run::RunId;

super::method!(
    /// Answered at once. The run judges what it has not judged yet and ends in order: with a version, or with `Kept` or `Failed` where nothing that it has
    /// learnt is worth one. A run that has not begun to learn is refused.
    FinishRun, "run/finish", FinishRunParams, Nothing
);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishRunParams {
    pub run: RunId,
}
