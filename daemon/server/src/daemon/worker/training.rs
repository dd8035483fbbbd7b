//! The run in progress: one layer at a time, timed, and saved now and then.
//!
//! `minutes` is kept here, because the engine has no clock: the trainer is asked to finish when what is left is what the end takes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotplate_dataset::ExampleId;
use hotplate_engine::base::Base;
use hotplate_engine::base_spec::{BaseSource, Sample};
use hotplate_engine::device;
use hotplate_engine::lora::Adapter;
use hotplate_protocol::knobs::Style;
use hotplate_protocol::run::{RunEvent, RunId, RunWork, SamplePair};
use hotplate_protocol::{ErrorCode, RpcError};
use hotplate_train::forecast::Look;
use hotplate_train::{
    self, ExampleLosses, Outcome, StopReason, TrainError, TrainEvent, TrainedWeights, Trainer, Work, WorkKind,
};
use rayon::ThreadPool;

use super::bases::Bases;
use super::priority::{Pools, at};
use super::{News, Trained, WorkerEvent};
use crate::daemon::rpc_errors;
use crate::daemon::runs::checkpoint;
use crate::daemon::runs::finish::Figures;
use crate::daemon::runs::prepare::{Prepared, RunJob};
use crate::daemon::runs::reckon::{Meter, Reckoning};

/// A run is saved after this many steps, or after the time that the settings name.
const CHECKPOINT_STEPS: usize = 50;

/// While nothing else is said of a run, what it is at is said so often.
pub(super) const WORD_EVERY: Duration = Duration::from_millis(900);
/// What an end in order may take beyond what is reckoned: a part of it, and seconds for the disk.
const SLACK: f64 = 1.15;
const SLACK_SECONDS: f64 = 1.0;

/// A run that is to start or to go on.
pub(crate) struct TrainJob {
    pub(crate) run: RunId,
    pub(crate) prepared: Box<Prepared>,
    /// The version that an incremental run starts from.
    pub(crate) start: Option<PathBuf>,
    /// The version that must not be replaced by a worse one.
    pub(crate) rival: Option<Rival>,
    /// Where the run is saved.
    pub(crate) folder: PathBuf,
}

/// A version that a run nobody asked for is measured against.
pub(crate) struct Rival {
    /// Where it lies, if it can be judged by what judges the run.
    pub(crate) folder: Option<PathBuf>,
    /// Of its own run, nats per supervised token.
    pub(crate) loss: f64,
}

/// A rival that is being looked at.
enum Judging {
    Waits(Arc<Adapter>),
    Now(Arc<Adapter>, Vec<Sample>, Box<ExampleLosses>),
    Done,
}

#[derive(Debug, Clone, Copy)]
struct Written {
    neutral: bool,
    rehearsal: bool,
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
    reckoning: Reckoning,
    meter: Meter,
    /// At the held-out examples, in order; those of before an interruption are not known.
    looks: Vec<Look>,
    /// What the work of the present stage of the end has taken.
    ending: Option<(WorkKind, Duration)>,
    /// When the run is to be over.
    deadline: Option<Instant>,
    /// Its end was asked for, and cross-validation has not passed since.
    asked: bool,
    /// When anything was last said of it.
    said: Instant,
    /// Done here, not before an interruption.
    steps: usize,
    tokens: usize,
    saved_at: Instant,
    /// Until when the job knows what was spent.
    spent_at: Instant,
    /// How often the recipe's prompts were answered.
    samplings: usize,
    unsaved_steps: usize,
    /// A disk that is full is said once, not every 50 steps.
    save_failed: bool,
    /// Threads of the run's own priority; `None`: the common ones.
    pool: Option<Arc<ThreadPool>>,
    /// The run has ended, and its examples' own losses are being taken.
    scoring: Option<ExampleLosses>,
    losses: Vec<Option<f64>>,
    rival: Judging,
    rival_loss: Option<f64>,
    /// The example of each item, by its place in the job.
    owners: Vec<usize>,
    /// What the base wrote for runs before this one.
    known: Written,
}

impl Training {
    pub(super) fn start(
        job: TrainJob,
        bases: &mut Bases,
        pools: &mut Pools,
        report: &dyn Fn(WorkerEvent),
    ) -> Result<Training, RpcError> {
        let run = job.run;
        let pool = pools.of(job.prepared.job.nice);
        catch_unwind(AssertUnwindSafe(|| Training::load(job, bases, pool, report)))
            .unwrap_or_else(|panic| Err(rpc_errors::of_panic(&format!("run {}", run.0), &*panic)))
    }

    fn load(
        job: TrainJob,
        bases: &mut Bases,
        pool: Option<Arc<ThreadPool>>,
        report: &dyn Fn(WorkerEvent),
    ) -> Result<Training, RpcError> {
        let began = Instant::now();
        let TrainJob { run, prepared, start, rival, folder } = job;
        let reckoning = prepared.reckoning();
        let Prepared { job, text, data, owners, state, prices, neutral, rehearsal, .. } = *prepared;
        let source = job.order.source();
        if !bases.holds(&source) {
            report(WorkerEvent::Training { run, news: working(RunWork::Loading, 0, 1, None) });
        }
        let base = bases.get(&source, &text, report)?;
        let start = match &start {
            Some(folder) => Some(TrainedWeights::Adapter((*bases.adapter(folder, &base.text)?).clone())),
            None => None,
        };
        let rival_loss = rival.as_ref().map(|rival| rival.loss);
        let rival = match rival.and_then(|rival| rival.folder) {
            Some(folder) => Judging::Waits(bases.adapter(&folder, &base.text)?),
            None => Judging::Done,
        };
        let fresh = |data| Trainer::new(&base, start.as_ref(), data, job.settings.clone());
        let trainer = match &state {
            None => fresh(data),
            Some(state) => match Trainer::resume(&base, state, data.clone()) {
                Err(TrainError::OtherData { .. } | TrainError::BadState { .. }) => {
                    report(WorkerEvent::Training {
                        run,
                        news: note("the saved state could not be used; the run starts anew".to_owned()),
                    });
                    fresh(data)
                }
                resumed => {
                    let (before, now) = (Trainer::computed_with(state), device::kernels(&base.device));
                    if let Some(before) = before.filter(|before| *before != now) {
                        let text = format!(
                            "the run began on {before} and goes on with {now}: from here on its losses may differ in their last digits"
                        );
                        report(WorkerEvent::Training { run, news: note(text) });
                    }
                    resumed
                }
            },
        };
        let mut trainer = trainer.map_err(|error| rpc_errors::of_training(&error))?;
        if let Some(style @ (Style::Instruct | Style::Answers)) = job.style
            && !base.text.chats()
        {
            let text = format!(
                "style = \"{}\" needs a chat template, and {} has none: the texts are learnt as they are",
                style.word(),
                base.text.name
            );
            report(WorkerEvent::Training { run, news: note(text) });
        }
        let known = Written { neutral: neutral.is_some(), rehearsal: rehearsal.is_some() };
        if let Some(samples) = neutral {
            trainer.set_neutral(Arc::new(samples));
        }
        if let Some(answers) = rehearsal {
            if answers.samples.is_empty() && job.settings.rehearsal > 0.0 {
                report(WorkerEvent::Training { run, news: note(NO_ANSWERS.to_owned()) });
            }
            trainer.set_rehearsal(Arc::new(answers));
        }
        if trainer.step_number() > 0 {
            let text = format!("goes on at step {} of {}", trainer.step_number(), trainer.steps());
            report(WorkerEvent::Training { run, news: note(text) });
        }
        let left = |minutes: f64| Duration::try_from_secs_f64((60.0 * minutes - job.spent).max(0.0)).ok();
        let deadline = job.minutes.and_then(left).and_then(|left| began.checked_add(left));
        Ok(Training {
            run,
            source,
            base,
            trainer,
            job,
            folder,
            began,
            pending: Duration::ZERO,
            stepping: Duration::ZERO,
            meter: Meter::new(prices, &reckoning.parts),
            reckoning,
            looks: Vec::new(),
            ending: None,
            deadline,
            asked: false,
            said: Instant::now(),
            steps: 0,
            tokens: 0,
            saved_at: Instant::now(),
            spent_at: began,
            samplings: 0,
            unsaved_steps: 0,
            save_failed: false,
            pool,
            scoring: None,
            losses: Vec::new(),
            rival,
            rival_loss,
            owners,
            known,
        })
    }

    /// About one layer of work. Answers the news, and whether the run is over.
    pub(super) fn step(&mut self, checkpoint_every: Duration) -> (Vec<News>, bool) {
        let (mut news, over) =
            if self.scoring.is_some() { self.score() } else { self.advance(checkpoint_every) };
        if over {
            return (news, over);
        }
        if news.is_empty() {
            news.extend(self.word());
        } else {
            self.said = Instant::now();
        }
        news.extend(self.mind_the_time());
        (news, over)
    }

    fn advance(&mut self, checkpoint_every: Duration) -> (Vec<News>, bool) {
        let began = Instant::now();
        let before = self.trainer.work().kind;
        let (trainer, base) = (&mut self.trainer, &*self.base);
        let stepped = catch_unwind(AssertUnwindSafe(|| at(self.pool.as_deref(), || trainer.step(base))));
        let took = began.elapsed();
        self.pending += took;
        let event = match stepped {
            Ok(Ok(event)) => event,
            Ok(Err(error)) => return (vec![News::Failed(rpc_errors::of_training(&error))], true),
            Err(panic) => {
                let error = rpc_errors::of_panic(&format!("run {}", self.run.0), &*panic);
                return (vec![News::Failed(error)], true);
            }
        };
        self.time_the_end(before, took);
        let parts = self.reckoning.parts;
        match event {
            TrainEvent::Working => (Vec::new(), false),
            TrainEvent::Rehearsed { answers } => {
                let took = std::mem::take(&mut self.pending).as_secs_f64();
                self.meter.written(took, parts.rehearsal);
                let news = (answers == 0).then(|| note(NO_ANSWERS.to_owned()));
                (news.into_iter().collect(), false)
            }
            TrainEvent::Step { step, steps, epoch, loss, learning_rate, tokens } => {
                let took = std::mem::take(&mut self.pending);
                self.stepping += took;
                self.meter.learnt(took.as_secs_f64(), tokens);
                self.steps += 1;
                self.unsaved_steps += 1;
                self.tokens += tokens;
                let mut news = vec![News::Event(RunEvent::Step {
                    step,
                    steps,
                    epoch,
                    loss,
                    learning_rate,
                    tokens_per_second: self.tokens_per_second(),
                    seconds: self.began.elapsed().as_secs_f64(),
                    seconds_left: self.seconds_left().unwrap_or(0.0),
                })];
                if self.unsaved_steps >= CHECKPOINT_STEPS || self.saved_at.elapsed() >= checkpoint_every {
                    news.extend(self.save());
                }
                (news, false)
            }
            TrainEvent::Evaluated { step, losses, best, moved } => {
                let took = std::mem::take(&mut self.pending).as_secs_f64();
                self.meter.read(took, parts.heldout);
                self.looks.push(Look { step, loss: losses.all });
                (vec![News::Evaluated { step, losses, best, moved }], false)
            }
            TrainEvent::Sampled { step, samples } => {
                let took = std::mem::take(&mut self.pending).as_secs_f64();
                // The base's own answers came before the first ones.
                let times = if self.samplings == 0 { 2.0 } else { 1.0 };
                self.samplings += 1;
                self.meter.written(took, parts.samples * times);
                let pair =
                    |hotplate_train::SamplePair { prompt, base, mine }| SamplePair { prompt, base, mine };
                let samples = samples.into_iter().map(pair).collect();
                (vec![News::Event(RunEvent::Sampled { step, samples })], false)
            }
            TrainEvent::FoldsDone { folds, best_step, losses } => {
                // Whoever asked for the end has ended cross-validation; what comes now has to be asked again.
                self.asked = false;
                (vec![News::Event(RunEvent::FoldsDone { folds, best_step, heldout_loss: losses.all })], false)
            }
            TrainEvent::Finished { reason } => {
                if let StopReason::Asked { step, best_step: 0 } = reason {
                    // An incremental run has the version before to keep, and says so like any other.
                    return match self.job.start {
                        None => (vec![News::Failed(nothing_to_keep(step))], true),
                        Some(_) => (Vec::new(), true),
                    };
                }
                let row_tokens = self.job.settings.row_tokens;
                self.scoring = Some(ExampleLosses::new(self.trainer.samples(), row_tokens));
                (Vec::new(), false)
            }
        }
    }

    /// The stages of the end are one-off work: what writing takes is measured there, and none of it is part of the rate of learning.
    fn time_the_end(&mut self, kind: WorkKind, took: Duration) {
        let so_far = match self.ending {
            Some((known, so_far)) if known == kind => so_far,
            _ => Duration::ZERO,
        };
        self.ending = Some((kind, so_far + took));
        if kind == WorkKind::Copies && self.trainer.work().kind != kind {
            self.meter.written((so_far + took).as_secs_f64(), self.reckoning.parts.copies);
        }
    }

    /// What the run is at, if nothing was said for a moment.
    fn word(&mut self) -> Option<News> {
        let (work, done, of) = if let Some(scoring) = &self.scoring {
            let (done, of) = scoring.progress();
            (RunWork::OwnLosses, done, of)
        } else {
            let Work { kind, done, of } = self.trainer.work();
            (work_of(kind), done, of)
        };
        if self.said.elapsed() < WORD_EVERY {
            return None;
        }
        self.said = Instant::now();
        Some(working(work, done, of, self.seconds_left()))
    }

    /// Until the run's probable end.
    fn seconds_left(&self) -> Option<f64> {
        let prices = self.meter.prices()?;
        let left = match &self.scoring {
            Some(scoring) => {
                let (done, of) = scoring.progress();
                self.reckoning.last(1.0 - done as f64 / of.max(1) as f64)
            }
            None if self.asked => self.reckoning.tail(&self.trainer.pace(), &self.trainer.work()),
            None => self.reckoning.left(&self.trainer.pace(), &self.trainer.work(), &self.looks),
        };
        let left = prices.of(left).max(0.0);
        let until = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        Some(until.map_or(left, |until| left.min(until.as_secs_f64())))
    }

    /// Ends the run in order when its minutes are just enough for that.
    fn mind_the_time(&mut self) -> Option<News> {
        let deadline = self.deadline.filter(|_| !self.asked && self.scoring.is_none())?;
        let pace = self.trainer.pace();
        if pace.stopped {
            return None;
        }
        let left = deadline.saturating_duration_since(Instant::now()).as_secs_f64();
        let tail = match self.meter.prices() {
            Some(prices) => {
                SLACK * prices.of(self.reckoning.tail(&pace, &self.trainer.work())) + SLACK_SECONDS
            }
            // Not one step is done: what the end takes is anybody's guess.
            None => 12.0 * self.job.minutes.unwrap_or(0.0),
        };
        if left > tail {
            return None;
        }
        self.ask_to_finish();
        Some(note(
            "its minutes are nearly over: it ends in order, with the best that it has reached".to_owned(),
        ))
    }

    /// Ends the run in order as soon as that is possible.
    pub(super) fn ask_to_finish(&mut self) {
        self.asked = true;
        self.pending = Duration::ZERO;
        self.trainer.ask_to_finish();
    }

    /// The base that it trained on, and prompts for its golden answers.
    pub(super) fn golden_prompts(&self) -> (Arc<Base>, Vec<Vec<u32>>) {
        (Arc::clone(&self.base), self.trainer.golden_prompts())
    }

    /// A layer of the rival's look at what judges this run; true when there is nothing (more) to look at. A fault there leaves what is known of it.
    fn judge_the_rival(&mut self) -> bool {
        let row_tokens = self.job.settings.row_tokens;
        match std::mem::replace(&mut self.rival, Judging::Done) {
            Judging::Done => true,
            Judging::Waits(adapter) => {
                let judges: Vec<Sample> = self.trainer.judges().cloned().collect();
                let looks = Box::new(ExampleLosses::new(&judges, row_tokens));
                self.rival = Judging::Now(adapter, judges, looks);
                false
            }
            Judging::Now(adapter, judges, mut looks) => {
                let learnt = TrainedWeights::Adapter((*adapter).clone());
                let base = &*self.base;
                let stepped = catch_unwind(AssertUnwindSafe(|| {
                    at(self.pool.as_deref(), || looks.step(base, &learnt, &judges))
                }));
                match stepped {
                    Ok(Ok(None)) => {
                        self.rival = Judging::Now(adapter, judges, looks);
                        return false;
                    }
                    Ok(Ok(Some(losses))) => self.rival_loss = mean(&losses, &judges).or(self.rival_loss),
                    Ok(Err(error)) => {
                        tracing::warn!(%error, run = self.run.0, "the version before could not be judged");
                    }
                    Err(panic) => {
                        rpc_errors::of_panic(&format!("run {}", self.run.0), &*panic);
                    }
                }
                true
            }
        }
    }

    /// A layer of the examples' own losses. A fault there costs the losses, not the run.
    fn score(&mut self) -> (Vec<News>, bool) {
        if !self.judge_the_rival() {
            return (Vec::new(), false);
        }
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
                rpc_errors::of_panic(&format!("run {}", self.run.0), &*panic);
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
        let prices = self.meter.prices().filter(|_| self.steps > 1);
        let seconds = self.began.elapsed().as_secs_f64();
        let (losses, rival_loss) = (self.losses_of_examples(), self.rival_loss);
        let neutral = self.trainer.neutral().filter(|_| !self.known.neutral).cloned();
        let rehearsal = self.trainer.rehearsal().filter(|_| !self.known.rehearsal).cloned();
        match self.trainer.finish() {
            Ok(outcome) => News::Finished(Box::new(Trained {
                outcome,
                job: self.job,
                text: Arc::clone(&self.base.text),
                tokens_per_second,
                prices,
                seconds,
                losses,
                rival_loss,
                neutral,
                rehearsal,
                goldens: Vec::new(),
            })),
            Err(error) => News::Failed(rpc_errors::of_training(&error)),
        }
    }

    /// Saves the run as it is; a note if that fails, once.
    pub(super) fn save(&mut self) -> Option<News> {
        let now = Instant::now();
        self.job.spent += now.saturating_duration_since(self.spent_at).as_secs_f64();
        self.spent_at = now;
        self.saved_at = now;
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

const NO_ANSWERS: &str =
    "the base model wrote no answers of its own, so nothing is rehearsed: what else it can may be lost";

fn nothing_to_keep(step: usize) -> RpcError {
    let message = if step == 0 {
        "the run was ended before its first step was done, so there is nothing to keep; give it more time"
            .to_owned()
    } else {
        format!(
            "the run was ended at step {step}, and nothing that it had learnt by then did better on the held-out examples than the base model, so there is \
             nothing to keep; give it more time"
        )
    };
    RpcError::new(ErrorCode::InvalidParams, message)
}

fn work_of(kind: WorkKind) -> RunWork {
    match kind {
        WorkKind::Learning => RunWork::Learning,
        WorkKind::HeldOut => RunWork::HeldOut,
        WorkKind::Samples => RunWork::Samples,
        WorkKind::Gap => RunWork::Gap,
        WorkKind::Copies => RunWork::Copies,
        WorkKind::Rehearsal => RunWork::Rehearsal,
        WorkKind::Neutral => RunWork::Neutral,
        WorkKind::Drift => RunWork::Drift,
        WorkKind::Behaviour => RunWork::Behaviour,
    }
}

pub(super) fn working(work: RunWork, done: usize, of: usize, seconds_left: Option<f64>) -> News {
    News::Event(RunEvent::Working { work, done, of, seconds_left })
}

/// Over all supervised tokens of the samples.
fn mean(losses: &[Option<f64>], samples: &[Sample]) -> Option<f64> {
    let each = losses.iter().zip(samples).filter_map(|(loss, sample)| {
        let tokens = sample.supervised_tokens() as f64;
        loss.map(|loss| (loss * tokens, tokens))
    });
    let (sum, tokens) = each.fold((0.0, 0.0), |(sum, all), (loss, tokens)| (sum + loss, all + tokens));
    let mean = sum / tokens;
    (tokens > 0.0 && mean.is_finite()).then_some(mean)
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
