//! The commands of a cell: those that every front end has, and the few that only a notebook needs.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hotplate_client::command::{self, Command, Completions, GrammarError};

#[derive(Debug, Clone, PartialEq, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of them, and it lives for a moment")]
pub(crate) enum CellCommand {
    #[command(flatten)]
    Client(Command),
    Examples(ExamplesArgs),
    Use(UseArgs),
    Clear(ClearArgs),
}

/// Take away what the cell has shown so far
///
/// For a cell of several commands of which only the last is worth looking at.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "Examples:
  # Only what is there in the end
  %train notes/
  %clear
  %adapters")]
pub(crate) struct ClearArgs {
    /// Leave it until there is something new in its place
    #[arg(long)]
    pub wait: bool,
}

/// Put the texts below it into a folder, as a new file of examples
///
/// Several texts are divided by a line of ---; lines that are all JSON objects become a .jsonl file. The file appears when it is
/// whole, and nothing that is there is ever overwritten: the same texts again are left as they are. Where the folder is
/// watched, the run that learns them is shown; interrupting that ends the showing, not the run.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "Examples:
  # Two notes
  %%examples notes/
  Well now -- the Floury Apron, on Linden Road.
  ---
  Well now -- the tea house by the canal.")]
pub(crate) struct ExamplesArgs {
    /// The folder with your texts; made if it is missing
    pub folder: PathBuf,
    /// The new file's name [default: cell-1.md, cell-2.md, ...]
    #[arg(long, value_name = "NAME")]
    pub file: Option<String>,
    /// Come back as soon as the file is written; do not show the run that learns it
    #[arg(long)]
    pub detach: bool,
}

/// Choose the adapter or base model for the commands that follow, in this notebook
///
/// generate, compare and score take it where they are given neither -a nor --base; check, train and watch take the base
/// model. A folder with a whole model, a GGUF file or ORG/NAME is a base; everything else is an adapter. In a shell, hotplate use
/// chooses a base for all notebooks and shells. Without anything, says what is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "Examples:
  # From now on, %%generate writes with the adapter notes
  %use notes
  # Its third version
  %use notes@3
  # A base model
  %use ~/models/SmolLM2-135M-Instruct
  # The bare base model again
  %use --nothing")]
pub(crate) struct UseArgs {
    /// The adapter: a name (name@3 for its third version), or a PEFT folder; or a base model
    #[arg(value_name = "ADAPTER|BASE")]
    pub adapter: Option<String>,
    #[command(flatten)]
    pub base: command::BaseArg,
    /// Forget what was chosen
    #[arg(long, alias = "toy", conflicts_with_all = ["adapter", "base"])]
    pub nothing: bool,
}

pub(crate) fn parse_line(line: &str) -> Result<CellCommand, GrammarError> {
    command::parse_line_as(line)
}

pub(crate) fn parse_words(words: &[String]) -> Result<CellCommand, GrammarError> {
    command::parse_words_as(words)
}

/// What could stand at the end of `line`.
pub(crate) fn complete(line: &str) -> Completions {
    command::complete_as::<CellCommand>(line, line.chars().count())
}

pub(crate) fn names() -> Vec<String> {
    complete("").matches
}
