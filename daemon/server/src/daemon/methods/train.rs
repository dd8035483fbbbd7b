//! `train/start` and `train/plan`: the file pool reads the dataset, then the run is queued or only described.

use std::time::Instant;

use hotplate_protocol::RpcError;
use hotplate_protocol::methods::train::{PlanTrain, Train, TrainParams};

use super::Later;
use crate::daemon::file_pool::{FileJob, OnLeaving, Purpose};
use crate::daemon::sessions::RequestRef;
use crate::daemon::state::{Daemon, Stopping, shutting_down};

impl Later for Train {
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
        daemon.file_jobs.send(FileJob::TakeOrder(asker.clone(), params, Purpose::Train, gone));
        Ok(())
    }
}

impl Later for PlanTrain {
    fn begin(
        daemon: &mut Daemon,
        asker: &RequestRef,
        params: TrainParams,
        _arrived: Instant,
    ) -> Result<(), RpcError> {
        let gone = daemon.reading_for(asker, OnLeaving::Ends);
        daemon.file_jobs.send(FileJob::TakeOrder(asker.clone(), params, Purpose::Plan, gone));
        Ok(())
    }
}
