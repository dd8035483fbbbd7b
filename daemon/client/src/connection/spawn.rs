//! Starts a daemon that outlives this process.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use hotplate_home::Home;

use super::error::ConnectError;
use hotplate_home::own_file;

/// What to do when no daemon is there.
#[derive(Debug, Clone)]
pub enum Spawn {
    /// Run `program daemon`, detached.
    IfNeeded {
        program: PathBuf,
    },
    Never,
}

const LAST_LINES: usize = 10;
const LAST_BYTES: u64 = 16 << 10;

/// A daemon process that this client started, and where its words begin in the log.
pub(super) struct Started {
    child: Option<Child>,
    log: PathBuf,
    log_start: u64,
}

pub(super) enum ChildState {
    Running,
    /// It ended without an error: another daemon holds the lock.
    GaveWay,
    Failed(String),
}

impl Started {
    /// The child has its own session (`setsid`), so that neither a closing terminal nor a Ctrl-C reaches it.
    pub(super) fn new(program: &Path, home: &Home) -> Result<Started, ConnectError> {
        let log = home.log();
        let cannot_log = |source| ConnectError::CannotLog { log: log.clone(), source };
        let out = own_file::append(&log).map_err(cannot_log)?;
        let log_start = out.metadata().map_err(cannot_log)?.len();
        let err = out.try_clone().map_err(cannot_log)?;

        let mut command = Command::new(program);
        command.arg("daemon").stdin(Stdio::null()).stdout(out).stderr(err);
        // The daemon must not keep the folder busy in which somebody happened to type the first command.
        command.current_dir(home.root());
        if let Some((name, root)) = home.environment() {
            command.env(name, root);
        }
        in_own_session(&mut command);
        let child = command
            .spawn()
            .map_err(|source| ConnectError::CannotStart { program: program.to_owned(), source })?;
        Ok(Started { child: Some(child), log, log_start })
    }

    pub(super) fn state(&mut self) -> ChildState {
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(None)) => ChildState::Running,
            Some(Ok(Some(status))) if status.success() => ChildState::GaveWay,
            Some(Ok(Some(status))) => ChildState::Failed(status.to_string()),
            Some(Err(error)) => ChildState::Failed(error.to_string()),
            None => ChildState::GaveWay,
        }
    }

    /// What the child has written to the log, its last lines.
    pub(super) fn last_lines(&self) -> Vec<String> {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = own_file::open(&self.log)?;
            let end = file.metadata()?.len();
            // A shorter file is a new one: the daemon begins another one when the log has grown too long.
            let start = if end < self.log_start { 0 } else { self.log_start };
            file.seek(SeekFrom::Start(start.max(end.saturating_sub(LAST_BYTES))))?;
            let mut bytes = Vec::new();
            file.take(LAST_BYTES).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|&line| line.to_owned()).collect()
    }
}

impl Drop for Started {
    /// A long-lived client (the notebook kernel) would otherwise keep the daemon as a zombie after its end.
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Without a thread for it the zombie stays until this process ends: harmless.
            let _ = thread::Builder::new().name("hotplate reaper".to_owned()).spawn(move || child.wait());
        }
    }
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "std has no stable way to start a child in a session of its own")]
fn in_own_session(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    // SAFETY: between fork and exec only async-signal-safe calls are allowed; setsid(2) is one, and the closure
    // neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
}

#[cfg(windows)]
fn in_own_session(command: &mut Command) {
    use std::os::windows::process::CommandExt;

    const DETACHED_PROCESS: u32 = 0x0000_0008;
    const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;
    command.creation_flags(DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP);
}
