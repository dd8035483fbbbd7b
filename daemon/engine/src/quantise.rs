//! Quantising a base as it is loaded: which of its weights become blocks of which kind.
//!
//! As llama.cpp does it, what looks tokens up and what scores them keep eight bits in any case: their rows are read one by one, and an error
//! in them is seen by every token.
//!
//! A property of how a base is loaded (`BaseSource::Quantised`), not of the base: its fingerprint is the same.

use serde::{Deserialize, Serialize};

use crate::ops::quantised::BlockKind;

/// How small a base's weights become in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantise {
    /// 8.5 bits a value.
    Q8,
    /// 4.5 bits a value in the layers of blocks, 8.5 in embedding and head.
    Q4,
}

/// What a weight is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A linear layer of a block.
    Layer,
    /// The embedding, the head.
    Tokens,
}

impl Quantise {
    /// The kind of a weight with rows of this length; none where no kind's blocks fill them.
    pub(crate) fn kind(self, role: Role, columns: usize) -> Option<BlockKind> {
        let kinds: &[BlockKind] = match (self, role) {
            (Quantise::Q8, _) | (Quantise::Q4, Role::Tokens) => &[BlockKind::Q8_0],
            (Quantise::Q4, Role::Layer) => &[BlockKind::Q4K, BlockKind::Q4_0],
        };
        kinds.iter().find(|kind| columns.is_multiple_of(kind.values())).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_chosen_whose_blocks_fill_the_rows() {
        for (columns, layer, tokens) in [
            (256, Some(BlockKind::Q4K), Some(BlockKind::Q8_0)),
            (96, Some(BlockKind::Q4_0), Some(BlockKind::Q8_0)),
            (58, None, None),
        ] {
            assert_eq!(Quantise::Q4.kind(Role::Layer, columns), layer);
            assert_eq!(Quantise::Q4.kind(Role::Tokens, columns), tokens);
            assert_eq!(Quantise::Q8.kind(Role::Layer, columns), tokens);
        }
    }
}
