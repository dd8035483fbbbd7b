//! Drift: how far an adapter has moved its base on texts that have nothing to do with the data.
//!
//! The mean over the tokens of the base's own [`NeutralSamples`] of KL(base || adapter), the divergence between what the base and what the adapted
//! base would say next, in nats. 0: nothing changed.

use candle_core::{DType, Result, Tensor};

use super::neutral::NeutralSamples;
use crate::decoder::{Batch, Decoder};
use crate::layered::LayeredForward;
use crate::lora::Adapter;
use crate::ops::cross_entropy::LOGITS_AT_ONCE;

/// Tokens that go through the decoder together.
const ROW_TOKENS: usize = 512;

/// The measurement of one adapter, a layer or a chunk of logits a step.
pub struct Drift {
    rows: Vec<Row>,
    next: usize,
    stage: Stage,
    sum: f64,
    tokens: usize,
}

struct Row {
    batch: Batch,
    /// Rows of the batch after which a token of the base's own comes.
    wanted: Vec<u32>,
}

enum Stage {
    Begin,
    Base(LayeredForward),
    Adapted {
        base: Tensor,
        forward: LayeredForward,
    },
    /// `[wanted, hidden]` of both, and how many rows are done.
    Compare {
        base: Tensor,
        adapted: Tensor,
        done: usize,
    },
}

impl Drift {
    pub fn new(samples: &NeutralSamples) -> Drift {
        let mut rows = Vec::new();
        let mut sequences: Vec<&[u32]> = Vec::new();
        let (mut wanted, mut start) = (Vec::new(), 0);
        let mut close = |sequences: &mut Vec<&[u32]>, wanted: &mut Vec<u32>| {
            if !wanted.is_empty() {
                rows.push(Row { batch: Batch::packed(sequences.drain(..)), wanted: std::mem::take(wanted) });
            }
        };
        for sample in &samples.samples {
            // Nothing is asked about what comes after the last token.
            let inputs = sample.tokens.len().saturating_sub(1);
            if inputs == 0 || sample.prompt_tokens > inputs {
                continue;
            }
            if start + inputs > ROW_TOKENS {
                close(&mut sequences, &mut wanted);
                start = 0;
            }
            let first = sample.prompt_tokens.saturating_sub(1);
            wanted.extend((start + first..start + inputs).map(|at| at as u32));
            sequences.push(&sample.tokens[..inputs]);
            start += inputs;
        }
        close(&mut sequences, &mut wanted);
        Drift { rows, next: 0, stage: Stage::Begin, sum: 0.0, tokens: 0 }
    }

    /// Rows that are compared, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        (self.next, self.rows.len())
    }

    /// One layer, or one chunk of logits; the mean after the last, `None` inside where there is nothing to compare on. `adapted_decoder` is the
    /// base itself, or the base with other weights.
    pub fn step(
        &mut self,
        decoder: &Decoder,
        adapted_decoder: &Decoder,
        adapter: Option<&Adapter>,
    ) -> Result<Option<Option<f64>>> {
        let Some(row) = self.rows.get(self.next) else {
            return Ok(Some((self.tokens > 0).then(|| self.sum / self.tokens as f64)));
        };
        self.stage = match std::mem::replace(&mut self.stage, Stage::Begin) {
            Stage::Begin => Stage::Base(LayeredForward::new(decoder, &row.batch)?),
            Stage::Base(mut forward) => match forward.step(decoder, None)? {
                None => Stage::Base(forward),
                Some(hidden) => Stage::Adapted {
                    base: select(&hidden, &row.wanted)?,
                    forward: LayeredForward::new(adapted_decoder, &row.batch)?,
                },
            },
            Stage::Adapted { base, mut forward } => match forward.step(adapted_decoder, adapter)? {
                None => Stage::Adapted { base, forward },
                Some(hidden) => Stage::Compare { base, adapted: select(&hidden, &row.wanted)?, done: 0 },
            },
            Stage::Compare { base, adapted, done } => {
                let chunk = (LOGITS_AT_ONCE / decoder.config().vocab.max(1) / 2).max(1);
                let len = chunk.min(row.wanted.len() - done);
                let logits = |decoder: &Decoder, hidden: &Tensor, adapter| -> Result<Vec<Vec<f32>>> {
                    decoder.logits(&hidden.narrow(0, done, len)?, adapter)?.to_dtype(DType::F32)?.to_vec2()
                };
                let (base_rows, rows) =
                    (logits(decoder, &base, None)?, logits(adapted_decoder, &adapted, adapter)?);
                for (p, q) in base_rows.iter().zip(rows) {
                    self.sum += divergence(p, &q);
                    self.tokens += 1;
                }
                let done = done + len;
                if done < row.wanted.len() {
                    Stage::Compare { base, adapted, done }
                } else {
                    self.next += 1;
                    Stage::Begin
                }
            }
        };
        Ok(None)
    }
}

fn select(hidden: &Tensor, rows: &[u32]) -> Result<Tensor> {
    hidden.index_select(&Tensor::new(rows, hidden.device())?, 0)
}

/// KL(p || q) in nats of two rows of logits. Rounding cannot make it negative.
fn divergence(p: &[f32], q: &[f32]) -> f64 {
    let (log_p, log_q) = (normaliser(p), normaliser(q));
    let terms = p.iter().zip(q).map(|(p, q)| {
        let (p, q) = (f64::from(*p) - log_p, f64::from(*q) - log_q);
        let weight = p.exp();
        // A token that the base rules out has no part, whatever the adapter thinks of it.
        if weight == 0.0 { 0.0 } else { weight * (p - q) }
    });
    let sum: f64 = terms.sum();
    if sum < 0.0 { 0.0 } else { sum }
}

fn normaliser(row: &[f32]) -> f64 {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    f64::from(top) + row.iter().map(|x| f64::from(x - top).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::super::neutral::NeutralSample;
    use super::*;
    use crate::test_base;

    fn samples(texts: &[(&[u32], usize)]) -> NeutralSamples {
        let samples = texts.iter().map(|(tokens, prompt_tokens)| NeutralSample {
            tokens: tokens.to_vec(),
            prompt_tokens: *prompt_tokens,
        });
        NeutralSamples { samples: samples.collect() }
    }

    fn measure(decoder: &Decoder, adapter: &Adapter, samples: &NeutralSamples) -> Option<f64> {
        let mut drift = Drift::new(samples);
        loop {
            if let Some(result) = drift.step(decoder, decoder, Some(adapter)).unwrap() {
                return result;
            }
        }
    }

    #[test]
    fn divergences_with_known_answers() {
        let ln = |p: &[f32]| -> Vec<f32> { p.iter().map(|p| p.ln()).collect() };
        // 0.5 ln 2 + 0.5 ln (2/3)
        let expected = 0.5 * (2f64.ln() + (2.0f64 / 3.0).ln());
        assert!((divergence(&ln(&[0.5, 0.5]), &ln(&[0.25, 0.75])) - expected).abs() < 1e-6);
        assert!(divergence(&[1.0, 2.0, 3.0], &[11.0, 12.0, 13.0]) < 1e-9);
        assert!((divergence(&[0.0, f32::NEG_INFINITY], &ln(&[0.5, 0.5])) - 2f64.ln()).abs() < 1e-6);
        assert!(divergence(&[f32::NAN, 0.0], &[0.0, 0.0]).is_nan());
    }

    #[test]
    fn a_fresh_adapter_drifts_by_nothing_and_a_strong_one_by_what_logits_say() {
        let decoder = test_base::decoder(7);
        let fresh = Adapter::fresh(decoder.config(), &test_base::spec(4), 1, decoder.device()).unwrap();
        let texts: &[(&[u32], usize)] = &[(&[1, 2, 3, 4, 5], 2), (&[9, 8, 7], 1), (&[4], 1), (&[], 0)];
        assert_eq!(measure(&decoder, &fresh, &samples(texts)), Some(0.0));
        let strong = test_base::adapter_everywhere(&decoder, 3);
        let found = measure(&decoder, &strong, &samples(texts)).unwrap();
        // Each sample alone, whole passes: the rows that come before a token of its own.
        let mut divergences = Vec::new();
        for (tokens, prompt) in &texts[..2] {
            let batch = Batch::packed([*tokens]);
            let rows = |adapter: Option<&Adapter>| -> Vec<Vec<f32>> {
                let hidden = decoder.forward(&batch, adapter, None).unwrap();
                decoder.logits(&hidden, adapter).unwrap().to_vec2().unwrap()
            };
            let (base, adapted) = (rows(None), rows(Some(&strong)));
            divergences.extend((prompt - 1..tokens.len() - 1).map(|at| divergence(&base[at], &adapted[at])));
        }
        assert_eq!(divergences.len(), 5);
        let expected = divergences.iter().sum::<f64>() / 5.0;
        assert!(expected > 1e-3 && (found - expected).abs() < 1e-5 * (1.0 + expected), "{found} {expected}");
    }

    #[test]
    fn nothing_to_compare_on_is_no_figure() {
        let decoder = test_base::decoder(7);
        let adapter = test_base::adapter(&decoder, 3);
        assert_eq!(measure(&decoder, &adapter, &samples(&[])), None);
        assert_eq!(measure(&decoder, &adapter, &samples(&[(&[1], 1), (&[1, 2], 5)])), None);
    }
}
