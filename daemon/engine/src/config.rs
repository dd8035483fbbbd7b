//! `config.json` of a Llama-family decoder, as transformers 4 and 5 write it.
//!
//! Owns which configurations this engine computes exactly. A key that would change the numbers and is not supported is
//! an error, never ignored. It must not know tensors or tokenizers.

use std::path::Path;

use serde_json::{Map, Value};

use crate::base_error::BaseError;
use crate::rope_config::{self, Rope};

pub use crate::rope_config::RopeScaling;

/// What `architectures` may hold.
pub const KNOWN_ARCHITECTURES: &[&str] = &["LlamaForCausalLM"];

/// Keys that say a checkpoint is not a plain Llama, and the value that means "not used" (besides null).
const NEUTRAL: &[(&str, Neutral)] = &[
    ("quantization_config", Neutral::Absent),
    ("compression_config", Neutral::Absent),
    ("per_layer_config", Neutral::Absent),
    ("pretraining_tp", Neutral::One),
    ("partial_rotary_factor", Neutral::One),
    ("rope_interleaved", Neutral::False),
    ("use_qk_norm", Neutral::False),
    ("num_local_experts", Neutral::Zero),
    ("num_experts", Neutral::Zero),
];

#[derive(Clone, Copy)]
enum Neutral {
    Absent,
    False,
    Zero,
    One,
}

impl Neutral {
    fn admits(self, value: &Value) -> bool {
        match self {
            _ if value.is_null() => true,
            Neutral::Absent => false,
            Neutral::False => value == &Value::Bool(false),
            Neutral::Zero => value.as_f64() == Some(0.0),
            Neutral::One => value.as_f64() == Some(1.0),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Neutral::Absent => "null or left out",
            Neutral::False => "false",
            Neutral::Zero => "0",
            Neutral::One => "1",
        }
    }
}

/// The shape of a decoder, validated: no size is zero or absurd, and heads divide.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    /// One of [`KNOWN_ARCHITECTURES`].
    pub architecture: String,
    /// Width of the residual stream.
    pub hidden: usize,
    pub layers: usize,
    /// Query heads; a multiple of `kv_heads`.
    pub heads: usize,
    pub kv_heads: usize,
    /// Width of one head; even.
    pub head_dim: usize,
    /// Width inside the feed-forward block.
    pub intermediate: usize,
    pub vocab: usize,
    pub rms_eps: f64,
    pub rope: Rope,
    /// The output head is the token embedding.
    pub tied_embeddings: bool,
    pub attention_bias: bool,
    pub mlp_bias: bool,
    /// `max_position_embeddings`: tokens that it was made to read at once.
    pub context: usize,
}

impl DecoderConfig {
    /// Reads the bytes of `config.json`; `file` is only named in errors.
    ///
    /// # Errors
    /// [`BaseError::BadConfig`] naming the key, [`BaseError::UnknownArchitecture`].
    pub fn parse(json: &[u8], file: &Path) -> Result<Self, BaseError> {
        let object = parse_object(json).map_err(|why| bad(file, why))?;
        let architecture = architecture(&object, file)?;
        Self::from_object(&Keys { object: &object, path: "" }, architecture).map_err(|why| bad(file, why))
    }

    fn from_object(keys: &Keys, architecture: String) -> Result<Self, String> {
        for (key, neutral) in NEUTRAL {
            if let Some(value) = keys.get(key)
                && !neutral.admits(value)
            {
                return Err(keys.unsupported(key, value, neutral.words()));
            }
        }
        if let Some(types) = keys.get("layer_types").and_then(Value::as_array)
            && let Some(other) = types.iter().find(|kind| kind.as_str() != Some("full_attention"))
        {
            return Err(keys.unsupported("layer_types", other, "full_attention for each layer"));
        }
        if let Some(act) = keys.get("hidden_act")
            && act.as_str() != Some("silu")
        {
            return Err(keys.unsupported("hidden_act", act, "silu"));
        }
        let hidden = keys.size("hidden_size", 1 << 18)?;
        let heads = keys.size("num_attention_heads", 1 << 14)?;
        let kv_heads = keys.optional_size("num_key_value_heads", 1 << 14)?.unwrap_or(heads);
        let head_dim = match keys.optional_size("head_dim", 1 << 14)? {
            Some(head_dim) => head_dim,
            None if hidden % heads == 0 => hidden / heads,
            None => {
                return Err(format!(
                    "num_attention_heads is {heads}, which does not divide hidden_size {hidden}"
                ));
            }
        };
        if heads % kv_heads != 0 {
            return Err(format!(
                "num_key_value_heads is {kv_heads}, which does not divide num_attention_heads {heads}"
            ));
        }
        if head_dim % 2 != 0 {
            return Err(format!("head_dim is {head_dim}; rotary positions need an even one"));
        }
        let context = keys.optional_size("max_position_embeddings", 1 << 30)?.unwrap_or(2048);
        let rms_eps = keys.number("rms_norm_eps")?.unwrap_or(1e-6);
        if !(0.0..1.0).contains(&rms_eps) {
            return Err(format!("rms_norm_eps is {rms_eps}; it must be between 0 and 1"));
        }
        Ok(Self {
            architecture,
            hidden,
            layers: keys.size("num_hidden_layers", 1 << 12)?,
            heads,
            kv_heads,
            head_dim,
            intermediate: keys.size("intermediate_size", 1 << 22)?,
            vocab: keys.size("vocab_size", 1 << 24)?,
            rms_eps,
            rope: rope_config::parse(keys, context)?,
            tied_embeddings: keys.flag("tie_word_embeddings")?,
            attention_bias: keys.flag("attention_bias")?,
            mlp_bias: keys.flag("mlp_bias")?,
            context,
        })
    }
}

fn bad(file: &Path, why: String) -> BaseError {
    BaseError::BadConfig { file: file.to_owned(), why }
}

fn architecture(object: &Map<String, Value>, file: &Path) -> Result<String, BaseError> {
    let unknown = |found: String| BaseError::UnknownArchitecture {
        file: file.to_owned(),
        found,
        known: KNOWN_ARCHITECTURES,
    };
    let model_type = object.get("model_type").and_then(Value::as_str);
    let named = match object.get("architectures") {
        Some(Value::Array(list)) => list.first().and_then(Value::as_str),
        _ => None,
    };
    match (named, model_type) {
        (Some(name), None | Some("llama")) if KNOWN_ARCHITECTURES.contains(&name) => Ok(name.to_owned()),
        (None, Some("llama")) => Ok(KNOWN_ARCHITECTURES[0].to_owned()),
        (Some(name), Some(model_type)) if KNOWN_ARCHITECTURES.contains(&name) => {
            Err(unknown(format!("{name} with model_type {model_type}")))
        }
        (Some(name), _) => Err(unknown(name.to_owned())),
        (None, Some(model_type)) => Err(unknown(format!("of model_type {model_type}"))),
        (None, None) => {
            Err(bad(file, "has neither architectures nor model_type; is it a model's config.json?".into()))
        }
    }
}

/// The object that a JSON file holds, or why it does not hold one.
pub(crate) fn parse_object(json: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice::<Value>(json) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("must hold one JSON object".to_owned()),
        Err(error) => Err(format!("is not valid JSON: {error}")),
    }
}

/// Typed access to an object's keys; null counts as absent. Errors name the key with its path.
pub(crate) struct Keys<'a> {
    pub(crate) object: &'a Map<String, Value>,
    /// What stands before a key in messages, such as `rope_scaling.`.
    pub(crate) path: &'a str,
}

impl Keys<'_> {
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn unsupported(&self, key: &str, value: &Value, supported: &str) -> String {
        format!(
            "{}{key} is {}, which this version does not support; it must be {supported}",
            self.path,
            short(value)
        )
    }

    pub(crate) fn optional_size(&self, key: &str, limit: usize) -> Result<Option<usize>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_u64().and_then(|size| usize::try_from(size).ok()) {
            Some(size) if (1..=limit).contains(&size) => Ok(Some(size)),
            _ => Err(format!(
                "{}{key} is {}; it must be a whole number from 1 to {limit}",
                self.path,
                short(value)
            )),
        }
    }

    pub(crate) fn size(&self, key: &str, limit: usize) -> Result<usize, String> {
        self.optional_size(key, limit)?.ok_or_else(|| format!("has no {}{key}", self.path))
    }

    /// JSON numbers are finite, but their f32 may not be.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if (number as f32).is_finite() => Ok(Some(number)),
            _ => Err(format!("{}{key} is {}; it must be a number", self.path, short(value))),
        }
    }

    pub(crate) fn flag(&self, key: &str) -> Result<bool, String> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(value) => Err(format!("{}{key} is {}; it must be true or false", self.path, short(value))),
        }
    }
}

/// A value for a message: hostile ones may be megabytes.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tiny() -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100, "hidden_act": "silu",
        })
    }

    fn parse(value: &Value) -> Result<DecoderConfig, BaseError> {
        DecoderConfig::parse(value.to_string().as_bytes(), Path::new("base/config.json"))
    }

    fn with(key: &str, value: Value) -> Result<DecoderConfig, BaseError> {
        let mut config = tiny();
        config[key] = value;
        parse(&config)
    }

    #[test]
    fn defaults_are_those_of_transformers() {
        let config = parse(&tiny()).unwrap();
        assert_eq!((config.kv_heads, config.head_dim, config.context), (4, 16, 2048));
        assert!((config.rms_eps - 1e-6).abs() < 1e-18);
        assert!(!config.tied_embeddings && !config.attention_bias && !config.mlp_bias);
        assert_eq!(config.rope, Rope { theta: 10_000.0, scaling: RopeScaling::None });
    }

    #[test]
    fn what_is_given_is_kept() {
        let mut value = tiny();
        value["head_dim"] = json!(32);
        value["num_key_value_heads"] = json!(2);
        value["tie_word_embeddings"] = json!(true);
        value["attention_bias"] = json!(true);
        value["max_position_embeddings"] = json!(8192);
        value["rms_norm_eps"] = json!(1e-5);
        let config = parse(&value).unwrap();
        assert_eq!((config.head_dim, config.kv_heads, config.context), (32, 2, 8192));
        assert!(config.tied_embeddings && config.attention_bias && !config.mlp_bias);
    }

    #[test]
    fn what_would_change_the_numbers_is_refused_by_name() {
        for (key, value) in [
            ("hidden_act", json!("gelu")),
            ("pretraining_tp", json!(2)),
            ("quantization_config", json!({"bits": 4})),
            ("partial_rotary_factor", json!(0.5)),
            ("rope_interleaved", json!(true)),
            ("num_local_experts", json!(8)),
            ("layer_types", json!(["full_attention", "sliding_attention"])),
            ("hidden_size", json!(0)),
            ("hidden_size", json!(1e30)),
            ("hidden_size", json!(u64::MAX)),
            ("hidden_size", json!("64")),
            ("num_hidden_layers", json!(-1)),
            ("num_attention_heads", json!(5)),
            ("num_key_value_heads", json!(3)),
            ("num_key_value_heads", json!(0)),
            ("head_dim", json!(7)),
            ("vocab_size", json!(4_000_000_000_u64)),
            ("rms_norm_eps", json!("small")),
            ("rms_norm_eps", json!(-1.0)),
            ("tie_word_embeddings", json!(1)),
            ("rope_theta", json!(0)),
            ("max_position_embeddings", json!(0)),
        ] {
            let error = with(key, value.clone()).expect_err(key).to_string();
            assert!(error.contains("base/config.json") && error.contains(key), "{key} {value}: {error}");
        }
        for (key, value) in
            [("pretraining_tp", json!(1)), ("quantization_config", json!(null)), ("head_dim", json!(null))]
        {
            with(key, value).expect(key);
        }
    }

    #[test]
    fn an_unknown_architecture_lists_the_known_ones() {
        let error = with("architectures", json!(["Qwen2ForCausalLM"])).unwrap_err().to_string();
        assert!(error.contains("Qwen2ForCausalLM") && error.contains("LlamaForCausalLM"), "{error}");
        let error = with("model_type", json!("mistral")).unwrap_err();
        assert!(matches!(error, BaseError::UnknownArchitecture { .. }), "{error}");
        let mut bare = tiny();
        bare.as_object_mut().unwrap().remove("architectures");
        parse(&bare).expect("model_type alone is enough");
    }

    #[test]
    fn what_is_no_config_is_an_error_without_panic() {
        for bytes in [&b""[..], b"{", b"[]", b"null", b"\xff\xfe", b"{}", b"{\"model_type\":\"llama\"}"] {
            DecoderConfig::parse(bytes, Path::new("config.json")).unwrap_err();
        }
        let deep = "[".repeat(100_000);
        DecoderConfig::parse(deep.as_bytes(), Path::new("config.json")).unwrap_err();
        let long = with("hidden_act", json!("好".repeat(100_000))).unwrap_err().to_string();
        assert!(long.len() < 500, "{}", long.len());
    }
}
