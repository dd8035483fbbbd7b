//! What comes out of running code, on its way to the kernel; and what is remembered of it for the cell's result.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, TryRecvError};
use evcxr::EvalContextOutputs;

use crate::fields;
use crate::from_cell::FromCell;
use crate::progress::Progress;
use crate::said::{ProcessEnd, Said, Stream};
use crate::serve::{Answers, Kernel};

/// The error that a `?` met is written to standard error before it is known for one: so long is waited for that.
const MAYBE_AN_ERROR: Duration = Duration::from_millis(50);
/// What evcxr writes before it lists its own functions and aborts; and the signal that it was. The line's end is a write of its
/// own, so it may come later.
const FAULTS: [(&str, i32); 3] =
    [("Segmentation fault.", 11), ("Illegal instruction.", 4), ("Bus error.", 7)];
const ABORT: i32 = 6;
/// How the crate `hotplate` begins what it wants an answer to.
const CALL: &str = "HOTPLATE ";

#[derive(Clone)]
pub(crate) struct Output {
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    kernel: Kernel,
    progress: Progress,
    /// Held while something is passed on, so that whoever has it knows that nothing is on its way.
    seen: Arc<Mutex<Seen>>,
}

/// Of one cell.
#[derive(Default)]
pub(crate) struct Seen {
    pub panicked: bool,
    pub panic: Option<Panic>,
    /// The error that a `?` met.
    pub returned: Option<String>,
    pub end: Option<ProcessEnd>,
    /// Of standard error, and not passed on yet.
    held: String,
    /// `held` begins with what evcxr says of a fault; more is not passed on before the process's end says whether it was one.
    fault: Option<i32>,
}

pub(crate) struct Panic {
    pub message: String,
    pub file: String,
    pub line: usize,
}

impl Output {
    pub(crate) fn new(outputs: EvalContextOutputs, kernel: Kernel, progress: Progress) -> Output {
        let EvalContextOutputs { stdout, stderr } = outputs;
        Output { stdout, stderr, kernel, progress, seen: Arc::default() }
    }

    /// Gives what was seen since the last time.
    pub(crate) fn forget(&self) -> Seen {
        let mut seen = self.lock();
        seen.fault = None;
        self.release(&mut seen);
        std::mem::take(&mut *seen)
    }

    /// Runs as long as evcxr does.
    pub(crate) fn pass_on_as_it_comes(&self) {
        let mut select = Select::new();
        select.recv(&self.stdout);
        select.recv(&self.stderr);
        loop {
            if select.ready_timeout(MAYBE_AN_ERROR).is_err() {
                self.release(&mut self.lock());
            } else if !self.pass_on() {
                return;
            }
        }
    }

    /// Everything that has come by now. Says whether evcxr is still there.
    pub(crate) fn pass_on(&self) -> bool {
        let mut seen = self.lock();
        loop {
            match self.stdout.try_recv() {
                Ok(line) => match FromCell::from_line(&line) {
                    Some(said) => self.take(said, &mut seen),
                    None => self.kernel.say(&Said::Text { stream: Stream::Stdout, text: line + "\n" }),
                },
                Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => break,
            }
        }
        while let Ok(line) = self.stderr.try_recv() {
            match FromCell::from_line(&line) {
                Some(said) => self.take(said, &mut seen),
                None => self.kernel.say(&Said::Text { stream: Stream::Stderr, text: line + "\n" }),
            }
        }
        true
    }

    fn take(&self, said: FromCell, seen: &mut Seen) {
        match said {
            FromCell::Text { stream: Stream::Stderr, text } => {
                match fault_in(&text) {
                    Some((place, signal)) if seen.fault.is_none() => {
                        let (before, fault) = text.split_at(place);
                        seen.held.push_str(before);
                        self.release(seen);
                        seen.fault = Some(signal);
                        seen.held.push_str(fault);
                    }
                    _ => seen.held.push_str(&text),
                }
                return;
            }
            FromCell::Returned => {
                let all = std::mem::take(&mut seen.held);
                let (before, last) = all.trim_end().rsplit_once('\n').unwrap_or(("", all.trim_end()));
                seen.returned = Some(last.to_owned());
                seen.held = if before.is_empty() { String::new() } else { format!("{before}\n") };
            }
            FromCell::Gone(ProcessEnd::Signal(ABORT)) if seen.fault.is_some() => {
                seen.end = seen.fault.take().map(ProcessEnd::Signal);
                seen.held.clear();
            }
            FromCell::Gone(end) => {
                seen.fault = None;
                seen.end = Some(end);
            }
            _ => {}
        }
        self.release(seen);
        match said {
            FromCell::Running => self.progress.running(),
            FromCell::Text { stream, text } => self.kernel.say(&Said::Text { stream, text }),
            FromCell::Helper(line) => match panic_in(&line) {
                Some((place, panic)) if place == "cell" => seen.panic = Some(panic),
                Some((_, Panic { message, .. })) => {
                    let text = format!("A thread of the cell panicked: {message}\n");
                    self.kernel.say(&Said::Text { stream: Stream::Stderr, text });
                }
                None => self.kernel.say(&Said::Helper(line)),
            },
            FromCell::Panicked => seen.panicked = true,
            FromCell::Returned | FromCell::Gone(_) => {}
        }
    }

    fn release(&self, seen: &mut Seen) {
        if seen.fault.is_none() && !seen.held.is_empty() {
            let text = std::mem::take(&mut seen.held);
            self.kernel.say(&Said::Text { stream: Stream::Stderr, text });
        }
    }

    /// The code waits for a line.
    pub(crate) fn ask(&self, prompt: &str, password: bool, answers: &Answers) -> String {
        // What was shown before the question comes before it.
        self.pass_on();
        self.release(&mut self.lock());
        match prompt.strip_prefix(CALL) {
            Some(call) => self.kernel.say(&Said::Call(call.to_owned())),
            None => self.kernel.say(&Said::Input { prompt: prompt.to_owned(), password }),
        }
        answers.next().replace('\n', " ")
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where evcxr speaks of a fault. What the cell wrote just before comes in the same piece, with or without the end of its line.
fn fault_in(text: &str) -> Option<(usize, i32)> {
    FAULTS.iter().find_map(|(line, signal)| Some((text.find(line)?, *signal)))
}

fn panic_in(line: &str) -> Option<(String, Panic)> {
    let fields = fields::split_text(line)?;
    let [kind, place, file, line, message] = fields.as_slice() else { return None };
    let line = line.parse().ok()?;
    (kind == "panic").then(|| (place.clone(), Panic { message: message.clone(), file: file.clone(), line }))
}

#[cfg(test)]
mod tests {
    use super::fault_in;

    #[test]
    fn a_fault_is_known_before_its_line_ends_and_behind_other_text() {
        assert_eq!(fault_in("Segmentation fault."), Some((0, 11)));
        assert_eq!(fault_in("面\nBus error.\n   0: evcxr"), Some((4, 7)));
        assert_eq!(fault_in("no endIllegal instruction.\n"), Some((6, 4)));
        assert_eq!(fault_in("Segmentation"), None);
    }
}
