//! Runs a cell: its commands in order, until one fails.

use std::path::Path;

use hotplate_client::command::{self, Command, GrammarError};
use hotplate_client::{
    CallError, Canceller, ConnectError, Connection, PerformError, Shown, perform, perform::logs,
    perform::pull,
};

use crate::cell::{Cell, CellProblem, HeadProblem, Line, generate_command};
use crate::daemon::{Daemon, DaemonError};
use crate::notebook_words::{in_notebook, overview};
use crate::show::{Painter, Screen};

/// An error as Jupyter has it: a name to catch it by, what went wrong and what to do, and where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CellError {
    pub name: String,
    pub message: String,
    pub traceback: Vec<String>,
}

impl CellError {
    fn new(name: &str, message: &str) -> CellError {
        let message = in_notebook(message);
        CellError { name: name.to_owned(), traceback: vec![format!("{name}: {message}")], message }
    }

    fn at(mut self, line: &Line, sign: &str, done: usize) -> CellError {
        let text = line.text.lines().next().unwrap_or_default();
        self.traceback.push(format!("  in line {} of the cell: {sign}{text}", line.number));
        if done > 0 {
            self.traceback.push(format!(
                "  {} before it {} done.",
                hotplate_client::words::count(done, "command"),
                if done == 1 { "is" } else { "are" }
            ));
        }
        self
    }

    pub(crate) fn internal() -> CellError {
        CellError::new(
            "Internal",
            "the kernel has a fault, and could not run this cell; its log (standard error) says where",
        )
    }
}

pub(crate) fn run_cell(
    code: &str,
    daemon: &mut Daemon,
    folder: &Path,
    screen: &Screen,
    canceller: &Canceller,
) -> Result<(), CellError> {
    let mut runner = Runner { daemon, folder, screen, canceller };
    match Cell::parse(code).map_err(|error| problem(&error))? {
        Cell::Empty => Ok(()),
        Cell::Generate { head, prompt } => {
            let command = match generate_command(&head.text, &prompt) {
                Ok(command) => command,
                Err(HeadProblem::Grammar(error)) => {
                    return runner.explain(&error).map_err(|error| error.at(&head, "%%", 0));
                }
                Err(error @ HeadProblem::PromptInHead(_)) => {
                    return Err(CellError::new("Usage", &error.to_string()).at(&head, "%%", 0));
                }
            };
            runner.run(&command).map_err(|error| error.at(&head, "%%", 0))
        }
        Cell::Commands(lines) => {
            for (done, line) in lines.iter().enumerate() {
                let outcome = match command::parse_line(&line.text) {
                    Ok(Command::Generate(args)) if args.wants_stdin() => Err(CellError::new(
                        "Usage",
                        "a notebook has no standard input; write %%generate in the first line of a cell and the prompt below it",
                    )),
                    Ok(command) => runner.run(&command),
                    Err(error) => runner.explain(&error),
                };
                outcome.map_err(|error| error.at(line, "%", done))?;
            }
            Ok(())
        }
    }
}

fn problem(problem: &CellProblem) -> CellError {
    let name = match problem {
        CellProblem::RustCells => "RustCells",
        _ => "Usage",
    };
    CellError::new(name, &problem.to_string())
}

struct Runner<'a> {
    daemon: &'a mut Daemon,
    folder: &'a Path,
    screen: &'a Screen,
    canceller: &'a Canceller,
}

impl Runner<'_> {
    /// Help is an answer; everything else that is no command is an error.
    fn explain(&self, error: &GrammarError) -> Result<(), CellError> {
        match error {
            GrammarError::Help { text } | GrammarError::Version { text } => {
                let is_list = text.lines().any(|line| line == "Commands:");
                let text = if is_list { overview(text) } else { in_notebook(text) };
                self.screen.stdout(&format!("{text}\n"));
                Ok(())
            }
            GrammarError::Usage { .. } | GrammarError::OpenQuote => {
                Err(CellError::new("Usage", &error.to_string()))
            }
        }
    }

    fn run(&mut self, command: &Command) -> Result<(), CellError> {
        let mut painter = Painter::new(self.screen, command.json());
        let outcome = self.perform(command, &mut painter);
        painter.finish();
        if leaves_the_session(command, &outcome) {
            self.daemon.hang_up();
        }
        outcome.map_err(|failure| failure.explained())
    }

    fn perform(&mut self, command: &Command, painter: &mut Painter<'_>) -> Result<(), Failure> {
        let mut show = |shown: Shown| painter.show(&shown);
        // These four make sense without a daemon, and must not start one.
        let connection = match command {
            Command::Logs(args) => {
                let home = Daemon::home().map_err(DaemonError::from)?;
                return Ok(logs(&home, args, self.canceller, &mut show)?);
            }
            Command::Pull(args) => return Ok(pull(args, self.canceller, &mut show)?),
            Command::Status(_) | Command::Stop(_) => {
                let Some(connection) = self.running()? else {
                    let home = Daemon::home().map_err(DaemonError::from)?;
                    show(Shown::NotRunning { home: home.root().to_owned() });
                    return Ok(());
                };
                connection
            }
            _ => self.daemon.connection()?,
        };
        Ok(perform(&connection, command, self.folder, self.canceller, &mut show)?)
    }

    fn running(&mut self) -> Result<Option<Connection>, DaemonError> {
        match self.daemon.running() {
            Ok(connection) => Ok(Some(connection)),
            Err(DaemonError::Connect(ConnectError::NotRunning { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether the next command needs a new session: this one's is broken, or has been told to send every run's events.
fn leaves_the_session(command: &Command, outcome: &Result<(), Failure>) -> bool {
    match (command, outcome) {
        (Command::Stop(_), Ok(())) => true,
        (Command::Watch(args), _) if args.follow => true,
        (_, Err(Failure::Perform(PerformError::Call(error)))) => !matches!(error, CallError::Refused(_)),
        _ => false,
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    Perform(#[from] PerformError),
}

impl Failure {
    fn explained(&self) -> CellError {
        let name = self.name();
        let message = match name.as_str() {
            "Cancelled" => "interrupted; the command was cancelled".to_owned(),
            _ => self.to_string(),
        };
        CellError::new(&name, &message)
    }

    /// What a program can tell errors apart by.
    fn name(&self) -> String {
        let name = match self {
            Failure::Daemon(DaemonError::Home(_)) => "NoHome",
            Failure::Daemon(DaemonError::NoProgram { .. } | DaemonError::NoSuchProgram { .. }) => "NoProgram",
            Failure::Daemon(DaemonError::Connect(ConnectError::Mismatch(_))) => "ProtocolMismatch",
            Failure::Daemon(DaemonError::Connect(_)) => "NoDaemon",
            Failure::Perform(error) => match error {
                // The protocol's closed list of errors; its names are the variants' own.
                PerformError::Call(CallError::Refused(refused)) => return format!("{:?}", refused.code),
                PerformError::Call(CallError::Disconnected { .. } | CallError::Unreadable { .. }) => {
                    "Disconnected"
                }
                PerformError::Call(CallError::Cancelled) | PerformError::Cancelled => "Cancelled",
                PerformError::RunFailed { .. } => "RunFailed",
                PerformError::Hub(_) => "Hub",
                PerformError::NotVerified { .. } => "NotVerified",
                PerformError::NameIsAPath { .. } => "Usage",
                PerformError::NoLog { .. } | PerformError::UnreadableLog { .. } => "NoLog",
                PerformError::StillRunning { .. } => "StillRunning",
            },
        };
        name.to_owned()
    }
}
