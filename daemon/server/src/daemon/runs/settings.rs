//! From what a person wants to what the engine is told, and back to what is shown.

use std::path::Path;

use hotplate_dataset::regular_file;
use hotplate_engine::base_spec::BaseSpec;
use hotplate_engine::lora::{LoraSpec, Targets as LoraTargets};
use hotplate_engine::peft::LARGEST_SETTINGS;
use hotplate_engine::quantise::Quantise;
use hotplate_protocol::knobs::{
    Effective, Knobs, Method, Patterns, Recompute, Schedule, Source, Style, Targets, TrainOn,
};
use hotplate_protocol::run::RunKind;
use hotplate_train::TrainSettings;
use serde_json::Value;

use super::overrides::Overrides;
use super::train_request::TrainRequest;
use crate::daemon::quantise::word;

/// The share of an incremental run's tokens that is replayed, unless somebody says otherwise.
pub(crate) const REPLAY: f64 = 1.0 / 3.0;
/// How far training stands back. The person's programs go first, and yet beside a busy compiler more than a third of the speed is left: each step
/// of niceness costs a fifth of a contended processor.
pub(crate) const NICE: u32 = 2;

/// Knobs of an adapter's shape: a run that goes on from a version keeps them.
const OF_THE_VERSION: &[&str] =
    &["method", "rank", "alpha", "rslora", "targets", "rank_pattern", "alpha_pattern"];

/// `start`: the shape of the version that the run goes on from.
pub(super) fn settings(
    text: &BaseSpec,
    knobs: &Knobs,
    examples: usize,
    kind: RunKind,
    start: Option<LoraSpec>,
) -> TrainSettings {
    let method = match knobs.method {
        Some(Method::Full) if start.is_none() => hotplate_train::Method::Full,
        _ => hotplate_train::Method::Lora,
    };
    let mut settings =
        TrainSettings::for_data(&text.config, examples, kind == RunKind::Incremental).with_method(method);
    settings.epochs = knobs.epochs.unwrap_or(settings.epochs);
    settings.max_steps = knobs.max_steps.or(settings.max_steps);
    settings.learning_rate = knobs.learning_rate.unwrap_or(settings.learning_rate);
    settings.schedule = match knobs.schedule {
        Some(Schedule::Linear) => hotplate_train::Schedule::Linear,
        Some(Schedule::Cosine) => hotplate_train::Schedule::Cosine,
        Some(Schedule::Constant) => hotplate_train::Schedule::Constant,
        None => settings.schedule,
    };
    settings.warmup_steps = knobs.warmup_steps.or(settings.warmup_steps);
    settings.weight_decay = knobs.weight_decay.unwrap_or(settings.weight_decay);
    settings.clip = knobs.clip.unwrap_or(settings.clip);
    settings.dropout = knobs.dropout.unwrap_or(settings.dropout);
    settings.lora = start.unwrap_or_else(|| spec(knobs, settings.lora.clone()));
    settings.lora_plus = knobs.lora_plus.unwrap_or(settings.lora_plus);
    settings.batch = knobs.batch.unwrap_or(settings.batch);
    settings.accumulate = knobs.accumulate.unwrap_or(settings.accumulate);
    settings.seed = knobs.seed.unwrap_or(settings.seed);
    settings.recompute = match knobs.recompute {
        Some(Recompute::Auto) => hotplate_train::Recompute::Auto,
        Some(Recompute::Always) => hotplate_train::Recompute::Always,
        Some(Recompute::Never) => hotplate_train::Recompute::Never,
        None => settings.recompute,
    };
    settings.patience = knobs.patience.unwrap_or(settings.patience);
    settings.evaluations_per_epoch = knobs.evaluations.unwrap_or(settings.evaluations_per_epoch);
    settings.rehearsal = knobs.rehearsal.unwrap_or(settings.rehearsal);
    settings.margin = knobs.margin.unwrap_or(settings.margin);
    settings.sample_prompts = knobs.prompts.clone().unwrap_or(settings.sample_prompts);
    settings
}

fn spec(knobs: &Knobs, default: LoraSpec) -> LoraSpec {
    LoraSpec {
        rank: knobs.rank.unwrap_or(default.rank),
        alpha: knobs.alpha.unwrap_or(default.alpha),
        rslora: knobs.rslora.unwrap_or(default.rslora),
        rank_pattern: knobs.rank_pattern.clone().map_or(default.rank_pattern, |patterns| patterns.0),
        alpha_pattern: knobs.alpha_pattern.clone().map_or(default.alpha_pattern, |patterns| patterns.0),
        targets: knobs.targets.clone().map_or(default.targets, targets),
    }
}

/// A text without any of a regular expression's signs is a name.
fn targets(targets: Targets) -> LoraTargets {
    match targets {
        Targets::Names(names) => LoraTargets::Names(names),
        Targets::Pattern(text) if text == "all-linear" => LoraTargets::AllLinear,
        Targets::Pattern(text) if text.chars().all(|each| each.is_ascii_alphanumeric() || each == '_') => {
            LoraTargets::Names(vec![text])
        }
        Targets::Pattern(text) => LoraTargets::Regex(text),
    }
}

/// The shape that a version's PEFT folder names.
pub(super) fn spec_of(folder: &Path) -> Option<LoraSpec> {
    let config = regular_file::read(&folder.join("adapter_config.json"), LARGEST_SETTINGS).ok()?;
    let config: Value = serde_json::from_slice(&config).ok()?;
    let pairs = |name: &str| config.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
    Some(LoraSpec {
        rank: usize::try_from(config.get("r")?.as_u64()?).ok()?,
        alpha: config.get("lora_alpha")?.as_f64()?,
        rslora: config.get("use_rslora").and_then(Value::as_bool).unwrap_or(false),
        rank_pattern: pairs("rank_pattern")
            .into_iter()
            .filter_map(|(name, rank)| Some((name, usize::try_from(rank.as_u64()?).ok()?)))
            .collect(),
        alpha_pattern: pairs("alpha_pattern")
            .into_iter()
            .filter_map(|(name, alpha)| Some((name, alpha.as_f64()?)))
            .collect(),
        targets: match config.get("target_modules")? {
            Value::String(text) if text == "all-linear" => LoraTargets::AllLinear,
            Value::String(text) => LoraTargets::Regex(text.clone()),
            names => LoraTargets::Names(serde_json::from_value(names.clone()).ok()?),
        },
    })
}

/// The knobs as they hold: `wished` says what the engine need not know.
pub(super) fn holding(
    settings: &TrainSettings,
    wished: &Knobs,
    examples: usize,
    max_tokens: usize,
    kind: RunKind,
    quantise: Option<Quantise>,
) -> Knobs {
    let lora = settings.method == hotplate_train::Method::Lora;
    let incremental = kind == RunKind::Incremental;
    let spec = &settings.lora;
    Knobs {
        method: Some(if lora { Method::Lora } else { Method::Full }),
        quantize: Some(word(quantise)),
        columns: wished.columns.clone(),
        train_on: Some(wished.train_on.unwrap_or(TrainOn::Completions)),
        style: Some(wished.style.unwrap_or(Style::Answers)),
        max_tokens: Some(max_tokens),
        epochs: Some(settings.epochs),
        max_steps: settings.max_steps,
        minutes: wished.minutes,
        learning_rate: Some(settings.learning_rate),
        schedule: Some(match settings.schedule {
            hotplate_train::Schedule::Linear => Schedule::Linear,
            hotplate_train::Schedule::Cosine => Schedule::Cosine,
            hotplate_train::Schedule::Constant => Schedule::Constant,
        }),
        warmup_steps: Some(settings.warmup(examples)),
        weight_decay: Some(settings.weight_decay),
        clip: Some(settings.clip),
        dropout: lora.then_some(settings.dropout),
        rank: lora.then_some(spec.rank),
        alpha: lora.then_some(spec.alpha),
        rslora: lora.then_some(spec.rslora),
        targets: lora.then(|| match &spec.targets {
            LoraTargets::AllLinear => Targets::Pattern("all-linear".to_owned()),
            LoraTargets::Names(names) => Targets::Names(names.clone()),
            LoraTargets::Regex(text) => Targets::Pattern(text.clone()),
        }),
        rank_pattern: (!spec.rank_pattern.is_empty()).then(|| Patterns(spec.rank_pattern.clone())),
        alpha_pattern: (!spec.alpha_pattern.is_empty()).then(|| Patterns(spec.alpha_pattern.clone())),
        lora_plus: lora.then_some(settings.lora_plus),
        batch: Some(settings.batch),
        accumulate: Some(settings.accumulate),
        seed: Some(settings.seed),
        recompute: Some(match settings.recompute {
            hotplate_train::Recompute::Auto => Recompute::Auto,
            hotplate_train::Recompute::Always => Recompute::Always,
            hotplate_train::Recompute::Never => Recompute::Never,
        }),
        patience: Some(settings.patience),
        evaluations: Some(settings.evaluations_per_epoch),
        prompts: (!settings.sample_prompts.is_empty()).then(|| settings.sample_prompts.clone()),
        replay: incremental.then(|| wished.replay.unwrap_or(REPLAY)),
        rehearsal: Some(settings.rehearsal),
        margin: incremental.then_some(settings.margin),
        nice: Some(wished.nice.unwrap_or(NICE)),
    }
}

/// What an instruction would be put into is missing.
const PLAIN_ALL_THE_SAME: &str = "plain (this base has no chat template)";

/// What a plan or a check shows: base, adapter, then every knob.
pub(crate) fn effective(
    order: &TrainRequest,
    overrides: &Overrides,
    text: &BaseSpec,
    holding: &Knobs,
    start: Option<u32>,
) -> Vec<Effective> {
    let source = |key: &str, named: bool| match overrides.recipe_line(key) {
        _ if named => Source::CommandLine,
        Some(line) => Source::Recipe { line },
        None => Source::Chosen,
    };
    let entry = |key: &str, value: &str, named: bool| Effective {
        key: key.to_owned(),
        value: Value::String(value.to_owned()),
        source: source(key, named),
    };
    let mut all = vec![
        entry("base", &text.name, order.named.base),
        entry("adapter", &order.target.adapter, order.named.adapter),
    ];
    all.extend(overrides.effective(holding, start.map(|version| (version, OF_THE_VERSION))));
    if !text.chats()
        && let Some(style) = all.iter_mut().find(|entry| entry.key == "style")
    {
        let asked = overrides.knobs.style.is_some_and(|style| style != Style::Plain);
        let word = if asked { PLAIN_ALL_THE_SAME } else { Style::Plain.word() };
        style.value = Value::String(word.to_owned());
    }
    all
}

/// What a run on so many training examples would be set to, before anybody has ordered it.
pub(crate) fn settings_of_a_full_run(
    order: &TrainRequest,
    overrides: &Overrides,
    text: &BaseSpec,
    examples: usize,
    max_tokens: usize,
) -> Vec<Effective> {
    let settings = settings(text, &overrides.knobs, examples, RunKind::Full, None);
    effective(
        order,
        overrides,
        text,
        &holding(&settings, &overrides.knobs, examples, max_tokens, RunKind::Full, order.quantise),
        None,
    )
}
