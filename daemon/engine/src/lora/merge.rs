//! Adapters folded into the weights and taken out again.
//!
//! The weights that were there before are kept, so that taking an adapter out brings back the same bits.
//!
//! Subtracting would not restore every bit.

use candle_core::{Result, Tensor};

use super::{Adapter, Lora, Place};
use crate::decoder::Decoder;
use crate::ops::frozen_linear::FrozenLinear;
use crate::ops::frozen_weight::FrozenWeight;

/// Values of a weight that are looked at together.
const VALUES_AT_ONCE: usize = 4 << 20;

/// What a merge replaced; [`Decoder::unmerge`] puts it back.
#[derive(Debug)]
pub struct Merged {
    originals: Vec<(Place, FrozenWeight)>,
    was_tied: bool,
}

/// The weight of a layer with its pair folded in, as f32 in the checkpoint's own shape: `W + s B A`, for the embedding
/// `W + s (B A)^T`; with DoRA brought to its lengths.
pub(crate) fn merged_weight(place: Place, pair: &Lora, weight: &FrozenWeight) -> Result<Tensor> {
    let (rows, columns) = (weight.rows(), weight.columns());
    let chunk = (VALUES_AT_ONCE / columns.max(1)).max(1);
    // Rows of the embedding are tokens, which are A's columns.
    let (left, right) = match place {
        Place::Embedding => (pair.a.t()?.contiguous()?, pair.b.t()?.contiguous()?),
        Place::Block(..) | Place::Head => (pair.b.clone(), pair.a.clone()),
    };
    let mut parts = Vec::new();
    for start in (0..rows).step_by(chunk) {
        let len = chunk.min(rows - start);
        let part = weight.widened(start..start + len)?;
        let addition = left.narrow(0, start, len)?.matmul(&right)?;
        parts.push((part + (addition * pair.scale)?)?);
    }
    let sum = Tensor::cat(&parts, 0)?;
    let Some(dora) = &pair.dora else { return Ok(sum) };
    match place {
        Place::Embedding => sum.broadcast_mul(&dora.of_embedding(pair, weight)?),
        Place::Block(..) | Place::Head => sum.broadcast_mul(&dora.of_linear(pair, weight)?.unsqueeze(1)?),
    }
}

impl Decoder {
    /// Folds an adapter into the weights: the same answers without the adapter's cost. Where only one of embedding and head is adapted,
    /// a tie between them ends.
    ///
    /// # Errors
    /// An adapter that does not fit; the weights are then as they were.
    pub fn merge(&mut self, adapter: &Adapter) -> Result<Merged> {
        let mut replaced = Vec::new();
        for (place, pair) in adapter.pairs() {
            let original = self.weight(place).clone();
            replaced.push((place, merged_weight(place, pair, &original)?, original));
        }
        let was_tied = self.config.tied_embeddings;
        if adapter.embedding.is_some() || adapter.head.is_some() {
            self.config.tied_embeddings = false;
        }
        let mut originals = Vec::new();
        for (place, merged, original) in replaced {
            self.set_weight(place, merged.into());
            originals.push((place, original));
        }
        Ok(Merged { originals, was_tied })
    }

    /// Takes the adapter of the last merge out again: the same bits as before it.
    pub fn unmerge(&mut self, merged: Merged) {
        for (place, original) in merged.originals {
            self.set_weight(place, original);
        }
        self.config.tied_embeddings = merged.was_tied;
    }

    fn weight(&self, place: Place) -> &FrozenWeight {
        match place {
            Place::Embedding => &self.embedding,
            Place::Block(layer, linear) => self.blocks[layer].linear(linear).weight(),
            Place::Head => self.head.weight(),
        }
    }

    fn set_weight(&mut self, place: Place, weight: FrozenWeight) {
        match place {
            Place::Embedding => self.embedding = weight,
            Place::Block(layer, linear) => {
                let bias = self.blocks[layer].linear(linear).bias().cloned();
                self.blocks[layer].set_linear(linear, FrozenLinear::new(weight, bias));
            }
            Place::Head => self.head.set_weight(weight),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::Batch;
    use crate::fixtures;
    use crate::fixtures::{distance, flat, random};
    use crate::lora::Dora;

    fn logits(decoder: &Decoder, adapter: Option<&Adapter>) -> Tensor {
        let batch = Batch::packed([[1, 2, 3, 9].as_slice(), &[4, 5]]);
        decoder.logits(&decoder.forward(&batch, adapter, None).unwrap(), adapter).unwrap()
    }

    fn dora(mut adapter: Adapter) -> Adapter {
        let pairs: Vec<(Place, Lora)> = adapter.pairs().map(|(place, pair)| (place, pair.clone())).collect();
        for (index, (place, pair)) in pairs.into_iter().enumerate() {
            let lengths = (random(&[pair.b.dims()[0]], index as u64 + 900).abs().unwrap() + 0.5).unwrap();
            adapter.set(place, pair.with_dora(Some(Dora::new(lengths))));
        }
        adapter
    }

    #[test]
    fn merged_answers_are_the_adapters_and_taking_it_out_restores_every_bit() {
        let base = fixtures::decoder(3);
        let everywhere = fixtures::adapter_everywhere(&base, 3);
        let only_embedding = Adapter { head: None, ..everywhere.clone() };
        for adapter in [
            fixtures::adapter(&base, 3),
            only_embedding.clone(),
            everywhere.clone(),
            dora(everywhere),
            dora(only_embedding),
        ] {
            let mut decoder = fixtures::decoder(3);
            let before = logits(&decoder, None);
            let wanted = logits(&decoder, Some(&adapter));
            assert!(distance(&before, &wanted) > 1e-2, "the adapter does something");
            let merged = decoder.merge(&adapter).unwrap();
            assert!(distance(&logits(&decoder, None), &wanted) < 1e-4);
            decoder.unmerge(merged);
            assert_eq!(flat(&logits(&decoder, None)), flat(&before));
            for ((name, restored), (_, original)) in
                decoder.named_weights().unwrap().iter().zip(base.named_weights().unwrap())
            {
                assert_eq!(flat(restored), flat(&original), "{name}");
            }
        }
    }
}
