//! The recipe: `hotplate.toml` in the dataset's folder. Every key is optional; a recipe with anything wrong in it is no recipe at all.
//!
//! Owns the file's reading, and sentences with a line number for whatever is wrong. The keys themselves (their names, kinds, ranges and words) are
//! [`KEYS`](hotplate_protocol::knobs::KEYS). It must not know what a key does to a run, nor command lines; the server lays the values over its own defaults. `README.md` beside
//! this file is the page of all keys; a test holds it against the table.

#[cfg(test)]
mod page;
mod parse;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use hotplate_protocol::knobs::Key;
pub use parse::parse;
use serde_json::{Map, Value};

use crate::regular_file;

/// The recipe's name in a dataset's folder.
pub const FILE: &str = "hotplate.toml";

/// A person's recipe is a page; what is larger is something else.
const MOST_BYTES: u64 = 1 << 20;

/// What a recipe says, in the order of its lines.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recipe {
    pub settings: Vec<Setting>,
}

/// One key with its value, which has been checked against the key's kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    pub key: &'static Key,
    pub value: Value,
    /// Where it stands, from 1.
    pub line: usize,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{FILE}:{line}: {message}")]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// What is wrong and what to do, one sentence.
    pub message: String,
}

/// Why a recipe cannot be used; by line, never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct RecipeError {
    pub problems: Vec<Problem>,
}

impl RecipeError {
    fn one(line: usize, message: impl Into<String>) -> Self {
        Self { problems: vec![Problem { line, message: message.into() }] }
    }

    fn sentence(&self) -> String {
        match self.problems.as_slice() {
            [] => format!("{FILE} cannot be used"),
            [only] => only.to_string(),
            [first, rest @ ..] => {
                let lines: Vec<String> = rest.iter().map(|problem| problem.line.to_string()).collect();
                format!("{first} (more in line {}: see them with hotplate check)", lines.join(", "))
            }
        }
    }
}

impl Recipe {
    /// The value of a key, with its line.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key.name == name)
    }

    /// All values by name, as JSON.
    pub fn values(&self) -> Map<String, Value> {
        self.settings.iter().map(|setting| (setting.key.name.to_owned(), setting.value.clone())).collect()
    }
}

/// Whether a save of this file, relative to the dataset's folder, can change the recipe.
pub fn is_recipe(path: &Path) -> bool {
    path == Path::new(FILE)
}

/// The recipe of a folder; `None` where there is none.
///
/// # Errors
/// Whatever keeps it from being used as a whole.
pub fn read(folder: &Path) -> Result<Option<Recipe>, RecipeError> {
    let path = folder.join(FILE);
    let unreadable = |error: std::io::Error| {
        RecipeError::one(1, format!("cannot be read ({error}); check that you may open it"))
    };
    let bytes = match regular_file::read(&path, MOST_BYTES) {
        Ok(bytes) => bytes,
        // A link that leads nowhere is somebody's recipe all the same.
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(&path).is_err() => {
            return Ok(None);
        }
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            return Err(RecipeError::one(
                1,
                format!("{error}; the recipe is a text file of lines like rank = 16"),
            ));
        }
        Err(error) if error.kind() == ErrorKind::FileTooLarge => {
            let bytes = fs::metadata(&path).map_or(MOST_BYTES, |found| found.len());
            return Err(RecipeError::one(
                1,
                format!(
                    "is too large for a recipe ({bytes} bytes; {MOST_BYTES} at most); texts to learn from belong into .txt, .md or .jsonl files"
                ),
            ));
        }
        Err(error) => return Err(unreadable(error)),
    };
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let line = 1 + bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count();
        RecipeError::one(line, "is not UTF-8; save the file as UTF-8 in your editor")
    })?;
    parse(text).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), bytes).unwrap();
        read(folder.path()).unwrap_err().to_string()
    }

    #[test]
    fn no_recipe_is_none_and_an_empty_one_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), Ok(None));
        fs::write(folder.path().join(FILE), "\u{feff}# nothing yet\n").unwrap();
        assert_eq!(read(folder.path()), Ok(Some(Recipe::default())));
    }

    #[test]
    fn what_is_no_text_of_a_recipes_size() {
        assert_eq!(
            said(b"rank = 8\n# caf\xe9\n"),
            "hotplate.toml:2: is not UTF-8; save the file as UTF-8 in your editor"
        );
        let large = said(&b"# a line\n".repeat(200_000));
        assert!(large.starts_with("hotplate.toml:1: is too large for a recipe (1800000 bytes"), "{large}");
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(FILE)).unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("hotplate.toml:1: is not a regular file but a folder"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_nowhere_is_said() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("gone.toml", folder.path().join(FILE)).unwrap();
        assert!(read(folder.path()).unwrap_err().to_string().contains("cannot be read"));
    }
}
