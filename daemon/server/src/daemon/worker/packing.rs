//! Weights that were quantised are kept on disk, so that the next daemon reads them.
//!
//! Nobody waits for it and nothing depends on it: what goes wrong is said in the log.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use hotplate_engine::base::Base;
use hotplate_home::{Home, free_bytes};

/// Of the room on the disk, the part that one base's weights may take.
const SHARE: u64 = 4;

pub(super) fn folder(home: &Home) -> Option<PathBuf> {
    home.packed().inspect_err(|error| tracing::warn!(%error, "quantised weights cannot be kept")).ok()
}

/// Writes what is worth it, in a thread of its own.
pub(super) fn keep(base: &Arc<Base>, folder: PathBuf) {
    let bytes = base.unkept_bytes();
    if bytes == 0 {
        return;
    }
    let free = free_bytes(&folder);
    if free.is_some_and(|free| bytes > free / SHARE) {
        tracing::info!(bytes, free, "quantised weights are not kept: they would take too much of the disk");
        return;
    }
    let base = Arc::clone(base);
    let started =
        thread::Builder::new().name("packing".to_owned()).spawn(move || match base.keep_packed(&folder) {
            Ok(bytes) => tracing::info!(base = base.text.name, bytes, "quantised weights are kept"),
            Err(error) => tracing::warn!(base = base.text.name, %error, "quantised weights cannot be kept"),
        });
    if let Err(error) = started {
        tracing::warn!(%error, "quantised weights cannot be kept");
    }
}
