//! Files that are either there as a whole or not at all, also after a kill or a power cut.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Makes an empty folder to write into; whatever an earlier attempt left there is removed.
pub(crate) fn fresh_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::create_dir_all(folder)
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Lets a folder whose files are synced appear under its final name, in one step.
pub(crate) fn publish(written: &Path, place: &Path) -> io::Result<()> {
    sync_folder(written)?;
    fs::rename(written, place)?;
    match place.parent() {
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

/// A rename or a new name is only safe once its folder is.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_appears_whole() {
        let root = tempfile::tempdir().unwrap();
        let (draft, place) = (root.path().join(".new"), root.path().join("v0001"));
        fresh_folder(&draft).unwrap();
        fs::write(draft.join("left-over"), "of an earlier attempt").unwrap();
        fresh_folder(&draft).unwrap();
        write(&draft.join("a"), b"a").unwrap();
        publish(&draft, &place).unwrap();
        assert!(!draft.exists());
        assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
    }
}
