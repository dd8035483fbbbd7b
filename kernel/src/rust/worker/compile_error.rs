//! A compile error as rustc shows it, with places in the cell instead of in a file.

use evcxr::CompilationError;

use crate::source::window;

/// In characters; so long a name says nothing any more.
const LONGEST_UNDERLINE: usize = 80;

/// A place and what is said about it; lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    line: usize,
    from: usize,
    /// Not included.
    to: usize,
    label: String,
    primary: bool,
}

/// `code` begins in line `first_line` of the cell. evcxr's line numbers are turned into those of `code` by `original_line`.
pub(crate) fn report(
    errors: &[CompilationError],
    code: &str,
    first_line: usize,
    original_line: impl Fn(usize) -> Option<usize>,
) -> Vec<String> {
    let is_error = |error: &&CompilationError| error.level() == "error";
    let all = if errors.iter().any(|error| is_error(&error)) {
        errors.iter().filter(is_error).collect()
    } else {
        errors.iter().collect::<Vec<_>>()
    };
    let lines: Vec<&str> = code.lines().collect();
    let mut report = Vec::new();
    for error in all {
        let title = match error.code() {
            Some(code) => format!("error[{code}]: {}", error.message()),
            None => format!("error: {}", error.message()),
        };
        let marks = error
            .spanned_messages()
            .iter()
            .filter_map(|message| {
                let span = message.span?;
                let line = original_line(span.start_line)?;
                let line_length = lines.get(line.checked_sub(1)?)?.chars().count();
                let ends_here = span.end_line == span.start_line;
                let to = if ends_here { span.end_column } else { line_length + 1 };
                Some(Mark {
                    line,
                    from: span.start_column,
                    to: to.max(span.start_column + 1),
                    label: message.label.clone(),
                    primary: message.is_primary,
                })
            })
            .collect::<Vec<_>>();
        let notes = error.help().into_iter().chain(error.evcxr_extra_hint().map(str::to_owned)).collect();
        report.push(one(&title, marks, notes, &lines, first_line));
    }
    report
}

fn one(title: &str, mut marks: Vec<Mark>, notes: Vec<String>, lines: &[&str], first_line: usize) -> String {
    let mut text = title.to_owned();
    let in_cell = |line: usize| line + first_line - 1;
    // evcxr repeats the message where a place has no label of its own.
    for mark in &mut marks {
        if let Some(label) = mark.label.strip_prefix("error: ")
            && title.ends_with(label)
        {
            mark.label.clear();
        }
    }
    marks.sort_by_key(|mark| (mark.line, !mark.primary));
    marks.dedup();
    let width = marks.iter().map(|mark| in_cell(mark.line).to_string().len()).max().unwrap_or(1);
    if let Some(mark) = marks.iter().find(|mark| mark.primary).or(marks.first()) {
        text += &format!("\n{:width$}--> line {}, column {}", "", in_cell(mark.line), mark.from);
        text += &format!("\n{:width$} |", "");
    }
    let mut shown = None;
    for mark in &marks {
        let line = lines.get(mark.line - 1).copied().unwrap_or_default();
        let (line, column) = window(line, mark.from - 1);
        if shown.as_ref() != Some(&(mark.line, line.clone())) {
            text += &format!("\n{:>width$} | {line}", in_cell(mark.line));
            shown = Some((mark.line, line.clone()));
        }
        let indent: String =
            line.chars().take(column).map(|character| if character == '\t' { '\t' } else { ' ' }).collect();
        let sign = if mark.primary { "^" } else { "-" }.repeat((mark.to - mark.from).min(LONGEST_UNDERLINE));
        text += format!("\n{:width$} | {indent}{sign} {}", "", mark.label).trim_end();
    }
    for note in notes {
        text += &format!("\n{:width$} = help: {}", "", note.trim_end().replace('\n', "\n     "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(line: usize, from: usize, to: usize, label: &str, primary: bool) -> Mark {
        Mark { line, from, to, label: label.to_owned(), primary }
    }

    #[test]
    fn looks_like_rustcs() {
        let marks = vec![
            mark(2, 8, 11, "expected due to this", false),
            mark(2, 14, 17, "expected `i32`, found `&str`", true),
        ];
        let text = one(
            "error[E0308]: mismatched types",
            marks,
            vec!["try\n\nparse".to_owned()],
            &["", "let x: i32 = \"a\";"],
            9,
        );
        assert_eq!(
            text,
            "error[E0308]: mismatched types\n  --> line 10, column 14\n   |\n10 | let x: i32 = \"a\";\n   |              ^^^ \
             expected `i32`, found `&str`\n   |        --- expected due to this\n   = help: try\n     \n     parse"
        );
    }

    #[test]
    fn what_repeats_the_title_is_left_out() {
        let text = one("error: no", vec![mark(1, 1, 2, "error: no", true)], Vec::new(), &["面"], 1);
        assert_eq!(text, "error: no\n --> line 1, column 1\n  |\n1 | 面\n  | ^");
        assert_eq!(one("error: no", Vec::new(), Vec::new(), &[], 1), "error: no");
    }
}
