//! `hotplate-kernel`: the Jupyter kernel of Hotplate, and the command that installs it.
//!
//! A thin front end: cells in, the daemon's protocol out. It holds no model, and ending it ends no run.

mod answers;
mod cell;
mod chosen;
mod command;
mod complete;
mod connection;
mod control;
mod daemon;
#[cfg(test)]
mod fuzz;
mod history;
mod inspect;
mod install;
mod notebook_words;
mod parent;
mod run_cell;
mod run_rust;
mod running;
mod rust;
mod serve;
mod session;
mod show;
mod sockets;
mod stdin;
mod stream_batch;
mod task;
mod text_cells;
mod wire;
mod write_examples;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use install::InstallPrefix;

/// Says what is logged to standard error, as in `hotplate_kernel=debug`.
const LOG_VARIABLE: &str = "HOTPLATE_KERNEL_LOG";

/// The Jupyter kernel of Hotplate
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Tell Jupyter about this kernel (for you alone, unless another place is given)
    #[command(after_help = "Example: hotplate-kernel install --sys-prefix")]
    Install(Target),
    /// Make Jupyter forget this kernel
    Uninstall(Target),
    /// Serve a notebook; Jupyter calls this
    Run {
        /// Written by Jupyter: ports and key
        connection_file: PathBuf,
    },
}

#[derive(Args)]
struct Target {
    /// Your own Jupyter folder [default]
    #[arg(long, group = "place")]
    user: bool,
    /// The folder DIR/share/jupyter
    #[arg(long, value_name = "DIR", group = "place")]
    prefix: Option<PathBuf>,
    /// The active Python environment
    #[arg(long, group = "place")]
    sys_prefix: bool,
    /// The kernel's name in Jupyter
    #[arg(long, default_value = "hotplate")]
    name: String,
}

impl Target {
    fn place(&self) -> InstallPrefix {
        match &self.prefix {
            Some(folder) => InstallPrefix::Prefix(folder.clone()),
            None if self.sys_prefix => InstallPrefix::SysPrefix,
            None => InstallPrefix::User,
        }
    }
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    match act(Arguments::parse().action) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the last word of a program that ends in an error")]
fn complain(error: &anyhow::Error) {
    eprintln!("hotplate-kernel: {error:#}");
}

#[expect(clippy::print_stdout, reason = "install and uninstall answer in a terminal")]
fn act(action: Action) -> anyhow::Result<()> {
    match action {
        Action::Run { connection_file } => Ok(serve::serve(&connection_file)?),
        Action::Install(target) => {
            let folder = install::install(&target.place(), &target.name)?;
            println!("Installed the kernel {} in {}", target.name, folder.display());
            if let Err(missing) = daemon::find_program() {
                println!("Note: {missing}");
            }
            Ok(())
        }
        Action::Uninstall(target) => {
            let folder = install::uninstall(&target.place(), &target.name)?;
            println!("Removed the kernel {} from {}", target.name, folder.display());
            Ok(())
        }
    }
}
