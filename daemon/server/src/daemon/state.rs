//! The daemon's state and the one loop that changes it.
//!
//! Owns the order of things: an event comes, its handler changes the state, and nobody else does. Nothing here waits for a client,
//! a tensor or a slow disk (but for the store's commits).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::arithmetic;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use hotplate_engine::base_spec::{BaseSource, BaseSpec, late_templates};
use hotplate_protocol::methods::initialize::Initialize;
use hotplate_protocol::methods::status::Status;
use hotplate_protocol::notifications::{GenerateDeltaParams, RunEventParams, ScoreExampleParams};
use hotplate_protocol::{ErrorCode, Id, Request, RequestKind, RpcError};
use serde_json::Value;

use super::events::Event;
use super::file_pool::{FileJobs, FilePool, Gone, OnLeaving};
use super::idle::Idle;
use super::runs::Runs;
use super::runs::train_request::DatasetTarget;
use super::sessions::{Pace, RequestRef, Seat, Session, SessionId, no_place, urgent};
use super::settings::Settings;
use super::store::Store;
use super::watch::Watcher;
use super::watching::Watched;
use super::worker::{NAME as WORKER, Worker, WorkerEvent, WorkerJob};
use super::{log, methods, process, rpc_errors};

pub(crate) struct Daemon {
    pub(crate) settings: Settings,
    pub(crate) started: Instant,
    pub(crate) file_pool: Arc<FilePool>,
    pub(crate) store: Store,
    pub(crate) sessions: HashMap<SessionId, Session>,
    pub(crate) runs: Runs,
    /// By folder.
    pub(crate) watches: BTreeMap<PathBuf, Watched>,
    /// Runs that were given up because the daemon died as it prepared them.
    pub(crate) suspended_runs: HashSet<DatasetTarget>,
    /// Bases in memory.
    pub(crate) models: HashMap<BaseSource, Model>,
    /// From the request until its reply.
    pub(crate) generating: HashMap<RequestRef, Gone>,
    pub(crate) scoring: HashMap<RequestRef, Gone>,
    /// Requests whose folder the file pool reads.
    pub(crate) reading: HashMap<RequestRef, (Gone, OnLeaving)>,
    /// Plans whose steps are being timed.
    pub(crate) measuring: HashSet<RequestRef>,
    /// Requests that were cancelled while the file pool had them.
    pub(crate) cancelled: HashSet<RequestRef>,
    pub(crate) worker: Worker,
    pub(crate) file_jobs: FileJobs,
    pub(crate) watcher: Watcher,
    /// Why the daemon ends, and why the one before it did, where it is a fault.
    pub(crate) fault: Option<String>,
    pub(crate) fault_before: Option<(String, String)>,
    /// Since when chat templates do not end, and the process's memory then.
    pub(crate) late: Option<(Instant, u64)>,
    pub(crate) stopping: Stopping,
    pub(crate) idle: Idle,
}

#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) text: Arc<BaseSpec>,
    pub(crate) bytes: u64,
    pub(crate) parameters: u64,
    pub(crate) used: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopping {
    No,
    /// When no run is left.
    WhenIdle,
    /// The worker saves the run in progress; the daemon ends when that is done, or at this time.
    Now {
        deadline: Instant,
    },
}

/// How often the clocks are looked at.
const TICK: Duration = Duration::from_millis(500);
/// What the worker may take to finish a layer or a token and to save.
const SAVE_WITHIN: Duration = Duration::from_secs(20);
/// A template that does not end may go on that long, and take so many bytes, while nobody is served.
const LATE_TIME: Duration = Duration::from_mins(1);
const LATE_MEMORY: u64 = 1 << 30;
/// What clients may take to read their last messages.
const DRAIN_WITHIN: Duration = Duration::from_secs(1);

impl Daemon {
    /// Runs until the daemon is to end.
    pub(crate) fn run(mut self, events: &Receiver<Event>) {
        let mut next_tick = Instant::now() + TICK;
        loop {
            match events.recv_deadline(next_tick) {
                Ok(Event::Worker(WorkerEvent::Stopped)) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(event) => {
                    // A fault in one handler must not end everybody's sessions.
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.handle(event))) {
                        rpc_errors::of_panic("an event", &*panic);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + TICK;
                log::tick();
                self.tick(now);
            }
            if let Stopping::Now { deadline } = self.stopping
                && now >= deadline
            {
                tracing::warn!(
                    "the run in progress could not be saved in time; it goes on from its last saved state"
                );
                break;
            }
        }
        self.end();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Joined { session, outbox, in_flight, seat, at } => {
                self.sessions.insert(session, Session::new(outbox, in_flight, seat, at));
            }
            Event::Request { session, request, arrived } => self.request(session, request, arrived),
            Event::Cancel { session, id } => self.cancel(session, id),
            Event::Left { session } => self.left(session),
            Event::Answered { asker, outcome } => {
                self.reading.remove(&asker);
                self.cancelled.remove(&asker);
                self.reply(&asker, outcome);
            }
            Event::TextsRead { asker, result } => self.texts_read(&asker, result),
            Event::OrderTaken { asker, purpose, result } => {
                self.reading.remove(&asker);
                self.order_taken(asker, purpose, result);
            }
            Event::WatchTaken { asker, result } => {
                self.reading.remove(&asker);
                self.watch_taken(&asker, result);
            }
            Event::Looked { watch, saves, result } => self.looked(&watch, saves, result),
            Event::Prepared { run, result } => self.prepared(run, result),
            Event::VersionWritten { run, draft, result } => self.version_written(run, &draft, result),
            Event::Imported { asker, result } => self.imported(&asker, result),
            Event::ThreadDied { thread, why } => self.thread_died(&thread, &why),
            Event::VersionChecked { asker, result } => self.version_checked(&asker, result),
            Event::Discarded(removal) => self.discarded(removal),
            Event::Worker(report) => self.report(report),
            Event::Watch(news) => self.watch_news(news),
            Event::Signal => {
                tracing::info!("asked to end by the system");
                self.stop_now();
            }
        }
    }

    fn request(&mut self, session: SessionId, request: Request, arrived: Instant) {
        let Some(asking) = self.sessions.get_mut(&session) else { return };
        let id = request.id.clone();
        if !asking.open(&id) {
            let message = "a request with this id is still open on this connection; use another id";
            asking.complain(id, RpcError::new(ErrorCode::InvalidRequest, message));
            return;
        }
        let (greeted, seat) = (asking.protocol.is_some(), asking.seat);
        let asker = RequestRef { session, id };
        if !greeted && request.method != Initialize::METHOD {
            let message =
                format!("{} came before initialize, which must be the first request", request.method);
            return self.reply(&asker, Err(RpcError::new(ErrorCode::InvalidRequest, message)));
        }
        if matches!(self.stopping, Stopping::Now { .. })
            && !(self.fault.is_some() && request.method == Status::METHOD)
        {
            return self.reply(&asker, Err(shutting_down()));
        }
        if seat == Seat::Kept && !urgent(&request.method) {
            return self.reply(&asker, Err(no_place()));
        }
        let method = request.method.clone();
        let handled = catch_unwind(AssertUnwindSafe(|| methods::dispatch(self, &asker, request, arrived)));
        match handled {
            Ok(methods::Answer::Now(outcome)) => self.reply(&asker, outcome),
            Ok(methods::Answer::Later) => {}
            Err(panic) => {
                let error = rpc_errors::of_panic(&method, &*panic);
                self.reply(&asker, Err(error));
            }
        }
    }

    /// Whether whoever asked keeps up with what it is told.
    pub(crate) fn pace(&self, asker: &RequestRef) -> Pace {
        self.sessions.get(&asker.session).map_or_else(Pace::free, Session::pace)
    }

    /// The request's one reply. Whoever has left or cancelled gets none.
    pub(crate) fn reply(&mut self, asker: &RequestRef, outcome: Result<Value, RpcError>) {
        if let Some(session) = self.sessions.get_mut(&asker.session) {
            session.reply(&asker.id, outcome);
        }
    }

    /// A request's folder is about to be read; what comes back says when nobody waits for it any more.
    pub(crate) fn reading_for(&mut self, asker: &RequestRef, leaving: OnLeaving) -> Gone {
        let gone = Gone::default();
        self.reading.insert(asker.clone(), (gone.clone(), leaving));
        gone
    }

    fn cancel(&mut self, session: SessionId, id: Id) {
        if !self.sessions.get(&session).is_some_and(|asking| asking.is_open(&id)) {
            return;
        }
        let asker = RequestRef { session, id };
        let (generating, scoring) = (self.generating.remove(&asker), self.scoring.remove(&asker));
        if let Some(gone) = generating.or(scoring) {
            gone.set();
            self.worker.send(WorkerJob::CancelGenerate(asker.clone()));
        } else if self.measuring.remove(&asker) {
            self.worker.send(WorkerJob::CancelMeasure(asker.clone()));
        } else {
            if let Some((gone, _)) = self.reading.remove(&asker) {
                gone.set();
            }
            self.cancelled.insert(asker.clone());
        }
        self.reply(&asker, Err(RpcError::new(ErrorCode::RequestCancelled, "cancelled")));
    }

    fn left(&mut self, session: SessionId) {
        if let Some(gone) = self.sessions.remove(&session) {
            gone.finish();
        }
        for waiting in [&mut self.generating, &mut self.scoring] {
            waiting.retain(|asker, gone| {
                let stays = asker.session != session;
                if !stays {
                    gone.set();
                }
                stays
            });
        }
        for (asker, (gone, leaving)) in &self.reading {
            if asker.session == session && *leaving == OnLeaving::Ends {
                gone.set();
            }
        }
        self.measuring.retain(|asker| asker.session != session);
        self.cancelled.retain(|asker| asker.session != session);
        self.worker.send(WorkerJob::SessionLeft(session));
    }

    fn report(&mut self, report: WorkerEvent) {
        match report {
            WorkerEvent::Delta { asker, text, token_ids } => {
                if let Some(session) = self.sessions.get(&asker.session) {
                    session.delta(GenerateDeltaParams { id: asker.id, text, token_ids });
                }
            }
            WorkerEvent::Generated { asker, result } => {
                self.generating.remove(&asker);
                self.reply(&asker, result.and_then(|result| methods::to_value(&result)));
            }
            WorkerEvent::ScoredExample { asker, example } => {
                if let Some(session) = self.sessions.get(&asker.session) {
                    session.scored(&ScoreExampleParams { id: asker.id, example });
                }
            }
            WorkerEvent::Scored { asker, result } => {
                self.scoring.remove(&asker);
                self.reply(&asker, result.and_then(|result| methods::to_value(&result)));
            }
            WorkerEvent::Verified { asker, result } => {
                self.generating.remove(&asker);
                self.reply(&asker, result.and_then(|result| methods::to_value(&result)));
            }
            WorkerEvent::Training { run, news } => self.training_news(run, news),
            WorkerEvent::Measured { wanted, prices } => self.measured(*wanted, prices),
            WorkerEvent::Loaded { source, text, bytes, parameters } => {
                self.models.insert(source, Model { text, bytes, parameters, used: Instant::now() });
            }
            WorkerEvent::Used { source } => {
                if let Some(model) = self.models.get_mut(&source) {
                    model.used = Instant::now();
                }
            }
            WorkerEvent::Unloaded { source } => {
                self.models.remove(&source);
            }
            WorkerEvent::LetGo(removal) => self.release_pages(removal),
            WorkerEvent::Stopped => {}
        }
    }

    /// The texts for the worker are read; whoever asked may have gone.
    fn texts_read(&mut self, asker: &RequestRef, result: Result<WorkerJob, RpcError>) {
        if !self.scoring.contains_key(asker) && !self.generating.contains_key(asker) {
            return;
        }
        match result {
            Ok(command) => self.worker.send(command),
            Err(error) => {
                self.scoring.remove(asker);
                self.generating.remove(asker);
                self.reply(asker, Err(error));
            }
        }
    }

    /// What `status` says beside what it lists.
    pub(crate) fn problems(&self) -> Vec<String> {
        let watched = |target: &&DatasetTarget| {
            self.watches.get(&target.folder).is_some_and(|watched| watched.row.target == **target)
        };
        // A watched folder says so itself.
        let suspended = self.suspended_runs.iter().filter(|target| !watched(target)).map(|target| {
            let folder = target.folder.display();
            format!(
                "a run of {} was suspended: the daemon died while it read {folder}; hotplate logs says more. Look at what was changed \
                 there and in the base last, then try again: hotplate train {folder}",
                target.adapter
            )
        });
        let before = self
            .fault_before
            .as_ref()
            .map(|(at, what)| format!("the daemon before this one ended at {at}: {what}"));
        let late = self.late.map(|(since, _)| {
            format!(
                "a base's chat template has not ended for {} seconds; hotplate stop ends it",
                since.elapsed().as_secs()
            )
        });
        self.fault
            .clone()
            .into_iter()
            .chain(late)
            .chain(before)
            .chain(self.worker.problem())
            .chain(arithmetic::problem())
            .chain(suspended)
            .collect()
    }

    /// Tells all sessions that follow the run.
    pub(crate) fn tell_sessions(&mut self, params: &RunEventParams) {
        for session in self.sessions.values_mut() {
            session.run_event(params);
        }
    }

    /// Turns away who never says hello, and who stays on a place that is kept for a quick question.
    pub(crate) fn turn_away(&mut self, now: Instant) {
        let hello = self.settings.hello;
        for session in self.sessions.values() {
            let since = now.saturating_duration_since(session.joined);
            let why = match session.seat {
                _ if session.protocol.is_none() && since >= hello => {
                    format!("no initialize has come within {hello:?}; the connection is closed")
                }
                Seat::Kept if since >= hello => {
                    "this place is kept for status and stop; the connection is closed".to_owned()
                }
                Seat::Own | Seat::Kept => continue,
            };
            session.turn_away(RpcError::new(ErrorCode::InvalidRequest, why));
            if since >= 2 * hello {
                // It does not even read.
                session.hang_up();
            }
        }
    }

    /// Ends the daemon as soon as the run in progress is saved.
    pub(crate) fn stop_now(&mut self) {
        if matches!(self.stopping, Stopping::Now { .. }) {
            return;
        }
        tracing::info!("ending");
        self.stopping = Stopping::Now { deadline: Instant::now() + SAVE_WITHIN };
        for session in self.sessions.values_mut() {
            session.refuse_open(&shutting_down());
        }
        self.worker.send(WorkerJob::Stop);
    }

    /// A chat template that does not end is left alone as long as somebody is served beside it; its thread can only be ended with the process.
    pub(crate) fn look_at_late_templates(&mut self, now: Instant, busy: bool) {
        if late_templates() == 0 {
            self.late = None;
            return;
        }
        let memory = process::memory().now;
        let (since, before) = *self.late.get_or_insert((now, memory));
        let grows = memory.saturating_sub(before) > LATE_MEMORY;
        if !grows && (busy || now.saturating_duration_since(since) < LATE_TIME) {
            return;
        }
        tracing::error!(memory, "a chat template does not end");
        let message = "a base's chat template did not end (the error before this names it), so the daemon ended; the next command starts a fresh \
                       one. Use that base with another template, or with --raw";
        self.fail(message.to_owned(), SAVE_WITHIN);
    }

    /// Nobody gets an answer any more from a thread that is gone: all are told so, and the daemon ends in order. The next command starts a
    /// fresh one.
    fn thread_died(&mut self, thread: &str, why: &str) {
        tracing::error!(thread, why, "a thread has died");
        let message = format!(
            "the daemon's thread {thread:?} has died ({why}), so the daemon ends; this is a fault of Hotplate, the log has more (hotplate \
             logs). Try again: the next command starts a fresh daemon"
        );
        self.fail(message, if thread == WORKER { DRAIN_WITHIN } else { SAVE_WITHIN });
    }

    /// Answers everybody with what is wrong, and ends in order.
    fn fail(&mut self, message: String, within: Duration) {
        if self.fault.is_some() {
            return;
        }
        if let Err(error) = self.store.note_fault(&message) {
            tracing::warn!(%error, "the fault could not be noted");
        }
        let error = RpcError::new(ErrorCode::Internal, message.clone());
        self.fault = Some(message);
        for session in self.sessions.values_mut() {
            session.refuse_open(&error);
        }
        for (_, gone) in self.generating.drain().chain(self.scoring.drain()) {
            gone.set();
        }
        for (_, (gone, _)) in self.reading.drain() {
            gone.set();
        }
        // Whoever else is left may save what it is at.
        self.worker.send(WorkerJob::Stop);
        let deadline = Instant::now() + within;
        self.stopping = match self.stopping {
            Stopping::Now { deadline: before } => Stopping::Now { deadline: deadline.min(before) },
            Stopping::No | Stopping::WhenIdle => Stopping::Now { deadline },
        };
    }

    fn end(mut self) {
        self.flush_all_events();
        if self.fault.is_none()
            && let Err(error) = self.store.forgive_attempts()
        {
            tracing::warn!(%error, "at the end");
        }
        if let Err(error) = self.store.forgive_preparations() {
            tracing::warn!(%error, "at the end");
        }
        for session in self.sessions.values() {
            session.finish();
        }
        let deadline = Instant::now() + DRAIN_WITHIN;
        for session in self.sessions.values() {
            if !session.wait_closed(deadline) {
                session.hang_up();
            }
        }
        tracing::info!("ended");
    }
}

pub(crate) fn shutting_down() -> RpcError {
    RpcError::new(
        ErrorCode::ShuttingDown,
        "the daemon is stopping; try again in a moment, it will be started anew",
    )
}
