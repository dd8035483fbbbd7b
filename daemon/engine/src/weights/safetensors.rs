//! Tensors in safetensors: one file, shards with an index, or inside this program.
//!
//! Owns the mapping of names to bytes and the conversion to f32. It must not know what a name means.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors, tensor::Metadata};

use crate::base_error::BaseError;
use crate::base_source::BaseSource;
use crate::config::parse_object;
use crate::embedded;
use crate::mapped_file::MappedFile;
use crate::ops::frozen_weight::FrozenWeight;
use crate::ops::mapped_matrix::{MappedKind, MappedMatrix};

const SINGLE: &str = "model.safetensors";
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// The length of the JSON header stands first, as a little-endian u64.
pub(crate) const HEADER_LENGTH: usize = 8;
/// Values that one task converts: enough to hide the cost of handing it out.
const CHUNK: usize = 1 << 16;

/// An open checkpoint. Cheap to open: only the headers are read, tensors are read when asked for.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    shards: Vec<Shard>,
    /// Which shard holds a tensor.
    places: HashMap<String, usize>,
    /// The file that a missing tensor is missing from.
    main: PathBuf,
}

/// A tensor as it lies in its file.
pub(crate) struct RawTensor<'a> {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: &'a [u8],
}

/// A file and its tensors.
pub(crate) type RawFile<'a> = (PathBuf, Vec<RawTensor<'a>>);

#[derive(Debug)]
struct Shard {
    file: PathBuf,
    bytes: Bytes,
    header: Metadata,
    /// Where the tensors' bytes begin.
    data: usize,
}

/// Where a tensor lies.
struct Part<'a> {
    shard: &'a Shard,
    dtype: Dtype,
    bytes: &'a [u8],
}

#[derive(Debug)]
enum Bytes {
    Embedded(&'static [u8]),
    Mapped(MappedFile),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Embedded(bytes) => bytes,
            Bytes::Mapped(map) => map,
        }
    }

    /// A matrix that is read where it lies.
    fn mapped(&self, [rows, columns]: [usize; 2], kind: MappedKind, part: &[u8]) -> Option<MappedMatrix> {
        match self {
            Bytes::Embedded(_) => None,
            Bytes::Mapped(map) => MappedMatrix::new(rows, columns, kind, map.part(part)?),
        }
    }

    fn release_pages(&self, part: &[u8]) {
        if let Bytes::Mapped(map) = self {
            map.release_pages(part);
        }
    }
}

impl Shard {
    fn unread(&self, name: &str, dtype: Dtype) -> BaseError {
        let why = format!("holds the tensor {name} as {dtype:?}; only F32, F16, BF16 and F64 are read");
        BaseError::BadConfig { file: self.file.clone(), why }
    }
}

impl Checkpoint {
    /// Opens a base's checkpoint; `model.safetensors` goes before an index, as in transformers.
    ///
    /// # Errors
    /// Missing files and shards, damaged headers, truncated files.
    pub(crate) fn open(source: &BaseSource, folder: &Path) -> Result<Checkpoint, BaseError> {
        let single = folder.join(SINGLE);
        if single.exists() {
            return Self::open_file(&single);
        }
        match source.read_if_present(INDEX)? {
            Some(index) => Self::open_shards(folder, &index),
            None => Err(no_weights(folder, single)),
        }
    }

    /// Opens the one that is compiled into this program.
    pub(crate) fn embedded() -> Result<Checkpoint, BaseError> {
        let file = BaseSource::Embedded.path(SINGLE);
        let bytes = embedded::file(SINGLE)?.ok_or_else(|| BaseError::Missing { file: file.clone() })?;
        Self::from_shards(vec![Shard::new(file.clone(), Bytes::Embedded(bytes))?], file)
    }

    /// Opens one safetensors file.
    pub(crate) fn open_file(file: &Path) -> Result<Checkpoint, BaseError> {
        Self::from_shards(vec![Shard::map(file)?], file.to_owned())
    }

    fn open_shards(folder: &Path, index: &[u8]) -> Result<Checkpoint, BaseError> {
        let index_file = folder.join(INDEX);
        let bad = |why: String| BaseError::BadConfig { file: index_file.clone(), why };
        let index = parse_object(index).map_err(bad)?;
        let Some(map) = index.get("weight_map").and_then(serde_json::Value::as_object) else {
            return Err(bad("has no weight_map".to_owned()));
        };
        let mut names = BTreeSet::new();
        for (tensor, shard) in map {
            let shard = shard.as_str().unwrap_or_default();
            // Shards lie beside their index: a path could point anywhere on this machine.
            if Path::new(shard).file_name() != Some(shard.as_ref()) {
                return Err(bad(format!("names no file of this folder for the tensor {tensor}")));
            }
            names.insert(shard);
        }
        let shards = names.into_iter().map(|name| {
            let file = folder.join(name);
            if !file.exists() {
                return Err(BaseError::MissingShard { file, named_by: index_file.clone() });
            }
            Shard::map(&file)
        });
        let shards = shards.collect::<Result<Vec<_>, _>>()?;
        Self::from_shards(shards, index_file)
    }

    fn from_shards(shards: Vec<Shard>, main: PathBuf) -> Result<Checkpoint, BaseError> {
        let mut places = HashMap::new();
        for (index, shard) in shards.iter().enumerate() {
            for name in shard.header.tensors().into_keys() {
                if let Some(earlier) = places.insert(name.clone(), index) {
                    let why =
                        format!("holds the tensor {name}, and so does {}", shards[earlier].file.display());
                    return Err(BaseError::CorruptWeights { file: shard.file.clone(), why });
                }
            }
        }
        Ok(Checkpoint { shards, places, main })
    }

    /// A tensor as f32, copied out of the file.
    ///
    /// # Errors
    /// No such tensor, another shape than asked for, or a type of values that this version does not read.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize], device: &Device) -> Result<Tensor, BaseError> {
        let Part { shard, dtype, bytes } = self.part(name, shape)?;
        if let Some(values) = to_f32(bytes, dtype) {
            shard.bytes.release_pages(bytes);
            Ok(Tensor::from_vec(values, shape, device)?)
        } else {
            Err(shard.unread(name, dtype))
        }
    }

    /// A matrix as the file has it where that is f32, bf16 or f16 and the device is the CPU, and else as [`tensor`](Self::tensor) gives it. It may
    /// still lie in the file.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn stored(
        &self,
        name: &str,
        shape: [usize; 2],
        device: &Device,
    ) -> Result<FrozenWeight, BaseError> {
        let Part { shard, dtype, bytes } = self.part(name, &shape)?;
        let kind = match dtype {
            Dtype::F32 => MappedKind::F32,
            Dtype::BF16 => MappedKind::Bf16,
            Dtype::F16 => MappedKind::F16,
            _ => return Ok(self.tensor(name, &shape, device)?.into()),
        };
        if !device.is_cpu() {
            return Ok(self.tensor(name, &shape, device)?.into());
        }
        if let Some(matrix) = shard.bytes.mapped(shape, kind, bytes) {
            return Ok(FrozenWeight::Mapped(Arc::new(matrix)));
        }
        Ok(kind.copy(shape.into(), bytes, |bytes| shard.bytes.release_pages(bytes))?)
    }

    fn part(&self, name: &str, shape: &[usize]) -> Result<Part<'_>, BaseError> {
        let missing = || BaseError::MissingTensor { name: name.to_owned(), file: self.main.clone() };
        let shard = &self.shards[*self.places.get(name).ok_or_else(missing)?];
        let info = shard.header.info(name).ok_or_else(missing)?;
        let file = || shard.file.clone();
        if info.shape != shape {
            let (expected, found) = (shape.to_vec(), info.shape.clone());
            return Err(BaseError::WrongShape { name: name.to_owned(), file: file(), expected, found });
        }
        let (start, end) = info.data_offsets;
        let bytes = shard.bytes.as_slice().get(shard.data + start..shard.data + end);
        if let Some(bytes) = bytes {
            Ok(Part { shard, dtype: info.dtype, bytes })
        } else {
            let why = format!("the tensor {name} is cut off");
            Err(BaseError::CorruptWeights { file: file(), why })
        }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Whether two tensors are the same bit by bit.
    pub(crate) fn same_bytes(&self, one: &str, other: &str) -> bool {
        let bytes = |name: &str| {
            let shard = self.shards.get(*self.places.get(name)?)?;
            let info = shard.header.info(name)?;
            let (start, end) = info.data_offsets;
            Some((info.dtype, shard.bytes.as_slice().get(shard.data + start..shard.data + end)?))
        };
        bytes(one).is_some_and(|found| bytes(other) == Some(found))
    }

    /// The file that holds a tensor.
    pub(crate) fn file_of(&self, name: &str) -> &Path {
        let shard = self.places.get(name).and_then(|index| self.shards.get(*index));
        shard.map_or(self.main.as_path(), |shard| shard.file.as_path())
    }

    /// The names of all tensors, in no particular order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// A tensor's shape as the file has it.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        let shard = self.shards.get(*self.places.get(name)?)?;
        Some(&shard.header.info(name)?.shape)
    }

    /// Everything as it lies in the files: each file with its tensors, in the order of names.
    pub(crate) fn raw(&self) -> Vec<RawFile<'_>> {
        self.shards.iter().map(|shard| (shard.file.clone(), shard.raw())).collect()
    }

    /// The JSON headers' bytes, in the order of the shards' names.
    pub(crate) fn headers(&self) -> impl Iterator<Item = &[u8]> {
        self.shards.iter().map(|shard| &shard.bytes.as_slice()[HEADER_LENGTH..shard.data])
    }
}

fn no_weights(folder: &Path, single: PathBuf) -> BaseError {
    let pickle = ["pytorch_model.bin", "pytorch_model.bin.index.json"].map(|name| folder.join(name));
    match pickle.into_iter().find(|file| file.exists()) {
        Some(file) => {
            let why = "weights in PyTorch's own format are not read, because loading them runs code; save the model \
                       again with safe_serialization=True to get model.safetensors";
            BaseError::BadConfig { file, why: why.to_owned() }
        }
        None => BaseError::Missing { file: single },
    }
}

impl Shard {
    fn raw(&self) -> Vec<RawTensor<'_>> {
        let mut infos: Vec<_> = self.header.tensors().into_iter().collect();
        infos.sort_by(|one, two| one.0.cmp(&two.0));
        let tensors = infos.into_iter().filter_map(|(name, info)| {
            let (start, end) = info.data_offsets;
            let bytes = self.bytes.as_slice().get(self.data + start..self.data + end)?;
            Some(RawTensor { name, dtype: info.dtype, shape: info.shape.clone(), bytes })
        });
        tensors.collect()
    }

    fn map(file: &Path) -> Result<Shard, BaseError> {
        Shard::new(file.to_owned(), Bytes::Mapped(MappedFile::open(file)?))
    }

    fn new(file: PathBuf, bytes: Bytes) -> Result<Shard, BaseError> {
        match SafeTensors::read_metadata(bytes.as_slice()) {
            Ok((length, header)) => Ok(Shard { file, data: HEADER_LENGTH + length, bytes, header }),
            Err(error) => Err(BaseError::CorruptWeights { file, why: error.to_string() }),
        }
    }
}

/// Little-endian values of `dtype` as f32, or nothing for a type that is not read.
fn to_f32(bytes: &[u8], dtype: Dtype) -> Option<Vec<f32>> {
    match dtype {
        Dtype::F32 => Some(convert(bytes, 0.0, |from: [u8; 4]| f32::from_le_bytes(from))),
        Dtype::F64 => Some(convert(bytes, 0.0, |from: [u8; 8]| f64::from_le_bytes(from) as f32)),
        // A bf16 is the upper half of an f32.
        Dtype::BF16 => {
            Some(convert(bytes, 0.0, |[low, high]: [u8; 2]| f32::from_le_bytes([0, 0, low, high])))
        }
        Dtype::F16 => {
            let mut values = vec![0.0; bytes.len() / 2];
            values.par_chunks_mut(CHUNK).zip(bytes.par_chunks(CHUNK * 2)).for_each(|(to, from)| {
                // The file's bytes need not be aligned; the conversion of whole slices uses the processor's own.
                let halves: Vec<half::f16> =
                    from.as_chunks::<2>().0.iter().map(|pair| half::f16::from_le_bytes(*pair)).collect();
                halves.convert_to_f32_slice(to);
            });
            Some(values)
        }
        _ => None,
    }
}

/// The little-endian values of a file's bytes, on all threads.
fn convert<T: Copy + Send, const N: usize>(
    bytes: &[u8],
    zero: T,
    one: impl Fn([u8; N]) -> T + Sync,
) -> Vec<T> {
    let mut values = vec![zero; bytes.len() / N];
    values.par_chunks_mut(CHUNK).zip(bytes.par_chunks(CHUNK * N)).for_each(|(to, from)| {
        for (to, from) in to.iter_mut().zip(from.as_chunks::<N>().0) {
            *to = one(*from);
        }
    });
    values
}

#[cfg(test)]
mod tests {
    use std::fs;

    use safetensors::tensor::TensorView;

    use super::*;

    fn write(file: &Path, tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) {
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (*name, TensorView::new(*dtype, shape.to_vec(), bytes).unwrap())
        });
        fs::write(file, safetensors::serialize(views, None).unwrap()).unwrap();
    }

    fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn open(folder: &Path) -> Result<Checkpoint, BaseError> {
        Checkpoint::open(&BaseSource::Folder(folder.to_owned()), folder)
    }

    #[test]
    fn every_float_type_becomes_f32() {
        let folder = tempfile::tempdir().unwrap();
        // More values than one chunk, so that chunk borders are tested too.
        let values: Vec<f32> = (0..CHUNK + 5).map(|i| (i % 1000) as f32 / 8.0 - 60.0).collect();
        let shape = [values.len(), 1];
        write(
            &folder.path().join(SINGLE),
            &[
                (
                    "f64",
                    Dtype::F64,
                    &shape,
                    values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect(),
                ),
                ("f32", Dtype::F32, &shape, f32s(&values)),
                (
                    "bf16",
                    Dtype::BF16,
                    &shape,
                    values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect(),
                ),
                (
                    "f16",
                    Dtype::F16,
                    &shape,
                    values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect(),
                ),
                ("i64", Dtype::I64, &[1], vec![0; 8]),
            ],
        );
        let weights = open(folder.path()).unwrap();
        let flat = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let read = |name: &str| flat(weights.tensor(name, &shape, &Device::Cpu).unwrap());
        assert_eq!(read("f32"), values);
        assert_eq!(read("f64"), values);
        assert_eq!(read("f16"), values, "these values are exact in f16");
        let rounded: Vec<f32> = values.iter().map(|v| half::bf16::from_f32(*v).to_f32()).collect();
        assert_eq!(read("bf16"), rounded);
        for name in ["f64", "f32", "bf16", "f16"] {
            let stored = weights.stored(name, shape, &Device::Cpu).unwrap();
            let bytes = values.len() * if name.ends_with("16") { 2 } else { 4 };
            assert_eq!(stored.bytes(), bytes, "{name}");
            assert_eq!(matches!(stored, FrozenWeight::Mapped(_)), name != "f64", "{name}");
            assert_eq!(flat(stored.widened(0..values.len()).unwrap()), read(name), "{name}");
        }
        let error = weights.tensor("i64", &[1], &Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("i64") && error.contains("BF16"), "{error}");
    }

    #[test]
    fn wrong_and_missing_tensors_are_named_with_their_file() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join(SINGLE), &[("a", Dtype::F32, &[2, 1], f32s(&[1.0, 2.0]))]);
        let weights = open(folder.path()).unwrap();
        assert!(weights.contains("a") && !weights.contains("b"));
        let error = weights.tensor("a", &[1, 2], &Device::Cpu).unwrap_err().to_string();
        for part in ["model.safetensors", "tensor a", "[2, 1]", "[1, 2]"] {
            assert!(error.contains(part), "{error}");
        }
        let error = weights.tensor("b", &[1], &Device::Cpu).unwrap_err();
        assert!(matches!(&error, BaseError::MissingTensor { name, .. } if name == "b"), "{error}");
    }

    #[test]
    fn shards_are_found_through_their_index() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("one.safetensors"), &[("a", Dtype::F32, &[1], f32s(&[1.0]))]);
        write(&folder.path().join("two.safetensors"), &[("b", Dtype::F32, &[1], f32s(&[2.0]))]);
        let index = folder.path().join(INDEX);
        fs::write(&index, r#"{"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#).unwrap();
        let weights = open(folder.path()).unwrap();
        let mut names: Vec<_> = weights.names().collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(weights.tensor("b", &[1], &Device::Cpu).unwrap().to_vec1::<f32>().unwrap(), [2.0]);

        fs::remove_file(folder.path().join("two.safetensors")).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert!(
            matches!(&error, BaseError::MissingShard { file, .. } if file.ends_with("two.safetensors")),
            "{error}"
        );

        for bad in [r#"{"weight_map":{"a":"../one.safetensors"}}"#, r#"{"weight_map":{"a":3}}"#, "{}", "x"] {
            fs::write(&index, bad).unwrap();
            let error = open(folder.path()).unwrap_err();
            assert!(matches!(error, BaseError::BadConfig { .. }), "{error}");
        }
        fs::remove_file(&index).unwrap();
        assert!(matches!(open(folder.path()).unwrap_err(), BaseError::Missing { .. }));
        fs::write(folder.path().join("pytorch_model.bin"), "").unwrap();
        assert!(open(folder.path()).unwrap_err().to_string().contains("safe_serialization"));
    }

    #[test]
    fn damage_is_an_error_at_every_length() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(SINGLE);
        write(&file, &[("a", Dtype::F32, &[3], f32s(&[1.0, 2.0, 3.0]))]);
        let whole = fs::read(&file).unwrap();
        for length in 0..whole.len() {
            // A new file each time: a mapped one must not be cut.
            fs::remove_file(&file).unwrap();
            fs::write(&file, &whole[..length]).unwrap();
            let error = open(folder.path()).unwrap_err();
            assert!(matches!(error, BaseError::CorruptWeights { .. }), "{length}: {error}");
        }
        fs::remove_file(&file).unwrap();
        fs::write(&file, u64::MAX.to_le_bytes()).unwrap();
        assert!(matches!(open(folder.path()).unwrap_err(), BaseError::CorruptWeights { .. }));
    }
}
