//! What a text is called, so that an instruction can ask for it. A pure function of the text and its file's name.

use std::path::Path;

use crate::formats::{Blocks, Format, heading_level};

/// Longer lines are sentences.
const LONGEST: usize = 120;
const LONGEST_FIRST_LINE: usize = 60;

/// The title that the text's own front matter or record gives, else its first heading, else a short first line that has the
/// look of a title, else the file's name made readable. A table's or a list's name asks for none of its records.
pub(crate) fn title(text: &str, given: Option<&str>, file: &Path) -> Option<String> {
    given
        .and_then(plain)
        .or_else(|| first_heading(text))
        .or_else(|| title_line(text))
        .or_else(|| file_title(file))
}

/// The heading that a text begins with.
pub(crate) fn heading_at_start(text: &str) -> Option<String> {
    let text = text.trim_start();
    let end = text.match_indices('\n').nth(1).map_or(text.len(), |(end, _)| end);
    let first = text.lines().next().unwrap_or_default();
    let start = text.get(..end).unwrap_or_default();
    if heading_level(first).is_some() { first_heading(first) } else { first_heading(start) }
}

/// A Markdown heading, `# Title` or underlined with `===` or `---`; not inside a block of code.
fn first_heading(text: &str) -> Option<String> {
    let mut blocks = Blocks::default();
    // A line of text with nothing directly above it.
    let mut before = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let in_code = blocks.in_code();
        let underlines =
            line.len() >= 3 && [b'=', b'-'].iter().any(|mark| line.bytes().all(|byte| byte == *mark));
        let blank_above = !blocks.in_paragraph();
        blocks.line(number + 1, line.as_bytes());
        if in_code || blocks.in_code() {
            before = None;
            continue;
        }
        if let Some(marks) = heading_level(line)
            && let Some(title) = line.get(marks..).and_then(|rest| plain(rest.trim().trim_end_matches('#')))
        {
            return Some(title);
        }
        if underlines && let Some(before) = before {
            return plain(before);
        }
        before = (blank_above && blocks.in_paragraph()).then_some(line);
    }
    None
}

/// A first line that is short, is no sentence, and has a text behind it.
fn title_line(text: &str) -> Option<String> {
    let (first, rest) = text.split_once('\n')?;
    let first = first.trim();
    let ends_sentence =
        first.ends_with(['.', '!', '?', ',', ';', ':', '…', '。', '！', '？', '，', '；', '：']);
    let starts_item = first.starts_with(['-', '*', '>', '|', '<', '{', '[']);
    if rest.trim().is_empty() || ends_sentence || starts_item || first.chars().count() > LONGEST_FIRST_LINE {
        return None;
    }
    plain(first)
}

/// `2024-05-01-tomato_soup.md`: "tomato soup".
fn file_title(file: &Path) -> Option<String> {
    if !matches!(Format::of(file), Some(Format::Text | Format::Markdown)) {
        return None;
    }
    let stem = file.file_stem()?.to_string_lossy();
    let words = stem.replace(['-', '_', '+'], " ");
    let mut name = words.trim();
    let date: Vec<&str> = name.splitn(4, ' ').collect();
    if let [year, month, day, rest] = date.as_slice()
        && [year, month, day]
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
        && year.len() == 4
    {
        name = rest;
    }
    plain(name)
}

/// Without Markdown's marks, in one line; nothing if nothing is left or it is too long for a title.
fn plain(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.trim().chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            // `[words](address)` is its words.
            ']' if chars.peek() == Some(&'(') => while chars.next().is_some_and(|char| char != ')') {},
            '*' | '`' | '[' | ']' => {}
            char if char.is_control() => out.push(' '),
            char => out.push(char),
        }
    }
    let title = out.split_whitespace().collect::<Vec<_>>().join(" ");
    (!title.is_empty() && title.chars().count() <= LONGEST).then_some(title)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, given: Option<&str>, file: &str, expected: &str) {
        assert_eq!(title(text, given, Path::new(file)).as_deref(), Some(expected), "{text:?}");
    }

    #[test]
    fn where_titles_come_from() {
        check("# Soup\ntext", Some("Winter soup"), "a.md", "Winter soup");
        check("Intro first.\n\n## **Good** [soup](http://x.y) ##\ntext", None, "a.md", "Good soup");
        check("```\n# no title\n```\ntext", None, "my-notes.md", "my notes");
        check("Soup of the day\n===\ntext", None, "a.md", "Soup of the day");
        check("Breakfast\n---\n\nRye and butter.", None, "a.md", "Breakfast");
        check("~~~~\n# no title\n~~~\n# nor this\n~~~~\n# Soup\ntext", None, "a.md", "Soup");
        check("- an item\n---\ntext\n\nMore", None, "my-list.md", "my list");
        check("A rainy Tuesday\n\nWe went out.", None, "a.txt", "A rainy Tuesday");
        check("雨天的面馆\n汤很浓。", None, "a.txt", "雨天的面馆");
        check("We went out.\nIt rained.", None, "shop/2024-05-01-tomato_soup.txt", "tomato soup");
        check("Only one line", None, "2024-05-01.md", "2024 05 01");
        check(&"long ".repeat(40), None, "a.b.txt", "a.b");
        assert_eq!(title("We went out.", None, Path::new("records.jsonl")), None);
        check("#hashtag first\nmore text here", None, "x.md", "#hashtag first");
    }
}
