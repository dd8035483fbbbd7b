//! Writes an adapter for other programs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

super::method!(
    /// Nothing in the store changes.
    Export, "adapter/export", ExportParams, ExportResult
);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportForm {
    /// A folder as the PEFT library writes it.
    Peft,
    /// A whole model in Hugging Face's layout, with the adapter folded into its base.
    Merged,
    /// A GGUF file with the factors, for llama.cpp and what is built on it.
    Gguf,
    /// A whole model as one GGUF file, the adapter folded in.
    GgufMerged,
    /// A folder with that file and a Modelfile.
    Ollama,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportParams {
    /// A name, a name with its version (`notes@3`), or an adapter's folder.
    pub adapter: String,
    #[serde(default)]
    pub base: Option<String>,
    /// As in `train/start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_base: Option<String>,
    pub form: ExportForm,
    /// Absolute, and outside of Hotplate's home; must not exist unless `force` is set.
    pub out: PathBuf,
    /// An earlier export that lies there is moved aside.
    #[serde(default)]
    pub force: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportResult {
    pub adapter: String,
    pub base: String,
    pub form: ExportForm,
    /// Without links.
    pub path: PathBuf,
    /// Of all files together.
    pub bytes: u64,
    /// Where the export lies now that was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_aside: Option<PathBuf>,
    /// What is not as somebody might expect, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}
