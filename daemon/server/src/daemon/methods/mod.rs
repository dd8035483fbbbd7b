//! One file per method. A handler's trait says what it may touch and when it answers.

mod adapters;
mod check;
mod delete;
pub(crate) mod export;
mod generate;
pub(crate) mod import;
mod initialize;
mod look_at_base;
mod models;
mod prune;
mod rename;
pub(crate) mod rollback;
mod run_attach;
mod run_cancel;
mod run_finish;
mod score;
mod status;
mod stop;
mod train;
mod unwatch;
mod verify;
mod watch;

use std::time::Instant;

use hotplate_protocol::methods::adapters::Adapters;
use hotplate_protocol::methods::check::Check;
use hotplate_protocol::methods::delete::Delete;
use hotplate_protocol::methods::export::Export;
use hotplate_protocol::methods::generate::Generate;
use hotplate_protocol::methods::import::Import;
use hotplate_protocol::methods::initialize::Initialize;
use hotplate_protocol::methods::look_at_base::LookAtBase;
use hotplate_protocol::methods::models::Models;
use hotplate_protocol::methods::prune::Prune;
use hotplate_protocol::methods::rename::Rename;
use hotplate_protocol::methods::rollback::Rollback;
use hotplate_protocol::methods::run_attach::AttachRun;
use hotplate_protocol::methods::run_cancel::CancelRun;
use hotplate_protocol::methods::run_finish::FinishRun;
use hotplate_protocol::methods::score::ScoreTexts;
use hotplate_protocol::methods::status::Status;
use hotplate_protocol::methods::stop::Stop;
use hotplate_protocol::methods::train::{PlanTrain, Train};
use hotplate_protocol::methods::unwatch::Unwatch;
use hotplate_protocol::methods::verify::Verify;
use hotplate_protocol::methods::watch::Watch;
use hotplate_protocol::{ErrorCode, Request, RequestKind, RpcError};
use serde::Serialize;
use serde_json::Value;

use super::file_pool::{FileJob, FilePool, Gone, OnLeaving};
use super::sessions::RequestRef;
use super::state::Daemon;
pub(crate) use rollback::known;

/// Answered at once, on the main loop: must not read files of the user's.
pub(crate) trait AtOnce: RequestKind {
    fn answer(
        daemon: &mut Daemon,
        asker: &RequestRef,
        params: Self::Params,
    ) -> Result<Self::Result, RpcError>;
}

/// Answered by the file pool, which reads files and changes nothing of the daemon's. What takes long ends soon after whoever asked is `gone`.
pub(crate) trait AtFiles: RequestKind
where
    Self::Params: Send + 'static,
{
    fn answer(file_pool: &FilePool, params: Self::Params, gone: &Gone) -> Result<Self::Result, RpcError>;
}

/// Begun on the main loop, answered when something else has happened.
pub(crate) trait Later: RequestKind {
    fn begin(
        daemon: &mut Daemon,
        asker: &RequestRef,
        params: Self::Params,
        arrived: Instant,
    ) -> Result<(), RpcError>;
}

pub(crate) enum Answer {
    Now(Result<Value, RpcError>),
    Later,
}

/// Every method that this version knows.
pub(crate) fn dispatch(
    daemon: &mut Daemon,
    asker: &RequestRef,
    request: Request,
    arrived: Instant,
) -> Answer {
    match request.method.as_str() {
        Initialize::METHOD => at_once::<Initialize>(daemon, asker, request),
        Status::METHOD => at_once::<Status>(daemon, asker, request),
        Adapters::METHOD => at_once::<Adapters>(daemon, asker, request),
        Models::METHOD => at_once::<Models>(daemon, asker, request),
        Unwatch::METHOD => at_once::<Unwatch>(daemon, asker, request),
        AttachRun::METHOD => at_once::<AttachRun>(daemon, asker, request),
        CancelRun::METHOD => at_once::<CancelRun>(daemon, asker, request),
        FinishRun::METHOD => at_once::<FinishRun>(daemon, asker, request),
        Check::METHOD => at_desk::<Check>(daemon, asker, request),
        LookAtBase::METHOD => at_desk::<LookAtBase>(daemon, asker, request),
        Export::METHOD => at_desk::<Export>(daemon, asker, request),
        Rollback::METHOD => later::<Rollback>(daemon, asker, request, arrived),
        Delete::METHOD => later::<Delete>(daemon, asker, request, arrived),
        Prune::METHOD => later::<Prune>(daemon, asker, request, arrived),
        Rename::METHOD => at_once::<Rename>(daemon, asker, request),
        Import::METHOD => later::<Import>(daemon, asker, request, arrived),
        Verify::METHOD => later::<Verify>(daemon, asker, request, arrived),
        Generate::METHOD => later::<Generate>(daemon, asker, request, arrived),
        ScoreTexts::METHOD => later::<ScoreTexts>(daemon, asker, request, arrived),
        Train::METHOD => later::<Train>(daemon, asker, request, arrived),
        PlanTrain::METHOD => later::<PlanTrain>(daemon, asker, request, arrived),
        Watch::METHOD => later::<Watch>(daemon, asker, request, arrived),
        Stop::METHOD => later::<Stop>(daemon, asker, request, arrived),
        other => {
            let message =
                format!("this daemon (version {}) knows no method {other:?}", env!("CARGO_PKG_VERSION"));
            Answer::Now(Err(RpcError::new(ErrorCode::MethodNotFound, message)))
        }
    }
}

fn params<R: RequestKind>(request: Request) -> Result<R::Params, RpcError> {
    // A method without params may be called without any. They are taken, not copied: a prompt may be long.
    let given = if request.params.is_null() { Value::Object(serde_json::Map::new()) } else { request.params };
    serde_json::from_value(given).map_err(|error| {
        RpcError::new(
            ErrorCode::InvalidParams,
            format!("the params of {} cannot be used: {error}", R::METHOD),
        )
    })
}

fn at_once<R: AtOnce>(daemon: &mut Daemon, asker: &RequestRef, request: Request) -> Answer {
    let answered = params::<R>(request).and_then(|params| R::answer(daemon, asker, params));
    Answer::Now(answered.and_then(|result| to_value(&result)))
}

fn at_desk<R: AtFiles + 'static>(daemon: &mut Daemon, asker: &RequestRef, request: Request) -> Answer
where
    R::Params: Send + 'static,
{
    match params::<R>(request) {
        Ok(params) => {
            let gone = daemon.reading_for(asker, OnLeaving::Ends);
            let work = move |file_pool: &FilePool| {
                R::answer(file_pool, params, &gone).and_then(|result| to_value(&result))
            };
            daemon.file_jobs.send(FileJob::Answer(asker.clone(), Box::new(work)));
            Answer::Later
        }
        Err(error) => Answer::Now(Err(error)),
    }
}

fn later<R: Later>(daemon: &mut Daemon, asker: &RequestRef, request: Request, arrived: Instant) -> Answer {
    match params::<R>(request).and_then(|params| R::begin(daemon, asker, params, arrived)) {
        Ok(()) => Answer::Later,
        Err(error) => Answer::Now(Err(error)),
    }
}

/// A result on its way to the wire.
pub(crate) fn to_value<T: Serialize>(result: &T) -> Result<Value, RpcError> {
    serde_json::to_value(result)
        .map_err(|error| RpcError::new(ErrorCode::Internal, format!("the result cannot be sent: {error}")))
}
