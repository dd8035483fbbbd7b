//! The loss on examples, a layer at a time, each example by the learner that has not seen it.

use candle_core::Result;
use hotplate_engine::decoder::Decoder;
use hotplate_engine::sample::Sample;

use super::data::Losses;
use super::pass::{Goal, Pass, pack};
use super::trained_weights::TrainedWeights;
use super::work::{Work, WorkKind};

pub(crate) struct Evaluation {
    /// A learner's number, and examples that go through together.
    rows: Vec<(usize, Vec<usize>)>,
    next: usize,
    pass: Option<Pass>,
    /// Old and new examples of each learner.
    sums: Vec<[Sum; 2]>,
}

#[derive(Default, Clone, Copy)]
struct Sum {
    loss: f64,
    tokens: usize,
}

impl Sum {
    fn and(self, other: Sum) -> Sum {
        Sum { loss: self.loss + other.loss, tokens: self.tokens + other.tokens }
    }

    fn mean(self) -> Option<f64> {
        (self.tokens > 0).then(|| self.loss / self.tokens as f64)
    }
}

/// Nats per supervised token.
pub(crate) struct Evaluated {
    /// Over all examples, whichever learner they belong to.
    pub(crate) losses: Losses,
    /// Of each learner's examples; NaN where none carries loss.
    pub(crate) each: Vec<f64>,
}

impl Evaluation {
    /// `groups[l]` are the examples that learner `l` is asked about; `len` tells an example's tokens.
    pub(crate) fn new(groups: &[Vec<usize>], len: impl Fn(usize) -> usize, row_tokens: usize) -> Evaluation {
        let rows = groups
            .iter()
            .enumerate()
            .flat_map(|(learner, group)| {
                pack(group, &len, row_tokens).into_iter().map(move |row| (learner, row))
            })
            .collect();
        Evaluation { rows, next: 0, pass: None, sums: vec![Default::default(); groups.len()] }
    }

    /// One layer of work; the losses after the last row. `learnt` gives a learner, `None` the bare base; `example` an example and whether
    /// it is new.
    pub(crate) fn step<'a>(
        &mut self,
        base: &Decoder,
        learnt: impl Fn(usize) -> Option<&'a TrainedWeights>,
        example: impl Fn(usize) -> (&'a Sample, bool),
    ) -> Result<Option<Evaluated>> {
        let Some((learner, row)) = self.rows.get(self.next) else { return Ok(Some(self.result())) };
        let learnt = learnt(*learner);
        let decoder = learnt.map_or(base, |learnt| learnt.decoder(base));
        if self.pass.is_none() {
            let samples: Vec<_> = row.iter().map(|index| example(*index).0).collect();
            self.pass = Some(Pass::new(decoder, &samples, Goal::Loss, 0)?);
        }
        let Some(pass) = &mut self.pass else { return Ok(None) };
        let Some(result) = pass.step(decoder, learnt.and_then(TrainedWeights::adapter))? else {
            return Ok(None);
        };
        for (index, loss) in row.iter().zip(result.losses) {
            let (sample, is_new) = example(*index);
            let sum = &mut self.sums[*learner][usize::from(is_new)];
            *sum = sum.and(Sum { loss, tokens: sample.supervised_tokens() });
        }
        self.pass = None;
        self.next += 1;
        Ok(None)
    }

    /// Examples that have been looked at.
    pub(crate) fn work(&self, kind: WorkKind) -> Work {
        let count = |rows: &[(usize, Vec<usize>)]| rows.iter().map(|(_, row)| row.len()).sum();
        Work { kind, done: count(&self.rows[..self.next.min(self.rows.len())]), of: count(&self.rows) }
    }

    fn result(&self) -> Evaluated {
        let total = |kind: usize| self.sums.iter().fold(Sum::default(), |sum, part| sum.and(part[kind]));
        let (old, new) = (total(0), total(1));
        Evaluated {
            losses: Losses { all: old.and(new).mean().unwrap_or(f64::NAN), new: new.mean() },
            each: self.sums.iter().map(|[old, new]| old.and(*new).mean().unwrap_or(f64::NAN)).collect(),
        }
    }
}
