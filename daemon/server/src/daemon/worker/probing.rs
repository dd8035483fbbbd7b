//! Before a plan says how long it takes: two steps on trial, a look at held-out examples and a few words written, all timed and thrown away.
//!
//! A value that steps like a run, so that whoever waits for text waits for a layer of it at most.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotplate_engine::base::Base;
use hotplate_protocol::RpcError;
use hotplate_train::effort::{Known, Parts};
use hotplate_train::{HeldOut, TrainData, TrainError, TrainEvent, TrainSettings, Trainer, Validation};
use rayon::ThreadPool;

use super::priority::{Pools, at};
use crate::daemon::file_pool::Wanted;
use crate::daemon::rpc_errors;
use crate::daemon::runs::reckon::{Meter, Prices};

/// The first step warms up, the second one counts.
const STEPS: usize = 2;
/// Tokens of the looks at held-out examples, about.
const JUDGED_TOKENS: usize = 400;
/// Texts that are written together, and tokens of each.
const TEXTS: usize = 4;
const TEXT_TOKENS: usize = 6;

pub(super) struct Probing {
    pub(super) wanted: Box<Wanted>,
    base: Arc<Base>,
    pool: Option<Arc<ThreadPool>>,
    trainer: Trainer,
    parts: Parts,
    meter: Meter,
    /// Whether something is written: a base may not be able to read the prompt.
    writes: bool,
    steps: usize,
    /// Work since the last event.
    pending: Duration,
}

impl Probing {
    /// # Errors
    /// What was wanted, and why nothing can be timed for it.
    pub(super) fn start(
        wanted: Box<Wanted>,
        base: Arc<Base>,
        pools: &mut Pools,
    ) -> Result<Probing, (Box<Wanted>, RpcError)> {
        let pool = pools.of(wanted.prepared.job.nice);
        let made = catch_unwind(AssertUnwindSafe(|| {
            trial(&base, &wanted, true)
                .map(|made| (made, true))
                .or_else(|_| trial(&base, &wanted, false).map(|made| (made, false)))
        }));
        let made = made
            .map_err(|panic| rpc_errors::of_panic("measuring the speed", &*panic))
            .and_then(|made| made.map_err(|error| rpc_errors::of_training(&error)));
        let ((trainer, parts), writes) = match made {
            Ok(made) => made,
            Err(error) => return Err((wanted, error)),
        };
        let (meter, pending) = (Meter::default(), Duration::ZERO);
        Ok(Probing { wanted, base, pool, trainer, parts, meter, writes, steps: 0, pending })
    }

    /// About one layer of work; what was measured, at the end.
    pub(super) fn step(&mut self) -> Option<Result<Prices, RpcError>> {
        let began = Instant::now();
        let (trainer, base) = (&mut self.trainer, &*self.base);
        let stepped = catch_unwind(AssertUnwindSafe(|| at(self.pool.as_deref(), || trainer.step(base))));
        self.pending += began.elapsed();
        let event = match stepped {
            Ok(Ok(event)) => event,
            Ok(Err(error)) => return Some(Err(rpc_errors::of_training(&error))),
            Err(panic) => return Some(Err(rpc_errors::of_panic("measuring the speed", &*panic))),
        };
        let took = |pending: &mut Duration| std::mem::take(pending).as_secs_f64();
        let over = match event {
            TrainEvent::Working | TrainEvent::Rehearsed { .. } => false,
            TrainEvent::Step { tokens, .. } => {
                self.steps += 1;
                self.meter.learnt(took(&mut self.pending), tokens);
                false
            }
            TrainEvent::Evaluated { .. } => {
                self.meter.read(took(&mut self.pending), self.parts.heldout);
                self.steps >= STEPS && !self.writes
            }
            // By the base and by what was learnt.
            TrainEvent::Sampled { .. } => {
                self.meter.written(took(&mut self.pending), self.parts.samples * 2.0);
                true
            }
            TrainEvent::FoldsDone { .. } | TrainEvent::Finished { .. } => true,
        };
        if !over {
            return None;
        }
        let unmeasured = || rpc_errors::of_training(&TrainError::NoExamples);
        Some(self.meter.prices().filter(|_| self.steps >= STEPS).ok_or_else(unmeasured))
    }
}

/// A small run on some of the examples; `writes`: it also writes a little.
fn trial(base: &Base, wanted: &Wanted, writes: bool) -> Result<(Trainer, Parts), TrainError> {
    let (job, data) = (&wanted.prepared.job, &wanted.prepared.data);
    let batch = job.settings.examples_per_step().min(data.train.len());
    let mut judged = 0;
    let judges = data.judges().filter(|(sample, _)| sample.supervised_tokens() > 0);
    let judges = judges
        .take_while(|(sample, _)| {
            let few = judged < JUDGED_TOKENS;
            judged += sample.tokens.len();
            few
        })
        .map(|(sample, is_new)| HeldOut { sample: sample.clone(), is_new });
    let data = TrainData {
        heldout: Validation::Holdout(judges.collect()),
        train: data.train.iter().take(STEPS * batch).cloned().collect(),
    };
    let settings = TrainSettings {
        epochs: STEPS,
        max_steps: Some(STEPS),
        sample_prompts: if writes { vec!["The".to_owned(); TEXTS] } else { Vec::new() },
        sample_tokens: TEXT_TOKENS,
        // The price of a token is the same, and the base is not asked for a plan.
        rehearsal: 0.0,
        ..job.settings.clone()
    };
    let parts = Parts::of(&data, &settings, Known { neutral: true, ..Known::default() });
    Ok((Trainer::new(base, None, data, settings)?, parts))
}
