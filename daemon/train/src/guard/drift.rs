//! Drift: how far an adapter has moved its base on texts that have nothing to do with the data.
//!
//! Over the tokens of the base's own [`ReferenceSamples`]: the mean of KL(base || adapter), the divergence between what the base and what the adapted
//! base would say next, in nats (0: nothing changed), and the share of places where both would say the same (top-1 agreement, 1: nothing changed).

use candle_core::{DType, Result, Tensor};
use hotplate_engine::decoder::{Batch, Decoder};
use hotplate_engine::layered::LayeredForward;
use hotplate_engine::lora::Adapter;
use hotplate_engine::ops::cross_entropy::LOGITS_AT_ONCE;
use rayon::prelude::*;

use crate::reference_samples::ReferenceSamples;

/// Tokens that go through the decoder together.
const ROW_TOKENS: usize = 512;

/// How far an adapter has moved its base.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moved {
    /// Mean KL(base || adapter), nats a token.
    pub drift: f64,
    /// Share of places where both think the same token likeliest, 0 to 1.
    pub agreement: f64,
}

/// The measurement of one adapter, a layer or a chunk of logits a step; what the base thinks is kept for the next one.
pub struct Drift {
    rows: Vec<Row>,
    next: usize,
    stage: Stage,
    divergence: f64,
    agreed: usize,
    tokens: usize,
}

struct Row {
    batch: Batch,
    /// Rows of the batch after which a token of the base's own comes.
    wanted: Vec<u32>,
    /// `[wanted, hidden]`
    base: Option<Tensor>,
}

enum Stage {
    Begin,
    Base(LayeredForward),
    Adapted(LayeredForward),
    /// `[wanted, hidden]`, and how many rows are done.
    Compare {
        adapted: Tensor,
        done: usize,
    },
}

impl Drift {
    pub fn new(samples: &ReferenceSamples) -> Drift {
        let mut rows = Vec::new();
        let mut sequences: Vec<&[u32]> = Vec::new();
        let (mut wanted, mut start) = (Vec::new(), 0);
        let mut close = |sequences: &mut Vec<&[u32]>, wanted: &mut Vec<u32>| {
            if !wanted.is_empty() {
                rows.push(Row {
                    batch: Batch::packed(sequences.drain(..)),
                    wanted: std::mem::take(wanted),
                    base: None,
                });
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
        Drift { rows, next: 0, stage: Stage::Begin, divergence: 0.0, agreed: 0, tokens: 0 }
    }

    /// Rows that are compared, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        (self.next, self.rows.len())
    }

    /// One layer, or one chunk of logits; the figures after the last, `None` inside where there is nothing to compare on. Then it begins anew, with what
    /// may be another adapter. `adapted_decoder` is the base itself, or the base with other weights.
    ///
    /// # Errors
    /// A tensor operation that failed.
    pub fn step(
        &mut self,
        decoder: &Decoder,
        adapted_decoder: &Decoder,
        adapter: Option<&Adapter>,
    ) -> Result<Option<Option<Moved>>> {
        let Some(row) = self.rows.get_mut(self.next) else {
            let tokens = self.tokens as f64;
            let moved = Moved { drift: self.divergence / tokens, agreement: self.agreed as f64 / tokens };
            let found = (self.tokens > 0).then_some(moved);
            (self.next, self.divergence, self.agreed, self.tokens) = (0, 0.0, 0, 0);
            return Ok(Some(found));
        };
        self.stage = match (std::mem::replace(&mut self.stage, Stage::Begin), &row.base) {
            (Stage::Begin, None) => Stage::Base(LayeredForward::new(decoder, &row.batch)?),
            (Stage::Begin, Some(_)) => Stage::Adapted(LayeredForward::new(adapted_decoder, &row.batch)?),
            (Stage::Base(mut forward), _) => match forward.step(decoder, None)? {
                None => Stage::Base(forward),
                Some(hidden) => {
                    row.base = Some(select(&hidden, &row.wanted)?);
                    Stage::Begin
                }
            },
            (Stage::Adapted(mut forward), _) => match forward.step(adapted_decoder, adapter)? {
                None => Stage::Adapted(forward),
                Some(hidden) => Stage::Compare { adapted: select(&hidden, &row.wanted)?, done: 0 },
            },
            (Stage::Compare { .. }, None) => Stage::Begin,
            (Stage::Compare { adapted, done }, Some(base)) => {
                let chunk = (LOGITS_AT_ONCE / decoder.config().vocab.max(1) / 2).max(1);
                let len = chunk.min(row.wanted.len() - done);
                let logits = |decoder: &Decoder, hidden: &Tensor, adapter| -> Result<Vec<Vec<f32>>> {
                    decoder.logits(&hidden.narrow(0, done, len)?, adapter)?.to_dtype(DType::F32)?.to_vec2()
                };
                let (base_rows, rows) =
                    (logits(decoder, base, None)?, logits(adapted_decoder, &adapted, adapter)?);
                let compared = base_rows.par_iter().zip(&rows);
                let compared: Vec<(f64, bool)> =
                    compared.map(|(p, q)| (divergence(p, q), likeliest(p) == likeliest(q))).collect();
                self.divergence += compared.iter().map(|(divergence, _)| divergence).sum::<f64>();
                self.agreed += compared.iter().filter(|(_, agreed)| *agreed).count();
                self.tokens += len;
                let done = done + len;
                if done < row.wanted.len() {
                    Stage::Compare { adapted, done }
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

fn likeliest(row: &[f32]) -> Option<usize> {
    (0..row.len()).max_by(|one, other| row[*one].total_cmp(&row[*other]))
}

fn normaliser(row: &[f32]) -> f64 {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    f64::from(top) + row.iter().map(|x| f64::from(x - top).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference_samples::ReferenceSample;
    use crate::test_base;

    fn samples(texts: &[(&[u32], usize)]) -> ReferenceSamples {
        let samples = texts.iter().map(|(tokens, prompt_tokens)| ReferenceSample {
            tokens: tokens.to_vec(),
            prompt_tokens: *prompt_tokens,
        });
        ReferenceSamples { samples: samples.collect() }
    }

    fn measure(decoder: &Decoder, adapter: &Adapter, samples: &ReferenceSamples) -> Option<Moved> {
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
        let unmoved = Moved { drift: 0.0, agreement: 1.0 };
        assert_eq!(measure(&decoder, &fresh, &samples(texts)), Some(unmoved));
        let strong = test_base::adapter_everywhere(&decoder, 3);
        let found = measure(&decoder, &strong, &samples(texts)).unwrap();
        // Each sample alone, whole passes: the rows that come before a token of its own.
        let (mut divergences, mut agreed) = (Vec::new(), 0);
        for (tokens, prompt) in &texts[..2] {
            let batch = Batch::packed([*tokens]);
            let rows = |adapter: Option<&Adapter>| -> Vec<Vec<f32>> {
                let hidden = decoder.forward(&batch, adapter, None).unwrap();
                decoder.logits(&hidden, adapter).unwrap().to_vec2().unwrap()
            };
            let (base, adapted) = (rows(None), rows(Some(&strong)));
            divergences.extend((prompt - 1..tokens.len() - 1).map(|at| divergence(&base[at], &adapted[at])));
            let same = |at: &usize| likeliest(&base[*at]) == likeliest(&adapted[*at]);
            agreed += (prompt - 1..tokens.len() - 1).filter(same).count();
        }
        assert_eq!(divergences.len(), 5);
        let expected = divergences.iter().sum::<f64>() / 5.0;
        assert!(expected > 1e-3 && (found.drift - expected).abs() < 1e-5 * (1.0 + expected), "{found:?}");
        assert!((found.agreement - agreed as f64 / 5.0).abs() < 1e-9, "{found:?}, {agreed} of 5");
        // Measured again, with another adapter between.
        let mut drift = Drift::new(&samples(texts));
        let mut again = |adapter| loop {
            if let Some(moved) = drift.step(&decoder, &decoder, Some(adapter)).unwrap() {
                return moved.unwrap();
            }
        };
        assert_eq!((again(&strong), again(&fresh), again(&strong)), (found, unmoved, found));
    }

    #[test]
    fn nothing_to_compare_on_is_no_figure() {
        let decoder = test_base::decoder(7);
        let adapter = test_base::adapter(&decoder, 3);
        assert_eq!(measure(&decoder, &adapter, &samples(&[])), None);
        assert_eq!(measure(&decoder, &adapter, &samples(&[(&[1], 1), (&[1, 2], 5)])), None);
    }
}
