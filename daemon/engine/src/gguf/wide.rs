//! Quantised types that no kernel reads as they are, in blocks of whole bytes: the same values in more memory, and far less than f32 would take.
//!
//! Bit layouts: llama.cpp's `ggml-common.h` and its `dequantize_row_*`.

use half::f16;
use hotplate_gemm::{BlockWide, k_scales};
use rayon::prelude::*;

use super::tensor_kind::TensorKind;

/// The blocks of Q4_1, Q5_0, Q5_1 and Q5_K; nothing of other types.
pub(super) fn blocks(kind: TensorKind, bytes: &[u8], block_bytes: usize) -> Option<Vec<BlockWide>> {
    let widen: fn(&[u8]) -> Vec<BlockWide> = match kind {
        TensorKind::Q4_1 => |block| {
            let (factor, shift) = (f16_at(block, 0), f16_at(block, 2));
            vec![BlockWide { factor, shift, numbers: fives(&block[4..], None) }]
        },
        TensorKind::Q5_0 => |block| {
            let factor = f16_at(block, 0);
            // The numbers are 16 too large; a factor of 11 bits times 16 is exact.
            vec![BlockWide { factor, shift: -16.0 * factor, numbers: fives(&block[6..], Some(&block[2..6])) }]
        },
        TensorKind::Q5_1 => |block| {
            let (factor, shift) = (f16_at(block, 0), f16_at(block, 2));
            vec![BlockWide { factor, shift, numbers: fives(&block[8..], Some(&block[4..8])) }]
        },
        TensorKind::Q5K => five_k,
        _ => return None,
    };
    Some(bytes.par_chunks_exact(block_bytes).flat_map_iter(widen).collect())
}

fn f16_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// 32 numbers: four bits each in 16 bytes, the lower halves first, and a fifth bit of each in `top`.
fn fives(bytes: &[u8], top: Option<&[u8]>) -> [u8; 32] {
    std::array::from_fn(|at| {
        let top = top.map_or(0, |top| top[at / 8] >> (at % 8) & 1);
        bytes[at % 16] >> (at / 16 * 4) & 15 | top << 4
    })
}

/// Eight blocks of 32 of one of Q5_K: bit `i` of 32 bytes is the fifth bit in block `i`.
fn five_k(block: &[u8]) -> Vec<BlockWide> {
    let (factor, shift) = (f16_at(block, 0), f16_at(block, 2));
    let (scales, minima) = k_scales(&std::array::from_fn(|at| block[4 + at]));
    let (top, low) = (&block[16..48], &block[48..]);
    let part = |part: usize| {
        let numbers = std::array::from_fn(|at| {
            low[part / 2 * 32 + at] >> (part % 2 * 4) & 15 | (top[at] >> part & 1) << 4
        });
        let (factor, shift) = (factor * f32::from(scales[part]), -shift * f32::from(minima[part]));
        BlockWide { factor, shift, numbers }
    };
    (0..8).map(part).collect()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use candle_core::Device;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::tensor_kind::GgmlBlocks;
    use super::*;

    #[test]
    fn every_type_has_the_values_that_candle_reads() {
        for (kind, factors) in [
            (TensorKind::Q8_0, &[0][..]),
            (TensorKind::Q4_0, &[0]),
            (TensorKind::Q4_1, &[0, 2]),
            (TensorKind::Q5_0, &[0]),
            (TensorKind::Q5_1, &[0, 2]),
            (TensorKind::Q4K, &[0, 2]),
            (TensorKind::Q5K, &[0, 2]),
            (TensorKind::Q6K, &[208]),
        ] {
            let (rows, columns) = (6, 512);
            let row = kind.row_bytes(columns).unwrap();
            let in_block = row / (columns / kind.block_values());
            let mut rng = ChaCha8Rng::seed_from_u64(4);
            let mut bytes = vec![0; rows * row];
            rng.fill(bytes.as_mut_slice());
            for block in bytes.chunks_exact_mut(in_block) {
                for at in factors {
                    let factor = f16::from_f32(rng.random_range(-0.01..0.01));
                    block[*at..at + 2].copy_from_slice(&factor.to_le_bytes());
                }
            }
            let blocks = GgmlBlocks { kind, rows, columns, bytes: Cow::Borrowed(&bytes) };
            let found = blocks.copied().unwrap().unwrap().values().unwrap();
            assert!(found.device().same_device(&Device::Cpu));
            let found: Vec<f32> = found.flatten_all().unwrap().to_vec1().unwrap();
            assert_eq!(found, blocks.values().unwrap(), "{kind:?}");
        }
        let none = GgmlBlocks { kind: TensorKind::Q2K, rows: 0, columns: 256, bytes: Cow::Borrowed(&[]) };
        assert!(none.copied().unwrap().is_none());
    }
}
