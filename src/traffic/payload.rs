//! The chosen values of a JSON text, without a tree of the rest.
//!
//! A text is walked level by level. Of each object and array only the members on the way to a pointer are looked at. Everything
//! else is checked and skipped, and stored nowhere: what is kept is bounded by [`PayloadLimits`], whatever the text holds.

use super::feed::Pointer;
use super::reading::Value;
use crate::escape::Escaped;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// How much of a payload is kept, and how deep it may be nested. At the limit is allowed, one more is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadLimits {
    /// Levels of objects and arrays; a payload with more is refused. Default: 128.
    pub depth: usize,
    /// Without fields: members of the outermost object that are chosen. Default: 6, as many as fit into a line.
    pub members: usize,
    /// Without fields: bytes of a member's name; members with longer ones are not chosen. Default: 256.
    pub name: usize,
    /// Bytes of the text of one value; a longer one is not read. Default: 64 KiB.
    pub value: usize,
    /// Bytes of the text of all values of a reading; what goes beyond is not read. Default: 1 MiB.
    pub total: usize,
}

/// Why a payload is not read at all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayloadError {
    /// It is not JSON; what is wrong where.
    Json(String),
    /// It is nested deeper than this limit ([`PayloadLimits::depth`]).
    Depth(usize),
}

/// What is wrong with one value. The others are read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// It has more bytes than the limit of a value ([`PayloadLimits::value`]).
    ValueTooLong {
        /// Bytes that it has.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The values before it have used up the limit of all of them ([`PayloadLimits::total`]).
    TotalTooLong(usize),
    /// The name has more bytes than the limit of a name ([`PayloadLimits::name`]). Only its beginning is told.
    NameTooLong {
        /// Bytes that it has.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A number that no 64-bit number comes near, such as `1e400`: its text, cut.
    OutOfRange(String),
    /// It is no JSON value after all (half a surrogate pair, say): why.
    Unreadable(String),
    /// Its name, or one on the way to it, comes more than once in an object; the last one counts.
    Repeated,
    /// It was to be a time, and is none: its text, cut.
    NoTime(String),
}

impl Default for PayloadLimits {
    fn default() -> PayloadLimits {
        PayloadLimits { depth: 128, members: 6, name: 256, value: 64 << 10, total: 1 << 20 }
    }
}

impl Problem {
    /// One word for machines: it stays the same from release to release.
    pub fn code(&self) -> &'static str {
        match self {
            Problem::ValueTooLong { .. } => "value_too_long",
            Problem::TotalTooLong(_) => "total_too_long",
            Problem::NameTooLong { .. } => "name_too_long",
            Problem::OutOfRange(_) => "out_of_range",
            Problem::Unreadable(_) => "unreadable",
            Problem::Repeated => "repeated",
            Problem::NoTime(_) => "no_time",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::ValueTooLong { bytes, limit } => {
                write!(f, "has {bytes} bytes, and the limit of a value is {limit}")
            }
            Problem::TotalTooLong(limit) => write!(f, "is beyond the limit of all values, {limit} bytes"),
            Problem::NameTooLong { bytes, limit } => {
                write!(f, "has a name of {bytes} bytes, and the limit of a name is {limit}")
            }
            Problem::OutOfRange(text) => write!(f, "{} is out of the range of a number", Escaped(text)),
            Problem::Unreadable(why) => write!(f, "cannot be read: {}", Escaped(why)),
            Problem::Repeated => f.write_str("comes more than once, the last one counts"),
            Problem::NoTime(text) => write!(f, "{} is no time", Escaped(text)),
        }
    }
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PayloadError::Json(error) => Escaped(error).fmt(f),
            PayloadError::Depth(limit) => {
                write!(f, "nested deeper than {limit} levels, the limit of the depth")
            }
        }
    }
}

impl std::error::Error for PayloadError {}

/// A payload that is JSON, and not too deep.
#[derive(Clone, Copy)]
pub(super) struct Payload<'a>(&'a str);

/// The text of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found<'a> {
    pub(super) text: &'a str,
    /// A name on the way to it came more than once.
    pub(super) repeated: bool,
}

/// Values that were chosen without being asked for.
type Chosen<'a> = Vec<(Pointer, Found<'a>)>;

impl<'a> Payload<'a> {
    /// Checks the whole text. Nothing of it is stored.
    pub(super) fn check(text: &'a str, limits: &PayloadLimits) -> Result<Payload<'a>, PayloadError> {
        if depth(text) > limits.depth {
            return Err(PayloadError::Depth(limits.depth));
        }
        let raw: &RawValue =
            serde_json::from_str(text).map_err(|error| PayloadError::Json(error.to_string()))?;
        Ok(Payload(raw.get()))
    }

    /// The texts of the values that these pointers lead to; `None` where there is nothing.
    pub(super) fn find(self, pointers: &[&Pointer]) -> Vec<Option<Found<'a>>> {
        let tokens: Vec<Vec<String>> = pointers.iter().map(|pointer| pointer.tokens().collect()).collect();
        let wanted = tokens.iter().enumerate().map(|(index, tokens)| (index, tokens.as_slice())).collect();
        let mut found = vec![None; pointers.len()];
        walk(Found { text: self.0, repeated: false }, wanted, &mut found);
        found
    }

    /// The members of the outermost object that are neither objects nor arrays, in the order of their names: as many as the
    /// limit allows, and the problem of the first name that is too long. The value itself, when it is no object; an
    /// array has nothing to choose from.
    pub(super) fn scalars(self, limits: &PayloadLimits) -> (Chosen<'a>, Option<(Pointer, Problem)>) {
        match self.0.as_bytes().first() {
            Some(b'{') => {}
            Some(b'[') | None => return (Vec::new(), None),
            Some(_) => return (vec![(Pointer::default(), Found { text: self.0, repeated: false })], None),
        }
        let mut scalars = Scalars { limits, chosen: BTreeMap::new(), too_long: None };
        // The text was checked: nothing of it can fail but what would be no member.
        let _ = serde_json::Deserializer::from_str(self.0).deserialize_map(&mut scalars);
        let chosen = scalars.chosen.into_iter().map(|(name, found)| (Pointer::to_member(&name), found));
        let too_long = scalars.too_long.map(|(name, bytes)| {
            (Pointer::to_member(&name), Problem::NameTooLong { bytes, limit: limits.name })
        });
        (chosen.collect(), too_long)
    }
}

/// Turns the texts of values into values, up to the limits.
pub(super) struct Keeper<'a> {
    limits: &'a PayloadLimits,
    kept: usize,
}

impl Keeper<'_> {
    pub(super) fn new(limits: &PayloadLimits) -> Keeper<'_> {
        Keeper { limits, kept: 0 }
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

/// The first characters of a value, for people.
pub(super) fn beginning(text: &str) -> String {
    match text.chars().count() {
        ..=TOLD => text.to_owned(),
        _ => format!("{:.TOLD$}…", Escaped(text)),
    }
}

const TOLD: usize = 40;

/// How many objects and arrays stand in each other, at the deepest place. The text need not be JSON.
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

/// Fills in what the wanted tokens (each with the index of its pointer) lead to from here. As deep as the text is, at most.
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
    // The text was checked: nothing of it can fail but what would be no member.
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
                // The rest was checked with the whole.
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

/// The index that a token of a pointer is (RFC 6901, 4: no leading zeros).
fn place(token: &str) -> Option<usize> {
    let digits = token.bytes().all(|byte| byte.is_ascii_digit());
    let leading = token.len() > 1 && token.starts_with('0');
    token.parse().ok().filter(|_| digits && !leading)
}

/// The simple members of an object.
struct Scalars<'a, 'l> {
    limits: &'l PayloadLimits,
    chosen: BTreeMap<String, Found<'a>>,
    /// The beginning of the first name that is too long, and its bytes.
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
            // Half a surrogate pair is no text, and such a name can be no pointer.
            let kept = if name.len() > limit { &name[..TOLD.min(limit)] } else { name };
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

/// A member's name, of which only what a function makes of it is kept. Its bytes are UTF-8 unless it has half a surrogate pair.
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
        // A name is compared as what it says, not as how it is written.
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
        // Not JSON, and not deep either.
        assert!(matches!(check("[1"), Err(PayloadError::Json(_))));
        assert!(matches!(check("]]]"), Err(PayloadError::Json(_))));
    }

    #[test]
    fn what_is_kept_of_a_payload_does_not_grow_with_it() {
        let text = format!("[{}{{\"a\":1}}]", "{\"a\":0},".repeat(100_000));
        let pointer: Pointer = "/100000/a".parse().unwrap();
        let found = check(&text).unwrap().find(&[&pointer]);
        // Slices of the text: nothing of it is copied.
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
        let mut keeper = Keeper::new(&limits);
        assert_eq!(keeper.value("1234567890"), Ok(1_234_567_890.into()));
        let problem = Problem::ValueTooLong { bytes: 11, limit: 10 };
        assert_eq!(keeper.value("12345678901"), Err(problem));
        assert_eq!(keeper.value("\"abcdefgh\""), Ok("abcdefgh".into()));
        assert_eq!(keeper.value("123456"), Err(Problem::TotalTooLong(25)));
        assert_eq!(keeper.value("1e400"), Err(Problem::OutOfRange("1e400".into())));
        assert_eq!(Keeper::new(&limits).value("1e400"), Err(Problem::OutOfRange("1e400".into())));
        assert!(matches!(Keeper::new(&limits).value("[1e400]"), Err(Problem::Unreadable(_))));
        assert!(matches!(Keeper::new(&limits).value(r#""\ud800""#), Err(Problem::Unreadable(_))));
    }
}
