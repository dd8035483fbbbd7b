//! `verify ADAPTER`

use std::path::PathBuf;

use clap::Args;

use super::example::example;
use super::{BaseArg, OutputArgs};

/// See whether an adapter still answers as it did when it was trained
///
/// Each version keeps a few golden prompts with the answers that it gave when it was new. This reads the adapter from the disk again and
/// compares. Ends with an error if anything differs, and says what: base, chat template, end tokens, or the factors themselves.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = example!(
    "After an update", "hotplate verify notes";
    "What was exported", "hotplate verify ./notes-adapter";
    "A merged model against its adapter", "hotplate verify notes --merged notes-model/"
))]
pub struct VerifyArgs {
    /// The adapter: a name (name@3 for its third version), or an adapter's folder
    pub adapter: String,
    /// Ask this merged model instead of base and adapter
    #[arg(long, value_name = "FOLDER")]
    pub merged: Option<PathBuf>,
    #[command(flatten)]
    pub base: BaseArg,
    #[command(flatten)]
    pub output: OutputArgs,
}
