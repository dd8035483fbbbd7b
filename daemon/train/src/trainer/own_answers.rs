//! What the base answers of its own: drawn before the first step, rehearsed along with the examples, and held against what was learnt.

use std::sync::Arc;

use hotplate_engine::base::Base;

use super::{Activity, Trainer};
use crate::TrainError;
use crate::data::Losses;
use crate::event::TrainEvent;
use crate::guard::{Drift, Moved, questions};
use crate::reference_samples::{ReferenceSamples, ReferenceSampling};
use crate::rehearsal::{self, Rehearsal};
use crate::work::{Work, WorkKind};

/// What a drawing is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// What is rehearsed.
    Rehearsal,
    /// What the guard asks.
    Questions,
}

/// The base answers, once.
pub(super) struct Drawing {
    purpose: Purpose,
    drawing: ReferenceSampling,
}

/// What was learnt is held against the base's own answers before it may be the best.
pub(super) struct Comparing {
    drift: Drift,
    pub(super) losses: Losses,
    pub(super) each: Vec<f64>,
}

impl Comparing {
    pub(super) fn work(&self) -> Work {
        let (done, of) = self.drift.progress();
        Work { kind: WorkKind::Drift, done, of }
    }
}

impl Trainer {
    /// What the base must answer before the first step can be done. Without rehearsal nobody asks for its answers before the end.
    pub(super) fn must_draw(&self) -> Option<Purpose> {
        if self.settings.rehearsal <= 0.0 {
            None
        } else if self.rehearsal.is_none() {
            Some(Purpose::Rehearsal)
        } else {
            (self.chats && self.neutral.is_none()).then_some(Purpose::Questions)
        }
    }

    pub(super) fn drawing(base: &Base, purpose: Purpose) -> Result<Drawing, TrainError> {
        let drawing = match purpose {
            Purpose::Rehearsal => rehearsal::drawing(base),
            Purpose::Questions => questions::drawing(base),
        }?;
        Ok(Drawing { purpose, drawing })
    }

    /// Both drawings are one piece of work.
    pub(super) fn drawing_work(&self, drawing: &Drawing) -> Work {
        let (done, of) = drawing.drawing.progress();
        let first = rehearsal::PROMPTS * rehearsal::ANSWER_TOKENS;
        let second = questions::ANSWERS * questions::ANSWER_TOKENS;
        let (before, after) = match drawing.purpose {
            Purpose::Rehearsal if self.chats && self.neutral.is_none() => (0, second),
            Purpose::Questions if self.drew_rehearsal => (first, 0),
            Purpose::Rehearsal | Purpose::Questions => (0, 0),
        };
        Work { kind: WorkKind::Rehearsal, done: before + done, of: before + of + after }
    }

    pub(super) fn draw(&mut self, base: &Base) -> Result<TrainEvent, TrainError> {
        let Activity::Drawing(drawing) = &mut self.activity else { return Ok(TrainEvent::Working) };
        let Some(written) = drawing.drawing.step(base)? else { return Ok(TrainEvent::Working) };
        let purpose = drawing.purpose;
        self.activity = Activity::Between;
        let answers = written.samples.len();
        match purpose {
            Purpose::Rehearsal => {
                self.drew_rehearsal = true;
                self.set_rehearsal(Arc::new(written));
                Ok(TrainEvent::Rehearsed { answers })
            }
            Purpose::Questions => {
                self.set_neutral(Arc::new(written));
                Ok(TrainEvent::Working)
            }
        }
    }

    /// A candidate for the best is held against the base's own answers where those are to stay: a base that does not chat gives none, and what it writes freely
    /// may well be in the voice that was learnt.
    pub(super) fn compare(
        &mut self,
        losses: Losses,
        each: Vec<f64>,
    ) -> Result<Comparing, (Losses, Vec<f64>)> {
        let Some(neutral) = self.neutral.as_ref().filter(|_| self.chats && self.settings.rehearsal > 0.0)
        else {
            return Err((losses, each));
        };
        if !self.progress.may_be_best(&losses, self.settings.margin) {
            return Err((losses, each));
        }
        let drift = self.drift.take().unwrap_or_else(|| Drift::new(neutral));
        Ok(Comparing { drift, losses, each })
    }

    /// How far the first learner has moved the base, once that is known.
    pub(super) fn compared(&mut self, base: &Base) -> Result<Option<(Comparing, Option<Moved>)>, TrainError> {
        let Activity::Comparing(comparing) = &mut self.activity else { return Ok(None) };
        let learnt = &self.progress.learners[0].learnt;
        let decoder = learnt.decoder(&base.decoder);
        let Some(moved) = comparing.drift.step(&base.decoder, decoder, learnt.adapter())? else {
            return Ok(None);
        };
        let activity = std::mem::replace(&mut self.activity, Activity::Between);
        let Activity::Comparing(comparing) = activity else { return Ok(None) };
        Ok(Some((*comparing, moved)))
    }

    /// What the base thinks of its own answers is known by now.
    pub(super) fn keep(&mut self, comparing: Comparing) -> (Losses, Vec<f64>) {
        self.drift = Some(comparing.drift);
        (comparing.losses, comparing.each)
    }

    /// The base's own answers, drawn once per base. Without them the run draws them before its first step.
    pub fn set_rehearsal(&mut self, written: Arc<ReferenceSamples>) {
        self.rehearsal = Some(Rehearsal::new(written));
    }

    /// For the next run on the same base.
    pub fn rehearsal(&self) -> Option<&Arc<ReferenceSamples>> {
        self.rehearsal.as_ref().map(|rehearsal| &rehearsal.written)
    }

    /// The base's own answers to what the guard asks, drawn once per base. Without them the run draws them.
    pub fn set_neutral(&mut self, samples: Arc<ReferenceSamples>) {
        self.neutral = Some(samples);
    }

    /// For the next run on the same base.
    pub fn neutral(&self) -> Option<&Arc<ReferenceSamples>> {
        self.neutral.as_ref()
    }
}
