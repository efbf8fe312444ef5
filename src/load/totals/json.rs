//! Totals as JSON that can be parsed again, to combine the parts of a load from several processes.
//!
//! The format is only used between processes of the same program and may change with it. For other
//! readers, see [`Report::to_json`](crate::load::Report::to_json).

use super::{Distribution, Limit, Totals};
use crate::load::error::{Corruption, LoadError, Mismatch};
use serde_json::{Value, json};
use std::time::Duration;

/// Serializes the totals.
pub(crate) fn pack(totals: &Totals) -> Value {
    let times = [&totals.connects, &totals.latencies, &totals.since_sent, &totals.lateness];
    json!({
        "counts": counts(totals),
        "elapsed": nanoseconds(totals.elapsed),
        "opening": nanoseconds(totals.opening),
        "times": times.map(Distribution::parts),
        "errors": totals.errors.iter().map(|((kind, reason), n)| json!([kind, reason, n])).collect::<Vec<_>>(),
        "unsendable": totals.unsendable.iter().map(|(reason, n)| json!([reason, n])).collect::<Vec<_>>(),
        "limits": totals.limits.iter().map(|(limit, n)| json!([limit.name(), n])).collect::<Vec<_>>(),
        "first_errors": totals.first_errors.iter().map(pack_trouble).collect::<Vec<_>>(),
    })
}

/// Parses serialized totals; `None` if the value is invalid.
pub(crate) fn unpack(value: &Value) -> Option<Totals> {
    let counts: Vec<u64> = value["counts"].as_array()?.iter().filter_map(Value::as_u64).collect();
    let [started, connected, lost, open, messages, bytes, unanswered, dropped, repeated, unsent] =
        <[u64; COUNTS]>::try_from(counts).ok()?;
    let times = value["times"].as_array()?.iter().map(unpack_times).collect::<Option<Vec<_>>>()?;
    let [connects, latencies, since_sent, lateness] = <[Distribution; 4]>::try_from(times).ok()?;
    let error = |value: &Value| {
        Some(((kind(value[0].as_str()?)?, value[1].as_str()?.to_owned()), value[2].as_u64()?))
    };
    let limit = |value: &Value| {
        let name = value[0].as_str()?;
        Some((Limit::ALL.into_iter().find(|limit| limit.name() == name)?, value[1].as_u64()?))
    };
    let unsendable = |value: &Value| Some((value[0].as_str()?.to_owned(), value[1].as_u64()?));
    Some(Totals {
        started,
        connected,
        lost,
        open,
        messages,
        bytes,
        unanswered,
        dropped,
        unsendable: value["unsendable"].as_array()?.iter().map(unsendable).collect::<Option<_>>()?,
        repeated,
        unsent,
        elapsed: Duration::from_nanos(value["elapsed"].as_u64()?),
        opening: Duration::from_nanos(value["opening"].as_u64()?),
        connects,
        latencies,
        since_sent,
        lateness,
        errors: value["errors"].as_array()?.iter().map(error).collect::<Option<_>>()?,
        limits: value["limits"].as_array()?.iter().map(limit).collect::<Option<_>>()?,
        first_errors: value["first_errors"].as_array()?.iter().map(unpack_trouble).collect::<Option<_>>()?,
    })
}

fn counts(totals: &Totals) -> [u64; COUNTS] {
    let Totals { started, connected, lost, open, messages, bytes, .. } = *totals;
    let Totals { unanswered, dropped, repeated, unsent, .. } = *totals;
    [started, connected, lost, open, messages, bytes, unanswered, dropped, repeated, unsent]
}

const COUNTS: usize = 10;

/// An u64 holds 584 years of nanoseconds.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn unpack_times(value: &Value) -> Option<Distribution> {
    let pair = |value: &Value| Some((value[0].as_u64()?, value[1].as_u64()?));
    let pairs = value[1].as_array()?.iter().map(pair).collect::<Option<Vec<_>>>()?;
    Some(Distribution::of_parts(value[0].as_u64()?, pairs))
}

fn kind(name: &str) -> Option<&'static str> {
    ["connect", "lost", "wrong", "unanswered"].into_iter().find(|kind| *kind == name)
}

fn pack_trouble(trouble: &LoadError) -> Value {
    let kind = trouble.kind();
    match trouble {
        LoadError::NotConnected { connection, reason } => json!([kind, connection, reason]),
        LoadError::Lost { connection, after, in_flight, reason } => {
            json!([kind, connection, nanoseconds(*after), in_flight, reason])
        }
        LoadError::Wrong(Mismatch { connection, offset, message, expected, found, what }) => {
            let (what, bytes) = match what {
                Corruption::Changed => ("changed", 0),
                Corruption::LeftOut(bytes) => ("left out", *bytes),
                Corruption::Repeated(bytes) => ("repeated", *bytes),
                Corruption::Elsewhere => ("elsewhere", 0),
                Corruption::TooMany => ("too many", 0),
            };
            json!([kind, connection, offset, message, expected, found, what, bytes])
        }
        LoadError::Unanswered { connection, messages } => json!([kind, connection, messages]),
    }
}

fn unpack_trouble(value: &Value) -> Option<LoadError> {
    let byte = |value: &Value| value.as_u64().and_then(|byte| u8::try_from(byte).ok());
    let connection = value[1].as_u64()?;
    Some(match value[0].as_str()? {
        "connect" => LoadError::NotConnected { connection, reason: value[2].as_str()?.to_owned() },
        "lost" => LoadError::Lost {
            connection,
            after: Duration::from_nanos(value[2].as_u64()?),
            in_flight: value[3].as_u64()?,
            reason: value[4].as_str()?.to_owned(),
        },
        "wrong" => LoadError::Wrong(Mismatch {
            connection,
            offset: value[2].as_u64()?,
            message: value[3].as_u64()?,
            expected: byte(&value[4]),
            found: byte(&value[5])?,
            what: match (value[6].as_str()?, value[7].as_u64()?) {
                ("changed", _) => Corruption::Changed,
                ("left out", bytes) => Corruption::LeftOut(bytes),
                ("repeated", bytes) => Corruption::Repeated(bytes),
                ("elsewhere", _) => Corruption::Elsewhere,
                ("too many", _) => Corruption::TooMany,
                _ => return None,
            },
        }),
        "unanswered" => LoadError::Unanswered { connection, messages: value[2].as_u64()? },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        let mut totals = Totals {
            started: 1,
            connected: 2,
            lost: 3,
            open: 4,
            messages: 5,
            bytes: 6,
            unanswered: 7,
            dropped: 8,
            repeated: 9,
            unsent: 10,
            elapsed: Duration::from_nanos(11),
            opening: Duration::from_secs(12),
            unsendable: [("too long".to_owned(), 4)].into(),
            limits: [(Limit::Ports, 13), (Limit::Workers, 1)].into(),
            ..Totals::default()
        };
        for number in 1..5_000_u64 {
            totals.connects.record(Duration::from_nanos(number), 1);
            totals.latencies.record(Duration::from_micros(number * number), number);
        }
        totals.lateness.record(Duration::MAX, 1);
        let reason = || "it had \"quotes\"\n".to_owned();
        let mismatch = |what, expected| {
            LoadError::Wrong(Mismatch { connection: 1, offset: 2, message: 3, expected, found: 255, what })
        };
        for trouble in [
            LoadError::NotConnected { connection: 1, reason: reason() },
            LoadError::Lost { connection: 2, after: Duration::from_secs(3), in_flight: 4, reason: reason() },
            mismatch(Corruption::Changed, Some(0)),
            mismatch(Corruption::LeftOut(5), Some(7)),
            mismatch(Corruption::Repeated(6), Some(8)),
            mismatch(Corruption::Elsewhere, Some(9)),
            mismatch(Corruption::TooMany, None),
            LoadError::Unanswered { connection: 3, messages: 2 },
        ] {
            totals.note(&trouble);
        }
        let text = pack(&totals).to_string();
        assert_eq!(unpack(&serde_json::from_str(&text).unwrap()), Some(totals));
    }

    #[test]
    fn what_is_no_tally_is_none() {
        for text in ["null", "{}", "[]", r#"{"counts":[1]}"#] {
            assert_eq!(unpack(&serde_json::from_str(text).unwrap()), None, "{text}");
        }
    }
}
