//! Readings: the values of a payload, compared with those of the previous one. No I/O, no clock.

use super::age::Age;
use super::feed::Pointer;
use super::payload::{Found, Payload, PayloadError, PayloadLimits, Problem, ValueReader};
use crate::http::Headers;
use std::time::SystemTime;

/// A JSON value.
pub use serde_json::Value;

/// The previous values of a feed. Their number is bounded by the number of chosen values.
#[derive(Clone, Debug, Default)]
pub(super) struct Values(Vec<(Pointer, Value)>);

/// One reading of a feed.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The chosen values that are present, in the order in which they were chosen.
    pub values: Vec<(Pointer, Value, Difference)>,
    /// The chosen pointers without a value, including that of the timestamp.
    pub missing: Vec<Pointer>,
    /// Problems with single values. Most of these values are not in `values`.
    pub problems: Vec<(Pointer, Problem)>,
    /// The age of the payload, if it is known.
    pub age: Option<Age>,
}

/// The difference between a value and the previous one.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// There was no previous value.
    First,
    /// The value did not change.
    Same,
    /// Both values are numbers, and this is their difference; an integer if both are.
    Added(serde_json::Number),
    /// The previous value.
    Was(Value),
}

impl Values {
    /// Reads a payload, and stores its values for the next comparison.
    ///
    /// Without `fields`, the first members (by name) of the outermost object that are neither
    /// objects nor arrays are chosen. If the payload is not an object, it is chosen itself.
    ///
    /// # Errors
    /// Returns an error if the whole payload is invalid. The stored values do not change then.
    pub(super) fn read(
        &mut self,
        payload: &str,
        headers: &Headers,
        fields: &[Pointer],
        timestamp: Option<&Pointer>,
        limits: &PayloadLimits,
        wall: SystemTime,
    ) -> Result<Reading, PayloadError> {
        let payload = Payload::check(payload, limits)?;
        let mut reader = ValueReader::new(limits);
        let mut reading =
            Reading { values: Vec::new(), missing: Vec::new(), problems: Vec::new(), age: None };
        let wanted: Vec<&Pointer> = fields.iter().chain(timestamp).collect();
        let mut found = payload.find(&wanted);
        let time = if timestamp.is_some() { found.pop().flatten() } else { None };
        if fields.is_empty() {
            let (chosen, problem) = payload.scalars(limits);
            // Forget values that are no longer chosen.
            self.0.retain(|(known, _)| chosen.iter().any(|(pointer, _)| pointer == known));
            for (pointer, found) in chosen {
                self.add_value(&pointer, found, &mut reader, &mut reading);
            }
            reading.problems.extend(problem);
        }
        for (field, found) in fields.iter().zip(found) {
            match found {
                None => reading.missing.push(field.clone()),
                Some(found) => self.add_value(field, found, &mut reader, &mut reading),
            }
        }
        match (timestamp, time) {
            (None, _) => reading.age = Age::of_headers(headers, wall),
            (Some(pointer), None) => reading.missing.push(pointer.clone()),
            (Some(pointer), Some(found)) => {
                let mut problems: Vec<Problem> =
                    found.repeated.then_some(Problem::Repeated).into_iter().collect();
                let age = reader.value(found.text).and_then(|time| Age::of_payload(&time, wall));
                match age {
                    Ok(age) => reading.age = Some(age),
                    Err(problem) => problems.push(problem),
                }
                // If the timestamp is also a field, its problem may be listed already.
                for problem in problems.into_iter().map(|problem| (pointer.clone(), problem)) {
                    if !reading.problems.contains(&problem) {
                        reading.problems.push(problem);
                    }
                }
            }
        }
        // A missing value keeps its previous value, because it may return.
        for (pointer, value, _) in &reading.values {
            match self.0.iter_mut().find(|(known, _)| known == pointer) {
                Some((_, known)) => known.clone_from(value),
                None => self.0.push((pointer.clone(), value.clone())),
            }
        }
        Ok(reading)
    }

    /// Adds a value, or its problem, to a reading.
    fn add_value(
        &self,
        field: &Pointer,
        found: Found<'_>,
        reader: &mut ValueReader<'_>,
        reading: &mut Reading,
    ) {
        match reader.value(found.text) {
            Ok(value) => {
                let difference = self.difference(field, &value);
                reading.values.push((field.clone(), value, difference));
                if found.repeated {
                    reading.problems.push((field.clone(), Problem::Repeated));
                }
            }
            Err(problem) => reading.problems.push((field.clone(), problem)),
        }
    }

    fn difference(&self, pointer: &Pointer, value: &Value) -> Difference {
        match self.0.iter().find(|(known, _)| known == pointer) {
            None => Difference::First,
            Some((_, before)) if before == value => Difference::Same,
            Some((_, before)) => match added(before, value) {
                Some(number) => Difference::Added(number),
                None => Difference::Was(before.clone()),
            },
        }
    }
}

/// Returns the difference of two numbers; `None` if one is not a number, or if it does not fit.
fn added(before: &Value, now: &Value) -> Option<serde_json::Number> {
    let integer = |value: &Value| value.as_i64().map(i128::from).or(value.as_u64().map(i128::from));
    match (integer(before), integer(now)) {
        (Some(before), Some(now)) => serde_json::Number::from_i128(now - before),
        // Rounding to nine decimals hides binary rounding errors: 0.3 - 0.1 becomes 0.2.
        _ => {
            let exact = now.as_f64()? - before.as_f64()?;
            let rounded = (exact * 1e9).round() / 1e9;
            serde_json::Number::from_f64(if rounded == 0.0 || !rounded.is_finite() { exact } else { rounded })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::AgeSource;
    use serde_json::json;
    use std::time::Duration;

    fn pointers(texts: &[&str]) -> Vec<Pointer> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn read(values: &mut Values, payload: &str, fields: &[Pointer], timestamp: Option<&Pointer>) -> Reading {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_060);
        let limits = PayloadLimits::default();
        values.read(payload, &Headers::default(), fields, timestamp, &limits, wall).unwrap()
    }

    fn differences(values: &mut Values, payload: Value, fields: &[Pointer]) -> Vec<Difference> {
        let reading = read(values, &payload.to_string(), fields, None);
        reading.values.into_iter().map(|(_, _, difference)| difference).collect()
    }

    #[test]
    fn a_value_is_compared_with_the_one_before() {
        use Difference::*;
        let mut values = Values::default();
        let fields = pointers(&["/a", "/b/0", "/c"]);
        let first = differences(&mut values, json!({"a": 5, "b": [0.1], "c": "x"}), &fields);
        assert_eq!(first, [First, First, First]);
        let second = differences(&mut values, json!({"a": 2, "b": [0.3], "c": "y"}), &fields);
        assert_eq!(
            second,
            [Added((-3).into()), Added(serde_json::Number::from_f64(0.2).unwrap()), Was(json!("x"))]
        );
        let third = differences(&mut values, json!({"a": 2, "b": [null], "c": 1}), &fields);
        assert_eq!(third, [Same, Was(json!(0.3)), Was(json!("y"))]);
        let largest = differences(&mut values, json!({"a": u64::MAX, "b": [1e308], "c": -1e308}), &fields);
        assert_eq!(largest[0], Added((u64::MAX - 2).into()));
    }

    #[test]
    fn what_is_missing_is_said_and_remembered() {
        let mut values = Values::default();
        let fields = pointers(&["/a", "/x"]);
        let mut read = |payload: Value| read(&mut values, &payload.to_string(), &fields, None);
        assert_eq!(read(json!({"a": 1})).missing, pointers(&["/x"]));
        assert_eq!(read(json!({"x": 1})).missing, pointers(&["/a"]));
        assert_eq!(read(json!({"a": 3, "x": 1})).values[0].2, Difference::Added(2.into()));
    }

    #[test]
    fn without_fields_scalars_are_chosen() {
        let chosen = |payload: &str| -> Vec<Pointer> {
            let reading = read(&mut Values::default(), payload, &[], None);
            reading.values.into_iter().map(|(pointer, ..)| pointer).collect()
        };
        let payload = r#"{"h": true, "a": 1, "b": {"c": 2}, "d": [3], "e/f": "x", "g": null}"#;
        assert_eq!(chosen(payload), pointers(&["/a", "/e~1f", "/g", "/h"]));
        assert_eq!((chosen("7"), chosen("[7]"), chosen("{}")), (pointers(&[""]), vec![], vec![]));
        let many = r#"{"7":7,"6":6,"5":5,"4":4,"3":3,"2":2,"1":1}"#;
        assert_eq!(chosen(many), pointers(&["/1", "/2", "/3", "/4", "/5", "/6"]));
    }

    #[test]
    fn without_fields_only_the_last_selection_is_remembered() {
        let mut values = Values::default();
        for number in 0..1000 {
            let names: Vec<String> = (0..20).map(|part| format!("\"id-{number}-{part}\": {part}")).collect();
            read(&mut values, &format!("{{{}}}", names.join(",")), &[], None);
            assert_eq!(values.0.len(), 6);
        }
        // Values of chosen fields are stored, and no others.
        let fields = pointers(&["/a", "/x"]);
        read(&mut values, r#"{"a": 1, "b": 2}"#, &fields, None);
        assert_eq!(values.0.len(), 7);
    }

    #[test]
    fn what_is_wrong_with_one_value_costs_no_other() {
        let fields = pointers(&["/big", "/a", "/long", "/twice"]);
        let payload = format!(
            r#"{{"big": 1e400, "a": 1, "long": "{}", "twice": 1, "twice": 2, "other": -1e999}}"#,
            "x".repeat(70_000)
        );
        let mut values = Values::default();
        let reading = read(&mut values, &payload, &fields, None);
        let read: Vec<_> =
            reading.values.iter().map(|(pointer, value, _)| (pointer.as_str(), value)).collect();
        assert_eq!(read, [("/a", &json!(1)), ("/twice", &json!(2))]);
        let problems: Vec<_> =
            reading.problems.iter().map(|(pointer, problem)| (pointer.as_str(), problem)).collect();
        let too_long = Problem::ValueTooLong { bytes: 70_002, limit: 65_536 };
        let expected = [
            ("/big", &Problem::OutOfRange("1e400".into())),
            ("/long", &too_long),
            ("/twice", &Problem::Repeated),
        ];
        assert_eq!((problems.as_slice(), reading.missing.as_slice()), (&expected[..], &[][..]));
    }

    #[test]
    fn the_payload_says_how_old_it_is() {
        let timestamp: Pointer = "/at".parse().unwrap();
        let read =
            |at: &str| read(&mut Values::default(), &format!("{{\"at\": {at}}}"), &[], Some(&timestamp));
        let minute = Duration::from_secs(60);
        let age =
            |future, zone_assumed, age| Some(Age { age, future, zone_assumed, source: AgeSource::Payload });
        for at in [
            "\"2023-11-14T22:13:20Z\"",
            "\"2023-11-14T23:13:20+01:00\"",
            "\"2023-11-14 22:13:20Z\"",
            "\"2023-11-14t22:13:20z\"",
            "\"2023-11-14 22:13:20 UTC\"",
            "\"Tue, 14 Nov 2023 22:13:20 GMT\"",
            "1700000000",
            "1.7e9",
            "\" 1700000000 \"",
            "1700000000000",
            "\"1700000000000\"",
            "1700000000000000",
            "1700000000000000000",
        ] {
            let reading = read(at);
            assert_eq!(reading.age, age(false, false, minute), "{at}");
            assert_eq!((reading.missing, reading.problems), (vec![], vec![]), "{at}");
        }
        for at in ["\"2023-11-14T22:13:20\"", "\"2023-11-14 22:13:20.000\""] {
            assert_eq!(read(at).age, age(false, true, minute), "{at}");
        }
        assert_eq!(read("1700000183").age, age(true, false, Duration::from_secs(123)));
        assert_eq!(read("-60").age, age(false, false, Duration::from_secs(1_700_000_120)));
        assert_eq!(
            read("-60000000000000").age,
            age(false, false, Duration::from_secs(60_000_000_000 + 1_700_000_060))
        );
        for (at, told) in [
            ("\"tomorrow\"", "\"tomorrow\""),
            ("\"\"", "\"\""),
            ("null", "null"),
            ("[1]", "[1]"),
            ("\"NaN\"", "\"NaN\""),
            ("1e300", "1e+300"),
            ("\"2023-13-01T00:00:00Z\"", "\"2023-13-01T00:00:00Z\""),
        ] {
            let reading = read(at);
            assert_eq!((reading.age, reading.missing), (None, vec![]), "{at}");
            assert_eq!(reading.problems, [(timestamp.clone(), Problem::NoTime(told.into()))]);
        }
        assert_eq!(read("1e400").problems, [(timestamp.clone(), Problem::OutOfRange("1e400".into()))]);
    }
}
