//! A session with the daemon: requests out, exactly one reply each; notifications in, in order.
//!
//! Owns the socket, the reader thread and the matching of replies to requests. Knows the protocol's envelope and
//! the handshake; what the other methods mean is the business of [`run_command`](crate::run_command()).

mod address;
mod error;
mod inbox;
mod open;
mod spawn;

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hotplate_home::Home;
use hotplate_protocol::methods::initialize::InitializeResult;
use hotplate_protocol::notifications::{Cancel, CancelParams};
use hotplate_protocol::{
    ErrorCode, Id, MAX_FRAME_BYTES, Message, Notification, Request, RequestKind, write_frame,
};
use interprocess::local_socket::Stream;

use crate::canceller::Canceller;
pub use address::address;
pub use error::{CallError, ConnectError};
use inbox::{Inbox, Mail};
pub use spawn::Spawn;

/// How long a cancelled request is waited for: the daemon looks at cancellations between two tokens or two layers.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// A session. Clones share it; it ends when the last one is dropped.
#[derive(Clone)]
pub struct Connection {
    session: Arc<Session>,
}

struct Session {
    home: Home,
    wire: Arc<Wire>,
    inbox: Arc<Inbox>,
    next_id: AtomicI64,
    server: InitializeResult,
}

/// The writing side. Frames are written whole.
struct Wire {
    stream: Arc<Stream>,
    writing: Mutex<()>,
}

impl Connection {
    /// The home of the daemon on the other side.
    pub fn home(&self) -> &Home {
        &self.session.home
    }

    /// What the daemon said of itself in the handshake.
    pub fn server(&self) -> &InitializeResult {
        &self.session.server
    }

    /// Sends a request and waits for its reply. Notifications that arrive meanwhile stay in the queue of
    /// [`next_notification`](Self::next_notification).
    pub fn call<R: RequestKind>(&self, params: &R::Params) -> Result<R::Result, CallError> {
        self.call_with::<R>(params, &Canceller::new(), &mut |_| {})
    }

    /// The same, but it can be cancelled, and `on_notification` gets the notifications that name this request
    /// (`generate/delta`), in order, all of them before this returns.
    pub fn call_with<R: RequestKind>(
        &self,
        params: &R::Params,
        canceller: &Canceller,
        on_notification: &mut dyn FnMut(Notification),
    ) -> Result<R::Result, CallError> {
        if canceller.is_cancelled() {
            return Err(CallError::Cancelled);
        }
        let Session { wire, inbox, next_id, .. } = &*self.session;
        let id = Id::Number(next_id.fetch_add(1, Ordering::Relaxed));
        let mailbox = inbox.expect(id.clone())?;
        wire.send(&Message::Request(Request::new::<R>(id.clone(), params)))?;

        let _registration = canceller.on_cancel({
            let (wire, inbox, id) = (Arc::clone(wire), Arc::clone(inbox), id.clone());
            move || {
                // A connection that cannot be written to has ended, and the waiting side learns it by itself.
                let _ = wire.send(&cancel_message(&id));
                inbox.cancelled(&id);
            }
        });
        let mut deadline = None;
        loop {
            match mailbox.next(deadline) {
                Mail::Notification(notification) => on_notification(notification),
                Mail::Cancelled => deadline = Some(Instant::now() + CANCEL_PATIENCE),
                Mail::TimedOut => return Err(CallError::Cancelled),
                Mail::Closed(reason) => return Err(CallError::Disconnected { reason }),
                Mail::Reply(Err(error)) if error.code == ErrorCode::RequestCancelled => {
                    return Err(CallError::Cancelled);
                }
                Mail::Reply(Err(error)) => return Err(CallError::Refused(error)),
                Mail::Reply(Ok(value)) => {
                    return serde_json::from_value(value)
                        .map_err(|source| CallError::Unreadable { method: R::METHOD, source });
                }
            }
        }
    }

    /// Waits for the next notification that belongs to no request (`run/event`). One reader at a time, please:
    /// two of them share the notifications out between them.
    pub fn next_notification(&self, canceller: &Canceller) -> Result<Notification, CallError> {
        let inbox = &self.session.inbox;
        let _registration = canceller.on_cancel({
            let inbox = Arc::clone(inbox);
            move || inbox.wake()
        });
        inbox.next_notification(&|| canceller.is_cancelled(), None)
    }

    /// The same, for at most `patience`; [`CallError::Cancelled`] when that is over.
    pub fn next_notification_within(&self, patience: Duration) -> Result<Notification, CallError> {
        self.session.inbox.next_notification(&|| false, Some(Instant::now() + patience))
    }

    /// Waits until the daemon has closed the connection; false if it has not by then.
    pub fn wait_closed(&self, patience: Duration) -> bool {
        self.session.inbox.wait_closed(patience)
    }
}

fn cancel_message(id: &Id) -> Message {
    Message::Notification(Notification::new::<Cancel>(&CancelParams { id: id.clone() }))
}

impl Wire {
    fn new(stream: Arc<Stream>) -> Self {
        Self { stream, writing: Mutex::new(()) }
    }

    fn send(&self, message: &Message) -> Result<(), CallError> {
        let body = message.to_bytes();
        if body.len() > MAX_FRAME_BYTES {
            return Err(CallError::TooLong { length: body.len() });
        }
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        write_frame(&mut &*self.stream, &body)
            .map_err(|error| CallError::Disconnected { reason: error.to_string() })
    }

    /// Ends the connection in both directions, which also wakes the reader thread.
    fn shut_down(&self) -> io::Result<()> {
        #[cfg(unix)]
        {
            let Stream::UdSocket(socket) = &*self.stream;
            socket.inner().shutdown(std::net::Shutdown::Both)?;
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may be closed already; there is nobody left to tell either way.
        let _ = self.wire.shut_down();
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
