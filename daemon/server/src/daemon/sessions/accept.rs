//! The socket: binds it, takes in clients of this user, refuses others.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;
use hotplate_client::Home;
use interprocess::local_socket::traits::{Listener as _, StreamCommon as _};
use interprocess::local_socket::{GenericFilePath, Listener, ListenerOptions, Stream, ToFsName};
use interprocess::os::unix::local_socket::ListenerOptionsExt;

use super::reader::read_until_end;
use super::writer::write_until_end;
use super::{InFlight, Outbox, SessionId};
use crate::daemon::events::Event;
use crate::daemon::lock::Lock;

/// Connections at a time; each costs two threads.
const SESSIONS: usize = 256;

/// Binds the home's socket, for this user only. Whatever lay there belonged to a daemon that is dead: the lock says so.
pub(crate) fn bind(home: &Home, _held: &Lock) -> io::Result<Listener> {
    let socket = home.socket();
    match std::fs::remove_file(&socket) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let name = socket.to_fs_name::<GenericFilePath>()?;
    ListenerOptions::new().name(name).mode(0o600).reclaim_name(false).create_sync()
}

/// Starts the thread that takes clients in. It ends with the process.
pub(crate) fn start_accepting(listener: Listener, events: Sender<Event>) -> io::Result<()> {
    thread::Builder::new().name("accept".to_owned()).spawn(move || accept(&listener, &events))?;
    Ok(())
}

fn accept(listener: &Listener, events: &Sender<Event>) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let open = Arc::new(());
    loop {
        let stream = match listener.accept() {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a client could not be taken in");
                // Out of file descriptors, most likely: give the others time to leave.
                thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        if let Err(owner) = check_owner(&stream) {
            tracing::warn!(?owner, "a client of another user was refused");
            continue;
        }
        if Arc::strong_count(&open) > SESSIONS {
            tracing::warn!("{SESSIONS} clients are connected; one more was refused");
            continue;
        }
        let session = SessionId(NEXT.fetch_add(1, Ordering::Relaxed));
        if let Err(error) = start_session(session, stream, events, &open) {
            tracing::warn!(%error, "no thread for a client");
        }
    }
}

/// # Errors
/// The uid of the other user, or `None` where the system does not tell.
fn check_owner(stream: &Stream) -> Result<(), Option<u32>> {
    let ours = rustix::process::geteuid().as_raw();
    match stream.peer_creds().ok().and_then(|peer| peer.euid()) {
        Some(owner) if owner == ours => Ok(()),
        owner => Err(owner),
    }
}

fn start_session(
    session: SessionId,
    stream: Stream,
    events: &Sender<Event>,
    open: &Arc<()>,
) -> io::Result<()> {
    let outbox = Arc::new(Outbox::new(stream));
    let in_flight = Arc::new(InFlight::default());
    let joined = Event::Joined { session, outbox: Arc::clone(&outbox), in_flight: Arc::clone(&in_flight) };
    if events.send(joined).is_err() {
        return Ok(());
    }
    let writing = Arc::clone(&outbox);
    let writer =
        thread::Builder::new().name(format!("writer {}", session.0)).spawn(move || write_until_end(&writing));
    let place = Arc::clone(open);
    let sender = events.clone();
    let reader = writer.and_then(|_| {
        thread::Builder::new().name(format!("reader {}", session.0)).spawn(move || {
            read_until_end(session, &outbox, &in_flight, &sender);
            drop(place);
        })
    });
    if reader.is_err() {
        let _ = events.send(Event::Left { session });
    }
    reader.map(|_| ())
}
