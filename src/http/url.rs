//! URLs of the form `http://HOST[:PORT]/PATH?QUERY`.
//!
//! This is the part of RFC 3986 that a client of plain HTTP needs, and zones of IPv6 addresses (RFC
//! 6874: `http://[fe80::1%25eth0]/`). A zone without percent-encoding (`%eth0`) is accepted as
//! well.
//!
//! A parsed URL contains only printable ASCII, without spaces, so it cannot break the framing of a
//! request. A fragment is dropped, as it is never sent.

use crate::endpoint::parse_error::is_near;
use crate::escape::Escaped;
use crate::{ConnectTcp, Error};
use std::fmt;
use std::str::FromStr;

/// A parsed `http://` URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    host: String,
    port: u16,
    target: String,
}

/// Error of parsing a [`Url`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// The URL contains no `://`.
    NoScheme,
    /// The scheme is `https`, which needs the TLS layer.
    NoTls,
    /// The scheme is not HTTP.
    Scheme(String),
    /// The URL contains a user or a password before the host.
    Credentials,
    /// The host or the port is invalid.
    Address(&'static str),
    /// A character in the path or query must be percent-encoded.
    Character(char),
    /// The URL is longer than 8,000 bytes. RFC 9112, 3 recommends at least this limit.
    TooLong,
}

impl Url {
    /// The host's name or address, without brackets. The zone of an IPv6 address follows a `%`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port. Default: 80.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the value of the `Host` header: IPv6 in brackets, without a zone (RFC 6874, 4), and
    /// without port 80.
    pub(super) fn host_header(&self) -> String {
        // A zone is only meaningful on this machine.
        let host = self.host.split_once('%').map_or(self.host.as_str(), |(host, _)| host);
        self.authority(host)
    }

    fn authority(&self, host: &str) -> String {
        let connect = ConnectTcp::new(host, self.port).to_string();
        match connect.strip_suffix(":80") {
            Some(host) if self.port == DEFAULT_PORT => host.to_owned(),
            _ => connect,
        }
    }

    /// The path and the query; at least `/`.
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Url, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::NoScheme)?;
        match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => {}
            _ if scheme.eq_ignore_ascii_case("https") => return Err(UrlError::NoTls),
            _ => return Err(UrlError::Scheme(scheme.chars().take(40).collect())),
        }
        if text.len() > MAX_LENGTH {
            return Err(UrlError::TooLong);
        }
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlError::Credentials);
        }
        if let Some(character) = target.chars().find(|character| !character.is_ascii_graphic()) {
            return Err(UrlError::Character(character));
        }
        let connect: ConnectTcp = match authority.contains(':') && !authority.ends_with(']') {
            true => ConnectTcp::from_authority(authority),
            false => ConnectTcp::from_authority(&format!("{authority}:{DEFAULT_PORT}")),
        }
        .map_err(|error| match error {
            Error::BadAddress(bad) => UrlError::Address(bad.why),
            _ => UrlError::Address("the address cannot be read"),
        })?;
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Url { host: connect.host, port: connect.port, target: format!("{slash}{target}") })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(&self.host.replace('%', "%25")), self.target)
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UrlError::NoScheme => f.write_str("it must start with http://"),
            UrlError::NoTls => f.write_str("https:// is not supported yet, TLS is not built in; use http://"),
            UrlError::Scheme(scheme) => {
                let advice = if is_near(scheme, "http") { "; did you mean http://?" } else { "" };
                write!(f, "the scheme \"{}\" is not http{advice}", Escaped(scheme))
            }
            UrlError::Credentials => f.write_str("a user or password in the URL is not supported"),
            UrlError::Address(why) => f.write_str(why),
            UrlError::Character(character) => {
                write!(f, "'{}' must be percent-encoded", Escaped(character))
            }
            UrlError::TooLong => write!(f, "it is longer than {MAX_LENGTH} bytes"),
        }
    }
}

impl std::error::Error for UrlError {}

const DEFAULT_PORT: u16 = 80;
/// The minimum that RFC 9112, 3 recommends servers to accept.
const MAX_LENGTH: usize = 8000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_falls_into_host_port_and_target() {
        for (text, host, port, target, shown) in [
            ("http://a.example", "a.example", 80, "/", "http://a.example/"),
            ("HTTP://a:8080/x/y?z=1#top", "a", 8080, "/x/y?z=1", "http://a:8080/x/y?z=1"),
            ("http://[::1]:81?q", "::1", 81, "/?q", "http://[::1]:81/?q"),
            ("http://[fe80::1%25lo]/", "fe80::1%lo", 80, "/", "http://[fe80::1%25lo]/"),
            ("http://[fe80::1%lo]:81/", "fe80::1%lo", 81, "/", "http://[fe80::1%25lo]:81/"),
            ("http://10.0.0.1/%20", "10.0.0.1", 80, "/%20", "http://10.0.0.1/%20"),
        ] {
            let url: Url = text.parse().unwrap();
            assert_eq!((url.host(), url.port(), url.target()), (host, port, target), "{text}");
            assert_eq!(url.to_string(), shown);
        }
        let scoped: Url = "http://[fe80::1%25lo]:81/".parse().unwrap();
        assert_eq!(scoped.host_header(), "[fe80::1]:81");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| text.parse::<Url>().unwrap_err();
        assert_eq!(error("a.example/x"), UrlError::NoScheme);
        assert_eq!(error("https://a.example/"), UrlError::NoTls);
        assert_eq!(error("ftp://a.example/"), UrlError::Scheme("ftp".into()));
        assert_eq!(error("ftp://a.example/").to_string(), "the scheme \"ftp\" is not http");
        let meant = "the scheme \"htpp\" is not http; did you mean http://?";
        assert_eq!(error("htpp://a.example/").to_string(), meant);
        assert_eq!(error("http://me:secret@a/"), UrlError::Credentials);
        assert_eq!(error("http://"), UrlError::Address("the host is missing"));
        assert_eq!(error("http:///x"), UrlError::Address("the host is missing"));
        assert_eq!(error("http://a:70000/"), UrlError::Address("the port is above 65535"));
        assert_eq!(error("http://a/b c"), UrlError::Character(' '));
        assert_eq!(error("http://a/\r\nX: y"), UrlError::Character('\r'));
        assert_eq!(error("http://a/é"), UrlError::Character('é'));
        assert_eq!(error(&format!("http://a/{}", "x".repeat(8000))), UrlError::TooLong);
    }
}
