//! Messages that are not answered.

use serde::{Deserialize, Serialize};

use crate::message::{Id, NotificationKind};
use crate::methods::score::ScoredExample;
use crate::run::{RunEvent, RunId};

/// Client to daemon: give up the request with this id. It is answered all the same, once: with its result if
/// that was ready, else with [`RequestCancelled`](crate::ErrorCode::RequestCancelled).
pub enum Cancel {}

impl NotificationKind for Cancel {
    const METHOD: &'static str = "$/cancelRequest";
    type Params = CancelParams;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CancelParams {
    pub id: Id,
}

/// Daemon to client: text that a `generate/start` request has produced since the last delta. Deltas of one request
/// that wait in a slow client's queue are merged: no text is lost, and nobody waits.
pub enum GenerateDelta {}

impl NotificationKind for GenerateDelta {
    const METHOD: &'static str = "generate/delta";
    type Params = GenerateDeltaParams;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerateDeltaParams {
    /// The id of the `generate/start` request.
    pub id: Id,
    /// Whole UTF-8 characters only.
    pub text: String,
    pub token_ids: Vec<u32>,
}

/// Daemon to client: a `score/run` request has scored one more example.
pub enum ScoreExample {}

impl NotificationKind for ScoreExample {
    const METHOD: &'static str = "score/example";
    type Params = ScoreExampleParams;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreExampleParams {
    /// The id of the `score/run` request.
    pub id: Id,
    pub example: ScoredExample,
}

/// Daemon to client: something happened in a run that this session started or attached to, or, for sessions that
/// sent `run/attach` without a run, in any run.
pub enum RunEventNotification {}

impl NotificationKind for RunEventNotification {
    const METHOD: &'static str = "run/event";
    type Params = RunEventParams;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEventParams {
    pub run: RunId,
    pub event: RunEvent,
}
