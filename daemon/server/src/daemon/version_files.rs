//! Whether a version's files are there and whole, by their names, headers and lengths. Cheap enough for a list.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hotplate_protocol::knobs::Method;
use serde_json::Value;

/// A header beyond this is none.
const LONGEST_HEADER: u64 = 100 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Flaw {
    #[error("its file {} is gone", .0.display())]
    Gone(PathBuf),
    #[error("its file {} is damaged: {why}", file.display())]
    Damaged { file: PathBuf, why: String },
}

/// # Errors
/// The first file that is missing or not whole.
pub(crate) fn check(folder: &Path, method: Method) -> Result<(), Flaw> {
    let (config, weights, index) = match method {
        Method::Lora => ("adapter_config.json", "adapter_model.safetensors", None),
        Method::Full => ("config.json", "model.safetensors", Some("model.safetensors.index.json")),
    };
    json(&folder.join(config))?;
    let index = index.map(|index| folder.join(index)).filter(|index| index.exists());
    let Some(index) = index else { return safetensors(&folder.join(weights)) };
    let places = json(&index)?;
    let mut files: Vec<&str> = match places.get("weight_map").and_then(Value::as_object) {
        Some(map) => map.values().filter_map(Value::as_str).collect(),
        None => return Err(damaged(&index, "it names no files")),
    };
    files.sort_unstable();
    files.dedup();
    files.into_iter().try_for_each(|file| safetensors(&folder.join(file)))
}

fn json(file: &Path) -> Result<Value, Flaw> {
    let bytes = fs::read(file).map_err(|error| unreadable(file, &error))?;
    serde_json::from_slice(&bytes).map_err(|error| damaged(file, &error.to_string()))
}

/// The length of its header, the header, and as many bytes as that speaks of.
fn safetensors(path: &Path) -> Result<(), Flaw> {
    let mut file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let length = file.metadata().map_err(|error| unreadable(path, &error))?.len();
    let mut first = [0; 8];
    file.read_exact(&mut first).map_err(|error| unreadable(path, &error))?;
    let header_length = u64::from_le_bytes(first);
    if header_length > length.saturating_sub(8).min(LONGEST_HEADER) {
        return Err(damaged(path, "it ends within its header"));
    }
    let mut header = vec![0; usize::try_from(header_length).unwrap_or(0)];
    file.read_exact(&mut header).map_err(|error| unreadable(path, &error))?;
    let header: Value = serde_json::from_slice(&header).map_err(|error| damaged(path, &error.to_string()))?;
    let Some(tensors) = header.as_object() else { return Err(damaged(path, "it has no header")) };
    let ends = tensors
        .iter()
        .filter(|(name, _)| *name != "__metadata__")
        .filter_map(|(_, tensor)| tensor.get("data_offsets")?.get(1)?.as_u64());
    let data = ends.max().unwrap_or(0);
    if data.checked_add(8 + header_length) != Some(length) {
        return Err(damaged(path, "it is not as long as its header says"));
    }
    Ok(())
}

fn unreadable(file: &Path, error: &io::Error) -> Flaw {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Flaw::Gone(file.to_owned()),
        io::ErrorKind::UnexpectedEof => damaged(file, "it ends within its header"),
        _ => damaged(file, &error.to_string()),
    }
}

fn damaged(file: &Path, why: &str) -> Flaw {
    Flaw::Damaged { file: file.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_cut_and_long_files_are_told_apart_from_whole_ones() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let weights = folder.join("adapter_model.safetensors");
        let gone = |flaw: Result<(), Flaw>| matches!(flaw, Err(Flaw::Gone(_)));
        let damaged = |flaw: Result<(), Flaw>| matches!(flaw, Err(Flaw::Damaged { .. }));
        assert!(gone(check(folder, Method::Lora)));
        fs::write(folder.join("adapter_config.json"), "{}").unwrap();
        assert!(gone(check(folder, Method::Lora)));
        let header = br#"{"__metadata__":{"a":"b"},"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let mut whole = (header.len() as u64).to_le_bytes().to_vec();
        whole.extend_from_slice(header);
        whole.extend_from_slice(&[0; 8]);
        fs::write(&weights, &whole).unwrap();
        check(folder, Method::Lora).unwrap();
        for length in [0, 5, 8, 20, whole.len() - 1] {
            fs::write(&weights, &whole[..length]).unwrap();
            assert!(damaged(check(folder, Method::Lora)), "{length} bytes");
        }
        fs::write(&weights, [&whole[..], &[0]].concat()).unwrap();
        assert!(damaged(check(folder, Method::Lora)));
        fs::write(&weights, &whole).unwrap();
        fs::write(folder.join("adapter_config.json"), "{").unwrap();
        assert!(damaged(check(folder, Method::Lora)));

        fs::write(folder.join("config.json"), "{}").unwrap();
        fs::write(
            folder.join("model.safetensors.index.json"),
            r#"{"weight_map":{"a":"1.safetensors","b":"2.safetensors"}}"#,
        )
        .unwrap();
        fs::write(folder.join("1.safetensors"), &whole).unwrap();
        assert!(gone(check(folder, Method::Full)));
        fs::write(folder.join("2.safetensors"), &whole).unwrap();
        check(folder, Method::Full).unwrap();
    }
}
