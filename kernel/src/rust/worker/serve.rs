//! Serves one kernel, until it is gone: then nothing of this is left behind.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, Sender};
use rustix::process::Signal;

use crate::cells::Cells;
use crate::progress::Progress;
use crate::said::{Asked, Said, Stream};
use crate::{complain, family};

/// Says something to the kernel; from any thread.
#[derive(Clone)]
pub(crate) struct Kernel(Arc<Mutex<File>>);

impl Kernel {
    pub(crate) fn say(&self, said: &Said) {
        let Ok(mut line) = serde_json::to_vec(said) else { return };
        line.push(b'\n');
        // Where the kernel is gone, the reader notices.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line);
    }
}

/// To what running code asked.
pub(crate) struct Answers(Receiver<String>);

impl Answers {
    pub(crate) fn next(&self) -> String {
        // The sender lives as long as the kernel, and this process no longer.
        self.0.recv().unwrap_or_default()
    }
}

/// Returns only where something cannot start.
pub(crate) fn serve(folder: &Path) -> ExitCode {
    match listen(folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn listen(folder: &Path) -> io::Result<()> {
    // Made here, and so ours to remove.
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    let Streams { input, output, errors } = take_standard_streams()?;
    let kernel = Kernel(Arc::new(Mutex::new(output)));
    thread::Builder::new().name("errors".to_owned()).spawn({
        let kernel = kernel.clone();
        move || pass_on_errors(errors, &kernel)
    })?;
    let progress: Arc<Mutex<Option<Progress>>> = Arc::default();
    let (work, requests) = crossbeam_channel::unbounded();
    let (answer, answers) = crossbeam_channel::unbounded();
    thread::Builder::new().name("kernel".to_owned()).spawn({
        let (folder, progress) = (folder.to_owned(), Arc::clone(&progress));
        move || {
            read(input, &work, &answer, &progress);
            leave(&folder);
        }
    })?;
    let mut cells = match Cells::start(folder, kernel.clone()) {
        Ok(cells) => cells,
        Err(problem) => {
            kernel.say(&Said::CannotStart(problem));
            return Ok(());
        }
    };
    *progress.lock().unwrap_or_else(PoisonError::into_inner) = Some(cells.progress());
    kernel.say(&Said::Ready);
    let answers = Answers(answers);
    for request in requests {
        let said = match request {
            Asked::Run { code, first_line } => Said::Ended(cells.run(&code, first_line, &answers)),
            Asked::Complete { number, code, position } => {
                Said::Completed { number, completions: cells.complete(&code, position) }
            }
            Asked::Inspect { number, code, position } => {
                Said::Inspected { number, found: cells.inspect(&code, position) }
            }
            Asked::Answer(_) | Asked::Interrupt => continue,
        };
        kernel.say(&said);
    }
    Ok(())
}

struct Streams {
    input: File,
    output: File,
    errors: io::PipeReader,
}

/// The streams are the kernel's alone: evcxr prints, and its compilers inherit what is open. What is printed by them goes to
/// standard error, and that into a pipe: it says which dependencies are compiled, which a person at a notebook wants to see.
fn take_standard_streams() -> io::Result<Streams> {
    let input: OwnedFd = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    let output: OwnedFd = rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    let (errors, writer) = io::pipe()?;
    rustix::stdio::dup2_stderr(&writer)?;
    rustix::stdio::dup2_stdout(&writer)?;
    Ok(Streams { input: File::from(input), output: File::from(output), errors })
}

fn pass_on_errors(errors: io::PipeReader, kernel: &Kernel) {
    for line in BufReader::new(errors).lines().map_while(Result::ok) {
        // Nobody has asked for that one.
        if !line.trim_start().starts_with("Compiling hotplate ") {
            kernel.say(&Said::Text { stream: Stream::Stderr, text: line + "\n" });
        }
    }
}

/// Returns when the kernel is gone.
fn read(input: File, work: &Sender<Asked>, answer: &Sender<String>, progress: &Mutex<Option<Progress>>) {
    for line in BufReader::new(input).lines() {
        let Ok(line) = line else { return };
        match serde_json::from_str(&line) {
            Ok(Asked::Answer(text)) => drop(answer.send(text)),
            Ok(Asked::Interrupt) => {
                if let Some(progress) = &*progress.lock().unwrap_or_else(PoisonError::into_inner) {
                    progress.interrupt();
                }
            }
            Ok(asked) => drop(work.send(asked)),
            Err(error) => complain(&format!("cannot read what the kernel asked: {error}")),
        }
    }
}

/// Ends this process and all that it has started.
fn leave(folder: &Path) {
    family::kill_below(rustix::process::getpid(), None);
    let _ = fs::remove_dir_all(folder);
    if rustix::process::getpgrp() == rustix::process::getpid() {
        let _ = rustix::process::kill_current_process_group(Signal::KILL);
    }
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
}
