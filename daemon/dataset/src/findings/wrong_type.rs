//! # HP010 `wrong-type`
//!
//! A record, or a field that is read, holds another kind of value than it must: a line that is a list or a bare string, a
//! `completion` that is a number, a `messages` that is no list, a `content` with a part that is a picture (those are
//! not learnt yet).
//!
//! The record is left out.

use super::{Code, Finding, Rule};
use crate::shapes::RecordLocation;

pub(super) const RULE: Rule = Rule {
    code: "HP010",
    name: "wrong-type",
    remedy: "Put text in quotes; \"messages\" is a list of {\"role\": ..., \"content\": \"text\"}.",
    skips: true,
};

/// `what` must be `expected` and is `found`.
pub(crate) fn wrong_type(place: RecordLocation<'_>, what: &str, expected: &str, found: &str) -> Finding {
    let message = format!("{what} must be {expected}; this is {found}");
    Finding::new(Code::WrongType, place.file, place.lines, message)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn the_field_and_both_kinds_are_named() {
        check(
            &[(
                "a.jsonl",
                r#"["a", "b"]
"just text"
{"text": 3}
{"prompt": "Write.", "completion": null}
{"messages": "hello"}
{"messages": ["hello"]}
{"messages": [{"role": "assistant", "content": [{"type": "text", "text": "hi"}, {"type": "image_url"}]}]}
{"messages": [{"role": true, "content": "hi"}]}
{"text": "fine", "id": [1, {"deep": 1.5}]}
"#,
            )],
            &expect![[r#"
                a.jsonl:9-9 "fine"
                a.jsonl:1-1 HP010 wrong-type: a record must be an object; this is a list
                a.jsonl:2-2 HP010 wrong-type: a record must be an object; this is text
                a.jsonl:3-3 HP010 wrong-type: "text" must be text; this is a number
                a.jsonl:4-4 HP010 wrong-type: "completion" must be text; this is null
                a.jsonl:5-5 HP010 wrong-type: "messages" must be a list; this is text
                a.jsonl:6-6 HP010 wrong-type: message 1 must be an object; this is text
                a.jsonl:7-7 HP010 wrong-type: part 2 of "content" of message 1 must be text (pictures and sound are not learnt yet); this is another kind
                a.jsonl:8-8 HP010 wrong-type: "role" of message 1 must be text; this is a boolean
            "#]],
        );
    }
}
