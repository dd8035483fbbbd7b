//! `adapter/export`: writes an adapter for other programs, beside its place first, then in one step.

use std::fs;
use std::path::{Path, PathBuf};

use hotplate_engine::base_text::BaseText;
use hotplate_engine::device::Device;
use hotplate_engine::export::{ExportError, write_gguf, write_merged};
use hotplate_engine::lora::Adapter;
use hotplate_engine::peft::{self, Snapshot};
use hotplate_protocol::methods::export::{Export, ExportForm, ExportParams, ExportResult};
use hotplate_protocol::{ErrorCode, RpcError};

use super::AtDesk;
use crate::daemon::desk::Desk;
use crate::daemon::pick::pick_adapter;
use crate::daemon::{durable, faults};

impl AtDesk for Export {
    fn answer(desk: &Desk, params: ExportParams) -> Result<ExportResult, RpcError> {
        let (base, pick) = pick_adapter(&desk.store()?, desk, params.base.as_deref(), &params.adapter)?;
        let source = base.source(Some(&pick));
        let text = desk.texts.open(&source).map_err(|error| faults::of_base(&error))?;
        let folder = pick.folder.clone();
        let adapter = peft::load(&folder, &text, &Device::Cpu).map_err(|error| faults::of_adapter(&error))?;
        let place = Place::new(&params.out, params.form, params.force)?;
        let written = write(&place.beside, params.form, &folder, &adapter, &text)
            .and_then(|()| place.publish().map_err(|error| faults::of_writing(&place.out, &error)));
        if let Err(error) = written {
            // Half of an export is nobody's.
            let _ = remove(&place.beside);
            return Err(error);
        }
        tracing::info!(adapter = pick.label, form = ?params.form, path = %place.out.display(), "exported");
        Ok(ExportResult {
            adapter: pick.label,
            base: text.name.clone(),
            form: params.form,
            bytes: size(&place.out),
            path: place.out,
        })
    }
}

fn write(
    beside: &Path,
    form: ExportForm,
    folder: &Path,
    adapter: &Adapter,
    text: &BaseText,
) -> Result<(), RpcError> {
    if form != ExportForm::Gguf {
        fs::create_dir(beside).map_err(|error| faults::of_writing(beside, &error))?;
    }
    match form {
        ExportForm::Peft => {
            // What training saw and wrote goes along, so that `verify` works there too.
            let own = Snapshot::read(folder).map_err(|error| faults::of_adapter(&error))?;
            let own = match own {
                Some(own) => Ok(own),
                None => Snapshot::new(text, adapter, Vec::new()),
            };
            own.and_then(|own| peft::save_with(beside, adapter, text, &own))
                .map_err(|error| faults::of_saving(&error))
        }
        ExportForm::Merged => write_merged(beside, adapter, text).map_err(|error| of_export(&error)),
        ExportForm::Gguf => write_gguf(beside, adapter, text).map_err(|error| of_export(&error)),
    }
}

fn of_export(error: &ExportError) -> RpcError {
    match error {
        ExportError::Io { file, source } => faults::of_writing(file, source),
        ExportError::Base(error) => faults::of_base(error),
        other => RpcError::new(ErrorCode::UnusableAdapter, other.to_string()),
    }
}

/// Where the export will lie, and where it is written until it is whole.
struct Place {
    out: PathBuf,
    beside: PathBuf,
}

impl Place {
    fn new(out: &Path, form: ExportForm, force: bool) -> Result<Place, RpcError> {
        let bad = |why: String| RpcError::new(ErrorCode::InvalidParams, why);
        let (Some(name), Some(parent), true) = (out.file_name(), out.parent(), out.is_absolute()) else {
            return Err(bad(format!(
                "{} is no place for an export; name a path that ends in a new name",
                out.display()
            )));
        };
        if out.symlink_metadata().is_ok() {
            if !force {
                return Err(bad(format!(
                    "{} exists; name another place, or replace it with --force",
                    out.display()
                )));
            }
            if !is_export(out, form) {
                return Err(bad(format!(
                    "{} is no earlier export of this form, and --force replaces nothing else; name another place",
                    out.display()
                )));
            }
        }
        fs::create_dir_all(parent).map_err(|error| faults::of_writing(parent, &error))?;
        let beside = parent.join(format!(".{}.new-{}", name.to_string_lossy(), std::process::id()));
        // Left over from an attempt that was killed.
        remove(&beside).map_err(|error| faults::of_writing(&beside, &error))?;
        Ok(Place { out: out.to_owned(), beside })
    }

    fn publish(&self) -> std::io::Result<()> {
        let old = self.beside.with_extension("old");
        let replaces = self.out.symlink_metadata().is_ok();
        if replaces {
            remove(&old)?;
            fs::rename(&self.out, &old)?;
        }
        let published = if self.beside.is_dir() {
            durable::publish(&self.beside, &self.out)
        } else {
            fs::rename(&self.beside, &self.out)
        };
        if published.is_err() && replaces {
            fs::rename(&old, &self.out)?;
        }
        published?;
        if replaces { remove(&old) } else { Ok(()) }
    }
}

/// Only what an export made is replaced: `--force` on the wrong folder must not cost anybody their files.
fn is_export(out: &Path, form: ExportForm) -> bool {
    match form {
        ExportForm::Peft => out.join("adapter_config.json").is_file() || is_empty(out),
        ExportForm::Merged => {
            (out.join("config.json").is_file() && !out.join("adapter_config.json").exists()) || is_empty(out)
        }
        ExportForm::Gguf => {
            out.is_file()
                && fs::File::open(out).is_ok_and(|mut file| {
                    let mut magic = [0; 4];
                    std::io::Read::read_exact(&mut file, &mut magic).is_ok() && &magic == b"GGUF"
                })
        }
    }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

fn remove(path: &Path) -> std::io::Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    }
}

fn size(path: &Path) -> u64 {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| size(&entry.path())).sum(),
        Err(_) => fs::metadata(path).map_or(0, |found| found.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_replaces_only_an_export_and_only_when_told() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("letters");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("to-mother.txt"), "Dear").unwrap();
        let message = |force| Place::new(&folder, ExportForm::Peft, force).err().unwrap().message;
        assert!(message(false).contains("--force"));
        assert!(message(true).contains("no earlier export"));
        let file = root.path().join("a.gguf");
        fs::write(&file, b"GGUFold").unwrap();
        let place = Place::new(&file, ExportForm::Gguf, true).unwrap();
        fs::write(&place.beside, b"GGUFnew").unwrap();
        place.publish().unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"GGUFnew");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2, "nothing is left over");
        assert!(Place::new(Path::new("/"), ExportForm::Peft, false).is_err());
    }
}
