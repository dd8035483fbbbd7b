//! A frozen layer for rows that do not all have the same pair: the layer sees all of them at once, each pair its own.
//!
//! A row's bits are those that it has alone, as long as the products dot few rows one by one; whoever makes groups keeps them few.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::super::frozen_linear::FrozenLinear;
use super::super::host::{HostSlice, change, on_host};
use super::super::matmul::{Matrix, Start, new_product, product};
use super::{answered, reads_panels};
use crate::lora::Lora;

/// Pairs that multiply less than this together are applied on the calling thread: waking another costs more.
const ALONE: usize = 1 << 17;

/// `x: [rows, in]` to `[rows, out]`. `groups`: so many rows each, in order, with their pair.
pub fn grouped(linear: &FrozenLinear, x: &Tensor, groups: &[(usize, Option<&Lora>)]) -> Result<Tensor> {
    let rows: usize = groups.iter().map(|(rows, _)| rows).sum();
    if rows != x.dim(0)? {
        candle_core::bail!("groups of {rows} rows in all were given {}", x.dim(0)?);
    }
    let plain = groups.iter().filter_map(|(_, pair)| *pair).all(|pair| pair.dora.is_none());
    if plain && reads_panels(linear, x)? {
        return forward_beside(linear, x, groups);
    }
    if plain && on_host(x) {
        let y = linear.forward(x)?;
        add_pairs(&y, x, groups)?;
        return Ok(y);
    }
    // DoRA needs the layer's output of its own rows.
    let mut start = 0;
    let parts = groups.iter().map(|&(rows, pair)| {
        let part = x.narrow(0, start, rows)?;
        start += rows;
        answered(linear, &part, pair)
    });
    Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)
}

/// The layer and all pairs in one pass.
fn forward_beside(linear: &FrozenLinear, x: &Tensor, groups: &[(usize, Option<&Lora>)]) -> Result<Tensor> {
    let mut pairs = Vec::with_capacity(groups.len());
    let mut start = 0;
    for (rows, pair) in groups {
        if let Some(pair) = pair {
            pairs.push((start..start + rows, pair.panels()?));
        }
        start += rows;
    }
    linear.forward_beside(x, &pairs)
}

/// One group's share of the result, and what is added to it.
struct Addition<'a> {
    y: &'a mut [f32],
    x: &'a [f32],
    a: &'a [f32],
    b: &'a [f32],
    rank: usize,
    scale: f32,
}

/// Adds `s * (x A^T) B^T` of each group where `y` lies: it was just made and nobody else has it.
fn add_pairs(y: &Tensor, x: &Tensor, groups: &[(usize, Option<&Lora>)]) -> Result<()> {
    let ((_, inputs), (_, outputs)) = (x.dims2()?, y.dims2()?);
    let x = HostSlice::new(x)?;
    let x = x.read()?;
    let factors = groups.iter().map(|(_, pair)| {
        let Some(pair) = pair else { return Ok(None) };
        if pair.a.dim(1)? != inputs || pair.b.dims() != [outputs, pair.rank()] {
            candle_core::bail!(
                "a pair of shapes {:?} and {:?} does not fit a layer of {inputs} inputs and {outputs} outputs",
                pair.a.dims(),
                pair.b.dims()
            );
        }
        Ok(Some((HostSlice::new(&pair.a)?, HostSlice::new(&pair.b)?, pair.rank(), pair.scale as f32)))
    });
    let factors = factors.collect::<Result<Vec<_>>>()?;
    let reads = factors.iter().map(|factors| {
        factors.as_ref().map(|(a, b, rank, scale)| Ok((a.read()?, b.read()?, *rank, *scale))).transpose()
    });
    let reads = reads.collect::<Result<Vec<_>>>()?;
    // One lock on the result for all groups: a task that waits for it inside the pool could wait for itself.
    change(y, |y| {
        let (mut left_of_y, mut left_of_x) = (y, &*x);
        let mut additions = Vec::with_capacity(groups.len());
        let mut work = 0;
        for ((rows, _), reads) in groups.iter().zip(&reads) {
            let (y, rest) = std::mem::take(&mut left_of_y).split_at_mut(rows * outputs);
            left_of_y = rest;
            let (x, rest) = left_of_x.split_at(rows * inputs);
            left_of_x = rest;
            if let Some((a, b, rank, scale)) = reads {
                work += rows * rank * (inputs + outputs);
                additions.push(Addition { y, x, a, b, rank: *rank, scale: *scale });
            }
        }
        let add = |addition: Addition| addition.add(inputs, outputs);
        if work < ALONE {
            additions.into_iter().for_each(add);
        } else {
            additions.into_par_iter().for_each(add);
        }
    })
}

impl Addition<'_> {
    fn add(self, inputs: usize, outputs: usize) {
        let Addition { y, x, a, b, rank, scale } = self;
        let rows = y.len() / outputs.max(1);
        let a = Matrix::rows(a, inputs).transposed();
        let mut thin = new_product((rows, inputs, rank), Matrix::rows(x, inputs), a, None);
        thin.iter_mut().for_each(|value| *value *= scale);
        let b = Matrix::rows(b, rank).transposed();
        product((rows, rank, outputs), (y, outputs), Matrix::rows(&thin, rank), b, Start::Target);
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::lora::Dora;
    use crate::ops::gradient_check::{flat, random};

    fn pair(seed: u64, rank: usize) -> Lora {
        Lora::plain(random(&[rank, 300], seed), random(&[200, rank], seed + 1), 0.7)
    }

    /// Small and large enough for several threads, with a pair of another kind among them, and without one.
    #[test]
    fn each_row_has_the_bits_that_it_has_alone() {
        let bias = random(&[200], 2);
        let in_f32 = FrozenLinear::new(random(&[200, 300], 1), Some(bias.clone()));
        // Its pairs are read in panels.
        let in_halves = FrozenLinear::new(random(&[200, 300], 1).to_dtype(DType::BF16).unwrap(), Some(bias));
        let dora = pair(8, 3).with_dora(Some(Dora::new((random(&[200], 9).abs().unwrap() + 0.5).unwrap())));
        let (one, two, wide) = (pair(3, 4), pair(5, 8), pair(7, 300));
        for (layer, third) in [(&in_f32, &wide), (&in_f32, &dora), (&in_halves, &wide), (&in_halves, &dora)] {
            let groups = [(2, Some(&one)), (1, None), (5, Some(third)), (3, Some(&two)), (1, Some(&one))];
            let x = random(&[12, 300], 4);
            let together = flat(&grouped(layer, &x, &groups).unwrap());
            let pairs = groups.iter().flat_map(|(rows, pair)| std::iter::repeat_n(pair, *rows));
            for ((row, pair), found) in pairs.enumerate().zip(together.chunks(200)) {
                let alone = answered(layer, &x.narrow(0, row, 1).unwrap(), *pair).unwrap();
                assert_eq!(flat(&alone), found, "row {row}");
            }
        }
    }

    #[test]
    fn groups_and_pairs_that_do_not_fit_are_errors() {
        let weight = random(&[200, 300], 1);
        let x = random(&[3, 300], 4);
        let (fits, other) = (pair(3, 4), Lora::plain(random(&[4, 299], 1), random(&[200, 4], 2), 1.0));
        for weight in [weight.to_dtype(DType::BF16).unwrap(), weight] {
            let layer = FrozenLinear::new(weight, None);
            assert!(grouped(&layer, &x, &[(3, Some(&fits))]).is_ok());
            assert!(grouped(&layer, &x, &[(2, Some(&fits))]).is_err());
            assert!(grouped(&layer, &x, &[(1, Some(&fits)), (2, Some(&other))]).is_err());
        }
    }
}
