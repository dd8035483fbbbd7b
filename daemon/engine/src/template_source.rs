//! Rewrites a template from Python's Jinja into minijinja's, so that it means the same here.
//!
//! The two languages look alike, and differ in what their operators do with odd values, in white space, escapes and scopes. White space
//! is settled here (`pieces`); an operator that differs becomes a call of a function of ours (`expression`, and
//! `template/operators.rs` for what it does); a statement becomes its like (`statement`). What has no like is an error that
//! names it. Lines stay where they are, so that errors can be found.

mod escapes;
mod expression;
mod pieces;
mod statement;
mod tokens;

use pieces::{Piece, pieces};
use statement::Statements;

/// Marks that [`with_marks`] puts around an answer.
pub(crate) const ANSWER_MARKS: [char; 2] = ['\u{f8e1}', '\u{f8e2}'];

/// The template in minijinja's words.
///
/// # Errors
/// What is wrong with its syntax, and in which line.
pub(crate) fn for_minijinja(template: &str) -> Result<String, String> {
    translated(template, None).map(|(text, _)| text)
}

/// The template that also writes a mark where an answer starts and ends, if it tells where that is.
pub(crate) fn with_marks(template: &str) -> Option<String> {
    let (text, marked) = translated(template, Some(ANSWER_MARKS)).ok()?;
    marked.then_some(text)
}

/// The text, and whether the template tells where answers are.
fn translated(template: &str, marks: Option<[char; 2]>) -> Result<(String, bool), String> {
    // Every kind of line end is `\n`, and the last one is no part of the text, as Jinja reads any file.
    let plain = template.replace("\r\n", "\n").replace('\r', "\n");
    let template = plain.strip_suffix('\n').unwrap_or(&plain);
    let mut out = Output::default();
    let mut statements = Statements::new(marks);
    let placed = |why: String, line: usize| format!("syntax error: {why} (line {line})");
    for piece in pieces(template) {
        match piece.map_err(|(why, line)| placed(why, line))? {
            Piece::Data(text) => out.data(text),
            Piece::Raw(text) => out.literal(text),
            Piece::Print { line, tokens } => {
                let code =
                    expression::printed(tokens, statements.in_macro()).map_err(|why| placed(why, line))?;
                out.tag(line, ("{{", "}}"), &code);
            }
            Piece::Block { line, tokens } => {
                for (brackets, code) in statements.block(tokens).map_err(|why| placed(why, line))? {
                    out.tag(line, brackets, &code);
                }
            }
        }
    }
    Ok((out.text, statements.tells_answers()))
}

/// The rewritten text. Line breaks that a template's white space control takes away stand inside the next tag.
#[derive(Default)]
struct Output {
    text: String,
    lines: usize,
}

impl Output {
    fn data(&mut self, text: &str) {
        if text.contains("{{") || text.contains("{%") || text.contains("{#") || text.ends_with('{') {
            self.literal(text);
        } else {
            self.push(text);
        }
    }

    /// Text that would be read as tags.
    fn literal(&mut self, text: &str) {
        if !text.is_empty() {
            self.push("{{ ");
            self.push(&escapes::quoted(text));
            self.push(" }}");
        }
    }

    fn tag(&mut self, line: usize, (open, close): (&str, &str), code: &str) {
        self.push(open);
        let missing = line.saturating_sub(self.lines + 1);
        self.push(&"\n".repeat(missing));
        self.push(" ");
        self.push(code);
        self.push(" ");
        self.push(close);
    }

    fn push(&mut self, text: &str) {
        self.lines += text.matches('\n').count();
        self.text.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expected: &str) {
        assert_eq!(for_minijinja(template).as_deref(), Ok(expected));
    }

    #[test]
    fn white_space_is_settled() {
        check("a\n  {% if x -%}\n b {%- endif %}\nc\n", "a\n{% if x %}b{%\n endif %}c");
        check("{# a\n b #}\n{{ x }}", "{{\n\n x }}");
        check("{% raw %}{{ x }}{% endraw %}", "{{ \"{{ x }}\" }}");
        check("{{ 'a\\\nb\\x41' 'c' }}", "{{ \"abAc\" }}");
    }

    #[test]
    fn operators_that_differ_are_functions() {
        check("{{ a + b + c - 1 }}", "{{ (__add(a, b, c) - 1) }}");
        check("{{ '%s' % x ~ y }}", "{{ __concat(__mod(\"%s\", x), y) }}");
        check(
            "{{ x[1:] }}{{ x[-1] }}{{ x.items }}{{ x.y }}",
            "{{ __slice(x, 1, none, none) }}{{ x[-1] }}{{ __attribute(x, \"items\") }}{{ x.y }}",
        );
        check("{% for a, b in x %}{% endfor %}", "{% for a, b in __items(x, 2) %}{% endfor %}");
    }

    #[test]
    fn a_default_of_a_macro_may_be_a_text_that_is_called_like_an_argument() {
        check(
            "{% macro f(cups, unit='cups') %}{% endmacro %}",
            "{% macro f(cups, unit=\"cups\") %}{% endmacro %}",
        );
        assert!(for_minijinja("{% macro f(cups, more=cups) %}{% endmacro %}").unwrap_err().contains("more"));
    }

    #[test]
    fn marks_around_answers_become_scopes() {
        check("{%- generation %}x{% endgeneration -%}", "{% with %}x{% endwith %}");
        assert!(with_marks("{% generation %}x{% endgeneration %}").unwrap().contains(ANSWER_MARKS[1]));
        assert_eq!(with_marks("{% set generation = 1 %}"), None);
    }

    #[test]
    fn faults_are_named_with_their_line() {
        for (template, named) in [
            ("\n\n{{ 1 + }}", "(line 3)"),
            ("{{ 'a }}", "line 1"),
            ("{% do x %}", "do"),
            ("{% macro f() %}{{ varargs }}{% endmacro %}", "varargs"),
            ("{{ '\\N{NOPE}' }}", "NOPE"),
            ("{{ 1", "line 1"),
            ("{# a", "comment"),
            ("{{ f(a=1, a=2) }}", "a"),
        ] {
            let error = for_minijinja(template).unwrap_err();
            assert!(error.contains(named), "{template}: {error}");
        }
        let deep = format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000));
        assert!(for_minijinja(&deep).unwrap_err().contains("nested"));
        assert!(for_minijinja(&format!("{{{{ {}1 }}}}", "not ".repeat(5000))).is_err());
        assert!(for_minijinja(&format!("{{{{ {}1 }}}}", "-".repeat(5000))).is_err());
    }
}
