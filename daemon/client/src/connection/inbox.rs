//! What the reader thread has read and nobody has fetched yet: one mailbox per request in flight, one queue for
//! the rest.
//!
//! The reader never waits for anybody: a reply must not be stuck behind a notification that nobody wants.

use std::collections::{HashMap, VecDeque};
use std::io::BufReader;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hotplate_protocol::notifications::{GenerateDelta, RunEventNotification, RunEventParams, ScoreExample};
use hotplate_protocol::{
    ErrorCode, Id, Message, Notification, NotificationKind, Response, RpcError, read_frame,
};
use interprocess::local_socket::Stream;
use serde_json::Value;

use super::Wire;
use super::error::CallError;

/// Beyond this many unread notifications, a run's newer step replaces the older one.
const UNREAD_BEFORE_MERGING: usize = 256;

/// What was said before a connection ended is here by then.
const WORDS_WITHIN: Duration = Duration::from_millis(500);

/// What arrives for one request.
pub(super) enum Mail {
    Notification(Notification),
    Reply(Result<Value, RpcError>),
    /// Somebody cancelled the request here; its one reply is still to come.
    Cancelled,
    Closed(String),
    TimedOut,
}

#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    mailboxes: HashMap<Id, VecDeque<Mail>>,
    notifications: VecDeque<Notification>,
    /// Why the connection ended, once it has.
    closed: Option<String>,
    /// The daemon's own words for it.
    refusal: Option<RpcError>,
}

/// One request's letters. Gives its place up when dropped.
pub(super) struct Mailbox<'a> {
    inbox: &'a Inbox,
    id: Id,
}

impl Inbox {
    /// Reads until the connection ends.
    pub(super) fn start_reading(stream: Arc<Stream>, wire: Arc<Wire>) -> std::io::Result<Arc<Inbox>> {
        let inbox = Arc::new(Inbox::default());
        let reading = Arc::clone(&inbox);
        thread::Builder::new().name("hotplate reader".to_owned()).spawn(move || {
            let mut reader = BufReader::new(&*stream);
            let reason = loop {
                match read_frame(&mut reader) {
                    Ok(Some(body)) => {
                        if let Err(reason) = reading.deliver(&body, &wire) {
                            break reason;
                        }
                    }
                    Ok(None) => break "it closed the connection".to_owned(),
                    Err(error) => break error.to_string(),
                }
            };
            reading.close(reason);
        })?;
        Ok(inbox)
    }

    fn deliver(&self, body: &[u8], wire: &Wire) -> Result<(), String> {
        match Message::parse(body) {
            Ok(Message::Response(Response { id: Some(id), outcome })) => {
                let mut state = self.lock();
                // No mailbox: the caller gave up waiting for a cancelled request.
                if let Some(letters) = state.mailboxes.get_mut(&id) {
                    letters.push_back(Mail::Reply(outcome));
                }
            }
            Ok(Message::Response(Response { id: None, outcome })) => {
                // The daemon could not read what we sent: the stream has lost its place.
                return Err(match outcome {
                    Ok(_) => "it sent a reply to no request".to_owned(),
                    Err(error) => {
                        let message = error.message.clone();
                        self.lock().refusal = Some(error);
                        message
                    }
                });
            }
            Ok(Message::Notification(notification)) => self.lock().file(notification),
            Ok(Message::Request(request)) => {
                let error = RpcError::new(ErrorCode::MethodNotFound, "this client answers no requests");
                let _ = wire.send(&Message::Response(Response::failed(Some(request.id), error)));
            }
            Err(complaint) => {
                return Err(complaint.outcome.err().map_or_else(String::new, |error| error.message));
            }
        }
        self.changed.notify_all();
        Ok(())
    }

    fn close(&self, reason: String) {
        self.lock().closed.get_or_insert(reason);
        self.changed.notify_all();
    }

    /// Makes a mailbox, before the request is sent.
    pub(super) fn expect(&self, id: Id) -> Result<Mailbox<'_>, CallError> {
        let mut state = self.lock();
        if let Some(reason) = &state.closed {
            return Err(CallError::Disconnected { reason: reason.clone() });
        }
        state.mailboxes.insert(id.clone(), VecDeque::new());
        Ok(Mailbox { inbox: self, id })
    }

    pub(super) fn cancelled(&self, id: &Id) {
        if let Some(letters) = self.lock().mailboxes.get_mut(id) {
            letters.push_back(Mail::Cancelled);
        }
        self.changed.notify_all();
    }

    /// Lets waiters look again at whether they were cancelled.
    pub(super) fn wake(&self) {
        // Taken so that a waiter is either before its look or already asleep.
        drop(self.lock());
        self.changed.notify_all();
    }

    /// [`CallError::Cancelled`] when `cancelled` says so or `deadline` has passed.
    pub(super) fn next_notification(
        &self,
        cancelled: &dyn Fn() -> bool,
        deadline: Option<Instant>,
    ) -> Result<Notification, CallError> {
        let mut state = self.lock();
        loop {
            if cancelled() {
                return Err(CallError::Cancelled);
            }
            if let Some(notification) = state.notifications.pop_front() {
                return Ok(notification);
            }
            if let Some(reason) = &state.closed {
                return Err(CallError::Disconnected { reason: reason.clone() });
            }
            state = self.wait(state, deadline).ok_or(CallError::Cancelled)?;
        }
    }

    /// Sleeps until something has changed; `None` once `deadline` has passed.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        deadline: Option<Instant>,
    ) -> Option<MutexGuard<'a, State>> {
        let Some(deadline) = deadline else {
            return Some(self.changed.wait(state).unwrap_or_else(PoisonError::into_inner));
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        Some(self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Why the daemon has ended the connection; waits a moment for its words.
    pub(super) fn refusal(&self) -> Option<RpcError> {
        self.wait_closed(WORDS_WITHIN);
        self.lock().refusal.clone()
    }

    pub(super) fn wait_closed(&self, patience: Duration) -> bool {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), patience, |state| state.closed.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        state.closed.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn file(&mut self, notification: Notification) {
        if let Some(id) = addressee(&notification) {
            if let Some(letters) = self.mailboxes.get_mut(&id) {
                letters.push_back(Mail::Notification(notification));
            }
            return;
        }
        if self.notifications.len() >= UNREAD_BEFORE_MERGING
            && let (Some(last), Some(new)) =
                (self.notifications.back().and_then(passing), passing(&notification))
            && last.run == new.run
            && last.event.is_replaced_by(&new.event)
        {
            self.notifications.pop_back();
        }
        self.notifications.push_back(notification);
    }
}

/// The request that a notification names.
fn addressee(notification: &Notification) -> Option<Id> {
    if ![GenerateDelta::METHOD, ScoreExample::METHOD].contains(&notification.method.as_str()) {
        return None;
    }
    serde_json::from_value(notification.params.get("id")?.clone()).ok()
}

/// A run's event that a later one may replace, if it is one.
fn passing(notification: &Notification) -> Option<RunEventParams> {
    let params = notification.parse::<RunEventNotification>()?.ok()?;
    params.event.is_passing().then_some(params)
}

impl Mailbox<'_> {
    /// The next letter; [`Mail::TimedOut`] once `deadline` has passed.
    pub(super) fn next(&self, deadline: Option<Instant>) -> Mail {
        let mut state = self.inbox.lock();
        loop {
            if let Some(mail) = state.mailboxes.get_mut(&self.id).and_then(VecDeque::pop_front) {
                return mail;
            }
            if let Some(reason) = &state.closed {
                return Mail::Closed(reason.clone());
            }
            match self.inbox.wait(state, deadline) {
                Some(woken) => state = woken,
                None => return Mail::TimedOut,
            }
        }
    }
}

impl Drop for Mailbox<'_> {
    fn drop(&mut self) {
        self.inbox.lock().mailboxes.remove(&self.id);
    }
}
