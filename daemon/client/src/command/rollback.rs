//! `rollback ADAPTER`

use clap::Args;

use super::OutputArgs;
use super::example::example;

/// Let an older version of an adapter answer again
///
/// Nothing is deleted: the newer versions stay, and --to brings them back.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = example!(
    "The version before the current one", "hotplate rollback notes";
    "A certain one", "hotplate rollback notes --to 3"
))]
pub struct RollbackArgs {
    /// The adapter's name
    pub adapter: String,
    /// The version that shall answer [default: the one before the current one]
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(1..))]
    pub to: Option<u32>,
    #[command(flatten)]
    pub output: OutputArgs,
}
