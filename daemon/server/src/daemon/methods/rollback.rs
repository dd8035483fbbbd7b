//! `adapter/rollback`: an older version answers again.

use hotplate_protocol::methods::adapters::AdapterInfo;
use hotplate_protocol::methods::rollback::{Rollback, RollbackParams};
use hotplate_protocol::{ErrorCode, RpcError};

use super::{AtOnce, adapters};
use crate::daemon::sessions::Asker;
use crate::daemon::state::Daemon;
use crate::daemon::store::{AdapterRow, Store};

impl AtOnce for Rollback {
    fn answer(daemon: &mut Daemon, _asker: &Asker, params: RollbackParams) -> Result<AdapterInfo, RpcError> {
        let row = known(&daemon.store, &params.adapter)?;
        let versions: Vec<u32> =
            daemon.store.versions(&row.name)?.iter().map(|version| version.version).collect();
        let unusable = |message: String| RpcError::new(ErrorCode::UnusableAdapter, message);
        let to = match params.to {
            Some(to) if versions.contains(&to) => to,
            Some(to) => {
                let list: Vec<String> = versions.iter().map(ToString::to_string).collect();
                return Err(unusable(format!(
                    "{} has no version {to}; it has {}",
                    row.name,
                    list.join(", ")
                )));
            }
            None => {
                let older = versions.iter().rev().find(|version| **version < row.current);
                *older.ok_or_else(|| {
                    unusable(format!(
                        "version {} of {} is its oldest; there is nothing to go back to",
                        row.current, row.name
                    ))
                })?
            }
        };
        daemon.store.set_current(&row.name, to)?;
        tracing::info!(adapter = row.name, from = row.current, to, "rolled back");
        let now = known(&daemon.store, &row.name)?;
        adapters::info(daemon, now)
    }
}

/// The adapter of this name, or an error that lists those that there are.
pub(crate) fn known(store: &Store, name: &str) -> Result<AdapterRow, RpcError> {
    if let Some(row) = store.adapter(name)? {
        return Ok(row);
    }
    let names: Vec<String> = store.adapters()?.into_iter().map(|row| row.name).collect();
    let remedy = if names.is_empty() {
        "there is none yet; make one with: hotplate train FOLDER".to_owned()
    } else {
        format!("there are: {}. A PEFT folder is named by its path", names.join(", "))
    };
    Err(RpcError::new(ErrorCode::UnusableAdapter, format!("there is no adapter {name:?}; {remedy}")))
}
