//! `cancel [RUN]`

use clap::Args;

use super::example::example;
use super::{OutputArgs, RunName};

/// End a run early; it makes no version, and the version before stays in use
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = example!(
    "The run in progress", "hotplate cancel";
    "One that waits", "hotplate cancel 8"
))]
pub struct CancelArgs {
    /// A run's number, or the name of the adapter that is being taught [default: the run in progress]
    pub run: Option<RunName>,
    #[command(flatten)]
    pub output: OutputArgs,
}
