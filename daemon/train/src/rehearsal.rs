//! Rehearsal: a base's own answers to everyday prompts, which a run learns along with a person's examples so that the rest of what the base does stays.
//!
//! The base answers once, and what it wrote belongs to its fingerprint. Its own answers and no better ones, since they are what is to be kept
//! (self-synthesised rehearsal: Huang et al. 2024, <https://arxiv.org/abs/2403.01244>). It must not know what a person trains.
//!
//! What is learnt of them is KL(base || adapter): by its tokens alone, an adapter became surer of them than the base is, and lost more of everything else
//! (drift 0.69 against 0.12, at equal time). Answers have 32 tokens at most, because what an answer will be is decided early. Which ones go along follows from
//! seed and step, so that a resumed run takes the same.

use std::collections::HashMap;
use std::sync::Arc;

use hotplate_engine::base::Base;
use hotplate_engine::base_spec::{BaseError, BaseSpec};
use hotplate_engine::sample::Sample;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::reference_samples::{Opening, ReferenceSample, ReferenceSamples, ReferenceSampling};

/// Prompts that a base answers, at most.
pub const PROMPTS: usize = 256;
/// Tokens of an answer, at most.
pub const ANSWER_TOKENS: usize = 32;
/// How many times an answer's first token counts. It decides what kind of answer follows: where a folder's answers all begin alike, a base that begins so, too,
/// has lost a fact before it could say it. Figures: `tests/compare/RESULTS.md`.
pub(crate) const FIRST_TOKEN: f32 = 8.0;

const ENGLISH: &str = include_str!("rehearsal/en.txt");
const CHINESE: &str = include_str!("rehearsal/zh.txt");
/// Of a base without a chat template, which answers nothing and writes on.
const OPENINGS: &str = include_str!("rehearsal/openings.txt");
/// Of so many English prompts, one more is Chinese.
const ENGLISH_FOR_ONE_CHINESE: usize = 4;

/// The prompts of a base, in their order: of each list from its beginning to its end.
fn prompts(text: &BaseSpec) -> Vec<Opening> {
    let spread = |list: &'static str, wanted: usize| -> Vec<&'static str> {
        let all: Vec<&str> = list.lines().collect();
        let wanted = wanted.min(all.len());
        (0..wanted).map(|at| all[at * all.len() / wanted]).collect()
    };
    if text.chats() {
        let chinese = PROMPTS / (ENGLISH_FOR_ONE_CHINESE + 1);
        let (english, chinese) = (spread(ENGLISH, PROMPTS - chinese), spread(CHINESE, chinese));
        english.into_iter().chain(chinese).map(Opening::Question).collect()
    } else {
        spread(OPENINGS, PROMPTS).into_iter().map(Opening::Text).collect()
    }
}

/// # Errors
/// The tokenizer fails on an opening.
pub fn drawing(base: &Base) -> Result<ReferenceSampling, BaseError> {
    ReferenceSampling::new(base, prompts(&base.text), ANSWER_TOKENS)
}

/// What was asked, and what the base answered, as a person reads it.
///
/// # Errors
/// The tokenizer fails.
pub fn as_text(
    text: &BaseSpec,
    written: &ReferenceSamples,
) -> Result<Vec<(&'static str, String)>, BaseError> {
    let mut asked: HashMap<Vec<u32>, &'static str> = HashMap::new();
    for opening in prompts(text) {
        if let Some(tokens) = opening.tokens(text)? {
            asked.insert(tokens, opening.text());
        }
    }
    // Prompts of another build are not known by their tokens.
    let known = written.samples.iter().filter_map(|sample| Some((*asked.get(sample.prompt())?, sample)));
    known
        .map(|(prompt, sample)| {
            let own = sample.own();
            let end = own.last().is_some_and(|last| text.eos.contains(last));
            Ok((prompt, text.decode(&own[..own.len() - usize::from(end)])?))
        })
        .collect()
}

/// A base's answers, and as a run learns them.
pub(crate) struct Rehearsal {
    pub(crate) written: Arc<ReferenceSamples>,
    samples: Vec<Sample>,
}

impl Rehearsal {
    pub(crate) fn new(written: Arc<ReferenceSamples>) -> Rehearsal {
        let samples = samples(&written);
        Rehearsal { written, samples }
    }

    /// None before the base has answered.
    pub(crate) fn of(rehearsal: Option<&Rehearsal>) -> &[Sample] {
        rehearsal.map_or(&[], |rehearsal| &rehearsal.samples)
    }
}

fn samples(written: &ReferenceSamples) -> Vec<Sample> {
    let sample = |ReferenceSample { tokens, prompt_tokens }: &ReferenceSample| Sample {
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
    use crate::reference_samples::tests::drawn;
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
            drawn(&base, drawing(&base).unwrap())
        };
        let written = draw();
        assert_eq!(written, draw());
        let base = test_base::base(7);
        let shown = as_text(&base.text, &written).unwrap();
        assert_eq!(shown.len(), written.samples.len());
        for ((prompt, answer), sample) in shown.iter().zip(&written.samples) {
            assert!(OPENINGS.lines().any(|line| line == *prompt));
            assert_eq!(base.text.prompt(prompt, true).unwrap(), sample.prompt());
            assert!(base.text.decode(sample.own()).unwrap().starts_with(answer.as_str()));
        }
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
