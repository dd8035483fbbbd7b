//! `adapter/delete`: a version goes, or all of an adapter.

use std::time::Instant;

use hotplate_protocol::methods::delete::{Delete, DeleteParams, DeleteResult};
use hotplate_protocol::{ErrorCode, RpcError};

use super::{Later, known, to_value};
use crate::daemon::disk_use::bytes_at;
use crate::daemon::names::{self, Wanted};
use crate::daemon::prune::is_built_on;
use crate::daemon::removal::{TrainsFrom, below};
use crate::daemon::sessions::RequestRef;
use crate::daemon::state::Daemon;
use crate::daemon::store::{AdapterRow, Going};

impl Later for Delete {
    fn begin(
        daemon: &mut Daemon,
        asker: &RequestRef,
        params: DeleteParams,
        _arrived: Instant,
    ) -> Result<(), RpcError> {
        let Wanted::Name { name, version } = names::parse(&params.adapter)? else {
            let message = format!(
                "{} is no adapter of Hotplate's own; what lies elsewhere is yours to remove",
                params.adapter
            );
            return Err(RpcError::new(ErrorCode::InvalidParams, message));
        };
        let row = known(&daemon.store, name)?;
        match version {
            Some(version) => one(daemon, asker, &row, version, params.dry_run),
            None => whole(daemon, asker, &row, params.dry_run),
        }
    }
}

fn one(
    daemon: &mut Daemon,
    asker: &RequestRef,
    row: &AdapterRow,
    version: u32,
    dry_run: bool,
) -> Result<(), RpcError> {
    let name = &row.name;
    let refused = |why: String| Err(RpcError::new(ErrorCode::UnusableAdapter, why));
    let versions = daemon.store.versions(name)?;
    let there: Vec<u32> = versions.iter().filter(|row| !row.pruned).map(|row| row.version).collect();
    if !there.contains(&version) {
        return Err(super::rollback::no_version(name, version, &versions));
    }
    if version == row.current {
        let older = there.iter().rev().find(|other| **other < version);
        let other = older.or_else(|| there.iter().rev().find(|other| **other != version));
        return refused(match other {
            Some(other) => format!(
                "{name}@{version} is the version that answers; let another one answer first (hotplate rollback {name} --to {other}), or delete all of {name}: hotplate delete {name}"
            ),
            None => format!(
                "{name}@{version} is all that there is of {name}; delete that with: hotplate delete {name}"
            ),
        });
    }
    match daemon.runs.trains_from(name) {
        TrainsFrom::Version(start) if start != version => {}
        TrainsFrom::Nothing => {}
        TrainsFrom::Version(_) | TrainsFrom::Unknown => {
            return refused(format!(
                "a run trains {name} from {name}@{version} now; wait for its end (hotplate attach {name}), or end it: hotplate cancel {name}"
            ));
        }
    }
    let record_stays = is_built_on(&versions, version);
    let going = if record_stays {
        Going { records: vec![version], ..Going::default() }
    } else {
        Going { gone: vec![version], ..Going::default() }
    };
    let bytes = bytes_at(&daemon.file_pool.version_folder(name, version));
    let result = DeleteResult {
        adapter: name.clone(),
        versions: vec![version],
        whole: false,
        record_stays,
        bytes,
        deleted: !dry_run,
    };
    let value = to_value(&result)?;
    if dry_run {
        daemon.reply(asker, Ok(value));
        return Ok(());
    }
    let folders = daemon.take_out(name, &going)?;
    daemon.discard(folders, Some((asker.clone(), value)));
    Ok(())
}

fn whole(daemon: &mut Daemon, asker: &RequestRef, row: &AdapterRow, dry_run: bool) -> Result<(), RpcError> {
    let name = &row.name;
    daemon.nobody_needs(name, "deleted")?;
    let versions = daemon.store.versions(name)?;
    let there: Vec<u32> = versions.iter().filter(|row| !row.pruned).map(|row| row.version).collect();
    let folders = daemon.folders_of(name, &there);
    let result = DeleteResult {
        adapter: name.clone(),
        versions: there,
        whole: true,
        record_stays: false,
        bytes: folders.iter().map(|folder| bytes_at(folder)).sum(),
        deleted: !dry_run,
    };
    let value = to_value(&result)?;
    if dry_run {
        daemon.reply(asker, Ok(value));
        return Ok(());
    }
    let noted: Vec<_> = folders.iter().map(|folder| below(&daemon.file_pool, folder)).collect();
    daemon.store.remove_adapter(name, &noted)?;
    tracing::info!(adapter = name, "deleted");
    daemon.discard(folders, Some((asker.clone(), value)));
    Ok(())
}
