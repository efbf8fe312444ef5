//! JSON output of a monitor. [`JsonReporter`] documents the members.

use super::cause::DownCause;
use super::reporter::{Event, Reporter, Row, Summary, describe};
use super::target::Target;
use super::tls_facts::TlsFacts;
use super::track::{Change, TargetState};
use crate::report::JsonReporter;
use crate::report::json_line::Object;
use crate::report::json_reporter;
use crate::report::time_format::rfc3339;
use serde_json::Value;
use std::io::{self, Write};
use std::time::SystemTime;

impl<W: Write + 'static> Reporter for JsonReporter<W> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let (kind, took, previous, cause) = match event.change {
            Change::Up { took, down_for, unknown_for } => ("up", Some(took), down_for.or(unknown_for), None),
            Change::StillUp { took, up_for } => ("still_up", took, Some(up_for), None),
            Change::Reconnected { after, idle, gap, took, count } => {
                let object = start(event.wall, "reconnected", event.target)
                    .seconds("after_s", Some(after))
                    .value("idle", &Value::from(idle))
                    .millis("gap_ms", Some(gap))
                    .millis("took_ms", Some(took))
                    .value("count", &Value::from(count));
                return self.lines([object.line()]);
            }
            Change::CertificateExpires { days, not_after } => {
                let object = start(event.wall, "certificate_expires", event.target)
                    .value("certificate_days", &Value::from(days))
                    .text("not_after", &rfc3339(not_after));
                return self.lines([object.line()]);
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
        } else {
            object = with_tls(object, event.wall, event.tls);
        }
        self.lines([object.line()])
    }

    fn summary(&mut self, summary: &Summary<'_>) -> io::Result<()> {
        self.lines(summary.rows.iter().map(|row| summary_line(summary.wall, row)))
    }
}

fn summary_line(wall: SystemTime, row: &Row<'_>) -> String {
    let summary = row.summary();
    let lasted = Some(summary.lasted);
    let (state, lasted, cause) = match summary.state {
        TargetState::Unknown(None) => ("unknown", None, None),
        TargetState::Unknown(cause) => ("unknown", lasted, cause),
        TargetState::Up => ("up", lasted, None),
        TargetState::Down(cause) => ("down", lasted, Some(cause)),
    };
    let uptime = summary.uptime.map(|share| (share * 1e6).round() / 1e6);
    let object = start(wall, "summary", row.target)
        .text("state", state)
        .value("reason", &Value::from(cause.map(DownCause::code)))
        .seconds("lasted_s", lasted)
        .value("uptime", &Value::from(uptime))
        .value("losses", &Value::from(summary.losses))
        .value("reconnects", &Value::from(summary.reconnects))
        .value("connects", &Value::from(summary.connects))
        .value("failures", &Value::from(summary.failures))
        .millis("median_ms", summary.median)
        .millis("max_ms", summary.max);
    with_tls(object, wall, row.tls).line()
}

/// Adds the members of targets with TLS.
fn with_tls(object: Object, wall: SystemTime, tls: Option<TlsFacts>) -> Object {
    match tls {
        Some(facts) => {
            object.text("tls", facts.version).value("certificate_days", &Value::from(facts.days_left(wall)))
        }
        None => object,
    }
}

fn start(wall: SystemTime, event: &str, target: &Target) -> Object {
    json_reporter::start(wall, event, ("target", target.url()), target.name())
}
