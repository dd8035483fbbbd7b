//! Where a pair may sit in a base.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Linear;
use crate::config::DecoderConfig;

/// A layer that may have a pair. The order is that of parameter lists: first the embedding, then block by block, last the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The token embedding: in = vocabulary, out = hidden.
    Embedding,
    /// A linear layer of a block.
    Block(usize, Linear),
    /// The language-model head.
    Head,
}

impl Place {
    /// All places of a base, in order.
    pub fn all(config: &DecoderConfig) -> Vec<Place> {
        let blocks = (0..config.layers)
            .flat_map(|layer| Linear::of(config).iter().map(move |linear| Place::Block(layer, *linear)));
        std::iter::once(Place::Embedding).chain(blocks).chain([Place::Head]).collect()
    }

    /// `(out, in)`: B is `[out, r]`, A is `[r, in]`.
    pub fn shape(self, config: &DecoderConfig) -> (usize, usize) {
        match self {
            Place::Embedding => (config.hidden, config.vocab),
            Place::Block(_, linear) => linear.shape(config),
            Place::Head => (config.vocab, config.hidden),
        }
    }
}

/// The module's name in a Hugging Face causal language model.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Embedding => f.write_str("model.embed_tokens"),
            Place::Block(layer, linear) => {
                write!(f, "model.layers.{layer}.{}.{}", linear.parent(), linear.module())
            }
            Place::Head => f.write_str("lm_head"),
        }
    }
}
