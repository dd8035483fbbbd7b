//! What is in a cell: command lines (`%train notes/`), or a text to continue (`%%generate` and the rest of the cell).
//!
//! Owns the cell's outer form; the words of a command are the business of the shared grammar.

use hotplate_client::command::{self, Command, GrammarError};
use jupyter_protocol::IsCompleteReply;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Blank lines and comments only.
    Empty,
    Commands(Vec<Line>),
    /// The first line's options, and the prompt below it.
    Generate {
        head: Line,
        prompt: String,
    },
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
        "line {line} does not start with %, but others do; write commands as %train FOLDER, comments as # text, and give a prompt a cell of its own that starts with %%generate"
    )]
    Mixed { line: usize },
    #[error("%%{name} is not known; only %%generate takes the rest of the cell (try %{name})")]
    UnknownCellCommand { name: String },
    #[error(
        "%%generate in line {line} must be the first line of its cell: everything below it is the prompt"
    )]
    GenerateNotFirst { line: usize },
    #[error("%%generate has no prompt; write it below, in the same cell")]
    NoPrompt,
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
                if name != "generate" {
                    return Err(CellProblem::UnknownCellCommand { name: name.to_owned() });
                }
                if !commands.is_empty() || other.is_some() {
                    return Err(CellProblem::GenerateNotFirst { line: number });
                }
                let prompt = code.get(offset..).unwrap_or_default().trim_end_matches(['\n', '\r']);
                if prompt.trim().is_empty() {
                    return Err(CellProblem::NoPrompt);
                }
                let head = Line { number, text: head.trim().to_owned() };
                return Ok(Cell::Generate { head, prompt: prompt.to_owned() });
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

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadProblem {
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    #[error(
        "the prompt of %%generate is what stands below its first line; {0:?} in the first line is no option"
    )]
    PromptInHead(String),
}

/// The command of a `%%generate` cell. The prompt is taken as it is, whatever characters are in it.
pub(crate) fn generate_command(head: &str, prompt: &str) -> Result<Command, HeadProblem> {
    let mut words = shlex::split(head).ok_or(GrammarError::OpenQuote)?;
    words.extend(["--".to_owned(), prompt.to_owned()]);
    match command::parse_words(&words)? {
        Command::Generate(args) if args.prompt.len() > 1 => {
            Err(HeadProblem::PromptInHead(args.prompt.first().cloned().unwrap_or_default()))
        }
        command => Ok(command),
    }
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
                    command::parse_line(&line.text),
                    Ok(_) | Err(GrammarError::Help { .. } | GrammarError::Version { .. })
                )
            });
            if good { IsCompleteReply::complete() } else { IsCompleteReply::invalid() }
        }
        Ok(Cell::Generate { head, prompt }) => {
            if generate_command(&head.text, &prompt).is_err() {
                IsCompleteReply::invalid()
            } else if code.ends_with('\n') {
                IsCompleteReply::complete()
            } else {
                // A prompt may have more lines; an empty one ends it, as IPython has it.
                IsCompleteReply::incomplete(String::new())
            }
        }
        Err(CellProblem::NoPrompt) => IsCompleteReply::incomplete(String::new()),
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
        let Cell::Generate { head, prompt } = cell else { panic!("{cell:?}") };
        assert_eq!((head.number, head.text.as_str()), (2, "generate -a notes"));
        assert_eq!(prompt, "%not a command\n  面包\\ \"");
        let Ok(Command::Generate(args)) = generate_command(&head.text, &prompt) else { panic!("no command") };
        assert_eq!(args.prompt, [prompt]);
        assert_eq!(args.adapter.adapter.as_deref(), Some("notes"));
    }

    #[test]
    fn cells_that_are_none() {
        let problem = |code: &str| Cell::parse(code).unwrap_err();
        assert_eq!(problem("let x = 1;"), CellProblem::RustCells);
        assert_eq!(problem("#[derive(Debug)]\nstruct X;"), CellProblem::RustCells);
        assert_eq!(problem("%status\nlet x = 1;"), CellProblem::Mixed { line: 2 });
        assert_eq!(problem("let x = 1;\n%status"), CellProblem::Mixed { line: 1 });
        assert_eq!(problem("%%train x\ny"), CellProblem::UnknownCellCommand { name: "train".into() });
        assert_eq!(problem("%%"), CellProblem::UnknownCellCommand { name: String::new() });
        assert_eq!(problem("%status\n%%generate\nx"), CellProblem::GenerateNotFirst { line: 2 });
        assert_eq!(problem("%%generate -a x\n  \n"), CellProblem::NoPrompt);
        assert_eq!(Cell::parse(""), Ok(Cell::Empty));
        assert_eq!(Cell::parse("\n# nothing yet\n"), Ok(Cell::Empty));
    }

    #[test]
    fn the_head_takes_options_only() {
        assert!(
            matches!(generate_command("generate -a x hello", "p"), Err(HeadProblem::PromptInHead(word)) if word == "hello")
        );
        assert!(matches!(generate_command("generate --nonsense", "p"), Err(HeadProblem::Grammar(_))));
        assert!(matches!(
            generate_command("generate 'open", "p"),
            Err(HeadProblem::Grammar(GrammarError::OpenQuote))
        ));
        assert!(generate_command("generate --stop '\n'", "-- p").is_ok());
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
        check("let x = 1;", IsCompleteReplyStatus::Unknown);
    }
}
