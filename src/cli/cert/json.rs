//! The report as one JSON document.

use super::report::{Report, Verdict};
use crate::escape::EscapedJson;
use crate::report::time_format::rfc3339;
use crate::tls::{Certificate, Hexadecimal};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) fn document(report: &Report) -> String {
    let (problem, why) = match report.verdict() {
        Verdict::NotTrusted(problem) => (Some(problem.name()), Some(problem.to_string())),
        Verdict::Trusted | Verdict::ExpiresSoon => (None, None),
    };
    let certificates: Vec<Value> =
        report.certificates().iter().map(|parsed| certificate(report, parsed)).collect();
    line(json!({
        "endpoint": report.endpoint,
        "name": report.name,
        "peer": report.peer,
        "trusted": problem.is_none(),
        "problem": problem,
        "why": why,
        "days_left": report.days_left(),
        "expires_soon": matches!(report.verdict(), Verdict::ExpiresSoon),
        "version": report.version(),
        "cipher": report.cipher(),
        "key_exchange": report.info.key_exchange.map(|group| format!("{group:?}")),
        "alpn": report.alpn(),
        "ocsp_stapled": report.info.ocsp_stapled,
        "connect_ms": millis(report.connect_time),
        "handshake_ms": millis(report.info.handshake_time),
        "certificates": certificates,
    }))
}

/// A server without a handshake.
pub(super) fn failure(endpoint: &str, name: &str, problem: &str, why: &str) -> String {
    line(json!({ "endpoint": endpoint, "name": name, "trusted": null, "problem": problem, "error": why }))
}

fn certificate(report: &Report, parsed: &Result<Certificate, String>) -> Value {
    let own = match parsed {
        Ok(own) => own,
        Err(why) => return json!({ "malformed": why }),
    };
    let hexadecimal = |hash: &Option<[u8; 32]>| hash.map(|hash| Hexadecimal(&hash).to_string());
    json!({
        "subject": own.subject,
        "issuer": own.issuer,
        "names": own.names,
        "not_before": rfc3339(own.not_before),
        "not_after": rfc3339(own.not_after),
        "days_left": own.days_left(report.now),
        "is_ca": own.is_ca,
        "key": own.key_kind,
        "key_bits": own.key_bits,
        "signature": own.signature_algorithm,
        "serial": own.serial,
        "sha256": hexadecimal(&own.fingerprint),
        "pin": hexadecimal(&own.key_hash),
    })
}

fn line(value: Value) -> String {
    format!("{}\n", EscapedJson(value))
}

/// Milliseconds, exact to the nanosecond.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e9).round() / 1e6
}
