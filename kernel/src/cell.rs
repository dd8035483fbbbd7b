//! What is in a cell: command lines (`%train notes/`), or a command and its text (`%%generate` and the rest of the cell).
//!
//! Owns the cell's outer form; the words of a command are the business of the shared grammar.

use hotplate_client::command::GrammarError;
use jupyter_protocol::IsCompleteReply;

use crate::task::{self, TaskProblem};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Blank lines and comments only.
    Empty,
    Commands(Vec<Line>),
    /// The first line's options, and the text below it.
    Text {
        command: TextCommand,
        head: Line,
        text: String,
    },
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

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CellProblem {
    #[error(
        "cells with Rust code come in a later version; what works now: lines that start with % (try %help), and %%generate with a prompt below it"
    )]
    RustCells,
    #[error(
        "line {line} does not start with %, but others do; write commands as %train FOLDER, comments as # text, and give a text a cell of its own that starts with %%generate or %%examples FOLDER"
    )]
    Mixed { line: usize },
    #[error("%%{name} is not known; the commands that take the rest of the cell are {known} (try %{name})")]
    UnknownCellCommand { name: String, known: String },
    #[error("%%{name} in line {line} must be the first line of its cell: everything below it is its text")]
    NotFirst { name: &'static str, line: usize },
    #[error("%%{name} has no {wants}; write it below, in the same cell")]
    NoText { name: &'static str, wants: &'static str },
}

impl Cell {
    pub(crate) fn parse(code: &str) -> Result<Cell, CellProblem> {
        let mut commands: Vec<Line> = Vec::new();
        let mut other: Option<usize> = None;
        let mut goes_on = false;
        let mut offset = 0;
        for (index, raw) in code.split_inclusive('\n').enumerate() {
            offset += raw.len();
            let (number, line) = (index + 1, raw.trim_end_matches(['\n', '\r']));
            if goes_on {
                if let Some(command) = commands.last_mut() {
                    // Not left to shlex: it makes an empty word of a blank before the backslash.
                    command.text.pop();
                    command.text.push(' ');
                    command.text.push_str(line.trim());
                }
                goes_on = ends_in_backslash(line.trim_end());
                continue;
            }
            let trimmed = line.trim();
            if trimmed.is_empty() || is_comment(trimmed) {
                continue;
            }
            if let Some(head) = trimmed.strip_prefix("%%") {
                let name = head.split_whitespace().next().unwrap_or_default();
                let Some(command) = TextCommand::of_name(name) else {
                    let known = TextCommand::ALL.map(|command| format!("%%{}", command.name())).join(", ");
                    return Err(CellProblem::UnknownCellCommand { name: name.to_owned(), known });
                };
                let name = command.name();
                if !commands.is_empty() || other.is_some() {
                    return Err(CellProblem::NotFirst { name, line: number });
                }
                let text = code.get(offset..).unwrap_or_default().trim_end_matches(['\n', '\r']);
                // Whoever asks for help has nothing to write yet.
                let asks = head.split_whitespace().any(|word| word == "--help" || word == "-h");
                if let Some(wants) = command.wants().filter(|_| text.trim().is_empty() && !asks) {
                    return Err(CellProblem::NoText { name, wants });
                }
                let head = Line { number, text: head.trim().to_owned() };
                return Ok(Cell::Text { command, head, text: text.to_owned() });
            }
            match trimmed.strip_prefix('%') {
                Some(text) => {
                    commands.push(Line { number, text: text.trim_start().to_owned() });
                    goes_on = ends_in_backslash(trimmed);
                }
                None => other = other.or(Some(number)),
            }
        }
        // A backslash with nothing below it.
        if goes_on && let Some(command) = commands.last_mut() {
            command.text.pop();
        }
        match (commands.is_empty(), other) {
            (true, None) => Ok(Cell::Empty),
            (true, Some(_)) => Err(CellProblem::RustCells),
            (false, Some(line)) => Err(CellProblem::Mixed { line }),
            (false, None) => Ok(Cell::Commands(commands)),
        }
    }
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
        Ok(Cell::Commands(lines)) => {
            let unfinished = code.lines().last().is_some_and(|line| ends_in_backslash(line.trim_end()));
            if unfinished {
                return IsCompleteReply::incomplete(String::new());
            }
            // The grammar's lines end at the line's end, so an open quote cannot be closed below.
            let good = lines.iter().all(|line| {
                matches!(
                    task::of_line(&line.text),
                    Ok(_)
                        | Err(TaskProblem::Grammar(GrammarError::Help { .. } | GrammarError::Version { .. }))
                )
            });
            if good { IsCompleteReply::complete() } else { IsCompleteReply::invalid() }
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
        Err(CellProblem::RustCells) => IsCompleteReply::unknown(),
        Err(_) => IsCompleteReply::invalid(),
    }
}

#[cfg(test)]
mod tests {
    use jupyter_protocol::IsCompleteReplyStatus;

    use super::*;

    fn commands(code: &str) -> Vec<(usize, String)> {
        match Cell::parse(code) {
            Ok(Cell::Commands(lines)) => lines.into_iter().map(|line| (line.number, line.text)).collect(),
            other => panic!("{code:?}: {other:?}"),
        }
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
        assert_eq!(problem("let x = 1;"), CellProblem::RustCells);
        assert_eq!(problem("#[derive(Debug)]\nstruct X;"), CellProblem::RustCells);
        assert_eq!(problem("%status\nlet x = 1;"), CellProblem::Mixed { line: 2 });
        assert_eq!(problem("let x = 1;\n%status"), CellProblem::Mixed { line: 1 });
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
        assert!(Cell::parse("%%generate --help").is_ok());
        assert!(Cell::parse("%%train notes/").is_ok(), "settings may be left out");
        assert_eq!(Cell::parse(""), Ok(Cell::Empty));
        assert_eq!(Cell::parse("\n# nothing yet\n"), Ok(Cell::Empty));
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
        check("let x = 1;", IsCompleteReplyStatus::Unknown);
    }
}
