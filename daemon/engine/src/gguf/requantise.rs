//! A changed tensor as bytes: in the type that it had, or in a wider one where rounding would lose the change.
//!
//! Quantised weights lie on a grid, and what an adapter adds is mostly less than half of its step: rounded back to the same grid, the weight
//! would be what it was before, and the adapter gone. So the loss is measured against the change.
//!
//! Where more than a quarter of the change is lost, the tensor goes to Q8_0, then to F16.

use candle_core::quantized::QTensor;
use candle_core::{Device, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

use super::tensor_kind::{GgmlBlocks, TensorKind};

/// Of a change, in the root of the mean square.
const MOST_LOST: f64 = 0.25;
/// Values that one task rounds; a multiple of every block's.
const CHUNK: usize = 1 << 16;

/// Row after row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change<'a> {
    pub(crate) before: &'a [f32],
    pub(crate) after: &'a [f32],
    pub(crate) columns: usize,
}

impl Change<'_> {
    /// The type and the bytes of what came out of it.
    ///
    /// # Errors
    /// candle refuses the values.
    pub(crate) fn encoded(self, kind: TensorKind) -> candle_core::Result<(TensorKind, Vec<u8>)> {
        if kind.block_values() == 1 {
            return Ok((kind, plain(kind, self.after)));
        }
        let size = squares(self.before, self.after);
        for kind in [kind, TensorKind::Q8_0] {
            if !self.columns.is_multiple_of(kind.block_values()) {
                continue;
            }
            let bytes = quantised(kind, self.after)?;
            let (rows, columns) = (self.after.len() / self.columns, self.columns);
            let rounded = GgmlBlocks { kind, rows, columns, bytes: bytes.as_slice().into() }.values()?;
            if squares(&rounded, self.after) <= size * MOST_LOST * MOST_LOST {
                return Ok((kind, bytes));
            }
        }
        let largest = self.after.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let kind = if largest <= f16::MAX.to_f32() { TensorKind::F16 } else { TensorKind::F32 };
        Ok((kind, plain(kind, self.after)))
    }
}

fn squares(one: &[f32], other: &[f32]) -> f64 {
    one.iter().zip(other).map(|(one, other)| f64::from(one - other).powi(2)).sum()
}

/// Values of a type without blocks; F32 for any other.
pub(crate) fn plain(kind: TensorKind, values: &[f32]) -> Vec<u8> {
    match kind {
        TensorKind::F16 => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
        TensorKind::Bf16 => values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

fn quantised(kind: TensorKind, values: &[f32]) -> candle_core::Result<Vec<u8>> {
    let parts = values.par_chunks(CHUNK).map(|part| {
        let tensor = Tensor::from_slice(part, part.len(), &Device::Cpu)?;
        Ok(QTensor::quantize(&tensor, kind.dtype())?.data()?.into_owned())
    });
    Ok(parts.collect::<candle_core::Result<Vec<_>>>()?.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{flat, random};

    const KINDS: [TensorKind; 10] = [
        TensorKind::Q4_0,
        TensorKind::Q4_1,
        TensorKind::Q5_0,
        TensorKind::Q5_1,
        TensorKind::Q8_0,
        TensorKind::Q2K,
        TensorKind::Q3K,
        TensorKind::Q4K,
        TensorKind::Q5K,
        TensorKind::Q6K,
    ];

    fn values(kind: TensorKind, bytes: &[u8]) -> Vec<f32> {
        GgmlBlocks { kind, rows: 4, columns: 256, bytes: bytes.into() }.values().unwrap()
    }

    fn after(before: &[f32], size: f32) -> Vec<f32> {
        let added = flat(&random(&[4, 256], 9));
        before.iter().zip(added).map(|(before, added)| before + size * added).collect()
    }

    #[test]
    fn a_change_is_never_rounded_away() {
        let weights = flat(&random(&[4, 256], 3));
        for kind in KINDS {
            let before = values(kind, &quantised(kind, &weights).unwrap());
            // The change of a large weight keeps its type, but where that is coarser than the change ...
            for size in [0.01, 0.3, 3.0] {
                let after = after(&before, size);
                let change = Change { before: &before, after: &after, columns: 256 };
                let (wider, bytes) = change.encoded(kind).unwrap();
                let found = values(wider, &bytes);
                let share = (squares(&found, &after) / squares(&before, &after)).sqrt();
                assert!(share <= MOST_LOST, "{kind:?} {size}: {wider:?} loses {share}");
            }
            // ... and so it would be if it were small.
            let after = after(&before, 0.01);
            let lost = squares(&values(kind, &quantised(kind, &after).unwrap()), &after);
            let change = Change { before: &before, after: &after, columns: 256 };
            let kept = change.encoded(kind).unwrap().0 == kind;
            assert_eq!(kept, lost <= squares(&before, &after) * MOST_LOST * MOST_LOST);
        }
        let (kind, _) = Change { before: &weights, after: &after(&weights, 1.0), columns: 256 }
            .encoded(TensorKind::Q8_0)
            .unwrap();
        assert_eq!(kind, TensorKind::Q8_0);
        let huge: Vec<f32> = weights.iter().map(|value| value * 1e6).collect();
        let tiny = after(&huge, 1e-3);
        let change = Change { before: &huge, after: &tiny, columns: 256 };
        assert_eq!(change.encoded(TensorKind::Q4_0).unwrap().0, TensorKind::F32);
    }

    #[test]
    fn types_without_blocks_are_kept() {
        let weights = flat(&random(&[4, 256], 3));
        for kind in [TensorKind::F32, TensorKind::F16, TensorKind::Bf16] {
            let change = Change { before: &weights, after: &weights, columns: 256 };
            let (same, bytes) = change.encoded(kind).unwrap();
            let far = squares(&values(same, &bytes), &weights).sqrt();
            assert!(same == kind && far < 0.2, "{kind:?} {far}");
        }
    }
}
