//! A GGUF file as a base: what llama.cpp, Ollama and LM Studio run.
//!
//! Owns the format, and how llama.cpp names, orders and describes what a Hugging Face folder has. Shape, tokenizer, template and end tokens
//! are told to the rest of the engine as the files of such a folder ([`virtual_file`]), so that there is one reader of each. It must not
//! know the decoder.
//!
//! Rows of queries and keys go back from llama.cpp's pairs to halves as whole rows, so that quantised rows stay bytes in memory.

use std::path::{Path, PathBuf};

use hotplate_dataset::regular_file;

use crate::base_error::BaseError;

mod config;
pub(crate) mod describe;
pub(crate) mod describe_tokenizer;
mod file;
mod metadata;
pub(crate) mod names;
mod reader;
pub(crate) mod requantise;
pub(crate) mod tensor_kind;
pub(crate) mod tensors;
mod tokenizer;
mod wide;
mod word_pieces;
pub(crate) mod writer;

pub(crate) use file::GgufFile;
pub(crate) use tensors::GgufTensors;

/// What every GGUF file begins with.
const MAGIC: &[u8; 4] = b"GGUF";

/// The file of a Hugging Face folder that says what this GGUF's metadata says; nothing for files that it has no part in.
///
/// # Errors
/// The file is damaged or no whole model, or its metadata asks for what this version does not compute.
pub(crate) fn virtual_file(file: &Path, name: &str) -> Result<Option<Vec<u8>>, BaseError> {
    let open = || GgufFile::open(file);
    let value = match name {
        "config.json" => config::config(&open()?)?,
        "generation_config.json" => config::generation(&open()?)?,
        "tokenizer.json" => return tokenizer::tokenizer(&open()?).map(Some),
        "tokenizer_config.json" => tokenizer::settings(&open()?)?,
        _ => return Ok(None),
    };
    Ok(Some(value.to_string().into_bytes()))
}

/// Whether a path is a GGUF file, by its name or (Ollama's have none) by how it begins.
pub(crate) fn is_gguf(path: &Path) -> bool {
    use std::io::Read;
    let named = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
    let mut start = [0; 4];
    (named && !path.is_dir())
        || (path.is_file()
            && regular_file::open(path).is_ok_and(|(mut file, _)| file.read_exact(&mut start).is_ok())
            && &start == MAGIC)
}

/// Whether a GGUF file says of itself that it is an adapter.
pub(crate) fn is_adapter(file: &Path) -> bool {
    GgufFile::is_of_type(file, "adapter")
}

/// The one whole model among a folder's GGUF files; nothing where there is none or more than one.
pub(crate) fn only_model(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|file| is_gguf(file)).collect();
    if files.len() > 1 {
        files.retain(|file| GgufFile::open(file).is_ok());
    }
    files.pop().filter(|_| files.is_empty())
}
