//! What a kill, a power cut or a full disk left half-done in the home: it goes at the next start. Nothing that is whole goes, and nothing that is not ours.
//!
//! Runs and exports know their own ([`resume`](super::runs::resume), [`export`](super::methods::export)); here is the rest.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hotplate_home::Home;

use super::durable;

/// A version that is on its way into the store: `adapters/NAME/.entering-3`.
const ENTERING: &str = ".entering-";

/// Notes that a version's folder belongs to nobody until the store knows it. To be called before it is written, and [`entered`] behind.
pub(crate) fn entering(folder: &Path) -> io::Result<()> {
    let Some((note, adapter)) = note_of(folder) else { return Ok(()) };
    fs::create_dir_all(&adapter)?;
    durable::write(&note, b"")?;
    durable::sync_folder(&adapter)
}

/// The version is in the store, or its folder is gone.
pub(crate) fn entered(folder: &Path) {
    if let Some((note, _)) = note_of(folder) {
        // One that stays is looked at again at the next start.
        let _ = fs::remove_file(note);
    }
}

fn note_of(folder: &Path) -> Option<(PathBuf, PathBuf)> {
    let adapter = folder.parent()?;
    Some((adapter.join(format!("{ENTERING}{}", folder.file_name()?.to_str()?)), adapter.to_owned()))
}

/// Removes what is left; `known`: whether the store knows the version in this folder.
pub(crate) fn clean_up(home: &Home, known: &dyn Fn(&Path) -> bool) {
    for adapter in entries(&home.adapters()) {
        for note in entries(&adapter) {
            let Some(version) = named(&note).and_then(|name| name.strip_prefix(ENTERING)) else { continue };
            let folder = adapter.join(version);
            // A name of somebody's making leads nowhere else.
            let number = version.strip_prefix('v').unwrap_or_default();
            let ours = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            if ours && !known(&folder) && folder.symlink_metadata().is_ok() {
                removed(&folder, fs::remove_dir_all(&folder));
            }
            let _ = fs::remove_file(&note);
        }
    }
    let half = |folder: PathBuf, end: &str| -> Vec<PathBuf> {
        entries(&folder)
            .into_iter()
            .filter(|path| named(path).is_some_and(|name| name.ends_with(end)))
            .collect()
    };
    let packed = half(home.packed_place(), ".part");
    let notes = home.note().parent().map(|folder| half(folder.to_owned(), ".json.new")).unwrap_or_default();
    for file in packed.into_iter().chain(notes).chain(half(home.exports(), ".new")) {
        removed(&file, fs::remove_file(&file));
    }
}

fn named(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// What lies in a folder; nothing behind a link, where it would be somebody else's.
fn entries(folder: &Path) -> Vec<PathBuf> {
    if folder.is_symlink() {
        return Vec::new();
    }
    fs::read_dir(folder).map(|found| found.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

fn removed(path: &Path, outcome: io::Result<()>) {
    match outcome {
        Ok(()) => tracing::info!(path = %path.display(), "removed what was left half-done"),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "what was left half-done cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_and_wholes_stay() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        let at = |path: &str| folder.path().join(path);
        for version in ["v0001", "v0002", "v0003", "v0004"] {
            fs::create_dir_all(at("adapters/notes").join(version)).unwrap();
        }
        entering(&at("adapters/notes/v0002")).unwrap();
        entering(&at("adapters/notes/v0003")).unwrap();
        entering(&at("adapters/new/v0001")).unwrap();
        entering(&at("adapters/notes/v0004")).unwrap();
        entered(&at("adapters/notes/v0004"));
        fs::write(at("adapters/notes").join(format!("{ENTERING}..")), "").unwrap();
        fs::create_dir(home.packed().unwrap().join("folder")).unwrap();
        for file in ["packed/a.packed", "packed/b.part", "daemon.json.new", "store.sqlite"] {
            fs::write(at(file), "").unwrap();
        }
        fs::create_dir(home.exports()).unwrap();
        fs::write(at("exports/1.new"), "").unwrap();
        #[cfg(unix)]
        {
            let link = |path: &str| std::os::unix::fs::symlink(at("adapters/notes"), at(path)).unwrap();
            link("adapters/link");
        }
        clean_up(&home, &|folder| folder.ends_with("v0003"));
        let left = |path: &str| {
            let mut names: Vec<String> =
                entries(&at(path)).iter().map(|path| named(path).unwrap().to_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(left("adapters/notes"), ["v0001", "v0003", "v0004"]);
        assert!(left("adapters/new").is_empty() && left("exports").is_empty());
        assert_eq!(left("packed"), ["a.packed", "folder"]);
        assert!(at("store.sqlite").exists() && !at("daemon.json.new").exists());
    }
}
