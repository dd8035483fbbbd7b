//! How results look in a notebook: streams for text, displays for the rest, one live display per run.
//!
//! Owns the screen of one cell. Knows neither requests nor the daemon.

mod answers;
mod cell_media;
mod check;
mod curve;
mod html;
mod live;
mod tables;
mod training;
mod versions;

use std::path::Path;
use std::sync::Arc;

use hotplate_client::protocol::methods::generate::GenerateResult;
use hotplate_client::protocol::run::{RunEvent, RunId};
use hotplate_client::{Answers, Shown, words};
use jupyter_protocol::{
    DisplayData, JupyterMessageContent, Media, MediaType, StreamContent, Transient, UpdateDisplayData,
};

use crate::notebook_words::in_notebook;
use crate::sockets::Outbox;
use crate::wire::Parent;
pub(crate) use cell_media::media;
use live::Live;
use training::Training;

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

/// Where the notebook lies, and what links out of it lead to.
#[derive(Debug, Clone)]
pub(crate) struct Here {
    /// The notebook's folder: links start there.
    pub(crate) folder: Arc<Path>,
    /// JupyterLab as it is opens JSON Lines in a viewer that fails on the second line; where `hotplate lab` has started it, in
    /// its editor.
    pub(crate) edits_json_lines: bool,
}

/// Where the output of one cell goes.
#[derive(Clone)]
pub(crate) struct Screen {
    outbox: Outbox,
    parent: Parent,
    here: Here,
}

impl Screen {
    pub(crate) fn new(outbox: Outbox, parent: Parent, here: Here) -> Screen {
        Screen { outbox, parent, here }
    }

    pub(crate) fn stdout(&self, text: &str) {
        self.outbox.publish(Some(self.parent.clone()), StreamContent::stdout(text));
    }

    pub(crate) fn stderr(&self, text: &str) {
        self.outbox.publish(Some(self.parent.clone()), StreamContent::stderr(text));
    }

    pub(crate) fn publish(&self, content: impl Into<JupyterMessageContent>) {
        self.outbox.publish(Some(self.parent.clone()), content);
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
    /// What is gathered in one display while the command goes on.
    live: Option<Live>,
    variants: Vec<GenerateResult>,
    answered: Vec<Answers>,
    /// The stream's last line has no end yet.
    in_line: bool,
}

struct LiveRun {
    run: RunId,
    live: Live,
    training: Training,
}

impl<'a> Painter<'a> {
    pub(crate) fn new(screen: &'a Screen, json: bool) -> Painter<'a> {
        Painter {
            screen,
            json,
            runs: Vec::new(),
            live: None,
            variants: Vec::new(),
            answered: Vec::new(),
            in_line: false,
        }
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
            Shown::Generated(result) => {
                self.end_line();
                if let Some(fed) = &result.fed {
                    self.sentence(&words::fed(fed));
                }
                for remark in words::noticed(result) {
                    self.sentence(&remark);
                }
            }
            Shown::LogLine(line) => self.screen.stdout(&format!("{line}\n")),
            Shown::Run { run, event } => self.run(*run, event),
            Shown::Variant { of, result, .. } => {
                self.variants.push(result.clone());
                let last = self.variants.len() == *of;
                self.gather("texts", answers::variants(&self.variants, *of), last);
            }
            Shown::Compared { of, answers, .. } => {
                self.answered.push((**answers).clone());
                let last = self.answered.len() == *of;
                self.gather("comparison", answers::compared(&self.answered, *of), last);
            }
            Shown::Pulling(_) | Shown::Pulled(_) => {
                if let Some(bundle) = tables::bundle(shown, &self.screen.here) {
                    self.gather("pull", bundle, matches!(shown, Shown::Pulled(_)));
                }
            }
            other => {
                if let Some(bundle) = tables::bundle(other, &self.screen.here) {
                    self.screen.display(bundle);
                }
            }
        }
    }

    /// Something that a cell says by itself.
    pub(crate) fn sentence(&self, text: &str) {
        self.screen.display(Bundle { text: text.to_owned(), html: html::lines(text) });
    }

    /// One display from the first piece to the last.
    fn gather(&mut self, what: &str, bundle: Bundle, last: bool) {
        match &mut self.live {
            Some(live) => live.draw(self.screen, || bundle, last),
            None => self.live = Some(Live::begin(self.screen, what, bundle)),
        }
    }

    /// When the command is over, however it ended: what was held back is shown.
    pub(crate) fn finish(&mut self) {
        self.end_line();
        for live in self.runs.iter_mut().map(|run| &mut run.live).chain(&mut self.live) {
            live.finish(self.screen);
        }
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.in_line) {
            self.screen.stdout("\n");
        }
    }

    fn run(&mut self, run: RunId, event: &RunEvent) {
        if let Some(known) = self.runs.iter_mut().find(|known| known.run == run) {
            known.training.apply(event);
            let training = &known.training;
            known.live.draw(self.screen, || training.bundle(), event.is_last());
        } else {
            let mut training = Training::default();
            training.apply(event);
            let live = Live::begin(self.screen, &format!("run-{}", run.0), training.bundle());
            self.runs.push(LiveRun { run, live, training });
        }
        if let Some(outcome) = Training::outcome(event) {
            self.sentence(&outcome);
        }
    }
}
