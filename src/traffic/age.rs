//! How old what a feed says is, and who says so.

use crate::http::Headers;
use crate::monitor::stamp;
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// The age of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// How old it is; nothing when its time lies in the future.
    pub age: Duration,
    /// Who says so.
    pub source: AgeSource,
}

/// Where an age is from, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgeSource {
    /// The time in the payload itself, where the settings point.
    Payload,
    /// The `Last-Modified` header.
    LastModified,
    /// The `Age` header: how long a cache has had it.
    AgeHeader,
    /// The `Date` header: when the answer was made.
    Date,
}

impl AgeSource {
    /// One word, the same in every release.
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
    /// The age that a time in the payload gives: RFC 3339 text, or Unix seconds as a number or as text.
    pub(super) fn of_payload(time: &Value, wall: SystemTime) -> Option<Age> {
        let time = match time {
            Value::String(text) => stamp::parse(text),
            Value::Number(seconds) => seconds.as_f64().and_then(stamp::from_unix_seconds),
            _ => None,
        };
        Some(Age { age: since(time?, wall), source: AgeSource::Payload })
    }

    /// The age that the headers give, if they do.
    pub(super) fn of_headers(headers: &Headers, wall: SystemTime) -> Option<Age> {
        let time = |name| headers.first(name).and_then(stamp::parse).map(|time| since(time, wall));
        let seconds =
            || headers.first("Age").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let aged = |age, source| Some(Age { age, source });
        if let Some(age) = time("Last-Modified") {
            return aged(age, AgeSource::LastModified);
        }
        match seconds() {
            Some(age) => aged(age, AgeSource::AgeHeader),
            None => aged(time("Date")?, AgeSource::Date),
        }
    }
}

/// Clocks differ a little: a time in the future is now.
fn since(time: SystemTime, wall: SystemTime) -> Duration {
    wall.duration_since(time).unwrap_or_default()
}
