//! The registry of endpoint kinds and their parsers.

use std::fmt;
use std::sync::Arc;

use super::{
    Arguments, ClientEndpoint, DatagramEndpoint, ParseError, ServerEndpoint, haproxy, inherited, tcp, udp,
    unix,
};

/// The kinds of endpoints that can be parsed from text: built-in kinds and registered ones.
/// (Twisted: the plugins of `IStreamServerEndpointStringParser` and
/// `IStreamClientEndpointStringParserWithReactor`.)
///
/// A registry is a plain value. A program creates one, registers its own kinds, and passes it to
/// the code that parses endpoints.
///
/// ```
/// use twistor::endpoint::{Argument, Registry};
/// use twistor::{ConnectTcp, ListenTcp};
///
/// let mut registry = Registry::default();
/// registry.register_server("local", |arguments, _| {
///     let port = arguments.required("port", Argument::port)?;
///     Ok(Box::new(ListenTcp::new(([127, 0, 0, 1], port))))
/// });
/// // A wrapper takes its own arguments and lets the registry parse the rest.
/// registry.register_client("hasty", |arguments, registry| {
///     let mut inner = arguments.nested()?;
///     let endpoint = registry.client(&mut inner)?;
///     Ok(endpoint)
/// });
/// assert_eq!(registry.server_from_string("local:80")?.describe(), "tcp:80:interface=127.0.0.1");
/// assert_eq!(registry.client_from_string("hasty:tcp:h:80")?.describe(), "tcp:h:80");
/// assert!(registry.server_from_string("local:80:backlog=5").is_err());
/// # Ok::<(), twistor::endpoint::ParseError>(())
/// ```
#[derive(Clone)]
pub struct Registry {
    servers: Kinds<dyn ServerEndpoint>,
    clients: Kinds<dyn ClientEndpoint>,
    datagrams: Kinds<dyn DatagramEndpoint>,
}

/// Parsers by prefix, in alphabetical order.
type Kinds<E> = Vec<(String, Parser<E>)>;

type Parser<E> = Arc<dyn Fn(&mut Arguments, &Registry) -> Result<Box<E>, ParseError> + Send + Sync>;

impl Registry {
    /// Creates a registry without any kinds.
    pub fn empty() -> Registry {
        Registry { servers: Vec::new(), clients: Vec::new(), datagrams: Vec::new() }
    }

    /// Registers a kind of server endpoint, replacing an earlier kind with this prefix.
    ///
    /// `parser` takes the arguments that it knows. Arguments that are left over are an error.
    pub fn register_server(
        &mut self,
        prefix: impl Into<String>,
        parser: impl Fn(&mut Arguments, &Registry) -> Result<Box<dyn ServerEndpoint>, ParseError>
        + Send
        + Sync
        + 'static,
    ) {
        register(&mut self.servers, prefix.into(), Arc::new(parser));
    }

    /// Registers a kind of client endpoint. See [`register_server`](Registry::register_server).
    pub fn register_client(
        &mut self,
        prefix: impl Into<String>,
        parser: impl Fn(&mut Arguments, &Registry) -> Result<Box<dyn ClientEndpoint>, ParseError>
        + Send
        + Sync
        + 'static,
    ) {
        register(&mut self.clients, prefix.into(), Arc::new(parser));
    }

    /// Registers a kind of datagram endpoint. See [`register_server`](Registry::register_server).
    pub fn register_datagram(
        &mut self,
        prefix: impl Into<String>,
        parser: impl Fn(&mut Arguments, &Registry) -> Result<Box<dyn DatagramEndpoint>, ParseError>
        + Send
        + Sync
        + 'static,
    ) {
        register(&mut self.datagrams, prefix.into(), Arc::new(parser));
    }

    /// Prefixes of the server endpoints, in alphabetical order.
    pub fn servers(&self) -> impl Iterator<Item = &str> + Clone {
        names(&self.servers)
    }

    /// Prefixes of the client endpoints, in alphabetical order.
    pub fn clients(&self) -> impl Iterator<Item = &str> + Clone {
        names(&self.clients)
    }

    /// Prefixes of the datagram endpoints, in alphabetical order.
    pub fn datagrams(&self) -> impl Iterator<Item = &str> + Clone {
        names(&self.datagrams)
    }

    /// Returns whether a word is a prefix of any endpoint.
    pub fn is_kind(&self, prefix: &str) -> bool {
        self.servers().chain(self.clients()).chain(self.datagrams()).any(|known| known == prefix)
    }

    /// Parses a server endpoint. Opens nothing.
    ///
    /// # Errors
    /// [`ParseError`] if the text is not a valid server endpoint.
    pub fn server_from_string(&self, text: &str) -> Result<Box<dyn ServerEndpoint>, ParseError> {
        self.server(&mut Arguments::of(text)?)
    }

    /// Parses a client endpoint. Opens nothing and resolves no names.
    ///
    /// # Errors
    /// [`ParseError`] if the text is not a valid client endpoint.
    pub fn client_from_string(&self, text: &str) -> Result<Box<dyn ClientEndpoint>, ParseError> {
        self.client(&mut Arguments::of(text)?)
    }

    /// Parses a datagram endpoint. Opens nothing and resolves no names.
    ///
    /// # Errors
    /// [`ParseError`] if the text is not a valid datagram endpoint.
    pub fn datagram_from_string(&self, text: &str) -> Result<Box<dyn DatagramEndpoint>, ParseError> {
        self.datagram(&mut Arguments::of(text)?)
    }

    /// Creates a server endpoint from arguments. Parsers of endpoints that wrap others call it with
    /// [`Arguments::nested`].
    ///
    /// # Errors
    /// [`ParseError`] if the arguments are not a valid server endpoint.
    pub fn server(&self, arguments: &mut Arguments) -> Result<Box<dyn ServerEndpoint>, ParseError> {
        let parser = find(&self.servers, arguments.prefix());
        let parser = parser.ok_or_else(|| self.unknown(arguments, self.servers()))?;
        let endpoint = parser(arguments, self)?;
        arguments.finish()?;
        Ok(endpoint)
    }

    /// Creates a client endpoint from arguments. See [`server`](Registry::server).
    ///
    /// # Errors
    /// [`ParseError`] if the arguments are not a valid client endpoint.
    pub fn client(&self, arguments: &mut Arguments) -> Result<Box<dyn ClientEndpoint>, ParseError> {
        let parser = find(&self.clients, arguments.prefix());
        let parser = parser.ok_or_else(|| self.unknown(arguments, self.clients()))?;
        let endpoint = parser(arguments, self)?;
        arguments.finish()?;
        Ok(endpoint)
    }

    /// Creates a datagram endpoint from arguments. See [`server`](Registry::server).
    ///
    /// # Errors
    /// [`ParseError`] if the arguments are not a valid datagram endpoint.
    pub fn datagram(&self, arguments: &mut Arguments) -> Result<Box<dyn DatagramEndpoint>, ParseError> {
        let parser = find(&self.datagrams, arguments.prefix());
        let parser = parser.ok_or_else(|| self.unknown(arguments, self.datagrams()))?;
        let endpoint = parser(arguments, self)?;
        arguments.finish()?;
        Ok(endpoint)
    }

    /// Error for a prefix that is unknown or belongs to a different kind of endpoint.
    fn unknown<'a>(&self, arguments: &Arguments, known: impl Iterator<Item = &'a str> + Clone) -> ParseError {
        let prefix = arguments.prefix();
        let instead = [
            (find(&self.servers, prefix).is_some(), "it is a kind of server"),
            (find(&self.clients, prefix).is_some(), "it is a kind of client"),
            (find(&self.datagrams, prefix).is_some(), "it is a kind of datagram endpoint"),
        ];
        let instead = instead.into_iter().find(|(is_known, _)| *is_known).map(|(_, instead)| instead);
        arguments.unknown_prefix(known, instead)
    }
}

fn find<'a, E: ?Sized>(kinds: &'a Kinds<E>, prefix: &str) -> Option<&'a Parser<E>> {
    kinds.iter().find(|(name, _)| name == prefix).map(|(_, parser)| parser)
}

fn names<E: ?Sized>(kinds: &Kinds<E>) -> impl Iterator<Item = &str> + Clone {
    kinds.iter().map(|(name, _)| name.as_str())
}

fn register<E: ?Sized>(kinds: &mut Kinds<E>, prefix: String, parser: Parser<E>) {
    kinds.retain(|(name, _)| *name != prefix);
    let place = kinds.partition_point(|(name, _)| *name < prefix);
    kinds.insert(place, (prefix, parser));
}

impl Registry {
    /// Creates a registry with the kinds of this layer. `Registry::default` adds those of the
    /// layers above.
    pub(crate) fn of_sockets() -> Registry {
        let mut registry = Registry::empty();
        registry.register_server("tcp", |arguments, _| Ok(Box::new(tcp::server(arguments)?)));
        registry.register_server("tcp6", |arguments, _| Ok(Box::new(tcp::server_v6(arguments)?)));
        registry.register_server("unix", |arguments, _| Ok(Box::new(unix::server(arguments)?)));
        registry.register_server("fd", |arguments, _| Ok(Box::new(inherited::numbered(arguments)?)));
        registry.register_server("systemd", |arguments, _| Ok(Box::new(inherited::systemd(arguments)?)));
        registry.register_server("haproxy", |arguments, registry| {
            Ok(Box::new(haproxy::server(arguments, registry)?))
        });
        registry.register_client("unix", |arguments, _| Ok(Box::new(unix::client(arguments)?)));
        registry.register_client("tcp", |arguments, _| Ok(Box::new(tcp::client(arguments)?)));
        registry.register_datagram("unix", |arguments, _| Ok(Box::new(unix::datagram(arguments)?)));
        registry.register_datagram("udp", |arguments, _| udp::datagram(arguments));
        registry
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (servers, clients): (Vec<_>, Vec<_>) = (self.servers().collect(), self.clients().collect());
        let datagrams: Vec<_> = self.datagrams().collect();
        let mut shown = f.debug_struct("Registry");
        shown.field("servers", &servers).field("clients", &clients).field("datagrams", &datagrams).finish()
    }
}
