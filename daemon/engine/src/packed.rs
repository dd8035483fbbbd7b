//! Weights that were quantised while a base was loaded, kept on disk: the next time they are read instead, ten times as quickly.
//!
//! Owns the file: safetensors, a tensor of bytes for each weight, and in its metadata which base it belongs to and a checksum. A file that is cut off,
//! changed, of another version or another base is thrown away, never trusted. Owns no choice of when and where; deleting files costs nothing but time.
//!
//! Quantising takes 2 s for 0.5B, reading the result 0.1. The file is named by the base's fingerprint and also says from which files it was made (name,
//! length, time), because a fingerprint samples a weight's bytes. Whoever changes how blocks are made raises `VERSION`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use safetensors::tensor::{Metadata, TensorView};
use safetensors::{Dtype, SafeTensors};

use crate::base_spec::BaseSpec;
use crate::mapped_file::MappedFile;
use crate::ops::frozen_weight::FrozenWeight;
use crate::ops::mapped_matrix::{MappedKind, MappedMatrix};
use crate::ops::quantised::{BlockKind, QuantisedMatrix};
use crate::quantise::Quantise;
use crate::weights::HEADER_LENGTH;

/// To be counted up whenever a weight becomes other blocks, or blocks other bytes.
const VERSION: &str = "1";
const VERSION_KEY: &str = "hotplate.packed";
const BASE_KEY: &str = "base";
const FILES_KEY: &str = "files";
const QUANTISE_KEY: &str = "quantise";
const CHECKSUM_KEY: &str = "blake3";
const EXTENSION: &str = "packed";
const PART: &str = "part";
/// Files that no base has asked for in so long are removed.
const UNUSED: Duration = Duration::from_hours(30 * 24);

/// What a file of packed weights was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    fingerprint: String,
    /// Name, length and time of change of the files that hold the weights: a fingerprint does not cover every byte of them.
    files: String,
    quantise: Quantise,
}

/// Weights that were quantised here, with what they were made of.
#[derive(Debug)]
pub(crate) struct Unkept {
    pub(crate) origin: Origin,
    pub(crate) weights: Vec<(String, Arc<QuantisedMatrix>)>,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct Packed {
    file: MappedFile,
    header: Metadata,
    data: usize,
}

impl Origin {
    /// Nothing for a base that lies in no file.
    pub(crate) fn of(text: &BaseSpec, quantise: Quantise) -> Option<Origin> {
        text.source.on_disk()?;
        let files = text.source.weight_files().ok()?;
        let told = files.iter().map(|file| stamp(file)).collect::<Option<Vec<String>>>()?;
        Some(Origin { fingerprint: text.fingerprint.clone(), files: told.join("\n"), quantise })
    }

    fn word(&self) -> &'static str {
        match self.quantise {
            Quantise::Q8 => "q8",
            Quantise::Q4 => "q4",
        }
    }

    fn place(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}-{}.{EXTENSION}", self.fingerprint, self.word()))
    }

    fn metadata(&self, checksum: String) -> HashMap<String, String> {
        let told = [
            (VERSION_KEY, VERSION.to_owned()),
            (BASE_KEY, self.fingerprint.clone()),
            (FILES_KEY, self.files.clone()),
            (QUANTISE_KEY, self.word().to_owned()),
            (CHECKSUM_KEY, checksum),
        ];
        told.map(|(key, value)| (key.to_owned(), value)).into()
    }
}

fn stamp(file: &Path) -> Option<String> {
    // Behind links: the hub's cache has them.
    let found = fs::metadata(file).ok()?;
    let changed = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("{} {} {}", file.file_name()?.to_string_lossy(), found.len(), changed.as_nanos()))
}

impl Packed {
    /// What is kept for this base; a file that is not what it should be is removed.
    pub(crate) fn open(folder: &Path, origin: &Origin) -> Option<Packed> {
        let place = origin.place(folder);
        if !place.exists() {
            return None;
        }
        match Packed::read(&place, origin) {
            Ok(packed) => {
                // Only so that it is seen to be used.
                let touched = File::options().append(true).open(&place);
                if let Err(error) = touched.and_then(|file| file.set_modified(SystemTime::now())) {
                    tracing::debug!(%error, "the time of packed weights cannot be set");
                }
                Some(packed)
            }
            Err(why) => {
                tracing::warn!(file = %place.display(), why, "packed weights are thrown away and made anew");
                if let Err(error) = fs::remove_file(&place) {
                    tracing::warn!(file = %place.display(), %error, "they cannot be removed");
                }
                None
            }
        }
    }

    fn read(place: &Path, origin: &Origin) -> Result<Packed, String> {
        let file = MappedFile::open(place).map_err(|error| error.to_string())?;
        let (length, header) = SafeTensors::read_metadata(&file).map_err(|error| error.to_string())?;
        let data = HEADER_LENGTH + length;
        let body = file.get(data..).ok_or("it is cut off")?;
        if body.len() != header.data_len() {
            return Err("it is cut off".to_owned());
        }
        let told = header.metadata().as_ref().ok_or("it does not say what it was made of")?;
        let checksum = told.get(CHECKSUM_KEY).cloned().unwrap_or_default();
        for (key, wanted) in origin.metadata(checksum.clone()) {
            if told.get(&key) != Some(&wanted) {
                return Err(match key.as_str() {
                    VERSION_KEY => "it is of another version".to_owned(),
                    FILES_KEY => "the base's files have changed since".to_owned(),
                    _ => format!("its {key} is another one"),
                });
            }
        }
        // All of it at once, on all threads; what is read here is read again soon.
        if blake3::Hasher::new().update_rayon(body).finalize().to_hex().as_str() != checksum {
            return Err("its checksum is not that of its bytes".to_owned());
        }
        Ok(Packed { file, header, data })
    }

    /// Nothing if it does not hold this weight.
    pub(crate) fn weight(&self, name: &str, shape: [usize; 2], kind: BlockKind) -> Option<FrozenWeight> {
        let (start, end) = self.header.info(name)?.data_offsets;
        let bytes = self.file.get(self.data + start..self.data + end)?;
        let [rows, columns] = shape;
        let matrix = MappedMatrix::new(rows, columns, MappedKind::from(kind), self.file.part(bytes)?)?;
        Some(FrozenWeight::Mapped(Arc::new(matrix)))
    }
}

impl Unkept {
    /// Writes the file, whole or not at all, and removes those that were not used for long. Its length.
    ///
    /// # Errors
    /// The folder cannot be made or written to, or the disk is full.
    pub(crate) fn keep(&self, folder: &Path) -> io::Result<u64> {
        fs::create_dir_all(folder)?;
        let mut weights: Vec<(&str, &QuantisedMatrix)> =
            self.weights.iter().map(|(name, matrix)| (name.as_str(), &**matrix)).collect();
        // The order in which they will lie there.
        weights.sort_unstable_by_key(|(name, _)| *name);
        let mut hasher = blake3::Hasher::new();
        for (_, matrix) in &weights {
            hasher.update_rayon(matrix.as_bytes());
        }
        let place = self.origin.place(folder);
        let part = place.with_extension(PART);
        let views = weights.iter().map(|(name, matrix)| {
            let bytes = matrix.as_bytes();
            let shape = vec![matrix.rows(), bytes.len() / matrix.rows().max(1)];
            TensorView::new(Dtype::U8, shape, bytes).map(|view| (*name, view))
        });
        let views = views.collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
        let metadata = self.origin.metadata(hasher.finalize().to_hex().to_string());
        let written = safetensors::serialize_to_file(views, Some(metadata), &part)
            .map_err(io::Error::other)
            .and_then(|()| fs::rename(&part, &place));
        if let Err(error) = written {
            let _ = fs::remove_file(&part);
            return Err(error);
        }
        remove_unused(folder, &place);
        Ok(fs::metadata(&place)?.len())
    }

    /// What the file will take, but for its header.
    pub(crate) fn bytes(&self) -> u64 {
        self.weights.iter().map(|(_, matrix)| matrix.bytes() as u64).sum()
    }
}

fn remove_unused(folder: &Path, but: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let ours = path.extension().is_some_and(|end| end == EXTENSION || end == PART);
        let unused = || {
            let changed = fs::metadata(&path).ok()?.modified().ok()?;
            Some(changed.elapsed().ok()? > UNUSED)
        };
        if ours && path != but && unused() == Some(true) {
            let removed = fs::remove_file(&path);
            tracing::info!(file = %path.display(), ?removed, "packed weights that nobody used");
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use tempfile::TempDir;

    use super::*;
    use crate::base::{Base, Materialized};
    use crate::base_source::BaseSource;
    use crate::decoder::Batch;
    use crate::embedded;

    /// A base in a folder, its weights' file changed by `change`, and one where weights are kept.
    struct Shelf {
        base: TempDir,
        packed: TempDir,
    }

    impl Shelf {
        fn new() -> Shelf {
            let shelf = Shelf { base: tempfile::tempdir().unwrap(), packed: tempfile::tempdir().unwrap() };
            for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"] {
                fs::write(shelf.base.path().join(name), embedded::file(name).unwrap().unwrap()).unwrap();
            }
            shelf
        }

        fn load(&self, quantise: Quantise, packed: Option<&Path>) -> Base {
            let text = BaseSpec::open(&BaseSource::Folder(self.base.path().to_owned())).unwrap();
            Base::with_text(Arc::new(text), Some(quantise), &Device::Cpu, packed).unwrap()
        }

        /// The logits of a base with what is kept, and whether it had to be quantised.
        fn ask(&self, quantise: Quantise) -> (Vec<f32>, bool) {
            let base = self.load(quantise, Some(self.packed.path()));
            let anew = base.unkept_bytes() > 0;
            if anew {
                let length = base.keep_packed(self.packed.path()).unwrap();
                assert!(length > base.unkept_bytes());
            }
            (logits(&base), anew)
        }

        fn files(&self) -> Vec<PathBuf> {
            fs::read_dir(self.packed.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
        }

        /// The one file there.
        fn file(&self) -> PathBuf {
            let files = self.files();
            assert_eq!(files.len(), 1, "{files:?}");
            files[0].clone()
        }
    }

    fn logits(base: &Base) -> Vec<f32> {
        let batch = Batch::part(&[5, 17, 400, 2], 0, 4);
        let hidden = base.decoder.forward(&batch, None, None).unwrap();
        let logits = base.decoder.logits(&hidden, None).unwrap();
        logits.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn kept_weights_are_those_that_were_quantised() {
        let shelf = Shelf::new();
        for quantise in [Quantise::Q8, Quantise::Q4] {
            let wanted = logits(&shelf.load(quantise, None));
            assert_eq!(shelf.ask(quantise), (wanted.clone(), true));
            assert_eq!(shelf.ask(quantise), (wanted.clone(), false));
            let base = shelf.load(quantise, Some(shelf.packed.path()));
            while base.materialize() == Materialized::Copied {}
            assert_eq!(logits(&base), wanted, "and when they are copied");
        }
        assert_eq!(shelf.files().len(), 2);
    }

    #[test]
    fn what_is_damaged_is_thrown_away() {
        let shelf = Shelf::new();
        let (wanted, _) = shelf.ask(Quantise::Q8);
        let whole = fs::read(shelf.file()).unwrap();
        let (length, header) = SafeTensors::read_metadata(&whole).unwrap();
        let body = header.data_len();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let mut of_old = whole.clone();
        let at = whole.windows(VERSION_KEY.len()).position(|part| part == VERSION_KEY.as_bytes()).unwrap();
        of_old[at + VERSION_KEY.len() + 3] = b'0';
        let cut = |length: usize| whole[..length].to_vec();
        let longer = [whole.clone(), vec![0; 8]].concat();
        let damaged = [
            cut(0),
            cut(4),
            cut(length / 2),
            cut(whole.len() / 2),
            cut(whole.len() - 1),
            longer,
            flipped,
            of_old,
        ];
        for (number, bytes) in damaged.into_iter().enumerate() {
            fs::remove_file(shelf.file()).unwrap();
            fs::write(shelf.packed.path().join(name_of(&shelf)), bytes).unwrap();
            assert_eq!(shelf.ask(Quantise::Q8), (wanted.clone(), true), "{number}");
            let made = fs::read(shelf.file()).unwrap();
            assert!(made[made.len() - body..] == whole[whole.len() - body..], "{number}");
        }
        assert_eq!(shelf.ask(Quantise::Q8), (wanted, false));
    }

    #[test]
    fn fuzz_packed() {
        let shelf = Shelf::new();
        shelf.ask(Quantise::Q8);
        let name = name_of(&shelf);
        let whole = fs::read(shelf.file()).unwrap();
        let text = BaseSpec::open(&BaseSource::Folder(shelf.base.path().to_owned())).unwrap();
        let origin = Origin::of(&text, Quantise::Q8).unwrap();
        let folder = crate::fuzz::folder();
        // The header alone is long; what lies behind it is a checksum's work.
        let (length, header) = SafeTensors::read_metadata(&whole).unwrap();
        let names: Vec<String> = header.offset_keys();
        let start = &whole[..HEADER_LENGTH + length];
        let words = ["\"dtype\": \"U8\"", "\"shape\": [", "\"data_offsets\": [0, 0]", "blake3", "quantise"];
        hotplate_fuzz::fuzz("packed", &[start], &[hotplate_fuzz::JSON, &words].concat(), |bytes| {
            fs::write(folder.path().join(&name), bytes).unwrap();
            if let Some(packed) = Packed::open(folder.path(), &origin) {
                for name in &names {
                    let _ = packed.weight(name, [32, 32], BlockKind::Q8_0);
                }
            }
        });
    }

    fn name_of(shelf: &Shelf) -> String {
        let text = BaseSpec::open(&BaseSource::Folder(shelf.base.path().to_owned())).unwrap();
        format!("{}-q8.{EXTENSION}", text.fingerprint)
    }

    #[test]
    fn another_base_is_not_answered_with_what_is_kept() {
        let shelf = Shelf::new();
        let (first, _) = shelf.ask(Quantise::Q8);
        let kept = shelf.file();
        let weights = shelf.base.path().join("model.safetensors");
        let mut bytes = fs::read(&weights).unwrap();
        // Where no fingerprint looks, by the second weight's length and more behind the first one's beginning.
        for byte in &mut bytes[600_000..600_400] {
            *byte ^= 0x1;
        }
        fs::write(&weights, &bytes).unwrap();
        assert_eq!(
            shelf.load(Quantise::Q8, None).text.fingerprint,
            shelf.load(Quantise::Q4, None).text.fingerprint
        );
        let wanted = logits(&shelf.load(Quantise::Q8, None));
        assert_ne!(wanted, first);
        assert_eq!(shelf.ask(Quantise::Q8), (wanted.clone(), true));
        // The file of one base under the name of another one.
        let other = Shelf::new();
        fs::write(other.base.path().join("model.safetensors"), {
            let mut bytes = bytes.clone();
            let last = bytes.len() - 3;
            bytes[last] ^= 0x1;
            bytes
        })
        .unwrap();
        assert_ne!(name_of(&other), kept.file_name().unwrap().to_string_lossy());
        fs::copy(shelf.file(), other.packed.path().join(name_of(&other))).unwrap();
        assert!(other.ask(Quantise::Q8).1);
    }

    #[test]
    fn only_what_nobody_used_for_long_is_removed() {
        let shelf = Shelf::new();
        let old = SystemTime::now() - UNUSED - Duration::from_hours(1);
        for name in ["a.packed", "b.part", "somebody's.txt"] {
            let path = shelf.packed.path().join(name);
            fs::write(&path, "x").unwrap();
            File::options().append(true).open(&path).unwrap().set_modified(old).unwrap();
        }
        fs::write(shelf.packed.path().join("c.packed"), "x").unwrap();
        shelf.ask(Quantise::Q8);
        let mut left: Vec<String> = shelf
            .files()
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        left.sort_unstable();
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(left.contains(&"somebody's.txt".to_owned()) && left.contains(&"c.packed".to_owned()));
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_an_error_and_leaves_nothing() {
        let shelf = Shelf::new();
        let base = shelf.load(Quantise::Q8, None);
        let file = shelf.packed.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(base.keep_packed(&file).is_err() && base.keep_packed(&file.join("below")).is_err());
        assert_eq!(shelf.files(), [file]);
        assert_eq!(
            shelf.load(Quantise::Q8, Some(Path::new("/nowhere/at/all"))).unkept_bytes(),
            base.unkept_bytes()
        );
    }
}
