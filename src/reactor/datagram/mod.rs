//! Datagrams: their protocol, the socket in its slot, its beginning and its end.

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

/// What a socket of datagrams does. (Twisted: `DatagramProtocol`, `ConnectedDatagramProtocol`.)
///
/// For one socket the calls are: `start_protocol` once, then the others in any number, then `stop_protocol` once. No call
/// comes from inside another callback. A panic ends that one call: it is logged, and the socket goes on, because
/// anybody may send anything to it.
///
/// ```
/// use twistor::{Address, DatagramProtocol, DatagramTransport};
///
/// struct Echo;
///
/// impl DatagramProtocol for Echo {
///     fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
///         // Fails for one that is too long, or when too many wait: datagrams may be lost anyway.
///         let _ = transport.write_to(data, from);
///     }
/// }
///
/// let mut reactor = twistor::Reactor::new()?;
/// let id = reactor.listen_udp("127.0.0.1:0", Echo)?;
/// println!("listening on {}", reactor.datagram_transport(id).unwrap().host());
/// # Ok::<(), twistor::Error>(())
/// ```
pub trait DatagramProtocol: Any {
    /// The socket is bound, and its address known.
    fn start_protocol(&mut self, transport: &mut DatagramTransport<'_>) {
        let _ = transport;
    }

    /// A datagram came, whole; it may be empty. `from` is where an answer goes, if its socket has a name.
    ///
    /// Of a socket that is bound to any address (`0.0.0.0`, `::`), what this call writes to `from` leaves from the address that
    /// the datagram was sent to, as a peer expects it. For an answer that is written later, keep
    /// [`DatagramTransport::reply_source`] and use [`DatagramTransport::write_from`].
    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address);

    /// A datagram came that was longer than [`ListenUdp::max_size`](crate::reactor::ListenUdp::max_size): these are its first
    /// bytes, the rest is gone. By default it is dropped; it is counted in
    /// [`Statistics::datagrams_truncated`](crate::reactor::Statistics::datagrams_truncated) in any case.
    fn datagram_truncated(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        let _ = (transport, data, from);
    }

    /// The peer of a socket with one peer said that nobody listens there; the socket goes on. One such answer is told
    /// once. (Twisted: `connectionRefused`, after which its epoll reactor ends the port.)
    fn connection_refused(&mut self, transport: &mut DatagramTransport<'_>) {
        let _ = transport;
    }

    /// An error that cost no datagram in hand; the socket goes on. Either the network's answer to an earlier datagram, but
    /// for the refusal, which has its own call: that the host cannot be reached, say; one answer is told once, where the
    /// socket has one peer. Or the peer of a UNIX socket has taken another one for its own, and what it had not read is
    /// lost. Or the datagrams that have come cannot be read, for want of memory, say: then it is tried again ten times a
    /// second, and each failure told. By default that is logged at debug level; it is counted in
    /// [`Statistics::datagram_errors`](crate::reactor::Statistics::datagram_errors) in any case.
    fn error_received(&mut self, transport: &mut DatagramTransport<'_>, error: &SystemError) {
        log::debug!("{}: {error}", transport.host());
    }

    /// A datagram was given up, because the system refused it: too long for the way (EMSGSIZE), no route in this
    /// machine's own table (ENETUNREACH). A router's answer goes to `error_received`. By default that is logged at
    /// debug level; it is counted in any case. `to` is `None` for the one peer of the socket.
    fn send_failed(
        &mut self,
        transport: &mut DatagramTransport<'_>,
        to: Option<&Address>,
        error: &SystemError,
    ) {
        let (host, to) = (transport.host(), to.or(transport.peer()).map(Address::to_string));
        log::debug!("{host}: a datagram to {} was given up: {error}", to.unwrap_or_default());
    }

    /// The socket is closed: what is written from now on goes nowhere. The reason is
    /// [`Reason::Done`] after `stop_listening`, [`Reason::Stopped`] at the reactor's end. One that was to have a peer by its host
    /// name, which has no address or none that can be reached, has not been started, and is told why here alone.
    fn stop_protocol(&mut self, transport: &mut DatagramTransport<'_>, reason: &Reason) {
        let _ = (transport, reason);
    }
}

/// A socket of datagrams in its slot.
pub(in crate::reactor) struct DatagramSlot {
    /// Out of its place while one of its callbacks runs.
    pub(in crate::reactor) protocol: Option<Box<dyn DatagramProtocol>>,
    pub(in crate::reactor) host: Address,
    pub(in crate::reactor) peer: Option<Address>,
    /// The one peer as the system names it: nobody else is heard, whatever the system lets through.
    pub(in crate::reactor) connected_peer: Option<Address>,
    pub(in crate::reactor) max_size: usize,
    pub(in crate::reactor) state: State,
    /// Of the peer's host, while its name is looked up.
    pub(in crate::reactor) lookup: Option<Lookup>,
    pub(in crate::reactor) reading_paused: bool,
    pub(in crate::reactor) readiness: Readiness,
    /// What has come and is not told of yet: it goes before what is still with the system.
    pub(in crate::reactor) received: Option<Box<RecvBatch>>,
    /// It stands in the list of those that had their share of the turn.
    pub(in crate::reactor) resume_scheduled: bool,
    /// The turn up to which timers wait for what had come before them; 0 if they do not.
    pub(in crate::reactor) timers_wait_until: u64,
    /// It stands in the list of those to flush at the end of the turn.
    pub(in crate::reactor) flush_scheduled: bool,
    pub(in crate::reactor) send_queue: SendQueue,
    /// When the receivers are tried again that were full.
    pub(in crate::reactor) send_retry: Option<DelayedCall>,
    /// When it is read again, after it could not be.
    pub(in crate::reactor) read_retry: Option<DelayedCall>,
    pub(in crate::reactor) timers: Vec<DelayedCall>,
    /// When a panic was last logged with this socket's address.
    logged: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reactor) enum State {
    /// The name of the peer's host is looked up: there is no socket yet.
    Resolving,
    /// `start_protocol` is queued.
    Starting,
    Open,
    /// `stop_protocol` is queued, or runs; the descriptor is closed.
    Stopped,
}

impl DatagramSlot {
    pub(in crate::reactor) fn new(
        protocol: Box<dyn DatagramProtocol>,
        host: Address,
        peer: Option<Address>,
        hears: Option<Address>,
        max_size: usize,
    ) -> DatagramSlot {
        DatagramSlot {
            protocol: Some(protocol),
            host,
            peer,
            max_size,
            state: State::Starting,
            lookup: None,
            reading_paused: false,
            connected_peer: hears,
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

    /// One without a socket yet, that is to have this address.
    pub(in crate::reactor) fn resolving(
        protocol: Box<dyn DatagramProtocol>,
        host: SocketAddr,
        max_size: usize,
    ) -> DatagramSlot {
        let slot = DatagramSlot::new(protocol, Address::Udp(host), None, None, max_size);
        DatagramSlot { state: State::Resolving, readiness: Readiness::default(), ..slot }
    }

    /// Now it has one.
    pub(in crate::reactor) fn opened(
        &mut self,
        host: Address,
        peer: Option<Address>,
        hears: Option<Address>,
    ) {
        (self.host, self.peer, self.connected_peer) = (host, peer, hears);
        (self.state, self.readiness) = (State::Starting, Readiness::WRITABLE);
    }

    pub(in crate::reactor) fn may_be_told(&self) -> bool {
        self.state == State::Open && !self.reading_paused
    }

    pub(in crate::reactor) fn wants_read(&self) -> bool {
        self.may_be_told() && self.read_retry.is_none() && self.readiness.has(Readiness::READABLE)
    }

    /// Whether a datagram is not of the one peer. One of UNIX that is left by its peer takes from anybody, and one of UDP has what
    /// came before it had a peer.
    pub(in crate::reactor) fn is_from_other(&self, from: &Address) -> bool {
        self.connected_peer.as_ref().is_some_and(|peer| peer != from && !same_place(peer, from))
    }

    pub(in crate::reactor) fn has_stopped(&self) -> bool {
        self.state == State::Stopped
    }

    /// Bytes that wait to be sent.
    pub(in crate::reactor) fn unsent(&self) -> usize {
        self.send_queue.bytes()
    }

    /// Whether a queue that is full is the receiver's: of UNIX sockets, but of those with one peer the system tells when
    /// there is room. Of the others nothing tells, and what it says of our own queue is no news: it has room
    /// again after each datagram that was refused.
    pub(in crate::reactor) fn has_many_receivers(&self) -> bool {
        self.peer.is_none() && matches!(self.host, Address::Unix(_))
    }
}

/// The datagram whose callback runs, of a socket that is bound to any address.
#[derive(Clone, Copy)]
pub(in crate::reactor) struct InHand {
    pub(in crate::reactor) token: Token,
    pub(in crate::reactor) from: SocketAddr,
    pub(in crate::reactor) destination: Destination,
}

/// What an error is about.
pub(in crate::reactor) enum DatagramError {
    /// No datagram in hand.
    Answer,
    /// The one to this address, which was given up; `None` is the one peer.
    Lost(Option<Address>),
}

impl Reactor {
    /// The kernel has news of a socket of datagrams.
    pub(in crate::reactor) fn datagram_ready(&mut self, token: Token, ready: Readiness) {
        let Some(slot) = self.registry.datagram_mut(token) else { return };
        slot.readiness.insert(ready);
        if slot.resume_scheduled || slot.state != State::Open {
            return;
        }
        self.serve_datagrams(token);
    }

    /// The turn of a socket that was queued, if the token names one.
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

    /// Tells what went wrong.
    pub(in crate::reactor) fn datagram_trouble(
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

    pub(in crate::reactor) fn queue_datagrams(&mut self, token: Token) {
        if let Some(slot) = self.registry.datagram_mut(token)
            && !std::mem::replace(&mut slot.resume_scheduled, true)
        {
            self.queues.resume.push_back(token);
        }
    }

    /// Calls a socket's protocol, which is out of its place meanwhile.
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
        let called = self.catch_panic(place, None, |reactor| {
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

    /// Which socket's it was, at most once a second: anybody may send what makes it panic.
    fn log_datagram_panic(&mut self, token: Token) {
        let now = self.now();
        if let Some(slot) = self.registry.datagram_mut(token)
            && slot.logged.is_none_or(|last| now - last >= Duration::from_secs(1))
        {
            slot.logged = Some(now);
            log_error!([socket = slot.host.to_string().as_str()] "the panic was in the protocol of {}", slot.host);
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
        // What came meanwhile.
        self.queue_datagrams(token);
    }

    /// Closes a socket; its protocol is told from the loop. `false` when it is closed already.
    pub(in crate::reactor) fn stop_datagram(&mut self, token: Token, reason: Reason) -> bool {
        let Some(slot) = self.registry.datagram_mut(token) else { return false };
        let started = match slot.state {
            // Nobody else says that nothing comes of it.
            State::Resolving => !matches!(reason, Reason::Done | Reason::Stopped),
            State::Starting => false,
            State::Open => true,
            State::Stopped => return false,
        };
        // What its callback has written before goes first. Nobody is called from here: what fails is counted.
        slot.send_queue.try_again(usize::MAX);
        loop {
            let troubles = self.send_datagrams(token);
            if troubles.is_empty() {
                break;
            }
            for (_, error) in troubles {
                self.statistics.datagram_errors += 1;
                log::debug!("a socket of datagrams that closes: {error}");
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
        self.queues.callbacks.push(crate::reactor::queues::Callback::StopDatagram(token, reason, started));
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

    /// A socket of datagrams by name, if it still is there.
    pub fn datagram_transport(&mut self, id: DatagramId) -> Option<DatagramTransport<'_>> {
        self.registry.datagram_mut(id.0)?;
        Some(DatagramTransport { reactor: self, token: id.0 })
    }

    /// Reaches another socket's protocol, by its type. `None` when the socket is gone, its protocol is of another
    /// type, or is the very one whose callback runs.
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
        // The panic is the caller's, not the other socket's.
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The names of all open sockets of datagrams.
    pub fn datagrams(&self) -> Vec<DatagramId> {
        let open = |source: &Source| match source {
            Source::Datagram(slot) => slot.state != State::Stopped,
            _ => false,
        };
        self.registry.tokens(open).into_iter().map(DatagramId).collect()
    }
}
