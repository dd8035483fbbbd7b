//! Follows runs that somebody else started.

use serde::{Deserialize, Serialize};

use super::Nothing;
use crate::run::RunId;

super::method!(
    /// Sends the events of the run so far, then the coming ones, to this session.
    AttachRun, "run/attach", AttachParams, Nothing
);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachParams {
    /// `None`: every run of this daemon, from now on (watched folders start runs by themselves).
    #[serde(default)]
    pub run: Option<RunId>,
}
