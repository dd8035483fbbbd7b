//! How results look in a notebook: streams for text, displays for the rest, one live display per run.
//!
//! Owns the screen of one cell. Knows neither requests nor the daemon.

mod curve;
mod html;
mod tables;
mod training;

use std::time::{Duration, Instant};

use hotplate_client::Shown;
use hotplate_client::protocol::run::{RunEvent, RunId};
use jupyter_protocol::{DisplayData, Media, MediaType, StreamContent, Transient, UpdateDisplayData};

use crate::notebook_words::in_notebook;
use crate::sockets::Outbox;
use crate::wire::Parent;
use training::Training;

/// At most five updates a second: more cannot be seen, and each one is drawn anew.
const UPDATE_EVERY: Duration = Duration::from_millis(200);

/// One thing in two forms; a front end shows the richest that it can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bundle {
    text: String,
    html: String,
}

impl Bundle {
    fn media(self) -> Media {
        let Bundle { text, html } = self;
        Media::new(vec![MediaType::Plain(in_notebook(&text)), MediaType::Html(in_notebook(&html))])
    }
}

/// Where the output of one cell goes.
#[derive(Clone)]
pub(crate) struct Screen {
    outbox: Outbox,
    parent: Parent,
}

impl Screen {
    pub(crate) fn new(outbox: Outbox, parent: Parent) -> Screen {
        Screen { outbox, parent }
    }

    pub(crate) fn stdout(&self, text: &str) {
        self.outbox.publish(Some(self.parent.clone()), StreamContent::stdout(text));
    }

    fn display(&self, bundle: Bundle) {
        self.outbox.publish(Some(self.parent.clone()), DisplayData::new(bundle.media()));
    }

    fn display_as(&self, id: &str, bundle: Bundle) {
        let mut display = DisplayData::new(bundle.media());
        display.transient = Some(Transient { display_id: Some(id.to_owned()) });
        self.outbox.publish(Some(self.parent.clone()), display);
    }

    fn update(&self, id: &str, bundle: Bundle) {
        self.outbox.publish(Some(self.parent.clone()), UpdateDisplayData::new(bundle.media(), id));
    }
}

/// Paints one command's results.
pub(crate) struct Painter<'a> {
    screen: &'a Screen,
    json: bool,
    runs: Vec<LiveRun>,
    /// The display of a model that is being fetched, and when it was drawn last.
    pulling: Option<(String, Instant)>,
    /// The stream's last line has no end yet.
    in_line: bool,
}

struct LiveRun {
    run: RunId,
    display: String,
    training: Training,
    updated: Instant,
    /// Something happened since the last update.
    stale: bool,
}

impl<'a> Painter<'a> {
    pub(crate) fn new(screen: &'a Screen, json: bool) -> Painter<'a> {
        Painter { screen, json, runs: Vec::new(), pulling: None, in_line: false }
    }

    pub(crate) fn show(&mut self, shown: &Shown) {
        if self.json {
            if let Some(value) = shown.to_json() {
                self.screen.stdout(&format!("{value}\n"));
            }
            return;
        }
        match shown {
            Shown::Delta(text) => {
                if let Some(last) = text.chars().next_back() {
                    self.in_line = last != '\n';
                    self.screen.stdout(text);
                }
            }
            // The text was shown while it came; figures are for those who ask with --json.
            Shown::Generated(_) => self.end_line(),
            Shown::LogLine(line) => self.screen.stdout(&format!("{line}\n")),
            Shown::Run { run, event } => self.run(*run, event),
            Shown::Pulling(_) | Shown::Pulled(_) => self.pull(shown),
            other => {
                if let Some(bundle) = tables::bundle(other) {
                    self.screen.display(bundle);
                }
            }
        }
    }

    /// One display from the first byte to the last.
    fn pull(&mut self, shown: &Shown) {
        let Some(bundle) = tables::bundle(shown) else { return };
        let now = Instant::now();
        match &mut self.pulling {
            Some((_, drawn))
                if matches!(shown, Shown::Pulling(_)) && now.duration_since(*drawn) < UPDATE_EVERY => {}
            Some((display, drawn)) => {
                self.screen.update(display, bundle);
                *drawn = now;
            }
            None => {
                let display = format!("hotplate-pull-{}", uuid::Uuid::new_v4());
                self.screen.display_as(&display, bundle);
                self.pulling = Some((display, now));
            }
        }
    }

    /// When the command is over, however it ended: what was held back is shown.
    pub(crate) fn finish(&mut self) {
        self.end_line();
        for live in &mut self.runs {
            if live.stale {
                self.screen.update(&live.display, live.training.bundle());
                live.stale = false;
            }
        }
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.in_line) {
            self.screen.stdout("\n");
        }
    }

    fn run(&mut self, run: RunId, event: &RunEvent) {
        let now = Instant::now();
        let Some(live) = self.runs.iter_mut().find(|live| live.run == run) else {
            let mut training = Training::default();
            training.apply(event);
            let display = format!("hotplate-run-{}-{}", run.0, uuid::Uuid::new_v4());
            self.screen.display_as(&display, training.bundle());
            self.runs.push(LiveRun { run, display, training, updated: now, stale: false });
            return;
        };
        live.training.apply(event);
        live.stale = true;
        if event.is_last() || now.duration_since(live.updated) >= UPDATE_EVERY {
            self.screen.update(&live.display, live.training.bundle());
            live.updated = now;
            live.stale = false;
        }
    }
}
