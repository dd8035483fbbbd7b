//! The tensors of a base or an adapter under their names in a Hugging Face checkpoint, whichever kind of file they lie in.
//!
//! Owns the choice of the reader; each reader owns its format and the conversion to f32. It must not know what a name means.

use std::path::Path;

use candle_core::{Device, Tensor};

use crate::base_error::BaseError;
use crate::base_source::BaseSource;
use crate::gguf::GgufTensors;
use crate::ops::frozen_weight::FrozenWeight;
use crate::ops::quantised::{BlockKind, QuantisedMatrix};

mod safetensors;

use self::safetensors::Checkpoint;
pub(crate) use self::safetensors::{HEADER_LENGTH, INDEX, RawFile, RawTensor};

/// Open weights. Cheap to open: only the headers are read, tensors are read when asked for.
#[derive(Debug)]
pub struct Weights {
    files: Files,
}

#[derive(Debug)]
enum Files {
    Safetensors(Checkpoint),
    Gguf(GgufTensors),
}

impl Weights {
    /// Opens a base's weights.
    ///
    /// # Errors
    /// Missing files and shards, damaged headers, truncated files.
    pub fn open(source: &BaseSource) -> Result<Weights, BaseError> {
        let files = match source {
            BaseSource::Embedded => Files::Safetensors(Checkpoint::embedded()?),
            BaseSource::Folder(folder) => Files::Safetensors(Checkpoint::open(source, folder)?),
            BaseSource::Gguf(file) => Files::Gguf(GgufTensors::open(file)?),
            BaseSource::Quantised(_, source) => return Weights::open(source),
        };
        Ok(Weights { files })
    }

    /// Opens one safetensors file.
    pub(crate) fn open_file(file: &Path) -> Result<Weights, BaseError> {
        Ok(Weights { files: Files::Safetensors(Checkpoint::open_file(file)?) })
    }

    /// A tensor as f32, copied out of the file.
    ///
    /// # Errors
    /// No such tensor, another shape than asked for, or a type of values that this version does not read.
    pub fn tensor(&self, name: &str, shape: &[usize], device: &Device) -> Result<Tensor, BaseError> {
        match &self.files {
            Files::Safetensors(files) => files.tensor(name, shape, device),
            Files::Gguf(file) => file.tensor(name, shape, device),
        }
    }

    /// A tensor as the file has it where the kernels read that and the device is the CPU, and else as [`tensor`](Self::tensor) gives it: for the large
    /// weights. It may still lie in the file, until it [is copied](FrozenWeight::materialize).
    ///
    /// # Errors
    /// As there.
    pub(crate) fn frozen(
        &self,
        name: &str,
        shape: [usize; 2],
        device: &Device,
    ) -> Result<FrozenWeight, BaseError> {
        match &self.files {
            Files::Safetensors(files) => files.stored(name, shape, device),
            Files::Gguf(file) => file.frozen(name, &shape, device),
        }
    }

    /// A tensor in blocks of this kind, in CPU memory; nothing if the file has it in blocks.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn quantised(
        &self,
        name: &str,
        shape: [usize; 2],
        kind: BlockKind,
    ) -> Result<Option<QuantisedMatrix>, BaseError> {
        if let Files::Gguf(file) = &self.files
            && file.is_quantised(name)
        {
            return Ok(None);
        }
        Ok(Some(self.frozen(name, shape, &Device::Cpu)?.quantised(kind)?))
    }

    pub fn contains(&self, name: &str) -> bool {
        match &self.files {
            Files::Safetensors(files) => files.contains(name),
            Files::Gguf(file) => file.contains(name),
        }
    }

    /// Whether two tensors are the same bit by bit.
    pub(crate) fn same_bytes(&self, one: &str, other: &str) -> bool {
        match &self.files {
            Files::Safetensors(files) => files.same_bytes(one, other),
            Files::Gguf(file) => file.same_bytes(one, other),
        }
    }

    /// The file that holds a tensor.
    pub(crate) fn file_of(&self, name: &str) -> &Path {
        match &self.files {
            Files::Safetensors(files) => files.file_of(name),
            Files::Gguf(file) => file.path(),
        }
    }

    /// The names of all tensors, in no particular order.
    pub fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match &self.files {
            Files::Safetensors(files) => Box::new(files.names()),
            Files::Gguf(file) => Box::new(file.names()),
        }
    }

    /// A tensor's shape as the file has it.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        match &self.files {
            Files::Safetensors(files) => files.shape(name),
            Files::Gguf(file) => file.shape(name),
        }
    }

    /// Everything as it lies in safetensors files: each file with its tensors, in the order of names. Nothing of a GGUF file.
    pub(crate) fn raw(&self) -> Vec<RawFile<'_>> {
        match &self.files {
            Files::Safetensors(files) => files.raw(),
            Files::Gguf(_) => Vec::new(),
        }
    }

    /// A GGUF file's own reader.
    pub(crate) fn gguf(&self) -> Option<&GgufTensors> {
        match &self.files {
            Files::Safetensors(_) => None,
            Files::Gguf(file) => Some(file),
        }
    }

    /// Some bytes of every tensor (its first, middle and last): enough to tell another checkpoint of the same shape, and quick to read.
    pub(crate) fn samples(&self) -> impl Iterator<Item = &[u8]> {
        const LENGTH: usize = 1 << 10;
        let all: Vec<&[u8]> = match &self.files {
            Files::Safetensors(files) => {
                files.raw().into_iter().flat_map(|(_, tensors)| tensors).map(|tensor| tensor.bytes).collect()
            }
            Files::Gguf(file) => file.raw().collect(),
        };
        all.into_iter().flat_map(|bytes| {
            let last = bytes.len().saturating_sub(LENGTH);
            [0, last / 2, last].map(|at| &bytes[at..bytes.len().min(at + LENGTH)])
        })
    }

    /// The headers' bytes, in the order of the files' names.
    pub(crate) fn headers(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        match &self.files {
            Files::Safetensors(files) => Box::new(files.headers()),
            Files::Gguf(file) => Box::new(std::iter::once(file.header())),
        }
    }
}
