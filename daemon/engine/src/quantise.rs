//! Quantising a base as it is loaded: which of its weights become blocks of which kind.
//!
//! As llama.cpp does it, what looks tokens up and what scores them keep eight bits in any case: their rows are read one by one, and an error
//! in them is seen by every token.

use std::sync::Arc;

use candle_core::{DType, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::ops::frozen_weight::FrozenWeight;
use crate::ops::quantised::{BlockKind, QuantisedMatrix};

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
    fn kind(self, role: Role, columns: usize) -> Option<BlockKind> {
        let kinds: &[BlockKind] = match (self, role) {
            (Quantise::Q8, _) | (Quantise::Q4, Role::Tokens) => &[BlockKind::Q8_0],
            (Quantise::Q4, Role::Layer) => &[BlockKind::Q4K, BlockKind::Q4_0],
        };
        kinds.iter().find(|kind| columns.is_multiple_of(kind.values())).copied()
    }

    /// The weight in blocks. Left as it is: one that is in blocks already, one whose rows are not whole blocks, one on another device.
    ///
    /// # Errors
    /// A tensor operation fails.
    pub(crate) fn weight(self, weight: FrozenWeight, role: Role) -> Result<FrozenWeight> {
        /// Values that are widened for one task.
        const AT_ONCE: usize = 1 << 20;
        let FrozenWeight::Values(values) = &weight else { return Ok(weight) };
        let (rows, columns) = (weight.rows(), weight.columns());
        let Some(kind) = self.kind(role, columns).filter(|_| values.device().is_cpu()) else {
            return Ok(weight);
        };
        let step = (AT_ONCE / columns.max(1)).max(1);
        let starts: Vec<usize> = (0..rows).step_by(step).collect();
        let parts = starts.into_par_iter().map(|start| {
            let part = values.narrow(0, start, step.min(rows - start))?.to_dtype(DType::F32)?;
            QuantisedMatrix::of_values(kind, part.dim(0)?, columns, &part.flatten_all()?.to_vec1::<f32>()?)
        });
        let matrix = QuantisedMatrix::below_each_other(parts.collect::<Result<Vec<_>>>()?)?;
        Ok(FrozenWeight::Quantised(Arc::new(matrix)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{distance, random};

    #[test]
    fn weights_become_blocks_where_rows_are_whole_ones() {
        for (columns, layer, tokens) in [
            (256, Some(BlockKind::Q4K), Some(BlockKind::Q8_0)),
            (96, Some(BlockKind::Q4_0), Some(BlockKind::Q8_0)),
            (58, None, None),
        ] {
            assert_eq!(Quantise::Q4.kind(Role::Layer, columns), layer);
            assert_eq!(Quantise::Q4.kind(Role::Tokens, columns), tokens);
            assert_eq!(Quantise::Q8.kind(Role::Layer, columns), tokens);
        }
        let values = random(&[5000, 256], 1).to_dtype(DType::BF16).unwrap();
        let wanted = values.to_dtype(DType::F32).unwrap();
        for (to, bytes, furthest) in [(Quantise::Q8, 272, 0.02), (Quantise::Q4, 144, 0.3)] {
            let weight = to.weight(values.clone().into(), Role::Layer).unwrap();
            assert_eq!(weight.bytes(), 5000 * bytes);
            assert!(distance(&weight.values().unwrap(), &wanted) < furthest);
            let again = to.weight(weight.clone(), Role::Layer).unwrap();
            let (FrozenWeight::Quantised(first), FrozenWeight::Quantised(second)) = (weight, again) else {
                panic!("quantised weights were expected")
            };
            assert!(Arc::ptr_eq(&first, &second), "what is quantised stays as it is");
        }
        let odd = Quantise::Q4.weight(random(&[3, 58], 1).into(), Role::Layer).unwrap();
        assert!(matches!(odd, FrozenWeight::Values(_)));
    }
}
