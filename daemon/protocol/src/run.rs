//! A run (one fine-tune) as clients see it: its plan, its events, its end.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A run's number in the store; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub i64);

/// Why a run exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cause {
    /// A person asked for it.
    Asked,
    /// These files were saved (paths relative to the dataset's folder).
    Saved { files: Vec<String> },
    /// The daemon had been killed in the middle of it.
    Resumed,
    /// Examples that the adapter had learnt are gone, and the machine was idle.
    Stale,
}

/// How much of the dataset a run learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// From the base model, on everything.
    Full,
    /// From the last version, on new and changed examples with replay of old ones.
    Incremental,
}

/// What a run will do, before it does it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub kind: RunKind,
    pub base: String,
    pub adapter: String,
    /// Examples that are learnt, and those held out to judge by.
    pub train_examples: usize,
    pub heldout_examples: usize,
    /// Of `train_examples`, those replayed from earlier runs.
    pub replay_examples: usize,
    /// Tokens of one epoch, and those among them that carry loss.
    pub tokens: usize,
    pub supervised_tokens: usize,
    pub epochs: usize,
    /// Optimiser steps at most; a run stops earlier when the held-out loss stops falling.
    pub steps: usize,
    pub tokens_per_step: usize,
    pub learning_rate: f64,
    pub rank: usize,
    pub alpha: f64,
    pub trainable_parameters: usize,
    /// From the last measured speed on this machine; `None` before the first run on this base.
    pub seconds: Option<f64>,
    /// Peak bytes that training adds to the resident base.
    pub memory_bytes: u64,
    pub findings: usize,
}

/// What happens in a run, in order: `Queued`, `Started`, any of the middle ones, and one of the last three.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    /// Waits for the run in front of it.
    Queued {
        position: usize,
    },
    Started {
        plan: Plan,
        cause: Cause,
    },
    /// One optimiser step. May be left out for slow clients (the latest wins).
    Step {
        step: usize,
        steps: usize,
        epoch: f64,
        /// Mean negative log-likelihood per supervised token, in nats.
        loss: f64,
        learning_rate: f64,
        tokens_per_second: f64,
        seconds: f64,
        /// Seconds that remain at the speed seen so far.
        seconds_left: f64,
    },
    /// Loss on the held-out examples. Step 0 is the start: the base model, or the version an incremental run
    /// starts from.
    Evaluated {
        step: usize,
        heldout_loss: f64,
        best: bool,
    },
    /// A sentence worth showing ("stopped at step 140: the held-out loss stopped falling").
    Note {
        text: String,
    },
    Finished {
        result: RunResult,
    },
    /// The new version was not better than the margin allows; the old one stays.
    Kept {
        reason: String,
        heldout_loss_before: f64,
        heldout_loss_after: f64,
        seconds: f64,
    },
    Failed {
        error: String,
    },
    Cancelled,
}

impl RunEvent {
    /// Whether nothing follows this event.
    pub fn is_last(&self) -> bool {
        matches!(
            self,
            RunEvent::Finished { .. } | RunEvent::Kept { .. } | RunEvent::Failed { .. } | RunEvent::Cancelled
        )
    }
}

/// A run's good end. `hotplate train --json` prints this as its last object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    pub run: RunId,
    pub kind: RunKind,
    pub adapter: String,
    pub version: u32,
    /// The PEFT folder of this version.
    pub path: PathBuf,
    /// Losses on the held-out examples, nats per supervised token: of the base model without an adapter, of
    /// the version that the run started from (the base for a full run), and of the version it made.
    pub base_heldout_loss: f64,
    pub heldout_loss_before: f64,
    pub heldout_loss: f64,
    /// The same on the held-out examples among the new and changed ones; `None` where there are none.
    pub new_heldout_loss_before: Option<f64>,
    pub new_heldout_loss_after: Option<f64>,
    pub train_loss: f64,
    pub train_examples: usize,
    pub heldout_examples: usize,
    pub best_step: usize,
    pub steps: usize,
    /// Real tokens that went through training, every epoch counted.
    pub tokens: usize,
    pub tokens_per_second: f64,
    pub seconds: f64,
    /// From the newest save that caused the run to the swap; `None` for runs that were asked for.
    pub save_to_swap_seconds: Option<f64>,
}
