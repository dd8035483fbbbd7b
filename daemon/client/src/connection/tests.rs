//! Against a daemon of a few lines, on a real socket.

use std::io::{BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use hotplate_protocol::methods::Nothing;
use hotplate_protocol::methods::generate::{Generate, GenerateParams, Sampling};
use hotplate_protocol::methods::initialize::{Agreed, InitializeResult, Mismatch, PeerInfo, ProtocolRange};
use hotplate_protocol::methods::models::Models;
use hotplate_protocol::notifications::{
    GenerateDelta, GenerateDeltaParams, RunEventNotification, RunEventParams,
};
use hotplate_protocol::run::{RunEvent, RunId};
use hotplate_protocol::{Response, RpcError, read_frame};

use super::*;

struct Place {
    _folder: tempfile::TempDir,
    home: Home,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(&folder.path().join("home")).unwrap();
    Place { _folder: folder, home }
}

fn me() -> PeerInfo {
    PeerInfo { name: "test".into(), version: "1".into() }
}

/// The daemon's end of one connection.
struct Daemon {
    reader: BufReader<UnixStream>,
    stream: UnixStream,
}

impl Daemon {
    fn read(&mut self) -> Message {
        Message::parse(&read_frame(&mut self.reader).unwrap().unwrap()).unwrap()
    }

    fn read_request(&mut self) -> Request {
        match self.read() {
            Message::Request(request) => request,
            other => panic!("not a request: {other:?}"),
        }
    }

    fn send(&mut self, message: &Message) {
        write_frame(&mut self.stream, &message.to_bytes()).unwrap();
    }

    fn reply(&mut self, response: Response) {
        self.send(&Message::Response(response));
    }

    fn welcome(&mut self) {
        let request = self.read_request();
        assert_eq!(request.method, "initialize");
        let result = InitializeResult {
            server_info: PeerInfo { name: "hotplate".into(), version: "0".into() },
            capabilities: serde_json::json!({}),
            hotplate: Agreed { protocol: 1, pid: 1 },
        };
        self.reply(Response::ok(request.id, &result));
    }
}

/// Serves one connection.
fn serve(place: &Place, script: impl FnOnce(&mut Daemon) + Send + 'static) -> JoinHandle<()> {
    let listener = UnixListener::bind(place.home.socket()).unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        script(&mut Daemon { reader: BufReader::new(stream.try_clone().unwrap()), stream });
    })
}

fn open(place: &Place) -> Result<Connection, ConnectError> {
    Connection::open(&place.home, &Spawn::Never, me())
}

fn event(event: RunEvent) -> Message {
    let params = RunEventParams { run: RunId(1), event };
    Message::Notification(Notification::new::<RunEventNotification>(&params))
}

fn prompt() -> GenerateParams {
    GenerateParams {
        prompt: "p".into(),
        adapter: None,
        base: None,
        raw: false,
        sampling: Sampling::default(),
        ..GenerateParams::default()
    }
}

#[test]
fn deltas_reach_their_request_and_run_events_wait() {
    let place = place();
    let daemon = serve(&place, |daemon| {
        daemon.welcome();
        let request = daemon.read_request();
        for (id, text) in [(request.id.clone(), "mine"), (Id::Number(999), "another's")] {
            let params = GenerateDeltaParams { id, text: text.into(), token_ids: vec![1] };
            daemon.send(&Message::Notification(Notification::new::<GenerateDelta>(&params)));
        }
        daemon.send(&event(RunEvent::Cancelled));
        daemon.reply(Response::failed(Some(request.id), RpcError::new(ErrorCode::Busy, "full")));
    });
    let connection = open(&place).unwrap();
    let mut deltas = Vec::new();
    let result = connection.call_with::<Generate>(&prompt(), &Canceller::new(), &mut |notification| {
        deltas.push(notification.parse::<GenerateDelta>().unwrap().unwrap().text);
    });
    assert!(matches!(result, Err(CallError::Refused(RpcError { code: ErrorCode::Busy, .. }))));
    assert_eq!(deltas, ["mine"]);
    let waiting = connection.next_notification(&Canceller::new()).unwrap();
    assert_eq!(waiting.method, "run/event");
    daemon.join().unwrap();
    let ended = connection.next_notification(&Canceller::new());
    assert!(matches!(ended, Err(CallError::Disconnected { .. })), "{ended:?}");
    let ended = connection.call::<Models>(&Nothing {});
    assert!(matches!(ended, Err(CallError::Disconnected { .. })), "{ended:?}");
}

#[test]
fn two_threads_share_a_session() {
    let place = place();
    let daemon = serve(&place, |daemon| {
        daemon.welcome();
        let (first, second) = (daemon.read_request(), daemon.read_request());
        // The later one is answered first.
        for request in [second, first] {
            daemon.reply(Response::ok(request.id, &Vec::<()>::new()));
        }
    });
    let connection = open(&place).unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| assert!(connection.call::<Models>(&Nothing {}).unwrap().is_empty()));
        }
    });
    daemon.join().unwrap();
}

#[test]
fn cancelling_tells_the_daemon_and_waits_for_its_one_reply() {
    let place = place();
    let canceller = Canceller::new();
    let daemon = serve(&place, {
        let canceller = canceller.clone();
        move |daemon| {
            daemon.welcome();
            let request = daemon.read_request();
            canceller.cancel();
            let Message::Notification(cancel) = daemon.read() else { panic!("no cancellation") };
            let params = cancel.parse::<Cancel>().unwrap().unwrap();
            assert_eq!(params.id, request.id);
            let error = RpcError::new(ErrorCode::RequestCancelled, "cancelled");
            daemon.reply(Response::failed(Some(request.id), error));
        }
    });
    let connection = open(&place).unwrap();
    let result = connection.call_with::<Generate>(&prompt(), &canceller, &mut |_| {});
    assert!(matches!(result, Err(CallError::Cancelled)));
    // Already thrown: nothing is sent any more.
    let result = connection.call_with::<Models>(&Nothing {}, &canceller, &mut |_| {});
    assert!(matches!(result, Err(CallError::Cancelled)));
    assert!(matches!(connection.next_notification(&canceller), Err(CallError::Cancelled)));
    daemon.join().unwrap();
}

#[test]
fn a_waiting_reader_wakes_when_cancelled() {
    let place = place();
    let daemon = serve(&place, |daemon| {
        daemon.welcome();
        // Until the client leaves.
        assert!(read_frame(&mut daemon.reader).unwrap().is_none());
    });
    let connection = open(&place).unwrap();
    let canceller = Canceller::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(20));
            canceller.cancel();
        });
        assert!(matches!(connection.next_notification(&canceller), Err(CallError::Cancelled)));
    });
    drop(connection);
    daemon.join().unwrap();
}

#[test]
fn steps_that_nobody_reads_are_merged() {
    let place = place();
    let daemon = serve(&place, |daemon| {
        daemon.welcome();
        for step in 0..5000 {
            daemon.send(&event(RunEvent::Step {
                step,
                steps: 5000,
                epoch: 0.0,
                loss: 1.0,
                learning_rate: 0.1,
                tokens_per_second: 1.0,
                seconds: 1.0,
                seconds_left: 1.0,
            }));
        }
        daemon.send(&event(RunEvent::Cancelled));
    });
    let connection = open(&place).unwrap();
    daemon.join().unwrap();
    assert!(connection.wait_closed(Duration::from_secs(5)));
    let mut count = 0;
    while connection.next_notification(&Canceller::new()).is_ok() {
        count += 1;
    }
    assert!((100..1000).contains(&count), "{count}");
}

#[test]
fn a_mismatch_is_typed_and_has_a_remedy() {
    let place = place();
    let daemon = serve(&place, |daemon| {
        let request = daemon.read_request();
        let mut error = RpcError::new(ErrorCode::ProtocolMismatch, "no common version");
        let mismatch = Mismatch {
            daemon: ProtocolRange { min: 7, max: 8 },
            client: ProtocolRange { min: 1, max: 1 },
            daemon_version: "9.0.0".into(),
            remedy: "update this program".into(),
        };
        error.data = serde_json::to_value(mismatch).ok();
        daemon.reply(Response::failed(Some(request.id), error));
    });
    let error = open(&place).err().unwrap();
    assert!(matches!(error, ConnectError::Mismatch(_)));
    assert_eq!(
        error.to_string(),
        "this program speaks protocol 1, the running daemon (version 9.0.0) speaks 7 to 8: update this program"
    );
    daemon.join().unwrap();
}

#[test]
fn a_stranger_on_the_socket_is_named() {
    let place = place();
    let daemon = serve(&place, |daemon| {
        daemon.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        // The listener's end closes the way for another attempt.
    });
    let error = open(&place).err().unwrap();
    assert!(matches!(error, ConnectError::NotADaemon { .. } | ConnectError::NotRunning { .. }), "{error}");
    daemon.join().unwrap();
}

#[test]
fn no_daemon_and_a_stale_socket_are_the_same() {
    let place = place();
    assert!(matches!(open(&place), Err(ConnectError::NotRunning { .. })));
    drop(UnixListener::bind(place.home.socket()).unwrap());
    assert!(matches!(open(&place), Err(ConnectError::NotRunning { .. })));
}

/// A program that stands in for the daemon.
fn program(place: &Place, script: &str) -> PathBuf {
    let path = place.home.root().join("program");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

#[test]
fn a_daemon_that_cannot_start_is_quoted() {
    let place = place();
    std::fs::write(place.home.log(), "words of an earlier one\n").unwrap();
    let program = program(&place, "echo \"$1: no luck in $HOTPLATE_HOME\" >&2; exit 3");
    let begun = Instant::now();
    let error = Connection::open(&place.home, &Spawn::IfNeeded { program }, me()).err().unwrap();
    let ConnectError::Failed { status, last_lines, .. } = &error else { panic!("{error}") };
    assert!(status.contains('3'));
    assert_eq!(last_lines, &[format!("daemon: no luck in {}", place.home.root().display())]);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let place = place();
    let spawn = Spawn::IfNeeded { program: "/nowhere/hotplate".into() };
    let error = Connection::open(&place.home, &spawn, me()).err().unwrap();
    assert!(error.to_string().contains("/nowhere/hotplate"), "{error}");
}

#[test]
fn a_starter_that_lost_the_race_finds_the_winner() {
    let place = place();
    // Ends well without listening, as the loser of the lock does.
    let program = program(&place, "exit 0");
    let socket = place.home.socket();
    let winner = thread::spawn(move || {
        thread::sleep(Duration::from_millis(150));
        let listener = UnixListener::bind(socket).unwrap();
        let (stream, _) = listener.accept().unwrap();
        Daemon { reader: BufReader::new(stream.try_clone().unwrap()), stream }.welcome();
    });
    Connection::open(&place.home, &Spawn::IfNeeded { program }, me()).unwrap();
    winner.join().unwrap();
}
