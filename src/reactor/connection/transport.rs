//! What a protocol may do with its connection.

use std::fmt;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::net::{Instant, SocketOption, Token};
use crate::reactor::connection::options;
use crate::reactor::connection::write_batch::WRITE_BATCH_SIZE;
use crate::reactor::connection::{ColdState, Flow, Pauses, Registered, State};
use crate::reactor::protocol::find;
use crate::reactor::queues::Callback;
use crate::reactor::{
    Address, Credentials, DelayedCall, Error, Layer, Producer, ProducerKind, ProtocolError, Reactor, Reason,
    Result, TimedCall,
};

/// A connection by name: it can be kept, sent to other places of the program, and used after the
/// connection is gone, when it names nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub(crate) Token);

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionId({:?})", self.0)
    }
}

/// The index, a dot, and the generation.
impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// One connection, as its protocol sees it. (Twisted: `ITCPTransport`, `IConsumer`.)
///
/// Nothing here calls back: a call changes the reactor's state, and what follows from it comes later. After
/// the connection is lost the calls do nothing.
pub struct Transport<'a> {
    pub(crate) reactor: &'a mut Reactor,
    pub(crate) token: Token,
}

/// What becomes of bytes that came, and of which some are with the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    GoesOn,
    /// Reading is paused.
    Held,
    /// The connection closes by the wish of its protocol, or is lost: nothing more is told.
    Over,
}

impl Transport<'_> {
    /// The connection's name.
    pub fn id(&self) -> ConnectionId {
        ConnectionId(self.token)
    }

    /// The other side's address. (Twisted: `getPeer`.)
    pub fn peer(&self) -> &Address {
        match self.reactor.registry.connection(self.token) {
            Some(connection) => &connection.peer,
            None => &NOWHERE,
        }
    }

    /// This side's address. (Twisted: `getHost`.)
    pub fn host(&mut self) -> Address {
        let Some(connection) = self.reactor.registry.connection_mut(self.token) else {
            return NOWHERE;
        };
        if let Some(host) = connection.cold.as_ref().and_then(|rare| rare.host.clone()) {
            return host;
        }
        match self.reactor.net.local_address(self.token) {
            Ok(host) => {
                connection.rare().host = Some(host.clone());
                host
            }
            Err(_) => NOWHERE,
        }
    }

    /// Who is on the other side of a UNIX socket, as the system knows it: of the side that connected, who it was then;
    /// of the side that listened, who it was when it began to. (Twisted has none.)
    ///
    /// # Errors
    /// [`Error::NotConnected`]; [`Error::System`] where the system has no such thing, as for TCP.
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

    /// How long the connection took to make, if this side made it. See
    /// [`Connector::connect_time`](crate::reactor::Connector::connect_time).
    pub fn connect_time(&mut self) -> Option<Duration> {
        let origin = self.reactor.registry.connection(self.token)?.origin;
        self.reactor.connector(crate::reactor::ConnectorId(origin))?.connect_time()
    }

    /// The time, as [`Reactor::now`].
    pub fn now(&mut self) -> Instant {
        self.reactor.now()
    }

    /// The reactor: timers, other connections, listening, connecting.
    pub fn reactor(&mut self) -> &mut Reactor {
        self.reactor
    }

    /// Sends bytes, sooner or later, in order. What is written in one callback leaves together. Writes
    /// after `lose_connection` or `lose_write_connection` are ignored, unless the close waits for a producer. One answer may be as
    /// large as memory allows, in one write or several: only what is written after `pause_writing` was delivered is limited
    /// ([`Settings::write_buffer_limit`](crate::reactor::Settings::write_buffer_limit)).
    pub fn write(&mut self, data: &[u8]) {
        self.reactor.write(self.token, data);
    }

    /// Sends several pieces, as one `write` of each in turn.
    pub fn write_sequence(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            self.write(piece);
        }
    }

    /// What a layer has [attached](crate::reactor::LayerContext::insert_extension) to this connection, by its type: a PROXY header, for one. A factory
    /// reaches it as well:
    ///
    /// ```
    /// use twistor::proxy_protocol::Header;
    /// use twistor::{ConnectionId, Reactor};
    ///
    /// /// How many values came with the header of the connection that a protocol is about to be built for.
    /// fn values(reactor: &mut Reactor) -> Option<usize> {
    ///     let id = reactor.building()?;
    ///     let header: Header = reactor.transport(id)?.extension().cloned()?;
    ///     Some(header.values.len())
    /// }
    /// ```
    pub fn extension<T: 'static>(&self) -> Option<&T> {
        self.reactor.attached(self.token)
    }

    /// Sends bytes over a UNIX socket, the first of them with descriptors, which the peer gets copies of; ours are closed
    /// once the system has them. While more of this user's travel, in all processes, than a process may have open, they
    /// wait, with what is written behind them. (Twisted: `sendFileDescriptor`, and a byte written for it.)
    ///
    /// # Errors
    /// [`Error::System`] when the connection is not over a bare UNIX socket, there is no byte for them to travel with,
    /// or they are more than 253; [`Error::QueueFull`] when 64 such writes wait already; [`Error::NotConnected`]. The
    /// descriptors are closed then, and nothing is written.
    pub fn write_descriptors(&mut self, data: &[u8], descriptors: Vec<OwnedFd>) -> Result<()> {
        self.reactor.write_descriptors(self.token, data, descriptors)
    }

    /// Takes descriptors that the peer sends over a UNIX socket: each comes as
    /// [`descriptor_received`](crate::reactor::Protocol::descriptor_received), before the bytes that it travelled with, or, out of
    /// descriptors, as [`descriptors_lost`](crate::reactor::Protocol::descriptors_lost). Until it is called, and by default, the system
    /// closes what comes. (Twisted: `IFileDescriptorReceiver`.)
    ///
    /// # Errors
    /// [`Error::System`] when the connection is not over a bare UNIX socket; [`Error::NotConnected`].
    pub fn receive_descriptors(&mut self) -> Result<()> {
        match self.reactor.registry.connection_mut(self.token) {
            None => Err(Error::NotConnected),
            Some(connection) if matches!(connection.peer, Address::Unix(_)) && !connection.is_layered() => {
                connection.pauses.set(Pauses::DESCRIPTORS, true);
                // Another way of reading may find something that no edge tells of.
                self.reactor.schedule_resume(self.token);
                Ok(())
            }
            Some(_) => Err(Error::System {
                call: "recvmsg",
                source: std::io::Error::new(
                    std::io::ErrorKind::InvalidInput,
                    "descriptors travel over bare UNIX sockets alone",
                ),
            }),
        }
    }

    /// Hands the connection over, to another process perhaps: its descriptor goes on as it is, and the peer notices
    /// nothing. `connection_lost` comes later, with [`Reason::Released`](crate::reactor::Reason::Released). See
    /// [`Reactor::adopt_connection`].
    ///
    /// # Errors
    /// [`Error::UnsentData`] while bytes wait to be sent, or layers stand in between; [`Error::NotConnected`] when it is
    /// closing, half or whole; [`Error::System`]. The connection goes on then.
    pub fn detach(&mut self) -> Result<OwnedFd> {
        self.reactor.release(self.token)
    }

    /// Bytes written that the system has not taken yet, those included that layers hold back.
    pub fn write_buffer_size(&self) -> usize {
        self.reactor.unsent(self.token)
    }

    /// Whether the connection is closing or gone. (Twisted: `disconnecting`, `disconnected`.)
    pub fn is_closing(&self) -> bool {
        self.reactor.registry.connection(self.token).is_none_or(|c| c.state.is_closing())
    }

    /// Whether reading is paused, by [`pause_reading`](Transport::pause_reading).
    pub fn reading_paused(&self) -> bool {
        self.reactor.registry.connection(self.token).is_some_and(|c| c.pauses.has(Pauses::PROTOCOL))
    }

    /// Whether more bytes than the high-water mark are [unsent](Transport::write_buffer_size), and have not come down to the low one
    /// since. It is true at once after the write that passed the mark, whatever layers the connection has;
    /// `pause_writing` follows, and `resume_writing` when they have come down. So a protocol can write as much as there is room for:
    ///
    /// ```
    /// use twistor::{Protocol, Transport};
    ///
    /// /// Sends zeros without end.
    /// struct Zeros;
    ///
    /// impl Protocol for Zeros {
    ///     fn connection_made(&mut self, transport: &mut Transport<'_>) {
    ///         self.resume_writing(transport);
    ///     }
    ///     fn resume_writing(&mut self, transport: &mut Transport<'_>) {
    ///         while !transport.writing_paused() {
    ///             transport.write(&[0; 1000]);
    ///         }
    ///     }
    ///     fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
    /// }
    /// ```
    pub fn writing_paused(&self) -> bool {
        self.reactor.writing_paused(self.token)
    }

    /// The kind of the registered producer, if there is one. (Twisted's `StringTransport`: `producer`, `streaming`.)
    pub fn producer(&self) -> Option<ProducerKind> {
        let connection = self.reactor.registry.connection(self.token)?;
        Some(connection.cold.as_ref()?.producer.as_ref()?.kind)
    }

    /// Stops reading, sends what was written, waits for a registered producer to be unregistered, then closes.
    /// `connection_lost` comes later. If nothing is sent for [`Settings::close_timeout`](crate::reactor::Settings::close_timeout), because
    /// the peer takes nothing or the producer writes nothing, the connection is aborted. (Twisted: `loseConnection`.)
    pub fn lose_connection(&mut self) {
        self.reactor.lose_connection(self.token, None);
    }

    /// As `lose_connection`, but the connection is aborted when it has not closed after `limit` in all.
    pub fn lose_connection_timeout(&mut self, limit: Duration) {
        self.reactor.lose_connection(self.token, Some(limit));
    }

    /// As `lose_connection`, with the reason: the connection is lost with this error, in
    /// [`Reason::Protocol`](crate::reactor::Reason::Protocol), in place of [`Reason::Done`](crate::reactor::Reason::Done). One that is closing
    /// already keeps the reason that it has.
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
            connection.rare().close_reason.get_or_insert_with(|| Reason::Protocol(ProtocolError::new(error)));
        }
        self.lose_connection();
    }

    /// Throws away what was not sent and resets the connection (RST). `connection_lost` comes later, with
    /// [`Reason::Aborted`](crate::reactor::Reason::Aborted). (Twisted: `abortConnection`.)
    pub fn abort_connection(&mut self) {
        self.reactor.abort_connection(self.token);
    }

    /// Sends what was written, waits for a registered producer to be unregistered, then sends FIN; reading goes on.
    /// `write_connection_lost` follows. Until the FIN is sent, the limit of `lose_connection` holds. (Twisted:
    /// `loseWriteConnection`.)
    pub fn lose_write_connection(&mut self) {
        self.reactor.lose_write_connection(self.token);
    }

    /// Stops reading until `resume_reading`: received bytes stay in the kernel, and the peer's end (FIN) is not seen.
    /// (Twisted: `pauseProducing`.)
    ///
    /// A connection that fails meanwhile (a reset by the peer, keepalive) is lost at once, if everything that came before was
    /// delivered. If bytes are left in the kernel, or with a layer or the protocol ([`schedule_data_received`](Transport::schedule_data_received)),
    /// they come first: the loss is told after them, when reading is resumed, or as soon as a write fails. The kernel tells of a
    /// failure of TCP and UNIX sockets (EPOLLERR); of a pipe it does not.
    pub fn pause_reading(&mut self) {
        if let Some(connection) = self.reactor.registry.connection_mut(self.token) {
            connection.pauses.set(Pauses::PROTOCOL, true);
            if connection.state == State::Broken {
                // Only what had come before was still to be read, and is not wanted.
                self.reactor.finish_broken(self.token);
            }
        }
    }

    /// Reads again. (Twisted: `resumeProducing`.)
    pub fn resume_reading(&mut self) {
        if let Some(connection) = self.reactor.registry.connection_mut(self.token) {
            connection.pauses.set(Pauses::PROTOCOL, false);
            let layered = connection.is_layered();
            if layered && connection.layers_keep_input() {
                connection.pauses.set(Pauses::KEPT, true);
            }
            if connection.wants_read()
                || connection.reads_descriptors()
                || connection.pauses.has(Pauses::AGAIN)
            {
                // No edge will come for what is there already.
                self.reactor.schedule_resume(self.token);
            }
            if layered {
                // Something may wait above them.
                self.reactor.schedule_flush(self.token);
            }
        }
    }

    /// `data_received` is called again from the loop, once and with no bytes, as soon as reading is not paused: for a protocol
    /// that was paused in the middle of what came, and keeps the rest. What has come since is told after it.
    ///
    /// ```
    /// use twistor::{Protocol, Transport};
    ///
    /// /// Takes one byte after the other, and stops where it is told to.
    /// #[derive(Default)]
    /// struct Bytes {
    ///     rest: Vec<u8>,
    /// }
    ///
    /// impl Protocol for Bytes {
    ///     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
    ///         self.rest.extend_from_slice(data);
    ///         while !self.rest.is_empty() {
    ///             if transport.reading_paused() {
    ///                 return transport.schedule_data_received();
    ///             }
    ///             let byte = self.rest.remove(0);
    ///             if byte == b'.' {
    ///                 transport.pause_reading();
    ///             }
    ///         }
    ///     }
    /// }
    /// # let mut transport = twistor::testing::StringTransport::new(Bytes::default());
    /// # transport.feed(b"a.b");
    /// # transport.with(|bytes, _| assert_eq!(bytes.rest, b"b"));
    /// # transport.with(|_, transport| transport.resume_reading());
    /// # transport.with(|bytes, _| assert_eq!(bytes.rest, b""));
    /// ```
    pub fn schedule_data_received(&mut self) {
        if let Some(connection) = self.reactor.registry.connection_mut(self.token) {
            connection.pauses.set(Pauses::AGAIN, true);
            if !connection.pauses.has(Pauses::PROTOCOL) {
                self.reactor.schedule_resume(self.token);
            }
        }
    }

    /// The same connection, for whoever needs one of its own.
    #[inline]
    pub(crate) fn reborrow(&mut self) -> Transport<'_> {
        Transport { reactor: self.reactor, token: self.token }
    }

    /// Whether the rest of what came is to be delivered.
    #[inline]
    pub(crate) fn delivery(&self) -> Delivery {
        match self.reactor.registry.connection(self.token) {
            Some(connection) => match connection.state {
                State::Closing { .. } | State::Lost | State::Lingering => Delivery::Over,
                _ if connection.pauses.has(Pauses::PROTOCOL) => Delivery::Held,
                _ => Delivery::GoesOn,
            },
            None => Delivery::Over,
        }
    }

    /// Sets this connection's water marks, in bytes: above `high` it is told to pause, at `low` to resume.
    /// A `low` above `high` counts as `high`, a `high` above [`Settings::write_buffer_limit`](crate::reactor::Settings::write_buffer_limit) as that.
    pub fn set_water_marks(&mut self, high: usize, low: usize) {
        if let Some(connection) = self.reactor.registry.connection_mut(self.token) {
            connection.rare().water_marks = Some((high, low.min(high)));
            let small = high.min(self.reactor.settings.write_buffer_limit) < WRITE_BATCH_SIZE;
            connection.small_marks = small;
            self.reactor.send.batching &= !small || self.reactor.send.connection != self.token;
            self.reactor.update_water_marks(self.token);
            self.reactor.schedule_flush(self.token);
        }
    }

    /// Lets a producer be paused, resumed and asked as the bytes go. On a connection that is lost or
    /// closing it is told to stop, and that is all. (Twisted: `registerProducer`.)
    ///
    /// # Errors
    /// [`Error::ProducerRegistered`] when there is one.
    pub fn register_producer(&mut self, producer: impl Producer, kind: ProducerKind) -> Result<()> {
        let mut producer: Box<dyn Producer> = Box::new(producer);
        let token = self.token;
        let reactor = &mut *self.reactor;
        let open = reactor.registry.connection_mut(token).filter(|c| c.takes_writes());
        let Some(connection) = open else {
            reactor
                .queues
                .callbacks
                .push(Callback::Call(Box::new(move |reactor| producer.stop_producing(reactor))));
            return Ok(());
        };
        let paused = connection.flow != Flow::Open;
        let rare = connection.rare();
        if rare.producer.is_some() {
            return Err(Error::ProducerRegistered);
        }
        rare.producer = Some(Registered::new(producer, kind));
        match kind {
            ProducerKind::Pull => reactor.ask_producer(token),
            ProducerKind::Push if paused => reactor.queues.callbacks.push(Callback::PauseProducer(token)),
            ProducerKind::Push => {}
        }
        Ok(())
    }

    /// Forgets the producer; a close that waited for it goes on. (Twisted: `unregisterProducer`.)
    pub fn unregister_producer(&mut self) {
        if let Some(connection) = self.reactor.registry.connection_mut(self.token) {
            let producer =
                connection.cold.as_mut().and_then(|rare: &mut Box<ColdState>| rare.producer.take());
            self.reactor.schedule_flush(self.token);
            if let Some(gone) = producer {
                if let Some(again) = gone.again {
                    self.reactor.timers.cancel(again);
                }
                drop(gone);
            }
        }
    }

    /// Asks a pull producer for its next piece, from the loop: for one that wrote nothing when it was asked, and has something
    /// now. Without a pull producer, or while it waits for what it wrote to be sent, this does nothing.
    ///
    /// ```
    /// use twistor::testing::StringTransport;
    /// use twistor::{Producer, ProducerKind, Protocol, Transport};
    ///
    /// /// Has one answer, as soon as there is a question.
    /// struct Answers;
    ///
    /// impl Producer for Answers {
    ///     fn resume_producing(&mut self, transport: &mut Transport<'_>) {
    ///         if transport.reading_paused() {
    ///             transport.write(b"42");
    ///             transport.unregister_producer();
    ///         }
    ///     }
    /// }
    ///
    /// struct Asked;
    ///
    /// impl Protocol for Asked {
    ///     fn connection_made(&mut self, transport: &mut Transport<'_>) {
    ///         transport.register_producer(Answers, ProducerKind::Pull).unwrap();
    ///     }
    ///     fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
    ///         transport.pause_reading();
    ///         transport.resume_producer();
    ///     }
    /// }
    /// # let mut transport = StringTransport::new(Asked);
    /// # assert_eq!(transport.take(), b"");
    /// # transport.feed(b"?");
    /// # assert_eq!(transport.take(), b"42");
    /// ```
    pub fn resume_producer(&mut self) {
        self.reactor.ask_producer(self.token);
    }

    /// Puts a layer on top of the others that the connection has, just beneath its protocol: in mid-connection, for a
    /// change of what is spoken (STARTTLS). What was written up to now, in this callback as well, goes out without it; bytes that
    /// were received and not handed to the protocol yet are the layer's. On a connection that is closing or lost the layer is dropped.
    pub fn add_layer(&mut self, layer: impl Layer) {
        self.reactor.add_layer(self.token, Box::new(layer));
    }

    /// Switches TCP_NODELAY.
    ///
    /// # Errors
    /// [`Error::NotConnected`], [`Error::System`].
    pub fn set_tcp_nodelay(&mut self, on: bool) -> Result<()> {
        self.set(SocketOption::NoDelay(on))
    }

    /// Sets the idle time before keepalive probes, or switches them off. It is rounded up to whole seconds. A peer that
    /// answers none of four, a quarter of that time apart (whole seconds, at least one), is gone: found after twice the
    /// idle time, or when the [user timeout](Transport::set_tcp_user_timeout) has passed, if there is one.
    ///
    /// # Errors
    /// [`Error::BadOption`] for nothing and for more than 32,767 s; [`Error::NotConnected`]; [`Error::System`].
    pub fn set_tcp_keepalive(&mut self, idle: Option<Duration>) -> Result<()> {
        let idle = idle.map(options::keepalive).transpose();
        let idle = idle.map_err(|why| Error::BadOption { option: "keepalive", why })?;
        self.set(SocketOption::KeepAlive(idle))
    }

    /// Sets how long what was sent, or a keepalive probe, may go unanswered before the connection is lost
    /// (TCP_USER_TIMEOUT), or leaves it to the system. It is rounded up to milliseconds.
    ///
    /// # Errors
    /// [`Error::BadOption`] for nothing and for more than 24 days; [`Error::NotConnected`]; [`Error::System`], everywhere
    /// but on Linux and Android.
    pub fn set_tcp_user_timeout(&mut self, limit: Option<Duration>) -> Result<()> {
        let limit = limit.map(options::user_timeout).transpose();
        let limit = limit.map_err(|why| Error::BadOption { option: "user_timeout", why })?;
        self.set(SocketOption::UserTimeout(limit))
    }

    fn set(&mut self, option: SocketOption) -> Result<()> {
        match self.reactor.registry.connection(self.token) {
            None => Err(Error::NotConnected),
            Some(_) => self
                .reactor
                .net
                .set(self.token, option)
                .map_err(|source| Error::System { call: "setsockopt", source }),
        }
    }

    /// Calls `call` with this connection's protocol after `delay`, unless the connection is lost before: then
    /// the call is dropped. `P` is the protocol's type, or that of one that it wraps
    /// ([`Protocol::downcast_inner`](crate::reactor::Protocol::downcast_inner)); a protocol of another type is not called.
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
                let timers = &mut connection.rare().timers;
                // Forgets those that were called or cancelled each time the list would grow.
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

/// What a connection's addresses are when it is gone.
const NOWHERE: Address =
    Address::Tcp(std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0));
