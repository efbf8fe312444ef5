//! What a protocol of datagrams may do with its socket.

use std::any::Any;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::net::{Interface, LONGEST_DATAGRAM, Origin, SocketOption, Token};
use crate::reactor::datagram::State;
use crate::reactor::{Address, BadAddress, DelayedCall, Error, Instant, Reactor, Reason, Result, TimedCall};

/// A socket of datagrams by name: it can be kept, and used after the socket is gone, when it names nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatagramId(pub(crate) Token);

impl fmt::Debug for DatagramId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatagramId({:?})", self.0)
    }
}

/// The index, a dot, and the generation.
impl fmt::Display for DatagramId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// A socket of datagrams, as its protocol sees it. (Twisted: `IUDPTransport`, `IMulticastTransport`.)
///
/// Nothing here calls back. After the socket is closed the calls do nothing, or fail with [`Error::NotConnected`].
pub struct DatagramTransport<'a> {
    pub(crate) reactor: &'a mut Reactor,
    pub(crate) token: Token,
}

impl DatagramTransport<'_> {
    /// The socket's name.
    pub fn id(&self) -> DatagramId {
        DatagramId(self.token)
    }

    /// The socket's own address, with the real port where 0 was asked for. (Twisted: `getHost`.)
    pub fn host(&self) -> Address {
        let slot = self.reactor.registry.datagram(self.token);
        slot.map_or(Address::Udp(NOWHERE), |slot| slot.host.clone())
    }

    /// The one peer of a connected socket.
    pub fn peer(&self) -> Option<&Address> {
        self.reactor.registry.datagram(self.token)?.peer.as_ref()
    }

    /// The time, as [`Reactor::now`].
    pub fn now(&mut self) -> Instant {
        self.reactor.now()
    }

    /// The reactor: timers, connections, other sockets.
    pub fn reactor(&mut self) -> &mut Reactor {
        self.reactor
    }

    /// Sends a datagram, which may be empty, to the one peer of a connected socket. What is written in one callback
    /// leaves together, in order; what the system has no room for waits. (Twisted: `write`.)
    ///
    /// # Errors
    /// [`Error::DatagramTooLong`]; [`Error::QueueFull`] when more than
    /// [`Settings::write_buffer_limit`](crate::reactor::Settings::write_buffer_limit) bytes wait already; [`Error::NoPeer`] when the
    /// socket is not connected; [`Error::NotConnected`] after its end. The datagram is not sent then.
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        match self.reactor.registry.datagram(self.token) {
            Some(slot) if slot.peer.is_none() && slot.state != State::Resolving => Err(Error::NoPeer),
            _ => self.keep(data, None, None),
        }
    }

    /// Where the datagram was sent to whose callback runs: an address of this host, a multicast group or a broadcast address. An IPv4
    /// address is one, on a socket of both families, too. `None` outside of
    /// [`datagram_received`](crate::reactor::DatagramProtocol::datagram_received) and `datagram_truncated`, and for a socket that is
    /// bound to one address ([`host`](DatagramTransport::host) tells it) or has one peer.
    pub fn destination(&self) -> Option<IpAddr> {
        let in_hand = self.reactor.send.datagram.filter(|in_hand| in_hand.token == self.token)?;
        Some(in_hand.destination.address.to_canonical())
    }

    /// The address that an answer leaves from to the datagram whose callback runs: its [`destination`](DatagramTransport::destination),
    /// or `None` if that is a group or a broadcast address. On a socket of both families, the system does not tell the broadcast
    /// address of an IPv4 network apart from a host's: an answer to it fails.
    pub fn reply_source(&self) -> Option<IpAddr> {
        let in_hand = self.reactor.send.datagram.filter(|in_hand| in_hand.token == self.token)?;
        in_hand.destination.answer_from.map(|origin| origin.address.to_canonical())
    }

    /// Sends a datagram, which may be empty, to an address. It leaves from the socket's address. Of a socket that is bound to any
    /// address, the system chooses by its routes; but an answer to the datagram whose callback runs leaves from the
    /// address that this was sent to. (Twisted: `write` with an address.)
    ///
    /// If the host does not have that address any more, the answer is given up:
    /// [`send_failed`](crate::reactor::DatagramProtocol::send_failed) tells of ENETUNREACH, or EINVAL for IPv6.
    ///
    /// # Errors
    /// As [`write`](DatagramTransport::write); [`Error::BadAddress`] for an address of another family, port 0, or, on
    /// a connected socket, any but its peer's.
    pub fn write_to(&mut self, data: &[u8], to: &Address) -> Result<()> {
        self.write_with(data, to, None)
    }

    /// Sends a datagram, which may be empty, from this address of the host, and from the socket's port. Only the system knows the
    /// addresses of the host: for another one [`send_failed`](crate::reactor::DatagramProtocol::send_failed) tells of ENETUNREACH, or EINVAL
    /// for IPv6. A link-local address of IPv6 is taken at the interface of `to`.
    ///
    /// # Errors
    /// As [`write_to`](DatagramTransport::write_to); [`Error::BadAddress`] for a `source` of another family than `to`, one that
    /// is no address of a host, and on a socket with one peer, which has an address already, or of UNIX.
    pub fn write_from(&mut self, data: &[u8], to: &Address, source: IpAddr) -> Result<()> {
        let bad = |why| Err(Error::BadAddress(BadAddress { text: source.to_string(), why }));
        let Some(slot) = self.reactor.registry.datagram(self.token) else { return Err(Error::NotConnected) };
        let (Address::Udp(host), Some(there)) = (&slot.host, to.socket_address()) else {
            return bad("the socket or the other side has no IP address");
        };
        if slot.peer.is_some() {
            return bad("the socket has one peer, and an address of its own");
        }
        let canonical = source.to_canonical();
        if canonical.is_ipv4() != there.ip().to_canonical().is_ipv4() {
            return bad("it is of another family than the other side's address");
        }
        let broadcast = matches!(canonical, IpAddr::V4(address) if address.is_broadcast());
        if canonical.is_unspecified() || canonical.is_multicast() || broadcast {
            return bad("it is no address of a host");
        }
        let interface = match there {
            SocketAddr::V6(there) => there.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        let address = in_family_of(*host, SocketAddr::new(source, 0)).ip();
        self.write_with(data, to, Some(Origin::new(address, interface)))
    }

    fn write_with(&mut self, data: &[u8], to: &Address, origin: Option<Origin>) -> Result<()> {
        let Some(slot) = self.reactor.registry.datagram(self.token) else { return Err(Error::NotConnected) };
        let there = match (&slot.host, to) {
            (Address::Udp(host), Address::Udp(there) | Address::Tcp(there)) => {
                Address::Udp(in_family_of(*host, *there))
            }
            _ => to.clone(),
        };
        let why = match (&slot.peer, &slot.host, &there) {
            (Some(peer), _, there) => match peer == there || same_place(peer, there) {
                true => return self.keep(data, None, None),
                false => "the socket is connected to another one",
            },
            _ if slot.state == State::Resolving => "the peer's name is looked up: write to the peer",
            (None, Address::Unix(_), Address::Unix(name)) if name.is_unnamed() => {
                "the socket there has no name"
            }
            (None, Address::Unix(_), Address::Unix(_)) => return self.keep(data, Some(there), None),
            (None, Address::Udp(host), Address::Udp(address)) => match address {
                _ if address.port() == 0 => "port 0 cannot be sent to",
                SocketAddr::V6(_) if host.is_ipv4() => "the socket is one of IPv4, the address is not",
                address => {
                    let origin = origin.or_else(|| self.origin_of_answer(*address));
                    return self.keep(data, Some(there), origin);
                }
            },
            _ => "the socket is of another family",
        };
        Err(Error::BadAddress(BadAddress { text: to.to_string(), why }))
    }

    /// Where an answer leaves from to the datagram whose callback runs, if it goes to its sender.
    fn origin_of_answer(&self, to: SocketAddr) -> Option<Origin> {
        let in_hand = self.reactor.send.datagram.filter(|in_hand| in_hand.token == self.token)?;
        let is_sender = (in_hand.from.ip(), in_hand.from.port()) == (to.ip(), to.port());
        in_hand.destination.answer_from.filter(|_| is_sender)
    }

    fn keep(&mut self, data: &[u8], to: Option<Address>, origin: Option<Origin>) -> Result<()> {
        let slot = self.reactor.registry.datagram(self.token);
        let Some(slot) = slot.filter(|slot| slot.state != State::Stopped) else {
            return Err(Error::NotConnected);
        };
        let longest = match slot.host {
            Address::Unix(_) => usize::MAX,
            _ => LONGEST_DATAGRAM,
        };
        if data.len() > longest {
            return Err(Error::DatagramTooLong { length: data.len(), longest });
        }
        match self.reactor.keep_datagram(self.token, data, to, origin) {
            true => Ok(()),
            false => Err(Error::QueueFull(self.reactor.settings.write_buffer_limit)),
        }
    }

    /// Bytes written that the system has not taken yet.
    pub fn write_buffer_size(&self) -> usize {
        self.reactor.registry.datagram(self.token).map_or(0, |slot| slot.unsent())
    }

    /// No datagram is told of from now on, until `resume_reading`: then those come first that were received already, in
    /// order. What comes meanwhile stays with the system, which drops what it has no room for.
    pub fn pause_reading(&mut self) {
        if let Some(slot) = self.reactor.registry.datagram_mut(self.token) {
            slot.reading_paused = true;
        }
    }

    /// Reads again.
    pub fn resume_reading(&mut self) {
        if let Some(slot) = self.reactor.registry.datagram_mut(self.token)
            && std::mem::replace(&mut slot.reading_paused, false)
        {
            self.reactor.queue_datagrams(self.token);
        }
    }

    /// Whether reading is paused.
    pub fn reading_paused(&self) -> bool {
        self.reactor.registry.datagram(self.token).is_some_and(|slot| slot.reading_paused)
    }

    /// Sends what the system still takes at once, and closes the socket; `stop_protocol` comes from the loop, and no
    /// datagram any more. (Twisted: `stopListening`.)
    pub fn stop_listening(&mut self) {
        self.reactor.stop_datagram(self.token, Reason::Done);
    }

    /// Another descriptor of the socket, for the process that is to go on with it: both receive until one stops.
    ///
    /// # Errors
    /// [`Error::NotConnected`], [`Error::System`].
    pub fn duplicate(&mut self) -> Result<OwnedFd> {
        match self.is_closing() {
            true => Err(Error::NotConnected),
            false => {
                self.reactor.net.duplicate(self.token).map_err(|source| Error::System { call: "dup", source })
            }
        }
    }

    /// Whether the socket is closed.
    pub fn is_closing(&self) -> bool {
        self.reactor.registry.datagram(self.token).is_none_or(|slot| slot.state == State::Stopped)
    }

    /// Lets datagrams go to broadcast addresses. Default: no. (Twisted: `setBroadcastAllowed`.)
    ///
    /// # Errors
    /// [`Error::NotConnected`], [`Error::System`].
    pub fn set_broadcast(&mut self, on: bool) -> Result<()> {
        self.set(SocketOption::Broadcast(on))
    }

    /// How many hops a datagram to one host may take, 1 to 255. Default: the system's, mostly 64.
    ///
    /// # Errors
    /// [`Error::NotConnected`], [`Error::System`].
    pub fn set_ttl(&mut self, hops: u8) -> Result<()> {
        self.set(SocketOption::Ttl(u32::from(hops)))
    }

    /// Receives what is sent to a multicast group, v4 or v6, on an interface. (Twisted: `joinGroup`.)
    ///
    /// # Errors
    /// [`Error::BadAddress`] when it is no address of a group; [`Error::NotConnected`]; [`Error::System`].
    pub fn join_group(&mut self, group: IpAddr, interface: Interface) -> Result<()> {
        self.set(SocketOption::Join(check_group(group)?, interface))
    }

    /// Receives it no more. (Twisted: `leaveGroup`.)
    ///
    /// # Errors
    /// As [`join_group`](DatagramTransport::join_group).
    pub fn leave_group(&mut self, group: IpAddr, interface: Interface) -> Result<()> {
        self.set(SocketOption::Leave(check_group(group)?, interface))
    }

    /// How many hops a datagram to a group may take: 0 stays on this host, 1, the default, in this network. (Twisted:
    /// `setTTL`.)
    ///
    /// # Errors
    /// [`Error::NotConnected`], [`Error::System`].
    pub fn set_multicast_ttl(&mut self, hops: u8) -> Result<()> {
        self.set(SocketOption::MulticastTtl(u32::from(hops)))
    }

    /// Whether members on this host receive what this socket sends to a group. Default: yes. (Twisted: `setLoopbackMode`.)
    ///
    /// # Errors
    /// [`Error::NotConnected`], [`Error::System`].
    pub fn set_multicast_loopback(&mut self, on: bool) -> Result<()> {
        self.set(SocketOption::MulticastLoop(on))
    }

    /// Where datagrams to groups leave this host. (Twisted: `setOutgoingInterface`.)
    ///
    /// # Errors
    /// [`Error::NotConnected`], [`Error::System`].
    pub fn set_multicast_interface(&mut self, interface: Interface) -> Result<()> {
        self.set(SocketOption::MulticastInterface(interface))
    }

    fn set(&mut self, option: SocketOption) -> Result<()> {
        match self.is_closing() {
            true => Err(Error::NotConnected),
            false => self
                .reactor
                .net
                .set(self.token, option)
                .map_err(|source| Error::System { call: "setsockopt", source }),
        }
    }

    /// Calls `call` with this socket's protocol after `delay`, unless the socket is closed before: then the call is
    /// dropped. A protocol of another type than `P` is not called.
    pub fn call_later<P: crate::reactor::DatagramProtocol>(
        &mut self,
        delay: Duration,
        call: impl FnOnce(&mut P, &mut DatagramTransport<'_>) + 'static,
    ) -> DelayedCall {
        let token = self.token;
        let call = move |protocol: &mut dyn crate::reactor::DatagramProtocol,
                         transport: &mut DatagramTransport<'_>| {
            let protocol: &mut dyn Any = protocol;
            if let Some(protocol) = protocol.downcast_mut::<P>() {
                call(protocol, transport);
            }
        };
        let at = self.reactor.now() + delay;
        let timer = self.reactor.timers.set(at, TimedCall::Datagram(token, Box::new(call)));
        let reactor = &mut *self.reactor;
        match reactor.registry.datagram_mut(token) {
            Some(slot) => {
                // Forgets those that were called or cancelled each time the list would grow.
                if slot.timers.len() == slot.timers.capacity() {
                    slot.timers.retain(|timer| reactor.timers.due(*timer).is_some());
                }
                slot.timers.push(timer);
            }
            None => reactor.drop_timer(timer),
        }
        timer
    }
}

/// An address in the family of the socket that is to use it, as the system names it there: one of IPv6 sees those of IPv4 as
/// mapped. Every address goes through here when it comes in from outside.
pub(in crate::reactor) fn in_family_of(host: SocketAddr, there: SocketAddr) -> SocketAddr {
    match (host, there.ip()) {
        (SocketAddr::V6(_), IpAddr::V4(ip)) => SocketAddr::new(ip.to_ipv6_mapped().into(), there.port()),
        (SocketAddr::V4(_), ip) if there.is_ipv6() && ip.to_canonical().is_ipv4() => {
            SocketAddr::new(ip.to_canonical(), there.port())
        }
        _ => there,
    }
}

/// Whether two addresses are the same IP address and port. Scopes and flows are the system's matter.
pub(in crate::reactor) fn same_place(one: &Address, other: &Address) -> bool {
    let place = |address: &Address| {
        let address = address.socket_address()?;
        Some((address.ip(), address.port()))
    };
    place(one).is_some() && place(one) == place(other)
}

fn check_group(group: IpAddr) -> Result<IpAddr> {
    match group.is_multicast() {
        true => Ok(group),
        false => Err(Error::BadAddress(BadAddress {
            text: group.to_string(),
            why: "it is not the address of a multicast group",
        })),
    }
}

/// What the address of a socket is that is gone.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
