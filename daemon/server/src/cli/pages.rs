//! What the grammar says of itself for shells and for `man`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::grammar::Line;
use super::{Ending, output_is_gone};

/// Write what your shell needs to complete commands and options
///
/// It goes to standard output.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  # bash, from the next shell on
  hotplate completions bash > ~/.local/share/bash-completion/completions/hotplate
  # zsh, in a folder of its $fpath
  hotplate completions zsh > ~/.zfunc/_hotplate
  # fish
  hotplate completions fish > ~/.config/fish/completions/hotplate.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Write man pages, one for each command
///
/// Without a folder, the page of hotplate itself goes to standard output.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  # For man hotplate, man hotplate-train and all others
  hotplate man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// The folder for the pages; made if it is missing
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(crate) fn completions(args: &CompletionsArgs) {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Line::command(), "hotplate", &mut text);
    write_out(&text);
}

pub(crate) fn man(args: &ManArgs) -> Result<(), Ending> {
    let Some(folder) = &args.folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Line::command()).render(&mut page).context("the page cannot be made")?;
        write_out(&page);
        return Ok(());
    };
    let pages = write_pages(folder)
        .with_context(|| format!("the man pages cannot be written to {}", folder.display()))?;
    write_out(format!("{pages} man pages are in {}.\n", folder.display()).as_bytes());
    Ok(())
}

/// Says how many.
fn write_pages(folder: &Path) -> io::Result<usize> {
    fs::create_dir_all(folder)?;
    let mut command = Line::command();
    command.build();
    let mut pages = 1;
    page(folder, &command, "hotplate")?;
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        if command.get_name() != "help" {
            page(folder, command, &format!("hotplate-{}", command.get_name()))?;
            pages += 1;
        }
    }
    Ok(pages)
}

fn page(folder: &Path, command: &clap::Command, name: &str) -> io::Result<()> {
    let mut text = Vec::new();
    // Its title is the name that the grammar's own building gave it.
    clap_mangen::Man::new(command.clone()).render(&mut text)?;
    fs::write(folder.join(format!("{name}.1")), text)
}

fn write_out(text: &[u8]) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text).and_then(|()| out.flush()) {
        output_is_gone(&error);
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_and_every_command_has_its_text() {
        for shell in Shell::value_variants() {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Line::command(), "hotplate", &mut text);
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("rollback") && text.contains("dry-run"), "{shell}");
        }
        let folder = tempfile::tempdir().unwrap();
        let pages = write_pages(&folder.path().join("man1")).unwrap();
        assert_eq!(fs::read_dir(folder.path().join("man1")).unwrap().count(), pages);
        let train = fs::read_to_string(folder.path().join("man1/hotplate-train.1")).unwrap();
        assert!(train.contains(".TH hotplate-train 1") && train.contains("epochs"), "{train}");
        assert!(!folder.path().join("man1/hotplate-daemon.1").exists());
    }
}
