//! `activation(gate) * up`, the gated unit of a decoder's MLP (Shazeer 2020, <https://arxiv.org/abs/2002.05202>).

use candle_core::{Result, Tensor};
use hotplate_gemm::{exp, wide};
use rayon::prelude::*;

use super::host::{HostSlice, on_host};

const VALUES_PER_TASK: usize = 8192;

/// What the gate goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`
    Silu,
    /// The tanh form of GELU, `gelu_pytorch_tanh` in Hugging Face's words.
    GeluTanh,
}

/// `sqrt(2 / pi)` and the cubic term of GELU's tanh form.
const GELU_LINEAR: f32 = 0.797_884_6;
const GELU_CUBIC: f32 = 0.044_715;

impl Activation {
    /// Both are `x` times a sigmoid: half of 1 + tanh(z) is the sigmoid of 2 z.
    #[inline(always)]
    fn sigmoid(self, x: f32) -> f32 {
        match self {
            Activation::Silu => sigmoid(x),
            Activation::GeluTanh => sigmoid(2.0 * GELU_LINEAR * x * (1.0 + GELU_CUBIC * x * x)),
        }
    }

    /// The slope of the sigmoid's argument.
    #[inline(always)]
    fn inner_slope(self, x: f32) -> f32 {
        match self {
            Activation::Silu => 1.0,
            Activation::GeluTanh => 2.0 * GELU_LINEAR * (1.0 + 3.0 * GELU_CUBIC * x * x),
        }
    }
}

/// `gate` and `up` of one shape, to that shape.
pub fn forward(gate: &Tensor, up: &Tensor, activation: Activation) -> Result<Tensor> {
    if !on_host(gate) {
        return composed_sigmoid(gate, activation)? * (gate * up)?;
    }
    let (gates, ups) = (HostSlice::new(gate)?, HostSlice::new(up)?);
    let (gates, ups) = (gates.read()?, ups.read()?);
    let mut ys = vec![0f32; gates.len()];
    ys.par_chunks_mut(VALUES_PER_TASK)
        .zip(gates.par_chunks(VALUES_PER_TASK).zip(ups.par_chunks(VALUES_PER_TASK)))
        .for_each(|(ys, (gates, ups))| activate(ys, gates, ups, activation));
    Tensor::from_vec(ys, gate.dims(), gate.device())
}

wide! {
    fn activate(ys: &mut [f32], gates: &[f32], ups: &[f32], activation: Activation) {
        // One loop for each activation: the choice must not stand inside.
        match activation {
            Activation::Silu => units(ys, gates, ups, Activation::Silu),
            Activation::GeluTanh => units(ys, gates, ups, Activation::GeluTanh),
        }
    }
}

#[inline(always)]
fn units(ys: &mut [f32], gates: &[f32], ups: &[f32], activation: Activation) {
    for ((y, g), u) in ys.iter_mut().zip(gates).zip(ups) {
        *y = g * activation.sigmoid(*g) * u;
    }
}

/// `(dgate, dup)` for `dy`.
pub fn backward(gate: &Tensor, up: &Tensor, dy: &Tensor, activation: Activation) -> Result<(Tensor, Tensor)> {
    if !on_host(gate) {
        return composed_backward(gate, up, dy, activation);
    }
    let (gates, ups, dys) = (HostSlice::new(gate)?, HostSlice::new(up)?, HostSlice::new(dy)?);
    let (gates, ups, dys) = (gates.read()?, ups.read()?, dys.read()?);
    let (mut dgates, mut dups) = (vec![0f32; gates.len()], vec![0f32; gates.len()]);
    let inputs = gates
        .par_chunks(VALUES_PER_TASK)
        .zip(ups.par_chunks(VALUES_PER_TASK))
        .zip(dys.par_chunks(VALUES_PER_TASK));
    dgates
        .par_chunks_mut(VALUES_PER_TASK)
        .zip(dups.par_chunks_mut(VALUES_PER_TASK))
        .zip(inputs)
        .for_each(|((dgates, dups), ((gates, ups), dys))| slopes(dgates, dups, gates, ups, dys, activation));
    let tensor = |values| Tensor::from_vec(values, gate.dims(), gate.device());
    Ok((tensor(dgates)?, tensor(dups)?))
}

wide! {
    fn slopes(
        dgates: &mut [f32],
        dups: &mut [f32],
        gates: &[f32],
        ups: &[f32],
        dys: &[f32],
        activation: Activation,
    ) {
        match activation {
            Activation::Silu => unit_slopes(dgates, dups, gates, ups, dys, Activation::Silu),
            Activation::GeluTanh => unit_slopes(dgates, dups, gates, ups, dys, Activation::GeluTanh),
        }
    }
}

#[inline(always)]
fn unit_slopes(
    dgates: &mut [f32],
    dups: &mut [f32],
    gates: &[f32],
    ups: &[f32],
    dys: &[f32],
    activation: Activation,
) {
    for ((((dg, du), g), u), dy) in dgates.iter_mut().zip(dups).zip(gates).zip(ups).zip(dys) {
        let s = activation.sigmoid(*g);
        *du = dy * g * s;
        *dg = dy * u * (s * (1.0 + g * (1.0 - s) * activation.inner_slope(*g)));
    }
}

fn composed_sigmoid(gate: &Tensor, activation: Activation) -> Result<Tensor> {
    let inner = match activation {
        Activation::Silu => gate.clone(),
        Activation::GeluTanh => {
            let cubic = gate.sqr()?.affine(f64::from(GELU_CUBIC), 1.0)?;
            ((gate * cubic)? * f64::from(2.0 * GELU_LINEAR))?
        }
    };
    (inner.neg()?.exp()? + 1.0)?.recip()
}

fn composed_backward(
    gate: &Tensor,
    up: &Tensor,
    dy: &Tensor,
    activation: Activation,
) -> Result<(Tensor, Tensor)> {
    let s = composed_sigmoid(gate, activation)?;
    let dup = ((dy * gate)? * &s)?;
    let mut inner = gate.clone();
    if activation == Activation::GeluTanh {
        let (factor, cubic) = (f64::from(2.0 * GELU_LINEAR), f64::from(3.0 * GELU_CUBIC));
        inner = (gate * gate.sqr()?.affine(factor * cubic, factor)?)?;
    }
    let slope = (&s * ((inner * s.affine(-1.0, 1.0)?)? + 1.0)?)?;
    Ok((((dy * up)? * slope)?, dup))
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{distance, random, slope};

    const BOTH: [Activation; 2] = [Activation::Silu, Activation::GeluTanh];

    #[test]
    fn loops_agree_with_the_composition() {
        let (gate, up, dy) = (random(&[90, 101], 1), random(&[90, 101], 2), random(&[90, 101], 3));
        let gate = (gate * 5.0).unwrap();
        for activation in BOTH {
            let plain = match activation {
                Activation::Silu => gate.silu(),
                Activation::GeluTanh => gate.gelu(),
            };
            let plain = (plain.unwrap() * &up).unwrap();
            assert!(distance(&forward(&gate, &up, activation).unwrap(), &plain) < 2e-6);
            let composed = (composed_sigmoid(&gate, activation).unwrap() * (&gate * &up).unwrap()).unwrap();
            assert!(distance(&composed, &plain) < 2e-6);
            let fused = backward(&gate, &up, &dy, activation).unwrap();
            let plain = composed_backward(&gate, &up, &dy, activation).unwrap();
            assert!(distance(&fused.0, &plain.0) < 2e-6);
            assert!(distance(&fused.1, &plain.1) < 2e-6);
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (gate, up, dy) = (random(&[2, 6], 1), random(&[2, 6], 2), random(&[2, 6], 3));
        for activation in BOTH {
            let (dgate, dup) = backward(&gate, &up, &dy, activation).unwrap();
            slope(&gate, &dgate, &dy, |gate| forward(gate, &up, activation));
            slope(&up, &dup, &dy, |up| forward(&gate, up, activation));
        }
    }

    #[test]
    fn far_values_stay_finite() {
        let gate = Tensor::new(&[-1e20f32, -100.0, 100.0, 1e20], &candle_core::Device::Cpu).unwrap();
        let one = gate.ones_like().unwrap();
        for activation in BOTH {
            let y = forward(&gate, &one, activation).unwrap().to_vec1::<f32>().unwrap();
            assert!(
                y[0].abs() < 1.0 && y[1].abs() < 1e-6 && (y[2] - 100.0).abs() < 1e-3 && y[3] > 1e19,
                "{y:?}"
            );
            let (dgate, _) = backward(&gate, &one, &one, activation).unwrap();
            let slopes = dgate.to_vec1::<f32>().unwrap();
            assert!(slopes[1].abs() < 1e-4 && (slopes[2] - 1.0).abs() < 1e-4, "{slopes:?}");
        }
    }
}
