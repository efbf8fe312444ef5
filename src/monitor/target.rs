//! Targets: `hold://HOST:PORT`, `tcp://HOST:PORT` or an endpoint, with an optional name in front.

use crate::endpoint::cli_argument::{no_host, no_port, port_alone};
use crate::endpoint::parse_error::nearest;
use crate::endpoint::{Arguments, ParseError, Registry};
use crate::escape::Escaped;
use crate::tls::{ClientOptions, TlsClientText, server_name};
use crate::{ConnectTcp, ConnectUnix, Error};
use std::any::Any;
use std::fmt;
use std::str::FromStr;

/// A target to watch.
///
/// ```
/// use twistor::monitor::{TargetKind, Target};
///
/// let target: Target = "door=hold://[::1]:22".parse()?;
/// assert_eq!((target.kind(), target.host().as_deref(), target.port()), (TargetKind::Hold, Some("::1"), Some(22)));
/// assert_eq!((target.name(), target.url()), ("door", "hold://[::1]:22"));
///
/// // An endpoint of a client, or an address, is probed; after `hold:`, it is held.
/// assert_eq!("localhost:22".parse::<Target>()?.kind(), TargetKind::Probe);
/// let target: Target = "web=tcp:example.org:80:timeout=2".parse()?;
/// assert_eq!((target.kind(), target.name()), (TargetKind::Probe, "web"));
/// assert_eq!("hold:unix:/run/app.sock".parse::<Target>()?.kind(), TargetKind::Hold);
/// # Ok::<(), twistor::monitor::TargetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `NAME=` and the URL or endpoint, or only the latter. One allocation, because there may be
    /// thousands.
    text: Box<str>,
    /// Start of the URL in `text`.
    url: u16,
    kind: TargetKind,
    form: Form,
}

/// The way in which a target is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// One connection is held open, and its loss is the event.
    Hold,
    /// A connection is made, timed and closed at an interval.
    Probe,
}

/// The syntax in which a target is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Url,
    Endpoint,
}

/// The options for connecting to a target, and which of the monitor's settings its endpoint
/// overrides.
pub(super) struct ConnectPlan {
    pub(super) options: Options,
    pub(super) tls: Option<PlannedTls>,
    pub(super) has_timeout: bool,
    pub(super) has_keepalive: bool,
    pub(super) has_user_timeout: bool,
}

/// The TLS of a target.
pub(super) struct PlannedTls {
    pub(super) options: ClientOptions,
    /// The name that the certificate must be for.
    pub(super) server_name: String,
}

pub(super) enum Options {
    Tcp(ConnectTcp),
    Unix(ConnectUnix),
}

/// The error of parsing a [`Target`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError {
    /// The text that was parsed.
    pub target: String,
    /// The reason why it is not a target.
    pub why: String,
}

impl Target {
    /// Returns the name if it was given one (`NAME=URL`), else the URL.
    pub fn name(&self) -> &str {
        match self.url {
            0 => &self.text,
            url => &self.text[..usize::from(url) - 1],
        }
    }

    /// Returns `hold://HOST:PORT`, `tcp://HOST:PORT`, `tls://HOST:PORT` or the endpoint, as it was
    /// given.
    pub fn url(&self) -> &str {
        &self.text[usize::from(self.url)..]
    }

    /// Returns how the target is watched.
    pub fn kind(&self) -> TargetKind {
        self.kind
    }

    /// Returns the host name or address, without brackets; `None` for a UNIX socket.
    pub fn host(&self) -> Option<String> {
        self.tcp().map(|options| options.host)
    }

    /// Returns the port, 1 to 65535; `None` for a UNIX socket.
    pub fn port(&self) -> Option<u16> {
        self.tcp().map(|options| options.port)
    }

    /// Whether connections to the target start with TLS.
    pub fn is_tls(&self) -> bool {
        self.connect_plan().is_ok_and(|plan| plan.tls.is_some())
    }

    /// Whether the endpoint has an argument of this name. `timeout`, `keepalive` and `user_timeout`
    /// override the monitor's settings.
    #[cfg(feature = "cli")]
    pub(crate) fn has_own(&self, argument: &str) -> bool {
        let endpoint = self.url().strip_prefix("hold:").unwrap_or(self.url());
        self.form == Form::Endpoint && Arguments::of(endpoint).is_ok_and(|arguments| arguments.has(argument))
    }

    fn tcp(&self) -> Option<ConnectTcp> {
        match self.connect_plan().ok()?.options {
            Options::Tcp(options) => Some(options),
            Options::Unix(_) => None,
        }
    }

    /// Returns how to connect to it. Never an error for a parsed target, because parsing has
    /// checked it.
    pub(super) fn connect_plan(&self) -> Result<ConnectPlan, TargetError> {
        let error = |why: String| TargetError { target: self.text.to_string(), why };
        let url = self.url();
        let registry = Registry::default();
        let endpoint = url.strip_prefix("hold:").unwrap_or(url);
        let (address, is_tls) = match self.form {
            Form::Url => (url.split_once("://").map(|(_, address)| address), url.starts_with("tls:")),
            Form::Endpoint => match endpoint.strip_prefix("tls://") {
                Some(address) => (Some(address), true),
                None => (Some(endpoint).filter(|endpoint| registry.is_client_address(endpoint)), false),
            },
        };
        if let Some(port) = port_alone(address.unwrap_or(endpoint)) {
            return Err(error(no_host(port)));
        }
        if self.form == Form::Endpoint
            && let Some(host) = registry.host_alone(endpoint)
        {
            return Err(error(no_port(&host)));
        }
        if let Some(address) = address {
            let options = ConnectTcp::from_authority(address).map_err(|wrong| match wrong {
                Error::BadAddress(bad) => error(bad.why.to_owned()),
                other => error(other.to_string()),
            })?;
            let tls = is_tls.then(|| PlannedTls {
                options: ClientOptions::default(),
                server_name: server_name(&options.host),
            });
            return Ok(ConnectPlan {
                options: Options::Tcp(options),
                tls,
                has_timeout: false,
                has_keepalive: false,
                has_user_timeout: false,
            });
        }
        let before = self.text.len() - endpoint.len();
        let bad = |wrong: ParseError| {
            let key = wrong.key.map(|key| format!("{}: ", Escaped(key))).unwrap_or_default();
            error(format!("at column {}: {key}{}", before + wrong.position + 1, wrong.why))
        };
        let mut arguments = Arguments::of(endpoint).map_err(bad)?;
        if !registry.clients().any(|known| known == arguments.prefix()) {
            let kind = arguments.prefix();
            let meant = nearest(kind, registry.clients().chain(["hold"]));
            return Err(error(match meant.zip(endpoint.strip_prefix(kind)) {
                Some((meant, rest)) => {
                    let hold = &url[..url.len() - endpoint.len()];
                    format!("unknown kind \"{kind}\"; did you mean {hold}{meant}{rest}?")
                }
                None => FORMS.to_owned(),
            }));
        }
        let [has_timeout, has_keepalive, has_user_timeout] =
            ["timeout", "keepalive", "user_timeout"].map(|name| arguments.has(name));
        for (argument, why) in INEFFECTIVE {
            if arguments.has(argument) && (self.kind == TargetKind::Probe || why == NOTHING_SENT) {
                return Err(error(format!("{argument} has no effect: {why}")));
            }
        }
        let endpoint = registry.client(&mut arguments).map_err(bad)?;
        let mut endpoint: &dyn Any = &*endpoint;
        let mut tls = None;
        if let Some(text) = endpoint.downcast_ref::<TlsClientText>() {
            let (options, server_name) = (text.options().clone(), text.name().to_owned());
            tls = Some(PlannedTls { options, server_name });
            endpoint = text.inner();
        }
        let options = match (endpoint.downcast_ref::<ConnectTcp>(), endpoint.downcast_ref::<ConnectUnix>()) {
            (Some(options), _) => Options::Tcp(options.clone()),
            (_, Some(options)) => Options::Unix(options.clone()),
            _ => return Err(error(FORMS.to_owned())),
        };
        Ok(ConnectPlan { options, tls, has_timeout, has_keepalive, has_user_timeout })
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Target, TargetError> {
        let error = |why: String| TargetError { target: text.to_owned(), why };
        // In a URL the name ends at the last `=` before `://`, in an endpoint at the first `=`
        // before any colon.
        let url = text.split_once("://").filter(|(before, _)| !before.contains(':'));
        let (name, form) = match url {
            Some((before, _)) => (before.rsplit_once('=').map(|(name, _)| name), Form::Url),
            None => {
                let before = text.split_once(':').map_or(text, |(before, _)| before);
                (before.split_once('=').map(|(name, _)| name), Form::Endpoint)
            }
        };
        if name
            .is_some_and(|name| name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control))
        {
            return Err(error(format!("a name has 1 to {MAX_NAME} bytes and no control characters")));
        }
        // The cast is lossless: a name has at most MAX_NAME bytes.
        let url = name.map_or(0, |name| name.len() as u16 + 1);
        let rest = &text[usize::from(url)..];
        if rest.is_empty() {
            return Err(error(format!("it is empty: {FORMS}")));
        }
        let (kind, form) = match (form, rest.split_once(':').map(|(scheme, _)| scheme)) {
            (_, Some("hold")) => (TargetKind::Hold, form),
            (Form::Url, Some("tcp" | "tls")) | (Form::Endpoint, _) => (TargetKind::Probe, form),
            // In a UNIX path the slashes belong to the path.
            (Form::Url, Some("unix")) => (TargetKind::Probe, Form::Endpoint),
            (Form::Url, scheme) => {
                let scheme = scheme.unwrap_or_default();
                let advice = match nearest(scheme, SCHEMES.into_iter()) {
                    Some(meant) => format!("; did you mean {meant}{}?", &rest[scheme.len()..]),
                    None => format!(": {FORMS}"),
                };
                return Err(error(format!("unknown scheme \"{}\"{advice}", Escaped(scheme))));
            }
        };
        let target = Target { text: text.into(), url, kind, form };
        target.connect_plan()?;
        Ok(target)
    }
}

/// Prints the target as it was given.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.text).fmt(f)
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad target \"{}\": {}", Escaped(&self.target), Escaped(&self.why))
    }
}

impl std::error::Error for TargetError {}

/// Schemes: the text before `://`.
const SCHEMES: [&str; 4] = ["hold", "tcp", "tls", "unix"];
const FORMS: &str = "a target is HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or hold://HOST:PORT, or \
     tcp:HOST:PORT, tls:HOST:PORT or unix:PATH, to be held after hold:";
const NOTHING_SENT: &str = "nothing is sent to a target";
const NOT_HELD: &str = "the target is not held; write hold: before it";
/// Endpoint arguments without effect here. The keepalive ones have an effect when the target is
/// held.
const INEFFECTIVE: [(&str, &str); 4] = [
    ("nodelay", NOTHING_SENT),
    ("send_buffer", NOTHING_SENT),
    ("keepalive", NOT_HELD),
    ("user_timeout", NOT_HELD),
];
/// Maximum length of a name in bytes. Longer names would push all else out of a table.
const MAX_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_falls_into_its_parts() {
        for (text, kind, host, port, name) in [
            ("tcp://localhost:80", TargetKind::Probe, Some("localhost"), Some(80), "tcp://localhost:80"),
            ("hold://[::1]:22", TargetKind::Hold, Some("::1"), Some(22), "hold://[::1]:22"),
            (
                "hold://[fe80::1%lo]:22",
                TargetKind::Hold,
                Some("fe80::1%lo"),
                Some(22),
                "hold://[fe80::1%lo]:22",
            ),
            ("a=tcp://[fe80::1%25lo]:1", TargetKind::Probe, Some("fe80::1%lo"), Some(1), "a"),
            ("tcp:[fe80::1%2]:1", TargetKind::Probe, Some("fe80::1%2"), Some(1), "tcp:[fe80::1%2]:1"),
            ("a=b=tcp://10.0.0.1:1", TargetKind::Probe, Some("10.0.0.1"), Some(1), "a=b"),
            ("tcp:localhost:80", TargetKind::Probe, Some("localhost"), Some(80), "tcp:localhost:80"),
            ("a=hold:tcp:[::1]:22:timeout=5", TargetKind::Hold, Some("::1"), Some(22), "a"),
            ("tcp:host=h:port=1", TargetKind::Probe, Some("h"), Some(1), "tcp:host=h:port=1"),
            ("unix:/run/x", TargetKind::Probe, None, None, "unix:/run/x"),
            (r"a=hold:unix:@x\://y", TargetKind::Hold, None, None, "a"),
            ("localhost:80", TargetKind::Probe, Some("localhost"), Some(80), "localhost:80"),
            ("web=10.0.0.1:80", TargetKind::Probe, Some("10.0.0.1"), Some(80), "web"),
            ("[::1]:22", TargetKind::Probe, Some("::1"), Some(22), "[::1]:22"),
            ("a=hold:localhost:22", TargetKind::Hold, Some("localhost"), Some(22), "a"),
            ("unix:///run/x", TargetKind::Probe, None, None, "unix:///run/x"),
            (
                "tls://example.org:443",
                TargetKind::Probe,
                Some("example.org"),
                Some(443),
                "tls://example.org:443",
            ),
            ("tls:h:443", TargetKind::Probe, Some("h"), Some(443), "tls:h:443"),
            ("a=hold:tls:tcp:h:443:roots=/ca.pem:timeout=2", TargetKind::Hold, Some("h"), Some(443), "a"),
            ("a=hold:tls://h:443", TargetKind::Hold, Some("h"), Some(443), "a"),
            ("tls:unix:/run/x:name=h", TargetKind::Probe, None, None, "tls:unix:/run/x:name=h"),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!(
                (target.kind(), target.host().as_deref(), target.port(), target.name()),
                (kind, host, port, name)
            );
            assert_eq!(target.to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_the_target() {
        for (text, why) in [
            ("localhost", "the port is missing; write localhost:PORT"),
            ("hold:127.0.0.1", "the port is missing; write 127.0.0.1:PORT"),
            ("n=::1", "the port is missing; write [::1]:PORT"),
            ("[::1]", "the port is missing; write [::1]:PORT"),
            ("hodl://x:1", "unknown scheme \"hodl\"; did you mean hold://x:1?"),
            ("n=tpc://x:1", "unknown scheme \"tpc\"; did you mean tcp://x:1?"),
            ("TCP://x:1", "unknown scheme \"TCP\"; did you mean tcp://x:1?"),
            ("hodl:tcp:h:1", "unknown kind \"hodl\"; did you mean hold:tcp:h:1?"),
            ("n=hold:unxi:/x", "unknown kind \"unxi\"; did you mean hold:unix:/x?"),
            ("tpc:h:1", "unknown kind \"tpc\"; did you mean tcp:h:1?"),
            ("tcp://[fe80::1]:80", "a link-local address needs a zone, such as fe80::1%eth0"),
            ("tcp://7007", "the host is missing before the port; did you mean localhost:7007?"),
            (
                "tcp:7007",
                "at column 5: host: the host is missing before the port; did you mean tcp:localhost:7007?",
            ),
            ("hold:7007", "the host is missing before the port; did you mean localhost:7007?"),
            ("7007", "the host is missing before the port; did you mean localhost:7007?"),
            ("n=:22", "the host is missing before the port; did you mean localhost:22?"),
            ("localhost:0", "port 0 cannot be connected to"),
            ("1.2.3.256:80", "the host looks like an IP address but is not one"),
            ("tls://h", "the port is missing; write HOST:PORT"),
            ("tls:h", "at column 6: port: it is missing; write tcp:HOST:PORT"),
            (
                "n=hold:tls:h:1:pin=x",
                "at column 20: pin: a pin is the SHA-256 hash of a public key, 64 hexadecimal digits",
            ),
            ("tls:h:1:keepalive=5", "keepalive has no effect: the target is not held; write hold: before it"),
            ("udp:h:80", FORMS),
            ("tcp:h", "at column 6: port: it is missing; write tcp:HOST:PORT"),
            ("n=tcp:h:0", "at column 9: port: port 0 cannot be connected to"),
            (
                "n=hold:tcp:h:80:timeout=soon",
                "at column 25: timeout: write a time in seconds, or with ns, us, ms, s, m, h or d, such as 250ms or 1h30m",
            ),
            (
                "tcp:h:80:keepalive=5",
                "keepalive has no effect: the target is not held; write hold: before it",
            ),
            ("hold:tcp:h:80:nodelay=no", "nodelay has no effect: nothing is sent to a target"),
            ("hold:tcp:h:80:keepalive=10h", "at column 25: keepalive: must be at most 32767 seconds"),
            ("hold:tcp:h:80:keepalive=36000", "at column 25: keepalive: must be at most 32767 seconds"),
            ("hold:tcp:h:80:keepalive=0", "at column 25: keepalive: must be greater than zero"),
            ("hold:unix:", "at column 11: path: the path of the socket is empty"),
            ("=tcp:h:80", "a name has 1 to 64 bytes and no control characters"),
            ("tcp://localhost", "the port is missing; write HOST:PORT"),
            ("tcp://:80", "the host is missing before the port; did you mean localhost:80?"),
            ("tcp://", "the port is missing; write HOST:PORT"),
            ("tcp://h:0", "port 0 cannot be connected to"),
            ("tcp://h:70000", "the port is above 65535"),
            ("tcp://h:80/x", "the port is not a number"),
            ("=tcp://h:80", "a name has 1 to 64 bytes and no control characters"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap_err().why, why, "{text}");
        }
        for text in ["", "n="] {
            let why = text.parse::<Target>().unwrap_err().why;
            assert!(why.starts_with("it is empty: a target is HOST:PORT"), "{text}: {why}");
        }
        let error = "udp://h:80\n".parse::<Target>().unwrap_err().to_string();
        assert_eq!(error, format!("bad target \"udp://h:80\\n\": unknown scheme \"udp\": {FORMS}"));
    }
}
