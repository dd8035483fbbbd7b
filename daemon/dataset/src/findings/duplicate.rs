//! # HP002 `duplicate`
//!
//! The same example stands in the dataset twice, character for character. Twice the same text would be learnt twice as
//! hard, and if one of the two were held out, the model would be judged by what it has learnt by heart.
//!
//! The first place stays; this one is left out. Delete either.

use std::path::Path;

use super::{Code, Finding, Rule};

pub(super) const RULE: Rule =
    Rule { code: "HP002", name: "duplicate", remedy: "Delete one of the two, or change it.", skips: true };

/// `first` is where the same content stood before.
pub(crate) fn duplicate(file: &Path, lines: (usize, usize), first: (&Path, usize)) -> Finding {
    let message = format!("the same as {}:{}", first.0.display(), first.1);
    Finding::new(Code::Duplicate, file, lines, message)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn the_first_place_is_named() {
        check(
            &[
                ("b.txt", "\u{feff}Good soup.\r\n\r\n"),
                ("a/notes.txt", "Bad soup.\n---\nGood soup.\n"),
                (
                    "c.jsonl",
                    "{\"text\": \"Good soup.\"}\n{\"prompt\": \"\", \"completion\": \"Good soup.\"}\n",
                ),
            ],
            &expect![[r#"
                a/notes.txt:1-1 "Bad soup."
                a/notes.txt:3-3 "Good soup."
                c.jsonl:2-2 "" -> "Good soup."
                b.txt:1-1 HP002 duplicate: the same as a/notes.txt:3
                c.jsonl:1-1 HP002 duplicate: the same as a/notes.txt:3
            "#]],
        );
    }
}
