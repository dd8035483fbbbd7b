//! Which base and which adapter a request means: names from the store, or folders.

use std::path::Path;

use hotplate_dataset::regular_file;
use hotplate_engine::base_spec::BaseSource;
use hotplate_engine::peft::{self, LARGEST_SETTINGS};
use hotplate_home::hub::{HubCache, HubName};
use hotplate_protocol::knobs::{Method, Quantize};
use hotplate_protocol::{ErrorCode, RpcError};

use super::file_pool::FilePool;
use super::methods::known;
use super::methods::rollback::no_version;
use super::names::{self, Wanted};
use super::quantise::asked_or;
use super::rpc_errors;
use super::runs::place::base_folder;
use super::runs::train_request::source;
use super::state::Daemon;
use super::store::{AdapterRow, Store};
use super::worker::{BaseChoice, ResolvedAdapter};

/// What a request says of the base, as in `generate/start`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BaseRequest<'a> {
    pub(crate) named: Option<&'a str>,
    /// Where neither the request nor an adapter names one.
    pub(crate) fallback: Option<&'a str>,
    pub(crate) quantize: Option<Quantize>,
}

impl BaseRequest<'_> {
    fn fallback(&self) -> Result<BaseSource, RpcError> {
        let folder = self.fallback.map(base_folder).transpose()?.flatten();
        Ok(source(folder.as_deref()))
    }
}

/// `adapter` as in `generate/start`.
pub(crate) fn pick(
    daemon: &Daemon,
    base: BaseRequest<'_>,
    adapter: Option<&str>,
) -> Result<(BaseChoice, Option<ResolvedAdapter>), RpcError> {
    pick_from(&daemon.store, &daemon.file_pool, base, adapter)
}

/// The same for an adapter that must be named, also away from the main loop.
pub(crate) fn pick_adapter(
    store: &Store,
    file_pool: &FilePool,
    base: BaseRequest<'_>,
    adapter: &str,
) -> Result<(BaseChoice, ResolvedAdapter), RpcError> {
    match pick_from(store, file_pool, base, Some(adapter))? {
        (base, Some(pick)) => Ok((base, pick)),
        (_, None) => Err(RpcError::new(ErrorCode::UnusableAdapter, "name an adapter".to_owned())),
    }
}

/// The base that would answer for `adapter`, without it: also where its version is a whole model of its own.
pub(crate) fn pick_base(
    daemon: &Daemon,
    base: BaseRequest<'_>,
    adapter: Option<&str>,
) -> Result<BaseSource, RpcError> {
    if let (None, Some(Wanted::Name { name, .. })) = (base.named, adapter.map(names::parse).transpose()?) {
        let row = known(&daemon.store, name)?;
        return Ok(source_of(&row).quantised(asked_or(base.quantize, row.quantise)));
    }
    let (base, adapter) = pick(daemon, base, adapter)?;
    Ok(base.source(adapter.as_ref()))
}

fn pick_from(
    store: &Store,
    file_pool: &FilePool,
    request: BaseRequest<'_>,
    adapter: Option<&str>,
) -> Result<(BaseChoice, Option<ResolvedAdapter>), RpcError> {
    let quantize = request.quantize;
    let given = match request.named {
        Some(base) => Some(source(base_folder(base)?.as_deref()).quantised(asked_or(quantize, None))),
        None => None,
    };
    let picked = match adapter.map(names::parse).transpose()? {
        None => {
            let base = match given {
                Some(base) => base,
                None => request.fallback()?.quantised(asked_or(quantize, None)),
            };
            (BaseChoice::Given(base), None)
        }
        Some(Wanted::Folder(path)) => {
            let folder = peft::folder_of(path).map_err(|error| rpc_errors::of_adapter(&error))?;
            let pick = ResolvedAdapter { label: folder.display().to_string(), folder };
            let base = if let Some(base) = given {
                BaseChoice::Given(base)
            } else {
                let rows = store.adapters()?;
                let known = rows.into_iter().map(|row| (row.fingerprint.clone(), source_of(&row)));
                BaseChoice::OfAdapter { known: known.collect(), otherwise: request.fallback()?, quantize }
            };
            (base, Some(pick))
        }
        Some(Wanted::Name { name, version }) => {
            let row = known(store, name)?;
            let versions = store.versions(&row.name)?;
            let version = version.unwrap_or(row.current);
            let Some(found) = versions.iter().find(|known| known.version == version && !known.pruned) else {
                return Err(no_version(&row.name, version, &versions));
            };
            let folder = file_pool.stored(file_pool.version_folder(&row.name, version))?;
            if found.method == Method::Full {
                // All its weights are its own: a base, not an adapter.
                let whole = BaseSource::Folder(folder).quantised(asked_or(quantize, None));
                return Ok((BaseChoice::Given(whole), None));
            }
            let pick = ResolvedAdapter { folder, label: format!("{}@{version}", row.name) };
            // Another base, as it was named; its own, as it learnt with it.
            let own = || source_of(&row).quantised(asked_or(quantize, row.quantise));
            (BaseChoice::Given(given.unwrap_or_else(own)), Some(pick))
        }
    };
    Ok(picked)
}

/// The base that an adapter's settings name, if it is there: a place on this machine, or a model in the hub's cache.
pub(crate) fn named_by(folder: &Path) -> Option<BaseSource> {
    let config = regular_file::read(&folder.join("adapter_config.json"), LARGEST_SETTINGS).ok()?;
    let config: serde_json::Value = serde_json::from_slice(&config).ok()?;
    // PEFT's key, then mlx-lm's.
    let name = config.get("base_model_name_or_path").or(config.get("model"))?.as_str()?;
    let path = match name.parse::<HubName>() {
        Ok(name) => HubCache::from_env().ok()?.find(&name)?,
        // A path that starts at somebody's current folder means nothing here.
        Err(_) => Path::new(name).is_absolute().then(|| Path::new(name).canonicalize().ok())??,
    };
    let found = BaseSource::at(&path);
    let is_there =
        matches!(&found, BaseSource::Gguf(file) if file.is_file()) || path.join("config.json").is_file();
    is_there.then_some(found)
}

fn source_of(row: &AdapterRow) -> BaseSource {
    source(row.base_folder.as_deref())
}

/// How an answer names a version whose weights are all its own: [`pick`] gives it as a base.
pub(crate) fn label_of_whole(daemon: &Daemon, adapter: Option<&str>) -> Option<String> {
    let Ok(Wanted::Name { name, version }) = names::parse(adapter?) else { return None };
    let row = known(&daemon.store, name).ok()?;
    Some(format!("{}@{}", row.name, version.unwrap_or(row.current)))
}
