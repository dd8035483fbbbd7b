//! Keys and values of a sequence that is being written, and attention over them.
//!
//! Keys and values lie head by head: a token behind a long text reads a head's keys one after the other. In the order in which tokens bring them, attention
//! over 1,024 keys took twice as long. The cache keeps all keys, also of layers with a window; attention never touches those before it.

use candle_core::{DType, Result, Tensor};
use rayon::prelude::*;

use crate::ops::attention::{self, Heads, Segment};

/// Keys and values of a sequence that is being written, one pair of tensors `[kv_heads, room, d]` a block, grown by half of what is known to come: a
/// head's lines lie close together, because that is how they are read for each token.
#[derive(Debug, Default)]
pub struct KvCache {
    layers: Vec<Option<(Tensor, Tensor)>>,
    len: usize,
    /// How many tokens the sequence was known to have when the last of them were read.
    length: usize,
    /// How many it will have once those are read that are known now.
    expected: usize,
}

impl KvCache {
    /// Tokens in the cache.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many tokens the sequence was known to have when the last of them were read; `None` where none were.
    pub(super) fn known_length(&self) -> Option<usize> {
        (!self.is_empty()).then_some(self.length)
    }

    /// Forgets what lies behind the first `len` tokens.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Before a pass: the sequence has so many tokens as far as is known, and will be read so far soon.
    pub(super) fn expect(&mut self, length: usize) {
        self.expected = length;
    }

    /// All layers have been extended by `rows` of the sequence that was expected.
    pub(super) fn grown(&mut self, rows: usize) {
        self.len += rows;
        self.length = self.expected;
    }

    /// Appends `k` and `v` (`[new, kv_heads, d]`) behind the first `len` rows and returns all of them, `[keys, kv_heads, d]`.
    fn extend(&mut self, layer: usize, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let total = self.len + k.dim(0)?;
        if self.layers.len() <= layer {
            self.layers.resize(layer + 1, None);
        }
        let fits = self.layers[layer].as_ref().is_some_and(|(keys, _)| keys.dims()[1] >= total);
        if !fits {
            // For all of a prompt at once, and for what is written behind it: whatever is too small moves as a whole.
            let known = total.max(self.expected);
            let capacity = known + (known / 2).max(64);
            let (_, heads, width) = k.dims3()?;
            let grow = |old: Option<&Tensor>| -> Result<Tensor> {
                let new = Tensor::zeros((heads, capacity, width), DType::F32, k.device())?;
                if let Some(old) = old {
                    new.slice_set(&old.narrow(1, 0, self.len)?.contiguous()?, 1, 0)?;
                }
                Ok(new)
            };
            let old = self.layers[layer].as_ref();
            self.layers[layer] = Some((grow(old.map(|pair| &pair.0))?, grow(old.map(|pair| &pair.1))?));
        }
        let Some((keys, values)) = &self.layers[layer] else {
            candle_core::bail!("the cache of layer {layer} is missing");
        };
        let append = |all: &Tensor, new: &Tensor| -> Result<Tensor> {
            all.slice_set(&new.transpose(0, 1)?.contiguous()?, 1, self.len)?;
            all.narrow(1, 0, total)?.transpose(0, 1)
        };
        Ok((append(keys, k)?, append(values, v)?))
    }
}

/// Attention of each segment to itself, or where there are caches, to its own, which is extended by the segment's keys and values.
/// Returns what [`attention::forward`] does.
pub(super) fn attend(
    layer: usize,
    (q, k, v): (&Tensor, &Tensor, &Tensor),
    caches: &mut [&mut KvCache],
    segments: &[Segment],
    shape: Heads,
) -> Result<(Tensor, Tensor)> {
    if caches.is_empty() {
        return attention::forward(q, k, v, segments, shape);
    }
    if caches.len() != segments.len() {
        candle_core::bail!("{} sequences were given {} caches", segments.len(), caches.len());
    }
    let attend = |segment: &Segment, cache: &mut KvCache| {
        let own = |x: &Tensor| x.narrow(0, segment.q_start, segment.q_len);
        let (keys, values) = cache.extend(layer, &own(k)?, &own(v)?)?;
        let segment = Segment { q_start: 0, k_start: 0, ..*segment };
        attention::forward(&own(q)?, &keys, &values, &[segment], shape)
    };
    if let ([segment], [cache]) = (segments, &mut *caches) {
        return attend(segment, cache);
    }
    let sequences = segments.par_iter().zip(caches.par_iter_mut());
    let (mixtures, normalisers): (Vec<Tensor>, Vec<Tensor>) = sequences
        .map(|(segment, cache)| attend(segment, cache))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .unzip();
    Ok((Tensor::cat(&mixtures, 0)?, Tensor::cat(&normalisers, 0)?))
}
