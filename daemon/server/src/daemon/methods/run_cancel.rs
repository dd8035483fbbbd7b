//! `run/cancel`: a run ends early and makes no version.

use hotplate_protocol::methods::Nothing;
use hotplate_protocol::methods::run_cancel::{CancelRun, CancelRunParams};
use hotplate_protocol::run::RunId;
use hotplate_protocol::{ErrorCode, RpcError};

use super::AtOnce;
use crate::daemon::sessions::RequestRef;
use crate::daemon::state::Daemon;

impl AtOnce for CancelRun {
    fn answer(
        daemon: &mut Daemon,
        _asker: &RequestRef,
        params: CancelRunParams,
    ) -> Result<Nothing, RpcError> {
        if daemon.cancel_run(params.run) {
            return Ok(Nothing {});
        }
        match daemon.past(params.run)? {
            // It has ended already: what was wanted is so.
            Some(_) => Ok(Nothing {}),
            None => Err(no_such_run(params.run)),
        }
    }
}

pub(super) fn no_such_run(run: RunId) -> RpcError {
    RpcError::new(
        ErrorCode::NotFound,
        format!("there is no run {}; hotplate status lists those in progress", run.0),
    )
}
