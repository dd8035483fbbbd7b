//! `config.json` of a decoder, as transformers 4 and 5 write it.
//!
//! Owns which configurations this engine computes exactly: one file for each family, all giving one [`DecoderConfig`]. A key that would
//! change the numbers and is not supported is an error, never ignored. It must not know tensors or tokenizers.
//!
//! Each family says of every layer what it sees (window, rotary table) and of the block which norms and which linear layers it has. Defaults are those of the
//! family's class in transformers 5: Gemma 3 and SmolLM3 tie their embeddings unless told otherwise.

use std::path::Path;

use serde_json::{Map, Value};

use crate::base_error::BaseError;
use crate::lora::Linear;
use crate::ops::gated_unit::Activation;
use crate::rope_config::{self, Dialect, Rope, RopeDefaults};

mod gemma3;
mod keys;
mod llama;
mod mistral;
mod other_keys;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;
mod windows;

pub(crate) use keys::{Keys, parse_object};

/// The families, each in its own file.
const FAMILIES: &[&Family] = &[
    &llama::FAMILY,
    &mistral::FAMILY,
    &qwen2::FAMILY,
    &qwen3::FAMILY,
    &smollm3::FAMILY,
    &gemma3::TEXT,
    &gemma3::WITH_PICTURES,
    &phi3::FAMILY,
];

/// Models whose config.json is read alike.
struct Family {
    /// What `architectures` says.
    architecture: &'static str,
    /// What `model_type` says.
    model_type: &'static str,
    read: fn(&Keys, &str) -> Result<DecoderConfig, String>,
}

/// What `architectures` may hold.
pub fn known_architectures() -> Vec<&'static str> {
    FAMILIES.iter().map(|family| family.architecture).collect()
}

/// The shape of a decoder, validated: no size is zero or absurd, and heads divide.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    /// One of [`known_architectures`].
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
    /// The kinds of rotary positions that layers choose from.
    pub ropes: Vec<Rope>,
    /// One for each layer.
    pub attention: Vec<LayerAttention>,
    /// Factor on the products of queries and keys.
    pub attention_scale: f64,
    pub projections: Projections,
    pub block_norms: BlockNorms,
    pub norm_weight: NormWeight,
    /// Each query and key head is normalised before it turns.
    pub head_norms: bool,
    pub activation: Activation,
    pub biases: Biases,
    /// Factor on token embeddings.
    pub embedding_scale: f64,
    /// The output head is the token embedding.
    pub tied_embeddings: bool,
    /// Tokens that it was made to read at once.
    pub context: usize,
    /// What stands before `.layers.N` in the names of modules, as the current transformers has them.
    pub module_prefix: &'static str,
}

/// What one layer's attention sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerAttention {
    /// A token sees so many of the last tokens, itself among them; all without it.
    pub window: Option<usize>,
    /// An index into [`DecoderConfig::ropes`]; heads do not turn without it.
    pub rope: Option<usize>,
}

/// How a block's linear layers are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projections {
    Separate,
    /// Queries, keys and values in one layer, gate and up in another one.
    Fused,
}

/// Where a block normalises the residual stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockNorms {
    /// Before attention and before the feed-forward part.
    Before,
    /// Before and after each of them.
    Sandwich,
}

/// What a checkpoint stores of a normalisation's factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormWeight {
    Factor,
    /// The factor less 1.
    FactorLessOne,
}

/// Which linear layers add a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Biases {
    pub query_key_value: bool,
    pub output: bool,
    pub mlp: bool,
}

impl DecoderConfig {
    /// Reads the bytes of `config.json`; `file` is only named in errors.
    ///
    /// # Errors
    /// [`BaseError::BadConfig`] naming the key, [`BaseError::UnknownArchitecture`].
    pub fn parse(json: &[u8], file: &Path) -> Result<Self, BaseError> {
        let object = parse_object(json).map_err(|why| bad(file, why))?;
        let family = family(&object, file)?;
        let keys = Keys { object: &object, path: "" };
        (family.read)(&keys, family.architecture).map_err(|why| bad(file, why))
    }

    /// Whether a linear layer adds a bias.
    pub const fn biased(&self, linear: Linear) -> bool {
        match linear {
            Linear::Query | Linear::Key | Linear::Value | Linear::QueryKeyValue => {
                self.biases.query_key_value
            }
            Linear::Output => self.biases.output,
            Linear::Gate | Linear::Up | Linear::GateUp | Linear::Down => self.biases.mlp,
        }
    }
}

/// What a family takes where config.json is silent, as its class in transformers does.
struct Defaults {
    /// Key and value heads; as many as query heads without it.
    kv_heads: Option<usize>,
    /// `hidden / heads` without it.
    head_dim: Option<usize>,
    context: usize,
    rms_eps: f64,
    theta: f64,
    tied: bool,
    activation_key: &'static str,
    activation: Activation,
}

impl Defaults {
    const LLAMA: Defaults = Defaults {
        kv_heads: None,
        head_dim: None,
        context: 2048,
        rms_eps: 1e-6,
        theta: 10_000.0,
        tied: false,
        activation_key: "hidden_act",
        activation: Activation::Silu,
    };
}

/// Keys that [`common`] reads.
const COMMON: &[&str] = &[
    "hidden_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "rms_norm_eps",
    "num_hidden_layers",
    "intermediate_size",
    "vocab_size",
    "tie_word_embeddings",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "original_max_position_embeddings",
];

/// A Llama of the sizes that the keys give; a family changes what it has otherwise. Any key that neither this nor `own` nor
/// [`other_keys`] knows is refused.
fn common(
    keys: &Keys,
    architecture: &str,
    defaults: &Defaults,
    own: &[&str],
) -> Result<DecoderConfig, String> {
    other_keys::check(keys, |key| {
        COMMON.contains(&key) || own.contains(&key) || key == defaults.activation_key
    })?;
    let hidden = keys.size("hidden_size", 1 << 18)?;
    let heads = keys.size("num_attention_heads", 1 << 14)?;
    // Null means "as many as query heads" even where leaving the key out means a number.
    let default_kv = if keys.is_null("num_key_value_heads") { None } else { defaults.kv_heads };
    let kv_heads = keys.optional_size("num_key_value_heads", 1 << 14)?.or(default_kv).unwrap_or(heads);
    let head_dim = match keys.optional_size("head_dim", 1 << 14)?.or(defaults.head_dim) {
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
    let context = keys.optional_size("max_position_embeddings", 1 << 30)?.unwrap_or(defaults.context);
    let rms_eps = keys.number("rms_norm_eps")?.unwrap_or(defaults.rms_eps);
    if !(0.0..1.0).contains(&rms_eps) {
        return Err(format!("rms_norm_eps is {rms_eps}; it must be between 0 and 1"));
    }
    let layers = keys.size("num_hidden_layers", 1 << 12)?;
    Ok(DecoderConfig {
        architecture: architecture.to_owned(),
        hidden,
        layers,
        heads,
        kv_heads,
        head_dim,
        intermediate: keys.size("intermediate_size", 1 << 22)?,
        vocab: keys.size("vocab_size", 1 << 24)?,
        rms_eps,
        ropes: Vec::new(),
        attention: vec![LayerAttention { window: None, rope: Some(0) }; layers],
        attention_scale: 1.0 / (head_dim as f64).sqrt(),
        projections: Projections::Separate,
        block_norms: BlockNorms::Before,
        norm_weight: NormWeight::Factor,
        head_norms: false,
        activation: activation(keys, defaults)?,
        biases: Biases { query_key_value: false, output: false, mlp: false },
        embedding_scale: 1.0,
        tied_embeddings: keys.flag_or("tie_word_embeddings", defaults.tied)?,
        context,
        module_prefix: "model",
    })
}

/// [`common`] with one kind of rotary positions for all layers.
fn with_rope(
    keys: &Keys,
    architecture: &str,
    defaults: &Defaults,
    own: &[&str],
) -> Result<DecoderConfig, String> {
    let mut config = common(keys, architecture, defaults, own)?;
    let (head_dim, context) = (config.head_dim, config.context);
    let rope = rope_config::parse(
        keys,
        &RopeDefaults { theta: defaults.theta, head_dim, context, dialect: Dialect::Common },
    )?;
    config.context = context_of(&rope, context);
    config.ropes = vec![rope];
    Ok(config)
}

/// With `dynamic`, config.json gives the context before stretching.
fn context_of(rope: &Rope, context: usize) -> usize {
    match rope.scaling {
        RopeScaling::Dynamic { factor, .. } => (context as f64 * factor) as usize,
        _ => context,
    }
}

fn activation(keys: &Keys, defaults: &Defaults) -> Result<Activation, String> {
    let Some(value) = keys.get(defaults.activation_key) else { return Ok(defaults.activation) };
    match value.as_str() {
        Some("silu" | "swish") => Ok(Activation::Silu),
        Some("gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
        _ => Err(keys.unsupported(defaults.activation_key, value, "silu or gelu_pytorch_tanh")),
    }
}

fn bad(file: &Path, why: String) -> BaseError {
    BaseError::BadConfig { file: file.to_owned(), why }
}

fn family(object: &Map<String, Value>, file: &Path) -> Result<&'static Family, BaseError> {
    let unknown = |found: String| BaseError::UnknownArchitecture {
        file: file.to_owned(),
        found: found.chars().take(100).collect(),
        known: known_architectures(),
    };
    let model_type = object.get("model_type").and_then(Value::as_str);
    let named = match object.get("architectures") {
        Some(Value::Array(list)) => list.first().and_then(Value::as_str),
        _ => None,
    };
    let of = |wanted: &dyn Fn(&Family) -> bool| FAMILIES.iter().copied().find(|family| wanted(family));
    match (named, model_type) {
        (Some(name), model_type) => {
            let family = of(&|family| family.architecture == name).ok_or_else(|| unknown(name.to_owned()))?;
            match model_type {
                Some(other) if other != family.model_type => {
                    Err(unknown(format!("{name} with model_type {other}")))
                }
                _ => Ok(family),
            }
        }
        (None, Some(model_type)) => of(&|family| family.model_type == model_type)
            .ok_or_else(|| unknown(format!("of model_type {model_type}"))),
        (None, None) => {
            Err(bad(file, "has neither architectures nor model_type; is it a model's config.json?".into()))
        }
    }
}

pub use crate::rope_config::RopeScaling;

#[cfg(test)]
mod published;
#[cfg(test)]
mod tests;
