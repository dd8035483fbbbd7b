//! The command grammar, which the shell and the notebook share: one file per command.
//!
//! Owns words, options, their ranges and their help. What a command does is in [`perform`](crate::perform()).

mod adapters;
mod attach;
mod cancel;
mod check;
mod compare;
mod completion;
mod example;
mod export;
mod feed;
mod generate;
mod import;
mod knobs;
mod logs;
mod models;
mod numbers;
mod output;
mod parse;
mod place;
mod pull;
mod rollback;
mod run_name;
mod sampling;
mod score;
mod status;
mod stop;
mod train;
mod unwatch;
mod verify;
mod watch;

use clap::Subcommand;

pub use adapters::AdaptersArgs;
pub use attach::AttachArgs;
pub use cancel::CancelArgs;
pub use check::CheckArgs;
pub use compare::CompareArgs;
pub use completion::{Completions, complete, complete_as};
pub use export::{ExportArgs, ExportTo};
pub use feed::FeedArgs;
pub use generate::GenerateArgs;
pub use import::ImportArgs;
pub use knobs::{KnobArgs, QuantizeArg};
pub use logs::LogsArgs;
pub use models::ModelsArgs;
pub use output::OutputArgs;
pub use parse::{GrammarError, parse_line, parse_line_as, parse_words, parse_words_as};
pub(crate) use place::looks_like_a_path;
pub use place::{AdapterArg, BaseArg, adapter_or_folder, base_or_folder, folder_in, is_gguf_file};
pub use pull::PullArgs;
pub use rollback::RollbackArgs;
pub use run_name::RunName;
pub use sampling::SamplingArgs;
pub use score::ScoreArgs;
pub use status::StatusArgs;
pub use stop::StopArgs;
pub use train::TrainArgs;
pub use unwatch::UnwatchArgs;
pub use verify::VerifyArgs;
pub use watch::WatchArgs;

/// What a person can ask for, in the order of a first tour.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Command {
    Check(CheckArgs),
    Train(TrainArgs),
    Generate(GenerateArgs),
    Compare(CompareArgs),
    Score(ScoreArgs),
    Watch(WatchArgs),
    Unwatch(UnwatchArgs),
    Attach(AttachArgs),
    Cancel(CancelArgs),
    Adapters(AdaptersArgs),
    Rollback(RollbackArgs),
    Export(ExportArgs),
    Import(ImportArgs),
    Verify(VerifyArgs),
    Models(ModelsArgs),
    Pull(PullArgs),
    Status(StatusArgs),
    Logs(LogsArgs),
    Stop(StopArgs),
}

impl Command {
    /// Whether the result is wanted as JSON.
    pub fn json(&self) -> bool {
        match self {
            Command::Check(args) => args.output.json,
            Command::Train(args) => args.output.json,
            Command::Generate(args) => args.output.json,
            Command::Compare(args) => args.output.json,
            Command::Score(args) => args.output.json,
            Command::Watch(args) => args.output.json,
            Command::Unwatch(args) => args.output.json,
            Command::Attach(args) => args.output.json,
            Command::Cancel(args) => args.output.json,
            Command::Adapters(args) => args.output.json,
            Command::Rollback(args) => args.output.json,
            Command::Export(args) => args.output.json,
            Command::Import(args) => args.output.json,
            Command::Verify(args) => args.output.json,
            Command::Models(args) => args.output.json,
            Command::Pull(args) => args.output.json,
            Command::Status(args) => args.output.json,
            Command::Logs(args) => args.output.json,
            Command::Stop(args) => args.output.json,
        }
    }
}
