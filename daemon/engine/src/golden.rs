//! Golden answers: what an adapter wrote to a few prompts when it was new, so that anybody can see later whether it still does.
//!
//! A value that steps, like everything that takes long. It must not know where goldens are kept.

use std::sync::Arc;

use candle_core::{D, DType, Result as TensorResult, Tensor};
use serde::{Deserialize, Serialize};

use crate::base::Base;
use crate::decoder::Batch;
use crate::generate::{GenerateError, Generation, GenerationEvent};
use crate::layered::LayeredForward;
use crate::lora::Adapter;
use crate::sample::Sample;
use crate::sampling::SamplingOptions;

/// Golden prompts of an adapter.
const PROMPTS: usize = 3;
/// Tokens of each answer.
const TOKENS: usize = 24;
/// Longest prompt in tokens: enough to tell, short enough to be quick.
const PROMPT_TOKENS: usize = 96;

/// A prompt and the likeliest answer to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Golden {
    pub prompt_ids: Vec<u32>,
    pub token_ids: Vec<u32>,
    /// Prompt and answer as text, for people.
    pub prompt: String,
    pub text: String,
    /// Log-probability of all tokens of the answer together, nats.
    pub log_prob: f64,
}

impl Golden {
    /// Whether `now` is the same answer, with log-probabilities that are at most `tolerance` nats a token apart.
    pub fn agrees(&self, now: &Golden, tolerance: f64) -> bool {
        let apart = (self.log_prob - now.log_prob).abs() / self.token_ids.len().max(1) as f64;
        self.token_ids == now.token_ids && apart <= tolerance
    }
}

/// Prompts from examples that were held out: what comes before the first token that carries loss. A base without any gets the
/// beginnings of the examples.
pub fn prompts<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Vec<Vec<u32>> {
    let mut prompts: Vec<Vec<u32>> = Vec::new();
    for sample in samples {
        let first = sample.supervised.iter().position(|supervised| *supervised).unwrap_or(0);
        // Where everything carries loss there is no prompt: the first words are one.
        let length = if first > 1 { first } else { (sample.tokens.len() / 4).clamp(1, 12) };
        let prompt: Vec<u32> = sample.tokens.iter().take(length.min(PROMPT_TOKENS)).copied().collect();
        if !prompt.is_empty() && !prompts.contains(&prompt) {
            prompts.push(prompt);
        }
        if prompts.len() == PROMPTS {
            break;
        }
    }
    prompts
}

enum Stage {
    Begin,
    Writing(Box<Generation>),
    Scoring(LayeredForward),
}

/// Writes the answers to some prompts, one forward pass or one layer at a time.
pub struct GoldenWriter {
    adapter: Option<Arc<Adapter>>,
    /// Each with the number of tokens to write.
    prompts: Vec<(Vec<u32>, usize)>,
    stage: Stage,
    written: Vec<u32>,
    done: Vec<Golden>,
}

impl GoldenWriter {
    pub fn new(adapter: Option<Arc<Adapter>>, prompts: Vec<Vec<u32>>) -> GoldenWriter {
        let prompts = prompts.into_iter().map(|prompt| (prompt, TOKENS)).collect();
        GoldenWriter { adapter, prompts, stage: Stage::Begin, written: Vec::new(), done: Vec::new() }
    }

    /// The same prompts again, with as many tokens as were written then.
    pub fn again(adapter: Option<Arc<Adapter>>, goldens: &[Golden]) -> GoldenWriter {
        // An answer that had ended by itself was shorter than it could have been.
        let prompts =
            goldens.iter().map(|golden| (golden.prompt_ids.clone(), golden.token_ids.len().max(TOKENS)));
        let prompts = prompts.collect();
        GoldenWriter { adapter, prompts, stage: Stage::Begin, written: Vec::new(), done: Vec::new() }
    }

    /// One forward pass or one layer; the goldens after the last.
    ///
    /// # Errors
    /// A prompt that the base cannot read.
    pub fn step(&mut self, base: &Base) -> Result<Option<Vec<Golden>>, GenerateError> {
        let Some((prompt, tokens)) = self.prompts.get(self.done.len()) else {
            return Ok(Some(std::mem::take(&mut self.done)));
        };
        self.stage = match std::mem::replace(&mut self.stage, Stage::Begin) {
            Stage::Begin => {
                let options =
                    SamplingOptions { temperature: 0.0, max_tokens: *tokens, ..SamplingOptions::default() };
                self.written.clear();
                let generation = Generation::new(base, self.adapter.clone(), prompt.clone(), options)?;
                Stage::Writing(Box::new(generation))
            }
            Stage::Writing(mut generation) => match generation.step(base)? {
                GenerationEvent::Reading => Stage::Writing(generation),
                GenerationEvent::Delta { token_ids, .. } => {
                    self.written.extend(token_ids);
                    Stage::Writing(generation)
                }
                GenerationEvent::Done { token_ids, .. } => {
                    self.written.extend(token_ids);
                    let all: Vec<u32> = prompt.iter().chain(&self.written).copied().collect();
                    Stage::Scoring(LayeredForward::new(&base.decoder, &Batch::packed([all.as_slice()]))?)
                }
            },
            Stage::Scoring(mut forward) => match forward.step(&base.decoder, self.adapter.as_deref())? {
                None => Stage::Scoring(forward),
                Some(hidden) => {
                    let prompt = prompt.clone();
                    let log_prob = self.log_prob(base, &hidden, prompt.len())?;
                    let text = |tokens: &[u32]| base.text.decode(tokens).unwrap_or_default();
                    self.done.push(Golden {
                        text: text(&self.written),
                        prompt: text(&prompt),
                        prompt_ids: prompt,
                        token_ids: std::mem::take(&mut self.written),
                        log_prob,
                    });
                    Stage::Begin
                }
            },
        };
        Ok(None)
    }

    fn log_prob(&self, base: &Base, hidden: &Tensor, prompt: usize) -> TensorResult<f64> {
        if self.written.is_empty() {
            return Ok(0.0);
        }
        // The row before a token predicts it.
        let rows = hidden.narrow(0, prompt - 1, self.written.len())?;
        let logits = base.decoder.logits(&rows, self.adapter.as_deref())?.to_dtype(DType::F32)?;
        let normalisers = logits.log_sum_exp(D::Minus1)?.to_vec1::<f32>()?;
        let targets = Tensor::new(self.written.as_slice(), logits.device())?.unsqueeze(1)?;
        let chosen = logits.gather(&targets, 1)?.squeeze(1)?.to_vec1::<f32>()?;
        Ok(chosen.iter().zip(normalisers).map(|(chosen, normaliser)| f64::from(chosen - normaliser)).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_base;

    fn write(mut writer: GoldenWriter, base: &Base) -> Vec<Golden> {
        loop {
            if let Some(goldens) = writer.step(base).unwrap() {
                return goldens;
            }
        }
    }

    #[test]
    fn the_same_adapter_writes_the_same_and_another_does_not() {
        let base = test_base::base(1);
        let adapter = Arc::new(test_base::adapter(&base.decoder, 3));
        let goldens =
            write(GoldenWriter::new(Some(Arc::clone(&adapter)), vec![vec![1, 5, 3], vec![7]]), &base);
        assert_eq!(goldens.len(), 2);
        for golden in &goldens {
            assert!(golden.log_prob < 0.0 && golden.log_prob.is_finite());
            assert!(!golden.token_ids.is_empty() && golden.token_ids.len() <= TOKENS);
        }
        let again = write(GoldenWriter::again(Some(adapter), &goldens), &base);
        assert!(goldens.iter().zip(&again).all(|(golden, now)| golden.agrees(now, 1e-6)));
        let without = write(GoldenWriter::again(None, &goldens), &base);
        assert!(goldens.iter().zip(&without).any(|(golden, now)| !golden.agrees(now, 1e-3)));
    }

    #[test]
    fn prompts_are_what_comes_before_the_loss() {
        let sample = |tokens: &[u32], first: usize| Sample {
            tokens: tokens.to_vec(),
            supervised: (0..tokens.len()).map(|at| at >= first).collect(),
            truncated: false,
        };
        let samples = [
            sample(&[1, 2, 3, 4], 2),
            sample(&[1, 2, 9, 9], 2),
            sample(&[5, 6, 7, 8, 9, 1, 2, 3], 0),
            sample(&[], 0),
        ];
        assert_eq!(prompts(&samples), [vec![1, 2], vec![5, 6]]);
    }
}
