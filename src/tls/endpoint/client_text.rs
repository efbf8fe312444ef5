//! `tls:` for clients: `tls:tcp:example.org:443:name=example.org`.

use std::any::Any;
use std::cell::OnceCell;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{alpn, handshake_timeout, list, min_version, name_of, version_text};
use crate::endpoint::{Argument, Arguments, ClientEndpoint, ParseError, Registry, TextBuilder};
use crate::tls::client::parsed_name;
use crate::tls::credentials::certificates_at;
use crate::tls::{ClientTls, IdentityFiles, Roots, TlsConfigError, TlsConnector, TlsVersion, Verification};
use crate::{ClientFactory, ConnectTcp, ConnectorId, Error, Reactor, Result};

/// A client endpoint that was parsed from text. Files are read when it first connects.
pub(crate) struct TlsClientText {
    endpoint: Box<dyn ClientEndpoint>,
    name: String,
    options: ClientOptions,
    connector: OnceCell<TlsConnector>,
}

impl TlsClientText {
    /// Wraps an endpoint. `name` is the server's.
    pub(crate) fn new(
        endpoint: Box<dyn ClientEndpoint>,
        name: String,
        options: ClientOptions,
    ) -> TlsClientText {
        TlsClientText { endpoint, name, options, connector: OnceCell::new() }
    }

    /// Parses the arguments after `tls`.
    pub(super) fn parse(arguments: &mut Arguments, registry: &Registry) -> Result<TlsClientText, ParseError> {
        let options = ClientOptions::parse(arguments)?;
        let name = arguments.key("name", |argument| {
            parsed_name(argument.value()).map_err(|error| argument.bad(error.to_string()))?;
            argument.text()
        })?;
        let mut inner = arguments.nested_in("tcp", |kind| registry.is_kind(kind))?;
        let kind = inner.prefix().to_owned();
        let endpoint = registry.client(&mut inner)?;
        let name = match (name, (&*endpoint as &dyn Any).downcast_ref::<ConnectTcp>()) {
            (Some(name), _) => name,
            (None, Some(tcp)) => server_name(&tcp.host),
            (None, None) => {
                let why = format!("the server's name is missing; write tls:{kind}:..:name=NAME");
                return Err(inner.missing("name", why));
            }
        };
        parsed_name(&name).map_err(|error| inner.missing("name", format!("{error}; write name=NAME")))?;
        Ok(TlsClientText::new(endpoint, name, options))
    }

    /// The wrapped endpoint.
    #[cfg(feature = "monitor")]
    pub(crate) fn inner(&self) -> &dyn ClientEndpoint {
        &*self.endpoint
    }

    /// The name that the server's certificate must be for.
    #[cfg(feature = "monitor")]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    #[cfg(feature = "monitor")]
    pub(crate) fn options(&self) -> &ClientOptions {
        &self.options
    }

    fn connector(&self, reactor: &mut Reactor) -> Result<&TlsConnector, TlsConfigError> {
        if let Some(connector) = self.connector.get() {
            return Ok(connector);
        }
        let connector = self.options.connector_of(reactor, |_| {})?;
        Ok(self.connector.get_or_init(|| connector))
    }
}

impl ClientEndpoint for TlsClientText {
    fn connect(&self, reactor: &mut Reactor, factory: Box<dyn ClientFactory>) -> Result<ConnectorId> {
        let error =
            |error: TlsConfigError| Error::Endpoint { endpoint: self.describe(), source: Box::new(error) };
        let factory = self.connector(reactor).map_err(error)?.factory(factory, &self.name).map_err(error)?;
        self.endpoint.connect(reactor, Box::new(factory))
    }

    fn describe(&self) -> String {
        let tcp = (&*self.endpoint as &dyn Any).downcast_ref::<ConnectTcp>();
        let usual = tcp.map(|tcp| server_name(&tcp.host)).unwrap_or_default();
        let text = TextBuilder::new(&format!("tls:{}", self.endpoint.describe()));
        self.options.describe(text.key("name", self.name.as_str(), usual.as_str())).text()
    }
}

/// The name of a host, without the zone of its address.
pub(crate) fn server_name(host: &str) -> String {
    host.split('%').next().unwrap_or_default().to_owned()
}

/// The options of a client in text, except its server's name. Equal options make equal connectors.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClientOptions {
    pub(crate) roots: RootsFrom,
    pins: Vec<[u8; 32]>,
    pub(crate) alpn: Vec<String>,
    identity: Option<IdentityFiles>,
    min_version: TlsVersion,
    handshake_timeout: Option<Duration>,
    pub(crate) insecure: bool,
}

/// Where roots come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RootsFrom {
    #[default]
    System,
    None,
    File(PathBuf),
}

impl ClientOptions {
    fn parse(arguments: &mut Arguments) -> Result<ClientOptions, ParseError> {
        let roots = arguments.key("roots", |argument| {
            Ok(match argument.text()?.as_str() {
                "system" => RootsFrom::System,
                "none" => RootsFrom::None,
                path => RootsFrom::File(path.into()),
            })
        })?;
        let pins = arguments.keys("pin", pin)?;
        let alpn = arguments.key("alpn", alpn)?.unwrap_or_default();
        let cert = arguments.key("cert", Argument::text)?;
        let key = arguments.key("key", |argument| match cert {
            Some(_) => argument.text(),
            None => Err(argument.bad("it is of no use without cert")),
        })?;
        let identity = cert.map(|cert| {
            let key = key.unwrap_or_else(|| cert.clone());
            IdentityFiles::new(cert, key)
        });
        let min_version = arguments.key("min_version", min_version)?.unwrap_or_default();
        let handshake_timeout = handshake_timeout(arguments)?;
        let verifies = roots.is_some() || !pins.is_empty();
        let insecure = arguments.key("insecure", |argument| match argument.flag()? {
            true if verifies => Err(argument.bad("it verifies nothing, so roots and pin have no effect")),
            insecure => Ok(insecure),
        })?;
        let roots = roots.unwrap_or_default();
        if roots == RootsFrom::None && pins.is_empty() {
            return Err(
                arguments.missing("pin", "it is missing: without roots, only pinned keys are trusted")
            );
        }
        let insecure = insecure.unwrap_or(false);
        Ok(ClientOptions { roots, pins, alpn, identity, min_version, handshake_timeout, insecure })
    }

    /// Makes the configuration, with options changed by `change`. Reads the files, and blocks
    /// meanwhile.
    pub(crate) fn connector_of(
        &self,
        reactor: &mut Reactor,
        change: impl FnOnce(&mut ClientTls),
    ) -> Result<TlsConnector, TlsConfigError> {
        if self.insecure {
            log_warn!("insecure=yes: certificates of TLS servers are not verified, a server may be anybody");
        }
        let mut options = self.client_tls(reactor)?;
        change(&mut options);
        TlsConnector::new(options)
    }

    /// The options as a value. Reads the files, and blocks meanwhile.
    fn client_tls(&self, reactor: &mut Reactor) -> Result<ClientTls, TlsConfigError> {
        let usual = ClientTls::default();
        Ok(ClientTls {
            roots: match &self.roots {
                RootsFrom::System => Roots::System,
                RootsFrom::None => Roots::PinnedKeys,
                RootsFrom::File(path) => Roots::Only(certificates_at(reactor, path)?),
            },
            pinned_keys: self.pins.clone(),
            verification: if self.insecure { Verification::Reported } else { Verification::Enforced },
            identity: self.identity.as_ref().map(|files| files.read_at(reactor)).transpose()?,
            alpn: self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect(),
            min_version: self.min_version,
            handshake_timeout: self.handshake_timeout.unwrap_or(usual.handshake_timeout),
            ..usual
        })
    }

    fn describe(&self, text: TextBuilder) -> TextBuilder {
        let roots = match &self.roots {
            RootsFrom::System => None,
            RootsFrom::None => Some("none".to_owned()),
            RootsFrom::File(path) => Some(name_of(path)),
        };
        let mut text = text.optional("roots", roots);
        for pin in &self.pins {
            text = text.optional("pin", Some(Hexadecimal(pin)));
        }
        let identity = self.identity.as_ref();
        text.optional("alpn", list(&self.alpn))
            .optional("cert", identity.map(|files| name_of(&files.chain)))
            .optional(
                "key",
                identity.filter(|files| files.key != files.chain).map(|files| name_of(&files.key)),
            )
            .key("min_version", version_text(self.min_version), version_text(TlsVersion::default()))
            .optional("handshake_timeout", self.handshake_timeout.map(|time| time.as_secs_f64()))
            .flag("insecure", self.insecure, false)
    }
}

/// Parses the SHA-256 hash of a key: 64 hexadecimal digits, also in pairs with colons.
fn pin(argument: &Argument) -> Result<[u8; 32], ParseError> {
    let digits: String = argument.value().chars().filter(|character| *character != ':').collect();
    let mut hash = [0; 32];
    if digits.len() != 2 * hash.len() || !digits.is_ascii() {
        return Err(argument.bad("a pin is the SHA-256 hash of a public key, 64 hexadecimal digits"));
    }
    for (place, at) in hash.iter_mut().zip((0..).step_by(2)) {
        let byte = digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        *place = byte.ok_or_else(|| argument.bad("it has other characters than hexadecimal digits"))?;
    }
    Ok(hash)
}

/// A hash as it is written.
pub(crate) struct Hexadecimal<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hexadecimal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(text: &str) -> Result<String, ParseError> {
        Registry::default().client_from_string(text).map(|endpoint| endpoint.describe())
    }

    #[test]
    fn what_is_described_is_read_back() {
        let pin = "ab".repeat(32);
        for text in [
            "tls:tcp:example.org:443",
            "tls:tcp:[::1]:443:timeout=2:name=example.org",
            "tls:tcp:[fe80::1%2]:443",
            "tls:unix:/run/x:name=example.org",
            "tls:tcp:h:443:roots=/etc/ca.pem:alpn=h2,http/1.1:cert=/a.pem:key=/b.pem:min_version=1.3:handshake_timeout=2.5",
            &format!("tls:tcp:h:443:roots=none:pin={pin}:pin={}", "00".repeat(32)),
            "tls:tcp:h:443:cert=/both.pem:insecure=yes",
        ] {
            assert_eq!(described(text).unwrap(), text);
        }
        for (text, long) in [
            ("tls:example.org:443", "tls:tcp:example.org:443"),
            ("tls:[::1]:443", "tls:tcp:[::1]:443"),
            ("tls:h:443:roots=system:insecure=no", "tls:tcp:h:443"),
            ("tls:h:443:name=h", "tls:tcp:h:443"),
        ] {
            assert_eq!(described(text).unwrap(), long);
        }
        let colons = vec!["AB"; 32].join(":");
        assert_eq!(described(&format!("tls:h:1:pin={colons}")).unwrap(), format!("tls:tcp:h:1:pin={pin}"));
    }

    #[test]
    fn what_is_wrong_is_named_in_the_whole_text() {
        for (text, position, key) in [
            ("tls", 3, None),
            ("tls:443", 4, Some("host")),
            ("tls:h", 5, Some("port")),
            ("tls:tcp:h", 9, Some("port")),
            ("tls:h:x443", 4, Some("h")),
            ("tls:tpc:h:443", 4, Some("tpc")),
            ("tls:unxi:/run/x", 4, Some("unxi")),
            ("tls:udp:443", 4, Some("udp")),
            ("tls:unix:/run/x", 15, Some("name")),
            ("tls:h:443:nmae=x", 10, Some("nmae")),
            ("tls:h:443:name=a b", 15, Some("name")),
            ("tls:h:443:roots=", 16, Some("roots")),
            ("tls:h:443:roots=none", 20, Some("pin")),
            ("tls:h:443:pin=abc", 14, Some("pin")),
            ("tls:h:443:alpn=h2,,x", 15, Some("alpn")),
            ("tls:h:443:key=/k", 14, Some("key")),
            ("tls:h:443:min_version=1.1", 22, Some("min_version")),
            ("tls:h:443:handshake_timeout=0", 28, Some("handshake_timeout")),
            ("tls:h:443:roots=/r:insecure=yes", 28, Some("insecure")),
            ("tls:h:443:insecure=maybe", 19, Some("insecure")),
        ] {
            let error = described(text).unwrap_err();
            assert_eq!((error.position, error.key.as_deref()), (position, key), "{error}");
        }
        let why = described("tls:h:443:nmae=x").unwrap_err().why;
        assert!(why.contains("did you mean name?"), "{why}");
        let why = described("tls:unxi:/run/x").unwrap_err().why;
        assert!(why.contains("did you mean unix?"), "{why}");
    }
}
