//! Lets a base, with or without an adapter, write.

use serde::{Deserialize, Serialize};

use crate::feed::{Fed, FedPlace, Feed};
use crate::knobs::Quantize;

super::method!(
    /// Text comes as `generate/delta` while it is written; the response holds all of it. Belongs to the connection: it ends
    /// when the client leaves.
    Generate, "generate/start", GenerateParams, GenerateResult
);

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GenerateParams {
    pub prompt: String,
    /// A name in the store (its current version; `name@3` for another one) or a PEFT folder, absolute.
    #[serde(default)]
    pub adapter: Option<String>,
    /// A Hugging Face folder, absolute; `None`: the adapter's own base, else the embedded one.
    #[serde(default)]
    pub base: Option<String>,
    /// As in `train/start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_base: Option<String>,
    /// Of the base's weights; `None`: as the adapter learnt with it, else none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantize: Option<Quantize>,
    /// Let the adapter's base answer, without the adapter: the other side of a comparison.
    #[serde(default)]
    pub base_alone: bool,
    /// Feed the prompt as it is, without the base's chat template.
    #[serde(default)]
    pub raw: bool,
    /// Put examples of a folder before the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feed: Option<Feed>,
    #[serde(default)]
    pub sampling: Sampling,
}

/// How the next token is drawn. `None` leaves the choice to the base's `generation_config.json`, then to the default named.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 takes the likeliest token (greedy). Default 0.7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Nucleus: the smallest set of tokens with at least this probability. Default 0.95.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Only the k likeliest tokens; 0: all. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// Divides the logits of tokens that are already there (CTRL's penalty; 1: none). Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f64>,
    /// Drawn at random if left out, and said in the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Default 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// The text ends before the first of these.
    #[serde(default)]
    pub stop: Vec<String>,
    /// Go on when the end-of-sequence token is drawn.
    #[serde(default)]
    pub ignore_eos: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerateResult {
    pub text: String,
    pub token_ids: Vec<u32>,
    pub finish_reason: FinishReason,
    pub prompt_tokens: usize,
    pub seed: u64,
    /// `name@version` of the adapter that answered, or its folder.
    pub adapter: Option<String>,
    pub base: String,
    /// What stood before the prompt, and counts in `prompt_tokens`; `None` where nothing was to be fed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fed: Option<Fed>,
    /// What is wrong with how the text goes; mostly nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub noticed: Vec<Noticed>,
    /// From the request's arrival to the first token.
    pub first_token_ms: f64,
    /// Of the tokens after the first.
    pub tokens_per_second: f64,
}

/// A fault of a text that its tokens show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Noticed {
    /// It goes round in circles: this comes again and again.
    Repeats { text: String, times: usize },
    /// At least half of it, this many tokens in a row, stands in an example that was fed.
    Copies { tokens: usize, example: FedPlace },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The base's end-of-sequence token, or one of the stop texts.
    Stop,
    /// `max_tokens`, or the end of the base's context.
    Length,
}
