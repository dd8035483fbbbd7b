//! Adapters for other programs: a whole model with the adapter folded in, as a Hugging Face folder, a GGUF file or for Ollama; or the factors alone for llama.cpp.
//!
//! Owns these formats. The PEFT folder, which is also our own, is [`crate::peft`]'s. Everything is written under the name that the
//! caller gives; the caller renames it into place.

mod gguf;
mod gguf_model;
mod merged;
mod ollama;

use std::path::{Path, PathBuf};

pub use gguf::{is_marked_gguf, write_gguf};
pub use gguf_model::write_gguf_model;
pub use merged::write_merged;
pub use ollama::write_ollama;

use crate::base_error::BaseError;

/// Why an adapter cannot be written in a format.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{0}")]
    Unsupported(String),
    #[error(transparent)]
    Base(#[from] BaseError),
    #[error("{}: {source}", file.display())]
    Io { file: PathBuf, source: std::io::Error },
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

fn io(file: &Path) -> impl Fn(std::io::Error) -> ExportError {
    let file = file.to_owned();
    move |source| ExportError::Io { file: file.clone(), source }
}
