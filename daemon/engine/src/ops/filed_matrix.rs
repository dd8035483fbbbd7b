//! A matrix that is read where it lies in its file, until it is copied.
//!
//! So the first answer need not wait for a copy of the whole base, and later ones need not trust a file that somebody may write to. Owns which types of
//! values the kernels read in place, and the copy. It must not know formats of files, nor when somebody has time to copy.

use std::ops::Range;
use std::sync::{PoisonError, RwLock};

use bytemuck::Pod;
use candle_core::{Device, Result, Tensor, WithDType};
use half::{bf16, f16};
use hotplate_gemm::{BlockQ4_0, BlockQ4K, BlockQ6K, BlockQ8_0, Stored};
use rayon::prelude::*;

use super::frozen_weight::FrozenWeight;
use super::quantised::{BlockKind, Blocks, QuantisedMatrix, Work};
use crate::mapped_file::FilePart;

/// Bytes that one task copies: a page of the larger kind, so that threads zero pages beside each other.
const CHUNK: usize = 1 << 21;

/// How a file has its values, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FiledKind {
    F32,
    Bf16,
    F16,
    Q8_0,
    Q4_0,
    Q4K,
    Q6K,
}

/// `[rows, columns]`
#[derive(Debug)]
pub struct FiledMatrix {
    rows: usize,
    columns: usize,
    kind: FiledKind,
    place: RwLock<Place>,
}

/// What [`FiledMatrix::settle`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// A weight was copied out of its file.
    Copied,
    /// There is no memory for a copy of so many bytes: they are read from the file from now on, and this is not tried again.
    Stays { bytes: usize },
    /// There was nothing to do.
    Nothing,
}

#[derive(Debug, Clone)]
enum Place {
    InFile(FilePart),
    /// There was no memory for a copy.
    Stays(FilePart),
    Copied(FrozenWeight),
}

impl From<BlockKind> for FiledKind {
    fn from(kind: BlockKind) -> Self {
        match kind {
            BlockKind::Q8_0 => FiledKind::Q8_0,
            BlockKind::Q4_0 => FiledKind::Q4_0,
            BlockKind::Q4K => FiledKind::Q4K,
        }
    }
}

impl FiledKind {
    pub(crate) const fn is_quantised(self) -> bool {
        !matches!(self, FiledKind::F32 | FiledKind::Bf16 | FiledKind::F16)
    }

    /// `done` hears of each part that was copied: its pages are not to be held beside the copy.
    ///
    /// # Errors
    /// No memory; bytes that are not so many values.
    pub(crate) fn copy(
        self,
        shape: (usize, usize),
        bytes: &[u8],
        done: impl Fn(&[u8]) + Sync,
    ) -> Result<FrozenWeight> {
        fn tensor<E: WithDType>(values: Vec<E>, shape: (usize, usize)) -> Result<FrozenWeight> {
            Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.into())
        }
        let blocks = match self {
            FiledKind::F32 => return tensor::<f32>(copied(bytes, done)?, shape),
            FiledKind::Bf16 => return tensor::<bf16>(copied(bytes, done)?, shape),
            FiledKind::F16 => return tensor::<f16>(copied(bytes, done)?, shape),
            FiledKind::Q8_0 => Blocks::Q8_0(copied(bytes, done)?),
            FiledKind::Q4_0 => Blocks::Q4_0(copied(bytes, done)?),
            FiledKind::Q4K => Blocks::Q4K(copied(bytes, done)?),
            FiledKind::Q6K => Blocks::Q6K(copied(bytes, done)?),
        };
        Ok(QuantisedMatrix::new(shape.0, shape.1, blocks)?.into())
    }

    /// `rows`: all of them where none are named.
    fn on_units<W: Work>(
        self,
        columns: usize,
        bytes: &[u8],
        rows: Option<Range<usize>>,
        work: W,
    ) -> Result<W::Output> {
        fn run<E: Stored, W: Work>(
            columns: usize,
            bytes: &[u8],
            rows: Option<Range<usize>>,
            work: W,
        ) -> Result<W::Output> {
            let Ok(units) = bytemuck::try_cast_slice::<u8, E>(bytes) else {
                candle_core::bail!("a weight's values do not lie in its file as this machine wants them");
            };
            let stride = columns / E::VALUES;
            let units = match rows {
                None => units,
                Some(rows) => &units[rows.start * stride..rows.end * stride],
            };
            Ok(work.run(units, stride))
        }
        match self {
            FiledKind::F32 => run::<f32, W>(columns, bytes, rows, work),
            FiledKind::Bf16 => run::<bf16, W>(columns, bytes, rows, work),
            FiledKind::F16 => run::<f16, W>(columns, bytes, rows, work),
            FiledKind::Q8_0 => run::<BlockQ8_0, W>(columns, bytes, rows, work),
            FiledKind::Q4_0 => run::<BlockQ4_0, W>(columns, bytes, rows, work),
            FiledKind::Q4K => run::<BlockQ4K, W>(columns, bytes, rows, work),
            FiledKind::Q6K => run::<BlockQ6K, W>(columns, bytes, rows, work),
        }
    }
}

impl FiledMatrix {
    /// Nothing where the values cannot be read in place: they are not aligned, or not so many, or this machine has its bytes the other way round.
    pub(crate) fn new(rows: usize, columns: usize, kind: FiledKind, part: FilePart) -> Option<Self> {
        struct Fits {
            rows: usize,
            columns: usize,
        }
        impl Work for Fits {
            type Output = bool;

            fn run<E: Stored>(self, units: &[E], _: usize) -> bool {
                let whole = self.columns.is_multiple_of(E::VALUES);
                whole && self.rows.checked_mul(self.columns / E::VALUES) == Some(units.len())
            }
        }
        let fits = kind.on_units(columns, part.bytes(), None, Fits { rows, columns }).ok()?;
        let place = RwLock::new(Place::InFile(part));
        (cfg!(target_endian = "little") && fits).then_some(Self { rows, columns, kind, place })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn kind(&self) -> FiledKind {
        self.kind
    }

    /// The copy, once there is one.
    pub(crate) fn copied(&self) -> Option<FrozenWeight> {
        match self.place() {
            Place::Copied(weight) => Some(weight),
            Place::InFile(_) | Place::Stays(_) => None,
        }
    }

    /// What it takes in memory: the file's pages, or those of the copy.
    pub(crate) fn bytes(&self) -> usize {
        match self.place() {
            Place::InFile(part) | Place::Stays(part) => part.bytes().len(),
            Place::Copied(weight) => weight.bytes(),
        }
    }

    /// `work` on the memory of some rows.
    pub(crate) fn with_rows<W: Work>(&self, rows: Range<usize>, work: W) -> Result<W::Output> {
        // The lock is not held meanwhile: a thread that waits for others may begin another product with this weight.
        match self.place() {
            Place::InFile(part) | Place::Stays(part) => {
                self.kind.on_units(self.columns, part.bytes(), Some(rows), work)
            }
            Place::Copied(weight) => weight.with_rows(rows, work),
        }
    }

    /// Copies it out of the file.
    pub(crate) fn settle(&self) -> Settled {
        let Place::InFile(part) = self.place() else { return Settled::Nothing };
        let bytes = part.bytes().len();
        let copy = self.kind.copy((self.rows, self.columns), part.bytes(), |bytes| part.let_go(bytes));
        let (place, settled) = match copy {
            Ok(weight) => (Place::Copied(weight), Settled::Copied),
            Err(_) => (Place::Stays(part), Settled::Stays { bytes }),
        };
        *self.place.write().unwrap_or_else(PoisonError::into_inner) = place;
        settled
    }

    /// The pages of some rows need not be held in this process, as nobody reads them soon.
    pub(crate) fn let_go(&self, rows: Range<usize>) {
        if let Place::InFile(part) | Place::Stays(part) = self.place() {
            let row = part.bytes().len() / self.rows.max(1);
            part.let_go(&part.bytes()[rows.start * row..rows.end * row]);
        }
    }

    fn place(&self) -> Place {
        self.place.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// On all threads; the bytes need not be aligned.
fn copied<E: Pod>(bytes: &[u8], done: impl Fn(&[u8]) + Sync) -> Result<Vec<E>> {
    let count = bytes.len() / size_of::<E>();
    let Ok(mut values) = bytemuck::allocation::try_zeroed_vec::<E>(count) else {
        candle_core::bail!("there is no memory for a weight of {} bytes", bytes.len());
    };
    let to = bytemuck::cast_slice_mut::<E, u8>(&mut values);
    if to.len() != bytes.len() {
        candle_core::bail!("{} bytes are not whole values of {} bytes", bytes.len(), size_of::<E>());
    }
    to.par_chunks_mut(CHUNK).zip(bytes.par_chunks(CHUNK)).for_each(|(to, from)| {
        to.copy_from_slice(from);
        done(from);
    });
    Ok(values)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fixtures::{flat, random};
    use crate::mapped_file::MappedFile;
    use crate::ops::frozen_linear::FrozenLinear;

    const ROWS: usize = 70;
    const COLUMNS: usize = 256;

    /// `bytes` behind so many others in a file that is gone from its folder.
    fn part(before: usize, bytes: &[u8]) -> FilePart {
        let mut file = vec![0; before];
        file.extend_from_slice(bytes);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        std::fs::write(&path, file).unwrap();
        let mapped = MappedFile::open(&path).unwrap();
        mapped.part(&mapped[before..]).unwrap()
    }

    /// One of each kind: in memory, and as bytes.
    fn all() -> Vec<(FiledKind, FrozenWeight, Vec<u8>)> {
        struct Bytes;
        impl Work for Bytes {
            type Output = Vec<u8>;

            fn run<E: Stored>(self, units: &[E], _: usize) -> Vec<u8> {
                bytemuck::cast_slice(units).to_vec()
            }
        }
        let values = random(&[ROWS, COLUMNS], 1);
        let of = |dtype| FrozenWeight::from(values.to_dtype(dtype).unwrap());
        let blocks = |kind| FrozenWeight::from(of(candle_core::DType::F32).quantised(kind).unwrap());
        let made = [
            (FiledKind::F32, of(candle_core::DType::F32)),
            (FiledKind::Bf16, of(candle_core::DType::BF16)),
            (FiledKind::F16, of(candle_core::DType::F16)),
            (FiledKind::Q8_0, blocks(BlockKind::Q8_0)),
            (FiledKind::Q4_0, blocks(BlockKind::Q4_0)),
            (FiledKind::Q4K, blocks(BlockKind::Q4K)),
        ];
        let bytes = |(kind, weight): (FiledKind, FrozenWeight)| {
            let bytes = weight.with_rows(0..ROWS, Bytes).unwrap();
            (kind, weight, bytes)
        };
        made.into_iter().map(bytes).collect()
    }

    #[test]
    fn values_are_those_of_the_file_before_and_after_they_are_copied() {
        let x = random(&[3, COLUMNS], 2);
        for (kind, weight, bytes) in all() {
            let matrix = FiledMatrix::new(ROWS, COLUMNS, kind, part(64, &bytes)).unwrap();
            let filed = FrozenWeight::Filed(Arc::new(matrix));
            let shared = filed.clone();
            let product =
                |weight: &FrozenWeight| flat(&FrozenLinear::new(weight.clone(), None).forward(&x).unwrap());
            let check = || {
                assert_eq!((filed.rows(), filed.columns()), (ROWS, COLUMNS));
                assert_eq!(filed.bytes(), bytes.len(), "{kind:?}");
                assert_eq!(filed.is_narrow(), weight.is_narrow(), "{kind:?}");
                assert_eq!(filed.is_quantised(), weight.is_quantised(), "{kind:?}");
                assert_eq!(filed.is_multiplied_as_bf16(), weight.is_multiplied_as_bf16(), "{kind:?}");
                assert_eq!(product(&filed), product(&weight), "{kind:?}");
                let looked_up = |weight: &FrozenWeight| flat(&weight.look_up(&[69, 0, 7]).unwrap());
                assert_eq!(looked_up(&filed), looked_up(&weight), "{kind:?}");
            };
            check();
            assert_eq!(filed.settle(), Settled::Copied);
            assert_eq!(shared.settle(), Settled::Nothing, "it is copied for all who share it");
            check();
            let found = flat(&shared.values().unwrap().to_dtype(candle_core::DType::F32).unwrap());
            assert_eq!(found, flat(&weight.widened(0..ROWS).unwrap()), "{kind:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_in_place_is_not() {
        for (kind, _, bytes) in all() {
            let fits = |rows, columns, part| FiledMatrix::new(rows, columns, kind, part).is_some();
            assert!(fits(ROWS, COLUMNS, part(4, &bytes)));
            assert!(!fits(ROWS + 1, COLUMNS, part(4, &bytes)));
            assert!(!fits(ROWS, COLUMNS, part(4, &bytes[1..])));
            assert!(!fits(ROWS * COLUMNS, 1, part(4, &bytes)) || !kind.is_quantised());
            if kind == FiledKind::Bf16 {
                assert!(!fits(ROWS, COLUMNS, part(3, &bytes)), "not aligned");
            }
            let copy = |bytes: &[u8]| kind.copy((ROWS, COLUMNS), bytes, |_| ());
            assert!(copy(&bytes[..bytes.len() - 1]).is_err() && copy(&[]).is_err());
        }
    }

    /// Several who read while one copies.
    #[test]
    fn it_can_be_copied_while_it_is_read() {
        let (kind, weight, bytes) = all().swap_remove(1);
        let wanted = flat(&weight.widened(0..ROWS).unwrap());
        for _ in 0..20 {
            let matrix = FiledMatrix::new(ROWS, COLUMNS, kind, part(64, &bytes)).unwrap();
            let filed = FrozenWeight::Filed(Arc::new(matrix));
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| assert_eq!(flat(&filed.widened(0..ROWS).unwrap()), wanted));
                }
                scope.spawn(|| assert_eq!(filed.settle(), Settled::Copied));
            });
        }
    }
}
