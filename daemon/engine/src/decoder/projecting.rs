//! The linear layers of a block, with their pairs, on the way forward.
//!
//! Owns which of them are computed together. It must not know what a block does between them.

use candle_core::{Result, Tensor};

use super::{Block, BlockAdapters, Group, PassContext};
use crate::lora::{LayerAdapter, Linear, Lora};
use crate::ops::add::add;
use crate::ops::low_rank;

/// The linear layers of one block on the way forward, with their pairs.
pub(super) struct Projecting<'a> {
    pub(super) block: &'a Block,
    pub(super) layer: usize,
    pub(super) context: &'a PassContext,
    pub(super) pairs: BlockAdapters<'a>,
    /// Whether nothing goes back through this pass.
    pub(super) answers: bool,
    /// What backward needs of each pair.
    pub(super) thin: [Option<Tensor>; Linear::COUNT],
}

impl<'a> Projecting<'a> {
    /// What several layers make of the same input.
    pub(super) fn project<const N: usize>(
        &mut self,
        linears: [Linear; N],
        x: &Tensor,
    ) -> Result<[Tensor; N]> {
        let made = if self.answers {
            self.answered(&linears, x)?
        } else {
            linears.into_iter().map(|linear| self.adapted(linear, x)).collect::<Result<_>>()?
        };
        made.try_into().map_err(|_| candle_core::Error::Msg("a layer gave nothing".to_owned()))
    }

    fn answered(&self, linears: &[Linear], x: &Tensor) -> Result<Vec<Tensor>> {
        let rows = x.dim(0)?;
        let pairs: Vec<_> = linears
            .iter()
            .map(|linear| match self.pairs {
                BlockAdapters::Same(pairs) => vec![(rows, pairs.and_then(|pairs| pairs.get(*linear)))],
                BlockAdapters::Groups { layer, groups } => {
                    Group::pairs(groups, |adapter| adapter.layers.get(layer)?.get(*linear))
                }
            })
            .collect();
        let layers: Vec<_> = linears
            .iter()
            .zip(&pairs)
            .map(|(linear, pairs)| (self.block.linear(*linear), pairs.as_slice()))
            .collect();
        low_rank::answered(&layers, x, &self.soon(linears, rows))
    }

    /// The pairs that are read behind those of `linears`. Where several rows are multiplied with quantised weights, the processor is what they wait for, and
    /// the memory has time for these; else it has none to spare.
    fn soon(&self, linears: &[Linear], rows: usize) -> Vec<&'a Lora> {
        let quantised = |linear: &&Linear| self.block.linear(**linear).weight().is_quantised();
        let Some(last) = linears.last().filter(quantised).filter(|_| rows > 1) else { return Vec::new() };
        let (blocks, behind) = last.behind();
        let of =
            |pairs: Option<&'a LayerAdapter>| behind.iter().filter_map(move |linear| pairs?.get(*linear));
        match self.pairs {
            BlockAdapters::Same(pairs) => of(pairs.filter(|_| blocks == 0)).collect(),
            BlockAdapters::Groups { layer, groups } => groups
                .iter()
                .filter_map(|group| group.adapter)
                .flat_map(|adapter| of(adapter.layers.get(layer + blocks)))
                .collect(),
        }
    }

    fn adapted(&mut self, linear: Linear, x: &Tensor) -> Result<Tensor> {
        let pair = match self.pairs {
            BlockAdapters::Same(pairs) => pairs.and_then(|pairs| pairs.get(linear)),
            BlockAdapters::Groups { .. } => None,
        };
        let frozen = self.block.linear(linear);
        let (y, thin) = match (pair, self.context.dropout_of(self.layer, linear)) {
            (Some(pair), Some(dropout)) => {
                let (addition, thin) = low_rank::forward(&dropout.apply(x)?, pair)?;
                (add(&frozen.forward(x)?, &addition)?, Some(thin))
            }
            _ => low_rank::adapted(frozen, x, pair)?,
        };
        self.thin[linear as usize] = thin;
        Ok(y)
    }
}
