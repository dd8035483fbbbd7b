//! How much work each part of a run is, in units whose price a machine can be asked for. Counts only: no clock here.

use std::iter::Sum;
use std::ops::{Add, Mul};

use hotplate_engine::generate::MOST_TOGETHER;
use hotplate_engine::golden;
use hotplate_engine::sample::Sample;

use super::data::TrainData;
use super::final_metrics::OPENINGS;
use super::settings::TrainSettings;
use super::trainer::GAP_EXAMPLES;
use crate::guard::questions;
use crate::reference_samples::ReferenceSamples;
use crate::rehearsal;

/// Tokens of a neutral sample's opening, about; a chat template's words make it longer.
const NEUTRAL_OPENING: usize = 16;

/// Work of three kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Effort {
    /// Tokens that are learnt: forwards and back.
    pub learnt: f64,
    /// Tokens that are read: forwards.
    pub read: f64,
    /// Tokens that are written, one forward pass each for a few texts together.
    pub written: f64,
}

impl Effort {
    fn reading(tokens: usize) -> Effort {
        Effort { read: tokens as f64, ..Effort::default() }
    }

    fn writing(tokens: usize) -> Effort {
        Effort { written: tokens as f64, ..Effort::default() }
    }
}

impl Add for Effort {
    type Output = Effort;

    fn add(self, other: Effort) -> Effort {
        Effort {
            learnt: self.learnt + other.learnt,
            read: self.read + other.read,
            written: self.written + other.written,
        }
    }
}

impl Mul<f64> for Effort {
    type Output = Effort;

    fn mul(self, times: f64) -> Effort {
        Effort { learnt: self.learnt * times, read: self.read * times, written: self.written * times }
    }
}

impl Sum for Effort {
    fn sum<I: Iterator<Item = Effort>>(all: I) -> Effort {
        all.fold(Effort::default(), Add::add)
    }
}

/// What a base has written before.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// The texts that drift is measured on.
    pub neutral: bool,
    /// It chats: what was learnt is held against these texts at each look.
    pub chats: bool,
    /// The answers that are rehearsed.
    pub rehearsal: Option<&'a ReferenceSamples>,
}

impl Known<'_> {
    /// Tokens of an answer with its prompt, about.
    fn rehearsed_tokens(&self) -> f64 {
        let Some(written) = self.rehearsal else {
            return (NEUTRAL_OPENING + rehearsal::ANSWER_TOKENS) as f64;
        };
        let tokens: usize = written.samples.iter().map(|sample| sample.tokens.len()).sum();
        tokens as f64 / written.samples.len().max(1) as f64
    }
}

/// The parts of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Parts {
    /// One optimiser step of one learner.
    pub step: Effort,
    /// The base's answers to what is rehearsed and to what the guard asks, unless they are known.
    pub rehearsal: Effort,
    /// One look at the held-out examples; in cross-validation, by all folds.
    pub heldout: Effort,
    /// Answers to the recipe's prompts, once; the base's are written in addition, once.
    pub samples: Effort,
    /// The end, in its order: what is kept is measured on what it learnt, ...
    pub gap: Effort,
    /// ... writes, to see whether it copies, ...
    pub copies: Effort,
    /// ... the base writes texts of its own, unless they are known, ...
    pub neutral: Effort,
    /// ... on which the two are compared, ...
    pub drift: Effort,
    /// ... it answers the same questions, ...
    pub behaviour: Effort,
    /// ... every example's own loss is taken, ...
    pub own_losses: Effort,
    /// ... and the golden answers are written.
    pub goldens: Effort,
    /// Steps between two looks at the held-out examples, and of an epoch.
    pub interval: usize,
    pub per_epoch: usize,
}

impl Parts {
    /// `known`: what the base has written before.
    pub fn of(data: &TrainData, settings: &TrainSettings, known: Known<'_>) -> Parts {
        let tokens = |samples: &mut dyn Iterator<Item = &Sample>| -> usize {
            samples.map(|sample| sample.tokens.len()).sum()
        };
        let train = data.train.len().max(1);
        let all = tokens(&mut data.train.iter());
        let mean = all as f64 / train as f64;
        let judges = data.judges().count();
        let neutral_tokens = questions::ANSWERS * (questions::ANSWER_TOKENS + NEUTRAL_OPENING);
        // A learner of cross-validation does without its own fold.
        let members = data.folds().map_or(train, |folds| train - train / folds);
        let prompted = !settings.sample_prompts.is_empty();
        let rehearses = settings.rehearsal > 0.0;
        let neutral = if known.neutral {
            Effort::default()
        } else {
            Effort::writing(questions::ANSWER_TOKENS) + Effort::reading(questions::ANSWERS * NEUTRAL_OPENING)
        };
        // What might be the best is held against the base's own answers.
        let compared = if rehearses && known.chats { neutral_tokens } else { 0 };
        Parts {
            step: Effort {
                learnt: mean * settings.examples_per_step().min(members) as f64
                    + settings.rehearsal * settings.examples_per_step() as f64 * known.rehearsed_tokens(),
                ..Effort::default()
            },
            rehearsal: if rehearses && known.rehearsal.is_none() {
                let together = rehearsal::PROMPTS.div_ceil(MOST_TOGETHER);
                Effort::writing(rehearsal::ANSWER_TOKENS * together)
                    + Effort::reading(rehearsal::PROMPTS * NEUTRAL_OPENING)
                    + if known.chats { neutral } else { Effort::default() }
            } else {
                Effort::default()
            },
            heldout: Effort::reading(tokens(&mut data.judges().map(|(sample, _)| sample)) + compared),
            samples: if prompted { Effort::writing(settings.sample_tokens) } else { Effort::default() },
            gap: Effort::reading((mean * judges.max(GAP_EXAMPLES).min(train) as f64) as usize),
            copies: Effort::writing(settings.sample_tokens)
                + Effort::reading(
                    if prompted { settings.sample_prompts.len() } else { OPENINGS } * NEUTRAL_OPENING,
                ),
            neutral: if rehearses && known.chats { Effort::default() } else { neutral },
            drift: Effort::reading(2 * neutral_tokens),
            behaviour: Effort::writing(2 * questions::ANSWER_TOKENS)
                + Effort::reading(2 * questions::ANSWERS * NEUTRAL_OPENING),
            own_losses: Effort::reading(all),
            goldens: Effort::writing(golden::TOKENS)
                + Effort::reading(golden::PROMPTS * (golden::TOKENS + NEUTRAL_OPENING)),
            interval: settings.evaluation_interval(data.train.len()),
            per_epoch: settings.steps_per_epoch(members),
        }
    }

    /// Everything that comes when nothing more is learnt.
    pub fn end(&self) -> Effort {
        self.gap + self.copies + self.neutral + self.drift + self.behaviour + self.own_losses + self.goldens
    }

    /// All learners' work from `step` of a phase to its step `until`, with the looks at held-out examples and the answers that go with them.
    /// `judged`: held-out examples are looked at in this phase.
    pub fn steps(&self, step: usize, until: usize, learners: usize, judged: bool) -> Effort {
        let steps = until.saturating_sub(step);
        let learning = self.step * (steps * learners) as f64;
        if !judged || steps == 0 {
            return learning;
        }
        let interval = self.interval.max(1);
        // The last step is always judged.
        let looks =
            (until / interval).saturating_sub(step / interval) + usize::from(!until.is_multiple_of(interval));
        learning + (self.heldout + self.samples) * looks as f64
    }
}

#[cfg(test)]
mod tests {
    use crate::Validation;

    use super::*;
    use crate::test_base;

    #[test]
    fn the_parts_of_a_run_are_counted() {
        let data = test_base::data(12);
        let settings = TrainSettings { batch: 4, rehearsal: 0.0, ..test_base::settings() };
        let tokens: usize = data.train.iter().map(|sample| sample.tokens.len()).sum();
        let known = Known { neutral: true, ..Known::default() };
        let parts = Parts::of(&data, &settings, known);
        assert_eq!(parts.own_losses, Effort::reading(tokens));
        assert!((parts.step.learnt - 4.0 * tokens as f64 / data.train.len() as f64).abs() < 1e-9);
        assert_eq!(parts.neutral, Effort::default());
        assert!(Parts::of(&data, &settings, Known::default()).neutral.written > 0.0);
        // Ten steps with a look after every fourth one and after the last.
        let parts = Parts { interval: 4, ..parts };
        let ten = parts.steps(0, 10, 1, true);
        assert_eq!(ten, parts.step * 10.0 + parts.heldout * 3.0);
        assert_eq!(parts.steps(10, 10, 1, true), Effort::default());
        assert_eq!(parts.steps(0, 10, 5, false), parts.step * 50.0);
        // Half an answer of 16 + 32 tokens with each of four examples.
        let rehearsing = Parts::of(&data, &TrainSettings { rehearsal: 0.5, ..settings.clone() }, known);
        assert!((rehearsing.step.learnt - parts.step.learnt - 96.0).abs() < 1e-9);
        assert!(rehearsing.rehearsal.written > 0.0);
        let written = ReferenceSamples::default();
        let known = Known { rehearsal: Some(&written), ..known };
        let again = Parts::of(&data, &TrainSettings { rehearsal: 0.5, ..settings.clone() }, known);
        assert_eq!(again.rehearsal, Effort::default());
        // Folds judge all of what is learnt.
        let folds = TrainData { heldout: Validation::KFold(5), ..data };
        assert_eq!(Parts::of(&folds, &settings, known).heldout, Effort::reading(tokens));
    }
}
