//! The command line: words in, the client's work, paint out.
//!
//! Owns exit codes (0 well, 1 an error, 2 a mistake in the words, 130 Ctrl-C) and the two streams. What a command
//! does is the client's business; nothing here may delay a connection.

pub(crate) mod columns;
pub(crate) mod grammar;
pub(crate) mod interrupt;
mod json;
pub(crate) mod pages;
pub(crate) mod progress;
mod pull;
pub(crate) mod style;
pub(crate) mod terminal;

use std::cell::RefCell;
use std::env;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;

use anyhow::Context;
use hotplate_client::command::{Command, GenerateArgs, UseArgs};
use hotplate_client::{
    CommandError, ConnectError, Connection, Home, PeerInfo, Shown, Spawn, run_command, words,
};

use interrupt::{Patience, on_interrupt};
use style::{ERROR, paint, rendered};
use terminal::{Terminal, stderr_width};

/// How a command ended when it did not end well.
pub(crate) enum Ending {
    Interrupted,
    /// A mistake in the words.
    Usage(String),
    Failed(anyhow::Error),
}

impl From<CommandError> for Ending {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Cancelled => Ending::Interrupted,
            error => Ending::Failed(error.into()),
        }
    }
}

impl From<anyhow::Error> for Ending {
    fn from(error: anyhow::Error) -> Self {
        Ending::Failed(error)
    }
}

/// Does what a client command says.
pub(crate) fn run(mut command: Command) -> Result<(), Ending> {
    if let Command::Generate(args) = &mut command
        && args.wants_stdin()
    {
        read_prompt(args)?;
    }
    let home = Home::from_env().map_err(anyhow::Error::new)?;
    let patience = match &command {
        Command::Train(args) if !args.dry_run && !args.detach => Patience::for_a_run(),
        _ => Patience::SecondEnds,
    };
    let canceller = on_interrupt(patience).context("cannot listen for Ctrl-C")?;
    let folder = current_folder()?;

    let plan_is_result = matches!(&command, Command::Train(args) if args.dry_run);
    let terminal = RefCell::new(Terminal::new(plan_is_result, command.quiet()));
    let as_json = command.json();
    let mut show = |shown: Shown| {
        let written = if as_json { json::show(&shown) } else { terminal.borrow_mut().show(&shown) };
        if let Err(error) = written {
            output_is_gone(&error);
        }
    };
    match &command {
        Command::Logs(args) => return Ok(run_command::logs(&home, args, &canceller, &mut show)?),
        Command::Pull(args) => return Ok(run_command::pull(args, &canceller, &mut show)?),
        _ => {}
    }
    let spawn = match &command {
        // Neither asking nor ending is a reason to start one.
        Command::Status(_) | Command::Stop(_) => Spawn::Never,
        _ => Spawn::IfNeeded { program: this_program()? },
    };
    let connection = match Connection::open(&home, &spawn, myself()) {
        Err(ConnectError::NotRunning { .. }) if matches!(spawn, Spawn::Never) => {
            show(Shown::NotRunning { home: home.root().to_owned() });
            return Ok(());
        }
        connection => connection.map_err(anyhow::Error::new)?,
    };
    if io::stdin().is_terminal()
        && let Some(question) = run_command::question(&connection, &command, &canceller)?
        && !agreed(&question)?
    {
        return Err(anyhow::anyhow!("nothing was deleted, as you did not say yes").into());
    }
    if matches!(&command, Command::Train(_)) && !as_json && !command.quiet() {
        terminal.borrow_mut().waits();
    }
    let outcome = run_command(&connection, &command, &folder, &canceller, &mut show);
    terminal.borrow_mut().done();
    if let Err(goes_on @ CommandError::RunGoesOn { .. }) = &outcome {
        // Not an error: the person has seen enough, and wants to know what becomes of the run.
        let _ = writeln!(io::stderr(), "{}", words::fold(&goes_on.to_string(), stderr_width()));
        return Err(Ending::Interrupted);
    }
    Ok(outcome?)
}

/// Says or changes which base holds where a command names none.
pub(crate) fn use_base(args: &UseArgs) -> Result<(), Ending> {
    let home = Home::from_env().map_err(anyhow::Error::new)?;
    let folder = current_folder()?;
    let mut terminal = Terminal::new(false, args.output.quiet);
    let mut show = |shown: Shown| {
        let written = if args.output.json { json::show(&shown) } else { terminal.show(&shown) };
        if let Err(error) = written {
            output_is_gone(&error);
        }
    };
    if run_command::show_or_reset(&home, args, &folder, &mut show)? {
        return Ok(());
    }
    let canceller = on_interrupt(Patience::SecondEnds).context("cannot listen for Ctrl-C")?;
    let spawn = Spawn::IfNeeded { program: this_program()? };
    let connection = Connection::open(&home, &spawn, myself()).map_err(anyhow::Error::new)?;
    Ok(run_command::use_base(&connection, args, &folder, &canceller, &mut show)?)
}

fn current_folder() -> anyhow::Result<PathBuf> {
    env::current_dir().context("the current folder is gone; go to another one with cd and try again")
}

/// The program that can be the daemon: this one.
pub(crate) fn this_program() -> anyhow::Result<PathBuf> {
    env::current_exe()
        .context("cannot find out where this program lies, which is to be started as the daemon")
}

pub(crate) fn myself() -> PeerInfo {
    PeerInfo { name: "hotplate".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

const NO_PROMPT: &str = "there is no PROMPT; name it (hotplate generate \"A rainy day\"), or send it on standard input (echo A rainy day | hotplate generate)\n\nFor more information, try 'hotplate generate --help'.";

/// Asks whoever sits at the terminal; no answer is a no.
fn agreed(question: &str) -> anyhow::Result<bool> {
    let mut err = io::stderr().lock();
    // Where nobody can be told, nobody says yes.
    write!(err, "{question} [y/N] ").and_then(|()| err.flush()).context("cannot ask")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("cannot read your answer")?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

fn read_prompt(args: &mut GenerateArgs) -> Result<(), Ending> {
    let is_terminal = io::stdin().is_terminal();
    let asked_for = !args.prompt.is_empty();
    if is_terminal && !asked_for {
        return Err(Ending::Usage(NO_PROMPT.to_owned()));
    }
    if is_terminal {
        // Otherwise the program seems to hang. If nobody can be told, nobody needs to know.
        let _ = writeln!(io::stderr(), "Type the prompt, then Ctrl-D:");
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).context("cannot read the prompt from standard input")?;
    let mut text = String::from_utf8(bytes)
        .context("the prompt on standard input is not UTF-8; convert it first, for example with iconv")?;
    // The newline that ends a file is not part of what it says.
    if text.ends_with('\n') {
        text.pop();
    }
    if text.is_empty() && !asked_for {
        return Err(Ending::Usage(NO_PROMPT.to_owned()));
    }
    args.prompt = vec![text];
    Ok(())
}

/// One `error: …`, with its causes where they say more.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Our own errors name their cause in the sentence.
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    // With standard error gone, the exit code is all there is left to say.
    let text = format!("{} {text}", paint(ERROR, "error:"));
    let _ = writeln!(anstream::stderr(), "{}", rendered(&words::fold(&text, stderr_width())));
}

/// Standard output cannot be written to. A reader that has seen enough (`| head`) is no error; the daemon goes on
/// with a run all the same, as with any client that leaves.
pub(crate) fn output_is_gone(error: &io::Error) -> ! {
    if error.kind() == io::ErrorKind::BrokenPipe {
        leave(0);
    }
    let _ = writeln!(
        anstream::stderr(),
        "{} cannot write the output: {error}; is the disk full?",
        rendered(&paint(ERROR, "error:"))
    );
    leave(1);
}

/// Ends the process on the spot. For the moments when there is nobody to return to.
#[expect(clippy::exit, reason = "called from where no error can be returned through the client's callbacks")]
pub(crate) fn leave(code: u8) -> ! {
    std::process::exit(i32::from(code))
}
