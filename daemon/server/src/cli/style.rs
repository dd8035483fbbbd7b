//! The few colours that there are. Streams of `anstream` drop them where nobody sees them: behind a pipe, or with
//! NO_COLOR set.
//!
//! Text is painted with marks, and they become colours where it is written ([`rendered`]): so everything else in it that a terminal would
//! obey, a file's name for example, can be spelled out there, once for all.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};
use hotplate_client::words;

/// A colour to be: a code point that stands for no character.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(char);

pub(crate) const HEADING: Mark = Mark('\u{fdd0}');
pub(crate) const FAINT: Mark = Mark('\u{fdd1}');
pub(crate) const PLACE: Mark = Mark('\u{fdd2}');
pub(crate) const WARNING: Mark = Mark('\u{fdd3}');
pub(crate) const GOOD: Mark = Mark('\u{fdd4}');
pub(crate) const ERROR: Mark = Mark('\u{fdd5}');
const END: char = '\u{fdef}';

const fn style(mark: char) -> Option<Style> {
    Some(match mark {
        '\u{fdd0}' => Style::new().bold(),
        '\u{fdd1}' => Style::new().dimmed(),
        '\u{fdd2}' => AnsiColor::Cyan.on_default(),
        '\u{fdd3}' => AnsiColor::Yellow.on_default(),
        '\u{fdd4}' => AnsiColor::Green.on_default(),
        '\u{fdd5}' => AnsiColor::Red.on_default().bold(),
        _ => return None,
    })
}

/// `what` in a colour, once it is [`rendered`].
pub(crate) fn paint(mark: Mark, what: impl Display) -> String {
    format!("{}{what}{END}", mark.0)
}

/// Painted text as a terminal takes it; what is not ours in it is spelled out.
pub(crate) fn rendered(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in words::visible(text).chars() {
        match style(character) {
            Some(style) => out.push_str(&style.render().to_string()),
            None if character == END => out.push_str(&anstyle::Reset.render().to_string()),
            None => out.push(character),
        }
    }
    out
}

/// `text` with its first line in bold: the head of a table.
pub(crate) fn with_heading(text: &str) -> String {
    match text.split_once('\n') {
        Some((head, rest)) => format!("{}\n{rest}", paint(HEADING, head)),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_colours_reach_the_terminal() {
        let text = format!("{}: \u{1b}]0;title\u{7}", paint(GOOD, "evil\u{1b}[31m.txt"));
        assert_eq!(rendered(&text), "\u{1b}[32mevil\\u{1b}[31m.txt\u{1b}[0m: \\u{1b}]0;title\\u{7}");
        assert_eq!(rendered("面\n包\t"), "面\n包\t");
    }
}
