//! Work that reads and writes files, away from the main loop: a few threads and what they may use.
//!
//! A closed list of file jobs in, one event out for each, whatever happens on the way. It must not know sessions' state, runs' state or
//! tensors in use; it has its own reader of the store.
//!
//! Short prompts have threads of their own, so that none waits for somebody's large folder.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use crossbeam_channel::Sender;
use hotplate_home::{Home, own_file};
use hotplate_protocol::methods::import::ImportParams;
use hotplate_protocol::methods::train::TrainParams;
use hotplate_protocol::run::RunId;
use hotplate_protocol::{ErrorCode, RpcError};
use serde_json::Value;

use super::alarm;
use super::events::Event;
use super::fair_queue::FairQueue;
use super::methods::import::take_in;
use super::methods::rollback::{Candidate, look_at_version};
use super::private::Umask;
use super::removal::Removal;
use super::rpc_errors;
use super::runs::finish::{Draft, write_version};
use super::runs::look::{FolderSnapshot, look};
use super::runs::place::resolve_request;
use super::runs::prepare::{Preparation, Prepared, prepare};
use super::runs::resume;
use super::runs::train_request::TrainRequest;
use super::sessions::{RequestRef, SessionId};
use super::spec_cache::SpecCache;
use super::store::{Store, WatchRow};
use super::worker::WorkerJob;

/// Threads for what clients ask; as many again for short prompts and for the daemon's own file jobs, so that none waits for the others.
const THREADS: usize = 2;

/// What file jobs may use.
pub(crate) struct FilePool {
    pub(crate) home: Home,
    pub(crate) texts: SpecCache,
    /// As plans and speeds name it.
    pub(crate) device: &'static str,
    /// What exports are made with.
    pub(crate) umask: Umask,
}

impl FilePool {
    pub(crate) fn store(&self) -> Result<Store, RpcError> {
        Ok(Store::reader(&self.home.store())?)
    }

    /// A version's PEFT folder.
    pub(crate) fn version_folder(&self, adapter: &str, version: u32) -> PathBuf {
        self.home.adapters().join(adapter).join(format!("v{version:04}"))
    }

    /// A folder of the store's that is to be read or written: nothing is opened there through a link.
    pub(crate) fn stored(&self, folder: PathBuf) -> Result<PathBuf, RpcError> {
        match own_file::without_links(self.home.root(), &folder) {
            Ok(()) => Ok(folder),
            Err(error) => Err(RpcError::new(ErrorCode::StorageFailed, error.to_string())),
        }
    }

    /// Where a run in progress is saved.
    pub(crate) fn run_folder(&self, run: RunId) -> PathBuf {
        self.home.runs().join(run.0.to_string())
    }
}

/// What a client wants an order for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Plan,
    Train,
}

/// Files that were saved, as the watcher tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Saves {
    /// Where it is known; else the files' own times tell.
    pub(crate) saved_at: Option<SystemTime>,
}

/// Whether whoever asked has cancelled or left, for work that can stop in the middle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gone(Arc<AtomicBool>);

impl Gone {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What becomes of a request while its folder is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnLeaving {
    /// Nobody wants the answer any more.
    Ends,
    /// A run or a watch that was asked for comes about all the same, unless it is cancelled.
    GoesOn,
}

/// What a request needs from the file pool.
pub(crate) type Work = Box<dyn FnOnce(&FilePool) -> Result<Value, RpcError> + Send>;

/// Reads texts and says what the worker is to do with them.
pub(crate) type ReadTexts = Box<dyn FnOnce(&FilePool) -> Result<WorkerJob, RpcError> + Send>;

pub(crate) enum FileJob {
    /// A request that only needs files.
    Answer(RequestRef, Work),
    ReadTexts(RequestRef, ReadTexts),
    /// A short prompt, which must not wait for somebody's large folder.
    ReadPrompt(RequestRef, ReadTexts),
    TakeOrder(RequestRef, TrainParams, Purpose, Gone),
    TakeWatch(RequestRef, TrainParams, Gone),
    Look(WatchRow, Option<Saves>),
    Prepare(RunId, TrainRequest),
    Resume(RunId, TrainRequest),
    WriteVersion(RunId, Box<Draft>),
    Import(RequestRef, ImportParams),
    /// Is a version whole, that is to answer again?
    CheckVersion(RequestRef, Candidate),
    /// Folders that nobody uses any more.
    Discard(Removal),
}

/// A plan or a run that waits until it is known how long it takes.
pub(crate) struct Wanted {
    pub(crate) asker: RequestRef,
    pub(crate) purpose: Purpose,
    pub(crate) order: TrainRequest,
    pub(crate) prepared: Box<Prepared>,
}

/// An order that was understood, and the run it makes.
pub(crate) struct Taken {
    pub(crate) order: TrainRequest,
    pub(crate) prepared: Box<Prepared>,
}

impl FileJob {
    fn run(self, file_pool: &FilePool) -> Event {
        match self {
            FileJob::Answer(asker, work) => {
                Event::Answered { asker, outcome: guarded("the request", || work(file_pool)) }
            }
            FileJob::ReadTexts(asker, read) | FileJob::ReadPrompt(asker, read) => {
                Event::TextsRead { asker, result: guarded("reading the texts", || read(file_pool)) }
            }
            FileJob::TakeOrder(asker, params, purpose, gone) => {
                let result = guarded("reading the dataset", || {
                    let order = resolve_request(file_pool, &params)?;
                    match prepare(file_pool, &order, &gone)? {
                        Preparation::Ready(prepared) => Ok(Taken { order, prepared }),
                        Preparation::NothingNew | Preparation::OnlyJudges(_) => {
                            Err(resume::nothing_new(&order))
                        }
                    }
                });
                Event::OrderTaken { asker, purpose, result }
            }
            FileJob::TakeWatch(asker, params, gone) => {
                let result = guarded("reading the dataset", || {
                    let order = resolve_request(file_pool, &params)?;
                    let watch = WatchRow { target: order.target, base: order.base, knobs: order.knobs };
                    let look = look(file_pool, &watch, &gone)?;
                    Ok((watch, look))
                });
                Event::WatchTaken { asker, result }
            }
            FileJob::Look(watch, saves) => {
                let result: Result<FolderSnapshot, RpcError> =
                    guarded("reading the dataset", || look(file_pool, &watch, &Gone::default()));
                Event::Looked { watch, saves, result }
            }
            FileJob::Prepare(run, order) => Event::Prepared {
                run,
                result: guarded("preparing the run", || prepare(file_pool, &order, &Gone::default())),
            },
            FileJob::Resume(run, order) => {
                let result = guarded("preparing the run", || {
                    match resume::from_checkpoint(file_pool, run) {
                        Ok(Some(prepared)) => return Ok(Preparation::Ready(Box::new(prepared))),
                        Ok(None) => {}
                        Err(why) => {
                            tracing::warn!(run = run.0, why, "a saved run cannot go on; it starts anew");
                        }
                    }
                    prepare(file_pool, &order, &Gone::default())
                });
                Event::Prepared { run, result }
            }
            FileJob::Import(asker, params) => {
                let result = guarded("reading the adapter", || take_in(file_pool, &params));
                Event::Imported { asker, result }
            }
            FileJob::CheckVersion(asker, candidate) => {
                let result = guarded("looking at the version", || look_at_version(file_pool, candidate));
                Event::VersionChecked { asker, result }
            }
            FileJob::Discard(removal) => {
                removal.remove_folders();
                Event::Discarded(removal)
            }
            FileJob::WriteVersion(run, draft) => {
                let result = guarded("writing the adapter", || write_version(file_pool, &draft));
                Event::VersionWritten { run, draft, result }
            }
        }
    }
}

fn guarded<T>(what: &str, work: impl FnOnce() -> Result<T, RpcError>) -> Result<T, RpcError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(rpc_errors::of_panic(what, &*panic)))
}

/// The threads' inboxes.
pub(crate) struct FileJobs {
    prompts: Inbox,
    clients: Inbox,
    own: Inbox,
}

type Inbox = Arc<FairQueue<FileJob>>;

/// The daemon's own file jobs are those of nobody.
const OWN: SessionId = SessionId(0);

impl FileJobs {
    pub(crate) fn start(file_pool: &Arc<FilePool>, events: &Sender<Event>) -> std::io::Result<FileJobs> {
        let inbox = || Inbox::new(FairQueue::new());
        let file_jobs = FileJobs { prompts: inbox(), clients: inbox(), own: inbox() };
        let each =
            [("prompts", &file_jobs.prompts), ("files", &file_jobs.clients), ("own files", &file_jobs.own)];
        for (name, inbox) in each {
            for number in 1..=THREADS {
                let (file_pool, events): (_, Sender<Event>) = (Arc::clone(file_pool), events.clone());
                let inbox = Arc::clone(inbox);
                let alarm = events.clone();
                alarm::spawn(format!("{name} {number}"), &alarm, move || {
                    // Until the process ends.
                    while events.send(inbox.pop().run(&file_pool)).is_ok() {}
                })?;
            }
        }
        Ok(file_jobs)
    }

    pub(crate) fn send(&self, file_job: FileJob) {
        let (inbox, session) = match &file_job {
            FileJob::ReadPrompt(asker, _) => (&self.prompts, asker.session),
            FileJob::Answer(asker, _)
            | FileJob::ReadTexts(asker, _)
            | FileJob::TakeOrder(asker, ..)
            | FileJob::TakeWatch(asker, ..)
            | FileJob::Import(asker, _)
            | FileJob::CheckVersion(asker, ..) => (&self.clients, asker.session),
            FileJob::Discard(..) => (&self.clients, OWN),
            FileJob::Look(..) | FileJob::Prepare(..) | FileJob::Resume(..) | FileJob::WriteVersion(..) => {
                (&self.own, OWN)
            }
        };
        inbox.push(session, file_job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_answer() {
        let result: Result<(), RpcError> = guarded("the request", || panic!("oh dear"));
        let error = result.unwrap_err();
        assert_eq!(error.code, ErrorCode::Internal);
        assert!(error.message.contains("oh dear") && error.message.contains("hotplate logs"), "{error}");
    }
}
