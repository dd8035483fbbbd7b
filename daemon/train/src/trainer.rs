//! A run: steps, evaluations, the best version kept, and where few examples are there, cross-validation before it.
//!
//! Cross-validation below 30 examples: all five learners go through their steps side by side, so that patience looks at the averaged curve and no fold trains
//! longer than it has to. Losses are pooled over the tokens of all examples, each judged by the learner that has not seen it. The adapter that is kept is then
//! trained on everything, with the same schedule, for the number of steps that did best.
//!
//! A step that has lost the base's answers (drift at a look that would be a new best) is not kept, but does not end the run while drift falls: at the highest
//! learning rate most runs lose them for twenty steps (0.5 to 0.6 nats on 80 notes) and rehearsal brings them back (0.08). Finishing early judges what was not
//! judged yet and keeps the best; so does cross-validation, which then learns all examples for as many steps as did best by then.

use std::sync::Arc;

use hotplate_engine::answers::Answer;
use hotplate_engine::base::Base;
use hotplate_engine::device::in_pool;
use hotplate_engine::golden;
use hotplate_engine::ops::dropout::Dropout;
use hotplate_engine::sample::Sample;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::data::{Losses, TrainData};
use super::evaluation::{Evaluated, Evaluation};
use super::event::{FoldFigures, MemorizationSign, StopReason, TrainEvent};
use super::final_metrics::FinalMetrics;
use super::learner::{Learner, Pool, Rates, Shape, StepWork};
use super::progress::{Best, Counts, Outcome, Phase, Progress};
use super::samples::{Prompts, SampleAnswers};
use super::start::{check_data, divide, initial};
use super::trained_weights::TrainedWeights;
use super::work::{Pace, Work, WorkKind};
use super::{TrainError, TrainSettings, final_metrics};
use crate::guard::{Drift, GuardFigures, Moved, Verdict, copying::copying, forgets, worth};
use crate::reference_samples::ReferenceSamples;
use crate::rehearsal::{self, Rehearsal};

/// Evaluations, or steps, in a row.
const FAR_EVALUATIONS: usize = 2;
const FAR_STEPS: usize = 20;
/// A run memorises where it does this much better on what it trains on than on what is held out (a part of the loss)...
const MEMORY_RATIO: f64 = 0.5;
/// ...and the held-out loss has risen by this part over its best.
const MEMORY_RISE: f64 = 0.02;
/// Evaluations in a row at which the base's own answers were gone, and no nearer than before. Most runs lose them while the learning rate is high, and rehearsal
/// brings them back.
const FORGETFUL_EVALUATIONS: usize = 4;
/// Drift that has fallen to this part of what it was is on its way back.
const DRIFT_FALLS: f64 = 0.98;
/// Training examples that the gap is measured on, at least.
pub(super) const GAP_EXAMPLES: usize = 8;

use own_answers::{Comparing, Drawing};

enum Activity {
    Between,
    Evaluating(Subject, Box<Evaluation>),
    Training(Box<StepWork>),
    /// The base answers first, once.
    Sampling(bool, Box<SampleAnswers>),
    Drawing(Box<Drawing>),
    Comparing(Box<Comparing>),
    /// The figures of what is kept.
    FinalMetrics(Box<FinalMetrics>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Base,
    Start,
    Current,
}

pub struct Trainer {
    settings: TrainSettings,
    pub(super) data: Arc<TrainData>,
    prompts: Prompts,
    /// Training examples that each learner is judged by; empty where examples are held out.
    folds: Vec<Vec<usize>>,
    pub(super) progress: Progress,
    activity: Activity,
    /// What the base answers to the guard's questions, and the measurement on it, which remembers what the base thinks.
    neutral: Option<Arc<ReferenceSamples>>,
    drift: Option<Drift>,
    /// What is learnt along with the examples.
    rehearsal: Option<Rehearsal>,
    drew_rehearsal: bool,
    /// The base answers questions.
    chats: bool,
    /// What is said before anything else happens.
    announced: Option<TrainEvent>,
    /// The order of each learner's examples in the epoch that it is in.
    orders: Vec<Option<(usize, Vec<usize>)>>,
}

impl Trainer {
    /// A new run. `start`: what an incremental run goes on from.
    ///
    /// # Errors
    /// Settings out of range, nothing to train on or to judge by, a start that does not fit the base.
    pub fn new(
        base: &Base,
        start: Option<&TrainedWeights>,
        data: TrainData,
        settings: TrainSettings,
    ) -> Result<Trainer, TrainError> {
        settings.validate()?;
        check_data(&data)?;
        let initial = initial(base, start, &settings)?;
        let copies = data.folds().unwrap_or(1);
        let learner = Learner::new(initial.clone())?;
        let progress = Progress {
            phase: if data.folds().is_some() { Phase::Folds } else { Phase::Split },
            learners: vec![learner; copies],
            initial: data.folds().map(|_| initial),
            counts: Counts { sampled: true, ..Counts::default() },
            base: None,
            start: None,
            best: None,
            folds: None,
            guard: None,
            base_answers: None,
            stopped: None,
            continues: start.is_some(),
        };
        Trainer::from_progress(base, progress, data, settings)
    }

    pub(super) fn from_progress(
        base: &Base,
        progress: Progress,
        data: TrainData,
        settings: TrainSettings,
    ) -> Result<Trainer, TrainError> {
        check_data(&data)?;
        Ok(Trainer {
            prompts: Prompts::new(base, &settings.sample_prompts, settings.sample_tokens)?,
            folds: data
                .folds()
                .map(|folds| divide(data.train.len(), folds, settings.seed))
                .unwrap_or_default(),
            orders: vec![None; progress.learners.len()],
            settings,
            data: Arc::new(data),
            progress,
            activity: Activity::Between,
            neutral: None,
            drift: None,
            rehearsal: None,
            drew_rehearsal: false,
            chats: base.text.chats(),
            announced: None,
        })
    }

    /// Prompts for golden answers, from the examples that judge the run.
    pub fn golden_prompts(&self) -> Vec<Vec<u32>> {
        golden::prompts(self.data.judges().map(|(sample, _)| sample))
    }

    pub fn settings(&self) -> &TrainSettings {
        &self.settings
    }

    /// Optimiser steps at most, those of cross-validation and after it together.
    pub fn steps(&self) -> usize {
        let steps = self.settings.steps(self.data.train.len());
        match self.progress.phase {
            Phase::Split => steps,
            Phase::Folds => 2 * steps,
            Phase::All { steps } => self.progress.counts.earlier + steps,
        }
    }

    /// Optimiser steps done.
    pub fn step_number(&self) -> usize {
        self.progress.counts.earlier + self.progress.counts.step
    }

    /// What has been learnt by now, which need not be the best; in cross-validation, by the first fold.
    pub fn current(&self) -> &TrainedWeights {
        &self.progress.learners[0].learnt
    }

    /// Has the run end in order as soon as that is possible: what was learnt since the last look at the held-out examples is judged, and the best is
    /// kept. Cross-validation ends likewise, and what follows it is another phase, which ends when it is asked again.
    pub fn ask_to_finish(&mut self) {
        self.progress.counts.asked = true;
        // A step that is not done is worth less than the time until it is. But folds stay side by side, and after them something must be learnt.
        let alone = match self.progress.phase {
            Phase::Split => true,
            Phase::Folds => false,
            Phase::All { .. } => self.progress.counts.step > 0,
        };
        if alone && matches!(self.activity, Activity::Training(_)) {
            self.activity = Activity::Between;
        }
    }

    /// What it is at.
    pub fn work(&self) -> Work {
        match &self.activity {
            Activity::Between => Work { kind: WorkKind::Learning, done: 0, of: 1 },
            Activity::Evaluating(_, evaluation) => evaluation.work(WorkKind::HeldOut),
            Activity::Training(work) => {
                let (done, of) = work.progress();
                let learners = self.progress.learners.len().max(1);
                let ahead = self.progress.counts.ahead.min(learners - 1);
                Work { kind: WorkKind::Learning, done: ahead * of + done, of: learners * of }
            }
            Activity::Sampling(_, answers) => answers.work(WorkKind::Samples),
            Activity::Drawing(drawing) => self.drawing_work(drawing),
            Activity::Comparing(comparing) => comparing.work(),
            Activity::FinalMetrics(closing) => closing.work(),
        }
    }

    /// How far the run has come, for whoever reckons how long it will go on.
    pub fn pace(&self) -> Pace {
        let Progress { phase, counts, best, .. } = &self.progress;
        Pace {
            step: counts.step,
            best_step: best.as_ref().map(|best| best.step),
            gained_step: counts.gained.map_or(0, |gained| gained.step),
            without_gain: counts.without_gain,
            steps: match phase {
                Phase::All { steps } => *steps,
                Phase::Split | Phase::Folds => self.settings.steps(self.data.train.len()),
            },
            learners: self.progress.learners.len(),
            after_folds: matches!(phase, Phase::All { .. }),
            unjudged: counts.window.1 > 0,
            stopped: self.progress.stopped.is_some(),
            to_rehearse: self.must_draw().is_some(),
        }
    }

    /// About one layer of work. After `Finished` it answers `Finished` again.
    ///
    /// # Errors
    /// Loss or gradients that are no longer numbers, or a loss that went far up, before anything better than the start was found; a tensor
    /// operation that failed.
    pub fn step(&mut self, base: &Base) -> Result<TrainEvent, TrainError> {
        in_pool(|| self.advance(base))
    }

    fn advance(&mut self, base: &Base) -> Result<TrainEvent, TrainError> {
        match &mut self.activity {
            Activity::Between => self.begin(base),
            Activity::Training(_) => self.train(base),
            Activity::Sampling(..) => self.sample(base),
            Activity::Drawing(_) => self.draw(base),
            Activity::Comparing(_) => match self.compared(base)? {
                None => Ok(TrainEvent::Working),
                Some((comparing, moved)) => {
                    let (losses, each) = self.keep(comparing);
                    self.judged(base, losses, each, moved)
                }
            },
            Activity::FinalMetrics(_) => self.close(base),
            Activity::Evaluating(subject, evaluation) => {
                let subject = *subject;
                let learners = &self.progress.learners;
                let learnt = |index: usize| (subject != Subject::Base).then(|| &learners[index].learnt);
                match evaluation.step(&base.decoder, learnt, |index| self.data.judge(index))? {
                    None => Ok(TrainEvent::Working),
                    Some(evaluated) => {
                        self.activity = Activity::Between;
                        self.evaluated(base, subject, evaluated)
                    }
                }
            }
        }
    }

    /// Chooses what comes next.
    fn begin(&mut self, base: &Base) -> Result<TrainEvent, TrainError> {
        if let Some(event) = self.announced.take() {
            return Ok(event);
        }
        if self.progress.counts.asked && self.progress.stopped.is_none() && self.wind_up(base)? {
            return Ok(TrainEvent::Working);
        }
        let progress = &self.progress;
        self.activity = if let Some(reason) = progress.stopped.filter(|_| progress.counts.sampled) {
            if progress.guard.is_some() {
                return Ok(TrainEvent::Finished { reason });
            }
            Activity::FinalMetrics(Box::new(self.closing(base)))
        } else if progress.base.is_none() {
            self.evaluation(Subject::Base)
        } else if progress.continues && progress.start.is_none() {
            self.evaluation(Subject::Start)
        } else if !progress.counts.evaluated {
            self.evaluation(Subject::Current)
        } else if !progress.counts.sampled {
            if progress.base_answers.is_none() {
                Activity::Sampling(true, Box::new(SampleAnswers::new(base, None, &self.prompts)))
            } else {
                let learnt = Some(&progress.learners[0].learnt);
                Activity::Sampling(false, Box::new(SampleAnswers::new(base, learnt, &self.prompts)))
            }
        } else if let Some(purpose) = self.must_draw() {
            Activity::Drawing(Box::new(Trainer::drawing(base, purpose)?))
        } else {
            Activity::Training(Box::new(self.next_step()))
        };
        Ok(TrainEvent::Working)
    }

    /// Ends the phase as somebody asked, or sees to it that what is still missing for that comes next; whether it has ended.
    fn wind_up(&mut self, base: &Base) -> Result<bool, TrainError> {
        let progress = &mut self.progress;
        let counts = &mut progress.counts;
        match progress.phase {
            Phase::All { steps } if counts.step > 0 => {
                counts.sampled = self.prompts.is_empty();
                progress.stopped = Some(StopReason::AskedAfterFolds { step: counts.step, best_step: steps });
                Ok(true)
            }
            Phase::All { .. } => Ok(false),
            // All folds come to the same step first, and the start is judged before anything else.
            Phase::Split | Phase::Folds if counts.ahead > 0 || progress.best.is_none() => Ok(false),
            Phase::Split | Phase::Folds if counts.window.1 > 0 => {
                counts.evaluated = false;
                Ok(false)
            }
            Phase::Split | Phase::Folds => {
                let (step, best_step) = (counts.step, progress.best_step());
                self.end_phase(base, StopReason::Asked { step, best_step })?;
                Ok(true)
            }
        }
    }

    fn evaluation(&self, subject: Subject) -> Activity {
        let all: [Vec<usize>; 1];
        let groups = if self.folds.is_empty() {
            all = [(0..self.data.judges().count()).collect()];
            all.as_slice()
        } else {
            self.folds.as_slice()
        };
        let len = |index: usize| self.data.judge(index).0.tokens.len();
        Activity::Evaluating(subject, Box::new(Evaluation::new(groups, len, self.settings.row_tokens)))
    }

    fn evaluated(
        &mut self,
        base: &Base,
        subject: Subject,
        evaluated: Evaluated,
    ) -> Result<TrainEvent, TrainError> {
        let Evaluated { losses, each } = evaluated;
        let progress = &mut self.progress;
        let is_start = match subject {
            Subject::Base => !progress.continues,
            Subject::Start => true,
            Subject::Current => false,
        };
        if !losses.all.is_finite() {
            return match subject {
                Subject::Base => Err(TrainError::BrokenBase),
                Subject::Start => Err(TrainError::Misfit(
                    "its loss on the held-out examples is not a number; train anew".to_owned(),
                )),
                Subject::Current => self.not_finite(base, self.step_number()),
            };
        }
        match subject {
            Subject::Base => progress.base = Some(losses),
            Subject::Start => progress.start = Some(losses),
            Subject::Current => {
                return match self.compare(losses, each) {
                    Ok(comparing) => {
                        self.activity = Activity::Comparing(Box::new(comparing));
                        Ok(TrainEvent::Working)
                    }
                    Err((losses, each)) => self.judged(base, losses, each, None),
                };
            }
        }
        if is_start {
            // A fresh adapter changes nothing, so that the base's loss is also its own.
            progress.counts.evaluated = true;
            let learnt = (progress.phase == Phase::Split).then(|| progress.learners[0].learnt.clone());
            progress.best = Some(Best { learnt, step: 0, losses, train_loss: losses.all, folds: each });
        }
        Ok(TrainEvent::Evaluated { step: 0, losses, best: is_start, moved: None })
    }

    /// The losses of what was learnt so far, and how far that has moved the base: is it the best, and does the run go on?
    fn judged(
        &mut self,
        base: &Base,
        losses: Losses,
        each: Vec<f64>,
        moved: Option<Moved>,
    ) -> Result<TrainEvent, TrainError> {
        let steps = self.settings.steps(self.data.train.len());
        let per_epoch = self.settings.steps_per_epoch(self.members(0));
        let far = self.progress.is_far(losses.all);
        let forgets = moved.is_some_and(|moved| forgets(&moved));
        let best = if forgets {
            self.progress.may_forget() && self.progress.is_better(&losses, self.settings.margin)
        } else {
            self.progress.may_be_best(&losses, self.settings.margin)
        };
        let step = self.progress.counts.step;
        let gain = if best && !forgets { self.progress.gain(&losses, step) } else { None };
        let progress = &mut self.progress;
        let counts = &mut progress.counts;
        counts.evaluated = true;
        counts.sampled = self.prompts.is_empty();
        counts.far_evaluations = if far { counts.far_evaluations + 1 } else { 0 };
        let drift = moved.filter(|_| forgets).map(|moved| moved.drift);
        counts.forgetful_evaluations = match (drift, counts.forgotten) {
            (Some(drift), Some(before)) if drift > DRIFT_FALLS * before => counts.forgetful_evaluations + 1,
            _ => 0,
        };
        counts.forgotten = drift;
        let train_loss = counts.window.0 / counts.window.1.max(1) as f64;
        counts.window = (0.0, 0);
        if gain.is_some() {
            (counts.gained, counts.without_gain) = (gain, 0);
        } else if !forgets {
            counts.without_gain += 1;
        }
        let gained_step = counts.gained.map_or(0, |gained| gained.step);
        if best {
            counts.forgetful_best = forgets.then_some(step);
            let learnt = (progress.phase == Phase::Split).then(|| progress.learners[0].learnt.clone());
            progress.best = Some(Best { learnt, step, losses, train_loss, folds: each });
        }
        let (best_step, best_loss) =
            progress.best.as_ref().map_or((0, losses.all), |best| (best.step, best.losses.all));
        let patient = counts.without_gain < self.settings.patience;
        let memorised =
            train_loss < MEMORY_RATIO * losses.all && losses.all > best_loss * (1.0 + MEMORY_RISE);
        let reason = if counts.far_evaluations >= FAR_EVALUATIONS {
            return self.diverged(base, TrainEvent::Evaluated { step, losses, best, moved });
        } else if step >= steps {
            Some(StopReason::AllSteps { steps, best_step })
        } else if counts.forgetful_evaluations >= FORGETFUL_EVALUATIONS {
            Some(if counts.forgetful_best.is_some() {
                StopReason::Forgot { step, best_step }
            } else {
                StopReason::Forgetting { step, best_step }
            })
        } else if !patient && memorised {
            Some(StopReason::Memorising { step, best_step, sign: MemorizationSign::Gap })
        } else if !patient && step >= gained_step + per_epoch {
            Some(StopReason::NoGain { step, best_step })
        } else if progress.counts.asked {
            Some(StopReason::Asked { step, best_step })
        } else {
            None
        };
        if let Some(reason) = reason {
            self.end_phase(base, reason)?;
        }
        Ok(TrainEvent::Evaluated { step, losses, best, moved })
    }

    /// A loss or gradient is no number: what was best stays, if there is something.
    fn not_finite(&mut self, base: &Base, step: usize) -> Result<TrainEvent, TrainError> {
        let learning_rate = self.settings.learning_rate;
        let best_step = self.progress.best_step();
        if best_step == 0 || matches!(self.progress.phase, Phase::All { .. }) {
            return Err(TrainError::NotFinite { step, learning_rate });
        }
        self.end_phase(base, StopReason::NotFinite { step, best_step, learning_rate })?;
        Ok(TrainEvent::Working)
    }

    fn diverged(&mut self, base: &Base, event: TrainEvent) -> Result<TrainEvent, TrainError> {
        let learning_rate = self.settings.learning_rate;
        let (step, best_step) = (self.progress.counts.step, self.progress.best_step());
        if best_step == 0 || matches!(self.progress.phase, Phase::All { .. }) {
            return Err(TrainError::Diverged { step, learning_rate });
        }
        self.end_phase(base, StopReason::Diverged { step, best_step, learning_rate })?;
        Ok(event)
    }

    /// The run ends, or, after cross-validation, begins anew on all examples.
    fn end_phase(&mut self, base: &Base, reason: StopReason) -> Result<(), TrainError> {
        let progress = &mut self.progress;
        self.activity = Activity::Between;
        let (Phase::Folds, Some(best)) = (progress.phase, &progress.best) else {
            progress.stopped = Some(reason);
            progress.counts.evaluated = true;
            // What is broken need not be asked.
            progress.counts.sampled |=
                matches!(reason, StopReason::NotFinite { .. } | StopReason::Diverged { .. });
            progress.nothing_kept(reason);
            return Ok(());
        };
        let folds = progress.learners.len();
        let stopped_at = progress.counts.step;
        let best_step = best.step;
        progress.folds = Some(FoldFigures { best_step, steps: stopped_at, losses: best.folds.clone() });
        self.announced = Some(TrainEvent::FoldsDone { folds, best_step, losses: best.losses });
        let learnt = match &progress.initial {
            Some(initial) => initial.clone(),
            None => initial(base, None, &self.settings)?,
        };
        progress.learners = vec![Learner::new(learnt)?];
        progress.phase = Phase::All { steps: best_step };
        progress.counts = Counts {
            earlier: stopped_at,
            tokens: progress.counts.tokens,
            evaluated: true,
            sampled: true,
            ..Counts::default()
        };
        self.orders = vec![None];
        if best_step == 0 {
            let asked = matches!(reason, StopReason::Asked { .. });
            let folds = StopReason::Folds { folds, best_step, stopped_at };
            progress.stopped = Some(if asked { reason } else { folds });
            progress.nothing_kept(reason);
        }
        Ok(())
    }

    /// How many examples a learner trains on.
    fn members(&self, learner: usize) -> usize {
        let judged = if self.progress.phase == Phase::Folds { self.folds[learner].len() } else { 0 };
        self.data.train.len() - judged
    }

    /// The training examples of the next optimiser step, by their number. Each epoch has its own order, which follows from seed and epoch
    /// alone.
    pub fn next_examples(&mut self) -> &[usize] {
        let counts = self.progress.counts;
        let learner = counts.ahead;
        let per_step = self.settings.examples_per_step();
        let per_epoch = self.members(learner).div_ceil(per_step).max(1);
        let (epoch, index) = (counts.step / per_epoch, counts.step % per_epoch);
        if self.orders[learner].as_ref().is_none_or(|(known, _)| *known != epoch) {
            self.orders[learner] = Some((epoch, self.order(learner, epoch)));
        }
        let order = self.orders[learner].as_ref().map_or([].as_slice(), |(_, order)| order.as_slice());
        order.chunks(per_step).nth(index).unwrap_or_default()
    }

    /// The next optimiser step of the learner whose turn it is.
    fn next_step(&mut self) -> StepWork {
        let counts = self.progress.counts;
        let learner = counts.ahead;
        let chosen = self.next_examples().to_vec();
        let dropout = Dropout::new(self.settings.dropout, self.settings.seed)
            .map(|dropout| dropout.of(learner as u64).of(counts.step as u64));
        let shape = Shape { batch: self.settings.batch, row_tokens: self.settings.row_tokens, dropout };
        let each = self.settings.rehearsal * self.settings.examples_per_step() as f64;
        let rehearsal = Rehearsal::of(self.rehearsal.as_ref());
        let rehearsed = rehearsal::chosen(counts.step, each, rehearsal.len(), self.settings.seed);
        let pool = Pool { train: &self.data.train, rehearsal };
        StepWork::new(&chosen, &rehearsed, pool, &self.progress.learners[learner].learnt, shape)
    }

    fn order(&self, learner: usize, epoch: usize) -> Vec<usize> {
        let mut judges = vec![false; self.data.train.len()];
        if self.progress.phase == Phase::Folds {
            self.folds[learner].iter().for_each(|index| judges[*index] = true);
        }
        let mut order: Vec<usize> = (0..judges.len()).filter(|index| !judges[*index]).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(self.settings.seed);
        rng.set_stream(((learner as u64) << 40) + epoch as u64 + 1);
        order.shuffle(&mut rng);
        order
    }

    fn train(&mut self, base: &Base) -> Result<TrainEvent, TrainError> {
        let pool = Pool { train: &self.data.train, rehearsal: Rehearsal::of(self.rehearsal.as_ref()) };
        let Activity::Training(work) = &mut self.activity else { return Ok(TrainEvent::Working) };
        let learner = &mut self.progress.learners[self.progress.counts.ahead];
        let config = base.decoder.config();
        let kept = |tokens: usize| self.settings.layers_kept(config, tokens);
        if !work.step(&base.decoder, &learner.learnt, pool, kept)? {
            return Ok(TrainEvent::Working);
        }
        let counts = &mut self.progress.counts;
        let examples = self.data.train.len();
        let learning_rate = self.settings.rate_at(counts.step + 1, examples);
        let rates = Rates {
            learning_rate,
            lora_plus: self.settings.lora_plus,
            weight_decay: self.settings.weight_decay,
            clip: self.settings.clip,
        };
        if !learner.update(work, rates)? {
            let step = counts.step + 1;
            return self.not_finite(base, step);
        }
        counts.ahead += 1;
        counts.ahead_loss += work.mean_loss();
        counts.ahead_tokens += work.tokens;
        self.activity = Activity::Between;
        if counts.ahead < self.progress.learners.len() {
            return Ok(TrainEvent::Working);
        }
        self.stepped(base, learning_rate)
    }

    /// All learners have done the step.
    fn stepped(&mut self, base: &Base, learning_rate: f64) -> Result<TrainEvent, TrainError> {
        let loss = self.progress.counts.ahead_loss / self.progress.learners.len() as f64;
        let far = self.progress.is_far(loss);
        let examples = self.data.train.len();
        let per_epoch = self.settings.steps_per_epoch(self.members(0));
        let interval = self.settings.evaluation_interval(examples);
        let progress = &mut self.progress;
        let counts = &mut progress.counts;
        let tokens = counts.ahead_tokens;
        counts.step += 1;
        counts.tokens += tokens;
        counts.window.0 += loss;
        counts.window.1 += 1;
        (counts.ahead, counts.ahead_loss, counts.ahead_tokens) = (0, 0.0, 0);
        counts.far_steps = if far { counts.far_steps + 1 } else { 0 };
        let step = counts.step;
        if let (Phase::All { steps }, Some(folds)) = (progress.phase, &progress.folds) {
            if step >= steps {
                counts.sampled = self.prompts.is_empty();
                progress.stopped = Some(StopReason::Folds {
                    folds: folds.losses.len(),
                    best_step: folds.best_step,
                    stopped_at: folds.steps,
                });
            }
        } else {
            counts.evaluated = !step.is_multiple_of(interval) && step < self.settings.steps(examples);
        }
        let event = TrainEvent::Step {
            step: self.step_number(),
            steps: self.steps(),
            epoch: step as f64 / per_epoch as f64,
            loss,
            learning_rate,
            tokens,
        };
        if self.progress.counts.far_steps >= FAR_STEPS {
            return self.diverged(base, event);
        }
        Ok(event)
    }

    fn sample(&mut self, base: &Base) -> Result<TrainEvent, TrainError> {
        let Activity::Sampling(by_base, answers) = &mut self.activity else { return Ok(TrainEvent::Working) };
        let by_base = *by_base;
        let Some(answers) = answers.step(base)? else { return Ok(TrainEvent::Working) };
        self.activity = Activity::Between;
        if by_base {
            let texts = answers.into_iter().map(|answer| answer.text).collect();
            self.progress.base_answers = Some(texts);
            return Ok(TrainEvent::Working);
        }
        self.progress.counts.sampled = true;
        let step = self.progress.counts.step;
        let best_step = self.progress.best_step();
        // What is the best so far may copy: then its figures say so. What is no better and copies ends the run.
        if step > best_step && self.progress.stopped.is_none() && self.copies(&answers) {
            let sign = MemorizationSign::Copies;
            self.end_phase(base, StopReason::Memorising { step, best_step, sign })?;
        }
        let known = self.progress.base_answers.as_deref().unwrap_or_default();
        let samples = self.prompts.pairs(known, answers);
        Ok(TrainEvent::Sampled { step, samples })
    }

    /// Whether answers stand in the training texts word for word.
    fn copies(&self, answers: &[Answer]) -> bool {
        let texts: Vec<&[u32]> = answers.iter().map(|answer| answer.tokens.as_slice()).collect();
        let found = copying(&texts, self.data.train.iter().map(|sample| sample.tokens.as_slice()));
        let common = final_metrics::common(&self.data);
        let figures = GuardFigures { heldout_copy_rate: common, ..GuardFigures::default() };
        figures.with_copies(&found).verdict() == Verdict::Memorising
    }

    /// The gap is measured on as many training examples as judge, in the first epoch's order.
    fn closing(&self, base: &Base) -> FinalMetrics {
        let most = self.data.judges().count().max(GAP_EXAMPLES);
        let group: Vec<usize> = self.order(0, 0).into_iter().take(most).collect();
        let len = |index: usize| self.data.train[index].tokens.len();
        let known = Evaluation::new(&[group], len, self.settings.row_tokens);
        let heldout = self.progress.best.as_ref().map(|best| best.losses.all);
        FinalMetrics::new(known, heldout, &self.prompts, &self.data, base, self.settings.sample_tokens)
    }

    fn close(&mut self, base: &Base) -> Result<TrainEvent, TrainError> {
        let Activity::FinalMetrics(closing) = &mut self.activity else { return Ok(TrainEvent::Working) };
        let Some(kept) = self.progress.kept() else { return Err(TrainError::Unfinished) };
        let Some(figures) = closing.step(base, kept, &self.data, &mut self.neutral)? else {
            return Ok(TrainEvent::Working);
        };
        self.activity = Activity::Between;
        self.progress.guard = Some(figures);
        Ok(TrainEvent::Working)
    }

    /// What a finished run keeps.
    pub fn kept(&self) -> Option<&TrainedWeights> {
        self.progress.kept()
    }

    /// What judges it.
    pub fn judges(&self) -> impl Iterator<Item = &Sample> {
        self.data.judges().map(|(sample, _)| sample)
    }

    /// What the run was given to learn, in its order.
    pub fn samples(&self) -> &[Sample] {
        &self.data.train
    }

    /// What is kept. After `Finished`; before it, the best that the run has reached.
    ///
    /// # Errors
    /// If not even the start has been evaluated, or cross-validation has not come to its end.
    pub fn finish(self) -> Result<Outcome, TrainError> {
        let steps = self.step_number();
        let mut progress = self.progress;
        let learnt = match progress.phase {
            Phase::Split => progress.best.as_mut().and_then(|best| best.learnt.take()),
            Phase::Folds => None,
            Phase::All { .. } => progress.learners.pop().map(|learner| learner.learnt),
        };
        let judges = self.data.judges().map(|(sample, _)| sample);
        let bag = worth::bag_loss(&self.data.train, judges, self.data.folds().is_some());
        let (Some(base_loss), Some(best), Some(learnt)) = (progress.base, progress.best, learnt) else {
            return Err(TrainError::Unfinished);
        };
        Ok(Outcome {
            learnt,
            best_step: best.step,
            steps,
            tokens: progress.counts.tokens,
            base_loss,
            start_loss: progress.start.unwrap_or(base_loss),
            best_loss: best.losses,
            train_loss: best.train_loss,
            reason: progress.stopped.unwrap_or(StopReason::NoGain { step: steps, best_step: best.step }),
            guard: progress.guard.unwrap_or_default(),
            futile: worth::futile(base_loss.all, best.losses.all, bag),
            folds: progress.folds,
        })
    }
}

mod own_answers;
#[cfg(test)]
mod tests;
