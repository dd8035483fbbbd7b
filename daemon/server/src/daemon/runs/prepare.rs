//! From an order to a run that can start: which examples are learnt, replayed and held out, with which settings.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use hotplate_dataset::{Dataset, Example, ExampleId, Side, changes, split};
use hotplate_engine::base_text::{BaseText, Sample};
use hotplate_engine::encode_example::EncodeOptions;
use hotplate_engine::train::{HeldOut, HeldOutPlan, TrainData, TrainSettings};
use hotplate_protocol::methods::train::Knobs;
use hotplate_protocol::run::{Plan, RunKind};
use hotplate_protocol::{ErrorCode, RpcError};
use serde::{Deserialize, Serialize};

use super::order::Order;
use super::read::{max_tokens, read, too_few};
use crate::daemon::desk::Desk;
use crate::daemon::faults;
use crate::daemon::store::{AdapterRow, Manifest, ManifestRow, Store, lineage};

/// Everything about a run but its tokens: saved with it, so that it can go on after a kill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunJob {
    pub(crate) order: Order,
    pub(crate) plan: Plan,
    /// Of the base.
    pub(crate) fingerprint: String,
    /// The version that an incremental run starts from.
    pub(crate) start: Option<u32>,
    pub(crate) train: Vec<ExampleId>,
    /// With whether it is new.
    pub(crate) heldout: Vec<(ExampleId, bool)>,
    /// Nothing is held out; the examples judge each other in so many folds.
    #[serde(default)]
    pub(crate) folds: Option<usize>,
    /// What becomes known when the run succeeds.
    pub(crate) learns: Vec<ManifestRow>,
    pub(crate) max_tokens: usize,
    pub(crate) settings: TrainSettings,
    /// The folder's state, see [`state_of`].
    pub(crate) state: String,
}

pub(crate) struct Prepared {
    pub(crate) job: RunJob,
    pub(crate) data: TrainData,
    /// Where to go on from: a run that was interrupted.
    pub(crate) state: Option<PathBuf>,
}

pub(crate) enum Preparation {
    Ready(Box<Prepared>),
    /// An incremental run without anything to learn.
    NothingNew,
}

/// Which examples take part in a run, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) train: Vec<ExampleId>,
    /// The last ones of `train`: replayed from earlier runs.
    pub(crate) replay: usize,
    pub(crate) heldout: Vec<(ExampleId, bool)>,
    /// Nothing is held out; the examples judge each other in so many folds.
    pub(crate) folds: Option<usize>,
    pub(crate) learns: Vec<(ExampleId, Side)>,
}

/// A name for what a folder holds: the same examples, the same state.
pub(crate) fn state_of(examples: &[Example]) -> String {
    let mut ids: Vec<ExampleId> = examples.iter().map(|example| example.id).collect();
    ids.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    for id in ids {
        hasher.update(id.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Below this many examples, none can be spared: they judge each other.
const FEW: usize = 30;
const FOLDS: usize = 5;

/// Everything, each example on its side. Few examples are all learnt, and judged by cross-validation.
pub(crate) fn choose_full(examples: &[Example], manifest: &Manifest) -> Choice {
    if examples.len() < FEW {
        return Choice {
            train: examples.iter().map(|example| example.id).collect(),
            folds: Some(FOLDS.min(examples.len())),
            learns: examples.iter().map(|example| (example.id, Side::Train)).collect(),
            ..Choice::default()
        };
    }
    // As long as none was held out, all were learnt: a full run begins anew and may hold out what it likes.
    let known = manifest.sides();
    let judged = known.values().any(|side| *side == Side::HeldOut);
    let sides = if judged { split(examples, &known) } else { split(examples, &HashMap::new()) };
    let mut choice = Choice::default();
    for example in examples {
        let side = sides.get(&example.id).copied().unwrap_or(Side::Train);
        match side {
            Side::Train => choice.train.push(example.id),
            Side::HeldOut => choice.heldout.push((example.id, false)),
        }
        choice.learns.push((example.id, side));
    }
    choice
}

/// What is new, with so many old ones that they make about a third of the tokens; `None` if nothing is new. Which old ones is
/// decided by their hashes and the version, so that each run replays others and the same run the same ones.
pub(crate) fn choose_incremental(
    examples: &[Example],
    manifest: &Manifest,
    lineage: &HashSet<u32>,
    start: u32,
    tokens: &dyn Fn(&Example) -> usize,
) -> Option<Choice> {
    let new: HashSet<ExampleId> = changes(&manifest.rows, examples).added.into_iter().collect();
    if new.is_empty() {
        return None;
    }
    let known = manifest.sides();
    let judged = known.values().any(|side| *side == Side::HeldOut);
    let sides = if judged { split(examples, &known) } else { spared(&new) };
    let learnt: HashSet<ExampleId> = manifest.learnt(lineage).collect();
    let mut choice = Choice::default();
    let mut old = Vec::new();
    let mut new_tokens = 0;
    for example in examples {
        let is_new = new.contains(&example.id);
        let side = sides.get(&example.id).copied().unwrap_or(Side::Train);
        match side {
            Side::HeldOut => choice.heldout.push((example.id, is_new)),
            Side::Train if is_new => {
                new_tokens += tokens(example);
                choice.train.push(example.id);
            }
            Side::Train if learnt.contains(&example.id) => old.push(example),
            // Tried before and not better, or learnt by a version that was rolled back.
            Side::Train => {}
        }
        if is_new {
            choice.learns.push((example.id, side));
        }
    }
    old.sort_by_cached_key(|example| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&start.to_le_bytes()).update(example.id.as_bytes());
        *hasher.finalize().as_bytes()
    });
    let mut replayed = 0;
    for example in old {
        if 2 * replayed < new_tokens {
            replayed += tokens(example);
            choice.train.push(example.id);
            choice.replay += 1;
        } else if !judged {
            // After cross-validation nothing old is held out. What is not replayed judges: it tells whether the old is forgotten.
            choice.heldout.push((example.id, false));
        }
    }
    if choice.heldout.is_empty() {
        // So few that all of them are replayed: they judge each other.
        choice.folds = Some(FOLDS.min(choice.train.len()));
    }
    Some(choice)
}

/// One of four to seven new examples and two of more are held out, those with the lowest hashes.
fn spared(new: &HashSet<ExampleId>) -> HashMap<ExampleId, Side> {
    let mut ids: Vec<ExampleId> = new.iter().copied().collect();
    ids.sort_unstable();
    ids.into_iter().take((new.len() / 4).min(2)).map(|id| (id, Side::HeldOut)).collect()
}

pub(crate) fn prepare(desk: &Desk, order: &Order) -> Result<Preparation, RpcError> {
    let text = desk.texts.open(&order.source()).map_err(|error| faults::of_base(&error))?;
    let store = desk.store()?;
    let adapter = store.adapter(&order.target.adapter)?;
    if let Some(row) = &adapter {
        check_base(row, &text)?;
    }
    let longest = max_tokens(&text, &order.knobs);
    let dataset = read(&order.target.folder, &text, longest)?;
    let manifest = store.manifest(&order.target)?;
    let mut start = None;
    let choice = match order.kind {
        RunKind::Full => {
            if dataset.examples.len() < 2 {
                return Err(too_few(&dataset));
            }
            choose_full(&dataset.examples, &manifest)
        }
        RunKind::Incremental => {
            let Some(row) = &adapter else {
                let message = format!(
                    "the adapter {} has no version to start from; train it first",
                    order.target.adapter
                );
                return Err(RpcError::new(ErrorCode::UnusableAdapter, message));
            };
            start = Some(row.current);
            let chain = lineage(&store.versions(&row.name)?, row.current);
            let tokens = |example: &Example| super::read::count_tokens(&text, &example.content).min(longest);
            match choose_incremental(&dataset.examples, &manifest, &chain, row.current, &tokens) {
                Some(choice) => choice,
                None => return Ok(Preparation::NothingNew),
            }
        }
    };
    build(desk, &store, order, &dataset, &text, choice, start, longest)
        .map(|prepared| Preparation::Ready(Box::new(prepared)))
}

/// An adapter belongs to one base.
pub(crate) fn check_base(row: &AdapterRow, text: &BaseText) -> Result<(), RpcError> {
    if row.fingerprint == text.fingerprint {
        return Ok(());
    }
    let message = format!(
        "the adapter {} was made for the base {}, and this is {} (or its files have changed); give this one another name with --adapter",
        row.name, row.base_name, text.name
    );
    Err(RpcError::new(ErrorCode::UnusableAdapter, message))
}

#[expect(clippy::too_many_arguments, reason = "one place where all parts of a run come together")]
fn build(
    desk: &Desk,
    store: &Store,
    order: &Order,
    dataset: &Dataset,
    text: &Arc<BaseText>,
    choice: Choice,
    start: Option<u32>,
    max_tokens: usize,
) -> Result<Prepared, RpcError> {
    let data = encode(&dataset.examples, text, &choice.train, &choice.heldout, choice.folds, max_tokens)?;
    let start_rank = start.and_then(|version| rank_of(desk, &order.target.adapter, version));
    let settings = settings(text, &order.knobs, data.train.len(), order.kind, start_rank);
    settings.validate_for(&text.config).map_err(|error| faults::of_training(&error))?;
    let speed = store.speed(&text.fingerprint, desk.device)?;
    let plan = plan(order, dataset, text, &choice, &data, &settings, speed);
    let files: HashMap<ExampleId, &Example> =
        dataset.examples.iter().map(|example| (example.id, example)).collect();
    let learns = choice
        .learns
        .iter()
        .filter_map(|(id, side)| {
            Some(ManifestRow { example: *id, side: *side, file: files.get(id)?.file.clone() })
        })
        .collect();
    let job = RunJob {
        order: order.clone(),
        plan,
        fingerprint: text.fingerprint.clone(),
        start,
        train: choice.train,
        heldout: choice.heldout,
        folds: choice.folds,
        learns,
        max_tokens,
        settings,
        state: state_of(&dataset.examples),
    };
    Ok(Prepared { job, data, state: None })
}

/// The tokens of chosen examples, in the order of the choice.
pub(crate) fn encode(
    examples: &[Example],
    text: &BaseText,
    train: &[ExampleId],
    heldout: &[(ExampleId, bool)],
    folds: Option<usize>,
    max_tokens: usize,
) -> Result<TrainData, RpcError> {
    let known: HashMap<ExampleId, &Example> = examples.iter().map(|example| (example.id, example)).collect();
    let sample = |id: &ExampleId| -> Result<Sample, RpcError> {
        let Some(example) = known.get(id) else {
            return Err(RpcError::new(
                ErrorCode::UnusableDataset,
                "an example of the run is no longer there",
            ));
        };
        text.encode_example(&example.content, &EncodeOptions::new(max_tokens)).map_err(|error| {
            let place = format!("{}:{}: {error}", example.file.display(), example.lines.0);
            RpcError::new(ErrorCode::UnusableDataset, place)
        })
    };
    let heldout = match folds {
        Some(folds) => HeldOutPlan::Folds(folds),
        None => HeldOutPlan::Split(
            heldout
                .iter()
                .map(|(id, is_new)| Ok(HeldOut { sample: sample(id)?, is_new: *is_new }))
                .collect::<Result<_, RpcError>>()?,
        ),
    };
    Ok(TrainData { train: train.iter().map(sample).collect::<Result<_, _>>()?, heldout })
}

/// The rank that a version has: an incremental run keeps it.
fn rank_of(desk: &Desk, adapter: &str, version: u32) -> Option<usize> {
    let config = std::fs::read(desk.version_folder(adapter, version).join("adapter_config.json")).ok()?;
    let config: serde_json::Value = serde_json::from_slice(&config).ok()?;
    usize::try_from(config.get("r")?.as_u64()?).ok()
}

fn settings(
    text: &BaseText,
    knobs: &Knobs,
    examples: usize,
    kind: RunKind,
    start_rank: Option<usize>,
) -> TrainSettings {
    let mut settings = TrainSettings::for_data(&text.config, examples, kind == RunKind::Incremental);
    settings.epochs = knobs.epochs.unwrap_or(settings.epochs);
    settings.max_steps = knobs.max_steps.or(settings.max_steps);
    settings.learning_rate = knobs.learning_rate.unwrap_or(settings.learning_rate);
    settings.lora.rank = start_rank.or(knobs.rank).unwrap_or(settings.lora.rank);
    settings.lora.alpha = knobs.alpha.unwrap_or(settings.lora.alpha);
    settings.batch = knobs.batch.unwrap_or(settings.batch);
    settings.seed = knobs.seed.unwrap_or(settings.seed);
    settings
}

fn plan(
    order: &Order,
    dataset: &Dataset,
    text: &BaseText,
    choice: &Choice,
    data: &TrainData,
    settings: &TrainSettings,
    speed: Option<f64>,
) -> Plan {
    let tokens: usize = data.train.iter().map(|sample| sample.tokens.len()).sum();
    let longest = data.train.iter().map(|sample| sample.tokens.len()).max().unwrap_or(0);
    let steps = settings.steps(data.train.len());
    let per_step = settings.examples_per_step().min(data.train.len());
    let tokens_per_step = (tokens * per_step).div_ceil(data.train.len().max(1));
    let config = &text.config;
    Plan {
        kind: order.kind,
        base: text.name.clone(),
        adapter: order.target.adapter.clone(),
        train_examples: data.train.len(),
        heldout_examples: choice.heldout.len(),
        replay_examples: choice.replay,
        tokens,
        supervised_tokens: data.train.iter().map(Sample::supervised_tokens).sum(),
        epochs: settings.epochs,
        steps,
        tokens_per_step,
        learning_rate: settings.learning_rate,
        rank: settings.lora.rank,
        alpha: settings.lora.alpha,
        trainable_parameters: settings.trainable_parameters(config),
        // Cross-validation trains on each example once less than it has folds, and then all of them once more.
        seconds: seconds(steps * data.folds().unwrap_or(1), tokens_per_step, speed),
        memory_bytes: settings.memory_bytes(config, tokens_per_step.max(longest)),
        findings: dataset.findings.len(),
    }
}

/// What a plan takes at a measured speed.
pub(crate) fn seconds(steps: usize, tokens_per_step: usize, tokens_per_second: Option<f64>) -> Option<f64> {
    let speed = tokens_per_second.filter(|speed| *speed > 0.0)?;
    Some((steps * tokens_per_step) as f64 / speed)
}

#[cfg(test)]
mod tests;
