//! Looks at a dataset without training.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    pub findings: Vec<Finding>,
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
