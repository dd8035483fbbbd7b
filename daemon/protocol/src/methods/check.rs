//! Looks at a dataset without training.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::knobs::Effective;
use crate::run::RunId;

super::method!(
    /// Reads the folder as training would and says what it found.
    Check, "dataset/check", CheckParams, CheckResult
);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckParams {
    /// Absolute.
    pub folder: PathBuf,
    #[serde(default)]
    pub base: Option<String>,
    /// As in `train/start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_base: Option<String>,
    /// Whether every example is wanted, with the run that learnt it.
    #[serde(default)]
    pub list: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    pub folder: PathBuf,
    pub files: usize,
    pub examples: usize,
    pub train_examples: usize,
    pub heldout_examples: usize,
    pub tokens: usize,
    pub longest_tokens: usize,
    #[serde(default)]
    pub shortest_tokens: usize,
    #[serde(default)]
    pub median_tokens: usize,
    /// Examples whose end is cut off.
    #[serde(default)]
    pub truncated_examples: usize,
    /// What each file was read as, in the order of their paths.
    #[serde(default)]
    pub kinds: Vec<FileKind>,
    pub findings: Vec<Finding>,
    /// What a run on this folder would be set to, and where each value comes from; empty where the recipe has a mistake.
    #[serde(default)]
    pub settings: Vec<Effective>,
    /// In the order of files and lines; only where they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listed: Vec<ListedExample>,
    /// The base's own answers, which a run on this folder rehearses; only where examples were asked for, and once the base has answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rehearsed: Vec<RehearsedAnswer>,
}

/// What the base answered to an everyday question, once for all its runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RehearsedAnswer {
    pub prompt: String,
    /// Its beginning: a run learns no more of it.
    pub answer: String,
}

/// One example and what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListedExample {
    /// The hash of its content.
    pub id: String,
    /// Relative to the folder.
    pub file: PathBuf,
    /// First and last line, from 1.
    pub lines: (usize, usize),
    pub tokens: usize,
    pub state: ExampleState,
    /// The run that learnt it, held it out, or tried to learn it, and the version it made.
    pub run: Option<RunId>,
    pub version: Option<u32>,
    /// Its own loss after the last run that used it, nats per supervised token.
    pub loss: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExampleState {
    /// No run has used it.
    New,
    Learnt,
    /// Judges, and is never learnt.
    HeldOut,
    /// A run tried it, and the version before stayed.
    Tried,
}

/// What a file was read as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileKind {
    /// Relative to the folder.
    pub file: PathBuf,
    /// `Markdown`, `JSON Lines`, `CSV`, ...
    pub format: String,
    pub shapes: Vec<ShapeCount>,
}

/// How many records of a shape there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShapeCount {
    /// `text`, `prompt+completion`, `messages`, `alpaca` or `sharegpt`.
    pub shape: String,
    pub records: usize,
}

/// One thing that is wrong with one place of the dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// `HP001` and so on; stable.
    pub code: String,
    /// The code's name: `empty`, `duplicate`, ...
    pub name: String,
    /// Relative to the folder.
    pub file: PathBuf,
    /// First and last line, from 1.
    pub lines: (usize, usize),
    /// In characters, from 1, where it is known.
    pub column: Option<usize>,
    pub message: String,
    /// What to do, one line.
    pub remedy: String,
    /// Whether the example is left out of training because of it.
    pub skipped: bool,
}
