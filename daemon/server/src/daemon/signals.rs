//! SIGTERM and SIGINT become an event.

use std::io;
use std::thread;

use crossbeam_channel::Sender;

use super::events::Event;

#[cfg(unix)]
pub(crate) fn listen(events: Sender<Event>) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};

    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
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
