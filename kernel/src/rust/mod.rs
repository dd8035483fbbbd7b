//! Rust cells: compiled and run by another program, which starts with the first of them and may be lost with what cells do.
//!
//! Owns that program's process, and says what becomes of a cell. Knows neither evcxr nor how things are shown: whoever runs a cell
//! is its [`Host`].

mod failure;
#[path = "in_cells/fields.rs"]
#[expect(unreachable_pub, reason = "written for the crate that cells see")]
mod fields;
mod process;
mod said;
pub(crate) mod source;

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, never, select};

pub(crate) use failure::{RustFailure, Words};
use process::Process;
#[cfg(test)]
pub(crate) use said::Completion;
use said::{Asked, Failure, Said};
pub(crate) use said::{Completions, Docs, Stream, Value};

/// A call that an interrupt has cancelled lets the cell end by itself, and keep its variables; for this long.
const GRACE: Duration = Duration::from_secs(1);
/// Somebody is typing.
const TYPING_PATIENCE: Duration = Duration::from_secs(3);

/// What a running cell needs of those who run it.
pub(crate) trait Host {
    fn text(&mut self, stream: Stream, text: &str);
    fn show(&mut self, shown: Shown);
    /// Does what the cell asks for. Ends soon when the cell is interrupted.
    fn call(&mut self, call: Call) -> Result<Vec<String>, CallError>;
    /// Each interrupt of the cell.
    fn interrupts(&self) -> Receiver<()>;
}

/// What a cell shows through the crate `hotplate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    Display { id: String, mime: String, data: Vec<u8> },
    Update { id: String, mime: String, data: Vec<u8> },
    Clear { wait: bool },
    Page { text: String },
}

/// What a cell asks through the crate `hotplate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Run { command: String },
    Generate { prompt: String },
    Examples { folder: String },
    Input { prompt: String, password: bool },
}

/// What a cell gets as its error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallError {
    pub name: String,
    pub message: String,
}

#[derive(Default)]
pub(crate) struct Rust {
    process: Option<Process>,
    /// What the process has not said before it can do anything.
    is_ready: bool,
    /// Of the last question while typing.
    number: u64,
}

impl Rust {
    /// Runs code that begins in this line of its cell.
    pub(crate) fn run(
        &mut self,
        code: &str,
        first_line: usize,
        host: &mut impl Host,
    ) -> Result<Value, RustFailure> {
        let interrupts = host.interrupts();
        let process = self.process()?;
        // Where this fails, nothing more is said, and the loop says why.
        let _ = process.ask(&Asked::Run { code: code.to_owned(), first_line });
        let said = process.said.clone();
        let mut interrupted = Interrupted::No;
        loop {
            let due = interrupted.due();
            let what = select! {
                recv(interrupts) -> _ => {
                    let first = matches!(interrupted, Interrupted::No);
                    if !first || !self.is_ready {
                        self.end();
                        return Err(RustFailure::StoppedWorker { again: !first });
                    }
                    self.interrupt();
                    interrupted = Interrupted::Passed;
                    continue;
                }
                recv(due.map_or_else(never, crossbeam_channel::at)) -> _ => {
                    self.interrupt();
                    interrupted = Interrupted::Passed;
                    continue;
                }
                recv(said) -> what => what,
            };
            let Some(process) = &mut self.process else { return Err(self.lost()) };
            match what {
                Err(_) => return Err(self.lost()),
                Ok(Said::Ready) => self.is_ready = true,
                Ok(Said::CannotStart(problem)) => {
                    self.end();
                    return Err(RustFailure::CannotStart(problem));
                }
                Ok(Said::Text { stream, text }) => host.text(stream, &text),
                Ok(Said::Helper(line)) => {
                    if let Some(shown) = shown(&line) {
                        host.show(shown);
                    }
                }
                Ok(Said::Call(line)) => {
                    let outcome = match call(&line) {
                        Some(call) => host.call(call),
                        None => Err(CallError {
                            name: "Internal".to_owned(),
                            message: "the kernel does not understand the crate hotplate".to_owned(),
                        }),
                    };
                    if interrupts.try_recv().is_ok() {
                        interrupted = Interrupted::InCall(Instant::now());
                    }
                    let _ = process.ask(&Asked::Answer(answer(outcome)));
                }
                Ok(Said::Input { prompt, password }) => {
                    let outcome = host.call(Call::Input { prompt, password });
                    if interrupts.try_recv().is_ok() {
                        interrupted = Interrupted::InCall(Instant::now());
                    }
                    let _ = process.ask(&Asked::Answer(outcome.unwrap_or_default().concat()));
                }
                // It ended by itself, because what it had asked for was cancelled.
                Ok(Said::Ended(Ok(_) | Err(Failure::Returned { .. })))
                    if !matches!(interrupted, Interrupted::No) =>
                {
                    return Err(RustFailure::Cell(Failure::Interrupted { lost: Vec::new() }));
                }
                Ok(Said::Ended(Ok(value))) => return Ok(value),
                Ok(Said::Ended(Err(failure))) => return Err(RustFailure::Cell(failure)),
                // Somebody typed, and did not wait for the answer.
                Ok(Said::Completed { .. } | Said::Inspected { .. }) => {}
            }
        }
    }

    /// What could stand at this place of the code, in bytes. Empty where the answer would come too late.
    pub(crate) fn complete(&mut self, code: &str, position: usize) -> Completions {
        let answer =
            self.ask_while_typing(|number| Asked::Complete { number, code: code.to_owned(), position });
        match answer {
            Some(Said::Completed { completions, .. }) => completions,
            _ => Completions::default(),
        }
    }

    /// What is known of the name at this place of the code, in bytes.
    pub(crate) fn inspect(&mut self, code: &str, position: usize) -> Option<Docs> {
        let answer =
            self.ask_while_typing(|number| Asked::Inspect { number, code: code.to_owned(), position });
        match answer {
            Some(Said::Inspected { found, .. }) => found,
            _ => None,
        }
    }

    fn ask_while_typing(&mut self, asked: impl FnOnce(u64) -> Asked) -> Option<Said> {
        self.number += 1;
        let wanted = self.number;
        let deadline = Instant::now() + TYPING_PATIENCE;
        let process = self.process().ok()?;
        process.ask(&asked(wanted)).ok()?;
        loop {
            match self.process.as_ref()?.said.recv_deadline(deadline) {
                Ok(said @ (Said::Completed { number, .. } | Said::Inspected { number, .. }))
                    if number == wanted =>
                {
                    return Some(said);
                }
                Ok(Said::Ready) => self.is_ready = true,
                Ok(Said::CannotStart(_)) | Err(RecvTimeoutError::Disconnected) => {
                    self.end();
                    return None;
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return None,
            }
        }
    }

    fn process(&mut self) -> Result<&mut Process, RustFailure> {
        let process = if let Some(process) = self.process.take() {
            process
        } else {
            self.is_ready = false;
            Process::start().map_err(RustFailure::NoProcess)?
        };
        Ok(self.process.insert(process))
    }

    fn interrupt(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.ask(&Asked::Interrupt);
        }
    }

    fn lost(&mut self) -> RustFailure {
        RustFailure::LostWorker { status: self.end() }
    }

    /// The next use starts a new process.
    fn end(&mut self) -> Option<std::process::ExitStatus> {
        self.process.take()?.end()
    }
}

/// How far the running cell's end is.
enum Interrupted {
    No,
    /// What it had asked for was cancelled then, and it has been told.
    InCall(Instant),
    /// The other program has been told.
    Passed,
}

impl Interrupted {
    /// When the other program has to be told.
    fn due(&self) -> Option<Instant> {
        match self {
            Interrupted::InCall(since) => Some(*since + GRACE),
            Interrupted::No | Interrupted::Passed => None,
        }
    }
}

fn shown(line: &str) -> Option<Shown> {
    let fields = fields::split(line)?;
    let text = |field: &Vec<u8>| String::from_utf8(field.clone()).ok();
    Some(match fields.as_slice() {
        [kind, id, mime, data] if kind == b"display" => {
            Shown::Display { id: text(id)?, mime: text(mime)?, data: data.clone() }
        }
        [kind, id, mime, data] if kind == b"update" => {
            Shown::Update { id: text(id)?, mime: text(mime)?, data: data.clone() }
        }
        [kind, when] if kind == b"clear" => Shown::Clear { wait: when == b"wait" },
        [kind, shown] if kind == b"page" => Shown::Page { text: text(shown)? },
        _ => return None,
    })
}

fn call(line: &str) -> Option<Call> {
    let fields = fields::split_text(line)?;
    let [kind, argument] = fields.as_slice() else { return None };
    let argument = argument.clone();
    Some(match kind.as_str() {
        "run" => Call::Run { command: argument },
        "generate" => Call::Generate { prompt: argument },
        "examples" => Call::Examples { folder: argument },
        "input" => Call::Input { prompt: argument, password: false },
        "password" => Call::Input { prompt: argument, password: true },
        _ => return None,
    })
}

fn answer(outcome: Result<Vec<String>, CallError>) -> String {
    let fields = match outcome {
        Ok(fields) => [vec!["ok".to_owned()], fields].concat(),
        Err(CallError { name, message }) => vec!["error".to_owned(), name, message],
    };
    fields::join(&fields.iter().map(String::as_bytes).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_crate() {
        let line = fields::join(&[b"display", b"id", b"image/png", b"\x89 \n:%"]);
        assert!(!line.contains([':', '\n']), "{line}");
        assert_eq!(
            shown(&line),
            Some(Shown::Display { id: "id".into(), mime: "image/png".into(), data: b"\x89 \n:%".to_vec() })
        );
        assert_eq!(shown("clear wait"), Some(Shown::Clear { wait: true }));
        assert_eq!(call("generate %e9%9d%a2"), Some(Call::Generate { prompt: "面".into() }));
        assert_eq!(call("input "), Some(Call::Input { prompt: String::new(), password: false }));
        for broken in ["", "display a b", "%zz", "%", "nothing x"] {
            assert_eq!((shown(broken), call(broken)), (None, None), "{broken}");
        }
        assert_eq!(answer(Ok(vec!["a b".into(), String::new()])), "ok a%20b ");
    }
}
