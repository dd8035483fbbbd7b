//! `train FOLDER`

use std::path::PathBuf;

use clap::Args;

use super::example::example;
use super::{BaseArg, KnobArgs, OutputArgs};

/// Teach a base model to write like the texts in a folder
///
/// Makes an adapter: a small set of weights beside the base model, which stays as it is. Part of the examples is held out to
/// judge by, and the best state is kept, not the last. The run belongs to the daemon: --detach leaves it to itself; Ctrl-C asks
/// whether to end it early with the best so far, to cancel it (it then makes no version) or to go on.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = example!(
    "Learn from notes/; the adapter is called notes", "hotplate train notes/";
    "First see how long it will take", "hotplate train notes/ --dry-run";
    "Another name, three times through the data", "hotplate train notes/ -a my-voice --epochs 3"
))]
pub struct TrainArgs {
    /// The folder with your texts
    pub folder: PathBuf,
    /// Name of the adapter to make [default: the folder's name]
    #[arg(short, long, alias = "name", value_name = "NAME")]
    pub adapter: Option<String>,
    #[command(flatten)]
    pub base: BaseArg,
    /// Show the plan (examples, tokens, steps, seconds, memory) and stop there
    #[arg(long)]
    pub dry_run: bool,
    /// Come back as soon as the run is queued; it goes on in the daemon
    #[arg(long, conflicts_with = "dry_run")]
    pub detach: bool,
    #[command(flatten)]
    pub output: OutputArgs,
    // Last, because its heading holds for everything behind it.
    #[command(flatten)]
    pub knobs: KnobArgs,
}
