//! `logs`

use clap::Args;

use super::OutputArgs;
use super::example::example;

/// Show the end of the daemon's log
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = example!("The last 20 lines, then each new one", "hotplate logs -n 20 -f"))]
pub struct LogsArgs {
    /// How many lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    pub lines: usize,
    /// Stay and show new lines until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}
