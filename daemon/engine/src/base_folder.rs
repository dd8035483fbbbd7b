//! Writes a base with other weights as a Hugging Face folder of its own: what full-parameter training makes.
//!
//! Such a version is a base and no adapter: `generate -a` takes it as the base, and a save trains its folder anew.

use std::fs;
use std::io;
use std::path::Path;

use candle_core::{DType, Device};

use crate::base_error::BaseError;
use crate::base_spec::BaseSpec;
use crate::decoder::Decoder;

/// What belongs to a base beside its weights, as far as it has it.
const TEXT_FILES: [&str; 7] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "config.json",
];

/// Why a folder could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteBaseError {
    #[error(transparent)]
    Base(#[from] BaseError),
    #[error("cannot write {file}: {source}")]
    Io { file: std::path::PathBuf, source: io::Error },
    #[error("the weights cannot be written: {0}")]
    Tensor(#[from] candle_core::Error),
}

/// Writes config, tokenizer and template of `text`, and the weights of `decoder` in f32, into an existing folder.
pub fn write_base(folder: &Path, decoder: &Decoder, text: &BaseSpec) -> Result<(), WriteBaseError> {
    let write = |name: &str, bytes: &[u8]| {
        let file = folder.join(name);
        fs::write(&file, bytes).map_err(|source| WriteBaseError::Io { file, source })
    };
    for name in TEXT_FILES {
        let Some(bytes) = text.source.read_if_present(name)? else { continue };
        match name {
            "config.json" => write(name, &in_f32(&bytes))?,
            _ => write(name, &bytes)?,
        }
    }
    let mut weights = Vec::new();
    for (name, tensor) in decoder.named_weights()? {
        weights.push((name, tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous()?));
    }
    let metadata = std::collections::HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let file = folder.join("model.safetensors");
    safetensors::serialize_to_file(weights, Some(metadata), &file)
        .map_err(|error| WriteBaseError::Io { file, source: io::Error::other(error.to_string()) })
}

/// The config with the dtype that the weights now have; as it is, if it cannot be read.
fn in_f32(config: &[u8]) -> Vec<u8> {
    let Ok(mut config) = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(config) else {
        return config.to_vec();
    };
    for name in ["torch_dtype", "dtype"] {
        if let Some(dtype) = config.get_mut(name) {
            *dtype = "float32".into();
        }
    }
    serde_json::to_vec_pretty(&config).unwrap_or_default()
}
