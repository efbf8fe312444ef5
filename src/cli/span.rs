//! Times on the command line, in the syntax of endpoints: `10s`, `500ms`, `1h30m`, or a bare number of seconds.

use crate::endpoint::duration;
use std::time::Duration;

/// Reads a time of a year at most; zero is one.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    match text.starts_with("--") {
        // An option that follows is taken for the value, so that -1s is.
        true => Err("the time is missing".into()),
        false => duration::parse(text),
    }
}

/// As [`parse`], and more than nothing.
pub(super) fn positive(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        span if span < Duration::from_millis(1) => Err("it has to be a millisecond at least".into()),
        span => Ok(span),
    }
}

/// For the help of each command that takes a time.
pub(super) const HELP: &str = "\
A TIME is a number with its unit, ns, us, ms, s, m, h or d, or several of them (1h30m); without a unit it
is in seconds.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_follows_is_no_time() {
        assert_eq!(parse("--watch"), Err("the time is missing".into()));
        assert_eq!(parse("-1s"), Err("the time -1s is negative".into()));
        assert!(positive("0").is_err() && positive("999us").is_err() && positive("1ms").is_ok());
    }
}
