//! The words behind `hotplate` in a shell: the commands that every front end has, and those that only a shell has.

use clap::{Args, Parser, Subcommand};
use hotplate_client::command::{Command, UseArgs};

use super::pages::{CompletionsArgs, ManArgs};
use crate::bench::BenchArgs;
use crate::demo::DemoArgs;
use crate::lab::LabArgs;

/// Keeps base models warm and adapters fresh: save a file, and the model writes a little more like you
#[derive(Parser)]
#[command(name = "hotplate", version, arg_required_else_help = true)]
#[command(
    after_help = "Start here:\n  hotplate demo\n  hotplate lab\n\nEach command explains itself: hotplate train --help"
)]
pub(crate) struct Line {
    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of them, and it lives for a moment")]
pub(crate) enum Action {
    Demo(DemoArgs),
    Lab(LabArgs),
    #[command(flatten)]
    Client(Command),
    Use(UseArgs),
    Bench(BenchArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
    Daemon(DaemonArgs),
}

/// Be the daemon, in the foreground, until `hotplate stop` or a signal
///
/// Nobody needs to type this: every other command starts the daemon if none is running, detached and with its log
/// in a file. It is here for service managers (systemd, launchd) and for looking at the log as it happens. There is
/// one daemon per user; a second one says so and ends well. HOTPLATE_HOME moves everything (socket, store,
/// adapters, log) to another folder.
#[derive(Debug, Args)]
#[command(hide = true)]
#[command(after_help = "Examples:\n  # Watch it work\n  hotplate stop; hotplate daemon")]
pub(crate) struct DaemonArgs {}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_sound_and_the_daemon_is_off_the_tour() {
        let mut command = Line::command();
        command.build();
        command.clone().debug_assert();
        let tour = command.render_help().to_string();
        assert!(tour.contains("demo") && tour.contains("train"));
        assert!(!tour.contains("\n  daemon"), "{tour}");
        let words = ["hotplate", "daemon", "--help"];
        let Err(help) = Line::try_parse_from(words) else { panic!("no help") };
        assert!(help.to_string().contains("service managers"));
    }
}
