//! What the system says of this process.

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Resident bytes; 0 where the system does not tell.
    pub(crate) now: u64,
    pub(crate) peak: u64,
}

pub(crate) fn memory() -> Memory {
    if cfg!(target_os = "linux") {
        std::fs::read_to_string("/proc/self/status").map(|status| parse(&status)).unwrap_or_default()
    } else {
        Memory::default()
    }
}

/// <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>
fn parse(status: &str) -> Memory {
    let kilobytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse::<u64>().ok()
    };
    Memory { now: kilobytes("VmRSS").unwrap_or(0) * 1024, peak: kilobytes("VmHWM").unwrap_or(0) * 1024 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let status = "Name:\thotplate\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n";
        assert_eq!(parse(status), Memory { now: 1024 * 1024, peak: 2048 * 1024 });
        assert_eq!(parse(""), Memory::default());
    }
}
