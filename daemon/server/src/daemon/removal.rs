//! Versions that go: their rows first, then their folders, which are moved aside at once and emptied afterwards.
//!
//! A folder is noted as doomed in the transaction that takes its row, so that a kill at any moment leaves nothing behind; answers
//! that came before have what they need of it, because the worker is asked first.
//!
//! The folder is renamed to `.trash-…`, the note goes, and the file pool empties it; the next start finishes what a kill left. A version that others were
//! built on keeps its row (`pruned`), because lineage and manifest need it. A rename links the files under the new name first and then discards the old
//! folders like any others.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hotplate_protocol::methods::prune::PrunedAdapter;
use hotplate_protocol::run::RunId;
use hotplate_protocol::{ErrorCode, RpcError};
use serde_json::Value;

use super::disk_use::bytes_at;
use super::file_pool::{FileJob, FilePool};
use super::prune;
use super::sessions::RequestRef;
use super::state::Daemon;
use super::store::{Going, Store, VersionRow};
use super::worker::WorkerJob;

/// Folders of this kind are nobody's.
const TRASH_PREFIX: &str = ".trash-";

/// Folders on their way out, and who is told when they are gone.
#[derive(Debug)]
pub(crate) struct Removal {
    /// Versions' folders; later where they were moved to.
    pub(crate) folders: Vec<PathBuf>,
    reply: Option<(RequestRef, Value)>,
}

impl Removal {
    /// What cannot be removed now is removed at the next start.
    pub(crate) fn remove_folders(&self) {
        for folder in &self.folders {
            remove(folder);
        }
    }
}

fn remove(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(folder = %folder.display(), %error, "cannot be removed"),
    }
}

/// A version's folder as the store notes it: below the adapters' own.
pub(crate) fn below(file_pool: &FilePool, folder: &Path) -> PathBuf {
    folder.strip_prefix(file_pool.home.adapters()).unwrap_or(folder).to_owned()
}

/// Takes a doomed folder out of the way and says where it is now; `None` where there is none.
fn set_aside(file_pool: &FilePool, folder: &Path) -> io::Result<Option<PathBuf>> {
    let adapters = file_pool.home.adapters();
    let name = below(file_pool, folder).to_string_lossy().replace(['/', '\\'], "-");
    let places = (0_u32..).map(|number| adapters.join(format!("{TRASH_PREFIX}{name}-{number}")));
    for place in places {
        if place.symlink_metadata().is_ok() {
            continue;
        }
        return match fs::rename(folder, &place) {
            Ok(()) => Ok(Some(place)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
    }
    Ok(None)
}

/// What a kill left: doomed folders that are still there, and what was set aside.
pub(crate) fn finish(file_pool: &FilePool, store: &mut Store) -> anyhow::Result<()> {
    for folder in store.doomed()? {
        let place = file_pool.home.adapters().join(&folder);
        match set_aside(file_pool, &place) {
            Ok(_) => store.undoom(&folder)?,
            Err(error) => tracing::warn!(folder = %place.display(), %error, "cannot be removed"),
        }
        remove_if_empty(&place);
    }
    let Ok(entries) = fs::read_dir(file_pool.home.adapters()) else { return Ok(()) };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(TRASH_PREFIX) {
            remove(&entry.path());
        }
    }
    Ok(())
}

/// The folder of an adapter whose last version went.
fn remove_if_empty(version: &Path) {
    if let Some(adapter) = version.parent() {
        let _ = fs::remove_dir(adapter);
    }
}

/// What of an adapter the run in progress needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrainsFrom {
    Nothing,
    Version(u32),
    /// It is being prepared, and has not chosen yet.
    Unknown,
}

impl Daemon {
    /// The rows are gone: the files go as soon as nobody waits to read them.
    pub(crate) fn discard(&mut self, folders: Vec<PathBuf>, reply: Option<(RequestRef, Value)>) {
        self.worker.send(WorkerJob::LetGo(Removal { folders, reply }));
    }

    /// Whoever asked before has what he needs.
    pub(crate) fn release_pages(&mut self, mut removal: Removal) {
        let mut aside = Vec::new();
        for folder in &removal.folders {
            match set_aside(&self.file_pool, folder) {
                Ok(place) => {
                    aside.extend(place);
                    if let Err(error) = self.store.undoom(&below(&self.file_pool, folder)) {
                        tracing::warn!(%error, "at the next start");
                    }
                }
                // It stays noted, and is tried again at the next start.
                Err(error) => tracing::warn!(folder = %folder.display(), %error, "cannot be removed"),
            }
            remove_if_empty(folder);
        }
        removal.folders = aside;
        self.file_jobs.send(FileJob::Discard(removal));
    }

    pub(crate) fn discarded(&mut self, removal: Removal) {
        if let Some((asker, value)) = removal.reply {
            self.reply(&asker, Ok(value));
        }
    }

    pub(crate) fn folders_of(&self, adapter: &str, versions: &[u32]) -> Vec<PathBuf> {
        versions.iter().map(|version| self.file_pool.version_folder(adapter, *version)).collect()
    }

    /// Takes versions out of the store; their files are still there.
    pub(crate) fn take_out(&mut self, adapter: &str, going: &Going) -> Result<Vec<PathBuf>, RpcError> {
        let folders = self.folders_of(adapter, &going.all());
        let noted: Vec<PathBuf> = folders.iter().map(|folder| below(&self.file_pool, folder)).collect();
        self.store.remove_versions(adapter, going, &noted)?;
        tracing::info!(adapter, versions = ?going.all(), "removed");
        Ok(folders)
    }

    /// Refuses what would pull an adapter from under its watch or its runs.
    pub(crate) fn nobody_needs(&self, adapter: &str, what: &str) -> Result<(), RpcError> {
        let refused = |why: String| Err(RpcError::new(ErrorCode::UnusableAdapter, why));
        if let Some(watched) = self.watches.values().find(|watched| watched.row.target.adapter == adapter) {
            let folder = watched.row.target.folder.display();
            return refused(format!(
                "{adapter} cannot be {what}: it learns from {folder}, which is watched; end that first: hotplate unwatch {adapter}"
            ));
        }
        if let Some(run) = self.runs.statuses().into_iter().find(|run| run.adapter == adapter) {
            return refused(format!(
                "{adapter} cannot be {what}: run {0} trains it; wait for its end (hotplate attach {0}), or end it: hotplate cancel {0}",
                run.run.0
            ));
        }
        Ok(())
    }

    /// What a prune of this adapter would take, and what would stay; nothing while a run is being prepared on it.
    pub(crate) fn to_prune(
        &self,
        adapter: &str,
        current: u32,
        keep: usize,
    ) -> Result<(Going, PrunedAdapter), RpcError> {
        let versions = self.store.versions(adapter)?;
        let going = match self.runs.trains_from(adapter) {
            TrainsFrom::Unknown => Going::default(),
            TrainsFrom::Version(start) => prune::choose(&versions, current, keep, |row| row.version == start),
            TrainsFrom::Nothing => prune::choose(&versions, current, keep, |_| false),
        };
        let all = going.all();
        let files = self.folders_of(adapter, &all);
        let pruned = PrunedAdapter {
            adapter: adapter.to_owned(),
            stay: versions
                .iter()
                .filter(|row| !row.pruned && !all.contains(&row.version))
                .map(|row| row.version)
                .collect(),
            versions: all,
            bytes: files.iter().map(|folder| bytes_at(folder)).sum(),
        };
        Ok((going, pruned))
    }

    /// Versions that a new one makes superfluous: of those that nobody asked for, all but the newest.
    pub(crate) fn superseded(&self, adapter: &str, new: &VersionRow) -> Going {
        let chosen = || {
            let by_itself = self.store.caused_by_files(adapter)?;
            let mut versions = self.store.versions(adapter)?;
            versions.push(new.clone());
            let asked_for = |row: &VersionRow| !by_itself.contains(&row.run);
            Ok::<_, super::store::StoreError>(prune::choose(
                &versions,
                new.version,
                self.settings.keep_versions,
                asked_for,
            ))
        };
        chosen().unwrap_or_else(|error| {
            tracing::warn!(%error, "old versions stay");
            Going::default()
        })
    }

    /// Removes what the new version has made superfluous.
    pub(crate) fn make_room(&mut self, run: RunId, adapter: &str, going: &Going) {
        if going.is_empty() {
            return;
        }
        match self.take_out(adapter, going) {
            Ok(folders) => self.discard(folders, None),
            Err(error) => tracing::warn!(run = run.0, error = error.message, "old versions stay"),
        }
    }
}
