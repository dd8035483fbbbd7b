//! # HP004 `missing-field`
//!
//! A record has none of the fields that make an example. One of these is needed:
//!
//! - `text`: learnt as it is;
//! - `prompt` and `completion`: the completion is learnt;
//! - `messages`: a list of `{"role": ..., "content": ...}`, with `tools` perhaps; what the assistant says is learnt;
//! - `instruction` and `output`, with `input`, `system`, `history` perhaps (alpaca): the output is learnt;
//! - `conversations`: a list of `{"from": ..., "value": ...}` (sharegpt); what `gpt` says is learnt.
//!
//! Fields may be called otherwise: with capitals, `question` and `answer`, `问题` and `答案` and their likes are known, and the recipe
//! names all others, `columns = { prompt = "Frage", completion = "Antwort" }`.
//!
//! Where a record has several of them, `messages` goes before `conversations`, then `prompt` with `completion`, `instruction` with
//! `output`, and `text` last. Other fields
//! (an id, a date) are welcome and not read. A message that has no `role` or no `content` gets this finding too.
//!
//! The record is left out.

use super::{Code, Finding, Rule, shown_list};
use crate::shapes::RecordLocation;

pub(super) const RULE: Rule = Rule {
    code: "HP004",
    name: "missing-field",
    remedy: "Rename the fields, or say in hotplate.toml which are which: columns = { prompt = \"…\", completion = \"…\" }.",
    skips: true,
};

/// Names that people have instead, and what to call them.
const RENAMES: &[(&[&str], &str)] = &[(&["content"], "\"content\" to \"text\"")];

/// `missing` says what would do; `found` are the names that are there.
pub(crate) fn missing_field(place: RecordLocation<'_>, missing: &str, found: &[String]) -> Finding {
    let rename =
        RENAMES.iter().find(|(from, _)| from.iter().all(|name| found.iter().any(|there| there == name)));
    // Inside a message the names are others.
    let rename = rename.filter(|_| !missing.contains(" of message "));
    let hint = rename.map(|(_, hint)| format!("; rename {hint}")).unwrap_or_default();
    let message = format!("{missing} is missing; found {}{hint}", shown_list(found));
    Finding::new(Code::MissingField, place.file, place.lines, message)
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
{"instruction": "Write.", "response": "A note.", "id": 1}
{"prompt": "Write."}
{"completion": "A note.", "id": 1}
{"prompt": "a title", "text": "A note."}
{"messages": [{"role": "user", "content": "a"}, {"from": "gpt", "content": "b"}]}
{"messages": [{"role": "assistant", "text": "b"}]}
"#,
            )],
            &expect![[r#"
                a.jsonl:2-2 "Write." -> "A note."
                a.jsonl:5-5 "A note."
                a.jsonl:1-1 HP004 missing-field: "text", or "prompt" and "completion", or "messages", or "instruction" and "output", or "conversations" is missing; found nothing
                a.jsonl:3-3 HP004 missing-field: "completion" (beside "prompt") is missing; found "prompt"
                a.jsonl:4-4 HP004 missing-field: "prompt" (beside "completion") is missing; found "completion", "id"
                a.jsonl:6-6 HP004 missing-field: "role" of message 2 is missing; found "from", "content"
                a.jsonl:7-7 HP004 missing-field: "content" of message 1 is missing; found "role", "text"
            "#]],
        );
    }
}
