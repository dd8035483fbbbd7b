//! # HP018 `nothing-learnt`
//!
//! No token of the example carries loss: its prompt alone fills the longest training item, so that the answer is cut off whole, or
//! every answer in it is switched off (`"weight": 0`, `"train": false`), or the record itself is. There is nothing to learn from it, and
//! nothing to judge by.
//!
//! The example is left out.

use std::path::Path;

use serde_json::Value;

use super::unread_mark::said;
use super::{Code, Finding, Rule};
use crate::shapes::RecordLocation;

pub(super) const RULE: Rule = Rule {
    code: "HP018",
    name: "nothing-learnt",
    remedy: "Shorten the prompt, raise --max-tokens, or give the answer weight.",
    skips: true,
};

pub(crate) fn nothing_learnt(
    file: &Path,
    lines: (usize, usize),
    tokens: usize,
    max_tokens: usize,
) -> Finding {
    let message = if tokens > max_tokens {
        format!(
            "the answer begins behind token {max_tokens}, where the example is cut off, so no token of it carries loss"
        )
    } else {
        "no token of it carries loss".to_owned()
    };
    Finding::new(Code::NothingLearnt, file, lines, message)
}

/// A record that is switched off by a mark of its own.
pub(crate) fn marked_off(place: RecordLocation<'_>, name: &str, value: &Value) -> Finding {
    let message = format!("the record is marked as not to be learnt: \"{name}\" is {}", said(value));
    Finding::new(Code::NothingLearnt, place.file, place.lines, message)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn an_answer_beyond_the_limit_and_one_without_weight() {
        let long = "p".repeat(70);
        check(
            &[(
                "a.jsonl",
                &format!(
                    "{{\"prompt\": \"{long}\", \"completion\": \"c\"}}\n{{\"messages\": [{{\"role\": \"assistant\", \"content\": \"a\", \"weight\": 0}}]}}\n"
                ),
            )],
            &expect![[r"
                a.jsonl:1-1 HP018 nothing-learnt: the answer begins behind token 60, where the example is cut off, so no token of it carries loss
                a.jsonl:2-2 HP018 nothing-learnt: no token of it carries loss
            "]],
        );
    }
}
