//! How much memory is free for the daemon: what the system says, what the container allows, what a person has set.

use std::env;
use std::fs;

use super::process;

/// The most that the daemon may take, set by a person: bytes, or a number with kB, MB or GB.
pub(crate) const LIMIT: &str = "HOTPLATE_MEMORY_LIMIT";

/// Bytes that may be taken in addition to what the daemon holds; `None` where nobody knows.
pub(crate) fn free() -> Option<u64> {
    let limit = env::var(LIMIT).ok().and_then(|text| {
        parse(&text).or_else(|| {
            tracing::warn!(
                "{LIMIT} is {text:?}, which is no amount of memory such as 4 GB; it is not heeded"
            );
            None
        })
    });
    let own = limit.map(|limit| limit.saturating_sub(process::memory().now));
    [own, system(), group()].into_iter().flatten().min()
}

/// `4000000`, `4 GB`, `1.5gb`, `512 MiB`.
fn parse(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let split = text.find(|each: char| !each.is_ascii_digit() && each != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * factor;
    (0.0..1e18).contains(&bytes).then_some(bytes as u64)
}

/// What the kernel would give without swapping.
fn system() -> Option<u64> {
    let found = fs::read_to_string("/proc/meminfo").ok()?;
    kilobytes(&found, "MemAvailable:")
}

fn kilobytes(found: &str, name: &str) -> Option<u64> {
    let line = found.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// What the control groups that the daemon is in have left; file pages that can be dropped count as free.
fn group() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut least: Option<u64> = None;
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (root, limit, usage) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max", "memory.current"),
            some if some.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes")
            }
            _ => continue,
        };
        // In a container the path may be the host's; then the root is the container's own group.
        let mut path = path.trim_end_matches('/').to_owned();
        loop {
            let folder = format!("{root}{path}");
            let read = |name: &str| fs::read_to_string(format!("{folder}/{name}")).ok();
            let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
            if let (Some(limit), Some(usage)) = (number(limit), number(usage)) {
                let droppable = read("memory.stat").and_then(|stat| {
                    stat.lines()
                        .find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse::<u64>().ok())
                });
                let left = limit.saturating_sub(usage.saturating_sub(droppable.unwrap_or(0)));
                least = Some(least.map_or(left, |least| least.min(left)));
            }
            match path.rfind('/') {
                Some(at) => path.truncate(at),
                None => break,
            }
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_as_people_write_them() {
        assert_eq!(parse("4000000"), Some(4_000_000));
        assert_eq!(parse(" 4 GB "), Some(4_000_000_000));
        assert_eq!(parse("1.5gb"), Some(1_500_000_000));
        assert_eq!(parse("512 MiB"), Some(512 << 20));
        for nonsense in ["", "much", "-1", "4 TB of it", "1e400"] {
            assert_eq!(parse(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn what_the_system_says() {
        let found = "MemTotal:       16000 kB\nMemFree:  1 kB\nMemAvailable:    8000 kB\n";
        assert_eq!(kilobytes(found, "MemAvailable:"), Some(8000 * 1024));
        assert_eq!(kilobytes("MemTotal: 1 kB\n", "MemAvailable:"), None);
        #[cfg(target_os = "linux")]
        assert!(free().is_some_and(|free| free > 1 << 20));
    }
}
