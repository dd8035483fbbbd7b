//! Writes a GGUF file (version 3, <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>): tensors one after the other as they come, the
//! header in front of them at the end, when their types are known.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use super::MAGIC;
use super::tensor_kind::TensorKind;

const VERSION: u32 = 3;
/// What a tensor's place is a multiple of, where the file does not say.
pub(crate) const ALIGNMENT: usize = 32;

/// Metadata in the order in which they are written.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    bytes: Vec<u8>,
    count: u64,
}

// The numbers of the types of values.
const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const BOOL: u32 = 7;
const TEXT: u32 = 8;
const LIST: u32 = 9;

impl Keys {
    fn key(&mut self, key: &str, kind: u32) {
        put_text(&mut self.bytes, key);
        self.bytes.extend(kind.to_le_bytes());
        self.count += 1;
    }

    fn list(&mut self, key: &str, kind: u32, length: usize) {
        self.key(key, LIST);
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend((length as u64).to_le_bytes());
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.key(key, TEXT);
        put_text(&mut self.bytes, value);
    }

    pub(crate) fn whole(&mut self, key: &str, value: u32) {
        self.key(key, U32);
        self.bytes.extend(value.to_le_bytes());
    }

    pub(crate) fn number(&mut self, key: &str, value: f32) {
        self.key(key, F32);
        self.bytes.extend(value.to_le_bytes());
    }

    pub(crate) fn flag(&mut self, key: &str, value: bool) {
        self.key(key, BOOL);
        self.bytes.push(value.into());
    }

    pub(crate) fn texts(&mut self, key: &str, values: &[impl AsRef<str>]) {
        self.list(key, TEXT, values.len());
        for value in values {
            put_text(&mut self.bytes, value.as_ref());
        }
    }

    pub(crate) fn wholes(&mut self, key: &str, values: &[i32]) {
        self.list(key, I32, values.len());
        self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    pub(crate) fn numbers(&mut self, key: &str, values: &[f32]) {
        self.list(key, F32, values.len());
        self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    /// A value as another file has it, its type first.
    pub(super) fn copied(&mut self, key: &str, value: &[u8]) {
        put_text(&mut self.bytes, key);
        self.bytes.extend(value);
        self.count += 1;
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A file that is being written.
pub(crate) struct GgufWriter {
    out: BufWriter<File>,
    keys: Keys,
    alignment: usize,
    /// Name and shape, the slowest dimension first.
    announced: Vec<(String, Vec<usize>)>,
    /// Type and length of those that are there.
    written: Vec<(TensorKind, usize)>,
}

impl GgufWriter {
    /// A new file with these tensors, which must come in this order.
    ///
    /// # Errors
    /// The file exists, or the disk refuses.
    pub(crate) fn create(
        file: &Path,
        keys: Keys,
        alignment: usize,
        tensors: Vec<(String, Vec<usize>)>,
    ) -> io::Result<GgufWriter> {
        let mut writer = GgufWriter {
            out: BufWriter::new(File::create_new(file)?),
            keys,
            alignment,
            announced: tensors,
            written: Vec::new(),
        };
        // Types and places take as many bytes whatever they are.
        let header = writer.header().len();
        writer.out.write_all(&vec![0; header])?;
        Ok(writer)
    }

    /// # Errors
    /// No tensor is due, its length is not that of its shape, or the disk refuses.
    pub(crate) fn tensor(&mut self, kind: TensorKind, bytes: &[u8]) -> io::Result<()> {
        let Some((name, shape)) = self.announced.get(self.written.len()) else {
            return Err(io::Error::other("more tensors than were announced"));
        };
        let columns = shape.last().copied().unwrap_or(1);
        let rows: usize = shape.iter().rev().skip(1).product();
        if kind.row_bytes(columns).map(|row| row * rows) != Some(bytes.len()) {
            return Err(io::Error::other(format!("the tensor {name} has {} bytes", bytes.len())));
        }
        self.out.write_all(bytes)?;
        self.out.write_all(&vec![0; bytes.len().next_multiple_of(self.alignment) - bytes.len()])?;
        self.written.push((kind, bytes.len()));
        Ok(())
    }

    /// Writes the header, and waits until all is on the disk.
    ///
    /// # Errors
    /// A tensor is missing, or the disk refuses.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.written.len() != self.announced.len() {
            return Err(io::Error::other("fewer tensors than were announced"));
        }
        let header = self.header();
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header)?;
        self.out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }

    fn header(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend((self.announced.len() as u64).to_le_bytes());
        out.extend(self.keys.count.to_le_bytes());
        out.extend(&self.keys.bytes);
        let mut offset = 0;
        for (at, (name, shape)) in self.announced.iter().enumerate() {
            let (kind, length) = self.written.get(at).copied().unwrap_or((TensorKind::F32, 0));
            put_text(&mut out, name);
            out.extend((shape.len() as u32).to_le_bytes());
            // The fastest dimension first.
            for size in shape.iter().rev() {
                out.extend((*size as u64).to_le_bytes());
            }
            out.extend(kind.number().to_le_bytes());
            out.extend((offset as u64).to_le_bytes());
            offset += length.next_multiple_of(self.alignment);
        }
        out.resize(out.len().next_multiple_of(self.alignment), 0);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::GgufFile;
    use super::super::metadata::Value;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.gguf");
        let mut keys = Keys::default();
        keys.text("general.type", "model");
        keys.whole("a", 7);
        keys.number("b", 0.5);
        keys.flag("c", true);
        keys.texts("d", &["x", "面"]);
        keys.wholes("e", &[1, -1]);
        keys.numbers("f", &[0.25]);
        let shapes = vec![("one".to_owned(), vec![3]), ("two".to_owned(), vec![2, 32])];
        let mut writer = GgufWriter::create(&file, keys, ALIGNMENT, shapes.clone()).unwrap();
        writer.tensor(TensorKind::F32, &[1; 12]).unwrap();
        assert!(writer.tensor(TensorKind::Q8_0, &[2; 67]).is_err());
        writer.tensor(TensorKind::Q8_0, &[2; 68]).unwrap();
        writer.finish().unwrap();
        let read = GgufFile::open(&file).unwrap();
        assert_eq!((read.whole("a").unwrap(), read.number("b").unwrap()), (Some(7), Some(0.5)));
        assert_eq!(read.flag("c").unwrap(), Some(true));
        assert_eq!(read.list("d").unwrap().unwrap().texts(), Some(vec!["x", "面"]));
        assert_eq!(read.list("e").unwrap().unwrap().wholes(), Some(vec![1, -1]));
        assert!(matches!(read.get("f"), Some(Value::List(list)) if list.numbers() == Some(vec![0.25])));
        let two = &read.tensors["two"];
        assert_eq!((two.kind, two.shape.as_slice()), (TensorKind::Q8_0, [2, 32].as_slice()));
        assert_eq!(read.tensor_bytes(two), [2; 68]);
        assert_eq!(read.tensor_bytes(&read.tensors["one"]), [1; 12]);
        // Nobody's file is overwritten, and no file without all its tensors is finished.
        assert!(GgufWriter::create(&file, Keys::default(), ALIGNMENT, shapes.clone()).is_err());
        let half = GgufWriter::create(&folder.path().join("half"), Keys::default(), ALIGNMENT, shapes);
        assert!(half.unwrap().finish().is_err());
    }
}
