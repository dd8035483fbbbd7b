//! `dataset/unwatch`: the folder is left alone from now on.

use std::path::PathBuf;

use hotplate_protocol::methods::Nothing;
use hotplate_protocol::methods::unwatch::{Unwatch, UnwatchParams};
use hotplate_protocol::{ErrorCode, RpcError};

use super::AtOnce;
use crate::daemon::sessions::Asker;
use crate::daemon::state::Daemon;

impl AtOnce for Unwatch {
    fn answer(daemon: &mut Daemon, _asker: &Asker, params: UnwatchParams) -> Result<Nothing, RpcError> {
        // The folder may be gone; then its name is all there is.
        let mut folder = params.folder;
        if !daemon.watches.contains_key(&folder)
            && let Ok(real) = std::fs::canonicalize(&folder)
        {
            let same = |known: &&PathBuf| std::fs::canonicalize(known).is_ok_and(|known| known == real);
            folder = daemon.watches.keys().find(same).cloned().unwrap_or(real);
        }
        if !daemon.watches.contains_key(&folder) {
            let watched: Vec<String> =
                daemon.watches.keys().map(|folder| folder.display().to_string()).collect();
            let list = if watched.is_empty() { "no folder is".to_owned() } else { watched.join(", ") };
            let message = format!("{} is not watched; watched: {list}", folder.display());
            return Err(RpcError::new(ErrorCode::NotFound, message));
        }
        daemon.store.remove_watch(&folder)?;
        daemon.watches.remove(&folder);
        daemon.watcher.remove(&folder);
        Ok(Nothing {})
    }
}
