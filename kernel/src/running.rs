//! The cell that runs now, where an interrupt finds it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender};
use hotplate_client::{Canceller, Thrown};

/// Shared by the thread that runs cells and the one that answers the control channel.
#[derive(Clone, Default)]
pub(crate) struct Running {
    cell: Arc<Mutex<Option<Interruptible>>>,
}

/// A running cell, as others see it.
#[derive(Clone)]
pub(crate) struct Interruptible {
    canceller: Canceller,
    interrupts: Sender<()>,
}

impl Interruptible {
    pub(crate) fn interrupt(&self) {
        // First, so that whoever was cancelled by it finds it here. The cell may be over by now.
        let _ = self.interrupts.send(());
        self.canceller.cancel();
    }
}

/// A cell's time; it cannot be interrupted any more once this is dropped.
pub(crate) struct Turn<'a> {
    running: &'a Running,
    /// Cancels commands: the first interrupt does, and nothing brings it back.
    pub canceller: Canceller,
    /// Every interrupt, for those to whom a second one means more.
    pub interrupts: Receiver<()>,
}

impl Running {
    pub(crate) fn begin(&self) -> Turn<'_> {
        // A display is not worth a run: `%cancel` is there for that.
        let canceller = Canceller::that(Thrown::EndsTheShowing);
        let (sender, interrupts) = crossbeam_channel::unbounded();
        *self.lock() = Some(Interruptible { canceller: canceller.clone(), interrupts: sender });
        Turn { running: self, canceller, interrupts }
    }

    /// What interrupts the running cell, and no later one. `None` between cells: there is nothing to interrupt.
    pub(crate) fn current(&self) -> Option<Interruptible> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Interruptible>> {
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.running.lock().take();
    }
}
