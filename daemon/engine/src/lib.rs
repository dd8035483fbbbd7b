//! Tensors: base models, adapters, training and generation.
//!
//! This crate owns arithmetic and the files that hold it. It must not know sockets, watching, clocks or sessions: data in, data out,
//! and whatever takes long is a value that steps ([`generate::Generation`], [`train::Trainer`]).

mod answers;
pub mod base;
pub mod base_error;
pub mod base_folder;
pub mod base_source;
pub mod base_text;
mod checkpoint;
pub mod config;
pub mod decoder;
pub mod detokenize;
pub mod device;
pub mod embedded;
pub mod encode_example;
pub mod export;
pub mod feed;
#[cfg(test)]
mod fuzz;
pub mod generate;
mod gguf;
pub mod golden;
pub mod guard;
mod layered;
pub mod lora;
mod mapped_file;
mod mlx;
pub mod neutral;
pub mod norm;
pub mod ops;
mod packed;
pub mod peft;
mod prompt_length;
mod python_methods;
pub mod quantise;
pub mod rehearsal;
pub mod repeating;
pub mod rope_config;
mod rope_frequencies;
pub mod sample;
pub mod sampling;
pub mod score;
mod template;
mod template_source;
#[cfg(test)]
mod test_base;
#[cfg(test)]
mod test_tokenizers;
mod tokenizer;
pub mod train;
pub mod weights;
