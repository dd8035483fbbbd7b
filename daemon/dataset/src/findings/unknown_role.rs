//! # HP011 `unknown-role`
//!
//! A message has another role than `system`, `user` or `assistant`. Tool calls and developer messages are not learnt yet, and
//! leaving out one turn would teach answers to questions that nobody asked.
//!
//! The record is left out.

use std::path::Path;

use super::{Code, Finding, Rule, shown};

pub(super) const RULE: Rule = Rule {
    code: "HP011",
    name: "unknown-role",
    remedy: "Use the roles \"system\", \"user\" and \"assistant\".",
    skips: true,
};

/// `message` counts from 1.
pub(crate) fn unknown_role(file: &Path, line: usize, message: usize, role: &str) -> Finding {
    let message = format!("message {message} has the role {}", shown(role));
    Finding::new(Code::UnknownRole, file, (line, line), message)
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
