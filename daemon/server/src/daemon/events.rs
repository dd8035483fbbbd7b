//! Everything that can happen to the daemon. The main loop takes these one by one; nothing else changes its state.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use hotplate_protocol::run::RunId;
use hotplate_protocol::{Id, Request, RpcError};
use serde_json::Value;

use super::desk::{Purpose, Saves, Taken};
use super::methods::import::Imported;
use super::methods::rollback::Checked;
use super::removal::Removal;
use super::runs::finish::Draft;
use super::runs::look::Look;
use super::runs::prepare::Preparation;
use super::sessions::{Asker, InFlight, Outbox, Seat, SessionId};
use super::store::WatchRow;
use super::watch::News;
use super::worker::{Command, Report};

pub(crate) enum Event {
    /// A client connected.
    Joined {
        session: SessionId,
        outbox: Arc<Outbox>,
        in_flight: Arc<InFlight>,
        seat: Seat,
        at: Instant,
    },
    Request {
        session: SessionId,
        request: Request,
        arrived: Instant,
    },
    Cancel {
        session: SessionId,
        id: Id,
    },
    /// A connection ended.
    Left {
        session: SessionId,
    },

    /// The desk has done an errand.
    Answered {
        asker: Asker,
        outcome: Result<Value, RpcError>,
    },
    /// The worker can begin.
    TextsRead {
        asker: Asker,
        result: Result<Command, RpcError>,
    },
    OrderTaken {
        asker: Asker,
        purpose: Purpose,
        result: Result<Taken, RpcError>,
    },
    WatchTaken {
        asker: Asker,
        result: Result<(WatchRow, Look), RpcError>,
    },
    Looked {
        watch: WatchRow,
        saves: Option<Saves>,
        result: Result<Look, RpcError>,
    },
    Prepared {
        run: RunId,
        result: Result<Preparation, RpcError>,
    },
    VersionWritten {
        run: RunId,
        draft: Box<Draft>,
        result: Result<PathBuf, RpcError>,
    },

    Imported {
        asker: Asker,
        result: Result<Imported, RpcError>,
    },

    /// A thread that is needed has ended by a fault.
    ThreadDied {
        thread: String,
        why: String,
    },
    /// The files of a version that is to answer again were looked at.
    VersionChecked {
        asker: Asker,
        result: Result<Checked, RpcError>,
    },
    /// Files of versions that went are removed.
    Discarded(Removal),

    Worker(Report),
    Watch(News),
    /// The system asks the daemon to end (SIGTERM, SIGINT, SIGHUP).
    Signal,
}
