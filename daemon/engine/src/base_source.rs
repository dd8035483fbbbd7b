//! Where a base's files come from: a folder on disk, a GGUF file that stands for one, or this very program.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::{fs, io};

use hotplate_dataset::regular_file;
use serde::{Deserialize, Serialize};

use crate::base_error::BaseError;
use crate::embedded;
use crate::gguf;
use crate::quantise::Quantise;
use crate::template;

/// Text files beyond this are no model's; tokenizers with every script of the world stay below 100 MB.
pub(crate) const LARGEST_TEXT_FILE: u64 = 1 << 29;

/// What is read of a base's folder beside weights and templates of their own.
const TEXT_FILES: [&str; 5] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
];

/// A base model's place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseSource {
    /// `hotplate-tiny`, compiled into this program.
    Embedded,
    /// A folder in Hugging Face's layout.
    Folder(PathBuf),
    /// A GGUF file, which has everything in it.
    Gguf(PathBuf),
    /// One of the others whose weights are quantised when they are loaded.
    Quantised(Quantise, Box<BaseSource>),
}

impl BaseSource {
    /// The base at a path: a GGUF file, or a folder. A folder without config.json that holds one GGUF model stands for that.
    pub fn at(path: &Path) -> BaseSource {
        if gguf::is_gguf(path) {
            return BaseSource::Gguf(path.to_owned());
        }
        if path.join("config.json").exists() {
            return BaseSource::Folder(path.to_owned());
        }
        gguf::only_model(path).map_or_else(|| BaseSource::Folder(path.to_owned()), BaseSource::Gguf)
    }

    /// The same base, quantised so and not otherwise.
    #[must_use]
    pub fn quantised(self, to: Option<Quantise>) -> BaseSource {
        match (self, to) {
            (BaseSource::Quantised(_, source), _) => source.quantised(to),
            (source, Some(to)) => BaseSource::Quantised(to, Box::new(source)),
            (source, None) => source,
        }
    }

    /// How its weights are quantised when they are loaded.
    pub fn quantise(&self) -> Option<Quantise> {
        match self {
            BaseSource::Quantised(to, _) => Some(*to),
            _ => None,
        }
    }

    /// The same base as it is stored.
    pub fn stored(&self) -> &BaseSource {
        match self {
            BaseSource::Quantised(_, source) => source.stored(),
            source => source,
        }
    }

    /// The folder or file on the disk.
    pub fn on_disk(&self) -> Option<&Path> {
        match self {
            BaseSource::Embedded => None,
            BaseSource::Quantised(_, source) => source.on_disk(),
            BaseSource::Folder(path) | BaseSource::Gguf(path) => Some(path),
        }
    }

    /// The files on the disk that hold its weights, in the order of their names.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn weight_files(&self) -> io::Result<Vec<PathBuf>> {
        match self {
            BaseSource::Embedded => Ok(Vec::new()),
            BaseSource::Quantised(_, source) => source.weight_files(),
            BaseSource::Gguf(file) => Ok(vec![file.clone()]),
            BaseSource::Folder(folder) => {
                let found = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
                let mut files: Vec<PathBuf> =
                    found.filter(|path| path.extension().is_some_and(|end| end == "safetensors")).collect();
                files.sort_unstable();
                Ok(files)
            }
        }
    }

    /// Everything on the disk that belongs to it: its place, files of text that are there or could be, weights. Whoever opened it long ago looks at these
    /// to see whether it is still the same.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.on_disk().map(Path::to_owned).into_iter().collect();
        if let BaseSource::Folder(folder) = self.stored() {
            files.extend(TEXT_FILES.map(|name| folder.join(name)));
            files.extend(template::own_paths(folder));
        }
        // Weights that are written anew in place change no folder.
        files.extend(self.weight_files().unwrap_or_default());
        files
    }

    /// A file's name for messages and, in a folder, its path.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        match self {
            BaseSource::Embedded => Path::new(embedded::NAME).join(name),
            BaseSource::Folder(folder) => folder.join(name),
            BaseSource::Gguf(file) => file.clone(),
            BaseSource::Quantised(_, source) => source.path(name),
        }
    }

    /// A whole small file.
    pub(crate) fn read(&self, name: &str) -> Result<Cow<'static, [u8]>, BaseError> {
        self.read_if_present(name)?.ok_or_else(|| BaseError::Missing { file: self.path(name) })
    }

    /// A whole small file, or nothing where it does not exist.
    pub(crate) fn read_if_present(&self, name: &str) -> Result<Option<Cow<'static, [u8]>>, BaseError> {
        match self {
            BaseSource::Embedded => Ok(embedded::file(name)?.map(Cow::Borrowed)),
            BaseSource::Folder(folder) => {
                let file = folder.join(name);
                match regular_file::read(&file, LARGEST_TEXT_FILE) {
                    Ok(bytes) => Ok(Some(Cow::Owned(bytes))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(source) => Err(BaseError::reading(&file, source)),
                }
            }
            BaseSource::Gguf(file) => Ok(gguf::virtual_file(file, name)?.map(Cow::Owned)),
            BaseSource::Quantised(_, source) => source.read_if_present(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantised_base_has_the_files_of_the_stored_one() {
        let stored = BaseSource::Folder(PathBuf::from("/models/soup"));
        let source = stored.clone().quantised(Some(Quantise::Q8)).quantised(Some(Quantise::Q4));
        assert_eq!((source.quantise(), source.stored()), (Some(Quantise::Q4), &stored));
        assert_eq!((source.on_disk(), source.path("a")), (stored.on_disk(), stored.path("a")));
        assert_eq!(source.quantised(None), stored);
        let read = |source: &BaseSource| source.read("config.json").unwrap().into_owned();
        assert_eq!(read(&BaseSource::Embedded.quantised(Some(Quantise::Q8))), read(&BaseSource::Embedded));
    }

    #[test]
    fn a_folder_gives_its_files_and_names_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), "{}").unwrap();
        fs::create_dir(folder.path().join("tokenizer.json")).unwrap();
        let source = BaseSource::Folder(folder.path().to_owned());
        assert_eq!(&*source.read("config.json").unwrap(), b"{}");
        assert!(source.read_if_present("generation_config.json").unwrap().is_none());
        let error = source.read("model.safetensors").unwrap_err();
        assert!(
            matches!(&error, BaseError::Missing { file } if file.ends_with("model.safetensors")),
            "{error}"
        );
        assert!(source.read("tokenizer.json").unwrap_err().to_string().contains("not a regular file"));
    }
}
