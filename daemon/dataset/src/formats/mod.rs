//! From bytes to examples, one file per format. Parsers take bytes and give examples and findings; they never see a file
//! handle, but for Parquet's, whose table of contents is at the end.

mod front_matter;
mod json;
mod json_cutter;
mod jsonl;
mod markdown;
pub(crate) mod parquet;
mod table;
mod table_cutter;
mod text;

pub(crate) use markdown::{Blocks, heading_level};
pub(crate) use text::without_blank_ends;

use std::path::Path;

use crate::content::Content;
use crate::findings::Finding;
use crate::lines::{Line, LineCutter};
use crate::shapes::{Shape, Shaped};

/// The formats that are read, by the file's ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    Text,
    Markdown,
    JsonLines,
    Json,
    Csv,
    Tsv,
    Parquet,
}

impl Format {
    pub const fn name(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Markdown => "Markdown",
            Format::JsonLines => "JSON Lines",
            Format::Json => "JSON",
            Format::Csv => "CSV",
            Format::Tsv => "TSV",
            Format::Parquet => "Parquet",
        }
    }

    pub(crate) fn of(path: &Path) -> Option<Format> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "txt" => Some(Format::Text),
            "md" => Some(Format::Markdown),
            "jsonl" | "ndjson" => Some(Format::JsonLines),
            "json" => Some(Format::Json),
            "csv" => Some(Format::Csv),
            "tsv" => Some(Format::Tsv),
            "parquet" => Some(Format::Parquet),
            _ => None,
        }
    }
}

/// What a parser says of the bytes so far.
pub(crate) enum Found {
    Example { shape: Shape, content: Content, title: Option<String>, lines: (usize, usize) },
    Finding(Finding),
}

impl Found {
    fn of(shaped: Result<Shaped, Finding>, lines: (usize, usize)) -> Found {
        match shaped {
            Ok(Shaped { shape, content, title }) => Found::Example { shape, content, title, lines },
            Err(finding) => Found::Finding(finding),
        }
    }
}

/// Reads one file, chunk by chunk.
pub(crate) enum Parser<'a> {
    Lines(LineCutter, LineParser<'a>),
    Json(json::JsonParser<'a>),
    Table(table::TableParser<'a>),
}

/// A parser that goes line by line.
pub(crate) enum LineParser<'a> {
    Text(Box<text::TextParser<'a>>),
    JsonLines(jsonl::JsonLinesParser<'a>),
}

impl<'a> Parser<'a> {
    /// `file` is what findings name; no part larger than `max_record_bytes` is kept. `start` is the file's first chunk: what a
    /// `.json` file is, one value or one a line, is told by it. Nothing for a format that is not read chunk by chunk.
    pub(crate) fn new(format: Format, file: &'a Path, max_record_bytes: usize, start: &[u8]) -> Option<Self> {
        let lines = |parser| Some(Parser::Lines(LineCutter::new(max_record_bytes), parser));
        match format {
            Format::Text | Format::Markdown => {
                let markdown = format == Format::Markdown;
                lines(LineParser::Text(Box::new(text::TextParser::new(file, max_record_bytes, markdown))))
            }
            Format::Json if !json::is_lines(start) => {
                Some(Parser::Json(json::JsonParser::new(file, max_record_bytes)))
            }
            Format::JsonLines | Format::Json => {
                lines(LineParser::JsonLines(jsonl::JsonLinesParser::new(file, max_record_bytes)))
            }
            Format::Csv => Some(Parser::Table(table::TableParser::new(file, max_record_bytes, None))),
            Format::Tsv => Some(Parser::Table(table::TableParser::new(file, max_record_bytes, Some(b'\t')))),
            Format::Parquet => None,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8], on_found: &mut dyn FnMut(Found)) {
        match self {
            Parser::Lines(cutter, parser) => cutter.push(bytes, &mut |line| parser.line(line, on_found)),
            Parser::Json(parser) => parser.push(bytes, on_found),
            Parser::Table(parser) => parser.push(bytes, on_found),
        }
    }

    pub(crate) fn finish(self, on_found: &mut dyn FnMut(Found)) {
        match self {
            Parser::Lines(cutter, mut parser) => {
                cutter.finish(&mut |line| parser.line(line, on_found));
                match parser {
                    LineParser::Text(parser) => parser.finish(on_found),
                    LineParser::JsonLines(parser) => parser.finish(on_found),
                }
            }
            Parser::Json(parser) => parser.finish(on_found),
            Parser::Table(parser) => parser.finish(on_found),
        }
    }
}

impl LineParser<'_> {
    fn line(&mut self, line: &Line<'_>, on_found: &mut dyn FnMut(Found)) {
        match self {
            LineParser::Text(parser) => parser.line(line, on_found),
            LineParser::JsonLines(parser) => parser.line(line, on_found),
        }
    }
}
