//! What is in a cell: command lines (`%train notes/`) and Rust, mixed as one likes; or a command and its text (`%%generate` and
//! the rest of the cell).
//!
//! Owns the cell's outer form; the words of a command are the business of the shared grammar.

use hotplate_client::command::GrammarError;
use jupyter_protocol::IsCompleteReply;

use crate::rust::source::{self, Shape};
use crate::task::{self, TaskProblem};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Blank lines and comments only.
    Empty,
    Pieces(Vec<Piece>),
    /// The first line's options, and the text below it.
    Text {
        command: TextCommand,
        head: Line,
        text: String,
    },
}

/// What is done in one go, in the order of the cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Command(Line),
    Rust(Code),
}

/// The commands that take the rest of their cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextCommand {
    /// The text is the prompt.
    Generate,
    /// Each line is a prompt.
    Compare,
    /// The text is what is to be learnt, and becomes a file.
    Examples,
    /// The text is looked at as if it were a file.
    Check,
    /// The text holds settings, as in hotplate.toml.
    Train,
}

impl TextCommand {
    pub(crate) const ALL: [TextCommand; 5] = [
        TextCommand::Generate,
        TextCommand::Compare,
        TextCommand::Examples,
        TextCommand::Check,
        TextCommand::Train,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            TextCommand::Generate => "generate",
            TextCommand::Compare => "compare",
            TextCommand::Examples => "examples",
            TextCommand::Check => "check",
            TextCommand::Train => "train",
        }
    }

    fn of_name(name: &str) -> Option<TextCommand> {
        Self::ALL.into_iter().find(|command| command.name() == name)
    }

    /// With the one below which Rust stands.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(TextCommand::name).chain([RUST])
    }

    /// What the text is, where the command is nothing without one.
    fn wants(self) -> Option<&'static str> {
        match self {
            TextCommand::Generate => Some("prompt"),
            TextCommand::Compare => Some("prompt (one a line)"),
            TextCommand::Examples => Some("text to learn"),
            TextCommand::Check | TextCommand::Train => None,
        }
    }
}

/// A command line, without its `%`. A line that ends in a backslash goes on in the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Where it starts in the cell, from 1.
    pub number: usize,
    pub text: String,
}

/// Lines of Rust, as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Code {
    /// Where it starts in the cell, in lines from 1.
    pub number: usize,
    /// The same, in bytes.
    pub offset: usize,
    pub text: String,
}

/// The first line of a cell that is all Rust.
const RUST: &str = "rust";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CellProblem {
    #[error("%%{name} is not known; the commands that take the rest of the cell are {known} (try %{name})")]
    UnknownCellCommand { name: String, known: String },
    #[error("%%{name} in line {line} must be the first line of its cell: everything below it is its text")]
    NotFirst { name: &'static str, line: usize },
    #[error("%%{name} has no {wants}; write it below, in the same cell")]
    NoText { name: &'static str, wants: &'static str },
    #[error("%%rust takes no options; write the code below it")]
    WordsAfterRust,
}

impl Cell {
    pub(crate) fn parse(code: &str) -> Result<Cell, CellProblem> {
        let mut pieces: Vec<Piece> = Vec::new();
        let (mut offset, mut number) = (0, 1);
        while let Some(rest) = code.get(offset..).filter(|rest| !rest.is_empty()) {
            let line = rest.lines().next().unwrap_or_default();
            let trimmed = line.trim();
            let length = if trimmed.is_empty() || is_comment(trimmed) {
                rest.find('\n').map_or(rest.len(), |end| end + 1)
            } else if let Some(head) = trimmed.strip_prefix("%%") {
                let below = rest.split_once('\n').map_or("", |(_, below)| below);
                let below =
                    Code { number: number + 1, offset: code.len() - below.len(), text: below.to_owned() };
                let head = Line { number, text: head.trim().to_owned() };
                return cell_command(head, below, pieces.is_empty());
            } else if trimmed.starts_with('%') {
                let (line, length) = command_line(rest, number);
                pieces.push(Piece::Command(line));
                length
            } else {
                let directives = directives_length(rest);
                let length = directives
                    + source::rust_length(rest.get(directives..).unwrap_or_default(), begins_something_else);
                let text = rest.get(..length).unwrap_or_default().to_owned();
                pieces.push(Piece::Rust(Code { number, offset, text }));
                length
            };
            number += rest.get(..length).unwrap_or_default().matches('\n').count();
            offset += length;
        }
        Ok(if pieces.is_empty() { Cell::Empty } else { Cell::Pieces(pieces) })
    }
}

/// `%%name` and everything below it.
fn cell_command(head: Line, below: Code, is_first: bool) -> Result<Cell, CellProblem> {
    let mut words = head.text.split_whitespace();
    let typed = words.next().unwrap_or_default();
    let Some(name) = TextCommand::names().find(|name| *name == typed) else {
        let known = TextCommand::names().map(|name| format!("%%{name}")).collect::<Vec<_>>().join(", ");
        return Err(CellProblem::UnknownCellCommand { name: typed.to_owned(), known });
    };
    if !is_first {
        return Err(CellProblem::NotFirst { name, line: head.number });
    }
    let Some(command) = TextCommand::of_name(name) else {
        return match words.next() {
            Some(_) => Err(CellProblem::WordsAfterRust),
            None if below.text.trim().is_empty() => Ok(Cell::Empty),
            None => Ok(Cell::Pieces(vec![Piece::Rust(below)])),
        };
    };
    let text = below.text.trim_end_matches(['\n', '\r']).to_owned();
    // Whoever asks for help has nothing to write yet.
    let asks = words.any(|word| word == "--help" || word == "-h");
    if let Some(wants) = command.wants().filter(|_| text.trim().is_empty() && !asks) {
        return Err(CellProblem::NoText { name, wants });
    }
    Ok(Cell::Text { command, head, text })
}

/// The command line that `rest` begins with, and its length with the lines in which it goes on.
fn command_line(rest: &str, number: usize) -> (Line, usize) {
    let mut text = String::new();
    let mut length = 0;
    for raw in rest.split_inclusive('\n') {
        length += raw.len();
        let line = raw.trim();
        if text.is_empty() {
            text.push_str(line.strip_prefix('%').unwrap_or(line).trim_start());
        } else {
            text.push(' ');
            text.push_str(line);
        }
        if !ends_in_backslash(line) {
            break;
        }
        // Not left to shlex: it makes an empty word of a blank before the backslash.
        text.pop();
    }
    (Line { number, text }, length)
}

/// evcxr's own lines (`:dep serde`, `!ls`), which it knows only in front of the Rust lines.
fn directives_length(rest: &str) -> usize {
    rest.split_inclusive('\n')
        .take_while(|line| is_directive(line.trim()) || line.starts_with('!'))
        .map(str::len)
        .sum()
}

fn is_directive(trimmed: &str) -> bool {
    trimmed
        .strip_prefix(':')
        .is_some_and(|name| name.starts_with(|character: char| character.is_ascii_lowercase()))
}

/// Whether a line outside of any bracket, text or comment of Rust is no Rust. A remainder at the beginning of a line is told
/// from a command by the blank behind it, where a statement may still go on.
fn begins_something_else(rest: &str, statement_ended: bool) -> bool {
    let line = rest.lines().next().unwrap_or_default().trim();
    (line.starts_with('%') && (statement_ended || !line.starts_with("% ")))
        || is_directive(line)
        || (line.starts_with('#') && is_comment(line))
}

/// `# text` and `// text`; not Rust's attributes.
fn is_comment(trimmed: &str) -> bool {
    trimmed.starts_with("//")
        || (trimmed.starts_with('#') && !trimmed.starts_with("#[") && !trimmed.starts_with("#!["))
}

fn ends_in_backslash(line: &str) -> bool {
    line.chars().rev().take_while(|character| *character == '\\').count() % 2 == 1
}

/// For consoles, which ask at each Enter whether the person is done.
pub(crate) fn is_complete(code: &str) -> IsCompleteReply {
    match Cell::parse(code) {
        Ok(Cell::Empty) => IsCompleteReply::complete(),
        Ok(Cell::Pieces(pieces)) => {
            if pieces.iter().any(is_wrong) {
                IsCompleteReply::invalid()
            } else if pieces.last().is_some_and(|last| is_open(last, code)) {
                IsCompleteReply::incomplete(String::new())
            } else {
                IsCompleteReply::complete()
            }
        }
        Ok(Cell::Text { command, head, text }) => {
            if task::of_text(command, &head.text, &text).is_err() {
                IsCompleteReply::invalid()
            } else if code.ends_with('\n') {
                IsCompleteReply::complete()
            } else {
                // A text may have more lines; an empty one ends it, as IPython has it.
                IsCompleteReply::incomplete(String::new())
            }
        }
        Err(CellProblem::NoText { .. }) => IsCompleteReply::incomplete(String::new()),
        Err(_) => IsCompleteReply::invalid(),
    }
}

/// The Rust in which the cursor is, and the cursor's place in it in bytes. `cursor` counts characters.
pub(crate) fn rust_at(code: &str, cursor: usize) -> Option<(Code, usize)> {
    let at = code.char_indices().nth(cursor).map_or(code.len(), |(at, _)| at);
    let Ok(Cell::Pieces(pieces)) = Cell::parse(code) else { return None };
    pieces.into_iter().find_map(|piece| match piece {
        Piece::Rust(rust) if (rust.offset..=rust.offset + rust.text.len()).contains(&at) => {
            let position = at - rust.offset;
            // Below finished code, anything may follow.
            let (before, after) = (rust.text.get(..position)?, rust.text.get(position..)?);
            let line = before.rsplit('\n').next().unwrap_or_default();
            let is_free = line.trim().is_empty()
                && after.lines().next().unwrap_or_default().trim().is_empty()
                && source::shape(before) == Shape::Finished;
            (!is_free && !line.trim_start().starts_with('%')).then_some((rust, position))
        }
        _ => None,
    })
}

fn is_wrong(piece: &Piece) -> bool {
    match piece {
        Piece::Rust(code) => source::shape(&code.text) == Shape::Wrong,
        // The grammar's lines end at the line's end, so an open quote cannot be closed below.
        Piece::Command(line) => !matches!(
            task::of_line(&line.text),
            Ok(_) | Err(TaskProblem::Grammar(GrammarError::Help { .. } | GrammarError::Version { .. }))
        ),
    }
}

fn is_open(last: &Piece, code: &str) -> bool {
    match last {
        Piece::Rust(code) => source::shape(&code.text) == Shape::Open,
        Piece::Command(_) => code.lines().last().is_some_and(|line| ends_in_backslash(line.trim_end())),
    }
}

#[cfg(test)]
mod tests {
    use jupyter_protocol::IsCompleteReplyStatus;

    use super::*;

    fn commands(code: &str) -> Vec<(usize, String)> {
        match Cell::parse(code) {
            Ok(Cell::Pieces(pieces)) => pieces
                .into_iter()
                .map(|piece| match piece {
                    Piece::Command(line) => (line.number, line.text),
                    Piece::Rust(code) => panic!("{code:?}"),
                })
                .collect(),
            other => panic!("{code:?}: {other:?}"),
        }
    }

    /// Commands with their sign, and Rust as it is; each with its line.
    fn pieces(code: &str) -> Vec<(usize, String)> {
        match Cell::parse(code) {
            Ok(Cell::Pieces(pieces)) => pieces
                .into_iter()
                .map(|piece| match piece {
                    Piece::Command(line) => (line.number, format!("%{}", line.text)),
                    Piece::Rust(rust) => {
                        assert_eq!(code[rust.offset..][..rust.text.len()], rust.text);
                        (rust.number, rust.text)
                    }
                })
                .collect(),
            other => panic!("{code:?}: {other:?}"),
        }
    }

    fn check_pieces(code: &str, expected: &[(usize, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(line, text)| (*line, (*text).to_owned())).collect();
        assert_eq!(pieces(code), expected, "{code:?}");
    }

    #[test]
    fn rust_and_commands_are_mixed_freely() {
        check_pieces("let x = 1;", &[(1, "let x = 1;")]);
        check_pieces("#[derive(Debug)]\nstruct X;", &[(1, "#[derive(Debug)]\nstruct X;")]);
        check_pieces(
            "// first\nlet x = 1;\n\n%status\n# then\nx\n%models",
            &[(2, "let x = 1;\n\n"), (4, "%status"), (6, "x\n"), (7, "%models")],
        );
        check_pieces("let x = a\n    % b;\n%status", &[(1, "let x = a\n    % b;\n"), (3, "%status")]);
        check_pieces("let x = \"\n%status\n# no\n\";", &[(1, "let x = \"\n%status\n# no\n\";")]);
        check_pieces(":dep a = \"1\"\n!ls\nlet x = 1;", &[(1, ":dep a = \"1\"\n!ls\nlet x = 1;")]);
        check_pieces("let x = 1;\n:vars\nx", &[(1, "let x = 1;\n"), (2, ":vars\nx")]);
        check_pieces("::std::mem::drop(1)", &[(1, "::std::mem::drop(1)")]);
        check_pieces("%%rust\n%status\n1", &[(2, "%status\n1")]);
        check_pieces("let x = don't\n%status", &[(1, "let x = don't\n"), (2, "%status")]);
        assert_eq!(Cell::parse("%%rust\n\n"), Ok(Cell::Empty));
    }

    #[test]
    fn lines_in_order_with_their_numbers() {
        assert_eq!(
            commands("# first look\n\n%check notes/\r\n  % train notes/ --epochs 3  \n// done\n"),
            [(3, "check notes/".to_owned()), (4, "train notes/ --epochs 3".to_owned())]
        );
        assert_eq!(
            commands("%train notes \\\n  --epochs 3\n%status"),
            [(1, "train notes  --epochs 3".to_owned()), (3, "status".to_owned())]
        );
        let text = &commands("%train notes \\\n  --epochs 3")[0].1;
        assert_eq!(shlex::split(text).unwrap(), ["train", "notes", "--epochs", "3"]);
    }

    #[test]
    fn a_prompt_is_the_rest_of_the_cell_as_it_is() {
        let cell = Cell::parse("# note\n%%generate -a notes\n%not a command\n  面包\\ \"\n\n").unwrap();
        let Cell::Text { command, head, text } = cell else { panic!("{cell:?}") };
        assert_eq!(command, TextCommand::Generate);
        assert_eq!((head.number, head.text.as_str()), (2, "generate -a notes"));
        assert_eq!(text, "%not a command\n  面包\\ \"");
    }

    #[test]
    fn cells_that_are_none() {
        let problem = |code: &str| Cell::parse(code).unwrap_err();
        for (code, unknown) in [("%%nonsense x\ny", "nonsense"), ("%%", "")] {
            let CellProblem::UnknownCellCommand { name, known } = problem(code) else { panic!("{code}") };
            assert_eq!(name, unknown);
            assert!(known.starts_with("%%generate, %%compare"), "{known}");
        }
        assert_eq!(problem("%status\n%%generate\nx"), CellProblem::NotFirst { name: "generate", line: 2 });
        assert_eq!(
            problem("%%generate -a x\n  \n"),
            CellProblem::NoText { name: "generate", wants: "prompt" }
        );
        assert_eq!(problem("let x = 1;\n\n%%rust\nx"), CellProblem::NotFirst { name: "rust", line: 3 });
        assert_eq!(problem("%%rust fast\nx"), CellProblem::WordsAfterRust);
        assert!(Cell::parse("%%generate --help").is_ok());
        assert!(Cell::parse("%%train notes/").is_ok(), "settings may be left out");
        assert_eq!(Cell::parse(""), Ok(Cell::Empty));
        assert_eq!(Cell::parse("\n# nothing yet\n"), Ok(Cell::Empty));
    }

    #[test]
    fn the_rust_at_the_cursor() {
        let check = |marked: &str, expected: Option<(&str, usize)>| {
            let cursor = marked.chars().position(|character| character == '|').unwrap();
            let found =
                rust_at(&marked.replace('|', ""), cursor).map(|(rust, position)| (rust.text, position));
            assert_eq!(found, expected.map(|(text, position)| (text.to_owned(), position)), "{marked:?}");
        };
        check("le|t", Some(("let", 2)));
        check("%status\n// 面\nlet 面 = x.|;\n%tr", Some(("let 面 = x.;\n", 12)));
        check("%sta|tus\nlet x = 1;", None);
        check("let x = 1;\n%sta|tus", None);
        check("let x = 1;\n|", None);
        check("fn f() {\n    |\n}", Some(("fn f() {\n    \n}", 13)));
        check("%%rust\nx.|", Some(("x.", 2)));
        check("%%generate\nx.|", None);
    }

    #[test]
    fn completeness() {
        let check = |code: &str, expected: IsCompleteReplyStatus| {
            assert_eq!(is_complete(code).status, expected, "{code:?}");
        };
        check("", IsCompleteReplyStatus::Complete);
        check("%check notes/", IsCompleteReplyStatus::Complete);
        check("%train --help", IsCompleteReplyStatus::Complete);
        check("%train notes/ \\", IsCompleteReplyStatus::Incomplete);
        check("%train notes/ \\\n", IsCompleteReplyStatus::Incomplete);
        check("%train notes/ \\\n--epochs 2", IsCompleteReplyStatus::Complete);
        check("%%generate", IsCompleteReplyStatus::Incomplete);
        check("%%generate -a x\nWrite", IsCompleteReplyStatus::Incomplete);
        check("%%generate -a x\nWrite\n", IsCompleteReplyStatus::Complete);
        check("%nonsense", IsCompleteReplyStatus::Invalid);
        check("%generate don't", IsCompleteReplyStatus::Invalid);
        check("%%train\nx", IsCompleteReplyStatus::Invalid);
        check("%%train notes/\nepochs = 3\n", IsCompleteReplyStatus::Complete);
        check("%%examples notes/", IsCompleteReplyStatus::Incomplete);
        check("%use notes", IsCompleteReplyStatus::Complete);
        check("let x = 1;", IsCompleteReplyStatus::Complete);
        check("%status\nfn f() {", IsCompleteReplyStatus::Incomplete);
        check("fn f() {\n    %status\n}", IsCompleteReplyStatus::Complete);
        check("println!(\"面包", IsCompleteReplyStatus::Incomplete);
        check("let x = 1);", IsCompleteReplyStatus::Invalid);
        check("%%rust\nlet x = [", IsCompleteReplyStatus::Incomplete);
        check("%nonsense\nlet x = [", IsCompleteReplyStatus::Invalid);
    }
}
