//! What the system says of this process and its threads.

use std::time::Duration;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ProcessMemory {
    /// Resident bytes; 0 where the system does not tell.
    pub(crate) now: u64,
    pub(crate) peak: u64,
}

pub(crate) fn memory() -> ProcessMemory {
    if cfg!(target_os = "linux") {
        std::fs::read_to_string("/proc/self/status").map(|status| parse(&status)).unwrap_or_default()
    } else {
        ProcessMemory::default()
    }
}

/// The processor's time that this thread has taken so far: unlike the clock's, it does not grow while others have the processor.
pub(crate) fn thread_time() -> Duration {
    let taken = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    Duration::from_secs(part(taken.tv_sec)) + Duration::from_nanos(part(taken.tv_nsec))
}

/// <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>
fn parse(status: &str) -> ProcessMemory {
    let kilobytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse::<u64>().ok()
    };
    ProcessMemory {
        now: kilobytes("VmRSS").unwrap_or(0) * 1024,
        peak: kilobytes("VmHWM").unwrap_or(0) * 1024,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_sleeps_takes_no_time_of_the_processor() {
        let before = thread_time();
        std::thread::sleep(Duration::from_millis(50));
        let slept = thread_time();
        assert!(slept.saturating_sub(before) < Duration::from_millis(25));
        while thread_time().saturating_sub(slept) < Duration::from_millis(5) {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn the_kernels_words_are_read() {
        let status = "Name:\thotplate\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n";
        assert_eq!(parse(status), ProcessMemory { now: 1024 * 1024, peak: 2048 * 1024 });
        assert_eq!(parse(""), ProcessMemory::default());
    }
}
