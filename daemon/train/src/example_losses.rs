//! Each example's own loss with what a run keeps: which ones are learnt, and which least.

use hotplate_engine::base::Base;
use hotplate_engine::sample::Sample;

use super::TrainError;
use super::pass::{Goal, Pass, pack};
use super::trained_weights::TrainedWeights;

/// A layer of work a step, over all samples once.
pub struct ExampleLosses {
    rows: Vec<Vec<usize>>,
    next: usize,
    pass: Option<Pass>,
    losses: Vec<Option<f64>>,
}

impl ExampleLosses {
    pub fn new(samples: &[Sample], row_tokens: usize) -> ExampleLosses {
        let order: Vec<usize> = (0..samples.len()).collect();
        let rows = pack(&order, |index| samples[index].tokens.len(), row_tokens);
        ExampleLosses { rows, next: 0, pass: None, losses: vec![None; samples.len()] }
    }

    /// Examples that have been looked at, and all.
    pub fn progress(&self) -> (usize, usize) {
        let count = |rows: &[Vec<usize>]| rows.iter().map(Vec::len).sum();
        (count(&self.rows[..self.next.min(self.rows.len())]), count(&self.rows))
    }

    /// The losses, nats per supervised token, after the last row; `None` of a sample where nothing is supervised. `samples` are those that
    /// [`new`](Self::new) was given.
    ///
    /// # Errors
    /// A tensor operation that failed.
    pub fn step(
        &mut self,
        base: &Base,
        learnt: &TrainedWeights,
        samples: &[Sample],
    ) -> Result<Option<Vec<Option<f64>>>, TrainError> {
        let Some(row) = self.rows.get(self.next) else { return Ok(Some(std::mem::take(&mut self.losses))) };
        let decoder = learnt.decoder(&base.decoder);
        if self.pass.is_none() {
            let chosen: Vec<_> = row.iter().map(|index| &samples[*index]).collect();
            self.pass = Some(Pass::new(decoder, &chosen, Goal::Loss, 0)?);
        }
        let Some(pass) = &mut self.pass else { return Ok(None) };
        let Some(result) = pass.step(decoder, learnt.adapter())? else { return Ok(None) };
        for (index, loss) in row.iter().zip(result.losses) {
            let tokens = samples[*index].supervised_tokens();
            self.losses[*index] = (tokens > 0).then(|| loss / tokens as f64);
        }
        self.pass = None;
        self.next += 1;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_base;

    #[test]
    fn packed_or_alone_an_example_has_the_same_loss() {
        let base = test_base::base(1);
        let learnt = TrainedWeights::Adapter(test_base::adapter(&base.decoder, 3));
        let mut samples = test_base::data(6).train;
        samples[2].supervised.fill(false);
        let losses = |samples: &[Sample], row_tokens| {
            let mut own = ExampleLosses::new(samples, row_tokens);
            loop {
                if let Some(losses) = own.step(&base, &learnt, samples).unwrap() {
                    return losses;
                }
            }
        };
        let packed = losses(&samples, 1000);
        assert_eq!(packed.len(), samples.len());
        for (index, sample) in samples.iter().enumerate() {
            let alone = losses(std::slice::from_ref(sample), 1)[0];
            match (packed[index], alone) {
                (Some(one), Some(other)) => assert!((one - other).abs() < 1e-5, "{index}: {one} {other}"),
                (one, other) => assert!(index == 2 && one.is_none() && other.is_none(), "{index}"),
            }
        }
    }
}
