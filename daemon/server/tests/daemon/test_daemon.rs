//! The real program in a home of its own, and a strict client for it.

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hotplate_client::{CallError, Canceller, ConnectError, Connection, Home, PeerInfo, Spawn};
use hotplate_protocol::methods::Nothing;
use hotplate_protocol::methods::adapters::{AdapterInfo, Adapters};
use hotplate_protocol::methods::run_attach::{AttachParams, AttachRun};
use hotplate_protocol::methods::status::{Status, StatusResult};
use hotplate_protocol::methods::train::{Knobs, Train, TrainParams};
use hotplate_protocol::notifications::RunEventNotification;
use hotplate_protocol::run::{RunEvent, RunId};
use hotplate_protocol::{Message, RequestKind, Response, RpcError, read_frame, write_frame};
use serde_json::{Value, json};

pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A home with a base and a dataset, and the daemon that lives there. Everything ends with it.
pub(crate) struct TestDaemon {
    pub(crate) root: tempfile::TempDir,
    pub(crate) variables: Vec<(&'static str, String)>,
    child: Option<Child>,
}

impl TestDaemon {
    pub(crate) fn start() -> TestDaemon {
        TestDaemon::with(&[])
    }

    /// With further environment variables.
    pub(crate) fn with(variables: &[(&'static str, &str)]) -> TestDaemon {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("base")).unwrap();
        crate::base::write(&root.path().join("base"), 1);
        std::fs::create_dir(root.path().join("notes")).unwrap();
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let mut daemon = TestDaemon { root, variables, child: None };
        daemon.restart();
        daemon
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hotplate"));
        let log =
            std::fs::File::options().create(true).append(true).open(self.root.path().join("log")).unwrap();
        command.arg("daemon").env("HOTPLATE_HOME", self.home()).env("HOTPLATE_SETTLE_SECONDS", "0.2");
        command.envs(self.variables.clone()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command
    }

    /// Starts a daemon in this home and waits until it listens.
    pub(crate) fn restart(&mut self) {
        self.restart_as(self.command());
    }

    /// The same, with a command of the test's own.
    pub(crate) fn restart_as(&mut self, mut command: Command) {
        self.child = Some(command.spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(self.home().join("daemon.sock")).is_err() {
            assert!(Instant::now() < deadline, "the daemon does not listen: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM; waits for its end.
    pub(crate) fn terminate(&mut self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// A signal that ends it in order.
    pub(crate) fn signal(&mut self, signal: rustix::process::Signal) {
        let mut child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).unwrap();
        assert!(child.wait().unwrap().success(), "{}", self.log());
    }

    pub(crate) fn wait_for_end(&mut self) {
        let mut child = self.child.take().unwrap();
        eventually("the daemon ends", || child.try_wait().unwrap().is_some());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    pub(crate) fn notes(&self) -> PathBuf {
        std::fs::canonicalize(self.root.path()).unwrap().join("notes")
    }

    pub(crate) fn base(&self) -> String {
        self.root.path().join("base").to_str().unwrap().to_owned()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.root.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn client(&self) -> TestClient {
        TestClient { connection: self.connect().unwrap() }
    }

    pub(crate) fn connect(&self) -> Result<Connection, ConnectError> {
        let home = Home::at(&self.home()).unwrap();
        let peer = PeerInfo { name: "test".to_owned(), version: "0".to_owned() };
        Connection::open(&home, &Spawn::Never, peer)
    }

    /// A connection that may send anything.
    pub(crate) fn raw(&self) -> RawClient {
        let stream = UnixStream::connect(self.home().join("daemon.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        RawClient { reader: BufReader::new(stream) }
    }

    /// Writes notes that have much in common, one file each; numbers keep them apart.
    pub(crate) fn write_notes(&self, numbers: std::ops::Range<usize>) {
        // Written aside and moved in one after the other, which takes microseconds: a machine that stalls between two writes for longer than the
        // settling would make two saves of one.
        let aside = tempfile::tempdir_in(self.notes().parent().unwrap()).unwrap();
        let names: Vec<String> = numbers.clone().map(|number| format!("{number}.txt")).collect();
        for (number, name) in numbers.zip(&names) {
            std::fs::write(aside.path().join(name), note(number)).unwrap();
        }
        for name in names {
            std::fs::rename(aside.path().join(&name), self.notes().join(&name)).unwrap();
        }
    }

    pub(crate) fn train_params(&self) -> TrainParams {
        TrainParams {
            folder: self.notes(),
            base: Some(self.base()),
            fallback_base: None,
            adapter: None,
            knobs: Knobs {
                max_steps: Some(60),
                epochs: Some(100),
                learning_rate: Some(0.005),
                rank: Some(8),
                ..Knobs::default()
            },
        }
    }
}

impl Drop for TestDaemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

pub(crate) fn note(number: usize) -> String {
    let (kind, street) =
        (["bakery", "tea house", "bookshop"][number % 3], ["mill", "canal", "market"][number / 3 % 3]);
    format!("Well now, the {kind} on {street} street, visit number {number}. Hat off, and mind the step.")
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "still not so: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) struct TestClient {
    pub(crate) connection: Connection,
}

impl TestClient {
    pub(crate) fn call<R: RequestKind>(&self, params: &R::Params) -> R::Result {
        self.connection.call::<R>(params).unwrap_or_else(|error| panic!("{}: {error}", R::METHOD))
    }

    pub(crate) fn refusal<R: RequestKind>(&self, params: &R::Params) -> RpcError {
        match self.connection.call::<R>(params) {
            Err(CallError::Refused(error)) => error,
            Err(error) => panic!("{}: {error}", R::METHOD),
            Ok(_) => panic!("{} was answered", R::METHOD),
        }
    }

    pub(crate) fn status(&self) -> StatusResult {
        self.call::<Status>(&Nothing {})
    }

    pub(crate) fn adapters(&self) -> Vec<AdapterInfo> {
        self.call::<Adapters>(&Nothing {})
    }

    /// Trains, and answers all events.
    pub(crate) fn train(&self, params: &TrainParams) -> Vec<RunEvent> {
        let run = self.call::<Train>(params).run;
        self.follow(run)
    }

    pub(crate) fn attach(&self, run: Option<RunId>) {
        self.call::<AttachRun>(&AttachParams { run });
    }

    pub(crate) fn next_event(&self) -> (RunId, RunEvent) {
        let canceller = Canceller::new();
        let watchdog = canceller.clone();
        let (done, waiting) = std::sync::mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            if waiting.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                watchdog.cancel();
            }
        });
        let notification = self.connection.next_notification(&canceller).expect("an event");
        drop(done);
        thread.join().unwrap();
        let params = notification.parse::<RunEventNotification>().expect("a run's event").unwrap();
        (params.run, params.event)
    }

    /// All events of a run up to its last one.
    pub(crate) fn follow(&self, run: RunId) -> Vec<RunEvent> {
        let mut events = Vec::new();
        loop {
            let (of, event) = self.next_event();
            if of == run {
                let last = event.is_last();
                events.push(event);
                if last {
                    return events;
                }
            }
        }
    }

    /// The last event of the next run that ends.
    pub(crate) fn next_end(&self) -> (RunId, RunEvent) {
        loop {
            let (run, event) = self.next_event();
            if event.is_last() {
                return (run, event);
            }
        }
    }
}

/// Bytes in, bytes out.
pub(crate) struct RawClient {
    reader: BufReader<UnixStream>,
}

impl RawClient {
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        // The daemon may have hung up already; what it said before that can still be read.
        let _ = self.reader.get_mut().write_all(bytes);
    }

    pub(crate) fn send(&mut self, message: &Value) {
        write_frame(self.reader.get_mut(), message.to_string().as_bytes()).unwrap();
    }

    pub(crate) fn request(&mut self, id: i64, method: &str, params: &Value) {
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
    }

    /// Another hand on the same connection.
    pub(crate) fn sender(&self) -> RawClient {
        RawClient { reader: BufReader::new(self.reader.get_ref().try_clone().unwrap()) }
    }

    pub(crate) fn initialize(&mut self) {
        let params = json!({ "clientInfo": { "name": "raw", "version": "0" },
            "initializationOptions": { "hotplate": { "protocol": { "min": 1, "max": 1 } } } });
        self.request(0, "initialize", &params);
        assert!(self.response().outcome.is_ok());
    }

    pub(crate) fn end_of_sending(&mut self) {
        self.reader.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// The next message; `None` at the end.
    pub(crate) fn message(&mut self) -> Option<Message> {
        let body = read_frame(&mut self.reader).ok().flatten()?;
        Some(Message::parse(&body).unwrap())
    }

    /// The next response; notifications before it are passed over.
    pub(crate) fn response(&mut self) -> Response {
        loop {
            match self.message() {
                Some(Message::Response(response)) => return response,
                Some(_) => {}
                None => panic!("the connection ended without a response"),
            }
        }
    }

    /// Whether the daemon has closed the connection and nothing more comes.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let read = self.reader.read_to_end(&mut rest);
        (read.is_ok() || read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset))
            && rest.is_empty()
    }
}

pub(crate) fn folders_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .map(|entries| {
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        })
        .unwrap_or_default();
    names.sort();
    names
}
