//! # HP004 `missing-field`
//!
//! A record has none of the fields that make an example. One of these is needed:
//!
//! - `text`: learnt as it is;
//! - `prompt` and `completion`: the completion is learnt;
//! - `messages`: a list of `{"role": ..., "content": ...}`; what the assistant says is learnt.
//!
//! Where a record has several of them, `messages` goes before `prompt` with `completion`, and that before `text`. Other fields
//! (an id, a date) are welcome and not read. A message that has no `role` or no `content` gets this finding too.
//!
//! The record is left out.

use std::path::Path;

use super::{Code, Finding, Rule, shown_list};

pub(super) const RULE: Rule = Rule {
    code: "HP004",
    name: "missing-field",
    remedy: "Name the fields \"text\", or \"prompt\" and \"completion\", or \"messages\".",
    skips: true,
};

/// `missing` says what would do; `found` are the names that are there.
pub(crate) fn missing_field(file: &Path, line: usize, missing: &str, found: &[String]) -> Finding {
    let message = format!("{missing} is missing; found {}", shown_list(found));
    Finding::new(Code::MissingField, file, (line, line), message)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn what_would_do_and_what_was_found() {
        check(
            &[(
                "a.jsonl",
                r#"{}
{"instruction": "Write.", "output": "A note.", "id": 1}
{"prompt": "Write."}
{"completion": "A note.", "id": 1}
{"prompt": "a title", "text": "A note."}
{"messages": [{"role": "user", "content": "a"}, {"from": "gpt", "content": "b"}]}
{"messages": [{"role": "assistant", "text": "b"}]}
"#,
            )],
            &expect![[r#"
                a.jsonl:5-5 "A note."
                a.jsonl:1-1 HP004 missing-field: "text", or "prompt" and "completion", or "messages" is missing; found nothing
                a.jsonl:2-2 HP004 missing-field: "text", or "prompt" and "completion", or "messages" is missing; found "instruction", "output", "id"
                a.jsonl:3-3 HP004 missing-field: "completion" (beside "prompt") is missing; found "prompt"
                a.jsonl:4-4 HP004 missing-field: "prompt" (beside "completion") is missing; found "completion", "id"
                a.jsonl:6-6 HP004 missing-field: "role" of message 2 is missing; found "from", "content"
                a.jsonl:7-7 HP004 missing-field: "content" of message 1 is missing; found "role", "text"
            "#]],
        );
    }
}
