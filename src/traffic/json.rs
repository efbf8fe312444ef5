//! One JSON object a line, for machines. Members keep their names from release to release.
//!
//! Every object has `time` (RFC 3339, UTC, microseconds), `event`, `feed` (the URL), `name` when the feed
//! has one of its own, and `latency_ms`. By `event`:
//!
//! - `reading`: `values` (pointer to value), `changes` (for those that changed: `added`, a number, or
//!   `was`, the value before), `missing` (pointers), `problems` (pointer to `reason`, as [`Problem::code`](super::Problem::code)
//!   has it, and `detail`, text for people), `age_s` (below zero when the time lies in the future), `age_source` (`payload`,
//!   `last-modified`, `age`, `date`; both `null` when nothing says so) and `age_zone` (`assumed_utc` for a time without a
//!   zone; else `null`).
//! - `error`: `reason` ([`FeedError::code`](super::FeedError::code); `local` is trouble of this machine, which says
//!   nothing about the feed) and `detail` (text for people).

use super::observer::{FeedEvent, FeedObserver, FeedUpdate};
use super::reading::{Difference, Reading, Value};
use crate::report::clock::rfc3339;
use crate::report::json_line::Object;
use serde_json::{Map, json};
use std::io::{self, Write};

/// Writes readings as lines of JSON.
#[derive(Debug)]
pub struct Json<W> {
    out: W,
}

impl<W: Write> Json<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Json<W> {
        Json { out }
    }
}

impl<W: Write + 'static> FeedObserver for Json<W> {
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
        let told = json!({ "reason": problem.code(), "detail": problem.to_string() });
        problems.insert(pointer.as_str().to_owned(), told);
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
