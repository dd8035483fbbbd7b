//! `daemon/stop`: answered before the daemon leaves.

use std::time::Instant;

use hotplate_protocol::RpcError;
use hotplate_protocol::methods::Nothing;
use hotplate_protocol::methods::stop::{Stop, StopParams, StopWhen};

use super::{Later, to_value};
use crate::daemon::sessions::RequestRef;
use crate::daemon::state::{Daemon, Stopping};

impl Later for Stop {
    fn begin(
        daemon: &mut Daemon,
        asker: &RequestRef,
        params: StopParams,
        _arrived: Instant,
    ) -> Result<(), RpcError> {
        // The reply goes first: stopping answers everything that is still open with an error.
        daemon.reply(asker, to_value(&Nothing {}));
        match params.when {
            StopWhen::Now => daemon.stop_now(),
            StopWhen::Idle if daemon.runs.is_empty() => daemon.stop_now(),
            StopWhen::Idle => daemon.stopping = Stopping::WhenIdle,
        }
        Ok(())
    }
}
