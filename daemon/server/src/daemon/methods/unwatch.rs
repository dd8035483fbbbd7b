//! `dataset/unwatch`: the folder is left alone from now on.

use std::path::{Path, PathBuf};

use hotplate_protocol::methods::unwatch::{Unwatch, UnwatchParams, Unwatched};
use hotplate_protocol::{ErrorCode, RpcError};

use super::AtOnce;
use crate::daemon::sessions::RequestRef;
use crate::daemon::state::Daemon;
use crate::daemon::watching::Watched;

impl AtOnce for Unwatch {
    fn answer(
        daemon: &mut Daemon,
        _asker: &RequestRef,
        params: UnwatchParams,
    ) -> Result<Unwatched, RpcError> {
        let Some((folder, adapter)) = meant(daemon, &params) else {
            let each = |watched: &Watched| {
                let target = &watched.row.target;
                format!("{} (for {})", target.folder.display(), target.adapter)
            };
            let watched: Vec<String> = daemon.watches.values().map(each).collect();
            let list = if watched.is_empty() { "no folder is".to_owned() } else { watched.join(", ") };
            let message = format!("{} is not watched; watched: {list}", params.folder.display());
            return Err(RpcError::new(ErrorCode::NotFound, message));
        };
        daemon.store.remove_watch(&folder)?;
        daemon.watches.remove(&folder);
        daemon.watcher.remove(&folder);
        Ok(Unwatched { folder, adapter })
    }
}

/// The watched folder and its adapter.
fn meant(daemon: &Daemon, params: &UnwatchParams) -> Option<(PathBuf, String)> {
    // The folder may be gone; then its name is all there is.
    let by_folder = daemon.watches.get(&params.folder).or_else(|| {
        let real = std::fs::canonicalize(&params.folder).ok()?;
        let same = |known: &Path| std::fs::canonicalize(known).is_ok_and(|known| known == real);
        daemon.watches.iter().find(|(known, _)| same(known)).map(|(_, watched)| watched)
    });
    let watched = by_folder.or_else(|| {
        let name = params.adapter.as_deref()?;
        daemon.watches.values().find(|watched| watched.row.target.adapter == name)
    })?;
    Some((watched.row.target.folder.clone(), watched.row.target.adapter.clone()))
}
