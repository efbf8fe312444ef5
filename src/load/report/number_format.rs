//! Number formatting for people: three significant digits and a fitting unit.

use std::time::Duration;

/// Formats a time: `98.2 µs`, `1.20 ms`, `12.0 s`.
pub(in crate::load) fn time(time: Duration) -> String {
    let nanoseconds = time.as_nanos() as f64;
    let (value, unit) = match nanoseconds {
        n if n < 999.5 => return format!("{n} ns"),
        n if n < 999.5e3 => (n / 1e3, "µs"),
        n if n < 999.5e6 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    format!("{} {unit}", three(value))
}

/// Formats a time, or a dash for `None`.
pub(super) fn time_or_none(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), self::time)
}

/// Formats a size in powers of 1000: `64 B`, `20.6 MB`.
pub(super) fn bytes(bytes: f64) -> String {
    match bytes {
        b if b < 999.5 => format!("{b:.0} B"),
        b if b < 999.5e3 => format!("{} kB", three(b / 1e3)),
        b if b < 999.5e6 => format!("{} MB", three(b / 1e6)),
        b => format!("{} GB", three(b / 1e9)),
    }
}

/// Formats a count with separators: `3,214,567`.
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a rate: `321,457`, `12.5`.
pub(super) fn rate(rate: f64) -> String {
    if rate < 999.5 { three(rate) } else { count(rate.round() as u64) }
}

/// Formats a count with its noun: `1 message`, `1,000 messages`.
pub(super) fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", count(number))
}

fn three(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_fitting_unit() {
        for (nanoseconds, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (98_230, "98.2 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (9_995_000, "10.0 ms"),
            (12_000_000_000, "12.0 s"),
            (3_600_000_000_000, "3600 s"),
        ] {
            assert_eq!(time(Duration::from_nanos(nanoseconds)), text);
        }
    }

    #[test]
    fn counts_have_commas_and_bytes_have_units() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([64.0, 1_500.0, 20_573_000.0, 5e9].map(bytes), ["64 B", "1.50 kB", "20.6 MB", "5.00 GB"]);
        assert_eq!([0.5, 12.34, 999.0, 321_457.2].map(rate), ["0.50", "12.3", "999", "321,457"]);
    }
}
