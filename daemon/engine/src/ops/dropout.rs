//! Dropout on what a LoRA pair reads: in training each input value is left out with probability p, the others grow by 1/(1-p), as in PEFT.
//!
//! The mask is a function of a key and of the value's place, never of a stream of random numbers: computing a layer again in the
//! backward pass, or going on after a kill, gives the same mask. Being linear, the same function is its own gradient.

use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use super::host::{HostSlice, on_host};

const VALUES_PER_TASK: usize = 16 * 1024;
/// The increment and the finaliser are SplitMix64's (Steele, Lea and Flood 2014): every key and place gives its own number.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// A draw below it leaves the value out.
    threshold: u32,
    /// What the others are multiplied by.
    scale: f32,
    key: u64,
}

impl Dropout {
    /// `None` where nothing is left out. `probability` is below 1.
    pub fn new(probability: f64, key: u64) -> Option<Dropout> {
        (probability > 0.0 && probability < 1.0).then(|| Dropout {
            threshold: (probability * 2f64.powi(32)) as u32,
            scale: (1.0 / (1.0 - probability)) as f32,
            key: mixed(key),
        })
    }

    /// Its like with a mask of its own, for one module of a model or one step of a run.
    #[must_use]
    pub fn of(self, part: u64) -> Dropout {
        Dropout { key: mixed(self.key ^ part.wrapping_add(1).wrapping_mul(GOLDEN)), ..self }
    }

    /// `x` without what is left out; also the gradient's way back.
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        if !on_host(x) {
            let mut mask = vec![1f32; x.elem_count()];
            self.mask(&mut mask);
            return x * Tensor::from_vec(mask, x.dims(), &Device::Cpu)?.to_device(x.device())?;
        }
        let mut values = HostSlice::new(x)?.read()?.to_vec();
        self.mask(&mut values);
        Tensor::from_vec(values, x.dims(), x.device())
    }

    fn mask(self, values: &mut [f32]) {
        values.par_chunks_mut(VALUES_PER_TASK).enumerate().for_each(|(task, values)| {
            let first = (task * VALUES_PER_TASK / 2) as u64;
            for (at, pair) in (first..).zip(values.chunks_mut(2)) {
                let drawn = mixed(self.key.wrapping_add(at.wrapping_mul(GOLDEN)));
                for (value, drawn) in pair.iter_mut().zip([drawn as u32, (drawn >> 32) as u32]) {
                    // A product with 0 would keep a NaN, and so it shall.
                    *value *= if drawn < self.threshold { 0.0 } else { self.scale };
                }
            }
        });
    }
}

fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::fixtures::{flat, random, slope};

    #[test]
    fn the_right_part_is_left_out_everywhere_and_the_mean_stays() {
        let x = Tensor::ones((400, 301), DType::F32, &Device::Cpu).unwrap();
        let y = flat(&Dropout::new(0.3, 1).unwrap().apply(&x).unwrap());
        let part = |values: &[f32]| {
            values.iter().filter(|value| **value == 0.0).count() as f64 / values.len() as f64
        };
        assert!((part(&y) - 0.3).abs() < 0.006, "{}", part(&y));
        assert!(y.iter().all(|value| *value == 0.0 || (value - 1.0 / 0.7).abs() < 1e-6));
        // Neither rows nor columns have masks of their own.
        assert!(y.chunks(301).all(|row| (part(row) - 0.3).abs() < 0.15));
        let column: Vec<f32> = y.iter().copied().skip(7).step_by(301).collect();
        assert!((part(&column) - 0.3).abs() < 0.12);
        let neighbours = y.windows(2).filter(|pair| pair[0] == 0.0 && pair[1] == 0.0).count();
        assert!((neighbours as f64 / y.len() as f64 - 0.09).abs() < 0.006);
    }

    #[test]
    fn a_mask_follows_from_its_key_alone() {
        let x = random(&[20, 6], 1);
        let dropout = Dropout::new(0.5, 9).unwrap();
        let mask = |dropout: Dropout| flat(&dropout.apply(&x).unwrap());
        assert_eq!(mask(dropout), mask(dropout));
        assert_eq!(mask(dropout.of(3)), mask(dropout.of(3)));
        assert_ne!(mask(dropout.of(3)), mask(dropout.of(4)));
        assert_ne!(mask(dropout.of(3).of(1)), mask(dropout.of(1).of(3)));
        assert_ne!(mask(dropout), mask(Dropout::new(0.5, 10).unwrap()));
        assert!(Dropout::new(0.0, 1).is_none());
    }

    #[test]
    fn it_is_its_own_gradient() {
        let (x, dy) = (random(&[5, 6], 1), random(&[5, 6], 2));
        let dropout = Dropout::new(0.4, 3).unwrap();
        slope(&x, &dropout.apply(&dy).unwrap(), &dy, |x| dropout.apply(x));
    }
}
