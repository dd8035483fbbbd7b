//! Where an export will lie.
//!
//! The place is resolved before anything is written. The export is written beside it under a name of ours and appears without replacing
//! anything; an earlier export is moved aside, never deleted. A note in the home says what is under way, so that a daemon that was killed
//! leaves nothing behind.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use hotplate_protocol::{ErrorCode, RpcError};
use serde::{Deserialize, Serialize};

use hotplate_home::Home;

use super::mark;
use crate::daemon::private::Umask;
use crate::daemon::{durable, rpc_errors};

/// How folders and files begin that are written until they are whole.
const DRAFT_PREFIX: &str = ".hotplate-export-";

/// An export under way: what is found of it at the next start is tidied up.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    draft: PathBuf,
    out: PathBuf,
    /// Where the earlier export goes.
    aside: Option<PathBuf>,
}

/// A place that an export may take.
#[derive(Debug)]
pub(super) struct ExportDestination {
    pub(super) out: PathBuf,
    /// Where it is written until it is whole.
    pub(super) draft: PathBuf,
    /// An earlier export lies there.
    replaces: bool,
    note: PathBuf,
}

/// Folders that an export must not lie in, and what they are.
pub(super) type Taken = Vec<(PathBuf, &'static str)>;

impl ExportDestination {
    /// # Errors
    /// What is wrong with the place, and what to do.
    pub(super) fn new(
        out: &Path,
        force: bool,
        home: &Home,
        umask: Umask,
        taken: &Taken,
    ) -> Result<ExportDestination, RpcError> {
        let out = resolve(out).map_err(refused)?;
        let home_folders = home.folders().map(|folder| (folder.to_owned(), "Hotplate's own folder"));
        for (folder, what) in home_folders.chain(taken.iter().cloned()) {
            let real = fs::canonicalize(&folder).unwrap_or(folder);
            if out.starts_with(&real) {
                let (out, real) = (out.display(), real.display());
                return Err(refused(format!("{out} lies in {what}, {real}; name a place outside of it")));
            }
        }
        let replaces = match out.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(rpc_errors::of_writing(&out, &error)),
            Ok(_) if !force => {
                let out = out.display();
                return Err(refused(format!(
                    "{out} exists; name another place, or, where it is an earlier export, move it aside with --force"
                )));
            }
            Ok(_) => {
                mark::check(&out).map_err(|why| no_export(&out, &why))?;
                true
            }
        };
        let parent = out.parent().unwrap_or(&out);
        make_folder(parent, umask).map_err(|error| rpc_errors::of_writing(parent, &error))?;
        if fs::canonicalize(parent).ok().as_deref() != Some(parent) {
            let parent = parent.display();
            return Err(refused(format!("the folder {parent} was replaced meanwhile; try again")));
        }
        let token = format!("{:016x}", RandomState::new().build_hasher().finish());
        let draft = parent.join(format!("{DRAFT_PREFIX}{token}"));
        let note = home.exports().join(format!("{token}.json"));
        Ok(ExportDestination { out, draft, replaces, note })
    }

    /// To be called before anything is written.
    pub(super) fn begin(&self) -> Result<(), RpcError> {
        self.write_note(None).map_err(|error| rpc_errors::of_writing(&self.note, &error))
    }

    fn write_note(&self, aside: Option<&Path>) -> io::Result<()> {
        let note =
            Note { draft: self.draft.clone(), out: self.out.clone(), aside: aside.map(Path::to_owned) };
        if let Some(folder) = self.note.parent() {
            fs::create_dir_all(folder)?;
        }
        let fresh = self.note.with_extension("new");
        durable::write(&fresh, &serde_json::to_vec(&note)?)?;
        fs::rename(&fresh, &self.note)?;
        self.note.parent().map_or(Ok(()), durable::sync_folder)
    }

    /// Lets the whole export appear. Where an earlier one lies now, if there was one.
    pub(super) fn publish(&self) -> Result<Option<PathBuf>, RpcError> {
        if !self.replaces {
            self.appear()?;
            return Ok(None);
        }
        let aside = free_beside(&self.out);
        let failed = |error: &io::Error| rpc_errors::of_writing(&aside, error);
        self.write_note(Some(&aside)).map_err(|error| failed(&error))?;
        durable::rename_new(&self.out, &aside).map_err(|error| failed(&error))?;
        let back = || durable::rename_new(&aside, &self.out);
        // It may have become something else while the export was written.
        if let Err(why) = mark::check(&aside) {
            back().map_err(|error| failed(&error))?;
            return Err(no_export(&self.out, &why));
        }
        self.appear().map_err(|mut error| {
            if back().is_err() {
                error.message = format!("{}; the earlier export is {} now", error.message, aside.display());
            }
            error
        })?;
        Ok(Some(aside))
    }

    fn appear(&self) -> Result<(), RpcError> {
        let appeared = durable::publish_new(&self.draft, &self.out);
        appeared.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty => refused(format!(
                "something has appeared at {} while the export was written, and stays as it is; name another place",
                self.out.display()
            )),
            _ => rpc_errors::of_writing(&self.out, &error),
        })
    }

    /// Takes away what was not published, and the note.
    pub(super) fn end(&self) {
        if let Err(error) = remove(&self.draft) {
            tracing::warn!(draft = %self.draft.display(), %error, "half of an export cannot be removed");
            return;
        }
        if let Err(error) = fs::remove_file(&self.note)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(note = %self.note.display(), %error, "cannot be removed");
        }
    }
}

/// Makes what is missing of a folder, as the user's own programs would.
fn make_folder(folder: &Path, umask: Umask) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        make_folder(above, umask)?;
    }
    match fs::create_dir(folder) {
        Ok(()) => umask.apply(folder),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// After a kill: half of an export goes, and an earlier one that was on its way aside comes back.
pub(crate) fn clean_up(home: &Home) {
    let Ok(entries) = fs::read_dir(home.exports()) else { return };
    for file in entries.flatten().map(|entry| entry.path()) {
        if let Some(note) = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Note>(&bytes).ok())
            && let Err(error) = tidy(&note)
        {
            tracing::warn!(place = %note.out.display(), %error, "half of an export cannot be tidied up");
            continue;
        }
        let _ = fs::remove_file(&file);
    }
}

fn tidy(note: &Note) -> io::Result<()> {
    // The name is ours alone: it ends with a number that was drawn for it.
    let ours = note.draft.file_name().is_some_and(|name| name.to_string_lossy().starts_with(DRAFT_PREFIX));
    if ours && note.draft.symlink_metadata().is_ok() {
        tracing::info!(draft = %note.draft.display(), "removed half of an export");
        remove(&note.draft)?;
    }
    match &note.aside {
        Some(aside) if aside.symlink_metadata().is_ok() && note.out.symlink_metadata().is_err() => {
            tracing::info!(out = %note.out.display(), "the earlier export is back in its place");
            durable::rename_new(aside, &note.out)
        }
        _ => Ok(()),
    }
}

/// The place without links and `..`, though it need not exist.
fn resolve(out: &Path) -> Result<PathBuf, String> {
    let shown = out.display();
    let (Some(name), Some(parent), true) = (out.file_name(), out.parent(), out.is_absolute()) else {
        return Err(format!("{shown} is no place for an export; name a path that ends in a new name"));
    };
    let mut there = parent;
    let mut missing = Vec::new();
    let real = loop {
        match fs::canonicalize(there) {
            Ok(real) => break real,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(format!("{shown} is no place for an export: {}: {error}", there.display()));
            }
        }
        if there.symlink_metadata().is_ok() {
            return Err(format!(
                "{shown} is no place for an export: the link {} leads nowhere",
                there.display()
            ));
        }
        match (there.components().next_back(), there.parent()) {
            (Some(Component::Normal(part)), Some(above)) => {
                missing.push(part);
                there = above;
            }
            _ => {
                return Err(format!(
                    "{shown} is no place for an export: it goes through a folder that is not there; name it without .."
                ));
            }
        }
    };
    if !real.is_dir() {
        return Err(format!("{shown} is no place for an export: {} is a file", real.display()));
    }
    Ok(missing.into_iter().rev().chain([name]).fold(real, |path, part| path.join(part)))
}

/// A name beside an export that says what it was: `notes.earlier-1`, `notes.earlier-1.gguf`.
fn free_beside(out: &Path) -> PathBuf {
    let end = out.extension().filter(|_| out.is_file());
    let name = if end.is_some() { out.file_stem() } else { out.file_name() };
    let name = name.unwrap_or_default().to_string_lossy().into_owned();
    let end = end.map_or_else(String::new, |end| format!(".{}", end.to_string_lossy()));
    let mut number = 1_usize;
    loop {
        let path = out.with_file_name(format!("{name}.earlier-{number}{end}"));
        if path.symlink_metadata().is_err() {
            return path;
        }
        number += 1;
    }
}

fn refused(why: String) -> RpcError {
    RpcError::new(ErrorCode::InvalidParams, why)
}

fn no_export(out: &Path, why: &str) -> RpcError {
    let out = out.display();
    refused(format!(
        "{out} is no earlier export, {why}; --force moves nothing else aside: name another place, or move it away yourself"
    ))
}

fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    }
}

#[cfg(test)]
mod tests {
    use hotplate_protocol::methods::export::ExportForm;

    use super::*;

    const UMASK: Umask = Umask(0o022);

    struct Rim {
        root: tempfile::TempDir,
        home: Home,
    }

    impl Rim {
        fn new() -> Rim {
            let root = tempfile::tempdir().unwrap();
            let home = Home::at(&root.path().join("home")).unwrap();
            Rim { root, home }
        }

        fn at(&self, path: &str) -> PathBuf {
            fs::canonicalize(self.root.path()).unwrap().join(path)
        }

        fn place(&self, path: &str, force: bool) -> Result<ExportDestination, RpcError> {
            ExportDestination::new(&self.at(path), force, &self.home, UMASK, &Vec::new())
        }

        fn refusal(&self, path: &str, force: bool) -> String {
            self.place(path, force).unwrap_err().message
        }

        /// A draft that only has to appear.
        fn written(&self, path: &str, force: bool, text: &str) -> ExportDestination {
            let place = self.place(path, force).unwrap();
            place.begin().unwrap();
            fs::create_dir(&place.draft).unwrap();
            fs::write(place.draft.join("adapter_config.json"), text).unwrap();
            mark::put(&place.draft, ExportForm::Peft, "notes@1").unwrap();
            place
        }

        fn export(&self, path: &str, force: bool, text: &str) -> Option<PathBuf> {
            let place = self.written(path, force, text);
            let aside = place.publish().unwrap();
            place.end();
            aside
        }

        fn text(&self, path: &str) -> String {
            fs::read_to_string(self.at(path).join("adapter_config.json")).unwrap()
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.root.path()).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }

        fn notes(&self) -> usize {
            fs::read_dir(self.home.exports()).map_or(0, Iterator::count)
        }
    }

    #[test]
    fn a_folder_of_somebodys_is_never_touched() {
        let rim = Rim::new();
        fs::create_dir(rim.at("mine")).unwrap();
        for file in ["letter.txt", "config.json", "adapter_config.json", "adapter_model.safetensors"] {
            fs::write(rim.at("mine").join(file), "{}").unwrap();
        }
        assert!(rim.refusal("mine", false).contains("--force"));
        assert!(rim.refusal("mine", true).contains("no earlier export"));
        assert!(rim.refusal("not-there/../mine", false).contains("not there"));
        assert!(rim.refusal("not-there/../mine", true).contains("not there"));
        assert!(rim.refusal("mine/../mine", true).contains("no earlier export"));
        assert!(rim.refusal("mine/letter.txt/x", false).contains("letter.txt"));
        fs::write(rim.at("a.gguf"), b"GGUF\x03\0\0\0somebody's own model, and no export").unwrap();
        assert!(rim.refusal("a.gguf", true).contains("no earlier export"));
        fs::create_dir(rim.at("empty")).unwrap();
        assert!(rim.refusal("empty", true).contains("no earlier export"));
        assert_eq!(fs::read_dir(rim.at("mine")).unwrap().count(), 4);
        assert!(!rim.at("not-there").exists() && rim.notes() == 0);
    }

    #[test]
    fn what_is_no_place_is_said() {
        let rim = Rim::new();
        let refusal = |path: &Path| {
            ExportDestination::new(path, true, &rim.home, UMASK, &Vec::new()).unwrap_err().message
        };
        for path in [Path::new("/"), Path::new("relative/out"), &rim.at("a/.."), Path::new("")] {
            assert!(refusal(path).contains("no place for an export"), "{}", path.display());
        }
        for inside in ["home", "home/adapters/notes/v0001", "home/new/../x", "home/../home/out"] {
            if inside.contains("new") {
                fs::create_dir(rim.at("home/new")).unwrap();
            }
            assert!(rim.refusal(inside, true).contains("Hotplate's own folder"), "{inside}");
        }
        let taken = vec![(rim.at("notes"), "the folder of its texts")];
        fs::create_dir(rim.at("notes")).unwrap();
        let error =
            ExportDestination::new(&rim.at("notes/out"), false, &rim.home, UMASK, &taken).unwrap_err();
        assert!(error.message.contains("the folder of its texts"), "{error}");
        // A closing separator and a missing parent are no mistakes.
        let place = rim.place("new/parent/out/", false).unwrap();
        assert_eq!(place.out, rim.at("new/parent/out"));
        assert!(rim.at("new/parent").is_dir());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_seen_through_and_never_followed_at_the_end() {
        use std::os::unix::fs::symlink;

        let rim = Rim::new();
        fs::create_dir(rim.at("real")).unwrap();
        symlink(rim.at("real"), rim.at("link")).unwrap();
        assert_eq!(rim.place("link/out", false).unwrap().out, rim.at("real/out"));
        assert!(rim.refusal("link", true).contains("link"));
        symlink(rim.at("nowhere"), rim.at("dangling")).unwrap();
        assert!(rim.refusal("dangling", false).contains("exists"));
        assert!(rim.refusal("dangling/out", false).contains("leads nowhere"));
        symlink(rim.at("home"), rim.at("to-home")).unwrap();
        assert!(rim.refusal("to-home/out", false).contains("Hotplate's own folder"));
        assert!(!rim.at("nowhere").exists());
    }

    #[test]
    fn what_appears_meanwhile_stays() {
        let rim = Rim::new();
        let place = rim.written("out", false, "new");
        fs::create_dir(rim.at("out")).unwrap();
        fs::write(rim.at("out/letter.txt"), "Dear").unwrap();
        let error = place.publish().unwrap_err();
        assert!(error.message.contains("has appeared"), "{error}");
        place.end();
        assert_eq!(fs::read_to_string(rim.at("out/letter.txt")).unwrap(), "Dear");
        // Also an empty folder, and a file.
        let place = rim.written("other", false, "new");
        fs::create_dir(rim.at("other")).unwrap();
        assert!(place.publish().is_err());
        place.end();
        let place = rim.written("third", false, "new");
        fs::write(rim.at("third"), "").unwrap();
        assert!(place.publish().is_err());
        place.end();
        assert_eq!(rim.names(), ["home", "other", "out", "third"]);
        assert_eq!(rim.notes(), 0);
    }

    #[test]
    fn an_earlier_export_moves_aside_and_what_became_of_it_is_looked_at_again() {
        let rim = Rim::new();
        assert_eq!(rim.export("out", false, "1"), None);
        assert_eq!(rim.export("out", true, "2"), Some(rim.at("out.earlier-1")));
        assert_eq!(rim.export("out", true, "3"), Some(rim.at("out.earlier-2")));
        assert_eq!((rim.text("out.earlier-1"), rim.text("out.earlier-2")), ("1".to_owned(), "2".to_owned()));
        assert_eq!(rim.text("out"), "3");
        let place = rim.written("out", true, "4");
        fs::write(rim.at("out/letter.txt"), "Dear").unwrap();
        let error = place.publish().unwrap_err();
        assert!(error.message.contains("letter.txt"), "{error}");
        place.end();
        assert_eq!(rim.text("out"), "3");
        assert!(rim.at("out/letter.txt").exists() && !rim.at("out.earlier-3").exists());
        assert_eq!(rim.names(), ["home", "out", "out.earlier-1", "out.earlier-2"]);
    }

    #[test]
    fn a_kill_leaves_nothing_and_takes_nothing() {
        let rim = Rim::new();
        // While it is written.
        let place = rim.written("out", false, "half");
        clean_up(&rim.home);
        assert!(!place.draft.exists() && !rim.at("out").exists());
        // Between the two renames.
        rim.export("out", false, "1");
        let place = rim.written("out", true, "2");
        place.write_note(Some(&rim.at("out.earlier-1"))).unwrap();
        fs::rename(rim.at("out"), rim.at("out.earlier-1")).unwrap();
        clean_up(&rim.home);
        assert_eq!((rim.text("out").as_str(), rim.notes()), ("1", 0));
        // Behind them.
        let place = rim.written("out", true, "3");
        let aside = place.publish().unwrap().unwrap();
        clean_up(&rim.home);
        assert_eq!((rim.text("out").as_str(), rim.notes()), ("3", 0));
        assert!(aside.exists());
        // A note that somebody made up removes nothing.
        fs::create_dir(rim.at("mine")).unwrap();
        let made_up = Note { draft: rim.at("mine"), out: rim.at("x"), aside: None };
        fs::write(rim.home.exports().join("0.json"), serde_json::to_vec(&made_up).unwrap()).unwrap();
        clean_up(&rim.home);
        assert!(rim.at("mine").exists());
        assert_eq!(rim.names(), ["home", "mine", "out", "out.earlier-1"]);
    }
}
