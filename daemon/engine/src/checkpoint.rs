//! The names that a decoder's weights have in a checkpoint.
//!
//! Owns that every tensor is used: one that config.json does not call for would change the numbers and is an error.

use std::collections::HashSet;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::base_error::BaseError;
use crate::config::{DecoderConfig, NormWeight};
use crate::decoder::{Block, Decoder};
use crate::lora::Linear;
use crate::norm::Norm;
use crate::ops::frozen_linear::FrozenLinear;
use crate::ops::frozen_weight::FrozenWeight;
use crate::ops::quantised::QuantisedMatrix;
use crate::packed::Packed;
use crate::quantise::{Quantise, Role};
use crate::weights::Weights;

const HEAD: &str = "lm_head.weight";

/// Where the decoder lies in a checkpoint: what stands before `.layers`, and what before the head. The usual place, a bare model's, and
/// the two that models with pictures had.
const PLACES: [(&str, &str); 4] =
    [("model.", ""), ("model.language_model.", ""), ("language_model.model.", "language_model."), ("", "")];

/// Builds the decoder that the weights hold.
///
/// # Errors
/// A tensor is missing, has another shape, or is one too many.
pub(crate) fn decoder(
    weights: &Weights,
    mut config: DecoderConfig,
    device: &Device,
    quantise: Option<Quantise>,
    packed: Option<&Packed>,
) -> Result<Built, BaseError> {
    let mut reader = Reader {
        weights,
        device,
        quantise,
        used: HashSet::new(),
        as_stored: 0,
        packed,
        quantised: Vec::new(),
    };
    // The first layer's norm decides: a tied embedding may stand under the head's name only.
    let first =
        |(prefix, _): &&(&str, &str)| weights.contains(&format!("{prefix}layers.0.input_layernorm.weight"));
    let (prefix, head_prefix) = PLACES.iter().find(first).unwrap_or(&PLACES[0]);
    let mut blocks = Vec::with_capacity(config.layers);
    for layer in 0..config.layers {
        blocks.push(reader.block(&format!("{prefix}layers.{layer}"), &config)?);
    }
    let norm = reader.norm(&format!("{prefix}norm.weight"), config.hidden, &config)?;
    let (embedding, head) = reader.ends(prefix, head_prefix, &mut config)?;
    let head = FrozenLinear::new(head, None);
    reader.nothing_left()?;
    if reader.as_stored > 0 {
        tracing::warn!(
            weights = reader.as_stored,
            "not quantised: on a GPU no weight is, and none whose rows are no multiple of 32"
        );
    }
    let decoder = Decoder::new(config, embedding, blocks, norm, head, device.clone());
    Ok(Built { decoder, quantised: reader.quantised })
}

struct Reader<'a> {
    weights: &'a Weights,
    device: &'a Device,
    quantise: Option<Quantise>,
    used: HashSet<String>,
    /// Large weights that were to be quantised and are not.
    as_stored: usize,
    /// What was kept of an earlier load.
    packed: Option<&'a Packed>,
    /// What was quantised now.
    quantised: Vec<(String, Arc<QuantisedMatrix>)>,
}

/// A decoder, and which of its weights were quantised as it was built.
pub(crate) struct Built {
    pub(crate) decoder: Decoder,
    pub(crate) quantised: Vec<(String, Arc<QuantisedMatrix>)>,
}

impl Reader<'_> {
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, BaseError> {
        self.used.insert(name.to_owned());
        self.weights.tensor(name, shape, self.device)
    }

    /// For what only products and look-ups read: see [`Weights::frozen`].
    fn large(&mut self, name: &str, shape: [usize; 2], role: Role) -> Result<FrozenWeight, BaseError> {
        self.used.insert(name.to_owned());
        let wish = self.quantise.filter(|_| self.device.is_cpu());
        if let Some(kind) = wish.and_then(|to| to.kind(role, shape[1])) {
            if let Some(weight) = self.packed.and_then(|packed| packed.weight(name, shape, kind)) {
                return Ok(weight);
            }
            if let Some(matrix) = self.weights.quantised(name, shape, kind)? {
                let matrix = Arc::new(matrix);
                self.quantised.push((name.to_owned(), Arc::clone(&matrix)));
                return Ok(FrozenWeight::Quantised(matrix));
            }
        }
        let weight = self.weights.frozen(name, shape, self.device)?;
        if self.quantise.is_some() && !weight.is_quantised() {
            self.as_stored += 1;
        }
        Ok(weight)
    }

    fn norm(&mut self, name: &str, width: usize, config: &DecoderConfig) -> Result<Tensor, BaseError> {
        let stored = self.tensor(name, &[width])?;
        match config.norm_weight {
            NormWeight::Factor => Ok(stored),
            NormWeight::FactorLessOne => Ok((stored + 1.0)?),
        }
    }

    fn block(&mut self, prefix: &str, config: &DecoderConfig) -> Result<Block, BaseError> {
        let mut norms = Vec::with_capacity(Norm::COUNT);
        for norm in Norm::of(config) {
            let name = format!("{prefix}.{}.weight", norm.module(config.block_norms));
            norms.push((norm, self.norm(&name, norm.width(config), config)?));
        }
        let mut linears = Vec::with_capacity(Linear::COUNT);
        for &linear in Linear::of(config) {
            let name = format!("{prefix}.{}.{}", linear.parent(), linear.module());
            let (outputs, inputs) = linear.shape(config);
            let weight = self.large(&format!("{name}.weight"), [outputs, inputs], Role::Layer)?;
            let biased = config.biased(linear);
            let bias = biased.then(|| self.tensor(&format!("{name}.bias"), &[outputs])).transpose()?;
            linears.push((linear, FrozenLinear::new(weight, bias)));
        }
        Ok(Block::new(norms, linears))
    }

    /// The embedding and the head's weight. As transformers 5 does it, tied ones share whichever the file holds, and are not tied
    /// after all where it holds two different ones.
    fn ends(
        &mut self,
        prefix: &str,
        head_prefix: &str,
        config: &mut DecoderConfig,
    ) -> Result<(FrozenWeight, FrozenWeight), BaseError> {
        let shape = [config.vocab, config.hidden];
        let (embedding, head) = (format!("{prefix}embed_tokens.weight"), format!("{head_prefix}{HEAD}"));
        let (has_embedding, has_head) = (self.weights.contains(&embedding), self.weights.contains(&head));
        if !config.tied_embeddings {
            return Ok((
                self.large(&embedding, shape, Role::Tokens)?,
                self.large(&head, shape, Role::Tokens)?,
            ));
        }
        if has_embedding && has_head {
            self.used.insert(head.clone());
            let first = self.large(&embedding, shape, Role::Tokens)?;
            if self.weights.same_bytes(&embedding, &head) {
                return Ok((first.clone(), first));
            }
            config.tied_embeddings = false;
            return Ok((first, self.large(&head, shape, Role::Tokens)?));
        }
        let shared = self.large(if has_head { &head } else { &embedding }, shape, Role::Tokens)?;
        Ok((shared.clone(), shared))
    }

    fn nothing_left(&self) -> Result<(), BaseError> {
        let mut left: Vec<&str> =
            self.weights.names().filter(|name| !self.used.contains(*name) && !is_harmless(name)).collect();
        left.sort_unstable();
        match left.first() {
            None => Ok(()),
            Some(name) => {
                let file = self.weights.file_of(name).to_owned();
                Err(BaseError::UnknownTensor { name: (*name).chars().take(200).collect(), file })
            }
        }
    }
}

/// Tensors that have no part in reading text: buffers that old versions saved, and what sees pictures.
fn is_harmless(name: &str) -> bool {
    let buffer = [".rotary_emb.inv_freq", ".rotary_emb.cos_cached", ".rotary_emb.sin_cached"]
        .iter()
        .any(|end| name.ends_with(end))
        || name == "rotary_emb.inv_freq";
    let pictures = ["vision_tower.", "multi_modal_projector."];
    let rest = name.strip_prefix("model.").unwrap_or(name);
    buffer || pictures.iter().any(|start| rest.starts_with(start))
}
