//! How a result is given out.

use clap::Args;

#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct OutputArgs {
    /// Print one JSON object per line and nothing else
    #[arg(long)]
    pub json: bool,
}
