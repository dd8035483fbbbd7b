//! `models`

use clap::Args;

use super::OutputArgs;
use super::example::example;

/// List the base models that the daemon knows
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = example!("Which base models are in memory", "hotplate models"))]
pub struct ModelsArgs {
    #[command(flatten)]
    pub output: OutputArgs,
}
