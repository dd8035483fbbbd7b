//! `adapter_config.json`: which settings of PEFT's `LoraConfig` this engine honours, ignores or refuses.

use std::path::Path;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::AdapterError;
use crate::config::parse_object;
use crate::lora::{Adapter, Linear, Lora};

/// Ranks beyond this are no adapter: more than the width of any base.
const LARGEST_RANK: u64 = 1 << 16;

/// Keys that don't change what the tensors mean once they are trained. Every other key must be absent, null, false or empty.
const HARMLESS: &[&str] = &[
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    // Turned off by PEFT itself for linear layers, which are all that Llama has.
    "fan_in_fan_out",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
];

/// Ways to initialise that also changed the base's weights: without those, the tensors mean nothing.
const BASE_CHANGING: &[&str] = &["pissa", "olora", "corda", "loftq", "lora_ga"];

/// What an adapter's settings say about its tensors.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) rank: usize,
    pub(super) alpha: f64,
    root_scaled: bool,
    ranks: Vec<(Regex, usize)>,
    alphas: Vec<(Regex, f64)>,
    /// Module names that must have tensors; none where a pattern chose them.
    pub(super) listed: Vec<String>,
    /// Some layers were left out on purpose.
    pub(super) partial: bool,
}

impl Settings {
    pub(super) fn parse(json: &[u8], file: &Path) -> Result<Self, AdapterError> {
        let bad = |why: String| AdapterError::BadConfig { file: file.to_owned(), why };
        let object = parse_object(json).map_err(bad)?;
        if let Some(what) = unsupported(&object) {
            return Err(AdapterError::Unsupported { file: file.to_owned(), what });
        }
        // PEFT's own defaults.
        let rank = object.get("r").map_or(Ok(8), |value| rank("r", value)).map_err(bad)?;
        let alpha =
            object.get("lora_alpha").map_or(Ok(8.0), |value| alpha("lora_alpha", value)).map_err(bad)?;
        let listed = match object.get("target_modules") {
            Some(Value::Array(names)) => {
                names.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
            }
            Some(Value::String(_) | Value::Null) | None => Some(Vec::new()),
            Some(_) => None,
        };
        let given = |key: &str| object.get(key).is_some_and(|value| !is_nothing(value));
        Ok(Self {
            rank,
            alpha,
            root_scaled: object.get("use_rslora") == Some(&Value::Bool(true)),
            ranks: patterns(&object, "rank_pattern", self::rank).map_err(bad)?,
            alphas: patterns(&object, "alpha_pattern", self::alpha).map_err(bad)?,
            listed: listed
                .ok_or_else(|| bad("target_modules must be a list of names or a text".to_owned()))?,
            partial: given("layers_to_transform") || given("exclude_modules"),
        })
    }

    /// The rank of a module such as `model.layers.0.self_attn.q_proj`.
    pub(super) fn rank_of(&self, module: &str) -> usize {
        first_match(&self.ranks, module).unwrap_or(self.rank)
    }

    pub(super) fn scale_of(&self, module: &str) -> f64 {
        let alpha = first_match(&self.alphas, module).unwrap_or(self.alpha);
        scale(alpha, self.rank_of(module), self.root_scaled)
    }
}

fn scale(alpha: f64, rank: usize, root: bool) -> f64 {
    if root { alpha / (rank as f64).sqrt() } else { alpha / rank as f64 }
}

fn first_match<T: Copy>(patterns: &[(Regex, T)], module: &str) -> Option<T> {
    patterns.iter().find(|(pattern, _)| pattern.is_match(module)).map(|(_, value)| *value)
}

/// Null, false, zero-length: PEFT's ways to say "not used".
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

fn unsupported(object: &Map<String, Value>) -> Option<String> {
    match object.get("peft_type") {
        Some(Value::String(kind)) if kind == "LORA" => {}
        Some(other) => return Some(format!("peft_type is {other}, not \"LORA\"")),
        None => return Some("it has no peft_type".to_owned()),
    }
    if let Some(Value::String(start)) = object.get("init_lora_weights")
        && let Some(method) = BASE_CHANGING.iter().find(|method| start.to_lowercase().starts_with(**method))
    {
        return Some(format!(
            "init_lora_weights is {start:?}: {method} also changed the base's weights; save it again in PEFT with \
             path_initial_model_for_weight_conversion"
        ));
    }
    for (key, value) in object {
        let plain = match key.as_str() {
            "peft_type" | "r" | "lora_alpha" | "target_modules" | "rank_pattern" | "alpha_pattern"
            | "use_rslora" | "init_lora_weights" => true,
            "bias" => value == "none" || is_nothing(value),
            key => HARMLESS.contains(&key) || is_nothing(value),
        };
        if !plain {
            let what = match key.as_str() {
                "use_dora" => "it is a DoRA adapter (use_dora)".to_owned(),
                "modules_to_save" => format!("it brings whole modules of its own (modules_to_save: {value})"),
                "bias" | "lora_bias" => format!("it changes biases ({key}: {value})"),
                key => format!("it uses {key}: {value}"),
            };
            return Some(what.chars().take(200).collect());
        }
    }
    None
}

fn rank(key: &str, value: &Value) -> Result<usize, String> {
    match value.as_u64() {
        Some(rank) if (1..=LARGEST_RANK).contains(&rank) => Ok(rank as usize),
        _ => Err(format!("{key} must be a whole number from 1 to {LARGEST_RANK}")),
    }
}

fn alpha(key: &str, value: &Value) -> Result<f64, String> {
    match value.as_f64() {
        Some(alpha) if (alpha as f32).is_finite() => Ok(alpha),
        _ => Err(format!("{key} must be a number")),
    }
}

/// PEFT's `get_pattern_key`: each key is a regular expression for the end of a module's name, from a dot or its start;
/// the first that matches counts.
fn patterns<T>(
    object: &Map<String, Value>,
    key: &str,
    parse: impl Fn(&str, &Value) -> Result<T, String>,
) -> Result<Vec<(Regex, T)>, String> {
    let entries = match object.get(key) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(entries)) => entries,
        Some(_) => return Err(format!("{key} must be an object")),
    };
    let one = |(pattern, value): (&String, &Value)| {
        let place = format!("{key}.{pattern}");
        let regex = Regex::new(&format!(r"^(?:.*\.)?(?:{pattern})$"))
            .map_err(|_| format!("{place} is no regular expression that this version knows"))?;
        Ok((regex, parse(&place, value)?))
    };
    entries.iter().map(one).collect()
}

/// The settings of an adapter as PEFT's `save_pretrained` writes them: keys sorted, indented by 2. Only keys that every
/// version of PEFT since 2023 knows: older ones refuse unknown keys.
pub(super) fn write(adapter: &Adapter, base: &str) -> Vec<u8> {
    let root_scaled = adapter.pairs().next().is_some()
        && adapter.pairs().all(|(_, _, pair)| is_default(adapter, pair, true))
        && !adapter.pairs().all(|(_, _, pair)| is_default(adapter, pair, false));
    let mut ranks = Map::new();
    let mut alphas = Map::new();
    for (layer, linear, pair) in adapter.pairs() {
        let module = module(layer, linear);
        let rank = rank_of(pair);
        if rank != adapter.rank {
            ranks.insert(module.clone(), json!(rank));
        }
        if scale(adapter.alpha, rank, root_scaled).to_bits() != pair.scale.to_bits() {
            alphas.insert(module, number(alpha_for(pair.scale, rank)));
        }
    }
    let targets = targets(adapter);
    let mut settings = json!({
        "alpha_pattern": alphas,
        "auto_mapping": null,
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "layers_pattern": null,
        "layers_to_transform": null,
        "lora_alpha": number(adapter.alpha),
        "lora_dropout": 0.0,
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": adapter.rank,
        "rank_pattern": ranks,
        "revision": null,
        "target_modules": targets,
        "task_type": "CAUSAL_LM",
    });
    if root_scaled {
        settings["use_rslora"] = json!(true);
    }
    settings.sort_all_objects();
    format!("{settings:#}").into_bytes()
}

/// What `target_modules` lists: short names where every block has the same modules, else each module in full.
fn targets(adapter: &Adapter) -> Vec<String> {
    let has = |linear: &Linear| adapter.layers.iter().any(|layer| layer.get(*linear).is_some());
    let short: Vec<Linear> = Linear::ALL.into_iter().filter(has).collect();
    if adapter.pairs().count() == short.len() * adapter.layers.len() {
        return short.into_iter().map(|linear| linear.module().to_owned()).collect();
    }
    adapter.pairs().map(|(layer, linear, _)| module(layer, linear)).collect()
}

/// A module's name inside the base.
pub(super) fn module(layer: usize, linear: Linear) -> String {
    format!("model.layers.{layer}.{}.{}", linear.parent(), linear.module())
}

fn rank_of(pair: &Lora) -> usize {
    pair.a.dims().first().copied().unwrap_or(1)
}

fn is_default(adapter: &Adapter, pair: &Lora, root: bool) -> bool {
    scale(adapter.alpha, rank_of(pair), root).to_bits() == pair.scale.to_bits()
}

/// The alpha that gives exactly this scale when it is divided by the rank again, as far as there is one.
fn alpha_for(scale: f64, rank: usize) -> f64 {
    let near = scale * rank as f64;
    let exact = [near, near.next_up(), near.next_down()]
        .into_iter()
        .find(|alpha| (alpha / rank as f64).to_bits() == scale.to_bits());
    exact.unwrap_or(near)
}

/// PEFT's alpha is a whole number mostly, and some readers know no other.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}
