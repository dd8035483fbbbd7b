//! Arguments that name a place: folders, and bases and adapters, which may be a name or a folder.
//!
//! A path is absolute once it leaves here: the daemon does not know anybody's current folder.

use std::path::{MAIN_SEPARATOR, Path, PathBuf};

use clap::Args;

use hotplate_home::{
    hub::{HubCache, HubName},
    is_gguf_file,
};

/// Files of an adapter, which stand for the folder around them.
const ADAPTER_FILES: [&str; 4] =
    ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin", "adapters.safetensors"];

#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct BaseArg {
    /// Base model: hotplate-tiny, a Hugging Face folder, a GGUF file, or ORG/NAME that was pulled [default: the adapter's, else that of hotplate use]
    #[arg(long, value_name = "BASE")]
    pub base: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct AdapterArg {
    /// Adapter: a name (name@3 for its third version), or a PEFT folder [default: none]
    #[arg(short, long, value_name = "ADAPTER")]
    pub adapter: Option<String>,
}

/// `path` as seen from `folder`, absolute and without `.` and closing separators. Nothing is expanded or resolved.
pub fn folder_in(folder: &Path, path: &Path) -> PathBuf {
    let joined = folder.join(path);
    // Fails only for an empty path, which `join` has made into the folder itself.
    std::path::absolute(&joined).unwrap_or(joined).components().collect()
}

/// A base: where such a folder exists, that; `ORG/NAME`, the folder in the hub's cache, or the name where it is not there (the daemon
/// says what to do then); else with a path separator, or where such a folder with a `config.json` exists, a folder; else a name.
pub fn base_or_folder(folder: &Path, argument: &str) -> String {
    if let Ok(name) = argument.parse::<HubName>()
        && !folder_in(folder, Path::new(argument)).exists()
    {
        let cached = HubCache::from_env().ok().and_then(|cache| cache.find(&name));
        return cached.map_or_else(|| argument.to_owned(), |found| found.to_string_lossy().into_owned());
    }
    name_or_folder(folder, argument, "config.json")
}

/// An adapter: with a path separator, or where such a folder with an `adapter_config.json` or a file of an adapter exists, a path; else a
/// name. (The dataset `notes/` often lies right here when `-a notes` means the adapter that was made from it.)
pub fn adapter_or_folder(folder: &Path, argument: &str) -> String {
    let file = folder_in(folder, Path::new(argument));
    if ADAPTER_FILES.contains(&argument) && file.is_file() {
        return file.to_string_lossy().into_owned();
    }
    name_or_folder(folder, argument, ADAPTER_FILES[0])
}

fn name_or_folder(folder: &Path, argument: &str, sign: &str) -> String {
    let is_path = looks_like_a_path(argument);
    let path = folder_in(folder, Path::new(argument));
    if is_path || is_gguf_file(&path) || (!argument.is_empty() && path.join(sign).is_file()) {
        // The protocol's strings are UTF-8; so is the argument, and a current folder that is not is rare.
        path.to_string_lossy().into_owned()
    } else {
        argument.to_owned()
    }
}

pub(crate) fn looks_like_a_path(argument: &str) -> bool {
    argument.contains('/') || argument.contains(MAIN_SEPARATOR) || matches!(argument, "." | "..")
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute() {
        let check = |path: &str, expected: &str| {
            assert_eq!(folder_in(Path::new("/home/me"), Path::new(path)), Path::new(expected));
        };
        check("notes/", "/home/me/notes");
        check("./notes", "/home/me/notes");
        check(".", "/home/me");
        check("", "/home/me");
        check("/srv/notes", "/srv/notes");
        check("~/notes", "/home/me/~/notes");
        assert_eq!(folder_in(Path::new("/home/me"), Path::new("notes/")).to_str(), Some("/home/me/notes"));
    }

    #[test]
    fn a_name_stays_a_name_beside_a_dataset_of_that_name() {
        let here = tempfile::tempdir().unwrap();
        let here = here.path();
        std::fs::create_dir(here.join("notes")).unwrap();
        assert_eq!(adapter_or_folder(here, "notes"), "notes");
        assert_eq!(adapter_or_folder(here, "notes@2"), "notes@2");
        let folder = here.join("notes").to_str().unwrap().to_owned();
        assert_eq!(adapter_or_folder(here, "notes/"), folder);
        assert_eq!(adapter_or_folder(here, "./notes"), folder);
        std::fs::write(here.join("notes/adapter_config.json"), "{}").unwrap();
        assert_eq!(adapter_or_folder(here, "notes"), folder);
        let inside = here.join("notes");
        let file = inside.join("adapter_config.json");
        assert_eq!(adapter_or_folder(&inside, "adapter_config.json"), file.to_str().unwrap());
        assert_eq!(adapter_or_folder(here, "adapter_config.json"), "adapter_config.json");
        assert_eq!(base_or_folder(here, "hotplate-tiny"), "hotplate-tiny");
        assert_eq!(base_or_folder(here, "."), here.to_str().unwrap());
        assert_eq!(base_or_folder(here, "nobody/has-this-model"), "nobody/has-this-model");
        std::fs::create_dir_all(here.join("nobody/has-this-model")).unwrap();
        assert_eq!(
            base_or_folder(here, "nobody/has-this-model"),
            here.join("nobody/has-this-model").to_str().unwrap()
        );
    }
}
