//! What waits to be written to one client, in order, and what may be left out or merged while it waits.
//!
//! Two lanes share one order. *Must deliver* (replies, run events other than steps) is bounded: a client that lets it fill up and has read nothing
//! for a while loses its connection; one that reads, however slowly, keeps it. *Latest wins* (a run's step) and *merged* (the deltas of one answer)
//! take one place each, however slow the client is. Pushing never waits; whoever can wait asks for room first. Knows nothing of sockets.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hotplate_protocol::notifications::{
    GenerateDelta, GenerateDeltaParams, RunEventNotification, RunEventParams,
};
use hotplate_protocol::{Message, Notification};

/// Must-deliver messages that may wait where the client reads nothing.
const MUST_DELIVER: usize = 256;
/// The same where it reads.
const MOST: usize = 32 * MUST_DELIVER;
/// Whoever can wait does so while more than these wait.
const ROOM: usize = MUST_DELIVER / 2;
/// How long a client may read nothing while too much waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The client reads nothing, and the daemon must speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooSlow;

#[derive(Default)]
pub(crate) struct OutgoingQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Waiting>,
    must_deliver: usize,
    phase: Phase,
    /// Since when what is written now has waited for the client; `None` where nothing is written.
    writing: Option<Instant>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// What waits is still written; nothing new is taken.
    Draining,
    Closed,
}

enum Waiting {
    Message(Message),
    /// A run's past, for somebody who joins late: one place, however long.
    Batch(Vec<Message>),
    /// An event that a later one of its run may replace.
    Passing(Box<RunEventParams>, Message),
    Delta(GenerateDeltaParams),
}

impl OutgoingQueue {
    pub(crate) fn push(&self, message: Message) -> Result<(), TooSlow> {
        self.push_must(Waiting::Message(message))
    }

    pub(crate) fn push_batch(&self, messages: Vec<Message>) -> Result<(), TooSlow> {
        self.push_must(Waiting::Batch(messages))
    }

    /// A step replaces the step of the same run that still waits, and so does what a run is at; every other event must be delivered.
    pub(crate) fn push_run_event(&self, params: &RunEventParams) -> Result<(), TooSlow> {
        let message = Message::Notification(Notification::new::<RunEventNotification>(params));
        if !params.event.is_passing() {
            return self.push(message);
        }
        let mut state = self.lock();
        if state.phase == Phase::Open {
            let replaced = |earlier: &RunEventParams| {
                earlier.run == params.run && earlier.event.is_replaced_by(&params.event)
            };
            state
                .queue
                .retain(|waiting| !matches!(waiting, Waiting::Passing(earlier, _) if replaced(earlier)));
            state.queue.push_back(Waiting::Passing(Box::new(params.clone()), message));
            self.changed.notify_all();
        }
        Ok(())
    }

    /// Joins the delta of the same answer that still waits: no text is lost.
    pub(crate) fn push_delta(&self, delta: GenerateDeltaParams) {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return;
        }
        let same = state.queue.iter_mut().find_map(|waiting| match waiting {
            Waiting::Delta(earlier) if earlier.id == delta.id => Some(earlier),
            _ => None,
        });
        match same {
            Some(earlier) => {
                earlier.text.push_str(&delta.text);
                earlier.token_ids.extend(delta.token_ids);
            }
            None => state.queue.push_back(Waiting::Delta(delta)),
        }
        self.changed.notify_all();
    }

    fn push_must(&self, waiting: Waiting) -> Result<(), TooSlow> {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return Ok(());
        }
        let stalled = state.writing.is_some_and(|since| since.elapsed() >= PATIENCE);
        if state.must_deliver >= MOST || (state.must_deliver >= MUST_DELIVER && stalled) {
            state.close();
            self.changed.notify_all();
            return Err(TooSlow);
        }
        state.must_deliver += 1;
        state.queue.push_back(waiting);
        self.changed.notify_all();
        Ok(())
    }

    /// Whether much waits already.
    pub(crate) fn is_crowded(&self) -> bool {
        let state = self.lock();
        state.phase == Phase::Open && state.must_deliver > ROOM
    }

    /// Waits until the client has read, or is gone: not for the main loop.
    pub(crate) fn wait_for_room(&self) {
        let mut state = self.lock();
        while state.phase == Phase::Open && state.must_deliver > ROOM {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What is to be written next; waits for it. `None`: nothing more will come. What was fetched before is written.
    pub(crate) fn next(&self) -> Option<Vec<Message>> {
        let mut state = self.lock();
        state.writing = None;
        loop {
            if state.phase == Phase::Closed {
                return None;
            }
            if let Some(waiting) = state.queue.pop_front() {
                state.writing = Some(Instant::now());
                self.changed.notify_all();
                return Some(match waiting {
                    Waiting::Message(message) => {
                        state.must_deliver -= 1;
                        vec![message]
                    }
                    Waiting::Batch(messages) => {
                        state.must_deliver -= 1;
                        messages
                    }
                    Waiting::Passing(_, message) => vec![message],
                    Waiting::Delta(delta) => {
                        vec![Message::Notification(Notification::new::<GenerateDelta>(&delta))]
                    }
                });
            }
            if state.phase == Phase::Draining {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The client has read a message of those that [`next`](Self::next) gave.
    pub(crate) fn note_written(&self) {
        self.lock().writing = Some(Instant::now());
    }

    /// Takes nothing more; what waits is still written.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Draining;
        }
        self.changed.notify_all();
    }

    /// The writer is done, or gave up.
    pub(crate) fn close(&self) {
        self.lock().close();
        self.changed.notify_all();
    }

    /// Waits until the writer is done; false if it is not by then.
    pub(crate) fn wait_closed(&self, deadline: Instant) -> bool {
        let mut state = self.lock();
        while state.phase != Phase::Closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn close(&mut self) {
        self.phase = Phase::Closed;
        self.queue.clear();
        self.must_deliver = 0;
    }
}

#[cfg(test)]
mod tests {
    use hotplate_protocol::{Id, Response};

    use hotplate_protocol::run::{RunEvent, RunId};

    use super::*;

    fn reply(number: i64) -> Message {
        Message::Response(Response::ok(Id::Number(number), &number))
    }

    fn step(run: i64, step: usize) -> RunEventParams {
        let event = RunEvent::Step {
            step,
            steps: 9,
            epoch: 0.0,
            loss: 1.0,
            learning_rate: 0.1,
            tokens_per_second: 1.0,
            seconds: 1.0,
            seconds_left: 1.0,
        };
        RunEventParams { run: RunId(run), event }
    }

    fn delta(id: i64, text: &str) -> GenerateDeltaParams {
        GenerateDeltaParams { id: Id::Number(id), text: text.to_owned(), token_ids: vec![1] }
    }

    fn drain(lanes: &OutgoingQueue) -> Vec<Message> {
        lanes.finish();
        std::iter::from_fn(|| lanes.next()).flatten().collect()
    }

    fn step_of(message: &Message) -> Option<usize> {
        let Message::Notification(notification) = message else { return None };
        match notification.parse::<RunEventNotification>()?.ok()?.event {
            RunEvent::Step { step, .. } => Some(step),
            _ => None,
        }
    }

    #[test]
    fn the_latest_step_of_each_run_is_enough() {
        let lanes = OutgoingQueue::default();
        for number in 0..1000 {
            lanes.push_run_event(&step(1, number)).unwrap();
            lanes.push_run_event(&step(2, 2 * number)).unwrap();
        }
        let steps: Vec<_> = drain(&lanes).iter().filter_map(step_of).collect();
        assert_eq!(steps, [999, 1998]);
    }

    #[test]
    fn deltas_merge_without_losing_text_and_come_before_their_reply() {
        let lanes = OutgoingQueue::default();
        for _ in 0..500 {
            lanes.push_delta(delta(1, "面"));
            lanes.push_delta(delta(2, "b"));
        }
        lanes.push(reply(1)).unwrap();
        let written = drain(&lanes);
        assert_eq!(written.len(), 3);
        let Message::Notification(first) = &written[0] else { panic!("{written:?}") };
        let first = first.parse::<GenerateDelta>().unwrap().unwrap();
        assert_eq!((first.text, first.token_ids.len()), ("面".repeat(500), 500));
        assert_eq!(written[2], reply(1));
    }

    #[test]
    fn a_client_that_does_not_read_is_let_go() {
        let lanes = OutgoingQueue::default();
        for number in 0..=MUST_DELIVER {
            lanes.push(reply(number as i64)).unwrap();
        }
        assert!(lanes.next().is_some());
        // The writer has waited for it for long.
        lanes.lock().writing = Instant::now().checked_sub(PATIENCE);
        assert_eq!(lanes.push(reply(0)), Err(TooSlow));
        assert!(lanes.next().is_none());
        assert!(lanes.wait_closed(Instant::now()));
    }

    #[test]
    fn a_client_that_reads_slowly_is_not_let_go_and_whoever_can_wait_does() {
        let lanes = OutgoingQueue::default();
        for number in 0..2000 {
            lanes.push(reply(number)).unwrap();
            if number % 4 == 0 {
                assert_eq!(lanes.next().map(|read| read.len()), Some(1));
            }
        }
        assert!(lanes.is_crowded());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lanes.wait_for_room());
            for _ in 0..1500 - ROOM {
                assert!(!waiting.is_finished());
                lanes.next();
            }
            waiting.join().unwrap();
        });
        assert!(!lanes.is_crowded());
        // Not without end.
        for number in 0..=MOST {
            if lanes.push(reply(number as i64)).is_err() {
                return;
            }
        }
        panic!("it would grow for ever");
    }

    #[test]
    fn a_long_past_takes_one_place() {
        let lanes = OutgoingQueue::default();
        lanes.push_batch((0..1000).map(reply).collect()).unwrap();
        lanes.push(reply(7)).unwrap();
        assert_eq!(drain(&lanes).len(), 1001);
    }

    #[test]
    fn nothing_is_taken_after_the_end() {
        let lanes = OutgoingQueue::default();
        lanes.push(reply(1)).unwrap();
        lanes.finish();
        lanes.push(reply(2)).unwrap();
        lanes.push_delta(delta(1, "late"));
        assert_eq!(lanes.next(), Some(vec![reply(1)]));
        assert_eq!(lanes.next(), None);
    }
}
