//! Rotary position embedding (Su et al. 2021, <https://arxiv.org/abs/2104.09864>) in the half-split form of Hugging Face's Llama:
//! value `i` of a head turns with value `i + width/2`. Where the width is less than the head's, the values behind it pass through.

use candle_core::{Device, Result, Tensor};
use hotplate_gemm::wide;
use rayon::prelude::*;

use super::host::{HostSlice, on_host};

/// Cosines and sines of each token's angles, `[tokens, width/2]` each; made once per batch, shared by all layers that turn alike.
#[derive(Debug, Clone)]
pub struct RopeTable {
    cos: Tensor,
    sin: Tensor,
}

impl RopeTable {
    /// Rows for the positions of each part, whose tokens turn by the part's inverse frequencies (`width/2` values; the same number in
    /// each part). `factor` goes onto cosines and sines. Angles are taken in f32, as the reference implementation does.
    pub fn new(parts: &[(&[u32], &[f32])], factor: f32, device: &Device) -> Result<RopeTable> {
        let half = parts.first().map_or(0, |(_, frequencies)| frequencies.len());
        let tokens = parts.iter().map(|(positions, _)| positions.len()).sum::<usize>();
        let angles: Vec<f32> = parts
            .iter()
            .flat_map(|(positions, frequencies)| {
                positions.iter().flat_map(move |p| frequencies.iter().map(move |f| *p as f32 * f))
            })
            .collect();
        let table = |f: fn(f32) -> f32| {
            let values: Vec<f32> = angles.iter().map(|angle| f(*angle) * factor).collect();
            Tensor::from_vec(values, (tokens, half), device)
        };
        Ok(RopeTable { cos: table(f32::cos)?, sin: table(f32::sin)? })
    }
}

/// Which way the pairs turn. The gradient of a rotation is the rotation back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Forward,
    Back,
}

/// `x: [tokens, heads, d]` to the same shape.
pub fn forward(x: &Tensor, table: &RopeTable) -> Result<Tensor> {
    rotate(x, table, Turn::Forward)
}

/// `dx` for `dy`.
pub fn backward(dy: &Tensor, table: &RopeTable) -> Result<Tensor> {
    rotate(dy, table, Turn::Back)
}

fn rotate(x: &Tensor, table: &RopeTable, turn: Turn) -> Result<Tensor> {
    if x.elem_count() == 0 {
        return Ok(x.clone());
    }
    if !on_host(x) {
        return composed(x, table, turn);
    }
    let (_, heads, d) = x.dims3()?;
    let half = table.cos.dim(1)?;
    let (xs, cos, sin) = (HostSlice::new(x)?, HostSlice::new(&table.cos)?, HostSlice::new(&table.sin)?);
    let (xs, cos, sin) = (xs.read()?, cos.read()?, sin.read()?);
    let mut ys = xs.to_vec();
    let row = heads * d;
    ys.par_chunks_mut(row)
        .zip(xs.par_chunks(row))
        .zip(cos.par_chunks(half).zip(sin.par_chunks(half)))
        .with_min_len(16)
        .for_each(|((ys, xs), (cos, sin))| match turn {
            Turn::Forward => turn_heads(ys, xs, d, cos, sin, 1.0),
            Turn::Back => turn_heads(ys, xs, d, cos, sin, -1.0),
        });
    Tensor::from_vec(ys, x.dims(), x.device())
}

wide! {
    /// One token's heads, `d` values each. `sense`: 1 forward, -1 back.
    fn turn_heads(ys: &mut [f32], xs: &[f32], d: usize, cos: &[f32], sin: &[f32], sense: f32) {
        let half = cos.len();
        for (y, x) in ys.chunks_exact_mut(d).zip(xs.chunks_exact(d)) {
            let (y_low, y_high) = y.split_at_mut(half);
            let (x_low, x_high) = x.split_at(half);
            let outputs = y_low.iter_mut().zip(y_high);
            let inputs = x_low.iter().zip(x_high).zip(cos.iter().zip(sin));
            for ((y_low, y_high), ((x_low, x_high), (c, s))) in outputs.zip(inputs) {
                let s = s * sense;
                *y_low = x_low * c - x_high * s;
                *y_high = x_high * c + x_low * s;
            }
        }
    }
}

fn composed(x: &Tensor, table: &RopeTable, turn: Turn) -> Result<Tensor> {
    let (half, d) = (table.cos.dim(1)?, x.dim(2)?);
    let (low, high) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
    let cos = table.cos.unsqueeze(1)?;
    let sin = if turn == Turn::Forward { table.sin.clone() } else { table.sin.neg()? }.unsqueeze(1)?;
    let y_low = (low.broadcast_mul(&cos)? - high.broadcast_mul(&sin)?)?;
    let y_high = (high.broadcast_mul(&cos)? + low.broadcast_mul(&sin)?)?;
    Tensor::cat(&[y_low, y_high, x.narrow(2, 2 * half, d - 2 * half)?], 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{distance, random, slope};

    /// All six values turn, and four of six.
    fn tables() -> [RopeTable; 2] {
        let positions = [0, 3, 1, 900];
        let table = |frequencies: &[f32], factor| {
            RopeTable::new(&[(positions.as_slice(), frequencies)], factor, &Device::Cpu).unwrap()
        };
        [table(&[1.0, 0.1, 0.01], 1.0), table(&[1.0, 0.1], 1.3)]
    }

    #[test]
    fn rotation_agrees_with_the_composition_and_its_gradient_with_finite_differences() {
        let (x, dy) = (random(&[4, 2, 6], 1), random(&[4, 2, 6], 2));
        for table in tables() {
            for turn in [Turn::Forward, Turn::Back] {
                let (fused, plain) = (rotate(&x, &table, turn).unwrap(), composed(&x, &table, turn).unwrap());
                assert!(distance(&fused, &plain) < 1e-6);
            }
            slope(&x, &backward(&dy, &table).unwrap(), &dy, |x| forward(x, &table));
        }
        let [whole, part] = tables();
        let back = backward(&forward(&x, &whole).unwrap(), &whole).unwrap();
        assert!(distance(&back, &x) < 1e-5);
        let turned = forward(&x, &part).unwrap();
        assert!(distance(&turned.narrow(2, 4, 2).unwrap(), &x.narrow(2, 4, 2).unwrap()) == 0.0);
    }

    #[test]
    fn parts_turn_by_their_own_frequencies() {
        let (short, long) = ([1.0f32, 0.5], [0.3f32, 0.2]);
        let both = RopeTable::new(&[(&[0, 1], &short), (&[0, 1, 2], &long)], 1.0, &Device::Cpu).unwrap();
        let alone = RopeTable::new(&[(&[0, 1, 2], &long)], 1.0, &Device::Cpu).unwrap();
        assert!(distance(&both.cos.narrow(0, 2, 3).unwrap(), &alone.cos) == 0.0);
        assert!(distance(&both.sin.narrow(0, 2, 3).unwrap(), &alone.sin) == 0.0);
    }
}
