//! `adapters`

use clap::Args;

use super::OutputArgs;
use super::example::example;

/// List the adapters and their versions
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = example!("Where each adapter's PEFT folder is", "hotplate adapters --json"))]
pub struct AdaptersArgs {
    #[command(flatten)]
    pub output: OutputArgs,
}
