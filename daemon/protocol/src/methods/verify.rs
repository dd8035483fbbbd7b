//! Whether an adapter still answers as it did when it was trained.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

super::method!(
    /// Reads the adapter from the disk again and lets it answer its golden prompts.
    Verify, "adapter/verify", VerifyParams, VerifyResult
);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyParams {
    /// A name, a name with its version (`notes@3`), or an adapter's folder.
    pub adapter: String,
    #[serde(default)]
    pub base: Option<String>,
    /// As in `train/start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_base: Option<String>,
    /// A merged model that shall give the adapter's answers; absolute.
    #[serde(default)]
    pub merged: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifyResult {
    pub adapter: String,
    pub base: String,
    pub passed: bool,
    /// What is not as it was: base, chat template, end tokens, weights. One sentence each.
    pub changes: Vec<String>,
    /// Empty where the adapter cannot be loaded for its base any more.
    pub goldens: Vec<GoldenResult>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldenResult {
    pub prompt: String,
    pub expected: String,
    pub found: String,
    pub passed: bool,
    /// Log-probability of the whole answer, nats: then and now.
    pub log_prob: f64,
    pub log_prob_now: f64,
}
