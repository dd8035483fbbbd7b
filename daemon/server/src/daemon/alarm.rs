//! Threads that nobody may lose unnoticed: one that ends by a panic says so to the main loop, which ends the daemon in order.
//!
//! Every open request gets an error first. A state that nobody thought of is no state to go on with.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::events::Event;
use super::rpc_errors::reason;

/// Starts a thread whose end is heard of, unless it is the end of `body`.
pub(crate) fn spawn(
    name: String,
    events: &Sender<Event>,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let alarm = Alarm::of(&name, events);
    thread::Builder::new()
        .name(name)
        .spawn(move || {
            let mut alarm = alarm;
            if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
                alarm.why = Some(reason(&*panic));
            }
        })
        .map(|_| ())
}

/// Rings when it is dropped by a panic.
pub(crate) struct Alarm {
    thread: String,
    /// What a panic that was caught has said.
    why: Option<String>,
    events: Sender<Event>,
}

impl Alarm {
    /// For a thread that is started elsewhere: something that lives as long as it does holds this.
    pub(crate) fn of(thread: &str, events: &Sender<Event>) -> Alarm {
        Alarm { thread: thread.to_owned(), why: None, events: events.clone() }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let unwinding = || thread::panicking().then(|| "it gave no reason".to_owned());
        if let Some(why) = self.why.take().or_else(unwinding) {
            // The main loop is gone only when the process ends.
            let _ = self.events.send(Event::ThreadDied { thread: std::mem::take(&mut self.thread), why });
        }
    }
}

/// What the worker is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Doing {
    Nothing,
    Answering,
    Training,
    Scoring,
    /// Loading a base or an adapter, mostly.
    Beginning,
}

impl Doing {
    const ALL: [Doing; 5] =
        [Doing::Nothing, Doing::Answering, Doing::Training, Doing::Scoring, Doing::Beginning];

    fn words(self) -> &'static str {
        match self {
            Doing::Nothing => "nothing",
            Doing::Answering => "a token",
            Doing::Training => "a layer of training",
            Doing::Scoring => "a layer of scoring",
            Doing::Beginning => "the start of a request or a run (it reads a base's weights, mostly)",
        }
    }
}

/// When the worker began what it is at: written by it, read by the main loop.
#[derive(Debug)]
pub(crate) struct Pulse {
    born: Instant,
    since: AtomicU64,
    doing: AtomicU8,
}

/// Nothing that the worker does at a time takes so long on a machine that is well.
const LONG: Duration = Duration::from_secs(30);

impl Default for Pulse {
    fn default() -> Self {
        Self { born: Instant::now(), since: AtomicU64::new(0), doing: AtomicU8::new(Doing::Nothing as u8) }
    }
}

impl Pulse {
    pub(crate) fn beat(&self, doing: Doing) {
        self.since.store(self.born.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.doing.store(doing as u8, Ordering::Release);
    }

    /// What is to be said of a worker that has been at one thing for very long.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem_beyond(LONG)
    }

    fn problem_beyond(&self, long: Duration) -> Option<String> {
        let code = self.doing.load(Ordering::Acquire);
        let doing = Doing::ALL.into_iter().find(|doing| *doing as u8 == code)?;
        let taken =
            self.born.elapsed().saturating_sub(Duration::from_millis(self.since.load(Ordering::Relaxed)));
        if doing == Doing::Nothing || taken < long {
            return None;
        }
        Some(format!(
            "the worker has been at {} for {} seconds, and everybody waits for it; hotplate logs may say why, hotplate stop ends it",
            doing.words(),
            taken.as_secs()
        ))
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;

    #[test]
    fn a_thread_that_panics_is_heard_of_and_one_that_ends_is_not() {
        let (send, events) = unbounded();
        spawn("calm".to_owned(), &send, || ()).unwrap();
        spawn("worker".to_owned(), &send, || panic!("oh dear")).unwrap();
        drop(send);
        let heard: Vec<Event> = events.iter().collect();
        let [Event::ThreadDied { thread, why }] = &heard[..] else { panic!("{} events", heard.len()) };
        assert_eq!((thread.as_str(), why.as_str()), ("worker", "oh dear"));
    }

    #[test]
    fn a_thread_that_is_started_elsewhere_rings_by_what_it_holds() {
        let (send, events) = unbounded();
        let alarm = Alarm::of("watch", &send);
        let ended = thread::spawn(move || {
            let _held = alarm;
            panic!("oh dear");
        });
        assert!(ended.join().is_err());
        assert!(matches!(events.try_recv(), Ok(Event::ThreadDied { thread, .. }) if thread == "watch"));
        drop(Alarm::of("watch", &send));
        assert!(events.try_recv().is_err());
    }

    #[test]
    fn a_long_step_is_said_and_rest_is_not() {
        let pulse = Pulse::default();
        assert_eq!(pulse.problem_beyond(Duration::ZERO), None);
        pulse.beat(Doing::Training);
        assert_eq!(pulse.problem(), None);
        let said = pulse.problem_beyond(Duration::ZERO).unwrap();
        assert!(said.contains("at a layer of training for 0 seconds"), "{said}");
    }
}
