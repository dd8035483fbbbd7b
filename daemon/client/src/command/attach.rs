//! `attach [RUN]`

use clap::Args;

use super::example::example;
use super::{OutputArgs, RunName};

/// Show a run again, from its beginning: the whole curve, then what happens
///
/// A run belongs to the daemon, so it goes on when a terminal or a notebook is closed. Ctrl-C ends the showing, not the run.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = example!(
    "The run in progress; where there is none, the last one that made a version", "hotplate attach";
    "A certain one, also when it is over: by its number, or by the version that it made", "hotplate attach notes@2"
))]
pub struct AttachArgs {
    /// A run's number, the name of the adapter that is being taught, or a version that a run made [default: the run in progress]
    pub run: Option<RunName>,
    #[command(flatten)]
    pub output: OutputArgs,
}
