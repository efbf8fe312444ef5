//! Endpoints that wrap others in TLS: as values, and as text.

mod client_text;
mod server_text;

use std::path::Path;
use std::time::Duration;

pub(crate) use self::client_text::TlsClientText;
#[cfg(feature = "monitor")]
pub(crate) use self::client_text::{ClientOptions, server_name};
#[cfg(feature = "cli")]
pub(crate) use self::client_text::{Hexadecimal, RootsFrom};
#[cfg(feature = "cli")]
pub(crate) use self::server_text::ServerOptions;
pub(crate) use self::server_text::TlsServerText;
use crate::endpoint::{Argument, Arguments, ClientEndpoint, ParseError, Registry, ServerEndpoint};
use crate::tls::layer::Role;
use crate::tls::{TlsFactory, TlsVersion};
use crate::{ClientFactory, ConnectorId, Factory, Listener, Reactor, Result};

/// Registers `tls`. [`Registry::default`] contains it.
pub(crate) fn register_endpoints(registry: &mut Registry) {
    registry.register_server("tls", |arguments, registry| {
        Ok(Box::new(TlsServerText::parse(arguments, registry)?))
    });
    registry.register_client("tls", |arguments, registry| {
        Ok(Box::new(TlsClientText::parse(arguments, registry)?))
    });
}

/// A place to connect to with TLS. See
/// [`TlsConnector::endpoint`](crate::tls::TlsConnector::endpoint). (Twisted: `wrapClientTLS`.)
#[doc(alias = "wrapClientTLS")]
pub struct TlsClientEndpoint {
    endpoint: Box<dyn ClientEndpoint>,
    role: Role,
}

impl TlsClientEndpoint {
    pub(super) fn new(endpoint: Box<dyn ClientEndpoint>, role: Role) -> TlsClientEndpoint {
        TlsClientEndpoint { endpoint, role }
    }

    /// The wrapped endpoint.
    pub fn inner(&self) -> &dyn ClientEndpoint {
        &*self.endpoint
    }
}

impl ClientEndpoint for TlsClientEndpoint {
    fn connect(&self, reactor: &mut Reactor, factory: Box<dyn ClientFactory>) -> Result<ConnectorId> {
        self.endpoint.connect(reactor, Box::new(TlsFactory::new(factory, self.role.clone())))
    }

    fn describe(&self) -> String {
        format!("tls:{}", self.endpoint.describe())
    }
}

/// A place to listen with TLS. See [`TlsAcceptor::endpoint`](crate::tls::TlsAcceptor::endpoint).
pub struct TlsServerEndpoint {
    endpoint: Box<dyn ServerEndpoint>,
    role: Role,
}

impl TlsServerEndpoint {
    pub(super) fn new(endpoint: Box<dyn ServerEndpoint>, role: Role) -> TlsServerEndpoint {
        TlsServerEndpoint { endpoint, role }
    }

    /// The wrapped endpoint.
    pub fn inner(&self) -> &dyn ServerEndpoint {
        &*self.endpoint
    }
}

impl ServerEndpoint for TlsServerEndpoint {
    fn listen(&self, reactor: &mut Reactor, factory: Box<dyn Factory>) -> Result<Listener> {
        self.endpoint.listen(reactor, Box::new(TlsFactory::new(factory, self.role.clone())))
    }

    fn listen_below(
        &self,
        reactor: &mut Reactor,
        factory: Box<dyn Factory>,
        below: &dyn Fn(Box<dyn Factory>) -> Box<dyn Factory>,
    ) -> Result<Listener> {
        let factory = TlsFactory::new(factory, self.role.clone());
        self.endpoint.listen_below(reactor, Box::new(factory), below)
    }

    fn describe(&self) -> String {
        format!("tls:{}", self.endpoint.describe())
    }
}

// -- arguments of both sides --

/// Parses names of application protocols, with commas between them.
fn alpn(argument: &Argument) -> Result<Vec<String>, ParseError> {
    let names: Vec<String> = argument.value().split(',').map(str::to_owned).collect();
    match names.iter().all(|name| (1..=255).contains(&name.len())) {
        true => Ok(names),
        false => {
            Err(argument.bad("write names of 1 to 255 bytes with commas between them, such as h2,http/1.1"))
        }
    }
}

fn min_version(argument: &Argument) -> Result<TlsVersion, ParseError> {
    match argument.value() {
        "1.2" => Ok(TlsVersion::Tls12),
        "1.3" => Ok(TlsVersion::Tls13),
        _ => Err(argument.bad("it is either 1.2 or 1.3")),
    }
}

fn handshake_timeout(arguments: &mut Arguments) -> Result<Option<Duration>, ParseError> {
    arguments.key("handshake_timeout", Argument::positive_seconds)
}

// -- and their text --

fn version_text(version: TlsVersion) -> &'static str {
    match version {
        TlsVersion::Tls12 => "1.2",
        TlsVersion::Tls13 => "1.3",
    }
}

fn list(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| names.join(","))
}

/// A path as text. It came from text, so nothing is lost.
fn name_of(path: &Path) -> String {
    path.display().to_string()
}
