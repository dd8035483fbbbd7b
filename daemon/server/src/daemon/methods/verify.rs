//! `adapter/verify`: chooses adapter and base, which the desk reads; the worker lets the adapter answer.

use std::path::PathBuf;
use std::time::Instant;

use hotplate_engine::base_text::BaseSource;
use hotplate_engine::peft::Snapshot;
use hotplate_protocol::methods::verify::{Verify, VerifyParams};
use hotplate_protocol::{ErrorCode, RpcError};

use super::Later;
use crate::daemon::desk::{Desk, Errand, Gone};
use crate::daemon::faults;
use crate::daemon::pick::{BaseRequest, pick_adapter};
use crate::daemon::runs::place::real_folder;
use crate::daemon::sessions::Asker;
use crate::daemon::state::Daemon;
use crate::daemon::worker::{AdapterPick, BaseChoice, Command, VerifyJob};

impl Later for Verify {
    fn begin(
        daemon: &mut Daemon,
        asker: &Asker,
        params: VerifyParams,
        _arrived: Instant,
    ) -> Result<(), RpcError> {
        let base = BaseRequest {
            named: params.base.as_deref(),
            fallback: params.fallback_base.as_deref(),
            quantize: None,
        };
        let (base, pick) = pick_adapter(&daemon.store, &daemon.desk, base, &params.adapter)?;
        let merged = params.merged.as_deref().map(real_folder).transpose()?;
        daemon.generating.insert(asker.clone(), Gone::default());
        let asking = asker.clone();
        let read = move |desk: &Desk| read(desk, asking, base, pick, merged);
        daemon.errands.send(Errand::ReadTexts(asker.clone(), Box::new(read)));
        Ok(())
    }
}

fn read(
    desk: &Desk,
    asker: Asker,
    base: BaseChoice,
    pick: AdapterPick,
    merged: Option<PathBuf>,
) -> Result<Command, RpcError> {
    let own = Snapshot::read(&pick.folder).map_err(|error| faults::of_adapter(&error))?;
    let Some(own) = own.filter(|own| !own.goldens.is_empty()) else {
        let message = format!(
            "{} has no golden answers: only adapters that Hotplate trained keep them, in hotplate.json beside the weights",
            pick.label
        );
        return Err(RpcError::new(ErrorCode::UnusableAdapter, message));
    };
    let merges = merged.is_some();
    let source = merged.map_or_else(|| base.source(Some(&pick)), BaseSource::Folder);
    let text = desk.texts.open(&source).map_err(|error| faults::of_base(&error))?;
    Ok(Command::Verify(Box::new(VerifyJob { asker, source, text, pick, own, merged: merges })))
}
