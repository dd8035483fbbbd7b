//! `adapter/rollback`: an older version answers again, if its files are there and whole.

use std::time::Instant;

use hotplate_engine::base_spec::BaseSource;
use hotplate_engine::device::Device;
use hotplate_engine::peft;
use hotplate_protocol::knobs::Method;
use hotplate_protocol::methods::adapters::AdapterInfo;
use hotplate_protocol::methods::rollback::{Rollback, RollbackParams};
use hotplate_protocol::run::RunId;
use hotplate_protocol::{ErrorCode, RpcError};

use super::{Later, adapters, to_value};
use crate::daemon::file_pool::{FileJob, FilePool};
use crate::daemon::names::{self, Wanted};
use crate::daemon::runs::train_request::source;
use crate::daemon::sessions::RequestRef;
use crate::daemon::state::Daemon;
use crate::daemon::store::{AdapterRow, RunRow, Store, VersionRow};
use crate::daemon::version_files;

/// A version that is to answer, and is looked at first.
pub(crate) struct Candidate {
    name: String,
    to: u32,
    method: Method,
    base: BaseSource,
    /// What else there is, the newest first.
    others: Vec<(u32, Method)>,
    current: u32,
}

/// A version that can answer.
pub(crate) struct Checked {
    name: String,
    to: u32,
}

impl Later for Rollback {
    fn begin(
        daemon: &mut Daemon,
        asker: &RequestRef,
        params: RollbackParams,
        _arrived: Instant,
    ) -> Result<(), RpcError> {
        let (name, named) = match names::parse(&params.adapter)? {
            Wanted::Name { name, version } => (name, version),
            // Says that there is no such name, and which there are.
            Wanted::Folder(_) => (params.adapter.as_str(), None),
        };
        let row = known(&daemon.store, name)?;
        let versions = daemon.store.versions(&row.name)?;
        let there: Vec<&VersionRow> = versions.iter().filter(|version| !version.pruned).collect();
        let unusable = |message: String| RpcError::new(ErrorCode::UnusableAdapter, message);
        let to = match (params.to, named) {
            (Some(to), Some(named)) if to != named => {
                return Err(unusable(format!("{name}@{named} and --to {to} are two versions; name one")));
            }
            (Some(to), _) | (None, Some(to)) => to,
            (None, None) => {
                let older = there.iter().rev().find(|version| version.version < row.current);
                let older = older.map(|version| version.version);
                older.ok_or_else(|| {
                    unusable(format!(
                        "version {} of {} is its oldest; there is nothing to go back to",
                        row.current, row.name
                    ))
                })?
            }
        };
        let Some(found) = there.iter().find(|version| version.version == to) else {
            return Err(no_version(&row.name, to, &versions));
        };
        let candidate = Candidate {
            to,
            method: found.method,
            base: source(row.base_folder.as_deref()),
            others: there
                .iter()
                .rev()
                .filter(|version| version.version != to && version.version != row.current)
                .map(|version| (version.version, version.method))
                .collect(),
            current: row.current,
            name: row.name,
        };
        daemon.file_jobs.send(FileJob::CheckVersion(asker.clone(), candidate));
        Ok(())
    }
}

/// Reads the version as an answer would.
pub(crate) fn look_at_version(file_pool: &FilePool, candidate: Candidate) -> Result<Checked, RpcError> {
    let Candidate { name, to, method, base, others, current } = candidate;
    let folder = file_pool.version_folder(&name, to);
    let whole = version_files::check(&folder, method).map_err(|flaw| flaw.to_string()).and_then(|()| {
        match (method, file_pool.texts.open(&base)) {
            // Its base may be away for the moment; then the files' headers are all that can be looked at.
            (Method::Full, _) | (Method::Lora, Err(_)) => Ok(()),
            (Method::Lora, Ok(text)) => {
                peft::load(&folder, &text, &Device::Cpu).map(|_| ()).map_err(|error| error.to_string())
            }
        }
    });
    let Err(why) = whole else { return Ok(Checked { name, to }) };
    let other = others.iter().find(|(version, method)| {
        version_files::check(&file_pool.version_folder(&name, *version), *method).is_ok()
    });
    let remedy = match other {
        Some((version, _)) => format!("version {version} is whole: hotplate rollback {name} --to {version}"),
        None if to == current => format!("no other version is whole; train {name} anew"),
        None => "no other version is there to go to".to_owned(),
    };
    let stays = if to == current { String::new() } else { format!("; version {current} stays in use") };
    let message = format!("version {to} of {name} cannot answer: {why}{stays}. {remedy}");
    Err(RpcError::new(ErrorCode::UnusableAdapter, message))
}

impl Daemon {
    /// The file pool has looked at a version: if it is whole, it answers from now on.
    pub(crate) fn version_checked(&mut self, asker: &RequestRef, result: Result<Checked, RpcError>) {
        if self.cancelled.remove(asker) {
            return;
        }
        let outcome = result.and_then(|checked| self.roll_back(&checked));
        self.reply(asker, outcome.and_then(|info| to_value(&info)));
    }

    fn roll_back(&mut self, checked: &Checked) -> Result<AdapterInfo, RpcError> {
        let Checked { name, to } = checked;
        let row = known(&self.store, name)?;
        let versions = self.store.versions(name)?;
        // It may have been deleted meanwhile.
        if !versions.iter().any(|version| version.version == *to && !version.pruned) {
            return Err(no_version(name, *to, &versions));
        }
        self.store.set_current(name, *to)?;
        tracing::info!(adapter = name, from = row.current, to, "rolled back");
        let now = known(&self.store, name)?;
        adapters::info(self, now)
    }
}

/// The adapter of this name, or an error that lists those that there are, or names the run that is about to make it.
pub(crate) fn known(store: &Store, name: &str) -> Result<AdapterRow, RpcError> {
    if let Some(row) = store.adapter(name)? {
        return Ok(row);
    }
    if let Some(RunRow { run: RunId(run), .. }) =
        store.open_runs()?.into_iter().find(|row| row.order.target.adapter == name)
    {
        let message = format!(
            "there is no adapter {name:?} yet: run {run} makes its first version; hotplate attach {run} shows it, hotplate cancel {run} ends it"
        );
        return Err(RpcError::new(ErrorCode::UnusableAdapter, message));
    }
    let names: Vec<String> = store.adapters()?.into_iter().map(|row| row.name).collect();
    let remedy = if names.is_empty() {
        "there is none yet; make one with: hotplate train FOLDER".to_owned()
    } else {
        format!("there are: {}. A PEFT folder is named by its path", names.join(", "))
    };
    Err(RpcError::new(ErrorCode::UnusableAdapter, format!("there is no adapter {name:?}; {remedy}")))
}

/// A version that is not there, or no longer.
pub(crate) fn no_version(name: &str, version: u32, versions: &[VersionRow]) -> RpcError {
    let there: Vec<String> =
        versions.iter().filter(|row| !row.pruned).map(|row| row.version.to_string()).collect();
    let there = there.join(", ");
    let message = if versions.iter().any(|row| row.version == version) {
        format!("version {version} of {name} was removed to make room; there are {there}")
    } else {
        format!("{name} has no version {version}; it has {there}")
    };
    RpcError::new(ErrorCode::UnusableAdapter, message)
}
