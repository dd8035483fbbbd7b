//! Whether the daemon before this one was taken down by a fault of its own: an overflown stack, no memory, a panic within a panic. A `kill -9`
//! leaves no word, and is nobody's fault.
//!
//! An abort is told from a `kill -9` by a byte that the signal's handler writes.

use std::fs;
use std::io;

use hotplate_home::Home;

const FILE: &str = "aborted";

/// Answers whether the last daemon aborted, and listens for an abort of this one.
///
/// # Errors
/// The file in the home cannot be made.
#[cfg(unix)]
pub(crate) fn listen(home: &Home) -> io::Result<bool> {
    use std::os::unix::fs::OpenOptionsExt;

    use signal_hook::consts::SIGABRT;
    use signal_hook::low_level;

    let place = home.root().join(FILE);
    let aborted = fs::symlink_metadata(&place).is_ok_and(|found| found.len() > 0);
    let _ = fs::remove_file(&place);
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place)?;
    #[expect(unsafe_code, reason = "what a signal's handler may do is for whoever writes it to know")]
    // SAFETY: one write and the default handler, which are safe in a signal's handler.
    unsafe {
        low_level::register(SIGABRT, move || {
            let _ = rustix::io::write(&file, b"1");
            let _ = low_level::emulate_default_handler(SIGABRT);
        })?;
    }
    Ok(aborted)
}

#[cfg(not(unix))]
pub(crate) fn listen(_home: &Home) -> io::Result<bool> {
    Ok(false)
}

/// The daemon has ended in order.
pub(crate) fn none(home: &Home) {
    let _ = fs::remove_file(home.root().join(FILE));
}
