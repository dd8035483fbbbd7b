//! How likely a base, with or without an adapter, finds texts: a log-probability for each token, a loss for each example.
//!
//! The loss is training's own: the same tokens, the same supervised positions ([`Sample`]), nats. A value that steps; several samples share a
//! packed row. It must not know where samples come from.

use candle_core::{Result, Tensor};

use crate::decoder::{Batch, Decoder};
use crate::device::in_pool;
use crate::layered::LayeredForward;
use crate::lora::Adapter;
use crate::ops::cross_entropy::{Gradient, LOGITS_AT_ONCE, Targets, cross_entropy};
use crate::sample::Sample;

/// Tokens that go through the decoder together, unless one sample is longer.
const ROW_TOKENS: usize = 1024;

/// Which log-probabilities are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Those of all tokens.
    All,
    /// Those of supervised tokens, which make the loss; the head is most of a small base's work.
    Supervised,
}

/// One sample's score.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Which of the samples.
    pub sample: usize,
    /// Sum over the supervised tokens, nats.
    pub loss_sum: f64,
    pub supervised_tokens: usize,
    /// `ln p(token | tokens before it)` for each token; `None` for the first one and for those that were not wanted.
    pub logprobs: Vec<Option<f64>>,
}

impl Score {
    /// Nats a supervised token; `None` where there is none.
    pub fn loss(&self) -> Option<f64> {
        (self.supervised_tokens > 0).then(|| self.loss_sum / self.supervised_tokens as f64)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum ScoreEvent {
    /// A layer's or a chunk of logits' worth of work was done.
    Working,
    /// In the order of the samples.
    Scored(Vec<Score>),
    /// Nothing more happens.
    Done,
}

/// The scoring of some samples, in order.
pub struct Scoring {
    samples: Vec<Sample>,
    wanted: Wanted,
    /// The first sample that is in no row yet.
    next: usize,
    row: Option<Row>,
}

/// What is predicted: the token at `target` of the sample, by the row's token before it.
struct Prediction {
    row: u32,
    sample: usize,
    target: usize,
}

struct Row {
    first: usize,
    count: usize,
    predictions: Vec<Prediction>,
    stage: Stage,
    scores: Vec<Score>,
}

enum Stage {
    Forward(LayeredForward),
    /// `[predictions, hidden]`, and how many of them are done.
    Head(Tensor, usize),
    Nothing,
}

impl Scoring {
    pub fn new(samples: Vec<Sample>, wanted: Wanted) -> Scoring {
        Scoring { samples, wanted, next: 0, row: None }
    }

    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// About one layer of work.
    pub fn step(&mut self, decoder: &Decoder, adapter: Option<&Adapter>) -> Result<ScoreEvent> {
        in_pool(|| self.advance(decoder, adapter))
    }

    fn advance(&mut self, decoder: &Decoder, adapter: Option<&Adapter>) -> Result<ScoreEvent> {
        let Some(mut row) = self.row.take() else {
            if self.next == self.samples.len() {
                return Ok(ScoreEvent::Done);
            }
            self.row = Some(self.next_row(decoder)?);
            return Ok(ScoreEvent::Working);
        };
        match row.stage {
            Stage::Forward(mut forward) => {
                row.stage = match forward.step(decoder, adapter)? {
                    None => Stage::Forward(forward),
                    Some(hidden) => {
                        let rows: Vec<u32> = row.predictions.iter().map(|p| p.row).collect();
                        Stage::Head(hidden.index_select(&Tensor::new(rows, decoder.device())?, 0)?, 0)
                    }
                };
            }
            Stage::Head(hidden, done) => {
                let chunk = (LOGITS_AT_ONCE / decoder.config().vocab.max(1)).max(1);
                let part = &row.predictions[done..row.predictions.len().min(done + chunk)];
                let targets: Vec<u32> =
                    part.iter().map(|p| self.samples[p.sample].tokens[p.target]).collect();
                let part_hidden = hidden.narrow(0, done, part.len())?;
                let pair = adapter.and_then(|adapter| adapter.head.as_ref());
                let losses = cross_entropy(
                    &part_hidden,
                    &decoder.head,
                    pair,
                    Targets::Tokens(&targets),
                    1.0,
                    Gradient::None,
                )?
                .losses;
                for (prediction, loss) in part.iter().zip(losses) {
                    let score = &mut row.scores[prediction.sample - row.first];
                    score.logprobs[prediction.target] = Some(-f64::from(loss));
                    if self.samples[prediction.sample].supervised[prediction.target] {
                        score.loss_sum += f64::from(loss);
                    }
                }
                let done = done + part.len();
                row.stage =
                    if done < row.predictions.len() { Stage::Head(hidden, done) } else { Stage::Nothing };
            }
            Stage::Nothing => {
                self.next = row.first + row.count;
                return Ok(ScoreEvent::Scored(row.scores));
            }
        }
        self.row = Some(row);
        Ok(ScoreEvent::Working)
    }

    /// Packs the next samples; at least one.
    fn next_row(&self, decoder: &Decoder) -> Result<Row> {
        let first = self.next;
        let mut sequences: Vec<&[u32]> = Vec::new();
        let (mut predictions, mut scores) = (Vec::new(), Vec::new());
        let mut start = 0;
        for (sample, item) in self.samples.iter().enumerate().skip(first) {
            // Nothing is predicted after the last token.
            let inputs = item.tokens.len().saturating_sub(1);
            if sample > first && start + inputs > ROW_TOKENS {
                break;
            }
            let targets = (1..item.tokens.len())
                .filter(|target| self.wanted == Wanted::All || item.supervised[*target]);
            predictions.extend(targets.map(|target| Prediction {
                row: (start + target - 1) as u32,
                sample,
                target,
            }));
            scores.push(Score {
                sample,
                loss_sum: 0.0,
                supervised_tokens: item.supervised_tokens(),
                logprobs: vec![None; item.tokens.len()],
            });
            sequences.push(&item.tokens[..inputs]);
            start += inputs;
        }
        let count = scores.len();
        let stage = if predictions.is_empty() {
            Stage::Nothing
        } else {
            Stage::Forward(LayeredForward::new(decoder, &Batch::packed(sequences))?)
        };
        Ok(Row { first, count, predictions, stage, scores })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::D;

    use super::*;
    use crate::fixtures;

    fn sample(tokens: &[u32], from: usize) -> Sample {
        Sample {
            tokens: tokens.to_vec(),
            supervised: (0..tokens.len()).map(|at| at >= from.max(1)).collect(),
            truncated: false,
        }
    }

    fn run(decoder: &Decoder, adapter: Option<&Adapter>, samples: Vec<Sample>, wanted: Wanted) -> Vec<Score> {
        let mut scoring = Scoring::new(samples, wanted);
        let mut scores = Vec::new();
        loop {
            match scoring.step(decoder, adapter).unwrap() {
                ScoreEvent::Working => {}
                ScoreEvent::Scored(more) => scores.extend(more),
                ScoreEvent::Done => return scores,
            }
        }
    }

    #[test]
    fn logprobs_are_those_of_the_logits() {
        let decoder = fixtures::decoder(7);
        let adapter = fixtures::adapter_everywhere(&decoder, 3);
        let samples =
            vec![sample(&[1, 2, 3, 4, 9, 8], 3), sample(&[5], 0), sample(&[], 0), sample(&[7, 6], 1)];
        for adapter in [None, Some(&adapter)] {
            let scores = run(&decoder, adapter, samples.clone(), Wanted::All);
            assert_eq!(scores.len(), 4);
            for (score, item) in scores.iter().zip(&samples) {
                assert_eq!(score.logprobs.len(), item.tokens.len());
                let mut loss = 0.0;
                for at in 1..item.tokens.len() {
                    // Alone, and each prefix as a pass of its own.
                    let batch = Batch::packed([&item.tokens[..at]]);
                    let hidden = decoder.forward(&batch, adapter, None).unwrap();
                    let logits = decoder.logits(&hidden.narrow(0, at - 1, 1).unwrap(), adapter).unwrap();
                    let normaliser = logits.log_sum_exp(D::Minus1).unwrap().to_vec1::<f32>().unwrap()[0];
                    let logits = logits.squeeze(0).unwrap().to_vec1::<f32>().unwrap();
                    let expected = f64::from(logits[item.tokens[at] as usize] - normaliser);
                    let found = score.logprobs[at].unwrap();
                    assert!((found - expected).abs() < 1e-4, "{found} {expected}");
                    loss -= if item.supervised[at] { expected } else { 0.0 };
                }
                assert!((score.loss_sum - loss).abs() < 1e-3);
                assert_eq!(score.logprobs.first().copied().flatten(), None);
            }
            assert_eq!((scores[1].loss(), scores[2].loss()), (None, None));
        }
    }

    #[test]
    fn supervised_tokens_alone_give_the_same_loss() {
        let decoder = fixtures::decoder(7);
        let samples = vec![sample(&[1, 2, 3, 4, 9, 8], 3), sample(&[7, 6], 1)];
        let all = run(&decoder, None, samples.clone(), Wanted::All);
        let some = run(&decoder, None, samples, Wanted::Supervised);
        assert_eq!(some[0].logprobs.iter().flatten().count(), 3);
        assert_eq!(all[0].logprobs.iter().flatten().count(), 5);
        for (all, some) in all.iter().zip(&some) {
            assert!((all.loss_sum - some.loss_sum).abs() < 1e-5);
        }
    }

    #[test]
    fn rows_end_where_they_are_full_and_a_long_sample_goes_alone() {
        let decoder = fixtures::decoder(7);
        let long: Vec<u32> = (0..1500).map(|at| at % 24).collect();
        let samples =
            vec![sample(&long[..700], 1), sample(&long[..700], 1), sample(&long, 1), sample(&[1, 2], 1)];
        let scores = run(&decoder, None, samples, Wanted::Supervised);
        let order: Vec<usize> = scores.iter().map(|score| score.sample).collect();
        assert_eq!(order, [0, 1, 2, 3]);
        assert!((scores[0].loss_sum - scores[1].loss_sum).abs() < 1e-6 * scores[0].loss_sum);
    }
}
