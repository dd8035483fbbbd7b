//! The process between evcxr and the one that runs code: see [`from_cell`](crate::from_cell) for why.
//!
//! It starts the other one and copies: evcxr's commands in, output out. It ends as the other one ends.

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use crate::from_cell::{COMPLETE, Divider, FromCell, PANICKED, Part, RETURNED, unfinished_character};
use crate::said::{ProcessEnd, Stream};

/// In bytes.
const AT_ONCE: usize = 64 << 10;
/// How soon an end is noticed that does not close the output, because a process below it still holds it.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) fn run() -> ExitCode {
    // Where memory runs out, this is what has to go, and not the kernel or the daemon.
    let _ = std::fs::write("/proc/self/oom_score_adj", "900");
    let end = start().and_then(|mut between| between.copy());
    let end = end.unwrap_or(ProcessEnd::Unknown);
    let _ = say(&FromCell::Gone(end));
    match end {
        ProcessEnd::Code(code) => ExitCode::from(code as u8),
        ProcessEnd::Signal(_) | ProcessEnd::Unknown => ExitCode::FAILURE,
    }
}

struct Between {
    child: Child,
    commands: Option<ChildStdin>,
    out: Option<ChildStdout>,
    err: Option<ChildStderr>,
    divider: Divider,
    /// Of a character that is not whole yet.
    err_waiting: Vec<u8>,
}

fn start() -> io::Result<Between> {
    // Without arguments, and with evcxr's variable in its environment, it is evcxr's runtime.
    let mut child = Command::new(std::env::current_exe()?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (commands, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    Ok(Between { child, commands, out, err, divider: Divider::default(), err_waiting: Vec::new() })
}

impl Between {
    fn copy(&mut self) -> io::Result<ProcessEnd> {
        loop {
            let ready = self.wait(LOOK)?;
            // What was written to standard error before a line of evcxr's comes before it here, too.
            if ready.err {
                self.copy_err()?;
            }
            if ready.out {
                self.copy_out()?;
            }
            if ready.commands {
                self.copy_commands()?;
            }
            if !(ready.out || ready.err)
                && let Some(status) = self.child.try_wait()?
            {
                if let Some(part) = self.divider.end() {
                    self.pass_on(part)?;
                }
                return Ok(match (status.code(), status.signal()) {
                    (Some(code), _) => ProcessEnd::Code(code),
                    (None, Some(signal)) => ProcessEnd::Signal(signal),
                    (None, None) => ProcessEnd::Unknown,
                });
            }
        }
    }

    fn wait(&self, patience: Duration) -> io::Result<Ready> {
        use std::os::fd::AsFd;
        let input = io::stdin();
        let closed = |fd: Option<BorrowedFd<'_>>| fd.is_none();
        let commands = self.commands.is_some().then(|| input.as_fd());
        let out = self.out.as_ref().map(AsFd::as_fd);
        let err = self.err.as_ref().map(AsFd::as_fd);
        let all = [commands, out, err];
        let mut open: Vec<PollFd<'_>> =
            all.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let patience = rustix::event::Timespec {
            tv_sec: 0,
            // Once both outputs are closed, only the end is waited for, and it comes at once.
            tv_nsec: if closed(out) && closed(err) { 1_000_000 } else { i64::from(patience.subsec_nanos()) },
        };
        match poll(&mut open, Some(&patience)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut results = open.iter().map(|fd| !fd.revents().is_empty());
        let [commands, out, err] = all.map(|fd| fd.is_some() && results.next().unwrap_or(false));
        Ok(Ready { commands, out, err })
    }

    fn copy_commands(&mut self) -> io::Result<()> {
        let mut bytes = vec![0; AT_ONCE];
        let count = rustix::io::read(io::stdin(), &mut bytes)?;
        let read = bytes.get(..count).unwrap_or_default();
        let Some(commands) = &mut self.commands else { return Ok(()) };
        if count == 0 || commands.write_all(read).and_then(|()| commands.flush()).is_err() {
            // evcxr has ended, or the other process has: that one's end is noticed elsewhere.
            self.commands = None;
            return Ok(());
        }
        if read.starts_with(b"LOAD_AND_RUN ") {
            // Not among the output: evcxr waits until somebody has taken that, which nobody can while evcxr itself starts.
            writeln!(io::stderr(), "{}", FromCell::Running.to_line())?;
        }
        Ok(())
    }

    fn copy_out(&mut self) -> io::Result<()> {
        let Some(out) = &mut self.out else { return Ok(()) };
        let mut bytes = vec![0; AT_ONCE];
        let count = out.read(&mut bytes)?;
        if count == 0 {
            self.out = None;
        }
        for part in self.divider.push(bytes.get(..count).unwrap_or_default()) {
            self.pass_on(part)?;
        }
        Ok(())
    }

    fn pass_on(&mut self, part: Part) -> io::Result<()> {
        match part {
            Part::Text(text) => say(&FromCell::Text { stream: Stream::Stdout, text }),
            Part::Helper(said) => say(&FromCell::Helper(said)),
            Part::Line(line) => {
                while self.wait(Duration::ZERO)?.err {
                    self.copy_err()?;
                }
                match line.as_str() {
                    PANICKED => say(&FromCell::Panicked)?,
                    RETURNED => say(&FromCell::Returned)?,
                    _ => {}
                }
                let mut output = io::stdout().lock();
                output.write_all(line.as_bytes())?;
                if line == COMPLETE { output.flush() } else { Ok(()) }
            }
        }
    }

    fn copy_err(&mut self) -> io::Result<()> {
        let Some(err) = &mut self.err else { return Ok(()) };
        let mut bytes = vec![0; AT_ONCE];
        let count = err.read(&mut bytes)?;
        if count == 0 {
            self.err = None;
        }
        self.err_waiting.extend_from_slice(bytes.get(..count).unwrap_or_default());
        let whole = match count {
            0 => self.err_waiting.len(),
            _ => self.err_waiting.len() - unfinished_character(&self.err_waiting),
        };
        let text: Vec<u8> = self.err_waiting.drain(..whole).collect();
        if text.is_empty() {
            return Ok(());
        }
        say(&FromCell::Text { stream: Stream::Stderr, text: String::from_utf8_lossy(&text).into_owned() })
    }
}

struct Ready {
    commands: bool,
    out: bool,
    err: bool,
}

fn say(said: &FromCell) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{}", said.to_line())?;
    output.flush()
}
