//! # HP001 `empty`
//!
//! There is nothing to learn here: a file, or a part between two `---` lines, without a visible character; a JSONL
//! record whose `text` or `completion` is blank; a chat whose assistant says nothing. A `.jsonl` file without a record
//! is empty too, but blank lines between records are not worth a word.
//!
//! The place is left out. Write something there or delete it.

use std::path::Path;

use super::{Code, Finding, Rule};

pub(super) const RULE: Rule =
    Rule { code: "HP001", name: "empty", remedy: "Write the text, or delete the empty place.", skips: true };

/// What exactly is empty.
#[derive(Debug, Clone, Copy)]
pub(crate) enum EmptyPlace {
    File,
    OnlyFrontMatter,
    BetweenSeparators,
    Record,
}

pub(crate) fn empty(file: &Path, lines: (usize, usize), place: EmptyPlace) -> Finding {
    let message = match place {
        EmptyPlace::File => "the file has no text",
        EmptyPlace::OnlyFrontMatter => "the file has a front matter block and no text",
        EmptyPlace::BetweenSeparators => "there is no text between these two separators",
        EmptyPlace::Record => "the record has no text to learn",
    };
    Finding::new(Code::Empty, file, lines, message)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn files_without_text() {
        check(
            &[("a.txt", ""), ("b.txt", " \r\n\n"), ("c.jsonl", "\n"), ("d.md", "---\nlang: en\n---\n\n")],
            &expect![[r"
                a.txt:1-1 HP001 empty: the file has no text
                b.txt:1-2 HP001 empty: the file has no text
                c.jsonl:1-1 HP001 empty: the file has no text
                d.md:1-4 HP001 empty: the file has a front matter block and no text
            "]],
        );
    }

    #[test]
    fn a_hole_between_separators_but_not_a_border() {
        check(
            &[("a.md", "---\none\n\n---\n\n---\ntwo\n---\n"), ("b.txt", "---\n---\n")],
            &expect![[r#"
                a.md:2-2 "one"
                a.md:7-7 "two"
                a.md:4-6 HP001 empty: there is no text between these two separators
                b.txt:1-2 HP001 empty: the file has no text
            "#]],
        );
    }

    #[test]
    fn records_without_an_answer_in_them() {
        check(
            &[(
                "a.jsonl",
                r#"{"text": " \n"}
{"prompt": "Write.", "completion": ""}
{"prompt": "", "completion": "A note."}
{"messages": [{"role": "user", "content": "Hm?"}, {"role": "assistant", "content": ""}]}
"#,
            )],
            &expect![[r#"
                a.jsonl:3-3 "" -> "A note."
                a.jsonl:1-1 HP001 empty: the record has no text to learn
                a.jsonl:2-2 HP001 empty: the record has no text to learn
                a.jsonl:4-4 HP001 empty: the record has no text to learn
            "#]],
        );
    }
}
