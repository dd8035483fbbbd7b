//! `dataset/watch`: the file pool looks at the folder first; what can be said at once is said to the client.

use std::time::Instant;

use hotplate_protocol::RpcError;
use hotplate_protocol::methods::train::TrainParams;
use hotplate_protocol::methods::watch::Watch;

use super::Later;
use crate::daemon::file_pool::{FileJob, OnLeaving};
use crate::daemon::sessions::RequestRef;
use crate::daemon::state::{Daemon, Stopping, shutting_down};

impl Later for Watch {
    fn begin(
        daemon: &mut Daemon,
        asker: &RequestRef,
        params: TrainParams,
        _arrived: Instant,
    ) -> Result<(), RpcError> {
        if daemon.stopping != Stopping::No {
            return Err(shutting_down());
        }
        let gone = daemon.reading_for(asker, OnLeaving::GoesOn);
        daemon.file_jobs.send(FileJob::TakeWatch(asker.clone(), params, gone));
        Ok(())
    }
}
