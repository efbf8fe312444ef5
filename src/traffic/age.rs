//! The age of a payload, and its source.

use super::payload::{Problem, beginning};
use super::reading::Value;
use crate::http::Headers;
use crate::report::time_format;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::time::{Duration, SystemTime};

/// The age of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// The age, or, with `future` set, the distance into the future.
    pub age: Duration,
    /// Whether the time lies in the future: this machine's clock differs from the one that set it.
    pub future: bool,
    /// Whether the time had no zone and was taken as UTC.
    pub zone_assumed: bool,
    /// The source of the time.
    pub source: AgeSource,
}

/// The source of an age, in order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgeSource {
    /// The time in the payload itself, at the pointer in the settings.
    Payload,
    /// The `Last-Modified` header.
    LastModified,
    /// The `Age` header: the time that a cache has held the response.
    AgeHeader,
    /// The `Date` header: when the response was generated.
    Date,
}

impl AgeSource {
    /// Returns one word for machines. It is stable across releases.
    pub fn code(self) -> &'static str {
        match self {
            AgeSource::Payload => "payload",
            AgeSource::LastModified => "last-modified",
            AgeSource::AgeHeader => "age",
            AgeSource::Date => "date",
        }
    }
}

impl Age {
    /// Computes the age from a time in the payload:
    ///
    /// - RFC 3339 text, also with a space instead of the `T`; without a zone it is taken as UTC. Or
    ///   an HTTP date.
    /// - A number, or text that is a number: the time since 1970. It is in seconds below 10^11 (the
    ///   year 5138), milliseconds below 10^14, microseconds below 10^17, else in nanoseconds. A
    ///   negative number is a time before 1970.
    pub(super) fn of_payload(value: &Value, wall: SystemTime) -> Result<Age, Problem> {
        let time = match value {
            Value::String(text) => of_text(text.trim()),
            Value::Number(number) => of_number(&number.to_string()).map(|time| (time, false)),
            _ => None,
        };
        let (time, zone_assumed) = time.ok_or_else(|| Problem::NoTime(beginning(&value.to_string())))?;
        Ok(Age { zone_assumed, ..since(time.into(), wall, AgeSource::Payload) })
    }

    /// Computes the age from the headers, if they contain a time.
    pub(super) fn of_headers(headers: &Headers, wall: SystemTime) -> Option<Age> {
        let time = |name, source| {
            headers.first(name).and_then(time_format::parse).map(|time| since(time, wall, source))
        };
        let seconds = || {
            let age = headers.first("Age")?.trim().parse().map(Duration::from_secs).ok()?;
            Some(Age { age, future: false, zone_assumed: false, source: AgeSource::AgeHeader })
        };
        time("Last-Modified", AgeSource::LastModified)
            .or_else(seconds)
            .or_else(|| time("Date", AgeSource::Date))
    }
}

fn since(time: SystemTime, wall: SystemTime, source: AgeSource) -> Age {
    let (age, future) = match wall.duration_since(time) {
        Ok(age) => (age, false),
        Err(ahead) => (ahead.duration(), true),
    };
    Age { age, future, zone_assumed: false, source }
}

/// Parses a time, and returns whether its zone was assumed.
fn of_text(text: &str) -> Option<(Timestamp, bool)> {
    let known = |time| (time, false);
    if text.parse::<f64>().is_ok() {
        return of_number(text).map(known);
    }
    let utc = |time: DateTime| time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let rfc3339 = || text.parse::<Timestamp>().ok();
    let http_date = || jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp());
    let named_utc = || {
        let time = text.strip_suffix("UTC").or(text.strip_suffix("GMT"))?;
        time.trim_end().parse().ok().and_then(utc)
    };
    let without_zone = || text.parse().ok().and_then(utc).map(|time| (time, true));
    rfc3339().or_else(http_date).or_else(named_utc).map(known).or_else(without_zone)
}

/// Parses a number of seconds, milliseconds, microseconds or nanoseconds since 1970, depending on
/// its size.
fn of_number(text: &str) -> Option<Timestamp> {
    let number: f64 = text.parse().ok()?;
    let unit: i128 = match number.abs() {
        n if n < 1e11 => 1_000_000_000,
        n if n < 1e14 => 1_000_000,
        n if n < 1e17 => 1_000,
        n if n < 1e20 => 1,
        // Also for NaN.
        _ => return None,
    };
    // An integer is exact to the nanosecond, a fraction to the precision of its digits.
    let nanoseconds = match text.parse::<i128>() {
        Ok(whole) => whole * unit,
        Err(_) => (number * unit as f64) as i128,
    };
    Timestamp::from_nanosecond(nanoseconds).ok()
}
