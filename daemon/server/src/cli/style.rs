//! The few colours that there are. Streams of `anstream` drop them where nobody sees them: behind a pipe, or with
//! NO_COLOR set.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

pub(crate) const HEADING: Style = Style::new().bold();
pub(crate) const FAINT: Style = Style::new().dimmed();
pub(crate) const PLACE: Style = AnsiColor::Cyan.on_default();
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();

/// `what` in `style`.
pub(crate) fn paint(style: Style, what: impl Display) -> String {
    format!("{style}{what}{style:#}")
}

/// `text` with its first line in bold: the head of a table.
pub(crate) fn with_heading(text: &str) -> String {
    match text.split_once('\n') {
        Some((head, rest)) => format!("{}\n{rest}", paint(HEADING, head)),
        None => text.to_owned(),
    }
}
