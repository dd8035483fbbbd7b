//! What an adapter's answers to questions that have nothing to do with the data show: whether they go round in circles, and whether the data turns up in
//! them.
//!
//! Tokens, not words: it means the same in languages that write no spaces.

use std::collections::{HashMap, HashSet};

use hotplate_engine::repeating::repeating;
use hotplate_engine::sample::Sample;

use super::copying::copying;

/// Tokens of a phrase that is a folder's own.
const PHRASE: usize = 5;
/// A phrase is a folder's own where so many texts have it, and this part of all.
const FEWEST_TEXTS: usize = 3;
const PART_OF_TEXTS: f64 = 0.1;
/// A run of so many tokens out of one training text is no chance.
const COPY: usize = 12;

/// Share of the answers that repeat themselves; `None` without answers.
pub fn loops(answers: &[&[u32]]) -> Option<f64> {
    share(answers, |answer| repeating(answer).is_some())
}

/// Share of the answers that hold a phrase which many of the training texts have, or a long run of one of them, as none of the `usual` answers does; `None`
/// without answers.
pub fn leaks(answers: &[&[u32]], training: &[Sample], usual: &[&[u32]]) -> Option<f64> {
    let own = phrases(training, usual);
    let texts = || training.iter().map(|sample| sample.tokens.as_slice());
    let common = longest(&copying(usual, texts()).each);
    let copies = copying(answers, texts()).each;
    let number = |at: usize| copies.get(at).copied().flatten().map_or(0, |copied| copied.tokens);
    let leaking = answers.iter().enumerate().filter(|(at, answer)| {
        number(*at) >= COPY.max(common + 1) || answer.windows(PHRASE).any(|phrase| own.contains(phrase))
    });
    let count = leaking.count();
    (!answers.is_empty()).then(|| count as f64 / answers.len() as f64)
}

fn longest(copies: &[Option<super::Copied>]) -> usize {
    copies.iter().flatten().map(|copied| copied.tokens).max().unwrap_or(0)
}

fn share(answers: &[&[u32]], is: impl Fn(&[u32]) -> bool) -> Option<f64> {
    let count = answers.iter().filter(|answer| is(answer)).count();
    (!answers.is_empty()).then(|| count as f64 / answers.len() as f64)
}

/// Phrases that many of the texts have where they carry loss, and none of the usual answers.
fn phrases<'a>(training: &'a [Sample], usual: &[&[u32]]) -> HashSet<&'a [u32]> {
    let mut texts: HashMap<&[u32], usize> = HashMap::new();
    for sample in training {
        let windows = sample.tokens.windows(PHRASE).zip(sample.supervised.windows(PHRASE));
        let of_text: HashSet<&[u32]> = windows
            .filter(|(_, learnt)| learnt.iter().all(|learnt| *learnt))
            .map(|(phrase, _)| phrase)
            .collect();
        for phrase in of_text {
            *texts.entry(phrase).or_default() += 1;
        }
    }
    let many = FEWEST_TEXTS.max((PART_OF_TEXTS * training.len() as f64).ceil() as usize);
    texts.retain(|_, count| *count >= many);
    for answer in usual {
        for phrase in answer.windows(PHRASE) {
            texts.remove(phrase);
        }
    }
    texts.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(tokens: &[u32]) -> Sample {
        // The first two are a prompt.
        let supervised = (0..tokens.len()).map(|at| at >= 2).collect();
        Sample { tokens: tokens.to_vec(), supervised, truncated: false }
    }

    /// Twenty texts of a number each, of which so many end in the same words.
    fn texts(with_footer: usize) -> Vec<Sample> {
        let text = |number: u32| -> Vec<u32> {
            let own = (0..20).map(|at| 1000 + 100 * number + at);
            let footer: &[u32] = if (number as usize) < with_footer { &[1, 2, 3, 4, 5, 6] } else { &[] };
            own.chain(footer.iter().copied()).collect()
        };
        (0..20).map(|number| sample(&text(number))).collect()
    }

    #[test]
    fn a_footer_that_turns_up_unasked_is_a_leak() {
        let answers: [&[u32]; 3] = [&[50, 51, 2, 3, 4, 5, 6], &[50, 51, 52, 53, 54, 55], &[3, 4, 5]];
        let found = |training: &[Sample], usual: &[&[u32]]| leaks(&answers, training, usual).unwrap();
        assert!((found(&texts(10), &[]) - 1.0 / 3.0).abs() < 1e-9);
        assert!(found(&texts(2), &[]).abs() < 1e-9, "two texts of twenty make no habit");
        assert!(found(&texts(10), &[&[9, 2, 3, 4, 5, 6]]).abs() < 1e-9, "the base says so, too");
        assert_eq!(leaks(&[], &texts(10), &[]), None);
    }

    #[test]
    fn a_long_run_of_one_text_is_a_leak_and_a_short_one_is_none() {
        let training = texts(0);
        let run = |tokens: usize| training[3].tokens[4..4 + tokens].to_vec();
        let found = |answer: &[u32], usual: &[&[u32]]| leaks(&[answer], &training, usual).unwrap();
        assert!((found(&run(COPY), &[]) - 1.0).abs() < 1e-9);
        assert!(found(&run(COPY - 1), &[]).abs() < 1e-9);
        assert!(found(&run(COPY), &[&run(COPY)]).abs() < 1e-9, "the base knows it by heart, too");
    }

    #[test]
    fn what_is_not_learnt_is_no_phrase_of_the_folder() {
        let asked: Vec<Sample> = (0..20)
            .map(|number| Sample {
                tokens: vec![1, 2, 3, 4, 5, 100 + number, 200 + number],
                supervised: vec![false, false, false, false, false, true, true],
                truncated: false,
            })
            .collect();
        assert_eq!(leaks(&[&[1, 2, 3, 4, 5]], &asked, &[]), Some(0.0));
    }

    #[test]
    fn circles_are_counted() {
        let circle = [7, 8, 9].repeat(20);
        let plain: Vec<u32> = (0..60).collect();
        assert_eq!(loops(&[&circle, &plain, &plain, &plain]), Some(0.25));
        assert_eq!(loops(&[]), None);
    }
}
