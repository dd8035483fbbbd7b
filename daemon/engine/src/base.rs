//! A base model in memory: its weights, and the text side that belongs to them.
//!
//! Owns the names that Llama's weights have in a checkpoint.

use std::sync::Arc;

use candle_core::{DType, Device};

use crate::base_error::BaseError;
use crate::base_text::{BaseSource, BaseText};
use crate::decoder::{Block, Decoder};
use crate::lora::Linear;
use crate::ops::frozen_linear::FrozenLinear;
use crate::weights::Weights;

#[derive(Debug)]
pub struct Base {
    pub text: Arc<BaseText>,
    pub decoder: Decoder,
    pub device: Device,
}

impl Base {
    /// Reads config, tokenizer and weights.
    pub fn open(source: &BaseSource, device: &Device) -> Result<Base, BaseError> {
        let text = Arc::new(BaseText::open(source)?);
        Base::with_text(text, device)
    }

    /// Reads the weights for a text side that is already open.
    pub fn with_text(text: Arc<BaseText>, device: &Device) -> Result<Base, BaseError> {
        let weights = Weights::open(&text.source)?;
        let config = text.config.clone();
        let tensor = |name: &str, shape: &[usize]| weights.tensor(name, shape, device);
        let embedding = tensor("model.embed_tokens.weight", &[config.vocab, config.hidden])?;
        let mut blocks = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            let norm = |name: &str| tensor(&format!("model.layers.{layer}.{name}.weight"), &[config.hidden]);
            let mut linears = Vec::with_capacity(Linear::ALL.len());
            for linear in Linear::ALL {
                let name = format!("model.layers.{layer}.{}.{}", linear.parent(), linear.module());
                let (outputs, inputs) = linear.shape(&config);
                let biased = if linear.parent() == "mlp" { config.mlp_bias } else { config.attention_bias };
                let bias = if biased { Some(tensor(&format!("{name}.bias"), &[outputs])?) } else { None };
                linears.push(FrozenLinear::new(tensor(&format!("{name}.weight"), &[outputs, inputs])?, bias));
            }
            let Ok(linears) = <[FrozenLinear; 7]>::try_from(linears) else {
                unreachable!("one linear layer was pushed for each of Linear::ALL");
            };
            blocks.push(Block::new(norm("input_layernorm")?, norm("post_attention_layernorm")?, linears));
        }
        let norm = tensor("model.norm.weight", &[config.hidden])?;
        let head = if config.tied_embeddings {
            embedding.clone()
        } else {
            tensor("lm_head.weight", &[config.vocab, config.hidden])?
        };
        let head = FrozenLinear::new(head, None);
        let decoder = Decoder::new(config, embedding, blocks, norm, head, device.clone());
        Ok(Base { text, decoder, device: device.clone() })
    }

    /// Bytes that its weights take in memory.
    pub fn bytes(&self) -> u64 {
        self.parameters() * DType::F32.size_in_bytes() as u64
    }

    pub fn parameters(&self) -> u64 {
        self.decoder.parameters()
    }
}
