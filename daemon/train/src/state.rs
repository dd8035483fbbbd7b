//! A run on disk: enough to go on with the same bits after a kill.
//!
//! `run.json` holds the numbers (floats survive JSON exactly), `run.safetensors` what is learnt, its moments and the best so far.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use hotplate_engine::base::Base;
use hotplate_engine::device;
use hotplate_engine::lora::{Adapter, Lora, Place};
use serde::{Deserialize, Serialize};

use super::adamw::AdamW;
use super::data::{Losses, TrainData, Validation};
use super::event::{FoldFigures, StopReason};
use super::learner::Learner;
use super::progress::{Best, Counts, Phase, Progress};
use super::trained_weights::TrainedWeights;
use super::trainer::Trainer;
use super::{TrainError, TrainSettings};
use crate::guard::GuardFigures;

const NUMBERS: &str = "run.json";
const TENSORS: &str = "run.safetensors";

#[derive(Serialize, Deserialize)]
struct Numbers {
    /// Of the base and of the encoded examples, in order.
    base: String,
    data: String,
    /// Device and kernels: others come to other last digits.
    #[serde(default)]
    computed_with: String,
    settings: TrainSettings,
    shape: Shape,
    phase: Phase,
    counts: Counts,
    /// Updates of each learner.
    optimiser_steps: Vec<usize>,
    has_initial: bool,
    base_losses: Option<Losses>,
    start_losses: Option<Losses>,
    best: Option<BestNumbers>,
    folds: Option<FoldFigures>,
    guard: Option<GuardFigures>,
    base_answers: Option<Vec<String>>,
    stopped: Option<StopReason>,
    continues: bool,
}

/// What is learnt, without its values.
#[derive(Serialize, Deserialize)]
enum Shape {
    Adapter {
        rank: usize,
        alpha: f64,
        rslora: bool,
        /// Place and scale of each pair, in parameter order.
        pairs: Vec<(Place, f64)>,
    },
    Base,
}

#[derive(Serialize, Deserialize)]
struct BestNumbers {
    step: usize,
    losses: Losses,
    train_loss: f64,
    folds: Vec<f64>,
    has_values: bool,
}

impl Trainer {
    /// Writes the run into an existing folder and syncs it. What happened since the last optimiser step or evaluation is done again after
    /// a resume. The caller moves the folder into place.
    pub fn save_state(&self, folder: &Path, base: &Base) -> Result<(), TrainError> {
        let progress = &self.progress;
        let Some(first) = progress.learners.first() else { return Err(TrainError::Unfinished) };
        let numbers = Numbers {
            base: base.text.fingerprint.clone(),
            data: fingerprint(&self.data),
            computed_with: device::kernels(&base.device),
            settings: self.settings().clone(),
            shape: shape(&first.learnt),
            phase: progress.phase,
            counts: progress.counts,
            optimiser_steps: progress.learners.iter().map(|learner| learner.optimiser.step).collect(),
            has_initial: progress.initial.is_some(),
            base_losses: progress.base,
            start_losses: progress.start,
            best: progress.best.as_ref().map(|best| BestNumbers {
                step: best.step,
                losses: best.losses,
                train_loss: best.train_loss,
                folds: best.folds.clone(),
                has_values: best.learnt.is_some(),
            }),
            folds: progress.folds.clone(),
            guard: progress.guard,
            base_answers: progress.base_answers.clone(),
            stopped: progress.stopped,
            continues: progress.continues,
        };
        let mut tensors = Vec::new();
        let mut add = |kind: &str, values: &[Tensor]| -> Result<(), TrainError> {
            for (index, value) in values.iter().enumerate() {
                tensors.push((format!("{kind}.{index}"), value.to_device(&Device::Cpu)?));
            }
            Ok(())
        };
        for (index, learner) in progress.learners.iter().enumerate() {
            add(&format!("value.{index}"), &learner.learnt.tensors()?)?;
            add(&format!("first.{index}"), &learner.optimiser.first)?;
            add(&format!("second.{index}"), &learner.optimiser.second)?;
        }
        if let Some(initial) = &progress.initial {
            add("initial", &initial.tensors()?)?;
        }
        if let Some(learnt) = progress.best.as_ref().and_then(|best| best.learnt.as_ref()) {
            add("best", &learnt.tensors()?)?;
        }
        let failed =
            |error: &dyn ToString| TrainError::BadState { folder: folder.to_owned(), why: error.to_string() };
        let bytes = safetensors::serialize(tensors, None).map_err(|error| failed(&error))?;
        write_synced(&folder.join(TENSORS), &bytes)?;
        let json = serde_json::to_vec_pretty(&numbers).map_err(|error| failed(&error))?;
        write_synced(&folder.join(NUMBERS), &json)
    }

    /// Which device and kernels a run was computed with that was saved here; nothing of an older one.
    pub fn computed_with(folder: &Path) -> Option<String> {
        #[derive(Deserialize)]
        struct Line {
            computed_with: String,
        }
        let line: Line = serde_json::from_slice(&std::fs::read(folder.join(NUMBERS)).ok()?).ok()?;
        Some(line.computed_with).filter(|kernels| !kernels.is_empty())
    }

    /// Goes on where [`save_state`](Self::save_state) was. `data` must be the same examples in the same order.
    ///
    /// # Errors
    /// The folder is of other examples or another base, was written by another version, or is damaged.
    pub fn resume(base: &Base, folder: &Path, data: TrainData) -> Result<Trainer, TrainError> {
        let bad = |why: String| TrainError::BadState { folder: folder.to_owned(), why };
        let read =
            |name: &str| std::fs::read(folder.join(name)).map_err(|error| bad(format!("{name}: {error}")));
        let numbers: Numbers =
            serde_json::from_slice(&read(NUMBERS)?).map_err(|error| bad(format!("{NUMBERS}: {error}")))?;
        if numbers.base != base.text.fingerprint || numbers.data != fingerprint(&data) {
            return Err(TrainError::OtherData { folder: folder.to_owned() });
        }
        numbers.settings.validate()?;
        let learners = match numbers.phase {
            Phase::Folds => data.folds().unwrap_or(1),
            Phase::Split | Phase::All { .. } => 1,
        };
        if numbers.optimiser_steps.len() != learners || numbers.counts.ahead >= learners {
            return Err(bad(format!("{NUMBERS}: the numbers do not belong together")));
        }
        let tensors = candle_core::safetensors::load_buffer(&read(TENSORS)?, &base.device)
            .map_err(|error| bad(format!("{TENSORS}: {error}")))?;
        let empty = empty(base, &numbers.shape)
            .ok_or_else(|| bad("what was learnt does not fit the base".to_owned()))?;
        let expected = expected_shapes(base, &empty)?;
        let values = |kind: &str| -> Result<Vec<Tensor>, TrainError> {
            let value = |(index, dims): (usize, &Vec<usize>)| {
                let name = format!("{kind}.{index}");
                let tensor =
                    tensors.get(&name).ok_or_else(|| bad(format!("{TENSORS}: {name} is missing")))?;
                let fits = tensor.dtype() == DType::F32
                    && tensor.rank() == dims.len()
                    && tensor.dims().iter().zip(dims).all(|(has, needs)| *needs == 0 || has == needs);
                if fits {
                    Ok(tensor.clone())
                } else {
                    Err(bad(format!("{TENSORS}: {name} has another shape")))
                }
            };
            let found = expected.iter().enumerate().map(value).collect::<Result<Vec<_>, _>>()?;
            check_ranks(&empty, &found).map_err(&bad)?;
            Ok(found)
        };
        let learner = |(index, step): (usize, &usize)| -> Result<Learner, TrainError> {
            Ok(Learner {
                learnt: empty.with_tensors(values(&format!("value.{index}"))?),
                optimiser: AdamW {
                    first: values(&format!("first.{index}"))?,
                    second: values(&format!("second.{index}"))?,
                    step: *step,
                },
            })
        };
        let stored = |kind: &str, there: bool| -> Result<Option<TrainedWeights>, TrainError> {
            if there { Ok(Some(empty.with_tensors(values(kind)?))) } else { Ok(None) }
        };
        let best = match &numbers.best {
            Some(best) => Some(Best {
                learnt: stored("best", best.has_values)?,
                step: best.step,
                losses: best.losses,
                train_loss: best.train_loss,
                folds: best.folds.clone(),
            }),
            None => None,
        };
        let progress = Progress {
            phase: numbers.phase,
            learners: numbers.optimiser_steps.iter().enumerate().map(learner).collect::<Result<_, _>>()?,
            initial: stored("initial", numbers.has_initial)?,
            counts: numbers.counts,
            base: numbers.base_losses,
            start: numbers.start_losses,
            best,
            folds: numbers.folds,
            guard: numbers.guard,
            base_answers: numbers.base_answers,
            stopped: numbers.stopped,
            continues: numbers.continues,
        };
        Trainer::from_progress(base, progress, data, numbers.settings)
    }
}

fn shape(learnt: &TrainedWeights) -> Shape {
    match learnt {
        TrainedWeights::Adapter(adapter) => Shape::Adapter {
            rank: adapter.rank,
            alpha: adapter.alpha,
            rslora: adapter.rslora,
            pairs: adapter.pairs().map(|(place, pair)| (place, pair.scale)).collect(),
        },
        TrainedWeights::Base(_) => Shape::Base,
    }
}

/// What was learnt, with the right places and scales, whose values are still to be put in.
fn empty(base: &Base, shape: &Shape) -> Option<TrainedWeights> {
    let Shape::Adapter { rank, alpha, rslora, pairs } = shape else {
        return Some(TrainedWeights::Base(Box::new((*base.decoder).clone())));
    };
    let mut adapter = Adapter::empty(base.decoder.config(), *rank, *alpha, *rslora);
    for &(place, scale) in pairs {
        let empty = Tensor::zeros((0, 0), DType::F32, &base.device).ok()?;
        adapter.set(place, Lora::plain(empty.clone(), empty, scale));
    }
    (adapter.pairs().count() == pairs.len()).then_some(TrainedWeights::Adapter(adapter))
}

/// The shape of each tensor; 0 stands for a rank, which the file tells.
fn expected_shapes(base: &Base, empty: &TrainedWeights) -> Result<Vec<Vec<usize>>, TrainError> {
    Ok(match empty {
        TrainedWeights::Adapter(adapter) => adapter
            .pairs()
            .flat_map(|(place, _)| {
                let (outputs, inputs) = place.shape(base.decoder.config());
                [vec![0, inputs], vec![outputs, 0]]
            })
            .collect(),
        TrainedWeights::Base(_) => empty.tensors()?.iter().map(|tensor| tensor.dims().to_vec()).collect(),
    })
}

/// Both factors of a pair have one rank.
fn check_ranks(empty: &TrainedWeights, values: &[Tensor]) -> Result<(), String> {
    if matches!(empty, TrainedWeights::Adapter(_)) {
        for pair in values.chunks_exact(2) {
            if pair[0].dims().first() != pair[1].dims().last() {
                return Err(format!("{TENSORS}: the factors of a pair have different ranks"));
            }
        }
    }
    Ok(())
}

fn fingerprint(data: &TrainData) -> String {
    let mut hasher = blake3::Hasher::new();
    let folds = data.folds().unwrap_or(0) as u64;
    hasher.update(&folds.to_le_bytes());
    let heldout = match &data.heldout {
        Validation::Holdout(heldout) => heldout.as_slice(),
        Validation::KFold(_) => &[],
    };
    let heldout = heldout.iter().map(|item| (&item.sample, 1 + u8::from(item.is_new)));
    for (sample, kind) in data.train.iter().map(|sample| (sample, 0)).chain(heldout) {
        hasher.update(&[kind]);
        hasher.update(&(sample.tokens.len() as u64).to_le_bytes());
        for (token, supervised) in sample.tokens.iter().zip(&sample.supervised) {
            hasher.update(&token.to_le_bytes());
            hasher.update(&[u8::from(*supervised)]);
        }
    }
    hasher.finalize().to_hex().to_string()
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let write = || -> std::io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| TrainError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
