//! What a payload says, compared with what the one before said. No I/O, no clock.

use super::age::Age;
use super::feed::Pointer;
use crate::http::Headers;
use std::time::SystemTime;

/// A JSON value.
pub use serde_json::Value;

/// The chosen values of a feed as they were last time.
#[derive(Clone, Debug, Default)]
pub struct Values(Vec<(Pointer, Value)>);

/// One reading of a feed.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The chosen values that are there, in the order in which they were chosen.
    pub values: Vec<(Pointer, Value, Difference)>,
    /// The chosen pointers under which there is nothing (for the one to the time: nothing that is a time).
    pub missing: Vec<Pointer>,
    /// How old the payload is, if anything says so.
    pub age: Option<Age>,
}

/// How a value compares with the one before.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// There was none before.
    First,
    /// It is the same.
    Same,
    /// Both are numbers, and this is what was added; an integer when both are.
    Added(serde_json::Number),
    /// It was this.
    Was(Value),
}

impl Values {
    /// Reads a payload, and remembers its values.
    ///
    /// Without `fields` the first few members of the outermost object that are neither objects nor
    /// arrays are chosen (or the payload itself, when it is no object).
    pub fn read(
        &mut self,
        payload: &Value,
        headers: &Headers,
        fields: &[Pointer],
        timestamp: Option<&Pointer>,
        wall: SystemTime,
    ) -> Reading {
        let some;
        let fields = match fields {
            [] => {
                some = scalars(payload);
                &some
            }
            fields => fields,
        };
        let mut missing = Vec::new();
        let mut values = Vec::new();
        for field in fields {
            match payload.pointer(field.as_str()) {
                None => missing.push(field.clone()),
                Some(value) => values.push((field.clone(), value.clone(), self.difference(field, value))),
            }
        }
        let age = match timestamp {
            None => Age::of_headers(headers, wall),
            Some(pointer) => {
                let age = payload.pointer(pointer.as_str()).and_then(|time| Age::of_payload(time, wall));
                if age.is_none() {
                    missing.push(pointer.clone());
                }
                age
            }
        };
        // What is missing this time keeps its value from before: it may come back.
        for (pointer, value, _) in &values {
            match self.0.iter_mut().find(|(known, _)| known == pointer) {
                Some((_, known)) => known.clone_from(value),
                None => self.0.push((pointer.clone(), value.clone())),
            }
        }
        Reading { values, missing, age }
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

/// What has to be added to one number to get the other; `None` when one is no number, or it does not fit.
fn added(before: &Value, now: &Value) -> Option<serde_json::Number> {
    let integer = |value: &Value| value.as_i64().map(i128::from).or(value.as_u64().map(i128::from));
    match (integer(before), integer(now)) {
        (Some(before), Some(now)) => serde_json::Number::from_i128(now - before),
        // Nine decimals hide what binary fractions add of their own: 0.3 - 0.1 is 0.2 for a reader.
        _ => {
            let exact = now.as_f64()? - before.as_f64()?;
            let rounded = (exact * 1e9).round() / 1e9;
            serde_json::Number::from_f64(if rounded == 0.0 || !rounded.is_finite() { exact } else { rounded })
        }
    }
}

fn scalars(payload: &Value) -> Vec<Pointer> {
    match payload {
        Value::Object(members) => members
            .iter()
            .filter(|(_, value)| !value.is_object() && !value.is_array())
            .take(MOST_SCALARS)
            .map(|(name, _)| Pointer::to_member(name))
            .collect(),
        Value::Array(_) => Vec::new(),
        _ => "".parse().into_iter().collect(),
    }
}

/// As many as fit into a line.
const MOST_SCALARS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::AgeSource;
    use serde_json::json;
    use std::time::Duration;

    fn pointers(texts: &[&str]) -> Vec<Pointer> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn differences(values: &mut Values, payload: Value, fields: &[Pointer]) -> Vec<Difference> {
        let reading = values.read(&payload, &Headers::default(), fields, None, SystemTime::UNIX_EPOCH);
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
        let mut read = |payload: Value| {
            values.read(&payload, &Headers::default(), &fields, None, SystemTime::UNIX_EPOCH)
        };
        assert_eq!(read(json!({"a": 1})).missing, pointers(&["/x"]));
        assert_eq!(read(json!({"x": 1})).missing, pointers(&["/a"]));
        assert_eq!(read(json!({"a": 3, "x": 1})).values[0].2, Difference::Added(2.into()));
    }

    #[test]
    fn without_fields_scalars_are_chosen() {
        let payload = json!({"a": 1, "b": {"c": 2}, "d": [3], "e/f": "x", "g": null, "h": true});
        assert_eq!(scalars(&payload), pointers(&["/a", "/e~1f", "/g", "/h"]));
        assert_eq!((scalars(&json!(7)), scalars(&json!([7]))), (pointers(&[""]), vec![]));
    }

    #[test]
    fn the_payload_says_how_old_it_is() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_060);
        let timestamp: Pointer = "/at".parse().unwrap();
        let read = |at: Value| {
            Values::default().read(&json!({ "at": at }), &Headers::default(), &[], Some(&timestamp), wall)
        };
        for at in [json!("2023-11-14T22:13:20Z"), json!(1_700_000_000), json!(1.7e9), json!("1700000000")] {
            let age = read(at.clone()).age;
            assert_eq!(age, Some(Age { age: Duration::from_secs(60), source: AgeSource::Payload }), "{at}");
        }
        assert_eq!(read(json!(1_800_000_000)).age.map(|age| age.age), Some(Duration::ZERO));
        assert_eq!(read(json!("soon")).missing, std::slice::from_ref(&timestamp));
    }
}
