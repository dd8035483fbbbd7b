//! The normalisations of a decoder block: where they stand and what a checkpoint calls them.
//!
//! Gemma stores its factors less 1. The 1 is added when they are read and taken off when they are saved, so that there is one norm.

use crate::config::{BlockNorms, DecoderConfig};

/// A root-mean-square normalisation of a decoder block. The order is that of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Norm {
    /// Of the block's input.
    Input,
    /// Of each query head.
    Query,
    /// Of each key head.
    Key,
    /// Of the attention's output, before it joins the residual stream.
    AfterAttention,
    /// Of the feed-forward part's input.
    BeforeMlp,
    /// Of the feed-forward part's output, before it joins the residual stream.
    AfterMlp,
}

impl Norm {
    pub const COUNT: usize = 6;

    pub const ALL: [Norm; Norm::COUNT] =
        [Norm::Input, Norm::Query, Norm::Key, Norm::AfterAttention, Norm::BeforeMlp, Norm::AfterMlp];

    /// Those that this base's blocks have, in forward order.
    pub fn of(config: &DecoderConfig) -> impl Iterator<Item = Norm> + use<> {
        let (norms, heads) = (config.block_norms, config.head_norms);
        Norm::ALL.into_iter().filter(move |norm| match norm {
            Norm::Input | Norm::BeforeMlp => true,
            Norm::Query | Norm::Key => heads,
            Norm::AfterAttention | Norm::AfterMlp => norms == BlockNorms::Sandwich,
        })
    }

    /// The module's path inside the block. `post_attention_layernorm` means two things: Llama normalises the MLP's input with it,
    /// Gemma the attention's output.
    pub const fn module(self, norms: BlockNorms) -> &'static str {
        match (self, norms) {
            (Norm::Input, _) => "input_layernorm",
            (Norm::Query, _) => "self_attn.q_norm",
            (Norm::Key, _) => "self_attn.k_norm",
            (Norm::AfterAttention, _) | (Norm::BeforeMlp, BlockNorms::Before) => "post_attention_layernorm",
            (Norm::BeforeMlp, BlockNorms::Sandwich) => "pre_feedforward_layernorm",
            (Norm::AfterMlp, _) => "post_feedforward_layernorm",
        }
    }

    /// Number of weights.
    pub const fn width(self, config: &DecoderConfig) -> usize {
        match self {
            Norm::Query | Norm::Key => config.head_dim,
            Norm::Input | Norm::AfterAttention | Norm::BeforeMlp | Norm::AfterMlp => config.hidden,
        }
    }
}
