//! A pull, while it goes on and when it is done.

use super::visible::path;
use super::{bytes, count};
use crate::hub::{Fetched, Progress};

/// `3 of 7 files, 120 MB of 270 MB: model.safetensors`
pub fn pulling(progress: &Progress) -> String {
    format!(
        "{} of {}, {} of {}: {}",
        progress.number,
        count(progress.files, "file"),
        bytes(progress.done),
        bytes(progress.total),
        progress.file
    )
}

pub fn pulled(fetched: &Fetched) -> String {
    let came = match fetched.fetched_bytes {
        0 => "everything was here already".to_owned(),
        came if came < fetched.bytes => format!("{} of them fetched now", bytes(came)),
        _ => "all fetched now".to_owned(),
    };
    format!(
        "{} is here: {}, {} ({came}).\nUse it with: --base {}\nFolder: {}",
        fetched.name,
        count(fetched.files, "file"),
        bytes(fetched.bytes),
        fetched.name,
        path(&fetched.folder)
    )
}
