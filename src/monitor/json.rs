//! One JSON object a line, for machines. Members keep their names from release to release.
//!
//! Every object has `time` (RFC 3339, UTC, microseconds), `event`, `target` (the URL) and, when
//! the target has one, `name`. By `event`:
//!
//! - `up`, `still_up`, `down`, `still_down`: a result. `first` (whether it is the target's first),
//!   `took_ms` (connecting, or the attempt; `null` when a held connection was lost or is simply
//!   there), `previous_s` (how long the state before lasted, or this one has so far; `null` at first).
//!   When down also `reason` ([`Cause::code`](super::Cause::code)) and `detail` (text for people).
//! - `summary`: one for each target. `state` (`up`, `down`, `unknown`), `lasted_s`, `uptime` (0 to
//!   1 or `null`), `losses`, `connects`, `failures`, `median_ms`, `max_ms`.

use super::object::Object;
use super::reporter::{Event, Reporter, Row, Summary, describe};
use super::stamp::rfc3339;
use super::target::Target;
use super::track::{Change, State};
use serde_json::Value;
use std::io::{self, Write};
use std::time::SystemTime;

/// Writes events and summaries as lines of JSON.
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

impl<W: Write + 'static> Reporter for Json<W> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let (kind, took, previous, cause) = match event.change {
            Change::Up { took, down_for } => ("up", Some(took), down_for, None),
            Change::StillUp { took, up_for } => ("still_up", took, Some(up_for), None),
            Change::Down { cause, took, up_for } => ("down", took, up_for, Some(cause)),
            Change::StillDown { cause, took, down_for, .. } => {
                ("still_down", took, Some(down_for), Some(cause))
            }
        };
        let mut object = start(event.wall, kind, event.target)
            .value("first", &Value::from(previous.is_none()))
            .millis("took_ms", took)
            .seconds("previous_s", previous);
        if let Some(cause) = cause {
            let detail = describe(cause, event.reason);
            object = object.text("reason", cause.code()).text("detail", &detail);
        }
        self.out.write_all(object.line().as_bytes())?;
        self.out.flush()
    }

    fn summary(&mut self, summary: &Summary<'_>) -> io::Result<()> {
        for row in &summary.rows {
            self.out.write_all(summary_line(summary.wall, row).as_bytes())?;
        }
        self.out.flush()
    }
}

fn summary_line(wall: SystemTime, row: &Row<'_>) -> String {
    let standing = row.standing();
    let (state, known) = match standing.state {
        State::Unknown => ("unknown", None),
        State::Up => ("up", Some(standing.lasted)),
        State::Down(_) => ("down", Some(standing.lasted)),
    };
    let uptime = standing.uptime.map(|share| (share * 1e6).round() / 1e6);
    start(wall, "summary", row.target)
        .text("state", state)
        .seconds("lasted_s", known)
        .value("uptime", &Value::from(uptime))
        .value("losses", &Value::from(standing.losses))
        .value("connects", &Value::from(standing.connects))
        .value("failures", &Value::from(standing.failures))
        .millis("median_ms", standing.median)
        .millis("max_ms", standing.longest)
        .line()
}

fn start(wall: SystemTime, event: &str, target: &Target) -> Object {
    let object = Object::new().text("time", &rfc3339(wall)).text("event", event).text("target", target.url());
    match target.name() == target.url() {
        true => object,
        false => object.text("name", target.name()),
    }
}
