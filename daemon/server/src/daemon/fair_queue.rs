//! A queue from which clients are served in turn, however much each has put into it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::sessions::SessionId;

pub(crate) struct FairQueue<T> {
    /// Who waits, in the order of their turns, and for what.
    waiting: Mutex<VecDeque<(SessionId, VecDeque<T>)>>,
    filled: Condvar,
}

impl<T> FairQueue<T> {
    pub(crate) fn new() -> Self {
        Self { waiting: Mutex::new(VecDeque::new()), filled: Condvar::new() }
    }

    pub(crate) fn push(&self, session: SessionId, item: T) {
        let mut waiting = self.lock();
        match waiting.iter_mut().find(|(whose, _)| *whose == session) {
            Some((_, items)) => items.push_back(item),
            None => waiting.push_back((session, VecDeque::from([item]))),
        }
        self.filled.notify_one();
    }

    /// The next one; waits for it.
    pub(crate) fn pop(&self) -> T {
        let mut waiting = self.lock();
        loop {
            if let Some((session, mut items)) = waiting.pop_front()
                && let Some(item) = items.pop_front()
            {
                if !items.is_empty() {
                    waiting.push_back((session, items));
                }
                return item;
            }
            if waiting.is_empty() {
                waiting = self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(SessionId, VecDeque<T>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_once_waits_for_one_of_the_others() {
        let queue = FairQueue::new();
        for number in 1..=4 {
            queue.push(SessionId(1), number);
        }
        queue.push(SessionId(2), 20);
        assert_eq!([queue.pop(), queue.pop(), queue.pop()], [1, 20, 2]);
        queue.push(SessionId(3), 30);
        queue.push(SessionId(3), 31);
        assert_eq!([queue.pop(), queue.pop(), queue.pop(), queue.pop()], [3, 30, 4, 31]);
    }

    #[test]
    fn whoever_waits_is_woken() {
        let queue = FairQueue::new();
        std::thread::scope(|scope| {
            let taken = [scope.spawn(|| queue.pop()), scope.spawn(|| queue.pop())];
            queue.push(SessionId(1), "a");
            queue.push(SessionId(1), "a");
            assert_eq!(taken.map(|taken| taken.join().unwrap()), ["a", "a"]);
        });
    }
}
