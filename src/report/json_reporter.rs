//! JSON output for machines, one object per line.

use super::json_line::Object;
use super::time_format::rfc3339;
use std::io::{self, Write};
use std::time::SystemTime;

/// A reporter that writes JSON lines. It is a [`monitor::Reporter`](crate::monitor::Reporter) and a
/// [`traffic::FeedObserver`](crate::traffic::FeedObserver).
///
/// Member names are stable across releases. Every object has `time` (RFC 3339, UTC, microseconds)
/// and `event`.
///
/// # Events of a monitor
/// Every object has `target` (the URL) and, when the target has one, `name`.
///
/// - `up`, `still_up`, `down`, `still_down`, `unknown`, `still_unknown`: a result. It has `first`
///   (whether it is the target's first result), `took_ms` (duration of connecting or of the
///   attempt; `null` when a held connection was lost or is still open) and `previous_s` (duration
///   of the previous state, or of this one so far; `null` for the first result). Unless the target
///   is up, it also has `reason` ([`DownCause::code`](crate::monitor::DownCause::code); always
///   `local` for `unknown`) and `detail` (text for people).
/// - `reconnected`: the peer closed the held connection, and a new one has lasted a second; the
///   target is up. It has `after_s` (how long the old connection lasted), `idle` (whether no data
///   was received on it), `gap_ms` (from the close to the new connection), `took_ms` and `count`
///   (reconnects so far).
/// - `certificate_expires`: the target is up, and its certificate expires soon. It has
///   `certificate_days` and `not_after` (RFC 3339).
/// - `summary`: one for each target. It has `state` (`up`, `down`, `unknown`), `reason` (unless up;
///   `null` before the first result), `lasted_s`, `uptime` (0 to 1 or `null`), `losses`,
///   `reconnects`, `connects`, `failures`, `median_ms` and `max_ms`. `median_ms` is the median of
///   the connect times in the last 64 results. If these hold no connect time (the connection is
///   held longer, or the target is down longer), it is the last connect time. `max_ms` is the
///   longest connect time. Both are `null` before the first connection.
/// - For targets with TLS, `up`, `still_up` and `summary` also have `tls` (the version of the last
///   connection, `1.2` or `1.3`) and `certificate_days` (whole days until the certificate expires,
///   negative after that). A summary has them after the first connection.
///
/// # Events of a feed reader
/// Every object has `feed` (the URL), `name` if the feed has one, and `latency_ms`.
///
/// - `reading`: `values` (pointer to value), `changes` (of changed values: `added`, a number, or
///   `was`, the previous value), `missing` (pointers), `problems`, `age_s`, `age_source` and
///   `age_zone`. `problems` maps a pointer to `reason`
///   ([`Problem::code`](crate::traffic::Problem::code)) and `detail` (text for people). `age_s` is
///   negative if the time lies in the future. `age_source` is `payload`, `last-modified`, `age` or
///   `date`. Both are `null` if the age is not known. `age_zone` is `assumed_utc` for a time
///   without a zone, else `null`.
/// - `error`: `reason` ([`FeedError::code`](crate::traffic::FeedError::code); `local` is trouble of
///   this machine, which says nothing about the feed) and `detail` (text for people).
#[derive(Debug)]
pub struct JsonReporter<W> {
    out: W,
}

impl<W: Write> JsonReporter<W> {
    /// Creates a reporter that writes to `out`.
    pub fn new(out: W) -> JsonReporter<W> {
        JsonReporter { out }
    }

    /// Writes finished lines.
    pub(crate) fn lines(&mut self, lines: impl IntoIterator<Item = String>) -> io::Result<()> {
        for line in lines {
            self.out.write_all(line.as_bytes())?;
        }
        self.out.flush()
    }
}

/// Starts an object with the time, the event, and its subject: `role` (`target` or `feed`) is the
/// URL, and `name` is added if it differs.
pub(crate) fn start(wall: SystemTime, event: &str, (role, url): (&str, &str), name: &str) -> Object {
    let object = Object::new().text("time", &rfc3339(wall)).text("event", event).text(role, url);
    if name == url { object } else { object.text("name", name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_left_out_if_it_is_the_url() {
        let line = |name| start(SystemTime::UNIX_EPOCH, "up", ("target", "tcp://h:1"), name).line();
        let same = r#"{"time":"1970-01-01T00:00:00.000000Z","event":"up","target":"tcp://h:1"}"#;
        assert_eq!(line("tcp://h:1").trim_end(), same);
        assert_eq!(line("web").trim_end(), same.replace('}', r#","name":"web"}"#));
    }
}
