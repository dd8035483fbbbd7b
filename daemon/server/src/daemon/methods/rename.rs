//! `adapter/rename`: the same adapter under another name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hotplate_protocol::methods::adapters::AdapterInfo;
use hotplate_protocol::methods::rename::{Rename, RenameParams};
use hotplate_protocol::{ErrorCode, RpcError};

use super::{AtOnce, adapters, known};
use crate::daemon::removal::below;
use crate::daemon::sessions::RequestRef;
use crate::daemon::state::Daemon;
use crate::daemon::{durable, names, rpc_errors};

impl AtOnce for Rename {
    fn answer(
        daemon: &mut Daemon,
        _asker: &RequestRef,
        params: RenameParams,
    ) -> Result<AdapterInfo, RpcError> {
        let row = known(&daemon.store, &params.adapter)?;
        let (old, new) = (&row.name, &params.name);
        names::check(new)?;
        if daemon.store.adapter(new)?.is_some() {
            let message =
                format!("there is an adapter {new} already; take another name, or: hotplate delete {new}");
            return Err(RpcError::new(ErrorCode::InvalidParams, message));
        }
        daemon.nobody_needs(old, "renamed")?;
        daemon.nobody_needs(new, "a name")?;
        let versions: Vec<u32> = daemon
            .store
            .versions(old)?
            .iter()
            .filter(|version| !version.pruned)
            .map(|version| version.version)
            .collect();
        let (from, to) = (daemon.folders_of(old, &versions), daemon.folders_of(new, &versions));
        let noted = |folders: &[PathBuf]| -> Vec<PathBuf> {
            folders.iter().map(|folder| below(&daemon.file_pool, folder)).collect()
        };
        let (old_folders, new_folders) = (noted(&from), noted(&to));
        if let Some(taken) = to.iter().find(|folder| folder.symlink_metadata().is_ok()) {
            let message = format!(
                "{} is in the way, and no adapter knows it; move it elsewhere, or take another name",
                taken.display()
            );
            return Err(RpcError::new(ErrorCode::InvalidParams, message));
        }
        // The same files under both names, until the store has chosen; then the old folders go as any others.
        daemon.store.doom(&new_folders)?;
        for (from, to) in from.iter().zip(&to) {
            link_folder(from, to).map_err(|error| rpc_errors::of_writing(to, &error))?;
        }
        daemon.store.rename_adapter(old, new, &new_folders, &old_folders)?;
        tracing::info!(adapter = old, name = new, "renamed");
        daemon.discard(from, None);
        let row = known(&daemon.store, new)?;
        adapters::info(daemon, row)
    }
}

/// A second name for each file. A folder that is gone stays gone.
fn link_folder(from: &Path, to: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    fs::create_dir_all(to)?;
    for entry in entries {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_file() && fs::hard_link(entry.path(), &place).is_err() {
            // Not every file system has links.
            fs::copy(entry.path(), &place)?;
            fs::File::open(&place)?.sync_all()?;
        }
    }
    durable::sync_folder(to)?;
    to.parent().map_or(Ok(()), durable::sync_folder)
}
