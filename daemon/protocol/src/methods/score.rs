//! How likely a base, with or without an adapter, finds a person's texts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::knobs::Quantize;

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
    /// As in `train/start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_base: Option<String>,
    /// As in `generate/start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantize: Option<Quantize>,
    /// As in `generate/start`.
    #[serde(default)]
    pub base_alone: bool,
    /// Score only examples that are held out, each as the answer to its own prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heldout: Option<HeldOut>,
}

/// What stands before a held-out example: the same loss of the same tokens, so that feeding and training can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldOut {
    Alone,
    /// Other examples, as `generate/start` would feed them for its prompt; never a held-out one.
    Fed {
        examples: Option<usize>,
    },
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
    /// `ln p` after the tokens before it, nats; `None` for the first one, which nothing leads to, and among held-out examples for
    /// those that carry no loss.
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
    /// Where held-out examples alone were scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heldout: Option<HeldOutScored>,
    /// `name@version` of the adapter, or its folder.
    pub adapter: Option<String>,
    pub base: String,
}

/// Which examples judged, and what stood before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOutScored {
    pub judges: Judges,
    /// Examples in the folder.
    pub of: usize,
    /// Judges that the adapter has learnt: its own loss on them says little.
    pub learnt: usize,
    /// Before all of them together.
    pub fed_examples: usize,
    pub fed_tokens: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judges {
    /// The examples that no run of the folder learns.
    HeldOut,
    /// Too few to hold any out: each example in turn, behind the others.
    EachInTurn,
}
