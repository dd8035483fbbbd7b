//! The Llama decoder: frozen weights, one forward function for training and for answering, and its gradient layer by layer.
//!
//! Owns the order of operations inside a block. An adapter is an argument. It must not know where weights come from, what a token means, or
//! what a training step is.

use candle_core::{DType, Device, Result, Tensor};

use crate::config::DecoderConfig;
use crate::lora::{Adapter, LayerAdapter, Linear};
use crate::ops::add::{add, add3};
use crate::ops::attention::{self, Heads, Segment};
use crate::ops::dropout::Dropout;
use crate::ops::frozen_linear::FrozenLinear;
use crate::ops::low_rank;
use crate::ops::rms_norm;
use crate::ops::rope::{self, RopeTable};
use crate::ops::swiglu;

/// The weights of one block.
#[derive(Debug, Clone)]
pub struct Block {
    pub(crate) input_norm: Tensor,
    pub(crate) post_norm: Tensor,
    linears: [FrozenLinear; 7],
}

impl Block {
    /// `linears` in the order of [`Linear::ALL`]; the norms are `[hidden]`.
    pub fn new(input_norm: Tensor, post_norm: Tensor, linears: [FrozenLinear; 7]) -> Self {
        Self { input_norm, post_norm, linears }
    }

    pub fn linear(&self, linear: Linear) -> &FrozenLinear {
        &self.linears[linear as usize]
    }

    pub(crate) fn linear_mut(&mut self, linear: Linear) -> &mut FrozenLinear {
        &mut self.linears[linear as usize]
    }
}

/// A whole decoder. Cloning shares the weights.
#[derive(Debug, Clone)]
pub struct Decoder {
    pub(crate) config: DecoderConfig,
    /// `[vocab, hidden]`
    pub(crate) embedding: Tensor,
    pub(crate) blocks: Vec<Block>,
    pub(crate) norm: Tensor,
    pub(crate) head: FrozenLinear,
    inverse_frequencies: Vec<f32>,
    device: Device,
}

/// Tokens of several sequences in one packed row, without padding.
#[derive(Debug, Clone)]
pub struct Batch {
    pub tokens: Vec<u32>,
    pub positions: Vec<u32>,
    pub segments: Vec<Segment>,
}

impl Batch {
    /// Independent sequences, each from position 0.
    pub fn packed<'a>(sequences: impl IntoIterator<Item = &'a [u32]>) -> Batch {
        let mut batch = Batch { tokens: Vec::new(), positions: Vec::new(), segments: Vec::new() };
        for sequence in sequences {
            let start = batch.tokens.len();
            batch.tokens.extend_from_slice(sequence);
            batch.positions.extend(0..sequence.len() as u32);
            let len = sequence.len();
            batch.segments.push(Segment { q_start: start, q_len: len, k_start: start, k_len: len });
        }
        batch
    }

    /// The next tokens of a sequence whose first `past` tokens are in a cache.
    pub fn continuation(tokens: &[u32], past: usize) -> Batch {
        Batch {
            tokens: tokens.to_vec(),
            positions: (past as u32..).take(tokens.len()).collect(),
            segments: vec![Segment {
                q_start: 0,
                q_len: tokens.len(),
                k_start: 0,
                k_len: past + tokens.len(),
            }],
        }
    }
}

/// Keys and values of a sequence that is being written, one pair of tensors a block, grown by doubling.
#[derive(Debug, Default)]
pub struct KvCache {
    layers: Vec<Option<(Tensor, Tensor)>>,
    len: usize,
}

impl KvCache {
    /// Tokens in the cache.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends `k` and `v` (`[new, kv_heads, d]`) behind the first `len` rows and returns all of them.
    fn extend(&mut self, layer: usize, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let total = self.len + k.dim(0)?;
        if self.layers.len() <= layer {
            self.layers.resize(layer + 1, None);
        }
        let fits = self.layers[layer].as_ref().is_some_and(|(keys, _)| keys.dims()[0] >= total);
        if !fits {
            let capacity = total.next_power_of_two().max(64);
            let (_, heads, width) = k.dims3()?;
            let grow = |old: Option<&Tensor>| -> Result<Tensor> {
                let new = Tensor::zeros((capacity, heads, width), DType::F32, k.device())?;
                if let Some(old) = old {
                    new.slice_set(&old.narrow(0, 0, self.len)?.contiguous()?, 0, 0)?;
                }
                Ok(new)
            };
            let old = self.layers[layer].as_ref();
            self.layers[layer] = Some((grow(old.map(|pair| &pair.0))?, grow(old.map(|pair| &pair.1))?));
        }
        let Some((keys, values)) = &self.layers[layer] else {
            candle_core::bail!("the cache of layer {layer} is missing");
        };
        keys.slice_set(&k.contiguous()?, 0, self.len)?;
        values.slice_set(&v.contiguous()?, 0, self.len)?;
        Ok((keys.narrow(0, 0, total)?, values.narrow(0, 0, total)?))
    }
}

/// What all blocks of one pass share.
#[derive(Debug, Clone)]
pub struct PassContext {
    table: RopeTable,
    segments: Vec<Segment>,
    /// On what LoRA pairs read; in training only.
    pub(crate) dropout: Option<Dropout>,
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
    /// `x A^T` of each linear layer that has a pair.
    thin: [Option<Tensor>; 7],
}

/// Whose gradients a backward pass collects.
#[derive(Clone, Copy)]
pub enum Learner<'a> {
    Adapter(&'a LayerAdapter),
    Weights,
}

/// The place of a trainable tensor inside a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    LoraA(Linear),
    LoraB(Linear),
    Weight(Linear),
    InputNorm,
    PostNorm,
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
        embedding: Tensor,
        blocks: Vec<Block>,
        norm: Tensor,
        head: FrozenLinear,
        device: Device,
    ) -> Self {
        let inverse_frequencies = config.rope.inverse_frequencies(config.head_dim);
        Self { config, embedding, blocks, norm, head, inverse_frequencies, device }
    }

    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Number of weights; a tied head counts once.
    pub fn parameters(&self) -> u64 {
        let block = |block: &Block| {
            let linears = block
                .linears
                .iter()
                .map(|l| l.weight().elem_count() + l.bias().map_or(0, Tensor::elem_count));
            block.input_norm.elem_count() + block.post_norm.elem_count() + linears.sum::<usize>()
        };
        let head = if self.config.tied_embeddings { 0 } else { self.head.weight().elem_count() };
        let blocks: usize = self.blocks.iter().map(block).sum();
        (self.embedding.elem_count() + blocks + self.norm.elem_count() + head) as u64
    }

    /// The weights under their checkpoint names, as full-parameter training saves them.
    pub fn named_weights(&self) -> Vec<(String, Tensor)> {
        let mut named = vec![("model.embed_tokens.weight".to_owned(), self.embedding.clone())];
        for (layer, block) in self.blocks.iter().enumerate() {
            let prefix = format!("model.layers.{layer}");
            named.push((format!("{prefix}.input_layernorm.weight"), block.input_norm.clone()));
            named.push((format!("{prefix}.post_attention_layernorm.weight"), block.post_norm.clone()));
            for linear in Linear::ALL {
                let name = format!("{prefix}.{}.{}", linear.parent(), linear.module());
                let layer = block.linear(linear);
                named.push((format!("{name}.weight"), layer.weight().clone()));
                if let Some(bias) = layer.bias() {
                    named.push((format!("{name}.bias"), bias.clone()));
                }
            }
        }
        named.push(("model.norm.weight".to_owned(), self.norm.clone()));
        if !self.config.tied_embeddings {
            named.push(("lm_head.weight".to_owned(), self.head.weight().clone()));
        }
        named
    }

    /// Hidden states after the last norm, `[tokens, hidden]`. With a cache, the batch is one sequence's continuation, and the cache grows by it.
    pub fn forward(
        &self,
        batch: &Batch,
        adapter: Option<&Adapter>,
        mut cache: Option<&mut KvCache>,
    ) -> Result<Tensor> {
        let context = self.context(batch)?;
        let mut x = self.adapt_embedding(self.embed(&batch.tokens)?, &batch.tokens, adapter)?;
        for layer in 0..self.blocks.len() {
            let pairs = adapter.and_then(|adapter| adapter.layers.get(layer));
            x = self.block_forward(layer, &x, &context, pairs, cache.as_deref_mut())?.0;
        }
        if let Some(cache) = cache {
            cache.len += batch.tokens.len();
        }
        self.last_norm(&x)
    }

    /// `[rows, hidden]` to `[rows, vocab]`.
    pub fn logits(&self, hidden: &Tensor, adapter: Option<&Adapter>) -> Result<Tensor> {
        let pair = adapter.and_then(|adapter| adapter.head.as_ref());
        Ok(low_rank::adapted(&self.head, hidden, pair)?.0)
    }

    pub(crate) fn context(&self, batch: &Batch) -> Result<PassContext> {
        let table = RopeTable::new(&batch.positions, &self.inverse_frequencies, &self.device)?;
        Ok(PassContext { table, segments: batch.segments.clone(), dropout: None })
    }

    pub(crate) fn embed(&self, tokens: &[u32]) -> Result<Tensor> {
        if let Some(token) = tokens.iter().find(|token| **token as usize >= self.config.vocab) {
            candle_core::bail!("token {token} is outside the base's vocabulary of {}", self.config.vocab);
        }
        self.embedding.index_select(&Tensor::new(tokens, &self.device)?, 0)
    }

    /// What [`embed`](Self::embed) gave, with the adapter's pair for it.
    pub(crate) fn adapt_embedding(
        &self,
        x: Tensor,
        tokens: &[u32],
        adapter: Option<&Adapter>,
    ) -> Result<Tensor> {
        let Some(pair) = adapter.and_then(|adapter| adapter.embedding.as_ref()) else { return Ok(x) };
        let tokens = Tensor::new(tokens, &self.device)?;
        low_rank::adapted_embedding(&x, &tokens, pair, &self.embedding, self.embedding_scale())
    }

    /// What the base multiplies the embedded tokens by.
    #[expect(clippy::unused_self, reason = "a family's configuration says it")]
    pub(crate) fn embedding_scale(&self) -> f64 {
        1.0
    }

    pub(crate) fn last_norm(&self, x: &Tensor) -> Result<Tensor> {
        rms_norm::forward(x, &self.norm, self.config.rms_eps)
    }

    pub(crate) fn last_norm_backward(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        rms_norm::backward(x, &self.norm, self.config.rms_eps, dy)
    }

    fn heads(&self) -> Heads {
        Heads { heads: self.config.heads, kv_heads: self.config.kv_heads, width: self.config.head_dim }
    }

    /// One block; also what its backward pass needs (cheap to drop: tensors are shared).
    pub(crate) fn block_forward(
        &self,
        layer: usize,
        x: &Tensor,
        context: &PassContext,
        pairs: Option<&LayerAdapter>,
        cache: Option<&mut KvCache>,
    ) -> Result<(Tensor, Kept)> {
        let block = &self.blocks[layer];
        let eps = self.config.rms_eps;
        let heads = self.heads();
        let tokens = x.dim(0)?;
        let mut thin: [Option<Tensor>; 7] = Default::default();
        let mut project = |linear: Linear, x: &Tensor| -> Result<Tensor> {
            let pair = pairs.and_then(|pairs| pairs.get(linear));
            let (y, inner) = match (pair, context.dropout_of(layer, linear)) {
                (Some(pair), Some(dropout)) => {
                    let (addition, inner) = low_rank::forward(&dropout.apply(x)?, pair)?;
                    (add(&block.linear(linear).forward(x)?, &addition)?, Some(inner))
                }
                _ => low_rank::adapted(block.linear(linear), x, pair)?,
            };
            thin[linear as usize] = inner;
            Ok(y)
        };
        let normed = rms_norm::forward(x, &block.input_norm, eps)?;
        let q = project(Linear::Query, &normed)?.reshape((tokens, heads.heads, heads.width))?;
        let k = project(Linear::Key, &normed)?.reshape((tokens, heads.kv_heads, heads.width))?;
        let v = project(Linear::Value, &normed)?.reshape((tokens, heads.kv_heads, heads.width))?;
        let q = rope::forward(&q, &context.table)?;
        let k = rope::forward(&k, &context.table)?;
        let (k, v) = match cache {
            Some(cache) => cache.extend(layer, &k, &v)?,
            None => (k, v),
        };
        let (mixture, normalisers) = attention::forward(&q, &k, &v, &context.segments, heads)?;
        let mixture = mixture.reshape((tokens, heads.heads * heads.width))?;
        let middle = add(x, &project(Linear::Output, &mixture)?)?;
        let middle_normed = rms_norm::forward(&middle, &block.post_norm, eps)?;
        let gate = project(Linear::Gate, &middle_normed)?;
        let up = project(Linear::Up, &middle_normed)?;
        let gated = swiglu::forward(&gate, &up)?;
        let y = add(&middle, &project(Linear::Down, &gated)?)?;
        let x = x.clone();
        let kept =
            Kept { x, normed, q, k, v, mixture, normalisers, middle, middle_normed, gate, up, gated, thin };
        Ok((y, kept))
    }

    /// The gradient of [`block_forward`](Self::block_forward) without a cache.
    pub(crate) fn block_backward(
        &self,
        layer: usize,
        kept: &Kept,
        dy: &Tensor,
        context: &PassContext,
        learner: Learner,
    ) -> Result<BlockGradients> {
        let block = &self.blocks[layer];
        let eps = self.config.rms_eps;
        let heads = self.heads();
        let mut slots = Vec::new();
        let mut unproject = |linear: Linear, x: &Tensor, dy: &Tensor| -> Result<Tensor> {
            let dx = block.linear(linear).backward(dy)?;
            match learner {
                Learner::Weights => {
                    slots.push((Slot::Weight(linear), FrozenLinear::weight_gradient(x, dy)?));
                    Ok(dx)
                }
                Learner::Adapter(pairs) => match (pairs.get(linear), &kept.thin[linear as usize]) {
                    (Some(pair), Some(thin)) => {
                        let gradients = match context.dropout_of(layer, linear) {
                            None => low_rank::backward(x, thin, dy, pair)?,
                            Some(dropout) => {
                                let inner = low_rank::backward(&dropout.apply(x)?, thin, dy, pair)?;
                                low_rank::LowRankGradients { dx: dropout.apply(&inner.dx)?, ..inner }
                            }
                        };
                        slots.push((Slot::LoraA(linear), gradients.da));
                        slots.push((Slot::LoraB(linear), gradients.db));
                        add(&dx, &gradients.dx)
                    }
                    _ => Ok(dx),
                },
            }
        };
        let dgated = unproject(Linear::Down, &kept.gated, dy)?;
        let (dgate, dup) = swiglu::backward(&kept.gate, &kept.up, &dgated)?;
        let through_gate = unproject(Linear::Gate, &kept.middle_normed, &dgate)?;
        let dmiddle_normed = add(&through_gate, &unproject(Linear::Up, &kept.middle_normed, &dup)?)?;
        let dmiddle = add(dy, &rms_norm::backward(&kept.middle, &block.post_norm, eps, &dmiddle_normed)?)?;
        let dmixture = unproject(Linear::Output, &kept.mixture, &dmiddle)?;
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
        let flat = |x: Tensor| x.flatten_from(1);
        let dq = flat(rope::backward(&dq, &context.table)?)?;
        let dk = flat(rope::backward(&dk, &context.table)?)?;
        let through_query = unproject(Linear::Query, &kept.normed, &dq)?;
        let through_key = unproject(Linear::Key, &kept.normed, &dk)?;
        let dnormed =
            add3(&through_query, &through_key, &unproject(Linear::Value, &kept.normed, &flat(dv)?)?)?;
        let dx = add(&dmiddle, &rms_norm::backward(&kept.x, &block.input_norm, eps, &dnormed)?)?;
        if matches!(learner, Learner::Weights) {
            slots.push((Slot::InputNorm, rms_norm::weight_gradient(&kept.x, eps, &dnormed)?));
            slots.push((Slot::PostNorm, rms_norm::weight_gradient(&kept.middle, eps, &dmiddle_normed)?));
        }
        Ok(BlockGradients { dx, slots })
    }
}
