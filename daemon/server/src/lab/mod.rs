//! `hotplate lab`: JupyterLab with the kernel and a tutorial, from nothing.
//!
//! Owns the order: the tutorial is laid out, JupyterLab is found or fetched, the kernel is made known to it, and this process
//! becomes it. Knows nothing of notebooks' insides and nothing of the daemon, which the first cell starts.

mod jupyter;
mod tour;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use hotplate_client::Home;

use crate::cli::{Ending, this_program};
use crate::demo::Tongue;
use jupyter::Jupyter;

/// Open JupyterLab with a tutorial notebook that walks through everything
///
/// Takes the JupyterLab on PATH, or that of python3. Where there is none, it makes a Python environment of its own in
/// Hotplate's folder and fetches JupyterLab into it (once, about 200 MB), after asking. The tutorial is a copy of your own: it is
/// never overwritten.
#[derive(Debug, Clone, Args)]
#[command(
    visible_alias = "notebook",
    after_help = "Examples:\n  # In Chinese, in a folder of its own\n  hotplate lab --lang zh --dir tour\n  # On a port of your choice; what stands behind -- is JupyterLab's\n  hotplate lab --no-browser -- --port 9000"
)]
pub(crate) struct LabArgs {
    /// Language of the tutorial
    #[arg(long, value_enum, default_value_t = Tongue::English)]
    lang: Tongue,
    /// The folder to work in; made if it is missing [default: this one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print the address and open no browser
    #[arg(long)]
    no_browser: bool,
    /// Options for JupyterLab itself
    #[arg(last = true, value_name = "OPTIONS")]
    more: Vec<OsString>,
}

/// Returns only where JupyterLab cannot be started.
pub(crate) fn run(args: &LabArgs) -> Result<(), Ending> {
    open(args).map_err(Ending::Failed)
}

fn open(args: &LabArgs) -> anyhow::Result<()> {
    let folder = match &args.dir {
        Some(folder) => std::path::absolute(folder).context("the folder has no path")?,
        None => env::current_dir().context("the current folder is gone; go to another one with cd")?,
    };
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let kernel = kernel_program()?;
    let home = Home::from_env()?;
    let jupyter = match jupyter::find(&home) {
        Some(jupyter) => jupyter,
        None => jupyter::make(&home)?,
    };
    say(&format!("JupyterLab: {}", jupyter.describe()));
    install_kernel(&kernel, &jupyter)?;
    let laid = tour::lay_out(&folder, args.lang)?;
    say(&laid.in_words());

    let mut command = jupyter.command();
    command.arg(laid.name()).current_dir(&folder).env("HOTPLATE_BIN", this_program()?);
    // The kernel links to what our settings open well.
    command.env("JUPYTER_CONFIG_PATH", settings(&home)?).env("HOTPLATE_LAB", "1");
    if args.no_browser {
        command.arg("--no-browser");
    }
    if is_root() {
        say("You are root, which JupyterLab refuses unless it is told --allow-root; it is told.");
        command.arg("--allow-root");
    }
    command.args(&args.more);
    become_it(command)
}

#[cfg(unix)]
fn become_it(mut command: Command) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt;

    // Ctrl-C, the exit code and the terminal are JupyterLab's from here.
    let error = command.exec();
    Err(anyhow!(error).context(format!("cannot start {}", command.get_program().display())))
}

#[cfg(not(unix))]
fn become_it(mut command: Command) -> anyhow::Result<()> {
    let status = command.status().context("cannot start JupyterLab")?;
    if status.success() { Ok(()) } else { bail!("JupyterLab ended with {status}") }
}

/// Beside this program, else on `PATH`.
fn kernel_program() -> anyhow::Result<PathBuf> {
    let name = format!("hotplate-kernel{}", env::consts::EXE_SUFFIX);
    let beside = this_program()?.with_file_name(&name);
    if beside.is_file() {
        return Ok(beside);
    }
    jupyter::on_path(&name).ok_or_else(|| {
        anyhow!(
            "the program hotplate-kernel is neither beside this one ({}) nor on PATH; build it with: cargo install --path kernel",
            beside.display()
        )
    })
}

/// JupyterLab opens .jsonl in a viewer that takes one JSON value and fails on the second line; a finding's link should lead into
/// the editor. A default of ours, below whatever the person has set, and only where JupyterLab is started from here.
const SETTINGS: &str =
    r#"{"@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"jsonl": "Editor"}}}"#;

/// Where JupyterLab looks for settings: ours first, then what was there.
fn settings(home: &Home) -> anyhow::Result<OsString> {
    let folder = home.root().join("jupyter-settings");
    let file = folder.join("labconfig/default_setting_overrides.json");
    std::fs::create_dir_all(folder.join("labconfig"))
        .and_then(|()| std::fs::write(&file, SETTINGS))
        .with_context(|| format!("cannot write {}", file.display()))?;
    let before = env::var_os("JUPYTER_CONFIG_PATH").unwrap_or_default();
    let all = std::iter::once(folder).chain(env::split_paths(&before));
    env::join_paths(all).context("the path of Hotplate's folder has a colon in it")
}

fn install_kernel(kernel: &Path, jupyter: &Jupyter) -> anyhow::Result<()> {
    let mut command = Command::new(kernel);
    command.arg("install");
    match jupyter.prefix() {
        Some(prefix) => command.arg("--prefix").arg(prefix),
        None => command.arg("--user"),
    };
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start the kernel's program {}", kernel.display()))?;
    if !output.status.success() {
        bail!("the kernel cannot be installed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// A line for the person, beside what JupyterLab will print.
fn say(text: &str) {
    // With standard error gone, nobody is there to be told.
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(unix)]
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}
