//! Endpoints: where to listen or connect, as values and as text.
//!
//! A [`ServerEndpoint`] listens and a [`ClientEndpoint`] connects. Code that uses an endpoint does
//! not depend on its transport, which may be TCP, a UNIX socket or a wrapper of another endpoint.
//! As values, endpoints are the options for listening and connecting, such as
//! [`ListenTcp`](crate::ListenTcp). As text, from a configuration file or a command line, they are
//! parsed by [`server_from_string`], [`client_from_string`] and [`datagram_from_string`]. The
//! syntax is Twisted's:
//!
//! | text | endpoint | further keys, with their defaults |
//! |---|---|---|
//! | **servers** | | |
//! | `tcp:8080`, `tcp:127.0.0.1:8080` | a TCP port, on all IPv4 addresses or on one | `interface` (an IP address of either family), `backlog` (1024), `reuse_address` (yes), `reuse_port` (no), `nodelay` (yes), `keepalive`, `user_timeout`, `send_buffer`, `receive_buffer`, `ipv6_only` |
//! | `tcp6:8080` | a TCP port on all IPv6 addresses; with `ipv6_only=no` on IPv4 as well | as for `tcp` |
//! | `unix:/run/app.sock`, `unix:@name` | a UNIX socket, by path or abstract name | `mode` (set by the umask), `backlog` (1024), `remove_stale` (yes), `unlink` (yes), `send_buffer`, `receive_buffer` |
//! | `fd:3` | an inherited descriptor that is listening already | |
//! | `systemd:name=web`, `systemd:index=0` | a socket passed by systemd (`LISTEN_FDS`); with both keys, the socket with this index among those of this name | |
//! | `haproxy:tcp:8080` | any other server, whose connections begin with a PROXY header; the peer is the address in the header | `allow` (`127.0.0.0/8,::1,unix`: peers that may send headers, or `everybody`), `header_timeout` (5), and the keys of the wrapped server |
//! | `tls:tcp:8443`, `tls:8443`, `tls:unix:/run/app.sock` | any other server, whose connections start with TLS (with the feature `tls`) | `cert` (required) and `key` (PEM files; repeated for several certificates, which are chosen by the client's server name; without any `key`, the files of `cert` have both), `client_ca` (PEM file of the roots of client certificates), `client_auth` (`required`, or `optional`), `alpn` (protocols, with commas), `min_version` (1.2), `handshake_timeout` (10), `reload` (10: time between two looks at the files, 0 for none), and the keys of the wrapped server |
//! | **clients** | | |
//! | `tcp:example.org:80` | a TCP port, with the host's name or address | `timeout` (10), `attempt_delay` (0.25), `bind` (`IP` or `IP:PORT`), `reuse_address` (no), `nodelay` (yes), `keepalive`, `user_timeout`, `send_buffer`, `receive_buffer` |
//! | `unix:/run/app.sock`, `unix:@name` | a UNIX socket | `timeout` (10), `bind`, `send_buffer`, `receive_buffer` |
//! | `tls:tcp:example.org:443`, `tls:example.org:443`, `tls:unix:/run/app.sock` | any other client, whose connections start with TLS (with the feature `tls`) | `name` (the host; required for other kinds than `tcp`), `roots` (`system`, `none` with `pin`, or a PEM file), `pin` (SHA-256 of the server's public key in hexadecimal; several are alternatives), `alpn`, `cert` and `key` (PEM files of a client certificate), `min_version` (1.2), `handshake_timeout` (10), `insecure` (no: **yes verifies nothing**), and the keys of the wrapped client |
//! | **datagrams** | | |
//! | `udp:53` | a UDP port, on all IPv4 addresses | `interface`, `max_size` (65507), `reuse_address` (no), `reuse_port` (no), `broadcast` (no), `ipv6_only`, `send_buffer`, `receive_buffer` |
//! | `udp:example.org:53` | a single UDP peer, with the host's name or address | `bind`, and the keys of `udp:53` except `interface` |
//! | `unix:/run/log.sock`, `unix:@name` | a UNIX datagram socket bound to this path or name; `unix:peer=/run/log.sock` is unbound and only sends | `peer` (the only peer), `max_size` (65507), `mode` (set by the umask), `remove_stale` (yes), `unlink` (yes), `send_buffer`, `receive_buffer` |
//!
//! - Times are in seconds or have units (`250ms`, `1h30m`: ns, us, ms, s, m, h, d).
//! - Permissions are octal.
//! - Flags are `yes` or `no`.
//! - Sizes are in bytes.
//! - Positional arguments can also be given by name (`tcp:host=example.org:port=80`).
//!
//! A `:` separates arguments, and `=` separates a key from its value. A backslash makes the next
//! character literal. [`quote_argument`] escapes a whole argument. Positional arguments come first,
//! so an IPv6 address in a value needs no escapes: `tcp:8080:interface=::1:backlog=50`. As a
//! positional argument it is written in brackets: `tcp:[::1]:80`.
//!
//! Parsing opens nothing. The files of `tls` are read when the endpoint listens, or connects for
//! the first time. A server reads certificates again when their files change.
//!
//! Every error is a [`ParseError`], which names the argument and its position. A [`Registry`] holds
//! the known kinds of endpoints and accepts further kinds.
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

mod connect_protocol;
mod haproxy;
mod inherited;
mod registry;
mod tcp;
mod text;
mod udp;
mod unix;

use std::any::Any;

pub use self::connect_protocol::connect_protocol;
pub use self::inherited::Adopted;
pub use self::registry::Registry;
#[cfg(feature = "tls-no-provider")]
pub(crate) use self::text::TextBuilder;
#[cfg(feature = "monitor")]
pub(crate) use self::text::cli_argument;
#[cfg(feature = "cli")]
pub(crate) use self::text::duration;
pub(crate) use self::text::parse_error;
pub use self::text::{Argument, Arguments, ParseError, quote_argument};
use crate::{ClientFactory, ConnectorId, DatagramId, DatagramProtocol, Factory, Listener, Reactor, Result};

/// A place to listen. (Twisted: `IStreamServerEndpoint`.)
///
/// An endpoint can be downcast through `dyn Any`, for example to a [`ListenTcp`](crate::ListenTcp)
/// that was parsed from text.
#[doc(alias("IStreamServerEndpoint", "TCP4ServerEndpoint"))]
pub trait ServerEndpoint: Any {
    /// Listens, and builds a protocol with `factory` for each connection.
    ///
    /// # Errors
    /// The errors of [`Reactor::listen_tcp`].
    fn listen(&self, reactor: &mut Reactor, factory: Box<dyn Factory>) -> Result<Listener>;

    /// Listens as [`listen`](ServerEndpoint::listen) does, with another factory around that of the
    /// connections: `below` adds layers next to the socket, such as one that reads a PROXY header.
    ///
    /// An endpoint that adds layers of its own and wraps another one passes `below` on to it. The
    /// default wraps `factory`.
    ///
    /// # Errors
    /// Those of [`listen`](ServerEndpoint::listen).
    fn listen_below(
        &self,
        reactor: &mut Reactor,
        factory: Box<dyn Factory>,
        below: &dyn Fn(Box<dyn Factory>) -> Box<dyn Factory>,
    ) -> Result<Listener> {
        self.listen(reactor, below(factory))
    }

    /// Returns the endpoint as text.
    fn describe(&self) -> String;
}

/// A place to connect to. (Twisted: `IStreamClientEndpoint`.)
///
/// The factory receives all events, including the loss of the connection, and can connect again.
#[doc(alias("IStreamClientEndpoint", "TCP4ClientEndpoint", "HostnameEndpoint"))]
pub trait ClientEndpoint: Any {
    /// Connects, and builds a protocol with `factory` once the connection is made.
    ///
    /// # Errors
    /// The errors of [`Reactor::connect_tcp`].
    fn connect(&self, reactor: &mut Reactor, factory: Box<dyn ClientFactory>) -> Result<ConnectorId>;

    /// Returns the endpoint as text.
    fn describe(&self) -> String;
}

/// A datagram socket: bound to a local port or path, or connected to a single peer.
pub trait DatagramEndpoint: Any {
    /// Opens the socket and attaches the protocol.
    ///
    /// # Errors
    /// The errors of [`Reactor::listen_udp`], [`Reactor::connect_udp`] and
    /// [`Reactor::listen_unix_datagram`].
    fn open(&self, reactor: &mut Reactor, protocol: Box<dyn DatagramProtocol>) -> Result<DatagramId>;

    /// Returns the endpoint as text.
    fn describe(&self) -> String;
}

/// Parses a server endpoint of a built-in kind, listed in [the table](self). Opens nothing.
/// (Twisted: `serverFromString`.)
///
/// # Errors
/// [`ParseError`] if the text is not a valid server endpoint.
#[doc(alias = "serverFromString")]
pub fn server_from_string(text: &str) -> Result<Box<dyn ServerEndpoint>, ParseError> {
    Registry::default().server_from_string(text)
}

/// Parses a client endpoint of a built-in kind, listed in [the table](self). Opens nothing and
/// resolves no names. (Twisted: `clientFromString`.)
///
/// # Errors
/// [`ParseError`] if the text is not a valid client endpoint.
#[doc(alias = "clientFromString")]
pub fn client_from_string(text: &str) -> Result<Box<dyn ClientEndpoint>, ParseError> {
    Registry::default().client_from_string(text)
}

/// Parses a datagram endpoint of a built-in kind, listed in [the table](self). Opens nothing and
/// resolves no names. (No counterpart in Twisted.)
///
/// # Errors
/// [`ParseError`] if the text is not a valid datagram endpoint.
pub fn datagram_from_string(text: &str) -> Result<Box<dyn DatagramEndpoint>, ParseError> {
    Registry::default().datagram_from_string(text)
}

/// Boxed endpoints are endpoints.
impl ServerEndpoint for Box<dyn ServerEndpoint> {
    fn listen(&self, reactor: &mut Reactor, factory: Box<dyn Factory>) -> Result<Listener> {
        (**self).listen(reactor, factory)
    }

    fn listen_below(
        &self,
        reactor: &mut Reactor,
        factory: Box<dyn Factory>,
        below: &dyn Fn(Box<dyn Factory>) -> Box<dyn Factory>,
    ) -> Result<Listener> {
        (**self).listen_below(reactor, factory, below)
    }

    fn describe(&self) -> String {
        (**self).describe()
    }
}

/// Boxed endpoints are endpoints.
impl DatagramEndpoint for Box<dyn DatagramEndpoint> {
    fn open(&self, reactor: &mut Reactor, protocol: Box<dyn DatagramProtocol>) -> Result<DatagramId> {
        (**self).open(reactor, protocol)
    }

    fn describe(&self) -> String {
        (**self).describe()
    }
}

/// Boxed endpoints are endpoints.
impl ClientEndpoint for Box<dyn ClientEndpoint> {
    fn connect(&self, reactor: &mut Reactor, factory: Box<dyn ClientFactory>) -> Result<ConnectorId> {
        (**self).connect(reactor, factory)
    }

    fn describe(&self) -> String {
        (**self).describe()
    }
}
