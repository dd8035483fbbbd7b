//! Everything that can happen to the daemon. The main loop takes these one by one; nothing else changes its state.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use hotplate_protocol::run::RunId;
use hotplate_protocol::{Id, Request, RpcError};
use serde_json::Value;

use super::file_pool::{Purpose, Saves, Taken};
use super::methods::import::Imported;
use super::methods::rollback::Checked;
use super::removal::Removal;
use super::runs::finish::Draft;
use super::runs::look::FolderSnapshot;
use super::runs::prepare::Preparation;
use super::sessions::{InFlight, Outbox, RequestRef, Seat, SessionId};
use super::store::WatchRow;
use super::watch::News;
use super::worker::{WorkerEvent, WorkerJob};

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

    /// The file pool has done a file job.
    Answered {
        asker: RequestRef,
        outcome: Result<Value, RpcError>,
    },
    /// The worker can begin.
    TextsRead {
        asker: RequestRef,
        result: Result<WorkerJob, RpcError>,
    },
    OrderTaken {
        asker: RequestRef,
        purpose: Purpose,
        result: Result<Taken, RpcError>,
    },
    WatchTaken {
        asker: RequestRef,
        result: Result<(WatchRow, FolderSnapshot), RpcError>,
    },
    Looked {
        watch: WatchRow,
        saves: Option<Saves>,
        result: Result<FolderSnapshot, RpcError>,
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
        asker: RequestRef,
        result: Result<Imported, RpcError>,
    },

    /// A thread that is needed has ended by a fault.
    ThreadDied {
        thread: String,
        why: String,
    },
    /// The files of a version that is to answer again were looked at.
    VersionChecked {
        asker: RequestRef,
        result: Result<Checked, RpcError>,
    },
    /// Files of versions that went are removed.
    Discarded(Removal),

    Worker(WorkerEvent),
    Watch(News),
    /// The system asks the daemon to end (SIGTERM, SIGINT, SIGHUP).
    Signal,
}
