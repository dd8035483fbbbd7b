//! # HP022 `unread-mark`
//!
//! A turn or a record has a mark for how it is to be learnt (`weight`, `loss`, `train`, `training`, `trainable`) that says something that
//! cannot be done here: a share of the loss (`"weight": 0.5`), a word that is not known, a part of a turn (`train_detail`), or a turn that
//! is not the assistant's. 0, `false` and `"no"` switch a turn or record off; 1, `true` and `"yes"` learn it.
//!
//! The example is still learnt, as if the mark were not there; what weighs less than nothing is not.

use serde_json::Value;

use super::{Code, Finding, Rule, shown};
use crate::chat::Role;
use crate::loose_json;
use crate::mark::{MARKS, Mark};
use crate::shapes::RecordLocation;

pub(super) const RULE: Rule = Rule {
    code: "HP022",
    name: "unread-mark",
    remedy: "Write 0 or false for what is not to be learnt, 1 or true (or nothing) for the rest.",
    skips: false,
};

/// What has the mark. Messages are counted from 1.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Marked {
    Record,
    Turn(usize),
    /// Not the assistant's.
    OtherTurn(usize, Role),
}

pub(crate) fn unread_mark(place: RecordLocation<'_>, marked: Marked, name: &str, value: &Value) -> Finding {
    let of = match marked {
        Marked::Record => String::new(),
        Marked::Turn(number) | Marked::OtherTurn(number, _) => format!(" of message {number}"),
    };
    let start = format!("\"{name}\"{of}");
    let message = match (marked, Mark::of(value)) {
        (Marked::OtherTurn(_, role), _) => {
            format!(
                "{start} is not read: the turn is the {}'s, and only the assistant's are learnt",
                role.name()
            )
        }
        _ if !MARKS.contains(&name) => format!("{start} is not read: a turn is learnt whole or not at all"),
        (_, Mark::Below) => {
            format!("{start} is {}, less than nothing; not learning it is all that can be done", said(value))
        }
        _ => format!(
            "{start} is {} and is not read: something is learnt (1, true) or not (0, false)",
            said(value)
        ),
    };
    Finding::new(Code::UnreadMark, place.file, place.lines, message)
}

/// A value of somebody's own, short.
pub(super) fn said(value: &Value) -> String {
    if let Some(token) = loose_json::not_json(value) {
        return token.to_owned();
    }
    match value {
        Value::String(text) => shown(text),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn shares_words_parts_and_other_turns() {
        let turn = |keys: &str| {
            format!(
                "{{\"messages\": [{{\"role\": \"user\", \"content\": \"q\"}}, {{\"role\": \"assistant\", \"content\": \"a\", {keys}}}]}}\n"
            )
        };
        let lines = [
            turn("\"weight\": 0.5"),
            turn("\"train\": \"maybe\""),
            turn("\"train_detail\": [{\"begin_offset\": 0, \"end_offset\": 1, \"train\": false}]"),
            turn("\"loss\": NaN"),
            "{\"conversations\": [{\"from\": \"human\", \"value\": \"q\", \"train\": true}, {\"from\": \"gpt\", \"value\": \"a\", \"weight\": \"2\"}]}\n".to_owned(),
            "{\"prompt\": \"p\", \"completion\": \"c\", \"weight\": 0.3}\n".to_owned(),
            "{\"text\": \"what a thing weighs\", \"weight\": 250, \"loss\": 2.31, \"train\": \"ICE 5\"}\n".to_owned(),
        ];
        check(
            &[("a.jsonl", &lines.concat())],
            &expect![[r#"
            a.jsonl:1-1 user: "q", assistant: {"role":"assistant","content":"a","weight":0.5}
            a.jsonl:2-2 user: "q", assistant: {"role":"assistant","content":"a","train":"maybe"}
            a.jsonl:3-3 user: "q", assistant: {"role":"assistant","content":"a","train_detail":[{"begin_offset":0,"end_offset":1,"train":false}]}
            a.jsonl:4-4 user: "q", assistant: "a"
            a.jsonl:5-5 user: {"role":"user","content":"q","from":"human","train":true}, assistant: {"role":"assistant","content":"a","from":"gpt","weight":"2"}
            a.jsonl:6-6 "p" -> "c"
            a.jsonl:7-7 "what a thing weighs"
            a.jsonl:1-1 HP022 unread-mark: "weight" of message 2 is 0.5 and is not read: something is learnt (1, true) or not (0, false)
            a.jsonl:2-2 HP022 unread-mark: "train" of message 2 is "maybe" and is not read: something is learnt (1, true) or not (0, false)
            a.jsonl:3-3 HP022 unread-mark: "train_detail" of message 2 is not read: a turn is learnt whole or not at all
            a.jsonl:4-4 HP022 unread-mark: "loss" of message 2 is NaN and is not read: something is learnt (1, true) or not (0, false)
            a.jsonl:5-5 HP022 unread-mark: "train" of message 1 is not read: the turn is the user's, and only the assistant's are learnt
            a.jsonl:5-5 HP022 unread-mark: "weight" of message 2 is "2" and is not read: something is learnt (1, true) or not (0, false)
            a.jsonl:6-6 HP022 unread-mark: "weight" is 0.3 and is not read: something is learnt (1, true) or not (0, false)
        "#]],
        );
    }
}
