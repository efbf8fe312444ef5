//! Durations for people: at most three digits, in the unit that fits.

use std::fmt;
use std::time::Duration;

/// A duration shown as `0.21 ms`, `12 ms`, `3.4 s`, `5 min 3 s`, `2 h 10 min` or `3 d 4 h`.
///
/// ```
/// use std::time::Duration;
/// use twistor::report::HumanDuration;
///
/// assert_eq!(HumanDuration(Duration::from_micros(213)).to_string(), "0.21 ms");
/// assert_eq!(HumanDuration(Duration::from_secs(303)).to_string(), "5 min 3 s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        // Each bound is the value from which rounding would add a digit.
        match self.0.as_secs_f64() {
            exact if exact < 0.000_01 => f.pad(&format!("{:.3} ms", exact * 1e3)),
            exact if exact < 0.009_995 => f.pad(&format!("{:.2} ms", exact * 1e3)),
            exact if exact < 0.099_95 => f.pad(&format!("{:.1} ms", exact * 1e3)),
            exact if exact < 0.999_5 => f.pad(&format!("{:.0} ms", exact * 1e3)),
            exact if exact < 9.95 => f.pad(&format!("{exact:.1} s")),
            exact if exact < 59.5 => f.pad(&format!("{exact:.0} s")),
            _ if seconds < HOUR => {
                let seconds = self.0.as_secs_f64().round() as u64;
                f.pad(&two(seconds / MINUTE, "min", seconds % MINUTE, "s"))
            }
            _ if seconds < DAY => f.pad(&two(seconds / HOUR, "h", seconds % HOUR / MINUTE, "min")),
            _ => f.pad(&two(seconds / DAY, "d", seconds % DAY / HOUR, "h")),
        }
    }
}

/// Formats two units, and leaves the smaller one out when it is zero.
fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_the_unit_that_fits() {
        for (nanos, shown) in [
            (0, "0.000 ms"),
            (9_000, "0.009 ms"),
            (213_400, "0.21 ms"),
            (9_990_000, "9.99 ms"),
            (9_999_000, "10.0 ms"),
            (99_990_000, "100 ms"),
            (999_400_000, "999 ms"),
            (999_600_000, "1.0 s"),
            (9_940_000_000, "9.9 s"),
            (59_400_000_000, "59 s"),
            (59_600_000_000, "1 min"),
            (61_000_000_000, "1 min 1 s"),
            (3_600_000_000_000, "1 h"),
            (7_800_000_000_000, "2 h 10 min"),
            (86_400_000_000_000, "1 d"),
            (273_600_000_000_000, "3 d 4 h"),
        ] {
            assert_eq!(HumanDuration(Duration::from_nanos(nanos)).to_string(), shown);
        }
        assert_eq!(
            format!("{:>9}|{:<5}", HumanDuration(Duration::from_secs(3)), HumanDuration(Duration::ZERO)),
            "    3.0 s|0.000 ms"
        );
    }
}
