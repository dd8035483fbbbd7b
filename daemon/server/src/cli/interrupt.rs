//! Ctrl-C: the first one asks for a clean end, the second one ends.

use std::io;
use std::thread;

use hotplate_client::Canceller;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What a shell expects of a program that Ctrl-C has ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// How many signals a person may need.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// A second signal ends the process on the spot: nothing here is worth waiting for.
    SecondEnds,
    /// There is something to clean up, which takes seconds at most.
    CleansUp,
}

/// A canceller that is thrown by Ctrl-C (and, where there is something to clean up, by a closing terminal or a
/// `kill` as well).
pub(crate) fn on_interrupt(patience: Patience) -> io::Result<Canceller> {
    let canceller = Canceller::new();
    let mut signals = match patience {
        Patience::SecondEnds => Signals::new([SIGINT])?,
        Patience::CleansUp => Signals::new([SIGINT, SIGTERM, SIGHUP])?,
    };
    let thrown = canceller.clone();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            if thrown.is_cancelled() && patience == Patience::SecondEnds {
                super::leave(INTERRUPTED);
            }
            thrown.cancel();
        }
    })?;
    Ok(canceller)
}
