//! # HP034 `unsure-border`
//!
//! A line of `---` may be meant otherwise than it was read. Directly under a line of text it is the underline of a heading in
//! Markdown, and divides nothing; people write it under the last sentence of a note, too, and mean a border. Where the words do not
//! tell, this says which way it was taken. The same for a block of code that is never closed: all lines of `---` behind its start are
//! code. Everything is still learnt.
//!
//! With a blank line above it, a line of `---` is always a border.

use std::path::Path;

use super::{Code, Finding, Rule};

pub(super) const RULE: Rule = Rule {
    code: "HP034",
    name: "unsure-border",
    remedy: "Put a blank line above --- to divide there; close blocks of code.",
    skips: false,
};

/// How lines of `---` were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuleReading {
    Border,
    Underline,
    OpenCode,
}

/// The first of `count` such lines, or the line that opens the code.
pub(crate) fn unsure_border(file: &Path, line: usize, count: usize, reading: RuleReading) -> Finding {
    let one = count == 1;
    let lines = if one { "the line of ---".to_owned() } else { format!("{count} lines of ---") };
    let are = if one { "is" } else { "are" };
    let message = match reading {
        RuleReading::Border => {
            format!(
                "{lines} directly under a line of text {are} taken for a border, so texts are divided there"
            )
        }
        RuleReading::Underline => {
            let underlines = if one { "underline" } else { "underlines" };
            format!(
                "{lines} directly under a line of text {are} taken for a heading's {underlines}, so nothing is divided there"
            )
        }
        RuleReading::OpenCode => {
            let divide = if one { "divides" } else { "divide" };
            format!(
                "this block of code is never closed, so {lines} behind it {are} code and {divide} nothing"
            )
        }
    };
    Finding::new(Code::UnsureBorder, file, (line, line), message)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn each_reading_is_said_once_a_file() {
        check(
            &[
                ("a.md", "one\n---\ntwo\n---\nthree\n"),
                ("b.md", "Breakfast\n---\nRye and butter.\n"),
                ("c.md", "a text\n\n```yaml\nkey: value\n\n---\nmore\n"),
                ("d.md", "Never closed, and no border in it.\n\n```\ncode\n"),
                ("e.txt", "Plain text\n---\n\nknows no headings"),
            ],
            &expect![[r#"
                a.md:1-1 "one"
                a.md:3-3 "two"
                a.md:5-5 "three"
                b.md:1-3 "Breakfast\n---\nRye and butter."
                c.md:1-7 "a text\n\n```yaml\nkey: value\n\n---\nmore"
                d.md:1-4 "Never closed, and no border in it.\n\n```\ncode"
                e.txt:1-1 "Plain text"
                e.txt:4-4 "knows no headings"
                a.md:2-2 HP034 unsure-border: 2 lines of --- directly under a line of text are taken for a border, so texts are divided there
                b.md:2-2 HP034 unsure-border: the line of --- directly under a line of text is taken for a heading's underline, so nothing is divided there
                c.md:3-3 HP034 unsure-border: this block of code is never closed, so the line of --- behind it is code and divides nothing
            "#]],
        );
    }
}
