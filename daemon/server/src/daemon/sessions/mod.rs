//! Clients' connections: one reader thread and one writer thread each.
//!
//! Owns a session's state as the main loop sees it: which requests are open, which runs it follows. A request is answered
//! exactly once, whatever happens to it meanwhile.

mod accept;
mod outgoing_queue;
mod reader;
mod writer;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hotplate_protocol::methods::initialize::Initialize;
use hotplate_protocol::methods::run_cancel::CancelRun;
use hotplate_protocol::methods::status::Status;
use hotplate_protocol::methods::stop::Stop;
use hotplate_protocol::notifications::{
    GenerateDeltaParams, RunEventParams, ScoreExample, ScoreExampleParams,
};
use hotplate_protocol::run::RunId;
use hotplate_protocol::{Id, Message, Notification, RequestKind, Response, RpcError};
use interprocess::local_socket::Stream;
use serde_json::Value;

pub(crate) use accept::{bind, no_place, start_accepting};
use outgoing_queue::{OutgoingQueue, TooSlow};

/// Requests that one client may have open at a time.
pub(crate) const IN_FLIGHT: usize = 64;
/// As many again for those that look, and those that end something: they are answered at once.
const KEPT_IN_FLIGHT: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionId(pub(crate) u64);

/// One request of one session: where its reply goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RequestRef {
    pub(crate) session: SessionId,
    pub(crate) id: Id,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seat {
    Own,
    /// Kept for [`urgent`] requests, for when all others are taken. It is given up after a while.
    Kept,
}

/// Requests that are answered when nothing else is: they look, or end something.
pub(crate) fn urgent(method: &str) -> bool {
    [Initialize::METHOD, Status::METHOD, Stop::METHOD, CancelRun::METHOD].contains(&method)
}

/// Whether a client is far behind with what it must read: whoever writes for it may wait.
#[derive(Clone)]
pub(crate) struct Pace(Option<Arc<Outbox>>);

impl Pace {
    /// Of nobody: there is nothing to wait for.
    pub(crate) fn free() -> Pace {
        Pace(None)
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.0.as_ref().is_some_and(|outbox| outbox.lanes.is_crowded())
    }
}

/// The sending side of a connection, shared by its threads and the main loop.
pub(crate) struct Outbox {
    lanes: OutgoingQueue,
    stream: Stream,
}

impl Outbox {
    fn new(stream: Stream) -> Self {
        Self { lanes: OutgoingQueue::default(), stream }
    }

    fn send(&self, message: Message) {
        self.or_hang_up(self.lanes.push(message));
    }

    /// The same from a thread that may wait until there is room.
    fn send_with_room(&self, message: Message) {
        self.lanes.wait_for_room();
        self.send(message);
    }

    fn or_hang_up(&self, pushed: Result<(), TooSlow>) {
        if pushed.is_err() {
            tracing::warn!("a client reads nothing; its connection is closed");
            self.hang_up();
        }
    }

    /// Ends the connection at once, in both directions; wakes both threads.
    fn hang_up(&self) {
        self.lanes.close();
        #[cfg(unix)]
        {
            let Stream::UdSocket(socket) = &self.stream;
            // An error means that it has ended already.
            let _ = socket.inner().shutdown(std::net::Shutdown::Both);
        }
    }
}

/// Counts a session's open requests, on the reader's and on the main loop's side.
#[derive(Default)]
pub(crate) struct InFlight(AtomicUsize);

impl InFlight {
    fn enter(&self, method: &str) -> bool {
        let most = if urgent(method) { IN_FLIGHT + KEPT_IN_FLIGHT } else { IN_FLIGHT };
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| (open < most).then_some(open + 1))
            .is_ok()
    }

    fn leave(&self) {
        // Never below zero: a wrapped counter would lock the client out.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| open.checked_sub(1));
    }
}

/// Whose run events a session wants.
#[derive(Debug, Default)]
struct Follows {
    all: bool,
    runs: HashSet<RunId>,
}

pub(crate) struct Session {
    outbox: Arc<Outbox>,
    in_flight: Arc<InFlight>,
    open: HashSet<Id>,
    follows: Follows,
    pub(crate) seat: Seat,
    pub(crate) joined: Instant,
    /// The protocol version that was agreed on; `None` before `initialize`.
    pub(crate) protocol: Option<u32>,
}

impl Session {
    pub(crate) fn new(outbox: Arc<Outbox>, in_flight: Arc<InFlight>, seat: Seat, joined: Instant) -> Self {
        let (open, follows) = (HashSet::new(), Follows::default());
        Self { outbox, in_flight, open, follows, seat, joined, protocol: None }
    }

    pub(crate) fn pace(&self) -> Pace {
        Pace(Some(Arc::clone(&self.outbox)))
    }

    /// Says why, then closes.
    pub(crate) fn turn_away(&self, error: RpcError) {
        self.outbox.send(Message::Response(Response::failed(None, error)));
        self.finish();
    }

    /// Notes a request; false if one with this id is open already.
    pub(crate) fn open(&mut self, id: &Id) -> bool {
        let fresh = self.open.insert(id.clone());
        if !fresh {
            self.in_flight.leave();
        }
        fresh
    }

    pub(crate) fn is_open(&self, id: &Id) -> bool {
        self.open.contains(id)
    }

    /// Sends the one reply; a second one is dropped.
    pub(crate) fn reply(&mut self, id: &Id, outcome: Result<Value, RpcError>) {
        if self.open.remove(id) {
            self.in_flight.leave();
            self.outbox.send(Message::Response(Response { id: Some(id.clone()), outcome }));
        }
    }

    /// Answers everything that is still open with the same error.
    pub(crate) fn refuse_open(&mut self, error: &RpcError) {
        let open: Vec<Id> = self.open.iter().cloned().collect();
        for id in open {
            self.reply(&id, Err(error.clone()));
        }
    }

    /// An error that answers no open request (a duplicate id).
    pub(crate) fn complain(&self, id: Id, error: RpcError) {
        self.outbox.send(Message::Response(Response::failed(Some(id), error)));
    }

    pub(crate) fn delta(&self, delta: GenerateDeltaParams) {
        if self.open.contains(&delta.id) {
            self.outbox.lanes.push_delta(delta);
        }
    }

    pub(crate) fn scored(&self, params: &ScoreExampleParams) {
        if self.open.contains(&params.id) {
            self.outbox.send(Message::Notification(Notification::new::<ScoreExample>(params)));
        }
    }

    pub(crate) fn follow(&mut self, run: Option<RunId>) {
        match run {
            Some(run) => {
                self.follows.runs.insert(run);
            }
            None => self.follows.all = true,
        }
    }

    pub(crate) fn run_event(&mut self, params: &RunEventParams) {
        if self.follows.all || self.follows.runs.contains(&params.run) {
            self.outbox.or_hang_up(self.outbox.lanes.push_run_event(params));
        }
        if params.event.is_last() {
            self.follows.runs.remove(&params.run);
        }
    }

    pub(crate) fn send_past(&self, messages: Vec<Message>) {
        self.outbox.or_hang_up(self.outbox.lanes.push_batch(messages));
    }

    /// Writes what waits, then closes.
    pub(crate) fn finish(&self) {
        self.outbox.lanes.finish();
    }

    pub(crate) fn hang_up(&self) {
        self.outbox.hang_up();
    }

    pub(crate) fn wait_closed(&self, deadline: Instant) -> bool {
        self.outbox.lanes.wait_closed(deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixty_fifth_open_request_is_refused() {
        let (in_flight, long) = (InFlight::default(), "generate/start");
        assert!((0..IN_FLIGHT).all(|_| in_flight.enter(long)));
        assert!(!in_flight.enter(long));
        assert!((0..KEPT_IN_FLIGHT).all(|_| in_flight.enter(Status::METHOD)));
        assert!(!in_flight.enter(Status::METHOD));
        (0..=KEPT_IN_FLIGHT).for_each(|_| in_flight.leave());
        assert!(in_flight.enter(long));
        let empty = InFlight::default();
        empty.leave();
        assert!(empty.enter(long));
    }
}
