//! `adapter/export`: writes an adapter for other programs, beside its place first, then in one step.

mod mark;
mod place;

use std::fs;
use std::path::Path;

use hotplate_engine::base_spec::{BaseSource, BaseSpec};
use hotplate_engine::device::Device;
use hotplate_engine::export::{ExportError, write_gguf, write_gguf_model, write_merged, write_ollama};
use hotplate_engine::lora::Adapter;
use hotplate_engine::peft::{self, Snapshot};
use hotplate_protocol::methods::export::{Export, ExportForm, ExportParams, ExportResult};
use hotplate_protocol::{ErrorCode, RpcError};

use super::AtFiles;
use crate::daemon::disk_use::bytes_at;
use crate::daemon::file_pool::{FilePool, Gone};
use crate::daemon::names::{self, Wanted};
use crate::daemon::resolve_model::{BaseRequest, pick_adapter};
use crate::daemon::rpc_errors;
pub(crate) use place::clean_up;
use place::{ExportDestination, Taken};

impl AtFiles for Export {
    fn answer(file_pool: &FilePool, params: ExportParams, _gone: &Gone) -> Result<ExportResult, RpcError> {
        let base = BaseRequest {
            named: params.base.as_deref(),
            fallback: params.fallback_base.as_deref(),
            quantize: None,
        };
        let (base, pick) = pick_adapter(&file_pool.store()?, file_pool, base, &params.adapter)?;
        let source = base.source(Some(&pick));
        let text = file_pool.texts.open(&source).map_err(|error| rpc_errors::of_base(&error))?;
        let folder = pick.folder.clone();
        let adapter =
            peft::load(&folder, &text, &Device::Cpu).map_err(|error| rpc_errors::of_adapter(&error))?;
        let taken = taken(file_pool, &params, &source, &folder)?;
        let place =
            ExportDestination::new(&params.out, params.force, &file_pool.home, file_pool.umask, &taken)?;
        let written = place.begin().and_then(|()| {
            let remarks = write(&place.draft, params.form, &folder, &adapter, &text)?;
            if is_folder(params.form) {
                mark::put(&place.draft, params.form, &pick.label)
                    .map_err(|error| rpc_errors::of_writing(&place.draft, &error))?;
            }
            file_pool
                .umask
                .apply(&place.draft)
                .map_err(|error| rpc_errors::of_writing(&place.draft, &error))?;
            Ok((place.publish()?, remarks))
        });
        place.end();
        let (moved_aside, remarks) = written?;
        tracing::info!(adapter = pick.label, form = ?params.form, path = %place.out.display(), "exported");
        Ok(ExportResult {
            adapter: pick.label,
            base: text.name.clone(),
            form: params.form,
            bytes: bytes_at(&place.out),
            remarks,
            path: place.out,
            moved_aside,
        })
    }
}

fn write(
    beside: &Path,
    form: ExportForm,
    folder: &Path,
    adapter: &Adapter,
    text: &BaseSpec,
) -> Result<Vec<String>, RpcError> {
    if is_folder(form) {
        fs::create_dir(beside).map_err(|error| rpc_errors::of_writing(beside, &error))?;
    }
    let none = |()| Vec::new();
    match form {
        ExportForm::Peft => {
            // What training saw and wrote goes along, so that `verify` works there too.
            let own = Snapshot::read(folder).map_err(|error| rpc_errors::of_adapter(&error))?;
            let own = match own {
                Some(own) => Ok(own),
                None => Snapshot::new(text, adapter, Vec::new()),
            };
            own.and_then(|own| peft::save_with(beside, adapter, text, &own))
                .map(none)
                .map_err(|error| rpc_errors::of_saving(&error))
        }
        ExportForm::Merged => {
            write_merged(beside, adapter, text).map(none).map_err(|error| of_export(&error))
        }
        ExportForm::Gguf => write_gguf(beside, adapter, text).map(none).map_err(|error| of_export(&error)),
        ExportForm::GgufMerged => write_gguf_model(beside, adapter, text).map_err(|error| of_export(&error)),
        ExportForm::Ollama => write_ollama(beside, adapter, text).map_err(|error| of_export(&error)),
    }
}

fn is_folder(form: ExportForm) -> bool {
    !matches!(form, ExportForm::Gguf | ExportForm::GgufMerged)
}

fn of_export(error: &ExportError) -> RpcError {
    match error {
        ExportError::Io { file, source } => rpc_errors::of_writing(file, source),
        ExportError::Base(error) => rpc_errors::of_base(error),
        other => RpcError::new(ErrorCode::UnusableAdapter, other.to_string()),
    }
}

/// Folders that are read: an export among them would be learnt, or taken for a part of a base.
fn taken(
    file_pool: &FilePool,
    params: &ExportParams,
    source: &BaseSource,
    adapter: &Path,
) -> Result<Taken, RpcError> {
    let store = file_pool.store()?;
    let mut taken: Taken = vec![(adapter.to_owned(), "the adapter's own folder")];
    if let Some(base) = source.on_disk() {
        taken.push((base.to_owned(), "the base's folder"));
    }
    if let Ok(Wanted::Name { name, .. }) = names::parse(&params.adapter) {
        taken.extend(store.adapter(name)?.map(|row| (row.folder, "the folder that the adapter learns from")));
    }
    taken.extend(store.watches()?.into_iter().map(|watch| (watch.target.folder, "a folder that is watched")));
    Ok(taken)
}
