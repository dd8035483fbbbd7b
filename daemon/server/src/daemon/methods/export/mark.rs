//! The mark that an export carries: it says that Hotplate wrote it, and which files belong to it.
//!
//! In a folder it is a file of its own, written last, so that half of an export carries none. A GGUF file has it among its metadata.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hotplate_engine::export::is_marked_gguf;
use hotplate_protocol::methods::export::ExportForm;
use serde::{Deserialize, Serialize};

use crate::daemon::durable;

pub(super) const MARK: &str = "hotplate-export.json";
/// A mark beyond this is none.
const LARGEST: u64 = 1 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    /// Hotplate's version.
    hotplate: String,
    form: ExportForm,
    adapter: String,
    /// Relative, `/` between folders.
    files: Vec<String>,
}

/// Marks a folder that is written otherwise, and syncs it.
pub(super) fn put(folder: &Path, form: ExportForm, adapter: &str) -> io::Result<()> {
    let mut files = Vec::new();
    list(folder, Path::new(""), &mut files)?;
    files.sort_unstable();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let mark = Mark { hotplate: version, form, adapter: adapter.to_owned(), files };
    let json = format!("{}\n", serde_json::to_string_pretty(&mark)?);
    durable::write(&folder.join(MARK), json.as_bytes())?;
    durable::sync_folder(folder)
}

/// Whether an export lies there, and nothing else.
///
/// # Errors
/// Why it is none, as the end of a sentence.
pub(super) fn check(place: &Path) -> Result<(), String> {
    let found = place.symlink_metadata().map_err(|error| error.to_string())?;
    if found.is_symlink() {
        return Err("it is a link".to_owned());
    }
    if found.is_file() {
        return match is_marked_gguf(place) {
            Ok(true) => Ok(()),
            Ok(false) => Err("it carries no mark of Hotplate's (older versions set none)".to_owned()),
            Err(error) => Err(error.to_string()),
        };
    }
    if !found.is_dir() {
        return Err("it is neither a folder nor a file".to_owned());
    }
    let mark = read(&place.join(MARK))?;
    let mut files = Vec::new();
    list(place, Path::new(""), &mut files).map_err(|error| error.to_string())?;
    match files.iter().find(|file| *file != MARK && !mark.files.contains(file)) {
        Some(other) => Err(format!("it also holds {other:?}, which Hotplate did not write there")),
        None => Ok(()),
    }
}

fn read(file: &Path) -> Result<Mark, String> {
    match file.symlink_metadata() {
        Ok(found) if found.is_file() && found.len() <= LARGEST => {}
        Ok(_) => return Err(format!("its {MARK} is no mark of Hotplate's")),
        Err(_) => return Err(format!("it holds no {MARK}, Hotplate's mark (older versions set none)")),
    }
    let bytes = fs::read(file).map_err(|error| format!("its {MARK} cannot be read: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|_| format!("its {MARK} is no mark of Hotplate's"))
}

/// Everything that is no folder, and folders that are empty.
fn list(root: &Path, below: &Path, files: &mut Vec<String>) -> io::Result<()> {
    let mut entries: Vec<(PathBuf, bool)> = Vec::new();
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        entries.push((below.join(entry.file_name()), entry.file_type()?.is_dir()));
    }
    if entries.is_empty() && below != Path::new("") {
        files.push(format!("{}/", name(below)));
    }
    for (path, is_folder) in entries {
        if is_folder {
            list(root, &path, files)?;
        } else {
            files.push(name(&path));
        }
    }
    Ok(())
}

fn name(path: &Path) -> String {
    path.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_marked_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        fs::write(at.join("adapter_config.json"), "{}").unwrap();
        fs::create_dir(at.join("additional_chat_templates")).unwrap();
        fs::write(at.join("additional_chat_templates/tool_use.jinja"), "").unwrap();
        assert!(check(at).unwrap_err().contains("no hotplate-export.json"));
        put(at, ExportForm::Peft, "notes@1").unwrap();
        assert_eq!(check(at), Ok(()));
        for (path, make) in [("mine.txt", false), ("additional_chat_templates/mine", false), ("mine", true)] {
            let path = at.join(path);
            if make {
                fs::create_dir(&path).unwrap();
            } else {
                fs::write(&path, "").unwrap();
            }
            assert!(check(at).unwrap_err().contains("mine"), "{}", path.display());
            if make { fs::remove_dir(&path).unwrap() } else { fs::remove_file(&path).unwrap() }
        }
        // What somebody has thrown away is no reason.
        fs::remove_file(at.join("adapter_config.json")).unwrap();
        assert_eq!(check(at), Ok(()));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/", at.join("link")).unwrap();
            assert!(check(at).unwrap_err().contains("link"));
        }
        fs::write(at.join(MARK), "{}").unwrap();
        assert!(check(at).unwrap_err().contains("no mark"));
    }
}
