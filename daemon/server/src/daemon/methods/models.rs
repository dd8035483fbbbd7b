//! `model/list`: the embedded base, those in memory, and those that adapters need.

use std::path::{Path, PathBuf};

use hotplate_engine::base_spec::BaseSource;
use hotplate_engine::quantise::Quantise;
use hotplate_protocol::RpcError;
use hotplate_protocol::knobs::Quantize;
use hotplate_protocol::methods::Nothing;
use hotplate_protocol::methods::models::{ModelInfo, Models};

use super::AtOnce;
use crate::daemon::quantise::word;
use crate::daemon::sessions::RequestRef;
use crate::daemon::state::{Daemon, Model};
use crate::daemon::store::AdapterRow;

impl AtOnce for Models {
    fn answer(
        daemon: &mut Daemon,
        _asker: &RequestRef,
        _params: Nothing,
    ) -> Result<Vec<ModelInfo>, RpcError> {
        let adapters = daemon.store.adapters()?;
        let mut models: Vec<ModelInfo> =
            daemon.models.iter().map(|(source, model)| loaded(source, model, &adapters)).collect();
        let unloaded =
            |name: &str, folder: Option<&PathBuf>, quantise, fingerprint: Option<&str>| ModelInfo {
                name: name.to_owned(),
                path: folder.cloned(),
                fingerprint: fingerprint.map(str::to_owned),
                architecture: None,
                parameters: None,
                loaded: false,
                bytes: 0,
                idle_seconds: None,
                adapters: made_for(&adapters, folder.map(PathBuf::as_path), quantise),
                quantize: quantise_word(quantise),
            };
        for row in &adapters {
            let model =
                unloaded(&row.base_name, row.base_folder.as_ref(), row.quantise, Some(&row.fingerprint));
            let same = |known: &ModelInfo| known.path == model.path && known.quantize == model.quantize;
            if !models.iter().any(same) {
                models.push(model);
            }
        }
        if models.iter().all(|model| model.path.is_some()) {
            models.push(unloaded("hotplate-tiny", None, None, None));
        }
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
        adapters: made_for(adapters, path.as_deref(), base.quantise()),
        path,
        quantize: quantise_word(base.quantise()),
    }
}

fn made_for(adapters: &[AdapterRow], folder: Option<&Path>, quantise: Option<Quantise>) -> usize {
    let made = |row: &&AdapterRow| row.base_folder.as_deref() == folder && row.quantise == quantise;
    adapters.iter().filter(made).count()
}

fn quantise_word(quantise: Option<Quantise>) -> Option<Quantize> {
    quantise.map(|quantise| word(Some(quantise)))
}
