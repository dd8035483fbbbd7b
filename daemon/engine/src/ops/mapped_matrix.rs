//! A matrix that is read where it lies in its file, until it is copied.
//!
//! So the first answer need not wait for a copy of the whole base, and later ones need not trust a file that somebody may write to. Owns which types of
//! values the kernels read in place, and the copy. It must not know formats of files, nor when somebody has time to copy.
//!
//! A copy of a whole base is fresh memory, which costs the system more than the copy itself. After the copy, nobody who writes to the file can change or end
//! what is warm.

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
pub(crate) enum MappedKind {
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
pub struct MappedMatrix {
    rows: usize,
    columns: usize,
    kind: MappedKind,
    place: RwLock<Residency>,
}

/// What [`MappedMatrix::materialize`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Materialized {
    /// A weight was copied out of its file.
    Copied,
    /// There is no memory for a copy of so many bytes: they are read from the file from now on, and this is not tried again.
    Stays { bytes: usize },
    /// There was nothing to do.
    Nothing,
}

#[derive(Debug, Clone)]
enum Residency {
    InFile(FilePart),
    /// There was no memory for a copy.
    Stays(FilePart),
    Copied(FrozenWeight),
}

impl From<BlockKind> for MappedKind {
    fn from(kind: BlockKind) -> Self {
        match kind {
            BlockKind::Q8_0 => MappedKind::Q8_0,
            BlockKind::Q4_0 => MappedKind::Q4_0,
            BlockKind::Q4K => MappedKind::Q4K,
        }
    }
}

impl MappedKind {
    pub(crate) const fn is_quantised(self) -> bool {
        !matches!(self, MappedKind::F32 | MappedKind::Bf16 | MappedKind::F16)
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
            MappedKind::F32 => return tensor::<f32>(copied(bytes, done)?, shape),
            MappedKind::Bf16 => return tensor::<bf16>(copied(bytes, done)?, shape),
            MappedKind::F16 => return tensor::<f16>(copied(bytes, done)?, shape),
            MappedKind::Q8_0 => Blocks::Q8_0(copied(bytes, done)?),
            MappedKind::Q4_0 => Blocks::Q4_0(copied(bytes, done)?),
            MappedKind::Q4K => Blocks::Q4K(copied(bytes, done)?),
            MappedKind::Q6K => Blocks::Q6K(copied(bytes, done)?),
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
            MappedKind::F32 => run::<f32, W>(columns, bytes, rows, work),
            MappedKind::Bf16 => run::<bf16, W>(columns, bytes, rows, work),
            MappedKind::F16 => run::<f16, W>(columns, bytes, rows, work),
            MappedKind::Q8_0 => run::<BlockQ8_0, W>(columns, bytes, rows, work),
            MappedKind::Q4_0 => run::<BlockQ4_0, W>(columns, bytes, rows, work),
            MappedKind::Q4K => run::<BlockQ4K, W>(columns, bytes, rows, work),
            MappedKind::Q6K => run::<BlockQ6K, W>(columns, bytes, rows, work),
        }
    }
}

impl MappedMatrix {
    /// Nothing where the values cannot be read in place: they are not aligned, or not so many, or this machine has its bytes the other way round.
    pub(crate) fn new(rows: usize, columns: usize, kind: MappedKind, part: FilePart) -> Option<Self> {
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
        let place = RwLock::new(Residency::InFile(part));
        (cfg!(target_endian = "little") && fits).then_some(Self { rows, columns, kind, place })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn kind(&self) -> MappedKind {
        self.kind
    }

    /// The copy, once there is one.
    pub(crate) fn copied(&self) -> Option<FrozenWeight> {
        match self.place() {
            Residency::Copied(weight) => Some(weight),
            Residency::InFile(_) | Residency::Stays(_) => None,
        }
    }

    /// What it takes in memory: the file's pages, or those of the copy.
    pub(crate) fn bytes(&self) -> usize {
        match self.place() {
            Residency::InFile(part) | Residency::Stays(part) => part.bytes().len(),
            Residency::Copied(weight) => weight.bytes(),
        }
    }

    /// `work` on the memory of some rows.
    pub(crate) fn with_rows<W: Work>(&self, rows: Range<usize>, work: W) -> Result<W::Output> {
        // The lock is not held meanwhile: a thread that waits for others may begin another product with this weight.
        match self.place() {
            Residency::InFile(part) | Residency::Stays(part) => {
                self.kind.on_units(self.columns, part.bytes(), Some(rows), work)
            }
            Residency::Copied(weight) => weight.with_rows(rows, work),
        }
    }

    /// Copies it out of the file.
    pub(crate) fn materialize(&self) -> Materialized {
        let Residency::InFile(part) = self.place() else { return Materialized::Nothing };
        let bytes = part.bytes().len();
        let copy = self.kind.copy((self.rows, self.columns), part.bytes(), |bytes| part.release_pages(bytes));
        let (place, materialized) = match copy {
            Ok(weight) => (Residency::Copied(weight), Materialized::Copied),
            Err(_) => (Residency::Stays(part), Materialized::Stays { bytes }),
        };
        *self.place.write().unwrap_or_else(PoisonError::into_inner) = place;
        materialized
    }

    /// The pages of some rows need not be held in this process, as nobody reads them soon.
    pub(crate) fn release_pages(&self, rows: Range<usize>) {
        if let Residency::InFile(part) | Residency::Stays(part) = self.place() {
            let row = part.bytes().len() / self.rows.max(1);
            part.release_pages(&part.bytes()[rows.start * row..rows.end * row]);
        }
    }

    fn place(&self) -> Residency {
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
    fn all() -> Vec<(MappedKind, FrozenWeight, Vec<u8>)> {
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
            (MappedKind::F32, of(candle_core::DType::F32)),
            (MappedKind::Bf16, of(candle_core::DType::BF16)),
            (MappedKind::F16, of(candle_core::DType::F16)),
            (MappedKind::Q8_0, blocks(BlockKind::Q8_0)),
            (MappedKind::Q4_0, blocks(BlockKind::Q4_0)),
            (MappedKind::Q4K, blocks(BlockKind::Q4K)),
        ];
        let bytes = |(kind, weight): (MappedKind, FrozenWeight)| {
            let bytes = weight.with_rows(0..ROWS, Bytes).unwrap();
            (kind, weight, bytes)
        };
        made.into_iter().map(bytes).collect()
    }

    #[test]
    fn values_are_those_of_the_file_before_and_after_they_are_copied() {
        let x = random(&[3, COLUMNS], 2);
        for (kind, weight, bytes) in all() {
            let matrix = MappedMatrix::new(ROWS, COLUMNS, kind, part(64, &bytes)).unwrap();
            let mapped = FrozenWeight::Mapped(Arc::new(matrix));
            let shared = mapped.clone();
            let product =
                |weight: &FrozenWeight| flat(&FrozenLinear::new(weight.clone(), None).forward(&x).unwrap());
            let check = || {
                assert_eq!((mapped.rows(), mapped.columns()), (ROWS, COLUMNS));
                assert_eq!(mapped.bytes(), bytes.len(), "{kind:?}");
                assert_eq!(mapped.is_at_most_16_bit(), weight.is_at_most_16_bit(), "{kind:?}");
                assert_eq!(mapped.is_quantised(), weight.is_quantised(), "{kind:?}");
                assert_eq!(mapped.is_multiplied_as_bf16(), weight.is_multiplied_as_bf16(), "{kind:?}");
                assert_eq!(product(&mapped), product(&weight), "{kind:?}");
                let looked_up = |weight: &FrozenWeight| flat(&weight.look_up(&[69, 0, 7]).unwrap());
                assert_eq!(looked_up(&mapped), looked_up(&weight), "{kind:?}");
            };
            check();
            assert_eq!(mapped.materialize(), Materialized::Copied);
            assert_eq!(shared.materialize(), Materialized::Nothing, "it is copied for all who share it");
            check();
            let found = flat(&shared.values().unwrap().to_dtype(candle_core::DType::F32).unwrap());
            assert_eq!(found, flat(&weight.widened(0..ROWS).unwrap()), "{kind:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_in_place_is_not() {
        for (kind, _, bytes) in all() {
            let fits = |rows, columns, part| MappedMatrix::new(rows, columns, kind, part).is_some();
            assert!(fits(ROWS, COLUMNS, part(4, &bytes)));
            assert!(!fits(ROWS + 1, COLUMNS, part(4, &bytes)));
            assert!(!fits(ROWS, COLUMNS, part(4, &bytes[1..])));
            assert!(!fits(ROWS * COLUMNS, 1, part(4, &bytes)) || !kind.is_quantised());
            if kind == MappedKind::Bf16 {
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
            let matrix = MappedMatrix::new(ROWS, COLUMNS, kind, part(64, &bytes)).unwrap();
            let mapped = FrozenWeight::Mapped(Arc::new(matrix));
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| assert_eq!(flat(&mapped.widened(0..ROWS).unwrap()), wanted));
                }
                scope.spawn(|| assert_eq!(mapped.materialize(), Materialized::Copied));
            });
        }
    }
}
