//! LoRA adapters: pairs of thin matrices beside the frozen layers (Hu et al. 2021, <https://arxiv.org/abs/2106.09685>).
//!
//! Owns the factors, where they may sit and how a recipe chooses those places. An adapter is an argument of the forward pass, never a
//! state of the model; reading and writing folders is [`crate::peft`]'s matter.

mod adapter;
mod dora;
mod linear;
mod merge;
mod place;
mod selection;
mod spec;

pub use adapter::{Adapter, LayerAdapter, Lora};
pub use dora::Dora;
pub use linear::Linear;
pub use merge::Merged;
pub(crate) use merge::merged_weight;
pub use place::Place;
pub use selection::Selection;
pub(crate) use selection::{Patterns, is_end_of};
pub(crate) use spec::{LARGEST_RANK, scale};
pub use spec::{LoraSpec, Planned, Targets};

/// Why an adapter cannot be made as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum LoraError {
    #[error("{0}")]
    BadSpec(String),
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}
