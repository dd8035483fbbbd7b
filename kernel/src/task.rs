//! From a command line or a text cell to what is to be done: what each `%%command` makes of the text below it.

use hotplate_client::command::{CheckArgs, Command, GrammarError};
use toml::de::{DeTable, DeValue};

use crate::cell::TextCommand;
use crate::command::{CellCommand, ClearArgs, ExamplesArgs, UseArgs, parse_line, parse_words};
use crate::inspect;

#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one of them, and it lives for a moment")]
pub(crate) enum Task {
    Client(Command),
    Use(UseArgs),
    Clear(ClearArgs),
    /// Help, beside the cell and not in it.
    Page(String),
    WriteExamples {
        args: ExamplesArgs,
        text: String,
    },
    /// Texts that lie in the cell and nowhere else.
    CheckText {
        args: CheckArgs,
        text: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TaskProblem {
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    #[error("the prompt stands below the first line; {0:?} in the first line is no option")]
    PromptInHead(String),
    #[error(
        "%%check looks at the texts below it and at no folder; for the folder {0}, write %check {0} in a cell of its own"
    )]
    FolderAndText(String),
    #[error(
        "a notebook has no standard input; write %%generate in the first line of a cell and the prompt below it"
    )]
    NoStdin,
    #[error(
        "%examples needs texts: write %%examples {0} in the first line of a cell, and the texts below it"
    )]
    NoExamples(String),
    #[error("the settings below %%train are not written as in hotplate.toml (for example: epochs = 3): {0}")]
    Settings(String),
}

/// `text` is what stands behind the `%`.
pub(crate) fn of_line(text: &str) -> Result<Task, TaskProblem> {
    if let Some(help) = text.strip_suffix('?').and_then(inspect::help) {
        return Ok(Task::Page(help));
    }
    match parse_line(text)? {
        CellCommand::Client(Command::Generate(args)) if args.wants_stdin() => Err(TaskProblem::NoStdin),
        CellCommand::Client(command) => Ok(Task::Client(command)),
        CellCommand::Use(args) => Ok(Task::Use(args)),
        CellCommand::Clear(args) => Ok(Task::Clear(args)),
        CellCommand::Examples(args) => Err(TaskProblem::NoExamples(args.folder.display().to_string())),
    }
}

/// `head` is what stands behind the `%%`. The text is taken as it is, whatever characters are in it.
pub(crate) fn of_text(command: TextCommand, head: &str, text: &str) -> Result<Task, TaskProblem> {
    let mut words = shlex::split(head).ok_or(GrammarError::OpenQuote)?;
    let has_text = !text.trim().is_empty();
    match command {
        TextCommand::Generate => {
            words.extend(["--".to_owned(), text.to_owned()]);
        }
        TextCommand::Compare => {
            words.push("--".to_owned());
            words.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        }
        TextCommand::Train => words.extend(settings(text)?),
        TextCommand::Check if has_text => {
            // The grammar wants a folder; the cell's own is made when it is looked at.
            words.push(".".to_owned());
        }
        TextCommand::Check | TextCommand::Examples => {}
    }
    // Help was asked for in the head.
    match (command, parse_words(&words)) {
        (TextCommand::Check, Err(GrammarError::Usage { .. })) if has_text && words.len() > 2 => {
            words.pop();
            let CellCommand::Client(Command::Check(args)) = parse_words(&words)? else {
                return of_line(head);
            };
            Err(TaskProblem::FolderAndText(args.folder.display().to_string()))
        }
        (_, Err(error)) => Err(error.into()),
        (_, Ok(parsed)) => match parsed {
            CellCommand::Client(Command::Generate(args)) if args.prompt.len() > 1 => {
                Err(TaskProblem::PromptInHead(args.prompt.first().cloned().unwrap_or_default()))
            }
            CellCommand::Client(Command::Check(args)) if has_text => {
                Ok(Task::CheckText { args, text: text.to_owned() })
            }
            CellCommand::Client(command) => Ok(Task::Client(command)),
            CellCommand::Examples(args) => Ok(Task::WriteExamples { args, text: text.to_owned() }),
            CellCommand::Use(args) => Ok(Task::Use(args)),
            CellCommand::Clear(args) => Ok(Task::Clear(args)),
        },
    }
}

/// Lines as in a recipe, or options as on a command line, as the options that say the same.
fn settings(text: &str) -> Result<Vec<String>, TaskProblem> {
    if text.trim_start().starts_with('-') {
        return Ok(shlex::split(text).ok_or(GrammarError::OpenQuote)?);
    }
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        TaskProblem::Settings(format!("{}, in line {line} below the first", error.message()))
    })?;
    let mut options = Vec::new();
    for (key, value) in table.get_ref() {
        let option = format!("--{}", key.get_ref().replace('_', "-"));
        match value.get_ref() {
            // Texts may hold commas: each is an option of its own.
            DeValue::Array(values) if key.get_ref() == "prompts" => {
                options.extend(values.iter().map(|value| format!("{option}={}", plain(value.get_ref()))));
            }
            DeValue::Array(values) => {
                let names: Vec<String> = values.iter().map(|value| plain(value.get_ref())).collect();
                options.push(format!("{option}={}", names.join(",")));
            }
            DeValue::Table(entries) => options.extend(
                entries
                    .iter()
                    .map(|(name, value)| format!("{option}={}={}", name.get_ref(), plain(value.get_ref()))),
            ),
            value => options.push(format!("{option}={}", plain(value))),
        }
    }
    Ok(options)
}

/// A value as it is typed on a command line.
fn plain(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.clone().into_owned(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(when) => when.to_string(),
        // No setting is nested so deeply; its option refuses this.
        DeValue::Array(_) | DeValue::Table(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_taken_as_it_is() {
        let prompt = "%not a command\n  面包\\ \"";
        let Ok(Task::Client(Command::Generate(args))) =
            of_text(TextCommand::Generate, "generate -a notes", prompt)
        else {
            panic!("no command")
        };
        assert_eq!(args.prompt, [prompt]);
        assert_eq!(args.adapter.adapter.as_deref(), Some("notes"));
        assert!(matches!(
            of_text(TextCommand::Generate, "generate -a x hello", "p"),
            Err(TaskProblem::PromptInHead(word)) if word == "hello"
        ));
        assert!(matches!(
            of_text(TextCommand::Generate, "generate --nonsense", "p"),
            Err(TaskProblem::Grammar(GrammarError::Usage { .. }))
        ));
        assert!(matches!(
            of_text(TextCommand::Generate, "generate 'open", "p"),
            Err(TaskProblem::Grammar(GrammarError::OpenQuote))
        ));
        assert!(of_text(TextCommand::Generate, "generate --stop '\n'", "-- p").is_ok());
    }

    #[test]
    fn a_line_a_prompt() {
        let Ok(Task::Client(Command::Compare(args))) =
            of_text(TextCommand::Compare, "compare -a notes", "A bakery.\n\n -- tea\n")
        else {
            panic!("no command")
        };
        assert_eq!(args.prompts, ["A bakery.", "-- tea"]);
    }

    #[test]
    fn settings_are_those_of_a_recipe_or_options() {
        let train = |text: &str| match of_text(TextCommand::Train, "train notes/", text) {
            Ok(Task::Client(Command::Train(args))) => args,
            other => panic!("{text}: {other:?}"),
        };
        let args = train(
            "epochs = 3\nlearning_rate = 1e-3\ntargets = [\"q_proj\", \"v_proj\"]\nrslora = true\nprompts = [\"A, b.\", \"C\"]\n[rank_pattern]\nq_proj = 8",
        );
        let knobs = args.knobs.to_knobs();
        assert_eq!((knobs.epochs, knobs.learning_rate, knobs.rslora), (Some(3), Some(1e-3), Some(true)));
        assert_eq!(knobs.prompts.unwrap(), ["A, b.", "C"]);
        assert_eq!(knobs.rank_pattern.unwrap().0, [("q_proj".to_owned(), 8)]);
        assert_eq!(train("--epochs 2\n--rank 4").knobs.to_knobs().rank, Some(4));
        assert_eq!(train("").knobs.to_knobs().epochs, None);
        let problem = of_text(TextCommand::Train, "train notes/", "epochs = 3\nrank =").unwrap_err();
        assert!(problem.to_string().contains("line 2"), "{problem}");
        let problem = of_text(TextCommand::Train, "train notes/", "epoch = 3").unwrap_err();
        assert!(problem.to_string().contains("--epochs"), "{problem}");
    }

    #[test]
    fn texts_are_checked_where_they_are() {
        assert!(matches!(
            of_text(TextCommand::Check, "check", "A note."),
            Ok(Task::CheckText { text, .. }) if text == "A note."
        ));
        assert!(matches!(
            of_text(TextCommand::Check, "check notes/", "A note."),
            Err(TaskProblem::FolderAndText(folder)) if folder == "notes/"
        ));
        assert!(matches!(
            of_text(TextCommand::Check, "check notes/", ""),
            Ok(Task::Client(Command::Check(_)))
        ));
        assert!(matches!(of_line("examples notes/"), Err(TaskProblem::NoExamples(_))));
        assert!(matches!(of_line("generate -"), Err(TaskProblem::NoStdin)));
        assert!(matches!(of_line("train?"), Ok(Task::Page(help)) if help.contains("Usage: %train")));
        assert!(matches!(of_line("?"), Ok(Task::Page(help)) if help.contains("%train")));
        assert!(matches!(of_line("generate why?"), Ok(Task::Client(Command::Generate(_)))));
    }
}
