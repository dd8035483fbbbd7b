//! `adapter/verify`: chooses adapter and base; the worker lets the adapter answer.

use std::time::Instant;

use hotplate_protocol::RpcError;
use hotplate_protocol::methods::verify::{Verify, VerifyParams};

use super::Later;
use crate::daemon::pick::pick_adapter;
use crate::daemon::runs::place::real_folder;
use crate::daemon::sessions::Asker;
use crate::daemon::state::Daemon;
use crate::daemon::worker::{Command, VerifyJob};

impl Later for Verify {
    fn begin(
        daemon: &mut Daemon,
        asker: &Asker,
        params: VerifyParams,
        _arrived: Instant,
    ) -> Result<(), RpcError> {
        let (base, pick) =
            pick_adapter(&daemon.store, &daemon.desk, params.base.as_deref(), &params.adapter)?;
        let merged = params.merged.as_deref().map(real_folder).transpose()?;
        daemon.generating.insert(asker.clone());
        daemon.worker.send(Command::Verify(Box::new(VerifyJob { asker: asker.clone(), base, pick, merged })));
        Ok(())
    }
}
