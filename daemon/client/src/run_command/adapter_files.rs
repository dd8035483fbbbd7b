//! `export`, `import`, `verify`: adapters on their way out and in, and whether they are still themselves.

use hotplate_protocol::methods::export::{Export, ExportParams};
use hotplate_protocol::methods::import::{Import, ImportParams};
use hotplate_protocol::methods::verify::{Verify, VerifyParams};

use super::CommandError;
use super::context::Context;
use crate::command::{ExportArgs, ImportArgs, VerifyArgs};
use crate::shown::Shown;

pub(super) fn export(
    context: &Context<'_>,
    args: &ExportArgs,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    let adapter = context.adapter(&args.adapter)?;
    let Some(form) = args.form() else { return Err(CommandError::NothingToMerge) };
    let params = ExportParams {
        adapter: match args.version {
            Some(version) => at_version(adapter, version)?,
            None => adapter,
        },
        base: context.base(&args.base),
        fallback_base: context.fallback(),
        form,
        out: context.path(&args.out),
        force: args.force,
    };
    show(Shown::Exported(context.connection.call_with::<Export>(&params, context.canceller, &mut |_| {})?));
    Ok(())
}

/// `name@2` and `--version 2` may both say it, but not differ.
fn at_version(adapter: String, version: u32) -> Result<String, CommandError> {
    match adapter.rsplit_once('@').and_then(|(_, named)| named.trim_start_matches('v').parse::<u32>().ok()) {
        Some(named) if named == version => Ok(adapter),
        Some(named) => Err(CommandError::TwoVersions { named, version }),
        None => Ok(format!("{adapter}@{version}")),
    }
}

pub(super) fn import(
    context: &Context<'_>,
    args: &ImportArgs,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    let params = ImportParams {
        path: context.path(&args.path),
        name: args.name.clone(),
        base: context.base(&args.base),
        fallback_base: context.fallback(),
    };
    show(Shown::Imported(context.connection.call_with::<Import>(&params, context.canceller, &mut |_| {})?));
    Ok(())
}

pub(super) fn verify(
    context: &Context<'_>,
    args: &VerifyArgs,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    let params = VerifyParams {
        adapter: context.adapter(&args.adapter)?,
        base: context.base(&args.base),
        fallback_base: context.fallback(),
        merged: args.merged.as_deref().map(|merged| context.path(merged)),
    };
    let result = context.connection.call_with::<Verify>(&params, context.canceller, &mut |_| {})?;
    let (passed, adapter) = (result.passed, result.adapter.clone());
    show(Shown::Verified(result));
    if passed { Ok(()) } else { Err(CommandError::NotVerified { adapter }) }
}
