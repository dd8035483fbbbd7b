//! `.csv` and `.tsv`: the first row names the columns, each other row is a record. The separator of a `.csv` is the one that the
//! first row has most of: comma, semicolon (spreadsheets in much of Europe) or tab; `sep=;` in a line before it decides.

use std::path::Path;

use serde_json::Value;

use super::Found;
use super::table_cutter::{Cells, Row, RowBody, TableCutter};
use crate::findings::{
    BadByte, EmptyPlace, Finding, TableFault, empty, invalid_table, not_utf8, record_too_large,
};
use crate::shapes::{self, Parsed, Place, Record, Shaped};

pub(crate) struct TableParser<'a> {
    file: &'a Path,
    max_record_bytes: usize,
    separator: Option<u8>,
    /// Until the first row is whole: it says what separates.
    start: Vec<u8>,
    cutter: Option<TableCutter>,
    rows: Rows<'a>,
}

/// What becomes of rows.
struct Rows<'a> {
    file: &'a Path,
    max_record_bytes: usize,
    header: Header,
    records: usize,
}

enum Header {
    Awaited,
    /// The names of the columns; of those that are not read, as they stand.
    Known(Vec<String>),
    /// Nothing can be read under it; that was said.
    Useless,
}

impl<'a> TableParser<'a> {
    pub(crate) fn new(file: &'a Path, max_record_bytes: usize, separator: Option<u8>) -> Self {
        let rows = Rows { file, max_record_bytes, header: Header::Awaited, records: 0 };
        Self { file, max_record_bytes, separator, start: Vec::new(), cutter: None, rows }
    }

    pub(crate) fn push(&mut self, bytes: &[u8], on_found: &mut dyn FnMut(Found)) {
        if let Some(cutter) = &mut self.cutter {
            let rows = &mut self.rows;
            cutter.push(bytes, &mut |row| rows.row(row, on_found));
            return;
        }
        self.start.extend_from_slice(bytes);
        if self.start.contains(&b'\n') && !is_only_separator_line(&self.start)
            || self.start.len() > self.max_record_bytes
        {
            self.begin(on_found);
        }
    }

    pub(crate) fn finish(mut self, on_found: &mut dyn FnMut(Found)) {
        if self.cutter.is_none() {
            self.begin(on_found);
        }
        let Self { file, cutter, mut rows, .. } = self;
        let last_line = cutter.as_ref().map_or(1, TableCutter::line);
        if let Some(cutter) = cutter {
            cutter.finish(&mut |row| rows.row(row, on_found));
        }
        let nothing_said = rows.records == 0 && !matches!(rows.header, Header::Useless);
        if nothing_said {
            on_found(Found::Finding(empty(file, (1, last_line), EmptyPlace::File)));
        }
    }

    /// The first row is there: what separates is known.
    fn begin(&mut self, on_found: &mut dyn FnMut(Found)) {
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
        let rows = &mut self.rows;
        cutter.push(rest, &mut |row| rows.row(row, on_found));
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
        let place = Place { file: self.file, lines: row.lines };
        let cells = match row.body {
            RowBody::Cells(cells) if cells.is_blank() && !row.open_quote => return,
            RowBody::Cells(cells) => Ok(cells),
            RowBody::TooLong { bytes } => {
                Err(record_too_large(self.file, row.lines, bytes, self.max_record_bytes))
            }
        };
        let cells = if row.open_quote { Err(invalid_table(place, &TableFault::OpenQuote)) } else { cells };
        let names = match &self.header {
            Header::Useless => return,
            Header::Awaited => {
                self.header = match cells.and_then(|cells| names(cells, place, row.offset)) {
                    Ok(names) => Header::Known(names),
                    Err(finding) => {
                        on_found(Found::Finding(finding));
                        Header::Useless
                    }
                };
                return;
            }
            Header::Known(names) => names,
        };
        self.records += 1;
        let shaped = cells.and_then(|cells| record(cells, names, place, row.offset));
        on_found(Found::of(shaped, row.lines));
    }
}

/// The columns' names. People write them with a capital and with blanks around.
fn names(cells: Cells<'_>, place: Place<'_>, offset: u64) -> Result<Vec<String>, Finding> {
    let mut names: Vec<String> = Vec::with_capacity(cells.len());
    let mut record = Record::default();
    for cell in cells.iter() {
        let name = text(cell, place, offset)?.trim();
        let known = name.to_lowercase();
        let name = if Record::is_read(&known) { known } else { name.to_owned() };
        if Record::is_read(&name) && names.contains(&name) {
            return Err(invalid_table(place, &TableFault::TwoColumns(&name)));
        }
        record.insert(name.clone(), Value::String(String::new()));
        names.push(name);
    }
    // Said once, not for each row.
    if !shapes::is_known(&record) {
        return Err(shapes::nothing_known(&record, place));
    }
    Ok(names)
}

fn record(cells: Cells<'_>, names: &[String], place: Place<'_>, offset: u64) -> Result<Shaped, Finding> {
    // A separator at the end of each row, but not of the first one, is a cell of nothing.
    let extra = cells.iter().skip(names.len()).any(|cell| !cell.is_empty());
    if cells.len() < names.len() || extra {
        let fault = TableFault::Cells { found: cells.len(), wanted: names.len() };
        return Err(invalid_table(place, &fault));
    }
    let mut record = Record::default();
    for (name, cell) in names.iter().zip(cells.iter()) {
        if !Record::is_read(name) {
            continue;
        }
        let text = text(cell, place, offset)?;
        // A cell that holds a list or an object as JSON; a verdict is a word.
        let value = match name.as_str() {
            "messages" | "conversations" | "conversation" | "tools" | "history" => json(text),
            "prompt" | "completion" if text.trim_start().starts_with("[{") => json(text),
            "label" | "kto_tag" => match text.trim().to_ascii_lowercase().as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => Value::Null,
            },
            // A cell of nothing is no value, but for what must be there.
            "input" | "system" | "title" if text.is_empty() => Value::Null,
            _ => Value::String(text.replace("\r\n", "\n")),
        };
        record.insert(name.clone(), value);
    }
    shapes::read(Parsed::Record(record), place)
}

/// What the text says as JSON, or the text.
fn json(text: &str) -> Value {
    match text.trim() {
        "" => Value::Null,
        trimmed => serde_json::from_str(trimmed).unwrap_or_else(|_| Value::String(text.to_owned())),
    }
}

fn text<'a>(cell: &'a [u8], place: Place<'_>, offset: u64) -> Result<&'a str, Finding> {
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
                a.csv:3-3 "fine"
                a.csv:2-2, column 4 HP005 not-utf8: the byte 0xe9 at offset 8, in line 2, is not UTF-8
                b.csv:1-1, column 2 HP005 not-utf8: the byte 0xe9 at offset 1, in line 1, is not UTF-8
                c.csv:2-2 HP021 null-characters: it holds characters of the number zero, which no text has
            "#]],
        );
    }
}
