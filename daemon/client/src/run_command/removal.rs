//! `delete`, `prune`, `rename`; and the question that comes first where somebody can answer it.

use hotplate_protocol::methods::delete::{Delete, DeleteParams};
use hotplate_protocol::methods::prune::{Prune, PruneParams};
use hotplate_protocol::methods::rename::{Rename, RenameParams};

use super::CommandError;
use crate::canceller::Canceller;
use crate::command::{Command, DeleteArgs, PruneArgs, RenameArgs};
use crate::connection::Connection;
use crate::shown::Shown;
use crate::words;

/// What a person is to say yes to before `command` is performed; `None` where nothing would be lost.
///
/// # Errors
/// Why the command would be refused.
pub fn question(
    connection: &Connection,
    command: &Command,
    canceller: &Canceller,
) -> Result<Option<String>, CommandError> {
    if !command.needs_a_yes() {
        return Ok(None);
    }
    match command {
        Command::Delete(args) => {
            let params = DeleteParams { adapter: args.adapter.clone(), dry_run: true };
            let result = connection.call_with::<Delete>(&params, canceller, &mut |_| {})?;
            Ok(Some(words::delete_question(&result)))
        }
        Command::Prune(args) => {
            let params = PruneParams { dry_run: true, ..prune_params(args) };
            let result = connection.call_with::<Prune>(&params, canceller, &mut |_| {})?;
            Ok((!result.adapters.is_empty()).then(|| words::prune_question(&result)))
        }
        _ => Ok(None),
    }
}

pub(super) fn delete(
    connection: &Connection,
    args: &DeleteArgs,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    let params = DeleteParams { adapter: args.adapter.clone(), dry_run: false };
    show(Shown::Deleted(connection.call_with::<Delete>(&params, canceller, &mut |_| {})?));
    Ok(())
}

pub(super) fn prune(
    connection: &Connection,
    args: &PruneArgs,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    show(Shown::Pruned(connection.call_with::<Prune>(&prune_params(args), canceller, &mut |_| {})?));
    Ok(())
}

fn prune_params(args: &PruneArgs) -> PruneParams {
    PruneParams { adapter: args.adapter.clone(), keep: args.keep, dry_run: args.dry_run }
}

pub(super) fn rename(
    connection: &Connection,
    args: &RenameArgs,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    let params = RenameParams { adapter: args.adapter.clone(), name: args.name.clone() };
    let adapter = connection.call_with::<Rename>(&params, canceller, &mut |_| {})?;
    show(Shown::Renamed { from: args.adapter.clone(), adapter });
    Ok(())
}
