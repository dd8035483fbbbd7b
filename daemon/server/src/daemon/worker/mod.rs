//! The one thread that owns the tensors: a generated token goes first, then a layer of training, then rest.
//!
//! A closed list of commands in, a closed list of reports out. It must not know sessions' connections, the store or watching.

mod bases;
mod generations;
mod packing;
pub(crate) mod priority;
mod probing;
mod scorings;
mod training;
mod verifications;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bases::Bases;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, unbounded};
use generations::Generations;
pub(crate) use generations::{BaseChoice, GenerateJob, MAX_TOKENS, ResolvedAdapter};
use hotplate_dataset::ExampleId;
use hotplate_engine::base::Base;
use hotplate_engine::base_spec::{BaseSource, BaseSpec};
use hotplate_engine::device::Device;
use hotplate_engine::golden::{Golden, GoldenWriter};
use hotplate_protocol::RpcError;
use hotplate_protocol::methods::generate::GenerateResult;
use hotplate_protocol::methods::score::{ScoreResult, ScoredExample};
use hotplate_protocol::methods::verify::VerifyResult;
use hotplate_protocol::run::{RunEvent, RunId, RunWork};
use hotplate_train::guard::Moved;
use hotplate_train::reference_samples::ReferenceSamples;
use hotplate_train::{Losses, Outcome};
use priority::Pools;
use probing::Probing;
use scorings::Scorings;
pub(crate) use scorings::{ExampleLocation, ScoreJob};
pub(crate) use training::{Rival, TrainJob, figures};
use training::{Training, WORD_EVERY, working};
use verifications::Verifications;
pub(crate) use verifications::VerifyJob;

use super::alarm::{self, Doing, Pulse};
use super::events::Event;
use super::file_pool::{FilePool, Wanted};
use super::removal::Removal;
use super::rpc_errors;
use super::runs::prepare::RunJob;
use super::runs::reckon::Prices;
use super::sessions::{RequestRef, SessionId};
use super::settings::Settings;

pub(crate) enum WorkerJob {
    Generate(Box<GenerateJob>),
    /// Gives up an answer or a scoring.
    CancelGenerate(RequestRef),
    /// Does an adapter still answer as it did?
    Verify(Box<VerifyJob>),
    /// Its client has left: its answers end.
    SessionLeft(SessionId),
    Score(RequestRef, Box<ScoreJob>),
    Train(Box<TrainJob>),
    CancelTrain(RunId),
    /// Ends a run in order, with the best so far.
    FinishTrain(RunId),
    /// What does work on this run's base take?
    Measure(Box<Wanted>),
    CancelMeasure(RequestRef),
    /// Versions that went: everything that came before this has what it needs of their files.
    LetGo(Removal),
    /// Save the run in progress, and end.
    Stop,
}

pub(crate) enum WorkerEvent {
    Delta { asker: RequestRef, text: String, token_ids: Vec<u32> },
    Generated { asker: RequestRef, result: Result<GenerateResult, RpcError> },
    ScoredExample { asker: RequestRef, example: ScoredExample },
    Scored { asker: RequestRef, result: Result<ScoreResult, RpcError> },
    Verified { asker: RequestRef, result: Result<VerifyResult, RpcError> },
    Training { run: RunId, news: News },
    Measured { wanted: Box<Wanted>, prices: Option<Prices> },
    Loaded { source: BaseSource, text: Arc<BaseSpec>, bytes: u64, parameters: u64 },
    Used { source: BaseSource },
    Unloaded { source: BaseSource },
    LetGo(Removal),
    Stopped,
}

/// What happened in a run.
#[expect(clippy::large_enum_variant, reason = "an event lives for one hand-over")]
pub(crate) enum News {
    /// A step or a note, as clients hear of it.
    Event(RunEvent),
    Evaluated {
        step: usize,
        losses: Losses,
        best: bool,
        moved: Option<Moved>,
    },
    Finished(Box<Trained>),
    Failed(RpcError),
}

/// A run's fruit, with its times.
pub(crate) struct Trained {
    pub(crate) outcome: Outcome,
    pub(crate) job: RunJob,
    pub(crate) text: Arc<BaseSpec>,
    pub(crate) tokens_per_second: f64,
    /// What the next plan reckons with.
    pub(crate) prices: Option<Prices>,
    pub(crate) seconds: f64,
    pub(crate) goldens: Vec<Golden>,
    /// Of every example that was learnt or replayed: its own loss with what is kept.
    pub(crate) losses: Vec<(ExampleId, f64)>,
    /// Of the version that a run nobody asked for must not make worse.
    pub(crate) rival_loss: Option<f64>,
    /// Drawn in this run; `None`: they were known.
    pub(crate) neutral: Option<Arc<ReferenceSamples>>,
    pub(crate) rehearsal: Option<Arc<ReferenceSamples>>,
}

/// The main loop's side of the thread.
pub(crate) struct Worker {
    commands: Sender<WorkerJob>,
    pulse: Arc<Pulse>,
}

/// The thread's.
pub(crate) const NAME: &str = "worker";

impl Worker {
    pub(crate) fn start(
        file_pool: &Arc<FilePool>,
        device: Device,
        settings: &Settings,
        events: &Sender<Event>,
    ) -> std::io::Result<Worker> {
        let (commands, received) = unbounded();
        let (events, for_alarm) = (events.clone(), events.clone());
        let pulse = Arc::new(Pulse::default());
        let mut work = Work {
            pulse: Arc::clone(&pulse),
            file_pool: Arc::clone(file_pool),
            bases: Bases::new(device, file_pool),
            generations: Generations::default(),
            verifications: Verifications::default(),
            goldens: None,
            scorings: Scorings::default(),
            training: None,
            probing: VecDeque::new(),
            pools: Pools::default(),
            model_ttl: settings.model_ttl,
            checkpoint: settings.checkpoint,
            last_tidy: Instant::now(),
            report: Box::new(move |report| {
                // The main loop outlives this thread, except while the process ends.
                let _ = events.send(Event::Worker(report));
            }),
        };
        // What can panic is guarded where it is called; an alarm is for what nobody thought of.
        alarm::spawn(NAME.to_owned(), &for_alarm, move || work.run(&received))?;
        Ok(Worker { commands, pulse })
    }

    /// What a person should know of it.
    pub(crate) fn problem(&self) -> Option<String> {
        self.pulse.problem()
    }

    pub(crate) fn send(&self, command: WorkerJob) {
        let _ = self.commands.send(command);
    }
}

struct Work {
    pulse: Arc<Pulse>,
    file_pool: Arc<FilePool>,
    bases: Bases,
    generations: Generations,
    verifications: Verifications,
    /// A run that is over, and writes its golden answers.
    goldens: Option<WritingGoldens>,
    scorings: Scorings,
    training: Option<Training>,
    /// One after the other.
    probing: VecDeque<Probing>,
    pools: Pools,
    model_ttl: Duration,
    checkpoint: Duration,
    last_tidy: Instant,
    report: Box<dyn Fn(WorkerEvent) + Send>,
}

enum Flow {
    GoOn,
    End,
}

const TIDY_EVERY: Duration = Duration::from_secs(1);
/// Whether a client has read what it was told.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Work {
    fn run(&mut self, commands: &Receiver<WorkerJob>) {
        loop {
            match commands.try_recv() {
                Ok(command) => match self.take(command) {
                    Flow::GoOn => continue,
                    Flow::End => return,
                },
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            if self.last_tidy.elapsed() >= TIDY_EVERY {
                self.tidy();
            }
            // Somebody waits for text; scores and a run share what is left, a layer each.
            self.pulse.beat(Doing::Answering);
            let answering = self.generations.step(&mut self.bases, &*self.report);
            // What comes below takes longer than copying the weights.
            if self.bases.materialize(answering) || answering {
                continue;
            }
            self.pulse.beat(Doing::Scoring);
            let scored = self.scorings.step(&mut self.bases, &*self.report);
            let verified = self.verifications.step(&mut self.bases, &*self.report);
            self.pulse.beat(Doing::Training);
            let probed = self.probe();
            if self.write_goldens() || self.train() || scored || verified || probed {
                continue;
            }
            self.pulse.beat(Doing::Nothing);
            let wake = self.bases.next_unload(self.model_ttl).map_or(Duration::from_hours(1), |at| {
                at.saturating_duration_since(Instant::now()).max(Duration::from_millis(10))
            });
            let wake = if self.scorings.are_waiting() { wake.min(LOOK_AGAIN) } else { wake };
            match commands.recv_timeout(wake) {
                Ok(command) => match self.take(command) {
                    Flow::GoOn => {}
                    Flow::End => return,
                },
                Err(RecvTimeoutError::Timeout) => self.tidy(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn tidy(&mut self) {
        self.last_tidy = Instant::now();
        self.bases.unload_unused(self.model_ttl, &*self.report);
        self.file_pool.texts.forget_unused(self.model_ttl);
    }

    fn take(&mut self, command: WorkerJob) -> Flow {
        self.pulse.beat(Doing::Beginning);
        let report = &*self.report;
        match command {
            WorkerJob::Generate(job) => self.generations.add(*job, &mut self.bases, report),
            WorkerJob::Verify(job) => self.verifications.add(*job, &mut self.bases, report),
            WorkerJob::CancelGenerate(asker) => {
                self.verifications.cancel(&asker);
                self.generations.cancel(&asker);
                self.scorings.cancel(&asker);
            }
            WorkerJob::SessionLeft(session) => {
                self.verifications.cancel_session(session);
                self.generations.cancel_session(session);
                self.scorings.cancel_session(session);
            }
            WorkerJob::Score(asker, job) => {
                self.scorings.add(asker, *job, &mut self.bases, report);
            }
            WorkerJob::Train(job) => {
                let run = job.run;
                match Training::start(*job, &mut self.bases, &mut self.pools, report) {
                    Ok(training) => self.training = Some(training),
                    Err(error) => report(WorkerEvent::Training { run, news: News::Failed(error) }),
                }
            }
            WorkerJob::CancelTrain(run) => {
                if self.training.as_ref().is_some_and(|training| training.run == run) {
                    self.training = None;
                }
                if self.goldens.as_ref().is_some_and(|writing| writing.run == run) {
                    self.goldens = None;
                }
            }
            WorkerJob::FinishTrain(run) => {
                // One that is being measured or written ends anyway.
                if let Some(training) = self.training.as_mut().filter(|training| training.run == run) {
                    training.ask_to_finish();
                    let text = "it ends early, as asked: what it has learnt is judged, and the best is kept"
                        .to_owned();
                    report(WorkerEvent::Training { run, news: News::Event(RunEvent::Note { text }) });
                }
            }
            WorkerJob::Measure(wanted) => {
                let source = wanted.prepared.job.order.source();
                let started = match self.bases.get(&source, &wanted.prepared.text, report) {
                    Ok(base) => Probing::start(wanted, base, &mut self.pools),
                    Err(error) => Err((wanted, error)),
                };
                match started {
                    Ok(probing) => self.probing.push_back(probing),
                    Err((wanted, error)) => {
                        tracing::warn!(error = error.message, "the speed could not be measured");
                        report(WorkerEvent::Measured { wanted, prices: None });
                    }
                }
            }
            WorkerJob::CancelMeasure(asker) => self.probing.retain(|probing| probing.wanted.asker != asker),
            WorkerJob::LetGo(removal) => {
                self.bases.forget(&removal.folders);
                report(WorkerEvent::LetGo(removal));
            }
            WorkerJob::Stop => {
                if let Some(training) = &mut self.training {
                    training.save();
                }
                report(WorkerEvent::Stopped);
                return Flow::End;
            }
        }
        Flow::GoOn
    }

    /// A layer of what is being timed; false if nothing is.
    fn probe(&mut self) -> bool {
        let Some(probing) = self.probing.front_mut() else { return false };
        let Some(measured) = probing.step() else { return true };
        if let Some(Probing { wanted, .. }) = self.probing.pop_front() {
            let prices = measured
                .inspect_err(|error| tracing::warn!(error = error.message, "the speed could not be measured"))
                .ok();
            (self.report)(WorkerEvent::Measured { wanted, prices });
        }
        true
    }

    /// A layer of the run in progress; false if there is none.
    fn train(&mut self) -> bool {
        let Some(training) = &mut self.training else { return false };
        let run = training.run;
        let (news, over) = training.step(self.checkpoint);
        let mut failed = false;
        for news in news {
            failed |= matches!(news, News::Failed(_));
            (self.report)(WorkerEvent::Training { run, news });
        }
        if over && let Some(training) = self.training.take() {
            self.bases.touch(&training.source);
            if !failed {
                let (base, prompts) = training.golden_prompts();
                match training.finish() {
                    News::Finished(trained) => {
                        let adapter = trained.outcome.learnt.adapter().cloned().map(Arc::new);
                        // A whole base of its own is no adapter: it has nobody to be compared with.
                        let prompts = if adapter.is_some() { prompts } else { Vec::new() };
                        let writer = GoldenWriter::new(adapter, prompts);
                        let said = Instant::now();
                        self.goldens = Some(WritingGoldens { run, base, writer, trained, said });
                    }
                    news => (self.report)(WorkerEvent::Training { run, news }),
                }
            }
        }
        true
    }

    /// One forward pass of the golden answers of a run that is over; false if there is none.
    fn write_goldens(&mut self) -> bool {
        let Some(writing) = &mut self.goldens else { return false };
        let stepped = catch_unwind(AssertUnwindSafe(|| writing.writer.step(&writing.base)));
        let goldens = match stepped {
            Ok(Ok(None)) => {
                if writing.said.elapsed() >= WORD_EVERY {
                    writing.said = Instant::now();
                    let (done, of) = writing.writer.progress();
                    let news = working(RunWork::Goldens, done, of, None);
                    (self.report)(WorkerEvent::Training { run: writing.run, news });
                }
                return true;
            }
            Ok(Ok(Some(goldens))) => goldens,
            // The version is worth more than its goldens.
            Ok(Err(error)) => {
                tracing::warn!(run = writing.run.0, %error, "the golden answers could not be written");
                Vec::new()
            }
            Err(panic) => {
                rpc_errors::of_panic("writing golden answers", &*panic);
                Vec::new()
            }
        };
        if let Some(mut writing) = self.goldens.take() {
            writing.trained.goldens = goldens;
            let news = News::Finished(writing.trained);
            (self.report)(WorkerEvent::Training { run: writing.run, news });
        }
        true
    }
}

/// A run that is over; its golden answers are being written.
struct WritingGoldens {
    run: RunId,
    base: Arc<Base>,
    writer: GoldenWriter,
    trained: Box<Trained>,
    /// When that was last said.
    said: Instant,
}
