//! Arguments after the prefix, for parsers of endpoints.

use crate::escape::Escaped;
use std::collections::VecDeque;
use std::sync::Arc;

use super::ParseError;
use super::argument::{Argument, is_number};
use super::grammar::{Part, Piece, split};
use super::parse_error::{is_near, known};

/// Arguments of an endpoint's text.
///
/// A parser takes each argument once, by name. Arguments that are given twice or are not taken are
/// errors.
///
/// ```
/// use twistor::endpoint::{Argument, Arguments};
///
/// let mut arguments = Arguments::of("onion:example:80:circuit=7")?;
/// assert_eq!(arguments.prefix(), "onion");
/// assert_eq!(arguments.required("host", Argument::text)?, "example");
/// assert_eq!(arguments.required("port", Argument::port)?, 80);
/// assert_eq!(arguments.key("circuit", Argument::number::<u32>)?, Some(7));
/// assert_eq!(arguments.key("timeout", Argument::seconds)?, None);
/// arguments.finish()?;
/// # Ok::<(), twistor::endpoint::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Arguments {
    /// The whole text, for error messages.
    text: Arc<str>,
    prefix: Piece,
    /// Positional arguments, in order.
    plain: VecDeque<Piece>,
    keyed: Vec<(Piece, Piece)>,
    /// Names of all arguments that the parser asked for.
    known: Vec<String>,
}

impl Arguments {
    /// Splits a text into arguments.
    ///
    /// # Errors
    /// - The text ends with an unescaped backslash.
    /// - The text begins with a key.
    pub fn of(text: &str) -> Result<Arguments, ParseError> {
        Arguments::from_parts(text.into(), split(text)?, Vec::new())
    }

    fn from_parts(
        text: Arc<str>,
        parts: impl IntoIterator<Item = Part>,
        known: Vec<String>,
    ) -> Result<Arguments, ParseError> {
        let mut plain = VecDeque::new();
        let mut keyed = Vec::new();
        for part in parts {
            match part {
                Part::Plain(piece) => plain.push_back(piece),
                Part::Keyed { key, value } => keyed.push((key, value)),
            }
        }
        let position = keyed.first().map_or(text.len(), |(key, _)| key.position);
        match plain.pop_front() {
            Some(prefix) => Ok(Arguments { text, prefix, plain, keyed, known }),
            None => Err(ParseError {
                text: text.to_string(),
                position,
                key: None,
                why: "the kind of endpoint is missing".to_owned(),
            }),
        }
    }

    /// The kind of endpoint, with which the text begins.
    pub fn prefix(&self) -> &str {
        &self.prefix.text
    }

    /// Returns whether an argument with the key `name` is left.
    pub fn has(&self, name: &str) -> bool {
        self.keyed.iter().any(|(key, _)| key.text == name)
    }

    /// Returns whether at least `plain` positional arguments are left.
    pub(in crate::endpoint) fn counts(&self, plain: usize) -> bool {
        self.plain.len() >= plain
    }

    /// Returns whether the remaining positional arguments begin with `HOST:PORT` rather than with a
    /// port.
    pub(in crate::endpoint) fn starts_with_host(&self) -> bool {
        self.plain.len() >= 2 && self.plain.front().is_some_and(|first| !is_number(&first.text))
    }

    /// Returns whether a port is the only positional argument left, in a place where a host is
    /// required before it.
    pub(in crate::endpoint) fn is_port_alone(&self) -> bool {
        self.plain.len() == 1 && !self.has("port") && self.plain.iter().all(|first| is_number(&first.text))
    }

    /// Takes the next positional argument, or the argument with the key `name`, and converts it
    /// with `read`.
    ///
    /// # Errors
    /// - The argument is missing.
    /// - The argument is given twice.
    /// - `read` fails.
    pub fn required<T>(
        &mut self,
        name: &str,
        read: impl Fn(&Argument) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        self.required_as(name, "it is missing", read)
    }

    /// Like [`required`](Arguments::required), but the error for a missing argument shows the form
    /// to write.
    pub(in crate::endpoint) fn required_in<T>(
        &mut self,
        form: &str,
        name: &str,
        read: impl Fn(&Argument) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        self.required_as(name, &format!("it is missing; write {form}"), read)
    }

    fn required_as<T>(
        &mut self,
        name: &str,
        missing: &str,
        read: impl Fn(&Argument) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        self.optional(name, read)?.ok_or_else(|| self.missing_or_misspelled(name, missing))
    }

    fn missing_or_misspelled(&self, name: &str, missing: &str) -> ParseError {
        match self.keyed.iter().find(|(key, _)| is_near(&key.text, name)) {
            Some((key, _)) => {
                let why = format!("{} has no such argument; did you mean {name}?", self.prefix());
                self.wrong(key.position, Some(&key.text), why)
            }
            None => self.missing(name, missing),
        }
    }

    /// Takes the next positional argument, or the argument with the key `name`, if there is one.
    ///
    /// # Errors
    /// - The argument is given twice.
    /// - `read` fails.
    pub fn optional<T>(
        &mut self,
        name: &str,
        read: impl Fn(&Argument) -> Result<T, ParseError>,
    ) -> Result<Option<T>, ParseError> {
        let plain = self.plain.pop_front();
        self.take(name, plain)?.map(|argument| read(&argument)).transpose()
    }

    /// Takes the argument with the key `name`, if there is one.
    ///
    /// # Errors
    /// - The argument is given twice.
    /// - `read` fails.
    pub fn key<T>(
        &mut self,
        name: &str,
        read: impl Fn(&Argument) -> Result<T, ParseError>,
    ) -> Result<Option<T>, ParseError> {
        self.take(name, None)?.map(|argument| read(&argument)).transpose()
    }

    /// Takes all arguments with the key `name`, in their order.
    ///
    /// # Errors
    /// `read` fails.
    pub fn keys<T>(
        &mut self,
        name: &str,
        read: impl Fn(&Argument) -> Result<T, ParseError>,
    ) -> Result<Vec<T>, ParseError> {
        self.known.push(name.to_owned());
        let (taken, left) =
            std::mem::take(&mut self.keyed).into_iter().partition(|(key, _)| key.text == name);
        self.keyed = left;
        let taken: Vec<(Piece, Piece)> = taken;
        taken.into_iter().map(|(_, value)| read(&self.argument(name, value))).collect()
    }

    fn argument(&self, name: &str, value: Piece) -> Argument {
        let Piece { text: value, position } = value;
        Argument { text: Arc::clone(&self.text), name: name.to_owned(), value, position }
    }

    fn take(&mut self, name: &str, mut found: Option<Piece>) -> Result<Option<Argument>, ParseError> {
        self.known.push(name.to_owned());
        while let Some(at) = self.keyed.iter().position(|(key, _)| key.text == name) {
            let (key, value) = self.keyed.remove(at);
            if found.replace(value).is_some() {
                return Err(self.wrong(key.position, Some(name), "it is given twice".to_owned()));
            }
        }
        let Some(piece) = found else { return Ok(None) };
        Ok(Some(self.argument(name, piece)))
    }

    /// Takes all remaining arguments as an endpoint of its own, for endpoints that wrap another
    /// (`haproxy:tcp:80`). The wrapper must take its own arguments first.
    ///
    /// # Errors
    /// The remaining arguments do not begin with a kind of endpoint.
    pub fn nested(&mut self) -> Result<Arguments, ParseError> {
        let plain = std::mem::take(&mut self.plain).into_iter().map(Part::Plain);
        let keyed =
            std::mem::take(&mut self.keyed).into_iter().map(|(key, value)| Part::Keyed { key, value });
        Arguments::from_parts(Arc::clone(&self.text), plain.chain(keyed), self.known.clone())
    }

    /// Takes all remaining arguments as an endpoint of its own, like [`nested`](Arguments::nested).
    /// Its kind may be left out before a port, or a host and a port: then it is `usual`. `is_kind`
    /// returns whether a word is a kind of endpoint.
    ///
    /// # Errors
    /// No positional argument is left.
    pub fn nested_in(
        &mut self,
        usual: &str,
        is_kind: impl Fn(&str) -> bool,
    ) -> Result<Arguments, ParseError> {
        let is_short = |first: &Piece| match self.plain.get(1) {
            _ if is_kind(&first.text) => false,
            None => !first.text.is_empty(),
            Some(_) if first.text.starts_with('[') => true,
            Some(second) => self.plain.len() == 2 && is_number(&second.text),
        };
        if let Some(first) = self.plain.front().filter(|first| is_short(first)) {
            self.plain.push_front(Piece { text: usual.to_owned(), position: first.position });
        }
        self.nested()
    }

    /// Checks that all arguments were taken.
    ///
    /// # Errors
    /// Names the first argument that was not taken, and the known names.
    pub fn finish(&self) -> Result<(), ParseError> {
        if let Some(surplus) = self.plain.front() {
            let why = format!("\"{}\" is one argument too many", Escaped(&surplus.text));
            return Err(self.wrong(surplus.position, None, why));
        }
        self.keyed.first().map_or(Ok(()), |(key, _)| Err(self.unknown(key)))
    }

    /// Creates an error about the whole text, for example about two arguments that exclude each
    /// other.
    pub fn bad(&self, why: impl Into<String>) -> ParseError {
        self.wrong(self.prefix.position, None, why.into())
    }

    /// Creates an error about a missing argument. Its position is the end of the text.
    pub fn missing(&self, name: &str, why: impl Into<String>) -> ParseError {
        self.wrong(self.text.len(), Some(name), why.into())
    }

    fn unknown(&self, key: &Piece) -> ParseError {
        let why = format!("{} has no such argument; {}", self.prefix(), known(&key.text, self.names()));
        self.wrong(key.position, Some(&key.text), why)
    }

    fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.known.iter().map(String::as_str)
    }

    /// Creates an error about a prefix that is not in `prefixes`. `instead` names the kind of
    /// endpoint that it is.
    pub(in crate::endpoint) fn unknown_prefix<'a>(
        &self,
        prefixes: impl Iterator<Item = &'a str> + Clone,
        instead: Option<&str>,
    ) -> ParseError {
        let problem = match (self.text.is_empty(), self.prefix(), instead) {
            (true, ..) => "it is empty",
            (_, "", _) => "the kind of endpoint is missing",
            (_, _, Some(instead)) => instead,
            _ => "there is no such kind of endpoint",
        };
        let why = format!("{problem}; {}", known(self.prefix(), prefixes));
        self.wrong(self.prefix.position, Some(self.prefix()), why)
    }

    fn wrong(&self, position: usize, key: Option<&str>, why: String) -> ParseError {
        ParseError { text: self.text.to_string(), position, key: key.map(str::to_owned), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_taken_once_each() {
        let parsed = |text: &str| -> Result<(u16, Option<String>), ParseError> {
            let mut arguments = Arguments::of(text)?;
            let port = arguments.required("port", Argument::port)?;
            let host = arguments.optional("host", Argument::text)?;
            arguments.finish()?;
            Ok((port, host))
        };
        for text in ["x:1:h", "x:1:host=h", "x:port=1:host=h", "x:host=h:port=1"] {
            assert_eq!(parsed(text), Ok((1, Some("h".to_owned()))), "{text}");
        }
        for (text, position, key, why) in [
            ("x", 1, Some("port"), "it is missing"),
            ("x:1:port=2", 4, Some("port"), "it is given twice"),
            ("x:port=1:port=2", 9, Some("port"), "it is given twice"),
            ("x:1:h:more", 6, None, "\"more\" is one argument too many"),
            ("x:1:zzz=2", 4, Some("zzz"), "x has no such argument; known are: port, host"),
            ("x:prot=1", 2, Some("prot"), "x has no such argument; did you mean port?"),
            ("k=v", 0, None, "the kind of endpoint is missing"),
        ] {
            let error =
                ParseError { text: text.into(), position, key: key.map(str::to_owned), why: why.into() };
            assert_eq!(parsed(text), Err(error));
        }
    }

    #[test]
    fn a_usual_kind_is_left_out_before_host_and_port() {
        let nested = |text: &str| {
            let inner = Arguments::of(text).unwrap().nested_in("tcp", |kind| kind == "unix");
            inner.map(|inner| (inner.prefix().to_owned(), inner.plain.len()))
        };
        for (text, kind, plain) in [
            ("w:443", "tcp", 1),
            ("w:h:443", "tcp", 2),
            ("w:h", "tcp", 1),
            ("w:[::1]:443", "tcp", 2),
            ("w:unix:/run/x", "unix", 1),
            // Perhaps a misspelt kind: it is looked up, and named in the error.
            ("w:unxi:/run/x", "unxi", 1),
            ("w:tpc:h:443", "tpc", 2),
        ] {
            assert_eq!(nested(text), Ok((kind.to_owned(), plain)), "{text}");
        }
        assert_eq!(nested("w:k=v").unwrap_err().why, "the kind of endpoint is missing");
    }

    #[test]
    fn a_key_can_have_several_values() {
        let mut arguments = Arguments::of("x:1:pin=a:other=b:pin=c:d").unwrap();
        assert_eq!(arguments.keys("pin", Argument::text), Ok(vec!["a".to_owned(), "c:d".to_owned()]));
        assert!(arguments.has("other") && !arguments.has("pin"));
        let error = arguments.key("other", Argument::port).unwrap_err();
        assert_eq!(error.position, 16);
    }

    #[test]
    fn what_is_left_is_an_endpoint_of_its_own() {
        let mut outer = Arguments::of("proxy:tcp:80:allow=x:backlog=5").unwrap();
        assert_eq!(outer.key("allow", Argument::text).unwrap().as_deref(), Some("x"));
        let mut inner = outer.nested().unwrap();
        assert_eq!((inner.prefix(), outer.finish()), ("tcp", Ok(())));
        assert_eq!(inner.required("port", Argument::port), Ok(80));
        let error = inner.finish().unwrap_err();
        assert_eq!((error.position, error.key.as_deref()), (21, Some("backlog")));
        let error = Arguments::of("proxy:a=1").unwrap().nested().unwrap_err();
        assert_eq!((error.position, error.text.as_str()), (6, "proxy:a=1"));
    }
}
