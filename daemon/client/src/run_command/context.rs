//! What a command's words mean here: relative paths, names of bases and adapters, and the base that holds where none is named.

use std::path::{Path, PathBuf};

use hotplate_protocol::knobs::{Effective, Source};
use hotplate_protocol::methods::Nothing;
use hotplate_protocol::methods::adapters::Adapters;
use serde_json::Value;

use super::CommandError;
use crate::canceller::Canceller;
use crate::chosen_base::{ChosenBase, TOY, chosen_base};
use crate::command::{AdapterArg, BaseArg, adapter_or_folder, base_or_folder, folder_in};
use crate::connection::Connection;

pub(super) struct Context<'a> {
    pub(super) connection: &'a Connection,
    pub(super) canceller: &'a Canceller,
    /// Relative paths start here.
    pub(super) folder: &'a Path,
    pub(super) chosen: Option<ChosenBase>,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        folder: &'a Path,
        canceller: &'a Canceller,
    ) -> Result<Context<'a>, CommandError> {
        let chosen = chosen_base(connection.home(), folder)?;
        Ok(Context { connection, canceller, folder, chosen })
    }

    pub(super) fn path(&self, path: &Path) -> PathBuf {
        folder_in(self.folder, path)
    }

    pub(super) fn base(&self, named: &BaseArg) -> Option<String> {
        named.base.as_deref().map(|base| base_or_folder(self.folder, base))
    }

    pub(super) fn fallback(&self) -> Option<String> {
        self.chosen.as_ref().map(|chosen| chosen.base.clone())
    }

    /// A name of the store goes before a folder of the same name that lies here; a path has a slash.
    pub(super) fn adapter(&self, argument: &str) -> Result<String, CommandError> {
        let meant = adapter_or_folder(self.folder, argument);
        if meant == argument || argument.contains(['/', '\\']) || matches!(argument, "." | "..") {
            return Ok(meant);
        }
        let name = argument.rsplit_once('@').map_or(argument, |(name, _)| name);
        let known = self.connection.call_with::<Adapters>(&Nothing {}, self.canceller, &mut |_| {})?;
        let is_known = known.iter().any(|adapter| adapter.name == name);
        Ok(if is_known { argument.to_owned() } else { meant })
    }

    pub(super) fn named_adapter(&self, named: &AdapterArg) -> Result<Option<String>, CommandError> {
        named.adapter.as_deref().map(|adapter| self.adapter(adapter)).transpose()
    }

    /// Whether the toy answers, and nobody has said that it shall.
    pub(super) fn is_toy_by_default(&self, named: &BaseArg, adapter: Option<&str>, base: &str) -> bool {
        base == TOY && self.chosen.is_none() && named.base.is_none() && adapter.is_none()
    }

    /// The same of a run or a check, whose settings say where the base came from.
    pub(super) fn is_toy_by_settings(&self, settings: &[Effective]) -> bool {
        self.chosen.is_none()
            && settings.iter().any(|setting| {
                setting.key == "base"
                    && setting.source == Source::Chosen
                    && setting.value == Value::String(TOY.to_owned())
            })
    }
}
