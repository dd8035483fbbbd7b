//! The socket thread: it alone touches the shell, control, iopub and stdin sockets.
//!
//! A ZeroMQ socket may be used by one thread only, and `zmq_poll` cannot wait for a channel. So other threads put
//! messages into a channel and ring an in-process socket, the bell, which is polled beside the others. The heartbeat
//! has a thread of its own, so that nothing can starve it.
//!
//! Knows nothing of what a message means, but for two things that must not depend on anybody else's promptness:
//! stream text is gathered ([`StreamBatch`]), and each new subscriber is welcomed and told whether the kernel is busy.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use jupyter_protocol::{ConnectionInfo, ExecutionState, IoPubWelcome, JupyterMessageContent, Status};

use crate::connection;
use crate::stream_batch::StreamBatch;
use crate::wire::{Encoder, Outgoing, Parent, Request};

/// libzmq's default, 1000 messages, loses output silently when a cell writes a lot.
const IOPUB_HIGH_WATER: i32 = 100_000;
/// How long messages may still be on their way when the kernel ends.
const LINGER_MS: i32 = 1000;
/// Messages taken from one socket before the others get their turn.
const TURN: usize = 64;
/// Between two tries to reach a stdin socket that has not connected.
const ASK_AGAIN_MS: i64 = 20;
const BELL: &str = "inproc://bell";

#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error(
        "cannot bind the {channel} socket to {endpoint}: {source}; another program may have taken the port: start the kernel again"
    )]
    Bind { channel: &'static str, endpoint: String, source: zmq::Error },
    #[error("cannot set up a ZeroMQ socket: {0}")]
    SetUp(#[from] zmq::Error),
}

/// Sends messages from any thread.
#[derive(Clone)]
pub(crate) struct Outbox {
    queue: Sender<Outbound>,
    /// `None` after the end: the context waits for every socket to close.
    bell: Arc<Mutex<Option<zmq::Socket>>>,
}

#[expect(clippy::large_enum_variant, reason = "the small one is sent once")]
enum Outbound {
    Send(Channel, Outgoing),
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    Shell,
    Control,
    Iopub,
    Stdin,
}

impl Outbox {
    pub(crate) fn shell(&self, message: Outgoing) {
        self.put(Outbound::Send(Channel::Shell, message));
    }

    pub(crate) fn control(&self, message: Outgoing) {
        self.put(Outbound::Send(Channel::Control, message));
    }

    pub(crate) fn stdin(&self, message: Outgoing) {
        self.put(Outbound::Send(Channel::Stdin, message));
    }

    pub(crate) fn publish(&self, parent: Option<Parent>, content: impl Into<JupyterMessageContent>) {
        self.put(Outbound::Send(Channel::Iopub, Outgoing::broadcast(parent, content)));
    }

    /// Has everything sent that was put in before, then the sockets closed.
    pub(crate) fn end(&self) {
        self.put(Outbound::End);
        self.bell.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn put(&self, message: Outbound) {
        if self.queue.send(message).is_err() {
            return; // The socket thread has ended; so will this process.
        }
        let bell = self.bell.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bell.as_ref() {
            // Fails only when the bell's queue is full: then it rings anyway.
            let _ = bell.send(&b""[..], zmq::DONTWAIT);
        }
    }
}

/// Where requests go. They are read off the sockets at once, also while a cell runs, so that their order and
/// time of arrival are known.
pub(crate) struct Inbox {
    pub shell: Sender<Request>,
    pub control: Sender<Request>,
    /// Answers to what was asked.
    pub stdin: Sender<Request>,
}

/// The bound sockets, before their thread starts.
pub(crate) struct Sockets {
    shell: zmq::Socket,
    control: zmq::Socket,
    iopub: zmq::Socket,
    stdin: zmq::Socket,
    bell: zmq::Socket,
    queue: Receiver<Outbound>,
}

pub(crate) fn bind(context: &zmq::Context, info: &ConnectionInfo) -> Result<(Sockets, Outbox), SocketError> {
    let shell = bound(context, info, zmq::ROUTER, "shell", info.shell_port)?;
    let control = bound(context, info, zmq::ROUTER, "control", info.control_port)?;
    let stdin = bound(context, info, zmq::ROUTER, "stdin", info.stdin_port)?;
    let iopub = bound(context, info, zmq::XPUB, "iopub", info.iopub_port)?;
    let bell = context.socket(zmq::PULL)?;
    bell.bind(BELL)?;
    let rope = context.socket(zmq::PUSH)?;
    rope.set_linger(0)?;
    rope.connect(BELL)?;
    let (sender, queue) = crossbeam_channel::unbounded();
    let outbox = Outbox { queue: sender, bell: Arc::new(Mutex::new(Some(rope))) };
    Ok((Sockets { shell, control, iopub, stdin, bell, queue }, outbox))
}

/// A socket that sends back whatever it receives; [`echo`] runs it.
pub(crate) fn bind_heartbeat(
    context: &zmq::Context,
    info: &ConnectionInfo,
) -> Result<zmq::Socket, SocketError> {
    bound(context, info, zmq::ROUTER, "heartbeat", info.hb_port)
}

/// Runs until the context ends.
pub(crate) fn echo(socket: &zmq::Socket) {
    loop {
        let outcome =
            socket.recv_multipart(0).and_then(|frames| socket.send_multipart(frames, zmq::DONTWAIT));
        if outcome == Err(zmq::Error::ETERM) {
            return;
        }
    }
}

fn bound(
    context: &zmq::Context,
    info: &ConnectionInfo,
    kind: zmq::SocketType,
    channel: &'static str,
    port: u16,
) -> Result<zmq::Socket, SocketError> {
    let socket = context.socket(kind)?;
    socket.set_linger(LINGER_MS)?;
    if kind == zmq::XPUB {
        socket.set_sndhwm(IOPUB_HIGH_WATER)?;
        // Without it only the first of several equal subscriptions is told, and the others never get their welcome.
        socket.set_xpub_verbose(true)?;
    } else {
        // A reply to a front end that has left is then an error to log, not a silent loss.
        socket.set_router_mandatory(true)?;
    }
    if connection::is_ipv6(info) {
        socket.set_ipv6(true)?;
    }
    let endpoint = connection::endpoint(info, port);
    socket.bind(&endpoint).map_err(|source| SocketError::Bind { channel, endpoint, source })?;
    Ok(socket)
}

/// The socket thread's own state.
pub(crate) struct SocketThread {
    sockets: Sockets,
    encoder: Encoder,
    inbox: Inbox,
    streams: StreamBatch,
    /// Requests in progress, by their published busy and idle messages.
    busy: usize,
    had_subscriber: bool,
    /// A question to a front end whose stdin socket has not connected yet.
    question: Option<Vec<Vec<u8>>>,
}

enum Flow {
    GoOn,
    End,
}

impl SocketThread {
    pub(crate) fn new(sockets: Sockets, encoder: Encoder, inbox: Inbox) -> SocketThread {
        SocketThread {
            sockets,
            encoder,
            inbox,
            streams: StreamBatch::default(),
            busy: 0,
            had_subscriber: false,
            question: None,
        }
    }

    /// Returns after [`Outbox::end`], when all messages are handed to ZeroMQ.
    pub(crate) fn run(mut self) -> Result<(), zmq::Error> {
        loop {
            let (control, shell, iopub, stdin) = match self.wait() {
                Ok(ready) => ready,
                // A signal came; nothing was lost.
                Err(zmq::Error::EINTR) => continue,
                Err(error) => return Err(error),
            };
            // Subscriptions first: a front end that subscribes and then asks must not miss the answer.
            if iopub {
                self.read_subscriptions();
            }
            if control {
                self.read_requests(&self.sockets.control, &self.inbox.control);
            }
            if shell {
                self.read_requests(&self.sockets.shell, &self.inbox.shell);
            }
            if stdin {
                self.read_requests(&self.sockets.stdin, &self.inbox.stdin);
            }
            if let Flow::End = self.send_queued() {
                return Ok(());
            }
            self.ask_again();
            if self.streams.patience(Instant::now()).is_some_and(|patience| patience.is_zero()) {
                self.flush_streams();
            }
        }
    }

    /// Which of control, shell, iopub and stdin can be read.
    fn wait(&self) -> Result<(bool, bool, bool, bool), zmq::Error> {
        // Rounded up, so that the loop doesn't spin through the last millisecond.
        let mut timeout =
            self.streams.patience(Instant::now()).map_or(-1, |patience| patience.as_millis() as i64 + 1);
        if self.question.is_some() {
            timeout = if timeout < 0 { ASK_AGAIN_MS } else { timeout.min(ASK_AGAIN_MS) };
        }
        let sockets = &self.sockets;
        let mut items = [&sockets.control, &sockets.shell, &sockets.iopub, &sockets.stdin, &sockets.bell]
            .map(|socket| socket.as_poll_item(zmq::POLLIN));
        zmq::poll(&mut items, timeout)?;
        let [control, shell, iopub, stdin, _] = items.map(|item| item.is_readable());
        Ok((control, shell, iopub, stdin))
    }

    fn read_requests(&self, socket: &zmq::Socket, sender: &Sender<Request>) {
        for _ in 0..TURN {
            let Some(parts) = receive(socket) else { return };
            match Request::read(parts, self.encoder.signer()) {
                Ok(request) => {
                    tracing::debug!(
                        kind = request.message_type(),
                        id = request.header.msg_id,
                        buffers = request.buffers.len(),
                        "received"
                    );
                    // Nobody receives any more while the kernel is ending.
                    let _ = sender.send(request);
                }
                Err(error) => tracing::warn!("dropped a message: {error}"),
            }
        }
    }

    fn read_subscriptions(&mut self) {
        while let Some(parts) = receive(&self.sockets.iopub) {
            let Some([1, topic @ ..]) = parts.first().map(Vec::as_slice) else { continue };
            self.welcome(topic);
        }
    }

    /// VS Code runs no cell before it has had some message here, and front ends ask before they have subscribed: so
    /// each of them gets its welcome, and the state that it may have missed.
    fn welcome(&mut self, topic: &[u8]) {
        let subscription = String::from_utf8_lossy(topic).into_owned();
        let mut welcome = Outgoing::broadcast(None, IoPubWelcome { subscription });
        welcome.identities = vec![topic.to_vec()];
        self.send(Channel::Iopub, welcome);
        if !self.had_subscriber {
            self.had_subscriber = true;
            self.send(Channel::Iopub, Outgoing::broadcast(None, Status::starting()));
        }
        let state = if self.busy > 0 { Status::busy() } else { Status::idle() };
        self.send(Channel::Iopub, Outgoing::broadcast(None, state));
    }

    fn send_queued(&mut self) -> Flow {
        // The bell says "there is something", not how much.
        while receive(&self.sockets.bell).is_some() {}
        while let Ok(outbound) = self.sockets.queue.try_recv() {
            match outbound {
                Outbound::Send(
                    Channel::Iopub,
                    Outgoing { parent, content: JupyterMessageContent::StreamContent(text), .. },
                ) => {
                    if let Some(before) = self.streams.push(parent, text, Instant::now()) {
                        self.send(Channel::Iopub, before);
                    }
                }
                Outbound::Send(channel, message) => {
                    // A cell's text stays in front of whatever was said after it, and of the cell's end.
                    self.flush_streams();
                    self.count_busy(&message.content);
                    self.send(channel, message);
                }
                Outbound::End => {
                    self.flush_streams();
                    return Flow::End;
                }
            }
        }
        Flow::GoOn
    }

    fn flush_streams(&mut self) {
        if let Some(text) = self.streams.take() {
            self.send(Channel::Iopub, text);
        }
    }

    fn count_busy(&mut self, content: &JupyterMessageContent) {
        if let JupyterMessageContent::Status(Status { execution_state }) = content {
            match execution_state {
                ExecutionState::Busy => self.busy += 1,
                ExecutionState::Idle => self.busy = self.busy.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// Front ends connect their sockets one after the other, and a cell may come in on the first.
    fn ask_again(&mut self) {
        let Some(parts) = &self.question else { return };
        if send(&self.sockets.stdin, parts) != Err(zmq::Error::EHOSTUNREACH) {
            self.question = None;
        }
    }

    fn send(&mut self, channel: Channel, message: Outgoing) {
        let socket = match channel {
            Channel::Shell => &self.sockets.shell,
            Channel::Control => &self.sockets.control,
            Channel::Iopub => &self.sockets.iopub,
            Channel::Stdin => &self.sockets.stdin,
        };
        let kind = message.content.message_type().to_owned();
        match self.encoder.encode(message) {
            Ok(parts) => {
                let sent = send(socket, &parts);
                if channel == Channel::Stdin {
                    self.question = (sent == Err(zmq::Error::EHOSTUNREACH)).then_some(parts);
                } else if let Err(error) = sent {
                    tracing::warn!(kind, ?channel, "cannot send a message: {error}");
                }
            }
            Err(error) => tracing::error!(kind, "cannot write a message: {error}"),
        }
    }
}

/// The next message that is already there.
fn receive(socket: &zmq::Socket) -> Option<Vec<Vec<u8>>> {
    loop {
        match socket.recv_multipart(zmq::DONTWAIT) {
            Ok(parts) => return Some(parts),
            Err(zmq::Error::EINTR) => {}
            Err(zmq::Error::EAGAIN) => return None,
            Err(error) => {
                tracing::warn!("cannot receive: {error}");
                return None;
            }
        }
    }
}

/// Never waits: a front end that does not read must not stop the others.
fn send(socket: &zmq::Socket, parts: &[Vec<u8>]) -> Result<(), zmq::Error> {
    loop {
        match socket.send_multipart(parts, zmq::DONTWAIT) {
            Err(zmq::Error::EINTR) => {}
            outcome => return outcome,
        }
    }
}
