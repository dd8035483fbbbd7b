//! The kernel as front ends meet it: a real process, real sockets. One program for all tests, so that it is linked once.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod cells;
mod commands;
mod fake_daemon;
mod front_end;
mod life;
mod messages;
#[cfg(feature = "rust-cells")]
mod rust_cells;
mod strict;
