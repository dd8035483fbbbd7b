//! Rehearsal: a base's own answers to everyday prompts, which a run learns along with a person's examples so that the rest of what the base does stays.
//!
//! The base answers once, and what it wrote belongs to its fingerprint. Its own answers and no better ones, since they are what is to be kept
//! (self-synthesised rehearsal: Huang et al. 2024, <https://arxiv.org/abs/2403.01244>). It must not know what a person trains.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::answers::{Answers, Question};
use crate::base::Base;
use crate::base_text::{BaseError, BaseText};
use crate::guard::{NeutralError, NeutralSample, NeutralSamples};
use crate::sample::Sample;
use crate::sampling::SamplingOptions;

/// Prompts that a base answers, at most.
pub const PROMPTS: usize = 96;
/// Tokens of an answer, at most.
pub const ANSWER_TOKENS: usize = 64;

const ENGLISH: &str = include_str!("rehearsal/en.txt");
const CHINESE: &str = include_str!("rehearsal/zh.txt");
/// Of a base without a chat template, which answers nothing and writes on.
const OPENINGS: &str = include_str!("rehearsal/openings.txt");
/// Of so many English prompts, one more is Chinese.
const ENGLISH_FOR_ONE_CHINESE: usize = 3;

/// The prompts of a base, in their order: of each list from its beginning to its end.
fn prompts(text: &BaseText) -> Vec<(&'static str, bool)> {
    let spread = |list: &'static str, wanted: usize| -> Vec<&'static str> {
        let all: Vec<&str> = list.lines().collect();
        let wanted = wanted.min(all.len());
        (0..wanted).map(|at| all[at * all.len() / wanted]).collect()
    };
    if text.chats() {
        let chinese = PROMPTS / (ENGLISH_FOR_ONE_CHINESE + 1);
        let (english, chinese) = (spread(ENGLISH, PROMPTS - chinese), spread(CHINESE, chinese));
        english.into_iter().chain(chinese).map(|prompt| (prompt, false)).collect()
    } else {
        spread(OPENINGS, PROMPTS).into_iter().map(|opening| (opening, true)).collect()
    }
}

/// The drawing of a base's answers, all of them together: one forward pass a step.
pub struct RehearsalDrawing {
    prompts: Vec<Vec<u32>>,
    answers: Answers,
}

impl RehearsalDrawing {
    /// # Errors
    /// The tokenizer fails. A chat template that refuses a prompt is no error: then there is one prompt less.
    pub fn new(base: &Base) -> Result<RehearsalDrawing, BaseError> {
        let context = base.decoder.config().context;
        let most = ANSWER_TOKENS.min(context / 2);
        let mut tokens = Vec::new();
        for (prompt, raw) in prompts(&base.text) {
            match base.text.prompt(prompt, raw) {
                Ok(prompt) => tokens.push(prompt),
                Err(error) if raw => return Err(error),
                Err(_) => {}
            }
        }
        tokens.retain(|prompt: &Vec<u32>| !prompt.is_empty() && prompt.len() + most < context);
        let questions = tokens.iter().enumerate().map(|(number, prompt)| Question {
            prompt: prompt.clone(),
            options: options(number, most, base.text.chats()),
        });
        Ok(RehearsalDrawing { answers: Answers::new(None, questions.collect()), prompts: tokens })
    }

    /// Tokens that are written, and how many there will be at most.
    pub fn progress(&self) -> (usize, usize) {
        self.answers.progress()
    }

    /// One forward pass; all answers after the last. An empty answer is none; one that came to its end has its end token.
    ///
    /// # Errors
    /// A tensor operation that failed.
    pub fn step(&mut self, base: &Base) -> Result<Option<NeutralSamples>, NeutralError> {
        let Some(answers) = self.answers.step(base)? else { return Ok(None) };
        let written = self.prompts.iter().zip(answers).filter(|(_, answer)| !answer.tokens.is_empty());
        let samples = written.map(|(prompt, answer)| NeutralSample {
            tokens: prompt.iter().chain(&answer.tokens).chain(&answer.end).copied().collect(),
            prompt_tokens: prompt.len(),
        });
        Ok(Some(NeutralSamples { samples: samples.collect() }))
    }
}

/// A chat base is asked for what it would answer, another one for what it might write.
fn options(number: usize, max_tokens: usize, chats: bool) -> SamplingOptions {
    SamplingOptions {
        temperature: if chats { 0.0 } else { 1.0 },
        top_p: 1.0,
        seed: number as u64,
        max_tokens,
        ..SamplingOptions::default()
    }
}

/// The answers as a run learns them.
pub(crate) fn samples(written: &NeutralSamples) -> Vec<Sample> {
    let sample = |NeutralSample { tokens, prompt_tokens }: &NeutralSample| Sample {
        tokens: tokens.clone(),
        supervised: (0..tokens.len()).map(|at| at >= (*prompt_tokens).max(1)).collect(),
        truncated: false,
    };
    written.samples.iter().map(sample).filter(|sample| sample.supervised_tokens() > 0).collect()
}

/// Which of `count` answers go along with step `step` (from 0), `each` for each step on the average. All had their turn before one comes again, and
/// each round has its own order, which follows from `seed` alone.
pub(crate) fn chosen(step: usize, each: f64, count: usize, seed: u64) -> Vec<usize> {
    if count == 0 || each <= 0.0 {
        return Vec::new();
    }
    let until = |step: usize| (step as f64 * each).floor() as usize;
    let (first, end) = (until(step), until(step + 1));
    let rounds = first / count..=end.saturating_sub(1).max(first) / count;
    let order = |round: usize| {
        let mut all: Vec<usize> = (0..count).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream((1 << 60) + round as u64);
        all.shuffle(&mut rng);
        all
    };
    let skipped = first % count;
    rounds.flat_map(order).skip(skipped).take(end - first).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::test_base;

    #[test]
    fn prompts_are_many_and_none_comes_twice() {
        for list in [ENGLISH, CHINESE, OPENINGS] {
            let all: Vec<&str> = list.lines().collect();
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
            assert!(all.iter().all(|prompt| !prompt.trim().is_empty() && prompt.trim() == *prompt));
        }
        assert!(ENGLISH.lines().count() + CHINESE.lines().count() >= 250);
    }

    #[test]
    fn a_base_writes_the_same_each_time_and_what_it_wrote_carries_loss() {
        let draw = || {
            let base = test_base::base(7);
            let mut drawing = RehearsalDrawing::new(&base).unwrap();
            loop {
                if let Some(written) = drawing.step(&base).unwrap() {
                    let (done, of) = drawing.progress();
                    assert!(done <= of);
                    return written;
                }
            }
        };
        let written = draw();
        assert_eq!(written, draw());
        let samples = samples(&written);
        assert!(samples.len() > 8);
        for (sample, written) in samples.iter().zip(&written.samples) {
            assert_eq!(sample.supervised_tokens(), written.tokens.len() - written.prompt_tokens);
            assert!(written.tokens.len() - written.prompt_tokens <= ANSWER_TOKENS + 1);
        }
    }

    #[test]
    fn each_answer_has_its_turn_before_one_comes_again() {
        let all = |each: f64, steps: usize| -> Vec<usize> {
            (0..steps).flat_map(|step| chosen(step, each, 10, 3)).collect()
        };
        for each in [0.3, 1.0, 2.5, 12.0] {
            let got = all(each, 100);
            assert_eq!(got.len(), (100.0 * each) as usize, "{each}");
            for round in got.chunks_exact(10) {
                assert_eq!(round.iter().collect::<BTreeSet<_>>().len(), 10, "{each}");
            }
        }
        let two = all(1.0, 20);
        assert_ne!(two[..10], two[10..], "each round has an order of its own");
        assert!(chosen(4, 1.0, 0, 3).is_empty());
        assert!(chosen(4, 0.0, 5, 3).is_empty());
    }
}
