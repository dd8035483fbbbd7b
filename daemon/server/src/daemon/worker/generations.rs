//! Answers being written: a round of one token each, in which those of one base go through it together.
//!
//! As long as somebody generates, training waits.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use hotplate_engine::base::Base;
use hotplate_engine::base_spec::{BaseSource, BaseSpec};
use hotplate_engine::generate::{
    Finish, GenerateError, Generation, GenerationEvent, MOST_TOGETHER, Turn, step_together,
};
use hotplate_engine::peft::Snapshot;
use hotplate_engine::sampling::SamplingOptions;
use hotplate_protocol::RpcError;
use hotplate_protocol::knobs::Quantize;
use hotplate_protocol::methods::generate::{FinishReason, GenerateResult, Sampling};

use super::WorkerEvent;
use super::bases::Bases;
use crate::daemon::feeding::FedExamples;
use crate::daemon::noticed::noticed;
use crate::daemon::quantise::asked_or;
use crate::daemon::resolve_model::named_by;
use crate::daemon::rpc_errors;
use crate::daemon::sessions::{RequestRef, SessionId};

const TEMPERATURE: f64 = 0.7;
const TOP_P: f64 = 0.95;
/// Tokens of an answer, where nobody says how many.
pub(crate) const MAX_TOKENS: usize = 256;

/// A request to write.
#[derive(Debug, Clone)]
pub(crate) struct GenerateJob {
    pub(crate) asker: RequestRef,
    pub(crate) source: BaseSource,
    /// The text side that made the prompt, and that reads the answer.
    pub(crate) text: Arc<BaseSpec>,
    pub(crate) adapter: Option<ResolvedAdapter>,
    /// How the answer names a base that is somebody's version.
    pub(crate) label: Option<String>,
    pub(crate) prompt: Vec<u32>,
    /// What of it are examples.
    pub(crate) fed: Option<FedExamples>,
    pub(crate) sampling: Sampling,
    pub(crate) arrived: Instant,
}

#[derive(Debug, Clone)]
pub(crate) enum BaseChoice {
    Given(BaseSource),
    /// The base that the adapter's folder names: one that is known by its fingerprint, or one that lies where its settings say; else
    /// another one, which the adapter may fit.
    OfAdapter {
        known: Vec<(String, BaseSource)>,
        otherwise: BaseSource,
        /// How it is to be quantised; `None`: as the adapter learnt.
        quantize: Option<Quantize>,
    },
}

impl BaseChoice {
    pub(crate) fn source(self, adapter: Option<&ResolvedAdapter>) -> BaseSource {
        match self {
            BaseChoice::Given(source) => source,
            BaseChoice::OfAdapter { known, otherwise, quantize } => {
                base_of(adapter, &known, otherwise, quantize)
            }
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct ResolvedAdapter {
    pub(crate) folder: PathBuf,
    /// How the answer names it.
    pub(crate) label: String,
}

/// A long prompt and those who write take turns, so that nobody waits for more than a part of it; and so do clients, however much each has asked.
#[derive(Default)]
pub(super) struct Generations {
    /// Have not read all of their prompts; a part at a time, by turns.
    reading: VecDeque<Active>,
    /// Write; those in front go first, and then to the back.
    writing: VecDeque<Active>,
    last: LastRound,
    turns: Turns,
}

/// When each client last had a turn.
#[derive(Default)]
struct Turns {
    now: u64,
    last: HashMap<SessionId, u64>,
}

impl Turns {
    /// Which of those that wait in this order go next, at most `most`: one of each client's in turn, beginning with the client that has waited longest.
    fn order(&self, waiting: &[SessionId], most: usize) -> Vec<usize> {
        let mut earlier: HashMap<SessionId, usize> = HashMap::new();
        let mut ranked: Vec<(usize, u64, usize)> = Vec::new();
        for (at, session) in waiting.iter().enumerate() {
            let nth = earlier.entry(*session).or_default();
            ranked.push((*nth, self.last.get(session).copied().unwrap_or(0), at));
            *nth += 1;
        }
        ranked.sort_unstable();
        ranked.into_iter().take(most).map(|(_, _, at)| at).collect()
    }

    fn note(&mut self, session: SessionId) {
        self.now += 1;
        self.last.insert(session, self.now);
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum LastRound {
    Read,
    #[default]
    Wrote,
}

struct Active {
    asker: RequestRef,
    source: BaseSource,
    base: Arc<Base>,
    generation: Generation,
    arrived: Instant,
    first_token: Option<Instant>,
    /// What the examples before the prompt answer.
    examples: Vec<Vec<u32>>,
    /// What is known already; the rest is filled in at the end.
    result: GenerateResult,
}

impl Generations {
    /// Loads what the answer needs and queues it.
    pub(super) fn add(&mut self, job: GenerateJob, bases: &mut Bases, report: &dyn Fn(WorkerEvent)) {
        let asker = job.asker.clone();
        let started = catch_unwind(AssertUnwindSafe(|| Active::start(job, bases, report)))
            .unwrap_or_else(|panic| Err(rpc_errors::of_panic("the request", &*panic)));
        match started {
            Ok(active) => self.queue(active),
            Err(error) => report(WorkerEvent::Generated { asker, result: Err(error) }),
        }
    }

    pub(super) fn cancel(&mut self, asker: &RequestRef) {
        self.keep(|active| active.asker != *asker);
    }

    pub(super) fn cancel_session(&mut self, session: SessionId) {
        self.keep(|active| active.asker.session != session);
        self.turns.last.remove(&session);
    }

    fn keep(&mut self, wanted: impl Fn(&Active) -> bool) {
        self.reading.retain(&wanted);
        self.writing.retain(&wanted);
    }

    fn queue(&mut self, active: Active) {
        match active.generation.turn(&active.base) {
            Turn::Reads => self.reading.push_back(active),
            Turn::Writes | Turn::Ends => self.writing.push_back(active),
        }
    }

    /// One forward pass, of one answer that reads or of several that write; false if there is none.
    pub(super) fn step(&mut self, bases: &mut Bases, report: &dyn Fn(WorkerEvent)) -> bool {
        let mut round = self.next_round();
        let Some(base) = round.first().map(|active| Arc::clone(&active.base)) else { return false };
        let mut answers: Vec<&mut Generation> =
            round.iter_mut().map(|active| &mut active.generation).collect();
        match catch_unwind(AssertUnwindSafe(|| step_together(&base, &mut answers))) {
            Ok(events) => {
                for (active, event) in round.into_iter().zip(events) {
                    self.advance(active, event, bases, report);
                }
            }
            Err(panic) => {
                let error = rpc_errors::of_panic("the answer", &*panic);
                for active in round {
                    report(WorkerEvent::Generated { asker: active.asker, result: Err(error.clone()) });
                }
            }
        }
        true
    }

    /// Who goes through the base next; of one base, and nobody where nobody is left.
    fn next_round(&mut self) -> Vec<Active> {
        let reads = self.writing.is_empty() || (self.last == LastRound::Wrote && !self.reading.is_empty());
        self.last = if reads { LastRound::Read } else { LastRound::Wrote };
        let queue = if reads { &mut self.reading } else { &mut self.writing };
        // One base goes through a round: that of whoever has waited longest.
        let sessions: Vec<SessionId> = queue.iter().map(|active| active.asker.session).collect();
        let Some(base) = self.turns.order(&sessions, 1).first().map(|at| Arc::clone(&queue[*at].base)) else {
            return Vec::new();
        };
        let (fit, others): (VecDeque<Active>, VecDeque<Active>) =
            std::mem::take(queue).into_iter().partition(|active| Arc::ptr_eq(&active.base, &base));
        let sessions: Vec<SessionId> = fit.iter().map(|active| active.asker.session).collect();
        let chosen = self.turns.order(&sessions, if reads { 1 } else { MOST_TOGETHER });
        let mut round = Vec::new();
        *queue = others;
        for (at, active) in fit.into_iter().enumerate() {
            if chosen.contains(&at) { round.push(active) } else { queue.push_back(active) }
        }
        for active in &round {
            self.turns.note(active.asker.session);
        }
        round
    }

    fn advance(
        &mut self,
        mut active: Active,
        event: Result<GenerationEvent, GenerateError>,
        bases: &mut Bases,
        report: &dyn Fn(WorkerEvent),
    ) {
        let asker = active.asker.clone();
        match event {
            Ok(GenerationEvent::Reading) => self.queue(active),
            Ok(GenerationEvent::Delta { text, token_ids }) => {
                active.note(&text, &token_ids);
                report(WorkerEvent::Delta { asker, text, token_ids });
                self.queue(active);
            }
            Ok(GenerationEvent::Done { finish, text, token_ids }) => {
                active.note(&text, &token_ids);
                if !text.is_empty() || !token_ids.is_empty() {
                    report(WorkerEvent::Delta { asker: asker.clone(), text, token_ids });
                }
                bases.touch(&active.source);
                report(WorkerEvent::Generated { asker, result: Ok(active.finish(finish)) });
            }
            Err(error) => {
                report(WorkerEvent::Generated { asker, result: Err(rpc_errors::of_generation(&error)) });
            }
        }
    }
}

impl Active {
    fn start(job: GenerateJob, bases: &mut Bases, report: &dyn Fn(WorkerEvent)) -> Result<Active, RpcError> {
        let base = bases.get(&job.source, &job.text, report)?;
        let adapter = match &job.adapter {
            Some(pick) => Some(bases.adapter(&pick.folder, &base.text)?),
            None => None,
        };
        let options = options(&job.sampling, &base.text);
        let (told, examples) = job.fed.map(|fed| (fed.told, fed.answers)).unzip();
        let result = GenerateResult {
            text: String::new(),
            token_ids: Vec::new(),
            finish_reason: FinishReason::Length,
            prompt_tokens: job.prompt.len(),
            seed: options.seed,
            adapter: job.adapter.map(|pick| pick.label).or(job.label),
            base: base.text.name.clone(),
            fed: told,
            noticed: Vec::new(),
            first_token_ms: 0.0,
            tokens_per_second: 0.0,
        };
        let generation = Generation::new(&base, adapter, job.prompt, options)
            .map_err(|error| rpc_errors::of_generation(&error))?;
        Ok(Active {
            asker: job.asker,
            source: job.source,
            base,
            generation,
            arrived: job.arrived,
            first_token: None,
            examples: examples.unwrap_or_default(),
            result,
        })
    }

    fn note(&mut self, text: &str, token_ids: &[u32]) {
        self.first_token.get_or_insert_with(Instant::now);
        self.result.text.push_str(text);
        self.result.token_ids.extend_from_slice(token_ids);
    }

    fn finish(self, finish: Finish) -> GenerateResult {
        let first = self.first_token.unwrap_or_else(Instant::now);
        let later = self.result.token_ids.len().saturating_sub(1);
        let seconds = first.elapsed().as_secs_f64();
        GenerateResult {
            finish_reason: match finish {
                Finish::Stop => FinishReason::Stop,
                Finish::Length => FinishReason::Length,
            },
            first_token_ms: first.saturating_duration_since(self.arrived).as_secs_f64() * 1e3,
            tokens_per_second: if later > 0 && seconds > 0.0 { later as f64 / seconds } else { 0.0 },
            noticed: noticed(&self.base.text, &self.result, &self.examples),
            ..self.result
        }
    }
}

/// Our own file beside an adapter tells the fingerprint of its base.
fn base_of(
    pick: Option<&ResolvedAdapter>,
    known: &[(String, BaseSource)],
    otherwise: BaseSource,
    quantize: Option<Quantize>,
) -> BaseSource {
    let own = pick.and_then(|pick| Snapshot::read(&pick.folder).ok().flatten());
    let found = known.iter().find(|(known, _)| own.as_ref().is_some_and(|own| own.fingerprint == *known));
    let named = || pick.and_then(|pick| named_by(&pick.folder));
    let base = found.map(|(_, source)| source.clone()).or_else(named).unwrap_or(otherwise);
    base.quantised(asked_or(quantize, own.and_then(|own| own.quantise)))
}

/// What the request leaves open is the base's choice, then ours.
fn options(sampling: &Sampling, text: &BaseSpec) -> SamplingOptions {
    let base = &text.generation;
    SamplingOptions {
        temperature: sampling.temperature.or(base.temperature).unwrap_or(TEMPERATURE),
        top_p: sampling.top_p.or(base.top_p).unwrap_or(TOP_P),
        top_k: sampling.top_k.or(base.top_k).unwrap_or(0),
        repetition_penalty: sampling.repetition_penalty.or(base.repetition_penalty).unwrap_or(1.0),
        seed: sampling.seed.unwrap_or_else(random_seed),
        max_tokens: sampling.max_tokens.unwrap_or(MAX_TOKENS),
        stop: sampling.stop.clone(),
        ignore_eos: sampling.ignore_eos,
    }
}

/// Small enough for every JSON reader to give back as it is.
fn random_seed() -> u64 {
    // The standard library seeds its hash maps from the system's randomness.
    RandomState::new().build_hasher().finish() & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each of these goes in so many rounds of `most`, if all of them go on.
    fn served(sessions: &[u64], rounds: usize, most: usize) -> Vec<usize> {
        let mut turns = Turns::default();
        let mut queue: Vec<(usize, SessionId)> =
            sessions.iter().enumerate().map(|(at, session)| (at, SessionId(*session))).collect();
        let mut counts = vec![0; sessions.len()];
        for _ in 0..rounds {
            let waiting: Vec<SessionId> = queue.iter().map(|(_, session)| *session).collect();
            let chosen = turns.order(&waiting, most);
            let (round, rest): (Vec<_>, Vec<_>) =
                queue.iter().enumerate().partition(|(at, _)| chosen.contains(at));
            for (_, (at, session)) in &round {
                counts[*at] += 1;
                turns.note(*session);
            }
            queue = rest.into_iter().chain(round).map(|(_, entry)| *entry).collect();
        }
        counts
    }

    #[test]
    fn a_client_with_many_requests_does_not_starve_one_with_a_single_one() {
        let mut sessions = vec![1; 64];
        sessions.push(2);
        let counts = served(&sessions, 100, 16);
        assert_eq!(counts[64], 100, "it is in every round");
        assert!(
            counts[..64].iter().all(|count| (22..=25).contains(count)),
            "and the others by turns: {counts:?}"
        );
        // Of prompts, one at a time is read.
        assert_eq!(served(&sessions, 100, 1)[64], 50);
        let three = served(&[1, 1, 1, 2, 3], 300, 1);
        assert_eq!((three[0] + three[1] + three[2], three[3], three[4]), (100, 100, 100));
        assert_eq!(served(&[1, 1], 10, 16), [10, 10]);
    }
}
