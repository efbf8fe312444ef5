//! A report as one JSON object, for machines.

use super::{Report, histogram};
use crate::load::config::Workload;
use crate::load::error::LoadError;
use crate::load::totals::Distribution;
use serde_json::{Value, json};
use std::time::Duration;

impl Report {
    /// Returns the report as one JSON object, for machines. Member names are stable across
    /// releases.
    ///
    /// ```
    /// # use twistor::load::{LoadConfig, Report, Totals};
    /// let report = Report::new("tcp:h:7".into(), LoadConfig::default(), Totals::default());
    /// assert_eq!(report.to_json()["latency_ms"], serde_json::Value::Null);
    /// ```
    ///
    /// Times ending in `_ms` are milliseconds, in `_s` seconds. Sizes are bytes. `null` stands for
    /// no value.
    ///
    /// - `endpoint` (text), `success` (whether the load succeeded: [`Report::is_success`]), `work`
    ///   (`echo`, `churn`, `hold`).
    /// - `config`: `connections`, `size`, `depth`, `rate` (per second), `ramp_s`, `warm_up_s`,
    ///   `for_s`, `drain_timeout_s`
    ///   ([`LoadConfig::drain_timeout`](super::LoadConfig::drain_timeout)), `sources` (addresses,
    ///   as text).
    /// - `connections`: `started`, `made`, `lost` (before the end), `open` (open at the end),
    ///   `opening_s` (from the first attempt to the last connection), `connect_ms` (a
    ///   distribution).
    /// - `messages`: `due` (all that count), `answered` (with `churn`: exchanges), `unanswered`,
    ///   `unsent` (of the schedule), `dropped` (datagrams without an answer in time), `repeated`
    ///   (datagrams received twice or too late), `unsendable`, `bytes` (one way), `elapsed_s`,
    ///   `per_second`, `bytes_per_second`. `unsendable` lists the dropped datagrams that this
    ///   machine did not send: each entry has `reason` (text) and `count`.
    /// - `latency_ms`: a distribution over all `messages.due`. Its `answered` is the number of
    ///   answered messages; the others count with their wait so far.
    /// - `since_sent_ms`: latencies from the actual send, and `lateness_ms`: delays of the
    ///   generator itself. Both are distributions with a rate, else `null`.
    /// - `steps`: the latencies as a histogram. Each bar has `from_ms` (exclusive), `to_ms`
    ///   (inclusive) and `count`.
    /// - `errors`: each has `kind` (`connect`, `lost`, `wrong`, `unanswered`), `reason` (text) and
    ///   `count`.
    /// - `first_errors`: the first errors in detail: `kind`, `connection` (from 1), `detail`
    ///   (text). `wrong` also has `offset` (of the first wrong byte in the connection's stream,
    ///   from 0), `message` (from 1), `expected` and `found` (bytes as numbers).
    /// - `bottlenecks`: the limits that kept connections from being made or held; empty if all
    ///   were. Each has `limit`, `connections`, `now` (its present value) and `raise` (how to raise
    ///   it), both text or `null`. `limit` is `descriptors`, `system_descriptors`, `ports`,
    ///   `memory`, `refused`, `no_answer`, `closed`, `silent` or `workers`.
    ///
    /// A distribution has `count`, `min`, `mean`, `p50`, `p75`, `p90`, `p95`, `p99`, `p99_9`,
    /// `p99_99`, `max`; an empty one is `null`.
    pub fn to_json(&self) -> Value {
        let Report { endpoint, config, totals, bottlenecks } = self;
        let text = |text: &String| (!text.is_empty()).then(|| text.clone());
        let work = match config.work {
            Workload::Echo => "echo",
            Workload::Churn => "churn",
            Workload::Hold { .. } => "hold",
        };
        let mut latency = distribution(&totals.latencies);
        if let Some(members) = latency.as_object_mut() {
            members.insert("answered".to_owned(), totals.messages.into());
        }
        json!({
            "endpoint": endpoint,
            "success": self.is_success(),
            "work": work,
            "config": {
                "connections": config.connections,
                "size": config.size,
                "depth": config.depth,
                "rate": config.rate,
                "ramp_s": config.ramp.as_secs_f64(),
                "warm_up_s": config.warm_up.as_secs_f64(),
                "for_s": config.duration.as_secs_f64(),
                "drain_timeout_s": config.drain_timeout.as_secs_f64(),
                "sources": config.sources.iter().map(ToString::to_string).collect::<Vec<_>>(),
            },
            "connections": {
                "started": totals.started,
                "made": totals.connected,
                "lost": totals.lost,
                "open": totals.open,
                "opening_s": totals.opening.as_secs_f64(),
                "connect_ms": distribution(&totals.connects),
            },
            "messages": {
                "due": totals.latencies.count(),
                "answered": totals.messages,
                "unanswered": totals.unanswered,
                "unsent": totals.unsent,
                "dropped": totals.dropped,
                "repeated": totals.repeated,
                "unsendable": totals.unsendable.iter().map(|(reason, count)| json!({
                    "reason": reason,
                    "count": count,
                })).collect::<Vec<_>>(),
                "bytes": totals.bytes,
                "elapsed_s": totals.elapsed.as_secs_f64(),
                "per_second": totals.rate(),
                "bytes_per_second": totals.bytes_rate(),
            },
            "latency_ms": latency,
            "since_sent_ms": distribution(&totals.since_sent),
            "lateness_ms": distribution(&totals.lateness),
            "steps": histogram::bars(&totals.latencies).iter().map(|bar| json!({
                "from_ms": millis(bar.from),
                "to_ms": millis(bar.to),
                "count": bar.count,
            })).collect::<Vec<_>>(),
            "errors": totals.errors.iter().map(|((kind, reason), count)| json!({
                "kind": kind,
                "reason": reason,
                "count": count,
            })).collect::<Vec<_>>(),
            "first_errors": totals.first_errors.iter().map(trouble).collect::<Vec<_>>(),
            "bottlenecks": bottlenecks.iter().map(|stop| json!({
                "limit": stop.limit.name(),
                "connections": stop.connections,
                "now": text(&stop.now),
                "raise": text(&stop.raise),
            })).collect::<Vec<_>>(),
        })
    }
}

fn distribution(times: &Distribution) -> Value {
    if times.is_empty() {
        return Value::Null;
    }
    let percentile = |percent| times.percentile(percent).map(millis);
    json!({
        "count": times.count(),
        "min": times.min().map(millis),
        "mean": times.mean().map(millis),
        "p50": percentile(50.0),
        "p75": percentile(75.0),
        "p90": percentile(90.0),
        "p95": percentile(95.0),
        "p99": percentile(99.0),
        "p99_9": percentile(99.9),
        "p99_99": percentile(99.99),
        "max": times.max().map(millis),
    })
}

fn trouble(trouble: &LoadError) -> Value {
    let (kind, detail) = (trouble.kind(), trouble.to_string());
    match trouble {
        LoadError::Wrong(mismatch) => json!({
            "kind": kind,
            "detail": detail,
            "connection": mismatch.connection,
            "offset": mismatch.offset,
            "message": mismatch.message,
            "expected": mismatch.expected,
            "found": mismatch.found,
        }),
        LoadError::NotConnected { connection, .. }
        | LoadError::Lost { connection, .. }
        | LoadError::Unanswered { connection, .. } => {
            json!({ "kind": kind, "detail": detail, "connection": connection })
        }
    }
}

/// Rounds to nanoseconds, which removes conversion errors.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e9).round() / 1e6
}
