//! `adapter_config.json`: which settings of PEFT's `LoraConfig` this engine honours, ignores or refuses.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::AdapterError;
use crate::config::{DecoderConfig, parse_object};
use crate::lora::{
    Adapter, LARGEST_RANK, Linear, Lora, Patterns, Place, Selection, Targets, is_end_of, scale,
};

/// Keys that don't change what the tensors mean once they are trained. Every other key must be absent, null, false or empty.
const HARMLESS: &[&str] = &[
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "eva_config",
    // Turned off by PEFT itself for the layers that a decoder has.
    "fan_in_fan_out",
    "inference_mode",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    // Draws noise while it trains; an answer is that of the factors alone.
    "monteclora_config",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
    // Keeps less of a layer's input for the backward pass.
    "velora_config",
];

/// Keys that this file reads.
const READ: &[&str] = &[
    "alpha_pattern",
    "ensure_weight_tying",
    "exclude_modules",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "peft_type",
    "r",
    "rank_pattern",
    "target_modules",
    "target_parameters",
    "use_dora",
    "use_rslora",
];

/// Ways to initialise that also changed the base's weights: without those, the tensors mean nothing.
const BASE_CHANGING: &[&str] = &["pissa", "olora", "corda", "lora_ga"];
/// Ways to initialise that left the base alone.
const BASE_KEEPING: &[&str] = &["gaussian", "eva", "orthogonal", "mica", "true", "false"];

/// What an adapter's settings say about its tensors.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) rank: usize,
    pub(super) alpha: f64,
    pub(super) rslora: bool,
    pub(super) dora: bool,
    /// An adapted embedding also changes a head that is tied to it.
    pub(super) keeps_tie: bool,
    ranks: Patterns<usize>,
    alphas: Patterns<f64>,
    /// Which modules must have tensors, and no others may; nothing is known where the settings name none.
    selection: Option<Selection>,
    /// The names in `target_modules`, where it is a list.
    pub(super) listed: Vec<String>,
    /// Weights that are adapted by their own names (`q_proj.weight`) and not by their modules'. Layers and exclusions say nothing about them.
    parameters: Vec<String>,
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
        let targets = targets_of(&object, "target_modules").map_err(bad)?;
        let parameters = match targets_of(&object, "target_parameters").map_err(bad)? {
            Some(Targets::Names(names)) => names,
            None => Vec::new(),
            Some(_) => return Err(bad("target_parameters must be a list of names".to_owned())),
        };
        let selection = match &targets {
            Some(targets) => Some(selection(&object, targets).map_err(bad)?),
            // Whoever names parameters alone means no modules.
            None if !parameters.is_empty() => {
                Some(selection(&object, &Targets::Names(Vec::new())).map_err(bad)?)
            }
            None => None,
        };
        let flag = |key: &str| object.get(key) == Some(&Value::Bool(true));
        Ok(Self {
            rank,
            alpha,
            rslora: flag("use_rslora"),
            dora: flag("use_dora"),
            keeps_tie: flag("ensure_weight_tying"),
            ranks: patterns(&object, "rank_pattern", self::rank).map_err(bad)?,
            alphas: patterns(&object, "alpha_pattern", self::alpha).map_err(bad)?,
            selection,
            listed: if let Some(Targets::Names(names)) = targets { names } else { Vec::new() },
            parameters,
        })
    }

    /// Whether a module's weight is adapted by its own name.
    pub(super) fn is_parameter(&self, place: Place) -> bool {
        let weight = format!("{place}.weight");
        self.parameters.iter().any(|name| is_end_of(name, &weight))
    }

    /// What patterns must match: the module's name, or the weight's where that is what was named.
    fn pattern_key(&self, place: Place) -> String {
        if self.is_parameter(place) { format!("{place}.weight") } else { place.to_string() }
    }

    pub(super) fn rank_of(&self, place: Place) -> usize {
        self.ranks.of(&self.pattern_key(place)).unwrap_or(self.rank)
    }

    pub(super) fn scale_of(&self, place: Place) -> f64 {
        let alpha = self.alphas.of(&self.pattern_key(place)).unwrap_or(self.alpha);
        scale(alpha, self.rank_of(place), self.rslora)
    }

    /// Why a module's rank in the file is not the one that the settings give it, if that is the order of `rank_pattern`: the first key that
    /// matches counts, and PEFT sorts them when it saves.
    pub(super) fn lost_order(&self, place: Place, in_file: usize) -> Option<String> {
        let key = self.pattern_key(place);
        let (first, rank) = self.ranks.all_of(&key).next()?;
        let (meant, _) = self.ranks.all_of(&key).find(|(_, rank)| *rank == in_file)?;
        let alphas: Vec<u64> = self.alphas.all_of(&key).map(|(_, alpha)| alpha.to_bits()).collect();
        let too =
            if alphas.iter().any(|alpha| *alpha != alphas[0]) { "; alpha_pattern likewise" } else { "" };
        (rank != in_file).then(|| {
            brief(&format!(
                "rank_pattern lost its order when PEFT saved it (it sorts the keys, and the first one that matches counts): {place} has \
                 rank {in_file}, as {meant:?} says, but {first:?} comes before it and says {rank}; put {meant:?} before {first:?}{too}"
            ))
        })
    }

    /// The modules that must have tensors, if the settings say so.
    pub(super) fn expected(&self, base: &DecoderConfig) -> Option<Vec<Place>> {
        let selection = self.selection.as_ref()?;
        let chosen = |place: &Place| selection.has(*place) || self.is_parameter(*place);
        Some(Place::all(base).into_iter().filter(chosen).collect())
    }
}

/// `target_modules` or `exclude_modules`.
fn targets_of(object: &Map<String, Value>, key: &str) -> Result<Option<Targets>, String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(names)) => names
            .iter()
            .map(|name| name.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map(|names| Some(Targets::Names(names)))
            .ok_or_else(|| format!("{key} must be a list of names or a text")),
        // PEFT compares this word in lower case.
        Some(Value::String(text)) if text.eq_ignore_ascii_case("all-linear") => Ok(Some(Targets::AllLinear)),
        Some(Value::String(text)) => Ok(Some(Targets::Regex(text.clone()))),
        Some(_) => Err(format!("{key} must be a list of names or a text")),
    }
}

fn selection(object: &Map<String, Value>, targets: &Targets) -> Result<Selection, String> {
    let mut selection = Selection::new(targets).map_err(|why| format!("target_modules: {why}"))?;
    if let Some(excluded) = targets_of(object, "exclude_modules")? {
        selection = selection.without(&excluded).map_err(|why| format!("exclude_modules: {why}"))?;
    }
    let number = |value: &Value| value.as_u64().and_then(|layer| usize::try_from(layer).ok());
    let layers = match object.get("layers_to_transform") {
        None | Some(Value::Null) => None,
        Some(Value::Array(items)) if items.is_empty() => None,
        Some(Value::Array(items)) => Some(items.iter().map(number).collect::<Option<Vec<_>>>()),
        Some(value) => Some(number(value).map(|layer| vec![layer])),
    };
    let Some(layers) = layers else { return Ok(selection) };
    let layers = layers.ok_or("layers_to_transform must be a number or a list of numbers")?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let patterns = match object.get("layers_pattern") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::String(pattern)) if pattern.is_empty() => Some(Vec::new()),
        Some(Value::Array(items)) => items.iter().map(text).collect(),
        Some(value) => text(value).map(|pattern| vec![pattern]),
    };
    let patterns = patterns.ok_or("layers_pattern must be a text or a list of texts")?;
    selection.in_layers(layers, &patterns).map_err(|why| format!("layers_pattern: {why}"))
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
        Some(other) => return Some(brief(&format!("peft_type is {other}, not \"LORA\""))),
        None => return Some("it has no peft_type".to_owned()),
    }
    if let Some(Value::String(start)) = object.get("init_lora_weights")
        && let Some(what) = initialised(start)
    {
        return Some(what);
    }
    let key = object.iter().find_map(|(key, value)| {
        let plain = match key.as_str() {
            "bias" => value == "none" || is_nothing(value),
            key => READ.contains(&key) || HARMLESS.contains(&key) || is_nothing(value),
        };
        (!plain).then_some((key.as_str(), value))
    });
    let (key, value) = key?;
    Some(brief(&match key {
        "modules_to_save" => format!(
            "it brings whole modules of its own (modules_to_save: {value}); merge it into its base with PEFT's \
             merge_and_unload and use the result as a base"
        ),
        "bias" | "lora_bias" => format!("it changes biases ({key}: {value})"),
        "alora_invocation_tokens" => {
            format!(
                "it is an activated LoRA, which works only behind its own invocation tokens ({key}: {value})"
            )
        }
        "trainable_token_indices" => {
            format!(
                "it brings new vectors for single tokens ({key}: {value}); merge it into its base with PEFT first"
            )
        }
        "layer_replication" => format!("it repeats blocks of its base ({key}: {value})"),
        "use_qalora" => "it is a QA-LoRA adapter, which is bound to a quantised base (use_qalora)".to_owned(),
        key => format!("it uses {key}: {value}"),
    }))
}

/// Why the way it was initialised stands in the way.
fn initialised(start: &str) -> Option<String> {
    let lower = start.to_lowercase();
    if let Some(method) = BASE_CHANGING.iter().find(|method| lower.starts_with(**method)) {
        return Some(brief(&format!(
            "init_lora_weights is {start:?}: {method} also changed the base's weights, so that the factors alone mean nothing; \
             turn it into plain LoRA in PEFT with save_pretrained(folder, path_initial_model_for_weight_conversion=...)"
        )));
    }
    if lower.starts_with("loftq") {
        return Some(brief(&format!(
            "init_lora_weights is {start:?}: the factors belong to LoftQ's quantised base, not to this one; merge both \
             with PEFT's merge_and_unload and use the result as a base"
        )));
    }
    if !BASE_KEEPING.contains(&lower.as_str()) {
        return Some(brief(&format!(
            "init_lora_weights is {start:?}, and whether that left the base's weights alone is not known here"
        )));
    }
    None
}

/// Values from outside may be megabytes.
fn brief(what: &str) -> String {
    what.chars().take(400).collect()
}

fn rank(key: &str, value: &Value) -> Result<usize, String> {
    match value.as_u64() {
        Some(rank) if (1..=LARGEST_RANK as u64).contains(&rank) => Ok(rank as usize),
        _ => Err(format!("{key} must be a whole number from 1 to {LARGEST_RANK}")),
    }
}

fn alpha(key: &str, value: &Value) -> Result<f64, String> {
    match value.as_f64() {
        Some(alpha) if (alpha as f32).is_finite() => Ok(alpha),
        _ => Err(format!("{key} must be a number")),
    }
}

fn patterns<T: Copy>(
    object: &Map<String, Value>,
    key: &str,
    parse: impl Fn(&str, &Value) -> Result<T, String>,
) -> Result<Patterns<T>, String> {
    let entries = match object.get(key) {
        None | Some(Value::Null) => return Patterns::new([]),
        Some(Value::Object(entries)) => entries,
        Some(_) => return Err(format!("{key} must be an object")),
    };
    let one = |(pattern, value): (_, &Value)| {
        Ok((String::as_str(pattern), parse(&format!("{key}.{pattern}"), value)?))
    };
    let entries = entries.iter().map(one).collect::<Result<Vec<_>, String>>()?;
    Patterns::new(entries).map_err(|why| format!("{key}: {why}"))
}

/// The settings of an adapter as PEFT's `save_pretrained` writes them: keys sorted, indented by 2. Only keys that every
/// version of PEFT since 2023 knows: older ones refuse unknown keys.
pub(super) fn write(adapter: &Adapter, base: &str) -> Vec<u8> {
    let mut ranks = Map::new();
    let mut alphas = Map::new();
    for (place, pair) in adapter.pairs() {
        let rank = pair.rank();
        if rank != adapter.rank {
            ranks.insert(place.to_string(), json!(rank));
        }
        if scale(adapter.alpha, rank, adapter.rslora).to_bits() != pair.scale.to_bits() {
            alphas.insert(place.to_string(), number(alpha_for(pair, adapter.rslora)));
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
    if adapter.rslora {
        settings["use_rslora"] = json!(true);
    }
    if adapter.is_dora() {
        settings["use_dora"] = json!(true);
    }
    settings.sort_all_objects();
    format!("{settings:#}").into_bytes()
}

/// What `target_modules` lists: short names where every block has the same modules, else each module in full.
fn targets(adapter: &Adapter) -> Vec<String> {
    let has = |linear: &Linear| adapter.layers.iter().any(|layer| layer.get(*linear).is_some());
    let short: Vec<Linear> = Linear::ALL.into_iter().filter(has).collect();
    let in_blocks = |place: &Place| matches!(place, Place::Block(..));
    let pairs = adapter.pairs().filter(|(place, _)| in_blocks(place)).count();
    let even = pairs == short.len() * adapter.layers.len();
    let mut names: Vec<String> = if even {
        short.into_iter().map(|linear| linear.module().to_owned()).collect()
    } else {
        adapter.pairs().map(|(place, _)| place).filter(in_blocks).map(|place| place.to_string()).collect()
    };
    names.extend(adapter.embedding.iter().map(|_| "embed_tokens".to_owned()));
    names.extend(adapter.head.iter().map(|_| "lm_head".to_owned()));
    names
}

/// The alpha that gives exactly this pair's scale again, as far as there is one.
fn alpha_for(pair: &Lora, rslora: bool) -> f64 {
    let rank = pair.rank();
    let near = if rslora { pair.scale * (rank as f64).sqrt() } else { pair.scale * rank as f64 };
    let exact = [near, near.round(), near.next_up(), near.next_down()]
        .into_iter()
        .find(|alpha| scale(*alpha, rank, rslora).to_bits() == pair.scale.to_bits());
    exact.unwrap_or(near)
}

/// PEFT's alpha is a whole number mostly, and some readers know no other.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}
