//! The linear layers of a decoder block.

use serde::{Deserialize, Serialize};

use crate::config::DecoderConfig;

/// The seven linear layers of a decoder block. The order is that of the forward pass and of parameter lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Linear {
    Query,
    Key,
    Value,
    Output,
    Gate,
    Up,
    Down,
}

impl Linear {
    pub const ALL: [Linear; 7] =
        [Linear::Query, Linear::Key, Linear::Value, Linear::Output, Linear::Gate, Linear::Up, Linear::Down];

    /// Those that a base has, in the order of its forward pass.
    pub fn of(_config: &DecoderConfig) -> &'static [Linear] {
        &Linear::ALL
    }

    /// The module's own name in a Hugging Face checkpoint.
    pub const fn module(self) -> &'static str {
        match self {
            Linear::Query => "q_proj",
            Linear::Key => "k_proj",
            Linear::Value => "v_proj",
            Linear::Output => "o_proj",
            Linear::Gate => "gate_proj",
            Linear::Up => "up_proj",
            Linear::Down => "down_proj",
        }
    }

    /// The module that holds it.
    pub const fn parent(self) -> &'static str {
        match self {
            Linear::Query | Linear::Key | Linear::Value | Linear::Output => "self_attn",
            Linear::Gate | Linear::Up | Linear::Down => "mlp",
        }
    }

    /// `(out, in)`, as the weight lies in a checkpoint.
    pub fn shape(self, config: &DecoderConfig) -> (usize, usize) {
        let queries = config.heads * config.head_dim;
        let keys = config.kv_heads * config.head_dim;
        match self {
            Linear::Query => (queries, config.hidden),
            Linear::Key | Linear::Value => (keys, config.hidden),
            Linear::Output => (config.hidden, queries),
            Linear::Gate | Linear::Up => (config.intermediate, config.hidden),
            Linear::Down => (config.hidden, config.intermediate),
        }
    }
}
