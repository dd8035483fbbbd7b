//! Ends the kernel when the program that started it is gone, so that no orphan stays behind.

use std::thread;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(1);

/// Jupyter sets it to its own process id.
pub(crate) const VARIABLE: &str = "JPY_PARENT_PID";

/// Calls `gone` once the parent is gone. Without [`VARIABLE`] nobody is watched: a kernel that was started by hand may
/// outlive its shell.
#[cfg(unix)]
pub(crate) fn watch(gone: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let Some(announced) = announced() else { return Ok(()) };
    let sign = Sign::choose(announced);
    thread::Builder::new().name("parent watch".to_owned()).spawn(move || {
        while sign.of_life() {
            thread::sleep(EVERY);
        }
        gone();
    })?;
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn watch(_gone: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn announced() -> Option<rustix::process::Pid> {
    let number: i32 = std::env::var(VARIABLE).ok()?.trim().parse().ok()?;
    rustix::process::Pid::from_raw(number)
}

/// By what the parent's life is known. A process whose parent ends gets another one.
#[cfg(unix)]
enum Sign {
    Parent(Option<rustix::process::Pid>),
    /// A wrapper stands between (`conda run`, a container): either may end.
    ParentAndAnnounced(Option<rustix::process::Pid>, rustix::process::Pid),
}

#[cfg(unix)]
impl Sign {
    fn choose(announced: rustix::process::Pid) -> Sign {
        let parent = rustix::process::getppid();
        // The announced number may belong to another process namespace, where it says nothing.
        if parent != Some(announced) && is_alive(announced) {
            Sign::ParentAndAnnounced(parent, announced)
        } else {
            Sign::Parent(parent)
        }
    }

    fn of_life(&self) -> bool {
        match *self {
            Sign::Parent(parent) => rustix::process::getppid() == parent,
            Sign::ParentAndAnnounced(parent, announced) => {
                rustix::process::getppid() == parent && is_alive(announced)
            }
        }
    }
}

#[cfg(unix)]
fn is_alive(process: rustix::process::Pid) -> bool {
    // Without permission to signal it, it is there.
    !matches!(rustix::process::test_kill_process(process), Err(rustix::io::Errno::SRCH))
}
