//! What a notebook does beyond the shared commands: a cell's texts written and looked at, and the choice of an adapter.

use std::fs;
use std::path::{Path, PathBuf};

use hotplate_client::command::{CheckArgs, Command, adapter_or_folder, base_or_folder, folder_in};
use hotplate_client::protocol::methods::Nothing;
use hotplate_client::protocol::methods::adapters::Adapters;
use hotplate_client::protocol::methods::check::CheckResult;
use hotplate_client::protocol::methods::status::{Status, WatchStatus};
use hotplate_client::{CallError, Canceller, CommandError, Connection, Shown, TOY, run_command};
use hotplate_home::hub::HubName;
use hotplate_home::is_gguf_file;

use crate::chosen::Chosen;
use crate::command::{ExamplesArgs, UseArgs};
use crate::daemon::{Daemon, DaemonError};
use crate::run_cell::perform_error_name;
use crate::show::Painter;
use crate::write_examples::{self, Form, WriteError, Written};

#[derive(Debug, thiserror::Error)]
pub(crate) enum TextCellError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("cannot lay the cell's text aside to look at it: {0}; is the disk full?")]
    NoDraft(std::io::Error),
    #[error("there is no adapter {name}; {there_are}")]
    NoAdapter { name: String, there_are: String },
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    Perform(#[from] CommandError),
}

impl From<CallError> for TextCellError {
    fn from(error: CallError) -> Self {
        TextCellError::Perform(error.into())
    }
}

impl TextCellError {
    /// What a program can tell errors apart by.
    pub(crate) fn name(&self) -> String {
        match self {
            TextCellError::Write(_) | TextCellError::NoDraft(_) => "NotWritten".to_owned(),
            TextCellError::NoAdapter { .. } => "UnusableAdapter".to_owned(),
            TextCellError::Daemon(error) => error.name().to_owned(),
            TextCellError::Perform(error) => perform_error_name(error),
        }
    }
}

/// `%use`
pub(crate) fn choose(
    chosen: &mut Chosen,
    daemon: &mut Daemon,
    args: &UseArgs,
    folder: &Path,
    painter: &mut Painter<'_>,
) -> Result<(), TextCellError> {
    if args.nothing || args.adapter.as_deref() == Some("none") {
        *chosen = Chosen::default();
    } else if let (Some(base), None) =
        (args.adapter.as_deref().filter(|name| is_base(folder, name)), &args.base.base)
    {
        *chosen = Chosen { base: Some(base_or_folder(folder, base)), ..Chosen::default() };
    } else if args.adapter.is_some() || args.base.base.is_some() {
        let adapter = args.adapter.as_deref().map(|adapter| adapter_or_folder(folder, adapter));
        if let Some(adapter) = adapter.as_deref().filter(|adapter| !Path::new(adapter).is_absolute()) {
            must_exist(daemon, adapter)?;
        }
        let base = args.base.base.as_deref().map(|base| base_or_folder(folder, base));
        *chosen = Chosen { adapter, base, ..Chosen::default() };
    }
    painter.sentence(&chosen.in_words());
    Ok(())
}

/// `%use` takes both: a base is a GGUF file, a folder with a whole model, or a name as on the hub that is no path here.
fn is_base(folder: &Path, name: &str) -> bool {
    let path = folder_in(folder, Path::new(name));
    if path.exists() {
        let holds = |file: &str| path.join(file).is_file();
        return is_gguf_file(&path)
            || (holds("config.json") && !holds("adapter_config.json") && name.contains('/'))
            || (path.is_dir() && name.contains('/') && holds_gguf(&path));
    }
    name == TOY || name.parse::<HubName>().is_ok()
}

fn holds_gguf(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| is_gguf_file(&entry.path()))
}

/// A name with a slip in it is found now, not three cells later.
fn must_exist(daemon: &mut Daemon, adapter: &str) -> Result<(), TextCellError> {
    let list = daemon.connection()?.call::<Adapters>(&Nothing {})?;
    let name = adapter.rsplit_once('@').map_or(adapter, |(name, _)| name);
    if list.iter().any(|known| known.name == name) {
        return Ok(());
    }
    let names: Vec<&str> = list.iter().map(|known| known.name.as_str()).collect();
    let there_are = match names.as_slice() {
        [] => "there are none yet: hotplate train FOLDER makes one".to_owned(),
        names => format!("there are: {}", names.join(", ")),
    };
    Err(TextCellError::NoAdapter { name: name.to_owned(), there_are })
}

/// `%%check`: the texts as a file of a folder that nobody else sees. `line` is where the command stands in its cell, so
/// that a finding names the cell's own lines.
pub(crate) fn check(
    connection: &Connection,
    args: CheckArgs,
    text: &str,
    line: usize,
    canceller: &Canceller,
    painter: &mut Painter<'_>,
) -> Result<(), TextCellError> {
    let folder = tempfile::tempdir().map_err(TextCellError::NoDraft)?;
    let file = folder.path().join(format!("cell.{}", Form::of(text).extension()));
    fs::write(file, format!("{}{text}\n", "\n".repeat(line))).map_err(TextCellError::NoDraft)?;
    let command = Command::Check(CheckArgs { folder: folder.path().to_owned(), ..args });
    let outcome = run_command(connection, &command, folder.path(), canceller, &mut |mut shown| {
        if let Shown::Checked(check) = shown {
            // Settings would be those of the folder that the texts go to.
            let folder = PathBuf::from("this cell");
            shown = Shown::CheckedTexts(CheckResult { folder, settings: Vec::new(), ..check });
        }
        painter.show(&shown);
    });
    Ok(outcome?)
}

/// A session that hears of every run, and what is watched: opened before a file is saved, so that nothing is missed.
pub(crate) struct Watched {
    connection: Connection,
    watch: WatchStatus,
}

/// `None` where nobody watches the folder, or nobody can be asked: then the file is simply written.
pub(crate) fn watched(daemon: &mut Daemon, folder: &Path) -> Option<Watched> {
    let connection = daemon.running().ok()?;
    let folder = fs::canonicalize(folder).ok()?;
    let watches = connection.call::<Status>(&Nothing {}).ok()?.watches;
    let watch = watches.into_iter().find(|watch| folder.starts_with(&watch.folder))?;
    run_command::attach_to_all(&connection).ok()?;
    Some(Watched { connection, watch })
}

/// `%%examples`
pub(crate) fn examples(
    watched: Option<&Watched>,
    folder: &Path,
    args: &ExamplesArgs,
    text: &str,
    canceller: &Canceller,
    painter: &mut Painter<'_>,
) -> Result<(), TextCellError> {
    let written = write_examples::write(folder, args.file.as_deref(), text)?;
    painter.sentence(&in_words(&written, &args.folder, watched));
    if let Some(Watched { connection, watch }) = watched.filter(|_| !written.already) {
        let began = run_command::follow_save(connection, &watch.adapter, canceller, &mut |shown| {
            painter.show(&shown);
        })?;
        if !began {
            painter.sentence("No run has begun yet; hotplate status says what the daemon does.");
        }
    }
    Ok(())
}

fn in_words(written: &Written, folder: &Path, watched: Option<&Watched>) -> String {
    let file = folder.join(written.file.file_name().unwrap_or_default());
    let file = file.display();
    if written.already {
        return format!("The cell is already in {file}; nothing was written.");
    }
    let next = match watched {
        Some(Watched { watch, .. }) => format!("{} is watched: it is learnt now.", watch.folder.display()),
        None => {
            format!("hotplate check {0} looks at them, hotplate train {0} learns them.", folder.display())
        }
    };
    let made = if written.made_folder { ", a new folder" } else { "" };
    format!("Written to {file}{made}. {next}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_told_from_an_adapter() {
        let here = tempfile::tempdir().unwrap();
        let here = here.path();
        for (folder, file) in
            [("base", "config.json"), ("lora", "adapter_config.json"), ("quantised", "a.gguf")]
        {
            fs::create_dir(here.join(folder)).unwrap();
            fs::write(here.join(folder).join(file), "{}").unwrap();
        }
        fs::write(here.join("b.gguf"), "GGUF").unwrap();
        for base in ["base/", "./base", "quantised/", "b.gguf", "hotplate-tiny", "some-org/some-model"] {
            assert!(is_base(here, base), "{base}");
        }
        for adapter in ["notes", "notes@2", "lora/", "./lora", "base", "no-such/folder/here"] {
            assert!(!is_base(here, adapter), "{adapter}");
        }
    }
}
