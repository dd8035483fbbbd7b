//! The linear layers that a decoder block may have: their names in a checkpoint and their shapes.
//!
//! A family has either the separate ones or the fused ones; an adapter's pair belongs to the layer as the checkpoint has it.

use serde::{Deserialize, Serialize};

use crate::config::{DecoderConfig, Projections};

/// A linear layer of a decoder block. The order is that of the forward pass and of parameter lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Linear {
    Query,
    Key,
    Value,
    /// Queries, keys and values in one, below each other in this order.
    QueryKeyValue,
    Output,
    Gate,
    Up,
    /// Gate and up in one, below each other in this order.
    GateUp,
    Down,
}

const SEPARATE: &[Linear] =
    &[Linear::Query, Linear::Key, Linear::Value, Linear::Output, Linear::Gate, Linear::Up, Linear::Down];
const FUSED: &[Linear] = &[Linear::QueryKeyValue, Linear::Output, Linear::GateUp, Linear::Down];

impl Linear {
    pub const COUNT: usize = 9;

    /// Every layer that any family has.
    pub const ALL: [Linear; Linear::COUNT] = [
        Linear::Query,
        Linear::Key,
        Linear::Value,
        Linear::QueryKeyValue,
        Linear::Output,
        Linear::Gate,
        Linear::Up,
        Linear::GateUp,
        Linear::Down,
    ];

    /// Those that this base's blocks have, in forward order.
    pub const fn of(config: &DecoderConfig) -> &'static [Linear] {
        match config.projections {
            Projections::Separate => SEPARATE,
            Projections::Fused => FUSED,
        }
    }

    /// Those that come next once this one and its neighbours are done, and how many blocks further.
    pub(crate) const fn behind(self) -> (usize, &'static [Linear]) {
        match self {
            Linear::Query | Linear::Key | Linear::Value | Linear::QueryKeyValue => (0, &[Linear::Output]),
            Linear::Output => (0, &[Linear::Gate, Linear::Up, Linear::GateUp]),
            Linear::Gate | Linear::Up | Linear::GateUp => (0, &[Linear::Down]),
            Linear::Down => (1, &[Linear::Query, Linear::Key, Linear::Value, Linear::QueryKeyValue]),
        }
    }

    /// The module's own name in a Hugging Face checkpoint.
    pub const fn module(self) -> &'static str {
        match self {
            Linear::Query => "q_proj",
            Linear::Key => "k_proj",
            Linear::Value => "v_proj",
            Linear::QueryKeyValue => "qkv_proj",
            Linear::Output => "o_proj",
            Linear::Gate => "gate_proj",
            Linear::Up => "up_proj",
            Linear::GateUp => "gate_up_proj",
            Linear::Down => "down_proj",
        }
    }

    /// The module that holds it.
    pub const fn parent(self) -> &'static str {
        match self {
            Linear::Query | Linear::Key | Linear::Value | Linear::QueryKeyValue | Linear::Output => {
                "self_attn"
            }
            Linear::Gate | Linear::Up | Linear::GateUp | Linear::Down => "mlp",
        }
    }

    /// `(out, in)`, as the weight lies in a checkpoint.
    pub fn shape(self, config: &DecoderConfig) -> (usize, usize) {
        let queries = config.heads * config.head_dim;
        let keys = config.kv_heads * config.head_dim;
        match self {
            Linear::Query => (queries, config.hidden),
            Linear::Key | Linear::Value => (keys, config.hidden),
            Linear::QueryKeyValue => (queries + 2 * keys, config.hidden),
            Linear::Output => (config.hidden, queries),
            Linear::Gate | Linear::Up => (config.intermediate, config.hidden),
            Linear::GateUp => (2 * config.intermediate, config.hidden),
            Linear::Down => (config.hidden, config.intermediate),
        }
    }
}
