//! The binary: the daemon, and the command line that talks to it.

#[cfg(unix)]
mod allocator;
mod arithmetic;
mod bench;
mod cli;
mod daemon;
mod demo;
mod lab;

use std::process::ExitCode;

use clap::Parser;
use cli::Ending;
use cli::grammar::{Action, Line};
use cli::interrupt::INTERRUPTED;
use hotplate_client::command::lead_on;

fn main() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => {
            if let Some(text) = lead_on(&error) {
                cli::complain(&anyhow::anyhow!(text));
                return ExitCode::from(2);
            }
            // Help goes to standard output, a mistake to standard error; a reader that is gone is no error.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let ended = match line.action {
        Action::Client(command) => cli::run(command),
        Action::Use(args) => cli::use_base(&args),
        Action::Demo(args) => demo::run(&args),
        Action::Lab(args) => lab::run(&args),
        Action::Completions(args) => {
            cli::pages::completions(&args);
            Ok(())
        }
        Action::Man(args) => cli::pages::man(&args),
        Action::Bench(args) => bench::run(&args),
        Action::Daemon(_) => daemon::run().map_err(Ending::Failed),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ending::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(Ending::Usage(text)) => {
            cli::complain(&anyhow::anyhow!(text));
            ExitCode::from(2)
        }
        Err(Ending::Failed(error)) => {
            cli::complain(&error);
            ExitCode::FAILURE
        }
    }
}
