//! Arguments after the prefix, for parsers of endpoints.

use crate::escape::Escaped;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::parse_error::{is_near, known};
use super::{ParseError, duration};
use crate::endpoint::grammar::{Part, Piece, split};
use crate::net::zone::{Literal, Zone};
use crate::reactor::literal_address;
use crate::{Error, ListenTcp};

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

/// An argument with its name and position. Its methods convert the value.
#[derive(Clone, Debug)]
pub struct Argument {
    text: Arc<str>,
    name: String,
    value: String,
    position: usize,
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
    pub fn counts(&self, plain: usize) -> bool {
        self.plain.len() >= plain
    }

    /// Returns whether the remaining positional arguments begin with `HOST:PORT` rather than with a
    /// port.
    pub(super) fn starts_with_host(&self) -> bool {
        self.plain.len() >= 2 && self.plain.front().is_some_and(|first| !is_number(&first.text))
    }

    /// Returns whether a port is the only positional argument left, in a place where a host is
    /// required before it.
    pub(super) fn is_port_alone(&self) -> bool {
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
    pub(super) fn required_in<T>(
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
        if let Some(value) = self.optional(name, read)? {
            return Ok(value);
        }
        // The argument may be present but misspelled.
        match self.keyed.iter().find(|(key, _)| is_near(&key.text, name)) {
            Some((key, _)) => {
                let why = format!("{} has no such argument; did you mean {name}?", self.prefix());
                Err(self.wrong(key.position, Some(&key.text), why))
            }
            None => Err(self.missing(name, missing)),
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
        self.take(name, plain, read)
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
        self.take(name, None, read)
    }

    fn take<T>(
        &mut self,
        name: &str,
        mut found: Option<Piece>,
        read: impl Fn(&Argument) -> Result<T, ParseError>,
    ) -> Result<Option<T>, ParseError> {
        self.known.push(name.to_owned());
        while let Some(at) = self.keyed.iter().position(|(key, _)| key.text == name) {
            let (key, value) = self.keyed.remove(at);
            if found.replace(value).is_some() {
                return Err(self.wrong(key.position, Some(name), "it is given twice".to_owned()));
            }
        }
        let Some(piece) = found else { return Ok(None) };
        let argument = Argument {
            text: Arc::clone(&self.text),
            name: name.to_owned(),
            value: piece.text,
            position: piece.position,
        };
        read(&argument).map(Some)
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
    pub(super) fn unknown_prefix<'a>(
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

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Conversions of the value.
impl Argument {
    /// Name of the argument.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value without escapes.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Creates an error about this argument at its position.
    pub fn bad(&self, why: impl Into<String>) -> ParseError {
        ParseError {
            text: self.text.to_string(),
            position: self.position,
            key: Some(self.name.clone()),
            why: why.into(),
        }
    }

    /// Returns the value as text.
    ///
    /// # Errors
    /// The value is empty.
    pub fn text(&self) -> Result<String, ParseError> {
        if self.value.is_empty() { Err(self.bad("it is empty")) } else { Ok(self.value.clone()) }
    }

    /// Parses a decimal number.
    ///
    /// # Errors
    /// - The value has other characters than digits.
    /// - The number does not fit into the type.
    pub fn number<N: FromStr>(&self) -> Result<N, ParseError> {
        let shown = Escaped(&self.value);
        if !is_number(&self.value) {
            return Err(self.bad(format!("\"{shown}\" is not a number")));
        }
        self.value.parse().map_err(|_| self.bad(format!("{shown} is too large")))
    }

    /// Parses a port from 0 to 65535.
    ///
    /// # Errors
    /// The value is not a port.
    pub fn port(&self) -> Result<u16, ParseError> {
        if !is_number(&self.value) && self.ip().is_ok() {
            let address = match self.value.contains(':') && !self.value.starts_with('[') {
                true => format!("[{}]", self.value),
                false => self.value.clone(),
            };
            return Err(self.bad(format!("it is missing; write {address}:PORT")));
        }
        self.number()
    }

    /// Parses the port of a peer, from 1 to 65535.
    ///
    /// # Errors
    /// The value is not a port or is 0.
    pub fn port_of_peer(&self) -> Result<u16, ParseError> {
        match self.port()? {
            0 => Err(self.bad("port 0 cannot be connected to")),
            port => Ok(port),
        }
    }

    /// Parses octal file permissions, such as `660` or `0660`, up to 777.
    ///
    /// # Errors
    /// The value is not such a number.
    pub fn mode(&self) -> Result<u32, ParseError> {
        let octal = (1..=4).contains(&self.value.len())
            && self.value.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        match u32::from_str_radix(&self.value, 8) {
            Ok(mode @ 0..=0o777) if octal => Ok(mode),
            _ => Err(self.bad("a mode is octal, 000 to 777")),
        }
    }

    /// Parses a time in seconds (`5`, `0.25`) or with units (`250ms`, `1h30m`: ns, us, ms, s, m, h,
    /// d). The limit is 366 days.
    ///
    /// # Errors
    /// The value is not such a time.
    pub fn seconds(&self) -> Result<Duration, ParseError> {
        duration::parse(&self.value).map_err(|why| self.bad(why))
    }

    /// Parses a time greater than zero, for limits that must not expire at once. See
    /// [`seconds`](Argument::seconds).
    ///
    /// # Errors
    /// The value is not such a time.
    pub fn positive_seconds(&self) -> Result<Duration, ParseError> {
        match self.seconds()? {
            Duration::ZERO => Err(self.bad("it must be greater than 0")),
            time => Ok(time),
        }
    }

    /// Parses a flag: `yes` or `no`, and also `true`, `false`, `1`, `0`, `on` or `off`.
    ///
    /// # Errors
    /// The value is none of these.
    pub fn flag(&self) -> Result<bool, ParseError> {
        match self.value.as_str() {
            "yes" | "true" | "1" | "on" => Ok(true),
            "no" | "false" | "0" | "off" => Ok(false),
            _ => Err(self.bad("it is either yes or no")),
        }
    }

    /// Parses an IP address without a zone. IPv6 may have brackets, and `localhost` is 127.0.0.1.
    ///
    /// # Errors
    /// The value is not an IP address, or has a zone.
    pub fn ip(&self) -> Result<IpAddr, ParseError> {
        match Literal::read(self.without_brackets()) {
            Some(Ok(Literal::Ip(address))) => Ok(address),
            Some(Ok(Literal::Zoned(address, Zone::Index(0)))) => Ok(address.into()),
            Some(Ok(Literal::Zoned(..))) => Err(self.bad("the address must not have a zone")),
            _ => self.socket_address(0).map(|address| address.ip()),
        }
    }

    fn without_brackets(&self) -> &str {
        let inner = self.value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        inner.unwrap_or(&self.value)
    }

    /// Parses an IP address, as [`Argument::ip`] does, and combines it with a separate port.
    ///
    /// A zone is the number of an interface (`fe80::1%2`) or its name (`fe80::1%eth0`). Named
    /// interfaces must exist when the text is parsed. A link-local address needs a zone.
    ///
    /// # Errors
    /// - The value is not an IP address.
    /// - The interface does not exist.
    /// - A link-local address has no zone.
    pub fn socket_address(&self, port: u16) -> Result<SocketAddr, ParseError> {
        if self.value == "localhost" {
            return Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        }
        match literal_address(self.without_brackets(), port) {
            Some(Ok(address)) => Ok(address),
            Some(Err(zone)) => Err(self.bad(format!("\"{}\": {zone}", Escaped(&self.value)))),
            None => Err(self.bad(format!("\"{}\" is not an IP address", Escaped(&self.value)))),
        }
    }

    /// Parses a local address: an IP address with or without a port. Without a port, the kernel
    /// chooses it.
    ///
    /// # Errors
    /// The value is not such an address.
    pub fn local_address(&self) -> Result<SocketAddr, ParseError> {
        match self.value.parse::<ListenTcp>() {
            Ok(listen) => Ok(listen.address),
            Err(Error::BadAddress(wrong)) if self.value.starts_with('[') && !self.value.ends_with(']') => {
                Err(self.bad(wrong.why))
            }
            Err(_) => self.socket_address(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<T>(value: &str, read: impl Fn(&Argument) -> Result<T, ParseError>) -> Result<T, String> {
        let mut arguments = Arguments::of(&format!("x:k={value}")).unwrap();
        arguments.key("k", read).map(Option::unwrap).map_err(|error| {
            assert_eq!((error.key.as_deref(), error.position), (Some("k"), 4));
            error.why
        })
    }

    #[test]
    fn values_are_read() {
        assert_eq!(value("65535", Argument::port), Ok(65535));
        assert_eq!(value("660", Argument::mode), Ok(0o660));
        assert_eq!(value("0777", Argument::mode), Ok(0o777));
        for (text, millis) in
            [("5", 5000), ("0.25", 250), ("250ms", 250), ("5s", 5000), ("2m", 120_000), ("0", 0)]
        {
            assert_eq!(value(text, Argument::seconds), Ok(Duration::from_millis(millis)));
        }
        assert_eq!((value("yes", Argument::flag), value("0", Argument::flag)), (Ok(true), Ok(false)));
        for text in ["::1", "[::1]"] {
            assert_eq!(value(text, Argument::ip), Ok("::1".parse().unwrap()));
        }
        let scoped = value("fe80::1%2", |argument| argument.socket_address(80));
        assert_eq!(scoped, Ok("[fe80::1%2]:80".parse().unwrap()));
        assert!(value("fe80::1%2", Argument::ip).is_err());
        assert_eq!(value("fe80::1", Argument::ip), Ok("fe80::1".parse().unwrap()));
        let missing = "\"fe80::1\": a link-local address needs a zone, such as fe80::1%eth0";
        assert_eq!(value("fe80::1", Argument::local_address), Err(missing.to_owned()));
        let local = |text: &str| value(text, Argument::local_address).map(|address| address.to_string());
        assert_eq!(local(r"\[fe80\:\:1%2]\:80"), Ok("[fe80::1%2]:80".to_owned()));
        assert_eq!(local("[fe80::1%2]"), Ok("[fe80::1%2]:0".to_owned()));
        let unknown = "this machine has no interface of that name";
        assert_eq!(local(r"\[fe80\:\:1%no_such_if]\:80"), Err(unknown.to_owned()));
        assert_eq!(local("[fe80::1%no_such_if]"), Err(format!("\"[fe80::1%no_such_if]\": {unknown}")));
        assert_eq!(value("a=b", Argument::text), Ok("a=b".to_owned()));
    }

    #[test]
    fn bad_values_are_named() {
        for (text, why) in
            [("", "\"\" is not a number"), ("+1", "\"+1\" is not a number"), ("65536", "65536 is too large")]
        {
            assert_eq!(value(text, Argument::port), Err(why.to_owned()));
        }
        for (text, address) in [("127.0.0.1", "127.0.0.1"), ("[::1]", "[::1]"), ("::1", "[::1]")] {
            assert_eq!(value(text, Argument::port), Err(format!("it is missing; write {address}:PORT")));
        }
        for text in ["", "8", "1000", "00660", "rw", "-1", "+66"] {
            assert!(value(text, Argument::mode).is_err(), "{text}");
        }
        for text in ["", "s", "-1", "+1", "inf", "NaN", "1w", "5 s", "1e9", "1e300", "99999999999"] {
            assert!(value(text, Argument::seconds).is_err(), "{text}");
        }
        for text in ["", "host", "1.2.3", "::1%eth", "[::1", "127.0.0.1:80"] {
            assert!(value(text, Argument::ip).is_err(), "{text}");
        }
        assert!(value("", Argument::text).is_err() && value("maybe", Argument::flag).is_err());
    }

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
