//! `adapter/prune`: the versions go that nobody needs any more.

use std::time::Instant;

use hotplate_protocol::RpcError;
use hotplate_protocol::methods::prune::{Prune, PruneParams, PruneResult};

use super::{Later, known, to_value};
use crate::daemon::sessions::RequestRef;
use crate::daemon::state::Daemon;

impl Later for Prune {
    fn begin(
        daemon: &mut Daemon,
        asker: &RequestRef,
        params: PruneParams,
        _arrived: Instant,
    ) -> Result<(), RpcError> {
        let keep = params.keep.unwrap_or(daemon.settings.keep_versions);
        let rows = match &params.adapter {
            Some(name) => vec![known(&daemon.store, name)?],
            None => daemon.store.adapters()?,
        };
        let mut chosen = Vec::new();
        for row in rows {
            let (going, pruned) = daemon.to_prune(&row.name, row.current, keep)?;
            if !going.is_empty() {
                chosen.push((going, pruned));
            }
        }
        let result = PruneResult {
            keep,
            adapters: chosen.iter().map(|(_, pruned)| pruned.clone()).collect(),
            pruned: !params.dry_run,
        };
        let value = to_value(&result)?;
        let mut folders = Vec::new();
        if !params.dry_run {
            for (going, pruned) in &chosen {
                folders.extend(daemon.take_out(&pruned.adapter, going)?);
            }
        }
        daemon.discard(folders, Some((asker.clone(), value)));
        Ok(())
    }
}
