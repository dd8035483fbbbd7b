//! How far the running code is, so that an interrupt costs as little as it can.

use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::Pid;

use crate::family;

/// A compiler that an interrupt has ended may be followed by another one.
const AGAIN: Duration = Duration::from_millis(20);

#[derive(Clone)]
pub(crate) struct Progress {
    state: Arc<Mutex<State>>,
    /// evcxr's child. The handle outlives it: it always holds the present one.
    child: Arc<Mutex<Child>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    #[default]
    NotInterrupted,
    /// Only compilers were ended.
    Nothing,
    /// The process that holds the variables was ended.
    Variables,
}

#[derive(Default)]
struct State {
    /// Counts what has run: an interrupt is for one of them.
    number: u64,
    phase: Phase,
    cost: Cost,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    Compiling,
    Running,
}

impl Progress {
    pub(crate) fn new(child: Arc<Mutex<Child>>) -> Progress {
        Progress { state: Arc::default(), child }
    }

    pub(crate) fn compiling(&self) {
        let mut state = self.lock();
        *state = State { number: state.number + 1, phase: Phase::Compiling, cost: Cost::NotInterrupted };
    }

    pub(crate) fn running(&self) {
        self.lock().phase = Phase::Running;
    }

    /// The code is over; says what an interrupt has done to it.
    pub(crate) fn over(&self) -> Cost {
        let mut state = self.lock();
        state.phase = Phase::Idle;
        state.cost
    }

    /// Ends what runs now; returns at once.
    pub(crate) fn interrupt(&self) {
        let progress = self.clone();
        let number = self.lock().number;
        thread::spawn(move || {
            while progress.end_something(number) {
                thread::sleep(AGAIN);
            }
        });
    }

    /// Says whether it may have to be done again.
    fn end_something(&self, number: u64) -> bool {
        let mut state = self.lock();
        match state.phase {
            _ if state.number != number => false,
            Phase::Idle => false,
            Phase::Compiling => {
                state.cost = Cost::Nothing;
                drop(state);
                family::kill_below(rustix::process::getpid(), self.process());
                true
            }
            Phase::Running => {
                state.cost = Cost::Variables;
                // Below it is the one that runs the code, and what the code has started.
                if let Some(process) = self.process() {
                    family::kill_below(process, None);
                }
                // Fails only when it has ended by itself.
                let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).kill();
                false
            }
        }
    }

    fn process(&self) -> Option<Pid> {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).id();
        Pid::from_raw(child as i32)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
