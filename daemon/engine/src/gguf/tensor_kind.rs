//! The types of values that tensors of a GGUF file may have, and how they become f32.

use std::borrow::Cow;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::wide;
use crate::ops::frozen_weight::FrozenWeight;
use crate::ops::mapped_matrix::MappedKind;
use crate::ops::quantised::{Blocks, QuantisedMatrix};

/// A type of values that this version reads. A block is the smallest part that stands for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TensorKind {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

/// A matrix as it lies in its file, rows in the order of the Hugging Face checkpoint.
#[derive(Debug)]
pub(super) struct GgmlBlocks<'a> {
    pub(super) kind: TensorKind,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Row after row, each a whole number of blocks.
    pub(super) bytes: Cow<'a, [u8]>,
}

/// Values that one task converts.
const CHUNK: usize = 1 << 18;

impl TensorKind {
    /// The type with a number of `ggml.h`; else how that number is called there.
    pub(super) fn of(number: u32) -> Result<TensorKind, String> {
        Ok(match number {
            0 => TensorKind::F32,
            1 => TensorKind::F16,
            2 => TensorKind::Q4_0,
            3 => TensorKind::Q4_1,
            6 => TensorKind::Q5_0,
            7 => TensorKind::Q5_1,
            8 => TensorKind::Q8_0,
            10 => TensorKind::Q2K,
            11 => TensorKind::Q3K,
            12 => TensorKind::Q4K,
            13 => TensorKind::Q5K,
            14 => TensorKind::Q6K,
            30 => TensorKind::Bf16,
            other => {
                const OTHERS: [(u32, &str); 18] = [
                    (9, "Q8_1"),
                    (15, "Q8_K"),
                    (16, "IQ2_XXS"),
                    (17, "IQ2_XS"),
                    (18, "IQ3_XXS"),
                    (19, "IQ1_S"),
                    (20, "IQ4_NL"),
                    (21, "IQ3_S"),
                    (22, "IQ2_S"),
                    (23, "IQ4_XS"),
                    (24, "I8"),
                    (25, "I16"),
                    (26, "I32"),
                    (27, "I64"),
                    (28, "F64"),
                    (29, "IQ1_M"),
                    (34, "TQ1_0"),
                    (35, "TQ2_0"),
                ];
                let name = OTHERS.iter().find(|(known, _)| *known == other);
                return Err(name.map_or_else(|| format!("number {other}"), |(_, name)| (*name).to_owned()));
            }
        })
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            TensorKind::F32 => "F32",
            TensorKind::F16 => "F16",
            TensorKind::Bf16 => "BF16",
            TensorKind::Q4_0 => "Q4_0",
            TensorKind::Q4_1 => "Q4_1",
            TensorKind::Q5_0 => "Q5_0",
            TensorKind::Q5_1 => "Q5_1",
            TensorKind::Q8_0 => "Q8_0",
            TensorKind::Q2K => "Q2_K",
            TensorKind::Q3K => "Q3_K",
            TensorKind::Q4K => "Q4_K",
            TensorKind::Q5K => "Q5_K",
            TensorKind::Q6K => "Q6_K",
        }
    }

    /// Its number in `ggml.h`.
    pub(super) const fn number(self) -> u32 {
        match self {
            TensorKind::F32 => 0,
            TensorKind::F16 => 1,
            TensorKind::Q4_0 => 2,
            TensorKind::Q4_1 => 3,
            TensorKind::Q5_0 => 6,
            TensorKind::Q5_1 => 7,
            TensorKind::Q8_0 => 8,
            TensorKind::Q2K => 10,
            TensorKind::Q3K => 11,
            TensorKind::Q4K => 12,
            TensorKind::Q5K => 13,
            TensorKind::Q6K => 14,
            TensorKind::Bf16 => 30,
        }
    }

    /// What [`of`](Self::of) knows, for messages.
    pub(super) const KNOWN: &str = "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and Q2_K to Q6_K";

    pub(super) const fn dtype(self) -> GgmlDType {
        match self {
            TensorKind::F32 => GgmlDType::F32,
            TensorKind::F16 => GgmlDType::F16,
            TensorKind::Bf16 => GgmlDType::BF16,
            TensorKind::Q4_0 => GgmlDType::Q4_0,
            TensorKind::Q4_1 => GgmlDType::Q4_1,
            TensorKind::Q5_0 => GgmlDType::Q5_0,
            TensorKind::Q5_1 => GgmlDType::Q5_1,
            TensorKind::Q8_0 => GgmlDType::Q8_0,
            TensorKind::Q2K => GgmlDType::Q2K,
            TensorKind::Q3K => GgmlDType::Q3K,
            TensorKind::Q4K => GgmlDType::Q4K,
            TensorKind::Q5K => GgmlDType::Q5K,
            TensorKind::Q6K => GgmlDType::Q6K,
        }
    }

    /// Where the kernels read it as it is.
    pub(super) const fn mapped(self) -> Option<MappedKind> {
        Some(match self {
            TensorKind::F32 => MappedKind::F32,
            TensorKind::F16 => MappedKind::F16,
            TensorKind::Bf16 => MappedKind::Bf16,
            TensorKind::Q8_0 => MappedKind::Q8_0,
            TensorKind::Q4_0 => MappedKind::Q4_0,
            TensorKind::Q4K => MappedKind::Q4K,
            TensorKind::Q6K => MappedKind::Q6K,
            TensorKind::Q4_1
            | TensorKind::Q5_0
            | TensorKind::Q5_1
            | TensorKind::Q2K
            | TensorKind::Q3K
            | TensorKind::Q5K => return None,
        })
    }

    /// Values of a block.
    pub(crate) fn block_values(self) -> usize {
        self.dtype().block_size()
    }

    /// Bytes of a block.
    fn block_bytes(self) -> usize {
        self.dtype().type_size()
    }

    /// Bytes of a row; it must be whole blocks.
    pub(crate) fn row_bytes(self, columns: usize) -> Option<usize> {
        let whole = columns.is_multiple_of(self.block_values());
        whole.then(|| (columns / self.block_values()).checked_mul(self.block_bytes())).flatten()
    }
}

impl GgmlBlocks<'_> {
    /// A copy that the kernels read, in wider blocks of our own if need be; nothing for types that have none.
    pub(super) fn copied(&self) -> candle_core::Result<Option<FrozenWeight>> {
        if let Some(kind) = self.kind.mapped() {
            return kind.copy((self.rows, self.columns), &self.bytes, |_| ()).map(Some);
        }
        let Some(blocks) = wide::blocks(self.kind, &self.bytes, self.kind.block_bytes()) else {
            return Ok(None);
        };
        let matrix = QuantisedMatrix::new(self.rows, self.columns, Blocks::Wide(blocks))?;
        Ok(Some(matrix.into()))
    }

    /// All values as f32, row after row.
    pub(super) fn values(&self) -> candle_core::Result<Vec<f32>> {
        let (values, bytes) = (self.kind.block_values(), self.kind.block_bytes());
        let blocks = (CHUNK / values).max(1);
        let mut out = vec![0.0; self.rows * self.columns];
        let parts = out.par_chunks_mut(blocks * values).zip(self.bytes.par_chunks(blocks * bytes));
        parts.try_for_each(|(to, from)| {
            // A copy in whole words, because candle wants its blocks aligned, and a file need not have them so.
            let mut words = vec![0_u64; from.len().div_ceil(8)];
            let aligned = &mut bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..from.len()];
            aligned.copy_from_slice(from);
            let stored = QStorage::from_data(Cow::Borrowed(&*aligned), &Device::Cpu, self.kind.dtype())?;
            let flat: Tensor = QTensor::new(stored, to.len())?.dequantize(&Device::Cpu)?;
            to.copy_from_slice(&flat.to_vec1::<f32>()?);
            candle_core::Result::Ok(())
        })?;
        Ok(out)
    }
}
