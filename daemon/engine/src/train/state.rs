//! A run on disk: enough to go on with the same bits after a kill.
//!
//! `run.json` holds the numbers (floats survive JSON exactly), `run.safetensors` the factors, their moments and the best factors.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::adamw::AdamW;
use super::data::{Losses, TrainData};
use super::trainer::{Best, Progress, StopReason, Trainer, tensors, with_tensors};
use super::{TrainError, TrainSettings};
use crate::base::Base;
use crate::lora::{Adapter, Lora, Place};

const NUMBERS: &str = "run.json";
const TENSORS: &str = "run.safetensors";

#[derive(Serialize, Deserialize)]
struct Numbers {
    /// Of the base and of the encoded examples, in order.
    base: String,
    data: String,
    settings: TrainSettings,
    rank: usize,
    alpha: f64,
    rslora: bool,
    /// Place and scale of each pair, in parameter order.
    pairs: Vec<(Place, f64)>,
    optimiser_step: usize,
    step: usize,
    tokens: usize,
    base_losses: Option<Losses>,
    start_losses: Option<Losses>,
    best: Option<BestNumbers>,
    without_gain: usize,
    window: (f64, usize),
    evaluated: bool,
    stopped: Option<StopReason>,
    continues: bool,
}

#[derive(Serialize, Deserialize)]
struct BestNumbers {
    step: usize,
    losses: Losses,
    train_loss: f64,
}

impl Trainer {
    /// Writes the run into an existing folder and syncs it. What happened since the last optimiser step or evaluation is done again after
    /// a resume. The caller moves the folder into place.
    pub fn save_state(&self, folder: &Path, base: &Base) -> Result<(), TrainError> {
        let progress = &self.progress;
        let numbers = Numbers {
            base: base.text.fingerprint.clone(),
            data: fingerprint(&self.data),
            settings: self.settings.clone(),
            rank: progress.adapter.rank,
            alpha: progress.adapter.alpha,
            rslora: progress.adapter.rslora,
            pairs: progress.adapter.pairs().map(|(place, pair)| (place, pair.scale)).collect(),
            optimiser_step: progress.optimiser.step,
            step: progress.step,
            tokens: progress.tokens,
            base_losses: progress.base,
            start_losses: progress.start,
            best: progress.best.as_ref().map(|best| BestNumbers {
                step: best.step,
                losses: best.losses,
                train_loss: best.train_loss,
            }),
            without_gain: progress.without_gain,
            window: progress.window,
            evaluated: progress.evaluated,
            stopped: progress.stopped,
            continues: progress.continues,
        };
        let mut named = Vec::new();
        let mut add = |kind: &str, values: &mut dyn Iterator<Item = &Tensor>| {
            named.extend(values.enumerate().map(|(index, value)| (format!("{kind}.{index}"), value.clone())));
        };
        add("factor", &mut tensors(&progress.adapter));
        add("first", &mut progress.optimiser.first.iter());
        add("second", &mut progress.optimiser.second.iter());
        if let Some(best) = &progress.best {
            add("best", &mut tensors(&best.adapter));
        }
        let tensors: Vec<(String, Tensor)> = named
            .into_iter()
            .map(|(name, value)| Ok((name, value.to_device(&Device::Cpu)?)))
            .collect::<Result<_, TrainError>>()?;
        let bytes = safetensors::serialize(tensors, None)
            .map_err(|error| TrainError::BadState { folder: folder.to_owned(), why: error.to_string() })?;
        write_synced(&folder.join(TENSORS), &bytes)?;
        let json = serde_json::to_vec_pretty(&numbers)
            .map_err(|error| TrainError::BadState { folder: folder.to_owned(), why: error.to_string() })?;
        write_synced(&folder.join(NUMBERS), &json)
    }

    /// Goes on where [`save_state`](Self::save_state) was. `data` must be the same examples in the same order.
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
        let tensors = candle_core::safetensors::load_buffer(&read(TENSORS)?, &base.device)
            .map_err(|error| bad(format!("{TENSORS}: {error}")))?;
        let stored = Stored { tensors, count: numbers.pairs.len() * 2 };
        let missing = |kind: &str| bad(format!("{TENSORS}: {kind} tensors are missing"));
        let adapter = empty_adapter(base, &numbers)
            .filter(|adapter| adapter.pairs().count() == numbers.pairs.len())
            .ok_or_else(|| bad("the pairs do not fit the base".to_owned()))?;
        let best = match numbers.best {
            Some(best) => {
                let values = stored.all("best").ok_or_else(|| missing("best"))?;
                let adapter = with_tensors(&adapter, values);
                Some(Best { adapter, step: best.step, losses: best.losses, train_loss: best.train_loss })
            }
            None => None,
        };
        let optimiser = AdamW {
            first: stored.all("first").ok_or_else(|| missing("first"))?,
            second: stored.all("second").ok_or_else(|| missing("second"))?,
            step: numbers.optimiser_step,
        };
        let adapter = with_tensors(&adapter, stored.all("factor").ok_or_else(|| missing("factor"))?);
        check_shapes(base, &adapter).map_err(&bad)?;
        let progress = Progress {
            adapter,
            optimiser,
            step: numbers.step,
            tokens: numbers.tokens,
            base: numbers.base_losses,
            start: numbers.start_losses,
            best,
            without_gain: numbers.without_gain,
            window: numbers.window,
            evaluated: numbers.evaluated,
            stopped: numbers.stopped,
            continues: numbers.continues,
        };
        Trainer::from_progress(progress, data, numbers.settings)
    }
}

struct Stored {
    tensors: HashMap<String, Tensor>,
    count: usize,
}

impl Stored {
    fn all(&self, kind: &str) -> Option<Vec<Tensor>> {
        (0..self.count).map(|index| self.tensors.get(&format!("{kind}.{index}")).cloned()).collect()
    }
}

/// An adapter with the right places and scales, whose factors are still to be put in.
fn empty_adapter(base: &Base, numbers: &Numbers) -> Option<Adapter> {
    let mut adapter = Adapter::empty(base.decoder.config(), numbers.rank, numbers.alpha, numbers.rslora);
    for &(place, scale) in &numbers.pairs {
        let empty = Tensor::zeros((0, 0), candle_core::DType::F32, &base.device).ok()?;
        adapter.set(place, Lora::plain(empty.clone(), empty, scale));
    }
    Some(adapter)
}

fn check_shapes(base: &Base, adapter: &Adapter) -> Result<(), String> {
    for (place, pair) in adapter.pairs() {
        let (outputs, inputs) = place.shape(base.decoder.config());
        let fits = match (pair.a.dims(), pair.b.dims()) {
            (&[rank, i], &[o, other]) => i == inputs && o == outputs && rank == other,
            _ => false,
        };
        if !fits {
            return Err(format!("the factors of {place} have another shape"));
        }
    }
    Ok(())
}

fn fingerprint(data: &TrainData) -> String {
    let mut hasher = blake3::Hasher::new();
    let heldout = data.heldout.iter().map(|item| (&item.sample, 1 + u8::from(item.is_new)));
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
mod tests {
    use super::*;
    use crate::ops::gradient_check::flat;
    use crate::test_base;
    use crate::train::TrainEvent;

    /// All losses that a trainer still brings, as bits.
    fn run_out(trainer: &mut Trainer, base: &Base) -> Vec<u64> {
        let mut losses = Vec::new();
        loop {
            match trainer.step(base).unwrap() {
                TrainEvent::Working => {}
                TrainEvent::Step { loss, .. } => losses.push(loss.to_bits()),
                TrainEvent::Evaluated { losses: held, .. } => losses.push(held.all.to_bits()),
                TrainEvent::Finished { .. } => return losses,
            }
        }
    }

    #[test]
    fn a_resumed_run_has_the_bits_of_an_uninterrupted_one() {
        let base = test_base::base(1);
        let new = || Trainer::new(&base, None, test_base::data(12), test_base::settings()).unwrap();
        let mut whole = new();
        let all = run_out(&mut whole, &base);
        assert_eq!(all, run_out(&mut new(), &base), "same seed and data, same bits");
        let whole = whole.finish().unwrap();
        for stop_after in [1, 3, 5] {
            let mut first = new();
            let mut seen = Vec::new();
            while seen.len() < stop_after {
                match first.step(&base).unwrap() {
                    TrainEvent::Step { loss, .. } => seen.push(loss.to_bits()),
                    TrainEvent::Evaluated { losses, .. } => seen.push(losses.all.to_bits()),
                    _ => {}
                }
            }
            let folder = tempfile::tempdir().unwrap();
            first.save_state(folder.path(), &base).unwrap();
            // Work between two saves is lost with a kill, and must not matter.
            for _ in 0..3 {
                first.step(&base).unwrap();
            }
            let mut second = Trainer::resume(&base, folder.path(), test_base::data(12)).unwrap();
            seen.extend(run_out(&mut second, &base));
            assert_eq!(seen, all);
            let second = second.finish().unwrap();
            for (left, right) in tensors(&whole.adapter).zip(tensors(&second.adapter)) {
                assert_eq!(flat(left), flat(right));
            }
        }
    }

    #[test]
    fn other_data_and_broken_files_are_refused() {
        let base = test_base::base(1);
        let trainer = Trainer::new(&base, None, test_base::data(12), test_base::settings()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let resume = |data| Trainer::resume(&base, folder.path(), data);
        assert!(matches!(resume(test_base::data(12)), Err(TrainError::BadState { .. })));
        trainer.save_state(folder.path(), &base).unwrap();
        assert!(matches!(resume(test_base::data(11)), Err(TrainError::OtherData { .. })));
        std::fs::write(folder.path().join(TENSORS), b"garbage").unwrap();
        assert!(matches!(resume(test_base::data(12)), Err(TrainError::BadState { .. })));
    }
}
