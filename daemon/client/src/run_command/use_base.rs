//! `use`: which base holds where a command names none.

use std::path::Path;

use hotplate_home::Home;
use hotplate_protocol::methods::Nothing;
use hotplate_protocol::methods::adapters::Adapters;
use hotplate_protocol::methods::look_at_base::{LookAtBase, LookAtBaseParams};

use super::CommandError;
use crate::canceller::Canceller;
use crate::chosen_base::{TOY, choose, chosen_base};
use crate::command::{UseArgs, base_or_folder, looks_like_a_path};
use crate::connection::Connection;
use crate::shown::Shown;

/// What holds now, after it was reset if that was asked for. Needs no daemon; false where a base is to be chosen, which does.
pub fn show_or_reset(
    home: &Home,
    args: &UseArgs,
    folder: &Path,
    show: &mut dyn FnMut(Shown),
) -> Result<bool, CommandError> {
    if args.resets() {
        choose(home, None)?;
    } else if args.base.is_some() {
        return Ok(false);
    }
    show(Shown::BaseInUse { chosen: chosen_base(home, folder)?, info: None });
    Ok(true)
}

/// Looks at a base and notes it.
pub fn use_base(
    connection: &Connection,
    args: &UseArgs,
    folder: &Path,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    let named = args.base.as_deref().unwrap_or(TOY);
    let base = base_or_folder(folder, named);
    let params = LookAtBaseParams { base };
    let info = match connection.call_with::<LookAtBase>(&params, canceller, &mut |_| {}) {
        Ok(info) => info,
        Err(error) => {
            let adapters = connection.call_with::<Adapters>(&Nothing {}, canceller, &mut |_| {})?;
            let name = named.split('@').next().unwrap_or(named);
            if !looks_like_a_path(named) && adapters.iter().any(|adapter| adapter.name == name) {
                return Err(CommandError::NotABase { name: named.to_owned() });
            }
            return Err(error.into());
        }
    };
    let base = info.path.as_ref().map_or_else(|| TOY.to_owned(), |path| path.to_string_lossy().into_owned());
    choose(connection.home(), Some((&base, named)))?;
    show(Shown::BaseInUse { chosen: chosen_base(connection.home(), folder)?, info: Some(info) });
    Ok(())
}
