//! The decoder of all families: frozen weights, one forward function for training and for answering, and its gradient layer by layer.
//!
//! Owns the order of operations inside a block; which of them a base has is said by its [`DecoderConfig`], never by a family's name. An
//! adapter is an argument. It must not know where weights come from, what a token means, or what a training step is.
//!
//! The last norm runs only on rows that are supervised, so full logits never exist in training.

mod batch;
mod cache;
mod groups;
mod projecting;

use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

pub use batch::Batch;
pub use cache::KvCache;
pub use groups::BlockAdapters;
pub use groups::Group;
use projecting::Projecting;

use crate::config::{DecoderConfig, NormWeight, Projections};
use crate::lora::{Adapter, LayerAdapter, Linear};
use crate::norm::Norm;
use crate::ops::add::{add, add3};
use crate::ops::attention::{self, Heads, Segment};
use crate::ops::dropout::Dropout;
use crate::ops::frozen_linear::FrozenLinear;
use crate::ops::frozen_weight::FrozenWeight;
use crate::ops::gated_unit;
use crate::ops::host::on_host;
use crate::ops::low_rank;
use crate::ops::mapped_matrix::Materialized;
use crate::ops::rms_norm;
use crate::ops::rope::{self, RopeTable};

/// The weights of one block.
#[derive(Debug, Clone, Default)]
pub struct Block {
    norms: [Option<Tensor>; Norm::COUNT],
    linears: [Option<FrozenLinear>; Linear::COUNT],
}

impl Block {
    /// All that [`Norm::of`] and [`Linear::of`] list for the base; a norm's tensor is its factor, whatever the checkpoint stores.
    pub fn new(
        norms: impl IntoIterator<Item = (Norm, Tensor)>,
        linears: impl IntoIterator<Item = (Linear, FrozenLinear)>,
    ) -> Self {
        let mut block = Self::default();
        for (norm, factor) in norms {
            block.norms[norm as usize] = Some(factor);
        }
        for (linear, layer) in linears {
            block.linears[linear as usize] = Some(layer);
        }
        block
    }

    /// # Panics
    /// If the base has no such layer: a fault of this crate, never of its input.
    pub fn linear(&self, linear: Linear) -> &FrozenLinear {
        let Some(layer) = &self.linears[linear as usize] else {
            unreachable!("{linear:?} is not one of Linear::of this base")
        };
        layer
    }

    pub fn set_linear(&mut self, linear: Linear, layer: FrozenLinear) {
        self.linears[linear as usize] = Some(layer);
    }

    pub fn norm(&self, norm: Norm) -> Option<&Tensor> {
        self.norms[norm as usize].as_ref()
    }

    pub fn set_norm(&mut self, norm: Norm, factor: Tensor) {
        self.norms[norm as usize] = Some(factor);
    }
}

/// A whole decoder. Cloning shares the weights.
#[derive(Debug, Clone)]
pub struct Decoder {
    pub config: DecoderConfig,
    /// `[vocab, hidden]`
    pub embedding: FrozenWeight,
    pub blocks: Vec<Block>,
    pub norm: Tensor,
    pub head: FrozenLinear,
    /// The frequencies of [`DecoderConfig::ropes`] for short sequences.
    frequencies: Vec<Vec<f32>>,
    device: Device,
}

/// What all blocks of one pass share.
#[derive(Debug, Clone)]
pub struct PassContext {
    /// One for each of [`DecoderConfig::ropes`].
    tables: Vec<RopeTable>,
    segments: Vec<Segment>,
    /// On what LoRA pairs read; in training only.
    pub dropout: Option<Dropout>,
}

impl PassContext {
    /// The mask of one pair.
    fn dropout_of(&self, layer: usize, linear: Linear) -> Option<Dropout> {
        self.dropout.map(|dropout| dropout.of(layer as u64).of(linear as u64))
    }
}

/// What a block's forward pass leaves for its backward pass.
#[derive(Debug)]
pub struct Kept {
    x: Tensor,
    normed: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mixture: Tensor,
    normalisers: Tensor,
    middle: Tensor,
    middle_normed: Tensor,
    gate: Tensor,
    up: Tensor,
    gated: Tensor,
    /// What the norms inside and behind the two halves were given, where the base has them.
    before: [Option<Tensor>; Norm::COUNT],
    /// `x A^T` of each linear layer that has a pair.
    thin: [Option<Tensor>; Linear::COUNT],
}

/// Whose gradients a backward pass collects.
#[derive(Clone, Copy)]
pub enum WantGradients<'a> {
    Adapter(&'a LayerAdapter),
    Weights,
}

/// The place of a trainable tensor inside a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    LoraA(Linear),
    LoraB(Linear),
    Weight(Linear),
    Bias(Linear),
    Norm(Norm),
}

/// What a block's backward pass yields.
pub struct BlockGradients {
    /// Of the block's input, `[tokens, hidden]`.
    pub dx: Tensor,
    pub slots: Vec<(Slot, Tensor)>,
}

impl Decoder {
    /// `head` shares the embedding's weight where they are tied.
    pub fn new(
        config: DecoderConfig,
        embedding: impl Into<FrozenWeight>,
        blocks: Vec<Block>,
        norm: Tensor,
        head: FrozenLinear,
        device: Device,
    ) -> Self {
        let frequencies = config.ropes.iter().map(|rope| rope.frequencies(0)).collect();
        let embedding = embedding.into();
        Self { config, embedding, blocks, norm, head, frequencies, device }
    }

    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Number of weights; a tied head counts once.
    pub fn parameters(&self) -> u64 {
        let block = |block: &Block| -> usize {
            let linears = block.linears.iter().flatten();
            let linears = linears.map(|l| l.weight().count() + l.bias().map_or(0, Tensor::elem_count));
            linears.sum::<usize>() + block.norms.iter().flatten().map(Tensor::elem_count).sum::<usize>()
        };
        let head = if self.config.tied_embeddings { 0 } else { self.head.weight().count() };
        let blocks: usize = self.blocks.iter().map(block).sum();
        (self.embedding.count() + blocks + self.norm.elem_count() + head) as u64
    }

    /// Bytes that its weights take in memory.
    pub fn bytes(&self) -> u64 {
        let size = |tensor: &Tensor| tensor.elem_count() * tensor.dtype().size_in_bytes();
        let block = |block: &Block| -> usize {
            let linears = block.linears.iter().flatten();
            let linears = linears.map(|l| l.weight().bytes() + l.bias().map_or(0, size));
            linears.sum::<usize>() + block.norms.iter().flatten().map(size).sum::<usize>()
        };
        let head = if self.config.tied_embeddings { 0 } else { self.head.weight().bytes() };
        let blocks: usize = self.blocks.iter().map(block).sum();
        (self.embedding.bytes() + blocks + size(&self.norm) + head) as u64
    }

    /// The weights under their checkpoint names and with their checkpoint values, as full-parameter training saves them; quantised ones in
    /// f32.
    pub fn named_weights(&self) -> Result<Vec<(String, Tensor)>> {
        let prefix = self.config.module_prefix;
        let stored = |factor: &Tensor| match self.config.norm_weight {
            NormWeight::Factor => Ok(factor.clone()),
            NormWeight::FactorLessOne => factor - 1.0,
        };
        let mut named = vec![(format!("{prefix}.embed_tokens.weight"), self.embedding.values()?)];
        for (layer, block) in self.blocks.iter().enumerate() {
            let prefix = format!("{prefix}.layers.{layer}");
            for norm in Norm::of(&self.config) {
                let Some(factor) = block.norm(norm) else { continue };
                let name = format!("{prefix}.{}.weight", norm.module(self.config.block_norms));
                named.push((name, stored(factor)?));
            }
            for &linear in Linear::of(&self.config) {
                let name = format!("{prefix}.{}.{}", linear.parent(), linear.module());
                let layer = block.linear(linear);
                named.push((format!("{name}.weight"), layer.weight().values()?));
                if let Some(bias) = layer.bias() {
                    named.push((format!("{name}.bias"), bias.clone()));
                }
            }
        }
        named.push((format!("{prefix}.norm.weight"), stored(&self.norm)?));
        if !self.config.tied_embeddings {
            named.push(("lm_head.weight".to_owned(), self.head.weight().values()?));
        }
        Ok(named)
    }

    /// Hidden states after the last norm, `[tokens, hidden]`. With a cache, the batch is one sequence's continuation, and the cache grows by it.
    pub fn forward(
        &self,
        batch: &Batch,
        adapter: Option<&Adapter>,
        mut cache: Option<&mut KvCache>,
    ) -> Result<Tensor> {
        self.forward_together(batch, &[Group { rows: batch.tokens.len(), adapter }], cache.as_mut_slice())
    }

    /// [`forward`](Self::forward) of several sequences, each of which may have an adapter and a cache of its own. `groups` are all rows
    /// of the batch in order; `caches` are one for each of its segments, or none at all.
    pub fn forward_together(
        &self,
        batch: &Batch,
        groups: &[Group],
        caches: &mut [&mut KvCache],
    ) -> Result<Tensor> {
        let context = self.context(batch)?;
        for (cache, length) in caches.iter_mut().zip(&batch.lengths) {
            cache.expect(*length);
        }
        let mut x = groups::adapt_embedding(self, self.embed(&batch.tokens)?, &batch.tokens, groups)?;
        for layer in 0..self.blocks.len() {
            x = self.block_forward(layer, &x, &context, BlockAdapters::of_block(layer, groups), caches)?.0;
        }
        for (segment, cache) in batch.segments.iter().zip(caches) {
            cache.grown(segment.q_len);
        }
        self.last_norm(&x)
    }

    /// Lays out what passes of few rows will read of this adapter, on all threads; without this, the first of them does so layer by layer.
    ///
    /// # Errors
    /// Factors that do not fit each other.
    pub fn prepare(&self, adapter: &Adapter) -> Result<()> {
        let layers = self.blocks.iter().zip(&adapter.layers).flat_map(|(block, pairs)| {
            let linears = Linear::of(&self.config).iter();
            linears.filter_map(|linear| Some((block.linear(*linear), pairs.get(*linear)?)))
        });
        let pairs: Vec<_> = layers.chain(adapter.head.iter().map(|pair| (&self.head, pair))).collect();
        pairs.into_par_iter().try_for_each(|(linear, pair)| {
            let read = on_host(&pair.a) && linear.weight().is_at_most_16_bit();
            if read { pair.panels().map(|_| ()) } else { Ok(()) }
        })
    }

    /// `[rows, hidden]` to `[rows, vocab]`.
    pub fn logits(&self, hidden: &Tensor, adapter: Option<&Adapter>) -> Result<Tensor> {
        let pair = adapter.and_then(|adapter| adapter.head.as_ref());
        Ok(low_rank::adapted(&self.head, hidden, pair)?.0)
    }

    /// [`logits`](Self::logits) of rows that have adapters of their own.
    pub fn logits_together(&self, hidden: &Tensor, groups: &[Group]) -> Result<Tensor> {
        let pairs = Group::pairs(groups, |adapter| adapter.head.as_ref());
        let logits = low_rank::answered(&[(&self.head, &pairs)], hidden, &[])?.pop();
        logits.ok_or_else(|| candle_core::Error::Msg("the head gave nothing".to_owned()))
    }

    /// Copies the first weight that still lies in its file.
    pub fn materialize(&self) -> Materialized {
        let layers = self.blocks.iter().flat_map(|block| block.linears.iter().flatten());
        let mut weights = layers.chain([&self.head]).map(FrozenLinear::weight).chain([&self.embedding]);
        weights
            .find_map(|weight| {
                Some(weight.materialize()).filter(|materialized| *materialized != Materialized::Nothing)
            })
            .unwrap_or(Materialized::Nothing)
    }

    /// Whether [`logits`](Self::logits) are products of bf16 values.
    pub fn logits_are_of_bf16(&self) -> bool {
        self.head.weight().is_multiplied_as_bf16()
    }

    /// Whether a sequence that now has `length` tokens must be read again from the start, because the keys in the cache were turned
    /// as those of a shorter one.
    pub fn outgrown(&self, cache: &KvCache, length: usize) -> bool {
        let Some(before) = cache.known_length() else { return false };
        self.config.ropes.iter().any(|rope| rope.outgrown(before, length))
    }

    pub fn context(&self, batch: &Batch) -> Result<PassContext> {
        let tables = self.config.ropes.iter().zip(&self.frequencies).map(|(rope, frequencies)| {
            let factor = rope.attention_factor();
            if !rope.depends_on_length() {
                return RopeTable::new(&[(&batch.positions, frequencies)], factor, &self.device);
            }
            let own: Vec<Vec<f32>> = batch.lengths.iter().map(|length| rope.frequencies(*length)).collect();
            let parts: Vec<(&[u32], &[f32])> = batch
                .segments
                .iter()
                .zip(&own)
                .map(|(s, own)| (&batch.positions[s.q_start..s.q_start + s.q_len], own.as_slice()))
                .collect();
            RopeTable::new(&parts, factor, &self.device)
        });
        let (tables, segments) = (tables.collect::<Result<_>>()?, batch.segments.clone());
        Ok(PassContext { tables, segments, dropout: None })
    }

    pub fn embed(&self, tokens: &[u32]) -> Result<Tensor> {
        if let Some(token) = tokens.iter().find(|token| **token as usize >= self.config.vocab) {
            candle_core::bail!("token {token} is outside the base's vocabulary of {}", self.config.vocab);
        }
        self.embedding_scaled(self.embedding.look_up(tokens)?)
    }

    /// The gradient of the embedding, `[vocab, hidden]`, for `dy` of what [`embed`](Self::embed) gave.
    pub fn embed_backward(&self, tokens: &[u32], dy: &Tensor) -> Result<Tensor> {
        let rows = Tensor::new(tokens, &self.device)?;
        let zeros = Tensor::zeros((self.config.vocab, self.config.hidden), DType::F32, &self.device)?;
        zeros.index_add(&rows, &self.embedding_scaled(dy.clone())?, 0)
    }

    fn embedding_scaled(&self, x: Tensor) -> Result<Tensor> {
        let scale = self.config.embedding_scale;
        if scale.to_bits() == 1f64.to_bits() { Ok(x) } else { x * scale }
    }

    /// What [`embed`](Self::embed) gave, with the adapter's pair for it.
    pub fn adapt_embedding(&self, x: Tensor, tokens: &[u32], adapter: Option<&Adapter>) -> Result<Tensor> {
        let Some(pair) = adapter.and_then(|adapter| adapter.embedding.as_ref()) else { return Ok(x) };
        let tokens = Tensor::new(tokens, &self.device)?;
        low_rank::adapted_embedding(&x, &tokens, pair, &self.embedding, self.embedding_scale())
    }

    /// What the base multiplies the embedded tokens by.
    pub fn embedding_scale(&self) -> f64 {
        self.config.embedding_scale
    }

    pub fn last_norm(&self, x: &Tensor) -> Result<Tensor> {
        rms_norm::forward(x, &self.norm, self.config.rms_eps)
    }

    pub fn last_norm_backward(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        rms_norm::backward(x, &self.norm, self.config.rms_eps, dy)
    }

    fn heads(&self, layer: usize) -> Heads {
        Heads {
            heads: self.config.heads,
            kv_heads: self.config.kv_heads,
            width: self.config.head_dim,
            scale: self.config.attention_scale as f32,
            window: self.config.attention[layer].window,
        }
    }

    fn table<'a>(&self, layer: usize, context: &'a PassContext) -> Option<&'a RopeTable> {
        context.tables.get(self.config.attention[layer].rope?)
    }

    /// One block; also what its backward pass needs (cheap to drop: tensors are shared).
    pub fn block_forward(
        &self,
        layer: usize,
        x: &Tensor,
        context: &PassContext,
        pairs: BlockAdapters,
        caches: &mut [&mut KvCache],
    ) -> Result<(Tensor, Kept)> {
        let block = &self.blocks[layer];
        let eps = self.config.rms_eps;
        let heads = self.heads(layer);
        let tokens = x.dim(0)?;
        // Only answers keep keys and values, and nothing goes back through them.
        let answers = !caches.is_empty() || matches!(pairs, BlockAdapters::Groups { .. });
        let thin = Default::default();
        let mut layers = Projecting { block, layer, context, pairs, answers, thin };
        let mut before: [Option<Tensor>; Norm::COUNT] = Default::default();
        let mut normalise = |norm: Norm, x: Tensor| -> Result<Tensor> {
            let Some(factor) = block.norm(norm) else { return Ok(x) };
            let y = rms_norm::forward(&x, factor, eps)?;
            before[norm as usize] = Some(x);
            Ok(y)
        };
        let normed = normalise(Norm::Input, x.clone())?;
        let (q, k, v) = match self.config.projections {
            Projections::Separate => {
                layers.project([Linear::Query, Linear::Key, Linear::Value], &normed)?.into()
            }
            Projections::Fused => {
                let [all] = layers.project([Linear::QueryKeyValue], &normed)?;
                let (queries, keys) = (heads.heads * heads.width, heads.kv_heads * heads.width);
                (
                    all.narrow(1, 0, queries)?,
                    all.narrow(1, queries, keys)?,
                    all.narrow(1, queries + keys, keys)?,
                )
            }
        };
        let q = normalise(Norm::Query, q.reshape((tokens, heads.heads, heads.width))?)?;
        let k = normalise(Norm::Key, k.reshape((tokens, heads.kv_heads, heads.width))?)?;
        let v = v.reshape((tokens, heads.kv_heads, heads.width))?;
        let (q, k) = match self.table(layer, context) {
            Some(table) => (rope::forward(&q, table)?, rope::forward(&k, table)?),
            None => (q, k),
        };
        let (mixture, normalisers) = cache::attend(layer, (&q, &k, &v), caches, &context.segments, heads)?;
        let mixture = mixture.reshape((tokens, heads.heads * heads.width))?;
        let [attended] = layers.project([Linear::Output], &mixture)?;
        let attended = normalise(Norm::AfterAttention, attended)?;
        let middle = add(x, &attended)?;
        let middle_normed = normalise(Norm::BeforeMlp, middle.clone())?;
        let (gate, up) = match self.config.projections {
            Projections::Separate => layers.project([Linear::Gate, Linear::Up], &middle_normed)?.into(),
            Projections::Fused => {
                let [both] = layers.project([Linear::GateUp], &middle_normed)?;
                let width = self.config.intermediate;
                (both.narrow(1, 0, width)?.contiguous()?, both.narrow(1, width, width)?.contiguous()?)
            }
        };
        let gated = gated_unit::forward(&gate, &up, self.config.activation)?;
        let [down] = layers.project([Linear::Down], &gated)?;
        let y = add(&middle, &normalise(Norm::AfterMlp, down)?)?;
        let thin = layers.thin;
        let x = x.clone();
        // These two are kept under names of their own.
        before[Norm::Input as usize] = None;
        before[Norm::BeforeMlp as usize] = None;
        let kept = Kept {
            x,
            normed,
            q,
            k,
            v,
            mixture,
            normalisers,
            middle,
            middle_normed,
            gate,
            up,
            gated,
            before,
            thin,
        };
        Ok((y, kept))
    }

    /// The gradient of [`block_forward`](Self::block_forward) without a cache.
    pub fn block_backward(
        &self,
        layer: usize,
        kept: &Kept,
        dy: &Tensor,
        context: &PassContext,
        learner: WantGradients,
    ) -> Result<BlockGradients> {
        let heads = self.heads(layer);
        let mut back = BlockBackward { decoder: self, layer, kept, context, learner, slots: Vec::new() };
        let ddown = back.unnormalise(Norm::AfterMlp, dy)?;
        let dgated = back.unproject(Linear::Down, &kept.gated, &ddown)?;
        let (dgate, dup) = gated_unit::backward(&kept.gate, &kept.up, &dgated, self.config.activation)?;
        let dmiddle_normed = match self.config.projections {
            Projections::Separate => add(
                &back.unproject(Linear::Gate, &kept.middle_normed, &dgate)?,
                &back.unproject(Linear::Up, &kept.middle_normed, &dup)?,
            )?,
            Projections::Fused => {
                back.unproject(Linear::GateUp, &kept.middle_normed, &Tensor::cat(&[dgate, dup], 1)?)?
            }
        };
        let dmiddle = add(dy, &back.unnormalise(Norm::BeforeMlp, &dmiddle_normed)?)?;
        let dattended = back.unnormalise(Norm::AfterAttention, &dmiddle)?;
        let dmixture = back.unproject(Linear::Output, &kept.mixture, &dattended)?;
        let shape = kept.q.dims();
        let mixture = kept.mixture.reshape(shape)?;
        let saved = attention::Saved {
            q: &kept.q,
            k: &kept.k,
            v: &kept.v,
            y: &mixture,
            normalisers: &kept.normalisers,
        };
        let (dq, dk, dv) = attention::backward(&saved, &dmixture.reshape(shape)?, &context.segments, heads)?;
        let (dq, dk) = match self.table(layer, context) {
            Some(table) => (rope::backward(&dq, table)?, rope::backward(&dk, table)?),
            None => (dq, dk),
        };
        let dq = back.unnormalise(Norm::Query, &dq)?.flatten_from(1)?;
        let dk = back.unnormalise(Norm::Key, &dk)?.flatten_from(1)?;
        let dv = dv.flatten_from(1)?;
        let dnormed = match self.config.projections {
            Projections::Separate => add3(
                &back.unproject(Linear::Query, &kept.normed, &dq)?,
                &back.unproject(Linear::Key, &kept.normed, &dk)?,
                &back.unproject(Linear::Value, &kept.normed, &dv)?,
            )?,
            Projections::Fused => {
                back.unproject(Linear::QueryKeyValue, &kept.normed, &Tensor::cat(&[dq, dk, dv], 1)?)?
            }
        };
        let dx = add(&dmiddle, &back.unnormalise(Norm::Input, &dnormed)?)?;
        Ok(BlockGradients { dx, slots: back.slots })
    }
}

/// A block's way back: the gradients that it meets are collected on the way.
struct BlockBackward<'a> {
    decoder: &'a Decoder,
    layer: usize,
    kept: &'a Kept,
    context: &'a PassContext,
    learner: WantGradients<'a>,
    slots: Vec<(Slot, Tensor)>,
}

impl BlockBackward<'_> {
    /// Through a linear layer whose input was `x`.
    fn unproject(&mut self, linear: Linear, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let layer = self.decoder.blocks[self.layer].linear(linear);
        match self.learner {
            WantGradients::Weights => {
                self.slots.push((Slot::Weight(linear), FrozenLinear::weight_gradient(x, dy)?));
                if layer.bias().is_some() {
                    self.slots.push((Slot::Bias(linear), dy.sum(0)?));
                }
                layer.backward(dy)
            }
            WantGradients::Adapter(pairs) => match (pairs.get(linear), &self.kept.thin[linear as usize]) {
                (Some(pair), Some(thin)) => {
                    let gradients = match self.context.dropout_of(self.layer, linear) {
                        None => low_rank::adapted_backward(layer, x, thin, dy, pair)?,
                        Some(dropout) => {
                            let inner = low_rank::backward(&dropout.apply(x)?, thin, dy, pair)?;
                            let dx = add(&layer.backward(dy)?, &dropout.apply(&inner.dx)?)?;
                            low_rank::LowRankGradients { dx, ..inner }
                        }
                    };
                    self.slots.push((Slot::LoraA(linear), gradients.da));
                    self.slots.push((Slot::LoraB(linear), gradients.db));
                    Ok(gradients.dx)
                }
                _ => layer.backward(dy),
            },
        }
    }

    /// Through a norm, where the base has it.
    fn unnormalise(&mut self, norm: Norm, dy: &Tensor) -> Result<Tensor> {
        let Some(factor) = self.decoder.blocks[self.layer].norm(norm) else { return Ok(dy.clone()) };
        let x = match norm {
            Norm::Input => Some(&self.kept.x),
            Norm::BeforeMlp => Some(&self.kept.middle),
            other => self.kept.before[other as usize].as_ref(),
        };
        let Some(x) = x else { candle_core::bail!("the input of {norm:?} was not kept") };
        let eps = self.decoder.config.rms_eps;
        if matches!(self.learner, WantGradients::Weights) {
            let rows = |x: &Tensor| x.reshape(((), factor.elem_count()));
            let gradient = rms_norm::weight_gradient(&rows(x)?, eps, &rows(dy)?)?;
            self.slots.push((Slot::Norm(norm), gradient));
        }
        rms_norm::backward(x, factor, eps, dy)
    }
}

#[cfg(test)]
mod tests;
