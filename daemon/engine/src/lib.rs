//! Tensors: base models, adapters, training and generation.
//!
//! This crate owns arithmetic and the files that hold it. It must not know sockets, watching, clocks or sessions: data in, data out,
//! and whatever takes long is a value that steps ([`generate::Generation`], [`train::Trainer`]).

pub mod base_error;
pub mod base_source;
pub mod config;
pub mod decoder;
pub mod device;
pub mod embedded;
pub mod lora;
pub mod ops;
pub mod rope_config;
pub mod sample;
pub mod sampling;
#[cfg(test)]
mod test_base;
pub mod train;
pub mod weights;
