//! Golden answers: what an adapter wrote to a few prompts when it was new, so that anybody can see later whether it still does.
//!
//! A value that steps, like everything that takes long. It must not know where goldens are kept.
//!
//! Written when a run is over, all together, before its version is saved; they travel in `hotplate.json`.

use std::sync::Arc;

use candle_core::{D, DType, Result as TensorResult, Tensor};
use serde::{Deserialize, Serialize};

use crate::answers::{Answer, Answers, Question};
use crate::base::Base;
use crate::decoder::Batch;
use crate::generate::GenerateError;
use crate::layered::LayeredForward;
use crate::lora::Adapter;
use crate::sample::Sample;

/// Golden prompts of an adapter.
pub const PROMPTS: usize = 3;
/// Tokens of each answer.
pub const TOKENS: usize = 24;
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
    Writing(Box<Answers>),
    /// Each prompt with its answer, one after the other; what has been scored is done.
    Scoring {
        answers: Vec<Answer>,
        forward: Option<LayeredForward>,
    },
}

/// Writes the answers to some prompts together, and then scores them, one forward pass or one layer at a time.
pub struct GoldenWriter {
    adapter: Option<Arc<Adapter>>,
    prompts: Vec<Vec<u32>>,
    stage: Stage,
    done: Vec<Golden>,
}

impl GoldenWriter {
    pub fn new(adapter: Option<Arc<Adapter>>, prompts: Vec<Vec<u32>>) -> GoldenWriter {
        Self::of_questions(adapter, prompts.into_iter().map(|prompt| Question::greedy(prompt, TOKENS)))
    }

    /// The same prompts again, with as many tokens as were written then.
    pub fn again(adapter: Option<Arc<Adapter>>, goldens: &[Golden]) -> GoldenWriter {
        // An answer that had ended by itself was shorter than it could have been.
        let tokens = |golden: &Golden| golden.token_ids.len().max(TOKENS);
        let questions =
            goldens.iter().map(|golden| Question::greedy(golden.prompt_ids.clone(), tokens(golden)));
        Self::of_questions(adapter, questions)
    }

    fn of_questions(
        adapter: Option<Arc<Adapter>>,
        questions: impl Iterator<Item = Question>,
    ) -> GoldenWriter {
        let questions: Vec<Question> = questions.collect();
        let prompts = questions.iter().map(|question| question.prompt.clone()).collect();
        let stage = Stage::Writing(Box::new(Answers::new(adapter.clone(), questions)));
        GoldenWriter { adapter, prompts, stage, done: Vec::new() }
    }

    /// Tokens that are written and scored, and how many there will be at most.
    pub fn progress(&self) -> (usize, usize) {
        let (scored, of) = (self.done.len(), self.prompts.len());
        match &self.stage {
            Stage::Writing(answers) => {
                let (done, tokens) = answers.progress();
                (done, tokens + of)
            }
            Stage::Scoring { .. } => (of * TOKENS + scored, of * (TOKENS + 1)),
        }
    }

    /// One forward pass or one layer; the goldens after the last.
    ///
    /// # Errors
    /// A prompt that the base cannot read.
    pub fn step(&mut self, base: &Base) -> Result<Option<Vec<Golden>>, GenerateError> {
        let (answers, forward) = match &mut self.stage {
            Stage::Writing(writing) => {
                if let Some(answers) = writing.step(base)? {
                    self.stage = Stage::Scoring { answers, forward: None };
                }
                return Ok(None);
            }
            Stage::Scoring { answers, forward } => (answers, forward),
        };
        let number = self.done.len();
        let (Some(prompt), Some(answer)) = (self.prompts.get(number), answers.get(number)) else {
            return Ok(Some(std::mem::take(&mut self.done)));
        };
        let Some(scoring) = forward else {
            let all: Vec<u32> = prompt.iter().chain(&answer.tokens).copied().collect();
            *forward = Some(LayeredForward::new(&base.decoder, &Batch::packed([all.as_slice()]))?);
            return Ok(None);
        };
        if let Some(hidden) = scoring.step(&base.decoder, self.adapter.as_deref())? {
            let written = answer.tokens.as_slice();
            let log_prob = log_prob(base, self.adapter.as_deref(), &hidden, prompt.len(), written)?;
            let text = |tokens: &[u32]| base.text.decode(tokens).unwrap_or_default();
            self.done.push(Golden {
                text: text(written),
                prompt: text(prompt),
                prompt_ids: prompt.clone(),
                token_ids: written.to_vec(),
                log_prob,
            });
            *forward = None;
        }
        Ok(None)
    }
}

/// Of all of what was written behind the prompt; `hidden` are the rows of both.
fn log_prob(
    base: &Base,
    adapter: Option<&Adapter>,
    hidden: &Tensor,
    prompt: usize,
    written: &[u32],
) -> TensorResult<f64> {
    if written.is_empty() {
        return Ok(0.0);
    }
    // The row before a token predicts it.
    let rows = hidden.narrow(0, prompt - 1, written.len())?;
    let logits = base.decoder.logits(&rows, adapter)?.to_dtype(DType::F32)?;
    let normalisers = logits.log_sum_exp(D::Minus1)?.to_vec1::<f32>()?;
    let targets = Tensor::new(written, logits.device())?.unsqueeze(1)?;
    let chosen = logits.gather(&targets, 1)?.squeeze(1)?.to_vec1::<f32>()?;
    Ok(chosen.iter().zip(normalisers).map(|(chosen, normaliser)| f64::from(chosen - normaliser)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn write(mut writer: GoldenWriter, base: &Base) -> Vec<Golden> {
        loop {
            if let Some(goldens) = writer.step(base).unwrap() {
                return goldens;
            }
        }
    }

    #[test]
    fn the_same_adapter_writes_the_same_and_another_does_not() {
        let base = fixtures::base(1);
        let adapter = Arc::new(fixtures::adapter(&base.decoder, 3));
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
