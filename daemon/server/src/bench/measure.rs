//! Medians, and the memory of this process.

use std::fs;
use std::time::Duration;

/// The middle value; 0 of nothing.
pub(super) fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// The value below which this part of the values lies, between neighbours in proportion; 0 of nothing.
pub(super) fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = part * last as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * place.fract()
}

pub(super) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The most memory that this process has had resident, in bytes. `None` where the system does not say.
pub(super) fn peak_memory() -> Option<u64> {
    status("VmHWM:")
}

/// What it has now.
pub(super) fn memory() -> Option<u64> {
    status("VmRSS:")
}

/// Linux's own count; other systems have none in a file.
fn status(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// For people: gigabytes as the figures of others count them (10^9).
pub(super) fn gigabytes(bytes: Option<u64>) -> String {
    match bytes {
        Some(bytes) => format!("{:.2} GB", bytes as f64 / 1e9),
        None => "not known on this system".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-12);
        assert!((percentile(&[1.0, 2.0], 0.99) - 1.99).abs() < 1e-12);
        assert!(median(&[]).abs() < 1e-12);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_is_at_least_what_there_is_now() {
        let now = memory().unwrap();
        assert!(now > 1 << 20 && peak_memory().unwrap() >= now);
    }
}
