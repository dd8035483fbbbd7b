//! When is a save finished? A pure state machine: events and looks at the disk go in, quiet files come out.
//!
//! Editors write in many ways (truncate and write, temporary file and rename, backup and rename, delete and create). What they have
//! in common: after a while nothing happens any more, and two looks at each file see the same size and time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// What a look at a path sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stamp {
    There {
        bytes: u64,
        modified: SystemTime,
        /// Which file it is, where the system tells.
        place: [u64; 4],
    },
    Gone,
}

#[derive(Debug)]
pub(crate) struct Debounce {
    quiet: Duration,
    pending: BTreeMap<PathBuf, Pending>,
    /// Of the pending ones.
    first_event: Option<Instant>,
    last_event: Option<Instant>,
    next_look: Option<Instant>,
}

#[derive(Debug)]
struct Pending {
    seen: Option<Stamp>,
    saved_at: Option<SystemTime>,
}

/// Saves that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QuietSave {
    /// Relative to the watched folder, sorted.
    pub(crate) paths: Vec<PathBuf>,
    /// Of the newest one whose time is known.
    pub(crate) saved_at: Option<SystemTime>,
}

impl Debounce {
    /// `quiet`: how long nothing must happen.
    pub(crate) fn new(quiet: Duration) -> Self {
        Self { quiet, pending: BTreeMap::new(), first_event: None, last_event: None, next_look: None }
    }

    /// Something happened to a path; `saved_at` where somebody saw the save itself.
    pub(crate) fn event(&mut self, path: PathBuf, now: Instant, saved_at: Option<SystemTime>) {
        // What was seen before the event says nothing any more.
        self.pending.insert(path, Pending { seen: None, saved_at });
        self.first_event.get_or_insert(now);
        self.last_event = Some(now);
        self.next_look = Some(now + self.quiet / 2);
    }

    /// A look found a change that may have been told already: then nothing is new, and nothing is waited for anew.
    pub(crate) fn seen(&mut self, path: PathBuf, now: Instant, saved_at: Option<SystemTime>) {
        if !self.pending.contains_key(&path) {
            self.event(path, now, saved_at);
        }
    }

    /// When [`poll`](Self::poll) is to be called next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.next_look
    }

    /// How long the oldest save has been waiting for quiet.
    pub(crate) fn waiting(&self, now: Instant) -> Duration {
        self.first_event.map_or(Duration::ZERO, |first| now.saturating_duration_since(first))
    }

    pub(crate) fn poll(&mut self, now: Instant, look: &mut dyn FnMut(&Path) -> Stamp) -> Option<QuietSave> {
        let (last_event, next_look) = (self.last_event?, self.next_look?);
        if now < next_look {
            return None;
        }
        let mut same = true;
        for (path, pending) in &mut self.pending {
            let stamp = look(path);
            same &= pending.seen == Some(stamp);
            pending.seen = Some(stamp);
        }
        if !same || now < last_event + self.quiet {
            self.next_look = Some((last_event + self.quiet).max(now + self.quiet / 2));
            return None;
        }
        self.first_event = None;
        self.last_event = None;
        self.next_look = None;
        let pending = std::mem::take(&mut self.pending);
        let saved_at = pending.values().filter_map(|pending| pending.saved_at).max();
        Some(QuietSave { paths: pending.into_keys().collect(), saved_at })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const QUIET: Duration = Duration::from_millis(400);

    /// A clock and a disk that do what the test says.
    struct World {
        start: Instant,
        debounce: Debounce,
        disk: HashMap<PathBuf, u64>,
    }

    impl World {
        fn new() -> Self {
            Self { start: Instant::now(), debounce: Debounce::new(QUIET), disk: HashMap::new() }
        }

        fn write(&mut self, at_ms: u64, path: &str, bytes: u64) {
            self.disk.insert(path.into(), bytes);
            self.event(at_ms, path);
        }

        fn event(&mut self, at_ms: u64, path: &str) {
            let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(at_ms);
            self.debounce.event(path.into(), self.start + Duration::from_millis(at_ms), Some(wall));
        }

        /// Polls at each deadline up to `until_ms`; the time and the files of the first saved batch.
        fn run_until(&mut self, until_ms: u64) -> Option<(u64, Vec<String>)> {
            while let Some(deadline) = self.debounce.deadline() {
                let at = (deadline - self.start).as_millis() as u64;
                if at > until_ms {
                    break;
                }
                let disk = &self.disk;
                let mut look = |path: &Path| match disk.get(path) {
                    Some(bytes) => {
                        Stamp::There { bytes: *bytes, modified: SystemTime::UNIX_EPOCH, place: [0; 4] }
                    }
                    None => Stamp::Gone,
                };
                if let Some(saved) = self.debounce.poll(deadline, &mut look) {
                    let names = saved.paths.iter().map(|path| path.display().to_string()).collect();
                    return Some((at, names));
                }
            }
            None
        }
    }

    #[test]
    fn one_save_settles_after_the_quiet_time() {
        let mut world = World::new();
        world.write(0, "a.txt", 10);
        assert_eq!(world.run_until(10_000), Some((400, vec!["a.txt".into()])));
        assert_eq!(world.debounce.deadline(), None);
    }

    #[test]
    fn truncate_and_write_is_one_save() {
        let mut world = World::new();
        world.write(0, "a.txt", 0);
        assert_eq!(world.run_until(150), None);
        world.write(150, "a.txt", 10);
        assert_eq!(world.run_until(10_000), Some((550, vec!["a.txt".into()])));
    }

    #[test]
    fn a_file_that_grows_without_events_is_waited_for() {
        let mut world = World::new();
        world.write(0, "a.txt", 1);
        assert_eq!(world.run_until(300), None);
        world.disk.insert("a.txt".into(), 2);
        assert_eq!(world.run_until(450), None, "the second look saw another size");
        assert_eq!(world.run_until(10_000), Some((600, vec!["a.txt".into()])));
    }

    #[test]
    fn delete_and_create_backups_and_several_files_come_together() {
        let mut world = World::new();
        world.event(0, "a.txt");
        world.event(5, "4913");
        world.write(10, "a.txt", 4);
        world.write(300, "b.txt", 4);
        assert_eq!(world.run_until(10_000), Some((700, vec!["4913".into(), "a.txt".into(), "b.txt".into()])));
    }

    #[test]
    fn the_newest_save_is_what_is_timed() {
        let mut debounce = Debounce::new(QUIET);
        let start = Instant::now();
        let wall = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        debounce.event("new".into(), start, Some(wall(900)));
        debounce.event("old".into(), start, Some(wall(100)));
        debounce.event(PathBuf::new(), start, None);
        let mut gone = |_: &Path| Stamp::Gone;
        assert!(debounce.poll(start + QUIET / 2, &mut gone).is_none());
        assert_eq!(debounce.poll(start + QUIET, &mut gone).unwrap().saved_at, Some(wall(900)));
    }

    #[test]
    fn endless_writing_is_seen_as_such() {
        let mut world = World::new();
        for round in 0..100 {
            world.write(round * 100, "log.txt", round);
            assert_eq!(world.run_until(round * 100 + 99), None);
        }
        assert!(world.debounce.waiting(world.start + Duration::from_secs(10)) >= Duration::from_secs(9));
    }
}
