//! The answer as one JSON document.

use super::Answered;
use super::text::transport;
use crate::dns::{Name, Record, RecordData, RecordType};
use crate::escape::EscapedJson;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// A response with its question.
pub(super) fn document(answered: &Answered) -> String {
    let Answered { name, record_type, response } = answered;
    let flags = response.flags();
    line(json!({
        "name": name.to_string(),
        "type": record_type.to_string(),
        "code": response.code().to_string(),
        "records": answered.records(),
        "server": response.server().to_string(),
        "transport": transport(response.transport()).to_ascii_lowercase(),
        "took_ms": millis(response.took()),
        "size": response.message().len(),
        "flags": {
            "authoritative": flags.authoritative,
            "truncated": flags.truncated,
            "recursion_available": flags.recursion_available,
            "authentic_data": flags.authentic_data,
        },
        "answers": records(response.answers()),
        "authorities": records(response.authorities()),
        "additionals": records(response.additionals()),
    }))
}

/// A question without a response.
pub(super) fn failure(name: &Name, record_type: RecordType, why: &str) -> String {
    line(json!({
        "name": name.to_string(),
        "type": record_type.to_string(),
        "code": null,
        "error": why,
    }))
}

/// Prints a value on a line.
pub(super) fn line(value: Value) -> String {
    format!("{}\n", EscapedJson(value))
}

/// Milliseconds, exact to the nanosecond.
pub(super) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e9).round() / 1e6
}

fn records<'a>(records: impl Iterator<Item = Record<'a>>) -> Vec<Value> {
    let records = records.filter(|record| record.record_type() != RecordType::OPT);
    let value = |record: Record<'_>| {
        let data = record.data();
        let mut value = json!({
            "name": record.name().to_string(),
            "ttl": record.ttl(),
            "type": record.record_type().to_string(),
            "data": data.to_string(),
        });
        if let (Some(value), Some(fields)) = (value.as_object_mut(), fields(&data)) {
            value.insert("fields".to_owned(), Value::Object(fields));
        }
        value
    };
    records.map(value).collect()
}

/// The parts of the data of types that have several.
fn fields(data: &RecordData) -> Option<Map<String, Value>> {
    let value = match data {
        RecordData::Mx { preference, exchange } => {
            json!({ "preference": preference, "exchange": exchange.to_string() })
        }
        RecordData::Srv { priority, weight, port, target } => {
            json!({ "priority": priority, "weight": weight, "port": port, "target": target.to_string() })
        }
        RecordData::Soa { primary, administrator, serial, refresh, retry, expire, minimum } => json!({
            "primary": primary.to_string(),
            "administrator": administrator.to_string(),
            "serial": serial,
            "refresh": refresh,
            "retry": retry,
            "expire": expire,
            "minimum": minimum,
        }),
        RecordData::Caa { flags, tag, value } => {
            json!({ "flags": flags, "tag": tag, "value": String::from_utf8_lossy(value) })
        }
        RecordData::Txt(strings) => {
            let strings: Vec<_> = strings.iter().map(|string| String::from_utf8_lossy(string)).collect();
            json!({ "strings": strings })
        }
        RecordData::Svcb { priority, target, parameters } => {
            let parameter = |(key, value): &(u16, Vec<u8>)| {
                let hexadecimal: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
                json!({ "key": key, "value": hexadecimal })
            };
            let parameters: Vec<_> = parameters.iter().map(parameter).collect();
            json!({ "priority": priority, "target": target.to_string(), "parameters": parameters })
        }
        _ => return None,
    };
    match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}
