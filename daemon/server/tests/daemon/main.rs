//! The daemon as a process: real sockets, real files, a real (tiny) base.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test says what went wrong by failing")]

mod bad_input;
mod base;
mod interruptions;
mod keeping;
mod removal;
mod runs;
mod sessions;
mod test_daemon;
mod waiting;
mod watching;
