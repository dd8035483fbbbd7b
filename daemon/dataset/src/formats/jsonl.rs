//! `.jsonl`: one record a line.

use super::{Found, Source, tell};
use crate::columns::Use;
use crate::findings::{BadByte, EmptyPlace, Finding, empty, invalid_json, not_utf8, record_too_large};
use crate::lines::{Body, Line};
use crate::shapes::{self, Parsed, RecordLocation, Shaped};

pub(crate) struct JsonLinesParser<'a> {
    source: Source<'a>,
    records: usize,
    last_line: usize,
}

impl<'a> JsonLinesParser<'a> {
    pub(crate) fn new(source: Source<'a>) -> Self {
        Self { source, records: 0, last_line: 0 }
    }

    pub(crate) fn line(&mut self, line: &Line<'_>, on_found: &mut dyn FnMut(Found)) {
        let Source { file, max_record_bytes, columns } = self.source;
        self.last_line = line.number;
        let lines = (line.number, line.number);
        let found = match line.body {
            Body::TooLong { bytes } => Err(record_too_large(file, lines, bytes, max_record_bytes)),
            Body::Whole(bytes) if bytes.trim_ascii().is_empty() => return,
            Body::Whole(bytes) => record(columns, RecordLocation { file, lines }, line.offset, bytes),
        };
        self.records += 1;
        tell(found, lines, on_found);
    }

    pub(crate) fn finish(self, on_found: &mut dyn FnMut(Found)) {
        if self.records == 0 {
            on_found(Found::Finding(empty(self.source.file, (1, self.last_line.max(1)), EmptyPlace::File)));
        }
    }
}

/// One record as JSON, which starts at `offset` of the file.
pub(super) fn record(
    columns: &Use<'_>,
    place: RecordLocation<'_>,
    offset: u64,
    bytes: &[u8],
) -> Result<Shaped, Finding> {
    match str::from_utf8(bytes) {
        Ok(text) => {
            let parsed =
                Parsed::read(text, columns.columns).map_err(|error| invalid_json(place, text, &error))?;
            shapes::read(parsed, columns, place)
        }
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line_start = good.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let line = place.lines.0 + good.iter().filter(|byte| **byte == b'\n').count();
            let rest = bytes.get(line_start..).unwrap_or_default();
            let bad_byte = BadByte::find(line, offset + line_start as u64, rest);
            Err(match bad_byte {
                Some(bad_byte) => not_utf8(place.file, place.lines, bad_byte),
                None => empty(place.file, place.lines, EmptyPlace::Record),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn the_three_shapes_and_which_goes_first() {
        check(
            &[(
                "a.jsonl",
                "\u{feff}{\"text\": \"a\\r\\nb\"}\r\n\r\n  {\"prompt\": \"p\", \"completion\": \"c\", \"text\": \"t\"}  \r\n{\"messages\": [{\"role\": \"assistant\", \"content\": \"hi\", \"name\": \"x\"}], \"text\": 5}",
            )],
            &expect![[r#"
                a.jsonl:1-1 "a\r\nb"
                a.jsonl:3-3 "p" -> "c"
                a.jsonl:4-4 assistant: {"role":"assistant","content":"hi","name":"x"}
            "#]],
        );
    }

    #[test]
    fn deep_and_strange_json_is_only_a_finding() {
        let deep = format!("{{\"text\": {}", "[".repeat(1000));
        let ignored = format!("{{\"text\": \"fine\", \"id\": {}1{}}}", "[".repeat(1000), "]".repeat(1000));
        check(
            &[(
                "a.jsonl",
                &format!(
                    "{deep}\n{ignored}\n{{\"text\": \"\\ud800\"}}\n{{\"text\": \"a\"}} {{}}\n{{\"text\": 1e999}}\n"
                ),
            )],
            &expect![[r#"
                a.jsonl:2-2 "fine"
                a.jsonl:1-1, column 136 HP003 invalid-json: not JSON: recursion limit exceeded
                a.jsonl:3-3, column 17 HP003 invalid-json: not JSON: unexpected end of hex escape
                a.jsonl:4-4, column 15 HP003 invalid-json: not JSON: trailing characters
                a.jsonl:5-5, column 14 HP003 invalid-json: not JSON: number out of range
            "#]],
        );
    }
}
