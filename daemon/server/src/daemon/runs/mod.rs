//! Runs as the main loop sees them: queued, begun, followed, ended.

pub(crate) mod checkpoint;
mod edits;
pub(crate) mod finish;
pub(crate) mod look;
pub(crate) mod memory_estimate;
pub(crate) mod overrides;
pub(crate) mod place;
pub(crate) mod prepare;
mod progress;
mod queue;
pub(crate) mod read;
pub(crate) mod reckon;
pub(crate) mod resume;
pub(crate) mod settings;
pub(crate) mod train_request;

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use hotplate_dataset::ExampleId;
use hotplate_protocol::knobs::Method;
use hotplate_protocol::methods::status::{RunState, RunStatus};
use hotplate_protocol::notifications::RunEventParams;
use hotplate_protocol::run::{Cause, RunEvent, RunId, RunKind};
use hotplate_protocol::{ErrorCode, RpcError};
use prepare::{Preparation, Prepared, RunJob};
use queue::{Entry, Placement, RunQueue};
use reckon::Prices;
use resume::ATTEMPTS;
use train_request::{DatasetTarget, TrainRequest};

use super::file_pool::{FileJob, Purpose, Taken, Wanted};
use super::removal::TrainsFrom;
use super::sessions::{RequestRef, SessionId};
use super::state::{Daemon, Stopping, shutting_down};
use super::store::{ReadFor, RunRow, Store};
use super::worker::{Rival, TrainJob, WorkerJob};
use super::{memory, methods};

#[derive(Default)]
pub(crate) struct Runs {
    queue: RunQueue,
    active: Option<Active>,
    /// Events of runs that have not ended.
    histories: HashMap<RunId, History>,
    /// Runs that were begun before the daemon was interrupted.
    interrupted: HashSet<RunId>,
    /// Being prepared on the file threads, also if they have been cancelled meanwhile.
    preparing: HashMap<RunId, DatasetTarget>,
    /// Prepared when it was asked for, and nothing was in front of it.
    ready: Option<(RunId, Box<Prepared>)>,
}

/// The run that has its turn.
struct Active {
    run: RunId,
    order: TrainRequest,
    phase: Phase,
    began: Instant,
    job: Option<RunJob>,
    /// What it learns and judges by.
    examples: HashSet<ExampleId>,
    step: usize,
    steps: usize,
    loss: Option<f64>,
    look_again: bool,
    /// Why it runs, as it was said at its start; the order's own cause before that.
    said: Option<Cause>,
}

enum Phase {
    Preparing,
    Training,
    /// Its version is being written; what its end will say.
    Saving(Box<progress::Ending>),
}

/// What was said of a run, and how much of it the store has.
#[derive(Default)]
struct History {
    /// Events in the store.
    stored: usize,
    unstored: Vec<RunEvent>,
}

/// Steps are stored together; everything else at once.
const UNSTORED: usize = 100;

impl Runs {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn has(&self, target: &DatasetTarget, kind: RunKind) -> bool {
        self.queue.has(target, kind)
    }

    /// The examples of the run in progress on this target, once they are known.
    pub(crate) fn learning(&self, target: &DatasetTarget) -> Option<&HashSet<ExampleId>> {
        let active = self.active.as_ref().filter(|active| active.order.target == *target)?;
        active.job.is_some().then_some(&active.examples)
    }

    /// The run that trains this target anew for what was gone, if what it reads is no longer what the folder holds (`state`), or nothing is gone.
    pub(crate) fn forgetting(&self, target: &DatasetTarget, state: &str, gone: bool) -> Option<RunId> {
        let active = self.active.as_ref().filter(|active| {
            active.order.target == *target
                && active.order.cause == Cause::Stale
                && !matches!(active.phase, Phase::Saving(_))
        });
        let outdated =
            active.filter(|active| !gone || active.job.as_ref().is_some_and(|job| job.state != state));
        let waiting = || {
            let waits =
                |entry: &&Entry| entry.order.target == *target && entry.order.cause == Cause::Stale && !gone;
            self.queue.waiting().find(waits).map(|entry| entry.run)
        };
        outdated.map(|active| active.run).or_else(waiting)
    }

    pub(crate) fn is_preparing(&self, target: &DatasetTarget) -> bool {
        self.active
            .as_ref()
            .is_some_and(|active| active.order.target == *target && matches!(active.phase, Phase::Preparing))
    }

    pub(crate) fn look_again_after(&mut self, target: &DatasetTarget) {
        if let Some(active) = self.active.as_mut().filter(|active| active.order.target == *target) {
            active.look_again = true;
        }
    }

    /// Which version of this adapter the run in progress needs.
    pub(crate) fn trains_from(&self, adapter: &str) -> TrainsFrom {
        match self.active.as_ref().filter(|active| active.order.target.adapter == adapter) {
            None => TrainsFrom::Nothing,
            Some(Active { job: None, .. }) => TrainsFrom::Unknown,
            Some(Active { job: Some(job), .. }) => job.start.map_or(TrainsFrom::Nothing, TrainsFrom::Version),
        }
    }

    pub(crate) fn statuses(&self) -> Vec<RunStatus> {
        let status = |entry: &Entry, state, active: Option<&Active>| RunStatus {
            run: entry.run,
            kind: entry.order.kind,
            folder: entry.order.target.folder.clone(),
            adapter: entry.order.target.adapter.clone(),
            cause: active.and_then(|active| active.said.clone()).unwrap_or_else(|| entry.order.cause.clone()),
            state,
            step: active.map_or(0, |active| active.step),
            steps: active.map_or(0, |active| active.steps),
            loss: active.and_then(|active| active.loss),
        };
        let running =
            self.queue.running().map(|entry| status(entry, RunState::Running, self.active.as_ref()));
        running
            .into_iter()
            .chain(self.queue.waiting().map(|entry| status(entry, RunState::Queued, None)))
            .collect()
    }
}

impl Daemon {
    /// Queues again what had not ended when the daemon did, but for what has taken the daemon down.
    pub(crate) fn restore_runs(&mut self, rows: Vec<RunRow>, suspended: &[(DatasetTarget, ReadFor)]) {
        let of_runs = suspended.iter().filter(|(_, what)| *what == ReadFor::Run);
        self.suspended_runs = of_runs.map(|(target, _)| target.clone()).collect();
        // The one that was running goes on first.
        let (begun, queued): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.begun);
        for row in begun.into_iter().chain(queued) {
            self.runs.histories.insert(row.run, History { stored: row.events, unstored: Vec::new() });
            let target = &row.order.target;
            let error = if suspended.iter().any(|(of, _)| of == target) {
                Some(format!(
                    "suspended: the daemon died while it read {}; hotplate logs says more. The last good version still answers",
                    target.folder.display()
                ))
            } else if row.attempts >= ATTEMPTS {
                Some(format!(
                    "interrupted: the daemon ended {} times in the middle of this run; hotplate logs says more. The last good \
                     version still answers",
                    row.attempts
                ))
            } else {
                None
            };
            if let Some(error) = error {
                tracing::error!(run = row.run.0, error);
                self.end_without_version(row.run, &RunEvent::Failed { error });
                continue;
            }
            if row.begun {
                self.runs.interrupted.insert(row.run);
            }
            let entry = self.runs.queue.push(row.run, row.order);
            if entry.run != row.run {
                // Another run on the same target stands for it too.
                self.emit(row.run, RunEvent::Note { text: format!("run {} learns the same", entry.run.0) });
                self.end_without_version(row.run, &RunEvent::Cancelled);
            }
        }
        self.start_next();
    }

    /// The file pool has understood a `train/start` or `train/plan`. A plan says how long it takes: where nobody knows yet, two steps are timed first.
    pub(crate) fn order_taken(
        &mut self,
        asker: RequestRef,
        purpose: Purpose,
        result: Result<Taken, RpcError>,
    ) {
        if self.cancelled.remove(&asker) {
            return;
        }
        let Taken { order, mut prepared } = match result {
            Ok(taken) => taken,
            Err(error) => return self.reply(&asker, Err(error)),
        };
        let problem = self.check_memory(&prepared).err();
        if let (Purpose::Train, Some(error)) = (purpose, &problem) {
            return self.reply(&asker, Err(error.clone()));
        }
        prepared.job.plan.problem = problem.map(|error| error.message);
        let unknown = prepared.prices.is_none() && prepared.job.plan.problem.is_none();
        if unknown && self.runs.is_empty() && self.stopping == Stopping::No {
            self.measuring.insert(asker.clone());
            self.worker.send(WorkerJob::Measure(Box::new(Wanted { asker, purpose, order, prepared })));
        } else {
            self.go_on(Wanted { asker, purpose, order, prepared });
        }
    }

    pub(crate) fn measured(&mut self, mut wanted: Wanted, prices: Option<Prices>) {
        if let Some(prices) = prices {
            self.note_prices(&wanted.prepared.job.fingerprint, prices);
            wanted.prepared.prices = Some(prices);
            wanted.prepared.reckon();
        }
        // Whoever cancelled or left meanwhile wants nothing any more.
        if self.measuring.remove(&wanted.asker) {
            self.go_on(wanted);
        }
    }

    /// The plan is as good as it gets: it is the answer, or its run is queued.
    fn go_on(&mut self, wanted: Wanted) {
        let Wanted { asker, purpose, order, prepared } = wanted;
        if purpose == Purpose::Plan {
            return self.reply(&asker, methods::to_value(&prepared.job.plan));
        }
        if self.suspended_runs.contains(&order.target) {
            self.end_preparing(&order.target, ReadFor::Run);
        }
        let plan = prepared.job.plan.clone();
        if self.runs.is_empty() {
            self.runs.ready = Some((RunId(0), prepared));
        }
        let outcome = self
            .enqueue(order, Some(asker.session))
            .and_then(|run| methods::to_value(&hotplate_protocol::methods::train::TrainResult { run, plan }));
        self.runs.ready = None;
        self.reply(&asker, outcome);
    }

    /// What would not fit into memory is refused before it starts.
    fn check_memory(&self, prepared: &Prepared) -> Result<(), RpcError> {
        let Some(need) = &prepared.need else { return Ok(()) };
        let order = &prepared.job.order;
        let resident = self.models.contains_key(&order.source());
        let command = format!("hotplate train {}", order.target.folder.display());
        need.check(memory::free(), resident, &command)
    }

    fn note_prices(&mut self, fingerprint: &str, prices: Prices) {
        if let Err(error) = self.store.set_prices(fingerprint, self.file_pool.device, prices) {
            tracing::warn!(%error, "the measured prices could not be stored");
        }
    }

    /// What a run that nobody asked for is measured against: the version that answers.
    fn rival(&self, job: &RunJob) -> Option<Rival> {
        if job.order.cause != Cause::Stale {
            return None;
        }
        let name = &job.order.target.adapter;
        let current = self.store.adapter(name).ok()??.current;
        let row = self.store.versions(name).ok()?.into_iter().find(|row| row.version == current)?;
        // A whole base of its own, or examples that it has learnt: what it was judged by then has to do.
        let measured = row.method == Method::Lora && job.folds.is_none();
        Some(Rival {
            folder: measured.then(|| self.file_pool.version_folder(name, current)),
            loss: row.heldout_loss,
        })
    }

    /// Has a run end early and keep its best, if it has come so far.
    pub(crate) fn finish_run(&mut self, run: RunId) -> Result<bool, RpcError> {
        if !self.runs.histories.contains_key(&run) {
            return Ok(false);
        }
        match self.runs.active.as_ref().filter(|active| active.run == run).map(|active| &active.phase) {
            Some(Phase::Training) => {
                self.worker.send(WorkerJob::FinishTrain(run));
                Ok(true)
            }
            Some(Phase::Saving(_)) => Ok(true),
            Some(Phase::Preparing) | None => Err(RpcError::new(
                ErrorCode::InvalidParams,
                format!(
                    "run {} has not begun to learn, so it has nothing to keep; hotplate cancel {} takes it away",
                    run.0, run.0
                ),
            )),
        }
    }

    /// Queues an order, and starts it if nothing is in front of it. The follower hears of everything that happens.
    pub(crate) fn enqueue(
        &mut self,
        order: TrainRequest,
        follower: Option<SessionId>,
    ) -> Result<RunId, RpcError> {
        if self.stopping != Stopping::No {
            return Err(shutting_down());
        }
        let placement = self.runs.queue.placement(&order);
        let idle_work = order.is_idle_work();
        let run = match placement {
            Placement::Joins(run) => run,
            Placement::New | Placement::Replaces(_) => self.store.add_run(&order)?,
        };
        if let Some((ready, _)) = &mut self.runs.ready {
            *ready = run;
        }
        let entry = self.runs.queue.push(run, order);
        if let Some(session) = follower.and_then(|session| self.sessions.get_mut(&session)) {
            session.follow(Some(run));
        }
        match placement {
            Placement::Joins(_) => self.store.update_order(run, &entry.order)?,
            Placement::Replaces(old) => {
                self.emit(old, RunEvent::Note { text: format!("run {} takes its place", run.0) });
                self.end_without_version(old, &RunEvent::Cancelled);
            }
            Placement::New => {}
        }
        if placement != Placement::Joins(run) {
            let position = self.runs.queue.position(run);
            self.emit(run, RunEvent::Queued { position });
        }
        if !idle_work
            && let Some(active) = self.runs.active.as_ref().filter(|active| active.order.is_idle_work())
        {
            let old = active.run;
            self.emit(
                old,
                RunEvent::Note {
                    text: "gives way to a run that somebody waits for; it is tried again later".to_owned(),
                },
            );
            self.cancel_run(old);
        }
        self.start_next();
        Ok(run)
    }

    fn start_next(&mut self) {
        if matches!(self.stopping, Stopping::Now { .. }) {
            return;
        }
        while let Some(Entry { run, order }) = self.runs.queue.start_next() {
            if let Err(error) = self.store.begin_run(run) {
                self.end_without_version(run, &RunEvent::Failed { error: error.to_string() });
                continue;
            }
            self.runs.active = Some(Active {
                run,
                order: order.clone(),
                phase: Phase::Preparing,
                began: Instant::now(),
                job: None,
                examples: HashSet::new(),
                step: 0,
                steps: 0,
                loss: None,
                look_again: false,
                said: None,
            });
            match self.runs.ready.take() {
                Some((ready, prepared)) if ready == run => {
                    self.prepared(run, Ok(Preparation::Ready(prepared)));
                }
                _ => {
                    self.begin_preparing(&order.target, ReadFor::Run);
                    self.runs.preparing.insert(run, order.target.clone());
                    self.file_jobs.send(if self.runs.interrupted.contains(&run) {
                        FileJob::Resume(run, order)
                    } else {
                        FileJob::Prepare(run, order)
                    });
                }
            }
            return;
        }
    }

    pub(crate) fn prepared(&mut self, run: RunId, result: Result<Preparation, RpcError>) {
        if let Some(target) = self.runs.preparing.remove(&run) {
            self.end_preparing(&target, ReadFor::Run);
        }
        let interrupted = self.runs.interrupted.remove(&run);
        let Some(active) = self.runs.active.as_mut().filter(|active| active.run == run) else { return };
        let prepared = match result {
            Ok(Preparation::Ready(prepared)) => prepared,
            Ok(Preparation::OnlyJudges(rows)) => {
                let text = "what is new is held out to judge by; there is nothing to learn".to_owned();
                let target = active.order.target.clone();
                if let Err(error) = self.store.mark_tried(&target, run, &rows) {
                    tracing::warn!(%error, run = run.0, "what judges could not be noted");
                }
                self.emit(run, RunEvent::Note { text });
                return self.end_without_version(run, &RunEvent::Cancelled);
            }
            Ok(Preparation::NothingNew) => {
                self.emit(
                    run,
                    RunEvent::Note { text: "nothing is new any more; there is nothing to learn".to_owned() },
                );
                return self.end_without_version(run, &RunEvent::Cancelled);
            }
            Err(error) => {
                let interruption = if interrupted { "interrupted, and cannot go on: " } else { "" };
                let error = format!("{interruption}{}", error.message);
                return self.end_without_version(run, &RunEvent::Failed { error });
            }
        };
        if let Err(error) = self.check_memory(&prepared) {
            return self.end_without_version(run, &RunEvent::Failed { error: error.message });
        }
        let rival = self.rival(&prepared.job);
        let Some(active) = self.runs.active.as_mut().filter(|active| active.run == run) else { return };
        let job = prepared.job.clone();
        active.phase = Phase::Training;
        active.steps = job.plan.steps;
        active.examples = job.train.iter().copied().chain(job.heldout.iter().map(|(id, _)| *id)).collect();
        let cause = if interrupted { Cause::Resumed } else { active.order.cause.clone() };
        let start =
            job.start.map(|version| self.file_pool.version_folder(&job.order.target.adapter, version));
        let plan = job.plan.clone();
        active.job = Some(job);
        active.said = Some(cause.clone());
        self.emit(run, RunEvent::Started { plan, cause });
        let folder = self.file_pool.run_folder(run);
        self.worker.send(WorkerJob::Train(Box::new(TrainJob { run, prepared, start, rival, folder })));
    }

    /// Ends a run that has lost its reason.
    pub(crate) fn say_and_cancel(&mut self, run: RunId, text: &str) {
        self.emit(run, RunEvent::Note { text: text.to_owned() });
        self.cancel_run(run);
    }

    /// Ends a run early, wherever it is; false if it has ended already.
    pub(crate) fn cancel_run(&mut self, run: RunId) -> bool {
        if !self.runs.histories.contains_key(&run) {
            return false;
        }
        self.worker.send(WorkerJob::CancelTrain(run));
        self.end_without_version(run, &RunEvent::Cancelled);
        true
    }

    /// Says what happened, and remembers it.
    fn emit(&mut self, run: RunId, event: RunEvent) {
        self.tell_sessions(&RunEventParams { run, event: event.clone() });
        let history = self.runs.histories.entry(run).or_default();
        if matches!(event, RunEvent::Working { .. }) {
            return;
        }
        let at_once = !matches!(event, RunEvent::Step { .. });
        history.unstored.push(event);
        if at_once || history.unstored.len() >= UNSTORED {
            flush(&mut self.store, run, history);
        }
    }

    /// Everything that was said of a run; `None` if there is none.
    pub(crate) fn past(&mut self, run: RunId) -> Result<Option<Vec<RunEvent>>, RpcError> {
        if let Some(history) = self.runs.histories.get_mut(&run) {
            flush(&mut self.store, run, history);
        }
        Ok(self.store.events(run)?)
    }

    pub(crate) fn flush_all_events(&mut self) {
        for (run, history) in &mut self.runs.histories {
            flush(&mut self.store, *run, history);
        }
    }

    /// A run is over and made no version.
    fn end_without_version(&mut self, run: RunId, last: &RunEvent) {
        if let Err(error) = self.store.end_run(run, last) {
            // It will be found as interrupted at the next start.
            tracing::error!(%error, run = run.0, "the end of a run could not be stored");
        }
        self.ended(run, last.clone());
    }

    /// Whatever the end was: it is said, the run makes room for the next one.
    fn ended(&mut self, run: RunId, last: RunEvent) {
        match &last {
            RunEvent::Finished { result } => tracing::info!(
                run = run.0,
                adapter = result.adapter,
                version = result.version,
                heldout_loss = result.heldout_loss,
                seconds = result.seconds,
                "run finished"
            ),
            RunEvent::Kept { reason, .. } => {
                tracing::info!(run = run.0, reason, "run ended; the old version stays");
            }
            RunEvent::Failed { error } => tracing::warn!(run = run.0, error, "run failed"),
            _ => tracing::info!(run = run.0, "run cancelled"),
        }
        let finished = matches!(last, RunEvent::Finished { .. });
        self.emit(run, last);
        self.runs.histories.remove(&run);
        self.runs.interrupted.remove(&run);
        let entry = self.runs.queue.remove(run);
        let was_active = self.runs.active.take_if(|active| active.run == run);
        let folder = self.file_pool.run_folder(run);
        if folder.exists()
            && let Err(error) = std::fs::remove_dir_all(&folder)
        {
            tracing::warn!(%error, folder = %folder.display(), "cannot be removed");
        }
        let look_again = was_active.is_some_and(|active| active.look_again);
        if let Some(entry) = entry.filter(|_| finished || look_again) {
            let folder = entry.order.target.folder;
            if self
                .watches
                .get(&folder)
                .is_some_and(|watched| watched.row.target.adapter == entry.order.target.adapter)
            {
                self.watcher.look_when_settled(&folder);
            }
        }
        self.start_next();
    }
}

fn flush(store: &mut Store, run: RunId, history: &mut History) {
    if history.unstored.is_empty() {
        return;
    }
    match store.add_events(run, history.stored, &history.unstored) {
        Ok(()) => {
            history.stored += history.unstored.len();
            history.unstored.clear();
        }
        Err(error) => tracing::warn!(%error, run = run.0, "a run's events could not be stored"),
    }
}
