//! Durations as text: `10s`, `250ms`, `1h30m`, or a number of seconds.

use super::parse_error::nearest;
use crate::escape::Escaped;
use std::time::Duration;

/// Parses a duration of at most 366 days: numbers with units (`1h30m`, `2.5s`), or a single number
/// of seconds.
///
/// # Errors
/// A message for the user that says why the text is invalid.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    if text.is_empty() {
        return Err(format!("it is empty: {FORMS}"));
    }
    if text.strip_prefix('-').is_some_and(|rest| parse(rest).is_ok()) {
        return Err(format!("the time {text} is negative"));
    }
    let mut sum: u128 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !is_numeric(c));
        let (unit, next) = split_where(after, is_numeric);
        let factor = match unit {
            // A single bare number is in seconds. After other numbers it is ambiguous, as in 1h30.
            "" if number == text => SECOND,
            "" if !number.is_empty() => return Err(format!("the number {number} has no unit: {FORMS}")),
            unit => match nanoseconds(unit) {
                Some(factor) => factor,
                None if number.is_empty() => return Err(FORMS.to_owned()),
                None => {
                    let advice = match nearest(unit.trim(), units()) {
                        Some(meant) => format!("; did you mean {meant}?"),
                        None => format!(": {FORMS}"),
                    };
                    return Err(format!("\"{}\" is not a unit of time{advice}", Escaped(unit)));
                }
            },
        };
        let part = product(number, factor).ok_or_else(|| FORMS.to_owned())?;
        sum = sum.saturating_add(part);
        rest = next;
    }
    match u64::try_from(sum).map(Duration::from_nanos) {
        Ok(time) if time <= MAX => Ok(time),
        _ => Err("it is longer than a year".to_owned()),
    }
}

fn split_where(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

fn is_numeric(character: char) -> bool {
    character.is_ascii_digit() || character == '.'
}

/// Converts a decimal number of units to nanoseconds, rounded. Returns `None` if the number is
/// invalid. Numbers that are too large saturate.
fn product(number: &str, factor: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(u128::MAX) };
    // Further digits are below a nanosecond for every unit.
    let fraction = fraction.get(..MAX_DIGITS).unwrap_or(fraction);
    let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().unwrap_or(0) };
    Some(whole.saturating_mul(factor).saturating_add((fraction * factor + scale / 2) / scale))
}

fn nanoseconds(unit: &str) -> Option<u128> {
    UNITS.iter().find(|(names, _)| names.contains(&unit)).map(|(_, nanoseconds)| *nanoseconds)
}

/// Names of all units.
fn units() -> impl Iterator<Item = &'static str> {
    UNITS.iter().flat_map(|(names, _)| names.iter().copied())
}

/// Names and nanoseconds of each unit.
const UNITS: [(&[&str], u128); 7] = [
    (&["ns"], 1),
    // The micro sign, and the Greek letter that looks like it.
    (&["us", "\u{b5}s", "\u{3bc}s"], 1_000),
    (&["ms"], 1_000_000),
    (&["s", "sec", "secs", "second", "seconds"], SECOND),
    (&["m", "min", "mins", "minute", "minutes"], 60 * SECOND),
    (&["h", "hr", "hrs", "hour", "hours"], 60 * 60 * SECOND),
    (&["d", "day", "days"], 24 * 60 * 60 * SECOND),
];

const SECOND: u128 = 1_000_000_000;
const MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// Enough for the largest unit, a day of 8.64e13 ns, and few enough that the product does not
/// overflow.
const MAX_DIGITS: usize = 20;
const FORMS: &str = "write a time in seconds, or with ns, us, ms, s, m, h or d, such as 250ms or 1h30m";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_or_are_seconds() {
        for (text, nanos) in [
            ("10s", 10_000_000_000),
            ("500ms", 500_000_000),
            ("1m30s", 90_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("2d", 172_800_000_000_000),
            ("1.5", 1_500_000_000),
            (".5", 500_000_000),
            ("5.", 5_000_000_000),
            ("0", 0),
            ("000000000000000000000000000000000000000000001s", 1_000_000_000),
            ("0.1", 100_000_000),
            ("1000us", 1_000_000),
            ("3\u{b5}s", 3_000),
            ("7ns", 7),
            ("0.6ns", 1),
            ("0.3333333333333333333333333s", 333_333_333),
            ("1.5min", 90_000_000_000),
            ("366d", 366 * 86_400_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_time_is_said() {
        for (text, why) in [
            ("", "it is empty"),
            ("-1s", "the time -1s is negative"),
            ("-1", "the time -1 is negative"),
            ("-1h30m", "the time -1h30m is negative"),
            ("-", "write a time"),
            ("--", "write a time"),
            ("-x", "write a time"),
            ("s", "write a time"),
            ("soon", "write a time"),
            ("NaN", "write a time"),
            ("inf", "write a time"),
            ("1.2.3s", "write a time"),
            (".s", "write a time"),
            (".", "write a time"),
            ("+1s", "write a time"),
            ("10 parsecs", "\" parsecs\" is not a unit of time"),
            ("5w", "\"w\" is not a unit of time"),
            ("5S", "\"S\" is not a unit of time; did you mean s?"),
            ("5 ms", "\" ms\" is not a unit of time; did you mean ms?"),
            ("5minuets", "\"minuets\" is not a unit of time; did you mean minutes?"),
            ("1huor", "\"huor\" is not a unit of time; did you mean hour?"),
            ("1\n", "\"\\n\" is not a unit of time"),
            ("1e300", "\"e\" is not a unit of time"),
            ("1h30", "the number 30 has no unit"),
            ("367d", "it is longer than a year"),
            ("99999999999999999999999999999999999999999999999d", "it is longer than a year"),
            ("366d1ns", "it is longer than a year"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(why), "{text}: {error}");
        }
    }
}
