//! Where the demo is played: a folder for a short while, with a daemon of its own in it. Both are cleared away
//! at the end, however it comes.

use std::env;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use hotplate_client::command::{Command, OutputArgs, StopArgs};
use hotplate_client::{Canceller, Connection, Home, Spawn, run_command};
use tempfile::TempDir;

use crate::cli::{myself, this_program};

/// The path of a Unix socket may not be long; on some systems the temporary folder's is.
const LONGEST_TEMPORARY: usize = 48;

pub(super) struct Stage {
    /// `None` once the folder is to stay.
    folder: Option<TempDir>,
    root: PathBuf,
    connection: Connection,
    /// From starting the daemon to its answer.
    pub(super) ready: Duration,
}

impl Stage {
    pub(super) fn build() -> anyhow::Result<Stage> {
        let mut temporary = env::temp_dir();
        if cfg!(unix) && temporary.as_os_str().len() > LONGEST_TEMPORARY {
            temporary = PathBuf::from("/tmp");
        }
        let folder = tempfile::Builder::new()
            .prefix("hotplate-demo-")
            .tempdir_in(&temporary)
            .with_context(|| format!("cannot make a folder in {}", temporary.display()))?;
        let root = folder.path().to_owned();
        let home = Home::at(&root.join("home"))?;
        let begun = Instant::now();
        let spawn = Spawn::IfNeeded { program: this_program()? };
        let connection = Connection::open(&home, &spawn, myself())?;
        Ok(Stage { folder: Some(folder), root, connection, ready: begun.elapsed() })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn home(&self) -> &Path {
        self.connection.home().root()
    }

    /// The dataset's folder; the adapter gets its name.
    pub(super) fn notes(&self) -> PathBuf {
        self.root.join("notes")
    }

    /// Leaves the folder where it is. The daemon stops all the same: any command in this home starts it again.
    pub(super) fn keep(&mut self) {
        if let Some(folder) = self.folder.take() {
            let _ = folder.keep();
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let stop = Command::Stop(StopArgs { when_idle: false, output: OutputArgs::default() });
        let stopped = run_command(&self.connection, &stop, &self.root, &Canceller::new(), &mut |_| {});
        if stopped.is_err() {
            self.end_the_process();
        }
        // The folder goes after this, when its field is dropped: nobody writes to it any more.
    }
}

impl Stage {
    /// A daemon that does not listen to reason. It is ours alone, and all it has will be deleted.
    fn end_the_process(&self) {
        #[cfg(unix)]
        {
            let pid = i32::try_from(self.connection.server().hotplate.pid).ok();
            if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw)
                && !self.connection.wait_closed(Duration::from_millis(100))
            {
                // It may have ended in this instant.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                self.connection.wait_closed(Duration::from_secs(5));
            }
        }
    }
}
