//! Which files of a folder belong to the dataset. Lists folders; opens no file.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use crate::findings::{CardSign, UNSUPPORTED};
use crate::formats::Format;

/// Whether a save of this file can change the dataset: a file with an ending that is read (in whatever case) that is
/// neither hidden nor an editor's temporary file, and lies in no folder that is left alone.
///
/// `path` is relative to the dataset's folder. Of an absolute path only the file's name is judged: the dataset itself may lie
/// below a hidden folder.
pub fn is_dataset_file(path: &Path) -> bool {
    Format::of(path).is_some() && is_regarded(path)
}

/// Whether nothing in the path is hidden or temporary.
fn is_regarded(path: &Path) -> bool {
    let Some(name) = path.file_name() else { return false };
    let folders_regarded = path.is_absolute()
        || path.parent().is_none_or(|folders| {
            folders.components().all(|part| match part {
                Component::Normal(folder) => !is_ignored_folder(folder),
                _ => true,
            })
        });
    folders_regarded && !is_ignored_file(name)
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn is_ignored_folder(name: &OsStr) -> bool {
    // `.git`, `.ipynb_checkpoints`, `.obsidian`, `.trash` are hidden anyway; the last ones are what storage devices and Windows keep for themselves.
    is_hidden(name)
        || ["node_modules", "__pycache__", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information"]
            .iter()
            .any(|ignored| name == *ignored)
}

/// Hidden files (vim's `.a.txt.swp`, Emacs's `.#a.txt`, LibreOffice's `.~lock.a.odt#`, rsync's `.a.txt.Xy12ab`, Syncthing's
/// `.syncthing.a.txt.tmp`) and those that editors, browsers and `git mergetool` write beside the real one: `a.txt~`, `#a.txt#`, vim's probe
/// `4913`, Word's `~$a.docx`, `a.txt.tmp`, `a.txt.part`, `a_REMOTE_4711.txt`.
fn is_ignored_file(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    let temporary_ending = Path::new(name)
        .extension()
        .and_then(OsStr::to_str)
        .map(str::to_ascii_lowercase)
        .is_some_and(|ending| {
            matches!(ending.as_str(), "tmp" | "temp" | "part" | "crdownload" | "swp" | "swo" | "swx" | "bak")
        });
    is_hidden(name)
        || bytes.ends_with(b"~")
        || bytes.starts_with(b"~$")
        || (bytes.starts_with(b"#") && bytes.ends_with(b"#"))
        || bytes == b"4913"
        || temporary_ending
        || is_side_of_a_merge(name)
}

fn stem(name: &OsStr) -> &str {
    Path::new(name).file_stem().and_then(OsStr::to_str).unwrap_or_default()
}

/// `a_LOCAL_4711.txt`: while a merge is being resolved, its sides lie beside the file.
fn is_side_of_a_merge(name: &OsStr) -> bool {
    let Some((rest, number)) = stem(name).rsplit_once('_') else { return false };
    !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && ["_BACKUP", "_BASE", "_LOCAL", "_REMOTE"].iter().any(|side| rest.ends_with(side))
}

/// Whether a program that keeps folders in step wrote this file beside the one of the plain name, because both ends had changed it: Dropbox's,
/// Nextcloud's and Seafile's words in brackets, Syncthing's `a.sync-conflict-20260501-120000-ABCDEFG.txt`, Resilio's `a.Conflict.txt`.
fn is_conflict_copy(name: &OsStr) -> bool {
    const IN_BRACKETS: &[&str] = &[
        "conflicted copy",
        "conflict copy",
        "case conflict",
        "copy: conflict",
        "sfconflict ",
        "in konflikt stehende kopie",
        "copie en conflit",
        "copia en conflicto",
        "冲突副本",
        "衝突複本",
    ];
    let stem = stem(name).to_lowercase();
    let bracketed = stem.strip_suffix(')').and_then(|stem| stem.rsplit_once('('));
    if let Some((_, words)) = bracketed {
        return IN_BRACKETS.iter().any(|known| words.contains(known));
    }
    stem.contains(".sync-conflict-2")
        || stem.rsplit_once("_conflict-").is_some_and(|(_, time)| {
            time.contains('-') && time.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
        })
        || stem.ends_with(".conflict")
        || stem.ends_with("[conflicted]")
}

/// The lower-case ending of a document that is not read yet.
fn unsupported_ending(path: &Path) -> Option<&'static str> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    UNSUPPORTED.iter().copied().find(|known| *known == ending)
}

/// All paths are relative to the folder; each list is sorted.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) unreadable: Vec<(PathBuf, io::Error)>,
    pub(crate) unsupported: Vec<(PathBuf, &'static str)>,
    /// Files that tell about a dataset and are none of its texts.
    pub(crate) cards: BTreeMap<PathBuf, CardSign<'static>>,
    pub(crate) conflict_copies: Vec<PathBuf>,
    /// Some of them lie elsewhere, and links lead there.
    pub(crate) linked: bool,
}

/// The files that a dataset is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetFiles {
    /// Relative to the folder, sorted.
    pub files: Vec<PathBuf>,
    /// Links are among them, or lead to some of them.
    pub linked: bool,
}

/// The files that reading this folder would open, by name alone.
///
/// # Errors
/// The folder itself cannot be listed.
pub fn dataset_files(folder: &Path) -> io::Result<DatasetFiles> {
    list(folder).map(|listing| DatasetFiles { files: listing.files, linked: listing.linked })
}

/// Walks the folder to the bottom. Links to files and folders are followed, each folder is visited once, and a link that
/// leads up and out of the dataset is not followed.
///
/// # Errors
/// Only where the folder itself cannot be listed; what is wrong below is in the listing.
pub(crate) fn list(root: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let real_root = fs::canonicalize(root)?;
    let mut visited = HashSet::from([real_root.clone()]);
    let mut folders = vec![PathBuf::new()];
    // Linked folders wait until the real ones are done: what lies inside the dataset keeps its own name.
    let mut links: Vec<PathBuf> = Vec::new();
    loop {
        let folder = match folders.pop() {
            Some(folder) => folder,
            None => match next_link(root, &real_root, &mut links, &mut visited) {
                Some(folder) => {
                    listing.linked = true;
                    folder
                }
                None => break,
            },
        };
        let entries = match fs::read_dir(root.join(&folder)) {
            Ok(entries) => entries,
            Err(error) if folder.as_os_str().is_empty() => return Err(error),
            Err(error) => {
                listing.unreadable.push((folder, error));
                continue;
            }
        };
        let mut linked_here = Vec::new();
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    listing.unreadable.push((folder.clone(), error));
                    break;
                }
            };
            let path = folder.join(entry.file_name());
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                if !is_ignored_folder(&entry.file_name()) {
                    if let Ok(real) = fs::canonicalize(entry.path()) {
                        visited.insert(real);
                    }
                    folders.push(path);
                }
            } else if kind.is_symlink() && entry.path().is_dir() {
                if !is_ignored_folder(&entry.file_name()) {
                    linked_here.push(path);
                }
            } else if is_dataset_file(&path) {
                if is_conflict_copy(&entry.file_name()) {
                    listing.conflict_copies.push(path);
                } else {
                    listing.linked |= kind.is_symlink();
                    listing.files.push(path);
                }
            } else if is_regarded(&path)
                && let Some(ending) = unsupported_ending(&path)
            {
                listing.unsupported.push((path, ending));
            }
        }
        links.extend(linked_here);
    }
    listing.files.sort_unstable();
    listing.cards = cards(&listing.files);
    listing.files.retain(|file| !listing.cards.contains_key(file));
    listing.unreadable.sort_by(|one, other| one.0.cmp(&other.0));
    listing.unsupported.sort_unstable();
    listing.conflict_copies.sort_unstable();
    Ok(listing)
}

/// Licences by their names; what else tells about data by its name and the records beside or below it.
fn cards(files: &[PathBuf]) -> BTreeMap<PathBuf, CardSign<'static>> {
    let is_prose = |file: &Path| matches!(Format::of(file), Some(Format::Text | Format::Markdown));
    let above_records: HashSet<&Path> = files
        .iter()
        .filter(|file| !is_prose(file) && !is_data_info(file))
        .flat_map(|file| file.ancestors().skip(1))
        .collect();
    let sign = |file: &Path| {
        if is_data_info(file) {
            return Some(CardSign::BesideRecords);
        }
        let stem = file.file_stem()?.to_str().filter(|_| is_prose(file))?;
        if is_licence(stem) {
            Some(CardSign::Licence)
        } else {
            let beside = file.parent().is_some_and(|folder| above_records.contains(folder));
            (beside && tells_about_data(stem)).then_some(CardSign::BesideRecords)
        }
    };
    files.iter().filter_map(|file| Some((file.clone(), sign(file)?))).collect()
}

/// `license`, `LICENSE-MIT`, `COPYING`; with more words in small letters it may be somebody's title.
fn is_licence(stem: &str) -> bool {
    const NAMES: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "UNLICENSE"];
    NAMES.into_iter().any(|name| {
        stem.eq_ignore_ascii_case(name)
            || stem.strip_prefix(name).is_some_and(|rest| rest.starts_with(['-', '_', '.']))
    })
}

/// `README` in any case and language; the others as projects write them, in capitals.
fn tells_about_data(stem: &str) -> bool {
    const NAMES: [&str; 11] = [
        "AUTHORS",
        "CHANGELOG",
        "CHANGES",
        "CITATION",
        "CODE_OF_CONDUCT",
        "CONTRIBUTING",
        "COPYRIGHT",
        "CREDITS",
        "DATASHEET",
        "NOTICE",
        "SECURITY",
    ];
    let readme = stem.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("readme"))
        && stem.get(6..).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_', '.']));
    readme || NAMES.contains(&stem)
}

/// What `datasets` writes beside the data.
fn is_data_info(file: &Path) -> bool {
    file.file_name()
        .and_then(OsStr::to_str)
        .is_some_and(|name| matches!(name, "dataset_info.json" | "dataset_infos.json" | "dataset_dict.json"))
}

/// The first linked folder, by name, that leads somewhere new.
fn next_link(
    root: &Path,
    real_root: &Path,
    links: &mut Vec<PathBuf>,
    visited: &mut HashSet<PathBuf>,
) -> Option<PathBuf> {
    links.sort_unstable_by(|one, other| other.cmp(one));
    while let Some(link) = links.pop() {
        if let Ok(real) = fs::canonicalize(root.join(&link))
            && !real_root.starts_with(&real)
            && visited.insert(real)
        {
            return Some(link);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_leftovers_are_no_notes() {
        for name in [
            "a.txt",
            "A.TXT",
            "sub/b.md",
            "c.jsonl",
            "d.ndjson",
            "e.json",
            "f.csv",
            "g.TSV",
            "h.parquet",
            "~a.txt",
            "#1 soup.md",
            "./a.txt",
            "a.b.txt",
            "4913.txt",
            "2026.05/a.md",
            "a_LOCAL.txt",
            "fiscal_BASE_2026b.txt",
        ] {
            assert!(is_dataset_file(name.as_ref()), "{name}");
        }
        for name in [
            "",
            ".",
            "a",
            "txt",
            ".txt",
            ".a.txt",
            ".a.txt.swp",
            "a.txt~",
            "#a.txt#",
            ".#a.txt",
            "4913",
            "a.txt.tmp",
            "a.txt.part",
            "a.txt.crdownload",
            "~$a.txt",
            ".~tmp~/a.txt",
            ".a.txt.Xy12ab",
            ".syncthing.a.txt.tmp",
            ".a.md.~1f2e",
            "a_REMOTE_4711.txt",
            "@eaDir/a.txt",
            "hotplate.toml",
            "a.yaml",
            ".git/a.txt",
            "sub/.ipynb_checkpoints/a.md",
            "node_modules/x/README.md",
            "a.txt/",
        ] {
            // A trailing slash means nothing to `Path`; a folder of that name is told apart when it is listed.
            assert_eq!(is_dataset_file(name.as_ref()), name == "a.txt/", "{name}");
        }
    }

    #[test]
    fn copies_of_two_ends_that_disagreed() {
        for name in [
            "soup (Anna's conflicted copy 2026-05-01).md",
            "soup (conflicted copy 2026-05-01 120000).md",
            "soup (Annas in Konflikt stehende Kopie 2026-05-01).md",
            "汤 (小王 的冲突副本 2026-05-01).txt",
            "soup (SFConflict anna@example.com 2026-05-01-12-00-00).md",
            "soup (copy: conflict #1 on 2026-05-01).txt",
            "soup (Case Conflict 1).txt",
            "soup.sync-conflict-20260501-120000-ABCDEFG.md",
            "soup_conflict-20260501-120000.md",
            "soup.Conflict.txt",
            "soup [conflicted].txt",
        ] {
            assert!(is_conflict_copy(name.as_ref()), "{name}");
        }
        for name in [
            "soup (1).md",
            "On conflict.md",
            "Notes (conflict of interest).md",
            "a conflicted copy editor.txt",
            "our_conflict-with-noodles.txt",
        ] {
            assert!(!is_conflict_copy(name.as_ref()), "{name}");
        }
    }

    #[test]
    fn absolute_paths_are_judged_by_their_name() {
        assert!(is_dataset_file("/home/me/.notes/a.txt".as_ref()));
        assert!(!is_dataset_file("/home/me/.notes/.a.txt".as_ref()));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_once() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        let outside = folder.path().join("outside");
        fs::create_dir_all(root.join("z/deep.txt")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(root.join("z/deep.txt/one.txt"), "1").unwrap();
        fs::write(outside.join("two.txt"), "2").unwrap();
        symlink(root.join("z"), root.join("a")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink(&root, outside.join("back")).unwrap();
        symlink(&outside, root.join("more")).unwrap();
        symlink(&outside, root.join("more-again")).unwrap();
        symlink(outside.join("two.txt"), root.join("two.txt")).unwrap();
        let DatasetFiles { files, linked } = dataset_files(&root).unwrap();
        assert_eq!(files, ["more/two.txt", "two.txt", "z/deep.txt/one.txt"].map(PathBuf::from));
        assert!(linked && !dataset_files(&root.join("z")).unwrap().linked);
    }
}
