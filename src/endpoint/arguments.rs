//! What stands behind the prefix, for those that make an endpoint of it.

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

/// The arguments of an endpoint's text. Whoever parses takes them by name, each once; what nobody took is an error
/// in the end, and so is what was given twice.
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
    /// All of it, for errors.
    text: Arc<str>,
    prefix: Piece,
    /// Those without a key, in order.
    plain: VecDeque<Piece>,
    keyed: Vec<(Piece, Piece)>,
    /// The names that were asked for.
    known: Vec<String>,
}

/// One argument, with its name and its place: what a reader makes a value of.
#[derive(Clone, Debug)]
pub struct Argument {
    text: Arc<str>,
    name: String,
    value: String,
    position: usize,
}

impl Arguments {
    /// Takes a text apart.
    ///
    /// # Errors
    /// When it ends with a lonely backslash, or begins with a key.
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

    /// What the text begins with: the kind of endpoint.
    pub fn prefix(&self) -> &str {
        &self.prefix.text
    }

    /// Whether there is an argument with the key `name` which nobody took yet.
    pub fn has(&self, name: &str) -> bool {
        self.keyed.iter().any(|(key, _)| key.text == name)
    }

    /// Whether there are so many arguments without a key which nobody took yet, or more.
    pub fn counts(&self, plain: usize) -> bool {
        self.plain.len() >= plain
    }

    /// Whether the arguments without a key that are left begin with `HOST:PORT`, and not with a port.
    pub(super) fn begins_with_host(&self) -> bool {
        self.plain.len() >= 2 && self.plain.front().is_some_and(|first| !is_number(&first.text))
    }

    /// Whether a port is all that is left without a key, where a host has to stand before it.
    pub(super) fn is_port_alone(&self) -> bool {
        self.plain.len() == 1 && !self.has("port") && self.plain.iter().all(|first| is_number(&first.text))
    }

    /// The next argument without a key, or that with the key `name`.
    ///
    /// # Errors
    /// When it is missing, given twice, or `read` does not like it.
    pub fn required<T>(
        &mut self,
        name: &str,
        read: impl Fn(&Argument) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        self.required_as(name, "it is missing", read)
    }

    /// As [`required`](Arguments::required); what is missing is said with the form to write.
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
        // Perhaps it is there, mistyped.
        match self.keyed.iter().find(|(key, _)| is_near(&key.text, name)) {
            Some((key, _)) => {
                let why = format!("{} has no such argument; did you mean {name}?", self.prefix());
                Err(self.wrong(key.position, Some(&key.text), why))
            }
            None => Err(self.missing(name, missing)),
        }
    }

    /// The same, if it is there.
    ///
    /// # Errors
    /// When it is given twice, or `read` does not like it.
    pub fn optional<T>(
        &mut self,
        name: &str,
        read: impl Fn(&Argument) -> Result<T, ParseError>,
    ) -> Result<Option<T>, ParseError> {
        let plain = self.plain.pop_front();
        self.take(name, plain, read)
    }

    /// The argument with the key `name`, if it is there.
    ///
    /// # Errors
    /// When it is given twice, or `read` does not like it.
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

    /// What is left, as an endpoint of its own: for those that wrap another (`haproxy:tcp:80`). Take your own
    /// arguments before.
    ///
    /// # Errors
    /// When no kind of endpoint is left.
    pub fn nested(&mut self) -> Result<Arguments, ParseError> {
        let plain = std::mem::take(&mut self.plain).into_iter().map(Part::Plain);
        let keyed =
            std::mem::take(&mut self.keyed).into_iter().map(|(key, value)| Part::Keyed { key, value });
        Arguments::from_parts(Arc::clone(&self.text), plain.chain(keyed), self.known.clone())
    }

    /// Looks whether everything was taken.
    ///
    /// # Errors
    /// Names the first argument that nobody took, and those that could have stood there.
    pub fn finish(&self) -> Result<(), ParseError> {
        if let Some(surplus) = self.plain.front() {
            let why = format!("\"{}\" is one argument too many", Escaped(&surplus.text));
            return Err(self.wrong(surplus.position, None, why));
        }
        self.keyed.first().map_or(Ok(()), |(key, _)| Err(self.unknown(key)))
    }

    /// An error about the whole: two arguments that do not go together, say.
    pub fn bad(&self, why: impl Into<String>) -> ParseError {
        self.wrong(self.prefix.position, None, why.into())
    }

    /// An error about an argument that is not there, at the end of the text.
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

    /// An error about a prefix that is none of `prefixes`. `instead` says what it is a kind of.
    pub(super) fn unknown_prefix<'a>(
        &self,
        prefixes: impl Iterator<Item = &'a str> + Clone,
        instead: Option<&str>,
    ) -> ParseError {
        let what = match (self.text.is_empty(), self.prefix(), instead) {
            (true, ..) => "it is empty",
            (_, "", _) => "the kind of endpoint is missing",
            (_, _, Some(instead)) => instead,
            _ => "there is no such kind of endpoint",
        };
        let why = format!("{what}; {}", known(self.prefix(), prefixes));
        self.wrong(self.prefix.position, Some(self.prefix()), why)
    }

    fn wrong(&self, position: usize, key: Option<&str>, why: String) -> ParseError {
        ParseError { text: self.text.to_string(), position, key: key.map(str::to_owned), why }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Readers: what an argument can be.
impl Argument {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As it stands there, without the escapes.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// An error that names this argument and its place.
    pub fn bad(&self, why: impl Into<String>) -> ParseError {
        ParseError {
            text: self.text.to_string(),
            position: self.position,
            key: Some(self.name.clone()),
            why: why.into(),
        }
    }

    /// Any text but none.
    ///
    /// # Errors
    /// When it is empty.
    pub fn text(&self) -> Result<String, ParseError> {
        if self.value.is_empty() { Err(self.bad("it is empty")) } else { Ok(self.value.clone()) }
    }

    /// A number in digits.
    ///
    /// # Errors
    /// When it is none, or does not fit into the type.
    pub fn number<N: FromStr>(&self) -> Result<N, ParseError> {
        let shown = Escaped(&self.value);
        if !is_number(&self.value) {
            return Err(self.bad(format!("\"{shown}\" is no number")));
        }
        self.value.parse().map_err(|_| self.bad(format!("{shown} is too large")))
    }

    /// A port, 0 to 65535.
    ///
    /// # Errors
    /// When it is none.
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

    /// The port of a peer, 1 to 65535.
    ///
    /// # Errors
    /// When it is none.
    pub fn port_of_peer(&self) -> Result<u16, ParseError> {
        match self.port()? {
            0 => Err(self.bad("port 0 cannot be connected to")),
            port => Ok(port),
        }
    }

    /// Octal permissions of a file, `660` or `0660`; 777 at most.
    ///
    /// # Errors
    /// When they are none.
    pub fn mode(&self) -> Result<u32, ParseError> {
        let octal = (1..=4).contains(&self.value.len())
            && self.value.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        match u32::from_str_radix(&self.value, 8) {
            Ok(mode @ 0..=0o777) if octal => Ok(mode),
            _ => Err(self.bad("a mode is octal, 000 to 777")),
        }
    }

    /// A time in seconds (`5`, `0.25`), or with units (`250ms`, `1h30m`: ns, us, ms, s, m, h, d); a year at most.
    ///
    /// # Errors
    /// When it is none.
    pub fn seconds(&self) -> Result<Duration, ParseError> {
        duration::parse(&self.value).map_err(|why| self.bad(why))
    }

    /// The same, but not nothing: a limit that would be over before anything happens.
    ///
    /// # Errors
    /// When it is none.
    pub fn positive_seconds(&self) -> Result<Duration, ParseError> {
        match self.seconds()? {
            Duration::ZERO => Err(self.bad("it has to be more than nothing")),
            time => Ok(time),
        }
    }

    /// `yes` or `no`; `true`, `false`, `1`, `0`, `on` and `off` are understood as well.
    ///
    /// # Errors
    /// When it is neither.
    pub fn flag(&self) -> Result<bool, ParseError> {
        match self.value.as_str() {
            "yes" | "true" | "1" | "on" => Ok(true),
            "no" | "false" | "0" | "off" => Ok(false),
            _ => Err(self.bad("it is either yes or no")),
        }
    }

    /// An IP address, IPv6 with brackets or without; `localhost` is 127.0.0.1.
    ///
    /// # Errors
    /// When it is none.
    pub fn ip(&self) -> Result<IpAddr, ParseError> {
        match Literal::read(self.without_brackets()) {
            Some(Ok(Literal::Ip(address))) => Ok(address),
            Some(Ok(Literal::Zoned(address, Zone::Index(0)))) => Ok(address.into()),
            Some(Ok(Literal::Zoned(..))) => Err(self.bad("an address without a zone is wanted")),
            _ => self.socket_address(0).map(|address| address.ip()),
        }
    }

    fn without_brackets(&self) -> &str {
        let inner = self.value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        inner.unwrap_or(&self.value)
    }

    /// An IP address, as [`Argument::ip`], to go with a port that was given apart. `fe80::1%2` has the number of an
    /// interface, `fe80::1%eth0` its name, which has to be one of this machine's interfaces now. A link-local address
    /// needs one of the two.
    ///
    /// # Errors
    /// When it is none, or there is no such interface.
    pub fn socket_address(&self, port: u16) -> Result<SocketAddr, ParseError> {
        if self.value == "localhost" {
            return Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        }
        match literal_address(self.without_brackets(), port) {
            Some(Ok(address)) => Ok(address),
            Some(Err(zone)) => Err(self.bad(format!("\"{}\": {zone}", Escaped(&self.value)))),
            None => Err(self.bad(format!("\"{}\" is no IP address", Escaped(&self.value)))),
        }
    }

    /// An address of this machine: an IP address with a port, or alone, when the system chooses the port.
    ///
    /// # Errors
    /// When it is none.
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
            [("", "\"\" is no number"), ("+1", "\"+1\" is no number"), ("65536", "65536 is too large")]
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
