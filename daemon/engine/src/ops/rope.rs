//! Rotary position embedding (Su et al. 2021, <https://arxiv.org/abs/2104.09864>) in the half-split form of Hugging Face's Llama:
//! value `i` of a head turns with value `i + d/2`.

use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use super::host::{HostSlice, on_host};

/// Cosines and sines of each token's angles, `[tokens, d/2]` each; made once per batch, shared by all layers.
#[derive(Debug, Clone)]
pub struct RopeTable {
    cos: Tensor,
    sin: Tensor,
}

impl RopeTable {
    /// `inverse_frequencies`: `d/2` values. Angles are taken in f32, as the reference implementation does.
    pub fn new(positions: &[u32], inverse_frequencies: &[f32], device: &Device) -> Result<RopeTable> {
        let angles: Vec<f32> =
            positions.iter().flat_map(|p| inverse_frequencies.iter().map(move |f| *p as f32 * f)).collect();
        let shape = (positions.len(), inverse_frequencies.len());
        let table = |f: fn(f32) -> f32| {
            Tensor::from_vec(angles.iter().map(|angle| f(*angle)).collect::<Vec<_>>(), shape, device)
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
    if !on_host(x) {
        return composed(x, table, turn);
    }
    let (_, heads, d) = x.dims3()?;
    let half = d / 2;
    let (xs, cos, sin) = (HostSlice::new(x)?, HostSlice::new(&table.cos)?, HostSlice::new(&table.sin)?);
    let (xs, cos, sin) = (xs.read()?, cos.read()?, sin.read()?);
    let mut ys = vec![0f32; xs.len()];
    let row = heads * d;
    ys.par_chunks_mut(row)
        .zip(xs.par_chunks(row))
        .zip(cos.par_chunks(half).zip(sin.par_chunks(half)))
        .with_min_len(16)
        .for_each(|((ys, xs), (cos, sin))| {
            for (y, x) in ys.chunks_exact_mut(d).zip(xs.chunks_exact(d)) {
                let (y_low, y_high) = y.split_at_mut(half);
                let (x_low, x_high) = x.split_at(half);
                for i in 0..half {
                    let s = if turn == Turn::Forward { sin[i] } else { -sin[i] };
                    y_low[i] = x_low[i] * cos[i] - x_high[i] * s;
                    y_high[i] = x_high[i] * cos[i] + x_low[i] * s;
                }
            }
        });
    Tensor::from_vec(ys, x.dims(), x.device())
}

fn composed(x: &Tensor, table: &RopeTable, turn: Turn) -> Result<Tensor> {
    let half = x.dim(2)? / 2;
    let (low, high) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
    let cos = table.cos.unsqueeze(1)?;
    let sin = if turn == Turn::Forward { table.sin.clone() } else { table.sin.neg()? }.unsqueeze(1)?;
    let y_low = (low.broadcast_mul(&cos)? - high.broadcast_mul(&sin)?)?;
    let y_high = (high.broadcast_mul(&cos)? + low.broadcast_mul(&sin)?)?;
    Tensor::cat(&[y_low, y_high], 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{distance, random, slope};

    #[test]
    fn rotation_agrees_with_the_composition_and_its_gradient_with_finite_differences() {
        let table = RopeTable::new(&[0, 3, 1, 900], &[1.0, 0.1, 0.01], &Device::Cpu).unwrap();
        let (x, dy) = (random(&[4, 2, 6], 1), random(&[4, 2, 6], 2));
        for turn in [Turn::Forward, Turn::Back] {
            assert!(
                distance(&rotate(&x, &table, turn).unwrap(), &composed(&x, &table, turn).unwrap()) < 1e-6
            );
        }
        slope(&x, &backward(&dy, &table).unwrap(), &dy, |x| forward(x, &table));
        let back = backward(&forward(&x, &table).unwrap(), &table).unwrap();
        assert!(distance(&back, &x) < 1e-5);
    }
}
