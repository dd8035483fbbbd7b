//! `status`

use clap::Args;

use super::OutputArgs;
use super::example::example;

/// Show what the daemon is doing: base models in memory, runs, watched folders
///
/// Starts no daemon if none is running.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = example!("For a script or a status bar", "hotplate status --json"))]
pub struct StatusArgs {
    #[command(flatten)]
    pub output: OutputArgs,
}
