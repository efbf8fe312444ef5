//! Proxies, and the environment variables that name them.

use crate::escape::Escaped;
use crate::http::request::basic_credentials;
use crate::http::{Url, UrlError};
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::str::FromStr;

/// Proxies by the scheme of the URL. Default: none.
///
/// ```
/// use twistor::http::Proxies;
///
/// let proxies = Proxies {
///     http: Some("proxy.example:3128".parse()?),
///     https: Some("http://user:secret@proxy.example:3128".parse()?),
///     except: "localhost,.internal.example,10.0.0.0/8,[::1]:8080".to_owned(),
///     ..Proxies::default()
/// };
/// # drop(proxies);
/// # Ok::<(), twistor::http::ProxyError>(())
/// ```
///
/// Requests to `http` URLs are sent to the proxy with the whole URL. For `https` the proxy makes a
/// tunnel (CONNECT), so that it sees the host and nothing else.
///
/// Proxies that the environment names are not used for loopback addresses and `localhost` (as in
/// Go).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Proxy of `http` URLs.
    pub http: Option<Proxy>,
    /// Proxy of `https` URLs.
    pub https: Option<Proxy>,
    /// Hosts that are reached directly, separated by commas or blanks, in the forms of `no_proxy`:
    /// `*` for all, a host name and all names below it (with or without a dot before it), an IP
    /// address, a network such as `10.0.0.0/8`. Each but the network can end in a port.
    pub except: String,
    /// Whether loopback addresses and `localhost` are reached directly. Default: `false`;
    /// [`from_environment`](Proxies::from_environment) sets it.
    pub except_loopback: bool,
}

/// A proxy: `http://[USER:PASSWORD@]HOST[:PORT]`, or `https://`. Without a scheme it is `http`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Proxy {
    url: Url,
    /// Value of `Proxy-Authorization`.
    credentials: Option<Rc<str>>,
}

/// Error of parsing a [`Proxy`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyError {
    /// It is not a URL, or one of another kind of proxy.
    Url(UrlError),
    /// The user name or the password contains a control character, or is malformed.
    Credentials,
}

impl Proxies {
    /// Reads the environment: `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`. All but the
    /// first are also read in upper case. `HTTP_PROXY` is not: in a CGI program a client sets it
    /// (CVE-2016-5385, httpoxy).
    ///
    /// # Errors
    /// The name of the variable that is malformed, and why.
    pub fn from_environment() -> Result<Proxies, (&'static str, ProxyError)> {
        Proxies::from_variables(|name| std::env::var(name).ok())
    }

    /// Does the same with a function that looks variables up.
    ///
    /// # Errors
    /// Those of [`from_environment`](Proxies::from_environment).
    pub fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Proxies, (&'static str, ProxyError)> {
        let proxy = |names: &[&'static str]| {
            for name in names {
                if let Some(text) = variable(name).filter(|text| !text.trim().is_empty()) {
                    return text.trim().parse().map(Some).map_err(|error| (*name, error));
                }
            }
            Ok(None)
        };
        let except = ["no_proxy", "NO_PROXY"].into_iter().find_map(&variable);
        Ok(Proxies {
            http: proxy(&["http_proxy", "all_proxy", "ALL_PROXY"])?,
            https: proxy(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
            except: except.unwrap_or_default(),
            except_loopback: true,
        })
    }

    /// Returns the proxy for a URL.
    pub fn of(&self, url: &Url) -> Option<&Proxy> {
        let proxy = if url.is_https() { self.https.as_ref() } else { self.http.as_ref() }?;
        let direct = self.except_loopback && is_loopback(url.host()) || self.excepts(url);
        (!direct).then_some(proxy)
    }

    fn excepts(&self, url: &Url) -> bool {
        let separator = |character: char| character == ',' || character.is_ascii_whitespace();
        self.except.split(separator).filter(|rule| !rule.is_empty()).any(|rule| matches(rule, url))
    }
}

impl Proxy {
    /// The URL, without credentials.
    pub fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn credentials(&self) -> Option<&str> {
        self.credentials.as_deref()
    }
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Proxy, ProxyError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let url = format!("{scheme}://{host}").parse().map_err(ProxyError::Url)?;
        let credentials = user.map(|user| {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            let (user, password) = (decoded(user)?, decoded(password)?);
            basic_credentials(&user, &password).ok()
        });
        match credentials {
            Some(None) => Err(ProxyError::Credentials),
            credentials => Ok(Proxy { url, credentials: credentials.flatten().map(Rc::from) }),
        }
    }
}

/// Decodes percent-encoding.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Whether a rule of `no_proxy` covers a URL.
fn matches(rule: &str, url: &Url) -> bool {
    if rule == "*" {
        return true;
    }
    let host = url.host().split('%').next().unwrap_or_default();
    let address: Option<IpAddr> = host.parse().ok();
    if let Some((network, bits)) = rule.split_once('/') {
        let network = network.trim_start_matches('[').trim_end_matches(']').parse().ok();
        return match (network, address, bits.parse().ok()) {
            (Some(network), Some(address), Some(bits)) => is_within(address, network, bits),
            _ => false,
        };
    }
    // An address may contain colons without being followed by a port.
    let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let (name, port) = match rule.rsplit_once(':') {
        _ if bare(rule).is_some() => (rule, None),
        Some((name, port)) => (name, Some(port)),
        None => (rule, None),
    };
    if port.is_some_and(|port| port.parse() != Ok(url.port())) {
        return false;
    }
    if let Some(ruled) = bare(name) {
        return address == Some(ruled);
    }
    let name = name.trim_start_matches("*.").trim_matches('.').to_ascii_lowercase();
    let host = host.trim_end_matches('.');
    match host.strip_suffix(&name) {
        Some(rest) if !name.is_empty() => rest.is_empty() || rest.ends_with('.'),
        _ => false,
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (address, network, width) = match (address.to_canonical(), network.to_canonical()) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (address.to_bits().into(), network.to_bits().into(), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    let (address, network): (u128, u128) = (address, network);
    match bits {
        0 => true,
        bits if bits <= width => (address ^ network) >> (width - bits) == 0,
        _ => false,
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}{})", self.url, if self.credentials.is_some() { ", with credentials" } else { "" })
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyError::Url(UrlError::Scheme(scheme)) => {
                write!(f, "a proxy with the scheme \"{}\" is not supported", Escaped(scheme))
            }
            ProxyError::Url(error) => error.fmt(f),
            ProxyError::Credentials => f.write_str("the user or the password is malformed"),
        }
    }
}

impl std::error::Error for ProxyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_has_a_scheme_a_place_and_credentials() {
        for (text, url, credentials) in [
            ("proxy:3128", "http://proxy:3128/", None),
            ("http://proxy", "http://proxy/", None),
            ("https://proxy:1/", "https://proxy:1/", None),
            ("http://Aladdin:open%20sesame@p:1", "http://p:1/", Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
        ] {
            let proxy: Proxy = text.parse().unwrap();
            assert_eq!((proxy.url().to_string().as_str(), proxy.credentials()), (url, credentials), "{text}");
            assert!(!format!("{proxy:?}").contains("QWxh"));
        }
        let refused = "socks5://p:1".parse::<Proxy>().unwrap_err().to_string();
        assert_eq!(refused, "a proxy with the scheme \"socks5\" is not supported");
        for user in ["a%zz", "a%0a", "a%3ab"] {
            assert_eq!(format!("http://{user}@p").parse::<Proxy>(), Err(ProxyError::Credentials), "{user}");
        }
    }

    #[test]
    fn exceptions_have_many_forms() {
        let matched = |rule: &str, url: &str| matches(rule, &url.parse().unwrap());
        for (rule, yes, no) in [
            ("*", "http://a/", ""),
            ("example.org", "http://example.org/", "http://badexample.org/"),
            ("example.org", "http://www.Example.org/", "http://example.com/"),
            (".example.org", "http://www.example.org:81/", "http://example.org.evil/"),
            ("*.example.org", "http://x.y.example.org/", "http://xexample.org/"),
            ("example.org:8080", "http://example.org:8080/", "http://example.org/"),
            ("10.1.2.3", "http://10.1.2.3/", "http://10.1.2.33/"),
            ("10.0.0.0/8", "http://10.200.0.1/", "http://11.0.0.1/"),
            ("10.0.0.1/33", "http://a/x", "http://10.0.0.1/"),
            ("0.0.0.0/0", "http://1.2.3.4/", "http://[2001:db8::1]/"),
            ("2001:db8::/32", "http://[2001:db8:1::1]/", "http://[2001:db9::1]/"),
            ("[2001:db8::1]:443", "https://[2001:db8::1]/", "http://[2001:db8::1]/"),
            ("2001:db8::1", "http://[2001:db8::1]/", "http://[2001:db8::2]/"),
        ] {
            if rule != "10.0.0.1/33" {
                assert!(matched(rule, yes), "{rule} {yes}");
            }
            assert!(no.is_empty() || !matched(rule, no), "{rule} {no}");
        }
    }

    #[test]
    fn the_environment_names_proxies() {
        let read = |pairs: &[(&str, &str)]| {
            let find = |name: &str| pairs.iter().find(|(known, _)| *known == name);
            Proxies::from_variables(|name| find(name).map(|(_, value)| (*value).to_owned()))
        };
        let of = |proxies: &Proxies, url: &str| {
            proxies.of(&url.parse().unwrap()).map(|proxy| proxy.url().to_string())
        };
        let proxies =
            read(&[("http_proxy", "p:1"), ("HTTPS_PROXY", "q:2"), ("NO_PROXY", "x.example y.example")])
                .unwrap();
        assert_eq!(of(&proxies, "http://a/").as_deref(), Some("http://p:1/"));
        assert_eq!(of(&proxies, "https://a/").as_deref(), Some("http://q:2/"));
        for direct in [
            "http://x.example/",
            "https://b.y.example/",
            "http://localhost/",
            "http://127.0.0.9/",
            "http://[::1]/",
        ] {
            assert_eq!(of(&proxies, direct), None, "{direct}");
        }
        for unused in [("HTTP_PROXY", "p:1"), ("http_proxy", " ")] {
            assert_eq!(of(&read(&[unused]).unwrap(), "http://a/"), None);
        }
        let all = read(&[("all_proxy", "p:1"), ("no_proxy", "*")]).unwrap();
        assert!(all.http.is_some() && all.https.is_some() && of(&all, "http://a/").is_none());
        assert_eq!(read(&[("https_proxy", "socks5://p")]).unwrap_err().0, "https_proxy");
    }
}
