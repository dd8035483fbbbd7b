//! # HP003 `invalid-json`
//!
//! A record is not JSON: most often a quote or comma is missing, or a quote inside the text has no
//! backslash before it. The column is where reading stopped, in characters; the fault is there or shortly before. A record
//! that was laid out over several lines of a `.jsonl` gives one finding for each of them: a record is one line there.
//!
//! The record is left out; those around it are read.

use serde_json::error::Category;

use super::{Code, Finding, Rule};
use crate::shapes::RecordLocation;

pub(super) const RULE: Rule = Rule {
    code: "HP003",
    name: "invalid-json",
    remedy: "Look at that column for a missing quote, comma or bracket; in .jsonl, each line is one whole object.",
    skips: true,
};

/// `text` is the whole record, which starts in the first of the place's lines.
pub(crate) fn invalid_json(place: RecordLocation<'_>, text: &str, error: &serde_json::Error) -> Finding {
    let RecordLocation { file, lines } = place;
    // A record of several lines: the one where reading stopped, and its text.
    let within = error.line().saturating_sub(1);
    let line = (lines.0 + within).min(lines.1);
    let text = text.split('\n').nth(within).unwrap_or(text);
    let why = error.to_string();
    // The position is said by the finding, and in characters.
    let why = why.rsplit_once(" at line ").map_or(why.as_str(), |(why, _)| why);
    let (column, message) = if error.classify() == Category::Eof {
        (
            text.chars().count() + 1,
            format!(
                "the {} ends too early: {}",
                if lines.0 == lines.1 { "line" } else { "record" },
                why.replace("EOF", "it ended")
            ),
        )
    } else {
        (characters_until(text, error.column()), format!("not JSON: {why}"))
    };
    let message = if text.trim() == "[" && lines.0 == lines.1 {
        format!("{message}; a list of records goes into a file with the ending .json")
    } else {
        message
    };
    Finding::new(Code::InvalidJson, file, (line, lines.1), message).at_column(column)
}

/// The column, in characters from 1, of the byte at `column` (from 1).
fn characters_until(text: &str, column: usize) -> usize {
    text.char_indices().take_while(|(start, each)| start + each.len_utf8() < column).count() + 1
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::characters_until;
    use crate::testing::check;

    #[test]
    fn columns_count_characters() {
        check(
            &[(
                "a.jsonl",
                r#"{"text": "好吃的面" "id": 3}
{"text": "no end}
{text: "no quotes"}
{"text": "fine"}
[
"#,
            )],
            &expect![[r#"
                a.jsonl:4-4 "fine"
                a.jsonl:1-1, column 17 HP003 invalid-json: not JSON: expected `,` or `}`
                a.jsonl:2-2, column 18 HP003 invalid-json: the line ends too early: it ended while parsing a string
                a.jsonl:3-3, column 2 HP003 invalid-json: not JSON: key must be a string
                a.jsonl:5-5, column 2 HP003 invalid-json: the line ends too early: it ended while parsing a list; a list of records goes into a file with the ending .json
            "#]],
        );
    }

    #[test]
    fn any_byte_has_a_character() {
        let text = "a面b";
        assert_eq!(
            (0..9).map(|byte| characters_until(text, byte)).collect::<Vec<_>>(),
            [1, 1, 2, 2, 2, 3, 4, 4, 4]
        );
    }
}
