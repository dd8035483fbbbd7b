//! `export ADAPTER`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use hotplate_protocol::methods::export::ExportForm;

use super::example::example;
use super::{BaseArg, OutputArgs};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportTo {
    /// A folder as the PEFT library writes it
    Peft,
    /// A whole model in Hugging Face's layout, the adapter folded into its base
    Merged,
    /// A GGUF file for llama.cpp, to be used beside its base; with --merged a whole model
    Gguf,
    /// A folder with a whole model as a GGUF file and a Modelfile, for `ollama create`
    Ollama,
}

impl ExportArgs {
    /// Nothing where --merged stands beside a form that has no such part.
    pub fn form(&self) -> Option<ExportForm> {
        Some(match (self.to, self.merged) {
            (ExportTo::Peft, false) => ExportForm::Peft,
            (ExportTo::Peft, true) => return None,
            (ExportTo::Merged, _) => ExportForm::Merged,
            (ExportTo::Gguf, false) => ExportForm::Gguf,
            (ExportTo::Gguf, true) => ExportForm::GgufMerged,
            (ExportTo::Ollama, _) => ExportForm::Ollama,
        })
    }
}

/// Write an adapter for other programs
///
/// It appears when it is whole, and replaces nothing. With --force an earlier export moves aside (notes.earlier-1).
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = example!(
    "For PEFT, vLLM and the like", "hotplate export notes --to peft --out notes-adapter/";
    "A whole model for transformers", "hotplate export notes --to merged --out notes-model/";
    "For llama.cpp beside its base, an older version", "hotplate export notes --version 2 --to gguf --out notes.gguf";
    "A whole model for llama.cpp or LM Studio", "hotplate export notes --to gguf --merged --out notes-model.gguf";
    "For Ollama", "hotplate export notes --to ollama --out notes-ollama/"
))]
pub struct ExportArgs {
    /// The adapter: a name (name@3 for its third version), or a PEFT or mlx-lm folder
    pub adapter: String,
    /// The version to write [default: the one that answers]
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(1..))]
    pub version: Option<u32>,
    /// The form
    #[arg(long, value_enum, default_value = "peft")]
    pub to: ExportTo,
    /// With --to gguf: a whole model, the adapter folded into its base
    #[arg(long)]
    pub merged: bool,
    /// The folder (for gguf: the file) to write
    #[arg(short, long, value_name = "PATH")]
    pub out: PathBuf,
    /// Move an earlier export that lies there aside
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub base: BaseArg,
    #[command(flatten)]
    pub output: OutputArgs,
}
