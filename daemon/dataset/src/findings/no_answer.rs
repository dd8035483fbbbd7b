//! # HP012 `no-answer`
//!
//! A chat has no turn of the assistant. Only those are learnt, so there is nothing to learn here.
//!
//! The record is left out.

use super::{Code, Finding, Rule};
use crate::shapes::RecordLocation;

pub(super) const RULE: Rule = Rule {
    code: "HP012",
    name: "no-answer",
    remedy: "Add the assistant's turn, or delete the record.",
    skips: true,
};

pub(crate) fn no_answer(place: RecordLocation<'_>, messages: usize) -> Finding {
    let message = match messages {
        0 => "the list of messages is empty".to_owned(),
        1 => "the one message is not the assistant's".to_owned(),
        _ => format!("none of the {messages} messages is the assistant's"),
    };
    Finding::new(Code::NoAnswer, place.file, place.lines, message)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn chats_that_teach_nothing() {
        check(
            &[(
                "a.jsonl",
                r#"{"messages": []}
{"messages": [{"role": "user", "content": "Anyone?"}]}
{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "Anyone?"}]}
"#,
            )],
            &expect![[r"
                a.jsonl:1-1 HP012 no-answer: the list of messages is empty
                a.jsonl:2-2 HP012 no-answer: the one message is not the assistant's
                a.jsonl:3-3 HP012 no-answer: none of the 2 messages is the assistant's
            "]],
        );
    }
}
