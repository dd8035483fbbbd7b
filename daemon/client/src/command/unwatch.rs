//! `unwatch FOLDER`, or the adapter that it is watched for

use std::path::PathBuf;

use clap::Args;

use super::OutputArgs;
use super::example::example;

/// Stop learning from a folder by itself; its adapter stays
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = example!(
    "Saves in notes/ are no longer learnt", "hotplate unwatch notes/";
    "The same, from anywhere, by the adapter's name", "hotplate unwatch notes"
))]
pub struct UnwatchArgs {
    /// The watched folder, or the adapter that it is watched for
    pub folder: PathBuf,
    #[command(flatten)]
    pub output: OutputArgs,
}
