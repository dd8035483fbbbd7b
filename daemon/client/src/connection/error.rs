//! What can go wrong between a client and the daemon, said for a person.

use std::io;
use std::path::PathBuf;

use hotplate_home::figures;
use hotplate_protocol::methods::initialize::{Mismatch, ProtocolRange};
use hotplate_protocol::{MAX_FRAME_BYTES, RpcError};

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no daemon is running at {}; any command that needs one starts it, for example: hotplate models", socket.display())]
    NotRunning { socket: PathBuf },
    #[error("cannot reach the daemon at {}: {source}; try again, or look at the log: {}", socket.display(), log.display())]
    Unreachable { socket: PathBuf, log: PathBuf, source: io::Error },
    #[error("the program at {} belongs to another user (uid {owner}); set HOTPLATE_HOME to a folder of your own", socket.display())]
    ForeignDaemon { socket: PathBuf, owner: u32 },
    #[error("cannot start the daemon, {}: {source}", program.display())]
    CannotStart { program: PathBuf, source: io::Error },
    #[error("cannot write the daemon's log {}: {source}; check that the disk is not full and the folder is yours", log.display())]
    CannotLog { log: PathBuf, source: io::Error },
    #[error("the daemon could not start ({status}){}; the whole log is in {}", Quoted(last_lines), log.display())]
    Failed { status: String, last_lines: Vec<String>, log: PathBuf },
    #[error(
        "the daemon could not start ({status}), and the disk is full: {} has {free} bytes left; make room there and run the command again",
        folder.display()
    )]
    NoRoom { status: String, folder: PathBuf, free: u64 },
    #[error("the daemon was started but did not answer within {seconds} s{}; the whole log is in {}", Quoted(last_lines), log.display())]
    NotReady { seconds: u64, last_lines: Vec<String>, log: PathBuf },
    #[error(
        "the daemon accepted the connection but says nothing ({seconds} s); it may be suspended or overloaded: \
         look at {}, or end the process named in {}", log.display(), note.display()
    )]
    Silent { seconds: u64, log: PathBuf, note: PathBuf },
    #[error(
        "this program speaks protocol {}, the running daemon (version {}) speaks {}: {}",
        Versions(.0.client), .0.daemon_version, Versions(.0.daemon), .0.remedy
    )]
    Mismatch(Box<Mismatch>),
    #[error("the daemon refused the session: {0}")]
    Refused(RpcError),
    #[error("what answers at {} is no Hotplate daemon: {why}", socket.display())]
    NotADaemon { socket: PathBuf, why: String },
}

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The daemon's own words.
    #[error(transparent)]
    Refused(#[from] RpcError),
    #[error("cancelled")]
    Cancelled,
    #[error(
        "the connection to the daemon ended ({reason}); what was saved is safe: run the command again, or look at: hotplate logs"
    )]
    Disconnected { reason: String },
    #[error(
        "this is {} and more than the daemon reads at once ({}); shorten it, or put long texts into files",
        figures::bytes(*length as u64), figures::bytes(MAX_FRAME_BYTES as u64)
    )]
    TooLong { length: usize },
    #[error("the daemon's reply to {method} cannot be read ({source}); restart it with: hotplate stop")]
    Unreadable { method: &'static str, source: serde_json::Error },
}

struct Versions(ProtocolRange);

impl std::fmt::Display for Versions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ProtocolRange { min, max } = self.0;
        if min == max { write!(formatter, "{max}") } else { write!(formatter, "{min} to {max}") }
    }
}

/// Log lines, below the sentence that they belong to.
struct Quoted<'a>(&'a [String]);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str(" and said nothing");
        }
        formatter.write_str(". Its last words:")?;
        for line in self.0 {
            write!(formatter, "\n  {line}")?;
        }
        formatter.write_str("\n")
    }
}
