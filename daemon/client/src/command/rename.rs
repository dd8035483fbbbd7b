//! `rename ADAPTER NAME`

use clap::Args;

use super::OutputArgs;
use super::example::example;

/// Give an adapter another name
///
/// All its versions go along. An adapter that is watched or trained keeps its name until that ends.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = example!("From now on: generate -a diary", "hotplate rename notes diary"))]
pub struct RenameArgs {
    /// The adapter's name
    pub adapter: String,
    /// Its new name
    pub name: String,
    #[command(flatten)]
    pub output: OutputArgs,
}
