//! The command that runs now, where an interrupt finds it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotplate_client::{Canceller, Thrown};

/// Shared by the thread that runs cells and the one that answers the control channel.
#[derive(Clone, Default)]
pub(crate) struct Running {
    canceller: Arc<Mutex<Option<Canceller>>>,
}

/// A cell's time; it cannot be interrupted any more once this is dropped.
pub(crate) struct Turn<'a> {
    running: &'a Running,
    pub canceller: Canceller,
}

impl Running {
    pub(crate) fn begin(&self) -> Turn<'_> {
        // A display is not worth a run: `%cancel` is there for that.
        let canceller = Canceller::that(Thrown::EndsTheShowing);
        *self.lock() = Some(canceller.clone());
        Turn { running: self, canceller }
    }

    /// What cancels the running cell, and no later one. `None` between cells: there is nothing to interrupt.
    pub(crate) fn current(&self) -> Option<Canceller> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Canceller>> {
        self.canceller.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.running.lock().take();
    }
}
