//! The command grammar, which the shell and the notebook share: one file per command.
//!
//! Owns words, options, their ranges and their help. What a command does is in [`run_command`](crate::run_command()).

mod adapters;
mod attach;
mod cancel;
mod check;
mod compare;
mod completion;
mod delete;
mod elsewhere;
mod example;
mod export;
mod feed;
mod finish;
mod generate;
mod import;
mod knobs;
mod logs;
mod models;
mod numbers;
mod output;
mod parse;
mod place;
mod prune;
mod pull;
mod rename;
mod rollback;
mod run_name;
mod sampling;
mod score;
mod status;
mod stop;
mod train;
mod unwatch;
mod use_base;
mod verify;
mod watch;

use clap::Subcommand;

pub use adapters::AdaptersArgs;
pub use attach::AttachArgs;
pub use cancel::CancelArgs;
pub use check::CheckArgs;
pub use compare::CompareArgs;
pub use completion::{Completions, complete, complete_as};
pub use delete::DeleteArgs;
pub use elsewhere::lead_on;
pub use export::{ExportArgs, ExportTo};
pub use feed::FeedArgs;
pub use finish::FinishArgs;
pub use generate::GenerateArgs;
pub use import::ImportArgs;
pub use knobs::{KnobArgs, QuantizeArg};
pub use logs::LogsArgs;
pub use models::ModelsArgs;
pub use output::OutputArgs;
pub use parse::{GrammarError, parse_line, parse_line_as, parse_words, parse_words_as};
pub(crate) use place::looks_like_a_path;
pub use place::{AdapterArg, BaseArg, adapter_or_folder, base_or_folder, folder_in};
pub use prune::PruneArgs;
pub use pull::PullArgs;
pub use rename::RenameArgs;
pub use rollback::RollbackArgs;
pub use run_name::RunName;
pub use sampling::SamplingArgs;
pub use score::ScoreArgs;
pub use status::StatusArgs;
pub use stop::StopArgs;
pub use train::TrainArgs;
pub use unwatch::UnwatchArgs;
pub use use_base::UseArgs;
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
    Finish(FinishArgs),
    Cancel(CancelArgs),
    Adapters(AdaptersArgs),
    Rollback(RollbackArgs),
    Rename(RenameArgs),
    Delete(DeleteArgs),
    Prune(PruneArgs),
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
        self.output().json
    }

    /// Whether only the result is wanted.
    pub fn quiet(&self) -> bool {
        self.output().quiet
    }

    fn output(&self) -> &OutputArgs {
        match self {
            Command::Check(args) => &args.output,
            Command::Train(args) => &args.output,
            Command::Generate(args) => &args.output,
            Command::Compare(args) => &args.output,
            Command::Score(args) => &args.output,
            Command::Watch(args) => &args.output,
            Command::Unwatch(args) => &args.output,
            Command::Attach(args) => &args.output,
            Command::Finish(args) => &args.output,
            Command::Cancel(args) => &args.output,
            Command::Adapters(args) => &args.output,
            Command::Rollback(args) => &args.output,
            Command::Rename(args) => &args.output,
            Command::Delete(args) => &args.output,
            Command::Prune(args) => &args.output,
            Command::Export(args) => &args.output,
            Command::Import(args) => &args.output,
            Command::Verify(args) => &args.output,
            Command::Models(args) => &args.output,
            Command::Pull(args) => &args.output,
            Command::Status(args) => &args.output,
            Command::Logs(args) => &args.output,
            Command::Stop(args) => &args.output,
        }
    }

    /// Whether it removes what cannot be brought back, and nobody has said yes to that.
    pub fn needs_a_yes(&self) -> bool {
        match self {
            Command::Delete(args) => !args.yes,
            Command::Prune(args) => !args.yes && !args.dry_run,
            _ => false,
        }
    }
}
