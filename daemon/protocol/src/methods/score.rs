//! How likely a base, with or without an adapter, finds a person's texts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

super::method!(
    /// Each example comes as `score/example`, in order; the response sums them up. Belongs to the connection: it ends when the client
    /// leaves.
    ScoreTexts, "score/run", ScoreParams, ScoreResult
);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreParams {
    /// A dataset file or a folder of them, absolute.
    pub path: PathBuf,
    /// As in `generate/start`.
    #[serde(default)]
    pub adapter: Option<String>,
    /// As in `generate/start`.
    #[serde(default)]
    pub base: Option<String>,
}

/// One example, as training would see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoredExample {
    /// Relative to the folder that was named, or to the named file's folder.
    pub file: PathBuf,
    /// First and last line, from 1.
    pub line: usize,
    pub last_line: usize,
    /// Mean over the supervised tokens, nats; `None` where no token is supervised.
    pub loss: Option<f64>,
    pub supervised_tokens: usize,
    /// Whether it is longer than the base reads, and its end is missing.
    pub truncated: bool,
    pub tokens: Vec<ScoredToken>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoredToken {
    pub id: u32,
    /// Its part of the text; empty where it is a part of a character, which stands with the last part.
    pub text: String,
    /// `ln p` after the tokens before it, nats; `None` for the first one, which nothing leads to.
    pub logprob: Option<f64>,
    /// Whether training would learn it, and the loss counts it.
    pub supervised: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreResult {
    pub examples: usize,
    /// Records that are no examples, such as duplicates and empty ones; `dataset/check` names them.
    pub left_out: usize,
    /// Mean over the supervised tokens of all examples, nats; `None` where there is none.
    pub loss: Option<f64>,
    /// `e` to the power of the loss.
    pub perplexity: Option<f64>,
    pub supervised_tokens: usize,
    pub tokens: usize,
    /// `name@version` of the adapter, or its folder.
    pub adapter: Option<String>,
    pub base: String,
}
