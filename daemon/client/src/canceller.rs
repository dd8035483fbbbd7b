//! A switch that a front end throws when the person has had enough (Ctrl-C, a notebook's interrupt).
//!
//! Owns the moment of cancelling. What cancelling means is up to whoever waits: see [`Canceller::on_cancel`].
//!
//! What Ctrl-C costs is the front end's to say ([`Thrown`]): in a shell it cancels the run that the command began, in a notebook it ends the display.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What becomes of a run that was being shown when its switch is thrown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Thrown {
    /// It is cancelled, as by Ctrl-C in a shell.
    #[default]
    EndsTheRun,
    /// It goes on in the daemon; only the showing ends, as in a notebook.
    EndsTheShowing,
}

/// Clones are the same switch. Once thrown it stays thrown: use a new one for each command. Only a wish for the best so far is taken back by whoever has
/// heard of it.
#[derive(Clone, Default)]
pub struct Canceller {
    thrown: Thrown,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    cancelled: bool,
    /// What was thrown asks a run for the best it has, and cancels nothing.
    finish: bool,
    next: u64,
    actions: Vec<(u64, Action)>,
}

type Action = Arc<dyn Fn() + Send + Sync>;

/// Takes its action back when dropped.
#[must_use = "the action is taken back when this is dropped"]
pub(crate) struct Registration<'a> {
    canceller: &'a Canceller,
    number: u64,
}

impl Canceller {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn that(thrown: Thrown) -> Self {
        Self { thrown, ..Self::default() }
    }

    pub(crate) fn thrown(&self) -> Thrown {
        self.thrown
    }

    /// Asks whatever is in flight under this canceller to end. Returns at once.
    pub fn cancel(&self) {
        self.throw(false);
    }

    /// Asks a run that is being shown to end in order and keep the best so far. Whatever is not that is cancelled.
    pub fn finish(&self) {
        self.throw(true);
    }

    pub(crate) fn wants_the_best(&self) -> bool {
        let state = self.lock();
        state.cancelled && state.finish
    }

    /// The wish for the best so far was heard, and the showing goes on.
    pub(crate) fn go_on(&self) {
        let mut state = self.lock();
        if state.finish {
            (state.cancelled, state.finish) = (false, false);
        }
    }

    fn throw(&self, finish: bool) {
        let actions: Vec<Action> = {
            let mut state = self.lock();
            (state.cancelled, state.finish) = (true, finish);
            state.actions.iter().map(|(_, action)| Arc::clone(action)).collect()
        };
        // Outside the lock: an action may write to a socket, or look at this canceller.
        for action in actions {
            action();
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }

    /// Has `action` run when somebody cancels, or now if that has happened already.
    pub(crate) fn on_cancel(&self, action: impl Fn() + Send + Sync + 'static) -> Registration<'_> {
        let action: Action = Arc::new(action);
        let (number, already) = {
            let mut state = self.lock();
            let number = state.next;
            state.next += 1;
            state.actions.push((number, Arc::clone(&action)));
            (number, state.cancelled)
        };
        if already {
            action();
        }
        Registration { canceller: self, number }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.canceller.lock().actions.retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_wish_for_the_best_is_taken_back_and_a_cancel_is_not() {
        let canceller = Canceller::new();
        canceller.finish();
        assert!(canceller.is_cancelled() && canceller.wants_the_best());
        canceller.go_on();
        assert!(!canceller.is_cancelled() && !canceller.wants_the_best());
        canceller.cancel();
        canceller.go_on();
        assert!(canceller.is_cancelled() && !canceller.wants_the_best());
    }

    #[test]
    fn actions_run_once_each_even_when_they_come_late() {
        let canceller = Canceller::new();
        let count = Arc::new(AtomicUsize::new(0));
        let counting = || {
            let count = Arc::clone(&count);
            move || {
                count.fetch_add(1, Ordering::SeqCst);
            }
        };
        let early = canceller.on_cancel(counting());
        drop(canceller.on_cancel(counting()));
        canceller.clone().cancel();
        assert!(canceller.is_cancelled());
        assert_eq!(count.load(Ordering::SeqCst), 1);
        drop(early);
        let late = canceller.on_cancel(counting());
        assert_eq!(count.load(Ordering::SeqCst), 2);
        drop(late);
    }
}
