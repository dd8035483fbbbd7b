//! `import FOLDER`

use std::path::PathBuf;

use clap::Args;

use super::example::example;
use super::{BaseArg, OutputArgs};

/// Take an adapter from elsewhere into the store
///
/// Reads folders of PEFT and of mlx-lm, checks them against their base and keeps a copy. From then on the adapter can answer, be
/// trained further (hotplate train FOLDER -a NAME goes on from it), rolled back and exported like one that was made here.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = example!(
    "An adapter that PEFT made", "hotplate import ~/out/checkpoint-120 --name reviews --base ~/models/SmolLM2-135M";
    "One of mlx-lm, by its folder's name", "hotplate import adapters/ --base ~/models/Qwen2.5-0.5B"
))]
pub struct ImportArgs {
    /// The adapter's folder
    pub path: PathBuf,
    /// Its name here; a new version where there is one of this name [default: the folder's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub base: BaseArg,
    #[command(flatten)]
    pub output: OutputArgs,
}
