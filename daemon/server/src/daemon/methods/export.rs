//! `adapter/export`: writes an adapter for other programs, beside its place first, then in one step.

mod mark;
mod place;

use std::fs;
use std::path::Path;

use hotplate_engine::base_text::{BaseSource, BaseText};
use hotplate_engine::device::Device;
use hotplate_engine::export::{ExportError, write_gguf, write_gguf_model, write_merged, write_ollama};
use hotplate_engine::lora::Adapter;
use hotplate_engine::peft::{self, Snapshot};
use hotplate_protocol::methods::export::{Export, ExportForm, ExportParams, ExportResult};
use hotplate_protocol::{ErrorCode, RpcError};

use super::AtDesk;
use crate::daemon::desk::{Desk, Gone};
use crate::daemon::disk_use::bytes_at;
use crate::daemon::faults;
use crate::daemon::names::{self, Wanted};
use crate::daemon::pick::{BaseRequest, pick_adapter};
pub(crate) use place::clean_up;
use place::{Place, Taken};

impl AtDesk for Export {
    fn answer(desk: &Desk, params: ExportParams, _gone: &Gone) -> Result<ExportResult, RpcError> {
        let base = BaseRequest {
            named: params.base.as_deref(),
            fallback: params.fallback_base.as_deref(),
            quantize: None,
        };
        let (base, pick) = pick_adapter(&desk.store()?, desk, base, &params.adapter)?;
        let source = base.source(Some(&pick));
        let text = desk.texts.open(&source).map_err(|error| faults::of_base(&error))?;
        let folder = pick.folder.clone();
        let adapter = peft::load(&folder, &text, &Device::Cpu).map_err(|error| faults::of_adapter(&error))?;
        let taken = taken(desk, &params, &source, &folder)?;
        let place = Place::new(&params.out, params.force, &desk.home, desk.umask, &taken)?;
        let written = place.begin().and_then(|()| {
            let remarks = write(&place.draft, params.form, &folder, &adapter, &text)?;
            if is_folder(params.form) {
                mark::put(&place.draft, params.form, &pick.label)
                    .map_err(|error| faults::of_writing(&place.draft, &error))?;
            }
            desk.umask.apply(&place.draft).map_err(|error| faults::of_writing(&place.draft, &error))?;
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
    text: &BaseText,
) -> Result<Vec<String>, RpcError> {
    if is_folder(form) {
        fs::create_dir(beside).map_err(|error| faults::of_writing(beside, &error))?;
    }
    let none = |()| Vec::new();
    match form {
        ExportForm::Peft => {
            // What training saw and wrote goes along, so that `verify` works there too.
            let own = Snapshot::read(folder).map_err(|error| faults::of_adapter(&error))?;
            let own = match own {
                Some(own) => Ok(own),
                None => Snapshot::new(text, adapter, Vec::new()),
            };
            own.and_then(|own| peft::save_with(beside, adapter, text, &own))
                .map(none)
                .map_err(|error| faults::of_saving(&error))
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
        ExportError::Io { file, source } => faults::of_writing(file, source),
        ExportError::Base(error) => faults::of_base(error),
        other => RpcError::new(ErrorCode::UnusableAdapter, other.to_string()),
    }
}

/// Folders that are read: an export among them would be learnt, or taken for a part of a base.
fn taken(desk: &Desk, params: &ExportParams, source: &BaseSource, adapter: &Path) -> Result<Taken, RpcError> {
    let store = desk.store()?;
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
