//! What each command does, for every front end: from arguments to requests, from replies to [`Shown`].
//!
//! Owns the order of requests. Knows neither colours nor cells.

mod adapter_files;
mod compare;
mod context;
mod logs;
mod pull;
mod removal;
mod run;
mod runs;
mod score;
mod stop;
mod use_base;
mod variants;
mod weigh;

use std::io;
use std::path::{Path, PathBuf};

use hotplate_home::hub::HubError;
use hotplate_protocol::ErrorCode;
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
use crate::chosen_base::{BASE_VARIABLE, ChoiceError, ChosenBase, ChosenBy};
use crate::command::{CheckArgs, Command, GenerateArgs, RollbackArgs, UnwatchArgs, looks_like_a_path};
use crate::connection::{CallError, Connection};
use crate::shown::Shown;
use context::Context;
pub use logs::logs;
pub use pull::pull;
pub use removal::question;
pub use run::follow;
pub use runs::{attach_to_all, follow_save};
pub use use_base::{show_or_reset, use_base};

/// Why a command did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
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
    #[error("no run is in progress, so there is none to finish; hotplate adapters lists what runs have made")]
    NothingToFinish,
    #[error(
        "name what is compared with the base: -a NAME (hotplate adapters lists them), --feed FOLDER, or both"
    )]
    NothingToCompare,
    #[error("--merged goes with --to gguf; a whole model as a folder is --to merged")]
    NothingToMerge,
    #[error(transparent)]
    Choice(#[from] ChoiceError),
    /// The base that was chosen for all commands, and not the one that this command named.
    #[error("{error} ({})", chosen_hint(chosen))]
    ChosenBase { error: String, chosen: ChosenBase },
    #[error(
        "{name} is an adapter, and it brings its base along: name it with -a; hotplate use takes a base model (a folder, a GGUF file, or ORG/NAME)"
    )]
    NotABase { name: String },
    #[error("version {named} and version {version} are two; name one")]
    TwoVersions { named: u32, version: u32 },
    /// Everything that was found has been shown.
    #[error("with this recipe nothing is trained: {file}:{line}")]
    BadRecipe { file: String, line: usize },
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

impl From<CallError> for CommandError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Cancelled => CommandError::Cancelled,
            error => CommandError::Call(error),
        }
    }
}

/// Does what `command` asks for. Relative paths start at `folder`. `show` is called in order, as things happen.
///
/// When `canceller` is thrown, a run that this command started is cancelled (or goes on, see [`Thrown`](crate::Thrown)), text that is being written ends, and
/// the result is [`CommandError::Cancelled`]; commands that only look on (`logs -f`, `watch --follow`) end well.
pub fn run_command(
    connection: &Connection,
    command: &Command,
    folder: &Path,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    let context = Context::new(connection, folder, canceller)?;
    let outcome = perform_in(&context, command, show);
    match (outcome, context.chosen) {
        // Whoever named no base is told where it came from.
        (Err(CommandError::Call(CallError::Refused(error))), Some(chosen))
            if error.code == ErrorCode::UnusableBase && error.message.contains(&chosen.base) =>
        {
            Err(CommandError::ChosenBase { error: error.message, chosen })
        }
        (outcome, _) => outcome,
    }
}

fn chosen_hint(chosen: &ChosenBase) -> String {
    match chosen.by {
        ChosenBy::Environment => format!("{BASE_VARIABLE} names it"),
        ChosenBy::Command => {
            "it was chosen with hotplate use; choose another one, or the toy again: hotplate use --toy"
                .to_owned()
        }
    }
}

fn perform_in(
    context: &Context<'_>,
    command: &Command,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    let &Context { connection, canceller, .. } = context;
    match command {
        Command::Check(args) => check(context, args, show),
        Command::Train(args) => run::train(context, args, show),
        Command::Generate(args) => generate(context, args, show),
        Command::Compare(args) => compare::compare(context, args, show),
        Command::Score(args) if args.feed => weigh::weigh(context, args, show),
        Command::Score(args) => score::score(context, args, show),
        Command::Watch(args) => run::watch(context, args, show),
        Command::Unwatch(args) => unwatch(context, args, show),
        Command::Attach(args) => runs::attach(connection, args, canceller, show),
        Command::Finish(args) => runs::finish(connection, args, canceller, show),
        Command::Cancel(args) => runs::cancel(connection, args, canceller, show),
        Command::Rollback(args) => rollback(connection, args, canceller, show),
        Command::Rename(args) => removal::rename(connection, args, canceller, show),
        Command::Delete(args) => removal::delete(connection, args, canceller, show),
        Command::Prune(args) => removal::prune(connection, args, canceller, show),
        Command::Pull(args) => pull(args, canceller, show),
        Command::Export(args) => adapter_files::export(context, args, show),
        Command::Import(args) => adapter_files::import(context, args, show),
        Command::Verify(args) => adapter_files::verify(context, args, show),
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

/// The name of the finding that keeps a folder from being trained at all.
const BAD_RECIPE: &str = "bad-recipe";

fn check(context: &Context<'_>, args: &CheckArgs, show: &mut dyn FnMut(Shown)) -> Result<(), CommandError> {
    let params = CheckParams {
        list: args.examples,
        folder: context.path(&args.folder),
        base: context.base(&args.base),
        fallback_base: context.fallback(),
    };
    let checked = context.connection.call_with::<Check>(&params, context.canceller, &mut |_| {})?;
    let is_toy = context.is_toy_by_settings(&checked.settings);
    let mistake = checked.findings.iter().find(|finding| finding.name == BAD_RECIPE).map(|finding| {
        CommandError::BadRecipe { file: finding.file.display().to_string(), line: finding.lines.0 }
    });
    show(Shown::Checked(checked));
    if is_toy {
        show(Shown::ToyByDefault);
    }
    mistake.map_or(Ok(()), Err)
}

fn generate(
    context: &Context<'_>,
    args: &GenerateArgs,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    let &Context { connection, canceller, .. } = context;
    let params = GenerateParams {
        prompt: args.prompt_text(),
        adapter: context.named_adapter(&args.adapter)?,
        base: context.base(&args.base),
        fallback_base: context.fallback(),
        quantize: args.quantize.quantize,
        base_alone: false,
        raw: args.raw,
        feed: args.feed.to_feed(context.folder),
        sampling: args.sampling.to_sampling(),
    };
    let base = if args.n > 1 {
        variants::variants(connection, &params, args.n, canceller, show)?
    } else {
        let result = connection.call_with::<Generate>(&params, canceller, &mut |notification| {
            // What cannot be read is not lost: the result holds all of the text.
            if let Some(Ok(delta)) = notification.parse::<GenerateDelta>() {
                show(Shown::Delta(delta.text));
            }
        })?;
        let base = result.base.clone();
        show(Shown::Generated(result));
        base
    };
    if context.is_toy_by_default(&args.base, params.adapter.as_deref(), &base) {
        show(Shown::ToyByDefault);
    }
    Ok(())
}

/// The folder, or the adapter that it is watched for: `watch` names both.
fn unwatch(
    context: &Context<'_>,
    args: &UnwatchArgs,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    let params = UnwatchParams {
        folder: context.path(&args.folder),
        adapter: args.folder.to_str().filter(|name| !looks_like_a_path(name)).map(str::to_owned),
    };
    let unwatched = context.connection.call_with::<Unwatch>(&params, context.canceller, &mut |_| {})?;
    show(Shown::Unwatched(unwatched));
    Ok(())
}

fn rollback(
    connection: &Connection,
    args: &RollbackArgs,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    let params = RollbackParams { adapter: args.adapter.clone(), to: args.to };
    show(Shown::RolledBack(connection.call_with::<Rollback>(&params, canceller, &mut |_| {})?));
    Ok(())
}
