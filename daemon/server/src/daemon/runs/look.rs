//! A look at a watched folder: what is new, what is gone, what a person should know. Starts nothing.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use hotplate_dataset::recipe::FILE;
use hotplate_dataset::{ExampleId, changes};
use hotplate_protocol::RpcError;
use hotplate_protocol::knobs::Method;

use super::edits::{Unread, edits, may_be_edits};
use super::overrides::{Overrides, columns_of, recipe_of};
use super::place::{recipe_adapter, recipe_base};
use super::prepare::{check_base, options, state_of};
use super::read::{max_tokens, read, too_few};
use super::train_request::source;
use crate::daemon::file_pool::{FilePool, Gone};
use crate::daemon::rpc_errors;
use crate::daemon::store::{WatchRow, lineage};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FolderSnapshot {
    pub(crate) base: String,
    pub(crate) examples: usize,
    pub(crate) findings: usize,
    /// Examples that no run has learnt or tried, with their files.
    pub(crate) added: Vec<(ExampleId, PathBuf)>,
    /// The version that answers has all weights of its own: a save trains them anew.
    pub(crate) whole: bool,
    /// Whether the adapter has a version to go on from.
    pub(crate) has_version: bool,
    /// Examples that the current version learnt are gone, and nothing stands in their place.
    pub(crate) stale: bool,
    /// Examples that an edited text had replaced, and that are there again.
    pub(crate) back: Vec<ExampleId>,
    pub(crate) state: String,
    /// When the newest of the files with added examples was changed, in seconds since 1970.
    pub(crate) newest: Option<f64>,
    /// What is wrong with the recipe; nothing is learnt until it is mended.
    pub(crate) recipe_problem: Option<String>,
    /// Why nothing can be learnt here.
    pub(crate) problem: Option<String>,
}

pub(crate) fn look(file_pool: &FilePool, watch: &WatchRow, gone: &Gone) -> Result<FolderSnapshot, RpcError> {
    let text =
        file_pool.texts.open(&source(watch.base.as_deref())).map_err(|error| rpc_errors::of_base(&error))?;
    let store = file_pool.store()?;
    let adapter = store.adapter(&watch.target.adapter)?;
    if let Some(row) = &adapter {
        check_base(row, &text)?;
    }
    let overrides = Overrides::in_folder(&watch.knobs, &watch.target.folder);
    let knobs = overrides.as_ref().map_or(&watch.knobs, |overrides| &overrides.knobs);
    let columns = overrides.as_ref().map_or_else(|_| columns_of(&watch.knobs, 1), Overrides::columns);
    let dataset =
        read(&watch.target.folder, &text, &options(knobs, max_tokens(&text, knobs)), &columns, gone)?;
    let manifest = store.manifest(&watch.target)?;
    let new: HashSet<ExampleId> = changes(&manifest.rows, &dataset.examples).added.into_iter().collect();
    let edited: HashSet<ExampleId> =
        edits(&manifest, &dataset.examples, &may_be_edits(&manifest, &dataset.examples))
            .into_values()
            .collect();
    let unread = Unread::of(&dataset);
    let back = dataset.examples.iter().map(|example| example.id);
    let back =
        back.filter(|id| manifest.rows.get(id).is_some_and(|known| known.replaced.is_some())).collect();
    let mut whole = false;
    let stale = match &adapter {
        None => false,
        Some(row) => {
            let versions = store.versions(&row.name)?;
            whole = versions
                .iter()
                .any(|version| version.version == row.current && version.method == Method::Full);
            let chain = lineage(&versions, row.current);
            let present: HashSet<ExampleId> = dataset.examples.iter().map(|example| example.id).collect();
            let held = |id: &ExampleId| manifest.rows.get(id).is_some_and(|known| unread.holds(&known.file));
            manifest.learnt(&chain).any(|id| !present.contains(&id) && !edited.contains(&id) && !held(&id))
        }
    };
    let added: Vec<_> = dataset
        .examples
        .iter()
        .filter(|example| new.contains(&example.id))
        .map(|example| (example.id, example.file.clone()))
        .collect();
    let files: HashSet<&PathBuf> = added.iter().map(|(_, file)| file).collect();
    let newest = dataset
        .files
        .iter()
        .filter(|stamp| files.contains(&stamp.path))
        .map(|stamp| unix(stamp.modified))
        .reduce(f64::max);
    let too_small = adapter.is_none() && dataset.examples.len() < 2;
    Ok(FolderSnapshot {
        base: text.name.clone(),
        examples: dataset.examples.len(),
        findings: dataset.findings.len(),
        added,
        whole,
        has_version: adapter.is_some(),
        stale,
        back,
        state: state_of(&dataset.examples),
        newest,
        recipe_problem: overrides.err().map(|error| error.message).or_else(|| renamed(watch)),
        problem: (too_small || (stale && dataset.examples.len() < 2)).then(|| too_few(&dataset).message),
    })
}

/// A recipe that names another base or adapter than the one that was settled when watching began.
fn renamed(watch: &WatchRow) -> Option<String> {
    let recipe = recipe_of(&watch.target.folder).ok()?;
    let line = |key: &str| recipe.get(key).map_or(1, |setting| setting.line);
    let again = format!("to change it, call hotplate watch {} again", watch.target.folder.display());
    match recipe_adapter(&recipe) {
        Err(error) => return Some(error.message),
        Ok(Some(name)) if name != watch.target.adapter => {
            let was = &watch.target.adapter;
            return Some(format!(
                "{FILE}:{}: the adapter is {name} now, and this folder is watched for {was}; {again}",
                line("adapter")
            ));
        }
        Ok(_) => {}
    }
    match recipe_base(&recipe, &watch.target.folder) {
        Err(error) => Some(error.message),
        Ok(Some(base)) if base != watch.base => Some(format!(
            "{FILE}:{}: another base is named now than the one this folder is watched with; {again}",
            line("base")
        )),
        Ok(_) => None,
    }
}

/// Seconds since 1970.
pub(crate) fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
