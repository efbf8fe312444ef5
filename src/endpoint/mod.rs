//! Endpoints: where connections live, as values and as text, apart from what they do.
//!
//! A [`ServerEndpoint`] listens, a [`ClientEndpoint`] connects. Whoever has one need not know whether it is TCP, a UNIX
//! socket or something that wraps another. As values they are the options of listening and connecting,
//! [`ListenTcp`](crate::ListenTcp) and its like. As text, from a configuration or a command line, they are what
//! [`server_from_string`], [`client_from_string`] and [`datagram_from_string`] read, in Twisted's syntax:
//!
//! | text | what it is | further keys, with their defaults |
//! |---|---|---|
//! | **servers** | | |
//! | `tcp:8080`, `tcp:127.0.0.1:8080` | a port of TCP, on all addresses of IPv4 or on one | `interface` (an IP address of either family), `backlog` (1024), `reuse_address` (yes), `reuse_port` (no), `nodelay` (yes), `keepalive`, `user_timeout`, `send_buffer`, `receive_buffer`, `ipv6_only` |
//! | `tcp6:8080` | the same on all addresses of IPv6; with `ipv6_only=no` of both families | the same |
//! | `unix:/run/app.sock`, `unix:@name` | a UNIX socket, by path or by abstract name | `mode` (the umask decides), `backlog` (1024), `remove_stale` (yes), `unlink` (yes), `send_buffer`, `receive_buffer` |
//! | `fd:3` | a descriptor that was inherited, and listens already | |
//! | `systemd:name=web`, `systemd:index=0` | a socket that systemd passed (`LISTEN_FDS`); with both, the one of this name with this index | |
//! | `haproxy:tcp:8080` | any other server, whose connections begin with a PROXY header: the peer is the one that it names | `allow` (`127.0.0.0/8,::1,unix`: who may send headers, or `everybody`), `header_timeout` (5), and those of the other |
//! | **clients** | | |
//! | `tcp:example.org:80` | a port of TCP, the host by name or address | `timeout` (10), `attempt_delay` (0.25), `bind` (`IP` or `IP:PORT`), `reuse_address` (no), `nodelay` (yes), `keepalive`, `user_timeout`, `send_buffer`, `receive_buffer` |
//! | `unix:/run/app.sock`, `unix:@name` | a UNIX socket | `timeout` (10), `bind`, `send_buffer`, `receive_buffer` |
//! | **datagrams** | | |
//! | `udp:53` | a port of UDP, on all addresses of IPv4 | `interface`, `max_size` (65507), `reuse_address` (no), `reuse_port` (no), `broadcast` (no), `ipv6_only`, `send_buffer`, `receive_buffer` |
//! | `udp:example.org:53` | one peer, the host by name or address | `bind`, and the same but `interface` |
//! | `unix:/run/log.sock`, `unix:@name` | a UNIX socket of datagrams at this path or name, of one's own; `unix:peer=/run/log.sock` has none and sends | `peer` (the only one), `max_size` (65507), `mode` (the umask decides), `remove_stale` (yes), `unlink` (yes), `send_buffer`, `receive_buffer` |
//!
//! Times are in seconds, or have units (`250ms`, `1h30m`: ns, us, ms, s, m, h, d); permissions are octal; what is on or off is `yes` or `no`; sizes are
//! in bytes. An argument that has no key can be given with its name as well (`tcp:host=example.org:port=80`).
//!
//! `:` parts arguments, `=` a key from its value, and a backslash takes the character after it as it is;
//! [`quote_argument`] escapes a whole argument. Arguments without a key come first, and that lets addresses of IPv6
//! stand as they are: `tcp:8080:interface=::1:backlog=50`, and in front of others in brackets: `tcp:[::1]:80`.
//!
//! Reading opens nothing. What is wrong with a text is one [`ParseError`], which names the argument and its place. A
//! [`Registry`] knows the kinds of endpoints, and takes more.
//!
//! ```
//! use twistor::endpoint::{client_from_string, datagram_from_string, server_from_string};
//! # use twistor::{Protocol, Reactor, Transport};
//! # struct Echo;
//! # impl Protocol for Echo {
//! #     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
//! #         transport.write(data);
//! #     }
//! # }
//!
//! let mut reactor = Reactor::new()?;
//! let server = server_from_string("tcp:0:interface=127.0.0.1:backlog=50")?;
//! let listener = server.listen(&mut reactor, Box::new(|| Echo))?;
//! let port = listener.address().port().unwrap();
//! let client = client_from_string(&format!("tcp:localhost:{port}:timeout=5"))?;
//! client.connect(&mut reactor, Box::new(|| Echo))?;
//! # for text in ["tcp:8080", "tcp6:8080", "unix:/run/app.sock", "unix:@name", "fd:3", "systemd:name=web", "systemd:index=0", "haproxy:tcp:8080"] {
//! #     server_from_string(text)?;
//! # }
//! # for text in ["tcp:example.org:80", "unix:/run/app.sock", "unix:@name"] {
//! #     assert_eq!(client_from_string(text)?.describe(), text);
//! # }
//! # for text in ["udp:53", "udp:example.org:53", "unix:/run/log.sock", "unix:@name", "unix:peer=/run/log.sock"] {
//! #     assert_eq!(datagram_from_string(text)?.describe(), text);
//! # }
//!
//! let wrong = client_from_string("tcp:localhost:80:timeuot=5").err().unwrap();
//! assert_eq!((wrong.key.as_deref(), wrong.position), (Some("timeuot"), 17));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arguments;
pub(crate) mod cli_argument;
mod connect_protocol;
mod describe;
pub(crate) mod duration;
mod grammar;
mod haproxy;
mod inherited;
pub(crate) mod parse_error;
mod registry;
mod tcp;
mod udp;
mod unix;

use std::any::Any;

pub use self::arguments::{Argument, Arguments};
pub use self::connect_protocol::connect_protocol;
pub use self::grammar::quote_argument;
pub use self::inherited::Adopted;
pub use self::parse_error::ParseError;
pub use self::registry::Registry;
pub use self::udp::ConnectUdp;
use crate::{ClientFactory, ConnectorId, DatagramId, DatagramProtocol, Factory, Listener, Reactor, Result};

/// Where a server listens. (Twisted: `IStreamServerEndpoint`.)
///
/// It can be looked at through `dyn Any`: a [`ListenTcp`](crate::ListenTcp) that was read from text, say.
pub trait ServerEndpoint: Any {
    /// Listens, and makes a protocol with `factory` for each connection.
    ///
    /// # Errors
    /// As [`Reactor::listen_tcp`].
    fn listen(&self, reactor: &mut Reactor, factory: Box<dyn Factory>) -> Result<Listener>;

    /// The endpoint as text.
    fn describe(&self) -> String;
}

/// Where a client connects to. (Twisted: `IStreamClientEndpoint`.)
///
/// Its factory is told of everything, the loss of the connection included, and can connect again.
pub trait ClientEndpoint: Any {
    /// Connects, and makes a protocol with `factory` once the connection is made.
    ///
    /// # Errors
    /// As [`Reactor::connect_tcp`].
    fn connect(&self, reactor: &mut Reactor, factory: Box<dyn ClientFactory>) -> Result<ConnectorId>;

    /// The endpoint as text.
    fn describe(&self) -> String;
}

/// Where datagrams are received and sent: at a port of one's own, or with one peer.
pub trait DatagramEndpoint: Any {
    /// Opens the socket, with its protocol.
    ///
    /// # Errors
    /// As [`Reactor::listen_udp`], [`Reactor::connect_udp`] and [`Reactor::listen_unix_datagram`].
    fn open(&self, reactor: &mut Reactor, protocol: Box<dyn DatagramProtocol>) -> Result<DatagramId>;

    /// The endpoint as text.
    fn describe(&self) -> String;
}

/// The server that a text names, of the kinds that are built in; see [the table](self). Nothing is opened yet.
/// (Twisted: `serverFromString`.)
///
/// # Errors
/// What is wrong with the text.
pub fn server_from_string(text: &str) -> Result<Box<dyn ServerEndpoint>, ParseError> {
    Registry::default().server_from_string(text)
}

/// The client that a text names, of the kinds that are built in; see [the table](self). Nothing is opened or looked up
/// yet. (Twisted: `clientFromString`.)
///
/// # Errors
/// What is wrong with the text.
pub fn client_from_string(text: &str) -> Result<Box<dyn ClientEndpoint>, ParseError> {
    Registry::default().client_from_string(text)
}

/// The endpoint of datagrams that a text names, of the kinds that are built in; see [the table](self). Nothing is opened
/// or looked up yet. (Twisted has none.)
///
/// # Errors
/// What is wrong with the text.
pub fn datagram_from_string(text: &str) -> Result<Box<dyn DatagramEndpoint>, ParseError> {
    Registry::default().datagram_from_string(text)
}

/// An endpoint whose type is not known is one as well.
impl ServerEndpoint for Box<dyn ServerEndpoint> {
    fn listen(&self, reactor: &mut Reactor, factory: Box<dyn Factory>) -> Result<Listener> {
        (**self).listen(reactor, factory)
    }

    fn describe(&self) -> String {
        (**self).describe()
    }
}

/// An endpoint whose type is not known is one as well.
impl ClientEndpoint for Box<dyn ClientEndpoint> {
    fn connect(&self, reactor: &mut Reactor, factory: Box<dyn ClientFactory>) -> Result<ConnectorId> {
        (**self).connect(reactor, factory)
    }

    fn describe(&self) -> String {
        (**self).describe()
    }
}
