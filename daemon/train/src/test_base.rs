//! A random base, something to learn, and settings for it, for tests.

pub(crate) use hotplate_engine::fixtures::*;
use hotplate_engine::sample::Sample;

use crate::{HeldOut, TrainData, TrainSettings, Validation};

/// Sequences that count upwards by a step of their own, so that there is something to learn; the last two are held out.
pub(crate) fn data(examples: usize) -> TrainData {
    let mut samples: Vec<Sample> = (0..examples as u32)
        .map(|index| {
            let tokens: Vec<u32> = (0..8).map(|at| (index + at * (1 + index % 2)) % 24).collect();
            Sample { supervised: (0..tokens.len()).map(|at| at > 1).collect(), tokens, truncated: false }
        })
        .collect();
    let heldout = samples.split_off(examples - 2);
    let heldout =
        heldout.into_iter().enumerate().map(|(at, sample)| HeldOut { sample, is_new: at == 1 }).collect();
    TrainData { train: samples, heldout: Validation::Holdout(heldout) }
}

pub(crate) fn settings() -> TrainSettings {
    TrainSettings {
        epochs: 20,
        learning_rate: 2e-2,
        lora: spec(4),
        batch: 3,
        patience: 3,
        dropout: 0.0,
        ..TrainSettings::for_data(&config(), 10, false)
    }
}
