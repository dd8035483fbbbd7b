//! What the daemon is doing.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Nothing;
use super::models::ModelInfo;
use crate::run::{Cause, Guard, RunId, RunKind};

super::method!(
    /// A snapshot; cheap enough for a status bar.
    Status, "daemon/status", Nothing, StatusResult
);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusResult {
    pub version: String,
    pub pid: u32,
    pub home: PathBuf,
    pub uptime_seconds: f64,
    pub device: String,
    /// What the processor is used for, such as `2 threads, AVX2`; empty from a daemon that does not say.
    #[serde(default)]
    pub processor: String,
    pub rss_bytes: u64,
    pub peak_rss_bytes: u64,
    pub sessions: usize,
    /// Bases in memory.
    pub models: Vec<ModelInfo>,
    pub runs: Vec<RunStatus>,
    pub watches: Vec<WatchStatus>,
    /// What answers under each name.
    #[serde(default)]
    pub adapters: Vec<AdapterStatus>,
    /// Generate requests that are being answered or wait.
    pub generating: usize,
    /// What a person should know that belongs to none of the above, such as a run that was given up because the daemon died of it.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Seconds a base stays in memory without use.
    pub model_ttl_seconds: f64,
    /// Seconds until the daemon leaves when it has no clients, no runs and no watches.
    pub idle_exit_seconds: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStatus {
    pub run: RunId,
    pub kind: RunKind,
    pub folder: PathBuf,
    pub adapter: String,
    pub cause: Cause,
    pub state: RunState,
    pub step: usize,
    pub steps: usize,
    pub loss: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Queued,
    Running,
}

/// An adapter at the version that answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterStatus {
    pub name: String,
    pub version: u32,
    pub stale: bool,
    pub guard: Option<Guard>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatchStatus {
    pub folder: PathBuf,
    pub base: String,
    pub adapter: String,
    pub method: WatchMethod,
    pub examples: usize,
    pub findings: usize,
    /// What a person should know: the folder is gone, the system's watch limit is reached, ...
    pub problem: Option<String>,
}

/// How the daemon learns of saves in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchMethod {
    /// The system tells (inotify, FSEvents, ...).
    Native,
    /// The daemon looks every few seconds: network file systems, or no native watches left.
    Polling,
}
