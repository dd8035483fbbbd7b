//! From lines to examples, one file per format. Parsers take lines and give examples and findings; they never see a
//! file handle.

mod front_matter;
mod jsonl;
mod record;
mod text;

use std::path::Path;

use crate::content::Content;
use crate::findings::Finding;
use crate::lines::Line;

/// The formats that are read, by the file's ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Markdown,
    JsonLines,
}

impl Format {
    pub(crate) fn of(path: &Path) -> Option<Format> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "txt" => Some(Format::Text),
            "md" => Some(Format::Markdown),
            "jsonl" => Some(Format::JsonLines),
            _ => None,
        }
    }
}

/// What a parser says of the lines so far.
pub(crate) enum Found {
    Example { content: Content, lines: (usize, usize) },
    Finding(Finding),
}

/// Reads one file, line by line.
pub(crate) enum Parser<'a> {
    Text(text::TextParser<'a>),
    JsonLines(jsonl::JsonLinesParser<'a>),
}

impl<'a> Parser<'a> {
    /// `file` is what findings name; no part larger than `max_record_bytes` is kept.
    pub(crate) fn new(format: Format, file: &'a Path, max_record_bytes: usize) -> Self {
        match format {
            Format::Text => Parser::Text(text::TextParser::new(file, max_record_bytes, false)),
            Format::Markdown => Parser::Text(text::TextParser::new(file, max_record_bytes, true)),
            Format::JsonLines => Parser::JsonLines(jsonl::JsonLinesParser::new(file, max_record_bytes)),
        }
    }

    pub(crate) fn line(&mut self, line: &Line<'_>, on_found: &mut dyn FnMut(Found)) {
        match self {
            Parser::Text(parser) => parser.line(line, on_found),
            Parser::JsonLines(parser) => parser.line(line, on_found),
        }
    }

    pub(crate) fn finish(self, on_found: &mut dyn FnMut(Found)) {
        match self {
            Parser::Text(parser) => parser.finish(on_found),
            Parser::JsonLines(parser) => parser.finish(on_found),
        }
    }
}
