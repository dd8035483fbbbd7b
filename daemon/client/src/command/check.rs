//! `check FOLDER`

use std::path::PathBuf;

use clap::Args;

use super::example::example;
use super::{BaseArg, OutputArgs};

/// Look at a folder of texts and say what is wrong with it, without training
///
/// Reads .txt and .md files (one example each, or several, separated by a line of ---) and .jsonl files (one example
/// a line: text, prompt and completion, or messages). Also checks the recipe, hotplate.toml, line by line, and says what a run would be set
/// to. Nothing is changed.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = example!("What would be learnt from notes/, and what not", "hotplate check notes/"))]
pub struct CheckArgs {
    /// The folder with your texts
    pub folder: PathBuf,
    #[command(flatten)]
    pub base: BaseArg,
    /// List every example with its place, its side, and the run and version that learnt it
    #[arg(long)]
    pub examples: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}
