//! Rewrites what Python's Jinja understands and minijinja does not, so that a template means the same here.

use std::iter::Peekable;
use std::str::Chars;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// transformers' own tag around what the assistant says. It only marks, so a block that is always taken replaces it.
static GENERATION: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}").ok());

/// The template in minijinja's words.
pub(crate) fn for_minijinja(template: &str) -> String {
    let template = without_continuations(&with_plain_lines(template));
    let Some(tag) = GENERATION.as_ref() else { return template };
    let replaced = tag.replace_all(&template, |found: &Captures| {
        let statement = if found.get(2).is_some() { "endif" } else { "if true" };
        format!("{{%{} {statement} {}%}}", &found[1], &found[3])
    });
    replaced.into_owned()
}

/// Marks that [`with_marks`] puts around an answer.
pub(crate) const ANSWER_MARKS: [char; 2] = ['\u{f8e1}', '\u{f8e2}'];

/// The template that also writes a mark where an answer starts and ends, if it tells where that is. White space around the
/// tags is treated as without marks.
pub(crate) fn with_marks(template: &str) -> Option<String> {
    let template = without_continuations(&with_plain_lines(template));
    let tag = GENERATION.as_ref().filter(|tag| tag.is_match(&template))?;
    let [start, end] = ANSWER_MARKS;
    let replaced = tag.replace_all(&template, |found: &Captures| {
        let (statement, mark) = if found.get(2).is_some() { ("endif", end) } else { ("if true", start) };
        // Two tags, so that each side's white space is judged by a tag as it was.
        format!("{{%{} {statement} %}}{{{{ '{mark}' }}}}{{% {statement} {}%}}", &found[1], &found[3])
    });
    Some(replaced.into_owned())
}

/// Every kind of line end is `\n`, as Jinja reads any file.
fn with_plain_lines(template: &str) -> String {
    template.replace("\r\n", "\n").replace('\r', "\n")
}

/// Inside a tag's string literal, a backslash before a line's end joins the lines, as in Python.
fn without_continuations(template: &str) -> String {
    let mut out = String::with_capacity(template.len());
    let mut chars = template.chars().peekable();
    while let Some(char) = chars.next() {
        out.push(char);
        if char != '{' {
            continue;
        }
        match chars.peek() {
            Some('#') => comment(&mut out, &mut chars),
            Some('%' | '{') => tag(&mut out, &mut chars),
            _ => {}
        }
    }
    out
}

fn comment(out: &mut String, chars: &mut Peekable<Chars>) {
    while let Some(char) = chars.next() {
        out.push(char);
        // Not the `#` that opens it: "{#}" is still open.
        if char == '#' && chars.peek() == Some(&'}') && !out.ends_with("{#") {
            return;
        }
    }
}

fn tag(out: &mut String, chars: &mut Peekable<Chars>) {
    out.extend(chars.next());
    let mut braces = 0_usize;
    while let Some(char) = chars.next() {
        out.push(char);
        match char {
            '"' | '\'' => literal(out, chars, char),
            '{' => braces += 1,
            '}' if braces > 0 => braces -= 1,
            // The first of "}}", or the last of "%}".
            '}' => return,
            _ => {}
        }
    }
}

fn literal(out: &mut String, chars: &mut Peekable<Chars>, quote: char) {
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.push(char);
            if char == quote {
                return;
            }
            continue;
        }
        match chars.next() {
            Some('\n') => {}
            Some('\r') if chars.peek() == Some(&'\n') => {
                chars.next();
            }
            next => out.extend([Some('\\'), next].into_iter().flatten()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expected: &str) {
        assert_eq!(for_minijinja(template), expected);
    }

    #[test]
    fn lines_are_joined_inside_literals_only() {
        check("{{ 'a\\\nb' }}", "{{ 'ab' }}");
        check("{% set x = \"a\\\r\nb\\n\\\"\\\nc\" %}\\\n", "{% set x = \"ab\\n\\\"c\" %}\\\n");
        check("{{ {'a': {'b': 'x\\\ny'}} }}'\\\n'", "{{ {'a': {'b': 'xy'}} }}'\\\n'");
        check("{# '\\\n #}'\\\n'{#", "{# '\\\n #}'\\\n'{#");
        check("it's { 50 \\\n% {{ x }} don't \\\n", "it's { 50 \\\n% {{ x }} don't \\\n");
        check("{{ 'open \\", "{{ 'open \\");
    }

    #[test]
    fn marks_around_answers_become_plain_blocks() {
        check("{%- generation %}x{% endgeneration -%}", "{%- if true %}x{% endif -%}");
        check("{% set generation = 1 %}", "{% set generation = 1 %}");
    }
}
