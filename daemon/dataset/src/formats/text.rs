//! `.txt` and `.md`: notes as they are, one a file or several between lines of `---`.

use std::path::Path;

use super::Found;
use super::front_matter::FrontMatter;
use crate::content::Content;
use crate::findings::{BadByte, EmptyPlace, empty, not_utf8, record_too_large};
use crate::lines::{Body, Line};
use crate::shapes::Shape;

pub(crate) struct TextParser<'a> {
    file: &'a Path,
    max_part_bytes: usize,
    front: FrontMatter,
    had_front_matter: bool,
    front_title: Option<String>,
    part: Part,
    /// The line of the last separator.
    separator: Option<usize>,
    /// Whether any part so far had text.
    had_text: bool,
    /// Lines of the separators around parts without text.
    holes: Vec<(usize, usize)>,
    last_line: usize,
}

/// A note that has not ended yet.
#[derive(Default)]
struct Part {
    text: String,
    /// First and last line that are not blank.
    lines: Option<(usize, usize)>,
    /// Bytes with the ends of lines, from the first line that is not blank; and up to the last one.
    bytes: u64,
    bytes_to_last: u64,
    too_large: bool,
    bad_byte: Option<BadByte>,
    /// What the file's front matter calls it.
    title: Option<String>,
}

impl<'a> TextParser<'a> {
    pub(crate) fn new(file: &'a Path, max_part_bytes: usize, markdown: bool) -> Self {
        Self {
            file,
            max_part_bytes,
            front: if markdown { FrontMatter::Possible } else { FrontMatter::No },
            had_front_matter: false,
            front_title: None,
            part: Part::default(),
            separator: None,
            had_text: false,
            holes: Vec::new(),
            last_line: 0,
        }
    }

    pub(crate) fn line(&mut self, line: &Line<'_>, on_found: &mut dyn FnMut(Found)) {
        self.last_line = line.number;
        let Body::Whole(bytes) = line.body else {
            self.front = FrontMatter::No;
            self.part.add(line, self.max_part_bytes);
            return;
        };
        // Blanks after the hyphens are invisible in an editor: nobody means something by them.
        let bare = bytes.trim_ascii_end();
        let separates = bare == b"---";
        if (separates || bare == b"...") && self.front.may_end() {
            self.part = Part { title: self.front_title.take(), ..Part::default() };
            self.separator = None;
            self.had_front_matter = true;
            self.front = FrontMatter::No;
            return;
        }
        if separates {
            self.front = match self.front {
                FrontMatter::Possible => FrontMatter::Inside { keyed: false },
                _ => FrontMatter::No,
            };
            self.end_part(on_found);
            self.separator = Some(line.number);
        } else {
            self.front = self.front.after(bytes);
            if self.front != FrontMatter::No && self.front_title.is_none() {
                self.front_title = title_key(bytes);
            }
            self.part.add(line, self.max_part_bytes);
        }
    }

    pub(crate) fn finish(mut self, on_found: &mut dyn FnMut(Found)) {
        let found_text = std::mem::take(&mut self.part).end(self.file, self.max_part_bytes, on_found);
        if found_text || self.had_text {
            for hole in self.holes {
                on_found(Found::Finding(empty(self.file, hole, EmptyPlace::BetweenSeparators)));
            }
        } else {
            let place = if self.had_front_matter { EmptyPlace::OnlyFrontMatter } else { EmptyPlace::File };
            on_found(Found::Finding(empty(self.file, (1, self.last_line.max(1)), place)));
        }
    }

    /// Called at a separator in line `last_line`.
    fn end_part(&mut self, on_found: &mut dyn FnMut(Found)) {
        let found_text = std::mem::take(&mut self.part).end(self.file, self.max_part_bytes, on_found);
        self.had_text |= found_text;
        if !found_text && let Some(before) = self.separator {
            self.holes.push((before, self.last_line));
        }
    }
}

impl Part {
    fn add(&mut self, line: &Line<'_>, max_bytes: usize) {
        let blank = matches!(line.body, Body::Whole(bytes) if is_blank(bytes));
        if blank && self.lines.is_none() {
            return;
        }
        let length = match line.body {
            Body::Whole(bytes) => bytes.len() as u64,
            Body::TooLong { bytes } => bytes,
        };
        self.bytes += length + 1;
        if !blank {
            self.lines = Some((self.lines.map_or(line.number, |(first, _)| first), line.number));
            self.bytes_to_last = self.bytes - 1;
        }
        match line.body {
            Body::Whole(bytes) if self.bytes_to_last <= max_bytes as u64 => {
                // Blank lines wait in the text; they go when nothing follows them. They count all the same.
                if self.bytes > max_bytes as u64 + 1 || self.too_large {
                    return;
                }
                match str::from_utf8(bytes) {
                    Ok(text) => {
                        self.text.push_str(text);
                        self.text.push('\n');
                    }
                    Err(_) => {
                        self.bad_byte =
                            self.bad_byte.or_else(|| BadByte::find(line.number, line.offset, bytes));
                    }
                }
            }
            _ => {
                self.too_large = true;
                self.text = String::new();
            }
        }
    }

    /// Says what the part was. `false` if it had no text at all.
    fn end(self, file: &Path, max_bytes: usize, on_found: &mut dyn FnMut(Found)) -> bool {
        let Some(lines) = self.lines else { return false };
        on_found(if self.too_large {
            Found::Finding(record_too_large(file, lines, self.bytes_to_last, max_bytes))
        } else if let Some(bad_byte) = self.bad_byte {
            Found::Finding(not_utf8(file, lines, bad_byte))
        } else {
            let content = Content::Text(without_blank_ends(&self.text).to_owned());
            Found::Example { shape: Shape::Text, content, title: self.title, lines }
        });
        true
    }
}

/// The value of a front matter's `title:`.
fn title_key(line: &[u8]) -> Option<String> {
    let value = str::from_utf8(line).ok()?.strip_prefix("title:")?.trim();
    let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
    (!value.is_empty()).then(|| value.to_owned())
}

fn is_blank(line: &[u8]) -> bool {
    str::from_utf8(line).is_ok_and(|line| line.trim().is_empty())
}

/// Without blank lines around it and blanks at its end. The first line's indent stays.
fn without_blank_ends(text: &str) -> &str {
    let text = text.trim_end();
    let indent = text.len() - text.trim_start().len();
    let start = text.get(..indent).and_then(|blanks| blanks.rfind('\n')).map_or(0, |end| end + 1);
    text.get(start..).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::without_blank_ends;
    use crate::testing::{check, read_files};

    #[test]
    fn one_note_or_several() {
        check(
            &[
                ("a.txt", "\u{feff}\r\n  One note,\r\n\r\nthree lines.  \r\n\r\n"),
                ("b.md", "# First\n\ntext\n---  \n\nSecond\n--- not a separator\n----\n---\nThird"),
            ],
            &expect![[r##"
                a.txt:2-4 "  One note,\n\nthree lines."
                b.md:1-3 "# First\n\ntext"
                b.md:6-8 "Second\n--- not a separator\n----"
                b.md:10-10 "Third"
            "##]],
        );
    }

    #[test]
    fn line_ends_and_marks_do_not_change_the_example() {
        let dataset = read_files(&[("a.txt", b"one\ntwo"), ("b.txt", b"\xef\xbb\xbfone\r\ntwo\r\n\r\n")]);
        assert_eq!(dataset.examples.len(), 1);
        assert_eq!(dataset.findings.len(), 1);
    }

    #[test]
    fn the_indent_stays() {
        assert_eq!(without_blank_ends("\n \n  a\n b \n\n"), "  a\n b");
        assert_eq!(without_blank_ends("\n \n"), "");
        assert_eq!(without_blank_ends("\u{3000}\n\u{3000}好"), "\u{3000}好");
    }

    #[test]
    fn blank_lines_at_the_end_never_make_a_note_too_large() {
        let text = format!("short\n{}---\nnext\n", "\n".repeat(10_000));
        let dataset = read_files(&[("a.txt", text.as_bytes())]);
        assert_eq!((dataset.examples.len(), dataset.findings.len()), (2, 0));
    }
}
