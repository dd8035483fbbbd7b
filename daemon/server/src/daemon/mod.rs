//! The daemon: one per home, alive as long as somebody needs it.
//!
//! Owns the order of the start: the lock, the store, the socket, then everything that may take time. Threads: `main` (the loop in
//! [`state`]), `accept`, a reader and a writer per client, `watch`, the file pools, and the `worker` that owns the tensors. They speak
//! through channels of closed enums ([`events`]).

mod alarm;
mod disk_use;
mod durable;
mod events;
mod fair_queue;
mod feeding;
mod file_pool;
mod heldout;
mod idle;
mod last_words;
mod left_over;
mod lock;
mod log;
mod memory;
mod methods;
mod names;
mod noticed;
mod private;
mod process;
mod prune;
pub(crate) mod quantise;
mod reading;
mod removal;
mod resolve_model;
mod rpc_errors;
mod runs;
mod sessions;
mod settings;
mod signals;
mod spec_cache;
mod state;
mod store;
mod version_files;
mod watch;
mod watching;
mod worker;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use alarm::Alarm;
use anyhow::Context;
use crossbeam_channel::bounded;
use events::Event;
use file_pool::{FileJobs, FilePool};
use hotplate_engine::device::{self, DeviceChoice};
use hotplate_home::Home;
use idle::Idle;
use lock::{Lock, Taken};
use private::Umask;
use runs::{Runs, resume};
use settings::Settings;
use spec_cache::SpecCache;
use state::{Daemon, Stopping};
use store::Store;
use watch::Watcher;
use worker::Worker;

use crate::arithmetic;

/// Events that may wait; beyond it, whoever sends waits: a client that floods the daemon, not the daemon.
const EVENTS: usize = 1024;

/// Runs the daemon until it is told to end. Returns at once, without an error, if another one is running in this home.
pub(crate) fn run() -> anyhow::Result<()> {
    let started = Instant::now();
    let umask = Umask::close();
    let home = Home::from_env()?;
    log::start(&home);
    let lock = match Lock::take(&home)
        .with_context(|| format!("the lock {} cannot be taken", home.lock().display()))?
    {
        Taken::Ours(lock) => lock,
        Taken::Theirs(pid) => {
            let pid = pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
            tracing::info!("already running{pid}");
            return Ok(());
        }
    };
    private::close_home(&home)?;
    let settings = Settings::from_env();
    let aborted = last_words::listen(&home).unwrap_or_else(|error| {
        tracing::warn!(%error, "an abort would leave no word");
        false
    });
    let store = Store::open(&home.store())?;

    let (send, events) = bounded(EVENTS);
    signals::listen(send.clone()).context("the system's signals cannot be heard")?;
    // Before the socket: who could connect finds the note.
    if let Err(error) = lock.write_note() {
        tracing::warn!(%error, "daemon.json cannot be written");
    }
    let listener = sessions::bind(&home, &lock)
        .with_context(|| format!("the socket {} cannot be made", home.socket().display()))?;
    sessions::start_accepting(listener, send.clone())?;
    tracing::info!(pid = std::process::id(), home = %home.root().display(), ready = ?started.elapsed(), "listening");

    // From here on clients can connect; their requests wait in the channel.
    arithmetic::choose_or_tell(&home);
    let device = device::open(DeviceChoice::Auto)?;
    tracing::info!(processor = arithmetic::told(), "computing");
    let file_pool = Arc::new(FilePool {
        device: device::describe(&device),
        texts: SpecCache::default(),
        home: home.clone(),
        umask,
    });
    let watcher = {
        let send = send.clone();
        let alarm = Alarm::of("watch", &send);
        Watcher::start(&settings, move |news| {
            let _held = &alarm;
            // The main loop is gone only when the process ends.
            let _ = send.send(Event::Watch(news));
        })?
    };
    let mut daemon = Daemon {
        started,
        worker: Worker::start(&file_pool, device, &settings, &send)?,
        file_jobs: FileJobs::start(&file_pool, &send)?,
        watcher,
        settings,
        store,
        file_pool,
        sessions: HashMap::new(),
        runs: Runs::default(),
        watches: BTreeMap::new(),
        suspended_runs: HashSet::new(),
        fault: None,
        fault_before: None,
        late: None,
        models: HashMap::new(),
        generating: HashMap::new(),
        scoring: HashMap::new(),
        reading: HashMap::new(),
        measuring: HashSet::new(),
        cancelled: HashSet::new(),
        stopping: Stopping::No,
        idle: Idle::new(started),
    };
    let interrupted = daemon.store.open_runs()?;
    let versions = known_versions(&daemon.store)?;
    resume::clean_up(&daemon.file_pool, &interrupted, &|name, version| {
        versions.contains(&(name.to_owned(), version))
    });
    removal::finish(&daemon.file_pool, &mut daemon.store)?;
    left_over::clean_up(&daemon.file_pool.home, &|folder| {
        versions.iter().any(|(name, version)| daemon.file_pool.version_folder(name, *version) == folder)
    });
    methods::export::clean_up(&daemon.file_pool.home);
    daemon.fault_before = daemon.store.take_fault()?;
    let suspended = daemon.store.suspended(aborted)?;
    daemon.restore_runs(interrupted, &suspended);
    daemon.restore_watches(&suspended);
    daemon.run(&events);

    // Still ours: the next daemon binds only after the lock is free.
    let _ = std::fs::remove_file(home.socket());
    last_words::none(&home);
    drop(lock);
    log::flush();
    Ok(())
}

fn known_versions(store: &Store) -> anyhow::Result<HashSet<(String, u32)>> {
    let mut known = HashSet::new();
    for adapter in store.adapters()? {
        known.extend(
            store.versions(&adapter.name)?.into_iter().map(|row| (adapter.name.clone(), row.version)),
        );
    }
    Ok(known)
}
