//! IPv6 zones: the interface of an address, as in `fe80::1%eth0` or `fe80::1%2` (RFC 4007, section
//! 11).
//!
//! A [`SocketAddr`] has the interface's index. Names are looked up where an address is used,
//! because interface names are local to a machine.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// An IP address as text, with an optional zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Literal<'a> {
    Ip(IpAddr),
    Zoned(Ipv6Addr, Zone<'a>),
}

/// A zone: an interface by index or name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zone<'a> {
    Index(u32),
    Name(&'a str),
}

/// Reason why an address or its zone is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadZone {
    OfIpv4,
    Empty,
    Number,
    Name,
    /// A link-local address without a zone is ambiguous: every interface has the same prefix.
    Missing,
    /// This machine has no such interface.
    Unknown,
}

impl<'a> Literal<'a> {
    /// Parses an address without brackets. `None` when the text is no IP address, with or without a
    /// zone.
    pub(crate) fn read(text: &'a str) -> Option<Result<Literal<'a>, BadZone>> {
        // Most texts are host names, which have a colon nowhere and rarely begin with a digit.
        if !text.as_bytes().first().is_some_and(u8::is_ascii_digit) && !text.contains(':') {
            return None;
        }
        let Some((address, zone)) = text.split_once('%') else {
            return text.parse().ok().map(|address| Ok(Literal::Ip(address)));
        };
        match address.parse() {
            Ok(IpAddr::V6(address)) => Some(Zone::read(zone).map(|zone| Literal::Zoned(address, zone))),
            Ok(IpAddr::V4(_)) => Some(Err(BadZone::OfIpv4)),
            Err(_) => None,
        }
    }

    /// Rejects a link-local address without a zone, which no system connects to or binds.
    pub(crate) fn with_its_zone(self) -> Result<Literal<'a>, BadZone> {
        match self {
            Literal::Ip(IpAddr::V6(address)) | Literal::Zoned(address, Zone::Index(0))
                if address.is_unicast_link_local() =>
            {
                Err(BadZone::Missing)
            }
            other => Ok(other),
        }
    }

    /// The socket address with this port. `index` looks up an interface name.
    pub(crate) fn with_port(
        self,
        port: u16,
        index: impl FnOnce(&str) -> Option<u32>,
    ) -> Result<SocketAddr, BadZone> {
        let (address, scope) = match self {
            Literal::Ip(address) => return Ok(SocketAddr::new(address, port)),
            Literal::Zoned(address, Zone::Index(scope)) => (address, scope),
            Literal::Zoned(address, Zone::Name(name)) => (address, index(name).ok_or(BadZone::Unknown)?),
        };
        Ok(SocketAddrV6::new(address, port, 0, scope).into())
    }
}

impl<'a> Zone<'a> {
    fn read(text: &'a str) -> Result<Zone<'a>, BadZone> {
        let is_good = |byte: u8| byte.is_ascii_graphic() && !b"%/[]".contains(&byte);
        match text.len() {
            0 => Err(BadZone::Empty),
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().map(Zone::Index).map_err(|_| BadZone::Number)
            }
            1..=MAX_NAME_LEN if text.bytes().all(is_good) => Ok(Zone::Name(text)),
            _ => Err(BadZone::Name),
        }
    }
}

impl BadZone {
    pub(crate) fn why(self) -> &'static str {
        match self {
            BadZone::OfIpv4 => "an IPv4 address has no zone",
            BadZone::Empty => "the zone after % is missing",
            BadZone::Number => "the zone is not an interface number",
            BadZone::Name => "the zone is neither a number nor a name of an interface",
            BadZone::Missing => "a link-local address needs a zone, such as fe80::1%eth0",
            BadZone::Unknown => "this machine has no interface of that name",
        }
    }
}

impl fmt::Display for BadZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why())
    }
}

/// The IP address as text that [`Literal::read`] parses, with the zone's index if it has one.
pub(crate) fn host_text(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(six) if six.scope_id() != 0 => format!("{}%{}", six.ip(), six.scope_id()),
        _ => address.ip().to_string(),
    }
}

/// Max length of an interface name: IFNAMSIZ, less the NUL.
const MAX_NAME_LEN: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Result<String, &'static str>> {
        let index = |name: &str| (name == "eth0").then_some(7);
        let found = Literal::read(text)?.and_then(|literal| literal.with_port(80, index));
        Some(found.map(|address| address.to_string()).map_err(BadZone::why))
    }

    #[test]
    fn a_zone_is_a_number_or_a_name_of_an_interface() {
        for (text, address) in [
            ("::1", "[::1]:80"),
            ("10.0.0.1", "10.0.0.1:80"),
            ("fe80::1%2", "[fe80::1%2]:80"),
            ("fe80::1%0", "[fe80::1]:80"),
            ("fe80::1%eth0", "[fe80::1%7]:80"),
            ("fe80::1%4294967295", "[fe80::1%4294967295]:80"),
        ] {
            assert_eq!(read(text), Some(Ok(address.to_owned())), "{text}");
        }
        for (text, why) in [
            ("10.0.0.1%eth0", BadZone::OfIpv4),
            ("fe80::1%", BadZone::Empty),
            ("fe80::1%4294967296", BadZone::Number),
            ("fe80::1%eth 0", BadZone::Name),
            ("fe80::1%eth\n", BadZone::Name),
            ("fe80::1%a%b", BadZone::Name),
            ("fe80::1%sixteen_letters_", BadZone::Name),
            ("fe80::1%nope", BadZone::Unknown),
        ] {
            assert_eq!(read(text), Some(Err(why.why())), "{text}");
        }
        assert_eq!((read("host"), read("host%eth0"), read("")), (None, None, None));
    }

    #[test]
    fn a_link_local_address_needs_its_zone() {
        let read = |text: &'static str| Literal::read(text).unwrap().and_then(Literal::with_its_zone);
        for text in ["fe80::1", "febf::1", "fe80::1%0"] {
            assert_eq!(read(text), Err(BadZone::Missing), "{text}");
        }
        for text in ["fe80::1%2", "fe80::1%eth0", "::1", "::1%0", "fec0::1", "169.254.0.1"] {
            assert!(read(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_text_of_an_address_has_its_zone() {
        for text in ["fe80::1%2", "fe80::1", "10.0.0.1"] {
            let address = Literal::read(text).unwrap().unwrap().with_port(1, |_| None).unwrap();
            assert_eq!(host_text(address), text);
        }
    }
}
