//! What tests are made of, here and in the crates above: a random decoder of a few thousand weights, small tokenizers, and gradients by finite differences.

#![allow(clippy::unwrap_used, reason = "what cannot be made here is a test that fails")]

mod finite_differences;
pub mod tokenizers;

use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::base::Base;
use crate::base_spec::BaseSpec;
use crate::config::DecoderConfig;
use crate::decoder::{Block, Decoder};
use crate::lora::{Adapter, Linear, LoraSpec, Targets};
use crate::norm::Norm;
use crate::ops::frozen_linear::FrozenLinear;

pub use finite_differences::{distance, flat, random, slope};

pub const CONFIG: &str = r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 16,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "intermediate_size": 20,
    "vocab_size": 24, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu",
    "max_position_embeddings": 64}"#;

pub fn config() -> DecoderConfig {
    DecoderConfig::parse(CONFIG.as_bytes(), std::path::Path::new("config.json")).unwrap()
}

pub fn decoder(seed: u64) -> Decoder {
    decoder_of(config(), seed)
}

/// Random weights for any shape.
pub fn decoder_of(config: DecoderConfig, seed: u64) -> Decoder {
    let mut next = seed * 1000;
    let mut weight = |shape: &[usize]| {
        next += 1;
        (random(shape, next) * 0.4).unwrap()
    };
    let embedding = weight(&[config.vocab, config.hidden]);
    let blocks = (0..config.layers)
        .map(|_| {
            let norms: Vec<(Norm, Tensor)> = Norm::of(&config)
                .map(|norm| (norm, (weight(&[norm.width(&config)]) + 1.0).unwrap()))
                .collect();
            let linears: Vec<(Linear, FrozenLinear)> = Linear::of(&config)
                .iter()
                .map(|&linear| {
                    let (outputs, inputs) = linear.shape(&config);
                    let bias = config.biased(linear).then(|| weight(&[outputs]));
                    (linear, FrozenLinear::new(weight(&[outputs, inputs]), bias))
                })
                .collect();
            Block::new(norms, linears)
        })
        .collect();
    let norm = Tensor::ones(config.hidden, candle_core::DType::F32, &Device::Cpu).unwrap();
    let head =
        if config.tied_embeddings { embedding.clone() } else { weight(&[config.vocab, config.hidden]) };
    Decoder::new(config, embedding, blocks, norm, FrozenLinear::new(head, None), Device::Cpu)
}

/// An adapter whose both factors are random, so that it changes the output.
pub fn adapter(decoder: &Decoder, rank: usize) -> Adapter {
    let mut adapter = Adapter::fresh(decoder.config(), &spec(rank), 5, &Device::Cpu).unwrap();
    for (layer, pairs) in adapter.layers.iter_mut().enumerate() {
        for linear in Linear::ALL {
            let Some(pair) = pairs.get(linear).cloned() else { continue };
            let b = (random(pair.b.dims(), (layer * 7 + linear as usize) as u64 + 50) * 0.3).unwrap();
            pairs.set(linear, pair.with_factors(pair.a.clone(), b));
        }
    }
    adapter
}

pub fn spec(rank: usize) -> LoraSpec {
    LoraSpec { rank, alpha: rank as f64, ..LoraSpec::default() }
}

/// Random factors on the embedding and the head too.
pub fn adapter_everywhere(decoder: &Decoder, rank: usize) -> Adapter {
    let spec = LoraSpec { targets: Targets::Regex(".*".to_owned()), ..spec(rank) };
    let mut adapter = Adapter::fresh(decoder.config(), &spec, 5, &Device::Cpu).unwrap();
    let pairs: Vec<_> = adapter.pairs().map(|(place, pair)| (place, pair.clone())).collect();
    for (index, (place, pair)) in pairs.into_iter().enumerate() {
        let factor = |shape: &[usize], seed: usize| (random(shape, seed as u64) * 0.3).unwrap();
        let (a, b) = (factor(pair.a.dims(), 2 * index + 200), factor(pair.b.dims(), 2 * index + 201));
        adapter.set(place, pair.with_factors(a, b));
    }
    adapter
}

pub fn base(seed: u64) -> Base {
    let decoder = decoder(seed);
    Base::of(Arc::new(BaseSpec::for_tests(config())), decoder, Device::Cpu)
}
