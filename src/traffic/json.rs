//! JSON output: one object per line, for machines. Member names are stable across releases.
//!
//! Every object has `time` (RFC 3339, UTC, microseconds), `event`, `feed` (the URL), `name` if the
//! feed has one, and `latency_ms`. The other members depend on `event`:
//!
//! - `reading`: `values` (pointer to value), `changes` (of changed values: `added`, a number, or
//!   `was`, the previous value), `missing` (pointers), `problems`, `age_s`, `age_source` and
//!   `age_zone`. `problems` maps a pointer to `reason` ([`Problem::code`](super::Problem::code))
//!   and `detail` (text for people). `age_s` is negative if the time lies in the future.
//!   `age_source` is `payload`, `last-modified`, `age` or `date`. Both are `null` if the age is not
//!   known. `age_zone` is `assumed_utc` for a time without a zone, else `null`.
//! - `error`: `reason` ([`FeedError::code`](super::FeedError::code); `local` is trouble of this
//!   machine, which says nothing about the feed) and `detail` (text for people).

use super::observer::{FeedEvent, FeedObserver, FeedUpdate};
use super::reading::{Difference, Reading, Value};
use crate::report::json_line::Object;
use crate::report::time_format::rfc3339;
use serde_json::{Map, json};
use std::io::{self, Write};

/// A [`FeedObserver`](super::FeedObserver) that writes readings as JSON lines.
#[derive(Debug)]
pub struct JsonObserver<W> {
    out: W,
}

impl<W: Write> JsonObserver<W> {
    /// Creates an observer that writes to `out`.
    pub fn new(out: W) -> JsonObserver<W> {
        JsonObserver { out }
    }
}

impl<W: Write + 'static> FeedObserver for JsonObserver<W> {
    fn news(&mut self, event: &FeedEvent<'_>) -> io::Result<()> {
        let kind = match event.news {
            FeedUpdate::Reading(_) => "reading",
            FeedUpdate::Error(_) => "error",
        };
        let url = event.feed.url.to_string();
        let mut object =
            Object::new().text("time", &rfc3339(event.wall)).text("event", kind).text("feed", &url);
        if event.feed.name != url {
            object = object.text("name", &event.feed.name);
        }
        object = object.millis("latency_ms", Some(event.latency));
        object = match event.news {
            FeedUpdate::Reading(reading) => members(object, reading),
            FeedUpdate::Error(error) => {
                object.text("reason", error.code()).text("detail", &error.to_string())
            }
        };
        self.out.write_all(object.line().as_bytes())?;
        self.out.flush()
    }
}

fn members(object: Object, reading: &Reading) -> Object {
    let mut values = Map::new();
    let mut changes = Map::new();
    for (pointer, value, difference) in &reading.values {
        values.insert(pointer.as_str().to_owned(), value.clone());
        match difference {
            Difference::First | Difference::Same => None,
            Difference::Added(number) => {
                changes.insert(pointer.as_str().to_owned(), json!({ "added": number }))
            }
            Difference::Was(before) => changes.insert(pointer.as_str().to_owned(), json!({ "was": before })),
        };
    }
    let missing: Vec<Value> = reading.missing.iter().map(|pointer| pointer.as_str().into()).collect();
    let mut problems = Map::new();
    for (pointer, problem) in &reading.problems {
        let detail = json!({ "reason": problem.code(), "detail": problem.to_string() });
        problems.insert(pointer.as_str().to_owned(), detail);
    }
    let source = reading.age.map(|age| age.source.code());
    let zone = reading.age.filter(|age| age.zone_assumed).map(|_| "assumed_utc");
    let seconds = reading.age.map(|age| {
        let seconds = (age.age.as_secs_f64() * 1e3).round() / 1e3;
        if age.future { -seconds } else { seconds }
    });
    object
        .value("values", &Value::Object(values))
        .value("changes", &Value::Object(changes))
        .value("missing", &Value::Array(missing))
        .value("problems", &Value::Object(problems))
        .value("age_s", &Value::from(seconds))
        .value("age_source", &Value::from(source))
        .value("age_zone", &Value::from(zone))
}
