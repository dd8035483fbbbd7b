//! A run (one fine-tune) as clients see it: its plan, its events, its end.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::knobs::Effective;

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
    /// Texts that are learnt as answers to an instruction with their title, because the base chats.
    #[serde(default)]
    pub texts_as_answers: usize,
    /// Of the base's own answers, those that go along in one epoch.
    #[serde(default)]
    pub rehearsed_answers: usize,
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
    /// The step at which it probably stops by itself; what is left out by older daemons is 0.
    #[serde(default)]
    pub likely_steps: usize,
    /// What all of it takes on this machine if it stops at `likely_steps`: learning, looks at held-out examples, and what comes at the end. From what
    /// was measured on this base; `None` where it could not be.
    pub seconds: Option<f64>,
    /// The same if it does all `steps`.
    #[serde(default)]
    pub seconds_at_most: Option<f64>,
    /// Peak bytes that training adds to the resident base.
    pub memory_bytes: u64,
    pub findings: usize,
    /// Every knob with the value that holds, and where it comes from.
    #[serde(default)]
    pub settings: Vec<Effective>,
    /// Few examples are all learnt, and judged by so many runs that each leave a part of them out; 0: some are held out.
    #[serde(default)]
    pub folds: usize,
    /// Why it cannot start as it is: it does not fit into memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
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
        /// Seconds until the run's probable end, with everything that comes by then. Before anything is known of it, until its last step.
        seconds_left: f64,
    },
    /// What the run is at, between its other events: at least once a second while nothing else is said. Is not kept, and may be left out like a step.
    Working {
        work: RunWork,
        /// How much of it is done: held-out examples looked at, tokens written, and so on.
        done: usize,
        of: usize,
        #[serde(default)]
        seconds_left: Option<f64>,
    },
    /// Loss on the held-out examples. Step 0 is the start: the base model, or the version an incremental run
    /// starts from.
    Evaluated {
        step: usize,
        heldout_loss: f64,
        best: bool,
        /// See [`Guard::drift`]. Measured where the loss alone would make this step the best, and the base's own answers are rehearsed.
        #[serde(default)]
        drift: Option<f64>,
    },
    /// Few examples judged each other in so many parts, each by what was learnt from the others; now all of them are learnt for as many steps.
    FoldsDone {
        folds: usize,
        best_step: usize,
        heldout_loss: f64,
    },
    /// The recipe's prompts, answered by the base and by the adapter as it is now.
    Sampled {
        step: usize,
        samples: Vec<SamplePair>,
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
        /// That were trained on, in vain.
        #[serde(default)]
        tokens: usize,
        seconds: f64,
        #[serde(default)]
        guard: Option<Guard>,
    },
    Failed {
        error: String,
    },
    Cancelled,
}

/// A piece of a run's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunWork {
    /// The base comes into memory.
    Loading,
    /// The base answers what is rehearsed, once for each base.
    Rehearsal,
    /// An optimiser step.
    Learning,
    /// The held-out examples are looked at.
    HeldOut,
    /// The recipe's prompts are answered.
    Samples,
    /// What is kept is measured on what it has learnt.
    Gap,
    /// What is kept writes, to see whether it copies.
    Copies,
    /// The base writes texts of its own, once for each base.
    Neutral,
    /// How far what was learnt, or is kept, has moved from the base.
    Drift,
    /// What is kept answers everyday questions, to see what it has become.
    Behaviour,
    /// Each example's own loss is taken.
    OwnLosses,
    /// The golden answers are written.
    Goldens,
    /// The version is being written to the disk.
    Saving,
}

impl RunEvent {
    /// Whether it may be left out once something later is known of the run.
    pub fn is_passing(&self) -> bool {
        matches!(self, RunEvent::Step { .. } | RunEvent::Working { .. })
    }

    /// Whether `later`, of the same run, says all that this one does.
    pub fn is_replaced_by(&self, later: &RunEvent) -> bool {
        match self {
            RunEvent::Step { .. } => matches!(later, RunEvent::Step { .. }),
            RunEvent::Working { .. } => later.is_passing(),
            _ => false,
        }
    }

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
    /// Signs of memorising and forgetting; `None` in runs of older versions.
    #[serde(default)]
    pub guard: Option<Guard>,
    /// Why the run ended where it did, one sentence.
    #[serde(default)]
    pub reason: Option<String>,
    /// Of how many runs the held-out losses are the mean, where few examples were judged in folds; 0: some were held out.
    #[serde(default)]
    pub folds: usize,
    /// The earlier version that did best, where it did clearly better than this one on the same held-out examples; null otherwise.
    #[serde(default)]
    pub better: Option<BetterVersion>,
    /// Why these texts had better not be trained on, where that is so; null otherwise.
    #[serde(default)]
    pub futile: Option<Futile>,
    /// Older versions that made room for this one, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pruned: Vec<u32>,
}

/// Why a folder had better not be trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Futile {
    /// The base model writes such texts already.
    Known,
    /// What comes next in them cannot be foreseen, as in random letters.
    NoOrder,
    /// What they have in common is too little for so few of them.
    TooLittle,
}

/// An earlier version that a new one does not come up to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BetterVersion {
    pub version: u32,
    /// Nats per supervised token, on the examples that judged the new one.
    pub heldout_loss: f64,
}

/// What the base and the adapter make of the same prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplePair {
    pub prompt: String,
    pub base: String,
    pub mine: String,
}

/// Signs of memorising and forgetting at the step that was kept. What was not measured is null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    pub verdict: GuardVerdict,
    /// Held-out loss less train loss, nats per token.
    pub gap: Option<f64>,
    /// Mean share of a sample that one training text holds word for word, 0 to 1.
    pub copy_rate: Option<f64>,
    /// The same of the held-out examples: what is common in these texts anyway.
    pub heldout_copy_rate: Option<f64>,
    /// Tokens of the longest run that a sample shares with a training text.
    pub longest_copy_tokens: Option<usize>,
    /// Mean KL of the adapter from its base on the base's own answers to everyday questions, nats per token.
    pub drift: Option<f64>,
    /// Share of the tokens of those answers that the adapter thinks likeliest where the base does, 0 to 1.
    pub agreement: Option<f64>,
    /// Share of the adapter's own answers to these questions that repeat themselves, and of the base's, 0 to 1.
    pub loops: Option<f64>,
    pub base_loops: Option<f64>,
    /// Share of the adapter's own answers to these questions in which the training texts turn up, 0 to 1.
    pub leaks: Option<f64>,
}

/// What the guard figures say, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardVerdict {
    /// It repeats training texts.
    Memorising,
    /// It forgets what the base could do.
    Drifting,
    /// Its answers to everyday questions repeat themselves.
    Looping,
    /// The training texts turn up in its answers to everyday questions.
    Leaking,
    /// It knows the training texts far better than others.
    GapWide,
    Fine,
}
