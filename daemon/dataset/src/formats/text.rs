//! `.txt` and `.md`: notes as they are, one a file or several between lines of `---`.

use std::path::Path;

use super::Found;
use super::front_matter::{FrontMatter, HeldLine, Meta, Verdict};
use super::markdown::{Blocks, Paragraph, Reading, Rule};
use crate::content::Content;
use crate::findings::{
    BadByte, CardSign, EmptyPlace, RuleReading, dataset_card, draft, empty, front_matter, not_utf8,
    record_too_large, unsure_border,
};
use crate::lines::{Body, Line};
use crate::shapes::Shape;

pub(crate) struct TextParser<'a> {
    file: &'a Path,
    max_part_bytes: usize,
    /// While it is not clear whether the first lines are front matter.
    top: Option<FrontMatter>,
    had_front_matter: bool,
    /// Why nothing of the file is learnt.
    whole: Option<Whole>,
    /// In Markdown, what the lines belong to.
    blocks: Option<Blocks>,
    /// A line of hyphens under text: the next line tells what it is.
    waiting: Option<(HeldLine, Paragraph)>,
    /// Lines of hyphens that may be meant otherwise: the first one, and how many; those that divide, and those that do not.
    doubtful_borders: Option<(usize, usize)>,
    doubtful_underlines: Option<(usize, usize)>,
    part: Part,
    /// The line of the last separator.
    separator: Option<usize>,
    /// Whether any part so far had text.
    had_text: bool,
    /// Lines of the separators around parts without text.
    holes: Vec<(usize, usize)>,
    last_line: usize,
}

/// What a file's front matter says of all its texts.
enum Whole {
    Draft(String),
    Card(String),
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
    /// What its front matter calls it.
    title: Option<String>,
    /// What in its own front matter says that it is not finished.
    draft: Option<String>,
}

impl<'a> TextParser<'a> {
    pub(crate) fn new(file: &'a Path, max_part_bytes: usize, markdown: bool) -> Self {
        Self {
            file,
            max_part_bytes,
            top: Some(if markdown {
                FrontMatter::at_the_top()
            } else {
                FrontMatter::at_the_top_of_plain_text()
            }),
            had_front_matter: false,
            whole: None,
            blocks: markdown.then(Blocks::default),
            waiting: None,
            doubtful_borders: None,
            doubtful_underlines: None,
            part: Part::default(),
            separator: None,
            had_text: false,
            holes: Vec::new(),
            last_line: 0,
        }
    }

    pub(crate) fn line(&mut self, line: &Line<'_>, on_found: &mut dyn FnMut(Found)) {
        self.last_line = line.number;
        self.next_line(line, on_found);
    }

    fn next_line(&mut self, line: &Line<'_>, on_found: &mut dyn FnMut(Found)) {
        match &mut self.top {
            None => self.body_line(line, on_found),
            Some(top) => {
                if let Some(verdict) = top.line(line) {
                    self.begin(verdict, on_found);
                }
            }
        }
    }

    /// It is clear what stands at the top of the file, or of a text in it.
    fn begin(&mut self, verdict: Verdict, on_found: &mut dyn FnMut(Found)) {
        let of_file = self.top.take().is_none_or(|top| top.is_at_the_top());
        if let Some(lines) = verdict.lines() {
            let Meta { title, draft, card } = verdict.meta;
            self.had_front_matter = true;
            if let Some(doubt) = verdict.doubt {
                on_found(Found::Finding(front_matter(self.file, lines, &doubt)));
            }
            self.part.title = title;
            if of_file {
                let card = card.filter(|_| is_readme(self.file)).map(Whole::Card);
                self.whole = card.or(draft.map(Whole::Draft));
            } else {
                self.part.draft = draft;
            }
        }
        for held in verdict.rest {
            self.next_line(&held.line(), on_found);
        }
    }

    fn body_line(&mut self, line: &Line<'_>, on_found: &mut dyn FnMut(Found)) {
        let bytes = match line.body {
            Body::Whole(bytes) => bytes,
            Body::TooLong { .. } => b"text",
        };
        self.decide(Some(bytes), on_found);
        if self.top.is_some() {
            return self.next_line(line, on_found);
        }
        // Blanks after the hyphens are invisible in an editor: nobody means something by them.
        let rule = match &mut self.blocks {
            _ if bytes.trim_ascii_end() != b"---" => None,
            None => Some(Rule::Border),
            Some(blocks) => Some(blocks.rule()),
        };
        match rule {
            Some(Rule::Border) => self.border(line.number, on_found),
            Some(Rule::UnderText(paragraph)) => self.waiting = Some((HeldLine::of(line), paragraph)),
            Some(Rule::Text) => {
                self.part.add(line, self.max_part_bytes);
                if let Some(blocks) = &mut self.blocks
                    && !blocks.in_code()
                {
                    blocks.border();
                }
            }
            None => {
                if let Some(blocks) = &mut self.blocks {
                    blocks.line(line.number, bytes);
                }
                self.part.add(line, self.max_part_bytes);
            }
        }
    }

    /// What a line of hyphens under text was, now that the next line is there, or the end of the file.
    fn decide(&mut self, next: Option<&[u8]>, on_found: &mut dyn FnMut(Found)) {
        let Some((held, paragraph)) = self.waiting.take() else { return };
        let line = held.line();
        let Reading { divides, doubtful } = paragraph.reading(next);
        if doubtful {
            let places = if divides { &mut self.doubtful_borders } else { &mut self.doubtful_underlines };
            places.get_or_insert((line.number, 0)).1 += 1;
        }
        if let Some(blocks) = &mut self.blocks {
            blocks.border();
        }
        if divides {
            self.border(line.number, on_found);
        } else {
            self.part.add(&line, self.max_part_bytes);
        }
    }

    pub(crate) fn finish(mut self, on_found: &mut dyn FnMut(Found)) {
        // What was held may end in a border, behind which nothing comes.
        while let Some(top) = self.top.as_mut() {
            let verdict = top.finish();
            self.begin(verdict, on_found);
        }
        self.decide(None, on_found);
        self.had_text |= self.end_part(on_found);
        match self.whole {
            Some(Whole::Draft(key)) => {
                on_found(Found::Finding(draft(self.file, (1, self.last_line), &key)));
                return;
            }
            Some(Whole::Card(key)) => {
                on_found(Found::Finding(dataset_card(self.file, (1, self.last_line), CardSign::Key(&key))));
                return;
            }
            None => {}
        }
        if !self.had_text {
            let place = if self.had_front_matter { EmptyPlace::OnlyFrontMatter } else { EmptyPlace::File };
            on_found(Found::Finding(empty(self.file, (1, self.last_line.max(1)), place)));
            return;
        }
        for hole in self.holes {
            on_found(Found::Finding(empty(self.file, hole, EmptyPlace::BetweenSeparators)));
        }
        let open_code = self.blocks.as_ref().and_then(Blocks::open_code);
        for (place, reading) in [
            (self.doubtful_borders, RuleReading::Border),
            (self.doubtful_underlines, RuleReading::Underline),
            (open_code, RuleReading::OpenCode),
        ] {
            if let Some((line, count)) = place {
                on_found(Found::Finding(unsure_border(self.file, line, count, reading)));
            }
        }
    }

    /// A separator in `line`.
    fn border(&mut self, line: usize, on_found: &mut dyn FnMut(Found)) {
        let found_text = self.end_part(on_found);
        self.had_text |= found_text;
        if !found_text && let Some(before) = self.separator {
            self.holes.push((before, line));
        }
        self.separator = Some(line);
        self.top = self.blocks.as_ref().map(|_| FrontMatter::behind_a_border());
    }

    fn end_part(&mut self, on_found: &mut dyn FnMut(Found)) -> bool {
        let part = std::mem::take(&mut self.part);
        if self.whole.is_some() {
            return part.lines.is_some();
        }
        part.end(self.file, self.max_part_bytes, on_found)
    }
}

fn is_readme(file: &Path) -> bool {
    file.file_stem().is_some_and(|stem| stem.eq_ignore_ascii_case("readme"))
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
        on_found(if let Some(key) = self.draft {
            Found::Finding(draft(file, lines, &key))
        } else if self.too_large {
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

fn is_blank(line: &[u8]) -> bool {
    str::from_utf8(line).is_ok_and(|line| line.trim().is_empty())
}

/// Without blank lines around it and blanks at its end. The first line's indent stays.
pub(crate) fn without_blank_ends(text: &str) -> &str {
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
                ("b.md", "# First\n\ntext\n\n---  \n\nSecond\n--- not a separator\n----\n---\nThird"),
            ],
            &expect![[r##"
                a.txt:2-4 "  One note,\n\nthree lines."
                b.md:1-3 "# First\n\ntext"
                b.md:7-9 "Second\n--- not a separator\n----"
                b.md:11-11 "Third"
            "##]],
        );
    }

    /// What is no draft's front matter is text, and its lines of hyphens divide.
    #[test]
    fn front_matter_of_plain_text() {
        check(
            &[
                ("draft.txt", "---\ndraft: true\ntitle: Soup\n---\nNot finished.\n"),
                ("note.txt", "---\nBread: today\n---\nSecond\n"),
                ("titled.txt", "---\ntitle: Soup\n---\nIt was hot.\n---\nNext one.\n"),
                ("top.txt", "title: Soup\n\nIt was hot.\n"),
            ],
            &expect![[r#"
                note.txt:2-2 "Bread: today"
                note.txt:4-4 "Second"
                titled.txt:2-2 "title: Soup"
                titled.txt:4-4 "It was hot."
                titled.txt:6-6 "Next one."
                top.txt:1-3 "title: Soup\n\nIt was hot."
                draft.txt:1-5 HP032 draft: the front matter says "draft: true", so it is left out
            "#]],
        );
    }

    /// The published case: two texts, each whole.
    #[test]
    fn code_and_headings_are_not_divided() {
        check(
            &[
                ("a.md", "# My notes\n\n```yaml\n---\ntitle: soup\n---\n```\n\nThen the text.\n"),
                ("b.md", "Breakfast\n---\n\nRye and butter.\n\nLunch\n---\n\nSoup.\n"),
            ],
            &expect![[r##"
                a.md:1-9 "# My notes\n\n```yaml\n---\ntitle: soup\n---\n```\n\nThen the text."
                b.md:1-9 "Breakfast\n---\n\nRye and butter.\n\nLunch\n---\n\nSoup."
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
