//! The transport: a protocol's handle on its connection.

mod options;
mod output;
mod reading;

use std::os::fd::OwnedFd;
use std::time::Duration;

pub use self::reading::ReadState;
use crate::net::{Instant, Token};
use crate::reactor::connection::Pauses;
use crate::reactor::protocol::find;
use crate::reactor::registry::source_id;
use crate::reactor::turn::queues::Callback;
use crate::reactor::{
    Address, Credentials, DelayedCall, Error, Layer, ProtocolError, Reactor, Reason, Result, TimedCall,
};

source_id! {
    /// The ID of a connection. It can be stored, sent to other threads, and used after the
    /// connection is gone: it then names nothing.
    pub struct ConnectionId;
}

/// A handle on one connection, passed to its protocol's callbacks. (Twisted: `ITCPTransport`,
/// `IConsumer`.)
///
/// No method calls back into user code. A call changes the reactor's state, and callbacks follow
/// later. After the connection is lost, the methods do nothing.
#[doc(alias("ITCPTransport", "ITransport", "IConsumer", "WriteTransport", "TcpStream"))]
pub struct Transport<'a> {
    pub(crate) reactor: &'a mut Reactor,
    pub(crate) token: Token,
}

impl Transport<'_> {
    /// The connection's ID.
    pub fn id(&self) -> ConnectionId {
        ConnectionId(self.token)
    }

    /// The peer's address. (Twisted: `getPeer`.)
    #[doc(alias("getPeer", "peer_addr", "get_extra_info"))]
    pub fn peer(&self) -> &Address {
        self.reactor.peer_of(self.token)
    }

    /// The local address, which the system is asked for. (Twisted: `getHost`.)
    #[doc(alias("getHost", "local_addr", "sockname"))]
    pub fn host(&self) -> Address {
        self.reactor.host_of(self.token)
    }

    /// The peer process of a UNIX socket, as recorded by the kernel. For the connecting side the
    /// record is made at connect, for the listening side at listen. (Not in Twisted.)
    ///
    /// # Errors
    /// - [`Error::NotConnected`]
    /// - [`Error::System`]: the system has no credentials for the socket, as for TCP
    #[doc(alias("peer_cred", "SO_PEERCRED"))]
    pub fn peer_credentials(&mut self) -> Result<Credentials> {
        match self.reactor.registry.connection(self.token).map(|connection| &connection.peer) {
            None => Err(Error::NotConnected),
            Some(Address::Unix(_)) => self
                .reactor
                .net
                .credentials(self.token)
                .map_err(|source| Error::System { call: "getsockopt", source }),
            Some(_) => {
                Err(Error::System { call: "getsockopt", source: std::io::ErrorKind::Unsupported.into() })
            }
        }
    }

    /// The time that connecting took, if this side connected. See
    /// [`Connector::connect_time`](crate::reactor::Connector::connect_time).
    pub fn connect_time(&mut self) -> Option<Duration> {
        let origin = self.reactor.registry.connection(self.token)?.origin;
        self.reactor.connector(crate::reactor::ConnectorId(origin))?.connect_time()
    }

    /// The current time, as [`Reactor::now`].
    pub fn now(&mut self) -> Instant {
        self.reactor.now()
    }

    /// The reactor, for timers, other connections, listening and connecting.
    pub fn reactor(&mut self) -> &mut Reactor {
        self.reactor
    }

    /// Queues bytes to be sent in order. Writes of one callback are sent together.
    ///
    /// Writes after `lose_connection` or `lose_write_connection` are ignored, unless the close
    /// waits for a producer. An answer may be as large as memory allows, in one write or several.
    /// Only bytes written after `pause_writing` was delivered are limited
    /// ([`Settings::write_buffer_limit`](crate::reactor::Settings::write_buffer_limit)).
    ///
    /// A transport is an [`io::Write`](std::io::Write) as well, for `write!` and encoders.
    #[inline]
    pub fn write(&mut self, data: impl AsRef<[u8]>) {
        self.write_bytes(data.as_ref());
    }

    /// Compiled once, however many types `write` is called with.
    fn write_bytes(&mut self, data: &[u8]) {
        self.reactor.write(self.token, data);
    }

    /// Writes several pieces in order, as one `write` for each.
    #[doc(alias("writeSequence", "writelines", "write_vectored"))]
    pub fn write_sequence(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            self.write_bytes(piece);
        }
    }

    /// The value of type `T` that a layer has
    /// [attached](crate::reactor::LayerContext::insert_extension) to this connection, such as a
    /// PROXY header. A factory reads it with
    /// [`BuildContext::extension`](crate::BuildContext::extension).
    pub fn extension<T: 'static>(&self) -> Option<&T> {
        self.reactor.attached(self.token)
    }

    /// Sends bytes over a UNIX socket, the first of them with descriptors. The peer receives
    /// copies. The descriptors are closed here once the kernel has taken them. (Twisted:
    /// `sendFileDescriptor`, and a byte written for it.)
    ///
    /// Linux limits the descriptors in flight of a user, over all processes, to the max open files
    /// of a process. Above that limit, the descriptors and all later output wait.
    ///
    /// # Errors
    /// The descriptors are closed, and nothing is written.
    /// - [`Error::System`]: not a UNIX socket without layers, no bytes in `data`, no descriptors,
    ///   or more than 253
    /// - [`Error::QueueFull`]: 64 such writes are already queued
    /// - [`Error::NotConnected`]
    #[doc(alias = "sendFileDescriptor")]
    pub fn write_descriptors(&mut self, data: &[u8], descriptors: Vec<OwnedFd>) -> Result<()> {
        self.reactor.write_descriptors(self.token, data, descriptors)
    }

    /// Accepts descriptors from the peer of a UNIX socket. Each is delivered to
    /// [`descriptor_received`](crate::reactor::Protocol::descriptor_received) before the bytes that
    /// it was sent with. If the process is out of descriptors,
    /// [`descriptors_lost`](crate::reactor::Protocol::descriptors_lost) is called instead. Until
    /// this method is called, received descriptors are closed by the kernel. (Twisted:
    /// `IFileDescriptorReceiver`.)
    ///
    /// # Errors
    /// - [`Error::System`]: not a UNIX socket without layers
    /// - [`Error::NotConnected`]
    pub fn receive_descriptors(&mut self) -> Result<()> {
        match self.reactor.registry.connection_mut(self.token) {
            None => Err(Error::NotConnected),
            Some(connection) if matches!(connection.peer, Address::Unix(_)) && !connection.is_layered() => {
                connection.pauses.set(Pauses::DESCRIPTORS, true);
                // `recvmsg` may find input that no edge reports.
                self.reactor.schedule_resume(self.token);
                Ok(())
            }
            Some(_) => Err(Error::System {
                call: "recvmsg",
                source: std::io::Error::new(
                    std::io::ErrorKind::InvalidInput,
                    "descriptors need a UNIX socket without layers",
                ),
            }),
        }
    }

    /// Detaches the connection from the reactor and returns its descriptor, for example for another
    /// process. The peer notices nothing. `connection_lost` follows with
    /// [`Reason::Released`](crate::reactor::Reason::Released). See [`Reactor::adopt_connection`].
    ///
    /// # Errors
    /// The connection continues.
    /// - [`Error::UnsentData`]: output is unsent, or the connection has layers
    /// - [`Error::NotConnected`]: closing or half-closed
    /// - [`Error::System`]
    #[doc(alias("into_std", "into_raw_fd"))]
    pub fn detach(&mut self) -> Result<OwnedFd> {
        self.reactor.release(self.token)
    }

    /// Whether the connection is closing or gone. (Twisted: `disconnecting`, `disconnected`.)
    #[doc(alias = "disconnecting")]
    pub fn is_closing(&self) -> bool {
        self.reactor.registry.connection(self.token).is_none_or(|c| c.state.is_closing())
    }

    /// Stops reading, sends all output, waits until a registered producer is unregistered, then
    /// closes. `connection_lost` follows. (Twisted: `loseConnection`.)
    ///
    /// The connection is aborted if nothing is sent for
    /// [`Settings::close_timeout`](crate::reactor::Settings::close_timeout), because the peer does
    /// not read or the producer does not write.
    #[doc(alias("loseConnection", "close", "shutdown"))]
    pub fn lose_connection(&mut self) {
        self.reactor.lose_connection(self.token, None);
    }

    /// Asks the protocol to finish, as a graceful stop of the reactor does:
    /// [`Protocol::drain`](crate::Protocol::drain) follows from the loop. Does nothing on a
    /// connection that is closing. Without a protocol, because the layers are not ready, the
    /// connection is closed.
    pub fn drain(&mut self) {
        self.reactor.queues.callbacks.push(Callback::Drain(self.token));
    }

    /// As `lose_connection`, but aborts the connection if it has not closed within `limit` in
    /// total.
    pub fn lose_connection_timeout(&mut self, limit: Duration) {
        self.reactor.lose_connection(self.token, Some(limit));
    }

    /// As `lose_connection`, with an error as the reason:
    /// [`Reason::Protocol`](crate::reactor::Reason::Protocol) instead of
    /// [`Reason::Done`](crate::reactor::Reason::Done). A connection that is already closing keeps
    /// its reason.
    ///
    /// ```
    /// use twistor::{Protocol, Transport};
    ///
    /// struct Latin;
    ///
    /// impl Protocol for Latin {
    ///     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
    ///         match std::str::from_utf8(data) {
    ///             Ok(text) => println!("{text}"),
    ///             Err(error) => transport.lose_connection_with_error(error),
    ///         }
    ///     }
    /// }
    /// ```
    pub fn lose_connection_with_error(&mut self, error: impl std::error::Error + Send + Sync + 'static) {
        if let Some(connection) = self.reactor.registry.connection_mut(self.token)
            && !connection.state.is_closing()
        {
            connection.cold().close_reason.get_or_insert_with(|| Reason::Protocol(ProtocolError::new(error)));
        }
        self.lose_connection();
    }

    /// Discards unsent output and resets the connection (RST). `connection_lost` follows with
    /// [`Reason::Aborted`](crate::reactor::Reason::Aborted). (Twisted: `abortConnection`.)
    #[doc(alias("abortConnection", "abort"))]
    pub fn abort_connection(&mut self) {
        self.reactor.abort_connection(self.token);
    }

    /// Sends all output, waits until a registered producer is unregistered, then sends FIN. Reading
    /// continues. `write_connection_lost` follows. Until the FIN is sent, the time limit of
    /// `lose_connection` applies. (Twisted: `loseWriteConnection`.)
    #[doc(alias("loseWriteConnection", "write_eof", "shutdown"))]
    pub fn lose_write_connection(&mut self) {
        self.reactor.lose_write_connection(self.token);
    }

    /// Returns the same transport with a shorter lifetime, for a value that owns it, such as the
    /// transport of a framing.
    #[inline]
    pub fn reborrow(&mut self) -> Transport<'_> {
        Transport { reactor: self.reactor, token: self.token }
    }

    /// Adds a layer above the connection's other layers, just below its protocol. This is for a
    /// change of protocol in mid-connection, such as STARTTLS. Earlier output, including that of
    /// the running callback, bypasses the layer. Input that was not delivered to the protocol yet
    /// passes through the layer, which reads also while the protocol has paused reading, until it
    /// is ready. [`Protocol::layers_ready`](crate::Protocol::layers_ready) follows. If the
    /// connection is closing or lost, the layer is dropped.
    ///
    /// Bytes of the running `data_received` that come after the request to change belong to the
    /// layer, and the protocol gives them back by [`unread`](Transport::unread). The receivers of
    /// [`framing`](crate::framing) do that. A protocol that adds the layer later, outside of that
    /// call, pauses reading until then: otherwise input between the two is plain.
    #[doc(alias("startTLS", "start_tls"))]
    pub fn add_layer(&mut self, layer: impl Layer) {
        self.reactor.add_layer(self.token, Box::new(layer));
    }

    /// Calls `call` with this connection's protocol after `delay`. The call is dropped if the
    /// connection is lost before. `P` is the type of the protocol, or of a protocol that it wraps
    /// ([`Protocol::downcast_inner`](crate::reactor::Protocol::downcast_inner)). A protocol of
    /// another type is not called.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::{Protocol, Transport};
    ///
    /// struct Impatient;
    ///
    /// impl Protocol for Impatient {
    ///     fn connection_made(&mut self, transport: &mut Transport<'_>) {
    ///         transport.call_later(Duration::from_secs(10), |_: &mut Self, transport| {
    ///             transport.lose_connection();
    ///         });
    ///     }
    ///     fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
    /// }
    /// ```
    #[doc(alias("callLater", "setTimeout", "TimeoutMixin"))]
    pub fn call_later<P: 'static>(
        &mut self,
        delay: Duration,
        call: impl FnOnce(&mut P, &mut Transport<'_>) + 'static,
    ) -> DelayedCall {
        let call = move |protocol: &mut dyn crate::reactor::Protocol, transport: &mut Transport<'_>| {
            if let Some(protocol) = find::<P>(protocol) {
                call(protocol, transport);
            }
        };
        let at = self.reactor.now() + delay;
        let token = self.token;
        let timer = self.reactor.timers.set(at, TimedCall::Protocol(token, Box::new(call)));
        let reactor = &mut *self.reactor;
        match reactor.registry.connection_mut(token) {
            Some(connection) => {
                let timers = &mut connection.cold().timers;
                // Removes called and cancelled timers each time before the list would grow.
                if timers.len() == timers.capacity() {
                    timers.retain(|timer| reactor.timers.due(*timer).is_some());
                }
                timers.push(timer);
            }
            None => reactor.drop_timer(timer),
        }
        timer
    }
}

/// The addresses of a connection that is gone.
impl Reactor {
    /// The address of a connection's peer.
    pub(in crate::reactor) fn peer_of(&self, token: Token) -> &Address {
        self.registry.connection(token).map_or(&NOWHERE, |connection| &connection.peer)
    }

    /// The local address of a connection, as set by a layer or asked from the system.
    pub(in crate::reactor) fn host_of(&self, token: Token) -> Address {
        let connection = self.registry.connection(token);
        match connection.and_then(|connection| connection.cold.as_ref()?.host.clone()) {
            Some(host) => host,
            None if connection.is_some() => self.net.local_address(token).unwrap_or(NOWHERE),
            None => NOWHERE,
        }
    }
}

const NOWHERE: Address =
    Address::Tcp(std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0));
