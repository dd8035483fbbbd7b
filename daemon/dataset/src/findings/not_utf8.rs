//! # HP005 `not-utf8`
//!
//! The bytes are not text in UTF-8, and do not tell surely which other encoding they are in (where they do, the finding is
//! `other-encoding`): the file comes from a program that saves in an older one, or it is no text at all. Guessing would teach the model
//! broken characters.
//!
//! The note or record around that byte is left out, nothing else.

use std::path::Path;

use super::{Code, Finding, Rule};

pub(super) const RULE: Rule = Rule {
    code: "HP005",
    name: "not-utf8",
    remedy: "Save the file again with the encoding UTF-8.",
    skips: true,
};

/// Where the first byte that is no UTF-8 stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BadByte {
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    /// From the start of the file, from 0.
    pub(crate) offset: u64,
    pub(crate) byte: u8,
}

impl BadByte {
    /// Looks for it in a line that starts at `offset`.
    pub(crate) fn find(line: usize, offset: u64, bytes: &[u8]) -> Option<BadByte> {
        let error = str::from_utf8(bytes).err()?;
        let (good, bad) = bytes.split_at_checked(error.valid_up_to())?;
        Some(BadByte {
            line,
            column: String::from_utf8_lossy(good).chars().count() + 1,
            offset: offset + good.len() as u64,
            byte: *bad.first()?,
        })
    }
}

/// `lines` is the note or record that is lost by it.
pub(crate) fn not_utf8(file: &Path, lines: (usize, usize), bad: BadByte) -> Finding {
    let BadByte { line, column, offset, byte } = bad;
    let guess = if offset == 0 && (byte == 0xff || byte == 0xfe) { " (it looks like UTF-16)" } else { "" };
    let message = format!("the byte 0x{byte:02x} at offset {offset}, in line {line}, is not UTF-8{guess}");
    Finding::new(Code::NotUtf8, file, lines, message).at_column(column)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check_bytes;

    #[test]
    fn byte_and_line_are_named_and_the_rest_is_read() {
        check_bytes(
            &[
                ("a.jsonl", b"{\"text\": \"one\"}\n{\"text\": \"caf\xe9\"}\n{\"text\": \"three\"}\n"),
                ("b.txt", b"ONE\n---\nkind\ncr\xe8me\nbr\xfbl\xe9e\n---\nTHREE\n"),
                ("c.txt", b"\xff\xfeh\0i\0"),
            ],
            &expect![[r#"
                a.jsonl:1-1 "one"
                a.jsonl:2-2 "café"
                a.jsonl:3-3 "three"
                b.txt:1-1 "ONE"
                b.txt:3-5 "kind\ncrème\nbrûlée"
                b.txt:7-7 "THREE"
                c.txt:1-1 "hi"
                a.jsonl:1-1 HP024 other-encoding: the file is not UTF-8; it is read as windows-1252 (western European)
                b.txt:1-1 HP024 other-encoding: the file is not UTF-8; it is read as windows-1252 (western European)
                c.txt:1-1 HP024 other-encoding: the file is not UTF-8; it is read as UTF-16LE (the mark at its start says so)
            "#]],
        );
    }
}
