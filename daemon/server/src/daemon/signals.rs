//! SIGTERM, SIGINT and SIGHUP become an event.

use std::io;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::Sender;

use super::events::Event;

#[cfg(unix)]
pub(crate) fn listen(events: Sender<Event>) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

    // A file that may not grow any more (`ulimit -f`) is an error of its write, not the end of the daemon.
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            if events.send(Event::Signal).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn listen(_events: Sender<Event>) -> io::Result<()> {
    Ok(())
}
