//! `.csv` and `.tsv`: the first row names the columns, each other row is a record. The separator of a `.csv` is the one that the
//! first row has most of: comma, semicolon (spreadsheets in much of Europe) or tab; `sep=;` in a line before it decides.
//!
//! A cell is a text. It is something else only where the column's name says so and every row agrees, which a look through the whole
//! table has told before ([`Told`]).

use serde_json::Value;

use super::table_cutter::{Cells, Row, RowBody, TableCutter};
use super::table_look::{Told, verdict};
use super::{Format, Found, Source, tell};
use crate::columns::plain;
use crate::findings::{
    BadByte, EmptyPlace, Finding, TableFault, empty, invalid_table, not_utf8, record_too_large,
};
use crate::loose_json;
use crate::shapes::{self, Parsed, Record, RecordLocation};

pub(crate) struct TableParser<'a> {
    source: Source<'a>,
    stream: TableStream,
    rows: Rows<'a>,
}

/// Bytes in, rows out.
pub(super) struct TableStream {
    max_record_bytes: usize,
    separator: Option<u8>,
    /// Until the first row is whole: it says what separates.
    start: Vec<u8>,
    cutter: Option<TableCutter>,
}

/// What becomes of rows.
struct Rows<'a> {
    source: Source<'a>,
    told: Told,
    header: Header,
    records: usize,
}

enum Header {
    Awaited,
    Known(Vec<Column>),
    /// Nothing can be read under it; that was said.
    Useless,
}

struct Column {
    name: String,
    /// The field that it is, if any.
    field: Option<&'static str>,
}

impl<'a> TableParser<'a> {
    pub(crate) fn new(source: Source<'a>, format: Format, told: Told) -> Self {
        let rows = Rows { source, told, header: Header::Awaited, records: 0 };
        Self { source, stream: TableStream::new(format, source.max_record_bytes), rows }
    }

    pub(crate) fn push(&mut self, bytes: &[u8], on_found: &mut dyn FnMut(Found)) {
        let Self { stream, rows, .. } = self;
        stream.push(bytes, &mut |row| rows.row(row, on_found));
    }

    pub(crate) fn finish(self, on_found: &mut dyn FnMut(Found)) {
        let Self { source, stream, mut rows } = self;
        let last_line = stream.finish(&mut |row| rows.row(row, on_found));
        let nothing_said = rows.records == 0 && !matches!(rows.header, Header::Useless);
        if nothing_said {
            on_found(Found::Finding(empty(source.file, (1, last_line), EmptyPlace::File)));
        }
    }
}

impl TableStream {
    pub(super) fn new(format: Format, max_record_bytes: usize) -> Self {
        let separator = (format == Format::Tsv).then_some(b'\t');
        Self { max_record_bytes, separator, start: Vec::new(), cutter: None }
    }

    pub(super) fn push(&mut self, bytes: &[u8], on_row: &mut dyn FnMut(&Row<'_>)) {
        if let Some(cutter) = &mut self.cutter {
            cutter.push(bytes, on_row);
            return;
        }
        self.start.extend_from_slice(bytes);
        if self.start.contains(&b'\n') && !is_only_separator_line(&self.start)
            || self.start.len() > self.max_record_bytes
        {
            self.begin(on_row);
        }
    }

    /// The line of the end.
    pub(super) fn finish(mut self, on_row: &mut dyn FnMut(&Row<'_>)) -> usize {
        if self.cutter.is_none() {
            self.begin(on_row);
        }
        let last_line = self.cutter.as_ref().map_or(1, TableCutter::line);
        if let Some(cutter) = self.cutter {
            cutter.finish(on_row);
        }
        last_line
    }

    /// The first row is there: what separates is known.
    fn begin(&mut self, on_row: &mut dyn FnMut(&Row<'_>)) {
        let start = std::mem::take(&mut self.start);
        let (mut rest, mut offset, mut line) = (start.as_slice(), 0, 1);
        if let Some(text) = rest.strip_prefix(b"\xef\xbb\xbf") {
            rest = text;
            offset = 3;
        }
        let mut separator = self.separator;
        if let Some((told, length)) = separator_line(rest) {
            separator = Some(told);
            rest = rest.get(length..).unwrap_or_default();
            offset += length as u64;
            line = 2;
        }
        let separator = separator.unwrap_or_else(|| most_frequent(rest));
        let mut cutter = TableCutter::new(separator, self.max_record_bytes, line, offset);
        cutter.push(rest, on_row);
        self.cutter = Some(cutter);
    }
}

/// `sep=;` and its line end, as Excel writes it: the separator, and the length of the line.
fn separator_line(bytes: &[u8]) -> Option<(u8, usize)> {
    let rest = bytes.strip_prefix(b"sep=")?;
    let (separator, rest) = rest.split_first()?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    (rest.get(..end)?.trim_ascii().is_empty() && *separator != b'"').then_some((*separator, 5 + end + 1))
}

fn is_only_separator_line(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    separator_line(bytes).is_some_and(|(_, length)| length == bytes.len())
}

/// Of the first row, outside quotes.
fn most_frequent(bytes: &[u8]) -> u8 {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for byte in bytes {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => break,
            _ if !quoted => {
                counts
                    .iter_mut()
                    .filter(|(separator, _)| separator == byte)
                    .for_each(|(_, count)| *count += 1);
            }
            _ => {}
        }
    }
    // The first of equals is the comma.
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(separator, _)| separator)
}

impl Rows<'_> {
    fn row(&mut self, row: &Row<'_>, on_found: &mut dyn FnMut(Found)) {
        let Source { file, max_record_bytes, .. } = self.source;
        let place = RecordLocation { file, lines: row.lines };
        let cells = match row.body {
            RowBody::Cells(cells) if cells.is_blank() && !row.open_quote => return,
            RowBody::Cells(cells) => Ok(cells),
            RowBody::TooLong { bytes } => Err(record_too_large(file, row.lines, bytes, max_record_bytes)),
        };
        let cells = if row.open_quote { Err(invalid_table(place, &TableFault::OpenQuote)) } else { cells };
        let columns = match &self.header {
            Header::Useless => return,
            Header::Awaited => {
                self.header = match cells.and_then(|cells| columns(cells, self.source, place, row.offset)) {
                    Ok(columns) => Header::Known(columns),
                    Err(finding) => {
                        on_found(Found::Finding(finding));
                        Header::Useless
                    }
                };
                return;
            }
            Header::Known(columns) => columns,
        };
        self.records += 1;
        let shaped = cells.and_then(|cells| {
            let record = record(cells, columns, &self.told, place, row.offset)?;
            shapes::read(Parsed::Record(record), self.source.columns, place)
        });
        tell(shaped, row.lines, on_found);
    }
}

/// The names in the first row, and what they are. People write them with a capital and with blanks around.
fn columns(
    cells: Cells<'_>,
    source: Source<'_>,
    place: RecordLocation<'_>,
    offset: u64,
) -> Result<Vec<Column>, Finding> {
    let mut names: Vec<String> = Vec::with_capacity(cells.len());
    for cell in cells.iter() {
        let name = text(cell, place, offset)?.trim();
        let known = name.to_lowercase();
        let name = if Record::is_field(&known) { known } else { name.to_owned() };
        let is_read = Record::is_read(&name, source.columns.columns);
        if is_read && names.iter().any(|other| *other == name || plain(other) == plain(&name)) {
            return Err(invalid_table(place, &TableFault::TwoColumns(&name)));
        }
        names.push(name);
    }
    // What cannot be read is said once, not for each row.
    let header = shapes::header(&names, source.columns, place)?;
    let field = |name: &str| header.fields().find(|(_, column)| *column == name).map(|(field, _)| field);
    Ok(names.into_iter().map(|name| Column { field: field(&name), name }).collect())
}

fn record(
    cells: Cells<'_>,
    columns: &[Column],
    told: &Told,
    place: RecordLocation<'_>,
    offset: u64,
) -> Result<Record, Finding> {
    // A separator at the end of each row, but not of the first one, is a cell of nothing.
    let extra = cells.iter().skip(columns.len()).any(|cell| !cell.is_empty());
    if cells.len() < columns.len() || extra {
        let fault = TableFault::Cells { found: cells.len(), wanted: columns.len() };
        return Err(invalid_table(place, &fault));
    }
    let mut sides = columns
        .iter()
        .enumerate()
        .filter(|(_, column)| matches!(column.field, Some("prompt" | "completion")));
    let lists = sides.all(|(at, _)| told.are_messages(at));
    let mut record = Record::default();
    for (at, (Column { name, field }, cell)) in columns.iter().zip(cells.iter()).enumerate() {
        let Some(field) = *field else {
            record.note(name.clone());
            continue;
        };
        let text = text(cell, place, offset)?;
        let value = match field {
            "messages" | "conversations" | "conversation" | "tools" | "history" => json(text),
            "prompt" | "completion" if lists => json(text),
            "label" | "kto_tag" if told.are_verdicts(at) => verdict(text).map_or(Value::Null, Value::Bool),
            "label" | "kto_tag" => Value::Null,
            // A cell of nothing is no value, but for what must be there.
            "input" | "system" | "title" if text.is_empty() => Value::Null,
            _ => Value::String(text.replace("\r\n", "\n")),
        };
        record.insert_field(field, name, value);
    }
    Ok(record)
}

/// What the text says as JSON, or the text.
fn json(text: &str) -> Value {
    match text.trim() {
        "" => Value::Null,
        trimmed => loose_json::from_str(trimmed).unwrap_or_else(|_| Value::String(text.to_owned())),
    }
}

fn text<'a>(cell: &'a [u8], place: RecordLocation<'_>, offset: u64) -> Result<&'a str, Finding> {
    str::from_utf8(cell).map_err(|_| {
        let bad = BadByte::find(place.lines.0, offset, cell);
        bad.map_or_else(
            || empty(place.file, place.lines, EmptyPlace::Record),
            |bad| not_utf8(place.file, place.lines, bad),
        )
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::{check, check_bytes};

    #[test]
    fn spreadsheets_of_all_kinds() {
        check(
            &[
                ("a.csv", "\u{feff}id,Text\r\n1,\"one, \"\"quoted\"\"\r\nline\"\r\n2,two\r\n,\r\n"),
                ("b.csv", "Prompt;Completion\nWrite; a note, long\n"),
                ("c.csv", "sep=|\ninstruction|input|output\nWrite||x\nSum|1 2|3\n"),
                (
                    "d.tsv",
                    "messages\n\"[{\"\"role\"\": \"\"user\"\", \"\"content\"\": \"\"u\"\"}, {\"\"role\"\": \"\"assistant\"\", \"\"content\"\": \"\"a\"\"}]\"\n",
                ),
                ("e.csv", "text"),
                ("f.csv", "name,body\nx,y\n"),
                ("g.csv", ""),
                ("h.csv", "messages\n[{'role': 'user'}]\n"),
            ],
            &expect![[r#"
                a.csv:2-3 "one, \"quoted\"\nline"
                a.csv:4-4 "two"
                b.csv:2-2 "Write" -> " a note, long"
                c.csv:3-3 "Write" -> "x"
                c.csv:4-4 "Sum\n1 2" -> "3"
                d.tsv:2-2 user: "u", assistant: "a"
                e.csv:1-1 HP001 empty: the file has no text
                f.csv:1-1 HP004 missing-field: "text", or "prompt" and "completion", or "messages", or "instruction" and "output", or "conversations" is missing; found "name", "body"
                g.csv:1-1 HP001 empty: the file has no text
                h.csv:2-2 HP010 wrong-type: "messages" must be a list; this is text
            "#]],
        );
    }

    #[test]
    fn bytes_that_are_no_text() {
        check_bytes(
            &[("a.csv", b"text\ncaf\xe9\nfine\n"), ("b.csv", b"t\xe9xt\na\n"), ("c.csv", b"text\n\0\0\n")],
            &expect![[r#"
                a.csv:2-2 "café"
                a.csv:3-3 "fine"
                a.csv:1-1 HP024 other-encoding: the file is not UTF-8; it is read as windows-1252 (western European)
                b.csv:1-1 HP004 missing-field: "text", or "prompt" and "completion", or "messages", or "instruction" and "output", or "conversations" is missing; found "téxt"
                b.csv:1-1 HP024 other-encoding: the file is not UTF-8; it is read as windows-1252 (western European)
                c.csv:2-2 HP021 null-characters: it holds characters of the number zero, which no text has
            "#]],
        );
    }
}
