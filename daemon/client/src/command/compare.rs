//! `compare PROMPT...`

use clap::Args;

use super::example::example;
use super::{AdapterArg, BaseArg, FeedArgs, OutputArgs, QuantizeArg, SamplingArgs};

/// Let the base model and an adapter answer the same, side by side
///
/// All get the same prompt, the same settings and the same seed; --feed adds the base model with examples of a folder
/// before the prompt. One answer each is a taste and no measurement: what an adapter has learnt on the whole, and whether
/// feeding or training is needed, is said by score.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = example!(
    "What the notes have changed", "hotplate compare -a notes \"Write a short note about a bakery.\"";
    "Is training needed, or are examples before the prompt enough?", "hotplate compare -a notes --feed notes/ \"A rainy day\"";
    "Several prompts, the likeliest token each time", "hotplate compare -a notes --temperature 0 \"A rainy day\" \"A tea house\""
))]
pub struct CompareArgs {
    /// What to write about; each argument is a prompt of its own, so put it in quotation marks
    #[arg(required = true, value_name = "PROMPT")]
    pub prompts: Vec<String>,
    #[command(flatten)]
    pub adapter: AdapterArg,
    #[command(flatten)]
    pub base: BaseArg,
    #[command(flatten)]
    pub quantize: QuantizeArg,
    /// Continue the prompts as they are, without the base model's chat template
    #[arg(long)]
    pub raw: bool,
    #[command(flatten)]
    pub feed: FeedArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    // Last, because its heading holds for everything behind it.
    #[command(flatten)]
    pub sampling: SamplingArgs,
}
