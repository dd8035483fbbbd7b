//! What a run begins with: what is learnt, before its first step, and the sides of its examples.

use hotplate_engine::base::Base;
use hotplate_engine::lora::Adapter;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::data::{TrainData, Validation};
use super::trained_weights::TrainedWeights;
use super::{Method, TrainError, TrainSettings};

/// What a run begins with.
pub(super) fn initial(
    base: &Base,
    start: Option<&TrainedWeights>,
    settings: &TrainSettings,
) -> Result<TrainedWeights, TrainError> {
    let config = base.decoder.config();
    let misfit = |why: String| Err(TrainError::Misfit(why));
    match (settings.method, start) {
        (Method::Lora, None) => {
            Ok(TrainedWeights::Adapter(Adapter::fresh(config, &settings.lora, settings.seed, &base.device)?))
        }
        (Method::Full, None) => Ok(TrainedWeights::of_base(&base.decoder)?),
        (Method::Lora, Some(TrainedWeights::Adapter(adapter))) if adapter.is_dora() => misfit(
            "it is a DoRA adapter, which answers here but is not trained; train a LoRA adapter under another name"
                .to_owned(),
        ),
        (Method::Lora, Some(TrainedWeights::Adapter(adapter))) if adapter.layers.len() != config.layers => {
            misfit(format!("it has {} layers, the base {}", adapter.layers.len(), config.layers))
        }
        (Method::Full, Some(TrainedWeights::Base(decoder))) if decoder.config() != config => {
            misfit("its shape is another one".to_owned())
        }
        (Method::Lora, Some(start @ TrainedWeights::Adapter(_))) => Ok(start.clone()),
        (Method::Full, Some(TrainedWeights::Base(decoder))) => Ok(TrainedWeights::of_base(decoder)?),
        (Method::Lora, Some(TrainedWeights::Base(_))) => {
            misfit("it is a whole base, and the method is \"lora\"; train with method \"full\" or under another name".to_owned())
        }
        (Method::Full, Some(TrainedWeights::Adapter(_))) => {
            misfit("it is an adapter, and the method is \"full\"; train with method \"lora\" or under another name".to_owned())
        }
    }
}

/// Something to learn, and something to judge by.
pub(super) fn check_data(data: &TrainData) -> Result<(), TrainError> {
    let carries = |sample: &hotplate_engine::sample::Sample| sample.supervised_tokens() > 0;
    if !data.train.iter().any(carries) {
        return Err(TrainError::NoExamples);
    }
    let enough = match &data.heldout {
        Validation::Holdout(heldout) => heldout.iter().any(|item| carries(&item.sample)),
        Validation::KFold(_) => data.train.iter().filter(|sample| carries(sample)).count() >= 2,
    };
    if enough { Ok(()) } else { Err(TrainError::NoHeldOut) }
}

/// Divides `examples` into folds of nearly equal size.
pub(super) fn divide(examples: usize, folds: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..examples).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut parts = vec![Vec::new(); folds];
    for (at, index) in order.into_iter().enumerate() {
        parts[at % folds].push(index);
    }
    parts.iter_mut().for_each(|part| part.sort_unstable());
    parts
}
