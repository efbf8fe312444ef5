//! Extraction of chosen values from a JSON text, without parsing the rest into a tree.
//!
//! A text is walked level by level. In each object and array only the members on the path of a
//! pointer are examined. Everything else is validated, skipped and not stored, so that memory is
//! bounded by [`PayloadLimits`].

mod problem;

pub(super) use self::problem::PayloadError;
pub use self::problem::Problem;
use super::feed::Pointer;
use super::reading::Value;
use crate::escape::Escaped;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// Limits on the depth of a payload and on the values kept. A value at the limit is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadLimits {
    /// Maximum nesting of objects and arrays. A deeper payload is refused. Default: 128.
    pub depth: usize,
    /// Maximum number of members of the outermost object that are chosen without fields. They fit
    /// into a line. Default: 6.
    pub members: usize,
    /// Maximum length in bytes of a member's name that is chosen without fields. Default: 256.
    pub name: usize,
    /// Maximum length in bytes of the text of one value. A longer value is not read. Default: 64
    /// KiB.
    pub value: usize,
    /// Maximum length in bytes of the text of all values of a reading. Further values are not read.
    /// Default: 1 MiB.
    pub total: usize,
}

impl Default for PayloadLimits {
    fn default() -> PayloadLimits {
        PayloadLimits { depth: 128, members: 6, name: 256, value: 64 << 10, total: 1 << 20 }
    }
}

/// A payload that is valid JSON and within the depth limit.
#[derive(Clone, Copy)]
pub(super) struct Payload<'a>(&'a str);

/// The text of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found<'a> {
    pub(super) text: &'a str,
    /// Whether a name on the path occurred more than once.
    pub(super) repeated: bool,
}

/// Values chosen without fields.
type Chosen<'a> = Vec<(Pointer, Found<'a>)>;

impl<'a> Payload<'a> {
    /// Validates the whole text without storing any of it.
    pub(super) fn check(text: &'a str, limits: &PayloadLimits) -> Result<Payload<'a>, PayloadError> {
        if depth(text) > limits.depth {
            return Err(PayloadError::Depth(limits.depth));
        }
        let raw: &RawValue =
            serde_json::from_str(text).map_err(|error| PayloadError::Json(error.to_string()))?;
        Ok(Payload(raw.get()))
    }

    /// Returns the texts of the values at these pointers, `None` where there is no value.
    pub(super) fn find(self, pointers: &[&Pointer]) -> Vec<Option<Found<'a>>> {
        let tokens: Vec<Vec<String>> = pointers.iter().map(|pointer| pointer.tokens().collect()).collect();
        let wanted = tokens.iter().enumerate().map(|(index, tokens)| (index, tokens.as_slice())).collect();
        let mut found = vec![None; pointers.len()];
        walk(Found { text: self.0, repeated: false }, wanted, &mut found);
        found
    }

    /// Returns the members of the outermost object that are neither objects nor arrays, sorted by
    /// name, up to the limit. Also returns the problem of the first name that is too long.
    ///
    /// If the payload is not an object, its value itself is returned. An array has no members to
    /// choose.
    pub(super) fn scalars(self, limits: &PayloadLimits) -> (Chosen<'a>, Option<(Pointer, Problem)>) {
        match self.0.as_bytes().first() {
            Some(b'{') => {}
            Some(b'[') | None => return (Vec::new(), None),
            Some(_) => return (vec![(Pointer::default(), Found { text: self.0, repeated: false })], None),
        }
        let mut scalars = Scalars { limits, chosen: BTreeMap::new(), too_long: None };
        // The text was validated, so the only errors left are wrong types, which have no members.
        let _ = serde_json::Deserializer::from_str(self.0).deserialize_map(&mut scalars);
        let chosen = scalars.chosen.into_iter().map(|(name, found)| (Pointer::to_member(&name), found));
        let too_long = scalars.too_long.map(|(name, bytes)| {
            (Pointer::to_member(&name), Problem::NameTooLong { bytes, limit: limits.name })
        });
        (chosen.collect(), too_long)
    }
}

/// Parses the texts of values, up to the limits.
pub(super) struct ValueReader<'a> {
    limits: &'a PayloadLimits,
    kept: usize,
}

impl ValueReader<'_> {
    pub(super) fn new(limits: &PayloadLimits) -> ValueReader<'_> {
        ValueReader { limits, kept: 0 }
    }

    pub(super) fn value(&mut self, text: &str) -> Result<Value, Problem> {
        if text.len() > self.limits.value {
            return Err(Problem::ValueTooLong { bytes: text.len(), limit: self.limits.value });
        }
        if self.kept + text.len() > self.limits.total {
            return Err(Problem::TotalTooLong(self.limits.total));
        }
        self.kept += text.len();
        serde_json::from_str(text).map_err(|error| match text.as_bytes().first() {
            Some(b'-' | b'0'..=b'9') => Problem::OutOfRange(beginning(text)),
            _ => Problem::Unreadable(error.to_string()),
        })
    }
}

/// Returns the first characters of a value, for error texts.
pub(super) fn beginning(text: &str) -> String {
    match text.chars().count() {
        ..=EXCERPT => text.to_owned(),
        _ => format!("{:.EXCERPT$}…", Escaped(text)),
    }
}

const EXCERPT: usize = 40;

/// Returns the maximum nesting of objects and arrays. The text need not be JSON.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(byte) = bytes.next().filter(|byte| *byte != b'"') {
                    if byte == b'\\' {
                        bytes.next();
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

/// Follows the wanted tokens (each with the index of its pointer) from this value, and stores the
/// values found. The recursion is at most as deep as the text.
fn walk<'a>(here: Found<'a>, wanted: Vec<(usize, &[String])>, found: &mut [Option<Found<'a>>]) {
    let mut below: BTreeMap<&str, Vec<(usize, &[String])>> = BTreeMap::new();
    for (index, tokens) in wanted {
        match tokens.split_first() {
            None => found[index] = Some(here),
            Some((token, rest)) => below.entry(token).or_default().push((index, rest)),
        }
    }
    if below.is_empty() || !here.text.starts_with(['{', '[']) {
        return;
    }
    let mut level = Level { tokens: below.keys().copied().collect(), found: vec![None; below.len()] };
    // The text was validated, so the only errors left are wrong types, which have no members.
    let _ = serde_json::Deserializer::from_str(here.text).deserialize_any(&mut level);
    for (member, wanted) in level.found.into_iter().zip(below.into_values()) {
        if let Some(Found { text, repeated }) = member {
            walk(Found { text, repeated: repeated || here.repeated }, wanted, found);
        }
    }
}

/// The members of one object or array with these names or indexes.
struct Level<'a, 't> {
    /// Sorted.
    tokens: Vec<&'t str>,
    found: Vec<Option<Found<'a>>>,
}

impl<'a> Visitor<'a> for &mut Level<'a, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(index) = map.next_key_seed(Name(|name: &[u8]| {
            self.tokens.binary_search_by(|token| token.as_bytes().cmp(name)).ok()
        }))? {
            match index.and_then(|index| self.found.get_mut(index)) {
                Some(found) => {
                    let text = map.next_value::<&RawValue>()?.get();
                    *found = Some(Found { text, repeated: found.is_some() });
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut wanted: Vec<(usize, usize)> = self
            .tokens
            .iter()
            .enumerate()
            .filter_map(|(index, token)| Some((place(token)?, index)))
            .collect();
        wanted.sort_unstable();
        let mut wanted = wanted.into_iter().peekable();
        for number in 0.. {
            match wanted.next_if(|(place, _)| *place == number) {
                Some((_, index)) => {
                    let Some(text) = elements.next_element::<&RawValue>()? else { break };
                    if let Some(found) = self.found.get_mut(index) {
                        *found = Some(Found { text: text.get(), repeated: false });
                    }
                }
                // The rest was validated with the whole text.
                None if wanted.peek().is_none() => break,
                None => {
                    if elements.next_element::<IgnoredAny>()?.is_none() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Parses a token as an array index (RFC 6901, 4: no leading zeros).
fn place(token: &str) -> Option<usize> {
    let digits = token.bytes().all(|byte| byte.is_ascii_digit());
    let leading = token.len() > 1 && token.starts_with('0');
    token.parse().ok().filter(|_| digits && !leading)
}

/// The members of an object that are neither objects nor arrays.
struct Scalars<'a, 'l> {
    limits: &'l PayloadLimits,
    chosen: BTreeMap<String, Found<'a>>,
    /// The first characters of the first name that is too long, and its length in bytes.
    too_long: Option<(String, usize)>,
}

impl<'a> Visitor<'a> for &mut Scalars<'a, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let limit = self.limits.name;
        while let Some((name, bytes)) = map.next_key_seed(Name(|name: &[u8]| {
            // A name with half a surrogate pair is not text, and no pointer can match it.
            let kept = if name.len() > limit { &name[..EXCERPT.min(limit)] } else { name };
            let text = match std::str::from_utf8(kept) {
                Ok(text) => Some(text),
                Err(error) if name.len() > limit => std::str::from_utf8(&kept[..error.valid_up_to()]).ok(),
                Err(_) => None,
            };
            (text.map(str::to_owned), name.len())
        }))? {
            let text = map.next_value::<&RawValue>()?.get();
            let Some(name) = name else { continue };
            if text.starts_with(['{', '[']) {
                self.chosen.remove(&name);
            } else if bytes > limit {
                self.too_long.get_or_insert((format!("{name}…"), bytes));
            } else {
                let repeated = self.chosen.contains_key(&name);
                self.chosen.insert(name, Found { text, repeated });
                if self.chosen.len() > self.limits.members {
                    self.chosen.pop_last();
                }
            }
        }
        Ok(())
    }
}

/// A member's name, passed to a function. Its bytes are UTF-8 unless it has half a surrogate pair.
struct Name<F>(F);

impl<'a, F: FnOnce(&[u8]) -> T, T> DeserializeSeed<'a> for Name<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'a>>(self, name: D) -> Result<T, D::Error> {
        name.deserialize_bytes(self)
    }
}

impl<'a, F: FnOnce(&[u8]) -> T, T> Visitor<'a> for Name<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_bytes<E: serde::de::Error>(self, name: &[u8]) -> Result<T, E> {
        Ok((self.0)(name))
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<T, E> {
        Ok((self.0)(name.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Payload<'_>, PayloadError> {
        Payload::check(text, &PayloadLimits::default())
    }

    fn find<'a>(text: &'a str, pointers: &[&str]) -> Vec<Option<&'a str>> {
        let pointers: Vec<Pointer> = pointers.iter().map(|text| text.parse().unwrap()).collect();
        let pointers: Vec<&Pointer> = pointers.iter().collect();
        check(text).unwrap().find(&pointers).into_iter().map(|found| found.map(|found| found.text)).collect()
    }

    #[test]
    fn pointers_lead_through_objects_and_arrays() {
        let text = r#" {"list": [1, {"x": [7]}, 2, {"x": "three"}], "a/b": {"m~n": null}, "": {"": 0}} "#;
        let pointers = [
            "/list/3/x",
            "/list/1/x/0",
            "/list/1",
            "/list/0",
            "/a~1b/m~0n",
            "//",
            "/list/4",
            "/list/01",
            "/list/-",
        ];
        let found = find(text, &pointers);
        let expected = [
            Some("\"three\""),
            Some("7"),
            Some("{\"x\": [7]}"),
            Some("1"),
            Some("null"),
            Some("0"),
            None,
            None,
            None,
        ];
        assert_eq!(found, expected);
        assert_eq!(find(" [1] ", &["", "/0", "/0/x"]), [Some("[1]"), Some("1"), None]);
        assert_eq!(find("7", &["", "/a"]), [Some("7"), None]);
        // Names are compared after unescaping.
        assert_eq!(find(r#"{"\u0061\"": 1}"#, &["/a\""]), [Some("1")]);
    }

    #[test]
    fn what_is_not_chosen_costs_its_own_member_alone() {
        for other in ["1e400", r#""\ud800""#, "-0.0e-999", "[[[[1e999]]]]"] {
            let text = format!(r#"{{"other": {other}, "\udead": 1, "a": {{"b": 2}}}}"#);
            assert_eq!(find(&text, &["/a/b"]), [Some("2")], "{other}");
            let (scalars, _) = check(&text).unwrap().scalars(&PayloadLimits::default());
            assert!(scalars.len() <= 1, "{scalars:?}");
        }
    }

    #[test]
    fn the_last_of_several_equal_names_counts_and_is_told() {
        let text = r#"{"a": {"x": 1}, "b": 1, "a": {"y": 2}}"#;
        let pointers: Vec<Pointer> = ["/a/x", "/a/y", "/b"].map(|text| text.parse().unwrap()).into();
        let found = check(text).unwrap().find(&pointers.iter().collect::<Vec<_>>());
        let expected = [None, Some(("2", true)), Some(("1", false))];
        assert_eq!(
            found.iter().map(|found| found.map(|f| (f.text, f.repeated))).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn an_object_takes_the_place_of_an_earlier_scalar() {
        let names = |text: &str| {
            let (chosen, problem) = check(text).unwrap().scalars(&PayloadLimits::default());
            assert_eq!(problem, None);
            chosen.iter().map(|(pointer, _)| pointer.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(r#"{"a": 1, "b": 2, "a": {"c": 3}}"#), ["/b"]);
        assert_eq!(names(r#"{"a": {"c": 3}, "b": 2, "a": 1}"#), ["/a", "/b"]);
    }

    #[test]
    fn the_limit_of_a_name_holds_at_its_edge() {
        for (length, accepted) in [(255, true), (256, true), (257, false)] {
            let text = format!("{{\"{}\": 1}}", "n".repeat(length));
            let (chosen, problem) = check(&text).unwrap().scalars(&PayloadLimits::default());
            assert_eq!((chosen.len() == 1, problem.is_none()), (accepted, accepted), "{length}");
        }
    }

    #[test]
    fn the_depth_limit_is_exact_and_ignores_brackets_in_strings() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(check(&nested(128)).is_ok());
        assert_eq!(check(&nested(129)).err(), Some(PayloadError::Depth(128)));
        assert_eq!(check(&nested(1_000_000)).err(), Some(PayloadError::Depth(128)));
        assert!(check(&format!("{{\"{}\\\"\": {}}}", "[".repeat(500), nested(127))).is_ok());
        assert!(check(&format!("{{\"\\\"{}\": {}}}", "[".repeat(500), nested(127))).is_ok());
        // Neither JSON nor too deep.
        assert!(matches!(check("[1"), Err(PayloadError::Json(_))));
        assert!(matches!(check("]]]"), Err(PayloadError::Json(_))));
    }

    #[test]
    fn what_is_kept_of_a_payload_does_not_grow_with_it() {
        let text = format!("[{}{{\"a\":1}}]", "{\"a\":0},".repeat(100_000));
        let pointer: Pointer = "/100000/a".parse().unwrap();
        let found = check(&text).unwrap().find(&[&pointer]);
        // The results are slices of the text, not copies.
        assert_eq!(found, [Some(Found { text: "1", repeated: false })]);
        let limits = PayloadLimits::default();
        let names: String = (0..1000).map(|number| format!("\"{number:0>300}\": 1, ")).collect();
        let text = format!("{{{names} \"z\": 1, \"y\": 1}}");
        let (chosen, problem) = check(&text).unwrap().scalars(&limits);
        assert_eq!(chosen.iter().map(|(pointer, _)| pointer.as_str()).collect::<Vec<_>>(), ["/y", "/z"]);
        let (pointer, problem) = problem.unwrap();
        assert_eq!(
            (pointer.as_str().chars().count(), problem),
            (42, Problem::NameTooLong { bytes: 300, limit: 256 })
        );
    }

    #[test]
    fn each_limit_of_values_holds_at_its_edge() {
        let limits = PayloadLimits { value: 10, total: 25, ..PayloadLimits::default() };
        let mut reader = ValueReader::new(&limits);
        assert_eq!(reader.value("1234567890"), Ok(1_234_567_890.into()));
        let problem = Problem::ValueTooLong { bytes: 11, limit: 10 };
        assert_eq!(reader.value("12345678901"), Err(problem));
        assert_eq!(reader.value("\"abcdefgh\""), Ok("abcdefgh".into()));
        assert_eq!(reader.value("123456"), Err(Problem::TotalTooLong(25)));
        assert_eq!(reader.value("1e400"), Err(Problem::OutOfRange("1e400".into())));
        assert_eq!(ValueReader::new(&limits).value("1e400"), Err(Problem::OutOfRange("1e400".into())));
        assert!(matches!(ValueReader::new(&limits).value("[1e400]"), Err(Problem::Unreadable(_))));
        assert!(matches!(ValueReader::new(&limits).value(r#""\ud800""#), Err(Problem::Unreadable(_))));
    }
}
