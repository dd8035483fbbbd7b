//! Tells a YAML front matter block at the start of a Markdown file from a note that starts after a separator.

/// Watches the lines after a first line of `---`.
///
/// Front matter is not parsed: it is believed where every line looks like it, a key (`title:`), a list item, a comment or
/// an indented line, and the first one is a key. A note of which every line starts with one word and a colon would be
/// taken for it; nobody has shown one yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrontMatter {
    /// No front matter, or it is over.
    No,
    /// The next line is the first of the file.
    Possible,
    /// Every line so far looks like it; `keyed`: there was a key.
    Inside { keyed: bool },
}

impl FrontMatter {
    /// The state after `line`, which is no separator and not the first of the file.
    pub(crate) fn after(self, line: &[u8]) -> FrontMatter {
        let FrontMatter::Inside { keyed } = self else { return FrontMatter::No };
        let blank_or_comment = line.trim_ascii().is_empty() || line.starts_with(b"#");
        let belongs_to_key = line.starts_with(b" ")
            || line.starts_with(b"\t")
            || line.starts_with(b"- ")
            || line == b"-"
            || line.starts_with(b"]")
            || line.starts_with(b"}");
        if is_key(line) {
            FrontMatter::Inside { keyed: true }
        } else if blank_or_comment || (keyed && belongs_to_key) {
            self
        } else {
            FrontMatter::No
        }
    }

    /// Whether a `---` or `...` now ends a front matter block.
    pub(crate) fn may_end(self) -> bool {
        self == FrontMatter::Inside { keyed: true }
    }
}

/// `key:` or `key: value`, where a key is one word.
fn is_key(line: &[u8]) -> bool {
    let length = line
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'"' | b'\''))
        .count();
    match line.split_at_checked(length) {
        Some((key, [b':', rest @ ..])) => {
            !key.is_empty() && !key.starts_with(b"-") && (rest.is_empty() || rest.starts_with(b" "))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn front_matter_is_no_note() {
        check(
            &[
                (
                    "a.md",
                    "---\ntitle: Soup\ntags:\n- soup\n- \"winter\"\n\n# comment\ndate: 2024-01-02\n---\n\nGood soup.\n---\nMore.\n",
                ),
                ("b.md", "\u{feff}---\r\ntitle: Soup\r\n...\r\nGood soup, again.\r\n"),
                ("c.txt", "---\ntitle: A text file has none\n---\nsecond\n"),
            ],
            &expect![[r#"
                a.md:11-11 "Good soup."
                a.md:13-13 "More."
                b.md:4-4 "Good soup, again."
                c.txt:2-2 "title: A text file has none"
                c.txt:4-4 "second"
            "#]],
        );
    }

    #[test]
    fn a_note_after_a_first_separator_is_a_note() {
        check(
            &[
                ("a.md", "---\nVerdict: good.\nI would go again.\n---\nsecond\n"),
                ("b.md", "---\nOnly one note: this one\n"),
                ("c.md", "---\nkey: never closed\n"),
                ("d.md", "first\n---\nkey: value\n---\nthird\n"),
                ("e.md", "\n---\nkey: not at the start\n---\nsecond, e\n"),
            ],
            &expect![[r#"
                a.md:2-3 "Verdict: good.\nI would go again."
                a.md:5-5 "second"
                b.md:2-2 "Only one note: this one"
                c.md:2-2 "key: never closed"
                d.md:1-1 "first"
                d.md:3-3 "key: value"
                d.md:5-5 "third"
                e.md:3-3 "key: not at the start"
                e.md:5-5 "second, e"
            "#]],
        );
    }
}
