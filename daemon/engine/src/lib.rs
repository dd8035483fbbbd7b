//! Tensors: base models, adapters and generation, forwards and backwards.
//!
//! This crate owns arithmetic and the files that hold it. It must not know sockets, watching, clocks or sessions: data in, data out,
//! and whatever takes long is a value that steps ([`generate::Generation`]).

pub mod answers;
pub mod base;
pub mod base_error;
pub mod base_folder;
pub mod base_source;
pub mod base_spec;
mod checkpoint;
pub mod config;
pub mod decoder;
pub mod detokenize;
pub mod device;
pub mod embedded;
pub mod encode_example;
pub mod export;
pub mod feed;
#[doc(hidden)]
pub mod fixtures;
#[cfg(test)]
mod fuzz;
pub mod generate;
mod gguf;
pub mod golden;
pub mod layered;
pub mod lora;
mod mapped_file;
mod mlx;
pub mod norm;
pub mod ops;
mod packed;
pub mod peft;
mod prompt_length;
mod python_methods;
pub mod quantise;
pub mod repeating;
pub mod rope_config;
mod rope_frequencies;
pub mod sample;
pub mod sampling;
pub mod score;
mod template;
mod template_source;
mod tokenizer;
pub mod weights;
