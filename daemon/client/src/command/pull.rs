//! `pull ORG/NAME`

use clap::Args;

use super::OutputArgs;
use super::example::example;

/// Fetch a base model from the Hugging Face hub
///
/// Takes what a base needs (config, tokenizer, chat template, safetensors) and nothing else, into the cache that all of the hub's programs
/// share: what transformers has fetched is here already, and the other way round. An interrupted pull goes on where it stopped.
/// HF_HOME, HF_HUB_CACHE, HF_ENDPOINT and HF_TOKEN count as everywhere. Afterwards --base ORG/NAME works without a network.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = example!("Fetch a small base; then train with --base and the same name", "hotplate pull HuggingFaceTB/SmolLM2-135M-Instruct"))]
pub struct PullArgs {
    /// The model's name on the hub
    #[arg(value_name = "ORG/NAME")]
    pub name: String,
    /// A branch, a tag or a commit [default: main]
    #[arg(long, value_name = "REVISION")]
    pub revision: Option<String>,
    #[command(flatten)]
    pub output: OutputArgs,
}
