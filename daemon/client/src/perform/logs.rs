//! `logs`: reads the daemon's log file itself, so that it works when no daemon does.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::PerformError;
use crate::canceller::Canceller;
use crate::command::LogsArgs;
use crate::home::Home;
use crate::shown::Shown;

const LOOK_EVERY: Duration = Duration::from_millis(100);
const CHUNK: u64 = 64 << 10;

/// Shows the last lines of the log, and with `-f` the coming ones until `canceller` is thrown.
pub fn logs(
    home: &Home,
    args: &LogsArgs,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), PerformError> {
    let log = home.log();
    let unreadable = |source| PerformError::UnreadableLog { log: log.clone(), source };
    let mut position = match tail(&log, args.lines) {
        Ok((lines, position)) => {
            for line in lines {
                show(Shown::LogLine(line));
            }
            position
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && args.follow => 0,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(PerformError::NoLog { log: log.clone() });
        }
        Err(error) => return Err(unreadable(error)),
    };
    while args.follow && !canceller.is_cancelled() {
        match new_lines(&log, position) {
            Ok((lines, end)) => {
                for line in lines {
                    show(Shown::LogLine(line));
                }
                position = end;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => position = 0,
            Err(error) => return Err(unreadable(error)),
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// The last `count` lines, and where the file ended then. Reads backwards, so that a long log costs nothing.
fn tail(log: &Path, count: usize) -> io::Result<(Vec<String>, u64)> {
    let mut file = File::open(log)?;
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

/// Whole lines from `position` on, and where they end. A file that has become shorter is a new one.
fn new_lines(log: &Path, position: u64) -> io::Result<(Vec<String>, u64)> {
    let mut file = File::open(log)?;
    let position = if file.metadata()?.len() < position { 0 } else { position };
    file.seek(SeekFrom::Start(position))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    let text = String::from_utf8_lossy(&bytes[..whole]);
    Ok((text.lines().map(str::to_owned).collect(), position + whole as u64))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_tail_of_a_long_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let text = (0..20_000).map(|number| format!("line {number}\n")).collect::<Vec<_>>().concat();
        fs::write(&log, &text).unwrap();
        let (lines, end) = tail(&log, 2).unwrap();
        assert_eq!(lines, ["line 19998", "line 19999"]);
        assert_eq!(end, text.len() as u64);
        assert_eq!(tail(&log, 30_000).unwrap().0.len(), 20_000);
        assert!(tail(&log, 0).unwrap().0.is_empty());
    }

    #[test]
    fn only_whole_new_lines_and_a_new_file_from_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::write(&log, "one\ntwo\nthr").unwrap();
        assert_eq!(new_lines(&log, 4).unwrap(), (vec!["two".to_owned()], 8));
        fs::write(&log, "new\n").unwrap();
        assert_eq!(new_lines(&log, 8).unwrap(), (vec!["new".to_owned()], 4));
    }
}
