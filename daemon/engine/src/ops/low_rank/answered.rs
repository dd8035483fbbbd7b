//! Frozen layers for answers, where nothing goes back, and where rows do not all have the same pair: a layer sees all of them at once, each
//! pair its own.
//!
//! A row's bits are those that it has alone, as long as the products dot few rows one by one; whoever makes groups keeps them few.

use candle_core::{Result, Tensor};
use hotplate_gemm::{FEW_ROWS, HalfFactors, LoraFactors, Matrix, RowAdapter};

use super::super::frozen_linear::FrozenLinear;
use super::super::host::{HostRead, HostSlice, on_host};
use super::adapted;
use crate::lora::Lora;

/// So many rows each, in order, with their pair.
pub type Groups<'a> = [(usize, Option<&'a Lora>)];

/// `x: [rows, in]` to `[rows, out]` of each layer, whose groups are all of the rows. Few rows in CPU memory go through all layers in one pass, and
/// where a layer's weights have no more than 16 bits a value, they read its pairs' [panels](Lora::panels). `soon` are the pairs that will be read
/// when these are done: their memory is asked for meanwhile.
///
/// # Errors
/// Groups of more or fewer rows, pairs that do not fit their layer.
pub fn answered(layers: &[(&FrozenLinear, &Groups)], x: &Tensor, soon: &[&Lora]) -> Result<Vec<Tensor>> {
    let rows = x.dim(0)?;
    for (_, groups) in layers {
        let grouped: usize = groups.iter().map(|(rows, _)| rows).sum();
        if grouped != rows {
            candle_core::bail!("groups of {grouped} rows in all were given {rows}");
        }
    }
    let plain = |(linear, groups): &(&FrozenLinear, &Groups)| {
        linear.weight().on_host()
            && groups.iter().filter_map(|(_, pair)| *pair).all(|pair| pair.dora.is_none())
    };
    if rows <= FEW_ROWS && on_host(x) && layers.iter().all(plain) {
        together(layers, x, soon)
    } else {
        layers.iter().map(|(linear, groups)| apart(linear, x, groups)).collect()
    }
}

/// Each group by itself: DoRA needs the layer's output of its own rows.
fn apart(linear: &FrozenLinear, x: &Tensor, groups: &Groups) -> Result<Tensor> {
    if let [(_, pair)] = groups {
        return Ok(adapted(linear, x, *pair)?.0);
    }
    let mut start = 0;
    let parts = groups.iter().map(|&(rows, pair)| {
        let part = x.narrow(0, start, rows)?;
        start += rows;
        answered(&[(linear, &[(rows, pair)])], &part, &[])
    });
    Tensor::cat(&parts.collect::<Result<Vec<_>>>()?.concat(), 0)
}

/// How a pair is read.
enum Beside<'a> {
    HalfFactors(&'a HalfFactors),
    /// The factors as they are, the rank and the scale.
    LoraFactors([HostSlice; 2], usize, f32),
}

impl<'a> Beside<'a> {
    fn new(linear: &FrozenLinear, pair: &'a Lora) -> Result<Self> {
        let (inputs, outputs) = (linear.inputs(), linear.outputs());
        // What was laid out knows its shape itself. The factors' are elsewhere, and each look costs a line of memory that nobody has near: a seventh of
        // the time of eight answers.
        if linear.weight().is_at_most_16_bit()
            && let panels = pair.panels()?
            && panels.fit(inputs, outputs)
        {
            return Ok(Beside::HalfFactors(panels));
        }
        if pair.a.dims() != [pair.rank(), inputs] || pair.b.dims() != [outputs, pair.rank()] {
            candle_core::bail!(
                "a pair of shapes {:?} and {:?} does not fit a layer of {inputs} inputs and {outputs} outputs",
                pair.a.dims(),
                pair.b.dims()
            );
        }
        let factors = [HostSlice::new(&pair.a)?, HostSlice::new(&pair.b)?];
        Ok(Beside::LoraFactors(factors, pair.rank(), pair.scale as f32))
    }

    fn read(&self) -> Result<Read<'_>> {
        Ok(match self {
            Beside::HalfFactors(panels) => Read::HalfFactors(panels),
            Beside::LoraFactors([a, b], rank, scale) => {
                Read::LoraFactors([a.read()?, b.read()?], *rank, *scale)
            }
        })
    }
}

/// The same with its memory at hand.
enum Read<'a> {
    HalfFactors(&'a HalfFactors),
    LoraFactors([HostRead<'a>; 2], usize, f32),
}

impl Read<'_> {
    fn pair(&self, inputs: usize) -> RowAdapter<'_> {
        match self {
            Read::HalfFactors(panels) => RowAdapter::HalfFactors(panels),
            Read::LoraFactors([a, b], rank, scale) => RowAdapter::LoraFactors(LoraFactors {
                rank: *rank,
                a: Matrix::rows(a, inputs).transposed(),
                b: Matrix::rows(b, *rank).transposed(),
                scale: *scale,
            }),
        }
    }
}

fn together(layers: &[(&FrozenLinear, &Groups)], x: &Tensor, soon: &[&Lora]) -> Result<Vec<Tensor>> {
    let mut beside = Vec::new();
    for (layer, (linear, groups)) in layers.iter().enumerate() {
        let mut start = 0;
        for (rows, pair) in *groups {
            if let Some(pair) = pair {
                beside.push((layer, start..start + rows, Beside::new(linear, pair)?));
            }
            start += rows;
        }
    }
    let reads = beside.iter().map(|(.., beside)| beside.read()).collect::<Result<Vec<_>>>()?;
    let mut pairs: Vec<Vec<_>> = layers.iter().map(|(_, groups)| Vec::with_capacity(groups.len())).collect();
    for ((layer, rows, _), read) in beside.iter().zip(&reads) {
        pairs[*layer].push((rows.clone(), read.pair(layers[*layer].0.inputs())));
    }
    let layers: Vec<_> =
        layers.iter().zip(&pairs).map(|((linear, _), pairs)| (*linear, pairs.as_slice())).collect();
    let soon: Vec<_> = soon.iter().filter_map(|pair| Some(pair.laid_out()?.first())).collect();
    FrozenLinear::forward_few(&layers, x, &soon)
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::fixtures::{distance, flat, random};
    use crate::lora::Dora;

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
            let one = |x: &Tensor, groups: &Groups| flat(&answered(&[(layer, groups)], x, &[]).unwrap()[0]);
            let together = one(&x, &groups);
            let pairs = groups.iter().flat_map(|(rows, pair)| std::iter::repeat_n(pair, *rows));
            for ((row, pair), found) in pairs.enumerate().zip(together.chunks(200)) {
                let alone = one(&x.narrow(0, row, 1).unwrap(), &[(1, *pair)]);
                assert_eq!(alone, found, "row {row}");
            }
        }
    }

    /// Layers of several widths and storages, with pairs and without, give what each of them gives by itself.
    #[test]
    fn layers_together_are_those_that_they_are_alone() {
        let of = |outputs: usize, dtype: DType, seed: u64| {
            let weight = random(&[outputs, 300], seed).to_dtype(dtype).unwrap();
            FrozenLinear::new(weight, (outputs > 100).then(|| random(&[outputs], seed + 1)))
        };
        let layers = [of(1, DType::F32, 1), of(700, DType::BF16, 2), of(96, DType::F16, 3)];
        let pairs: Vec<Lora> = layers
            .iter()
            .map(|layer| Lora::plain(random(&[5, 300], 5), random(&[layer.outputs(), 5], 6), 0.7))
            .collect();
        for rows in [1, 3, FEW_ROWS, FEW_ROWS + 1] {
            let x = random(&[rows, 300], 4);
            let groups: Vec<[(usize, Option<&Lora>); 1]> =
                pairs.iter().enumerate().map(|(at, pair)| [(rows, (at != 2).then_some(pair))]).collect();
            let all: Vec<_> =
                layers.iter().zip(&groups).map(|(layer, groups)| (layer, groups.as_slice())).collect();
            let together = answered(&all, &x, &[]).unwrap();
            for (one, found) in all.iter().zip(&together) {
                let wanted = adapted(one.0, &x, one.1[0].1).unwrap().0;
                assert!(distance(&wanted, found) < 2e-2);
                assert_eq!(flat(&answered(&[*one], &x, &[]).unwrap()[0]), flat(found));
            }
        }
        assert!(answered(&[], &random(&[1, 300], 4), &[]).unwrap().is_empty());
        let other = FrozenLinear::new(random(&[3, 299], 1), None);
        let x = random(&[1, 300], 4);
        assert!(answered(&[(&layers[0], &[(1, None)]), (&other, &[(1, None)])], &x, &[]).is_err());
    }

    #[test]
    fn groups_and_pairs_that_do_not_fit_are_errors() {
        let weight = random(&[200, 300], 1);
        let x = random(&[3, 300], 4);
        let (fits, other) = (pair(3, 4), Lora::plain(random(&[4, 299], 1), random(&[200, 4], 2), 1.0));
        for weight in [weight.to_dtype(DType::BF16).unwrap(), weight] {
            let layer = FrozenLinear::new(weight, None);
            let answered = |groups: &Groups| answered(&[(&layer, groups)], &x, &[]);
            assert!(answered(&[(3, Some(&fits))]).is_ok());
            assert!(answered(&[(2, Some(&fits))]).is_err());
            assert!(answered(&[(1, Some(&fits)), (2, Some(&other))]).is_err());
        }
    }
}
