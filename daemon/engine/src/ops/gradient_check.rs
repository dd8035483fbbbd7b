//! Tests' means to hold a hand-written gradient against finite differences.

use candle_core::{Device, Result, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Values in ±1, the same for the same seed.
pub(crate) fn random(shape: &[usize], seed: u64) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

pub(crate) fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest absolute difference.
pub(crate) fn distance(left: &Tensor, right: &Tensor) -> f32 {
    assert_eq!(left.dims(), right.dims());
    flat(left).iter().zip(flat(right)).map(|(l, r)| (l - r).abs()).fold(0.0, f32::max)
}

/// Checks `gradient = d(sum(output * weights)) / d(at)` value by value with central differences.
pub(crate) fn slope(
    at: &Tensor,
    gradient: &Tensor,
    weights: &Tensor,
    output: impl Fn(&Tensor) -> Result<Tensor>,
) {
    assert_eq!(at.dims(), gradient.dims());
    let weights = flat(weights);
    let value = |at: Vec<f32>, shape: &[usize]| -> f64 {
        let y = output(&Tensor::from_vec(at, shape, &Device::Cpu).unwrap()).unwrap();
        flat(&y).iter().zip(&weights).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum()
    };
    let (start, gradient) = (flat(at), flat(gradient));
    // Large enough to rise above f32's rounding, small enough for the curvature of these functions.
    let step = 4e-3_f32;
    for index in 0..start.len() {
        let mut moved = start.clone();
        moved[index] = start[index] + step;
        let above = value(moved.clone(), at.dims());
        moved[index] = start[index] - step;
        let below = value(moved, at.dims());
        let measured = (above - below) / f64::from(2.0 * step);
        let claimed = f64::from(gradient[index]);
        let tolerance = 4e-3 * (1.0 + measured.abs());
        assert!(
            (measured - claimed).abs() < tolerance,
            "value {index}: measured {measured}, claimed {claimed}"
        );
    }
}
