//! JSON output: one object per line, for machines. Member names are stable across releases.
//!
//! Every object has `time` (RFC 3339, UTC, microseconds), `event`, `target` (the URL) and, when the
//! target has one, `name`. The other members depend on `event`:
//!
//! - `up`, `still_up`, `down`, `still_down`, `unknown`, `still_unknown`: a result. It has `first`
//!   (whether it is the target's first result), `took_ms` (duration of connecting or of the
//!   attempt; `null` when a held connection was lost or is still open) and `previous_s` (duration
//!   of the previous state, or of this one so far; `null` for the first result). Unless the target
//!   is up, it also has `reason` ([`DownCause::code`](super::DownCause::code); always `local` for
//!   `unknown`) and `detail` (text for people).
//! - `reconnected`: the peer closed the held connection, and a new one has lasted a second; the
//!   target is up. It has `after_s` (how long the old connection lasted), `idle` (whether no data
//!   was received on it), `gap_ms` (from the close to the new connection), `took_ms` and `count`
//!   (reconnects so far).
//! - `summary`: one for each target. It has `state` (`up`, `down`, `unknown`), `reason` (unless up;
//!   `null` before the first result), `lasted_s`, `uptime` (0 to 1 or `null`), `losses`,
//!   `reconnects`, `connects`, `failures`, `median_ms` and `max_ms`. `median_ms` is the median of
//!   the connect times in the last 64 results. If these hold no connect time (the connection is
//!   held longer, or the target is down longer), it is the last connect time. `max_ms` is the
//!   longest connect time. Both are `null` before the first connection.

use super::cause::DownCause;
use super::reporter::{Event, Reporter, Row, Summary, describe};
use super::target::Target;
use super::track::{Change, State};
use crate::report::json_line::Object;
use crate::report::time_format::rfc3339;
use serde_json::Value;
use std::io::{self, Write};
use std::time::SystemTime;

/// A [`Reporter`](super::Reporter) that writes events and summaries as JSON lines.
#[derive(Debug)]
pub struct JsonReporter<W> {
    out: W,
}

impl<W: Write> JsonReporter<W> {
    /// Creates a reporter that writes to `out`.
    pub fn new(out: W) -> JsonReporter<W> {
        JsonReporter { out }
    }
}

impl<W: Write + 'static> Reporter for JsonReporter<W> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let (kind, took, previous, cause) = match event.change {
            Change::Up { took, down_for, unknown_for } => ("up", Some(took), down_for.or(unknown_for), None),
            Change::StillUp { took, up_for } => ("still_up", took, Some(up_for), None),
            Change::Reconnected { after, idle, gap, took, count } => {
                let line = start(event.wall, "reconnected", event.target)
                    .seconds("after_s", Some(after))
                    .value("idle", &Value::from(idle))
                    .millis("gap_ms", Some(gap))
                    .millis("took_ms", Some(took))
                    .value("count", &Value::from(count))
                    .line();
                self.out.write_all(line.as_bytes())?;
                return self.out.flush();
            }
            Change::Down { cause, took, up_for, unknown_for } => {
                ("down", took, up_for.or(unknown_for), Some(cause))
            }
            Change::StillDown { cause, took, down_for, .. } => {
                ("still_down", took, Some(down_for), Some(cause))
            }
            Change::Unknown { cause, took, up_for, down_for } => {
                ("unknown", took, up_for.or(down_for), Some(cause))
            }
            Change::StillUnknown { cause, took, unknown_for } => {
                ("still_unknown", took, Some(unknown_for), Some(cause))
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
    let lasted = Some(standing.lasted);
    let (state, lasted, cause) = match standing.state {
        State::Unknown(None) => ("unknown", None, None),
        State::Unknown(cause) => ("unknown", lasted, cause),
        State::Up => ("up", lasted, None),
        State::Down(cause) => ("down", lasted, Some(cause)),
    };
    let uptime = standing.uptime.map(|share| (share * 1e6).round() / 1e6);
    start(wall, "summary", row.target)
        .text("state", state)
        .value("reason", &Value::from(cause.map(DownCause::code)))
        .seconds("lasted_s", lasted)
        .value("uptime", &Value::from(uptime))
        .value("losses", &Value::from(standing.losses))
        .value("reconnects", &Value::from(standing.reconnects))
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
