//! `daemon/status`: a snapshot.

use hotplate_protocol::RpcError;
use hotplate_protocol::methods::Nothing;
use hotplate_protocol::methods::status::{AdapterStatus, Status, StatusResult};

use super::AtOnce;
use super::models::loaded;
use crate::arithmetic;
use crate::daemon::process;
use crate::daemon::sessions::RequestRef;
use crate::daemon::state::Daemon;
use crate::daemon::watching::Watched;

impl AtOnce for Status {
    fn answer(daemon: &mut Daemon, _asker: &RequestRef, _params: Nothing) -> Result<StatusResult, RpcError> {
        let adapters = daemon.store.adapters()?;
        let memory = process::memory();
        let mut models: Vec<_> =
            daemon.models.iter().map(|(source, model)| loaded(source, model, &adapters)).collect();
        models.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(StatusResult {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            home: daemon.file_pool.home.root().to_owned(),
            uptime_seconds: daemon.started.elapsed().as_secs_f64(),
            device: daemon.file_pool.device.to_owned(),
            processor: arithmetic::told(),
            rss_bytes: memory.now,
            peak_rss_bytes: memory.peak,
            sessions: daemon.sessions.len(),
            models,
            runs: daemon.runs.statuses(),
            watches: daemon.watches.values().map(Watched::status).collect(),
            adapters: adapters
                .iter()
                .map(|row| {
                    let versions = daemon.store.versions(&row.name)?;
                    let current = versions.into_iter().find(|version| version.version == row.current);
                    Ok(AdapterStatus {
                        name: row.name.clone(),
                        version: row.current,
                        stale: row.stale,
                        guard: current.and_then(|version| version.guard),
                    })
                })
                .collect::<Result<_, RpcError>>()?,
            generating: daemon.generating.len(),
            problems: daemon.problems(),
            model_ttl_seconds: daemon.settings.model_ttl.as_secs_f64(),
            idle_exit_seconds: daemon.settings.idle_exit.as_secs_f64(),
        })
    }
}
