//! One run at a time, and for each target at most one that waits: a newer save joins the run that waits for it.
//!
//! Pure: decides, and tells what it decided.

use std::collections::VecDeque;

use hotplate_protocol::run::{Cause, RunId, RunKind};

use super::train_request::{DatasetTarget, TrainRequest};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) run: RunId,
    pub(crate) order: TrainRequest,
}

#[derive(Debug, Default)]
pub(crate) struct RunQueue {
    running: Option<Entry>,
    waiting: VecDeque<Entry>,
}

/// What becomes of a new order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Placement {
    /// It waits as a run of its own.
    New,
    /// The run that waits already stands for it too.
    Joins(RunId),
    /// It takes the place of the waiting run, which ends.
    Replaces(RunId),
}

impl RunQueue {
    /// What [`push`](Self::push) would do.
    pub(crate) fn placement(&self, order: &TrainRequest) -> Placement {
        let Some(waiting) = self.waiting.iter().find(|entry| entry.order.target == order.target) else {
            return Placement::New;
        };
        match (&order.cause, &waiting.order.cause) {
            // A run reads the folder when it starts: whatever was saved before is in it.
            (Cause::Saved { .. }, Cause::Saved { .. } | Cause::Asked | Cause::Resumed)
            | (Cause::Stale, _) => Placement::Joins(waiting.run),
            // The same wish twice is one wish.
            (Cause::Asked | Cause::Resumed, _)
                if order.kind == waiting.order.kind
                    && order.knobs == waiting.order.knobs
                    && order.base == waiting.order.base =>
            {
                Placement::Joins(waiting.run)
            }
            _ => Placement::Replaces(waiting.run),
        }
    }

    /// Puts an order in its place; `run` is its number unless it joins another. Answers the entry that stands for it.
    pub(crate) fn push(&mut self, run: RunId, order: TrainRequest) -> Entry {
        let place = self.waiting.iter().position(|entry| entry.order.target == order.target);
        let placement = self.placement(&order);
        match (placement, place.and_then(|place| self.waiting.get_mut(place))) {
            (Placement::Joins(_), Some(entry)) => {
                entry.order.absorb(&order);
                entry.clone()
            }
            (Placement::Replaces(_), Some(entry)) => {
                let mut order = order;
                order.absorb(&entry.order);
                *entry = Entry { run, order };
                entry.clone()
            }
            _ => {
                let entry = Entry { run, order };
                // Idle work stands behind everything that somebody waits for.
                let behind = if entry.order.is_idle_work() {
                    self.waiting.len()
                } else {
                    self.waiting
                        .iter()
                        .position(|waiting| waiting.order.is_idle_work())
                        .unwrap_or(self.waiting.len())
                };
                self.waiting.insert(behind, entry.clone());
                entry
            }
        }
    }

    /// The next run, if none is running.
    pub(crate) fn start_next(&mut self) -> Option<Entry> {
        if self.running.is_some() {
            return None;
        }
        self.running = self.waiting.pop_front();
        self.running.clone()
    }

    pub(crate) fn running(&self) -> Option<&Entry> {
        self.running.as_ref()
    }

    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Entry> {
        self.waiting.iter()
    }

    /// Runs in front of this one.
    pub(crate) fn position(&self, run: RunId) -> usize {
        let ahead = self.waiting.iter().position(|entry| entry.run == run).unwrap_or(0);
        ahead + usize::from(self.running.is_some())
    }

    /// Takes a run out, wherever it is.
    pub(crate) fn remove(&mut self, run: RunId) -> Option<Entry> {
        if self.running.as_ref().is_some_and(|entry| entry.run == run) {
            return self.running.take();
        }
        let place = self.waiting.iter().position(|entry| entry.run == run)?;
        self.waiting.remove(place)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_none() && self.waiting.is_empty()
    }

    pub(crate) fn has(&self, target: &DatasetTarget, kind: RunKind) -> bool {
        self.running
            .iter()
            .chain(&self.waiting)
            .any(|entry| entry.order.target == *target && entry.order.kind == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::super::train_request::{saved, test_order};
    use super::*;

    fn order(adapter: &str, cause: Cause) -> TrainRequest {
        let kind = if matches!(cause, Cause::Saved { .. }) { RunKind::Incremental } else { RunKind::Full };
        test_order(adapter, kind, cause)
    }

    /// A queue that was given these orders, numbered from 1; the first one is running.
    fn queue(orders: &[TrainRequest]) -> RunQueue {
        let mut queue = RunQueue::default();
        for (index, order) in orders.iter().enumerate() {
            queue.push(RunId(index as i64 + 1), order.clone());
            queue.start_next();
        }
        queue
    }

    fn waiting(queue: &RunQueue) -> Vec<(i64, Cause)> {
        queue.waiting().map(|entry| (entry.run.0, entry.order.cause.clone())).collect()
    }

    #[test]
    fn saves_during_a_run_become_one_run_with_all_causes() {
        let queue = queue(&[
            order("a", saved(&["1.txt"])),
            order("a", saved(&["2.txt"])),
            order("a", saved(&["3.txt", "2.txt"])),
        ]);
        assert_eq!(queue.running().unwrap().run, RunId(1));
        assert_eq!(waiting(&queue), [(2, saved(&["2.txt", "3.txt"]))]);
    }

    #[test]
    fn a_save_joins_a_run_that_was_asked_for() {
        let mut queue = queue(&[order("b", Cause::Asked), order("a", Cause::Asked)]);
        let save = order("a", saved(&["1.txt"]));
        assert_eq!(queue.placement(&save), Placement::Joins(RunId(2)));
        queue.push(RunId(3), save);
        assert_eq!(waiting(&queue), [(2, Cause::Asked)]);
    }

    #[test]
    fn asking_replaces_waiting_saves_but_the_same_wish_joins() {
        let mut queue = queue(&[order("b", Cause::Asked), order("a", saved(&["1.txt"]))]);
        let wanted = order("a", Cause::Asked);
        assert_eq!(queue.placement(&wanted), Placement::Replaces(RunId(2)));
        queue.push(RunId(3), wanted.clone());
        assert_eq!(waiting(&queue), [(3, Cause::Asked)]);
        assert_eq!(queue.placement(&wanted), Placement::Joins(RunId(3)));
        let mut other = wanted;
        other.knobs.epochs = Some(9);
        assert_eq!(queue.placement(&other), Placement::Replaces(RunId(3)));
    }

    #[test]
    fn idle_work_gives_way() {
        let mut queue =
            queue(&[order("b", Cause::Asked), order("c", Cause::Stale), order("a", saved(&["1.txt"]))]);
        assert_eq!(waiting(&queue), [(3, saved(&["1.txt"])), (2, Cause::Stale)]);
        let save = order("c", saved(&["2.txt"]));
        assert_eq!(queue.placement(&save), Placement::Replaces(RunId(2)));
        assert_eq!(queue.placement(&order("c", Cause::Stale)), Placement::Joins(RunId(2)));
        assert_eq!(queue.position(RunId(2)), 2);
        assert!(queue.remove(RunId(1)).is_some());
        assert_eq!(queue.start_next().unwrap().run, RunId(3));
    }

    #[test]
    fn the_newest_save_is_kept() {
        let mut first = order("a", saved(&["1.txt"]));
        first.saved_at = Some(5.0);
        let mut second = order("a", saved(&["2.txt"]));
        second.saved_at = Some(9.0);
        let queue = queue(&[order("a", Cause::Asked), second, first]);
        assert_eq!(queue.waiting().next().unwrap().order.saved_at, Some(9.0));
    }
}
