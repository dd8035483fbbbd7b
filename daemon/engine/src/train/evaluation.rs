//! The loss on the held-out examples, a layer at a time.

use candle_core::Result;

use super::data::{HeldOut, Losses};
use super::pass::{Goal, Pass, pack};
use crate::decoder::Decoder;
use crate::lora::Adapter;

pub(crate) struct Evaluation {
    rows: Vec<Vec<usize>>,
    next: usize,
    pass: Option<Pass>,
    sums: [Sum; 2],
}

#[derive(Default, Clone, Copy)]
struct Sum {
    loss: f64,
    tokens: usize,
}

impl Sum {
    fn mean(self) -> Option<f64> {
        (self.tokens > 0).then(|| self.loss / self.tokens as f64)
    }
}

impl Evaluation {
    pub(crate) fn new(heldout: &[HeldOut], row_tokens: usize) -> Evaluation {
        let order: Vec<usize> = (0..heldout.len()).collect();
        let rows = pack(&order, |index| heldout[index].sample.tokens.len(), row_tokens);
        Evaluation { rows, next: 0, pass: None, sums: Default::default() }
    }

    /// One layer of work; the losses (nats per supervised token) after the last row.
    pub(crate) fn step(
        &mut self,
        decoder: &Decoder,
        adapter: Option<&Adapter>,
        heldout: &[HeldOut],
    ) -> Result<Option<Losses>> {
        let Some(row) = self.rows.get(self.next) else {
            let [old, new] = self.sums;
            let all = Sum { loss: old.loss + new.loss, tokens: old.tokens + new.tokens };
            return Ok(Some(Losses { all: all.mean().unwrap_or(f64::NAN), new: new.mean() }));
        };
        if self.pass.is_none() {
            let samples: Vec<_> = row.iter().map(|index| &heldout[*index].sample).collect();
            self.pass = Some(Pass::new(decoder, &samples, Goal::Loss, 0)?);
        }
        let Some(pass) = &mut self.pass else { return Ok(None) };
        let Some(result) = pass.step(decoder, adapter)? else { return Ok(None) };
        for (index, loss) in row.iter().zip(result.losses) {
            let item = &heldout[*index];
            let sum = &mut self.sums[usize::from(item.is_new)];
            sum.loss += loss;
            sum.tokens += item.sample.supervised_tokens();
        }
        self.pass = None;
        self.next += 1;
        Ok(None)
    }
}
