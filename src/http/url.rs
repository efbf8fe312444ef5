//! URLs of the form `http://HOST[:PORT]/PATH?QUERY`, and `https://`.
//!
//! This is the part of RFC 3986 that an HTTP client needs, with relative references, and zones of
//! IPv6 addresses (RFC 6874: `http://[fe80::1%25eth0]/`). A zone without percent-encoding (`%eth0`)
//! is accepted as well.
//!
//! A parsed URL contains only printable ASCII, without spaces, so it cannot break the framing of a
//! request. A fragment is dropped, as it is never sent.

use crate::endpoint::parse_error::is_near;
use crate::escape::Escaped;
use crate::{ConnectTcp, Error};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A parsed `http://` or `https://` URL. A clone shares its text.
///
/// ```
/// use twistor::http::Url;
///
/// let url: Url = "https://example.org/a/b?c".parse()?;
/// assert_eq!((url.is_https(), url.host(), url.port(), url.target()), (true, "example.org", 443, "/a/b?c"));
/// assert_eq!(url.join("../x")?.to_string(), "https://example.org/x");
/// # Ok::<(), twistor::http::UrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Url {
    origin: Arc<Origin>,
    target: Arc<str>,
}

/// Scheme, host and port of a URL. Two URLs with the same belong to one server (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Origin {
    pub(super) port: u16,
    pub(super) secure: bool,
    pub(super) host: String,
}

/// Error of parsing a [`Url`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// The URL contains no `://`.
    NoScheme,
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
    /// Whether the scheme is `https`.
    pub fn is_https(&self) -> bool {
        self.origin.secure
    }

    /// The host's name or address, without brackets. The zone of an IPv6 address follows a `%`.
    pub fn host(&self) -> &str {
        &self.origin.host
    }

    /// The port. Default: 80, and 443 for `https`.
    pub fn port(&self) -> u16 {
        self.origin.port
    }

    /// The path and the query; at least `/`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The path; at least `/`.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Whether scheme, host and port are the same.
    pub fn is_same_origin(&self, other: &Url) -> bool {
        self.origin == other.origin
    }

    /// Resolves a reference, such as the value of a `Location` header, against this URL (RFC 3986,
    /// 5.2). Spaces and characters outside of ASCII, which are not allowed there but occur, are
    /// percent-encoded.
    ///
    /// # Errors
    /// The result is not a URL that this type supports.
    pub fn join(&self, reference: &str) -> Result<Url, UrlError> {
        let reference = reference.split('#').next().unwrap_or_default();
        if reference.len() > MAX_LENGTH {
            return Err(UrlError::TooLong);
        }
        let reference = encoded(reference);
        let scheme = scheme(&reference);
        if let Some(scheme) = scheme.filter(|scheme| !is_http(scheme)) {
            return Err(UrlError::Scheme(scheme.chars().take(40).collect()));
        }
        let (origin, relative) = match (scheme, reference.strip_prefix("//")) {
            (Some(_), _) => {
                let url: Url = reference.parse()?;
                let target = Arc::clone(&url.target);
                return url.with_target(&normal(&target));
            }
            (None, Some(rest)) => {
                let scheme = if self.origin.secure { "https" } else { "http" };
                let url: Url = format!("{scheme}://{rest}").parse()?;
                return Url::with_target(&url, &normal(&url.target));
            }
            (None, None) => (self, &*reference),
        };
        let (path, query) = self.target.split_once('?').map_or((&*self.target, None), |(p, q)| (p, Some(q)));
        let target = match relative.as_bytes().first() {
            None => match query {
                Some(query) => format!("{path}?{query}"),
                None => path.to_owned(),
            },
            Some(b'?') => format!("{path}{relative}"),
            Some(b'/') => normal(relative),
            Some(_) => {
                let folder = path.rfind('/').map_or("/", |slash| path.get(..=slash).unwrap_or("/"));
                normal(&format!("{folder}{relative}"))
            }
        };
        origin.with_target(&target)
    }

    fn with_target(&self, target: &str) -> Result<Url, UrlError> {
        if let Some(character) = target.chars().find(|character| !character.is_ascii_graphic()) {
            return Err(UrlError::Character(character));
        }
        match target.len() > MAX_LENGTH {
            true => Err(UrlError::TooLong),
            false => Ok(Url { origin: Arc::clone(&self.origin), target: target.into() }),
        }
    }

    pub(super) fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// Returns the value of the `Host` header.
    pub(super) fn host_header(&self) -> Cow<'_, str> {
        self.origin.host_header()
    }

    /// Returns the URL for a proxy, to which a zone would mean nothing.
    pub(super) fn without_zone(&self) -> impl fmt::Display {
        let scheme = if self.origin.secure { "https" } else { "http" };
        format!("{scheme}://{}{}", self.host_header(), self.target)
    }
}

impl Origin {
    /// Returns host and port as they are sent: IPv6 in brackets, without a zone (RFC 6874, 4), and
    /// without the default port.
    fn host_header(&self) -> Cow<'_, str> {
        // A zone is only meaningful on this machine.
        let host = self.host.split_once('%').map_or(self.host.as_str(), |(host, _)| host);
        match self.port == self.default_port() && !host.contains(':') {
            true => Cow::Borrowed(host),
            false => Cow::Owned(self.authority(host)),
        }
    }

    fn default_port(&self) -> u16 {
        if self.secure { 443 } else { 80 }
    }

    fn authority(&self, host: &str) -> String {
        let connect = ConnectTcp::new(host, self.port).to_string();
        match connect.rsplit_once(':') {
            Some((host, _)) if self.port == self.default_port() => host.to_owned(),
            _ => connect,
        }
    }

    /// Host and port, always with the port, as a proxy is asked for a tunnel to it.
    pub(super) fn tunnel_target(&self) -> String {
        let host = self.host.split_once('%').map_or(self.host.as_str(), |(host, _)| host);
        ConnectTcp::new(host, self.port).to_string()
    }
}

/// Returns the scheme of a reference that has one (RFC 3986, 4.2).
fn scheme(reference: &str) -> Option<&str> {
    let (scheme, _) = reference.split_once(':')?;
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    (scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(valid))
        .then_some(scheme)
}

fn is_http(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

/// Percent-encodes what is neither printable ASCII nor a control character.
fn encoded(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character == ' ' || !character.is_ascii() {
            true => {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    encoded.push_str(&format!("%{byte:02X}"));
                }
            }
            false => encoded.push(character),
        }
    }
    Cow::Owned(encoded)
}

/// Removes the dot segments of an absolute path, with a query (RFC 3986, 5.2.4).
fn normal(target: &str) -> String {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    let mut normal: String = kept.iter().flat_map(|segment| ["/", segment]).collect();
    if normal.is_empty() {
        normal.push('/');
    }
    if let Some(query) = query {
        normal.push('?');
        normal.push_str(query);
    }
    normal
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Url, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::NoScheme)?;
        if !is_http(scheme) {
            return Err(UrlError::Scheme(scheme.chars().take(40).collect()));
        }
        let secure = scheme.len() == "https".len();
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
        let default = if secure { 443 } else { 80 };
        let connect: ConnectTcp = match authority.contains(':') && !authority.ends_with(']') {
            true => ConnectTcp::from_authority(authority),
            false => ConnectTcp::from_authority(&format!("{authority}:{default}")),
        }
        .map_err(|error| match error {
            Error::BadAddress(bad) => UrlError::Address(bad.why),
            _ => UrlError::Address("the address cannot be read"),
        })?;
        let slash = if target.starts_with('/') { "" } else { "/" };
        // Names are compared ignoring case (RFC 3986, 6.2.2.1).
        let mut host = connect.host;
        if !host.contains(':') {
            host.make_ascii_lowercase();
        }
        let origin = Origin { port: connect.port, secure, host };
        Ok(Url { origin: Arc::new(origin), target: format!("{slash}{target}").into() })
    }
}

impl TryFrom<&str> for Url {
    type Error = UrlError;

    fn try_from(text: &str) -> Result<Url, UrlError> {
        text.parse()
    }
}

impl TryFrom<String> for Url {
    type Error = UrlError;

    fn try_from(text: String) -> Result<Url, UrlError> {
        text.parse()
    }
}

impl TryFrom<&String> for Url {
    type Error = UrlError;

    fn try_from(text: &String) -> Result<Url, UrlError> {
        text.parse()
    }
}

/// A clone, which shares the text.
impl From<&Url> for Url {
    fn from(url: &Url) -> Url {
        url.clone()
    }
}

/// For functions that take any value that converts to a URL, a URL included.
impl From<std::convert::Infallible> for UrlError {
    fn from(never: std::convert::Infallible) -> UrlError {
        match never {}
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.origin.secure { "https" } else { "http" };
        let host = self.origin.host.replace('%', "%25");
        write!(f, "{scheme}://{}{}", self.origin.authority(&host), self.target)
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UrlError::NoScheme => f.write_str("it must start with http:// or https://"),
            UrlError::Scheme(scheme) => {
                let near = ["http", "https"].into_iter().find(|known| is_near(scheme, known));
                write!(f, "the scheme \"{}\" is not http or https", Escaped(scheme))?;
                near.map_or(Ok(()), |near| write!(f, "; did you mean {near}://?"))
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
            ("https://a.example/", "a.example", 443, "/", "https://a.example/"),
            ("HTTPS://A.Example:80/X", "a.example", 80, "/X", "https://a.example:80/X"),
            ("https://[::1]", "::1", 443, "/", "https://[::1]/"),
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
    fn references_are_resolved_as_the_standard_says() {
        let base: Url = "http://a/b/c/d;p?q".parse().unwrap();
        // RFC 3986, 5.4.1 and 5.4.2, without fragments.
        for (reference, resolved) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            (";x", "http://a/b/c/;x"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("", "http://a/b/c/d;p?q"),
            ("#s", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("https://h:1/x/../y", "https://h:1/y"),
            ("HTTP://h", "http://h/"),
            ("/a b/é", "http://a/a%20b/%C3%A9"),
        ] {
            assert_eq!(base.join(reference).unwrap().to_string(), resolved, "{reference:?}");
        }
        for (reference, error) in [
            ("file:/etc/passwd", UrlError::Scheme("file".into())),
            ("javascript:alert(1)", UrlError::Scheme("javascript".into())),
            ("ftp://a/", UrlError::Scheme("ftp".into())),
            ("unix:/x", UrlError::Scheme("unix".into())),
            ("http:g", UrlError::NoScheme),
            ("//u:p@h/", UrlError::Credentials),
            ("/a\r\nb", UrlError::Character('\r')),
            ("/a\0", UrlError::Character('\0')),
        ] {
            assert_eq!(base.join(reference), Err(error), "{reference:?}");
        }
        assert_eq!(base.join(&"x".repeat(8001)), Err(UrlError::TooLong));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| text.parse::<Url>().unwrap_err();
        assert_eq!(error("a.example/x"), UrlError::NoScheme);
        assert_eq!(error("ftp://a.example/"), UrlError::Scheme("ftp".into()));
        assert_eq!(error("ftp://a.example/").to_string(), "the scheme \"ftp\" is not http or https");
        let meant = "the scheme \"htpp\" is not http or https; did you mean http://?";
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
