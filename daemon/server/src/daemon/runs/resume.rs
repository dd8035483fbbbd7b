//! After a kill: what of an interrupted run is still good, and what has to go.

use std::fs;
use std::path::Path;

use hotplate_protocol::run::RunId;
use hotplate_protocol::{ErrorCode, RpcError};

use super::checkpoint;
use super::finish::DRAFT_PREFIX;
use super::prepare::{Prepared, encode};
use super::read::read;
use super::train_request::TrainRequest;
use crate::daemon::file_pool::{FilePool, Gone};
use crate::daemon::store::RunRow;

/// A run that was begun this often and never ended is what takes the daemon down, most likely.
pub(crate) const ATTEMPTS: u32 = 10;

/// The run as it was saved, if its examples are still there; `None` if it was never saved.
///
/// # Errors
/// Why the saved state cannot be used.
pub(crate) fn from_checkpoint(file_pool: &FilePool, run: RunId) -> Result<Option<Prepared>, String> {
    let folder = file_pool.stored(file_pool.run_folder(run)).map_err(|error| error.message)?;
    let Some((state, job)) = checkpoint::newest(&folder)? else { return Ok(None) };
    let text = file_pool.texts.open(&job.order.source()).map_err(|error| error.to_string())?;
    if text.fingerprint != job.fingerprint {
        return Err("the base has changed".to_owned());
    }
    let dataset = read(&job.order.target.folder, &text, &job.options(), &job.columns(), &Gone::default())
        .map_err(|error| error.message)?;
    let (data, owners) =
        encode(&dataset.examples, &text, &job.train, &job.heldout, job.folds, &job.options())
            .map_err(|error| error.message)?;
    let store = file_pool.store().ok();
    let neutral = store.as_ref().and_then(|store| store.neutral_samples(&text.answers_by()).ok().flatten());
    let rehearsal = store.as_ref().and_then(|store| store.rehearsal(&text.answers_by()).ok().flatten());
    let prices = store.and_then(|store| store.prices(&job.fingerprint, file_pool.device).ok().flatten());
    let mut prepared =
        Prepared { job, text, data, state: Some(state), owners, prices, neutral, rehearsal, need: None };
    prepared.reckon();
    Ok(Some(prepared))
}

/// The answer to a request that finds nothing to do.
pub(crate) fn nothing_new(order: &TrainRequest) -> RpcError {
    let folder = order.target.folder.display();
    RpcError::new(ErrorCode::UnusableDataset, format!("there is nothing new to learn in {folder}"))
}

/// Removes what a kill left behind: half-written versions, and the folders of versions that never became known. Nothing else.
pub(crate) fn clean_up(file_pool: &FilePool, interrupted: &[RunRow], known: &dyn Fn(&str, u32) -> bool) {
    for adapter in entries(&file_pool.home.adapters()) {
        for draft in entries(&adapter) {
            if draft.file_name().is_some_and(|name| name.to_string_lossy().starts_with(DRAFT_PREFIX)) {
                remove(&draft);
            }
        }
    }
    for row in interrupted {
        let name = &row.order.target.adapter;
        if let Some(version) = row.planned_version.filter(|version| !known(name, *version)) {
            let folder = file_pool.version_folder(name, version);
            if folder.exists() {
                remove(&folder);
            }
        }
    }
    for folder in entries(&file_pool.home.runs()) {
        let open = interrupted.iter().any(|row| folder == file_pool.run_folder(row.run));
        if !open {
            remove(&folder);
        }
    }
}

/// What lies in a folder; nothing behind a link, where it would be somebody else's.
fn entries(folder: &Path) -> Vec<std::path::PathBuf> {
    if folder.is_symlink() {
        return Vec::new();
    }
    fs::read_dir(folder).map(|found| found.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

fn remove(folder: &Path) {
    tracing::info!(folder = %folder.display(), "removed what an interrupted run left");
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!(folder = %folder.display(), %error, "cannot be removed");
    }
}
