//! # HP011 `unknown-role`
//!
//! A message has a role that nobody knows. In `messages` these are known: `system`, `developer`, `user`, `assistant`, `tool`, and the
//! families' own words `ipython`, `function` and `model`; in `conversations`: `human`, `gpt`, `system`, `function_call`,
//! `observation` and their like. Leaving out one turn would teach answers to questions that nobody asked.
//!
//! The record is left out.

use super::{Code, Finding, Rule, shown};
use crate::shapes::RecordLocation;

pub(super) const RULE: Rule = Rule {
    code: "HP011",
    name: "unknown-role",
    remedy: "Use the roles \"system\", \"user\", \"assistant\" and \"tool\".",
    skips: true,
};

/// `message` counts from 1.
pub(crate) fn unknown_role(place: RecordLocation<'_>, message: usize, role: &str) -> Finding {
    let message = format!("message {message} has the role {}", shown(role));
    Finding::new(Code::UnknownRole, place.file, place.lines, message)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn the_message_is_counted() {
        check(
            &[(
                "a.jsonl",
                r#"{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]}
{"messages": [{"role": "user", "content": "u"}, {"role": "gpt", "content": "a"}]}
{"messages": [{"role": "Assistant", "content": "a"}]}
"#,
            )],
            &expect![[r#"
                a.jsonl:1-1 system: "s", user: "u", assistant: "a"
                a.jsonl:2-2 HP011 unknown-role: message 2 has the role "gpt"
                a.jsonl:3-3 HP011 unknown-role: message 1 has the role "Assistant"
            "#]],
        );
    }
}
