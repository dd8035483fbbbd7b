//! What Rust cells can ask of Hotplate. Only the standard library is needed, so it builds at once and offline.
//!
//! It speaks to the kernel through the cell's own output and input, in lines that the kernel takes out of them; so what is shown
//! comes in the order in which the cell said it.

mod fields;

use std::fmt;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Why something asked of Hotplate was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What a program can tell errors apart by, as `NotFound` or `Cancelled`.
    pub name: String,
    /// What went wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Runs a command as a line with `%` does, displays included: `run("train notes/ --epochs 2")?`.
pub fn run(command: &str) -> Result<(), Error> {
    ask(&["run", command]).map(drop)
}

/// Lets the model write: `generate("Write a short note about a bakery.")?`. Options stand in front of the prompt, as in
/// `generate("-a notes --temperature 0 -- A rainy day")?`; without `--`, all of the text is the prompt.
pub fn generate(prompt: &str) -> Result<Vec<String>, Error> {
    ask(&["generate", prompt])
}

/// The examples of a folder, in the order of files and lines.
pub fn examples(folder: impl AsRef<Path>) -> Result<Vec<Example>, Error> {
    let folder = folder.as_ref().to_string_lossy().into_owned();
    let fields = ask(&["examples", &folder])?;
    let number = |field: &String| field.parse().unwrap_or(0);
    Ok(fields
        .chunks_exact(5)
        .map(|example| Example {
            file: PathBuf::from(&example[0]),
            first_line: number(&example[1]),
            last_line: number(&example[2]),
            tokens: number(&example[3]),
            state: example[4].clone(),
        })
        .collect())
}

/// One text to learn from, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    pub file: PathBuf,
    /// From 1, and to be read with `last_line`.
    pub first_line: usize,
    pub last_line: usize,
    pub tokens: usize,
    /// As `check --examples` says it.
    pub state: String,
}

impl Example {
    /// The lines of the file that it was read from, as they are now.
    pub fn source(&self) -> io::Result<String> {
        let text = std::fs::read_to_string(&self.file)?;
        let count = (self.last_line + 1).saturating_sub(self.first_line);
        let lines: Vec<&str> = text.lines().skip(self.first_line.saturating_sub(1)).take(count).collect();
        Ok(lines.join("\n"))
    }
}

/// Shows data of a MIME type: `display("text/html", "<b>bread</b>")`, or the bytes of a picture as `image/png`.
pub fn display(mime: &str, data: impl AsRef<[u8]>) -> Display {
    let counter = DISPLAYS.fetch_add(1, Ordering::Relaxed);
    // Each cell has its own counter: the crate is linked into each of them.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    let display = Display { id: format!("hotplate-cell-{:x}-{now:x}-{counter}", std::process::id()) };
    tell(&[b"display", display.id.as_bytes(), mime.as_bytes(), data.as_ref()]);
    display
}

static DISPLAYS: AtomicU64 = AtomicU64::new(0);

/// Something that is shown, and can be replaced by something else; in later cells, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Display {
    id: String,
}

impl Display {
    pub fn update(&self, mime: &str, data: impl AsRef<[u8]>) {
        tell(&[b"update", self.id.as_bytes(), mime.as_bytes(), data.as_ref()]);
    }

    /// As the value of a cell: it is on the screen already.
    #[doc(hidden)]
    pub fn evcxr_display(&self) {}
}

/// Takes away what the cell has shown; with `wait`, when the next thing is shown.
pub fn clear_output(wait: bool) {
    tell(&[b"clear", if wait { b"wait" } else { b"now" }]);
}

/// Shows a long text in the front end's pager, where it has one.
pub fn page(text: &str) {
    tell(&[b"page", text.as_bytes()]);
}

/// Asks whoever sits at the notebook for a line of text.
pub fn input(prompt: &str) -> Result<String, Error> {
    Ok(ask(&["input", prompt])?.concat())
}

/// As [`input`], for what nobody else may see.
pub fn password(prompt: &str) -> Result<String, Error> {
    Ok(ask(&["password", prompt])?.concat())
}

fn tell(fields: &[&[u8]]) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "EVCXR_HOTPLATE {}", fields::join(fields));
    let _ = out.flush();
}

/// The kernel's answer: `ok` and fields, or `error`, a name and a message.
fn ask(fields: &[&str]) -> Result<Vec<String>, Error> {
    let failed = |message: String| Error { name: "Disconnected".to_owned(), message };
    // Held until the answer is there, so that threads take turns.
    let mut input = io::stdin().lock();
    let fields: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
    let mut answer = String::new();
    println!("EVCXR_INPUT_REQUEST:HOTPLATE {}", fields::join(&fields));
    io::stdout().flush().and_then(|()| input.read_line(&mut answer)).map_err(|error| failed(error.to_string()))?;
    let mut fields = fields::split_text(answer.trim_end_matches('\n')).unwrap_or_default().into_iter();
    match (fields.next().as_deref(), fields.len()) {
        (Some("ok"), _) => Ok(fields.collect()),
        (Some("error"), 2) => {
            let (name, message) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
            Err(Error { name, message })
        }
        _ => Err(failed("the kernel gave no answer".to_owned())),
    }
}

/// Begins each cell. What it gives back ends the cell: text without a line's end must not wait for the next cell.
#[doc(hidden)]
pub fn begin_cell() -> EndOfCell {
    let cell = std::thread::current().id();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let place = if thread.id() == cell { "cell" } else { thread.name().unwrap_or("thread") };
        let message = panic.payload_as_str().unwrap_or("a value that is no text");
        let (file, line) =
            panic.location().map_or(("", 0), |location| (location.file(), location.line()));
        let line = line.to_string();
        let fields: [&[u8]; 5] =
            [b"panic", place.as_bytes(), file.as_bytes(), line.as_bytes(), message.as_bytes()];
        unlocked(&format!("EVCXR_HOTPLATE {}\n", fields::join(&fields)));
    }));
    EndOfCell
}

/// Writes to the standard output although a `println!` that panics holds it.
#[cfg(unix)]
fn unlocked(line: &str) {
    use std::os::fd::FromRawFd;
    // SAFETY: the standard output is open as long as the process lives, and `ManuallyDrop` leaves it so.
    let mut out = std::mem::ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(1) });
    let _ = out.write_all(line.as_bytes());
}

#[cfg(not(unix))]
fn unlocked(line: &str) {
    let _ = io::stderr().write_all(line.as_bytes());
}

#[doc(hidden)]
pub struct EndOfCell;

impl Drop for EndOfCell {
    fn drop(&mut self) {
        let _ = io::stdout().flush();
    }
}
