//! A GGUF file: header, metadata and table of tensors over a memory map (versions 2 and 3, little-endian).
//!
//! A reader of our own, because candle's trusts the counts and lengths of the file with allocations. Everything is checked when the file
//! is opened; what is asked for later lies inside it. Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::MAGIC;
use super::metadata::{List, Value};
use super::reader::Reader;
use super::tensor_kind::TensorKind;
use super::writer::{ALIGNMENT, Keys};
use crate::base_error::BaseError;
use crate::mapped_file::{FilePart, MappedFile};

/// An open file of a whole model.
#[derive(Debug)]
pub(crate) struct GgufFile {
    pub(super) path: PathBuf,
    bytes: MappedFile,
    /// Where each key's value (its type first) begins.
    keys: HashMap<String, usize>,
    pub(super) tensors: HashMap<String, Entry>,
    /// Header, metadata and table.
    header: usize,
    /// What a tensor's place is a multiple of.
    pub(super) alignment: usize,
}

/// A tensor's place.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) kind: TensorKind,
    /// The slowest dimension first, as in a Hugging Face checkpoint.
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Range<usize>,
}

impl GgufFile {
    /// # Errors
    /// What is damaged, of another version, or no whole model of its own.
    pub(crate) fn open(path: &Path) -> Result<GgufFile, BaseError> {
        let file = Self::parse(path, MappedFile::open(path)?)?;
        file.is_whole_model()?;
        Ok(file)
    }

    /// Whether `general.type` says this; false of files that cannot be read.
    pub(super) fn is_of_type(path: &Path, kind: &str) -> bool {
        let parsed = MappedFile::open(path).and_then(|bytes| Self::parse(path, bytes));
        parsed.is_ok_and(|file| matches!(file.text("general.type"), Ok(Some(found)) if found == kind))
    }

    fn parse(path: &Path, bytes: MappedFile) -> Result<GgufFile, BaseError> {
        let corrupt = |why| BaseError::CorruptWeights { file: path.to_owned(), why };
        let mut reader = Reader::new(&bytes);
        if reader.take(4).map_err(corrupt)? != MAGIC {
            return Err(corrupt("it does not begin with GGUF".to_owned()));
        }
        match reader.u32().map_err(corrupt)? {
            2 | 3 => {}
            version => {
                let why = if version.swap_bytes() < 1 << 16 {
                    "is a big-endian GGUF file; convert it with gguf_convert_endian.py of llama.cpp"
                        .to_owned()
                } else {
                    format!("is GGUF version {version}; this version reads 2 and 3, convert the model again")
                };
                return Err(BaseError::BadConfig { file: path.to_owned(), why });
            }
        }
        let Table { keys, tensors, header, alignment } =
            table(&mut reader, &bytes).map_err(|fault| match fault {
                Fault::Damaged(why) => corrupt(why),
                Fault::Unsupported(why) => BaseError::BadConfig { file: path.to_owned(), why },
            })?;
        Ok(GgufFile { path: path.to_owned(), keys, tensors, header, alignment, bytes })
    }

    fn is_whole_model(&self) -> Result<(), BaseError> {
        match self.text("general.type")? {
            None | Some("model") => {}
            Some("adapter") => {
                return Err(
                    self.bad("is a LoRA adapter made for llama.cpp, not a base; adapters are read here as PEFT folders".to_owned())
                );
            }
            Some("mmproj") => {
                let why =
                    "is the part of a model that sees pictures; name the model's own GGUF file".to_owned();
                return Err(self.bad(why));
            }
            Some(other) => {
                return Err(self.bad(format!("general.type is {other:?}; a base must be \"model\"")));
            }
        }
        if let Some(count) = self.whole("split.count")?.filter(|count| *count > 1) {
            let why = format!(
                "is one of {count} files of a split model; merge them with: llama-gguf-split --merge FIRST.gguf WHOLE.gguf"
            );
            return Err(self.bad(why));
        }
        Ok(())
    }

    pub(super) fn bad(&self, why: String) -> BaseError {
        BaseError::BadConfig { file: self.path.clone(), why }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    pub(super) fn get(&self, key: &str) -> Option<Value<'_>> {
        let mut reader = Reader::new(&self.bytes);
        reader.at = *self.keys.get(key)?;
        Value::read(&mut reader, &self.bytes).ok()
    }

    /// Puts every key with its value, in the file's order, behind others; one is left out.
    pub(super) fn copy_keys(&self, keys: &mut Keys, but: &str) {
        let mut places: Vec<_> = self.keys.iter().filter(|(key, _)| *key != but).collect();
        places.sort_by_key(|(_, place)| **place);
        for (key, place) in places {
            let mut reader = Reader::new(&self.bytes);
            reader.at = *place;
            if Value::read(&mut reader, &self.bytes).is_ok() {
                keys.copied(key, self.bytes.get(*place..reader.at).unwrap_or_default());
            }
        }
    }

    fn wanted<'a, T>(
        &'a self,
        key: &str,
        wanted: &str,
        of: impl Fn(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, BaseError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        of(value).map(Some).ok_or_else(|| self.bad(format!("{key} must be {wanted}")))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, BaseError> {
        self.wanted(key, "a text", |value| if let Value::Text(text) = value { Some(text) } else { None })
    }

    pub(super) fn whole(&self, key: &str) -> Result<Option<u64>, BaseError> {
        self.wanted(key, "a whole number from 0 on", |value| match value {
            Value::Whole(whole) => u64::try_from(whole).ok(),
            _ => None,
        })
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, BaseError> {
        self.wanted(key, "a finite number", |value| match value {
            Value::Whole(whole) => Some(whole as f64),
            Value::Number(number) => Some(number).filter(|number| number.is_finite()),
            _ => None,
        })
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, BaseError> {
        self.wanted(
            key,
            "true or false",
            |value| if let Value::Flag(flag) = value { Some(flag) } else { None },
        )
    }

    pub(super) fn list(&self, key: &str) -> Result<Option<List<'_>>, BaseError> {
        self.wanted(key, "a list", |value| if let Value::List(list) = value { Some(list) } else { None })
    }

    /// What a key must hold to go on.
    pub(super) fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, BaseError> {
        value.ok_or_else(|| self.bad(format!("its metadata has no {key}")))
    }

    /// See [`MappedFile::release_pages`].
    pub(super) fn release_pages(&self, part: &[u8]) {
        self.bytes.release_pages(part);
    }

    pub(super) fn part(&self, bytes: &[u8]) -> Option<FilePart> {
        self.bytes.part(bytes)
    }

    pub(super) fn tensor_bytes(&self, entry: &Entry) -> &[u8] {
        self.bytes.get(entry.bytes.clone()).unwrap_or_default()
    }

    pub(crate) fn header(&self) -> &[u8] {
        self.bytes.get(..self.header).unwrap_or_default()
    }
}

enum Fault {
    Damaged(String),
    Unsupported(String),
}

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Fault::Damaged(why)
    }
}

struct Table {
    keys: HashMap<String, usize>,
    tensors: HashMap<String, Entry>,
    header: usize,
    alignment: usize,
}

fn table(reader: &mut Reader, bytes: &[u8]) -> Result<Table, Fault> {
    let (tensor_count, key_count) = (reader.u64()?, reader.u64()?);
    let mut keys = HashMap::new();
    let mut alignment = ALIGNMENT as u64;
    // The counts bound only how often is read: each entry takes bytes, so wrong ones end with the file.
    for _ in 0..key_count {
        let key = reader.text()?;
        let place = reader.at;
        let mut of_value = Reader::new(bytes);
        of_value.at = place;
        let value = Value::read(&mut of_value, bytes).map_err(|why| format!("{}: {why}", short(key)))?;
        reader.at = of_value.at;
        if key == "general.alignment" {
            alignment = match value {
                Value::Whole(whole) => u32::try_from(whole).unwrap_or(0).into(),
                _ => 0,
            };
            if !alignment.is_power_of_two() {
                return Err(Fault::Damaged("general.alignment is no power of two".to_owned()));
            }
        }
        if keys.insert(key.to_owned(), place).is_some() {
            return Err(Fault::Damaged(format!("the key {} stands there twice", short(key))));
        }
    }
    let mut placed = Vec::new();
    for _ in 0..tensor_count {
        placed.push(tensor(reader)?);
    }
    let header = reader.at;
    let data = (header as u64).next_multiple_of(alignment);
    let mut tensors = HashMap::new();
    for (name, kind, shape, offset, length) in placed {
        let start = data.checked_add(offset);
        let end = start.and_then(|start| start.checked_add(length as u64));
        let range = match (start, end) {
            (Some(start), Some(end)) if end <= bytes.len() as u64 => start as usize..end as usize,
            _ => return Err(Fault::Damaged(format!("the tensor {} lies beyond its end", short(name)))),
        };
        if offset % alignment != 0 {
            return Err(Fault::Damaged(format!("the tensor {} is not aligned", short(name))));
        }
        if tensors.insert(name.to_owned(), Entry { kind, shape, bytes: range }).is_some() {
            return Err(Fault::Damaged(format!("the tensor {} stands there twice", short(name))));
        }
    }
    Ok(Table { keys, tensors, header, alignment: alignment as usize })
}

type Placed<'a> = (&'a str, TensorKind, Vec<usize>, u64, usize);

fn tensor<'a>(reader: &mut Reader<'a>) -> Result<Placed<'a>, Fault> {
    let name = reader.text()?;
    let damaged = |why: &str| Fault::Damaged(format!("the tensor {} {why}", short(name)));
    let rank = reader.u32()?;
    if !(1..=4).contains(&rank) {
        return Err(damaged("has no possible number of dimensions"));
    }
    let mut shape = Vec::new();
    for _ in 0..rank {
        let size = usize::try_from(reader.u64()?).ok().filter(|size| *size > 0);
        shape.push(size.ok_or_else(|| damaged("has an impossible size"))?);
    }
    shape.reverse();
    let kind = TensorKind::of(reader.u32()?).map_err(|name_of_kind| {
        Fault::Unsupported(format!(
            "the tensor {} is of type {name_of_kind}; this version reads {}",
            short(name),
            TensorKind::KNOWN
        ))
    })?;
    let columns = shape.last().copied().unwrap_or(1);
    let rows = shape[..shape.len() - 1].iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    let row = kind.row_bytes(columns);
    let length = rows.zip(row).and_then(|(rows, row)| rows.checked_mul(row));
    let length = length.ok_or_else(|| damaged("has a size that its type cannot have"))?;
    Ok((name, kind, shape, reader.u64()?, length))
}

/// A name for a message: hostile ones may be megabytes.
fn short(name: &str) -> String {
    name.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
    }

    /// One key, and one tensor of 8 values.
    fn whole(key: &str, kind: u32) -> Vec<u8> {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend([1_u64, 1].map(u64::to_le_bytes).concat());
        bytes.extend([text(key), 8_u32.to_le_bytes().to_vec(), text("llama")].concat());
        bytes.extend([text("t"), 2_u32.to_le_bytes().to_vec()].concat());
        bytes.extend([4_u64, 2].map(u64::to_le_bytes).concat());
        bytes.extend([kind.to_le_bytes().to_vec(), 0_u64.to_le_bytes().to_vec()].concat());
        bytes.resize(bytes.len().next_multiple_of(32) + 32, 7);
        bytes
    }

    fn open(bytes: &[u8]) -> Result<GgufFile, BaseError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.gguf");
        std::fs::write(&file, bytes).unwrap();
        GgufFile::open(&file)
    }

    #[test]
    fn a_file_is_read_and_cut_at_any_length_is_damaged() {
        let bytes = whole("general.architecture", 0);
        let file = open(&bytes).unwrap();
        assert_eq!(file.text("general.architecture").unwrap(), Some("llama"));
        assert_eq!(file.tensors["t"].shape, [2, 4]);
        assert_eq!(file.tensor_bytes(&file.tensors["t"]), [7; 32]);
        for length in 0..bytes.len() {
            let error = open(&bytes[..length]).unwrap_err();
            assert!(matches!(error, BaseError::CorruptWeights { .. }), "{length}: {error}");
        }
    }

    #[test]
    fn wrong_counts_and_types_are_errors() {
        let bytes = whole("general.architecture", 0);
        for at in [8, 16, 24] {
            let mut bad = bytes.clone();
            bad[at..at + 8].copy_from_slice(&(1_u64 << 60).to_le_bytes());
            assert!(matches!(open(&bad).unwrap_err(), BaseError::CorruptWeights { .. }));
        }
        let error = open(&whole("general.architecture", 23)).unwrap_err().to_string();
        assert!(error.contains("tensor t") && error.contains("IQ4_XS"), "{error}");
        let error = open(&whole("general.architecture", 8)).unwrap_err().to_string();
        assert!(error.contains("size that its type cannot have"), "{error}");
        for (version, named) in [([1, 0, 0, 0], "version 1"), ([0, 0, 0, 3], "big-endian")] {
            let mut bad = bytes.clone();
            bad[4..8].copy_from_slice(&version);
            assert!(open(&bad).unwrap_err().to_string().contains(named));
        }
    }
}
