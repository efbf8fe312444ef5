//! JSON output of a feed reader. [`JsonReporter`] documents the members.

use super::observer::{FeedEvent, FeedObserver};
use super::reading::{Difference, Reading, Value};
use crate::report::JsonReporter;
use crate::report::json_line::Object;
use crate::report::json_reporter::start;
use serde_json::{Map, json};
use std::io::{self, Write};

impl<W: Write + 'static> FeedObserver for JsonReporter<W> {
    fn event(&mut self, event: &FeedEvent<'_>) -> io::Result<()> {
        let kind = if event.result.is_ok() { "reading" } else { "error" };
        let url = event.feed.url.to_string();
        let object = start(event.wall, kind, ("feed", &url), &event.feed.name);
        let object = object.millis("latency_ms", Some(event.latency));
        let object = match event.result {
            Ok(reading) => members(object, reading),
            Err(error) => object.text("reason", error.code()).text("detail", &error.to_string()),
        };
        self.lines([object.line()])
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
