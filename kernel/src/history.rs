//! What was typed, in this session and earlier ones.
//!
//! Kept in a file of JSON lines, one per cell, shared by all kernels of a user. A history that cannot be written is no reason
//! to refuse a cell: then this session's own cells are all there is.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use jupyter_protocol::{HistoryEntry, HistoryReply, HistoryRequest};
use serde::{Deserialize, Serialize};

/// When the file is larger at the start of a session, its older half goes.
const MAX_BYTES: u64 = 4 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    session: usize,
    line: usize,
    input: String,
}

pub(crate) struct History {
    file: Option<PathBuf>,
    /// Read at the first use, so that the kernel's start never waits for it.
    open: Option<Open>,
}

struct Open {
    session: usize,
    entries: Vec<Entry>,
}

impl History {
    pub(crate) fn in_file(file: Option<PathBuf>) -> History {
        History { file, open: None }
    }

    pub(crate) fn add(&mut self, line: usize, input: &str) {
        let open = opened(&mut self.open, &mut self.file);
        let entry = Entry { session: open.session, line, input: input.to_owned() };
        if let Some(file) = &self.file
            && let Err(error) = append(file, &entry)
        {
            tracing::warn!("cannot write the history {}: {error}", file.display());
            self.file = None;
        }
        open.entries.push(entry);
    }

    pub(crate) fn answer(&mut self, request: &HistoryRequest) -> HistoryReply {
        let Open { session: current, entries } = opened(&mut self.open, &mut self.file);
        let (found, with_output): (Vec<&Entry>, bool) = match request {
            HistoryRequest::Tail { n, output, .. } => (last(entries.iter().collect(), *n), *output),
            HistoryRequest::Range { session, start, stop, output, .. } => {
                let wanted = session_number(session.unwrap_or(0), *current);
                // A `stop` of 0 or below means "to the end", as front ends send it.
                let end = if *stop <= 0 { i64::MAX } else { i64::from(*stop) };
                let lines = i64::from(*start)..end;
                let inside =
                    |entry: &&Entry| Some(entry.session) == wanted && lines.contains(&(entry.line as i64));
                (entries.iter().filter(inside).collect(), *output)
            }
            HistoryRequest::Search { pattern, unique, output, n, .. } => {
                let pattern: Vec<char> = pattern.chars().collect();
                let mut found: Vec<&Entry> =
                    entries.iter().filter(|entry| matches_glob(&pattern, &entry.input)).collect();
                if *unique {
                    found = newest_of_each(&found);
                }
                (last(found, *n), *output)
            }
        };
        let entry = |entry: &Entry| {
            let Entry { session, line, input } = entry.clone();
            // Commands show what they have to say; they leave no value that could be kept.
            if with_output {
                HistoryEntry::InputOutput(session, line, (input, String::new()))
            } else {
                HistoryEntry::Input(session, line, input)
            }
        };
        HistoryReply::new(found.into_iter().map(entry).collect())
    }
}

/// Opens at the first use. A file that cannot be used is given up.
fn opened<'a>(open: &'a mut Option<Open>, file: &mut Option<PathBuf>) -> &'a mut Open {
    open.get_or_insert_with(|| {
        let begun = file.as_deref().map(|file| begin(file).map_err(|error| (file.to_owned(), error)));
        match begun {
            Some(Ok(open)) => open,
            Some(Err((path, error))) => {
                tracing::warn!("cannot use the history {}: {error}", path.display());
                *file = None;
                Open { session: 1, entries: Vec::new() }
            }
            None => Open { session: 1, entries: Vec::new() },
        }
    })
}

/// Reads the file and takes the next session number, which a line 0 marks as taken.
fn begin(file: &Path) -> io::Result<Open> {
    let _lock = lock(file)?;
    let mut entries = read(file)?;
    if fs::metadata(file).is_ok_and(|found| found.len() > MAX_BYTES) {
        entries.drain(..entries.len() / 2);
        rewrite(file, &entries)?;
    }
    let session = 1 + entries.iter().map(|entry| entry.session).max().unwrap_or(0);
    write_line(file, &Entry { session, line: 0, input: String::new() })?;
    entries.retain(|entry| entry.line > 0);
    Ok(Open { session, entries })
}

fn append(file: &Path, entry: &Entry) -> io::Result<()> {
    let _lock = lock(file)?;
    write_line(file, entry)
}

/// Held while the returned file is open. A file of its own: the history itself is replaced when it is shortened.
fn lock(file: &Path) -> io::Result<File> {
    let lock =
        private(&mut OpenOptions::new()).create(true).append(true).open(file.with_extension("lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// Lines that cannot be read (a disk that was full, another version's) are passed over.
fn read(file: &Path) -> io::Result<Vec<Entry>> {
    let mut bytes = Vec::new();
    match File::open(file) {
        Ok(mut file) => file.read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

fn write_line(file: &Path, entry: &Entry) -> io::Result<()> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    private(&mut OpenOptions::new()).create(true).append(true).open(file)?.write_all(&line)
}

fn rewrite(file: &Path, entries: &[Entry]) -> io::Result<()> {
    let next = file.with_extension("next");
    let mut bytes = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut bytes, entry)?;
        bytes.push(b'\n');
    }
    let mut out = private(&mut OpenOptions::new()).create(true).write(true).truncate(true).open(&next)?;
    out.write_all(&bytes)?;
    out.sync_all()?;
    fs::rename(next, file)
}

/// Prompts are nobody else's business.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// 0 is the current session, -1 the one before it, a positive number that session.
fn session_number(asked: i32, current: usize) -> Option<usize> {
    if asked > 0 { usize::try_from(asked).ok() } else { current.checked_sub(asked.unsigned_abs() as usize) }
}

fn last(mut found: Vec<&Entry>, n: i32) -> Vec<&Entry> {
    let n = usize::try_from(n).unwrap_or(0);
    found.drain(..found.len().saturating_sub(n));
    found
}

/// Of equal inputs the newest, in the order of their times.
fn newest_of_each<'a>(found: &[&'a Entry]) -> Vec<&'a Entry> {
    let newest: HashMap<&str, usize> =
        found.iter().enumerate().map(|(index, entry)| (entry.input.as_str(), index)).collect();
    let mut indexes: Vec<usize> = newest.into_values().collect();
    indexes.sort_unstable();
    indexes.into_iter().filter_map(|index| found.get(index).copied()).collect()
}

/// `*` stands for any text, `?` for any character; everything else for itself.
fn matches_glob(pattern: &[char], text: &str) -> bool {
    // Row by row: `reached[i]` says whether the pattern's first i characters match the text so far. No pattern can make
    // this slow.
    let mut reached = vec![false; pattern.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    let skip_stars = |reached: &mut Vec<bool>| {
        for (index, character) in pattern.iter().enumerate() {
            if *character == '*' && reached[index] {
                reached[index + 1] = true;
            }
        }
    };
    skip_stars(&mut reached);
    for character in text.chars() {
        let mut next = vec![false; pattern.len() + 1];
        for (index, wanted) in pattern.iter().enumerate() {
            match wanted {
                '*' => next[index] |= reached[index],
                '?' => next[index + 1] |= reached[index],
                wanted => next[index + 1] |= reached[index] && *wanted == character,
            }
        }
        skip_stars(&mut next);
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(reply: HistoryReply) -> Vec<String> {
        let input = |entry| match entry {
            HistoryEntry::Input(_, _, input) | HistoryEntry::InputOutput(_, _, (input, _)) => input,
        };
        reply.history.into_iter().map(input).collect()
    }

    fn tail(n: i32) -> HistoryRequest {
        HistoryRequest::Tail { n, output: false, raw: true }
    }

    fn search(pattern: &str, unique: bool, n: i32) -> HistoryRequest {
        HistoryRequest::Search { pattern: pattern.to_owned(), unique, output: false, raw: true, n }
    }

    fn range(session: i32, start: i32, stop: i32) -> HistoryRequest {
        HistoryRequest::Range { session: Some(session), start, stop, output: false, raw: true }
    }

    #[test]
    fn tail_search_and_range() {
        let mut history = History::in_file(None);
        for (line, input) in ["%check a", "%train a", "%check b", "%check a"].iter().enumerate() {
            history.add(line + 1, input);
        }
        assert_eq!(inputs(history.answer(&tail(2))), ["%check b", "%check a"]);
        assert_eq!(inputs(history.answer(&tail(99))).len(), 4);
        assert!(inputs(history.answer(&tail(-1))).is_empty());
        assert_eq!(
            inputs(history.answer(&search("%check*", false, 9))),
            ["%check a", "%check b", "%check a"]
        );
        assert_eq!(inputs(history.answer(&search("%check*", true, 9))), ["%check b", "%check a"]);
        assert_eq!(inputs(history.answer(&search("*a", false, 1))), ["%check a"]);
        assert_eq!(inputs(history.answer(&range(0, 2, 4))), ["%train a", "%check b"]);
        assert_eq!(inputs(history.answer(&range(0, 3, 0))), ["%check b", "%check a"]);
        assert!(inputs(history.answer(&range(7, 0, 9))).is_empty());
        assert!(inputs(history.answer(&range(i32::MIN, 0, 9))).is_empty());
    }

    #[test]
    fn the_next_session_sees_the_last_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = Some(folder.path().join("history.jsonl"));
        let mut first = History::in_file(file.clone());
        first.add(1, "one\ntwo");
        let mut second = History::in_file(file.clone());
        let mut third = History::in_file(file.clone());
        assert_eq!(inputs(second.answer(&tail(5))), ["one\ntwo"]);
        third.add(1, "of the third");
        second.add(1, "of the second");
        assert_eq!(inputs(second.answer(&range(-1, 1, 0))), ["one\ntwo"]);
        assert_eq!(inputs(second.answer(&range(0, 1, 0))), ["of the second"]);
        assert_eq!(inputs(History::in_file(file).answer(&range(3, 1, 0))), ["of the third"]);
    }

    #[test]
    fn spoilt_lines_and_unwritable_places_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history.jsonl");
        fs::write(&file, "{\"session\":4,\"line\":1,\"input\":\"x\"}\nnot json\n{\"sess").unwrap();
        let mut history = History::in_file(Some(file));
        assert_eq!(inputs(history.answer(&tail(5))), ["x"]);
        let mut nowhere = History::in_file(Some(folder.path().join("missing/history.jsonl")));
        nowhere.add(1, "kept in memory");
        assert_eq!(inputs(nowhere.answer(&tail(5))), ["kept in memory"]);
    }

    #[test]
    fn a_long_history_loses_its_older_half() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history.jsonl");
        let entry = |line| Entry { session: 1, line, input: "x".repeat(1 << 20) };
        rewrite(&file, &(1..=6).map(entry).collect::<Vec<_>>()).unwrap();
        let open = begin(&file).unwrap();
        assert_eq!(open.entries.iter().map(|entry| entry.line).collect::<Vec<_>>(), [4, 5, 6]);
        assert!(fs::metadata(&file).unwrap().len() < MAX_BYTES);
    }

    #[test]
    fn globs() {
        let check = |pattern: &str, text: &str, expected: bool| {
            let pattern: Vec<char> = pattern.chars().collect();
            assert_eq!(matches_glob(&pattern, text), expected, "{pattern:?} {text:?}");
        };
        check("", "", true);
        check("", "a", false);
        check("*", "", true);
        check("a?c*", "abcdef", true);
        check("a?c", "ac", false);
        check("面?", "面包", true);
        check("*a*a*a*b", &"a".repeat(2000), false);
        check("[ab]", "a", false);
    }
}
