//! `HOST` or `HOST:PORT`, as URLs, targets and listening addresses write it (RFC 3986, 3.2).
//!
//! A host is a name, an IPv4 address, or an IPv6 address in brackets. Nothing is resolved here.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A host and perhaps a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Authority {
    /// The name or address, without the brackets of an IPv6 address.
    pub host: String,
    /// The port, 1 to 65535 (or 0 where [`Authority::with_any_port`] allowed it).
    pub port: Option<u16>,
}

/// Why a text is no [`Authority`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthorityError {
    /// Nothing stands before the port, or nothing at all.
    NoHost,
    /// The host has a character, a length or a form that no host has.
    BadHost(String),
    /// Four numbers with dots were meant, and it is not an IPv4 address.
    BadIpv4(String),
    /// What stands in the brackets is not an IPv6 address, or a bracket is missing.
    BadIpv6(String),
    /// An IPv6 address has to stand in brackets.
    BareIpv6(String),
    /// The port is no number.
    BadPort(String),
    /// The port is not between 1 and 65535.
    PortOutOfRange(String),
}

impl Authority {
    /// Like `parse`, but port 0 ("any free one") is allowed: for listening.
    pub fn with_any_port(text: &str) -> Result<Authority, AuthorityError> {
        let (host, port) = split(text)?;
        check_host(host)?;
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Ok(Authority {
            host,
            port: port.map(parse_port).transpose()?,
        })
    }
}

impl FromStr for Authority {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Authority, AuthorityError> {
        let authority = Authority::with_any_port(text)?;
        if authority.port == Some(0) {
            return Err(AuthorityError::PortOutOfRange("0".into()));
        }
        Ok(authority)
    }
}

/// As it stands in a URL: brackets around IPv6, no port when there is none.
impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthorityError::NoHost => f.write_str("the host is missing"),
            AuthorityError::BadHost(host) => write!(f, "{host:?} is not a host name"),
            AuthorityError::BadIpv4(host) => write!(f, "{host:?} is not an IPv4 address"),
            AuthorityError::BadIpv6(host) => {
                write!(f, "{host:?} is not an IPv6 address in brackets")
            }
            AuthorityError::BareIpv6(host) => {
                write!(f, "write an IPv6 address in brackets, [{host}]")
            }
            AuthorityError::BadPort(port) => write!(f, "{port:?} is not a port number"),
            AuthorityError::PortOutOfRange(port) => {
                write!(f, "port {port} is not between 1 and 65535")
            }
        }
    }
}

impl std::error::Error for AuthorityError {}

/// The host (brackets and all) and the text of the port.
fn split(text: &str) -> Result<(&str, Option<&str>), AuthorityError> {
    if text.starts_with('[') {
        let end = text
            .find(']')
            .ok_or_else(|| AuthorityError::BadIpv6(text.into()))?;
        let (host, rest) = text.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(AuthorityError::BadIpv6(text.into())),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((_, rest)) if rest.contains(':') && text.parse::<Ipv6Addr>().is_ok() => {
            Err(AuthorityError::BareIpv6(text.into()))
        }
        Some((host, port)) => Ok((host, Some(port))),
    }
}

fn check_host(host: &str) -> Result<(), AuthorityError> {
    if host.is_empty() {
        return Err(AuthorityError::NoHost);
    }
    if let Some(inside) = host.strip_prefix('[') {
        let inside = inside.strip_suffix(']').unwrap_or(inside);
        return match inside.parse::<Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err(AuthorityError::BadIpv6(host.into())),
        };
    }
    let bad = || AuthorityError::BadHost(host.chars().take(80).collect());
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > LONGEST_NAME {
        return Err(bad());
    }
    for label in name.split('.') {
        let known = label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if label.is_empty() || label.len() > LONGEST_LABEL || !known || label.starts_with('-') {
            return Err(bad());
        }
    }
    // A last label of digits is never a name (RFC 3696, 2): "10.0.0.256" is a slip, not a host to look up.
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|byte| byte.is_ascii_digit()) && host.parse::<Ipv4Addr>().is_err() {
        return Err(AuthorityError::BadIpv4(host.into()));
    }
    Ok(())
}

fn parse_port(text: &str) -> Result<u16, AuthorityError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AuthorityError::BadPort(text.chars().take(20).collect()));
    }
    text.parse()
        .map_err(|_| AuthorityError::PortOutOfRange(text.chars().take(20).collect()))
}

/// RFC 1035, 2.3.4, in the presentation form without the final dot.
const LONGEST_NAME: usize = 253;
/// RFC 1035, 2.3.4.
const LONGEST_LABEL: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(String, Option<u16>), AuthorityError> {
        text.parse::<Authority>()
            .map(|authority| (authority.host, authority.port))
    }

    #[test]
    fn hosts_and_ports_of_every_form_are_read() {
        assert_eq!(parsed("localhost"), Ok(("localhost".into(), None)));
        assert_eq!(parsed("localhost:80"), Ok(("localhost".into(), Some(80))));
        assert_eq!(
            parsed("10.0.0.1:65535"),
            Ok(("10.0.0.1".into(), Some(65535)))
        );
        assert_eq!(parsed("[::1]:22"), Ok(("::1".into(), Some(22))));
        assert_eq!(parsed("[fe80::1]"), Ok(("fe80::1".into(), None)));
        assert_eq!(
            parsed("a_b-c.example.:1"),
            Ok(("a_b-c.example.".into(), Some(1)))
        );
        assert_eq!(
            "[::1]:22".parse::<Authority>().unwrap().to_string(),
            "[::1]:22"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        use AuthorityError::*;
        assert_eq!(parsed(""), Err(NoHost));
        assert_eq!(parsed(":80"), Err(NoHost));
        assert_eq!(parsed("a b:80"), Err(BadHost("a b".into())));
        assert_eq!(parsed("a..b:80"), Err(BadHost("a..b".into())));
        assert_eq!(parsed("-a:80"), Err(BadHost("-a".into())));
        assert_eq!(parsed("a\r\nb"), Err(BadHost("a\r\nb".into())));
        assert_eq!(parsed("256.0.0.1:80"), Err(BadIpv4("256.0.0.1".into())));
        assert_eq!(parsed("1.2.3:80"), Err(BadIpv4("1.2.3".into())));
        assert_eq!(parsed("[::g]:80"), Err(BadIpv6("[::g]".into())));
        assert_eq!(parsed("[::1"), Err(BadIpv6("[::1".into())));
        assert_eq!(parsed("[::1]80"), Err(BadIpv6("[::1]80".into())));
        assert_eq!(parsed("::1"), Err(BareIpv6("::1".into())));
        assert_eq!(parsed("host:"), Err(BadPort("".into())));
        assert_eq!(parsed("host:ssh"), Err(BadPort("ssh".into())));
        assert_eq!(parsed("host:+80"), Err(BadPort("+80".into())));
        assert_eq!(parsed("host:-1"), Err(BadPort("-1".into())));
        assert_eq!(parsed("host:0"), Err(PortOutOfRange("0".into())));
        assert_eq!(parsed("host:65536"), Err(PortOutOfRange("65536".into())));
        assert_eq!(
            Authority::with_any_port("host:0").map(|authority| authority.port),
            Ok(Some(0))
        );
    }
}
