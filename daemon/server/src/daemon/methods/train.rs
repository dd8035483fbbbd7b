//! `train/start` and `train/plan`: the desk reads the dataset, then the run is queued or only described.

use std::time::Instant;

use hotplate_protocol::RpcError;
use hotplate_protocol::methods::train::{PlanTrain, Train, TrainParams};

use super::Later;
use crate::daemon::desk::{Errand, OnLeaving, Purpose};
use crate::daemon::sessions::Asker;
use crate::daemon::state::{Daemon, Stopping, shutting_down};

impl Later for Train {
    fn begin(
        daemon: &mut Daemon,
        asker: &Asker,
        params: TrainParams,
        _arrived: Instant,
    ) -> Result<(), RpcError> {
        if daemon.stopping != Stopping::No {
            return Err(shutting_down());
        }
        let gone = daemon.reading_for(asker, OnLeaving::GoesOn);
        daemon.errands.send(Errand::TakeOrder(asker.clone(), params, Purpose::Train, gone));
        Ok(())
    }
}

impl Later for PlanTrain {
    fn begin(
        daemon: &mut Daemon,
        asker: &Asker,
        params: TrainParams,
        _arrived: Instant,
    ) -> Result<(), RpcError> {
        let gone = daemon.reading_for(asker, OnLeaving::Ends);
        daemon.errands.send(Errand::TakeOrder(asker.clone(), params, Purpose::Plan, gone));
        Ok(())
    }
}
