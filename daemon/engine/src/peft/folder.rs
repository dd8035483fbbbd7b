//! What a path means where an adapter is wanted: its folder, also where somebody names a file in it.

use std::fs;
use std::path::{Path, PathBuf};

use super::{AdapterError, CONFIG_FILE, OWN_FILE, WEIGHTS_FILE};
use crate::{gguf, mlx};

const PYTORCH_WEIGHTS: &str = "adapter_model.bin";
/// Entries of a folder that are looked at for adapters.
const MOST_ENTRIES: usize = 1000;

/// Files that stand for the folder around them.
fn stands_for_its_folder(name: &str) -> bool {
    [CONFIG_FILE, WEIGHTS_FILE, PYTORCH_WEIGHTS, mlx::WEIGHTS_FILE, OWN_FILE].contains(&name)
}

fn is_adapter(folder: &Path) -> bool {
    [CONFIG_FILE, WEIGHTS_FILE, PYTORCH_WEIGHTS, mlx::WEIGHTS_FILE]
        .iter()
        // A pipe in such a place, too: whoever opens it says so.
        .any(|name| fs::metadata(folder.join(name)).is_ok_and(|found| !found.is_dir()))
}

/// The adapter's folder that a path means.
///
/// # Errors
/// Nothing is there, or something that is no adapter: a sentence says what it is and what to name.
pub fn folder_of(path: &Path) -> Result<PathBuf, AdapterError> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(source) => return Err(super::unreadable(path, source)),
    };
    let other = |what: String| AdapterError::NoAdapter { path: path.to_owned(), what };
    if found.is_dir() {
        return if is_adapter(path) { Ok(path.to_owned()) } else { Err(other(of_folder(path))) };
    }
    if !found.is_file() {
        return Err(other("is neither a file nor a folder; an adapter is a folder".to_owned()));
    }
    if let Some(what) = of_gguf(path) {
        return Err(other(what));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let around = path.parent().filter(|parent| is_adapter(parent));
    match around {
        Some(parent) if stands_for_its_folder(&name) => Ok(parent.to_owned()),
        // mlx-lm keeps earlier states beside the last one, which is the only one that its folder stands for.
        Some(parent) if name.ends_with("_adapters.safetensors") => Err(other(format!(
            "is an earlier state of the adapter in {}; copy it into a folder of its own as {}, with {CONFIG_FILE} beside it, and name \
             that folder",
            parent.display(),
            mlx::WEIGHTS_FILE
        ))),
        Some(parent) => Err(other(format!("is a file; name the folder around it: {}", parent.display()))),
        None => Err(other(of_file(path))),
    }
}

/// What a GGUF file is instead; nothing of other files.
fn of_gguf(file: &Path) -> Option<String> {
    if !file.is_file() || !gguf::is_gguf(file) {
        return None;
    }
    Some(if gguf::is_adapter(file) {
        "is an adapter made for llama.cpp, which is not read here; name the PEFT folder that it was made from"
            .to_owned()
    } else {
        format!(
            "is a GGUF file with a whole model and no adapter; answer with it as the base: --base {}",
            file.display()
        )
    })
}

fn of_file(file: &Path) -> String {
    let beside = file.parent().filter(|folder| folder.join("config.json").is_file());
    match beside {
        Some(folder) => format!(
            "belongs to a whole model and no adapter; answer with that as the base: --base {}",
            folder.display()
        ),
        None => {
            format!(
                "is a file, and no adapter lies around it; an adapter is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}"
            )
        }
    }
}

/// What a folder is that is no adapter's.
fn of_folder(folder: &Path) -> String {
    if folder.join("config.json").is_file() {
        return format!(
            "is a whole model and no adapter; answer with it as the base: --base {}",
            folder.display()
        );
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(MOST_ENTRIES);
    let entries: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    let mut inside: Vec<&PathBuf> = entries.iter().filter(|entry| is_adapter(entry)).collect();
    inside.sort_by_key(|entry| number_behind(entry));
    if let Some(last) = inside.last() {
        let names: Vec<String> = inside.iter().rev().take(5).map(|entry| name(entry)).collect();
        let more = if inside.len() > names.len() { " and others" } else { "" };
        return format!(
            "holds no adapter itself, but {}{more} in it: name one of them, for example {}",
            names.join(", "),
            last.display()
        );
    }
    if let Some(what) = entries.iter().find_map(|entry| Some((name(entry), of_gguf(entry)?))) {
        return format!("holds no adapter; {} in it {}", what.0, what.1);
    }
    format!("holds no adapter; one is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}")
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// `checkpoint-120` comes behind `checkpoint-60`.
fn number_behind(path: &Path) -> (u64, String) {
    let name = name(path);
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    (name[name.len() - digits..].parse().unwrap_or(0), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "{}").unwrap();
        }
        folder
    }

    #[test]
    fn a_file_of_an_adapter_means_the_folder_around_it() {
        let folder = folder_with(&[CONFIG_FILE, WEIGHTS_FILE, PYTORCH_WEIGHTS, OWN_FILE, "README.md"]);
        let mlx = folder_with(&[CONFIG_FILE, mlx::WEIGHTS_FILE, "0000100_adapters.safetensors"]);
        let here = folder.path();
        for path in [here, &here.join(CONFIG_FILE), &here.join(WEIGHTS_FILE), &here.join(PYTORCH_WEIGHTS)] {
            assert_eq!(folder_of(path).unwrap(), here);
        }
        assert_eq!(folder_of(&mlx.path().join(mlx::WEIGHTS_FILE)).unwrap(), mlx.path());
        let said = |path: PathBuf| folder_of(&path).unwrap_err().to_string();
        assert!(said(here.join("README.md")).contains(&format!("around it: {}", here.display())));
        assert!(said(mlx.path().join("0000100_adapters.safetensors")).contains("earlier state"));
        assert!(said(here.join("nothing")).contains("does not exist"));
    }

    #[test]
    fn what_is_no_adapter_is_said_with_what_to_name() {
        let model = folder_with(&["config.json", "model.safetensors"]);
        let said = |path: &Path| folder_of(path).unwrap_err().to_string();
        let as_base = format!("--base {}", model.path().display());
        for path in [model.path().to_owned(), model.path().join("model.safetensors")] {
            assert!(said(&path).ends_with(&as_base), "{}", said(&path));
        }
        let checkpoints =
            folder_with(&["checkpoint-60/adapter_config.json", "checkpoint-120/adapter_config.json"]);
        let last = checkpoints.path().join("checkpoint-120");
        assert!(said(checkpoints.path()).ends_with(&last.display().to_string()));
        assert!(said(checkpoints.path()).contains("checkpoint-120, checkpoint-60 in it"));
        let alone = folder_with(&["weights.safetensors"]);
        assert!(said(&alone.path().join("weights.safetensors")).contains("no adapter lies around it"));
        assert!(said(alone.path()).contains("holds no adapter"));
    }
}
