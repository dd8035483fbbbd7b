//! `run/finish`: a run ends early and keeps its best.

use hotplate_protocol::RpcError;
use hotplate_protocol::methods::Nothing;
use hotplate_protocol::methods::run_finish::{FinishRun, FinishRunParams};

use super::AtOnce;
use super::run_cancel::no_such_run;
use crate::daemon::sessions::RequestRef;
use crate::daemon::state::Daemon;

impl AtOnce for FinishRun {
    fn answer(
        daemon: &mut Daemon,
        _asker: &RequestRef,
        params: FinishRunParams,
    ) -> Result<Nothing, RpcError> {
        if daemon.finish_run(params.run)? {
            return Ok(Nothing {});
        }
        match daemon.past(params.run)? {
            // It has ended already, with its best.
            Some(_) => Ok(Nothing {}),
            None => Err(no_such_run(params.run)),
        }
    }
}
