//! `%%examples`: texts of a cell become a file of a dataset, as if an editor had saved it.
//!
//! Owns the promise that nothing of the user's is overwritten. Knows nothing of daemons; a watch sees the file as any other.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::Builder;

/// So many cells may have written into one folder.
const MOST_FILES: usize = 100_000;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub file: PathBuf,
    /// These texts were there before; nothing was written.
    pub already: bool,
    pub made_folder: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("{0:?} is no name for a file of texts; give a plain name that ends in .md, .txt or .jsonl")]
    BadName(String),
    #[error("{} is there already and is not overwritten; give another name with --file, or leave it out", .0.display())]
    Exists(PathBuf),
    #[error("{} is not a folder; name the folder with your texts", .0.display())]
    NotAFolder(PathBuf),
    #[error("cannot write {}: {source}; check that the folder is yours and the disk is not full", file.display())]
    CannotWrite { file: PathBuf, source: io::Error },
}

/// Writes `text` as a new file of `folder`.
pub(crate) fn write(folder: &Path, name: Option<&str>, text: &str) -> Result<Written, WriteError> {
    let cannot_write = |file: &Path| {
        let file = file.to_owned();
        move |source| WriteError::CannotWrite { file, source }
    };
    let form = Form::of(text);
    let bytes = format!("{}\n", text.trim_matches(['\n', '\r'])).into_bytes();
    let written = |file, already, made_folder| Written { file, already, made_folder };
    if folder.exists() && !folder.is_dir() {
        return Err(WriteError::NotAFolder(folder.to_owned()));
    }
    let made_folder = !folder.exists();
    fs::create_dir_all(folder).map_err(cannot_write(folder))?;
    if let Some(name) = name {
        let good = !name.starts_with('.')
            && Path::new(name).file_name().is_some_and(|plain| plain == name)
            && Path::new(name).extension().is_some_and(|extension| {
                ["md", "txt", "jsonl", "ndjson", "json", "csv", "tsv"].iter().any(|known| extension == *known)
            });
        if !good {
            return Err(WriteError::BadName(name.to_owned()));
        }
        let file = folder.join(name);
        return match place(&file, &bytes).map_err(cannot_write(&file))? {
            Placed::New => Ok(written(file, false, made_folder)),
            Placed::Same => Ok(written(file, true, made_folder)),
            Placed::Other => Err(WriteError::Exists(file)),
        };
    }
    for number in 1..MOST_FILES {
        let file = folder.join(format!("cell-{number}.{}", form.extension()));
        match place(&file, &bytes).map_err(cannot_write(&file))? {
            Placed::New => return Ok(written(file, false, made_folder)),
            // The cell was run again.
            Placed::Same => return Ok(written(file, true, made_folder)),
            Placed::Other => {}
        }
    }
    Err(WriteError::Exists(folder.join("cell-1.md")))
}

enum Placed {
    New,
    Same,
    Other,
}

/// The file appears whole or not at all, and never in the place of another one.
fn place(file: &Path, bytes: &[u8]) -> io::Result<Placed> {
    let there = || match fs::read(file) {
        Ok(found) if found == bytes => Ok(Placed::Same),
        // Also what cannot be read: it is not ours to touch.
        _ => Ok(Placed::Other),
    };
    if file.symlink_metadata().is_ok() {
        return there();
    }
    let folder = file.parent().unwrap_or(Path::new("."));
    // A name that the watch passes over.
    let mut draft = Builder::new().prefix(".hotplate-").suffix(".tmp").tempfile_in(folder)?;
    draft.write_all(bytes)?;
    readable(draft.as_file())?;
    draft.as_file().sync_all()?;
    match draft.persist_noclobber(file) {
        Ok(_) => Ok(Placed::New),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => there(),
        Err(error) => Err(error.error),
    }
}

/// A draft is its owner's alone; a text is like those beside it.
#[cfg(unix)]
fn readable(draft: &fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    draft.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_draft: &fs::File) -> io::Result<()> {
    Ok(())
}

/// What the texts are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Markdown,
    JsonLines,
}

impl Form {
    /// JSON lines only where one is an object and all look like one: a text may well begin with a brace, and a record may have
    /// a slip in it, which a check will find.
    pub(crate) fn of(text: &str) -> Form {
        let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
        let is_object = |line: &str| serde_json::from_str::<serde_json::Map<_, _>>(line).is_ok();
        if lines().any(is_object) && lines().all(|line| line.starts_with('{')) {
            Form::JsonLines
        } else {
            Form::Markdown
        }
    }

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Form::Markdown => "md",
            Form::JsonLines => "jsonl",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_files_and_never_in_the_place_of_others() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("notes");
        let first = write(&folder, None, "\nOne.\n---\nTwo.\n").unwrap();
        assert_eq!(first, Written { file: folder.join("cell-1.md"), already: false, made_folder: true });
        assert_eq!(fs::read_to_string(&first.file).unwrap(), "One.\n---\nTwo.\n");
        let again = write(&folder, None, "One.\n---\nTwo.").unwrap();
        assert_eq!((&again.file, again.already, again.made_folder), (&first.file, true, false));
        let other = write(&folder, None, "Three.").unwrap();
        assert_eq!(other.file, folder.join("cell-2.md"));
        fs::write(folder.join("mine.md"), "AdapterSide.").unwrap();
        assert!(matches!(write(&folder, Some("mine.md"), "Theirs."), Err(WriteError::Exists(_))));
        assert_eq!(fs::read_to_string(folder.join("mine.md")).unwrap(), "AdapterSide.");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3, "no drafts stay");
    }

    #[test]
    fn names_stay_in_the_folder() {
        let home = tempfile::tempdir().unwrap();
        for name in ["../a.md", "/tmp/a.md", "a/b.md", ".a.md", "a", "hotplate.toml", "a.exe", ""] {
            assert!(matches!(write(home.path(), Some(name), "x"), Err(WriteError::BadName(_))), "{name}");
        }
        assert!(write(home.path(), Some("面包.md"), "x").is_ok());
        fs::write(home.path().join("file"), "").unwrap();
        assert!(matches!(write(&home.path().join("file"), None, "x"), Err(WriteError::NotAFolder(_))));
    }

    #[test]
    fn lines_of_json_and_texts_that_only_look_like_it() {
        assert_eq!(Form::of("{\"text\": \"a\"}\n\n{\"text\": \"b\"}"), Form::JsonLines);
        assert_eq!(Form::of("{\"text\": \"a\"}\n{\"text\": \"b"), Form::JsonLines);
        assert_eq!(Form::of("{not json}"), Form::Markdown);
        assert_eq!(Form::of("{\"text\": \"a\"}\nand more"), Form::Markdown);
    }
}
