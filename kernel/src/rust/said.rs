//! What the kernel and the program that runs the Rust cells say to each other: one JSON object a line. Types only.
//!
//! The crate `hotplate` that cells see adds its own lines ([`Helper`] and [`Call`] carry them), which only the kernel reads.
//!
//! [`Helper`]: Said::Helper
//! [`Call`]: Said::Call

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The kernel's side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Asked {
    Run {
        code: String,
        /// Where the code begins in its cell, from 1.
        first_line: usize,
    },
    /// Positions count bytes.
    Complete {
        number: u64,
        code: String,
        position: usize,
    },
    Inspect {
        number: u64,
        code: String,
        position: usize,
    },
    /// To a [`Said::Call`] or [`Said::Input`].
    Answer(String),
    /// The running code is to end, with as little loss as can be.
    Interrupt,
}

/// The other program's side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    Ready,
    /// And nothing more; the process ends.
    CannotStart(StartProblem),
    Text {
        stream: Stream,
        text: String,
    },
    /// A line of the crate `hotplate` that wants no answer.
    Helper(String),
    /// A line of the crate `hotplate`; the code waits for an answer.
    Call(String),
    /// Input was asked for as evcxr has it.
    Input {
        prompt: String,
        password: bool,
    },
    Ended(Result<Value, Failure>),
    Completed {
        number: u64,
        completions: Completions,
    },
    Inspected {
        number: u64,
        found: Option<Docs>,
    },
}

/// A cell's value in several forms, by MIME type; empty where there is none.
pub(crate) type Value = BTreeMap<String, String>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StartProblem {
    /// A program that compiling needs is not on `PATH`.
    Missing(Tool),
    Other(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tool {
    Rustc,
    Cargo,
    Linker,
}

/// Why code did not run to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Failure {
    /// The first error's message, and all of them as a compiler shows them.
    Compile {
        message: String,
        report: Vec<String>,
    },
    /// Variables of earlier cells are still there.
    Panicked {
        message: String,
        place: Option<String>,
    },
    /// A `?` met an error.
    Returned {
        message: String,
    },
    /// The process in which the code ran is gone, and all variables with it.
    Died {
        end: ProcessEnd,
        lost: Vec<String>,
    },
    /// `lost`: the variables that the interrupt cost.
    Interrupted {
        lost: Vec<String>,
    },
    /// The type of a variable could not be found; `no_sources`: because the standard library has none, which was not said before.
    UnknownType {
        message: String,
        no_sources: bool,
    },
    Other(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProcessEnd {
    Code(i32),
    Signal(i32),
    Unknown,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Completions {
    /// In bytes.
    pub start: usize,
    pub end: usize,
    pub matches: Vec<Completion>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Completion {
    pub text: String,
    /// As JupyterLab names kinds.
    pub kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Docs {
    pub text: String,
    pub html: String,
}
