//! `silu(gate) * up`, the gated unit of Llama's MLP (Shazeer 2020, <https://arxiv.org/abs/2002.05202>).

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::exp::exp;
use super::host::{HostSlice, on_host};

const VALUES_PER_TASK: usize = 8192;

/// `gate` and `up` of one shape, to that shape.
pub fn forward(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if !on_host(gate) {
        return gate.silu()? * up;
    }
    let (gates, ups) = (HostSlice::new(gate)?, HostSlice::new(up)?);
    let (gates, ups) = (gates.read()?, ups.read()?);
    let mut ys = vec![0f32; gates.len()];
    ys.par_chunks_mut(VALUES_PER_TASK)
        .zip(gates.par_chunks(VALUES_PER_TASK).zip(ups.par_chunks(VALUES_PER_TASK)))
        .for_each(|(ys, (gates, ups))| {
            for ((y, g), u) in ys.iter_mut().zip(gates).zip(ups) {
                *y = g * sigmoid(*g) * u;
            }
        });
    Tensor::from_vec(ys, gate.dims(), gate.device())
}

/// `(dgate, dup)` for `dy`.
pub fn backward(gate: &Tensor, up: &Tensor, dy: &Tensor) -> Result<(Tensor, Tensor)> {
    if !on_host(gate) {
        return composed_backward(gate, up, dy);
    }
    let (gates, ups, dys) = (HostSlice::new(gate)?, HostSlice::new(up)?, HostSlice::new(dy)?);
    let (gates, ups, dys) = (gates.read()?, ups.read()?, dys.read()?);
    let (mut dgates, mut dups) = (vec![0f32; gates.len()], vec![0f32; gates.len()]);
    let inputs = gates
        .par_chunks(VALUES_PER_TASK)
        .zip(ups.par_chunks(VALUES_PER_TASK))
        .zip(dys.par_chunks(VALUES_PER_TASK));
    dgates.par_chunks_mut(VALUES_PER_TASK).zip(dups.par_chunks_mut(VALUES_PER_TASK)).zip(inputs).for_each(
        |((dgates, dups), ((gates, ups), dys))| {
            for ((((dg, du), g), u), dy) in dgates.iter_mut().zip(dups).zip(gates).zip(ups).zip(dys) {
                let s = sigmoid(*g);
                *du = dy * g * s;
                *dg = dy * u * s * (1.0 + g * (1.0 - s));
            }
        },
    );
    let tensor = |values| Tensor::from_vec(values, gate.dims(), gate.device());
    Ok((tensor(dgates)?, tensor(dups)?))
}

fn composed_backward(gate: &Tensor, up: &Tensor, dy: &Tensor) -> Result<(Tensor, Tensor)> {
    let s = (gate.neg()?.exp()? + 1.0)?.recip()?;
    let dup = ((dy * gate)? * &s)?;
    let slope = (&s * ((gate * s.affine(-1.0, 1.0)?)? + 1.0)?)?;
    Ok((((dy * up)? * slope)?, dup))
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{distance, random, slope};

    #[test]
    fn loops_agree_with_the_composition() {
        let (gate, up, dy) = (random(&[90, 101], 1), random(&[90, 101], 2), random(&[90, 101], 3));
        let plain = (gate.silu().unwrap() * &up).unwrap();
        assert!(distance(&forward(&gate, &up).unwrap(), &plain) < 1e-6);
        let (fused, plain) =
            (backward(&gate, &up, &dy).unwrap(), composed_backward(&gate, &up, &dy).unwrap());
        assert!(distance(&fused.0, &plain.0) < 1e-6);
        assert!(distance(&fused.1, &plain.1) < 1e-6);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (gate, up, dy) = (random(&[2, 6], 1), random(&[2, 6], 2), random(&[2, 6], 3));
        let (dgate, dup) = backward(&gate, &up, &dy).unwrap();
        slope(&gate, &dgate, &dy, |gate| forward(gate, &up));
        slope(&up, &dup, &dy, |up| forward(&gate, up));
    }
}
