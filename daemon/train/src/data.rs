//! What a run is given to learn from and to be judged by.

use hotplate_engine::sample::Sample;
use serde::{Deserialize, Serialize};

/// An example that is never trained on in this run; it tells whether the run helps.
#[derive(Debug, Clone)]
pub struct HeldOut {
    pub sample: Sample,
    /// Whether it is among the new or changed ones of an incremental run; their loss is reported apart.
    pub is_new: bool,
}

/// How a run is judged.
#[derive(Debug, Clone)]
pub enum Validation {
    /// By these examples, which are not learnt.
    Holdout(Vec<HeldOut>),
    /// By cross-validation, where too few examples are there to do without some: they are divided into so many parts (at most one for each
    /// example), each part judges what was learnt from the others, and the result is then trained on all of them for the number of steps that
    /// did best.
    KFold(usize),
}

#[derive(Debug, Clone)]
pub struct TrainData {
    pub train: Vec<Sample>,
    pub heldout: Validation,
}

impl TrainData {
    /// How many parts cross-validation has; `None` where examples are held out.
    pub fn folds(&self) -> Option<usize> {
        match self.heldout {
            Validation::Holdout(_) => None,
            Validation::KFold(folds) => Some(folds.clamp(2, self.train.len().max(2))),
        }
    }

    /// The examples that judge, and whether each is new.
    pub fn judges(&self) -> impl Iterator<Item = (&Sample, bool)> {
        let (split, folds) = match &self.heldout {
            Validation::Holdout(heldout) => (heldout.as_slice(), [].as_slice()),
            Validation::KFold(_) => ([].as_slice(), self.train.as_slice()),
        };
        split.iter().map(|item| (&item.sample, item.is_new)).chain(folds.iter().map(|sample| (sample, false)))
    }

    pub(crate) fn judge(&self, index: usize) -> (&Sample, bool) {
        match &self.heldout {
            Validation::Holdout(heldout) => (&heldout[index].sample, heldout[index].is_new),
            Validation::KFold(_) => (&self.train[index], false),
        }
    }
}

/// Held-out losses, nats per supervised token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    pub all: f64,
    /// Of the new examples alone.
    pub new: Option<f64>,
}
