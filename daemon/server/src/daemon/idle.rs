//! What happens when nothing happens: stale adapters are trained anew, and a daemon that nobody needs leaves.
//!
//! A stale adapter is trained anew once its folder has rested ten times as long as the machine (five minutes). The run ends when what was gone is back or the
//! folder changes, and is measured against the version that answers, by the same held-out examples (`Rival`): a worse one is not put to use. Cross-validation
//! has no such examples; there the versions' own figures must not be a quarter apart.

use std::time::{Duration, Instant};

use super::state::{Daemon, Stopping};

#[derive(Debug)]
pub(crate) struct Idle {
    /// When a run or an answer was last in progress.
    busy: Instant,
    /// When there was last a client, a run or a watch.
    needed: Instant,
}

impl Idle {
    pub(crate) fn new(now: Instant) -> Self {
        Self { busy: now, needed: now }
    }

    fn note(&mut self, busy: bool, needed: bool, now: Instant) {
        if busy {
            self.busy = now;
        }
        if needed {
            self.needed = now;
        }
    }

    fn idle_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.busy)
    }

    pub(crate) fn unneeded_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.needed)
    }
}

impl Daemon {
    /// Looks at the clocks.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.turn_away(now);
        let busy = !self.runs.is_empty() || !self.generating.is_empty() || !self.scoring.is_empty();
        let needed = busy || !self.sessions.is_empty() || !self.watches.is_empty();
        self.idle.note(busy, needed, now);
        self.look_at_late_templates(now, busy);
        if self.stopping == Stopping::No {
            self.say_what_is_stale(now);
        }
        match self.stopping {
            Stopping::No => {
                if self.idle.unneeded_for(now) >= self.settings.idle_exit {
                    tracing::info!("nobody has needed the daemon for {:?}", self.settings.idle_exit);
                    self.stop_now();
                } else if self.idle.idle_for(now) >= self.settings.stale_retrain {
                    self.retrain_a_stale_adapter(now);
                }
            }
            Stopping::WhenIdle if self.runs.is_empty() => self.stop_now(),
            Stopping::WhenIdle | Stopping::Now { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_keeps_the_daemon_but_does_not_keep_it_busy() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut idle = Idle::new(start);
        idle.note(true, true, at(10));
        idle.note(false, true, at(50));
        assert_eq!(idle.idle_for(at(60)), Duration::from_secs(50));
        assert_eq!(idle.unneeded_for(at(60)), Duration::from_secs(10));
    }
}
