//! `adapter/list`: all adapters with their versions.

use std::path::Path;

use hotplate_protocol::RpcError;
use hotplate_protocol::methods::Nothing;
use hotplate_protocol::methods::adapters::{AdapterInfo, Adapters, VersionFiles, VersionInfo};
use hotplate_protocol::run::RunId;

use super::AtOnce;
use crate::daemon::sessions::RequestRef;
use crate::daemon::state::Daemon;
use crate::daemon::store::{AdapterRow, VersionRow};
use crate::daemon::version_files::{self, Flaw};

impl AtOnce for Adapters {
    fn answer(
        daemon: &mut Daemon,
        _asker: &RequestRef,
        _params: Nothing,
    ) -> Result<Vec<AdapterInfo>, RpcError> {
        daemon.store.adapters()?.into_iter().map(|row| info(daemon, row)).collect()
    }
}

pub(super) fn info(daemon: &Daemon, row: AdapterRow) -> Result<AdapterInfo, RpcError> {
    let versions = daemon.store.versions(&row.name)?;
    Ok(AdapterInfo {
        versions: versions
            .into_iter()
            .map(|version| {
                let path = daemon.file_pool.version_folder(&row.name, version.version);
                // No run made what came from elsewhere, and nothing judged it.
                let measured = |loss: f64| (version.run != RunId(0)).then_some(loss);
                VersionInfo {
                    version: version.version,
                    files: files(&path, &version),
                    path,
                    created: version.created,
                    run: version.run,
                    kind: version.kind,
                    base_heldout_loss: measured(version.base_heldout_loss),
                    heldout_loss: measured(version.heldout_loss),
                    judged_by: version.judged_by,
                    examples: version.examples,
                    steps: version.steps,
                    seconds: version.seconds,
                    guard: version.guard,
                    method: version.method,
                }
            })
            .collect(),
        name: row.name,
        base: row.base_name,
        folder: Some(row.folder),
        current: row.current,
        stale: row.stale,
    })
}

/// What became of a version's files.
fn files(folder: &Path, version: &VersionRow) -> VersionFiles {
    if version.pruned {
        return VersionFiles::Pruned;
    }
    match version_files::check(folder, version.method) {
        Ok(()) => VersionFiles::Whole,
        Err(Flaw::Gone(_)) => VersionFiles::Gone,
        Err(Flaw::Damaged { .. }) => VersionFiles::Damaged,
    }
}
