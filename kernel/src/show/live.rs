//! One display that is drawn again while something goes on. At most so often: more cannot be seen, and each one is drawn anew.

use std::time::{Duration, Instant};

use super::{Bundle, Screen};

/// Five times a second.
const UPDATE_EVERY: Duration = Duration::from_millis(200);

pub(super) struct Live {
    display: String,
    drawn: Instant,
    /// What was held back.
    waiting: Option<Bundle>,
}

impl Live {
    /// The display is there from now on. `what` makes its id readable.
    pub(super) fn begin(screen: &Screen, what: &str, bundle: Bundle) -> Live {
        let display = format!("hotplate-{what}-{}", uuid::Uuid::new_v4());
        screen.display_as(&display, bundle);
        Live { display, drawn: Instant::now(), waiting: None }
    }

    /// `last`: nothing follows that could make up for a draw that is left out.
    pub(super) fn draw(&mut self, screen: &Screen, bundle: impl FnOnce() -> Bundle, last: bool) {
        let now = Instant::now();
        if !last && now.duration_since(self.drawn) < UPDATE_EVERY {
            self.waiting = Some(bundle());
            return;
        }
        self.waiting = None;
        screen.update(&self.display, bundle());
        self.drawn = now;
    }

    /// Draws what was held back.
    pub(super) fn finish(&mut self, screen: &Screen) {
        if let Some(bundle) = self.waiting.take() {
            screen.update(&self.display, bundle);
        }
    }
}
