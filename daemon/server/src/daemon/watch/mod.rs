//! Watches folders and says when saves in them are finished.
//!
//! One thread. Owns where events come from, when they have saved, and whether a folder is still there. Events are only hints:
//! what really changed is found out by reading the folder, which is not this module's work. It must not know examples or runs.

mod debounce;
pub(crate) mod method;
mod scan;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use debounce::{Debounce, QuietSave, Stamp};
use hotplate_dataset::is_dataset_file;
use hotplate_dataset::recipe::is_recipe;
use hotplate_protocol::methods::status::WatchMethod;
use method::{Hint, Source, attach, hint};
use scan::{Scan, Snapshot, differences, look, scan};

use super::process::thread_time;
use super::settings::Settings;

/// How often each folder is looked for; one system call.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Also where the system tells of saves: files behind links, and whatever it forgot. At most so rarely...
const RESCAN_NATIVE: Duration = Duration::from_mins(1);
/// ...and so often that all looks together take one part in so many of a processor's time.
const RESCAN_SHARE: u32 = 50;
/// Where changes behind links are noticed later than this, it is said.
const SOON: Duration = Duration::from_secs(2);
/// A save that has not come to rest by then is worth a word.
const RESTLESS: Duration = Duration::from_secs(10);

/// What happened in a watched folder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum News {
    Saved { folder: PathBuf, files: Vec<PathBuf>, saved_at: Option<SystemTime> },
    Health { folder: PathBuf, method: WatchMethod, problem: Option<String> },
}

enum Input {
    Add(PathBuf),
    Debounce(PathBuf),
    Remove(PathBuf),
    Raw { folder: PathBuf, real: PathBuf, event: notify::Result<notify::Event> },
}

/// The main loop's side of the thread.
pub(crate) struct Watcher {
    inputs: Sender<Input>,
}

impl Watcher {
    /// `tell` is called on the watcher's thread.
    pub(crate) fn start(
        settings: &Settings,
        tell: impl Fn(News) + Send + 'static,
    ) -> std::io::Result<Watcher> {
        let (inputs, received) = unbounded();
        let mut watching = Watching {
            inputs: inputs.clone(),
            quiet: settings.debounce,
            poll_every: settings.poll_every,
            folders: BTreeMap::new(),
            tell: Box::new(tell),
        };
        thread::Builder::new().name("watch".to_owned()).spawn(move || watching.run(&received))?;
        Ok(Watcher { inputs })
    }

    /// Canonical. Watching a folder twice is watching it once.
    pub(crate) fn add(&self, folder: &Path) {
        let _ = self.inputs.send(Input::Add(folder.to_owned()));
    }

    /// Tells of the folder once it has come to rest, as if something had been saved: a look at it now could meet half of a save.
    pub(crate) fn look_when_settled(&self, folder: &Path) {
        let _ = self.inputs.send(Input::Debounce(folder.to_owned()));
    }

    pub(crate) fn remove(&self, folder: &Path) {
        let _ = self.inputs.send(Input::Remove(folder.to_owned()));
    }
}

struct Watching {
    inputs: Sender<Input>,
    quiet: Duration,
    poll_every: Duration,
    folders: BTreeMap<PathBuf, Folder>,
    tell: Box<dyn Fn(News) + Send>,
}

struct Folder {
    source: Source,
    method: WatchMethod,
    /// What stays true until the folder is attached anew.
    standing_problem: Option<String>,
    told: Option<(WatchMethod, Option<String>)>,
    /// Device and inode: a folder that was deleted and made again is another one.
    identity: Option<(u64, u64)>,
    debounce: Debounce,
    snapshot: Snapshot,
    /// Links lead to some of its files.
    linked: bool,
    /// What the last look cost a processor.
    scan_took: Duration,
    next_scan: Instant,
}

impl Watching {
    fn run(&mut self, received: &Receiver<Input>) {
        let mut next_heartbeat = Instant::now() + HEARTBEAT;
        loop {
            let debounce = self.folders.values().filter_map(|folder| folder.debounce.deadline()).min();
            let wake = debounce.map_or(next_heartbeat, |deadline| deadline.min(next_heartbeat));
            match received.recv_deadline(wake) {
                Ok(Input::Add(folder)) => self.add(folder),
                Ok(Input::Debounce(folder)) => {
                    if let Some(folder) = self.folders.get_mut(&folder) {
                        folder.debounce.event(PathBuf::new(), Instant::now(), None);
                    }
                }
                Ok(Input::Remove(folder)) => {
                    self.folders.remove(&folder);
                }
                Ok(Input::Raw { folder, real, event }) => self.raw(&folder, &real, event),
                Err(RecvTimeoutError::Timeout) => {}
                // The daemon has ended.
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = Instant::now();
            if now >= next_heartbeat {
                next_heartbeat = now + HEARTBEAT;
                self.heartbeat(now);
            }
            self.debounce(now);
        }
    }

    fn add(&mut self, path: PathBuf) {
        if self.folders.contains_key(&path) {
            return;
        }
        let mut folder = Folder {
            source: Source::None,
            method: WatchMethod::Native,
            standing_problem: None,
            told: None,
            identity: None,
            debounce: Debounce::new(self.quiet),
            snapshot: Snapshot::new(),
            linked: false,
            scan_took: Duration::ZERO,
            next_scan: Instant::now(),
        };
        folder.check_presence(&path, &self.inputs);
        folder.scan(&path, self.poll_every, self.folders.len() + 1);
        // Files that were saved between the last look at the folder and this moment told nobody.
        folder.debounce.event(PathBuf::new(), Instant::now(), None);
        folder.tell_health(&path, Instant::now(), self.poll_every, self.folders.len() + 1, &*self.tell);
        self.folders.insert(path, folder);
    }

    fn raw(&mut self, path: &Path, real: &Path, event: notify::Result<notify::Event>) {
        let Some(folder) = self.folders.get_mut(path) else { return };
        let (now, wall) = (Instant::now(), SystemTime::now());
        let hint = match event {
            Ok(event) => hint(real, &event, &|relative| {
                real.join(relative).is_dir() || folder.held_files_below(relative)
            }),
            Err(error) => {
                tracing::warn!(folder = %path.display(), %error, "watching: an event could not be read");
                if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) {
                    // A new subfolder found no room among the watches: look at everything by ourselves from now on.
                    folder.source = Source::Polling;
                    folder.method = WatchMethod::Polling;
                    folder.standing_problem = Some(
                        "the system's limit of watched folders is reached, so this one is looked at every few seconds; raise it \
                         with: sudo sysctl fs.inotify.max_user_watches=524288"
                            .to_owned(),
                    );
                    folder.next_scan = now;
                }
                Hint::Everything
            }
        };
        match hint {
            Hint::Everything => folder.debounce.event(PathBuf::new(), now, None),
            Hint::Paths(paths) => {
                for path in paths {
                    folder.debounce.event(path, now, Some(wall));
                }
            }
        }
    }

    fn heartbeat(&mut self, now: Instant) {
        let folders = self.folders.len();
        for (path, folder) in &mut self.folders {
            if folder.check_presence(path, &self.inputs) {
                // It came, or came back: whatever it holds may be new.
                folder.debounce.event(PathBuf::new(), now, None);
            }
            if now >= folder.next_scan && !matches!(folder.source, Source::None) {
                let before = folder.scan(path, self.poll_every, folders);
                for changed in differences(&before, &folder.snapshot) {
                    // Nobody saw the save itself: the file's own time is the best there is.
                    let saved_at = match folder.snapshot.get(&changed) {
                        Some(Stamp::There { modified, .. }) => Some(*modified),
                        _ => None,
                    };
                    // What an event has told already is being waited for.
                    folder.debounce.seen(changed, now, saved_at);
                }
            }
            folder.tell_health(path, now, self.poll_every, folders, &*self.tell);
        }
    }

    fn debounce(&mut self, now: Instant) {
        let folders = self.folders.len();
        for (path, folder) in &mut self.folders {
            let saved = folder.debounce.poll(now, &mut |relative| look(&path.join(relative)));
            if let Some(QuietSave { paths, saved_at }) = saved {
                // A folder that came or went brings or takes files that nothing was told of.
                if paths.iter().any(|path| !is_dataset_file(path) && !is_recipe(path)) {
                    folder.scan(path, self.poll_every, folders);
                }
                for changed in &paths {
                    match look(&path.join(changed)) {
                        Stamp::Gone => drop(folder.snapshot.remove(changed)),
                        stamp if is_dataset_file(changed) || is_recipe(changed) => {
                            folder.snapshot.insert(changed.clone(), stamp);
                        }
                        Stamp::There { .. } => {}
                    }
                }
                (self.tell)(News::Saved { folder: path.clone(), files: paths, saved_at });
            }
        }
    }
}

impl Folder {
    /// Notices that the folder went or came; true if it is new.
    fn check_presence(&mut self, path: &Path, inputs: &Sender<Input>) -> bool {
        let identity = identity(path);
        if identity == self.identity {
            return false;
        }
        self.identity = identity;
        if identity.is_none() {
            self.source = Source::None;
            self.standing_problem = Some(
                "the folder is gone; the adapter stays, and watching goes on when the folder is back"
                    .to_owned(),
            );
            return false;
        }
        (self.source, self.method, self.standing_problem) = attach(path, inputs);
        true
    }

    /// Whether the last look saw files below this folder.
    fn held_files_below(&self, relative: &Path) -> bool {
        let next = self.snapshot.range(relative.to_owned()..).next();
        next.is_some_and(|(path, _)| path.starts_with(relative) && path != relative)
    }

    /// Looks at the folder; answers what was known before.
    fn scan(&mut self, path: &Path, poll_every: Duration, folders: usize) -> Snapshot {
        let began = thread_time();
        let Scan { snapshot, linked } = scan(path);
        (self.linked, self.scan_took) = (linked, thread_time().saturating_sub(began));
        self.next_scan = Instant::now() + self.scan_interval(poll_every, folders);
        std::mem::replace(&mut self.snapshot, snapshot)
    }

    /// `folders`: how many are watched.
    fn scan_interval(&self, poll_every: Duration, folders: usize) -> Duration {
        if self.method == WatchMethod::Polling {
            return poll_every;
        }
        let folders = u32::try_from(folders).unwrap_or(u32::MAX);
        let share = self.scan_took.saturating_mul(RESCAN_SHARE.saturating_mul(folders));
        // A heartbeat that comes a little early must not wait for the next one.
        share.clamp(HEARTBEAT / 2, RESCAN_NATIVE)
    }

    fn tell_health(
        &mut self,
        path: &Path,
        now: Instant,
        poll_every: Duration,
        folders: usize,
        tell: &dyn Fn(News),
    ) {
        let restless = (self.debounce.waiting(now) > RESTLESS).then(|| {
            "files in this folder keep changing; they are learnt when they have come to rest".to_owned()
        });
        let interval = self.scan_interval(poll_every, folders);
        let late = (self.linked && self.method == WatchMethod::Native && interval > SOON).then(|| {
            // In coarse steps: looks do not take the same time twice.
            let seconds = [5, 10, 20].into_iter().find(|most| interval.as_secs() < *most).unwrap_or(60);
            format!(
                "links lead out of this folder, and it is large: what changes behind them is noticed within {seconds} s"
            )
        });
        let health = (self.method, self.standing_problem.clone().or(restless).or(late));
        if self.told.as_ref() != Some(&health) {
            tell(News::Health { folder: path.to_owned(), method: health.0, problem: health.1.clone() });
            self.told = Some(health);
        }
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;

    let found = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_dir)?;
    Some((found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_dir).map(|_| (0, 0))
}

#[cfg(test)]
mod tests;
