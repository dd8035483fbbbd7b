//! Runs a cell: its commands and pieces of Rust in order, until one fails.

use std::path::Path;

use hotplate_client::command::{Command, GrammarError, folder_in};
use hotplate_client::{
    CallError, Canceller, CommandError, ConnectError, Connection, Shown, run_command, run_command::logs,
    run_command::pull, words,
};

use jupyter_protocol::{ClearOutput, ExecutionCount, MediaType, Payload};

use crate::cell::{Cell, CellProblem, Code, Line, Piece};
use crate::chosen::Chosen;
use crate::daemon::{Daemon, DaemonError};
use crate::notebook_words::{in_notebook, overview};
use crate::run_rust::RustHost;
use crate::running::Turn;
use crate::rust::source::{self, Flaw};
use crate::rust::{Rust, RustFailure, Words};
use crate::show::{Painter, Screen};
use crate::stdin::{Answer, Stdin};
use crate::task::{self, Task, TaskProblem};
use crate::text_cells::{self, TextCellError};

/// An error as Jupyter has it: a name to catch it by, what went wrong and what to do, and where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CellError {
    pub name: String,
    pub message: String,
    pub traceback: Vec<String>,
}

impl CellError {
    pub(crate) fn new(name: &str, message: &str) -> CellError {
        let message = shortened(&in_notebook(message), LONGEST_MESSAGE);
        CellError { name: name.to_owned(), traceback: vec![format!("{name}: {message}")], message }
    }

    fn at(mut self, line: &Line, sign: &str, done: usize) -> CellError {
        let text = shortened(line.text.lines().next().unwrap_or_default(), LONGEST_LINE);
        self.traceback.push(format!("  in line {} of the cell: {sign}{text}", line.number));
        self.after(done)
    }

    /// Of a piece of Rust, whose lines are named already.
    fn after(mut self, done: usize) -> CellError {
        if done > 0 {
            self.traceback.push(format!(
                "  {} before it {} done.",
                words::count(done, "piece"),
                if done == 1 { "is" } else { "are" }
            ));
        }
        self
    }

    fn of_rust(failure: &RustFailure) -> CellError {
        let Words { name, message, details, whole } = failure.words();
        // Not `in_notebook`: what the person's own code says is left as it is.
        let message = shortened(&message, LONGEST_MESSAGE);
        let title = (!whole).then(|| format!("{name}: {message}"));
        let details = details.iter().map(|line| shortened(line, LONGEST_MESSAGE));
        CellError { name: name.to_owned(), traceback: title.into_iter().chain(details).collect(), message }
    }

    fn in_source(code: &Code, flaw: Flaw) -> CellError {
        let before = code.text.get(..flaw.at).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let number = code.number + before.matches('\n').count();
        let column = before.get(line_start..).unwrap_or_default().chars().count();
        let line = code.text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let (line, indent) = source::window(line, column);
        let message = flaw.kind.message().to_owned();
        let (width, blank) = (number.to_string().len(), "");
        let report = format!(
            "error: {message}\n{blank:width$}--> line {number}, column {}\n{blank:width$} |\n{number} | {line}\n{blank:width$} | {blank:indent$}^",
            column + 1
        );
        CellError { name: "CompileError".to_owned(), message, traceback: vec![report] }
    }

    pub(crate) fn internal() -> CellError {
        CellError::new(
            "Internal",
            "the kernel has a fault, and could not run this cell; its log (standard error) says where",
        )
    }
}

/// Of a message in characters: one that repeats a cell of megabytes says nothing.
const LONGEST_MESSAGE: usize = 4000;
/// Of a line that is quoted.
const LONGEST_LINE: usize = 200;

fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}

/// What a cell runs with.
pub(crate) struct Runner<'a> {
    pub daemon: &'a mut Daemon,
    pub chosen: &'a mut Chosen,
    /// Relative paths start here.
    pub folder: &'a Path,
    pub screen: &'a Screen,
    pub turn: &'a Turn<'a>,
    /// `None`: nobody can be asked.
    pub stdin: Option<Stdin<'a>>,
    /// The cell's number, for its value; a silent cell shows none.
    pub count: Option<ExecutionCount>,
    /// Goes with the reply.
    pub payload: Vec<Payload>,
}

fn problem(problem: &CellProblem) -> CellError {
    CellError::new("Usage", &problem.to_string())
}

impl Runner<'_> {
    pub(crate) fn run_cell(&mut self, code: &str, rust: &mut Rust) -> Result<(), CellError> {
        match Cell::parse(code).map_err(|error| problem(&error))? {
            Cell::Empty => Ok(()),
            Cell::Text { command, head, text } => {
                let task = task::of_text(command, &head.text, &text);
                self.run_task(task, head.number).map_err(|error| error.at(&head, "%%", 0))
            }
            Cell::Pieces(pieces) => {
                for (done, piece) in pieces.iter().enumerate() {
                    match piece {
                        Piece::Command(line) => {
                            let task = task::of_line(&line.text);
                            self.run_task(task, line.number).map_err(|error| error.at(line, "%", done))?;
                        }
                        Piece::Rust(code) => self.run_rust(code, rust).map_err(|error| error.after(done))?,
                    }
                }
                Ok(())
            }
        }
    }

    fn run_rust(&mut self, code: &Code, rust: &mut Rust) -> Result<(), CellError> {
        if let Some(flaw) = source::flaw(&code.text) {
            return Err(CellError::in_source(code, flaw));
        }
        let mut host = RustHost::new(self, code.number);
        let value =
            rust.run(&code.text, code.number, &mut host).map_err(|failure| CellError::of_rust(&failure))?;
        host.show_value(&value);
        Ok(())
    }

    /// `line` is where the command stands in its cell.
    pub(crate) fn run_task(&mut self, task: Result<Task, TaskProblem>, line: usize) -> Result<(), CellError> {
        match task {
            Err(TaskProblem::Grammar(error)) => self.explain(&error),
            Err(error) => Err(CellError::new("Usage", &error.to_string())),
            Ok(Task::Client(mut command)) => {
                self.chosen.fill_in(&mut command);
                self.agreed(&command)?;
                self.run(&command)
            }
            Ok(Task::Use(args)) => self.with_painter(false, |runner, painter| {
                Ok(text_cells::choose(runner.chosen, runner.daemon, &args, runner.folder, painter)?)
            }),
            Ok(Task::Clear(args)) => {
                self.screen.publish(ClearOutput { wait: args.wait });
                Ok(())
            }
            Ok(Task::Page(help)) => {
                self.payload.push(Payload::Page { data: MediaType::Plain(help).into(), start: 0 });
                Ok(())
            }
            Ok(Task::CheckText { mut args, text }) => {
                self.chosen.fill_in_base(&mut args.base);
                self.with_painter(args.output.json, |runner, painter| {
                    let connection = runner.daemon.connection()?;
                    Ok(text_cells::check(&connection, args, &text, line, &runner.turn.canceller, painter)?)
                })
            }
            Ok(Task::WriteExamples { args, text }) => self.with_painter(false, |runner, painter| {
                let folder = folder_in(runner.folder, &args.folder);
                let watched = if args.detach { None } else { text_cells::watched(runner.daemon, &folder) };
                let outcome = text_cells::examples(
                    watched.as_ref(),
                    &folder,
                    &args,
                    &text,
                    &runner.turn.canceller,
                    painter,
                );
                if watched.is_some() {
                    // This session has been told to send every run's events.
                    runner.daemon.hang_up();
                }
                Ok(outcome?)
            }),
        }
    }

    /// What cannot be undone is asked for first, where somebody can be asked.
    fn agreed(&self, command: &Command) -> Result<(), CellError> {
        if command.needs_a_yes() {
            // A cell is run again with all the others, by somebody who does not think of this one.
            let message =
                "what is deleted cannot be brought back, and a notebook does not ask; say yes with --yes";
            return Err(CellError::new("NotAgreed", message));
        }
        let (Some(stdin), Command::Export(args)) = (&self.stdin, command) else { return Ok(()) };
        let out = folder_in(self.folder, &args.out);
        if !args.force || !out.exists() {
            return Ok(());
        }
        match stdin.ask(&format!("{} is there. Put the new export in its place? An earlier export moves aside; nothing else is replaced. [y/N] ", out.display())) {
            Answer::Text(answer) if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) => Ok(()),
            Answer::Text(_) => {
                Err(CellError::new("NotAgreed", "nothing was replaced, as you did not say yes"))
            }
            Answer::Interrupted => Err(CellError::new("Cancelled", "interrupted; nothing was replaced")),
        }
    }

    fn with_painter(
        &mut self,
        json: bool,
        work: impl FnOnce(&mut Self, &mut Painter<'_>) -> Result<(), Failure>,
    ) -> Result<(), CellError> {
        let mut painter = Painter::new(self.screen, json);
        let outcome = work(self, &mut painter);
        painter.finish();
        outcome.map_err(|failure| failure.explained(&self.turn.canceller))
    }

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
        let mut toy = None;
        let outcome = self.run_quietly(command, &mut |shown| match shown {
            // Once in a notebook is enough.
            Shown::ToyByDefault => toy = Some(in_notebook(&words::toy_by_default())),
            shown => painter.show(&shown),
        });
        painter.finish();
        if let Some(toy) = toy.filter(|_| !self.chosen.toy_is_known && !command.json()) {
            self.chosen.toy_is_known = true;
            painter.sentence(&toy);
        }
        outcome
    }

    /// Gives the results to `show` and to nobody else.
    pub(crate) fn run_quietly(
        &mut self,
        command: &Command,
        show: &mut impl FnMut(Shown),
    ) -> Result<(), CellError> {
        let outcome = self.run_command(command, show);
        if leaves_the_session(command, &outcome) {
            self.daemon.hang_up();
        }
        outcome.map_err(|failure| failure.explained(&self.turn.canceller))
    }

    fn run_command(&mut self, command: &Command, show: &mut impl FnMut(Shown)) -> Result<(), Failure> {
        // These four make sense without a daemon, and must not start one.
        let connection = match command {
            Command::Logs(args) => {
                let home = Daemon::home().map_err(DaemonError::from)?;
                return Ok(logs(&home, args, &self.turn.canceller, show)?);
            }
            Command::Pull(args) => return Ok(pull(args, &self.turn.canceller, show)?),
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
        Ok(run_command(&connection, command, self.folder, &self.turn.canceller, show)?)
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
    let broken = matches!(
        outcome,
        Err(Failure::Perform(CommandError::Call(error))) if !matches!(error, CallError::Refused(_))
    );
    // A run that nobody looks at any more still sends its events to the session that began or joined it.
    broken
        || match (command, outcome) {
            (Command::Stop(_), Ok(())) | (_, Err(Failure::Perform(CommandError::RunGoesOn { .. }))) => true,
            (Command::Watch(args), _) => args.follow,
            (Command::Train(args), Ok(())) => args.detach,
            _ => false,
        }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    Perform(#[from] CommandError),
    #[error(transparent)]
    TextCell(#[from] TextCellError),
}

impl Failure {
    fn explained(&self, canceller: &Canceller) -> CellError {
        let name = self.name();
        let message = match name.as_str() {
            "Cancelled" if canceller.is_cancelled() => "interrupted; the command was cancelled".to_owned(),
            // By somebody else, or by another cell.
            "Cancelled" => "the run was cancelled; it made no version".to_owned(),
            _ => self.to_string(),
        };
        CellError::new(&name, &message)
    }

    /// What a program can tell errors apart by.
    fn name(&self) -> String {
        match self {
            Failure::Daemon(error) => error.name().to_owned(),
            Failure::TextCell(error) => error.name(),
            Failure::Perform(error) => perform_error_name(error),
        }
    }
}

/// What a program can tell the errors of commands apart by.
pub(crate) fn perform_error_name(error: &CommandError) -> String {
    let name = match error {
        // The protocol's closed list of errors; its names are the variants' own.
        CommandError::Call(CallError::Refused(refused)) => return format!("{:?}", refused.code),
        CommandError::Call(CallError::Disconnected { .. } | CallError::Unreadable { .. }) => "Disconnected",
        CommandError::Call(CallError::Cancelled) | CommandError::Cancelled => "Cancelled",
        CommandError::Call(CallError::TooLong { .. }) => "TooLong",
        CommandError::RunFailed { .. } => "RunFailed",
        CommandError::RunGoesOn { .. } => "Interrupted",
        CommandError::NoRun | CommandError::NothingToFinish => "NoRun",
        CommandError::Hub(_) => "Hub",
        CommandError::NotVerified { .. } => "NotVerified",
        CommandError::BadRecipe { .. } => "BadRecipe",
        CommandError::ChosenBase { .. } => "UnusableBase",
        CommandError::Choice(_) => "Choice",
        CommandError::NameIsAPath { .. }
        | CommandError::NothingToCompare
        | CommandError::NothingToMerge
        | CommandError::NotABase { .. }
        | CommandError::TwoVersions { .. } => "Usage",
        CommandError::NoLog { .. } | CommandError::UnreadableLog { .. } => "NoLog",
        CommandError::StillRunning { .. } => "StillRunning",
    };
    name.to_owned()
}
