//! The run in progress: one layer at a time, timed, and saved now and then.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotplate_dataset::ExampleId;
use hotplate_engine::base::Base;
use hotplate_engine::base_text::BaseSource;
use hotplate_engine::train::{
    self, HeldOut, HeldOutPlan, Learnt, Outcome, OwnLosses, TrainData, TrainError, TrainEvent, TrainSettings,
    Trainer,
};
use hotplate_protocol::RpcError;
use hotplate_protocol::knobs::Style;
use hotplate_protocol::run::{RunEvent, RunId, SamplePair};
use rayon::ThreadPool;

use super::bases::Bases;
use super::priority::Pools;
use super::{News, Report, Trained};
use crate::daemon::faults;
use crate::daemon::runs::checkpoint;
use crate::daemon::runs::finish::Figures;
use crate::daemon::runs::prepare::{Prepared, RunJob};

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
    /// Threads of the run's own priority; `None`: the common ones.
    pool: Option<Arc<ThreadPool>>,
    /// The run has ended, and its examples' own losses are being taken.
    scoring: Option<OwnLosses>,
    losses: Vec<Option<f64>>,
    /// The example of each item, by its place in the job.
    owners: Vec<usize>,
    /// The base's own samples were known before.
    neutral_known: bool,
}

impl Training {
    pub(super) fn start(
        job: TrainJob,
        bases: &mut Bases,
        pools: &mut Pools,
        report: &dyn Fn(Report),
    ) -> Result<Training, RpcError> {
        let run = job.run;
        let pool = pools.of(job.prepared.job.nice);
        catch_unwind(AssertUnwindSafe(|| Training::load(job, bases, pool, report)))
            .unwrap_or_else(|panic| Err(faults::of_panic(&format!("run {}", run.0), &*panic)))
    }

    fn load(
        job: TrainJob,
        bases: &mut Bases,
        pool: Option<Arc<ThreadPool>>,
        report: &dyn Fn(Report),
    ) -> Result<Training, RpcError> {
        let TrainJob { run, prepared, start, folder } = job;
        let Prepared { job, text, data, owners, state, neutral, .. } = *prepared;
        let source = job.order.source();
        let base = bases.get(&source, &text, report)?;
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
        let mut trainer = trainer.map_err(|error| faults::of_training(&error))?;
        if job.style == Some(Style::Instruct) && !base.text.chats() {
            let text = format!(
                "style = \"instruct\" needs a chat template, and {} has none: the texts are learnt as they are",
                base.text.name
            );
            report(Report::Training { run, news: note(text) });
        }
        let neutral_known = neutral.is_some();
        if let Some(samples) = neutral {
            trainer.set_neutral(Arc::new(samples));
        }
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
            pool,
            scoring: None,
            losses: Vec::new(),
            owners,
            neutral_known,
        })
    }

    /// About one layer of work. Answers the news, and whether the run is over.
    pub(super) fn step(&mut self, checkpoint_every: Duration) -> (Vec<News>, bool) {
        if self.scoring.is_some() {
            return self.score();
        }
        let began = Instant::now();
        let (trainer, base) = (&mut self.trainer, &*self.base);
        let stepped = catch_unwind(AssertUnwindSafe(|| at(self.pool.as_deref(), || trainer.step(base))));
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
                self.evaluating += std::mem::take(&mut self.pending);
                let pair = |train::SamplePair { prompt, base, mine }| SamplePair { prompt, base, mine };
                let samples = samples.into_iter().map(pair).collect();
                (vec![News::Event(RunEvent::Sampled { step, samples })], false)
            }
            TrainEvent::FoldsDone { folds, best_step, losses } => {
                (vec![News::Event(RunEvent::FoldsDone { folds, best_step, heldout_loss: losses.all })], false)
            }
            TrainEvent::Finished { .. } => {
                let row_tokens = self.job.settings.row_tokens;
                self.scoring = Some(OwnLosses::new(self.trainer.samples(), row_tokens));
                (Vec::new(), false)
            }
        }
    }

    /// The base that it trained on, and prompts for its golden answers.
    pub(super) fn golden_prompts(&self) -> (Arc<Base>, Vec<Vec<u32>>) {
        (Arc::clone(&self.base), self.trainer.golden_prompts())
    }

    /// A layer of the examples' own losses. A fault there costs the losses, not the run.
    fn score(&mut self) -> (Vec<News>, bool) {
        let (trainer, base) = (&self.trainer, &*self.base);
        let (Some(scoring), Some(kept)) = (&mut self.scoring, trainer.kept()) else {
            return (Vec::new(), true);
        };
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            at(self.pool.as_deref(), || scoring.step(base, kept, trainer.samples()))
        }));
        match stepped {
            Ok(Ok(None)) => return (Vec::new(), false),
            Ok(Ok(Some(losses))) => self.losses = losses,
            Ok(Err(error)) => {
                tracing::warn!(%error, run = self.run.0, "the examples' losses could not be taken");
            }
            Err(panic) => {
                faults::of_panic(&format!("run {}", self.run.0), &*panic);
            }
        }
        (Vec::new(), true)
    }

    /// An example's own loss: the mean over its forms.
    fn losses_of_examples(&self) -> Vec<(ExampleId, f64)> {
        let mut sums: Vec<(f64, usize)> = vec![(0.0, 0); self.job.train.len()];
        for (owner, loss) in self.owners.iter().zip(&self.losses) {
            if let (Some(loss), Some(sum)) = (loss, sums.get_mut(*owner)) {
                *sum = (sum.0 + loss, sum.1 + 1);
            }
        }
        let known = self.job.train.iter().zip(sums).filter(|(_, (_, count))| *count > 0);
        known.map(|(id, (sum, count))| (*id, sum / count as f64)).collect()
    }

    /// What a run that is over has brought.
    pub(super) fn finish(self) -> News {
        let tokens_per_second = self.tokens_per_second();
        let busy = (self.stepping + self.evaluating).as_secs_f64();
        let speed = (self.steps > 0 && busy > 0.0).then(|| self.tokens as f64 / busy);
        let seconds = self.began.elapsed().as_secs_f64();
        let losses = self.losses_of_examples();
        let neutral = self.trainer.neutral().filter(|_| !self.neutral_known).cloned();
        match self.trainer.finish() {
            Ok(outcome) => News::Finished(Box::new(Trained {
                outcome,
                job: self.job,
                text: Arc::clone(&self.base.text),
                tokens_per_second,
                speed,
                seconds,
                losses,
                neutral,
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

/// Runs the work in the pool, if there is one.
fn at<T: Send>(pool: Option<&ThreadPool>, work: impl FnOnce() -> T + Send) -> T {
    match pool {
        Some(pool) => pool.install(work),
        None => work(),
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
