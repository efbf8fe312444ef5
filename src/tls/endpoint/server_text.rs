//! `tls:` for servers: `tls:tcp:8443:cert=/etc/tls/chain.pem:key=/etc/tls/key.pem`.

use std::path::PathBuf;
use std::time::Duration;

use super::{alpn, handshake_timeout, list, min_version, name_of, version_text};
use crate::endpoint::{Argument, Arguments, ParseError, Registry, ServerEndpoint, TextBuilder};
use crate::tls::credentials::certificates_at;
use crate::tls::{
    ClientCertificates, IdentityFiles, IdentityWatch, Roots, ServerTls, TlsAcceptor, TlsConfigError,
    TlsFactory, TlsVersion,
};
use crate::{BuildContext, Error, Factory, Layer, Listener, Protocol, Reactor, Result};

/// A server endpoint that was parsed from text. Files are read when it listens, and again when they
/// change.
pub(crate) struct TlsServerText {
    endpoint: Box<dyn ServerEndpoint>,
    options: ServerOptions,
}

impl TlsServerText {
    /// Wraps an endpoint.
    pub(crate) fn new(endpoint: Box<dyn ServerEndpoint>, options: ServerOptions) -> TlsServerText {
        TlsServerText { endpoint, options }
    }

    /// Parses the arguments after `tls`.
    pub(super) fn parse(arguments: &mut Arguments, registry: &Registry) -> Result<TlsServerText, ParseError> {
        let options = ServerOptions::parse(arguments)?;
        let mut inner = arguments.nested_in("tcp", |kind| registry.is_kind(kind))?;
        let is_datagram = registry.datagrams().any(|known| known == inner.prefix());
        if is_datagram && !registry.servers().any(|known| known == inner.prefix()) {
            return Err(inner.bad("TLS is for streams, and not for datagrams"));
        }
        let endpoint = registry.server(&mut inner)?;
        if options.files.is_empty() {
            return Err(inner.missing("cert", "it is missing; write cert=PATH:key=PATH"));
        }
        Ok(TlsServerText::new(endpoint, options))
    }

    /// The wrapped endpoint.
    #[cfg(feature = "cli")]
    pub(crate) fn inner(&self) -> &dyn ServerEndpoint {
        &*self.endpoint
    }

    #[cfg(feature = "cli")]
    pub(crate) fn options(&self) -> &ServerOptions {
        &self.options
    }
}

impl ServerEndpoint for TlsServerText {
    fn listen(&self, reactor: &mut Reactor, factory: Box<dyn Factory>) -> Result<Listener> {
        self.listen_below(reactor, factory, &|factory| factory)
    }

    fn listen_below(
        &self,
        reactor: &mut Reactor,
        factory: Box<dyn Factory>,
        below: &dyn Fn(Box<dyn Factory>) -> Box<dyn Factory>,
    ) -> Result<Listener> {
        let acceptor = self
            .options
            .acceptor(reactor)
            .map_err(|error| Error::Endpoint { endpoint: self.describe(), source: Box::new(error) })?;
        let factory = WatchedFactory {
            factory: acceptor.factory(factory),
            acceptor,
            options: self.options.clone(),
            watch: None,
        };
        self.endpoint.listen_below(reactor, Box::new(factory), below)
    }

    fn describe(&self) -> String {
        let text = TextBuilder::new(&format!("tls:{}", self.endpoint.describe()));
        self.options.describe(text).text()
    }
}

/// The factory of a listener. It watches the files of the certificates while it is listened on.
struct WatchedFactory {
    factory: TlsFactory<Box<dyn Factory>>,
    acceptor: TlsAcceptor,
    options: ServerOptions,
    watch: Option<IdentityWatch>,
}

impl Factory for WatchedFactory {
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        self.factory.build_protocol(context)
    }

    fn layers(&mut self, context: &mut BuildContext<'_>) -> Vec<Box<dyn Layer>> {
        self.factory.layers(context)
    }

    fn start_factory(&mut self, reactor: &mut Reactor) {
        if !self.options.reload.is_zero() {
            let watch = self.acceptor.watch_files(self.options.files.clone()).interval(self.options.reload);
            self.watch = Some(watch.start(reactor, |_, _| {}));
        }
        self.factory.start_factory(reactor);
    }

    fn stop_factory(&mut self, reactor: &mut Reactor) {
        if let Some(watch) = self.watch.take() {
            watch.stop(reactor);
        }
        self.factory.stop_factory(reactor);
    }
}

/// The options of a server in text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerOptions {
    files: Vec<IdentityFiles>,
    client_ca: Option<PathBuf>,
    client_optional: bool,
    alpn: Vec<String>,
    min_version: TlsVersion,
    handshake_timeout: Option<Duration>,
    /// The time between two looks at the files. Zero: they are not watched.
    reload: Duration,
}

impl ServerOptions {
    fn parse(arguments: &mut Arguments) -> Result<ServerOptions, ParseError> {
        let certs = arguments.keys("cert", Argument::text)?;
        let keys = arguments.keys("key", |argument| Ok((argument.text()?, argument.clone())))?;
        if let Some((_, surplus)) = keys.get(certs.len()) {
            return Err(surplus.bad("there are more keys than certificates"));
        }
        if !keys.is_empty() && keys.len() < certs.len() {
            let why = format!("{} certificates need as many keys, and there are {}", certs.len(), keys.len());
            return Err(arguments.missing("key", why));
        }
        // Without keys, each file has the key as well.
        let keys = match keys.is_empty() {
            true => certs.clone(),
            false => keys.into_iter().map(|(key, _)| key).collect(),
        };
        let files = certs.into_iter().zip(keys).map(|(cert, key)| IdentityFiles::new(cert, key)).collect();
        let client_ca = arguments.key("client_ca", Argument::text)?.map(PathBuf::from);
        let client_optional = arguments.key("client_auth", |argument| match argument.value() {
            _ if client_ca.is_none() => Err(argument.bad("it has no effect without client_ca")),
            "required" => Ok(false),
            "optional" => Ok(true),
            _ => Err(argument.bad("it is either required or optional")),
        })?;
        Ok(ServerOptions {
            files,
            client_ca,
            client_optional: client_optional.unwrap_or(false),
            alpn: arguments.key("alpn", alpn)?.unwrap_or_default(),
            min_version: arguments.key("min_version", min_version)?.unwrap_or_default(),
            handshake_timeout: handshake_timeout(arguments)?,
            reload: arguments.key("reload", Argument::seconds)?.unwrap_or(RELOAD),
        })
    }

    /// Makes the configuration. Reads the files, and blocks meanwhile.
    fn acceptor(&self, reactor: &mut Reactor) -> Result<TlsAcceptor, TlsConfigError> {
        let roots = match &self.client_ca {
            Some(path) => Some(Roots::Only(certificates_at(reactor, path)?)),
            None => None,
        };
        let usual = ServerTls::default();
        TlsAcceptor::new(ServerTls {
            identities: self.files.iter().map(|files| files.read_at(reactor)).collect::<Result<_, _>>()?,
            client_certificates: match roots {
                None => ClientCertificates::None,
                Some(roots) if self.client_optional => ClientCertificates::Optional(roots),
                Some(roots) => ClientCertificates::Required(roots),
            },
            alpn: self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect(),
            min_version: self.min_version,
            handshake_timeout: self.handshake_timeout.unwrap_or(usual.handshake_timeout),
            ..usual
        })
    }

    fn describe(&self, mut text: TextBuilder) -> TextBuilder {
        let has_keys = self.files.iter().any(|files| files.key != files.chain);
        for files in &self.files {
            text = text
                .optional("cert", Some(name_of(&files.chain)))
                .optional("key", has_keys.then(|| name_of(&files.key)));
        }
        text.optional("client_ca", self.client_ca.as_deref().map(name_of))
            .optional("client_auth", self.client_optional.then_some("optional"))
            .optional("alpn", list(&self.alpn))
            .key("min_version", version_text(self.min_version), version_text(TlsVersion::default()))
            .optional("handshake_timeout", self.handshake_timeout.map(|time| time.as_secs_f64()))
            .seconds("reload", self.reload, RELOAD)
    }
}

/// Time between two looks at the files. They change every few weeks.
const RELOAD: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn described(text: &str) -> Result<String, ParseError> {
        Registry::default().server_from_string(text).map(|endpoint| endpoint.describe())
    }

    #[test]
    fn what_is_described_is_read_back() {
        for text in [
            "tls:tcp:8443:cert=/c.pem",
            "tls:tcp:8443:interface=127.0.0.1:cert=/a:key=/b:cert=/c:key=/d",
            "tls:unix:/run/x:mode=660:cert=/a:client_ca=/ca:client_auth=optional:alpn=h2,http/1.1:min_version=1.3:handshake_timeout=2:reload=0",
            "tls:haproxy:tcp:8443:cert=/c.pem",
            "haproxy:tls:tcp:8443:cert=/c.pem:allow=everybody",
            "tls:systemd:name=web:cert=/c.pem",
        ] {
            assert_eq!(described(text).unwrap(), text);
        }
        for (text, long) in [
            ("tls:8443:cert=/c", "tls:tcp:8443:cert=/c"),
            ("tls:127.0.0.1:8443:cert=/c:reload=10", "tls:tcp:8443:interface=127.0.0.1:cert=/c"),
            ("tls:[::1]:8443:cert=/c:key=/c", "tls:tcp:8443:interface=[::1]:cert=/c"),
            ("tls:tcp:1:cert=/c:client_ca=/r:client_auth=required", "tls:tcp:1:cert=/c:client_ca=/r"),
        ] {
            assert_eq!(described(text).unwrap(), long);
        }
    }

    #[test]
    fn what_is_wrong_is_named_in_the_whole_text() {
        for (text, position, key) in [
            ("tls", 3, None),
            ("tls:8443", 8, Some("cert")),
            ("tls:tcp:cert=/c", 15, Some("port")),
            ("tls:tcp:80:cert=", 16, Some("cert")),
            ("tls:tcp:80:key=/k", 15, Some("key")),
            ("tls:tcp:80:cert=/c:key=/k:cert=/d", 33, Some("key")),
            ("tls:udp:80:cert=/c", 4, None),
            ("tls:8443:cert=/c:client_auth=optional", 29, Some("client_auth")),
            ("tls:8443:cert=/c:client_ca=/r:client_auth=maybe", 42, Some("client_auth")),
            ("tls:8443:cert=/c:reload=soon", 24, Some("reload")),
            ("haproxy:tls:tcp:80:crt=/c", 19, Some("crt")),
        ] {
            let error = described(text).unwrap_err();
            assert_eq!((error.position, error.key.as_deref()), (position, key), "{error}");
        }
    }
}
