//! The guard figures of what a run keeps, measured once it has ended: gap, copying, drift.
//!
//! Owns what is asked of the kept version, not what the figures mean; that is [`crate::guard`]'s matter.
//!
//! Measured once, on what is kept: the gap with dropout off on as many training examples as judge, copying on four continuations, drift, agreement, loops and
//! leaks on the guard's own questions.

use std::sync::Arc;

use hotplate_engine::answers::Question;
use hotplate_engine::base::Base;
use hotplate_engine::sample::Sample;
use hotplate_engine::sampling::SamplingOptions;

use super::TrainError;
use super::data::TrainData;
use super::evaluation::Evaluation;
use super::samples::{Prompts, SampleAnswers};
use super::trained_weights::TrainedWeights;
use super::work::{Work, WorkKind};
use crate::guard::{CopyCheck, Drift, GuardFigures, behaviour, copying::copying, questions};
use crate::reference_samples::{ReferenceSample, ReferenceSamples, ReferenceSampling};

/// Openings that are continued where the recipe names no prompts.
pub(super) const OPENINGS: usize = 4;
/// Tokens of a text without a prompt that serve as its opening.
const OPENING_TOKENS: usize = 4;
/// Held-out examples whose own copying is measured, at most.
const COMMON: usize = 32;

pub(crate) struct FinalMetrics {
    stage: Stage,
    prompts: Prompts,
    figures: GuardFigures,
    heldout_loss: Option<f64>,
}

enum Stage {
    Gap(Box<Evaluation>),
    Copies(Box<SampleAnswers>),
    Neutral(Box<ReferenceSampling>),
    Drift(Box<Drift>),
    /// What is kept answers the same questions.
    Behaviour(Box<SampleAnswers>),
    Done,
}

impl FinalMetrics {
    /// `known`: an evaluation of training examples. `prompts` are the recipe's; where it has none, the judging examples begin the samples.
    pub(crate) fn new(
        known: Evaluation,
        heldout_loss: Option<f64>,
        prompts: &Prompts,
        data: &TrainData,
        base: &Base,
        sample_tokens: usize,
    ) -> FinalMetrics {
        let prompts = if prompts.is_empty() {
            let context = base.decoder.config().context;
            Prompts::of_tokens(openings(data, context.saturating_sub(sample_tokens)), sample_tokens)
        } else {
            prompts.clone()
        };
        let figures = GuardFigures {
            heldout_copy_rate: common(data),
            asked: base.text.chats(),
            ..GuardFigures::default()
        };
        FinalMetrics { stage: Stage::Gap(Box::new(known)), prompts, figures, heldout_loss }
    }

    pub(crate) fn work(&self) -> Work {
        let of = |kind, (done, of)| Work { kind, done, of };
        match &self.stage {
            Stage::Gap(evaluation) => evaluation.work(WorkKind::Gap),
            Stage::Copies(answers) => answers.work(WorkKind::Copies),
            Stage::Neutral(drawing) => of(WorkKind::Neutral, drawing.progress()),
            Stage::Drift(drift) => of(WorkKind::Drift, drift.progress()),
            Stage::Behaviour(answers) => answers.work(WorkKind::Behaviour),
            Stage::Done => of(WorkKind::Behaviour, (1, 1)),
        }
    }

    /// About one layer, or one forward pass of an answer; the figures after the last. `neutral` are the base's own samples; where there are
    /// none yet they are drawn and left there.
    pub(crate) fn step(
        &mut self,
        base: &Base,
        kept: &TrainedWeights,
        data: &TrainData,
        neutral: &mut Option<Arc<ReferenceSamples>>,
    ) -> Result<Option<GuardFigures>, TrainError> {
        match &mut self.stage {
            Stage::Gap(evaluation) => {
                let example = |index: usize| (&data.train[index], false);
                let Some(known) = evaluation.step(&base.decoder, |_| Some(kept), example)? else {
                    return Ok(None);
                };
                let gap = self.heldout_loss.map(|heldout| heldout - known.losses.all);
                self.figures.gap = gap.filter(|gap| gap.is_finite());
                self.stage = Stage::Copies(Box::new(SampleAnswers::new(base, Some(kept), &self.prompts)));
            }
            Stage::Copies(answers) => {
                let Some(answers) = answers.step(base)? else { return Ok(None) };
                let texts: Vec<&[u32]> = answers.iter().map(|answer| answer.tokens.as_slice()).collect();
                let found = copying(&texts, data.train.iter().map(|sample| sample.tokens.as_slice()));
                self.figures = self.figures.with_copies(&found);
                self.stage = match neutral {
                    Some(samples) => Stage::Drift(Box::new(Drift::new(samples))),
                    None => Stage::Neutral(Box::new(questions::drawing(base)?)),
                };
            }
            Stage::Neutral(drawing) => {
                let Some(samples) = drawing.step(base)? else { return Ok(None) };
                self.stage = Stage::Drift(Box::new(Drift::new(&samples)));
                *neutral = Some(Arc::new(samples));
            }
            Stage::Drift(drift) => {
                let decoder = kept.decoder(&base.decoder);
                let Some(found) = drift.step(&base.decoder, decoder, kept.adapter())? else {
                    return Ok(None);
                };
                self.figures = self.figures.with_moved(found);
                let asked =
                    neutral.as_ref().map(|neutral| asked(neutral, base.text.chats())).unwrap_or_default();
                self.stage = Stage::Behaviour(Box::new(SampleAnswers::asked(base, Some(kept), asked)));
            }
            Stage::Behaviour(answers) => {
                let Some(answers) = answers.step(base)? else { return Ok(None) };
                let answers: Vec<&[u32]> = answers.iter().map(|answer| answer.tokens.as_slice()).collect();
                let usual: Vec<&[u32]> =
                    neutral.iter().flat_map(|neutral| &neutral.samples).map(ReferenceSample::own).collect();
                // Greedy answers go round in circles more often than drawn ones: like is held against like.
                let alike = answers.len().min(usual.len());
                self.figures.loops = behaviour::loops(&answers[..alike]);
                self.figures.base_loops = behaviour::loops(&usual);
                // A text that is only begun may well go on in the voice that was learnt.
                if base.text.chats() {
                    self.figures.leaks = behaviour::leaks(&answers, &data.train, &usual);
                }
                self.stage = Stage::Done;
            }
            Stage::Done => return Ok(Some(self.figures)),
        }
        Ok(None)
    }
}

/// The guard's questions as they are put to what was learnt: where a base chats, for the likeliest answer and for a drawn one, else for a drawn text.
fn asked(neutral: &ReferenceSamples, chats: bool) -> Vec<Question> {
    let most = questions::ANSWER_TOKENS;
    let prompts = neutral.samples.iter().map(|sample| sample.prompt().to_vec());
    let drawn = prompts.clone().enumerate().map(|(number, prompt)| {
        let options = SamplingOptions { seed: number as u64, max_tokens: most, ..SamplingOptions::default() };
        Question { prompt, options }
    });
    let greedy = prompts.filter(|_| chats).map(|prompt| Question::greedy(prompt, most));
    greedy.chain(drawn).collect()
}

/// What stands before the first token that carries loss, or where all do, the first few tokens; of so many different examples.
fn openings(data: &TrainData, longest: usize) -> Vec<Vec<u32>> {
    let mut found: Vec<Vec<u32>> = Vec::new();
    for (sample, _) in data.judges() {
        let first = sample.supervised.iter().position(|carries| *carries).unwrap_or(sample.tokens.len());
        let opening = sample.tokens.get(..first.max(OPENING_TOKENS)).unwrap_or(&sample.tokens);
        if !opening.is_empty() && opening.len() < longest && !found.iter().any(|known| known == opening) {
            found.push(opening.to_vec());
        }
        if found.len() == OPENINGS {
            break;
        }
    }
    found
}

/// How much of the held-out examples stands in the training texts anyway; `None` where nothing is held out.
pub(crate) fn common(data: &TrainData) -> Option<f64> {
    if data.folds().is_some() {
        return None;
    }
    let own = |sample: &Sample| -> Vec<u32> {
        let carried = sample.tokens.iter().zip(&sample.supervised).filter(|(_, carries)| **carries);
        carried.map(|(token, _)| *token).collect()
    };
    let texts: Vec<Vec<u32>> = data.judges().take(COMMON).map(|(sample, _)| own(sample)).collect();
    let mut check = CopyCheck::new(&texts);
    for (index, sample) in data.train.iter().enumerate() {
        check.read(index, &sample.tokens);
    }
    check.figures().rate
}
