//! `adapter/import`: the file pool reads and copies the folder, the main loop enters it into the store.

use std::path::{Path, PathBuf};
use std::time::Instant;

use hotplate_engine::base_spec::BaseSource;
use hotplate_engine::device::Device;
use hotplate_engine::peft::{self, Snapshot};
use hotplate_engine::quantise::Quantise;
use hotplate_protocol::knobs::Quantize;
use hotplate_protocol::methods::adapters::AdapterInfo;
use hotplate_protocol::methods::import::{Import, ImportParams};
use hotplate_protocol::{ErrorCode, RpcError};

use super::{Later, adapters, to_value};
use crate::daemon::file_pool::{FileJob, FilePool};
use crate::daemon::runs::finish::write_folder;
use crate::daemon::runs::place::{base_folder, real_folder};
use crate::daemon::runs::train_request::source;
use crate::daemon::sessions::RequestRef;
use crate::daemon::state::Daemon;
use crate::daemon::worker::{BaseChoice, ResolvedAdapter};
use crate::daemon::{left_over, names, rpc_errors};

impl Later for Import {
    fn begin(
        daemon: &mut Daemon,
        asker: &RequestRef,
        params: ImportParams,
        _arrived: Instant,
    ) -> Result<(), RpcError> {
        daemon.file_jobs.send(FileJob::Import(asker.clone(), params));
        Ok(())
    }
}

/// A version whose folder is in place, and which the store does not know yet.
pub(crate) struct Imported {
    pub(crate) name: String,
    pub(crate) version: u32,
    /// Where it came from.
    pub(crate) from: PathBuf,
    pub(crate) base_name: String,
    pub(crate) base_folder: Option<PathBuf>,
    pub(crate) quantise: Option<Quantise>,
    pub(crate) fingerprint: String,
    pub(crate) place: PathBuf,
}

/// Reads the folder, checks it against its base, and copies it into the store's own place.
pub(crate) fn take_in(file_pool: &FilePool, params: &ImportParams) -> Result<Imported, RpcError> {
    let from = peft::folder_of(&params.path).map_err(|error| rpc_errors::of_adapter(&error))?;
    let from = real_folder(&from)?;
    let name = match &params.name {
        Some(name) => {
            names::check(name)?;
            name.clone()
        }
        None => names::of_folder(&from),
    };
    let store = file_pool.store()?;
    let row = store.adapter(&name)?;
    let base = match (&params.base, &row) {
        (Some(base), _) => source(base_folder(base)?.as_deref()),
        (None, Some(row)) => source(row.base_folder.as_deref()),
        (None, None) => {
            let otherwise = params.fallback_base.as_deref().map(base_folder).transpose()?.flatten();
            named_base(&store.adapters()?, &from, source(otherwise.as_deref()))
        }
    };
    let text = file_pool.texts.open(&base).map_err(|error| rpc_errors::of_base(&error))?;
    if let Some(row) = &row
        && row.fingerprint != text.fingerprint
    {
        let message = format!(
            "there is an adapter {name} already, and it is for {}, not {}; import under another name with --name",
            row.base_name, text.name
        );
        return Err(RpcError::new(ErrorCode::UnusableAdapter, message));
    }
    let adapter = peft::load(&from, &text, &Device::Cpu).map_err(|error| rpc_errors::of_adapter(&error))?;
    let own = Snapshot::read(&from).and_then(|own| match own {
        Some(own) => Ok(own),
        None => Snapshot::new(&text, &adapter, Vec::new()),
    });
    let own = own.map_err(|error| rpc_errors::of_adapter(&error))?;
    let newest = store.versions(&name)?.last().map_or(0, |row| row.version);
    let mut version = newest.max(row.map_or(0, |row| row.newest_deleted)) + 1;
    while file_pool.version_folder(&name, version).exists() {
        version += 1;
    }
    let place = file_pool.version_folder(&name, version);
    left_over::entering(&place).map_err(|error| rpc_errors::of_writing(&place, &error))?;
    write_folder(file_pool, &name, version, |beside| {
        peft::save_with(beside, &adapter, &text, &own).map_err(|error| rpc_errors::of_saving(&error))
    })
    .inspect_err(|_| left_over::entered(&place))?;
    Ok(Imported {
        name,
        version,
        from,
        base_name: text.name.clone(),
        base_folder: base.on_disk().map(Path::to_owned),
        quantise: own.quantise,
        fingerprint: text.fingerprint.clone(),
        place,
    })
}

/// The base that the folder's own files tell of; else another one.
fn named_base(
    known: &[crate::daemon::store::AdapterRow],
    folder: &Path,
    otherwise: BaseSource,
) -> BaseSource {
    let known = known.iter().map(|row| (row.fingerprint.clone(), source(row.base_folder.as_deref())));
    let pick = ResolvedAdapter { folder: folder.to_owned(), label: String::new() };
    BaseChoice::OfAdapter { known: known.collect(), otherwise, quantize: Some(Quantize::None) }
        .source(Some(&pick))
}

impl Daemon {
    /// The file pool has copied an adapter: from now on it answers.
    pub(crate) fn imported(&mut self, asker: &RequestRef, result: Result<Imported, RpcError>) {
        let cancelled = self.cancelled.remove(asker);
        let outcome = result.and_then(|imported| {
            let entered = if cancelled {
                Err(RpcError::new(ErrorCode::RequestCancelled, "cancelled"))
            } else {
                self.enter(&imported)
            };
            if entered.is_err() {
                // A folder without a row does not exist.
                let _ = std::fs::remove_dir_all(&imported.place);
            }
            left_over::entered(&imported.place);
            entered
        });
        if !cancelled {
            self.reply(asker, outcome.and_then(|info| to_value(&info)));
        }
    }

    fn enter(&mut self, imported: &Imported) -> Result<AdapterInfo, RpcError> {
        self.store.enter_imported(imported)?;
        tracing::info!(adapter = imported.name, version = imported.version, "imported");
        let row = super::known(&self.store, &imported.name)?;
        adapters::info(self, row)
    }
}
