//! `model/list`: the embedded base, those in memory, and those that adapters need.

use std::path::{Path, PathBuf};

use hotplate_engine::base_text::BaseSource;
use hotplate_protocol::RpcError;
use hotplate_protocol::methods::Nothing;
use hotplate_protocol::methods::models::{ModelInfo, Models};

use super::AtOnce;
use crate::daemon::runs::order::source;
use crate::daemon::sessions::Asker;
use crate::daemon::state::{Daemon, Model};
use crate::daemon::store::AdapterRow;

impl AtOnce for Models {
    fn answer(daemon: &mut Daemon, _asker: &Asker, _params: Nothing) -> Result<Vec<ModelInfo>, RpcError> {
        let adapters = daemon.store.adapters()?;
        let mut models: Vec<ModelInfo> =
            daemon.models.iter().map(|(source, model)| loaded(source, model, &adapters)).collect();
        let mut add = |name: &str, folder: Option<PathBuf>, fingerprint: Option<&str>| {
            if models.iter().any(|model| model.path == folder) {
                return;
            }
            let base = source(folder.as_deref());
            models.push(ModelInfo {
                name: name.to_owned(),
                fingerprint: fingerprint.map(str::to_owned),
                architecture: None,
                parameters: None,
                loaded: false,
                bytes: 0,
                idle_seconds: None,
                adapters: adapters.iter().filter(|row| source(row.base_folder.as_deref()) == base).count(),
                path: folder,
            });
        };
        for row in &adapters {
            add(&row.base_name, row.base_folder.clone(), Some(&row.fingerprint));
        }
        add("hotplate-tiny", None, None);
        models
            .sort_by(|one, other| (one.path.is_some(), &one.name).cmp(&(other.path.is_some(), &other.name)));
        Ok(models)
    }
}

/// A base in memory.
pub(super) fn loaded(base: &BaseSource, model: &Model, adapters: &[AdapterRow]) -> ModelInfo {
    let path = base.on_disk().map(Path::to_owned);
    ModelInfo {
        name: model.text.name.clone(),
        fingerprint: Some(model.text.fingerprint.clone()),
        architecture: Some(model.text.config.architecture.clone()),
        parameters: Some(model.parameters),
        loaded: true,
        bytes: model.bytes,
        idle_seconds: Some(model.used.elapsed().as_secs_f64()),
        adapters: adapters.iter().filter(|row| row.base_folder == path).count(),
        path,
    }
}
