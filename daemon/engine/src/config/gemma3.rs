//! Gemma 3: scaled embeddings, norms before and after, most layers sliding with rotary positions of their own.
//!
//! Of the models that also see pictures only the text part is read; it is the same decoder under other names.

use serde_json::{Map, Value};

use super::{
    Biases, BlockNorms, DecoderConfig, Defaults, Family, Keys, NormWeight, common, context_of, other_keys,
    windows,
};
use crate::ops::gated_unit::Activation;
use crate::rope_config::{self, Dialect, Rope, RopeDefaults};

pub(super) const TEXT: Family = Family { architecture: "Gemma3ForCausalLM", model_type: "gemma3_text", read };
pub(super) const WITH_PICTURES: Family =
    Family { architecture: "Gemma3ForConditionalGeneration", model_type: "gemma3", read: read_nested };

const OWN: [&str; 9] = [
    "attention_bias",
    "query_pre_attn_scalar",
    "sliding_window",
    "sliding_window_pattern",
    "layer_types",
    "rope_local_base_freq",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "use_bidirectional_attention",
];

/// Sizes that its class takes where they are left out; Google's own files of the larger models leave some out.
const SIZES: [(&str, u64); 5] = [
    ("vocab_size", 262_208),
    ("hidden_size", 2304),
    ("intermediate_size", 9216),
    ("num_hidden_layers", 26),
    ("num_attention_heads", 8),
];

const FULL: usize = 0;
const SLIDING: usize = 1;

fn read(keys: &Keys, architecture: &str) -> Result<DecoderConfig, String> {
    let mut object = keys.object.clone();
    for (key, size) in SIZES {
        object.entry(key).or_insert_with(|| size.into());
    }
    let keys = &Keys { object: &object, path: keys.path };
    let defaults = Defaults {
        kv_heads: Some(4),
        head_dim: Some(256),
        context: 131_072,
        tied: true,
        activation_key: "hidden_activation",
        activation: Activation::GeluTanh,
        ..Defaults::LLAMA
    };
    let mut config = common(keys, architecture, &defaults, &OWN)?;
    // transformers computes the first one's value and then leaves it out of attention; nobody can mean that.
    for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
        if let Some(value) = keys.get(key) {
            return Err(keys.unsupported(key, value, "null or left out"));
        }
    }
    if let Some(value) = keys.get("use_bidirectional_attention").filter(|value| **value != Value::Bool(false))
    {
        return Err(keys.unsupported("use_bidirectional_attention", value, "false"));
    }
    let attention = keys.flag("attention_bias")?;
    config.biases = Biases { query_key_value: attention, output: attention, mlp: false };
    config.block_norms = BlockNorms::Sandwich;
    config.norm_weight = NormWeight::FactorLessOne;
    config.head_norms = true;
    // transformers rounds it to the type of its weights. This engine computes in f32, and so it is an f32.
    config.embedding_scale = (config.hidden as f64).sqrt();
    config.attention_scale = 1.0 / keys.positive("query_pre_attn_scalar")?.unwrap_or(256.0).sqrt();
    layers(keys, &mut config)?;
    config.ropes = vec![full_rope(keys, &config)?, sliding_rope(keys, &config)?];
    config.context = context_of(&config.ropes[FULL], config.context);
    Ok(config)
}

fn layers(keys: &Keys, config: &mut DecoderConfig) -> Result<(), String> {
    let window = if keys.is_null("sliding_window") {
        None
    } else {
        Some(keys.optional_size("sliding_window", 1 << 30)?.unwrap_or(4096))
    };
    let pattern = keys.optional_size("sliding_window_pattern", 1 << 20)?.unwrap_or(6);
    let types = windows::layer_types(keys, config.layers)?;
    for (layer, attention) in config.attention.iter_mut().enumerate() {
        let slides = types.as_ref().map_or((layer + 1) % pattern != 0, |types| types[layer]);
        if slides && window.is_none() {
            return Err(format!("{}sliding_window is null, and layer {layer} slides", keys.path));
        }
        attention.window = window.filter(|_| slides);
        attention.rope = Some(if slides { SLIDING } else { FULL });
    }
    Ok(())
}

/// The section of one kind of layers inside `rope_parameters`, as transformers 5 writes it.
fn section<'a>(keys: &Keys<'a>, kind: &str) -> Result<Option<&'a Map<String, Value>>, String> {
    let Some(both) = keys.section("rope_parameters")? else { return Ok(None) };
    let both = Keys { object: both, path: "rope_parameters." };
    if let Some((key, value)) = both.object.iter().find(|(key, value)| {
        !value.is_null() && !["full_attention", "sliding_attention"].contains(&key.as_str())
    }) {
        return Err(both.unsupported(key, value, "inside full_attention or sliding_attention"));
    }
    both.section(kind)
}

fn full_rope(keys: &Keys, config: &DecoderConfig) -> Result<Rope, String> {
    let mut object = section(keys, "full_attention")?.cloned().unwrap_or_default();
    // A `rope_scaling` beside it is laid over it.
    let scaling = keys.section("rope_scaling")?;
    object.extend(scaling.cloned().unwrap_or_default());
    let path = if scaling.is_some() { "rope_scaling." } else { "rope_parameters.full_attention." };
    let theta = keys.number("rope_theta")?.unwrap_or(1_000_000.0);
    rope(&Keys { object: &object, path }, theta, config)
}

fn sliding_rope(keys: &Keys, config: &DecoderConfig) -> Result<Rope, String> {
    let object = section(keys, "sliding_attention")?.cloned().unwrap_or_default();
    let theta = keys.number("rope_local_base_freq")?.unwrap_or(10_000.0);
    rope(&Keys { object: &object, path: "rope_parameters.sliding_attention." }, theta, config)
}

fn rope(section: &Keys, theta: f64, config: &DecoderConfig) -> Result<Rope, String> {
    // In nested sections transformers looks for this key in the wrong place.
    if let Some(value) = section.get("truncate").filter(|value| **value != Value::Bool(true)) {
        return Err(section.unsupported("truncate", value, "true"));
    }
    let (head_dim, context) = (config.head_dim, config.context);
    rope_config::parse_section(
        section,
        section,
        &RopeDefaults { theta, head_dim, context, dialect: Dialect::Common },
    )
}

fn read_nested(keys: &Keys, architecture: &str) -> Result<DecoderConfig, String> {
    let pictures = ["text_config", "vision_config", "mm_tokens_per_image", "tie_word_embeddings"];
    other_keys::check(keys, |key| pictures.contains(&key))?;
    let Some(text) = keys.section("text_config")? else {
        return Err("has no text_config".to_owned());
    };
    let mut config = read(&Keys { object: text, path: "text_config." }, architecture)?;
    // The outer key rules the head, which lies outside the text part.
    config.tied_embeddings = keys.flag_or("tie_word_embeddings", true)?;
    config.module_prefix = "model.language_model";
    Ok(config)
}
