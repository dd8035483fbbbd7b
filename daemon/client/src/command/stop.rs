//! `stop`

use clap::Args;

use super::OutputArgs;
use super::example::example;

/// End the daemon; a run in progress goes on at its next start
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = example!("Let the runs finish first", "hotplate stop --when-idle"))]
pub struct StopArgs {
    /// Wait for the runs to end; new ones are refused meanwhile
    #[arg(long)]
    pub when_idle: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}
