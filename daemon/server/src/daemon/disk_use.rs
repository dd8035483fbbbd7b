//! The room that files take.

use std::fs;
use std::path::Path;

/// The bytes of a file, or of all files below a folder; 0 where nothing can be read.
pub(crate) fn bytes_at(path: &Path) -> u64 {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| bytes_at(&entry.path())).sum(),
        Err(_) => fs::metadata(path).map_or(0, |found| found.len()),
    }
}
