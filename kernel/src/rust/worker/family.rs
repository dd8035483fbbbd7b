//! The processes below this one, as far as the system tells.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// Kills the children of a process and theirs, but for `spared` and those below it.
///
/// By `/proc`; where there is none, nobody is found.
pub(crate) fn kill_below(process: Pid, spared: Option<Pid>) {
    let mut parents = vec![process];
    let processes = all();
    while let Some(parent) = parents.pop() {
        for (process, its_parent) in &processes {
            if *its_parent == parent && Some(*process) != spared {
                parents.push(*process);
                // Fails only when it has ended by itself.
                let _ = kill_process(*process, Signal::KILL);
            }
        }
    }
}

/// Every process, with its parent.
fn all() -> Vec<(Pid, Pid)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let process: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // "12 (a name (with) brackets) S 7 …"
            let (_, rest) = stat.rsplit_once(") ")?;
            let parent: i32 = rest.split(' ').nth(1)?.parse().ok()?;
            Some((Pid::from_raw(process)?, Pid::from_raw(parent)?))
        })
        .collect()
}
