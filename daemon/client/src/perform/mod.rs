//! What each command does, for every front end: from arguments to requests, from replies to [`Shown`].
//!
//! Owns the order of requests. Knows neither colours nor cells.

mod adapter_files;
mod compare;
mod logs;
mod pull;
mod run;
mod runs;
mod score;
mod stop;
mod variants;
mod weigh;

use std::io;
use std::path::{Path, PathBuf};

use hotplate_protocol::methods::Nothing;
use hotplate_protocol::methods::adapters::Adapters;
use hotplate_protocol::methods::check::{Check, CheckParams};
use hotplate_protocol::methods::generate::{Generate, GenerateParams};
use hotplate_protocol::methods::models::Models;
use hotplate_protocol::methods::rollback::{Rollback, RollbackParams};
use hotplate_protocol::methods::status::Status;
use hotplate_protocol::methods::unwatch::{Unwatch, UnwatchParams};
use hotplate_protocol::notifications::GenerateDelta;
use hotplate_protocol::run::RunId;

use crate::canceller::Canceller;
use crate::command::{
    CheckArgs, Command, GenerateArgs, RollbackArgs, UnwatchArgs, adapter_or_folder, base_or_folder, folder_in,
};
use crate::connection::{CallError, Connection};
use crate::hub::HubError;
use crate::shown::Shown;
pub use logs::logs;
pub use pull::pull;
pub use run::follow;
pub use runs::{attach_to_all, follow_save};

/// Why a command did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum PerformError {
    #[error(transparent)]
    Call(CallError),
    #[error(transparent)]
    Hub(HubError),
    /// The front end's own doing: nothing to complain about.
    #[error("cancelled")]
    Cancelled,
    #[error("{error}")]
    RunFailed { run: RunId, error: String },
    /// The showing was ended, and the run was not.
    #[error(
        "the showing ended, and run {} goes on: hotplate attach {} shows it again, hotplate cancel {} ends it", run.0, run.0, run.0
    )]
    RunGoesOn { run: RunId },
    #[error("no run is in progress; hotplate attach RUN shows one that is over, by its number")]
    NoRun,
    #[error(
        "name what is compared with the base: -a NAME (hotplate adapters lists them), --feed FOLDER, or both"
    )]
    NothingToCompare,
    #[error("--merged goes with --to gguf; a whole model as a folder is --to merged")]
    NothingToMerge,
    #[error("{adapter} no longer answers as it did when it was trained")]
    NotVerified { adapter: String },
    #[error("the adapter's name {name:?} looks like a path; give a plain name, for example: -a {suggestion}")]
    NameIsAPath { name: String, suggestion: String },
    #[error("there is no log yet at {}; the daemon writes it when it is started", log.display())]
    NoLog { log: PathBuf },
    #[error("cannot read the log {}: {source}", log.display())]
    UnreadableLog { log: PathBuf, source: io::Error },
    #[error(
        "the daemon (process {pid}) has not ended within {seconds} s; look at: hotplate logs, or end the process"
    )]
    StillRunning { pid: u32, seconds: u64 },
}

impl From<CallError> for PerformError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Cancelled => PerformError::Cancelled,
            error => PerformError::Call(error),
        }
    }
}

/// Does what `command` asks for. Relative paths start at `folder`. `show` is called in order, as things happen.
///
/// When `canceller` is thrown, a run that this command started is cancelled (or goes on, see [`Thrown`](crate::Thrown)), text that is being written ends, and
/// the result is [`PerformError::Cancelled`]; commands that only look on (`logs -f`, `watch --follow`) end well.
pub fn perform(
    connection: &Connection,
    command: &Command,
    folder: &Path,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), PerformError> {
    match command {
        Command::Check(args) => check(connection, args, folder, canceller, show),
        Command::Train(args) => run::train(connection, args, folder, canceller, show),
        Command::Generate(args) => generate(connection, args, folder, canceller, show),
        Command::Compare(args) => compare::compare(connection, args, folder, canceller, show),
        Command::Score(args) if args.feed => weigh::weigh(connection, args, folder, canceller, show),
        Command::Score(args) => score::score(connection, args, folder, canceller, show),
        Command::Watch(args) => run::watch(connection, args, folder, canceller, show),
        Command::Unwatch(args) => unwatch(connection, args, folder, canceller, show),
        Command::Attach(args) => runs::attach(connection, args, canceller, show),
        Command::Cancel(args) => runs::cancel(connection, args, canceller, show),
        Command::Rollback(args) => rollback(connection, args, canceller, show),
        Command::Pull(args) => pull(args, canceller, show),
        Command::Export(args) => adapter_files::export(connection, args, folder, canceller, show),
        Command::Import(args) => adapter_files::import(connection, args, folder, canceller, show),
        Command::Verify(args) => adapter_files::verify(connection, args, folder, canceller, show),
        Command::Logs(args) => logs(connection.home(), args, canceller, show),
        Command::Stop(args) => stop::stop(connection, args, canceller, show),
        Command::Adapters(_) => {
            let adapters = connection.call_with::<Adapters>(&Nothing {}, canceller, &mut |_| {})?;
            show(Shown::Adapters(adapters));
            Ok(())
        }
        Command::Models(_) => {
            let models = connection.call_with::<Models>(&Nothing {}, canceller, &mut |_| {})?;
            show(Shown::Models(models));
            Ok(())
        }
        Command::Status(_) => {
            let status = connection.call_with::<Status>(&Nothing {}, canceller, &mut |_| {})?;
            show(Shown::Status(status));
            Ok(())
        }
    }
}

fn check(
    connection: &Connection,
    args: &CheckArgs,
    folder: &Path,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), PerformError> {
    let params = CheckParams {
        list: args.examples,
        folder: folder_in(folder, &args.folder),
        base: args.base.base.as_deref().map(|base| base_or_folder(folder, base)),
    };
    show(Shown::Checked(connection.call_with::<Check>(&params, canceller, &mut |_| {})?));
    Ok(())
}

fn generate(
    connection: &Connection,
    args: &GenerateArgs,
    folder: &Path,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), PerformError> {
    let params = GenerateParams {
        prompt: args.prompt_text(),
        adapter: args.adapter.adapter.as_deref().map(|adapter| adapter_or_folder(folder, adapter)),
        base: args.base.base.as_deref().map(|base| base_or_folder(folder, base)),
        quantize: args.quantize.quantize,
        base_alone: false,
        raw: args.raw,
        feed: args.feed.to_feed(folder),
        sampling: args.sampling.to_sampling(),
    };
    if args.n > 1 {
        return variants::variants(connection, &params, args.n, canceller, show);
    }
    let result = connection.call_with::<Generate>(&params, canceller, &mut |notification| {
        // What cannot be read is not lost: the result holds all of the text.
        if let Some(Ok(delta)) = notification.parse::<GenerateDelta>() {
            show(Shown::Delta(delta.text));
        }
    })?;
    show(Shown::Generated(result));
    Ok(())
}

fn unwatch(
    connection: &Connection,
    args: &UnwatchArgs,
    folder: &Path,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), PerformError> {
    let folder = folder_in(folder, &args.folder);
    connection.call_with::<Unwatch>(&UnwatchParams { folder: folder.clone() }, canceller, &mut |_| {})?;
    show(Shown::Unwatched(folder));
    Ok(())
}

fn rollback(
    connection: &Connection,
    args: &RollbackArgs,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), PerformError> {
    let params = RollbackParams { adapter: args.adapter.clone(), to: args.to };
    show(Shown::RolledBack(connection.call_with::<Rollback>(&params, canceller, &mut |_| {})?));
    Ok(())
}
