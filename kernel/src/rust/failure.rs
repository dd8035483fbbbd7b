//! What is said where a Rust cell does not come to its end: what happened, what is lost, what to do.

use std::process::ExitStatus;

use super::process::NoProcess;
use super::said::{Failure, ProcessEnd, StartProblem, Tool};

#[derive(Debug)]
pub(crate) enum RustFailure {
    /// The cell's own doing, or an interrupt's.
    Cell(Failure),
    NoProcess(NoProcess),
    CannotStart(StartProblem),
    /// An interrupt has ended the program that runs the cells; the second one, where the first could cost less.
    StoppedWorker {
        again: bool,
    },
    /// That program has ended by itself, or by `:quit`.
    LostWorker {
        status: Option<ExitStatus>,
    },
}

/// In the words of Jupyter's errors.
pub(crate) struct Words {
    pub name: &'static str,
    pub message: String,
    /// Below the name and message; or in their place, where `whole`.
    pub details: Vec<String>,
    pub whole: bool,
}

const OFFLINE: &str = "Rust cells are offline until a cell says otherwise: `:offline 0` in a line above lets cargo fetch crates.";
const ALL_LOST: &str = "all variables, functions and dependencies of Rust cells are lost; the next Rust cell starts anew, so run the earlier ones again";

impl RustFailure {
    pub(crate) fn words(&self) -> Words {
        let words = |name, message: String| Words { name, message, details: Vec::new(), whole: false };
        match self {
            RustFailure::Cell(failure) => of_cell(failure),
            RustFailure::NoProcess(problem) => words("RustCells", problem.to_string()),
            RustFailure::CannotStart(StartProblem::Missing(tool)) => {
                words("NoToolchain", missing(*tool).to_owned())
            }
            RustFailure::CannotStart(StartProblem::Other(why)) => {
                let first = why.lines().next().unwrap_or_default();
                let mut words = words("RustCells", format!("Rust cells cannot start: {first}"));
                words.details = why.lines().skip(1).map(str::to_owned).collect();
                words
            }
            RustFailure::StoppedWorker { again: true } => words(
                "Interrupted",
                format!(
                    "interrupted a second time, and the program that runs Rust cells was ended: {ALL_LOST}"
                ),
            ),
            RustFailure::StoppedWorker { again: false } => {
                words("Interrupted", "interrupted while Rust was starting; nothing is lost".to_owned())
            }
            RustFailure::LostWorker { status } => {
                let how = match status {
                    Some(status) if status.success() => "was ended by the cell (:quit)".to_owned(),
                    Some(status) => format!("is gone ({status})"),
                    None => "is gone".to_owned(),
                };
                words("WorkerLost", format!("the program that runs Rust cells {how}: {ALL_LOST}"))
            }
        }
    }
}

fn of_cell(failure: &Failure) -> Words {
    let words = |name, message: String| Words { name, message, details: Vec::new(), whole: false };
    match failure {
        Failure::Compile { message, report } => {
            let mut details = report.clone();
            if message.contains("--offline") {
                details.push(OFFLINE.to_owned());
            }
            Words { name: "CompileError", message: message.clone(), details, whole: true }
        }
        Failure::Panicked { message, place } => {
            let details = place.iter().map(|place| format!("  at {place}")).collect();
            let kept = "  Variables of earlier cells are kept.".to_owned();
            Words {
                name: "Panic",
                message: message.clone(),
                details: [details, vec![kept]].concat(),
                whole: false,
            }
        }
        Failure::Returned { message } | Failure::Other(message) => words("RustError", message.clone()),
        Failure::Died { end, lost } => {
            words("ProcessLost", format!("the process of the Rust cells {}; {}", ended(*end), cost(lost)))
        }
        Failure::Interrupted { lost } if lost.is_empty() => {
            words("Interrupted", "interrupted; no variable is lost".to_owned())
        }
        Failure::Interrupted { lost } => words(
            "Interrupted",
            format!("interrupted, and the process of the Rust cells was ended; {}", cost(lost)),
        ),
        Failure::UnknownType { message, no_sources } => {
            let mut message = message.clone();
            if *no_sources {
                message += " It could be found by itself if the sources of the standard library were here: \
                            rustup component add rust-src (then restart the kernel)";
            }
            words("CompileError", message)
        }
    }
}

fn missing(tool: Tool) -> &'static str {
    match tool {
        Tool::Cargo | Tool::Rustc => {
            "Rust cells need Rust itself, and there is no cargo or no rustc on PATH: install it from https://rustup.rs, or start Jupyter \
             where it is on PATH. Everything that begins with % works without it"
        }
        Tool::Linker => {
            "Rust cells need a linker, and rustc finds none: install a C compiler (Debian: apt install gcc; Fedora: dnf install gcc; \
             macOS: xcode-select --install). Everything that begins with % works without it"
        }
    }
}

fn ended(end: ProcessEnd) -> String {
    let signal = |signal| match signal {
        4 => "an illegal instruction",
        6 => "an abort",
        7 => "a bus error",
        8 => "an arithmetic fault",
        9 => "being killed, perhaps for want of memory",
        11 => "a segmentation fault",
        _ => "a signal",
    };
    match end {
        ProcessEnd::Code(code) => format!("ended (exit code {code})"),
        ProcessEnd::Signal(number) => format!("ended by {} (signal {number})", signal(number)),
        ProcessEnd::Unknown => "ended".to_owned(),
    }
}

fn cost(lost: &[String]) -> String {
    let kept = "functions, types and dependencies are kept, and the next cell runs in a new process";
    match lost {
        [] => format!("no variable is lost: {kept}"),
        lost => format!("lost: {} (variables); {kept}", lost.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_named() {
        let message = |failure| RustFailure::Cell(failure).words().message;
        let died = message(Failure::Died { end: ProcessEnd::Code(3), lost: vec!["a".into(), "b".into()] });
        assert!(died.contains("exit code 3") && died.contains("lost: a, b (variables)"), "{died}");
        let fault = message(Failure::Died { end: ProcessEnd::Signal(11), lost: Vec::new() });
        assert!(fault.contains("segmentation fault") && fault.contains("no variable is lost"), "{fault}");
        let unknown = |no_sources| message(Failure::UnknownType { message: "x".into(), no_sources });
        assert!(unknown(true).contains("rustup component add rust-src"));
        assert_eq!(unknown(false), "x");
    }
}
