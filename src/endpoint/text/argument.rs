//! One argument of an endpoint's text, and the conversions of its value.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::{ParseError, duration};
use crate::escape::Escaped;
use crate::net::zone::{Literal, Zone};
use crate::reactor::literal_address;
use crate::{Error, ListenTcp};

/// An argument with its name and position. Its methods convert the value.
#[derive(Clone, Debug)]
pub struct Argument {
    pub(super) text: Arc<str>,
    pub(super) name: String,
    pub(super) value: String,
    pub(super) position: usize,
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
    pub(in crate::endpoint) fn port_of_peer(&self) -> Result<u16, ParseError> {
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

pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Arguments;

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
}
