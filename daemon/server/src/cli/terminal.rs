//! Results for people: plain words on standard output, progress on standard error, colours and bars only where
//! somebody sees them.

use std::io::{self, IsTerminal, Write};

use hotplate_client::protocol::methods::check::{CheckResult, Finding};
use hotplate_client::protocol::run::{RunEvent, SamplePair};
use hotplate_client::words::wrap;
use hotplate_client::{Answers, Shown, words};

use super::columns::side_by_side;
use super::progress::{BarWords, RunProgress};
use super::pull::PullProgress;
use super::style::{FAINT, GOOD, HEADING, PLACE, WARNING, paint, rendered, with_heading};

const CURVE_WIDTH: usize = 48;
/// Two columns of text are hard to read beyond it.
const WIDEST: usize = 120;

pub(crate) struct Terminal {
    progress: RunProgress,
    pull: PullProgress,
    /// A plan is the result of `--dry-run`, and progress otherwise.
    plan_is_result: bool,
    /// Results and nothing beside them.
    quiet: bool,
    /// Whether the text that is being written stands at the start of a line.
    at_line_start: bool,
}

impl Terminal {
    pub(crate) fn new(plan_is_result: bool, quiet: bool) -> Self {
        Self {
            progress: RunProgress::new(BarWords::ENGLISH),
            pull: PullProgress::default(),
            plan_is_result,
            quiet,
            at_line_start: true,
        }
    }

    /// Nothing more is shown.
    pub(crate) fn done(&mut self) {
        self.progress.clear();
    }

    /// Until something is shown.
    pub(crate) fn waits(&mut self) {
        self.progress.waits();
    }

    pub(crate) fn show(&mut self, shown: &Shown) -> io::Result<()> {
        if matches!(shown, Shown::Planned(_)) {
            self.progress.clear();
        }
        match shown {
            Shown::Checked(check) => self.out(&check_report(check)),
            Shown::Planned(plan) if self.plan_is_result => {
                let settings =
                    with_heading(&words::settings(&plan.settings, plan.train_examples, stdout_width()));
                self.out(&format!("{}\n\n{settings}", words::plan(plan)))
            }
            Shown::Planned(plan) => self.aside(&words::plan(plan)),
            Shown::Run { event, .. } => self.run(event),
            Shown::Delta(text) => self.delta(text),
            Shown::Generated(result) => {
                if !self.at_line_start {
                    self.out("")?;
                }
                self.at_line_start = true;
                self.aside(&words::generated(result))
            }
            Shown::Compared { number, of, answers } => self.out(&compared(*number, *of, answers)),
            Shown::FewShotVsTuned(weighed) => {
                let rows = with_heading(&words::weighed_rows(weighed, stdout_width()));
                self.out(&format!("{rows}\n\n{}", words::weighed_summary(weighed)))
            }
            Shown::Pulling(progress) => {
                if !self.quiet {
                    self.pull.show(progress);
                }
                Ok(())
            }
            Shown::Pulled(fetched) => {
                self.pull.clear();
                self.out(&words::pulled(fetched))
            }
            Shown::Scored { lines, result } => self.out(&words::scored(lines, result, stdout_width())),
            Shown::ToyByDefault => self.remark(&words::toy_by_default()),
            Shown::Adapters(list) if !list.is_empty() => {
                self.out(&with_heading(&words::adapters(list, stdout_width())))
            }
            Shown::Models(list) => self.out(&with_heading(&words::models(list, stdout_width()))),
            // The model's words: whatever they are where a program reads them.
            Shown::Variant { .. } if !io::stdout().is_terminal() => match words::shown(shown) {
                Some(text) => writeln!(io::stdout(), "{text}"),
                None => Ok(()),
            },
            other => match words::shown(other) {
                Some(text) => self.out(&text),
                None => Ok(()),
            },
        }
    }

    fn run(&mut self, event: &RunEvent) -> io::Result<()> {
        if !self.quiet {
            self.progress.event(event);
        }
        match event {
            RunEvent::Sampled { .. } if self.quiet => Ok(()),
            // The first three are the bar's; the last is said by whoever ends the process with it.
            RunEvent::Step { .. }
            | RunEvent::Working { .. }
            | RunEvent::Evaluated { .. }
            | RunEvent::Failed { .. } => Ok(()),
            RunEvent::Finished { .. } => {
                for curve in self.progress.curves(CURVE_WIDTH) {
                    self.aside(&curve)?;
                }
                self.out(&first_line_good(&words::event(event).unwrap_or_default()))
            }
            RunEvent::Kept { .. } => self.out(&words::event(event).unwrap_or_default()),
            RunEvent::Sampled { step, samples } => self.out(&sampled(*step, samples)),
            RunEvent::Queued { .. }
            | RunEvent::Started { .. }
            | RunEvent::Note { .. }
            | RunEvent::FoldsDone { .. }
            | RunEvent::Cancelled => match words::event(event) {
                Some(text) => self.aside(&text),
                None => Ok(()),
            },
        }
    }

    fn delta(&mut self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        // A terminal must not obey what a model wrote; a pipe gets it as it is.
        let shown = if out.is_terminal() { words::visible(text) } else { text.into() };
        out.write_all(shown.as_bytes())?;
        out.flush()?;
        if let Some(last) = text.chars().last() {
            self.at_line_start = last == '\n';
        }
        Ok(())
    }

    /// A result.
    fn out(&self, text: &str) -> io::Result<()> {
        self.progress.beside(|| {
            let mut out = anstream::stdout().lock();
            writeln!(out, "{}", rendered(&words::fold(text, stdout_width())))?;
            out.flush()
        })
    }

    /// Something that must be known, beside the result, also where standard error is a file.
    fn remark(&self, text: &str) -> io::Result<()> {
        if self.quiet { Ok(()) } else { self.faintly(text) }
    }

    /// Something by the way, for whoever is looking; nothing where nobody is.
    fn aside(&self, text: &str) -> io::Result<()> {
        if RunProgress::is_seen() { self.remark(text) } else { Ok(()) }
    }

    fn faintly(&self, text: &str) -> io::Result<()> {
        self.progress.beside(|| {
            let mut err = anstream::stderr().lock();
            words::fold(text, stderr_width())
                .lines()
                .try_for_each(|line| writeln!(err, "{}", rendered(&paint(FAINT, line))))
        })
    }
}

/// A table that goes to a file or another program is as wide as it likes.
fn stdout_width() -> usize {
    terminal_size::terminal_size_of(io::stdout()).map_or(words::UNBOUNDED, |(width, _)| usize::from(width.0))
}

pub(super) fn stderr_width() -> usize {
    terminal_size::terminal_size_of(io::stderr()).map_or(words::UNBOUNDED, |(width, _)| usize::from(width.0))
}

/// The answers to one prompt beside each other.
fn compared(number: usize, of: usize, answers: &Answers) -> String {
    let width = terminal_size::terminal_size_of(io::stdout()).map_or(80, |(width, _)| usize::from(width.0));
    let mut text = format!("{}\n", paint(HEADING, wrap(&answers.prompt, width).join("\n")));
    let heads: Vec<String> = answers
        .all()
        .map(|answer| format!("{} ({})", words::author(answer), words::length(answer)))
        .collect();
    let texts: Vec<&str> = answers.all().map(|answer| answer.text.as_str()).collect();
    text.push_str(&side_by_side(&heads, &texts, width.clamp(40, WIDEST)).join("\n"));
    for remark in words::about(answers) {
        text.push_str(&format!("\n{}", wrap(&remark, width).join("\n")));
    }
    if number == of {
        text.push_str(&format!("\n{}", paint(FAINT, words::measures(answers))));
    }
    text
}

/// What the base and the adapter make of each prompt, beside each other.
fn sampled(step: usize, samples: &[SamplePair]) -> String {
    let width = terminal_size::terminal_size_of(io::stdout()).map_or(80, |(width, _)| usize::from(width.0));
    let mut text = paint(FAINT, format_args!("step {}", words::number(step)));
    for SamplePair { prompt, base, mine } in samples {
        text.push_str(&format!("\n{}\n", paint(HEADING, wrap(prompt, width).join("\n"))));
        text.push_str(&side_by_side(&["base", "mine"], &[base, mine], width.clamp(40, WIDEST)).join("\n"));
    }
    text
}

fn first_line_good(text: &str) -> String {
    match text.split_once('\n') {
        Some((first, rest)) => format!("{}\n{rest}", paint(GOOD, first)),
        None => paint(GOOD, text),
    }
}

fn check_report(check: &CheckResult) -> String {
    let mut report = words::check_summary(check);
    for finding in &check.findings {
        report.push_str("\n\n");
        report.push_str(&finding_in_colour(finding));
    }
    let width = stdout_width();
    let examples = with_heading(&words::examples(&check.listed, width));
    let settings = with_heading(&words::settings(&check.settings, check.train_examples, width));
    for part in [examples, words::rehearsed(&check.rehearsed), settings] {
        if !part.is_empty() {
            report.push_str("\n\n");
            report.push_str(&part);
        }
    }
    report
}

/// Where, what, and what to do.
pub(crate) fn finding_in_colour(finding: &Finding) -> String {
    format!(
        "{}: {} {}{}\n    {}",
        paint(PLACE, words::finding_place(finding)),
        paint(WARNING, format_args!("{} {}:", finding.code, finding.name)),
        finding.message,
        if finding.skipped { " (left out)" } else { "" },
        paint(FAINT, &finding.remedy)
    )
}
