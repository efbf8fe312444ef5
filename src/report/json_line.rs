//! One JSON object on one line. Members keep the order in which they were added.

use crate::escape::EscapedJson;
use serde_json::Value;
use std::time::Duration;

/// A JSON line under construction.
#[derive(Debug)]
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Object {
        Object(String::from("{"))
    }

    pub(crate) fn text(self, name: &str, text: &str) -> Object {
        self.value(name, &Value::from(text))
    }

    /// Adds a member with any value.
    pub(crate) fn value(mut self, name: &str, value: &Value) -> Object {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&EscapedJson(format_args!("{}:{value}", Value::from(name))).to_string());
        self
    }

    /// Adds a time in milliseconds with three decimals, or `null` for `None`.
    pub(crate) fn millis(self, name: &str, time: Option<Duration>) -> Object {
        let rounded = time.map(|time| (time.as_secs_f64() * 1e6).round() / 1e3);
        self.value(name, &Value::from(rounded))
    }

    /// Adds a time in seconds with three decimals, or `null` for `None`.
    pub(crate) fn seconds(self, name: &str, time: Option<Duration>) -> Object {
        let rounded = time.map(|time| (time.as_secs_f64() * 1e3).round() / 1e3);
        self.value(name, &Value::from(rounded))
    }

    /// Returns the finished line with its line feed.
    pub(crate) fn line(mut self) -> String {
        self.0.push_str("}\n");
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_are_escaped() {
        let line = Object::new()
            .text("b", "x\"\n\u{9b}\u{e0041}")
            .millis("a", Some(Duration::from_nanos(1_234_567)))
            .seconds("c", None)
            .value("d", &Value::from(true))
            .line();
        assert_eq!(line, "{\"b\":\"x\\\"\\n\\u009b\\udb40\\udc41\",\"a\":1.235,\"c\":null,\"d\":true}\n");
    }
}
