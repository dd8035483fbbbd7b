//! From an order to a run that can start: which examples are learnt, replayed and held out, with which settings.
//!
//! Replay takes the least learnt first: at the end of a run each of its examples is scored with what was kept, and the loss goes to the manifest. What was
//! never measured counts as not learnt. An incremental run after cross-validation is judged by the old examples that it does not replay, and by some of the
//! new where there are four or more.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use hotplate_dataset::{
    self as dataset, Columns, Content, Dataset, Example, ExampleId, Side, Sketch, changes, split,
};
use hotplate_engine::base_spec::{BaseError, BaseSpec, Sample};
use hotplate_engine::encode_example::EncodeOptions;
use hotplate_protocol::knobs::{Knobs, Patterns, Style, TrainOn};
use hotplate_protocol::run::{Plan, RunKind};
use hotplate_protocol::{ErrorCode, RpcError};
use hotplate_train::effort::{Known, Parts};
use hotplate_train::reference_samples::ReferenceSamples;
use hotplate_train::{HeldOut, TrainData, TrainSettings, Validation, trigram_overlap};
use serde::{Deserialize, Serialize};

use super::edits::{edits, may_be_edits};
use super::memory_estimate::{MemoryEstimate, Sizes, base_bytes, need};
use super::overrides::{Overrides, columns_of};
use super::read::{max_tokens, read, too_few};
use super::reckon::{Prices, Reckoning};
use super::settings::{NICE, REPLAY, effective, holding, settings, spec_of};
use super::train_request::TrainRequest;
use crate::daemon::file_pool::{FilePool, Gone};
use crate::daemon::rpc_errors;
use crate::daemon::store::{AdapterRow, Manifest, ManifestRow, Store, lineage};

/// Everything about a run but its tokens: saved with it, so that it can go on after a kill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunJob {
    pub(crate) order: TrainRequest,
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
    /// Old examples whose edited text it learns.
    #[serde(default)]
    pub(crate) replaces: Vec<ExampleId>,
    #[serde(default)]
    pub(crate) train_on: Option<TrainOn>,
    #[serde(default)]
    pub(crate) style: Option<Style>,
    #[serde(default)]
    pub(crate) columns: Option<Patterns<String>>,
    pub(crate) max_tokens: usize,
    pub(crate) settings: TrainSettings,
    /// That the run may take, and seconds that it has taken before an interruption.
    #[serde(default)]
    pub(crate) minutes: Option<f64>,
    #[serde(default)]
    pub(crate) spent: f64,
    /// Scheduling priority that training gives up.
    #[serde(default)]
    pub(crate) nice: u32,
    /// The folder's state, see [`state_of`].
    pub(crate) state: String,
}

impl RunJob {
    /// A name for what judges it: losses of other texts, of another part of them or under another base are not comparable.
    pub(crate) fn judged_by(&self) -> String {
        let mut judges: Vec<ExampleId> = match self.folds {
            Some(_) => self.train.clone(),
            None => self.heldout.iter().map(|(id, _)| *id).collect(),
        };
        judges.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.fingerprint.as_bytes());
        hasher.update(format!("{:?}", self.options()).as_bytes());
        for id in judges {
            hasher.update(id.as_bytes());
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }

    pub(crate) fn options(&self) -> EncodeOptions {
        let knobs = Knobs { train_on: self.train_on, style: self.style, ..Knobs::default() };
        options(&knobs, self.max_tokens)
    }

    pub(crate) fn columns(&self) -> Columns {
        columns_of(&Knobs { columns: self.columns.clone(), ..Knobs::default() }, 1)
    }
}

pub(crate) struct Prepared {
    pub(crate) job: RunJob,
    /// The text side that made the tokens.
    pub(crate) text: Arc<BaseSpec>,
    pub(crate) data: TrainData,
    /// The learnt example, by its place in the job, that each item of `data.train` belongs to.
    pub(crate) owners: Vec<usize>,
    /// What work on the base takes here, if it was ever measured.
    pub(crate) prices: Option<Prices>,
    /// The base's own texts, if it was ever asked for them.
    pub(crate) neutral: Option<ReferenceSamples>,
    /// Its own answers, likewise.
    pub(crate) rehearsal: Option<ReferenceSamples>,
    /// Of memory; `None`: it fitted before.
    pub(crate) need: Option<MemoryEstimate>,
    /// Where to go on from: a run that was interrupted.
    pub(crate) state: Option<PathBuf>,
}

impl Prepared {
    pub(crate) fn reckoning(&self) -> Reckoning {
        let settings = self.job.settings.clone();
        let known = Known {
            neutral: self.neutral.is_some(),
            chats: self.text.chats(),
            rehearsal: self.rehearsal.as_ref(),
        };
        Reckoning {
            parts: Parts::of(&self.data, &settings, known),
            examples: self.data.train.len(),
            folds: self.data.folds(),
            incremental: self.job.start.is_some(),
            overlap: trigram_overlap(&self.data),
            settings,
        }
    }

    /// What the plan says of time, with the prices that are known.
    pub(crate) fn reckon(&mut self) {
        let (reckoning, prices, minutes) = (self.reckoning(), self.prices, self.job.minutes);
        reckoning.fill(&mut self.job.plan, prices, minutes);
    }
}

pub(crate) enum Preparation {
    Ready(Box<Prepared>),
    /// An incremental run without anything to learn.
    NothingNew,
    /// What is new is held out: it judges, and there is nothing to learn.
    OnlyJudges(Vec<ManifestRow>),
}

/// Which examples take part in a run, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExampleSelection {
    pub(crate) train: Vec<ExampleId>,
    /// The last ones of `train`: replayed from earlier runs.
    pub(crate) replay: usize,
    pub(crate) heldout: Vec<(ExampleId, bool)>,
    /// Nothing is held out; the examples judge each other in so many folds.
    pub(crate) folds: Option<usize>,
    pub(crate) learns: Vec<(ExampleId, Side)>,
    /// Old examples that were edited, and whose new text is learnt.
    pub(crate) replaces: Vec<ExampleId>,
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
pub(crate) const FEW: usize = 30;
const FOLDS: usize = 5;

/// Everything, each example on its side. Few examples are all learnt, and judged by cross-validation.
pub(crate) fn choose_full(examples: &[Example], manifest: &Manifest) -> ExampleSelection {
    if examples.len() < FEW {
        return ExampleSelection {
            train: examples.iter().map(|example| example.id).collect(),
            folds: Some(FOLDS.min(examples.len())),
            learns: examples.iter().map(|example| (example.id, Side::Train)).collect(),
            ..ExampleSelection::default()
        };
    }
    choose_split(examples, manifest)
}

/// Everything, each example on its side.
fn choose_split(examples: &[Example], manifest: &Manifest) -> ExampleSelection {
    // As long as none was held out, all were learnt: a full run begins anew and may hold out what it likes.
    let known = manifest.sides();
    let judged = known.values().any(|side| *side == Side::HeldOut);
    let sides = if judged { split(examples, &known) } else { split(examples, &HashMap::new()) };
    let mut choice = ExampleSelection::default();
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

/// What is new, with so many old ones that they make `share` of the tokens, the least learnt first; `None` if nothing is new.
pub(crate) fn choose_incremental(
    examples: &[Example],
    manifest: &Manifest,
    lineage: &HashSet<u32>,
    start: u32,
    share: f64,
    tokens: &dyn Fn(&Example) -> usize,
) -> Option<ExampleSelection> {
    let new: HashSet<ExampleId> = changes(&manifest.rows, examples).added.into_iter().collect();
    if new.is_empty() {
        return None;
    }
    let mut known = manifest.sides();
    let edits = edits(manifest, examples, &may_be_edits(manifest, examples));
    // What judges must not be learnt because it was edited.
    for (new, old) in &edits {
        if let Some(side) = known.get(old).copied() {
            known.insert(*new, side);
        }
    }
    let judged = known.values().any(|side| *side == Side::HeldOut);
    let sides = if judged { split(examples, &known) } else { spared(&new) };
    let learnt: HashSet<ExampleId> = manifest.learnt(lineage).collect();
    // What was tried before, or is back, is no news of this run.
    let replaces = edits.into_iter().filter(|(edit, _)| new.contains(edit)).map(|(_, old)| old);
    let mut choice = ExampleSelection { replaces: replaces.collect(), ..ExampleSelection::default() };
    choice.replaces.sort_unstable();
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
    // The least learnt first; what no run has measured counts as not learnt at all. Among equals the hash decides, with the version, so that each
    // run replays others.
    old.sort_by_cached_key(|example| {
        let loss = manifest.rows.get(&example.id).and_then(|known| known.loss);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&start.to_le_bytes()).update(example.id.as_bytes());
        (ByLoss(loss.unwrap_or(f64::INFINITY)), *hasher.finalize().as_bytes())
    });
    let wanted = new_tokens as f64 * share / (1.0 - share);
    let mut replayed = 0;
    for example in old {
        if (replayed as f64) < wanted {
            replayed += tokens(example);
            choice.train.push(example.id);
            choice.replay += 1;
        } else if !judged {
            // After cross-validation nothing old is held out. What is not replayed judges: it tells whether the old is forgotten.
            choice.heldout.push((example.id, false));
        }
    }
    if choice.heldout.is_empty() && !choice.train.is_empty() {
        // So few that all of them are replayed: they judge each other.
        choice.folds = Some(FOLDS.min(choice.train.len()));
    }
    Some(choice)
}

/// The highest loss first.
#[derive(PartialEq)]
struct ByLoss(f64);

impl Eq for ByLoss {}

impl PartialOrd for ByLoss {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByLoss {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.total_cmp(&self.0)
    }
}

/// One of four to seven new examples and two of more are held out, those with the lowest hashes.
fn spared(new: &HashSet<ExampleId>) -> HashMap<ExampleId, Side> {
    let mut ids: Vec<ExampleId> = new.iter().copied().collect();
    ids.sort_unstable();
    ids.into_iter().take((new.len() / 4).min(2)).map(|id| (id, Side::HeldOut)).collect()
}

pub(crate) fn prepare(
    file_pool: &FilePool,
    order: &TrainRequest,
    gone: &Gone,
) -> Result<Preparation, RpcError> {
    let text = file_pool.texts.open(&order.source()).map_err(|error| rpc_errors::of_base(&error))?;
    let store = file_pool.store()?;
    let adapter = store.adapter(&order.target.adapter)?;
    if let Some(row) = &adapter {
        check_base(row, &text)?;
    }
    let overrides = Overrides::in_folder(&order.knobs, &order.target.folder)?;
    let own = adapter.as_ref().and_then(|row| row.quantise);
    let order = &TrainRequest { quantise: overrides.quantise(own)?, ..order.clone() };
    let longest = max_tokens(&text, &overrides.knobs);
    let dataset =
        read(&order.target.folder, &text, &options(&overrides.knobs, longest), &overrides.columns(), gone)?;
    let manifest = store.manifest(&order.target)?;
    let mut start = None;
    let choice = match order.kind {
        RunKind::Full => {
            if dataset.examples.len() < 2 {
                return Err(too_few(&dataset));
            }
            // The two forms of a text must not judge each other.
            if overrides.knobs.style == Some(Style::Instruct) {
                choose_split(&dataset.examples, &manifest)
            } else {
                choose_full(&dataset.examples, &manifest)
            }
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
            let measured = dataset.examples.iter().map(|example| example.id).zip(&dataset.measured);
            let lengths: HashMap<ExampleId, usize> =
                measured.map(|(id, measured)| (id, measured.tokens.min(longest))).collect();
            let tokens = |example: &Example| lengths.get(&example.id).copied().unwrap_or(0);
            let share = overrides.knobs.replay.unwrap_or(REPLAY);
            match choose_incremental(&dataset.examples, &manifest, &chain, row.current, share, &tokens) {
                Some(choice) if choice.train.len() == choice.replay => {
                    return Ok(Preparation::OnlyJudges(rows(&dataset.examples, &choice.learns)));
                }
                Some(choice) => choice,
                None => return Ok(Preparation::NothingNew),
            }
        }
    };
    build(file_pool, &store, order, &overrides, &dataset, &text, choice, start, longest)
        .map(|prepared| Preparation::Ready(Box::new(prepared)))
}

/// An adapter belongs to one base.
pub(crate) fn check_base(row: &AdapterRow, text: &BaseSpec) -> Result<(), RpcError> {
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
    file_pool: &FilePool,
    store: &Store,
    order: &TrainRequest,
    overrides: &Overrides,
    dataset: &Dataset,
    text: &Arc<BaseSpec>,
    choice: ExampleSelection,
    start: Option<u32>,
    max_tokens: usize,
) -> Result<Prepared, RpcError> {
    let options = options(&overrides.knobs, max_tokens);
    let (data, owners) =
        encode(&dataset.examples, text, &choice.train, &choice.heldout, choice.folds, &options)?;
    let start_folder =
        start.map(|version| file_pool.stored(file_pool.version_folder(&order.target.adapter, version)));
    let start_spec = start_folder.transpose()?.and_then(|folder| spec_of(&folder));
    let settings = settings(text, &overrides.knobs, data.train.len(), order.kind, start_spec);
    settings.validate_for(&text.config).map_err(|error| rpc_errors::of_training(&error))?;
    let mut plan = plan(order, dataset, text, &choice, &data, &overrides.knobs, &settings);
    plan.settings = effective(
        order,
        overrides,
        text,
        &holding(&settings, &overrides.knobs, data.train.len(), max_tokens, order.kind, order.quantise),
        start,
    );
    // Here and not on the worker: a template may be slow.
    for (index, prompt) in settings.sample_prompts.iter().enumerate() {
        let bad = |error: BaseError| {
            RpcError::new(ErrorCode::InvalidParams, format!("prompt {}: {error}", index + 1))
        };
        text.short_prompt(prompt, false, &|| false).map_err(bad)?;
    }
    let learns = rows(&dataset.examples, &choice.learns);
    let lengths = || data.train.iter().map(|sample| sample.tokens.len());
    let sizes = Sizes {
        mean: lengths().sum::<usize>().div_ceil(data.train.len().max(1)),
        longest: lengths().max().unwrap_or(0),
    };
    let need = need(&settings, &text.config, base_bytes(&text.config, order.quantise), sizes);
    plan.memory_bytes = need.as_set;
    let mut job = RunJob {
        order: order.clone(),
        plan,
        fingerprint: text.fingerprint.clone(),
        start,
        train: choice.train,
        heldout: choice.heldout,
        folds: choice.folds,
        learns,
        replaces: choice.replaces,
        train_on: overrides.knobs.train_on,
        style: overrides.knobs.style,
        columns: overrides.knobs.columns.clone(),
        max_tokens,
        settings,
        minutes: overrides.knobs.minutes,
        spent: 0.0,
        nice: overrides.knobs.nice.unwrap_or(NICE),
        state: state_of(&dataset.examples),
    };
    let neutral = store.neutral_samples(&text.answers_by())?;
    let rehearsal = store.rehearsal(&text.answers_by())?;
    let prices = store.prices(&text.fingerprint, file_pool.device)?;
    if rehearsal.as_ref().is_some_and(|written| written.samples.is_empty()) {
        job.plan.rehearsed_answers = 0;
    }
    let mut prepared = Prepared {
        job,
        text: Arc::clone(text),
        data,
        state: None,
        owners,
        prices,
        neutral,
        rehearsal,
        need: Some(need),
    };
    prepared.reckon();
    Ok(prepared)
}

/// What a run makes known of its examples.
fn rows(examples: &[Example], learns: &[(ExampleId, Side)]) -> Vec<ManifestRow> {
    let known: HashMap<ExampleId, &Example> = examples.iter().map(|example| (example.id, example)).collect();
    let row = |(id, side): &(ExampleId, Side)| {
        let example = known.get(id)?;
        let sketch = Some(Sketch::of(&example.content));
        Some(ManifestRow {
            example: *id,
            side: *side,
            file: example.file.clone(),
            sketch,
            line: example.lines.0,
        })
    };
    learns.iter().filter_map(row).collect()
}

/// How examples become tokens.
pub(crate) fn options(knobs: &Knobs, max_tokens: usize) -> EncodeOptions {
    EncodeOptions {
        max_tokens,
        train_on: match knobs.train_on {
            None | Some(TrainOn::Completions) => dataset::TrainOn::Completions,
            Some(TrainOn::Last) => dataset::TrainOn::Last,
            Some(TrainOn::Everything | TrainOn::All) => dataset::TrainOn::Everything,
        },
        style: match knobs.style {
            // Of a base without a chat template, the text alone.
            None | Some(Style::Answers) => dataset::Style::Answers,
            Some(Style::Plain) => dataset::Style::Plain,
            Some(Style::Instruct) => dataset::Style::Instruct,
        },
    }
}

/// The tokens of chosen examples, in the order of the choice, and which of the learnt examples each item to learn belongs to: a text that is also
/// learnt as an answer makes two.
pub(crate) fn encode(
    examples: &[Example],
    text: &BaseSpec,
    train: &[ExampleId],
    heldout: &[(ExampleId, bool)],
    folds: Option<usize>,
    options: &EncodeOptions,
) -> Result<(TrainData, Vec<usize>), RpcError> {
    let known: HashMap<ExampleId, &Example> = examples.iter().map(|example| (example.id, example)).collect();
    let forms = |id: &ExampleId| -> Result<Vec<Sample>, RpcError> {
        let Some(example) = known.get(id) else {
            return Err(RpcError::new(
                ErrorCode::UnusableDataset,
                "an example of the run is no longer there",
            ));
        };
        let forms = text.encode_forms(example, options).map_err(|error| {
            let place = format!("{}:{}: {error}", example.file.display(), example.lines.0);
            RpcError::new(ErrorCode::UnusableDataset, place)
        })?;
        Ok(forms.into_iter().map(|form| form.sample).collect())
    };
    let (mut samples, mut owners) = (Vec::with_capacity(train.len()), Vec::with_capacity(train.len()));
    for (owner, id) in train.iter().enumerate() {
        for form in forms(id)? {
            samples.push(form);
            owners.push(owner);
        }
    }
    let mut judges = Vec::with_capacity(heldout.len());
    for (id, is_new) in heldout {
        judges.extend(forms(id)?.into_iter().map(|sample| HeldOut { sample, is_new: *is_new }));
    }
    let heldout = match folds {
        Some(folds) => Validation::KFold(folds),
        None => Validation::Holdout(judges),
    };
    Ok((TrainData { train: samples, heldout }, owners))
}

fn plan(
    order: &TrainRequest,
    dataset: &Dataset,
    text: &BaseSpec,
    choice: &ExampleSelection,
    data: &TrainData,
    knobs: &Knobs,
    settings: &TrainSettings,
) -> Plan {
    let tokens: usize = data.train.iter().map(|sample| sample.tokens.len()).sum();
    let steps = settings.steps(data.train.len());
    let per_step = settings.examples_per_step().min(data.train.len());
    let tokens_per_step = (tokens * per_step).div_ceil(data.train.len().max(1));
    let config = &text.config;
    Plan {
        kind: order.kind,
        base: text.name.clone(),
        adapter: order.target.adapter.clone(),
        train_examples: choice.train.len(),
        heldout_examples: choice.heldout.len(),
        replay_examples: choice.replay,
        texts_as_answers: texts_as_answers(dataset, choice, text, knobs),
        rehearsed_answers: (settings.rehearsal * data.train.len() as f64).round() as usize,
        tokens,
        supervised_tokens: data.train.iter().map(Sample::supervised_tokens).sum(),
        epochs: settings.epochs,
        steps,
        tokens_per_step,
        learning_rate: settings.learning_rate,
        rank: settings.lora.rank,
        alpha: settings.lora.alpha,
        trainable_parameters: settings.trainable_parameters(config),
        likely_steps: steps,
        seconds: None,
        seconds_at_most: None,
        memory_bytes: 0,
        findings: dataset.findings.len(),
        settings: Vec::new(),
        folds: data.folds().unwrap_or(0),
        problem: None,
    }
}

fn texts_as_answers(dataset: &Dataset, choice: &ExampleSelection, text: &BaseSpec, knobs: &Knobs) -> usize {
    if knobs.style == Some(Style::Plain) || !text.chats() {
        return 0;
    }
    let learnt: HashSet<ExampleId> = choice.train.iter().copied().collect();
    let is_titled =
        |example: &&Example| matches!(example.content, Content::Text(_)) && example.title.is_some();
    dataset.examples.iter().filter(is_titled).filter(|example| learnt.contains(&example.id)).count()
}

#[cfg(test)]
mod tests;
