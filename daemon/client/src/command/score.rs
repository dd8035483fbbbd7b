//! `score FILE`

use std::path::PathBuf;

use clap::Args;

use super::example::example;
use super::numbers::one_or_more;
use super::{AdapterArg, BaseArg, OutputArgs, QuantizeArg};

/// Say how likely the model finds your texts, with an adapter or without
///
/// Reads a file or a folder as training would. The loss of an example is the mean over the tokens that training would
/// learn, in nats; the lower, the better the model knows such texts. With --json each example is one line with a
/// log-probability for every token, and the last line sums up.
///
/// With --feed it says whether examples before the prompt (generate --feed) or training is needed: only examples that no
/// run learns are scored, each as the answer to its own prompt or title, with the bare base model, with the folder's
/// other examples before it, and with the adapter.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = example!(
    "Which notes surprise the adapter most", "hotplate score -a notes notes/";
    "Is training needed, or are examples before the prompt enough?", "hotplate score -a notes notes/ --feed";
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
    pub quantize: QuantizeArg,
    /// Compare feeding with the bare base model, and with the adapter if one is named
    #[arg(long)]
    pub feed: bool,
    /// Examples before each at most [default: 8, of 2048 tokens together]
    #[arg(long, value_name = "N", requires = "feed", value_parser = one_or_more, allow_negative_numbers = true)]
    pub feed_examples: Option<usize>,
    #[command(flatten)]
    pub output: OutputArgs,
}
