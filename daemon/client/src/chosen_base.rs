//! The base that holds where a command names none: `HOTPLATE_BASE`, else what `hotplate use` has noted in the home.
//!
//! Owns the note. What goes before it (an option, a recipe, an adapter's own base) is the daemon's to know.
//!
//! It goes along with each request as `fallback_base`, because the daemon may have been started with another environment.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hotplate_home::Home;
use serde::{Deserialize, Serialize};

use crate::command::base_or_folder;

/// The environment variable that goes before `hotplate use`.
pub const BASE_VARIABLE: &str = "HOTPLATE_BASE";
/// The embedded base, by its name.
pub const TOY: &str = "hotplate-tiny";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenBase {
    /// As a request names it: an absolute path, or a name.
    pub base: String,
    /// As a person named it.
    pub name: String,
    pub by: ChosenBy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChosenBy {
    Environment,
    Command,
}

#[derive(Serialize, Deserialize)]
struct Note {
    base: String,
    name: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    #[error("the chosen base cannot be read from {}: {why}; hotplate use --toy resets it", file.display())]
    Unreadable { file: PathBuf, why: String },
    #[error("the chosen base cannot be noted in {}: {source}; make room, or check that you may write there", file.display())]
    NotWritten { file: PathBuf, source: io::Error },
}

/// A relative path in the environment starts at `folder`.
///
/// # Errors
/// The note is there and cannot be read.
pub fn chosen_base(home: &Home, folder: &Path) -> Result<Option<ChosenBase>, ChoiceError> {
    let named = env::var(BASE_VARIABLE).ok().filter(|name| !name.trim().is_empty());
    if let Some(name) = named {
        let base = base_or_folder(folder, name.trim());
        return Ok(Some(ChosenBase { base, name, by: ChosenBy::Environment }));
    }
    noted(&home.chosen_base())
}

fn noted(file: &Path) -> Result<Option<ChosenBase>, ChoiceError> {
    let unreadable = |why: String| ChoiceError::Unreadable { file: file.to_owned(), why };
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let Note { base, name } =
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    Ok(Some(ChosenBase { base, name, by: ChosenBy::Command }))
}

/// Notes a base for all commands to come, or forgets the one that was noted.
///
/// # Errors
/// The note cannot be written; what was noted before still is.
pub(crate) fn choose(home: &Home, choice: Option<(&str, &str)>) -> Result<(), ChoiceError> {
    let file = home.chosen_base();
    let failed = |source| ChoiceError::NotWritten { file: file.clone(), source };
    let Some((base, name)) = choice else {
        return match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        };
    };
    let note = Note { base: base.to_owned(), name: name.to_owned() };
    let text = serde_json::to_string(&note).map_err(|error| failed(error.into()))?;
    let beside = file.with_extension(format!("new-{}", std::process::id()));
    let written = write_closed(&beside, text.as_bytes()).and_then(|()| fs::rename(&beside, &file));
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        failed(error)
    })
}

fn write_closed(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(file)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_kept_until_it_is_reset() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(&folder.path().join("h")).unwrap();
        assert_eq!(noted(&home.chosen_base()).unwrap(), None);
        choose(&home, Some(("/models/a", "~/models/a"))).unwrap();
        choose(&home, Some(("/models/b", "b/"))).unwrap();
        let chosen = noted(&home.chosen_base()).unwrap().unwrap();
        assert_eq!((chosen.base.as_str(), chosen.name.as_str()), ("/models/b", "b/"));
        fs::write(home.chosen_base(), "{").unwrap();
        assert!(noted(&home.chosen_base()).unwrap_err().to_string().contains("hotplate use --toy"));
        choose(&home, None).unwrap();
        choose(&home, None).unwrap();
        assert_eq!(noted(&home.chosen_base()).unwrap(), None);
        assert_eq!(fs::read_dir(home.root()).unwrap().count(), 0, "nothing is left over");
    }
}
