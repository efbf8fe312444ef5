//! Which prefixes there are, and who makes endpoints of what follows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{
    Arguments, ClientEndpoint, DatagramEndpoint, ParseError, ServerEndpoint, haproxy, inherited, tcp, udp,
    unix,
};

/// The kinds of endpoints that text can name: the built-in ones, and those that were added. A plain value: a program
/// makes one, adds what it has, and hands it around. (Twisted: the plugins of `IStreamServerEndpointStringParser` and
/// `IStreamClientEndpointStringParserWithReactor`.)
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
/// // One that wraps another takes what is its own, and has the rest parsed.
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
    servers: BTreeMap<String, Parser<dyn ServerEndpoint>>,
    clients: BTreeMap<String, Parser<dyn ClientEndpoint>>,
    datagrams: BTreeMap<String, Parser<dyn DatagramEndpoint>>,
}

type Parser<E> = Arc<dyn Fn(&mut Arguments, &Registry) -> Result<Box<E>, ParseError> + Send + Sync>;

impl Registry {
    /// Knows nothing.
    pub fn empty() -> Registry {
        Registry { servers: BTreeMap::new(), clients: BTreeMap::new(), datagrams: BTreeMap::new() }
    }

    /// Adds a kind of server: `parser` takes from the arguments what it knows, and what is left over is an error. It
    /// replaces what had the prefix before.
    pub fn register_server(
        &mut self,
        prefix: impl Into<String>,
        parser: impl Fn(&mut Arguments, &Registry) -> Result<Box<dyn ServerEndpoint>, ParseError>
        + Send
        + Sync
        + 'static,
    ) {
        self.servers.insert(prefix.into(), Arc::new(parser));
    }

    /// Adds a kind of client, in the same way.
    pub fn register_client(
        &mut self,
        prefix: impl Into<String>,
        parser: impl Fn(&mut Arguments, &Registry) -> Result<Box<dyn ClientEndpoint>, ParseError>
        + Send
        + Sync
        + 'static,
    ) {
        self.clients.insert(prefix.into(), Arc::new(parser));
    }

    /// Adds a kind of endpoint of datagrams, in the same way.
    pub fn register_datagram(
        &mut self,
        prefix: impl Into<String>,
        parser: impl Fn(&mut Arguments, &Registry) -> Result<Box<dyn DatagramEndpoint>, ParseError>
        + Send
        + Sync
        + 'static,
    ) {
        self.datagrams.insert(prefix.into(), Arc::new(parser));
    }

    /// The prefixes of servers, in alphabetical order.
    pub fn servers(&self) -> impl Iterator<Item = &str> + Clone {
        self.servers.keys().map(String::as_str)
    }

    /// The prefixes of clients, in alphabetical order.
    pub fn clients(&self) -> impl Iterator<Item = &str> + Clone {
        self.clients.keys().map(String::as_str)
    }

    /// The prefixes of endpoints of datagrams, in alphabetical order.
    pub fn datagrams(&self) -> impl Iterator<Item = &str> + Clone {
        self.datagrams.keys().map(String::as_str)
    }

    /// The server that a text names. Nothing is opened yet.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn server_from_string(&self, text: &str) -> Result<Box<dyn ServerEndpoint>, ParseError> {
        self.server(&mut Arguments::of(text)?)
    }

    /// The client that a text names. Nothing is opened or looked up yet.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn client_from_string(&self, text: &str) -> Result<Box<dyn ClientEndpoint>, ParseError> {
        self.client(&mut Arguments::of(text)?)
    }

    /// The endpoint of datagrams that a text names. Nothing is opened yet.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn datagram_from_string(&self, text: &str) -> Result<Box<dyn DatagramEndpoint>, ParseError> {
        self.datagram(&mut Arguments::of(text)?)
    }

    /// The same for a text that was taken apart: for parsers of endpoints that wrap others, with
    /// [`Arguments::nested`].
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn server(&self, arguments: &mut Arguments) -> Result<Box<dyn ServerEndpoint>, ParseError> {
        let parser = self.servers.get(arguments.prefix());
        let parser = parser.ok_or_else(|| self.unknown(arguments, self.servers()))?;
        let endpoint = parser(arguments, self)?;
        arguments.finish()?;
        Ok(endpoint)
    }

    /// The same for a client.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn client(&self, arguments: &mut Arguments) -> Result<Box<dyn ClientEndpoint>, ParseError> {
        let parser = self.clients.get(arguments.prefix());
        let parser = parser.ok_or_else(|| self.unknown(arguments, self.clients()))?;
        let endpoint = parser(arguments, self)?;
        arguments.finish()?;
        Ok(endpoint)
    }

    /// The same for datagrams.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn datagram(&self, arguments: &mut Arguments) -> Result<Box<dyn DatagramEndpoint>, ParseError> {
        let parser = self.datagrams.get(arguments.prefix());
        let parser = parser.ok_or_else(|| self.unknown(arguments, self.datagrams()))?;
        let endpoint = parser(arguments, self)?;
        arguments.finish()?;
        Ok(endpoint)
    }

    /// An error about a prefix that is none of these: a word that is not known, or a kind for something else.
    fn unknown<'a>(&self, arguments: &Arguments, known: impl Iterator<Item = &'a str> + Clone) -> ParseError {
        let prefix = arguments.prefix();
        let instead = [
            (self.servers.contains_key(prefix), "it is a kind of server"),
            (self.clients.contains_key(prefix), "it is a kind of client"),
            (self.datagrams.contains_key(prefix), "it is a kind of datagram endpoint"),
        ];
        let instead = instead.into_iter().find(|(is_known, _)| *is_known).map(|(_, instead)| instead);
        arguments.unknown_prefix(known, instead)
    }
}

/// Knows what is built in: the table of [the module](super).
impl Default for Registry {
    fn default() -> Registry {
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
