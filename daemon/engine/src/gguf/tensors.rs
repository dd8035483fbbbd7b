//! The tensors of a GGUF file under the names, in the order of rows and with the values of the Hugging Face checkpoint that it was made of.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::config;
use super::file::{Entry, GgufFile};
use super::names::{self, Undo};
use super::tensor_kind::{GgmlBlocks, TensorKind};
use super::writer::Keys;
use crate::base_error::BaseError;
use crate::ops::frozen_weight::FrozenWeight;
use crate::ops::mapped_matrix::MappedMatrix;

#[derive(Debug)]
pub(crate) struct GgufTensors {
    file: GgufFile,
    /// By the checkpoint's name.
    places: HashMap<String, TensorLocation>,
}

/// A tensor as it lies in the file.
pub(crate) struct Mapped<'a> {
    pub(crate) name: &'a str,
    /// What the checkpoint calls it; nothing for what is part of the configuration.
    pub(crate) checkpoint: Option<&'a str>,
    pub(crate) kind: TensorKind,
    pub(crate) shape: &'a [usize],
    pub(crate) bytes: &'a [u8],
}

#[derive(Debug)]
struct TensorLocation {
    gguf: String,
    entry: Entry,
    undo: Undo,
}

impl GgufTensors {
    /// # Errors
    /// What [`GgufFile::open`] says, a tensor that the metadata calls for and the file has not, or one that it does not call for.
    pub(crate) fn open(path: &Path) -> Result<Self, BaseError> {
        let file = GgufFile::open(path)?;
        let (config, family) = config::decoder(&file)?;
        let mut places = HashMap::new();
        let mut used: HashSet<&str> = config::TENSORS.into_iter().collect();
        let named = names::of_base(&config, family.permuted);
        for name in &named {
            let Some(entry) = file.tensors.get(&name.gguf) else {
                return Err(file.bad(format!("has no tensor {}, which its metadata calls for", name.gguf)));
            };
            used.insert(&name.gguf);
            let place = TensorLocation { gguf: name.gguf.clone(), entry: entry.clone(), undo: name.undo };
            places.insert(name.checkpoint.clone(), place);
        }
        let left = file.tensors.keys().filter(|name| !used.contains(name.as_str())).min();
        if let Some(name) = left {
            let name: String = name.chars().take(100).collect();
            return Err(file.bad(format!(
                "holds the tensor {name}, which a {} does not have; it is of a kind that this version does not know",
                family.architecture
            )));
        }
        Ok(Self { file, places })
    }

    /// A matrix (or a vector, as one of a column) in the order of the checkpoint's rows.
    fn blocks(&self, name: &str) -> Option<GgmlBlocks<'_>> {
        let place = self.places.get(name)?;
        let (rows, columns) = match place.entry.shape.as_slice() {
            [rows, columns] => (*rows, *columns),
            // Its values change places, so each must stand for itself; quantised ones are left alone.
            [length] if place.entry.kind.block_values() == 1 => (*length, 1),
            [length] => (1, *length),
            _ => return None,
        };
        let bytes = self.file.tensor_bytes(&place.entry);
        let kind = place.entry.kind;
        let bytes = match place.undo {
            Undo::Pairs { heads } => Cow::Owned(halves(bytes, rows, heads)?),
            Undo::Nothing | Undo::One => Cow::Borrowed(bytes),
        };
        Some(GgmlBlocks { kind, rows, columns, bytes })
    }

    /// All values as f32.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize], device: &Device) -> Result<Tensor, BaseError> {
        let (place, blocks) = self.part(name, shape)?;
        self.in_f32(place, &blocks, shape, device)
    }

    fn in_f32(
        &self,
        place: &TensorLocation,
        blocks: &GgmlBlocks<'_>,
        shape: &[usize],
        device: &Device,
    ) -> Result<Tensor, BaseError> {
        let tensor = Tensor::from_vec(blocks.values()?, shape, device)?;
        self.file.release_pages(self.file.tensor_bytes(&place.entry));
        Ok(if place.undo == Undo::One { (tensor - 1.0)? } else { tensor })
    }

    /// As the file has it where the kernels read that and the device is the CPU. It may still lie in the file.
    pub(crate) fn frozen(
        &self,
        name: &str,
        shape: &[usize],
        device: &Device,
    ) -> Result<FrozenWeight, BaseError> {
        let (place, blocks) = self.part(name, shape)?;
        if !device.is_cpu() || place.undo == Undo::One {
            return Ok(self.in_f32(place, &blocks, shape, device)?.into());
        }
        if let Some(kind) = blocks.kind.mapped()
            && let Cow::Borrowed(bytes) = &blocks.bytes
            && let Some(part) = self.file.part(bytes)
            && let Some(matrix) = MappedMatrix::new(blocks.rows, blocks.columns, kind, part)
        {
            return Ok(FrozenWeight::Mapped(Arc::new(matrix)));
        }
        if let Some(weight) = blocks.copied()? {
            self.file.release_pages(self.file.tensor_bytes(&place.entry));
            return Ok(weight);
        }
        Ok(self.in_f32(place, &blocks, shape, device)?.into())
    }

    fn part(&self, name: &str, shape: &[usize]) -> Result<(&TensorLocation, GgmlBlocks<'_>), BaseError> {
        let Some(place) = self.places.get(name) else {
            return Err(self.file.bad(format!("has no tensor for {name}")));
        };
        let found = &place.entry.shape;
        if found != shape {
            return Err(self.file.bad(format!(
                "the tensor {} has shape {found:?}, but the metadata calls for {shape:?}",
                place.gguf
            )));
        }
        let Some(blocks) = self.blocks(name) else {
            return Err(self.file.bad(format!("the tensor {} has rows that make no heads", place.gguf)));
        };
        Ok((place, blocks))
    }

    /// Whether a tensor is in blocks of several values.
    pub(crate) fn is_quantised(&self, name: &str) -> bool {
        self.places.get(name).is_some_and(|place| place.entry.kind.block_values() > 1)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    pub(crate) fn same_bytes(&self, one: &str, other: &str) -> bool {
        let bytes = |name| {
            self.places.get(name).map(|place| (place.entry.kind, self.file.tensor_bytes(&place.entry)))
        };
        bytes(one).is_some() && bytes(one) == bytes(other)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        Some(&self.places.get(name)?.entry.shape)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.file.path
    }

    /// Header, metadata and table as they lie in the file.
    pub(crate) fn header(&self) -> &[u8] {
        self.file.header()
    }

    /// Every tensor as it lies in the file, in the file's order.
    pub(crate) fn in_order(&self) -> Vec<Mapped<'_>> {
        let own: HashMap<&str, &str> =
            self.places.iter().map(|(name, place)| (place.gguf.as_str(), name.as_str())).collect();
        let mut entries: Vec<_> = self.file.tensors.iter().collect();
        entries.sort_by_key(|(_, entry)| entry.bytes.start);
        let mapped = entries.into_iter().map(|(name, entry)| Mapped {
            name,
            checkpoint: own.get(name.as_str()).copied(),
            kind: entry.kind,
            shape: &entry.shape,
            bytes: self.file.tensor_bytes(entry),
        });
        mapped.collect()
    }

    /// One of them.
    pub(crate) fn mapped(&self, name: &str) -> Option<Mapped<'_>> {
        self.in_order().into_iter().find(|mapped| mapped.name == name)
    }

    /// Puts the metadata, as they are but for one key, behind others.
    pub(crate) fn copy_keys(&self, to: &mut Keys, but: &str) {
        self.file.copy_keys(to, but);
    }

    pub(crate) fn alignment(&self) -> usize {
        self.file.alignment
    }

    /// The bytes of every tensor, in the order of names.
    pub(crate) fn raw(&self) -> impl Iterator<Item = &[u8]> {
        let mut entries: Vec<_> = self.file.tensors.iter().collect();
        entries.sort_by_key(|(name, _)| *name);
        entries.into_iter().map(|(_, entry)| self.file.tensor_bytes(entry))
    }
}

/// Rows of each head from pairs (0, 0', 1, 1', ..) to halves (0, 1, .. | 0', 1', ..).
fn halves(bytes: &[u8], rows: usize, heads: usize) -> Option<Vec<u8>> {
    if !rows.is_multiple_of(heads * 2) {
        return None;
    }
    let (row, width) = (bytes.len() / rows, rows / heads);
    let mut out = Vec::with_capacity(bytes.len());
    for head in 0..heads {
        for half in 0..2 {
            for pair in 0..width / 2 {
                let from = (head * width + pair * 2 + half) * row;
                out.extend_from_slice(bytes.get(from..from + row)?);
            }
        }
    }
    Some(out)
}

/// The other way round.
pub(crate) fn pairs<T: Copy>(values: &[T], rows: usize, heads: usize) -> Option<Vec<T>> {
    if !rows.is_multiple_of(heads * 2) {
        return None;
    }
    let (row, width) = (values.len() / rows, rows / heads);
    let mut out = Vec::with_capacity(values.len());
    for head in 0..heads {
        for pair in 0..width / 2 {
            for half in 0..2 {
                let from = (head * width + half * (width / 2) + pair) * row;
                out.extend_from_slice(values.get(from..from + row)?);
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_become_halves_row_by_row() {
        let pairs = [0, 0, 2, 2, 1, 1, 3, 3, 4, 4, 6, 6, 5, 5, 7, 7];
        let expected = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7];
        assert_eq!(halves(&pairs, 8, 2).unwrap(), expected);
        assert_eq!(halves(&pairs, 8, 3), None);
        assert_eq!(super::pairs(&expected, 8, 2).unwrap(), pairs);
        assert_eq!(super::pairs(&expected, 8, 3), None);
    }
}
