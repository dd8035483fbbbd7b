//! From nothing to a session: connect, start the daemon if none is there, shake hands.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::thread;
use std::time::{Duration, Instant};

use hotplate_home::{Home, free_bytes};
use hotplate_protocol::methods::initialize::{
    Handshake, InitializationOptions, Initialize, InitializeParams, InitializeResult, Mismatch, PeerInfo,
};
use hotplate_protocol::{ErrorCode, Id, Message, PROTOCOL, Request, RpcError};
use interprocess::ConnectWaitMode;
use interprocess::local_socket::{ConnectOptions, Stream};

use super::error::{CallError, ConnectError};
use super::inbox::{Inbox, Mail};
use super::spawn::{ChildState, Spawn, Started};
use super::{Connection, Session, Wire, address};

const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_millis(40);
/// How long the holder of the lock may take to listen before another daemon is tried.
const GAVE_WAY_WAIT: Duration = Duration::from_millis(300);
const LEAVING_WAIT: Duration = Duration::from_millis(50);
const READY_WITHIN: Duration = Duration::from_secs(10);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Below this a daemon cannot even write its store's first page and a line of log.
const LEAST_ROOM: u64 = 64 << 10;

/// No daemon listens, or what came through the socket.
enum Attempt {
    Connected(Stream),
    Absent,
    /// There is one, but it has no place for us right now (its backlog is full, it is just leaving).
    Crowded(io::Error),
}

impl Connection {
    /// Connects to the daemon of this home. If none runs and `spawn` allows it, starts one and waits until it
    /// listens (which needs no model to be loaded).
    pub fn open(home: &Home, spawn: &Spawn, client: PeerInfo) -> Result<Connection, ConnectError> {
        let introduction = InitializeParams {
            process_id: Some(std::process::id()),
            client_info: client,
            capabilities: serde_json::json!({}),
            initialization_options: InitializationOptions { hotplate: Handshake { protocol: PROTOCOL } },
        };
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let stream = connect_or_start(home, spawn, deadline)?;
            match shake_hands(home, stream, &introduction) {
                // Caught one that was just leaving: the next one is better.
                Err(HandshakeError::Leaving(_)) if Instant::now() < deadline => thread::sleep(LEAVING_WAIT),
                Err(HandshakeError::Leaving(error) | HandshakeError::Final(error)) => return Err(error),
                Ok(connection) => return Ok(connection),
            }
        }
    }
}

enum HandshakeError {
    /// The other side hung up, or said that it is stopping.
    Leaving(ConnectError),
    Final(ConnectError),
}

fn connect_or_start(home: &Home, spawn: &Spawn, deadline: Instant) -> Result<Stream, ConnectError> {
    let mut wait = FIRST_WAIT;
    let mut started: Option<Started> = None;
    let mut started_at = Instant::now();
    loop {
        let crowded = match attempt(home)? {
            Attempt::Connected(stream) => return Ok(stream),
            Attempt::Absent => None,
            Attempt::Crowded(error) => Some(error),
        };
        if crowded.is_none() {
            match spawn {
                Spawn::Never => return Err(ConnectError::NotRunning { socket: home.socket() }),
                Spawn::IfNeeded { program } => match started.as_mut().map(Started::state) {
                    None => started = Some(Started::new(program, home)?),
                    // The lock's holder does not listen either: it was on its way out. Try once more.
                    Some(ChildState::GaveWay) if started_at.elapsed() > GAVE_WAY_WAIT => {
                        started = Some(Started::new(program, home)?);
                        started_at = Instant::now();
                    }
                    Some(ChildState::Running | ChildState::GaveWay) => {}
                    Some(ChildState::Failed(status)) => {
                        let last_lines = started.as_ref().map(Started::last_lines).unwrap_or_default();
                        return Err(failed(home, status, last_lines));
                    }
                },
            }
        }
        if Instant::now() + wait > deadline {
            return Err(match (crowded, started) {
                (Some(source), _) => {
                    ConnectError::Unreachable { socket: home.socket(), log: home.log(), source }
                }
                (None, started) => ConnectError::NotReady {
                    seconds: READY_WITHIN.as_secs(),
                    last_lines: started.as_ref().map(Started::last_lines).unwrap_or_default(),
                    log: home.log(),
                },
            });
        }
        thread::sleep(wait);
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// A daemon that ended with an error. On a full disk it could not even write why.
fn failed(home: &Home, status: String, last_lines: Vec<String>) -> ConnectError {
    let folder = home.root().to_owned();
    match free_bytes(&folder) {
        Some(free) if free < LEAST_ROOM => ConnectError::NoRoom { status, folder, free },
        _ => ConnectError::Failed { status, last_lines, log: home.log() },
    }
}

fn attempt(home: &Home) -> Result<Attempt, ConnectError> {
    let unreachable = |source| ConnectError::Unreachable { socket: home.socket(), log: home.log(), source };
    let name = address(home).map_err(unreachable)?;
    let connected =
        ConnectOptions::new().name(name).wait_mode(ConnectWaitMode::Timeout(CONNECT_WITHIN)).connect_sync();
    match connected {
        Ok(stream) => match check_peer(&stream) {
            Ok(()) => Ok(Attempt::Connected(stream)),
            Err(PeerProblem::Foreign(owner)) => {
                Err(ConnectError::ForeignDaemon { socket: home.socket(), owner })
            }
            Err(PeerProblem::NotThere(error)) => Ok(Attempt::Crowded(error)),
        },
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(Attempt::Absent),
            io::ErrorKind::WouldBlock
            | io::ErrorKind::TimedOut
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionReset => Ok(Attempt::Crowded(error)),
            _ => Err(unreachable(error)),
        },
    }
}

#[cfg_attr(not(unix), expect(dead_code, reason = "named pipes carry no such check yet"))]
enum PeerProblem {
    Foreign(u32),
    NotThere(io::Error),
}

/// A Unix socket with a full backlog looks connected to a connect with a time limit; and the folder is ours, but
/// whoever listens there should be ours too.
#[cfg(unix)]
fn check_peer(stream: &Stream) -> Result<(), PeerProblem> {
    use interprocess::local_socket::traits::StreamCommon;

    let Stream::UdSocket(socket) = stream;
    socket.inner().peer_addr().map_err(PeerProblem::NotThere)?;
    let ours = rustix::process::geteuid().as_raw();
    match stream.peer_creds().ok().and_then(|peer| peer.euid()) {
        Some(owner) if owner != ours => Err(PeerProblem::Foreign(owner)),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn check_peer(_stream: &Stream) -> Result<(), PeerProblem> {
    Ok(())
}

fn shake_hands(
    home: &Home,
    stream: Stream,
    introduction: &InitializeParams,
) -> Result<Connection, HandshakeError> {
    let stream = Arc::new(stream);
    let wire = Arc::new(Wire::new(Arc::clone(&stream)));
    let inbox = Inbox::start_reading(stream, Arc::clone(&wire)).map_err(|source| {
        HandshakeError::Final(ConnectError::Unreachable { socket: home.socket(), log: home.log(), source })
    })?;
    match introduce(home, &wire, &inbox, introduction) {
        Ok(server) => Ok(Connection {
            session: Arc::new(Session {
                home: home.clone(),
                wire,
                inbox,
                next_id: AtomicI64::new(1),
                server,
            }),
        }),
        Err(error) => {
            // Ends the reader thread; the connection may be closed already.
            let _ = wire.shut_down();
            Err(error)
        }
    }
}

/// Says who we are and hears who the other side is.
fn introduce(
    home: &Home,
    wire: &Wire,
    inbox: &Inbox,
    introduction: &InitializeParams,
) -> Result<InitializeResult, HandshakeError> {
    let not_a_daemon = |why: String| ConnectError::NotADaemon { socket: home.socket(), why };
    let ended = |error: CallError| match inbox.refusal() {
        Some(refused) => HandshakeError::Final(refusal(refused)),
        None => HandshakeError::Leaving(not_a_daemon(error.to_string())),
    };
    let id = Id::Number(0);
    let mailbox = inbox.expect(id.clone()).map_err(ended)?;
    wire.send(&Message::Request(Request::new::<Initialize>(id, introduction))).map_err(ended)?;

    let deadline = Instant::now() + ANSWER_WITHIN;
    loop {
        match mailbox.next(Some(deadline)) {
            Mail::Notification(_) | Mail::Cancelled => {}
            Mail::Reply(Ok(value)) => {
                return serde_json::from_value(value)
                    .map_err(|error| HandshakeError::Final(not_a_daemon(error.to_string())));
            }
            Mail::Reply(Err(error)) if error.code == ErrorCode::ShuttingDown => {
                return Err(HandshakeError::Leaving(ConnectError::Refused(error)));
            }
            Mail::Reply(Err(error)) => return Err(HandshakeError::Final(refusal(error))),
            Mail::Closed(reason) => return Err(ended(CallError::Disconnected { reason })),
            Mail::TimedOut => {
                return Err(HandshakeError::Final(ConnectError::Silent {
                    seconds: ANSWER_WITHIN.as_secs(),
                    log: home.log(),
                    note: home.note(),
                }));
            }
        }
    }
}

fn refusal(error: RpcError) -> ConnectError {
    let mismatch = match (&error.code, &error.data) {
        (ErrorCode::ProtocolMismatch, Some(data)) => serde_json::from_value::<Mismatch>(data.clone()).ok(),
        _ => None,
    };
    mismatch.map_or(ConnectError::Refused(error), |mismatch| ConnectError::Mismatch(Box::new(mismatch)))
}
