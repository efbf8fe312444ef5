//! Datagram sockets: the protocol trait, the socket's slot, and its start and stop.

pub(in crate::reactor) mod connect;
pub(in crate::reactor) mod options;
pub(in crate::reactor) mod read;
pub(in crate::reactor) mod resolve;
pub(in crate::reactor) mod send_queue;
pub(in crate::reactor) mod transport;
pub(in crate::reactor) mod write;
use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::net::{Close, Destination, Instant, Readiness, RecvBatch, Token};
use crate::reactor::datagram::send_queue::SendQueue;
use crate::reactor::datagram::transport::{DatagramId, DatagramTransport, same_place};
use crate::reactor::registry::Source;
use crate::reactor::{Address, CallbackKind, DelayedCall, Lookup, Reactor, Reason, SystemError};

/// The callbacks of a datagram socket. (Twisted: `DatagramProtocol`, `ConnectedDatagramProtocol`.)
///
/// For one socket, `start_protocol` is called once, then the others any number of times, then
/// `stop_protocol` once. No callback is called from inside another one. A panic ends only that
/// callback: it is logged, and the socket stays open, because any host can send to it.
///
/// ```
/// use twistor::{Address, DatagramProtocol, DatagramTransport};
///
/// struct Echo;
///
/// impl DatagramProtocol for Echo {
///     fn datagram_received(
///         &mut self,
///         transport: &mut DatagramTransport<'_>,
///         data: &[u8],
///         from: &Address,
///     ) {
///         // Fails if the datagram is too long or the queue is full. Datagrams may be lost anyway.
///         let _ = transport.write_to(data, from);
///     }
/// }
///
/// let mut reactor = twistor::Reactor::new()?;
/// let id = reactor.listen_udp("127.0.0.1:0", Echo)?;
/// println!("listening on {}", reactor.datagram_transport(id).unwrap().host());
/// # Ok::<(), twistor::Error>(())
/// ```
#[doc(alias("IDatagramProtocol", "ConnectedDatagramProtocol"))]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a datagram protocol",
    label = "does not implement `DatagramProtocol`",
    note = "implement `DatagramProtocol` for it: `datagram_received` is the only method without a default",
    note = "a datagram socket takes the protocol itself, not a factory: `Echo`, not `|| Echo`"
)]
pub trait DatagramProtocol: Any {
    /// Called once the socket is bound and its address is known.
    #[doc(alias("startProtocol", "connection_made"))]
    fn start_protocol(&mut self, transport: &mut DatagramTransport<'_>) {
        let _ = transport;
    }

    /// Called with a whole datagram, which may be empty. `from` is the address for an answer,
    /// unless it is an unnamed UNIX socket.
    ///
    /// On a socket bound to a wildcard address (`0.0.0.0`, `::`), datagrams that this callback
    /// writes to `from` have the datagram's destination as their source, as the peer expects. For a
    /// later answer, keep [`DatagramTransport::reply_source`] and use
    /// [`DatagramTransport::write_from`].
    #[doc(alias = "datagramReceived")]
    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address);

    /// Called with the first bytes of a datagram longer than
    /// [`ListenUdp::max_size`](crate::reactor::ListenUdp::max_size). The rest is lost. Counted in
    /// [`Statistics::datagrams_truncated`](crate::reactor::Statistics::datagrams_truncated).
    /// Default: drops it.
    fn datagram_truncated(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        let _ = (transport, data, from);
    }

    /// Called when the peer of a connected socket reports that its port is closed (ICMP). The
    /// socket stays open. Each report is delivered once. (Twisted: `connectionRefused`, after which
    /// its epoll reactor closes the port.)
    #[doc(alias = "connectionRefused")]
    fn connection_refused(&mut self, transport: &mut DatagramTransport<'_>) {
        let _ = transport;
    }

    /// Called for an error without a datagram at hand. The socket stays open. The causes are:
    /// - An ICMP error for an earlier datagram, such as an unreachable host. A refusal goes to
    ///   `connection_refused` instead. On connected sockets only; each error is delivered once.
    /// - The peer of a UNIX socket connected to another socket. Datagrams that it had not read are
    ///   lost.
    /// - Received datagrams cannot be read, for example for lack of memory. Reading is retried ten
    ///   times a second, and each failure is delivered.
    ///
    /// Counted in [`Statistics::datagram_errors`](crate::reactor::Statistics::datagram_errors).
    /// Default: logs at debug level.
    fn error_received(&mut self, transport: &mut DatagramTransport<'_>, error: &SystemError) {
        log::debug!("{}: {error}", transport.host());
    }

    /// Called when a datagram was dropped because the kernel refused it, for example:
    /// - longer than the path allows (EMSGSIZE)
    /// - no route in the host's own table (ENETUNREACH)
    ///
    /// A router's answer goes to `error_received` instead. `to` is `None` for the peer of a
    /// connected socket. Counted in
    /// [`Statistics::datagram_errors`](crate::reactor::Statistics::datagram_errors). Default: logs
    /// at debug level.
    fn send_failed(
        &mut self,
        transport: &mut DatagramTransport<'_>,
        to: Option<&Address>,
        error: &SystemError,
    ) {
        let (host, to) = (transport.host(), to.or(transport.peer()).map(Address::to_string));
        log::debug!("{host}: dropped a datagram to {}: {error}", to.unwrap_or_default());
    }

    /// Called when the socket is closed. Later writes fail. The reason is [`Reason::Done`] after
    /// `stop_listening`, and [`Reason::Stopped`] when the reactor stops.
    ///
    /// A socket with a peer given by host name is not started if the name has no usable address.
    /// Then only this callback is called, with the reason.
    #[doc(alias("stopProtocol", "connection_lost"))]
    fn stop_protocol(&mut self, transport: &mut DatagramTransport<'_>, reason: &Reason) {
        let _ = (transport, reason);
    }
}

/// State of a datagram socket.
pub(in crate::reactor) struct DatagramSlot {
    /// `None` while one of its callbacks runs.
    pub(in crate::reactor) protocol: Option<Box<dyn DatagramProtocol>>,
    pub(in crate::reactor) host: Address,
    pub(in crate::reactor) peer: Option<Address>,
    /// The peer's address as the kernel reports it. Datagrams from other addresses are dropped,
    /// even if the kernel delivers them.
    pub(in crate::reactor) connected_peer: Option<Address>,
    pub(in crate::reactor) max_size: usize,
    /// Number of datagrams to read with one call. It grows while more are waiting: most sockets
    /// receive one datagram at a time, and room for many takes time.
    pub(in crate::reactor) batch: usize,
    pub(in crate::reactor) state: State,
    /// The lookup of the peer's host name, while it runs.
    pub(in crate::reactor) lookup: Option<Lookup>,
    pub(in crate::reactor) reading_paused: bool,
    pub(in crate::reactor) readiness: Readiness,
    /// Datagrams read and not delivered yet. They are delivered before the next read.
    pub(in crate::reactor) received: Option<Box<RecvBatch>>,
    /// Queued for another share in the next turn.
    pub(in crate::reactor) resume_scheduled: bool,
    /// Timers wait for earlier input until this turn. 0: they do not wait.
    pub(in crate::reactor) timers_wait_until: u64,
    /// Queued for a flush at the end of the turn.
    pub(in crate::reactor) flush_scheduled: bool,
    pub(in crate::reactor) send_queue: SendQueue,
    /// Timer of the next attempt to send to full receivers.
    pub(in crate::reactor) send_retry: Option<DelayedCall>,
    /// Timer of the next attempt to read after a failure.
    pub(in crate::reactor) read_retry: Option<DelayedCall>,
    pub(in crate::reactor) timers: Vec<DelayedCall>,
    /// Time of the last log line about a panic in this socket's protocol.
    logged: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reactor) enum State {
    /// The peer's host name is being looked up. There is no socket yet.
    Resolving,
    /// `start_protocol` is queued.
    Starting,
    Open,
    /// `stop_protocol` is queued or runs. The descriptor is closed.
    Stopped,
}

impl DatagramSlot {
    pub(in crate::reactor) fn new(
        protocol: Box<dyn DatagramProtocol>,
        host: Address,
        peer: Option<Address>,
        connected_peer: Option<Address>,
        max_size: usize,
    ) -> DatagramSlot {
        DatagramSlot {
            protocol: Some(protocol),
            host,
            peer,
            max_size,
            batch: MIN_BATCH,
            state: State::Starting,
            lookup: None,
            reading_paused: false,
            connected_peer,
            readiness: Readiness::WRITABLE,
            received: None,
            resume_scheduled: false,
            timers_wait_until: 0,
            flush_scheduled: false,
            send_queue: SendQueue::default(),
            send_retry: None,
            read_retry: None,
            timers: Vec::new(),
            logged: None,
        }
    }

    /// Creates the slot of a socket to be opened at this address after a lookup.
    pub(in crate::reactor) fn resolving(
        protocol: Box<dyn DatagramProtocol>,
        host: SocketAddr,
        max_size: usize,
    ) -> DatagramSlot {
        let slot = DatagramSlot::new(protocol, Address::Udp(host), None, None, max_size);
        DatagramSlot { state: State::Resolving, readiness: Readiness::default(), ..slot }
    }

    /// Records that the socket was opened.
    pub(in crate::reactor) fn opened(
        &mut self,
        host: Address,
        peer: Option<Address>,
        connected_peer: Option<Address>,
    ) {
        (self.host, self.peer, self.connected_peer) = (host, peer, connected_peer);
        (self.state, self.readiness) = (State::Starting, Readiness::WRITABLE);
    }

    pub(in crate::reactor) fn may_deliver(&self) -> bool {
        self.state == State::Open && !self.reading_paused
    }

    pub(in crate::reactor) fn wants_read(&self) -> bool {
        self.may_deliver() && self.read_retry.is_none() && self.readiness.has(Readiness::READABLE)
    }

    /// Whether a datagram is from another address than the peer's. A UNIX socket whose peer has
    /// gone receives from any socket, and a UDP socket keeps datagrams received before it was
    /// connected.
    pub(in crate::reactor) fn is_from_other(&self, from: &Address) -> bool {
        self.connected_peer.as_ref().is_some_and(|peer| peer != from && !same_place(peer, from))
    }

    pub(in crate::reactor) fn has_stopped(&self) -> bool {
        self.state == State::Stopped
    }

    /// Bytes queued to be sent.
    pub(in crate::reactor) fn unsent(&self) -> usize {
        self.send_queue.bytes()
    }

    /// Whether EAGAIN means that the receiver's queue is full. This applies to UNIX sockets without
    /// a peer. For connected sockets, the kernel reports when there is room. For the others no
    /// event does: WRITABLE only tells that our own send buffer has room, which is so after each
    /// refused datagram.
    pub(in crate::reactor) fn has_many_receivers(&self) -> bool {
        self.peer.is_none() && matches!(self.host, Address::Unix(_))
    }
}

/// The datagram whose callback runs, on a socket bound to a wildcard address.
#[derive(Clone, Copy)]
pub(in crate::reactor) struct CurrentDatagram {
    pub(in crate::reactor) token: Token,
    pub(in crate::reactor) from: SocketAddr,
    pub(in crate::reactor) destination: Destination,
}

/// The datagram that an error is about.
pub(in crate::reactor) enum DatagramError {
    /// No datagram at hand: an error about earlier ones, or of reading.
    Answer,
    /// The datagram to this address was dropped. `None`: the connected peer.
    Lost(Option<Address>),
}

impl Reactor {
    /// Handles readiness of a datagram socket.
    pub(in crate::reactor) fn datagram_ready(&mut self, token: Token, ready: Readiness) {
        let Some(slot) = self.registry.datagram_mut(token) else { return };
        slot.readiness.insert(ready);
        if slot.resume_scheduled || slot.state != State::Open {
            return;
        }
        self.serve_datagrams(token);
    }

    /// Gives a queued socket its share, if the token names one.
    pub(in crate::reactor) fn datagram_queued(&mut self, token: Token) {
        let Some(slot) = self.registry.datagram_mut(token) else { return };
        slot.resume_scheduled = false;
        self.serve_datagrams(token);
    }

    fn serve_datagrams(&mut self, token: Token) {
        self.flush_datagrams(token);
        let mut inbound = std::mem::take(&mut self.receive.datagrams);
        self.read_datagrams(token, &mut inbound);
        self.receive.datagrams = inbound;
        self.flush_datagrams(token);
    }

    /// Reports an error to the protocol.
    pub(in crate::reactor) fn report_datagram_error(
        &mut self,
        token: Token,
        call: &'static str,
        what: DatagramError,
        error: &io::Error,
    ) {
        self.statistics.datagram_errors += 1;
        let refused = error.kind() == io::ErrorKind::ConnectionRefused;
        let error = SystemError::new(call, error);
        match what {
            DatagramError::Answer if refused => {
                self.call_datagram(token, CallbackKind::ConnectionRefused, |protocol, transport| {
                    protocol.connection_refused(transport);
                });
            }
            DatagramError::Answer => {
                self.call_datagram(token, CallbackKind::ErrorReceived, |protocol, transport| {
                    protocol.error_received(transport, &error);
                })
            }
            DatagramError::Lost(to) => {
                self.call_datagram(token, CallbackKind::SendFailed, |protocol, transport| {
                    protocol.send_failed(transport, to.as_ref(), &error);
                })
            }
        }
    }

    pub(in crate::reactor) fn schedule_datagrams(&mut self, token: Token) {
        if let Some(slot) = self.registry.datagram_mut(token)
            && !std::mem::replace(&mut slot.resume_scheduled, true)
        {
            self.queues.resume.push_back(token);
        }
    }

    /// Calls a socket's protocol, which is out of its slot meanwhile.
    pub(in crate::reactor) fn call_datagram(
        &mut self,
        token: Token,
        place: CallbackKind,
        call: impl FnOnce(&mut dyn DatagramProtocol, &mut DatagramTransport<'_>),
    ) {
        let Some(slot) = self.registry.datagram_mut(token) else { return };
        if slot.state == State::Stopped {
            return;
        }
        let Some(mut protocol) = slot.protocol.take() else { return };
        self.send.datagram_socket = token;
        let called = self.run_user_code(place, None, |reactor| {
            call(&mut *protocol, &mut DatagramTransport { reactor, token });
        });
        self.send.datagram_socket = Token::NONE;
        if called.is_err() {
            self.log_datagram_panic(token);
        }
        match self.registry.datagram_mut(token) {
            Some(slot) => slot.protocol = Some(protocol),
            None => self.call(CallbackKind::Drop, |_| drop(protocol)),
        }
    }

    /// Logs the address of the socket whose protocol panicked. At most once a second, because any
    /// host can send a datagram that causes it.
    fn log_datagram_panic(&mut self, token: Token) {
        let now = self.now();
        if let Some(slot) = self.registry.datagram_mut(token)
            && slot.logged.is_none_or(|last| now - last >= Duration::from_secs(1))
        {
            slot.logged = Some(now);
            log_error!([socket = slot.host.to_string().as_str()] "panic in the protocol of {}", slot.host);
        }
    }

    pub(in crate::reactor) fn start_datagram(&mut self, token: Token) {
        let Some(slot) = self.registry.datagram_mut(token) else { return };
        if slot.state != State::Starting {
            return;
        }
        slot.state = State::Open;
        self.call_datagram(token, CallbackKind::StartProtocol, |protocol, transport| {
            protocol.start_protocol(transport);
        });
        self.flush_datagrams(token);
        // Datagrams may have arrived meanwhile.
        self.schedule_datagrams(token);
    }

    /// Closes a socket and queues `stop_protocol`. Returns `false` if it is already closed.
    pub(in crate::reactor) fn stop_datagram(&mut self, token: Token, reason: Reason) -> bool {
        let Some(slot) = self.registry.datagram_mut(token) else { return false };
        let started = match slot.state {
            // No other callback reports that the socket was never opened.
            State::Resolving => !matches!(reason, Reason::Done | Reason::Stopped),
            State::Starting => false,
            State::Open => true,
            State::Stopped => return false,
        };
        // Datagrams written before are sent first. No callback runs here, so failures are only
        // counted.
        slot.send_queue.try_again(usize::MAX);
        loop {
            let errors = self.send_datagrams(token);
            if errors.is_empty() {
                break;
            }
            for (_, error) in errors {
                self.statistics.datagram_errors += 1;
                log::debug!("cannot send a datagram while closing: {error}");
            }
        }
        self.net.close(token, Close::Graceful);
        let Some(slot) = self.registry.datagram_mut(token) else { return false };
        if let Some(lookup) = slot.lookup.take() {
            self.cancel_lookup(lookup);
        }
        let Some(slot) = self.registry.datagram_mut(token) else { return false };
        slot.state = State::Stopped;
        slot.send_queue = SendQueue::default();
        slot.received = None;
        let own = [slot.send_retry.take(), slot.read_retry.take()];
        for timer in std::mem::take(&mut slot.timers).into_iter().chain(own.into_iter().flatten()) {
            self.drop_timer(timer);
        }
        self.queues
            .callbacks
            .push(crate::reactor::turn::queues::Callback::StopDatagram(token, reason, started));
        true
    }

    pub(in crate::reactor) fn datagram_stopped(&mut self, token: Token, reason: &Reason, started: bool) {
        let protocol = self.registry.datagram_mut(token).and_then(|slot| slot.protocol.take());
        if let Some(mut protocol) = protocol {
            if started {
                self.call(CallbackKind::StopProtocol, |reactor| {
                    protocol.stop_protocol(&mut DatagramTransport { reactor, token }, reason);
                });
            }
            self.call(CallbackKind::Drop, |_| drop(protocol));
        }
        if let Some(Source::Datagram(slot)) = self.registry.remove(token) {
            for timer in slot.timers {
                self.drop_timer(timer);
            }
        }
    }

    /// Returns the transport of a datagram socket, if the socket is open.
    pub fn datagram_transport(&mut self, id: DatagramId) -> Option<DatagramTransport<'_>> {
        self.registry.datagram_mut(id.0)?;
        Some(DatagramTransport { reactor: self, token: id.0 })
    }

    /// Calls `call` with the protocol of another socket, if it is a `P`. Returns `None` if the
    /// socket is gone, the protocol is of another type, or the protocol's own callback is running.
    pub fn with_datagram<P: DatagramProtocol, R>(
        &mut self,
        id: DatagramId,
        call: impl FnOnce(&mut P, &mut DatagramTransport<'_>) -> R,
    ) -> Option<R> {
        let token = id.0;
        let mut protocol = self.registry.datagram_mut(token)?.protocol.take()?;
        let result = self.between_turns(|reactor| {
            let wanted: &mut dyn Any = &mut *protocol;
            let wanted = wanted.downcast_mut::<P>()?;
            Some(call(wanted, &mut DatagramTransport { reactor, token }))
        });
        if let Some(slot) = self.registry.datagram_mut(token) {
            slot.protocol = Some(protocol);
        }
        // The panic is the caller's and not the other socket's.
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The IDs of all open datagram sockets.
    pub fn datagrams(&self) -> Vec<DatagramId> {
        let open = |source: &Source| match source {
            Source::Datagram(slot) => slot.state != State::Stopped,
            _ => false,
        };
        self.registry.tokens(open).into_iter().map(DatagramId).collect()
    }
}

/// Number of datagrams in the first read of a socket. With one, a further read would have to find
/// out that there are no more.
const MIN_BATCH: usize = 2;
