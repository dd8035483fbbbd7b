//! What a line of `---` means where it stands in Markdown: code, the underline of a heading, or a border between two texts.
//!
//! Markdown's own rule makes a heading of any paragraph with such a line under it. People divide their notes by it all the same, so
//! under a sentence it stays a border; where neither is sure, a finding says how it was read.

/// Longer lines are no headings.
const LONGEST_HEADING: usize = 120;
/// Longer lines with a full stop, question or exclamation mark behind them are sentences.
const LONGEST_PHRASE: usize = 60;

/// Goes along with the lines of a text.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    block: Block,
}

/// What the last line belongs to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// A blank line, a border, the start.
    #[default]
    Nothing,
    /// `# Title`
    Heading,
    Paragraph(Paragraph),
    /// A list, a quotation, a table, an indented piece of code: a line of hyphens under it is none of theirs.
    Other,
    /// Markup, to the next blank line.
    Markup,
    /// Between marks that say where it ends.
    Code(Code),
}

/// The lines of text directly above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paragraph {
    one_line: bool,
    length: usize,
    end: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Stop,
    Mark,
    Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Code {
    close: CodeEnd,
    /// The line that opens it.
    line: usize,
    /// How many lines of `---` it has.
    rules: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CodeEnd {
    /// As many of these, or more.
    Fence(u8, usize),
    /// A line with these words in it.
    Words(&'static str),
}

/// Blocks of code and comments that are no fences, by what they begin and end with: HTML's, Jekyll's and Hexo's, Hugo's.
const MARKED: &[(&str, &str)] = &[
    ("<!--", "-->"),
    ("<pre", "</pre>"),
    ("<script", "</script>"),
    ("<style", "</style>"),
    ("<textarea", "</textarea>"),
    ("{% highlight", "{% endhighlight"),
    ("{% raw", "{% endraw"),
    ("{% codeblock", "{% endcodeblock"),
    ("{{< highlight", "{{< /highlight"),
    ("{{% highlight", "{{% /highlight"),
];

/// What a line of `---` is where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Border,
    /// Code, or the underline of a heading.
    Text,
    /// The next line tells.
    UnderText(Paragraph),
}

/// How a line of `---` under text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) divides: bool,
    /// It may be meant otherwise.
    pub(crate) doubtful: bool,
}

impl Blocks {
    /// `line` is no line of three hyphens.
    pub(crate) fn line(&mut self, number: usize, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        self.block = self.after(number, &text);
    }

    /// A line of three hyphens.
    pub(crate) fn rule(&mut self) -> Rule {
        match &mut self.block {
            Block::Code(code) => {
                code.rules += 1;
                Rule::Text
            }
            Block::Heading | Block::Markup => Rule::Text,
            Block::Paragraph(paragraph) => Rule::UnderText(*paragraph),
            Block::Nothing | Block::Other => Rule::Border,
        }
    }

    /// A line of three hyphens under text or a heading ended it.
    pub(crate) fn border(&mut self) {
        self.block = Block::Nothing;
    }

    /// The line that opens a block of code, where it is open and hides lines of `---`, and how many.
    pub(crate) fn open_code(&self) -> Option<(usize, usize)> {
        match self.block {
            Block::Code(Code { line, rules, .. }) if rules > 0 => Some((line, rules)),
            _ => None,
        }
    }

    /// Whether the last line is one of text that goes on.
    pub(crate) fn in_paragraph(&self) -> bool {
        matches!(self.block, Block::Paragraph(_))
    }

    /// Whether the last line lies inside a block of code.
    pub(crate) fn in_code(&self) -> bool {
        matches!(self.block, Block::Code(_))
    }

    fn after(&self, number: usize, line: &str) -> Block {
        let bare = line.trim();
        if let Block::Code(code) = self.block {
            let ends = match code.close {
                CodeEnd::Fence(mark, count) => bare.len() >= count && bare.bytes().all(|byte| byte == mark),
                CodeEnd::Words(words) => line.to_ascii_lowercase().contains(words),
            };
            return if ends { Block::Nothing } else { self.block };
        }
        if bare.is_empty() {
            return Block::Nothing;
        }
        if let Some(close) = opens_code(bare) {
            return Block::Code(Code { close, line: number, rules: 0 });
        }
        let in_paragraph = matches!(self.block, Block::Paragraph(_));
        match self.block {
            Block::Markup => return Block::Markup,
            // Lines that go on with a list or a quotation.
            Block::Other if !is_heading(bare) => return Block::Other,
            _ => {}
        }
        if is_heading(bare) {
            return Block::Heading;
        }
        if is_rule(bare) || in_paragraph && bare.bytes().all(|byte| byte == b'=') {
            return Block::Nothing;
        }
        let indented = line.starts_with("    ") || line.starts_with('\t');
        if starts_other(bare) || indented && !in_paragraph {
            return Block::Other;
        }
        if bare.starts_with('<')
            && bare
                .get(1..)
                .is_some_and(|rest| rest.starts_with(|char: char| char.is_ascii_alphabetic() || char == '/'))
            && !in_paragraph
        {
            return if is_markup(bare) { Block::Markup } else { paragraph(bare, true) };
        }
        paragraph(bare, !in_paragraph)
    }
}

fn paragraph(line: &str, one_line: bool) -> Block {
    let words =
        line.trim_end_matches(['"', '\'', '”', '’', '»', ')', '）', '」', '』', '】', '*', '_', '`', ' ']);
    let end = if words.ends_with(['.', '。', '…', ';', '；']) {
        Ending::Stop
    } else if words.ends_with(['!', '?', '！', '？']) {
        Ending::Mark
    } else {
        Ending::Open
    };
    Block::Paragraph(Paragraph { one_line, length: line.chars().count(), end })
}

/// A fence, or one of the marks of code and comments, that is not closed in the same line.
fn opens_code(line: &str) -> Option<CodeEnd> {
    for mark in [b'`', b'~'] {
        let count = line.bytes().take_while(|byte| *byte == mark).count();
        // Words between backticks in a line of text.
        if count >= 3 && !(mark == b'`' && line.get(count..).is_some_and(|rest| rest.contains('`'))) {
            return Some(CodeEnd::Fence(mark, count));
        }
    }
    let lower = line.to_ascii_lowercase();
    // `{%- raw -%}` trims blanks.
    let lower = lower.replace("{%-", "{%");
    let (open, close) = MARKED.iter().find(|(open, _)| {
        lower.strip_prefix(open).is_some_and(|rest| {
            *open == "<!--" || !rest.starts_with(|char: char| char.is_ascii_alphanumeric())
        })
    })?;
    (!lower.get(open.len()..).is_some_and(|rest| rest.contains(close))).then_some(CodeEnd::Words(close))
}

/// `# Title`
fn is_heading(line: &str) -> bool {
    heading_level(line).is_some()
}

/// 1 to 6 for `# Title` to `###### Title`.
pub(crate) fn heading_level(line: &str) -> Option<usize> {
    let marks = line.bytes().take_while(|byte| *byte == b'#').count();
    let rest = line.get(marks..)?;
    ((1..=6).contains(&marks) && (rest.is_empty() || rest.starts_with([' ', '\t']))).then_some(marks)
}

/// `***`, `- - -`, `___`; also a row of hyphens that is no border here.
fn is_rule(line: &str) -> bool {
    ['*', '-', '_'].into_iter().any(|mark| {
        line.chars().filter(|char| *char == mark).count() >= 3
            && line.chars().all(|char| char == mark || char == ' ' || char == '\t')
    })
}

/// A list's item, a quotation, a row of a table.
fn starts_other(line: &str) -> bool {
    let mut chars = line.chars();
    match chars.next() {
        Some('>' | '|') => true,
        Some('-' | '*' | '+') => {
            line.get(1..).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
        }
        Some(digit) if digit.is_ascii_digit() => {
            let rest = line.trim_start_matches(|char: char| char.is_ascii_digit());
            line.len() - rest.len() <= 9
                && rest
                    .strip_prefix(['.', ')'])
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
        }
        _ => false,
    }
}

/// A line that is one of the tags that blocks begin with; words with a tag in front are a paragraph.
fn is_markup(line: &str) -> bool {
    const TAGS: &[&str] = &[
        "article",
        "aside",
        "blockquote",
        "body",
        "center",
        "details",
        "div",
        "dl",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "html",
        "iframe",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "section",
        "summary",
        "table",
        "tbody",
        "td",
        "tr",
        "ul",
    ];
    let name: String = line
        .trim_start_matches(['<', '/'])
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .map(|char| char.to_ascii_lowercase())
        .collect();
    TAGS.contains(&name.as_str())
}

impl Paragraph {
    /// How a line of `---` under these lines is read; `next` is the line behind it, nothing at the end of the file.
    pub(crate) fn reading(self, next: Option<&[u8]>) -> Reading {
        let read = |divides, doubtful| Reading { divides, doubtful };
        let Some(next) = next else { return read(true, false) };
        let next = String::from_utf8_lossy(next);
        let next = next.trim();
        let Paragraph { one_line, length, end } = self;
        let phrase = one_line && length <= LONGEST_PHRASE;
        match (end, next.is_empty()) {
            (Ending::Open, true) if one_line && length <= LONGEST_HEADING => read(false, false),
            (Ending::Open, true) => read(true, true),
            (Ending::Open, false) if one_line && length <= LONGEST_HEADING => {
                let Block::Paragraph(under) = paragraph(next, true) else { return read(true, true) };
                let follows =
                    under.end != Ending::Open || under.length > LONGEST_PHRASE || starts_other(next);
                read(!follows, true)
            }
            (Ending::Mark, true) if phrase => read(false, true),
            (Ending::Stop, true) if phrase => read(true, true),
            _ => read(true, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the last line of `text`, three hyphens, is.
    fn rule(text: &str) -> Rule {
        let mut blocks = Blocks::default();
        let lines: Vec<&str> = text.lines().collect();
        let mut last = Rule::Border;
        for (number, line) in lines.iter().enumerate() {
            if *line == "---" {
                last = blocks.rule();
            } else {
                blocks.line(number + 1, line.as_bytes());
            }
        }
        last
    }

    #[test]
    fn code_and_headings_are_text() {
        for text in [
            "```yaml\n---",
            "````\n```\n---",
            "~~~\n```\n~~\n---",
            "- item\n\n  ```\n  x\n---",
            "``` a\nb\n\n---",
            "<!-- a\n\n---",
            "<pre>\n\n---",
            "{% highlight yaml %}\n---",
            "{%- raw -%}\n---",
            "{{< highlight yaml >}}\n---",
            "# Title\n---",
            "###### Title ##\n---",
            "<details>\n---",
        ] {
            assert_eq!(rule(text), Rule::Text, "{text:?}");
        }
    }

    #[test]
    fn borders() {
        for text in [
            "---",
            "text\n\n---",
            "```\ncode\n```\n---",
            "```\ncode\n`````  \n\n---",
            "``` a `b` ```\n\n---",
            "- item\ngoes on\n---",
            "1. item\n---",
            "> quoted\n---",
            "| a |\n|---|\n| b |\n---",
            "    code\n---",
            "text\n===\n---",
            "text\n***\n---",
            "text\n----\n---",
            "<!-- a -->\n\n---",
            "<div>\n\n---",
            "<pre>x</pre>\n\n---",
        ] {
            assert_eq!(rule(text), Rule::Border, "{text:?}");
        }
    }

    #[test]
    fn under_text_the_next_line_tells() {
        let reading = |text: &str, next: &str| {
            let Rule::UnderText(paragraph) = rule(&format!("{text}\n---")) else { panic!("{text:?}") };
            let Reading { divides, doubtful } = paragraph.reading(Some(next.as_bytes()));
            format!("{}{}", if divides { "border" } else { "heading" }, if doubtful { "?" } else { "" })
        };
        for (text, next, expected) in [
            ("Breakfast", "", "heading"),
            ("早餐", "", "heading"),
            ("Breakfast", "Rye and butter.", "heading?"),
            ("Breakfast", "- rye", "heading?"),
            ("one", "two", "border?"),
            ("What did we eat?", "", "heading?"),
            ("What did we eat?", "Rye.", "border"),
            ("We went home.", "Soup again.", "border"),
            ("汤很浓。", "面很好。", "border"),
            ("We went home.", "", "border?"),
            ("She said: \"Home.\"", "More", "border"),
            ("A long day. We went home.\nIt rained.", "", "border"),
            ("roses are red\nviolets are blue", "I went", "border"),
            ("roses are red\nviolets are blue", "", "border?"),
        ] {
            assert_eq!(reading(text, next), expected, "{text:?} {next:?}");
        }
        assert_eq!(reading(&"word ".repeat(40), ""), "border?");
        let Rule::UnderText(paragraph) = rule("Breakfast\n---") else { panic!() };
        assert!(paragraph.reading(None).divides);
    }
}
