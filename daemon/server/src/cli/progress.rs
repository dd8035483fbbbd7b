//! One run as a bar on the terminal, and its losses as curves.
//!
//! The bar lies on standard error and only where that is a terminal. Knows no language: its few words are given
//! to it.

use std::time::Duration;

use hotplate_client::protocol::run::{RunEvent, RunWork};
use hotplate_client::words;
use indicatif::{ProgressBar, ProgressStyle};

/// What the bar says.
#[derive(Clone, Copy)]
pub(crate) struct BarWords {
    /// Before the daemon has said anything of the run.
    pub(crate) waiting: &'static str,
    pub(crate) preparing: &'static str,
    pub(crate) loss: &'static str,
    pub(crate) heldout: &'static str,
    /// What a run is at, and how much of that is done.
    pub(crate) working: fn(RunWork, usize, usize) -> String,
    /// Seconds that are left, as text.
    pub(crate) left: fn(f64) -> String,
}

impl BarWords {
    pub(crate) const ENGLISH: BarWords = BarWords {
        waiting: "reading the examples (before a first run, two steps are timed too)",
        preparing: "reading the examples",
        loss: "loss",
        heldout: "held out",
        working: words::working,
        left: |seconds| format!("{} left", words::duration(seconds)),
    };
}

pub(crate) struct RunProgress {
    words: BarWords,
    bar: Option<ProgressBar>,
    losses: Vec<f64>,
    heldout: Vec<f64>,
}

impl RunProgress {
    pub(crate) fn new(words: BarWords) -> Self {
        Self { words, bar: None, losses: Vec::new(), heldout: Vec::new() }
    }

    /// The daemon reads the examples, and perhaps times two steps, before it can say anything.
    pub(crate) fn waits(&mut self) {
        let bar = ProgressBar::new_spinner().with_style(style("{spinner:.cyan} {msg:.dim}"));
        bar.set_message(self.words.waiting);
        bar.enable_steady_tick(Duration::from_millis(100));
        self.bar = Some(bar);
    }

    /// Follows the run; its last event takes the bar away.
    pub(crate) fn event(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Started { plan, .. } => {
                self.losses.clear();
                self.heldout.clear();
                let bar = ProgressBar::new(plan.steps as u64).with_style(style("{spinner:.cyan} {msg:.dim}"));
                bar.set_message(self.words.preparing);
                bar.enable_steady_tick(Duration::from_millis(100));
                self.bar = Some(bar);
            }
            RunEvent::Step { step, steps, loss, seconds_left, .. } => {
                self.losses.push(*loss);
                if let Some(bar) = &self.bar {
                    if self.losses.len() == 1 {
                        bar.set_style(style("{spinner:.cyan} {bar:24.cyan/dim} {pos:>3}/{len}  {wide_msg}"));
                    }
                    bar.set_length(*steps as u64);
                    bar.set_position(*step as u64);
                    bar.set_message(self.figures(*loss, *seconds_left));
                }
            }
            RunEvent::Working { work, done, of, seconds_left } => {
                if let Some(bar) = &self.bar {
                    bar.set_message(self.doing(*work, *done, *of, *seconds_left));
                }
            }
            RunEvent::Evaluated { heldout_loss, .. } => self.heldout.push(*heldout_loss),
            RunEvent::Queued { .. }
            | RunEvent::Note { .. }
            | RunEvent::FoldsDone { .. }
            | RunEvent::Sampled { .. } => {}
            RunEvent::Finished { .. }
            | RunEvent::Kept { .. }
            | RunEvent::Failed { .. }
            | RunEvent::Cancelled => self.clear(),
        }
    }

    /// Between two steps of learning, its figures stay.
    fn doing(&self, work: RunWork, done: usize, of: usize, left: Option<f64>) -> String {
        match (work, self.losses.last(), left) {
            (RunWork::Learning, Some(loss), Some(left)) => self.figures(*loss, left),
            (_, _, Some(left)) => {
                format!("{}, {}", (self.words.working)(work, done, of), (self.words.left)(left))
            }
            _ => (self.words.working)(work, done, of),
        }
    }

    fn figures(&self, loss: f64, seconds_left: f64) -> String {
        let heldout = match self.heldout.last() {
            Some(value) => format!("{} {}, ", self.words.heldout, words::loss(*value)),
            None => String::new(),
        };
        format!("{} {}, {heldout}{}", self.words.loss, words::loss(loss), (self.words.left)(seconds_left))
    }

    /// Writes something beside the bar without tearing it.
    pub(crate) fn beside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Whether somebody can see the bar.
    pub(crate) fn is_seen() -> bool {
        std::io::IsTerminal::is_terminal(&std::io::stderr())
    }

    pub(crate) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// The losses of the last run, as curves of `width` characters at most: that on what is learnt, that on what is
    /// held out. A line each, with the first and the last figure; empty without two figures.
    pub(crate) fn curves(&self, width: usize) -> Vec<String> {
        use unicode_width::UnicodeWidthStr;

        let curves = [(self.words.loss, &self.losses), (self.words.heldout, &self.heldout)];
        let longest = curves.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
        curves
            .iter()
            .filter_map(|(name, values)| {
                let [first, .., last] = values.as_slice() else { return None };
                let padding = " ".repeat(longest - name.width());
                Some(format!(
                    "{name}{padding}  {}  {} → {}",
                    words::sparkline(values, width),
                    words::loss(*first),
                    words::loss(*last)
                ))
            })
            .collect()
    }
}

fn style(template: &str) -> ProgressStyle {
    // A template is a constant of this file; a broken one falls back to indicatif's own bar.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
        .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
}
