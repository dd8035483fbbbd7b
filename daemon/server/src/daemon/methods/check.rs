//! `dataset/check`: reads a folder as training would, and says what it found.

use hotplate_dataset::findings::bad_recipe;
use hotplate_dataset::{Dataset, Example, Side, recipe};
use hotplate_engine::base_spec::BaseSpec;
use hotplate_protocol::RpcError;
use hotplate_protocol::knobs::Knobs;
use hotplate_protocol::methods::check::{
    Check, CheckParams, CheckResult, ExampleState, FileKind, Finding, ListedExample, RehearsedAnswer,
    ShapeCount,
};
use hotplate_protocol::run::{Cause, RunKind};
use hotplate_train::reference_samples::ReferenceSamples;
use hotplate_train::rehearsal;

use super::AtFiles;
use crate::daemon::file_pool::{FilePool, Gone};
use crate::daemon::rpc_errors;
use crate::daemon::runs::overrides::Overrides;
use crate::daemon::runs::place::{adapter_of, base_folder, dataset_folder, recipe_adapter, recipe_base};
use crate::daemon::runs::prepare::{choose_full, options};
use crate::daemon::runs::read::{max_tokens, read};
use crate::daemon::runs::settings::settings_of_a_full_run;
use crate::daemon::runs::train_request::{DatasetTarget, Named, TrainRequest, source};
use crate::daemon::store::Manifest;

impl AtFiles for Check {
    fn answer(file_pool: &FilePool, params: CheckParams, gone: &Gone) -> Result<CheckResult, RpcError> {
        let store = file_pool.store()?;
        let folder = dataset_folder(file_pool, &store, &params.folder)?;
        // A recipe with a mistake is a finding here; the examples are looked at as if there were none.
        let (recipe, mistakes) = match recipe::read(&folder) {
            Ok(found) => (found.unwrap_or_default(), Vec::new()),
            Err(error) => (recipe::Recipe::default(), error.problems),
        };
        let named = Named { base: params.base.is_some(), adapter: false };
        let row = store.adapters()?.into_iter().find(|row| row.folder == folder);
        let base = match (&params.base, recipe_base(&recipe, &folder)?) {
            (Some(base), _) => base_folder(base)?,
            (None, Some(base)) => base,
            (None, None) => match &row {
                Some(row) => row.base_folder.clone(),
                None => params.fallback_base.as_deref().map(base_folder).transpose()?.flatten(),
            },
        };
        let adapter = match recipe_adapter(&recipe)? {
            Some(name) => name,
            None => adapter_of(&store, &folder)?,
        };
        let overrides = Overrides::new(&Knobs::default(), recipe)?;
        let text =
            file_pool.texts.open(&source(base.as_deref())).map_err(|error| rpc_errors::of_base(&error))?;
        let longest = max_tokens(&text, &overrides.knobs);
        let dataset = read(&folder, &text, &options(&overrides.knobs, longest), &overrides.columns(), gone)?;
        let own = row.as_ref().and_then(|row| row.quantise);
        // The sides that were given in earlier runs of this folder stay.
        let manifest = match row {
            Some(row) => store.manifest(&DatasetTarget { folder: folder.clone(), adapter: row.name })?,
            None => Manifest::default(),
        };
        let choice = choose_full(&dataset.examples, &manifest);
        let tokens: Vec<usize> = dataset.measured.iter().map(|measured| measured.tokens).collect();
        let mut sorted = tokens.clone();
        sorted.sort_unstable();
        let heldout = choice.learns.iter().filter(|(_, side)| *side == Side::HeldOut).count();
        let order = TrainRequest {
            target: DatasetTarget { folder: folder.clone(), adapter },
            base,
            // Two keys that do not go together are said when a run is planned.
            quantise: overrides.quantise(own).unwrap_or_default(),
            knobs: Knobs::default(),
            kind: RunKind::Full,
            cause: Cause::Asked,
            saved_at: None,
            named,
        };
        let settings = if mistakes.is_empty() {
            settings_of_a_full_run(&order, &overrides, &text, choice.train.len(), longest)
        } else {
            Vec::new()
        };
        let mistakes = mistakes.iter().map(bad_recipe);
        Ok(CheckResult {
            folder,
            files: dataset.files.len(),
            examples: dataset.examples.len(),
            train_examples: choice.train.len(),
            heldout_examples: heldout,
            tokens: tokens.iter().map(|count| (*count).min(longest)).sum(),
            longest_tokens: sorted.last().copied().unwrap_or(0),
            shortest_tokens: sorted.first().copied().unwrap_or(0),
            median_tokens: sorted.get(sorted.len() / 2).copied().unwrap_or(0),
            truncated_examples: sorted.iter().filter(|count| **count > longest).count(),
            kinds: kinds(&dataset),
            settings,
            rehearsed: if params.list {
                rehearsed(store.rehearsal(&text.answers_by())?.as_ref(), &text)?
            } else {
                Vec::new()
            },
            listed: if params.list { listed(&dataset.examples, &tokens, &manifest) } else { Vec::new() },
            findings: mistakes
                .chain(dataset.findings)
                .map(|finding| Finding {
                    code: finding.code.code().to_owned(),
                    name: finding.code.name().to_owned(),
                    // A name that is no UTF-8 could not cross the wire.
                    file: finding.file.to_string_lossy().into_owned().into(),
                    lines: finding.lines,
                    column: finding.column,
                    message: finding.message,
                    remedy: finding.code.remedy().to_owned(),
                    skipped: finding.code.skips(),
                })
                .collect(),
        })
    }
}

/// Every example, with what the folder's adapter knows of it.
fn listed(examples: &[Example], tokens: &[usize], manifest: &Manifest) -> Vec<ListedExample> {
    let entry = |(example, tokens): (&Example, &usize)| {
        let known = manifest.rows.get(&example.id);
        ListedExample {
            id: example.id.to_string(),
            // A name that is no UTF-8 could not cross the wire.
            file: example.file.to_string_lossy().into_owned().into(),
            lines: example.lines,
            tokens: *tokens,
            state: match known {
                None => ExampleState::New,
                Some(known) if known.side == Side::HeldOut => ExampleState::HeldOut,
                Some(known) if known.version.is_some() => ExampleState::Learnt,
                Some(_) => ExampleState::Tried,
            },
            run: known.map(|known| known.run),
            version: known.and_then(|known| known.version),
            loss: known.and_then(|known| known.loss),
        }
    };
    examples.iter().zip(tokens).map(entry).collect()
}

/// What the base has answered, if it was ever asked.
fn rehearsed(written: Option<&ReferenceSamples>, text: &BaseSpec) -> Result<Vec<RehearsedAnswer>, RpcError> {
    let Some(written) = written else { return Ok(Vec::new()) };
    let shown = rehearsal::as_text(text, written).map_err(|error| rpc_errors::of_base(&error))?;
    let answer = |(prompt, answer): (&str, String)| RehearsedAnswer { prompt: prompt.to_owned(), answer };
    Ok(shown.into_iter().map(answer).collect())
}

/// What each file was read as.
fn kinds(dataset: &Dataset) -> Vec<FileKind> {
    let files = dataset.files.iter().map(|stamp| FileKind {
        file: stamp.path.to_string_lossy().into_owned().into(),
        format: stamp.format.name().to_owned(),
        shapes: stamp
            .shapes
            .iter()
            .map(|(shape, records)| ShapeCount { shape: shape.name().to_owned(), records: *records })
            .collect(),
    });
    files.collect()
}
