//! A look at a watched folder: what is new, what is gone, what a person should know. Starts nothing.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use hotplate_dataset::{ExampleId, changes};
use hotplate_protocol::RpcError;

use super::order::source;
use super::prepare::{check_base, state_of};
use super::read::{max_tokens, read, too_few};
use crate::daemon::desk::Desk;
use crate::daemon::faults;
use crate::daemon::store::{WatchRow, lineage};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Look {
    pub(crate) base: String,
    pub(crate) examples: usize,
    pub(crate) findings: usize,
    /// Examples that no run has learnt or tried, with their files.
    pub(crate) added: Vec<(ExampleId, PathBuf)>,
    /// Whether the adapter has a version to go on from.
    pub(crate) has_version: bool,
    /// Examples that the current version learnt are gone.
    pub(crate) stale: bool,
    pub(crate) state: String,
    /// When the newest of the files with added examples was changed, in seconds since 1970.
    pub(crate) newest: Option<f64>,
    /// Why nothing can be learnt here.
    pub(crate) problem: Option<String>,
}

pub(crate) fn look(desk: &Desk, watch: &WatchRow) -> Result<Look, RpcError> {
    let text = desk.texts.open(&source(watch.base.as_deref())).map_err(|error| faults::of_base(&error))?;
    let store = desk.store()?;
    let adapter = store.adapter(&watch.target.adapter)?;
    if let Some(row) = &adapter {
        check_base(row, &text)?;
    }
    let dataset = read(&watch.target.folder, &text, max_tokens(&text, &watch.knobs))?;
    let manifest = store.manifest(&watch.target)?;
    let new: HashSet<ExampleId> = changes(&manifest.rows, &dataset.examples).added.into_iter().collect();
    let stale = match &adapter {
        None => false,
        Some(row) => {
            let chain = lineage(&store.versions(&row.name)?, row.current);
            let present: HashSet<ExampleId> = dataset.examples.iter().map(|example| example.id).collect();
            manifest.learnt(&chain).any(|id| !present.contains(&id))
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
    Ok(Look {
        base: text.name.clone(),
        examples: dataset.examples.len(),
        findings: dataset.findings.len(),
        added,
        has_version: adapter.is_some(),
        stale,
        state: state_of(&dataset.examples),
        newest,
        problem: (too_small || (stale && dataset.examples.len() < 2)).then(|| too_few(&dataset).message),
    })
}

/// Seconds since 1970.
pub(crate) fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
