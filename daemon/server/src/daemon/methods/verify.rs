//! `adapter/verify`: chooses adapter and base, which the file pool reads; the worker lets the adapter answer.

use std::path::PathBuf;
use std::time::Instant;

use hotplate_engine::base_spec::BaseSource;
use hotplate_engine::peft::Snapshot;
use hotplate_protocol::methods::verify::{Verify, VerifyParams};
use hotplate_protocol::{ErrorCode, RpcError};

use super::Later;
use crate::daemon::file_pool::{FileJob, FilePool, Gone};
use crate::daemon::resolve_model::{BaseRequest, pick_adapter};
use crate::daemon::rpc_errors;
use crate::daemon::runs::place::real_folder;
use crate::daemon::sessions::RequestRef;
use crate::daemon::state::Daemon;
use crate::daemon::worker::{BaseChoice, ResolvedAdapter, VerifyJob, WorkerJob};

impl Later for Verify {
    fn begin(
        daemon: &mut Daemon,
        asker: &RequestRef,
        params: VerifyParams,
        _arrived: Instant,
    ) -> Result<(), RpcError> {
        let base = BaseRequest {
            named: params.base.as_deref(),
            fallback: params.fallback_base.as_deref(),
            quantize: None,
        };
        let (base, pick) = pick_adapter(&daemon.store, &daemon.file_pool, base, &params.adapter)?;
        let merged = params.merged.as_deref().map(real_folder).transpose()?;
        daemon.generating.insert(asker.clone(), Gone::default());
        let asking = asker.clone();
        let read = move |file_pool: &FilePool| read(file_pool, asking, base, pick, merged);
        daemon.file_jobs.send(FileJob::ReadTexts(asker.clone(), Box::new(read)));
        Ok(())
    }
}

fn read(
    file_pool: &FilePool,
    asker: RequestRef,
    base: BaseChoice,
    pick: ResolvedAdapter,
    merged: Option<PathBuf>,
) -> Result<WorkerJob, RpcError> {
    let own = Snapshot::read(&pick.folder).map_err(|error| rpc_errors::of_adapter(&error))?;
    let Some(own) = own.filter(|own| !own.goldens.is_empty()) else {
        let message = format!(
            "{} has no golden answers: only adapters that Hotplate trained keep them, in hotplate.json beside the weights",
            pick.label
        );
        return Err(RpcError::new(ErrorCode::UnusableAdapter, message));
    };
    let merges = merged.is_some();
    let source = merged.map_or_else(|| base.source(Some(&pick)), BaseSource::Folder);
    let text = file_pool.texts.open(&source).map_err(|error| rpc_errors::of_base(&error))?;
    Ok(WorkerJob::Verify(Box::new(VerifyJob { asker, source, text, pick, own, merged: merges })))
}
