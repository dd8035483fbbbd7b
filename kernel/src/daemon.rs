//! The session with the daemon: opened when a cell first needs it, opened again after the daemon has gone.

use std::env;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use hotplate_client::protocol::methods::{Nothing, adapters};
use hotplate_client::{ConnectError, Connection, Home, HomeError, PeerInfo, Spawn};

/// Names the `hotplate` program.
pub(crate) const PROGRAM_VARIABLE: &str = "HOTPLATE_BIN";

/// A completion must not make a person wait.
const COMPLETION_PATIENCE: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{PROGRAM_VARIABLE} names {}, and no such file exists; set it to the hotplate program, or unset it", program.display())]
    NoSuchProgram { program: PathBuf },
    #[error(
        "cannot find the program hotplate, which holds the models; it is not beside this kernel ({}) and not on PATH: \
         build it with `cargo build --release`, and put it there or set {PROGRAM_VARIABLE} to its path", kernel_folder.display()
    )]
    NoProgram { kernel_folder: PathBuf },
}

impl DaemonError {
    /// What a program can tell errors apart by.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            DaemonError::Home(_) => "NoHome",
            DaemonError::NoProgram { .. } | DaemonError::NoSuchProgram { .. } => "NoProgram",
            DaemonError::Connect(ConnectError::Mismatch(_)) => "ProtocolMismatch",
            DaemonError::Connect(_) => "NoDaemon",
        }
    }
}

pub(crate) struct Daemon {
    connection: Option<Connection>,
}

impl Daemon {
    pub(crate) fn new() -> Daemon {
        Daemon { connection: None }
    }

    /// The session; a daemon is started if none runs.
    pub(crate) fn connection(&mut self) -> Result<Connection, DaemonError> {
        match self.running() {
            Err(DaemonError::Connect(ConnectError::NotRunning { .. })) => {
                self.open(&Spawn::IfNeeded { program: find_program()? })
            }
            outcome => outcome,
        }
    }

    /// The session, if a daemon runs.
    pub(crate) fn running(&mut self) -> Result<Connection, DaemonError> {
        match &self.connection {
            Some(connection) if !connection.wait_closed(Duration::ZERO) => Ok(connection.clone()),
            _ => self.open(&Spawn::Never),
        }
    }

    /// The next use opens a new session.
    pub(crate) fn hang_up(&mut self) {
        self.connection = None;
    }

    pub(crate) fn home() -> Result<Home, HomeError> {
        Home::from_env()
    }

    /// Beside the daemon's log. `None`: there is no home, and a cell will say why.
    pub(crate) fn history_file() -> Option<PathBuf> {
        Some(Self::home().ok()?.log().with_file_name("notebook-history.jsonl"))
    }

    /// The adapters' names, if they can be had without starting a daemon or waiting for one.
    pub(crate) fn adapter_names(&mut self) -> Vec<String> {
        let Ok(connection) = self.running() else { return Vec::new() };
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let asking = thread::Builder::new().name("adapter names".to_owned()).spawn(move || {
            let _ = sender.send(connection.call::<adapters::Adapters>(&Nothing {}));
        });
        match asking.map(|_| receiver.recv_timeout(COMPLETION_PATIENCE)) {
            Ok(Ok(Ok(list))) => list.into_iter().map(|adapter| adapter.name).collect(),
            _ => Vec::new(),
        }
    }

    fn open(&mut self, spawn: &Spawn) -> Result<Connection, DaemonError> {
        self.connection = None;
        let peer =
            PeerInfo { name: "hotplate-kernel".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let connection = Connection::open(&Self::home()?, spawn, peer)?;
        self.connection = Some(connection.clone());
        Ok(connection)
    }
}

/// [`PROGRAM_VARIABLE`], else the program beside this one, else the one on `PATH`.
pub(crate) fn find_program() -> Result<PathBuf, DaemonError> {
    if let Some(program) = env::var_os(PROGRAM_VARIABLE).filter(|value| !value.is_empty()) {
        let program = PathBuf::from(program);
        return if program.is_file() { Ok(program) } else { Err(DaemonError::NoSuchProgram { program }) };
    }
    let name = format!("hotplate{}", env::consts::EXE_SUFFIX);
    let kernel_folder =
        env::current_exe().ok().and_then(|kernel| Some(kernel.parent()?.to_owned())).unwrap_or_default();
    let path = env::var_os("PATH").unwrap_or_default();
    std::iter::once(kernel_folder.clone())
        .chain(env::split_paths(&path))
        .map(|folder| folder.join(&name))
        .find(|program| program.is_file())
        .ok_or(DaemonError::NoProgram { kernel_folder })
}
