//! Figures as people read them.

/// `1234567` as `1,234,567`.
pub fn number(value: usize) -> String {
    let digits = value.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 example`, `2,000 examples`. For nouns with a plural in s.
pub fn count(value: usize, noun: &str) -> String {
    format!("{} {noun}{}", number(value), if value == 1 { "" } else { "s" })
}

/// In powers of 1000, three digits at most: `942 B`, `5.1 MB`, `31 GB`.
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if value < 1000 {
        return format!("{value} B");
    }
    let mut scaled = value as f64;
    let mut unit = "B";
    for name in UNITS {
        // 999,500 would be rounded to 1000 kB.
        if scaled < 999.5 {
            break;
        }
        scaled /= 1000.0;
        unit = name;
    }
    if scaled < 9.95 { format!("{scaled:.1} {unit}") } else { format!("{scaled:.0} {unit}") }
}

/// `0.2 s`, `8.4 s`, `25 s`, `3 min 20 s`, `2 h 5 min`, `3 days 4 h`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "unknown".to_owned();
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| {
        if small == 0 {
            format!("{large} {large_unit}")
        } else {
            format!("{large} {large_unit} {small} {small_unit}")
        }
    };
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => two(whole / 60, "min", whole % 60, "s"),
        3600..86_400 => two(whole / 3600, "h", whole % 3600 / 60, "min"),
        86_400..172_800 => two(1, "day", whole % 86_400 / 3600, "h"),
        _ => two(whole / 86_400, "days", whole % 86_400 / 3600, "h"),
    }
}

/// A loss in nats per token, with two decimals.
pub fn loss(value: f64) -> String {
    if value.is_finite() { format!("{value:.2}") } else { "not a number".to_owned() }
}

/// Two significant digits: `0.0024`, `0.1`, `16`.
pub fn significant(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return value.to_string();
    }
    let decimals = (1 - value.abs().log10().floor() as i32).max(0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A curve in `width` characters at most; each stands for the mean of its share of the values. Values that are not finite
/// are left out.
pub fn sparkline(values: &[f64], width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let columns = width.min(values.len());
    if columns == 0 {
        return String::new();
    }
    let means: Vec<f64> = (0..columns)
        .map(|column| {
            let share = &values[column * values.len() / columns..(column + 1) * values.len() / columns];
            share.iter().sum::<f64>() / share.len() as f64
        })
        .collect();
    let lowest = means.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let range = highest - lowest;
    means
        .iter()
        .map(|mean| {
            // A flat curve is drawn in the middle: it is neither a low nor a high.
            let height = if range > 0.0 { (mean - lowest) / range } else { 0.5 };
            BARS[((height * 7.0).round() as usize).min(7)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_counts() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(count(1, "example"), "1 example");
        assert_eq!(count(1000, "token"), "1,000 tokens");
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1000), "1.0 kB");
        assert_eq!(bytes(999_499), "999 kB");
        assert_eq!(bytes(999_500), "1.0 MB");
        assert_eq!(bytes(31_400_000_000), "31 GB");
        assert_eq!(bytes(u64::MAX), "18446744 TB");
    }

    #[test]
    fn durations() {
        assert_eq!(duration(0.04), "0.0 s");
        assert_eq!(duration(8.44), "8.4 s");
        assert_eq!(duration(9.96), "10 s");
        assert_eq!(duration(59.7), "1 min");
        assert_eq!(duration(200.0), "3 min 20 s");
        assert_eq!(duration(7500.0), "2 h 5 min");
        assert_eq!(duration(90_000.0), "1 day 1 h");
        assert_eq!(duration(f64::NAN), "unknown");
    }

    #[test]
    fn two_digits() {
        assert_eq!(significant(0.002_425_146_5), "0.0024");
        assert_eq!(significant(1e-4), "0.0001");
        assert_eq!(significant(0.1), "0.1");
        assert_eq!(significant(16.0), "16");
        assert_eq!(significant(0.0), "0");
    }

    #[test]
    fn sparklines() {
        assert_eq!(sparkline(&[], 5), "");
        assert_eq!(sparkline(&[1.0, 2.0], 0), "");
        assert_eq!(sparkline(&[3.0], 5), "▅");
        assert_eq!(sparkline(&[8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 8), "█▇▆▅▄▃▂▁");
        assert_eq!(sparkline(&[4.0, 4.0, 1.0, 1.0], 2), "█▁");
        assert_eq!(sparkline(&[2.0, f64::NAN, 1.0], 9), "█▁");
    }
}
