//! Whether there was anything to learn from: what a run gained, held against the base and against a bag of words.
//!
//! The bag of words (a unigram model of the training texts' tokens) knows how often each token comes and nothing of their order. A base that has learnt a folder
//! and guesses no better has found no order in it; a base that guesses far better before it has learnt anything knows such texts already.
//!
//! Measured: random letters and shuffled words end where the bag is; what the base wrote itself begins at a sixth to a fifth of it.

use std::collections::HashMap;

use hotplate_engine::sample::Sample;
use serde::{Deserialize, Serialize};

/// Part of the base's loss that a run must gain to be worth its while.
const LEAST_GAIN: f64 = 0.08;
/// A loss of this part of the bag's, or more, has no order to go by.
const NO_ORDER: f64 = 0.9;
/// A base that starts from this part of the bag's loss, or less, writes such texts already, ...
const KNOWN: f64 = 0.25;
/// ... unless a run gains this part of its loss, or more: what is formulaic can still become much surer. A base's own likeliest answers (135M) gain a quarter
/// as questions and answers, two fifths as notes.
const GAIN_OF_KNOWN: f64 = 0.5;
/// What the bag counts for a token that it has seen less than once.
const UNSEEN: f64 = 0.5;

/// Why a folder had better not be trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Futile {
    /// The base writes such texts already.
    Known,
    /// What comes next in them cannot be foreseen, as in random letters.
    NoOrder,
    /// What they have in common is too little for so few of them.
    TooLittle,
}

/// Losses in nats a token on texts that were not learnt: the base's, what was best, and the bag's.
pub fn futile(base: f64, best: f64, bag: Option<f64>) -> Option<Futile> {
    let bag = bag?;
    if best >= NO_ORDER * bag {
        return Some(Futile::NoOrder);
    }
    let gain = (base - best) / base;
    if base <= KNOWN * bag && gain < GAIN_OF_KNOWN {
        return Some(Futile::Known);
    }
    (gain < LEAST_GAIN).then_some(Futile::TooLittle)
}

/// The loss of the bag of words on texts that judge, nats a token; those of them that are among the training texts are judged by the others. `None`: nothing is
/// to be judged.
pub fn bag_loss<'a>(
    training: &[Sample],
    judges: impl Iterator<Item = &'a Sample>,
    among: bool,
) -> Option<f64> {
    let mut all = Bag::default();
    training.iter().for_each(|sample| all.add(sample));
    let (mut sum, mut tokens) = (0.0, 0usize);
    for sample in judges {
        let mut own = Bag::default();
        if among {
            own.add(sample);
        }
        for token in learnt(sample) {
            sum -= all.log_share(token, &own);
            tokens += 1;
        }
    }
    (tokens > 0).then(|| sum / tokens as f64)
}

fn learnt(sample: &Sample) -> impl Iterator<Item = u32> {
    sample.tokens.iter().zip(&sample.supervised).filter(|(_, learnt)| **learnt).map(|(token, _)| *token)
}

#[derive(Default)]
struct Bag {
    counts: HashMap<u32, usize>,
    tokens: usize,
}

impl Bag {
    fn add(&mut self, sample: &Sample) {
        for token in learnt(sample) {
            *self.counts.entry(token).or_default() += 1;
            self.tokens += 1;
        }
    }

    /// Without what another one holds. All that was never seen counts as one token more.
    fn log_share(&self, token: u32, without: &Bag) -> f64 {
        let count = |bag: &Bag| bag.counts.get(&token).copied().unwrap_or(0);
        let seen = count(self).saturating_sub(count(without)) as f64;
        let all = self.tokens.saturating_sub(without.tokens) as f64;
        ((seen + UNSEEN) / (all + UNSEEN * (self.counts.len() + 1) as f64)).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(tokens: &[u32]) -> Sample {
        Sample { tokens: tokens.to_vec(), supervised: vec![true; tokens.len()], truncated: false }
    }

    #[test]
    fn a_bag_knows_how_often_a_token_comes() {
        let training = [sample(&[1, 1, 1, 2])];
        let loss = |token: u32| bag_loss(&training, [sample(&[token])].iter(), false).unwrap();
        for (token, share) in [(1, 3.5 / 5.5), (2, 1.5 / 5.5), (9, 0.5 / 5.5)] {
            assert!((loss(token) + f64::ln(share)).abs() < 1e-9, "{token}");
        }
        // Two texts that judge each other: nobody is judged by itself.
        let folds = [sample(&[1, 1]), sample(&[2, 2])];
        let found = bag_loss(&folds, folds.iter(), true).unwrap();
        assert!((found + f64::ln(0.5 / 3.5)).abs() < 1e-9, "{found}");
        assert_eq!(bag_loss(&training, [].iter(), false), None);
        let silent = Sample { supervised: vec![false; 4], ..sample(&[1, 1, 1, 2]) };
        assert_eq!(bag_loss(&training, [silent].iter(), false), None);
    }

    #[test]
    fn a_gain_is_worth_it_unless_a_bag_of_words_gains_as_much() {
        assert_eq!(futile(4.3, 0.15, Some(5.9)), None);
        assert_eq!(futile(3.4, 3.0, Some(6.5)), None);
        assert_eq!(futile(1.1, 1.05, Some(6.0)), Some(Futile::Known));
        assert_eq!(futile(0.99, 0.74, Some(6.0)), Some(Futile::Known));
        assert_eq!(futile(0.99, 0.2, Some(6.0)), None);
        assert_eq!(futile(2.0, 2.0, Some(6.0)), Some(Futile::TooLittle));
        assert_eq!(futile(3.4, 3.3, Some(6.5)), Some(Futile::TooLittle));
        assert_eq!(futile(6.0, 3.2, Some(3.3)), Some(Futile::NoOrder));
        assert_eq!(futile(3.4, 3.4, None), None, "nothing to say it by");
    }
}
