//! # HP021 `null-characters`
//!
//! The text holds characters of the number zero. No text has them: the file is no text at all, or a record writes them out.
//!
//! The example is left out.

use std::path::Path;

use super::{Code, Finding, Rule};
use crate::content::Content;

pub(super) const RULE: Rule = Rule {
    code: "HP021",
    name: "null-characters",
    remedy: "Save the file again with the encoding UTF-8, or move it out of the folder.",
    skips: true,
};

pub(crate) fn null_characters(file: &Path, lines: (usize, usize), content: &Content) -> Option<Finding> {
    let found = match content {
        Content::Text(text) => text.contains('\0'),
        Content::Completion { prompt, completion } => prompt.contains('\0') || completion.contains('\0'),
        Content::Chat(chat) => chat.turns.iter().any(|turn| turn.content.contains('\0')),
    };
    let message = "it holds characters of the number zero, which no text has";
    found.then(|| Finding::new(Code::NullCharacters, file, lines, message))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check_bytes;

    #[test]
    fn utf16_without_a_mark() {
        check_bytes(
            &[("a.txt", b"h\0i\0"), ("b.jsonl", b"{\"text\": \"a\\u0000\"}\n{\"text\": \"fine\"}\n")],
            &expect![[r#"
                a.txt:1-1 "hi"
                b.jsonl:2-2 "fine"
                a.txt:1-1 HP024 other-encoding: the file is not UTF-8; it is read as UTF-16LE (without a mark)
                b.jsonl:1-1 HP021 null-characters: it holds characters of the number zero, which no text has
            "#]],
        );
    }
}
