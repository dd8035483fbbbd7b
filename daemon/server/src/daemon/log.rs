//! The daemon's log: where a line goes, how long the file grows, and what is said of lines that come again and again.
//!
//! Nothing here fails or panics: a log that cannot be written (a full disk, a pipe without a reader) must not cost anybody an answer. Lines
//! that were lost are counted, and said once there is room again.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hotplate_home::{Home, own_file};
use tracing_subscriber::EnvFilter;

/// Bytes after which the file becomes the earlier one; there are two of them at most.
const LARGEST: u64 = 4 << 20;
/// A line is cut beyond it.
const LONGEST_LINE: usize = 16 << 10;
/// How long a line that comes again waits to be counted together with the next ones.
const COUNT_FOR: Duration = Duration::from_secs(10);

static LOG: OnceLock<Mutex<Log>> = OnceLock::new();

/// Logs to the home's file where a client has made it standard error, else to standard error as it is. `HOTPLATE_LOG` sets what is logged.
pub(crate) fn start(home: &Home) {
    let filter = EnvFilter::try_from_env("HOTPLATE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = io::stderr().is_terminal();
    LOG.get_or_init(|| Mutex::new(Log::new(Sink::here(home), LARGEST)));
    // A second call (a test in one process) keeps the first one's.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .log_internal_errors(false)
        .with_writer(|| Line)
        .try_init();
}

/// Says what was counted, and follows a file that somebody has moved away.
pub(crate) fn tick() {
    if let Some(mut log) = lock() {
        log.tick(Instant::now());
    }
}

/// Says what was counted; to be called at the end.
pub(crate) fn flush() {
    if let Some(mut log) = lock() {
        log.say_repeats();
    }
}

fn lock() -> Option<MutexGuard<'static, Log>> {
    LOG.get().map(|log| log.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Takes one line, its end included.
struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(mut log) = lock() {
            log.line(line, Instant::now());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Sink {
    /// A terminal, or what somebody has redirected it to.
    StandardError,
    /// The home's file; standard output and error are the same.
    File { path: PathBuf, earlier: PathBuf, file: File },
}

impl Sink {
    fn here(home: &Home) -> Sink {
        match standard_error(&home.log()) {
            Some(file) => Sink::File { path: home.log(), earlier: home.earlier_log(), file },
            None => Sink::StandardError,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::StandardError => io::stderr().write(bytes),
            Sink::File { file, .. } => file.write(bytes),
        }
    }

    /// Makes the file the earlier one and begins a new one.
    fn rotate(&mut self) {
        let Sink::File { path, earlier, file } = self else { return };
        match fs::rename(&*path, &*earlier).and_then(|()| own_file::append(path)) {
            Ok(fresh) => *file = take_over(fresh),
            // It must not grow without end.
            Err(_) => drop(file.set_len(0)),
        }
    }

    /// Opens the file anew if somebody has moved or removed it.
    fn follow(&mut self) {
        let Sink::File { path, file, .. } = self else { return };
        if !same_file(path, file)
            && let Ok(fresh) = own_file::append(path)
        {
            *file = take_over(fresh);
        }
    }

    fn length(&self) -> u64 {
        match self {
            Sink::StandardError => 0,
            Sink::File { file, .. } => file.metadata().map_or(0, |found| found.len()),
        }
    }
}

/// What others write (a panic's words) goes to the new file as well.
#[cfg(not(test))]
fn take_over(fresh: File) -> File {
    #[cfg(unix)]
    {
        let _ = rustix::stdio::dup2_stdout(&fresh);
        let _ = rustix::stdio::dup2_stderr(&fresh);
    }
    fresh
}

#[cfg(test)]
fn take_over(fresh: File) -> File {
    fresh
}

/// Standard error, if it is the file at `path`.
#[cfg(unix)]
fn standard_error(path: &Path) -> Option<File> {
    let file = File::from(rustix::io::dup(rustix::stdio::stderr()).ok()?);
    same_file(path, &file).then_some(file)
}

#[cfg(not(unix))]
fn standard_error(_: &Path) -> Option<File> {
    None
}

#[cfg(unix)]
fn same_file(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;

    match (path.symlink_metadata(), file.metadata()) {
        (Ok(there), Ok(here)) => (there.dev(), there.ino()) == (here.dev(), here.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn same_file(_: &Path, _: &File) -> bool {
    true
}

struct Log {
    sink: Sink,
    largest: u64,
    /// The last line without its time.
    last: Vec<u8>,
    /// How often it has come since it was written, and when it did for the last time.
    repeats: u64,
    repeated_at: Vec<u8>,
    counted_since: Instant,
    /// Lines that could not be written.
    lost: u64,
    /// The last write has ended within a line.
    is_cut: bool,
}

impl Log {
    fn new(sink: Sink, largest: u64) -> Log {
        Log {
            sink,
            largest,
            last: Vec::new(),
            repeats: 0,
            repeated_at: Vec::new(),
            counted_since: Instant::now(),
            lost: 0,
            is_cut: false,
        }
    }

    fn line(&mut self, line: &[u8], now: Instant) {
        let space = line.iter().position(|&byte| byte == b' ').unwrap_or(0);
        let (time, words) = line.split_at(space);
        if words == self.last {
            if self.repeats == 0 {
                self.counted_since = now;
            }
            self.repeats += 1;
            self.repeated_at = time.to_vec();
            self.tick(now);
            return;
        }
        self.say_repeats();
        self.last = words.to_vec();
        if line.len() > LONGEST_LINE {
            let mut cut = line[..LONGEST_LINE].to_vec();
            cut.extend_from_slice(b" ... (cut)\n");
            self.write(&cut);
        } else {
            self.write(line);
        }
    }

    fn tick(&mut self, now: Instant) {
        self.sink.follow();
        if self.repeats > 0 && now.saturating_duration_since(self.counted_since) >= COUNT_FOR {
            self.say_repeats();
        }
    }

    fn say_repeats(&mut self) {
        let times = match std::mem::take(&mut self.repeats) {
            0 => return,
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        let time = String::from_utf8_lossy(&self.repeated_at).into_owned();
        self.write(format!("{time} … repeated {times}\n").as_bytes());
    }

    fn write(&mut self, line: &[u8]) {
        if self.sink.length() + line.len() as u64 > self.largest {
            self.sink.rotate();
            self.is_cut = false;
        }
        let mut bytes = Vec::new();
        if self.is_cut {
            bytes.push(b'\n');
        }
        if self.lost > 0 {
            bytes.extend(format!("… {} lines could not be written\n", self.lost).as_bytes());
        }
        bytes.extend_from_slice(line);
        let written = self.write_some(&bytes);
        if written == bytes.len() {
            (self.lost, self.is_cut) = (0, false);
        } else {
            self.lost += 1;
            self.is_cut |= written > 0;
        }
    }

    /// How much could be written.
    fn write_some(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.sink.write(&bytes[written..]) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_in(folder: &Path, largest: u64) -> Log {
        let path = folder.join("daemon.log");
        let file = own_file::append(&path).unwrap();
        Log::new(Sink::File { path, earlier: folder.join("daemon.log.1"), file }, largest)
    }

    fn say(log: &mut Log, second: u64, words: &str) {
        log.line(
            format!("00:{second:02} {words}\n").as_bytes(),
            Instant::now() + Duration::from_secs(second),
        );
    }

    #[test]
    fn a_line_that_comes_again_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log_in(folder.path(), LARGEST);
        say(&mut log, 0, "a");
        for second in 1..=5 {
            say(&mut log, second, "a");
        }
        say(&mut log, 6, "b");
        say(&mut log, 7, "b");
        say(&mut log, 8, "a");
        for second in 9..=20 {
            say(&mut log, second, "a");
        }
        log.say_repeats();
        assert_eq!(
            fs::read_to_string(folder.path().join("daemon.log")).unwrap(),
            "00:00 a\n00:05 … repeated 5 times\n00:06 b\n00:07 … repeated once\n00:08 a\n00:19 … repeated 11 times\n00:20 … repeated once\n"
        );
    }

    #[test]
    fn two_files_of_a_bounded_size() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log_in(folder.path(), 1000);
        for number in 0..500 {
            say(&mut log, 0, &format!("line {number}"));
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let (now, earlier) = (read("daemon.log"), read("daemon.log.1"));
        assert!(now.len() <= 1000 && earlier.len() <= 1000 && earlier.len() > 900);
        assert!(now.ends_with("line 499\n"));
        // Together they are the last lines, none missing.
        let numbers: Vec<usize> =
            (earlier + &now).lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        log.line(&vec![b'x'; 100_000], Instant::now());
        assert!(read("daemon.log").len() < 2 * LONGEST_LINE);
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log_in(folder.path(), LARGEST);
        say(&mut log, 0, "a");
        fs::rename(folder.path().join("daemon.log"), folder.path().join("kept")).unwrap();
        log.tick(Instant::now());
        say(&mut log, 1, "b");
        assert_eq!(fs::read_to_string(folder.path().join("daemon.log")).unwrap(), "00:01 b\n");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_costs_lines_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log_in(folder.path(), LARGEST);
        let full = File::options().write(true).open("/dev/full").unwrap();
        let Sink::File { file, .. } = &mut log.sink else { panic!() };
        let kept = std::mem::replace(file, full);
        say(&mut log, 0, "a");
        say(&mut log, 1, "b");
        let Sink::File { file, .. } = &mut log.sink else { panic!() };
        *file = kept;
        say(&mut log, 2, "c");
        say(&mut log, 3, "d");
        assert_eq!(
            fs::read_to_string(folder.path().join("daemon.log")).unwrap(),
            "… 2 lines could not be written\n00:02 c\n00:03 d\n"
        );
    }
}
