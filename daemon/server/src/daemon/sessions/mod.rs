//! Clients' connections: one reader thread and one writer thread each.
//!
//! Owns a session's state as the main loop sees it: which requests are open, which runs it follows. A request is answered
//! exactly once, whatever happens to it meanwhile.

mod accept;
mod lanes;
mod reader;
mod writer;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hotplate_protocol::notifications::{
    GenerateDeltaParams, RunEventParams, ScoreExample, ScoreExampleParams,
};
use hotplate_protocol::run::RunId;
use hotplate_protocol::{Id, Message, Notification, Response, RpcError};
use interprocess::local_socket::Stream;
use serde_json::Value;

pub(crate) use accept::{bind, start_accepting};
use lanes::{Lanes, TooSlow};

/// Requests that one client may have open at a time.
pub(crate) const IN_FLIGHT: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionId(pub(crate) u64);

/// One request of one session: where its reply goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Asker {
    pub(crate) session: SessionId,
    pub(crate) id: Id,
}

/// The sending side of a connection, shared by its threads and the main loop.
pub(crate) struct Outbox {
    lanes: Lanes,
    stream: Stream,
}

impl Outbox {
    fn new(stream: Stream) -> Self {
        Self { lanes: Lanes::default(), stream }
    }

    fn send(&self, message: Message) {
        self.or_hang_up(self.lanes.push(message));
    }

    fn or_hang_up(&self, pushed: Result<(), TooSlow>) {
        if pushed.is_err() {
            tracing::warn!("a client reads too slowly; its connection is closed");
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
    fn enter(&self) -> bool {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| (open < IN_FLIGHT).then_some(open + 1))
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
    /// The protocol version that was agreed on; `None` before `initialize`.
    pub(crate) protocol: Option<u32>,
}

impl Session {
    pub(crate) fn new(outbox: Arc<Outbox>, in_flight: Arc<InFlight>) -> Self {
        Self { outbox, in_flight, open: HashSet::new(), follows: Follows::default(), protocol: None }
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

    pub(crate) fn wait_closed(&self, deadline: std::time::Instant) -> bool {
        self.outbox.lanes.wait_closed(deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixty_fifth_open_request_is_refused() {
        let in_flight = InFlight::default();
        assert!((0..IN_FLIGHT).all(|_| in_flight.enter()));
        assert!(!in_flight.enter());
        in_flight.leave();
        assert!(in_flight.enter());
        let empty = InFlight::default();
        empty.leave();
        assert!(empty.enter());
    }
}
