//! # HP019 `template-refuses`
//!
//! The base's chat template does not take this conversation: two turns of the user in a row where turns must alternate, a system's
//! turn where there is none, a tool's answer to a base that knows no tools. The words after the colon are the template's own. Or its text
//! does not let see what to learn: where an answer starts or ends, or a call of a tool that it leaves out; the words say which.
//!
//! The example is left out.

use std::path::Path;

use super::{Code, Finding, Rule};

pub(super) const RULE: Rule = Rule {
    code: "HP019",
    name: "template-refuses",
    remedy: "Change the turns as the template asks, or take a base whose template knows them.",
    skips: true,
};

pub(crate) fn template_refuses(file: &Path, lines: (usize, usize), why: &str) -> Finding {
    let why = why.lines().next().unwrap_or_default();
    Finding::new(Code::TemplateRefuses, file, lines, format!("the base cannot read it: {why}"))
}

#[cfg(test)]
mod tests {
    use crate::content::Example;
    use crate::read::{Limits, Measured, read};
    use crate::testing::line_of;

    #[test]
    fn only_that_example_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.jsonl"), "{\"text\": \"no\"}\n{\"text\": \"yes\"}\n").unwrap();
        let measured = Measured { tokens: 3, longest_form: 3, learnt: 2, ..Measured::default() };
        let measure = |example: &Example| match &example.content {
            crate::Content::Text(text) if text == "no" => Err("roles must alternate\nat line 1".to_owned()),
            _ => Ok(measured.clone()),
        };
        let dataset = read(folder.path(), &Limits { measure: Some(&measure), ..Limits::default() }).unwrap();
        assert_eq!(dataset.measured, std::slice::from_ref(&measured));
        assert_eq!(dataset.examples.len(), 1);
        assert_eq!(
            line_of(&dataset.findings[0]),
            "a.jsonl:1-1 HP019 template-refuses: the base cannot read it: roles must alternate"
        );
    }
}
