//! A look at a whole folder: which dataset files are there, and in which state. Finds what no event told.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hotplate_dataset::recipe::FILE;
use hotplate_dataset::{dataset_files, is_dataset_file};

use super::debounce::Stamp;

pub(crate) type Snapshot = BTreeMap<PathBuf, Stamp>;

pub(crate) fn look(path: &Path) -> Stamp {
    match fs::metadata(path) {
        Ok(found) => match found.modified() {
            Ok(modified) => Stamp::There { bytes: found.len(), modified, place: place(&found) },
            Err(_) => Stamp::Gone,
        },
        Err(_) => Stamp::Gone,
    }
}

/// What differs where another file of the same size and time has taken the place of one: device, inode, and when the inode changed.
#[cfg(unix)]
fn place(found: &fs::Metadata) -> [u64; 4] {
    use std::os::unix::fs::MetadataExt;

    [found.dev(), found.ino(), found.ctime() as u64, found.ctime_nsec() as u64]
}

#[cfg(not(unix))]
fn place(_found: &fs::Metadata) -> [u64; 4] {
    [0; 4]
}

/// Whether files in this subfolder (relative) could belong to the dataset.
pub(crate) fn is_regarded_folder(relative: &Path) -> bool {
    is_dataset_file(&relative.join("a.txt"))
}

/// What a look found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) snapshot: Snapshot,
    /// Links lead to some of the files: the system tells nothing of those.
    pub(crate) linked: bool,
}

/// The files that reading the dataset would open, and the recipe; paths are relative.
pub(crate) fn scan(root: &Path) -> Scan {
    let Ok(found) = dataset_files(root) else { return Scan::default() };
    let mut snapshot: Snapshot = found
        .files
        .into_iter()
        .map(|path| {
            let stamp = look(&root.join(&path));
            (path, stamp)
        })
        .collect();
    let recipe = look(&root.join(FILE));
    if recipe != Stamp::Gone {
        snapshot.insert(PathBuf::from(FILE), recipe);
    }
    Scan { snapshot, linked: found.linked }
}

/// Paths that came, went or changed.
pub(crate) fn differences(before: &Snapshot, now: &Snapshot) -> Vec<PathBuf> {
    let mut changed: Vec<PathBuf> = now
        .iter()
        .filter(|(path, stamp)| before.get(*path) != Some(stamp))
        .map(|(path, _)| path.clone())
        .collect();
    changed.extend(before.keys().filter(|path| !now.contains_key(*path)).cloned());
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dataset_files_count_and_changes_show() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("deep/er")).unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        for name in [
            "a.txt",
            "b.md",
            "a.txt~",
            ".git/c.txt",
            "deep/er/d.jsonl",
            "picture.png",
            "hotplate.toml",
            "deep/hotplate.toml",
        ] {
            fs::write(root.join(name), name).unwrap();
        }
        let before = scan(root).snapshot;
        let names: Vec<_> = before.keys().map(|path| path.display().to_string()).collect();
        assert_eq!(names, ["a.txt", "b.md", "deep/er/d.jsonl", "hotplate.toml"]);
        assert!(differences(&before, &scan(root).snapshot).is_empty());
        fs::write(root.join("a.txt"), "longer than before").unwrap();
        fs::remove_file(root.join("b.md")).unwrap();
        fs::write(root.join("deep/e.txt"), "e").unwrap();
        assert_eq!(
            differences(&before, &scan(root).snapshot),
            [PathBuf::from("a.txt"), PathBuf::from("deep/e.txt"), PathBuf::from("b.md")]
        );
    }

    #[cfg(unix)]
    #[test]
    fn another_file_of_the_same_size_and_time_is_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        for name in ["a.txt", "other"] {
            fs::write(root.join(name), name[..1].repeat(9)).unwrap();
            fs::File::options().write(true).open(root.join(name)).unwrap().set_modified(time).unwrap();
        }
        let before = scan(root).snapshot;
        fs::rename(root.join("other"), root.join("a.txt")).unwrap();
        assert_eq!(differences(&before, &scan(root).snapshot), [PathBuf::from("a.txt")]);
    }

    #[cfg(unix)]
    #[test]
    fn a_circle_of_links_ends() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.txt"), "a").unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).unwrap();
        assert_eq!(scan(folder.path()).snapshot.len(), 1);
    }
}
