//! `logs`: reads the daemon's log file itself, so that it works when no daemon does.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use hotplate_home::Home;

use crate::shown::Shown;

use super::CommandError;
use crate::canceller::Canceller;
use crate::command::LogsArgs;
use hotplate_home::own_file;

const LOOK_EVERY: Duration = Duration::from_millis(100);
const CHUNK: u64 = 64 << 10;

/// Shows the last lines of the log, and with `-f` the coming ones until `canceller` is thrown.
pub fn logs(
    home: &Home,
    args: &LogsArgs,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    let log = home.log();
    let unreadable = |source| CommandError::UnreadableLog { log: log.clone(), source };
    let mut following = Following { log: log.clone(), file: None, position: 0 };
    match own_file::open(&log) {
        Ok(mut file) => {
            let (lines, end) = tail(&mut file, args.lines).map_err(unreadable)?;
            // What is missing stands in the file before, if there is one.
            let missing = args.lines - lines.len();
            let earlier = own_file::open(&home.earlier_log()).and_then(|mut file| tail(&mut file, missing));
            let earlier = earlier.map(|(lines, _)| lines).unwrap_or_default();
            for line in earlier.into_iter().chain(lines) {
                show(Shown::LogLine(line));
            }
            following = Following { file: Some(file), position: end, ..following };
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && args.follow => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(CommandError::NoLog { log: log.clone() });
        }
        Err(error) => return Err(unreadable(error)),
    }
    while args.follow && !canceller.is_cancelled() {
        for line in following.new_lines().map_err(unreadable)? {
            show(Shown::LogLine(line));
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// The last `count` lines, and where the file ended then. Reads backwards, so that a long log costs nothing.
fn tail(file: &mut File, count: usize) -> io::Result<(Vec<String>, u64)> {
    let end = file.metadata()?.len();
    let mut start = end;
    let mut bytes = Vec::new();
    // One piece more than lines, as nothing lies behind the last newline; and one for what is cut at the front.
    while start > 0 && bytes.split(|&byte| byte == b'\n').count() < count + 2 {
        let step = start.min(CHUNK);
        start -= step;
        let mut chunk = vec![0; step as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut chunk)?;
        chunk.extend_from_slice(&bytes);
        bytes = chunk;
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok((lines[lines.len().saturating_sub(count)..].iter().map(|&line| line.to_owned()).collect(), end))
}

/// The file that is read, and how far; another one once the daemon has begun it.
struct Following {
    log: PathBuf,
    file: Option<File>,
    position: u64,
}

impl Following {
    fn new_lines(&mut self) -> io::Result<Vec<String>> {
        // Before the old file is read to its end: the daemon writes nothing more there once this one exists.
        let there = match own_file::open(&self.log) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let begun_anew = match (&self.file, &there) {
            (Some(file), Some(there)) => !is_same(file, there)?,
            (Some(_), None) => false,
            (None, _) => true,
        };
        let mut lines = match &mut self.file {
            Some(file) => read_lines(file, &mut self.position, begun_anew)?,
            None => Vec::new(),
        };
        if begun_anew && let Some(mut file) = there {
            self.position = 0;
            lines.extend(read_lines(&mut file, &mut self.position, false)?);
            self.file = Some(file);
        }
        Ok(lines)
    }
}

/// Whole lines from `position` on, and what has no end yet, too, if nothing more will come. A file that has become shorter is read from its start.
fn read_lines(file: &mut File, position: &mut u64, is_over: bool) -> io::Result<Vec<String>> {
    if file.metadata()?.len() < *position {
        *position = 0;
    }
    file.seek(SeekFrom::Start(*position))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    let end = if is_over { bytes.len() } else { whole };
    *position += end as u64;
    Ok(String::from_utf8_lossy(&bytes[..end]).lines().map(str::to_owned).collect())
}

#[cfg(unix)]
fn is_same(one: &File, other: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

#[cfg(not(unix))]
fn is_same(_: &File, _: &File) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::command::OutputArgs;

    #[test]
    fn the_tail_of_a_long_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let text = (0..20_000).map(|number| format!("line {number}\n")).collect::<Vec<_>>().concat();
        fs::write(&log, &text).unwrap();
        let mut file = File::open(&log).unwrap();
        let (lines, end) = tail(&mut file, 2).unwrap();
        assert_eq!(lines, ["line 19998", "line 19999"]);
        assert_eq!(end, text.len() as u64);
        assert_eq!(tail(&mut file, 30_000).unwrap().0.len(), 20_000);
        assert!(tail(&mut file, 0).unwrap().0.is_empty());
    }

    #[test]
    fn whole_new_lines_and_a_new_file_behind_the_old_ones_end() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::write(&log, "one\ntwo\nthr").unwrap();
        let file = Some(File::open(&log).unwrap());
        let mut following = Following { log: log.clone(), file, position: 4 };
        assert_eq!(following.new_lines().unwrap(), ["two"]);
        let mut old = File::options().append(true).open(&log).unwrap();
        io::Write::write_all(&mut old, b"ee\nfour\n").unwrap();
        fs::rename(&log, folder.path().join("log.1")).unwrap();
        fs::write(&log, "five\n").unwrap();
        assert_eq!(following.new_lines().unwrap(), ["three", "four", "five"]);
        assert!(following.new_lines().unwrap().is_empty());
        // Emptied in place.
        fs::write(&log, "six\n").unwrap();
        assert_eq!(following.new_lines().unwrap(), ["six"]);
        fs::write(&log, "7\n").unwrap();
        assert_eq!(following.new_lines().unwrap(), ["7"]);
        fs::remove_file(&log).unwrap();
        assert!(following.new_lines().unwrap().is_empty());
    }

    #[test]
    fn the_last_lines_may_stand_in_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        fs::write(home.earlier_log(), "one\ntwo\n").unwrap();
        fs::write(home.log(), "three\n").unwrap();
        let shown = |lines| {
            let mut shown = Vec::new();
            let args = LogsArgs { lines, follow: false, output: OutputArgs::default() };
            logs(&home, &args, &Canceller::new(), &mut |line| shown.push(line)).unwrap();
            shown
        };
        let line = |text: &str| Shown::LogLine(text.to_owned());
        assert_eq!(shown(1), [line("three")]);
        assert_eq!(shown(2), [line("two"), line("three")]);
        assert_eq!(shown(9), [line("one"), line("two"), line("three")]);
    }
}
