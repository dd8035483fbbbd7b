//! `stop`: returns when the daemon is really gone, so that what comes next finds a clean place.

use std::thread;
use std::time::{Duration, Instant};

use hotplate_home::{Home, own_file};
use hotplate_protocol::methods::stop::{Stop, StopParams, StopWhen};

use super::CommandError;
use crate::canceller::Canceller;
use crate::command::StopArgs;
use crate::connection::Connection;
use crate::shown::Shown;

/// A run in progress is checkpointed first.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(10);

pub(super) fn stop(
    connection: &Connection,
    args: &StopArgs,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    let when = if args.when_idle { StopWhen::Idle } else { StopWhen::Now };
    connection.call_with::<Stop>(&StopParams { when }, canceller, &mut |_| {})?;
    if args.when_idle {
        show(Shown::StopsWhenIdle);
        return Ok(());
    }
    let deadline = Instant::now() + PATIENCE;
    while holds_lock(connection.home()) {
        if canceller.is_cancelled() {
            return Err(CommandError::Cancelled);
        }
        if Instant::now() > deadline {
            let pid = connection.server().hotplate.pid;
            return Err(CommandError::StillRunning { pid, seconds: PATIENCE.as_secs() });
        }
        thread::sleep(LOOK_EVERY);
    }
    show(Shown::Stopped);
    Ok(())
}

/// Whether a daemon lives: it holds its lock to the last. (Its process id may stay a zombie's for long, where nobody
/// collects it.)
fn holds_lock(home: &Home) -> bool {
    match own_file::open(&home.lock()) {
        // A shared lock, and only for an instant, so that two who look do not take each other for a daemon.
        Ok(file) => matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)),
        Err(_) => false,
    }
}
