//! `score FILE`

use std::path::PathBuf;

use clap::Args;

use super::example::example;
use super::{AdapterArg, BaseArg, OutputArgs};

/// Say how likely the model finds your texts, with an adapter or without
///
/// Reads a file or a folder as training would. The loss of an example is the mean over the tokens that training would
/// learn, in nats; the lower, the better the model knows such texts. With --json each example is one line with a
/// log-probability for every token, and the last line sums up.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = example!(
    "Which notes surprise the adapter most", "hotplate score -a notes notes/";
    "Log-probabilities of every token", "hotplate score --base ~/models/Qwen2.5-0.5B notes/a.md --json"
))]
pub struct ScoreArgs {
    /// A dataset file, or a folder of them
    #[arg(value_name = "FILE")]
    pub path: PathBuf,
    #[command(flatten)]
    pub adapter: AdapterArg,
    #[command(flatten)]
    pub base: BaseArg,
    #[command(flatten)]
    pub output: OutputArgs,
}
