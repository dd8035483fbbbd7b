//! A kernel's life: sockets bound, threads started, and the end.
//!
//! Four threads work: sockets, heartbeat, control, and shell, which runs the cells. The main thread waits for the end. What a
//! cell is waiting for then is not waited for: its run belongs to the daemon.

use std::path::Path;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::connection::{self, ConnectionFileError};
use crate::control::{Control, Ending};
use crate::parent;
use crate::running::Running;
use crate::session::Session;
use crate::show::Here;
use crate::sockets::{self, Inbox, Outbox, SocketError, SocketThread};
use crate::wire::{Encoder, SignError, Signer};

/// The last messages must get out, and no peer that has stopped reading may hold us.
const FLUSH_PATIENCE: Duration = Duration::from_secs(3);
/// Set by `hotplate lab`.
const IN_OUR_LAB: &str = "HOTPLATE_LAB";

#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    ConnectionFile(#[from] ConnectionFileError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
    #[error("the sockets failed: {0}")]
    SocketsFailed(String),
}

/// Returns when a front end asked for the end, or the parent is gone.
pub(crate) fn serve(connection_file: &Path) -> Result<(), ServeError> {
    let info = connection::read(connection_file)?;
    let signer = Signer::new(&info.key, &info.signature_scheme)?;
    let folder = std::env::current_dir()?;
    let mut context = zmq::Context::new();
    let heartbeat = sockets::bind_heartbeat(&context, &info)?;
    let (bound, outbox) = sockets::bind(&context, &info)?;

    let (ending, end) = crossbeam_channel::unbounded();
    let (shell, shell_requests) = crossbeam_channel::unbounded();
    let (control, control_requests) = crossbeam_channel::unbounded();
    let (stdin, answers) = crossbeam_channel::unbounded();
    let running = Running::default();

    interrupts_by_signal(&running)?;
    parent::watch({
        let ending = ending.clone();
        move || {
            let _ = ending.send(Ending::ParentGone);
        }
    })?;
    spawn("heartbeat", move || sockets::echo(&heartbeat))?;
    let sockets_ended = run_sockets(
        SocketThread::new(bound, Encoder::new(signer), Inbox { shell, control, stdin }),
        ending.clone(),
    )?;
    let controlling = Control { outbox: outbox.clone(), running: running.clone(), ending: ending.clone() };
    spawn("control", move || controlling.serve(&control_requests))?;
    let edits_json_lines = std::env::var_os(IN_OUR_LAB).is_some();
    let here = Here { folder: folder.into(), edits_json_lines };
    let session = Session::new(outbox.clone(), answers, running, ending, here);
    spawn("shell", move || session.serve(&shell_requests))?;

    // Every sender lives as long as its thread, so this waits for a real ending.
    let why = end.recv().unwrap_or(Ending::Asked);
    finish(&outbox, &sockets_ended, move || context.destroy());
    match why {
        Ending::Asked => Ok(()),
        Ending::ParentGone => {
            tracing::info!("the program that started this kernel is gone");
            Ok(())
        }
        Ending::SocketsFailed(why) => Err(ServeError::SocketsFailed(why)),
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

/// Gives a receiver that hears when the sockets are closed.
fn run_sockets(sockets: SocketThread, ending: Sender<Ending>) -> std::io::Result<Receiver<()>> {
    let (ended, sockets_ended) = crossbeam_channel::bounded(1);
    spawn("sockets", move || {
        if let Err(error) = sockets.run() {
            let _ = ending.send(Ending::SocketsFailed(error.to_string()));
        }
        let _ = ended.send(());
    })?;
    Ok(sockets_ended)
}

/// Sends what is left. ZeroMQ's own threads do the sending, and the context's end waits for them.
fn finish(
    outbox: &Outbox,
    sockets_ended: &Receiver<()>,
    end_context: impl FnOnce() -> zmq::Result<()> + Send + 'static,
) {
    outbox.end();
    let _ = sockets_ended.recv_timeout(FLUSH_PATIENCE);
    let (ended, context_ended) = crossbeam_channel::bounded(1);
    let ending = spawn("end", move || {
        let _ = end_context();
        let _ = ended.send(());
    });
    if ending.is_ok() {
        let _ = context_ended.recv_timeout(FLUSH_PATIENCE);
    }
}

/// Jupyter interrupts by message. A Ctrl-C in the terminal of somebody who started the kernel by hand means the same, and
/// must not kill it.
#[cfg(unix)]
fn interrupts_by_signal(running: &Running) -> std::io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT])?;
    let running = running.clone();
    spawn("signals", move || {
        for _ in signals.forever() {
            if let Some(cell) = running.current() {
                cell.interrupt();
            }
        }
    })
}

#[cfg(not(unix))]
fn interrupts_by_signal(_running: &Running) -> std::io::Result<()> {
    Ok(())
}
