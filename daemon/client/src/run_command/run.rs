//! `train` and `watch`: starting runs and following them.

use std::path::Path;
use std::time::{Duration, Instant};

use hotplate_protocol::Notification;
use hotplate_protocol::methods::run_attach::{AttachParams, AttachRun};
use hotplate_protocol::methods::run_cancel::{CancelRun, CancelRunParams};
use hotplate_protocol::methods::run_finish::{FinishRun, FinishRunParams};
use hotplate_protocol::methods::train::{PlanTrain, Train, TrainParams};
use hotplate_protocol::methods::watch::Watch;
use hotplate_protocol::notifications::{RunEventNotification, RunEventParams};
use hotplate_protocol::run::{Plan, RunEvent, RunId};

use super::CommandError;
use super::context::Context;
use crate::canceller::{Canceller, Thrown};
use crate::command::{BaseArg, KnobArgs, TrainArgs, WatchArgs, looks_like_a_path};
use crate::connection::{CallError, Connection};
use crate::shown::Shown;

/// How long the last event of a cancelled run is waited for: the trainer stops between two steps.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn train(
    context: &Context<'_>,
    args: &TrainArgs,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    let &Context { connection, canceller, .. } = context;
    let params = train_params(context, &args.folder, args.adapter.as_deref(), &args.base, &args.knobs)?;
    if args.dry_run {
        planned(context, connection.call_with::<PlanTrain>(&params, canceller, &mut |_| {})?, show);
        return Ok(());
    }
    let started = connection.call_with::<Train>(&params, canceller, &mut |_| {})?;
    planned(context, started.plan, show);
    if args.detach {
        show(Shown::Run { run: started.run, event: RunEvent::Queued { position: 0 } });
        return Ok(());
    }
    follow(connection, started.run, canceller, show)
}

fn planned(context: &Context<'_>, plan: Plan, show: &mut dyn FnMut(Shown)) {
    let is_toy = context.is_toy_by_settings(&plan.settings);
    show(Shown::Planned(plan));
    if is_toy {
        show(Shown::ToyByDefault);
    }
}

/// Shows the events of a run that this session started or attached to, until its last. What throwing the canceller means for
/// the run is the canceller's to say.
pub fn follow(
    connection: &Connection,
    run: RunId,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    loop {
        let event = match next_event(connection, canceller) {
            Err(CallError::Cancelled) if canceller.wants_the_best() => {
                canceller.go_on();
                finish(connection, run, show)?;
                continue;
            }
            Err(CallError::Cancelled) => {
                return match canceller.thrown() {
                    Thrown::EndsTheRun => cancel(connection, run, show),
                    Thrown::EndsTheShowing => Err(CommandError::RunGoesOn { run }),
                };
            }
            Err(error) => return Err(error.into()),
            Ok(params) if params.run != run => continue,
            Ok(params) => params.event,
        };
        let failure = match &event {
            RunEvent::Failed { error } => Some(CommandError::RunFailed { run, error: error.clone() }),
            RunEvent::Cancelled => Some(CommandError::Cancelled),
            _ => None,
        };
        let last = event.is_last();
        show(Shown::Run { run, event });
        if last {
            return failure.map_or(Ok(()), Err);
        }
    }
}

/// Asks the daemon to end the run in order. What comes of it is among its next events; where it cannot be done, that is said, and the run goes on.
fn finish(connection: &Connection, run: RunId, show: &mut dyn FnMut(Shown)) -> Result<(), CommandError> {
    match connection.call::<FinishRun>(&FinishRunParams { run }) {
        Ok(_) => Ok(()),
        Err(CallError::Refused(error)) => {
            show(Shown::Run { run, event: RunEvent::Note { text: error.message } });
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Asks the daemon to give up the run and waits for its last event. It may have finished in that instant: then its
/// result is shown all the same.
fn cancel(connection: &Connection, run: RunId, show: &mut dyn FnMut(Shown)) -> Result<(), CommandError> {
    match connection.call::<CancelRun>(&CancelRunParams { run }) {
        // It is over already: its last event is on its way.
        Ok(_) | Err(CallError::Refused(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let deadline = Instant::now() + CANCEL_PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Some(params) = run_event(&connection.next_notification_within(left)?) else { continue };
        if params.run == run && params.event.is_last() {
            let finished = matches!(params.event, RunEvent::Finished { .. });
            show(Shown::Run { run, event: params.event });
            return if finished { Ok(()) } else { Err(CommandError::Cancelled) };
        }
    }
}

pub(super) fn watch(
    context: &Context<'_>,
    args: &WatchArgs,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    let &Context { connection, canceller, .. } = context;
    let params = train_params(context, &args.folder, args.adapter.as_deref(), &args.base, &args.knobs)?;
    if args.follow {
        // Before the watch begins: files saved since the last run are learnt at once.
        connection.call_with::<AttachRun>(&AttachParams { run: None }, canceller, &mut |_| {})?;
    }
    let watching = connection.call_with::<Watch>(&params, canceller, &mut |_| {})?;
    let is_toy = context.is_toy_by_default(&args.base, None, &watching.base);
    show(Shown::Watching(watching));
    if is_toy {
        show(Shown::ToyByDefault);
    }
    if !args.follow {
        return Ok(());
    }
    loop {
        match next_event(connection, canceller) {
            Ok(RunEventParams { run, event }) => show(Shown::Run { run, event }),
            Err(CallError::Cancelled) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The next run event; what else may come is passed over.
pub(super) fn next_event(
    connection: &Connection,
    canceller: &Canceller,
) -> Result<RunEventParams, CallError> {
    loop {
        if let Some(params) = run_event(&connection.next_notification(canceller)?) {
            return Ok(params);
        }
    }
}

/// `None` for other notifications and for events that only a newer protocol knows.
pub(super) fn run_event(notification: &Notification) -> Option<RunEventParams> {
    notification.parse::<RunEventNotification>()?.ok()
}

fn train_params(
    context: &Context<'_>,
    dataset: &Path,
    adapter: Option<&str>,
    base: &BaseArg,
    knobs: &KnobArgs,
) -> Result<TrainParams, CommandError> {
    if let Some(name) = adapter.filter(|name| looks_like_a_path(name)) {
        let plain = Path::new(name).file_name().map(|name| name.to_string_lossy().into_owned());
        let suggestion = plain.unwrap_or_else(|| "my-voice".to_owned());
        return Err(CommandError::NameIsAPath { name: name.to_owned(), suggestion });
    }
    Ok(TrainParams {
        folder: context.path(dataset),
        base: context.base(base),
        fallback_base: context.fallback(),
        adapter: adapter.map(str::to_owned),
        knobs: knobs.to_knobs(),
    })
}
