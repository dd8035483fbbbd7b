//! What a base is, before it is used.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

super::method!(
    /// Opens a base's config, tokenizer and template, and no weights: whether it could be used, and what it is.
    LookAtBase, "base/look", LookAtBaseParams, BaseInfo
);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookAtBaseParams {
    /// As in `train/start`.
    pub base: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseInfo {
    /// `hotplate-tiny`, or the folder's or file's name.
    pub name: String,
    /// The folder or GGUF file; `None` for the embedded base.
    pub path: Option<PathBuf>,
    pub architecture: String,
    /// Whether it has a chat template.
    pub chats: bool,
}
