//! `use [BASE]`

use clap::Args;

use super::OutputArgs;
use super::example::example;

/// Choose the base model that holds where a command names none
///
/// It holds for every command to come, until another one is chosen. What goes before it: --base, a recipe, the base that an adapter
/// was made for, and HOTPLATE_BASE. Without anything, says what holds.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = example!(
    "A folder in Hugging Face's layout; a GGUF file, or a model that was pulled, does as well", "hotplate use ~/models/SmolLM2-135M-Instruct";
    "What holds now", "hotplate use";
    "The built-in toy again", "hotplate use --toy"
))]
pub struct UseArgs {
    /// A Hugging Face folder, a GGUF file, or ORG/NAME that was pulled
    pub base: Option<String>,
    /// Go back to hotplate-tiny, the built-in toy
    #[arg(long, alias = "none", conflicts_with = "base")]
    pub toy: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}

impl UseArgs {
    /// Whether what was chosen is to be forgotten.
    pub fn resets(&self) -> bool {
        self.toy || self.base.as_deref() == Some("none")
    }
}
