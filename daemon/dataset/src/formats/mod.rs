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
mod table_look;
mod text;

pub(crate) use markdown::{Blocks, heading_level};
pub(crate) use text::without_blank_ends;

use std::path::Path;

pub(crate) use table_look::{TableLook, Told};

use crate::columns::Use;
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

/// Says what a record became.
fn tell(shaped: Result<Shaped, Finding>, lines: (usize, usize), on_found: &mut dyn FnMut(Found)) {
    match shaped {
        Ok(Shaped { shape, content, title, remarks }) => {
            on_found(Found::Example { shape, content, title, lines });
            remarks.into_iter().for_each(|remark| on_found(Found::Finding(remark)));
        }
        Err(finding) => on_found(Found::Finding(finding)),
    }
}

/// What parsers know of a file.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    /// Named by findings.
    pub(crate) file: &'a Path,
    /// No larger part is kept.
    pub(crate) max_record_bytes: usize,
    pub(crate) columns: &'a Use<'a>,
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
    /// `start` is the file's first chunk: what a `.json` file is, one value or one a line, is told by it. `told` is what a look through
    /// a table has told of its columns. Parquet is not read chunk by chunk, and never comes here.
    pub(crate) fn new(format: Format, source: Source<'a>, start: &[u8], told: Told) -> Self {
        let Source { file, max_record_bytes, .. } = source;
        let lines = |parser| Parser::Lines(LineCutter::new(max_record_bytes), parser);
        let text = |markdown| {
            lines(LineParser::Text(Box::new(text::TextParser::new(file, max_record_bytes, markdown))))
        };
        match format {
            Format::Text | Format::Parquet => text(false),
            Format::Markdown => text(true),
            Format::Json if !json::is_lines(start) => Parser::Json(json::JsonParser::new(source)),
            Format::JsonLines | Format::Json => {
                lines(LineParser::JsonLines(jsonl::JsonLinesParser::new(source)))
            }
            Format::Csv | Format::Tsv => Parser::Table(table::TableParser::new(source, format, told)),
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
