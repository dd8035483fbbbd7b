//! `finish [RUN]`

use clap::Args;

use super::example::example;
use super::{OutputArgs, RunName};

/// End a run early and keep the best it has reached so far
///
/// What was learnt since the last look at the held-out examples is judged first; then the best becomes a version, as at any run's end. Ctrl-C ends the
/// showing, not that.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = example!(
    "The run in progress", "hotplate finish";
    "A certain one", "hotplate finish 7"
))]
pub struct FinishArgs {
    /// A run's number, or the name of the adapter that is being taught [default: the run in progress]
    pub run: Option<RunName>,
    #[command(flatten)]
    pub output: OutputArgs,
}
