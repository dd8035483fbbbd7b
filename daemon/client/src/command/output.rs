//! How a result is given out.

use clap::Args;

#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct OutputArgs {
    /// Print one JSON object per line and nothing else
    #[arg(long)]
    pub json: bool,
    /// Print the result and nothing beside it: no plan, no progress, no remarks
    #[arg(short, long)]
    pub quiet: bool,
}
