//! `adapter/list`: all adapters with their versions.

use hotplate_protocol::RpcError;
use hotplate_protocol::methods::Nothing;
use hotplate_protocol::methods::adapters::{AdapterInfo, Adapters, VersionInfo};

use super::AtOnce;
use crate::daemon::sessions::Asker;
use crate::daemon::state::Daemon;
use crate::daemon::store::AdapterRow;

impl AtOnce for Adapters {
    fn answer(daemon: &mut Daemon, _asker: &Asker, _params: Nothing) -> Result<Vec<AdapterInfo>, RpcError> {
        daemon.store.adapters()?.into_iter().map(|row| info(daemon, row)).collect()
    }
}

pub(super) fn info(daemon: &Daemon, row: AdapterRow) -> Result<AdapterInfo, RpcError> {
    let versions = daemon.store.versions(&row.name)?;
    Ok(AdapterInfo {
        versions: versions
            .into_iter()
            .map(|version| VersionInfo {
                version: version.version,
                path: daemon.desk.version_folder(&row.name, version.version),
                created: version.created,
                run: version.run,
                kind: version.kind,
                base_heldout_loss: version.base_heldout_loss,
                heldout_loss: version.heldout_loss,
                examples: version.examples,
                steps: version.steps,
                seconds: version.seconds,
                guard: version.guard,
                method: version.method,
            })
            .collect(),
        name: row.name,
        base: row.base_name,
        folder: Some(row.folder),
        current: row.current,
        stale: row.stale,
    })
}
