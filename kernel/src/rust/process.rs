//! The other program's process: found, started in a process group of its own, spoken to, and ended with everything below it.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::said::{Asked, Said};

/// Names the program that runs Rust cells.
pub(crate) const PROGRAM_VARIABLE: &str = "HOTPLATE_RUST_CELLS_BIN";
/// Where evcxr builds; it would take a folder of its own, and leave it behind when it is killed.
const EVCXR_FOLDER: &str = "EVCXR_TMPDIR";
/// Where rust-analyzer looks for the standard library's sources first. The other program puts them there.
const SOURCES: &str = "RUST_SRC_PATH";
/// What has been said and not been taken yet. Whoever says more has to wait.
const WAITING: usize = 64;
/// A program that does not end by itself within this time is killed.
const LEAVING: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(crate) enum NoProcess {
    #[error("{PROGRAM_VARIABLE} names {}, and no such file exists; set it to the program hotplate-rust-cells, or unset it", .0.display())]
    NoSuchProgram(PathBuf),
    #[error(
        "cannot find the program hotplate-rust-cells, which compiles Rust cells; it is not beside this kernel ({}): build both with \
         `cargo build --release --workspace`, or `cargo install --path kernel`. Everything that begins with % works without it", .0.display()
    )]
    NoProgram(PathBuf),
    #[error("cannot start the program hotplate-rust-cells: {0}")]
    CannotStart(#[from] io::Error),
}

pub(crate) struct Process {
    child: Child,
    /// `None`: the process has been told to end.
    input: Option<ChildStdin>,
    pub said: Receiver<Said>,
    /// The program's own, for what it builds.
    folder: PathBuf,
}

impl Process {
    pub(crate) fn start() -> Result<Process, NoProcess> {
        let program = find_program()?;
        let folder = env::temp_dir().join(format!("hotplate-rust-{}", uuid::Uuid::new_v4().simple()));
        let mut command = Command::new(program);
        if env::var_os(SOURCES).is_none() {
            command.env(SOURCES, folder.join("library"));
        }
        command
            .arg("serve")
            .arg(&folder)
            .env(EVCXR_FOLDER, folder.join("cells"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("it has no standard streams").into());
        };
        let (sender, said) = crossbeam_channel::bounded(WAITING);
        thread::Builder::new().name("rust cells".to_owned()).spawn(move || read(output, &sender))?;
        Ok(Process { child, input: Some(input), said, folder })
    }

    /// Fails when the process is gone; then `said` ends, too.
    pub(crate) fn ask(&mut self, asked: &Asked) -> io::Result<()> {
        let mut line = serde_json::to_vec(asked)?;
        line.push(b'\n');
        match &mut self.input {
            Some(input) => input.write_all(&line),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// How it ended, once it has; it is gone with all that it started.
    pub(crate) fn end(mut self) -> Option<ExitStatus> {
        self.kill()
    }

    fn kill(&mut self) -> Option<ExitStatus> {
        let ended = self.child.try_wait().ok().flatten();
        // It cleans up by itself once nobody speaks to it, and so it does where this kernel is killed.
        self.input = None;
        let deadline = Instant::now() + LEAVING;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        // The group's number cannot be another's while one of the group is left.
        #[cfg(unix)]
        if let Some(group) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let status = self.child.wait().ok();
        let _ = fs::remove_dir_all(&self.folder);
        ended.or(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read(output: impl io::Read, said: &Sender<Said>) {
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { return };
        match serde_json::from_str(&line) {
            Ok(one) => {
                if said.send(one).is_err() {
                    return;
                }
            }
            Err(error) => tracing::error!("cannot read what the Rust cells' program says: {error}"),
        }
    }
}

/// [`PROGRAM_VARIABLE`], else the program beside this one.
fn find_program() -> Result<PathBuf, NoProcess> {
    if let Some(program) = env::var_os(PROGRAM_VARIABLE).filter(|value| !value.is_empty()) {
        let program = PathBuf::from(program);
        return if program.is_file() { Ok(program) } else { Err(NoProcess::NoSuchProgram(program)) };
    }
    let folder =
        env::current_exe().ok().and_then(|kernel| Some(kernel.parent()?.to_owned())).unwrap_or_default();
    let program = folder.join(format!("hotplate-rust-cells{}", env::consts::EXE_SUFFIX));
    if program.is_file() { Ok(program) } else { Err(NoProcess::NoProgram(folder)) }
}
