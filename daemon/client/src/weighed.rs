//! Feeding or training: the same held-out examples with the bare base, with examples before them, and with an adapter.
//!
//! Owns what the figures say, and what they do not. It must not know how they are asked for or shown.
//!
//! A difference is clear beyond 2.8 standard errors of the paired losses: Student's t for five examples.

use std::path::PathBuf;

use hotplate_protocol::methods::score::ScoreResult;
use serde::Serialize;

/// With fewer examples, chance says more than a difference.
const ENOUGH: usize = 5;
/// A difference counts beyond so many of its standard errors: chance makes as much in one of twenty comparisons of five examples.
const CLEAR: f64 = 2.8;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FewShotVsTuned {
    /// The folder, as it was named.
    pub folder: PathBuf,
    pub rows: Vec<FewShotVsTunedRow>,
    pub base: ScoreResult,
    pub fed: ScoreResult,
    pub mine: AdapterSide,
}

/// One held-out example; losses in nats a token.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FewShotVsTunedRow {
    pub file: PathBuf,
    /// Its first, from 1.
    pub line: usize,
    pub base: Option<f64>,
    pub fed: Option<f64>,
    pub mine: Option<f64>,
}

/// The adapter's side.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterSide {
    NotNamed,
    /// It has learnt examples that would judge it, so that its figure would flatter it.
    Learnt {
        adapter: String,
        examples: usize,
        /// What its own run measured on texts that were not learnt yet: the base's loss and its own.
        trained: Option<(f64, f64)>,
    },
    Scored(ScoreResult),
}

/// How two ways differ, in nats a token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Difference {
    /// The second has the lower loss, by so much.
    Better(f64),
    Worse(f64),
    /// Nothing that chance could not do.
    Unclear,
    /// So few examples that nothing can be said.
    TooFew,
}

impl FewShotVsTuned {
    /// From the bare base to feeding.
    pub fn by_feeding(&self) -> Difference {
        difference(self.rows.iter().map(|row| (row.base, row.fed)))
    }

    /// From the bare base to the adapter; `None` where it cannot be judged.
    pub fn by_training(&self) -> Option<Difference> {
        matches!(self.mine, AdapterSide::Scored(_))
            .then(|| difference(self.rows.iter().map(|row| (row.base, row.mine))))
    }

    /// From feeding to the adapter.
    pub fn from_feeding_to_training(&self) -> Option<Difference> {
        matches!(self.mine, AdapterSide::Scored(_))
            .then(|| difference(self.rows.iter().map(|row| (row.fed, row.mine))))
    }
}

/// Example by example, so that hard texts and easy ones do not hide it.
fn difference(pairs: impl Iterator<Item = (Option<f64>, Option<f64>)>) -> Difference {
    let gains: Vec<f64> = pairs.filter_map(|(before, after)| Some(before? - after?)).collect();
    if gains.len() < ENOUGH {
        return Difference::TooFew;
    }
    let count = gains.len() as f64;
    let mean = gains.iter().sum::<f64>() / count;
    let variance = gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let error = (variance / count).sqrt();
    if mean.abs() <= CLEAR * error || mean.abs() < 0.005 {
        Difference::Unclear
    } else if mean > 0.0 {
        Difference::Better(mean)
    } else {
        Difference::Worse(-mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(f64, f64)]) -> Difference {
        difference(pairs.iter().map(|(before, after)| (Some(*before), Some(*after))))
    }

    #[test]
    fn chance_is_no_difference() {
        let clear = [(3.0, 2.5), (4.0, 3.4), (2.0, 1.6), (3.5, 3.0), (5.0, 4.4)];
        let Difference::Better(gain) = check(&clear) else { panic!() };
        assert!((gain - 0.52).abs() < 1e-9);
        let turned: Vec<(f64, f64)> = clear.iter().map(|(before, after)| (*after, *before)).collect();
        assert!(matches!(check(&turned), Difference::Worse(_)));
        assert_eq!(check(&[(3.0, 2.0), (3.0, 4.0), (3.0, 2.5), (3.0, 3.4), (3.0, 3.2)]), Difference::Unclear);
        assert_eq!(check(&[(3.0, 3.0); 6]), Difference::Unclear);
        assert_eq!(check(&clear[..4]), Difference::TooFew);
        let halves = [(Some(3.0), None); 9];
        assert_eq!(difference(halves.into_iter()), Difference::TooFew);
    }
}
