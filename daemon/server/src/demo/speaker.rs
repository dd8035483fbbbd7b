//! Who tells the audience what happens; silent with `--json`.

use std::io::{self, Write};
use std::time::Duration;

use hotplate_client::Canceller;
use hotplate_client::words::wrap;
use indicatif::ProgressBar;

use crate::cli::style::{FAINT, GOOD, HEADING, paint, rendered};

/// As wide as two columns of prose want to be, and no wider than the terminal.
const WIDEST: usize = 100;
const USUAL: usize = 80;
const NARROWEST: usize = 40;
/// The left margin of everything but headings.
const MARGIN: &str = "   ";

const TICK: Duration = Duration::from_millis(100);

#[must_use = "the sign of life ends when this is dropped"]
pub(super) struct Waiting(Option<ProgressBar>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(spinner) = &self.0 {
            spinner.finish_and_clear();
        }
    }
}

pub(super) struct Speaker {
    aloud: bool,
    width: usize,
    /// Thrown when the audience has left (`| head`): there is a daemon to clear away, so this is no moment to exit.
    curtain: Canceller,
}

impl Speaker {
    pub(super) fn new(aloud: bool, curtain: Canceller) -> Self {
        let terminal = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
        Self { aloud, width: terminal.unwrap_or(USUAL).clamp(NARROWEST, WIDEST), curtain }
    }

    /// What is left of a line beside the margin.
    pub(super) fn width(&self) -> usize {
        self.width - MARGIN.len()
    }

    pub(super) fn is_aloud(&self) -> bool {
        self.aloud
    }

    pub(super) fn heading(&self, text: &str) {
        self.line(&format!("\n{}", paint(HEADING, text)));
    }

    pub(super) fn say(&self, text: &str) {
        for line in wrap(text, self.width()) {
            self.line(&format!("{MARGIN}{line}"));
        }
    }

    pub(super) fn say_well(&self, text: &str) {
        for line in wrap(text, self.width()) {
            self.line(&format!("{MARGIN}{}", paint(GOOD, line)));
        }
    }

    pub(super) fn say_softly(&self, text: &str) {
        for line in wrap(text, self.width()) {
            self.line(&format!("{MARGIN}{}", paint(FAINT, line)));
        }
    }

    /// Somebody else's words, with a bar before them.
    pub(super) fn quote(&self, text: &str) {
        for line in wrap(text, self.width() - 2) {
            self.line(&format!("{MARGIN}{} {line}", paint(FAINT, "▏")));
        }
    }

    /// A sign of life on standard error, where that is a terminal, until what is returned is dropped.
    pub(super) fn waiting(&self, text: &str) -> Waiting {
        if !self.aloud {
            return Waiting(None);
        }
        let spinner = ProgressBar::new_spinner().with_message(text.to_owned());
        spinner.enable_steady_tick(TICK);
        Waiting(Some(spinner))
    }

    /// Lines that are laid out already.
    pub(super) fn lines(&self, lines: &[String]) {
        for line in lines {
            self.line(&format!("{MARGIN}{line}"));
        }
    }

    pub(super) fn gap(&self) {
        self.line("");
    }

    fn line(&self, text: &str) {
        if !self.aloud {
            return;
        }
        let mut out = anstream::stdout().lock();
        if writeln!(out, "{}", rendered(text)).and_then(|()| out.flush()).is_err() {
            self.curtain.cancel();
        }
    }
}
