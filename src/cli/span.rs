//! Times on the command line: `10s`, `500ms`, `1m30s`, `2h`, or a bare number of seconds.

use jiff::SignedDuration;
use std::time::Duration;

/// Reads a time of a year at most; zero is one.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let seconds = || text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let friendly = || text.parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
    match seconds().or_else(friendly) {
        Some(span) if span <= LONGEST => Ok(span),
        Some(_) => Err("longer than a year".into()),
        None => Err("write a time as 10s, 500ms or 1m30s".into()),
    }
}

/// As [`parse`], and more than nothing.
pub(super) fn positive(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        span if span < Duration::from_millis(1) => Err("it has to be a millisecond at least".into()),
        span => Ok(span),
    }
}

const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_or_are_seconds() {
        for (text, millis) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1.5", 1_500),
            ("0", 0),
            ("1000us", 1),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "-1", "10 parsecs", "NaN", "inf", "1e300", "400d"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(positive("0").is_err() && positive("1ms").is_ok());
    }
}
