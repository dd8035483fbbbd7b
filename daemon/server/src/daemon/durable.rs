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

/// The same, but nothing is replaced.
///
/// # Errors
/// [`AlreadyExists`](io::ErrorKind::AlreadyExists) where something lies there.
pub(crate) fn publish_new(written: &Path, place: &Path) -> io::Result<()> {
    if written.is_dir() {
        sync_folder(written)?;
    }
    rename_new(written, place)?;
    place.parent().map_or(Ok(()), sync_folder)
}

/// Renames what lies at `from`; whatever has appeared at `to` stays.
///
/// # Errors
/// As [`publish_new`].
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    rename_new_by(rename_without_replacing, from, to)
}

type Rename = fn(&Path, &Path) -> io::Result<()>;

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};

    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_without_replacing(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn rename_new_by(rename: Rename, from: &Path, to: &Path) -> io::Result<()> {
    match rename(from, to) {
        // Some file systems (NFS, some of FUSE) know no such rename: the place is claimed first, which fails where something is.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            claim_and_rename(from, to)
        }
        renamed => renamed,
    }
}

fn claim_and_rename(from: &Path, to: &Path) -> io::Result<()> {
    if from.symlink_metadata()?.is_dir() {
        fs::create_dir(to)?;
        // Replaces an empty folder only.
        return fs::rename(from, to).inspect_err(|_| {
            let _ = fs::remove_dir(to);
        });
    }
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // Nor links: an empty file holds the place.
        Err(_) => {
            File::create_new(to)?;
            fs::rename(from, to)
        }
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

    #[test]
    fn nothing_is_replaced_also_where_the_system_has_no_such_rename() {
        let none: Rename = |_, _| Err(io::ErrorKind::InvalidInput.into());
        for rename in [rename_without_replacing as Rename, none] {
            let root = tempfile::tempdir().unwrap();
            let at = |name: &str| root.path().join(name);
            for name in ["a", "b", "empty", "c"] {
                fs::create_dir(at(name)).unwrap();
            }
            for name in ["a/1", "b/2", "f", "g"] {
                fs::write(at(name), name).unwrap();
            }
            for (from, to) in [("a", "b"), ("a", "empty"), ("a", "f"), ("f", "g"), ("f", "empty"), ("f", "b")]
            {
                let error = rename_new_by(rename, &at(from), &at(to)).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{from} {to}");
            }
            rename_new_by(rename, &at("a"), &at("new")).unwrap();
            rename_new_by(rename, &at("f"), &at("new-file")).unwrap();
            assert_eq!(fs::read_to_string(at("new/1")).unwrap(), "a/1");
            assert_eq!(fs::read_to_string(at("new-file")).unwrap(), "f");
            assert!(!at("a").exists() && !at("f").exists() && at("b/2").exists());
            assert_eq!(fs::read_to_string(at("g")).unwrap(), "g");
        }
    }
}
