//! Work that reads and writes files, away from the main loop: a few threads and what they may use.
//!
//! A closed list of errands in, one event out for each, whatever happens on the way. It must not know sessions' state, runs' state or
//! tensors in use; it has its own reader of the store.

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
use super::faults;
use super::methods::import::take_in;
use super::methods::rollback::{Candidate, look_at_version};
use super::private::Umask;
use super::removal::Removal;
use super::runs::finish::{Draft, write_version};
use super::runs::look::{Look, look};
use super::runs::order::Order;
use super::runs::place::take_order;
use super::runs::prepare::{Preparation, Prepared, prepare};
use super::runs::resume;
use super::sessions::{Asker, SessionId};
use super::store::{Store, WatchRow};
use super::texts::Texts;
use super::worker::Command;

/// Threads for what clients ask; as many again for short prompts and for the daemon's own errands, so that none waits for the others.
const THREADS: usize = 2;

/// What errands may use.
pub(crate) struct Desk {
    pub(crate) home: Home,
    pub(crate) texts: Texts,
    /// As plans and speeds name it.
    pub(crate) device: &'static str,
    /// What exports are made with.
    pub(crate) umask: Umask,
}

impl Desk {
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

/// What a request needs from the desk.
pub(crate) type Work = Box<dyn FnOnce(&Desk) -> Result<Value, RpcError> + Send>;

/// Reads texts and says what the worker is to do with them.
pub(crate) type ReadTexts = Box<dyn FnOnce(&Desk) -> Result<Command, RpcError> + Send>;

pub(crate) enum Errand {
    /// A request that only needs files.
    Answer(Asker, Work),
    ReadTexts(Asker, ReadTexts),
    /// A short prompt, which must not wait for somebody's large folder.
    ReadPrompt(Asker, ReadTexts),
    TakeOrder(Asker, TrainParams, Purpose, Gone),
    TakeWatch(Asker, TrainParams, Gone),
    Look(WatchRow, Option<Saves>),
    Prepare(RunId, Order),
    Resume(RunId, Order),
    WriteVersion(RunId, Box<Draft>),
    Import(Asker, ImportParams),
    /// Is a version whole, that is to answer again?
    CheckVersion(Asker, Candidate),
    /// Folders that nobody uses any more.
    Discard(Removal),
}

/// A plan or a run that waits until it is known how long it takes.
pub(crate) struct Wanted {
    pub(crate) asker: Asker,
    pub(crate) purpose: Purpose,
    pub(crate) order: Order,
    pub(crate) prepared: Box<Prepared>,
}

/// An order that was understood, and the run it makes.
pub(crate) struct Taken {
    pub(crate) order: Order,
    pub(crate) prepared: Box<Prepared>,
}

impl Errand {
    fn run(self, desk: &Desk) -> Event {
        match self {
            Errand::Answer(asker, work) => {
                Event::Answered { asker, outcome: guarded("the request", || work(desk)) }
            }
            Errand::ReadTexts(asker, read) | Errand::ReadPrompt(asker, read) => {
                Event::TextsRead { asker, result: guarded("reading the texts", || read(desk)) }
            }
            Errand::TakeOrder(asker, params, purpose, gone) => {
                let result = guarded("reading the dataset", || {
                    let order = take_order(desk, &params)?;
                    match prepare(desk, &order, &gone)? {
                        Preparation::Ready(prepared) => Ok(Taken { order, prepared }),
                        Preparation::NothingNew | Preparation::OnlyJudges(_) => {
                            Err(resume::nothing_new(&order))
                        }
                    }
                });
                Event::OrderTaken { asker, purpose, result }
            }
            Errand::TakeWatch(asker, params, gone) => {
                let result = guarded("reading the dataset", || {
                    let order = take_order(desk, &params)?;
                    let watch = WatchRow { target: order.target, base: order.base, knobs: order.knobs };
                    let look = look(desk, &watch, &gone)?;
                    Ok((watch, look))
                });
                Event::WatchTaken { asker, result }
            }
            Errand::Look(watch, saves) => {
                let result: Result<Look, RpcError> =
                    guarded("reading the dataset", || look(desk, &watch, &Gone::default()));
                Event::Looked { watch, saves, result }
            }
            Errand::Prepare(run, order) => Event::Prepared {
                run,
                result: guarded("preparing the run", || prepare(desk, &order, &Gone::default())),
            },
            Errand::Resume(run, order) => {
                let result = guarded("preparing the run", || {
                    match resume::from_checkpoint(desk, run) {
                        Ok(Some(prepared)) => return Ok(Preparation::Ready(Box::new(prepared))),
                        Ok(None) => {}
                        Err(why) => {
                            tracing::warn!(run = run.0, why, "a saved run cannot go on; it starts anew");
                        }
                    }
                    prepare(desk, &order, &Gone::default())
                });
                Event::Prepared { run, result }
            }
            Errand::Import(asker, params) => {
                let result = guarded("reading the adapter", || take_in(desk, &params));
                Event::Imported { asker, result }
            }
            Errand::CheckVersion(asker, candidate) => {
                let result = guarded("looking at the version", || look_at_version(desk, candidate));
                Event::VersionChecked { asker, result }
            }
            Errand::Discard(removal) => {
                removal.remove_folders();
                Event::Discarded(removal)
            }
            Errand::WriteVersion(run, draft) => {
                let result = guarded("writing the adapter", || write_version(desk, &draft));
                Event::VersionWritten { run, draft, result }
            }
        }
    }
}

fn guarded<T>(what: &str, work: impl FnOnce() -> Result<T, RpcError>) -> Result<T, RpcError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(faults::of_panic(what, &*panic)))
}

/// The threads' inboxes.
pub(crate) struct Errands {
    prompts: Inbox,
    clients: Inbox,
    own: Inbox,
}

type Inbox = Arc<FairQueue<Errand>>;

/// The daemon's own errands are those of nobody.
const OWN: SessionId = SessionId(0);

impl Errands {
    pub(crate) fn start(desk: &Arc<Desk>, events: &Sender<Event>) -> std::io::Result<Errands> {
        let inbox = || Inbox::new(FairQueue::new());
        let errands = Errands { prompts: inbox(), clients: inbox(), own: inbox() };
        let each = [("prompts", &errands.prompts), ("desk", &errands.clients), ("own desk", &errands.own)];
        for (name, inbox) in each {
            for number in 1..=THREADS {
                let (desk, events): (_, Sender<Event>) = (Arc::clone(desk), events.clone());
                let inbox = Arc::clone(inbox);
                let alarm = events.clone();
                alarm::spawn(format!("{name} {number}"), &alarm, move || {
                    // Until the process ends.
                    while events.send(inbox.pop().run(&desk)).is_ok() {}
                })?;
            }
        }
        Ok(errands)
    }

    pub(crate) fn send(&self, errand: Errand) {
        let (inbox, session) = match &errand {
            Errand::ReadPrompt(asker, _) => (&self.prompts, asker.session),
            Errand::Answer(asker, _)
            | Errand::ReadTexts(asker, _)
            | Errand::TakeOrder(asker, ..)
            | Errand::TakeWatch(asker, ..)
            | Errand::Import(asker, _)
            | Errand::CheckVersion(asker, ..) => (&self.clients, asker.session),
            Errand::Discard(..) => (&self.clients, OWN),
            Errand::Look(..) | Errand::Prepare(..) | Errand::Resume(..) | Errand::WriteVersion(..) => {
                (&self.own, OWN)
            }
        };
        inbox.push(session, errand);
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
