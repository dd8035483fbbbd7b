//! `wordwrap`: Python's `textwrap.wrap`, line by line.

use minijinja::value::Value;
use minijinja::{Error, State};

use crate::template::python::arguments::{bind, text, truth, whole_or};
use crate::template::python::fault;
use crate::template::python::text::lines;

pub(super) fn wordwrap(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [width, break_long, between, break_on_hyphens] =
        bind("wordwrap", args, ["width", "break_long_words", "wrapstring", "break_on_hyphens"], 0)?;
    let width = whole_or("wordwrap", width.as_ref(), 79)?;
    let own = text("wordwrap", value)?;
    let is_on = |flag: Option<&Value>| flag.is_none_or(|flag| truth(Some(flag)));
    let between = between.filter(|between| !between.is_none()).unwrap_or_else(|| Value::from("\n"));
    let between = text("wordwrap", &between)?;
    let (break_long, hyphens) = (is_on(break_long.as_ref()), is_on(break_on_hyphens.as_ref()));
    let mut wrapped = Vec::new();
    for line in lines(own, false) {
        if width <= 0 {
            return Err(fault("wordwrap", "the width must be above zero"));
        }
        wrapped.push(paragraph(line, width as usize, break_long, hyphens).join(between));
    }
    Ok(Value::from(wrapped.join(between)))
}

/// Python's white space for wrapping: only ASCII's.
fn is_blank(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

fn width_of(text: &str) -> usize {
    text.chars().count()
}

fn paragraph(line: &str, width: usize, break_long: bool, hyphens: bool) -> Vec<String> {
    let mut chunks: Vec<String> = chunks(line, hyphens);
    chunks.reverse();
    let mut lines: Vec<String> = Vec::new();
    while !chunks.is_empty() {
        let mut current: Vec<String> = Vec::new();
        let mut length = 0;
        if !lines.is_empty() && chunks.last().is_some_and(|chunk| chunk.trim_matches(is_strip).is_empty()) {
            chunks.pop();
        }
        while let Some(chunk) = chunks.last() {
            if length + width_of(chunk) > width {
                break;
            }
            length += width_of(chunk);
            current.extend(chunks.pop());
        }
        if let Some(chunk) = chunks.last().filter(|chunk| width_of(chunk) > width).cloned() {
            let space = if width < 1 { 1 } else { width - length };
            if break_long {
                let mut end = space;
                if hyphens && width_of(&chunk) > space {
                    let head: Vec<char> = chunk.chars().take(space).collect();
                    // A hyphen that is not the first breaks there.
                    if let Some(at) = head.iter().rposition(|char| *char == '-')
                        && at > 0
                        && head[..at].iter().any(|char| *char != '-')
                    {
                        end = at + 1;
                    }
                }
                let head: String = chunk.chars().take(end).collect();
                let tail: String = chunk.chars().skip(end).collect();
                current.push(head);
                chunks.pop();
                chunks.push(tail);
            } else if current.is_empty() {
                current.extend(chunks.pop());
            }
        }
        if current.last().is_some_and(|chunk| chunk.trim_matches(is_strip).is_empty()) {
            current.pop();
        }
        if !current.is_empty() {
            lines.push(current.concat());
        }
        if current.is_empty() && chunks.last().is_some_and(String::is_empty) {
            chunks.pop();
        }
    }
    lines
}

fn is_strip(char: char) -> bool {
    crate::template::python::text::is_space(char)
}

/// Words and the white space between them; with `hyphens`, words are divided behind those between letters.
fn chunks(line: &str, hyphens: bool) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let blank = is_blank(first);
        let end = rest.find(|char| is_blank(char) != blank).unwrap_or(rest.len());
        if blank || !hyphens {
            found.push(rest[..end].to_owned());
        } else {
            found.extend(divided(&rest[..end]));
        }
        rest = &rest[end..];
    }
    found
}

/// `co-op` as `co-` and `op`; a dash of several hyphens is a word of its own.
fn divided(word: &str) -> Vec<String> {
    let chars: Vec<char> = word.chars().collect();
    let is_letter = |at: usize| chars.get(at).is_some_and(|char| char.is_alphabetic() || (*char == '_'));
    let is_word =
        |at: usize| chars.get(at).is_some_and(|char| char.is_alphanumeric() || "_!\"'&.,?".contains(*char));
    let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
    while at < chars.len() {
        if chars[at] != '-' {
            at += 1;
            continue;
        }
        let run = chars[at..].iter().take_while(|char| **char == '-').count();
        if run == 1 {
            let letters_before = at >= 2 && is_letter(at - 1) && is_letter(at - 2)
                || (at >= 3 && is_letter(at - 1) && chars[at - 2] == '-' && is_letter(at - 3));
            let letters_after = is_letter(at + 1) && (is_letter(at + 2) || chars.get(at + 2) == Some(&'-'));
            if at > start && letters_before && letters_after {
                parts.push(chars[start..=at].iter().collect());
                start = at + 1;
            }
        } else if at > start && is_word(at - 1) && is_word(at + run) {
            parts.push(chars[start..at].iter().collect());
            parts.push(chars[at..at + run].iter().collect());
            start = at + run;
        }
        at += run;
    }
    if start < chars.len() {
        parts.push(chars[start..].iter().collect());
    }
    parts
}
