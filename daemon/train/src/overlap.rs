//! How alike a run's examples are. It is known before anything is learnt, and it tells how long learning goes on paying: what all examples have in
//! common is learnt for many epochs, what each has for itself is soon only memorised.

use std::collections::HashMap;

use super::data::{TrainData, Validation};

/// Tokens that are read, at most: a guess need not wait for a whole library.
const TRAINED: usize = 400_000;
const JUDGED: usize = 20_000;

/// Which training examples hold a trigram.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holders {
    One(usize),
    Several,
}

/// The trigram overlap of the examples that judge with those that are learnt: the part of the judges' supervised trigrams that also stand in a
/// training example, in another one where the examples judge each other. 0 where no judge is that long.
pub fn trigram_overlap(data: &TrainData) -> f64 {
    let mut known: HashMap<[u32; 3], Holders> = HashMap::new();
    let mut read = 0;
    for (index, sample) in data.train.iter().enumerate() {
        for trigram in sample.tokens.array_windows::<3>() {
            known
                .entry(*trigram)
                .and_modify(|holders| {
                    if *holders != Holders::One(index) {
                        *holders = Holders::Several;
                    }
                })
                .or_insert(Holders::One(index));
        }
        read += sample.tokens.len();
        if read >= TRAINED {
            break;
        }
    }
    let each_other = matches!(data.heldout, Validation::KFold(_));
    let (mut all, mut shared, mut judged) = (0_usize, 0_usize, 0);
    for (index, (sample, _)) in data.judges().enumerate() {
        let last = sample.supervised.iter().skip(2);
        for (trigram, _) in sample.tokens.array_windows::<3>().zip(last).filter(|(_, carries)| **carries) {
            all += 1;
            let holders = known.get(trigram).copied();
            shared += usize::from(match holders {
                None => false,
                Some(Holders::One(holder)) => !each_other || holder != index,
                Some(Holders::Several) => true,
            });
        }
        judged += sample.tokens.len();
        if judged >= JUDGED {
            break;
        }
    }
    if all == 0 { 0.0 } else { shared as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use hotplate_engine::sample::Sample;

    use super::*;
    use crate::HeldOut;

    fn sample(tokens: &[u32]) -> Sample {
        Sample { tokens: tokens.to_vec(), supervised: vec![true; tokens.len()], truncated: false }
    }

    #[test]
    fn what_judges_is_held_against_the_other_examples() {
        let train = vec![sample(&[1, 2, 3, 4, 5]), sample(&[7, 8, 9, 3, 4, 5]), sample(&[1])];
        let held = |tokens: &[u32]| HeldOut { sample: sample(tokens), is_new: false };
        let split =
            |judges: Vec<HeldOut>| TrainData { train: train.clone(), heldout: Validation::Holdout(judges) };
        let overlap = |judges| trigram_overlap(&split(judges));
        assert!((overlap(vec![held(&[0, 1, 2, 3, 4])]) - 2.0 / 3.0).abs() < 1e-12);
        assert!((overlap(vec![held(&[1, 2, 3]), held(&[3, 2, 1])]) - 0.5).abs() < 1e-12);
        assert!(overlap(vec![held(&[1, 2])]).abs() < 1e-12);
        // A prompt carries no loss, and is no reason to go on.
        let mut prompted = held(&[1, 2, 3, 9, 9]);
        prompted.sample.supervised[2] = false;
        assert!(overlap(vec![prompted]).abs() < 1e-12);
        // Each other: 3 4 5 stands in two of them, twice; of seven trigrams.
        let folds = TrainData { train, heldout: Validation::KFold(2) };
        assert!((trigram_overlap(&folds) - 2.0 / 7.0).abs() < 1e-12);
    }
}
