//! `.json`: a list of records, an object with such a list under `data`, `train` or a like name, or one record. Many files of this
//! ending hold one record a line instead; those are read as `.jsonl`.

use serde::de::IgnoredAny;

use super::json_cutter::{JsonCutter, Piece};
use super::jsonl::record;
use super::{Found, Source, tell};
use crate::findings::{EmptyPlace, empty, invalid_json, record_too_large, unread_list};
use crate::loose_json;
use crate::shapes::{Parsed, RecordLocation};

/// Whether the file goes line by line: its first line is one whole object, and another line follows.
pub(super) fn is_lines(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let Some(end) = start.iter().position(|byte| *byte == b'\n') else { return false };
    let (first, rest) = start.split_at(end);
    first.starts_with(b"{")
        && !rest.trim_ascii().is_empty()
        && loose_json::from_str::<IgnoredAny>(&String::from_utf8_lossy(first)).is_ok()
}

pub(crate) struct JsonParser<'a> {
    source: Source<'a>,
    cutter: JsonCutter,
    records: usize,
}

impl<'a> JsonParser<'a> {
    pub(crate) fn new(source: Source<'a>) -> Self {
        Self { source, cutter: JsonCutter::new(source.max_record_bytes), records: 0 }
    }

    pub(crate) fn push(&mut self, bytes: &[u8], on_found: &mut dyn FnMut(Found)) {
        let Self { source, cutter, records } = self;
        cutter.push(bytes, &mut |piece| {
            *records += 1;
            found(*source, &piece, on_found);
        });
    }

    pub(crate) fn finish(self, on_found: &mut dyn FnMut(Found)) {
        let Self { source, cutter, mut records } = self;
        let last_line = cutter.line();
        cutter.finish(&mut |piece| {
            records += 1;
            found(source, &piece, on_found);
        });
        if records == 0 {
            on_found(Found::Finding(empty(source.file, (1, last_line), EmptyPlace::File)));
        }
    }
}

fn found(source: Source<'_>, piece: &Piece<'_>, on_found: &mut dyn FnMut(Found)) {
    let Source { file, max_record_bytes: limit, columns } = source;
    match piece {
        Piece::Record { lines, offset, bytes } => {
            tell(record(columns, RecordLocation { file, lines: *lines }, *offset, bytes), *lines, on_found);
        }
        Piece::TooLarge { lines, bytes } => {
            on_found(Found::Finding(record_too_large(file, *lines, *bytes, limit)));
        }
        Piece::OtherList { name, lines } => {
            on_found(Found::Finding(unread_list(RecordLocation { file, lines: *lines }, name)));
        }
        Piece::Open { lines, offset, bytes } => {
            let place = RecordLocation { file, lines: *lines };
            // The reader's own words for where it ended; of a list that is not closed, for the list.
            let text = if bytes.is_empty() { b"[".as_slice() } else { bytes };
            let parsed = str::from_utf8(text).map(|text| Parsed::read(text, columns.columns));
            match parsed {
                Ok(Err(error)) => {
                    on_found(Found::Finding(invalid_json(place, &String::from_utf8_lossy(text), &error)));
                }
                _ => tell(record(columns, place, *offset, bytes), *lines, on_found),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn the_four_layouts() {
        check(
            &[
                (
                    "a.json",
                    "[\n  {\"text\": \"a1\"},\n  {\n    \"prompt\": \"p\",\n    \"completion\": \"c\"\n  }\n]\n",
                ),
                ("b.json", "{\"train\": [{\"text\": \"b1\"}, {\"text\": \"b2\"}], \"version\": 3}"),
                ("c.json", "{\n \"text\": \"c1\"\n}"),
                ("d.json", "{\"text\": \"d1\"}\n{\"text\": \"d2\"\n{\"text\": \"d3\"}\n"),
                ("e.ndjson", "{\"text\": \"e1\"}\n"),
            ],
            &expect![[r#"
                a.json:2-2 "a1"
                a.json:3-6 "p" -> "c"
                b.json:1-1 "b1"
                b.json:1-1 "b2"
                c.json:1-3 "c1"
                d.json:1-1 "d1"
                d.json:3-3 "d3"
                e.ndjson:1-1 "e1"
                d.json:2-2, column 14 HP003 invalid-json: the line ends too early: it ended while parsing an object
            "#]],
        );
    }

    #[test]
    fn broken_files_lose_as_little_as_can_be() {
        check(
            &[
                ("a.json", "[{\"text\": \"a1\"},\n{\"text\": \"a2},\n{\"text\": \"a3\"},\n{\"text\": 5}, 7]"),
                ("b.json", "[{\"text\": \"b1\"},\n{\"text\": \"b"),
                ("c.json", "[{\"text\": \"c1\"},\n"),
                ("d.json", ""),
                ("e.json", "[]"),
                ("f.json", "not json"),
                ("g.json", "{\"text\": [\"a\", \"b\"]}"),
            ],
            &expect![[r#"
                a.json:1-1 "a1"
                a.json:3-3 "a3"
                b.json:1-1 "b1"
                c.json:1-1 "c1"
                a.json:2-2, column 15 HP003 invalid-json: the line ends too early: it ended while parsing a string
                a.json:4-4 HP010 wrong-type: "text" must be text; this is a number
                a.json:4-4 HP010 wrong-type: a record must be an object; this is a number
                b.json:2-2, column 12 HP003 invalid-json: the line ends too early: it ended while parsing a string
                c.json:1-2, column 2 HP003 invalid-json: the record ends too early: it ended while parsing a list
                d.json:1-1 HP001 empty: the file has no text
                e.json:1-1 HP001 empty: the file has no text
                f.json:1-1, column 2 HP003 invalid-json: not JSON: expected ident
                f.json:1-1, column 1 HP003 invalid-json: not JSON: expected value
                g.json:1-1 HP010 wrong-type: "text" must be text; this is a list
            "#]],
        );
    }
}
