//! `attach`, `finish` and `cancel`: runs that somebody else began, or this person earlier.

use std::time::{Duration, Instant};

use hotplate_protocol::methods::Nothing;
use hotplate_protocol::methods::adapters::{Adapters, VersionInfo};
use hotplate_protocol::methods::run_attach::{AttachParams, AttachRun};
use hotplate_protocol::methods::run_cancel::{CancelRun, CancelRunParams};
use hotplate_protocol::methods::run_finish::{FinishRun, FinishRunParams};
use hotplate_protocol::methods::status::{RunState, Status};
use hotplate_protocol::notifications::RunEventParams;
use hotplate_protocol::run::{RunEvent, RunId};

use super::CommandError;
use super::run::{follow, next_event, run_event};
use crate::canceller::Canceller;
use crate::command::{AttachArgs, CancelArgs, FinishArgs, RunName};
use crate::connection::{CallError, Connection};
use crate::shown::Shown;

/// Throwing the canceller ends the showing; the run goes on.
pub(super) fn attach(
    connection: &Connection,
    args: &AttachArgs,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    // The run that made a certain version is over.
    let in_progress = match args.run.as_ref().and_then(version_of) {
        Some(_) => None,
        None => in_progress(connection, args.run.as_ref(), canceller)?,
    };
    let run = match in_progress {
        Some(run) => run,
        None => newest(connection, args.run.as_ref(), canceller)?.ok_or(CommandError::NoRun)?,
    };
    connection.call_with::<AttachRun>(&AttachParams { run: Some(run) }, canceller, &mut |_| {})?;
    loop {
        let event = match next_event(connection, canceller) {
            Ok(params) if params.run == run => params.event,
            Ok(_) => continue,
            Err(CallError::Cancelled) => return Err(CommandError::RunGoesOn { run }),
            Err(error) => return Err(error.into()),
        };
        let last = event.is_last();
        let failure = match &event {
            RunEvent::Failed { error } => Some(CommandError::RunFailed { run, error: error.clone() }),
            _ => None,
        };
        show(Shown::Run { run, event });
        if last {
            return failure.map_or(Ok(()), Err);
        }
    }
}

/// Asks for the run's end, and shows what comes of it.
pub(super) fn finish(
    connection: &Connection,
    args: &FinishArgs,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    let run = in_progress(connection, args.run.as_ref(), canceller)?.ok_or(CommandError::NothingToFinish)?;
    connection.call_with::<FinishRun>(&FinishRunParams { run }, canceller, &mut |_| {})?;
    let attach = AttachArgs { run: Some(RunName::Number(run)), output: args.output.clone() };
    self::attach(connection, &attach, canceller, show)
}

pub(super) fn cancel(
    connection: &Connection,
    args: &CancelArgs,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    let run = in_progress(connection, args.run.as_ref(), canceller)?.ok_or(CommandError::NoRun)?;
    connection.call_with::<CancelRun>(&CancelRunParams { run }, canceller, &mut |_| {})?;
    show(Shown::RunCancelled { run });
    Ok(())
}

/// Has this session hear of every run from now on.
pub fn attach_to_all(connection: &Connection) -> Result<(), CallError> {
    connection.call::<AttachRun>(&AttachParams { run: None }).map(|_| ())
}

/// How long a save may take until its run begins: settling, reading, another run in front of it.
const SAVE_PATIENCE: Duration = Duration::from_secs(15);
/// How often the canceller is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Shows the run of `adapter` that a save is about to begin, to its end. The session must hear of every run
/// ([`attach_to_all`], before the save). False: none began.
pub fn follow_save(
    connection: &Connection,
    adapter: &str,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<bool, CommandError> {
    let deadline = Instant::now() + SAVE_PATIENCE;
    let mut candidate = None;
    while Instant::now() < deadline {
        if canceller.is_cancelled() {
            return Err(CommandError::Cancelled);
        }
        let event = match connection.next_notification_within(LOOK_EVERY) {
            Ok(notification) => run_event(&notification),
            // Nothing has come yet.
            Err(CallError::Cancelled) => None,
            Err(error) => return Err(error.into()),
        };
        let Some(RunEventParams { run, event }) = event else { continue };
        match &event {
            RunEvent::Queued { .. } => {
                candidate.get_or_insert(run);
            }
            RunEvent::Started { plan, .. } if plan.adapter == adapter => {
                show(Shown::Run { run, event });
                return follow(connection, run, canceller, show).map(|()| true);
            }
            // Another adapter's.
            RunEvent::Started { .. } => candidate = candidate.filter(|candidate| *candidate != run),
            // A run may end before it begins: all that is new is held out to judge by.
            RunEvent::Note { .. } | RunEvent::Cancelled if candidate == Some(run) => {
                let last = event.is_last();
                show(Shown::Run { run, event });
                if last {
                    return Ok(true);
                }
            }
            _ => {}
        }
    }
    Ok(false)
}

/// The run that is meant. A number is taken as it is: the daemon knows whether there is such a run.
fn in_progress(
    connection: &Connection,
    wanted: Option<&RunName>,
    canceller: &Canceller,
) -> Result<Option<RunId>, CommandError> {
    if let Some(RunName::Number(run)) = wanted {
        return Ok(Some(*run));
    }
    let runs = connection.call_with::<Status>(&Nothing {}, canceller, &mut |_| {})?.runs;
    let meant = |adapter: &str| match wanted {
        Some(RunName::Adapter(name)) => without_version(name) == adapter,
        _ => true,
    };
    let mut candidates = runs.iter().filter(|run| meant(&run.adapter));
    let running = candidates.clone().find(|run| run.state == RunState::Running);
    Ok(running.or_else(|| candidates.next()).map(|run| run.run))
}

/// The last run that made a version: what somebody means who comes back when it is over.
fn newest(
    connection: &Connection,
    wanted: Option<&RunName>,
    canceller: &Canceller,
) -> Result<Option<RunId>, CommandError> {
    let adapters = connection.call_with::<Adapters>(&Nothing {}, canceller, &mut |_| {})?;
    let meant = adapters.iter().filter(|adapter| match wanted {
        Some(RunName::Adapter(name)) => without_version(name) == adapter.name,
        _ => true,
    });
    let of_version = |version: &&VersionInfo| match wanted.and_then(version_of) {
        Some(wanted) => version.version == wanted,
        None => true,
    };
    let versions = meant.flat_map(|adapter| &adapter.versions).filter(of_version);
    Ok(versions.filter(|version| !version.is_imported()).map(|version| version.run).max())
}

/// `notes` of `notes@2`.
fn without_version(name: &str) -> &str {
    name.rsplit_once('@').map_or(name, |(name, _)| name)
}

/// 2 of `notes@2`.
fn version_of(wanted: &RunName) -> Option<u32> {
    let RunName::Adapter(name) = wanted else { return None };
    name.rsplit_once('@')?.1.trim_start_matches('v').parse().ok()
}
