//! Texts being scored: a layer at a time, one request after another.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use hotplate_engine::base::Base;
use hotplate_engine::base_spec::{BaseError, BaseSource, BaseSpec, Sample};
use hotplate_engine::lora::Adapter;
use hotplate_engine::score::{Score, ScoreEvent, Scoring, Wanted};
use hotplate_protocol::methods::score::{HeldOutScored, ScoreResult, ScoredExample, ScoredToken};
use hotplate_protocol::{ErrorCode, RpcError};

use super::WorkerEvent;
use super::bases::Bases;
use super::generations::ResolvedAdapter;
use crate::daemon::rpc_errors;
use crate::daemon::sessions::{Pace, RequestRef, SessionId};

/// Examples that are ready to be scored.
pub(crate) struct ScoreJob {
    pub(crate) source: BaseSource,
    pub(crate) adapter: Option<ResolvedAdapter>,
    /// The text side that made the samples.
    pub(crate) text: Arc<BaseSpec>,
    pub(crate) samples: Vec<Sample>,
    /// Where each sample stands.
    pub(crate) places: Vec<ExampleLocation>,
    pub(crate) left_out: usize,
    /// Where they are held-out examples.
    pub(crate) heldout: Option<HeldOutScored>,
    /// Each example is told, and nothing of it may be left out.
    pub(crate) pace: Pace,
}

pub(crate) struct ExampleLocation {
    pub(crate) file: PathBuf,
    pub(crate) lines: (usize, usize),
}

#[derive(Default)]
pub(super) struct Scorings {
    active: VecDeque<Active>,
}

struct Active {
    asker: RequestRef,
    source: BaseSource,
    base: Arc<Base>,
    adapter: Option<Arc<Adapter>>,
    places: Vec<ExampleLocation>,
    scoring: Scoring,
    pace: Pace,
    loss_sum: f64,
    result: ScoreResult,
}

impl Scorings {
    pub(super) fn add(
        &mut self,
        asker: RequestRef,
        job: ScoreJob,
        bases: &mut Bases,
        report: &dyn Fn(WorkerEvent),
    ) {
        let started = catch_unwind(AssertUnwindSafe(|| Active::start(asker.clone(), job, bases, report)))
            .unwrap_or_else(|panic| Err(rpc_errors::of_panic("the request", &*panic)));
        match started {
            Ok(active) => self.active.push_back(active),
            Err(error) => report(WorkerEvent::Scored { asker, result: Err(error) }),
        }
    }

    pub(super) fn cancel(&mut self, asker: &RequestRef) {
        self.active.retain(|active| active.asker != *asker);
    }

    pub(super) fn cancel_session(&mut self, session: SessionId) {
        self.active.retain(|active| active.asker.session != session);
    }

    /// Some wait for their client to read.
    pub(super) fn are_waiting(&self) -> bool {
        !self.active.is_empty()
    }

    /// A layer of one scoring; false if there is none.
    pub(super) fn step(&mut self, bases: &mut Bases, report: &dyn Fn(WorkerEvent)) -> bool {
        // Whoever does not read what has been scored waits.
        let ready = self.active.iter().position(|active| !active.pace.is_behind());
        let Some(mut active) = ready.and_then(|at| self.active.remove(at)) else { return false };
        let asker = active.asker.clone();
        let stepped = catch_unwind(AssertUnwindSafe(|| active.step(report)))
            .unwrap_or_else(|panic| Err(rpc_errors::of_panic("scoring", &*panic)));
        match stepped {
            Ok(false) => self.active.push_back(active),
            Ok(true) => {
                bases.touch(&active.source);
                report(WorkerEvent::Scored { asker, result: Ok(active.finish()) });
            }
            Err(error) => report(WorkerEvent::Scored { asker, result: Err(error) }),
        }
        true
    }
}

impl Active {
    fn start(
        asker: RequestRef,
        job: ScoreJob,
        bases: &mut Bases,
        report: &dyn Fn(WorkerEvent),
    ) -> Result<Active, RpcError> {
        let base = bases.get(&job.source, &job.text, report)?;
        let adapter = match &job.adapter {
            Some(pick) => Some(bases.adapter(&pick.folder, &base.text)?),
            None => None,
        };
        let result = ScoreResult {
            examples: job.samples.len(),
            left_out: job.left_out,
            loss: None,
            perplexity: None,
            supervised_tokens: 0,
            tokens: 0,
            heldout: job.heldout,
            adapter: job.adapter.map(|pick| pick.label),
            base: base.text.name.clone(),
        };
        Ok(Active {
            asker,
            source: job.source,
            base,
            adapter,
            places: job.places,
            // What stands before a held-out example is read, and not judged.
            scoring: Scoring::new(
                job.samples,
                if job.heldout.is_some() { Wanted::Supervised } else { Wanted::All },
            ),
            pace: job.pace,
            loss_sum: 0.0,
            result,
        })
    }

    /// True when all are scored.
    fn step(&mut self, report: &dyn Fn(WorkerEvent)) -> Result<bool, RpcError> {
        let event = self.scoring.step(&self.base.decoder, self.adapter.as_deref());
        let failed = |error: &dyn std::fmt::Display| {
            RpcError::new(ErrorCode::Internal, format!("scoring failed: {error}"))
        };
        match event.map_err(|error| failed(&error))? {
            ScoreEvent::Working => Ok(false),
            ScoreEvent::Done => Ok(true),
            ScoreEvent::Scored(scores) => {
                for score in scores {
                    self.loss_sum += score.loss_sum;
                    self.result.supervised_tokens += score.supervised_tokens;
                    self.result.tokens += score.logprobs.len();
                    let example = self.example(&score).map_err(|error| failed(&error))?;
                    report(WorkerEvent::ScoredExample { asker: self.asker.clone(), example });
                }
                Ok(false)
            }
        }
    }

    fn example(&self, score: &Score) -> Result<ScoredExample, BaseError> {
        let sample = &self.scoring.samples()[score.sample];
        let place = &self.places[score.sample];
        let texts = self.base.text.token_texts(&sample.tokens)?;
        let tokens = sample.tokens.iter().zip(texts).enumerate().map(|(at, (id, text))| ScoredToken {
            id: *id,
            text,
            logprob: score.logprobs[at],
            supervised: at > 0 && sample.supervised[at],
        });
        Ok(ScoredExample {
            file: place.file.clone(),
            line: place.lines.0,
            last_line: place.lines.1,
            loss: score.loss(),
            supervised_tokens: score.supervised_tokens,
            truncated: sample.truncated,
            tokens: tokens.collect(),
        })
    }

    fn finish(self) -> ScoreResult {
        let tokens = self.result.supervised_tokens;
        let loss = (tokens > 0).then(|| self.loss_sum / tokens as f64);
        ScoreResult { loss, perplexity: loss.map(f64::exp), ..self.result }
    }
}
