//! How long a run takes: the engine counts its work, a machine's prices make seconds of it. Pure; what was measured is given.

use hotplate_protocol::run::Plan;
use hotplate_train::effort::{Effort, Parts};
use hotplate_train::forecast::Look;
use hotplate_train::{Pace, TrainSettings, Work, WorkKind};

/// Reading against learning, and writing against reading, where only one was measured.
const READ_PER_LEARNT: f64 = 1.0 / 3.0;
const WRITTEN_PER_READ: f64 = 12.0;
/// How much of the last measurements each new one leaves: the machine is not always as busy.
const KEPT: f64 = 0.85;

/// Seconds for a unit of each kind of [`Effort`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Prices {
    pub(crate) learnt: f64,
    pub(crate) read: f64,
    pub(crate) written: f64,
}

impl Prices {
    pub(crate) fn of(&self, effort: Effort) -> f64 {
        self.learnt * effort.learnt + self.read * effort.read + self.written * effort.written
    }
}

/// A price that is measured again and again, the newest counting most.
#[derive(Debug, Clone, Copy, Default)]
struct Measured {
    seconds: f64,
    units: f64,
}

impl Measured {
    fn of(price: f64, units: f64) -> Measured {
        Measured { seconds: price * units, units }
    }

    fn add(&mut self, seconds: f64, units: f64) {
        if units > 0.0 {
            (self.seconds, self.units) = (KEPT * self.seconds + seconds, KEPT * self.units + units);
        }
    }

    fn price(&self) -> Option<f64> {
        (self.units > 0.0).then(|| self.seconds / self.units)
    }
}

/// The prices of a run in progress.
///
/// Reading and writing are measured against learning, not in seconds: they come seldom, learning comes all the time, and a machine that has become
/// busier is so for all three.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter {
    learnt: Measured,
    read_per_learnt: Measured,
    written_per_learnt: Measured,
    /// Steps that were measured here.
    steps: usize,
    known: bool,
}

impl Meter {
    /// `known`: what was measured before counts as one step of `parts`.
    pub(crate) fn new(known: Option<Prices>, parts: &Parts) -> Meter {
        let Some(prices) = known else { return Meter::default() };
        let per_learnt = |price: f64| price / prices.learnt.max(f64::MIN_POSITIVE);
        Meter {
            learnt: Measured::of(prices.learnt, parts.step.learnt),
            read_per_learnt: Measured::of(per_learnt(prices.read), parts.heldout.read),
            written_per_learnt: Measured::of(per_learnt(prices.written), parts.copies.written),
            steps: 0,
            known: true,
        }
    }

    /// An optimiser step.
    pub(crate) fn learnt(&mut self, seconds: f64, tokens: usize) {
        // The first one also warms up what the later ones find warm.
        if self.steps == 1 && !self.known {
            self.learnt = Measured::default();
        }
        self.steps += 1;
        if self.known && self.steps == 1 {
            return;
        }
        self.learnt.add(seconds, tokens as f64);
    }

    /// Some texts. What comes before the first step may have met a cold base, and does not count.
    pub(crate) fn read(&mut self, seconds: f64, effort: Effort) {
        if let Some(learnt) = self.warm_price() {
            self.read_per_learnt.add(seconds / learnt, effort.read);
        }
    }

    pub(crate) fn written(&mut self, seconds: f64, effort: Effort) {
        let Some(learnt) = self.warm_price() else { return };
        // What was read on the way is no part of it.
        let reading = self.read_per_learnt.price().unwrap_or(0.0) * learnt * effort.read;
        self.written_per_learnt.add((seconds - reading).max(0.1 * seconds) / learnt, effort.written);
    }

    /// Seconds for a token that is learnt, once this machine has done so here.
    fn warm_price(&self) -> Option<f64> {
        self.learnt.price().filter(|price| self.steps > 0 && *price > 0.0)
    }

    /// `None`: nothing has been learnt yet, and nobody knew before.
    pub(crate) fn prices(&self) -> Option<Prices> {
        let learnt = self.learnt.price()?;
        let read = self.read_per_learnt.price().unwrap_or(READ_PER_LEARNT);
        let written = self.written_per_learnt.price().unwrap_or(WRITTEN_PER_READ * read);
        Some(Prices { learnt, read: read * learnt, written: written * learnt })
    }
}

/// What a run is reckoned by, besides its prices.
#[derive(Debug, Clone)]
pub(crate) struct Reckoning {
    pub(crate) parts: Parts,
    pub(crate) settings: TrainSettings,
    /// Training examples, as the engine counts them.
    pub(crate) examples: usize,
    /// Parts of cross-validation; `None`: some examples are held out.
    pub(crate) folds: Option<usize>,
    /// The run goes on from a version.
    pub(crate) incremental: bool,
    /// How alike its examples are: the trigrams that those which judge share with the others.
    pub(crate) overlap: f64,
}

impl Reckoning {
    fn likely(&self) -> usize {
        self.settings.likely_steps(self.examples, self.incremental, self.overlap)
    }

    /// The whole run, if it stops at `steps`.
    fn whole(&self, steps: usize) -> Effort {
        let Parts { step, heldout, samples, .. } = self.parts;
        // The base, the version to start from, and the base's answers to the prompts.
        let looks = if self.incremental { 2.0 } else { 1.0 };
        let before = heldout * looks + samples + self.parts.rehearsal;
        let learners = self.folds.unwrap_or(1);
        let after = self.folds.map_or(Effort::default(), |_| step * self.best_of(steps) as f64);
        before + self.parts.steps(0, steps, learners, true) + after + self.parts.end()
    }

    /// The best step of a run that stops at `steps`, probably.
    fn best_of(&self, steps: usize) -> usize {
        steps.saturating_sub(self.settings.steps_after_best(self.examples)).max(steps.div_ceil(2))
    }

    /// How many of the likely steps end in time; one at least, for a run that does none keeps nothing.
    fn likely_within(&self, prices: &Prices, seconds: f64) -> usize {
        let (mut fits, mut over) = (1, self.likely() + 1);
        while over - fits > 1 {
            let middle = usize::midpoint(fits, over);
            if prices.of(self.whole(middle)) <= seconds { fits = middle } else { over = middle }
        }
        fits
    }

    /// Fills in what a plan says about time.
    pub(crate) fn fill(&self, plan: &mut Plan, prices: Option<Prices>, minutes: Option<f64>) {
        plan.likely_steps = match prices.zip(minutes) {
            Some((prices, minutes)) => self.likely_within(&prices, 60.0 * minutes),
            None => self.likely(),
        };
        let within = |seconds: f64| minutes.map_or(seconds, |most| seconds.min(60.0 * most));
        let seconds = |steps| prices.map(|prices| within(prices.of(self.whole(steps))));
        plan.seconds = seconds(plan.likely_steps);
        plan.seconds_at_most = seconds(plan.steps);
    }

    /// The step of its phase at which the run will stop, as far as its curve tells by now.
    fn until(&self, pace: &Pace, looks: &[Look]) -> usize {
        if pace.after_folds || self.incremental {
            return pace.steps;
        }
        let gained = pace.gained_step;
        // The looks of before an interruption are not known. Without them, two in a row that bring nothing are taken for the beginning of the end.
        let known = looks.iter().any(|look| look.step == gained);
        let likely = if known || pace.without_gain < 2 { self.likely() } else { 0 };
        let until = self.settings.stops_at(self.examples, likely, gained, looks);
        until.clamp((pace.step + 1).min(pace.steps), pace.steps)
    }

    /// What is left of the run; `work` is what it is at, `looks` are those at the held-out examples so far.
    pub(crate) fn left(&self, pace: &Pace, work: &Work, looks: &[Look]) -> Effort {
        let Parts {
            step, heldout, samples, gap, copies, neutral, drift, behaviour, own_losses, goldens, ..
        } = self.parts;
        let open = if work.of == 0 { 0.0 } else { 1.0 - work.done as f64 / work.of as f64 };
        let end = [gap, copies, neutral, drift, behaviour, own_losses + goldens];
        // The stages of the end that are still to come, the present one in part.
        let ending = |at: usize| -> Effort {
            end.get(at).map_or(Effort::default(), |now| *now * open)
                + end.get(at + 1..).unwrap_or_default().iter().copied().sum::<Effort>()
        };
        match work.kind {
            WorkKind::Gap => return ending(0),
            WorkKind::Copies => return ending(1),
            WorkKind::Neutral => return ending(2),
            WorkKind::Drift if pace.stopped => return ending(3),
            WorkKind::Behaviour => return ending(4),
            WorkKind::Drift
            | WorkKind::Learning
            | WorkKind::HeldOut
            | WorkKind::Samples
            | WorkKind::Rehearsal => {}
        }
        let until = if pace.stopped { pace.step } else { self.until(pace, looks) };
        let mut left =
            self.parts.steps(pace.step, until, pace.learners, !pace.after_folds) + self.parts.end();
        if self.folds.is_some() && !pace.after_folds {
            left = left + step * self.best_of(until) as f64;
        }
        match work.kind {
            WorkKind::Rehearsal => return left + self.parts.rehearsal * open,
            _ if pace.to_rehearse => left = left + self.parts.rehearsal,
            _ => {}
        }
        match work.kind {
            WorkKind::HeldOut | WorkKind::Drift => left + heldout * open + samples,
            WorkKind::Samples => left + samples * open,
            // The step in progress is among those that are left.
            _ if until > pace.step => left + step * (-(1.0 - open) * pace.learners as f64),
            _ => left,
        }
    }

    /// What it takes to end the run in order from here on.
    pub(crate) fn tail(&self, pace: &Pace, work: &Work) -> Effort {
        if pace.stopped {
            return self.left(pace, work, &[]);
        }
        let Parts { step, heldout, samples, .. } = self.parts;
        // All folds come to the same step first, and then as many steps are done again as did best.
        let after = match self.folds {
            Some(_) if !pace.after_folds => {
                step * (pace.learners
                    + pace.best_step.unwrap_or(0).max(if pace.unjudged { pace.step } else { 0 }))
                    as f64
            }
            _ => Effort::default(),
        };
        let judging = if pace.after_folds { Effort::default() } else { heldout };
        judging + samples + after + self.parts.end()
    }

    /// What is left once nothing more than the examples' own losses and the golden answers is to come.
    pub(crate) fn last(&self, own_losses_open: f64) -> Effort {
        self.parts.own_losses * own_losses_open + self.parts.goldens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reckoning(folds: Option<usize>) -> Reckoning {
        let tokens = |read: f64| Effort { read, ..Effort::default() };
        let parts = Parts {
            step: Effort { learnt: 100.0, ..Effort::default() },
            heldout: tokens(300.0),
            gap: tokens(300.0),
            copies: Effort { written: 60.0, ..Effort::default() },
            own_losses: tokens(2700.0),
            interval: 7,
            per_epoch: 27,
            ..Parts::default()
        };
        let settings = TrainSettings { epochs: 12, batch: 4, ..TrainSettings::default() };
        Reckoning { parts, settings, examples: 108, folds, incremental: false, overlap: 0.4 }
    }

    fn pace(step: usize, best_step: usize, without_gain: usize) -> Pace {
        Pace {
            step,
            best_step: Some(best_step),
            gained_step: best_step,
            without_gain,
            steps: 324,
            learners: 1,
            after_folds: false,
            unjudged: false,
            stopped: false,
            to_rehearse: false,
        }
    }

    const LEARNING: Work = Work { kind: WorkKind::Learning, done: 0, of: 1 };

    #[test]
    fn what_is_left_shrinks_from_the_plan_to_nothing() {
        let reckoning = reckoning(None);
        let prices = Prices { learnt: 0.01, read: 0.003, written: 0.02 };
        let left = |pace: &Pace, work: &Work| prices.of(reckoning.left(pace, work, &[]));
        let likely = reckoning.likely();
        assert!((60..150).contains(&likely), "{likely}");
        // From the first step on as the plan says, less the look at the base.
        let whole = prices.of(reckoning.whole(likely));
        let first = left(&pace(0, 0, 0), &LEARNING);
        assert!((whole - first - 0.9).abs() < 1e-9, "{whole} {first}");
        assert!(left(&pace(40, 35, 0), &LEARNING) < first);
        // A loss that rises: it will stop an epoch after its best.
        let looks = [(0, 3.4), (7, 3.2), (14, 3.05), (21, 3.0), (28, 3.1), (35, 3.2)];
        let looks = looks.map(|(step, loss)| Look { step, loss });
        assert_eq!(reckoning.until(&pace(35, 21, 2), &looks), 21 + 28);
        // Looks of before an interruption are not known; the best one is.
        assert_eq!(reckoning.until(&pace(likely + 20, likely + 14, 0), &[]), likely + 14 + 28);
        assert_eq!(reckoning.until(&pace(323, 320, 0), &[]), 324);
        assert_eq!(reckoning.until(&pace(49, 35, 2), &[]), 35 + 28);
        // Half of a step, half of a look.
        let half = Work { kind: WorkKind::Learning, done: 1, of: 2 };
        assert!((left(&pace(40, 35, 0), &LEARNING) - left(&pace(40, 35, 0), &half) - 0.5).abs() < 1e-9);
        let stopped = Pace { stopped: true, ..pace(112, 84, 4) };
        let end = prices.of(reckoning.parts.end());
        assert!((left(&stopped, &LEARNING) - end).abs() < 1e-9);
        let copying = Work { kind: WorkKind::Copies, done: 30, of: 60 };
        assert!((left(&stopped, &copying) - (0.6 + 8.1)).abs() < 1e-9);
    }

    #[test]
    fn a_run_that_must_end_by_then_does_fewer_steps() {
        let reckoning = reckoning(None);
        let prices = Prices { learnt: 0.01, read: 0.003, written: 0.02 };
        let whole = |steps| prices.of(reckoning.whole(steps));
        let likely = reckoning.likely();
        assert_eq!(reckoning.likely_within(&prices, whole(likely)), likely);
        assert_eq!(reckoning.likely_within(&prices, 10.0 * whole(likely)), likely);
        let half = reckoning.likely_within(&prices, whole(likely) / 2.0);
        assert!(whole(half) <= whole(likely) / 2.0 && whole(half + 1) > whole(likely) / 2.0, "{half}");
        assert_eq!(reckoning.likely_within(&prices, 0.0), 1);
    }

    #[test]
    fn the_first_step_and_one_off_work_are_no_part_of_the_rate() {
        let parts = reckoning(None).parts;
        let mut meter = Meter::new(None, &parts);
        assert_eq!(meter.prices(), None);
        meter.read(9.0, parts.heldout);
        meter.learnt(5.0, 100);
        meter.learnt(1.0, 100);
        let close = |one: f64, other: f64| (one - other).abs() < 1e-9;
        assert!(close(meter.prices().unwrap().learnt, 0.01), "{meter:?}");
        meter.read(0.9, parts.heldout);
        assert!(close(meter.prices().unwrap().read, 0.003), "{meter:?}");
        meter.learnt(2.0, 100);
        let slower = meter.prices().unwrap().learnt;
        assert!(slower > 0.015 && slower < 0.02, "{slower}");
        // Whatever makes learning slower makes reading slower.
        assert!(close(meter.prices().unwrap().read, 0.3 * slower), "{meter:?}");
        // What is known counts until something is measured.
        let known = Prices { learnt: 0.02, read: 0.004, written: 0.1 };
        let mut meter = Meter::new(Some(known), &parts);
        assert_eq!(meter.prices(), Some(known));
        meter.read(50.0, parts.heldout);
        meter.learnt(50.0, 100);
        assert_eq!(meter.prices(), Some(known), "{meter:?}");
        meter.learnt(1.0, 100);
        assert!(meter.prices().unwrap().learnt < 0.02);
    }

    #[test]
    fn an_end_in_order_takes_its_time_and_after_folds_all_is_learnt() {
        let prices = Prices { learnt: 0.01, read: 0.003, written: 0.02 };
        let tail = |folds, pace: &Pace| prices.of(reckoning(folds).tail(pace, &LEARNING));
        let end = prices.of(reckoning(None).parts.end());
        assert!((tail(None, &pace(10, 7, 0)) - end - 0.9).abs() < 1e-9);
        let folds = Pace { learners: 5, ..pace(10, 7, 0) };
        assert!((tail(Some(5), &folds) - end - 0.9 - 12.0).abs() < 1e-9);
        let all = Pace { after_folds: true, ..pace(3, 7, 0) };
        assert!((tail(Some(5), &all) - end).abs() < 1e-9);
    }
}
