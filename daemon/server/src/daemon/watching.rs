//! Watched folders as the main loop sees them: when a look is taken, and what is learnt because of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use hotplate_protocol::methods::status::{WatchMethod, WatchStatus};
use hotplate_protocol::run::{Cause, RunKind};
use hotplate_protocol::{ErrorCode, RpcError};

use super::file_pool::{FileJob, Saves};
use super::methods;
use super::runs::look::{FolderSnapshot, unix};
use super::runs::place::came_from_elsewhere;
use super::runs::train_request::{DatasetTarget, Named, TrainRequest};
use super::sessions::RequestRef;
use super::state::{Daemon, Stopping, shutting_down};
use super::store::{ReadFor, WatchRow};
use super::watch::News;

pub(crate) struct Watched {
    pub(crate) row: WatchRow,
    method: WatchMethod,
    /// What the watcher says of the folder.
    health: Option<String>,
    /// Why the last look could not be taken.
    unreadable: Option<String>,
    look: Option<FolderSnapshot>,
    /// Since when nothing was saved here.
    rested: Instant,
    said_stale: bool,
    looking: bool,
    /// Why its folder is left alone until somebody asks for it again.
    suspended: Option<String>,
    /// Saves that came while a look was being taken.
    again: Option<Saves>,
}

impl Watched {
    fn new(row: WatchRow) -> Self {
        Self {
            row,
            method: WatchMethod::Native,
            health: None,
            unreadable: None,
            look: None,
            rested: Instant::now(),
            said_stale: false,
            looking: false,
            suspended: None,
            again: None,
        }
    }

    /// Something that was learnt is gone, as far as anybody can tell.
    fn misses(&self) -> bool {
        let look = self
            .look
            .as_ref()
            .filter(|look| look.stale && look.problem.is_none() && look.recipe_problem.is_none());
        look.is_some()
            && !self.looking
            && self.suspended.is_none()
            && self.health.is_none()
            && self.unreadable.is_none()
    }

    pub(crate) fn status(&self) -> WatchStatus {
        let look = self.look.as_ref();
        let base = look
            .map(|look| look.base.clone())
            .or_else(|| Some(self.row.base.as_ref()?.file_name()?.to_string_lossy().into_owned()));
        WatchStatus {
            folder: self.row.target.folder.clone(),
            base: base.unwrap_or_else(|| "hotplate-tiny".to_owned()),
            adapter: self.row.target.adapter.clone(),
            method: self.method,
            examples: look.map_or(0, |look| look.examples),
            findings: look.map_or(0, |look| look.findings),
            problem: self
                .suspended
                .clone()
                .or_else(|| self.health.clone())
                .or_else(|| self.unreadable.clone())
                .or_else(|| look?.recipe_problem.clone())
                .or_else(|| look?.problem.clone()),
        }
    }
}

/// What is said of a watch whose folder has taken the daemon down.
fn suspension((target, what): &(DatasetTarget, ReadFor)) -> String {
    let folder = target.folder.display();
    let when = match what {
        ReadFor::Watch => "read this folder",
        ReadFor::Run => "prepared a run on this folder",
    };
    format!(
        "suspended: the daemon died while it {when}, so it is left alone; hotplate logs says more. FolderSnapshot at what was changed there and \
         in the base last, then go on with: hotplate watch {folder}"
    )
}

/// A folder must have rested for so many times the machine's own idle time before an adapter is trained anew for what is gone from it...
const REST_TIMES: u32 = 10;
/// ...and for this part of it before that is said.
const SAID_PART: u32 = 3;

impl Daemon {
    /// Goes on with the watches that the store knows; files that were saved meanwhile are found. What has taken the daemon down is left
    /// alone.
    pub(crate) fn restore_watches(&mut self, suspended: &[(DatasetTarget, ReadFor)]) {
        match self.store.watches() {
            Ok(rows) => {
                for row in rows {
                    let folder = row.target.folder.clone();
                    let mut watched = Watched::new(row);
                    watched.suspended =
                        suspended.iter().find(|(target, _)| *target == watched.row.target).map(suspension);
                    if let Some(why) = &watched.suspended {
                        tracing::error!(folder = %folder.display(), why, "not watched");
                    }
                    self.watches.insert(folder.clone(), watched);
                    self.watcher.add(&folder);
                    self.look_at(&folder, None);
                }
            }
            Err(error) => tracing::error!(%error, "the watches cannot be read"),
        }
    }

    /// A look at the folder, unless one is being taken: then another one after it.
    pub(crate) fn look_at(&mut self, folder: &Path, saves: Option<Saves>) {
        let Some(watched) = self.watches.get_mut(folder).filter(|watched| watched.suspended.is_none()) else {
            return;
        };
        if watched.looking {
            let newest = match (watched.again.take(), saves) {
                (Some(one), Some(other)) => Saves { saved_at: one.saved_at.max(other.saved_at) },
                (one, other) => one.or(other).unwrap_or(Saves { saved_at: None }),
            };
            watched.again = Some(newest);
            return;
        }
        watched.looking = true;
        let row = watched.row.clone();
        self.begin_preparing(&row.target, ReadFor::Watch);
        self.file_jobs.send(FileJob::Look(row, saves));
    }

    pub(crate) fn watch_news(&mut self, news: News) {
        match news {
            News::Saved { folder, files, saved_at } => {
                tracing::debug!(folder = %folder.display(), ?files, "saved");
                if let Some(watched) = self.watches.get_mut(&folder) {
                    watched.rested = Instant::now();
                }
                self.look_at(&folder, Some(Saves { saved_at }));
            }
            News::Health { folder, method, problem } => {
                if let Some(watched) = self.watches.get_mut(&folder) {
                    if let Some(problem) = &problem {
                        tracing::warn!(folder = %folder.display(), problem, "watching");
                    }
                    (watched.method, watched.health) = (method, problem);
                }
            }
        }
    }

    /// A client wants the folder watched, and it can be.
    pub(crate) fn watch_taken(
        &mut self,
        asker: &RequestRef,
        result: Result<(WatchRow, FolderSnapshot), RpcError>,
    ) {
        if self.cancelled.remove(asker) {
            return;
        }
        let outcome = result.and_then(|(row, look)| self.watch(&row, look));
        self.reply(asker, outcome.and_then(|status| methods::to_value(&status)));
    }

    fn watch(&mut self, row: &WatchRow, look: FolderSnapshot) -> Result<WatchStatus, RpcError> {
        if self.stopping != Stopping::No {
            return Err(shutting_down());
        }
        let folder = row.target.folder.clone();
        let other = self.watches.get(&folder).map(|watched| &watched.row.target.adapter);
        if let Some(other) = other.filter(|other| **other != row.target.adapter) {
            let message = format!(
                "{} is watched for the adapter {other}, and a folder is watched for one; to have {} learn from it instead, call hotplate unwatch {other} first",
                folder.display(),
                row.target.adapter
            );
            return Err(RpcError::new(ErrorCode::InvalidParams, message));
        }
        self.store.set_watch(row)?;
        let mut watched = self.watches.remove(&folder).unwrap_or_else(|| Watched::new(row.clone()));
        watched.row = row.clone();
        watched.suspended = None;
        self.watches.insert(folder.clone(), watched);
        for what in [ReadFor::Watch, ReadFor::Run] {
            self.end_preparing(&row.target, what);
        }
        self.watcher.add(&folder);
        self.learn(row, None, look);
        let status = self.watches.get(&folder).map(Watched::status);
        status.ok_or_else(shutting_down)
    }

    pub(crate) fn looked(
        &mut self,
        row: &WatchRow,
        saves: Option<Saves>,
        result: Result<FolderSnapshot, RpcError>,
    ) {
        let folder = &row.target.folder;
        self.end_preparing(&row.target, ReadFor::Watch);
        let Some(watched) = self.watches.get_mut(folder) else { return };
        watched.looking = false;
        let again = watched.again.take();
        let current = watched.row == *row;
        match result {
            Ok(look) if current => self.learn(row, saves, look),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(folder = %folder.display(), error = error.message, "a look at a watched folder failed");
                watched.unreadable = Some(error.message);
            }
        }
        if again.is_some() || !current {
            self.look_at(folder, again);
        }
    }

    /// Starts what a look calls for.
    fn learn(&mut self, row: &WatchRow, saves: Option<Saves>, look: FolderSnapshot) {
        let target = &row.target;
        // What is gone may be back in a moment: that is said when the folder has rested.
        if look.has_version && !look.stale {
            self.note_stale(target, false);
        }
        if !look.back.is_empty()
            && let Err(error) = self.store.mark_back(target, &look.back)
        {
            tracing::warn!(%error, "what is back could not be noted");
        }
        self.end_retrains_of_another_folder(target, &look);
        // What the run in progress is learning is as good as learnt.
        let in_progress = self.runs.learning(target);
        let added: Vec<_> =
            look.added.iter().filter(|(id, _)| !in_progress.is_some_and(|ids| ids.contains(id))).collect();
        let files: BTreeSet<String> =
            added.iter().map(|(_, file)| file.to_string_lossy().into_owned()).collect();
        let saved_at = saves.and_then(|saves| saves.saved_at).map(unix).or(look.newest);
        let (kind, wanted) = if look.whole {
            (RunKind::Full, !added.is_empty() && look.problem.is_none())
        } else if look.has_version {
            (RunKind::Incremental, !added.is_empty())
        } else {
            (RunKind::Full, look.problem.is_none() && !self.runs.has(target, RunKind::Full))
        };
        let folder = target.folder.clone();
        if let Some(watched) = self.watches.get_mut(&folder) {
            watched.unreadable = None;
            watched.said_stale &= look.stale;
            watched.look = Some(look);
        }
        if !wanted || self.stopping != Stopping::No {
            return;
        }
        if self.runs.is_preparing(target) {
            // It will read what was just saved; whatever it misses is found when it has ended.
            self.runs.look_again_after(target);
            return;
        }
        let cause = if kind == RunKind::Full && saves.is_none() {
            Cause::Asked
        } else {
            Cause::Saved { files: files.into_iter().collect() }
        };
        let order = TrainRequest {
            target: target.clone(),
            base: row.base.clone(),
            quantise: None,
            knobs: row.knobs.clone(),
            kind,
            saved_at: matches!(cause, Cause::Saved { .. }).then_some(saved_at).flatten(),
            cause,
            named: Named::default(),
        };
        if let Err(error) = self.enqueue(order, None) {
            tracing::error!(error = error.message, "a run could not be queued");
            if let Some(watched) = self.watches.get_mut(&folder) {
                watched.unreadable = Some(error.message);
            }
        }
    }

    /// Notes that a folder is being read. A store that cannot be written says so elsewhere.
    pub(crate) fn begin_preparing(&mut self, target: &DatasetTarget, what: ReadFor) {
        if let Err(error) = self.store.begin_preparing(target, what) {
            tracing::warn!(%error, "what is being read could not be noted");
        }
    }

    pub(crate) fn end_preparing(&mut self, target: &DatasetTarget, what: ReadFor) {
        self.suspended_runs.remove(target);
        if let Err(error) = self.store.end_preparing(target, what) {
            tracing::warn!(%error, "what has been read could not be noted");
        }
    }

    fn note_stale(&mut self, target: &DatasetTarget, stale: bool) {
        if let Err(error) = self.store.set_stale(&target.adapter, stale) {
            tracing::warn!(%error, "the adapter's state could not be noted");
        }
    }

    /// A run that forgets what was gone has lost its reason when that is back, or when the folder is no longer the one it reads.
    fn end_retrains_of_another_folder(&mut self, target: &DatasetTarget, look: &FolderSnapshot) {
        let Some(run) = self.runs.forgetting(target, &look.state, look.stale) else { return };
        let text = if look.stale {
            "the folder has changed again; it is tried anew when the folder has come to rest"
        } else {
            "what was gone is back: there is nothing to forget"
        };
        self.say_and_cancel(run, text);
    }

    /// Says of adapters that some of what they learnt is gone, once their folders have rested for a moment.
    pub(crate) fn say_what_is_stale(&mut self, now: Instant) {
        let rest = self.settings.stale_retrain / SAID_PART;
        let stale: Vec<DatasetTarget> = self
            .watches
            .values()
            .filter(|watched| {
                let rested = now.saturating_duration_since(watched.rested) >= rest;
                rested && watched.misses() && !watched.said_stale
            })
            .map(|watched| watched.row.target.clone())
            .collect();
        for target in stale {
            // The run in progress may be learning what stands in its place.
            if self.runs.learning(&target).is_some() || self.runs.is_preparing(&target) {
                continue;
            }
            self.note_stale(&target, true);
            if let Some(watched) = self.watches.get_mut(&target.folder) {
                watched.said_stale = true;
            }
        }
    }

    /// Whether an adapter can be had again from its folder, in a state that was not tried before.
    fn may_be_trained_anew(&self, name: &str, state: &str) -> Result<bool, RpcError> {
        let Some(adapter) = self.store.adapter(name)? else { return Ok(false) };
        Ok(adapter.stale_tried.as_deref() != Some(state) && !came_from_elsewhere(&self.store, &adapter)?)
    }

    /// Nothing else is to do: forget, in one adapter, what was deleted, where the folder has rested for long.
    pub(crate) fn retrain_a_stale_adapter(&mut self, now: Instant) {
        let rest = self.settings.stale_retrain * REST_TIMES;
        let stale = self.watches.values().filter_map(|watched| {
            let look = watched.look.as_ref().filter(|_| watched.misses())?;
            (now.saturating_duration_since(watched.rested) >= rest)
                .then(|| (watched.row.clone(), look.state.clone()))
        });
        let stale: Vec<_> = stale.collect();
        for (row, state) in stale {
            match self.may_be_trained_anew(&row.target.adapter, &state) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    tracing::warn!(error = error.message, "the store cannot be read");
                    return;
                }
            }
            let order = TrainRequest {
                target: row.target,
                base: row.base,
                quantise: None,
                knobs: row.knobs,
                kind: RunKind::Full,
                cause: Cause::Stale,
                saved_at: None,
                named: Named::default(),
            };
            if let Err(error) = self.enqueue(order, None) {
                tracing::error!(error = error.message, "a run could not be queued");
            }
            return;
        }
    }
}
