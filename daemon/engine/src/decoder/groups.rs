//! Which rows of a pass are answered with which adapter.
//!
//! An adapter is an argument of the pass; where sequences with different ones go through the decoder together, it is an argument of
//! their rows. Frozen layers see all rows at once, pairs the rows of their group.

use candle_core::{Result, Tensor};

use super::Decoder;
use crate::lora::{Adapter, LayerAdapter, Lora};

/// Rows one behind the other that share an adapter, or have none.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    pub rows: usize,
    pub adapter: Option<&'a Adapter>,
}

impl<'a> Group<'a> {
    /// Each group's rows, and the pair that they have at a place.
    pub(super) fn pairs(
        groups: &[Group<'a>],
        at: impl Fn(&'a Adapter) -> Option<&'a Lora>,
    ) -> Vec<(usize, Option<&'a Lora>)> {
        groups.iter().map(|group| (group.rows, group.adapter.and_then(&at))).collect()
    }
}

/// The pairs of one block.
#[derive(Clone, Copy)]
pub enum BlockAdapters<'a> {
    /// All rows have the same.
    Same(Option<&'a LayerAdapter>),
    Groups {
        layer: usize,
        groups: &'a [Group<'a>],
    },
}

impl<'a> BlockAdapters<'a> {
    pub(super) fn of_block(layer: usize, groups: &'a [Group<'a>]) -> Self {
        match groups {
            [only] => BlockAdapters::Same(only.adapter.and_then(|adapter| adapter.layers.get(layer))),
            _ => BlockAdapters::Groups { layer, groups },
        }
    }
}

/// What [`Decoder::embed`] gave, with the adapters' pairs for it.
pub(super) fn adapt_embedding(
    decoder: &Decoder,
    x: Tensor,
    tokens: &[u32],
    groups: &[Group],
) -> Result<Tensor> {
    if let [only] = groups {
        return decoder.adapt_embedding(x, tokens, only.adapter);
    }
    if groups.iter().all(|group| group.adapter.is_none_or(|adapter| adapter.embedding.is_none())) {
        return Ok(x);
    }
    // Row by row: candle's product of one row and of several need not agree to the last bit.
    let adapters = groups.iter().flat_map(|group| std::iter::repeat_n(group.adapter, group.rows));
    let rows = tokens
        .iter()
        .zip(adapters)
        .enumerate()
        .map(|(row, (token, adapter))| decoder.adapt_embedding(x.narrow(0, row, 1)?, &[*token], adapter));
    Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)
}
