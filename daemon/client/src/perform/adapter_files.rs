//! `export`, `import`, `verify`: adapters on their way out and in, and whether they are still themselves.

use std::path::Path;

use hotplate_protocol::methods::export::{Export, ExportParams};
use hotplate_protocol::methods::import::{Import, ImportParams};
use hotplate_protocol::methods::verify::{Verify, VerifyParams};

use super::PerformError;
use crate::canceller::Canceller;
use crate::command::{ExportArgs, ImportArgs, VerifyArgs, adapter_or_folder, base_or_folder, folder_in};
use crate::connection::Connection;
use crate::shown::Shown;

pub(super) fn export(
    connection: &Connection,
    args: &ExportArgs,
    folder: &Path,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), PerformError> {
    let adapter = adapter_or_folder(folder, &args.adapter);
    let Some(form) = args.form() else { return Err(PerformError::NothingToMerge) };
    let params = ExportParams {
        adapter: match args.version {
            Some(version) => format!("{adapter}@{version}"),
            None => adapter,
        },
        base: args.base.base.as_deref().map(|base| base_or_folder(folder, base)),
        form,
        out: folder_in(folder, &args.out),
        force: args.force,
    };
    show(Shown::Exported(connection.call_with::<Export>(&params, canceller, &mut |_| {})?));
    Ok(())
}

pub(super) fn import(
    connection: &Connection,
    args: &ImportArgs,
    folder: &Path,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), PerformError> {
    let params = ImportParams {
        path: folder_in(folder, &args.path),
        name: args.name.clone(),
        base: args.base.base.as_deref().map(|base| base_or_folder(folder, base)),
    };
    show(Shown::Imported(connection.call_with::<Import>(&params, canceller, &mut |_| {})?));
    Ok(())
}

pub(super) fn verify(
    connection: &Connection,
    args: &VerifyArgs,
    folder: &Path,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), PerformError> {
    let params = VerifyParams {
        adapter: adapter_or_folder(folder, &args.adapter),
        base: args.base.base.as_deref().map(|base| base_or_folder(folder, base)),
        merged: args.merged.as_deref().map(|merged| folder_in(folder, merged)),
    };
    let result = connection.call_with::<Verify>(&params, canceller, &mut |_| {})?;
    let (passed, adapter) = (result.passed, result.adapter.clone());
    show(Shown::Verified(result));
    if passed { Ok(()) } else { Err(PerformError::NotVerified { adapter }) }
}
