//! Which JupyterLab: the one that is there, or one of our own in a Python environment that nothing else uses.

use std::env;
use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use hotplate_client::Home;

use super::say;

/// Written last: an environment without it was broken off.
const STAMP: &str = "hotplate.stamp";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Jupyter {
    /// `jupyter-lab` on `PATH`.
    Program(PathBuf),
    /// A Python that has the package.
    Module(PathBuf),
    /// Our own environment.
    Private(PathBuf),
}

impl Jupyter {
    pub(super) fn command(&self) -> Command {
        match self {
            Jupyter::Program(program) => Command::new(program),
            Jupyter::Module(python) => module(python),
            Jupyter::Private(environment) => module(&python_of(environment)),
        }
    }

    /// Where its kernels lie, if not in the person's own Jupyter folder.
    pub(super) fn prefix(&self) -> Option<&Path> {
        match self {
            Jupyter::Program(_) | Jupyter::Module(_) => None,
            Jupyter::Private(environment) => Some(environment),
        }
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Jupyter::Program(program) => program.display().to_string(),
            Jupyter::Module(python) => format!("that of {}", python.display()),
            Jupyter::Private(environment) => format!("Hotplate's own, in {}", environment.display()),
        }
    }

    fn works(&self) -> bool {
        let mut command = self.command();
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

fn module(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "jupyterlab"]);
    command
}

fn python_of(environment: &Path) -> PathBuf {
    if cfg!(windows) { environment.join("Scripts/python.exe") } else { environment.join("bin/python") }
}

fn environment(home: &Home) -> PathBuf {
    home.root().join("jupyter")
}

/// `None`: there is none on this machine.
pub(super) fn find(home: &Home) -> Option<Jupyter> {
    let program = on_path(&format!("jupyter-lab{}", env::consts::EXE_SUFFIX)).map(Jupyter::Program);
    let module = pythons().map(Jupyter::Module);
    let own = environment(home);
    let own = own.join(STAMP).is_file().then_some(Jupyter::Private(own));
    program.into_iter().chain(module).chain(own).find(Jupyter::works)
}

/// An environment with JupyterLab in it, after asking where somebody can be asked.
pub(super) fn make(home: &Home) -> anyhow::Result<Jupyter> {
    let folder = environment(home);
    let Some(python) = pythons().next() else {
        bail!(
            "there is no JupyterLab here, and no Python to make one with; install Python 3.10 or newer, then run this again"
        );
    };
    say(&format!(
        "There is no JupyterLab here. It can be fetched from the Python Package Index into an environment of Hotplate's own,\n{} (about 200 MB; delete that folder to be rid of it).",
        folder.display()
    ));
    if !agreed()? {
        bail!(
            "nothing was fetched; install JupyterLab yourself (pip install jupyterlab), then run this again"
        );
    }
    if folder.exists() {
        // Broken off, or its Python is gone.
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove what an earlier try left in {}", folder.display()))?;
    }
    say("Making the environment …");
    let made = Command::new(&python).args(["-m", "venv"]).arg(&folder).stdin(Stdio::null()).output()?;
    if !made.status.success() {
        let said = [made.stdout, made.stderr].concat();
        bail!(
            "{} cannot make an environment (on Debian and Ubuntu: apt install python3-venv). It said:\n{}",
            python.display(),
            String::from_utf8_lossy(&said).trim()
        );
    }
    say("Fetching JupyterLab (a minute or two) …");
    let pip = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"];
    let fetched = Command::new(python_of(&folder))
        .args(pip)
        .args(["--retries", "2", "--timeout", "15", "jupyterlab"])
        .stdin(Stdio::null())
        .output()?;
    if !fetched.status.success() {
        // A remedy is worth more than what it has fetched.
        let _ = fs::remove_dir_all(&folder);
        let said = String::from_utf8_lossy(&fetched.stderr);
        let last = said.lines().rev().find(|line| line.contains("ERROR")).unwrap_or(said.trim());
        bail!(
            "JupyterLab could not be fetched; is this machine offline? Run this again with a network, or install it in your own way \
             (pip install jupyterlab). hotplate demo shows everything without it. pip said: {last}"
        );
    }
    fs::write(folder.join(STAMP), "").context("cannot write to the environment; is the disk full?")?;
    let jupyter = Jupyter::Private(folder);
    if !jupyter.works() {
        bail!(
            "JupyterLab was fetched and does not start; try: {} -m jupyterlab",
            python_of(&environment(home)).display()
        );
    }
    Ok(jupyter)
}

/// Somebody at a terminal is asked; a script has asked already.
fn agreed() -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(true);
    }
    let mut error = io::stderr();
    write!(error, "Fetch it? [Y/n] ").and_then(|()| error.flush())?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    // Ctrl-D is no yes.
    Ok(!answer.is_empty() && !answer.trim().to_lowercase().starts_with('n'))
}

fn pythons() -> impl Iterator<Item = PathBuf> {
    let names = if cfg!(windows) { ["python.exe", "py.exe"] } else { ["python3", "python"] };
    names.into_iter().filter_map(on_path)
}

pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}
