//! Sums of tensors of one shape in one pass (residuals, and gradients that meet).
//!
//! candle's own addition waits in a spinning barrier of its own threads, which costs a third of a step when the machine is busy; this loop
//! uses the pool of everything else.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::host::{HostSlice, on_host};

const VALUES_PER_TASK: usize = 16 * 1024;

/// `a + b`.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if !on_host(a) {
        return a + b;
    }
    let (left, right) = (same_shape(a, a)?, same_shape(a, b)?);
    let (left, right) = (left.read()?, right.read()?);
    let mut sums = vec![0f32; left.len()];
    sums.par_chunks_mut(VALUES_PER_TASK)
        .zip(left.par_chunks(VALUES_PER_TASK).zip(right.par_chunks(VALUES_PER_TASK)))
        .for_each(|(sums, (left, right))| {
            for ((sum, l), r) in sums.iter_mut().zip(left).zip(right) {
                *sum = l + r;
            }
        });
    Tensor::from_vec(sums, a.dims(), a.device())
}

/// `(a + b) + c`.
pub fn add3(a: &Tensor, b: &Tensor, c: &Tensor) -> Result<Tensor> {
    if !on_host(a) {
        return (a + b)? + c;
    }
    let (first, second, third) = (same_shape(a, a)?, same_shape(a, b)?, same_shape(a, c)?);
    let (first, second, third) = (first.read()?, second.read()?, third.read()?);
    let mut sums = vec![0f32; first.len()];
    let inputs = first
        .par_chunks(VALUES_PER_TASK)
        .zip(second.par_chunks(VALUES_PER_TASK))
        .zip(third.par_chunks(VALUES_PER_TASK));
    sums.par_chunks_mut(VALUES_PER_TASK).zip(inputs).for_each(|(sums, ((first, second), third))| {
        for (((sum, a), b), c) in sums.iter_mut().zip(first).zip(second).zip(third) {
            *sum = a + b + c;
        }
    });
    Tensor::from_vec(sums, a.dims(), a.device())
}

/// Adds a part to a sum that may not have begun.
pub fn accumulate(sum: &mut Option<Tensor>, part: Tensor) -> Result<()> {
    *sum = Some(match sum.take() {
        Some(sum) => add(&sum, &part)?,
        None => part,
    });
    Ok(())
}

/// A loop over zipped slices would quietly stop at the shortest.
fn same_shape(wanted: &Tensor, found: &Tensor) -> Result<HostSlice> {
    if wanted.dims() != found.dims() {
        candle_core::bail!("tensors of shapes {:?} and {:?} cannot be added", wanted.dims(), found.dims());
    }
    HostSlice::new(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{flat, random};

    #[test]
    fn sums_are_candles_to_the_bit() {
        let (a, b, c) = (random(&[70, 301], 1), random(&[70, 301], 2), random(&[70, 301], 3));
        assert_eq!(flat(&add(&a, &b).unwrap()), flat(&(&a + &b).unwrap()));
        assert_eq!(flat(&add3(&a, &b, &c).unwrap()), flat(&((&a + &b).unwrap() + &c).unwrap()));
        assert!(add(&a, &random(&[301, 70], 2)).is_err());
    }
}
