//! `generate PROMPT`

use clap::Args;

use super::example::example;
use super::{AdapterArg, BaseArg, FeedArgs, OutputArgs, QuantizeArg, SamplingArgs};

/// Let the model write, with an adapter or without
///
/// The text is shown while it is written. Ctrl-C ends it.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = example!(
    "Write like the texts in notes/", "hotplate generate -a notes \"Write a short note about a bakery.\"";
    "The same text again: the likeliest token each time", "hotplate generate -a notes --temperature 0 \"A rainy day\"";
    "Four texts to choose from", "hotplate generate -a notes --n 4 \"Write a short note about a bakery.\"";
    "With your nearest texts before the prompt, and no training", "hotplate generate --feed notes/ \"Write a short note about a bakery.\"";
    "Take the prompt from a file or another program", "hotplate generate -a notes < prompt.txt"
))]
pub struct GenerateArgs {
    /// What to write about [default, and -: what comes on standard input]
    #[arg(value_name = "PROMPT")]
    pub prompt: Vec<String>,
    #[command(flatten)]
    pub adapter: AdapterArg,
    #[command(flatten)]
    pub base: BaseArg,
    #[command(flatten)]
    pub quantize: QuantizeArg,
    /// Continue the prompt as it is, without the base model's chat template
    #[arg(long)]
    pub raw: bool,
    #[command(flatten)]
    pub feed: FeedArgs,
    /// Texts to write, several at a time; with --seed, each has the next one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub n: u64,
    #[command(flatten)]
    pub output: OutputArgs,
    // Last, because its heading holds for everything behind it.
    #[command(flatten)]
    pub sampling: SamplingArgs,
}

impl GenerateArgs {
    /// The prompt; several words that were typed without quotes are one prompt.
    pub fn prompt_text(&self) -> String {
        self.prompt.join(" ")
    }

    /// Whether the front end should put standard input in the prompt's place.
    pub fn wants_stdin(&self) -> bool {
        self.prompt.is_empty() || self.prompt == ["-"]
    }
}
