//! How a weight that nobody trains lies in memory: in values of 32 or 16 bits, as a tensor, in quantised blocks, or in its file.
//!
//! How products are computed is [`hotplate_gemm`]'s matter. It must not know what the weight is multiplied with.
//!
//! Activations are not quantised, unlike llama.cpp's: a product is that of the blocks' values to f32's accuracy, the same for one row and for many, in
//! training and in answers (but for bf16 arithmetic). Blocks are GGUF's own, so that a file's bytes are used as they lie.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor};
use hotplate_gemm::Machine;

use super::mapped_matrix::{MappedKind, MappedMatrix, Materialized};
use super::quantised::{BlockKind, QuantisedMatrix, Widen, Work};

/// `[rows, columns]`. Cloning shares the memory.
#[derive(Debug, Clone)]
pub enum FrozenWeight {
    /// Contiguous, in f32, bf16 or f16.
    Values(Tensor),
    /// In CPU memory.
    Quantised(Arc<QuantisedMatrix>),
    /// In a file, for now.
    Mapped(Arc<MappedMatrix>),
}

impl From<Tensor> for FrozenWeight {
    fn from(values: Tensor) -> Self {
        // A weight that cannot be copied fails where it is used.
        FrozenWeight::Values(values.contiguous().unwrap_or(values))
    }
}

impl From<QuantisedMatrix> for FrozenWeight {
    fn from(matrix: QuantisedMatrix) -> Self {
        FrozenWeight::Quantised(Arc::new(matrix))
    }
}

impl FrozenWeight {
    pub fn rows(&self) -> usize {
        match self {
            FrozenWeight::Values(values) => values.dims().first().copied().unwrap_or(0),
            FrozenWeight::Quantised(matrix) => matrix.rows(),
            FrozenWeight::Mapped(matrix) => matrix.rows(),
        }
    }

    pub fn columns(&self) -> usize {
        match self {
            FrozenWeight::Values(values) => values.dims().get(1).copied().unwrap_or(0),
            FrozenWeight::Quantised(matrix) => matrix.columns(),
            FrozenWeight::Mapped(matrix) => matrix.columns(),
        }
    }

    /// Number of values.
    pub fn count(&self) -> usize {
        self.rows() * self.columns()
    }

    /// What it takes in memory.
    pub fn bytes(&self) -> usize {
        match self {
            FrozenWeight::Values(values) => values.elem_count() * values.dtype().size_in_bytes(),
            FrozenWeight::Quantised(matrix) => matrix.bytes(),
            FrozenWeight::Mapped(matrix) => matrix.bytes(),
        }
    }

    /// Copies it out of its file, if it still lies there.
    pub(crate) fn materialize(&self) -> Materialized {
        match self {
            FrozenWeight::Mapped(matrix) => matrix.materialize(),
            FrozenWeight::Values(_) | FrozenWeight::Quantised(_) => Materialized::Nothing,
        }
    }

    /// Whether its values have 16 bits at most.
    pub(crate) fn is_at_most_16_bit(&self) -> bool {
        match self {
            FrozenWeight::Values(values) => matches!(values.dtype(), DType::BF16 | DType::F16),
            FrozenWeight::Quantised(_) => true,
            FrozenWeight::Mapped(matrix) => matrix.kind() != MappedKind::F32,
        }
    }

    pub(crate) fn is_quantised(&self) -> bool {
        match self {
            FrozenWeight::Values(_) => false,
            FrozenWeight::Quantised(_) => true,
            FrozenWeight::Mapped(matrix) => matrix.kind().is_quantised(),
        }
    }

    /// Whether products with it are of bf16 values because it is stored so, and not only of its blocks'.
    pub(crate) fn is_multiplied_as_bf16(&self) -> bool {
        let stored_so = match self {
            FrozenWeight::Values(values) => values.dtype() == DType::BF16 && values.device().is_cpu(),
            FrozenWeight::Quantised(_) => false,
            FrozenWeight::Mapped(matrix) => matrix.kind() == MappedKind::Bf16,
        };
        stored_so && Machine::here().multiplies_bf16::<half::bf16>()
    }

    pub(crate) fn device(&self) -> &Device {
        match self {
            FrozenWeight::Values(values) => values.device(),
            FrozenWeight::Quantised(_) | FrozenWeight::Mapped(_) => &Device::Cpu,
        }
    }

    /// All values as a tensor: as it is where it is one, else widened to f32.
    pub fn values(&self) -> Result<Tensor> {
        match self {
            FrozenWeight::Values(values) => Ok(values.clone()),
            FrozenWeight::Quantised(_) => self.widened(0..self.rows()),
            FrozenWeight::Mapped(matrix) => {
                matrix.materialize();
                match matrix.copied() {
                    Some(weight) => weight.values(),
                    None => self.widened(0..self.rows()),
                }
            }
        }
    }

    /// Some rows in f32.
    pub(crate) fn widened(&self, rows: Range<usize>) -> Result<Tensor> {
        match self {
            FrozenWeight::Values(values) => values.narrow(0, rows.start, rows.len())?.to_dtype(DType::F32),
            FrozenWeight::Quantised(_) | FrozenWeight::Mapped(_) => {
                let shape = (rows.len(), self.columns());
                Tensor::from_vec(self.with_rows(rows, Widen)?, shape, &Device::Cpu)
            }
        }
    }

    /// Its values in blocks of this kind.
    ///
    /// # Errors
    /// Rows that are not whole blocks, another memory than the CPU's.
    pub(crate) fn quantised(&self, kind: BlockKind) -> Result<QuantisedMatrix> {
        let values = |rows: Range<usize>| {
            let values = self.widened(rows.clone())?.flatten_all()?.to_vec1::<f32>()?;
            if let FrozenWeight::Mapped(mapped) = self {
                mapped.release_pages(rows);
            }
            Ok(values)
        };
        QuantisedMatrix::of_rows(kind, self.rows(), self.columns(), values)
    }

    /// The rows of these numbers, `[numbers, columns]` in f32: what an embedding looks up.
    ///
    /// # Errors
    /// A number that is no row.
    pub fn look_up(&self, numbers: &[u32]) -> Result<Tensor> {
        if let Some(number) = numbers.iter().find(|number| **number as usize >= self.rows()) {
            candle_core::bail!("row {number} is outside a weight of {} rows", self.rows());
        }
        match self {
            FrozenWeight::Values(values) => {
                let index = Tensor::new(numbers, values.device())?;
                values.index_select(&index, 0)?.to_dtype(DType::F32)
            }
            FrozenWeight::Quantised(_) | FrozenWeight::Mapped(_) => {
                let mut rows = Vec::with_capacity(numbers.len() * self.columns());
                for &number in numbers {
                    rows.append(&mut self.with_rows(number as usize..number as usize + 1, Widen)?);
                }
                Tensor::from_vec(rows, (numbers.len(), self.columns()), &Device::Cpu)
            }
        }
    }

    /// Whether [`with_rows`](Self::with_rows) can read it: other memories and other types go through candle.
    pub(crate) fn on_host(&self) -> bool {
        match self {
            FrozenWeight::Values(values) => {
                let stored = matches!(values.dtype(), DType::F32 | DType::BF16 | DType::F16);
                stored && values.device().is_cpu()
            }
            FrozenWeight::Quantised(_) | FrozenWeight::Mapped(_) => true,
        }
    }

    /// `work` on the memory of some rows.
    pub(crate) fn with_rows<W: Work>(&self, rows: Range<usize>, work: W) -> Result<W::Output> {
        if rows.start > rows.end || rows.end > self.rows() {
            candle_core::bail!("rows {rows:?} are outside a weight of {} rows", self.rows());
        }
        let values = match self {
            FrozenWeight::Values(values) => values,
            FrozenWeight::Quantised(matrix) => return Ok(matrix.with_rows(rows, work)),
            FrozenWeight::Mapped(matrix) => return matrix.with_rows(rows, work),
        };
        let columns = self.columns();
        let (storage, layout) = values.storage_and_layout();
        let Some((start, _)) = layout.contiguous_offsets() else {
            candle_core::bail!("a weight's rows are not close together");
        };
        let range = start + rows.start * columns..start + rows.end * columns;
        match &*storage {
            Storage::Cpu(CpuStorage::F32(values)) => Ok(work.run(&values[range], columns)),
            Storage::Cpu(CpuStorage::BF16(values)) => Ok(work.run(&values[range], columns)),
            Storage::Cpu(CpuStorage::F16(values)) => Ok(work.run(&values[range], columns)),
            _ => candle_core::bail!("a weight in f32, bf16 or f16 in CPU memory was expected"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{distance, random};

    #[test]
    fn rows_are_looked_up_in_f32() {
        let values = random(&[5, 4], 1).to_dtype(DType::BF16).unwrap();
        let weight = FrozenWeight::from(values.clone());
        let wanted = values.to_dtype(DType::F32).unwrap();
        let found = weight.look_up(&[4, 0, 4]).unwrap();
        assert_eq!(found.dtype(), DType::F32);
        for (row, number) in [4, 0, 4].into_iter().enumerate() {
            assert!(distance(&found.get(row).unwrap(), &wanted.get(number).unwrap()) == 0.0);
        }
        assert!(weight.look_up(&[5]).is_err());
    }

    #[test]
    fn a_quantised_weight_is_close_to_its_values() {
        let values = random(&[5000, 256], 1).to_dtype(DType::BF16).unwrap();
        let wanted = values.to_dtype(DType::F32).unwrap();
        for (kind, bytes, furthest) in [(BlockKind::Q8_0, 272, 0.02), (BlockKind::Q4K, 144, 0.3)] {
            let weight = FrozenWeight::from(FrozenWeight::from(values.clone()).quantised(kind).unwrap());
            assert_eq!((weight.bytes(), weight.count()), (5000 * bytes, 5000 * 256));
            let widened = weight.values().unwrap();
            assert!(distance(&widened, &wanted) < furthest);
            let rows = weight.look_up(&[4999, 7]).unwrap();
            assert!(distance(&rows.get(1).unwrap(), &widened.get(7).unwrap()) == 0.0);
            assert!(weight.look_up(&[5000]).is_err());
        }
        assert!(FrozenWeight::from(random(&[3, 58], 1)).quantised(BlockKind::Q8_0).is_err());
    }

    /// Products with quantised weights are those with their values, in both directions and for parts.
    #[test]
    fn a_layer_multiplies_by_the_values_of_its_blocks() {
        use crate::ops::frozen_linear::FrozenLinear;
        use hotplate_gemm::{Machine, Values};
        let weight = FrozenWeight::from(random(&[70, 256], 2));
        for kind in [BlockKind::Q8_0, BlockKind::Q4_0, BlockKind::Q4K] {
            let quantised = FrozenWeight::from(weight.quantised(kind).unwrap());
            let plain = FrozenLinear::new(quantised.values().unwrap(), None);
            let layer = FrozenLinear::new(quantised, None);
            for tokens in [1, 3, 9, 40] {
                let (x, dy) = (random(&[tokens, 256], 3), random(&[tokens, 70], 4));
                // With blocks, rows are rounded to bf16, few only beside four bits; with plain f32 values, none are.
                let rounds =
                    Machine::here().values() == Values::Bf16 && (tokens > 8 || kind != BlockKind::Q8_0);
                let near = if rounds { 0.1 } else { 2e-5 };
                let close = |one: Result<Tensor>, other: Result<Tensor>| {
                    assert!(distance(&one.unwrap(), &other.unwrap()) < near, "{kind:?}, {tokens}");
                };
                close(layer.forward(&x), plain.forward(&x));
                close(layer.backward(&dy), plain.backward(&dy));
                close(layer.forward_part(&x, 11..46), plain.forward_part(&x, 11..46));
                let part = dy.narrow(1, 11, 35).unwrap();
                close(layer.backward_part(&part, 11..46), plain.backward_part(&part, 11..46));
            }
        }
    }
}
