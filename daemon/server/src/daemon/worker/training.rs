//! The run in progress: one layer at a time, timed, and saved now and then.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotplate_engine::base::Base;
use hotplate_engine::base_text::BaseSource;
use hotplate_engine::train::{
    HeldOut, HeldOutPlan, Learnt, Outcome, SamplePair, TrainData, TrainError, TrainEvent, TrainSettings,
    Trainer,
};
use hotplate_protocol::RpcError;
use hotplate_protocol::run::{RunEvent, RunId};

use super::bases::Bases;
use super::{News, Report, Trained};
use crate::daemon::faults;
use crate::daemon::runs::checkpoint;
use crate::daemon::runs::finish::Figures;
use crate::daemon::runs::prepare::{Prepared, RunJob};
use crate::daemon::texts::Texts;

/// A run is saved after this many steps, or after the time that the settings name.
const CHECKPOINT_STEPS: usize = 50;

/// A run that is to start or to go on.
pub(crate) struct TrainJob {
    pub(crate) run: RunId,
    pub(crate) prepared: Box<Prepared>,
    /// The version that an incremental run starts from.
    pub(crate) start: Option<PathBuf>,
    /// Where the run is saved.
    pub(crate) folder: PathBuf,
}

pub(super) struct Training {
    pub(super) run: RunId,
    pub(super) source: BaseSource,
    base: Arc<Base>,
    trainer: Trainer,
    job: RunJob,
    folder: PathBuf,
    began: Instant,
    /// Work since the last step or evaluation was done.
    pending: Duration,
    stepping: Duration,
    evaluating: Duration,
    /// Done here, not before an interruption.
    steps: usize,
    tokens: usize,
    saved_at: Instant,
    unsaved_steps: usize,
    /// A disk that is full is said once, not every 50 steps.
    save_failed: bool,
}

impl Training {
    pub(super) fn start(
        job: TrainJob,
        bases: &mut Bases,
        texts: &Texts,
        report: &dyn Fn(Report),
    ) -> Result<Training, RpcError> {
        let run = job.run;
        catch_unwind(AssertUnwindSafe(|| Training::load(job, bases, texts, report)))
            .unwrap_or_else(|panic| Err(faults::of_panic(&format!("run {}", run.0), &*panic)))
    }

    fn load(
        job: TrainJob,
        bases: &mut Bases,
        texts: &Texts,
        report: &dyn Fn(Report),
    ) -> Result<Training, RpcError> {
        let TrainJob { run, prepared, start, folder } = job;
        let Prepared { job, data, state, .. } = *prepared;
        let source = job.order.source();
        let base = bases.get(&source, texts, report)?;
        let start = match &start {
            Some(folder) => Some(Learnt::Adapter((*bases.adapter(folder, &base.text)?).clone())),
            None => None,
        };
        let fresh = |data| Trainer::new(&base, start.as_ref(), data, job.settings.clone());
        let trainer = match &state {
            None => fresh(data),
            Some(state) => match Trainer::resume(&base, state, data.clone()) {
                Err(TrainError::OtherData { .. } | TrainError::BadState { .. }) => {
                    report(Report::Training {
                        run,
                        news: note("the saved state could not be used; the run starts anew".to_owned()),
                    });
                    fresh(data)
                }
                resumed => resumed,
            },
        };
        let trainer = trainer.map_err(|error| faults::of_training(&error))?;
        if trainer.step_number() > 0 {
            let text = format!("goes on at step {} of {}", trainer.step_number(), trainer.steps());
            report(Report::Training { run, news: note(text) });
        }
        Ok(Training {
            run,
            source,
            base,
            trainer,
            job,
            folder,
            began: Instant::now(),
            pending: Duration::ZERO,
            stepping: Duration::ZERO,
            evaluating: Duration::ZERO,
            steps: 0,
            tokens: 0,
            saved_at: Instant::now(),
            unsaved_steps: 0,
            save_failed: false,
        })
    }

    /// About one layer of work. Answers the news, and whether the run is over.
    pub(super) fn step(&mut self, checkpoint_every: Duration) -> (Vec<News>, bool) {
        let began = Instant::now();
        let stepped = catch_unwind(AssertUnwindSafe(|| self.trainer.step(&self.base)));
        self.pending += began.elapsed();
        let event = match stepped {
            Ok(Ok(event)) => event,
            Ok(Err(error)) => return (vec![News::Failed(faults::of_training(&error))], true),
            Err(panic) => {
                let error = faults::of_panic(&format!("run {}", self.run.0), &*panic);
                return (vec![News::Failed(error)], true);
            }
        };
        match event {
            TrainEvent::Working => (Vec::new(), false),
            TrainEvent::Step { step, steps, epoch, loss, learning_rate, tokens } => {
                self.stepping += std::mem::take(&mut self.pending);
                self.steps += 1;
                self.unsaved_steps += 1;
                self.tokens += tokens;
                let per_step = (self.stepping + self.evaluating).as_secs_f64() / self.steps as f64;
                let mut news = vec![News::Event(RunEvent::Step {
                    step,
                    steps,
                    epoch,
                    loss,
                    learning_rate,
                    tokens_per_second: self.tokens_per_second(),
                    seconds: self.began.elapsed().as_secs_f64(),
                    seconds_left: per_step * steps.saturating_sub(step) as f64,
                })];
                if self.unsaved_steps >= CHECKPOINT_STEPS || self.saved_at.elapsed() >= checkpoint_every {
                    news.extend(self.save());
                }
                (news, false)
            }
            TrainEvent::Evaluated { step, losses, best } => {
                self.evaluating += std::mem::take(&mut self.pending);
                (vec![News::Evaluated { step, losses, best }], false)
            }
            TrainEvent::Sampled { step, samples } => {
                let of = |pair: &SamplePair| {
                    format!("{}\n  base: {}\n  mine: {}", pair.prompt, pair.base, pair.mine)
                };
                let texts: Vec<String> = samples.iter().map(of).collect();
                (vec![note(format!("step {step}: {}", texts.join("\n")))], false)
            }
            TrainEvent::FoldsDone { folds, best_step, losses } => {
                let text = format!(
                    "{folds} folds did best at step {best_step} (held-out loss {:.3}); now all examples are learnt for as many steps",
                    losses.all
                );
                (vec![note(text)], false)
            }
            TrainEvent::Finished { .. } => (Vec::new(), true),
        }
    }

    /// The base that it trained on, and prompts for its golden answers.
    pub(super) fn golden_prompts(&self) -> (Arc<Base>, Vec<Vec<u32>>) {
        (Arc::clone(&self.base), self.trainer.golden_prompts())
    }

    /// What a run that is over has brought.
    pub(super) fn finish(self) -> News {
        let tokens_per_second = self.tokens_per_second();
        let busy = (self.stepping + self.evaluating).as_secs_f64();
        let speed = (self.steps > 0 && busy > 0.0).then(|| self.tokens as f64 / busy);
        let seconds = self.began.elapsed().as_secs_f64();
        match self.trainer.finish() {
            Ok(outcome) => News::Finished(Box::new(Trained {
                outcome,
                job: self.job,
                text: Arc::clone(&self.base.text),
                tokens_per_second,
                speed,
                seconds,
                goldens: Vec::new(),
            })),
            Err(error) => News::Failed(faults::of_training(&error)),
        }
    }

    /// Saves the run as it is; a note if that fails, once.
    pub(super) fn save(&mut self) -> Option<News> {
        self.saved_at = Instant::now();
        self.unsaved_steps = 0;
        let saved = checkpoint::save(&self.folder, &self.job, &self.trainer, &self.base);
        let failed_before = std::mem::replace(&mut self.save_failed, saved.is_err());
        match saved {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(run = self.run.0, error = error.message, "the run could not be saved");
                let text = format!("the run goes on, but could not be saved: {}", error.message);
                (!failed_before).then_some(note(text))
            }
        }
    }

    fn tokens_per_second(&self) -> f64 {
        let seconds = self.stepping.as_secs_f64();
        if seconds > 0.0 { self.tokens as f64 / seconds } else { 0.0 }
    }
}

/// Trains two steps and throws them away: tokens per second of this machine on this base, evaluations included.
pub(super) fn measure(base: &Base, prepared: &Prepared) -> Result<f64, RpcError> {
    let job = &prepared.job;
    let batch = job.settings.batch.min(prepared.data.train.len());
    let carries = prepared.data.judges().filter(|(sample, _)| sample.supervised_tokens() > 0);
    let shortest = carries.min_by_key(|(sample, _)| sample.tokens.len());
    let shortest = shortest.map(|(sample, is_new)| HeldOut { sample: sample.clone(), is_new });
    let data = TrainData {
        train: prepared.data.train.iter().take(2 * batch).cloned().collect(),
        heldout: HeldOutPlan::Split(shortest.into_iter().collect()),
    };
    let settings = TrainSettings {
        epochs: 2,
        max_steps: Some(2),
        accumulate: 1,
        sample_prompts: Vec::new(),
        ..job.settings.clone()
    };
    let measured = catch_unwind(AssertUnwindSafe(|| -> Result<f64, TrainError> {
        let mut trainer = Trainer::new(base, None, data, settings)?;
        let mut began = Instant::now();
        loop {
            match trainer.step(base)? {
                // The first step warms the caches; the second one counts.
                TrainEvent::Step { step: 2, tokens, .. } => {
                    return Ok(tokens as f64 / began.elapsed().as_secs_f64());
                }
                TrainEvent::Step { .. } | TrainEvent::Evaluated { .. } => began = Instant::now(),
                TrainEvent::Working | TrainEvent::Sampled { .. } | TrainEvent::FoldsDone { .. } => {}
                TrainEvent::Finished { .. } => return Err(TrainError::NoExamples),
            }
        }
    }));
    let training = measured
        .unwrap_or_else(|panic| {
            faults::of_panic("measuring the speed", &*panic);
            Err(TrainError::NoExamples)
        })
        .map_err(|error| faults::of_training(&error))?;
    // Evaluations have no backward pass: about a third of the work for each token.
    let heldout: usize = prepared.data.judges().map(|(sample, _)| sample.tokens.len()).sum();
    let interval = job.settings.evaluation_interval(prepared.data.train.len()).max(1);
    let per_step = heldout as f64 / interval as f64 / 3.0;
    let tokens = job.plan.tokens_per_step.max(1) as f64;
    Ok(training * tokens / (tokens + per_step))
}

fn note(text: String) -> News {
    News::Event(RunEvent::Note { text })
}

/// The losses of a run, as its events name them.
pub(crate) fn figures(outcome: &Outcome) -> Figures {
    Figures {
        base: outcome.base_loss,
        start: outcome.start_loss,
        best: outcome.best_loss,
        best_step: outcome.best_step,
    }
}
