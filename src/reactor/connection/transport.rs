//! The transport: a protocol's handle on its connection.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::net::{Instant, SocketOption, Token};
use crate::reactor::connection::options;
use crate::reactor::connection::write_batch::WRITE_BATCH_SIZE;
use crate::reactor::connection::{ColdState, Flow, Pauses, Registered, State};
use crate::reactor::protocol::find;
use crate::reactor::registry::source_id;
use crate::reactor::turn::queues::Callback;
use crate::reactor::{
    Address, Credentials, DelayedCall, Error, Layer, Producer, ProducerKind, ProtocolError, Reactor, Reason,
    Result, TimedCall,
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

/// Whether a connection delivers input ([`Transport::read_state`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadState {
    /// Received bytes are processed.
    Reading,
    /// Reading is paused by [`Transport::pause_reading`]. A protocol keeps what it has not
    /// processed.
    Paused,
    /// A layer was added in this callback, so what is not processed was meant for it. A protocol
    /// gives it back by [`Transport::unread`].
    LayerAdded,
    /// The protocol closed the connection, or it is lost. What is not processed is discarded.
    Closed,
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
    /// A transport is an [`io::Write`] as well, for `write!` and encoders.
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

    /// Unsent bytes: written, and not accepted by the kernel yet. Includes bytes held by layers.
    #[doc(alias = "get_write_buffer_size")]
    pub fn write_buffer_size(&self) -> usize {
        self.reactor.unsent(self.token)
    }

    /// Whether the connection is closing or gone. (Twisted: `disconnecting`, `disconnected`.)
    #[doc(alias = "disconnecting")]
    pub fn is_closing(&self) -> bool {
        self.reactor.registry.connection(self.token).is_none_or(|c| c.state.is_closing())
    }

    /// Whether reading is paused by [`pause_reading`](Transport::pause_reading).
    pub fn reading_paused(&self) -> bool {
        self.reactor.registry.connection(self.token).is_some_and(|c| c.pauses.has(Pauses::PROTOCOL))
    }

    /// Whether output is above the high-water mark, or has not come down to the low one since.
    /// Counts [unsent bytes](Transport::write_buffer_size), with or without layers.
    ///
    /// It is true right after the write that exceeds the mark. `pause_writing` follows, and
    /// `resume_writing` once output is down to the low mark, even if the kernel has taken all of it
    /// before `pause_writing`. So a protocol can write as long as there is room:
    ///
    /// ```
    /// use twistor::{Protocol, Transport};
    ///
    /// /// Sends an endless stream of zeros.
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

    /// The kind of the registered producer, if any. (Twisted's `StringTransport`: `producer`,
    /// `streaming`.)
    pub fn producer(&self) -> Option<ProducerKind> {
        let connection = self.reactor.registry.connection(self.token)?;
        Some(connection.cold.as_ref()?.producer.as_ref()?.kind)
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

    /// Stops reading until `resume_reading`. Data and the peer's FIN stay in the kernel. (Twisted:
    /// `pauseProducing`.)
    ///
    /// A connection that fails meanwhile (reset by the peer, keepalive) is lost at once if all
    /// earlier input was delivered. Undelivered input comes first, whether it is in the kernel, in
    /// a layer, or kept by the protocol
    /// ([`schedule_data_received`](Transport::schedule_data_received)). The loss then follows when
    /// reading is resumed, or as soon as a write fails. The kernel reports failures of TCP and UNIX
    /// sockets (EPOLLERR), but not of pipes.
    #[doc(alias("pauseProducing", "stopReading"))]
    pub fn pause_reading(&mut self) {
        if let Some(connection) = self.reactor.registry.connection_mut(self.token) {
            connection.pauses.set(Pauses::PROTOCOL, true);
            if connection.state == State::Broken {
                // Only earlier input was still to be read, and it is no longer wanted.
                self.reactor.finish_broken(self.token);
            }
        }
    }

    /// Resumes reading. (Twisted: `resumeProducing`.)
    #[doc(alias("resumeProducing", "startReading"))]
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
                // No edge reports data that is already there.
                self.reactor.schedule_resume(self.token);
            }
            if layered {
                // Output may wait above the layers.
                self.reactor.schedule_flush(self.token);
            }
        }
    }

    /// Schedules one call of `data_received` from the loop, without bytes, as soon as reading is
    /// not paused. For a protocol that was paused in the middle of its input and keeps the rest.
    /// Newer input is delivered after that call.
    ///
    /// ```
    /// use twistor::{Protocol, Transport};
    ///
    /// /// Processes bytes one by one, and pauses at a full stop.
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

    /// Returns the same transport with a shorter lifetime, for a value that owns it, such as the
    /// transport of a framing.
    #[inline]
    pub fn reborrow(&mut self) -> Transport<'_> {
        Transport { reactor: self.reactor, token: self.token }
    }

    /// Whether input is delivered now. It changes during a callback, by
    /// [`pause_reading`](Transport::pause_reading) and by closing.
    ///
    /// A protocol that cuts input into messages asks after each message. It keeps the rest while
    /// reading is paused, and asks for another call in time:
    ///
    /// ```
    /// use twistor::{Protocol, ReadState, Transport};
    ///
    /// /// Handles messages of four bytes.
    /// struct Fours<F> {
    ///     rest: Vec<u8>,
    ///     handle: F,
    /// }
    ///
    /// impl<F: FnMut(&mut Transport<'_>, &[u8]) + 'static> Protocol for Fours<F> {
    ///     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
    ///         self.rest.extend_from_slice(data);
    ///         while self.rest.len() >= 4 {
    ///             match transport.read_state() {
    ///                 ReadState::Reading => (self.handle)(transport, &self.rest[..4]),
    ///                 ReadState::Paused => return transport.schedule_data_received(),
    ///                 ReadState::LayerAdded => return transport.unread(&std::mem::take(&mut self.rest)),
    ///                 ReadState::Closed => return,
    ///             }
    ///             self.rest.drain(..4);
    ///         }
    ///     }
    /// }
    /// # let _ = Fours { rest: Vec::new(), handle: |_: &mut Transport<'_>, _: &[u8]| {} };
    /// ```
    #[inline]
    pub fn read_state(&self) -> ReadState {
        match self.reactor.registry.connection(self.token) {
            Some(connection) => match connection.state {
                State::Closing { .. } | State::Lost | State::Lingering => ReadState::Closed,
                _ if !connection.pauses.stops_delivery() => ReadState::Reading,
                _ if connection.pauses.has(Pauses::LAYER_ADDED) => ReadState::LayerAdded,
                _ => ReadState::Paused,
            },
            None => ReadState::Closed,
        }
    }

    /// Sets this connection's water marks, in bytes. Above `high`, `pause_writing` is called; at
    /// `low`, `resume_writing`. `low` is at most `high`, and `high` at most
    /// [`Settings::write_buffer_limit`](crate::reactor::Settings::write_buffer_limit); larger
    /// values are reduced.
    #[doc(alias("set_write_buffer_limits", "bufferSize"))]
    pub fn set_water_marks(&mut self, high: usize, low: usize) {
        if let Some(connection) = self.reactor.registry.connection_mut(self.token) {
            connection.cold().water_marks = Some((high, low.min(high)));
            let small = high.min(self.reactor.settings.write_buffer_limit) < WRITE_BATCH_SIZE;
            connection.small_marks = small;
            self.reactor.send.batching &= !small || self.reactor.send.connection != self.token;
            self.reactor.update_water_marks(self.token);
            self.reactor.schedule_flush(self.token);
        }
    }

    /// Registers a producer, which is paused, resumed or called as output is sent. If the
    /// connection is closing or lost, the producer is only told to stop. (Twisted:
    /// `registerProducer`.)
    ///
    /// # Errors
    /// [`Error::ProducerRegistered`] if there is one already.
    #[doc(alias = "registerProducer")]
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
        let cold = connection.cold();
        if cold.producer.is_some() {
            return Err(Error::ProducerRegistered);
        }
        cold.producer = Some(Registered::new(producer, kind));
        match kind {
            ProducerKind::Pull => reactor.ask_producer(token),
            ProducerKind::Push if paused => reactor.queues.callbacks.push(Callback::PauseProducer(token)),
            ProducerKind::Push => {}
        }
        Ok(())
    }

    /// Unregisters the producer. A close that waited for it continues. (Twisted:
    /// `unregisterProducer`.)
    #[doc(alias = "unregisterProducer")]
    pub fn unregister_producer(&mut self) {
        if let Some(connection) = self.reactor.registry.connection_mut(self.token) {
            let producer =
                connection.cold.as_mut().and_then(|cold: &mut Box<ColdState>| cold.producer.take());
            self.reactor.schedule_flush(self.token);
            if let Some(gone) = producer {
                if let Some(again) = gone.again {
                    self.reactor.timers.cancel(again);
                }
                drop(gone);
            }
        }
    }

    /// Schedules a call of the pull producer, from the loop. For a producer that had nothing to
    /// write when it was called, and has now. Does nothing without a pull producer, or while its
    /// output is being sent.
    ///
    /// ```
    /// use twistor::testing::StringTransport;
    /// use twistor::{Producer, ProducerKind, Protocol, Transport};
    ///
    /// /// Writes one answer once there is a question.
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

    /// Adds a layer above the connection's other layers, just below its protocol. This is for a
    /// change of protocol in mid-connection, such as STARTTLS. Earlier output, including that of
    /// the running callback, bypasses the layer. Input that was not delivered to the protocol yet
    /// passes through the layer, which reads also while the protocol has paused reading, until it
    /// is ready. [`Protocol::layers_ready`](crate::Protocol::layers_ready) follows. If the
    /// connection is closing or lost, the layer is dropped.
    ///
    /// Bytes of the running `data_received` that come after the request to change belong to the
    /// layer, and the protocol gives them back by [`unread`](Transport::unread). The receivers of
    /// [`framing`](crate::framing) do that.
    #[doc(alias("startTLS", "start_tls"))]
    pub fn add_layer(&mut self, layer: impl Layer) {
        self.reactor.add_layer(self.token, Box::new(layer));
    }

    /// Gives received bytes back. They come before all other input: to the layer that was added in
    /// this callback, as its first input, or else to `data_received` again, from the loop, as soon
    /// as reading is not paused. Bytes given back later come before earlier ones. Does nothing when
    /// the connection is closing or lost.
    ///
    /// ```
    /// use twistor::{Layer, Protocol, Transport};
    ///
    /// /// Inverts the bits of all bytes.
    /// struct Inverse;
    ///
    /// impl Layer for Inverse {
    ///     fn data_received(&mut self, below: &mut twistor::LayerContext<'_>, data: &[u8]) {
    ///         let data: Vec<u8> = data.iter().map(|byte| !byte).collect();
    ///         below.pass_up(&data);
    ///     }
    /// }
    ///
    /// /// Adds the layer at the first full stop. What follows is the layer's.
    /// struct Starting {
    ///     added: bool,
    ///     seen: Vec<u8>,
    /// }
    ///
    /// impl Protocol for Starting {
    ///     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
    ///         match data.iter().position(|byte| *byte == b'.').filter(|_| !self.added) {
    ///             Some(stop) => {
    ///                 self.added = true;
    ///                 self.seen.extend_from_slice(&data[..=stop]);
    ///                 transport.add_layer(Inverse);
    ///                 transport.unread(&data[stop + 1..]);
    ///             }
    ///             None => self.seen.extend_from_slice(data),
    ///         }
    ///     }
    /// }
    ///
    /// # let starting = Starting { added: false, seen: Vec::new() };
    /// # let mut transport = twistor::testing::StringTransport::new(starting);
    /// # transport.feed(b"go.");
    /// # transport.feed(&[!b'o', !b'n']);
    /// # transport.with(|starting, _| assert_eq!(starting.seen, b"go.on"));
    /// ```
    pub fn unread(&mut self, data: &[u8]) {
        self.reactor.unread(self.token, data);
    }

    /// Sets TCP_NODELAY.
    ///
    /// # Errors
    /// - [`Error::NotConnected`]
    /// - [`Error::System`]
    #[doc(alias("setTcpNoDelay", "set_nodelay"))]
    pub fn set_tcp_nodelay(&mut self, on: bool) -> Result<()> {
        self.set(SocketOption::NoDelay(on))
    }

    /// Sets the idle time before keepalive probes, or disables them with `None`. It is rounded up
    /// to whole seconds.
    ///
    /// A peer is considered dead after four unanswered probes, a quarter of that time apart (whole
    /// seconds, at least one). It is thus detected after twice the idle time, or after the [user
    /// timeout](Transport::set_tcp_user_timeout) if there is one.
    ///
    /// # Errors
    /// - [`Error::BadOption`]: zero, or more than 32,767 s
    /// - [`Error::NotConnected`]
    /// - [`Error::System`]
    #[doc(alias = "setTcpKeepAlive")]
    pub fn set_tcp_keepalive(&mut self, idle: Option<Duration>) -> Result<()> {
        let idle = idle.map(options::keepalive).transpose();
        let idle = idle.map_err(|why| Error::BadOption { option: "keepalive", why })?;
        self.set(SocketOption::KeepAlive(idle))
    }

    /// Sets TCP_USER_TIMEOUT: the max time that sent data or a keepalive probe may stay
    /// unacknowledged before the connection is lost. `None` leaves it to the system. It is rounded
    /// up to milliseconds.
    ///
    /// # Errors
    /// - [`Error::BadOption`]: zero, or more than 24 days
    /// - [`Error::NotConnected`]
    /// - [`Error::System`]: always, except on Linux and Android
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

/// Writes to the connection as [`Transport::write`] does: all bytes are accepted at once, and sent
/// when the callback returns. It never fails with `WouldBlock`: use
/// [`writing_paused`](Transport::writing_paused), or `pause_writing`, for backpressure.
///
/// `flush` does nothing, because the loop sends all output by itself. It does not wait until bytes
/// are sent.
///
/// `write` fails with [`BrokenPipe`](io::ErrorKind::BrokenPipe) where [`Transport::write`] would
/// discard the bytes: the connection is closing, half-closed by this side, or gone.
///
/// ```
/// use std::io::Write;
/// use twistor::{Protocol, Transport};
///
/// struct Count(u64);
///
/// impl Protocol for Count {
///     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
///         self.0 += data.len() as u64;
///         // Fails if the connection is closing: then the count is not needed.
///         let _ = writeln!(transport, "{} bytes", self.0);
///     }
/// }
/// ```
impl io::Write for Transport<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.check_takes_writes()?;
        self.write_bytes(data);
        Ok(data.len())
    }

    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        io::Write::write(self, data).map(drop)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.check_takes_writes()
    }
}

impl Transport<'_> {
    fn check_takes_writes(&self) -> io::Result<()> {
        match self.reactor.registry.connection(self.token) {
            Some(connection) if connection.takes_writes() => Ok(()),
            Some(_) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the connection is closing")),
            None => Err(io::Error::new(io::ErrorKind::BrokenPipe, Error::NotConnected)),
        }
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
