//! A front end that speaks real ZeroMQ to a real kernel process, and reads like the protocol.
//!
//! It forgives nothing: a message that a test has not asked for is a failure, at the latest when the front end is
//! dropped.

use std::collections::VecDeque;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for a message that is under way; every test that expects silence pays it.
const SILENCE: Duration = Duration::from_millis(300);
const KEY: &str = "a key of 面包";

/// A kernel process with its connection file, ended with the test.
pub(crate) struct Kernel {
    child: Child,
    folder: tempfile::TempDir,
    is_killed: bool,
}

pub(crate) struct FrontEnd {
    shell: zmq::Socket,
    control: zmq::Socket,
    iopub: zmq::Socket,
    stdin: zmq::Socket,
    heartbeat: zmq::Socket,
    session: String,
    pub(crate) patience: Duration,
    /// Read from iopub and not asked for yet.
    waiting: VecDeque<Message>,
    _context: zmq::Context,
}

#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) header: Value,
    pub(crate) parent: Value,
    pub(crate) content: Value,
}

impl Message {
    pub(crate) fn kind(&self) -> &str {
        self.header["msg_type"].as_str().unwrap_or_default()
    }

    pub(crate) fn parent_id(&self) -> &str {
        self.parent["msg_id"].as_str().unwrap_or_default()
    }
}

impl Kernel {
    /// ipc sockets: no port can be taken by somebody else, and tests may run side by side.
    pub(crate) fn start() -> Kernel {
        Kernel::start_with(&[])
    }

    pub(crate) fn start_with(variables: &[(&str, &str)]) -> Kernel {
        let folder = tempfile::Builder::new().prefix("hp").tempdir_in("/tmp").unwrap();
        let mut file = std::fs::File::create(folder.path().join("connection.json")).unwrap();
        file.write_all(connection(folder.path()).to_string().as_bytes()).unwrap();
        // Closed, or the front end refuses it for what else lies in it.
        let mut closed = std::fs::DirBuilder::new();
        closed.mode(0o700).recursive(true).create(folder.path().join("home/temporary")).unwrap();
        std::fs::create_dir(folder.path().join("notes")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_hotplate-kernel"))
            .arg("run")
            .arg(folder.path().join("connection.json"))
            .current_dir(folder.path())
            .env("HOTPLATE_HOME", folder.path().join("home"))
            // The base is chosen: nobody needs to be told of the toy.
            .env("HOTPLATE_BASE", "hotplate-tiny")
            .env("HOTPLATE_BIN", folder.path().join("no such program"))
            .env("TMPDIR", folder.path().join("home/temporary"))
            .env_remove("JPY_PARENT_PID")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Kernel { child, folder, is_killed: false }
    }

    pub(crate) fn home(&self) -> std::path::PathBuf {
        self.folder.path().join("home")
    }

    /// Its current folder: that of the notebook.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Connected, subscribed and greeted.
    pub(crate) fn front_end(&self) -> FrontEnd {
        let mut front_end = FrontEnd::connect(self.folder.path());
        assert_eq!(front_end.iopub("iopub_welcome").content, json!({"subscription": ""}));
        assert_eq!(front_end.state_without_parent(), "starting");
        assert_eq!(front_end.state_without_parent(), "idle");
        front_end
    }

    /// A further one: the kernel has started long ago.
    pub(crate) fn late_front_end(&self) -> FrontEnd {
        FrontEnd::connect(self.folder.path())
    }

    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the kernel does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Without a word before.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.is_killed = true;
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            assert!(self.is_killed || status.signal().is_none(), "the kernel died");
            return;
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connection(folder: &Path) -> Value {
    json!({
        "ip": folder.join("s").to_str().unwrap(),
        "transport": "ipc",
        "shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5,
        "key": KEY,
        "signature_scheme": "hmac-sha256",
    })
}

pub(crate) fn sign(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
    for frame in frames {
        mac.update(frame);
    }
    hex::encode(mac.finalize().into_bytes()).into_bytes()
}

impl FrontEnd {
    fn connect(folder: &Path) -> FrontEnd {
        let context = zmq::Context::new();
        let session = uuid::Uuid::new_v4().to_string();
        let socket = |kind, number: u16| {
            let socket = context.socket(kind).unwrap();
            socket.set_linger(0).unwrap();
            socket.set_reconnect_ivl(10).unwrap();
            if kind == zmq::DEALER {
                // As jupyter_client does: an answer on stdin must find the front end that asked on shell.
                socket.set_identity(session.as_bytes()).unwrap();
            }
            if kind == zmq::SUB {
                socket.set_subscribe(b"").unwrap();
            }
            socket.connect(&format!("ipc://{}-{number}", folder.join("s").display())).unwrap();
            socket
        };
        FrontEnd {
            iopub: socket(zmq::SUB, 2),
            shell: socket(zmq::DEALER, 1),
            stdin: socket(zmq::DEALER, 3),
            control: socket(zmq::DEALER, 4),
            heartbeat: socket(zmq::REQ, 5),
            session,
            patience: PATIENCE,
            waiting: VecDeque::new(),
            _context: context,
        }
    }

    fn frames(&self, kind: &str, content: &[u8]) -> (String, Vec<Vec<u8>>) {
        let id = uuid::Uuid::new_v4().to_string();
        let header = json!({
            "msg_id": id, "session": self.session, "username": "tester", "date": "2026-01-01T00:00:00Z",
            "msg_type": kind, "version": "5.3",
        });
        let signed = vec![header.to_string().into_bytes(), b"{}".to_vec(), b"{}".to_vec(), content.to_vec()];
        let mut frames = vec![b"<IDS|MSG>".to_vec(), sign(&signed)];
        frames.extend(signed);
        (id, frames)
    }

    /// Sends on the shell channel and gives the message's id.
    pub(crate) fn send(&self, kind: &str, content: &Value) -> String {
        self.send_bytes(kind, content.to_string().as_bytes())
    }

    pub(crate) fn send_bytes(&self, kind: &str, content: &[u8]) -> String {
        let (id, frames) = self.frames(kind, content);
        self.shell.send_multipart(frames, 0).unwrap();
        id
    }

    /// With changed frames: the first is the delimiter, then signature, header, parent, metadata, content.
    pub(crate) fn send_changed(
        &self,
        kind: &str,
        content: &Value,
        change: impl FnOnce(&mut Vec<Vec<u8>>),
    ) -> String {
        let (id, mut frames) = self.frames(kind, content.to_string().as_bytes());
        change(&mut frames);
        self.shell.send_multipart(frames, 0).unwrap();
        id
    }

    pub(crate) fn send_control(&self, kind: &str, content: &Value) -> String {
        let (id, frames) = self.frames(kind, content.to_string().as_bytes());
        self.control.send_multipart(frames, 0).unwrap();
        id
    }

    pub(crate) fn execute(&self, code: &str) -> String {
        self.send(
            "execute_request",
            &json!({"code": code, "silent": false, "store_history": true,
            "user_expressions": {}, "allow_stdin": true, "stop_on_error": true}),
        )
    }

    pub(crate) fn shell(&self, kind: &str, parent: &str) -> Message {
        expect(receive(&self.shell, self.patience), kind, parent)
    }

    pub(crate) fn control(&self, kind: &str, parent: &str) -> Message {
        expect(receive(&self.control, PATIENCE), kind, parent)
    }

    /// What the kernel asks of this front end while it runs the cell.
    pub(crate) fn question(&self, cell: &str) -> Message {
        expect(receive(&self.stdin, self.patience), "input_request", cell)
    }

    pub(crate) fn answer(&self, question: &Message, value: &str) {
        let (_, mut frames) = self.frames("input_reply", json!({ "value": value }).to_string().as_bytes());
        frames[3] = question.header.to_string().into_bytes();
        frames[1] = sign(&frames[2..]);
        self.stdin.send_multipart(frames, 0).unwrap();
    }

    pub(crate) fn next_iopub(&mut self) -> Message {
        self.waiting.pop_front().or_else(|| receive(&self.iopub, self.patience)).expect("nothing on iopub")
    }

    /// The next message on iopub must be of this kind.
    pub(crate) fn iopub(&mut self, kind: &str) -> Message {
        let message = self.next_iopub();
        assert_eq!(message.kind(), kind, "{message:?}");
        message
    }

    pub(crate) fn state_without_parent(&mut self) -> String {
        let message = self.iopub("status");
        assert_eq!(message.parent, json!({}));
        message.content["execution_state"].as_str().unwrap().to_owned()
    }

    pub(crate) fn busy(&mut self, parent: &str) {
        self.state("busy", parent);
    }

    pub(crate) fn idle(&mut self, parent: &str) {
        self.state("idle", parent);
    }

    fn state(&mut self, state: &str, parent: &str) {
        let message = self.iopub("status");
        assert_eq!(message.content["execution_state"], state, "{message:?}");
        assert_eq!(message.parent_id(), parent, "{message:?}");
    }

    /// A whole cell that ends well: gives what it put out.
    pub(crate) fn run(&mut self, code: &str) -> Vec<Message> {
        let id = self.execute(code);
        let (outputs, reply) = self.outcome(&id, code);
        assert_eq!(reply["status"], "ok", "{reply}");
        outputs
    }

    /// Everything that belongs to a cell that was sent: its output, and its reply.
    pub(crate) fn outcome(&mut self, id: &str, code: &str) -> (Vec<Message>, Value) {
        self.busy(id);
        assert_eq!(self.iopub("execute_input").content["code"], code);
        let mut outputs = Vec::new();
        loop {
            let message = self.next_iopub();
            assert_eq!(message.parent_id(), id, "{message:?}");
            if message.kind() == "status" {
                assert_eq!(message.content["execution_state"], "idle");
                break;
            }
            outputs.push(message);
        }
        (outputs, self.shell("execute_reply", id).content)
    }

    /// A request on shell, with nothing but its reply.
    pub(crate) fn ask(&mut self, kind: &str, content: &Value) -> Value {
        let id = self.send(kind, content);
        self.busy(&id);
        let reply = self.shell(&kind.replace("_request", "_reply"), &id);
        self.idle(&id);
        reply.content
    }

    pub(crate) fn heartbeat(&self, text: &str) -> String {
        self.heartbeat.send(text, 0).unwrap();
        assert!(self.heartbeat.poll(zmq::POLLIN, PATIENCE.as_millis() as i64).unwrap() > 0, "no heartbeat");
        self.heartbeat.recv_string(0).unwrap().unwrap()
    }

    /// Nothing comes on any channel.
    pub(crate) fn silence(&self) {
        for (name, socket) in [
            ("iopub", &self.iopub),
            ("shell", &self.shell),
            ("control", &self.control),
            ("stdin", &self.stdin),
        ] {
            let message = receive(socket, SILENCE);
            assert!(message.is_none(), "unasked on {name}: {message:?}");
        }
    }

    /// For front ends whose messages are of no interest.
    pub(crate) fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for FrontEnd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert!(self.waiting.is_empty(), "not asked for: {:?}", self.waiting);
        for (name, socket) in [
            ("iopub", &self.iopub),
            ("shell", &self.shell),
            ("control", &self.control),
            ("stdin", &self.stdin),
        ] {
            let message = receive(socket, Duration::from_millis(20));
            assert!(message.is_none(), "not asked for, on {name}: {message:?}");
        }
    }
}

fn expect(message: Option<Message>, kind: &str, parent: &str) -> Message {
    let message = message.unwrap_or_else(|| panic!("no {kind}"));
    assert_eq!(message.kind(), kind, "{message:?}");
    assert_eq!(message.parent_id(), parent, "{message:?}");
    message
}

fn receive(socket: &zmq::Socket, patience: Duration) -> Option<Message> {
    if socket.poll(zmq::POLLIN, patience.as_millis() as i64).unwrap() == 0 {
        return None;
    }
    let frames = socket.recv_multipart(0).unwrap();
    let delimiter = frames.iter().position(|frame| frame == b"<IDS|MSG>").expect("a delimiter");
    let rest = &frames[delimiter + 1..];
    assert_eq!(rest.len(), 5, "frames: {frames:?}");
    assert_eq!(rest[0], sign(&rest[1..]), "a wrong signature");
    let read = |frame: &[u8]| serde_json::from_slice::<Value>(frame).expect("JSON");
    let message = Message { header: read(&rest[1]), parent: read(&rest[2]), content: read(&rest[4]) };
    assert_eq!(message.header["username"], "hotplate");
    assert!(message.content.is_object(), "{message:?}");
    Some(message)
}
