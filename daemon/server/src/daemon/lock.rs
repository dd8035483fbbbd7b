//! One daemon per home: a lock that is held for life, and a note beside it that says who holds it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use hotplate_home::{Home, own_file};
use hotplate_protocol::PROTOCOL;
use hotplate_protocol::methods::initialize::ProtocolRange;
use serde::{Deserialize, Serialize};

/// `daemon.json`, for people and scripts. The lock, not this file, decides who is the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) protocol: ProtocolRange,
    /// RFC 3339, UTC.
    pub(crate) started_at: String,
}

/// The right to be the daemon of a home; given back when dropped (or when the process ends in any way).
pub(crate) struct Lock {
    _file: File,
    note: PathBuf,
}

pub(crate) enum Taken {
    Ours(Lock),
    /// Another daemon holds it; its pid, where it could be read.
    Theirs(Option<u32>),
}

impl Lock {
    pub(crate) fn take(home: &Home) -> io::Result<Taken> {
        let path = home.lock();
        let note = path.with_file_name("daemon.json");
        let file = own_file::open_with(&path, File::options().read(true).write(true).create(true))?;
        match file.try_lock() {
            Ok(()) => Ok(Taken::Ours(Lock { _file: file, note })),
            Err(TryLockError::WouldBlock) => Ok(Taken::Theirs(read_note(&note).map(|note| note.pid))),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Says who is the daemon now.
    pub(crate) fn write_note(&self) -> io::Result<()> {
        let note = Note {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            started_at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        };
        let fresh = self.note.with_extension("json.new");
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = own_file::open_with(&fresh, File::options().write(true).create_new(true))?;
        io::Write::write_all(&mut file, &serde_json::to_vec_pretty(&note)?)?;
        std::fs::rename(&fresh, &self.note)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A note that stays behind misleads nobody: the lock decides.
        let _ = std::fs::remove_file(&self.note);
    }
}

fn read_note(path: &Path) -> Option<Note> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_learns_the_pid_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        let Taken::Ours(first) = Lock::take(&home).unwrap() else { panic!("nobody else holds it") };
        first.write_note().unwrap();
        let Taken::Theirs(pid) = Lock::take(&home).unwrap() else { panic!("it is held") };
        assert_eq!(pid, Some(std::process::id()));
        drop(first);
        assert!(matches!(Lock::take(&home).unwrap(), Taken::Ours(_)));
    }
}
