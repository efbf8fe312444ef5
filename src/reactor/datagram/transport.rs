//! The transport of datagram protocols: a handle on their socket.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::net::{Interface, LONGEST_DATAGRAM, Origin, SocketOption, Token};
use crate::reactor::datagram::State;
use crate::reactor::registry::source_id;
use crate::reactor::{Address, BadAddress, DelayedCall, Error, Instant, Reactor, Reason, Result, TimedCall};

source_id! {
    /// The ID of a datagram socket. It can be stored, and used after the socket is gone: it then
    /// names nothing.
    pub struct DatagramId;
}

/// A handle on one datagram socket, passed to its protocol's callbacks. (Twisted: `IUDPTransport`,
/// `IMulticastTransport`.)
///
/// No method calls back into user code. After the socket is closed, the methods do nothing or fail
/// with [`Error::NotConnected`].
#[doc(alias("IUDPTransport", "IMulticastTransport", "UdpSocket"))]
pub struct DatagramTransport<'a> {
    pub(crate) reactor: &'a mut Reactor,
    pub(crate) token: Token,
}

impl DatagramTransport<'_> {
    /// The socket's ID.
    pub fn id(&self) -> DatagramId {
        DatagramId(self.token)
    }

    /// The socket's local address, with the actual port if 0 was requested. (Twisted: `getHost`.)
    #[doc(alias("getHost", "local_addr"))]
    pub fn host(&self) -> Address {
        let slot = self.reactor.registry.datagram(self.token);
        slot.map_or(Address::Udp(NOWHERE), |slot| slot.host.clone())
    }

    /// The peer of a connected socket.
    #[doc(alias("getPeer", "peer_addr"))]
    pub fn peer(&self) -> Option<&Address> {
        self.reactor.registry.datagram(self.token)?.peer.as_ref()
    }

    /// The current time, as [`Reactor::now`].
    pub fn now(&mut self) -> Instant {
        self.reactor.now()
    }

    /// The reactor, for timers, connections and other sockets.
    pub fn reactor(&mut self) -> &mut Reactor {
        self.reactor
    }

    /// Sends a datagram to the peer of a connected socket. It may be empty. Datagrams written in
    /// one callback are sent together, in order. While the kernel has no room for them, they are
    /// queued. (Twisted: `write`.)
    ///
    /// # Errors
    /// The datagram is not sent.
    /// - [`Error::DatagramTooLong`]
    /// - [`Error::QueueFull`]: more than
    ///   [`Settings::write_buffer_limit`](crate::reactor::Settings::write_buffer_limit) bytes are
    ///   already queued
    /// - [`Error::NoPeer`]: the socket is not connected
    /// - [`Error::NotConnected`]: the socket is closed
    #[doc(alias = "send")]
    pub fn write(&mut self, data: impl AsRef<[u8]>) -> Result<()> {
        self.write_bytes(data.as_ref())
    }

    fn write_bytes(&mut self, data: &[u8]) -> Result<()> {
        match self.reactor.registry.datagram(self.token) {
            Some(slot) if slot.peer.is_none() && slot.state != State::Resolving => Err(Error::NoPeer),
            _ => self.keep(data, None, None),
        }
    }

    /// The destination of the datagram whose callback runs: an address of this host, a multicast
    /// group, or a broadcast address. IPv4 addresses are returned as such on dual-stack sockets
    /// too.
    ///
    /// Returns `None`:
    /// - outside of [`datagram_received`](crate::reactor::DatagramProtocol::datagram_received) and
    ///   `datagram_truncated`
    /// - on a socket bound to one address, where it is [`host`](DatagramTransport::host)
    /// - on a connected socket
    pub fn destination(&self) -> Option<IpAddr> {
        let current = self.reactor.send.datagram.filter(|current| current.token == self.token)?;
        Some(current.destination.address.to_canonical())
    }

    /// The source address for an answer to the datagram whose callback runs. This is its
    /// [`destination`](DatagramTransport::destination), or `None` if that is a multicast or
    /// broadcast address. On dual-stack sockets, the kernel does not distinguish an IPv4 network's
    /// broadcast address from a host address: an answer from it fails.
    pub fn reply_source(&self) -> Option<IpAddr> {
        let current = self.reactor.send.datagram.filter(|current| current.token == self.token)?;
        current.destination.answer_from.map(|origin| origin.address.to_canonical())
    }

    /// Sends a datagram to an address. It may be empty. The source is the socket's address. On a
    /// socket bound to a wildcard address, the kernel chooses the source by its routes, but an
    /// answer to the datagram whose callback runs has that datagram's destination as its source.
    /// (Twisted: `write` with an address.)
    ///
    /// If the host no longer has that address, the answer is dropped, and
    /// [`send_failed`](crate::reactor::DatagramProtocol::send_failed) is called with ENETUNREACH
    /// (IPv6: EINVAL).
    ///
    /// # Errors
    /// - [`Error::BadAddress`]: an address of another family, port 0, or an address other than the
    ///   peer's on a connected socket
    /// - Those of [`write`](DatagramTransport::write)
    #[doc(alias("sendto", "send_to"))]
    pub fn write_to(&mut self, data: impl AsRef<[u8]>, to: &Address) -> Result<()> {
        self.write_with(data.as_ref(), to, None)
    }

    /// Sends a datagram from a given address of this host and the socket's port. It may be empty.
    /// The addresses of the host are only known to the kernel: for another source,
    /// [`send_failed`](crate::reactor::DatagramProtocol::send_failed) is called with ENETUNREACH
    /// (IPv6: EINVAL). A link-local IPv6 source uses the interface of `to`.
    ///
    /// # Errors
    /// - [`Error::BadAddress`]: `source` is of another family than `to` or not a host address, or
    ///   the socket is connected or a UNIX socket
    /// - Those of [`write_to`](DatagramTransport::write_to)
    pub fn write_from(&mut self, data: impl AsRef<[u8]>, to: &Address, source: IpAddr) -> Result<()> {
        self.write_from_source(data.as_ref(), to, source)
    }

    fn write_from_source(&mut self, data: &[u8], to: &Address, source: IpAddr) -> Result<()> {
        let bad = |why| Err(Error::BadAddress(BadAddress { text: source.to_string(), why }));
        let Some(slot) = self.reactor.registry.datagram(self.token) else { return Err(Error::NotConnected) };
        let (Address::Udp(host), Some(there)) = (&slot.host, to.socket_address()) else {
            return bad("the socket or the peer has no IP address");
        };
        if slot.peer.is_some() {
            return bad("the socket is connected and has a source address");
        }
        let canonical = source.to_canonical();
        if canonical.is_ipv4() != there.ip().to_canonical().is_ipv4() {
            return bad("the source is of another address family than the peer");
        }
        let broadcast = matches!(canonical, IpAddr::V4(address) if address.is_broadcast());
        if canonical.is_unspecified() || canonical.is_multicast() || broadcast {
            return bad("not a host address");
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
                false => "the socket is connected to another peer",
            },
            _ if slot.state == State::Resolving => "the peer's name is being looked up: use `write`",
            (None, Address::Unix(_), Address::Unix(name)) if name.is_unnamed() => {
                "the peer's socket is unnamed"
            }
            (None, Address::Unix(_), Address::Unix(_)) => return self.keep(data, Some(there), None),
            (None, Address::Udp(host), Address::Udp(address)) => match address {
                _ if address.port() == 0 => "port 0 cannot be sent to",
                SocketAddr::V6(_) if host.is_ipv4() => "an IPv4 socket cannot send to an IPv6 address",
                address => {
                    let origin = origin.or_else(|| self.origin_of_answer(*address));
                    return self.keep(data, Some(there), origin);
                }
            },
            _ => "the socket is of another address family",
        };
        Err(Error::BadAddress(BadAddress { text: to.to_string(), why }))
    }

    /// The source of an answer to the datagram whose callback runs, if `to` is its sender.
    fn origin_of_answer(&self, to: SocketAddr) -> Option<Origin> {
        let current = self.reactor.send.datagram.filter(|current| current.token == self.token)?;
        let is_sender = (current.from.ip(), current.from.port()) == (to.ip(), to.port());
        current.destination.answer_from.filter(|_| is_sender)
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
        match self.reactor.queue_datagram(self.token, data, to, origin) {
            true => Ok(()),
            false => Err(Error::QueueFull(self.reactor.settings.write_buffer_limit)),
        }
    }

    /// Bytes written and not accepted by the kernel yet.
    #[doc(alias = "get_write_buffer_size")]
    pub fn write_buffer_size(&self) -> usize {
        self.reactor.registry.datagram(self.token).map_or(0, |slot| slot.unsent())
    }

    /// Stops delivering datagrams until `resume_reading`. Datagrams that were already read are
    /// delivered first then, in order. Later ones stay in the kernel, which drops them when its
    /// buffer is full.
    pub fn pause_reading(&mut self) {
        if let Some(slot) = self.reactor.registry.datagram_mut(self.token) {
            slot.reading_paused = true;
        }
    }

    /// Resumes reading.
    pub fn resume_reading(&mut self) {
        if let Some(slot) = self.reactor.registry.datagram_mut(self.token)
            && std::mem::replace(&mut slot.reading_paused, false)
        {
            self.reactor.schedule_datagrams(self.token);
        }
    }

    /// Whether reading is paused.
    pub fn reading_paused(&self) -> bool {
        self.reactor.registry.datagram(self.token).is_some_and(|slot| slot.reading_paused)
    }

    /// Sends the datagrams that the kernel accepts immediately, and closes the socket.
    /// `stop_protocol` follows from the loop, and no more datagrams. (Twisted: `stopListening`.)
    #[doc(alias = "stopListening")]
    pub fn stop_listening(&mut self) {
        self.reactor.stop_datagram(self.token, Reason::Done);
    }

    /// Duplicates the socket's descriptor, for a process that takes it over. Both processes receive
    /// until one of them stops.
    ///
    /// # Errors
    /// - [`Error::NotConnected`]
    /// - [`Error::System`]
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

    /// Allows sending to broadcast addresses. (Twisted: `setBroadcastAllowed`.) Default: no.
    ///
    /// # Errors
    /// - [`Error::NotConnected`]
    /// - [`Error::System`]
    #[doc(alias = "setBroadcastAllowed")]
    pub fn set_broadcast(&mut self, on: bool) -> Result<()> {
        self.set(SocketOption::Broadcast(on))
    }

    /// Sets the max hops of a unicast datagram, 1 to 255. Default: the system's, usually 64.
    ///
    /// # Errors
    /// - [`Error::NotConnected`]
    /// - [`Error::System`]
    pub fn set_ttl(&mut self, hops: u8) -> Result<()> {
        self.set(SocketOption::Ttl(u32::from(hops)))
    }

    /// Joins an IPv4 or IPv6 multicast group on an interface. (Twisted: `joinGroup`.)
    ///
    /// # Errors
    /// - [`Error::BadAddress`]: not a multicast address
    /// - [`Error::NotConnected`]
    /// - [`Error::System`]
    #[doc(alias("joinGroup", "join_multicast_v4", "join_multicast_v6"))]
    pub fn join_group(&mut self, group: IpAddr, interface: Interface) -> Result<()> {
        self.set(SocketOption::Join(check_group(group)?, interface))
    }

    /// Leaves a multicast group. (Twisted: `leaveGroup`.)
    ///
    /// # Errors
    /// As [`join_group`](DatagramTransport::join_group).
    #[doc(alias("leaveGroup", "leave_multicast_v4", "leave_multicast_v6"))]
    pub fn leave_group(&mut self, group: IpAddr, interface: Interface) -> Result<()> {
        self.set(SocketOption::Leave(check_group(group)?, interface))
    }

    /// Sets the max hops of a multicast datagram. 0 stays on this host, 1 in the local network.
    /// (Twisted: `setTTL`.) Default: 1.
    ///
    /// # Errors
    /// - [`Error::NotConnected`]
    /// - [`Error::System`]
    #[doc(alias("setTTL", "set_multicast_ttl_v4"))]
    pub fn set_multicast_ttl(&mut self, hops: u8) -> Result<()> {
        self.set(SocketOption::MulticastTtl(u32::from(hops)))
    }

    /// Sets whether group members on this host receive what this socket sends to the group.
    /// (Twisted: `setLoopbackMode`.) Default: yes.
    ///
    /// # Errors
    /// - [`Error::NotConnected`]
    /// - [`Error::System`]
    #[doc(alias("setLoopbackMode", "set_multicast_loop_v4"))]
    pub fn set_multicast_loopback(&mut self, on: bool) -> Result<()> {
        self.set(SocketOption::MulticastLoop(on))
    }

    /// Sets the outgoing interface of multicast datagrams. (Twisted: `setOutgoingInterface`.)
    ///
    /// # Errors
    /// - [`Error::NotConnected`]
    /// - [`Error::System`]
    #[doc(alias = "setOutgoingInterface")]
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

    /// Calls `call` with this socket's protocol after `delay`. The call is dropped if the socket is
    /// closed before. A protocol of another type than `P` is not called.
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
                // Removes called and cancelled timers each time before the list would grow.
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

/// Converts an address to the family of the socket that uses it: IPv6 sockets see IPv4 addresses as
/// mapped. Every address from outside is converted here.
pub(in crate::reactor) fn in_family_of(host: SocketAddr, there: SocketAddr) -> SocketAddr {
    match (host, there.ip()) {
        (SocketAddr::V6(_), IpAddr::V4(ip)) => SocketAddr::new(ip.to_ipv6_mapped().into(), there.port()),
        (SocketAddr::V4(_), ip) if there.is_ipv6() && ip.to_canonical().is_ipv4() => {
            SocketAddr::new(ip.to_canonical(), there.port())
        }
        _ => there,
    }
}

/// Whether two addresses have the same IP address and port. Scope and flow are left to the kernel.
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
        false => {
            Err(Error::BadAddress(BadAddress { text: group.to_string(), why: "not a multicast address" }))
        }
    }
}

/// The address of a socket that is gone.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
