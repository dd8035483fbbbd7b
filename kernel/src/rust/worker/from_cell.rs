//! What the process that runs code puts out, told apart: text, evcxr's own lines, and those of the crate `hotplate`.
//!
//! evcxr reads its child's output by the line, and waits for lines of its own: a last line without an end would swallow the
//! word that the code has run, and text that is not UTF-8 would end the reading. So a process of ours stands between; it
//! passes evcxr's lines on as they are, and everything else as [`FromCell`].

use serde::{Deserialize, Serialize};

use crate::said::{ProcessEnd, Stream};

/// One line in evcxr's channel of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromCell {
    /// Compiled; the code runs now.
    Running,
    Text {
        stream: Stream,
        text: String,
    },
    /// A line of the crate `hotplate`.
    Helper(String),
    /// evcxr says that the code panicked.
    Panicked,
    /// evcxr says that a `?` met an error.
    Returned,
    Gone(ProcessEnd),
}

impl FromCell {
    pub(crate) fn to_line(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        // evcxr looks for its words anywhere in a line.
        json.replace("EVCXR_", "EVCXR\\u005f")
    }

    pub(crate) fn from_line(line: &str) -> Option<FromCell> {
        serde_json::from_str(line).ok()
    }
}

/// A part of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    /// For evcxr, with its end of line.
    Line(String),
    Helper(String),
}

const MARK: &[u8] = b"EVCXR_";
const HELPER: &str = "EVCXR_HOTPLATE ";
const CONTENT: &str = "EVCXR_BEGIN_CONTENT ";
const END_OF_CONTENT: &str = "EVCXR_END_CONTENT\n";
/// evcxr 0.22's other lines: in full, or their beginnings.
const LINES: [&str; 3] =
    ["EVCXR_EXECUTION_COMPLETE\n", "EVCXR_PANIC_NOTIFICATION\n", "EVCXR_ERROR_OCCURRED\n"];
const BEGINNINGS: [&str; 3] = ["EVCXR_VARIABLE_CHANGED_TYPE:", "EVCXR_INPUT_REQUEST", CONTENT];

pub(crate) const COMPLETE: &str = LINES[0];
pub(crate) const PANICKED: &str = LINES[1];
pub(crate) const RETURNED: &str = LINES[2];

/// Divides bytes as they come.
#[derive(Default)]
pub(crate) struct Divider {
    waiting: Vec<u8>,
    /// Between the lines that begin and end a value: all of it is evcxr's.
    in_content: bool,
}

impl Divider {
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Part> {
        self.waiting.extend_from_slice(bytes);
        let mut parts = Vec::new();
        while let Some(part) = self.next() {
            parts.push(part);
        }
        parts
    }

    /// What was waiting for its rest, which does not come any more.
    pub(crate) fn end(&mut self) -> Option<Part> {
        let rest = std::mem::take(&mut self.waiting);
        (!rest.is_empty()).then(|| Part::Text(String::from_utf8_lossy(&rest).into_owned()))
    }

    fn next(&mut self) -> Option<Part> {
        if self.in_content {
            let line = self.take_line()?;
            self.in_content = line != END_OF_CONTENT;
            return Some(Part::Line(line));
        }
        match find(&self.waiting, MARK) {
            Some(0) => {
                let line = self.take_line()?;
                if let Some(said) = line.strip_prefix(HELPER) {
                    return Some(Part::Helper(said.trim_end().to_owned()));
                }
                let is_evcxrs = LINES.contains(&line.as_str())
                    || BEGINNINGS.iter().any(|beginning| line.starts_with(beginning));
                self.in_content = line.starts_with(CONTENT);
                Some(if is_evcxrs { Part::Line(line) } else { Part::Text(line) })
            }
            Some(at) => self.take_text(at),
            None => self.take_text(self.waiting.len() - undecided(&self.waiting)),
        }
    }

    fn take_line(&mut self) -> Option<String> {
        let end = self.waiting.iter().position(|byte| *byte == b'\n')? + 1;
        let line: Vec<u8> = self.waiting.drain(..end).collect();
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    fn take_text(&mut self, length: usize) -> Option<Part> {
        let text: Vec<u8> = self.waiting.drain(..length).collect();
        (!text.is_empty()).then(|| Part::Text(String::from_utf8_lossy(&text).into_owned()))
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// How many bytes at the end could be the beginning of a mark, or of a character.
fn undecided(bytes: &[u8]) -> usize {
    let mark = (1..MARK.len()).rev().find(|length| bytes.ends_with(MARK.get(..*length).unwrap_or_default()));
    mark.unwrap_or_else(|| unfinished_character(bytes))
}

/// The length of a character's beginning at the end of `bytes`.
pub(crate) fn unfinished_character(bytes: &[u8]) -> usize {
    (1..=3)
        .find(|back| {
            let first = bytes.len().checked_sub(*back).and_then(|at| bytes.get(at));
            let length = match first {
                Some(0xc2..=0xdf) => 2,
                Some(0xe0..=0xef) => 3,
                Some(0xf0..=0xf4) => 4,
                _ => 0,
            };
            length > *back
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    fn line(line: &str) -> Part {
        Part::Line(line.to_owned())
    }

    /// In one piece and byte by byte, with neighbouring texts put together.
    fn check(bytes: &[u8], expected: &[Part]) {
        for step in [bytes.len(), 1] {
            let mut divider = Divider::default();
            let mut parts: Vec<Part> = bytes.chunks(step).flat_map(|bytes| divider.push(bytes)).collect();
            parts.extend(divider.end());
            let mut joined: Vec<Part> = Vec::new();
            for part in parts {
                match (joined.last_mut(), part) {
                    (Some(Part::Text(before)), Part::Text(more)) => before.push_str(&more),
                    (_, part) => joined.push(part),
                }
            }
            assert_eq!(joined, expected, "in steps of {step}");
        }
    }

    #[test]
    fn text_and_lines_are_told_apart() {
        check("面包\nEV".as_bytes(), &[text("面包\nEV")]);
        check(b"a\nEVCXR_EXECUTION_COMPLETE\n", &[text("a\n"), line(COMPLETE)]);
        check(b"no endEVCXR_PANIC_NOTIFICATION\nb", &[text("no end"), line(PANICKED), text("b")]);
        check(b"EVCXR_SOMETHING\n", &[text("EVCXR_SOMETHING\n")]);
        check(b"EVCXR_HOTPLATE display a%20b\nx", &[Part::Helper("display a%20b".to_owned()), text("x")]);
        check(
            b"EVCXR_BEGIN_CONTENT text/plain\nEVCXR_EXECUTION\n1\nEVCXR_END_CONTENT\n2",
            &[
                line("EVCXR_BEGIN_CONTENT text/plain\n"),
                line("EVCXR_EXECUTION\n"),
                line("1\n"),
                line("EVCXR_END_CONTENT\n"),
                text("2"),
            ],
        );
        check(b"\xff\n", &[text("\u{fffd}\n")]);
    }

    #[test]
    fn evcxr_finds_none_of_its_words_in_our_lines() {
        let said = FromCell::Text { stream: Stream::Stdout, text: "EVCXR_BEGIN_CONTENT x\n".to_owned() };
        let line = said.to_line();
        assert!(!line.contains("EVCXR_") && !line.contains('\n'), "{line}");
        assert_eq!(FromCell::from_line(&line), Some(said));
    }
}
