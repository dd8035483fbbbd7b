//! Ctrl-C: the first one asks for a clean end, the second one ends. At a terminal that shows a run, the first one asks what is meant.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use hotplate_client::{Canceller, words};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::terminal::stderr_width;

/// What a shell expects of a program that Ctrl-C has ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// How many signals a person may need.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// A second signal ends the process on the spot: nothing here is worth waiting for.
    SecondEnds,
    /// There is something to clean up, which takes seconds at most.
    CleansUp,
    /// A run is shown, which may have learnt something by then: the person says what becomes of it.
    Asks,
}

impl Patience {
    /// For a run that this command begins; without a terminal there is nobody to ask.
    pub(crate) fn for_a_run() -> Patience {
        let asks = io::stdin().is_terminal() && io::stderr().is_terminal();
        if asks { Patience::Asks } else { Patience::SecondEnds }
    }
}

const QUESTION: &str = "Ctrl-C again cancels the run, and it makes no version; f and Enter ends it and keeps the best so far; Enter alone goes on.";

/// A canceller that is thrown by Ctrl-C (and, where there is something to clean up, by a closing terminal or a
/// `kill` as well).
pub(crate) fn on_interrupt(patience: Patience) -> io::Result<Canceller> {
    let canceller = Canceller::new();
    let mut signals = match patience {
        Patience::SecondEnds | Patience::Asks => Signals::new([SIGINT])?,
        Patience::CleansUp => Signals::new([SIGINT, SIGTERM, SIGHUP])?,
    };
    let thrown = canceller.clone();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let open = Arc::new(AtomicBool::new(false));
        for _ in signals.forever() {
            match patience {
                Patience::Asks if !thrown.is_cancelled() && !open.swap(true, Ordering::SeqCst) => {
                    ask(&thrown, &open);
                }
                Patience::SecondEnds | Patience::Asks if thrown.is_cancelled() => super::leave(INTERRUPTED),
                _ => thrown.cancel(),
            }
        }
    })?;
    Ok(canceller)
}

/// Puts the question, and waits for its answer elsewhere: a second Ctrl-C is an answer, too.
fn ask(canceller: &Canceller, open: &Arc<AtomicBool>) {
    // If nobody can be asked, the next Ctrl-C cancels.
    let _ = writeln!(io::stderr(), "\r\x1b[K{}", words::fold(QUESTION, stderr_width()));
    let (canceller, open) = (canceller.clone(), Arc::clone(open));
    let answered = move || {
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        match answer.trim() {
            _ if read.is_err() => {}
            "f" | "F" | "finish" => canceller.finish(),
            "c" | "C" | "cancel" => canceller.cancel(),
            _ => {}
        }
        open.store(false, Ordering::SeqCst);
    };
    let _ = thread::Builder::new().name("question".to_owned()).spawn(answered);
}
