//! A Hugging Face base's shape as the metadata that llama.cpp reads, and what stands in tensors there: the other way round of [`config`](super::config).
//!
//! What llama.cpp takes for granted of a family must hold of the base; whatever it would compute otherwise is refused.

use super::config::{DIVISORS, LONG, SHORT};
use super::names::{self, Family};
use super::writer::Keys;
use crate::base_spec::BaseSpec;
use crate::config::{BlockNorms, DecoderConfig};
use crate::ops::gated_unit::Activation;
use crate::rope_config::{Rope, RopeScaling};

/// Tensors of the configuration, in f32.
pub(crate) type Tables = Vec<(String, Vec<f32>)>;

/// Of Gemma 3: every sixth layer sees everything.
const GEMMA_PATTERN: usize = 6;
const GEMMA_SLIDING_THETA: f64 = 10_000.0;
/// Layers of the one Gemma 3 whose attention is scaled by its width.
const GEMMA_27B: usize = 62;
/// Of SmolLM3: every fourth layer does not turn.
const SMOLLM3_PATTERN: usize = 4;

/// # Errors
/// What llama.cpp's family does otherwise.
pub(crate) fn describe(keys: &mut Keys, base: &BaseSpec, family: &Family) -> Result<Tables, String> {
    let config = &base.config;
    check(config, family)?;
    let architecture = family.architecture;
    let key = |name: &str| format!("{architecture}.{name}");
    let whole = |value: usize| u32::try_from(value).map_err(|_| format!("{value} is too large for GGUF"));
    let first = config.ropes.first().ok_or("it has no rotary positions")?;
    for (name, value) in [
        ("vocab_size", config.vocab),
        ("context_length", config.context),
        ("embedding_length", config.hidden),
        ("block_count", config.layers),
        ("feed_forward_length", config.intermediate),
        ("attention.head_count", config.heads),
        ("attention.head_count_kv", config.kv_heads),
        ("attention.key_length", config.head_dim),
        ("attention.value_length", config.head_dim),
        ("rope.dimension_count", first.width),
    ] {
        keys.whole(&key(name), whole(value)?);
    }
    keys.number(&key("attention.layer_norm_rms_epsilon"), config.rms_eps as f32);
    keys.number(&key("rope.freq_base"), first.theta as f32);
    if let Some(window) = config.attention.iter().find_map(|layer| layer.window) {
        keys.whole(&key("attention.sliding_window"), whole(window)?);
    }
    scaling(keys, first, architecture)
}

/// Whether llama.cpp's family computes what this base computes.
fn check(config: &DecoderConfig, family: &Family) -> Result<(), String> {
    let architecture = family.architecture;
    let otherwise = |what: &str| Err(format!("{what}, and llama.cpp's {architecture} does not know that"));
    let gemma = architecture == "gemma3";
    let gelu = config.activation == Activation::GeluTanh;
    if gelu != gemma {
        return otherwise("its feed-forward parts have another activation");
    }
    let biases = config.biases;
    let biased = biases.query_key_value || biases.output || biases.mlp;
    if biased && !matches!(architecture, "llama" | "qwen2") {
        return otherwise("it has biases");
    }
    let windows: Vec<Option<usize>> = config.attention.iter().map(|layer| layer.window).collect();
    match architecture {
        "gemma3" => {
            let window = windows.iter().flatten().next();
            let patterned = windows.iter().enumerate().all(|(layer, found)| {
                found.as_ref() == window.filter(|_| !(layer + 1).is_multiple_of(GEMMA_PATTERN))
            });
            if !patterned || window.is_none() {
                return otherwise("not five of six layers slide");
            }
            let scale = if config.layers == GEMMA_27B {
                1.0 / (config.hidden as f64 / config.heads as f64).sqrt()
            } else {
                1.0 / (config.head_dim as f64).sqrt()
            };
            if (config.attention_scale - scale).abs() > 1e-9 {
                return otherwise("query_pre_attn_scalar is not its heads' width");
            }
            let sliding = config.ropes.get(1);
            if sliding.is_some_and(|rope| {
                rope.scaling != RopeScaling::None || (rope.theta - GEMMA_SLIDING_THETA).abs() > 1e-6
            }) {
                return otherwise("its sliding layers have another rope_theta than 10,000, or scale it");
            }
        }
        "phi3" => {}
        _ if windows.iter().flatten().any(|window| *window < config.context) => {
            return otherwise("some of its layers see a window of tokens only");
        }
        _ => {}
    }
    let turns = |layer: usize| architecture != "smollm3" || !(layer + 1).is_multiple_of(SMOLLM3_PATTERN);
    if config.attention.iter().enumerate().any(|(layer, found)| found.rope.is_some() != turns(layer)) {
        return otherwise("other layers than every fourth do not turn their heads");
    }
    if (config.block_norms == BlockNorms::Sandwich) != gemma {
        return otherwise("it has other norms");
    }
    Ok(())
}

fn scaling(keys: &mut Keys, rope: &Rope, architecture: &str) -> Result<Tables, String> {
    let key = |name: &str| format!("{architecture}.rope.scaling.{name}");
    let whole = |value: usize| u32::try_from(value).map_err(|_| format!("{value} is too large for GGUF"));
    match &rope.scaling {
        RopeScaling::None => Ok(Vec::new()),
        RopeScaling::Linear { factor } => {
            keys.text(&key("type"), "linear");
            keys.number(&key("factor"), *factor as f32);
            Ok(Vec::new())
        }
        RopeScaling::Llama3 { .. } => {
            // llama.cpp divides by them.
            let plain = Rope { scaling: RopeScaling::None, ..rope.clone() }.frequencies(1);
            let divisors = plain.into_iter().zip(rope.frequencies(1)).map(|(plain, own)| plain / own);
            Ok(vec![(DIVISORS.to_owned(), divisors.collect())])
        }
        RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow, truncate, attention_factor } => {
            let usual = 0.1 * factor.ln() + 1.0;
            let as_there = (beta_fast - 32.0).abs() < 1e-9
                && (beta_slow - 1.0).abs() < 1e-9
                && *truncate
                && (attention_factor - usual).abs() < 1e-6;
            if !as_there {
                return Err(
                    "its YaRN has settings of its own, which llama.cpp applies in another way".to_owned()
                );
            }
            keys.text(&key("type"), "yarn");
            keys.number(&key("factor"), *factor as f32);
            keys.whole(&key("original_context_length"), whole(*original_context)?);
            Ok(Vec::new())
        }
        RopeScaling::LongRope { short, long, original_context, attention_factor }
            if architecture == "phi3" =>
        {
            keys.whole(&key("original_context_length"), whole(*original_context)?);
            keys.number(&key("attn_factor"), *attention_factor as f32);
            Ok(vec![(LONG.to_owned(), long.clone()), (SHORT.to_owned(), short.clone())])
        }
        RopeScaling::LongRope { .. } => {
            Err(format!("it has longrope, which llama.cpp's {architecture} does not have"))
        }
        RopeScaling::Dynamic { .. } => {
            Err("it has dynamic rotary positions, which llama.cpp does not have".to_owned())
        }
    }
}

/// The family that llama.cpp has for this base.
///
/// # Errors
/// It has none that is known here.
pub(crate) fn family(base: &BaseSpec) -> Result<Family, String> {
    names::of_class(&base.config.architecture).ok_or_else(|| {
        format!("how llama.cpp names the weights of {} is not known here", base.config.architecture)
    })
}
