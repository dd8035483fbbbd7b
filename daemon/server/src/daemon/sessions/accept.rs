//! The socket: binds it, takes in clients of this user, refuses others, and says why where there is no place.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use hotplate_home::Home;
use hotplate_protocol::{ErrorCode, Message, Response, RpcError, write_frame};
use interprocess::local_socket::traits::{Listener as _, StreamCommon as _};
use interprocess::local_socket::{GenericFilePath, Listener, ListenerOptions, Stream, ToFsName};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::reader::read_until_end;
use super::writer::write_until_end;
use super::{InFlight, Outbox, Seat, SessionId};
use crate::daemon::alarm;
use crate::daemon::events::Event;
use crate::daemon::lock::Lock;

/// Connections at a time; each costs two threads and a file descriptor.
const SESSIONS: usize = 256;
/// Beyond them, for `status` and `stop`.
const KEPT: usize = 8;
/// File descriptors that the daemon needs for files.
const FOR_FILES: u64 = 48;

const NO_DESCRIPTOR: &str = "the daemon has no file descriptor left; close a notebook or another program that uses it, or let it have more (ulimit -n) \
    and start it again";

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
    raise_descriptors();
    let most = most_sessions(descriptors());
    let alarm = events.clone();
    alarm::spawn("accept".to_owned(), &alarm, move || accept(&listener, most, &events))
}

/// File descriptors that this process may have.
fn descriptors() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Takes as many as the system gives.
fn raise_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, ?current, "no more file descriptors");
    }
}

/// So many that files can still be opened.
fn most_sessions(descriptors: Option<u64>) -> usize {
    let left = descriptors.map_or(u64::MAX, |all| all.saturating_sub(FOR_FILES + KEPT as u64));
    usize::try_from(left).unwrap_or(SESSIONS).clamp(1, SESSIONS)
}

fn accept(listener: &Listener, most: usize, events: &Sender<Event>) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Who sits on a kept place takes nobody else's.
    let (own, kept) = (Arc::new(()), Arc::new(()));
    // Kept for the moment when there is no other file descriptor.
    let mut spare = spare_descriptor();
    loop {
        let stream = match listener.accept() {
            Ok(stream) => stream,
            // Linux says so before anybody connects. With the spare one it waits for somebody.
            Err(error) if is_out_of_descriptors(&error) && spare.is_some() => {
                spare = None;
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, "a client could not be taken in");
                thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        if spare.is_none() {
            spare = spare_descriptor();
            if spare.is_none() {
                tracing::warn!("no file descriptor is left; a client was refused");
                refuse(&stream, NO_DESCRIPTOR);
                drop(stream);
                spare = spare_descriptor();
                continue;
            }
        }
        if let Err(owner) = check_owner(&stream) {
            tracing::warn!(?owner, "a client of another user was refused");
            continue;
        }
        // One of the counts is ours.
        let (seat, place) = match (Arc::strong_count(&own) - 1, Arc::strong_count(&kept) - 1) {
            (taken, _) if taken < most => (Seat::Own, &own),
            (_, taken) if taken < KEPT => (Seat::Kept, &kept),
            _ => {
                tracing::warn!("{most} clients are connected; one more was refused");
                refuse(&stream, &crowded(most));
                continue;
            }
        };
        let session = SessionId(NEXT.fetch_add(1, Ordering::Relaxed));
        if let Err(error) = start_session(session, stream, seat, events, place) {
            tracing::warn!(%error, "no thread for a client");
        }
    }
}

fn spare_descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let codes = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].map(rustix::io::Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Why there is no place for somebody's request.
pub(crate) fn crowded(most: usize) -> String {
    format!(
        "{most} programs are connected to the daemon, and it takes no more (status and stop are answered for a few); close one of them, a \
         notebook perhaps, then try again"
    )
}

/// How many clients may be connected, as an error has it.
pub(crate) fn no_place() -> RpcError {
    RpcError::new(ErrorCode::Busy, crowded(most_sessions(descriptors())))
}

/// Answers a connection that is not taken in. Its buffer is empty, so that this waits for nobody.
fn refuse(stream: &Stream, why: &str) {
    let error = RpcError::new(ErrorCode::Busy, why);
    let mut writer = stream;
    // It may have gone already.
    let _ = write_frame(&mut writer, &Message::Response(Response::failed(None, error)).to_bytes());
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
    seat: Seat,
    events: &Sender<Event>,
    open: &Arc<()>,
) -> io::Result<()> {
    let outbox = Arc::new(Outbox::new(stream));
    let in_flight = Arc::new(InFlight::default());
    let joined = Event::Joined {
        session,
        outbox: Arc::clone(&outbox),
        in_flight: Arc::clone(&in_flight),
        seat,
        at: Instant::now(),
    };
    if events.send(joined).is_err() {
        return Ok(());
    }
    let writing = Arc::clone(&outbox);
    let writer =
        thread::Builder::new().name(format!("writer {}", session.0)).spawn(move || write_until_end(&writing));
    let place = Arc::clone(open);
    let (sender, reading) = (events.clone(), Arc::clone(&outbox));
    let reader = writer.and_then(|_| {
        thread::Builder::new().name(format!("reader {}", session.0)).spawn(move || {
            read_until_end(session, &reading, &in_flight, &sender);
            drop(place);
        })
    });
    if let Err(error) = &reader {
        refuse(
            &outbox.stream,
            &format!("the daemon can begin no thread ({error}); end other programs, then try again"),
        );
        outbox.hang_up();
        let _ = events.send(Event::Left { session });
    }
    reader.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_files() {
        assert_eq!(most_sessions(None), SESSIONS);
        assert_eq!(most_sessions(Some(1024)), SESSIONS);
        assert_eq!(most_sessions(Some(100)), 44);
        assert_eq!(most_sessions(Some(10)), 1);
    }
}
