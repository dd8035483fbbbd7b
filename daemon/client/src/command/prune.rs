//! `prune [ADAPTER]`

use clap::Args;

use super::OutputArgs;
use super::example::example;

/// Delete the versions that nobody needs any more
///
/// Of each adapter there stay the newest versions, the one that answers with its golden answers, the one that did best on the same
/// held-out texts, the one that it was built on, and the full run at the root of both; of others in its lineage the files go and the record stays. Versions that saves make of a
/// watched folder are pruned like this by themselves, when there are more than ten (HOTPLATE_KEEP_VERSIONS sets another number).
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = example!(
    "What would go", "hotplate prune --keep 3 --dry-run";
    "Of one adapter, without asking", "hotplate prune notes --keep 3 --yes"
))]
pub struct PruneArgs {
    /// The adapter's name [default: all]
    pub adapter: Option<String>,
    /// The newest versions that stay [default: 10]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub keep: Option<usize>,
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}
