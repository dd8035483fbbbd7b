//! The shape that a GGUF's metadata tells, as the `config.json` that the model had.
//!
//! Nothing is guessed: a missing key is an error, and so is one of the architecture's own keys that nothing here reads. What llama.cpp
//! itself takes for granted of a family (Gemma's pattern of windows) is taken for granted here.

use serde_json::{Map, Value as Json, json};

use super::file::GgufFile;
use super::metadata::Value;
use super::names::{self, Family};
use crate::base_error::BaseError;
use crate::config::DecoderConfig;

/// Divisors of rotary frequencies: Llama 3's scaling, and Phi's two sets.
pub(super) const DIVISORS: &str = "rope_freqs.weight";
pub(super) const SHORT: &str = "rope_factors_short.weight";
pub(super) const LONG: &str = "rope_factors_long.weight";

/// Tensors that are part of the configuration.
pub(super) const TENSORS: [&str; 3] = [DIVISORS, SHORT, LONG];

/// The architecture's own keys that are read here, or that say what is known anyway.
const KNOWN: &[&str] = &[
    "vocab_size",
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.attn_factor",
    "rope.scaling.finetuned",
    "tensor_data_layout",
];

/// The base's shape and its family.
pub(super) fn decoder(file: &GgufFile) -> Result<(DecoderConfig, Family), BaseError> {
    let json = config(file)?;
    let config = DecoderConfig::parse(json.to_string().as_bytes(), &file.path)?;
    Ok((config, family(file)?))
}

fn family(file: &GgufFile) -> Result<Family, BaseError> {
    let key = "general.architecture";
    let found = file.required(key, file.text(key)?)?;
    let family = names::FAMILIES.into_iter().find(|family| family.architecture == found);
    family.ok_or_else(|| BaseError::UnknownArchitecture {
        file: file.path.clone(),
        found: found.chars().take(100).collect(),
        known: names::FAMILIES.iter().map(|family| family.architecture).collect(),
    })
}

/// One architecture's keys.
struct Keys<'a> {
    file: &'a GgufFile,
    architecture: &'static str,
}

impl Keys<'_> {
    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn size(&self, key: &str) -> Result<u64, BaseError> {
        let key = self.full(key);
        self.file.required(&key, self.file.whole(&key)?)
    }

    fn optional_size(&self, key: &str) -> Result<Option<u64>, BaseError> {
        Ok(self.file.whole(&self.full(key))?.filter(|size| *size > 0))
    }

    fn number(&self, key: &str) -> Result<Option<f64>, BaseError> {
        self.file.number(&self.full(key))
    }

    fn no_others(&self) -> Result<(), BaseError> {
        let mut others: Vec<&str> = self.file.keys().filter(|key| self.is_other(key)).collect();
        others.sort_unstable();
        match others.first() {
            None => Ok(()),
            Some(key) => {
                let key: String = key.chars().take(100).collect();
                Err(self.file.bad(format!(
                    "its metadata has {key}, and this version does not know what that does to the model's numbers"
                )))
            }
        }
    }

    fn is_other(&self, key: &str) -> bool {
        let Some(own) = key.strip_prefix(self.architecture).and_then(|rest| rest.strip_prefix('.')) else {
            return false;
        };
        // 0, false and an empty text mean "not used" for every key that llama.cpp has.
        let unused = matches!(
            self.file.get(key),
            Some(Value::Whole(0) | Value::Number(0.0) | Value::Flag(false) | Value::Text(""))
        );
        !KNOWN.contains(&own) && !unused
    }
}

/// What `config.json` would say.
pub(super) fn config(file: &GgufFile) -> Result<Json, BaseError> {
    let mut family = family(file)?;
    let keys = Keys { file, architecture: family.architecture };
    keys.no_others()?;
    let window = keys.optional_size("attention.sliding_window")?;
    if family.model_type == "llama" && window.is_some() {
        // Of those that llama.cpp calls llama, Mistral's first one had a window.
        family = names::of_class("MistralForCausalLM").unwrap_or(family);
    }
    let (hidden, heads) = (keys.size("embedding_length")?, keys.size("attention.head_count")?);
    let head_dim = match keys.optional_size("attention.key_length")? {
        Some(width) => width,
        None if heads > 0 && hidden.is_multiple_of(heads) => hidden / heads,
        None => {
            return Err(file.bad(format!(
                "{} is {heads}, which does not divide {} {hidden}",
                keys.full("attention.head_count"),
                keys.full("embedding_length")
            )));
        }
    };
    if keys.optional_size("attention.value_length")?.is_some_and(|width| width != head_dim) {
        return Err(
            file.bad(format!("{} must be that of keys, {head_dim}", keys.full("attention.value_length")))
        );
    }
    let turning = keys.optional_size("rope.dimension_count")?.unwrap_or(head_dim);
    if turning != head_dim && family.model_type != "phi3" {
        return Err(
            file.bad(format!("{} must be a head's width, {head_dim}", keys.full("rope.dimension_count")))
        );
    }
    let rms = "attention.layer_norm_rms_epsilon";
    let embedding = file.tensors.get(names::EMBEDDING).and_then(|entry| entry.shape.first().copied());
    let Some(vocab) = embedding else {
        return Err(file.bad(format!("has no tensor {}; it is no whole model", names::EMBEDDING)));
    };
    let layers = keys.size("block_count")?;
    let context = keys.size("context_length")?;
    let mut config = Map::new();
    let mut set = |key: &str, value: Json| config.insert(key.to_owned(), value);
    set("architectures", json!([family.class]));
    set("model_type", family.model_type.into());
    set("hidden_size", hidden.into());
    set("num_hidden_layers", layers.into());
    set("intermediate_size", keys.size("feed_forward_length")?.into());
    set("num_attention_heads", heads.into());
    set("num_key_value_heads", keys.optional_size("attention.head_count_kv")?.unwrap_or(heads).into());
    set("max_position_embeddings", context.into());
    set("rms_norm_eps", file.required(&keys.full(rms), keys.number(rms)?)?.into());
    set("vocab_size", vocab.into());
    set("tie_word_embeddings", (!file.tensors.contains_key(names::HEAD)).into());
    // llama.cpp's own default.
    set("rope_theta", keys.number("rope.freq_base")?.unwrap_or(10_000.0).into());
    if let Some(scaling) = scaling(&keys, context, turning)? {
        set("rope_scaling", scaling);
    }
    let has = |name: &str| file.tensors.contains_key(name);
    match family.model_type {
        "llama" | "smollm3" => {
            set("head_dim", head_dim.into());
            set("attention_bias", has("blk.0.attn_q.bias").into());
            set("mlp_bias", has("blk.0.ffn_gate.bias").into());
        }
        "mistral" => {
            set("head_dim", head_dim.into());
            set("sliding_window", window.into());
        }
        "qwen3" => {
            set("head_dim", head_dim.into());
            set("attention_bias", has("blk.0.attn_q.bias").into());
        }
        "gemma3_text" => {
            set("head_dim", head_dim.into());
            set("sliding_window", window.into());
            set("rope_local_base_freq", keys.number("rope.freq_base_swa")?.unwrap_or(10_000.0).into());
            // Its metadata does not say; llama.cpp tells the 27B by its layers.
            let scale = if layers == 62 { hidden as f64 / heads as f64 } else { head_dim as f64 };
            set("query_pre_attn_scalar", scale.into());
        }
        "phi3" => {
            set("partial_rotary_factor", (turning as f64 / head_dim as f64).into());
            set("sliding_window", window.into());
            if let Some(original) = keys.optional_size("rope.scaling.original_context_length")? {
                set("original_max_position_embeddings", original.into());
            }
        }
        _ => {}
    }
    if !matches!(family.model_type, "mistral" | "gemma3_text" | "phi3") && window.is_some() {
        return Err(file.bad(format!("{} is not supported here", keys.full("attention.sliding_window"))));
    }
    Ok(Json::Object(config))
}

/// `rope_scaling`, as config.json has it.
fn scaling(keys: &Keys, context: u64, turning: u64) -> Result<Option<Json>, BaseError> {
    let file = keys.file;
    let divisors = |name: &str| divisors(file, name, turning);
    let attention = keys.number("rope.scaling.attn_factor")?;
    if let (Some(short), Some(long)) = (divisors(SHORT)?, divisors(LONG)?) {
        let original = keys.size("rope.scaling.original_context_length")?;
        return Ok(Some(json!({"rope_type": "longrope", "short_factor": short, "long_factor": long,
            "original_max_position_embeddings": original, "attention_factor": attention})));
    }
    if let Some(divisors) = divisors(DIVISORS)? {
        // What is left of Llama 3's scaling; of longrope it is the case in which both sets are the same.
        return Ok(Some(json!({"rope_type": "longrope", "short_factor": divisors, "long_factor": divisors,
            "original_max_position_embeddings": context, "attention_factor": 1.0})));
    }
    let key = "rope.scaling.type";
    let full = keys.full(key);
    let factor = match keys.number("rope.scaling.factor")? {
        Some(factor) => Some(factor),
        None => keys.number("rope.scale_linear")?,
    };
    match (file.text(&full)?, factor) {
        (Some("none"), _) | (None, None) => Ok(None),
        (None | Some("linear"), Some(factor)) => Ok(Some(json!({"rope_type": "linear", "factor": factor}))),
        (Some("yarn"), Some(factor)) => {
            let original = keys.size("rope.scaling.original_context_length")?;
            Ok(Some(json!({"rope_type": "yarn", "factor": factor, "attention_factor": attention,
                "original_max_position_embeddings": original})))
        }
        (Some("linear" | "yarn"), None) => {
            Err(file.bad(format!("its metadata has no {}", keys.full("rope.scaling.factor"))))
        }
        (Some(other), _) => {
            let other: String = other.chars().take(60).collect();
            Err(file.bad(format!(
                "{full} is {other:?}, which this version does not support; it must be none, linear or yarn, or longrope with \
                 both of its tensors"
            )))
        }
    }
}

fn divisors(file: &GgufFile, name: &str, turning: u64) -> Result<Option<Vec<f32>>, BaseError> {
    let Some(entry) = file.tensors.get(name) else { return Ok(None) };
    let values = file.tensor_bytes(entry).as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let values: Vec<f32> = values.collect();
    let is_possible = entry.kind == super::tensor_kind::TensorKind::F32
        && values.len() as u64 == turning / 2
        && values.iter().all(|value| value.is_finite() && *value > 0.0);
    if !is_possible {
        return Err(file.bad(format!("the tensor {name} must hold {} numbers above 0 as F32", turning / 2)));
    }
    Ok(Some(values))
}

/// What `generation_config.json` would say: every token that ends an answer.
pub(super) fn generation(file: &GgufFile) -> Result<Json, BaseError> {
    let mut ends = Vec::new();
    for key in ["eos_token_id", "eot_token_id", "eom_token_id"] {
        ends.extend(file.whole(&format!("tokenizer.ggml.{key}"))?.map(i64::try_from).and_then(Result::ok));
    }
    Ok(json!({ "eos_token_id": ends }))
}
