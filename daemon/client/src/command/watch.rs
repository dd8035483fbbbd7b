//! `watch FOLDER`

use std::path::PathBuf;

use clap::Args;

use super::example::example;
use super::{BaseArg, KnobArgs, OutputArgs};

/// Learn from a folder again whenever a file in it is saved
///
/// The daemon goes on watching after this command has returned, and after a restart. A save is learnt in seconds, on top of
/// what was learnt before; a version that would be worse is not put to use.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = example!(
    "Keep the adapter notes fresh from now on", "hotplate watch notes/";
    "The same, and show what happens at each save", "hotplate watch notes/ --follow"
))]
pub struct WatchArgs {
    /// The folder with your texts
    pub folder: PathBuf,
    /// Name of the adapter to make [default: the folder's name]
    #[arg(short, long, value_name = "NAME")]
    pub adapter: Option<String>,
    #[command(flatten)]
    pub base: BaseArg,
    /// Stay and show each run until Ctrl-C (which ends the showing, not the watching)
    #[arg(short, long)]
    pub follow: bool,
    #[command(flatten)]
    pub output: OutputArgs,
    // Last, because its heading holds for everything behind it.
    #[command(flatten)]
    pub knobs: KnobArgs,
}
