//! How llama.cpp names families and weights, in one table for reading a base and writing an adapter.

use crate::config::{DecoderConfig, NormWeight};
use crate::lora::{Linear, Place};
use crate::norm::Norm;

/// How llama.cpp calls a family, and whether it keeps rotary pairs side by side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Family {
    /// `general.architecture`.
    pub(crate) architecture: &'static str,
    /// Rows of queries and keys lie in pairs (0, 0', 1, 1', ..) instead of halves.
    pub(crate) permuted: bool,
    /// In `config.json`.
    pub(crate) class: &'static str,
    pub(crate) model_type: &'static str,
}

const fn family(
    architecture: &'static str,
    permuted: bool,
    class: &'static str,
    model_type: &'static str,
) -> Family {
    Family { architecture, permuted, class, model_type }
}

/// The first one of an architecture is what a file is read as.
pub(crate) const FAMILIES: [Family; 7] = [
    family("llama", true, "LlamaForCausalLM", "llama"),
    family("llama", true, "MistralForCausalLM", "mistral"),
    family("smollm3", true, "SmolLM3ForCausalLM", "smollm3"),
    family("qwen2", false, "Qwen2ForCausalLM", "qwen2"),
    family("qwen3", false, "Qwen3ForCausalLM", "qwen3"),
    family("gemma3", false, "Gemma3ForCausalLM", "gemma3_text"),
    family("phi3", false, "Phi3ForCausalLM", "phi3"),
];

/// The family of a class in transformers.
pub(crate) fn of_class(class: &str) -> Option<Family> {
    FAMILIES.into_iter().find(|family| family.class == class)
}

pub(crate) const EMBEDDING: &str = "token_embd.weight";
pub(crate) const HEAD: &str = "output.weight";
pub(crate) const FINAL_NORM: &str = "output_norm.weight";

/// The name of the weight at a place that an adapter may change.
pub(crate) fn of_place(place: Place) -> String {
    match place {
        Place::Embedding => EMBEDDING.to_owned(),
        Place::Head => HEAD.to_owned(),
        Place::Block(layer, linear) => format!("blk.{layer}.{}.weight", of_linear(linear)),
    }
}

const fn of_linear(linear: Linear) -> &'static str {
    match linear {
        Linear::Query => "attn_q",
        Linear::Key => "attn_k",
        Linear::Value => "attn_v",
        Linear::QueryKeyValue => "attn_qkv",
        Linear::Output => "attn_output",
        Linear::Gate => "ffn_gate",
        // llama.cpp keeps both in the place of one.
        Linear::Up | Linear::GateUp => "ffn_up",
        Linear::Down => "ffn_down",
    }
}

const fn of_norm(norm: Norm) -> &'static str {
    match norm {
        Norm::Input => "attn_norm",
        Norm::Query => "attn_q_norm",
        Norm::Key => "attn_k_norm",
        Norm::AfterAttention => "post_attention_norm",
        Norm::BeforeMlp => "ffn_norm",
        Norm::AfterMlp => "post_ffw_norm",
    }
}

/// What is to be done to a tensor before it is what the Hugging Face checkpoint holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undo {
    Nothing,
    /// Rows of so many heads go from pairs to halves.
    Pairs {
        heads: usize,
    },
    /// 1 was added.
    One,
}

/// A tensor's names, and how the two differ.
pub(crate) struct Named {
    pub(crate) checkpoint: String,
    pub(crate) gguf: String,
    pub(crate) undo: Undo,
}

/// Every tensor that this base calls for. A tied head is none of them.
pub(crate) fn of_base(config: &DecoderConfig, permuted: bool) -> Vec<Named> {
    let norm_undo = match config.norm_weight {
        NormWeight::Factor => Undo::Nothing,
        NormWeight::FactorLessOne => Undo::One,
    };
    let mut all = Vec::new();
    let mut add = |checkpoint: String, gguf: String, undo| all.push(Named { checkpoint, gguf, undo });
    add("model.embed_tokens.weight".to_owned(), EMBEDDING.to_owned(), Undo::Nothing);
    add("model.norm.weight".to_owned(), FINAL_NORM.to_owned(), norm_undo);
    if !config.tied_embeddings {
        add("lm_head.weight".to_owned(), HEAD.to_owned(), Undo::Nothing);
    }
    for layer in 0..config.layers {
        for norm in Norm::of(config) {
            let module = norm.module(config.block_norms);
            let gguf = format!("blk.{layer}.{}.weight", of_norm(norm));
            add(format!("model.layers.{layer}.{module}.weight"), gguf, norm_undo);
        }
        for &linear in Linear::of(config) {
            let undo = match linear {
                Linear::Query if permuted => Undo::Pairs { heads: config.heads },
                Linear::Key if permuted => Undo::Pairs { heads: config.kv_heads },
                _ => Undo::Nothing,
            };
            let module = format!("model.layers.{layer}.{}.{}", linear.parent(), linear.module());
            let gguf = format!("blk.{layer}.{}", of_linear(linear));
            add(format!("{module}.weight"), format!("{gguf}.weight"), undo);
            if config.biased(linear) {
                add(format!("{module}.bias"), format!("{gguf}.bias"), undo);
            }
        }
    }
    all
}
