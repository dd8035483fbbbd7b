//! Feeding: examples of a folder that stand before a prompt.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Which examples are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feed {
    /// Absolute.
    pub folder: PathBuf,
    /// At most so many; `None`: a few, and no more tokens than few-shot prompts gain from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
}

/// What stood before the prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fed {
    pub folder: PathBuf,
    /// The nearest to the prompt first; in the prompt it stands last.
    pub examples: Vec<FedExample>,
    /// Of all of them.
    pub tokens: usize,
    /// Tokens that there was room for.
    pub room: usize,
    /// Examples in the folder.
    pub of: usize,
    pub ended: FeedEnd,
    /// Nearer than some that were fed, or as near, and left out because they did not fit.
    pub no_room: usize,
    /// Left out because their system's words or tools are not those of the nearest example.
    pub other_system: usize,
    /// Left out because the base's template does not take their turns before a prompt.
    pub refused: usize,
    /// The example that answers this very prompt, and would have given its answer away.
    pub itself: Option<FedPlace>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FedExample {
    #[serde(flatten)]
    pub place: FedPlace,
    pub tokens: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FedPlace {
    /// Relative to the folder.
    pub file: PathBuf,
    /// First and last line, from 1.
    pub line: usize,
    pub last_line: usize,
}

/// Why there are no more examples before the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedEnd {
    /// Each was fed, or cannot be.
    Everything,
    /// As many as were wanted.
    Wanted,
    /// What is left does not fit.
    Room,
}
