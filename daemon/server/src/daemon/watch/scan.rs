//! A look at a whole folder: which dataset files are there, with size and time. Finds what no event told.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use hotplate_dataset::is_dataset_file;
use hotplate_dataset::recipe::is_recipe;

use super::settle::Stamp;

/// Deeper folders are not looked into; a person's texts do not lie there.
const DEPTH: usize = 32;

pub(crate) type Snapshot = BTreeMap<PathBuf, Stamp>;

pub(crate) fn look(path: &Path) -> Stamp {
    match fs::metadata(path) {
        Ok(found) => match found.modified() {
            Ok(modified) => Stamp::There { bytes: found.len(), modified },
            Err(_) => Stamp::Gone,
        },
        Err(_) => Stamp::Gone,
    }
}

/// Whether files in this subfolder (relative) could belong to the dataset.
pub(crate) fn is_regarded_folder(relative: &Path) -> bool {
    is_dataset_file(&relative.join("a.txt"))
}

/// All dataset files below `root`; paths are relative. What cannot be read is left out.
pub(crate) fn scan(root: &Path) -> Snapshot {
    let mut snapshot = Snapshot::new();
    let mut visited = HashSet::new();
    let mut folders = vec![(PathBuf::new(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        // Links may lead round in circles.
        if fs::canonicalize(root.join(&folder)).is_ok_and(|real| !visited.insert(real)) {
            continue;
        }
        let Ok(entries) = fs::read_dir(root.join(&folder)) else { continue };
        for entry in entries.flatten() {
            let path = folder.join(entry.file_name());
            let full = root.join(&path);
            if (is_dataset_file(&path) || is_recipe(&path)) && full.is_file() {
                snapshot.insert(path, look(&full));
            } else if depth < DEPTH && is_regarded_folder(&path) && full.is_dir() {
                folders.push((path, depth + 1));
            }
        }
    }
    snapshot
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
        let before = scan(root);
        let names: Vec<_> = before.keys().map(|path| path.display().to_string()).collect();
        assert_eq!(names, ["a.txt", "b.md", "deep/er/d.jsonl", "hotplate.toml"]);
        assert!(differences(&before, &scan(root)).is_empty());
        fs::write(root.join("a.txt"), "longer than before").unwrap();
        fs::remove_file(root.join("b.md")).unwrap();
        fs::write(root.join("deep/e.txt"), "e").unwrap();
        assert_eq!(
            differences(&before, &scan(root)),
            [PathBuf::from("a.txt"), PathBuf::from("deep/e.txt"), PathBuf::from("b.md")]
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_circle_of_links_ends() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.txt"), "a").unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).unwrap();
        assert_eq!(scan(folder.path()).len(), 1);
    }
}
