//! `delete ADAPTER`

use clap::Args;

use super::OutputArgs;
use super::example::example;

/// Delete a version of an adapter, or all of it
///
/// The version that answers stays, and so does one that a run trains from; an adapter that is watched or trained is not deleted.
/// Answers in progress are finished. On a terminal it asks first; in a notebook, or to be sure in a script, --yes is the answer.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = example!(
    "One version", "hotplate delete notes@2";
    "All versions, and what is known of what they learnt", "hotplate delete notes --yes"
))]
pub struct DeleteArgs {
    /// The adapter: a name, or name@3 for its third version only
    pub adapter: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}
