//! # HP035 `turn-left-out`
//!
//! The base's chat template takes this conversation and leaves out a turn without a word: a system's or a developer's where it knows no such
//! role, a tool's answer, everything but the last few turns; or the text that stands beside a call of a tool. The base never sees what is
//! left out, in training or in answers, and nothing of it is learnt.
//!
//! Reasoning is left out on purpose by many families' templates, in every answer but the last: that is no finding. It is one where the last
//! answer's own is left out, for then the base learns to answer without it.
//!
//! The example is still learnt, without that turn.

use std::path::Path;

use super::{Code, Finding, Rule};
use crate::left_out::LeftOut;

pub(super) const RULE: Rule = Rule {
    code: "HP035",
    name: "turn-left-out",
    remedy: "Say it in a turn that the template shows, or take a base whose template knows such turns.",
    skips: false,
};

pub(crate) fn turn_left_out(file: &Path, lines: (usize, usize), left_out: &[LeftOut]) -> Finding {
    const MOST_NAMED: usize = 4;
    let mut named: Vec<String> = left_out.iter().take(MOST_NAMED).map(ToString::to_string).collect();
    if left_out.len() > MOST_NAMED {
        named.push(format!("{} more", left_out.len() - MOST_NAMED));
    }
    let message = format!("the base's chat template leaves out {}", named.join(", "));
    Finding::new(Code::TurnLeftOut, file, lines, message)
}

#[cfg(test)]
mod tests {
    use crate::chat::Role;
    use crate::content::Example;
    use crate::left_out::{LeftOut, LeftOutPart};
    use crate::read::{Limits, Measured, read};
    use crate::testing::line_of;

    #[test]
    fn turns_are_named_and_the_example_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.jsonl"), "{\"text\": \"all\"}\n{\"text\": \"some\"}\n").unwrap();
        let measure = |example: &Example| {
            let some = matches!(&example.content, crate::Content::Text(text) if text == "some");
            let parts = [
                (0, Role::System, LeftOutPart::Whole),
                (2, Role::Assistant, LeftOutPart::TextBesideCalls),
                (4, Role::Assistant, LeftOutPart::LastThought),
            ];
            let left_out = parts.map(|(turn, role, part)| LeftOut { turn, role, part }).to_vec();
            let left_out = if some { left_out } else { Vec::new() };
            Ok(Measured { tokens: 3, longest_form: 3, learnt: 2, left_out })
        };
        let dataset = read(folder.path(), &Limits { measure: Some(&measure), ..Limits::default() }).unwrap();
        assert_eq!(dataset.examples.len(), 2);
        let lines: Vec<String> = dataset.findings.iter().map(line_of).collect();
        assert_eq!(
            lines,
            ["a.jsonl:2-2 HP035 turn-left-out: the base's chat template leaves out turn 1 (system), \
              the text beside the calls in turn 3 (assistant), the reasoning in turn 5 (assistant)"]
        );
    }
}
