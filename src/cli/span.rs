//! Times on the command line, in the syntax of endpoints: `10s`, `500ms`, `1h30m`, or a number of
//! seconds.

use crate::endpoint::duration;
use std::time::Duration;

/// Parses a time of at most a year; zero is allowed.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    match text.starts_with("--") {
        // clap takes a following option for the value, because negative times are allowed as
        // values.
        true => Err("the time is missing".into()),
        false => duration::parse(text),
    }
}

/// Parses a time of at least a millisecond.
pub(super) fn positive(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        span if span < Duration::from_millis(1) => Err("it has to be at least 1 ms".into()),
        span => Ok(span),
    }
}

/// The help text about times, for each command that takes one.
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
