//! A matrix in quantised blocks, in CPU memory.
//!
//! Owns which kinds of blocks there are and how values become blocks. What a block's bytes mean is [`hotplate_gemm`]'s matter; where they come
//! from (a GGUF file, or values that were quantised here) is the caller's.

use std::ops::Range;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use hotplate_gemm::{BlockQ4_0, BlockQ4K, BlockQ6K, BlockQ8_0, BlockWide, Stored};

/// Values that one task widens.
const CHUNK: usize = 1 << 16;

/// Row after row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Blocks {
    Q8_0(Vec<BlockQ8_0>),
    Q4_0(Vec<BlockQ4_0>),
    Q4K(Vec<BlockQ4K>),
    Q6K(Vec<BlockQ6K>),
    Wide(Vec<BlockWide>),
}

/// Kinds of blocks that values are quantised to here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// 8.5 bits a value.
    Q8_0,
    /// 4.5 bits a value.
    Q4_0,
    /// 4.5 bits a value, closer to it than [`Q4_0`](Self::Q4_0).
    Q4K,
}

/// `[rows, columns]`
#[derive(Debug, PartialEq)]
pub struct QuantisedMatrix {
    rows: usize,
    columns: usize,
    blocks: Blocks,
}

/// What is done with a matrix's units, whatever their kind.
pub(crate) trait Work {
    type Output;

    /// A row's units are `stride` units behind those of the row before.
    fn run<E: Stored>(self, units: &[E], stride: usize) -> Self::Output;
}

/// The values of some rows, on all threads.
pub(crate) struct Widen;

impl Work for Widen {
    type Output = Vec<f32>;

    fn run<E: Stored>(self, units: &[E], _: usize) -> Vec<f32> {
        let mut out = vec![0.0; units.len() * E::VALUES];
        let parts = out.par_chunks_mut(CHUNK).zip(units.par_chunks(CHUNK / E::VALUES));
        parts.for_each(|(out, units)| {
            for (out, unit) in out.chunks_exact_mut(E::VALUES).zip(units) {
                for (at, out) in out.iter_mut().enumerate() {
                    *out = unit.widen(at);
                }
            }
        });
        out
    }
}

impl BlockKind {
    /// Values of a block.
    pub(crate) const fn values(self) -> usize {
        match self {
            BlockKind::Q8_0 => BlockQ8_0::VALUES,
            BlockKind::Q4_0 => BlockQ4_0::VALUES,
            BlockKind::Q4K => BlockQ4K::VALUES,
        }
    }
}

impl Blocks {
    fn values(&self) -> (usize, usize) {
        match self {
            Blocks::Q8_0(blocks) => (blocks.len(), BlockQ8_0::VALUES),
            Blocks::Q4_0(blocks) => (blocks.len(), BlockQ4_0::VALUES),
            Blocks::Q4K(blocks) => (blocks.len(), BlockQ4K::VALUES),
            Blocks::Q6K(blocks) => (blocks.len(), BlockQ6K::VALUES),
            Blocks::Wide(blocks) => (blocks.len(), BlockWide::VALUES),
        }
    }
}

impl QuantisedMatrix {
    /// # Errors
    /// Rows that are not whole blocks, or another number of them.
    pub(crate) fn new(rows: usize, columns: usize, blocks: Blocks) -> Result<Self> {
        let (count, values) = blocks.values();
        if !columns.is_multiple_of(values) || rows.checked_mul(columns / values) != Some(count) {
            candle_core::bail!("{count} blocks of {values} values are not {rows} rows of {columns}");
        }
        Ok(Self { rows, columns, blocks })
    }

    /// Quantises what `values` gives for some rows, row after row, on all threads and in parts.
    ///
    /// # Errors
    /// Rows that are not whole blocks, and what `values` says.
    pub(crate) fn of_rows(
        kind: BlockKind,
        rows: usize,
        columns: usize,
        values: impl Fn(Range<usize>) -> Result<Vec<f32>> + Sync,
    ) -> Result<Self> {
        let shape = (rows, columns);
        let blocks = match kind {
            BlockKind::Q8_0 => Blocks::Q8_0(quantised(GgmlDType::Q8_0, shape, values)?),
            BlockKind::Q4_0 => Blocks::Q4_0(quantised(GgmlDType::Q4_0, shape, values)?),
            BlockKind::Q4K => Blocks::Q4K(quantised(GgmlDType::Q4K, shape, values)?),
        };
        Self::new(rows, columns, blocks)
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    /// What it takes in memory.
    pub fn bytes(&self) -> usize {
        self.as_bytes().len()
    }

    /// Its blocks as they lie in memory.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.blocks {
            Blocks::Q8_0(blocks) => bytemuck::cast_slice(blocks),
            Blocks::Q4_0(blocks) => bytemuck::cast_slice(blocks),
            Blocks::Q4K(blocks) => bytemuck::cast_slice(blocks),
            Blocks::Q6K(blocks) => bytemuck::cast_slice(blocks),
            Blocks::Wide(blocks) => bytemuck::cast_slice(blocks),
        }
    }

    /// `work` on some of its rows.
    pub(crate) fn with_rows<W: Work>(&self, rows: Range<usize>, work: W) -> W::Output {
        fn run<E: Stored, W: Work>(columns: usize, blocks: &[E], rows: Range<usize>, work: W) -> W::Output {
            let stride = columns / E::VALUES;
            work.run(&blocks[rows.start * stride..rows.end * stride], stride)
        }
        match &self.blocks {
            Blocks::Q8_0(blocks) => run(self.columns, blocks, rows, work),
            Blocks::Q4_0(blocks) => run(self.columns, blocks, rows, work),
            Blocks::Q4K(blocks) => run(self.columns, blocks, rows, work),
            Blocks::Q6K(blocks) => run(self.columns, blocks, rows, work),
            Blocks::Wide(blocks) => run(self.columns, blocks, rows, work),
        }
    }
}

/// By candle's quantisation, which is llama.cpp's reference one.
fn quantised<E: Stored>(
    dtype: GgmlDType,
    (rows, columns): (usize, usize),
    values: impl Fn(Range<usize>) -> Result<Vec<f32>> + Sync,
) -> Result<Vec<E>> {
    /// Values that one task quantises.
    const AT_ONCE: usize = 1 << 18;
    if !columns.is_multiple_of(E::VALUES) {
        candle_core::bail!("rows of {columns} values are not whole blocks of {}", E::VALUES);
    }
    let step = (AT_ONCE / columns.max(1)).max(1);
    let mut blocks = vec![E::zeroed(); rows * (columns / E::VALUES)];
    let parts = blocks.par_chunks_mut((step * (columns / E::VALUES)).max(1)).enumerate();
    parts.try_for_each(|(part, blocks)| {
        let values = values(part * step..rows.min((part + 1) * step))?;
        let tensor = QTensor::quantize(&Tensor::new(values, &Device::Cpu)?, dtype)?;
        let bytes = tensor.data()?;
        let to = bytemuck::cast_slice_mut::<E, u8>(blocks);
        if bytes.len() != to.len() {
            candle_core::bail!("{} bytes are not {} blocks", bytes.len(), blocks.len());
        }
        to.copy_from_slice(&bytes);
        Ok(())
    })?;
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use bytemuck::Pod;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// `count` blocks of random bytes with small factors at these places, and candle's reading of them.
    fn blocks(dtype: GgmlDType, count: usize, factors: &[usize]) -> (Vec<u8>, Vec<f32>) {
        let mut rng = ChaCha8Rng::seed_from_u64(count as u64);
        let mut bytes = vec![0; count * dtype.type_size()];
        rng.fill(bytes.as_mut_slice());
        for block in bytes.chunks_exact_mut(dtype.type_size()) {
            for at in factors {
                let factor = half::f16::from_f32(rng.random_range(-0.01..0.01));
                block[*at..at + 2].copy_from_slice(&factor.to_le_bytes());
            }
        }
        let stored =
            candle_core::quantized::QStorage::from_data((&bytes).into(), &Device::Cpu, dtype).unwrap();
        let tensor = QTensor::new(stored, count * dtype.block_size()).unwrap();
        let values = tensor.dequantize(&Device::Cpu).unwrap().to_vec1().unwrap();
        (bytes, values)
    }

    fn check<E: Pod>(dtype: GgmlDType, factors: &[usize], wrap: fn(Vec<E>) -> Blocks) {
        let (bytes, wanted) = blocks(dtype, 12, factors);
        let columns = 2 * dtype.block_size();
        let matrix = QuantisedMatrix::new(6, columns, wrap(bytemuck::pod_collect_to_vec(&bytes))).unwrap();
        assert_eq!(matrix.with_rows(0..6, Widen), wanted);
        assert_eq!(matrix.with_rows(2..4, Widen), wanted[2 * columns..4 * columns]);
        assert_eq!(matrix.bytes(), bytes.len());
        assert!(QuantisedMatrix::new(5, columns, wrap(bytemuck::pod_collect_to_vec(&bytes))).is_err());
        assert!(QuantisedMatrix::new(12, columns / 2 + 8, matrix.blocks).is_err());
    }

    #[test]
    fn blocks_are_widened_as_candle_does() {
        check(GgmlDType::Q8_0, &[0], Blocks::Q8_0);
        check(GgmlDType::Q4_0, &[0], Blocks::Q4_0);
        check(GgmlDType::Q4K, &[0, 2], Blocks::Q4K);
        check(GgmlDType::Q6K, &[208], Blocks::Q6K);
    }

    #[test]
    fn values_are_quantised_to_what_is_close() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let values: Vec<f32> = (0..3 * 256 * 200).map(|_| rng.random_range(-1.0..1.0)).collect();
        for (kind, furthest) in [(BlockKind::Q8_0, 0.005), (BlockKind::Q4_0, 0.13), (BlockKind::Q4K, 0.1)] {
            let of = |rows: Range<usize>| Ok(values[rows.start * 256..rows.end * 256].to_vec());
            let matrix = QuantisedMatrix::of_rows(kind, 600, 256, of).unwrap();
            let off = matrix
                .with_rows(0..600, Widen)
                .iter()
                .zip(&values)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(off < furthest && off > 0.0, "{kind:?}: {off}");
        }
        assert!(QuantisedMatrix::of_rows(BlockKind::Q8_0, 2, 40, |_| Ok(vec![0.0; 80])).is_err());
        let short = QuantisedMatrix::of_rows(BlockKind::Q8_0, 2, 64, |_| Ok(vec![0.0; 64]));
        assert!(short.is_err(), "values that are missing are an error");
    }
}
