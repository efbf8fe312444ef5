//! Connection limits: in total and per peer.
//!
//! A connection counts from its accept until it is lost, including the time in which its layers are
//! not ready and no protocol exists yet.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use crate::{
    BuildContext, ClientFactory, ConnectionGuards, Connector, Factory, Layer, LayerContext, LayerError,
    Protocol, Reactor, Reason,
};

/// Limits a factory to `limit` concurrent connections. (Twisted: `LimitTotalConnectionsFactory`.)
///
/// A connection over the limit is closed at once, or gets the [overflow](LimitTotal::overflow)
/// protocol. Connections count from their accept on, even if layers above or below this limit are
/// not ready yet.
///
/// ```
/// use twistor::policy::limit_total;
/// use twistor::{Protocol, Transport};
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
/// # }
///
/// struct Busy;
///
/// impl Protocol for Busy {
///     fn connection_made(&mut self, transport: &mut Transport<'_>) {
///         transport.write(b"Come back later.\n");
///         transport.lose_connection();
///     }
///     fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
/// }
///
/// let echo = limit_total(|| Echo, 1000).overflow(|| Busy);
/// twistor::Reactor::new()?.listen_tcp("127.0.0.1:0", echo)?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[doc(alias = "LimitTotalConnectionsFactory")]
pub fn limit_total<F: Factory>(factory: F, limit: usize) -> LimitTotal<F> {
    LimitTotal { factory, limit, open: Rc::default(), awaiting_overflow: Rc::default(), overflow: None }
}

/// Factory returned by [`limit_total`].
pub struct LimitTotal<F> {
    factory: F,
    limit: usize,
    open: Rc<Cell<usize>>,
    /// Connections over the limit whose layers are not ready yet; they get the overflow protocol.
    awaiting_overflow: Rc<Cell<usize>>,
    overflow: Option<Box<dyn FnMut() -> Box<dyn Protocol>>>,
}

impl<F> LimitTotal<F> {
    /// Sets the protocol for connections over the limit. These connections are not counted.
    ///
    /// At most `limit` of them may wait for their layers at a time; further ones are closed at
    /// once. Default: connections over the limit are closed at once.
    pub fn overflow<P: Protocol>(mut self, mut build: impl FnMut() -> P + 'static) -> LimitTotal<F> {
        self.overflow = Some(Box::new(move || Box::new(build())));
        self
    }

    /// Changes the limit. Open connections stay open.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Number of open connections within the limit, including those without a protocol yet.
    pub fn open(&self) -> usize {
        self.open.get()
    }
}

/// Limits a factory to `limit` concurrent connections per peer. (Twisted:
/// `LimitConnectionsByPeer`.)
///
/// A connection over the limit is closed at once. A sensible limit is 256, because a household or
/// an office may share one address. UNIX sockets are not limited. Connections count from their
/// accept on, even if layers are not ready yet.
///
/// A peer is an IPv4 address or an IPv6 /64 network, because one IPv6 host can use all 2^64
/// addresses of its network. [`ipv4_prefix`](LimitPerPeer::ipv4_prefix) and
/// [`ipv6_prefix`](LimitPerPeer::ipv6_prefix) change that. An IPv4-mapped address
/// (`::ffff:192.0.2.1`) counts as the IPv4 address. Zones (`%eth0`) are ignored, so by default all
/// link-local addresses (`fe80::/64`) are one peer.
///
/// Behind a proxy, place this factory inside [`behind_proxy`](crate::proxy_protocol::behind_proxy).
/// It then counts clients rather than the proxy, each from the arrival of its PROXY header.
///
/// ```
/// # struct Echo;
/// # impl twistor::Protocol for Echo {
/// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
/// # }
/// let echo = twistor::policy::limit_per_peer(|| Echo, 256);
/// twistor::Reactor::new()?.listen_tcp("127.0.0.1:0", echo)?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[doc(alias = "LimitConnectionsByPeer")]
pub fn limit_per_peer<F: Factory>(factory: F, limit: usize) -> LimitPerPeer<F> {
    LimitPerPeer { factory, limit, prefixes: Prefixes::default(), open: Rc::default() }
}

/// Factory returned by [`limit_per_peer`].
pub struct LimitPerPeer<F> {
    factory: F,
    limit: usize,
    prefixes: Prefixes,
    open: PeerCounts,
}

impl<F> LimitPerPeer<F> {
    fn peers(&self) -> Peers {
        Peers { open: Rc::clone(&self.open), limit: self.limit, prefixes: self.prefixes }
    }

    /// Sets the number of leading bits of an IPv4 address that identify a peer.
    ///
    /// With 24, all addresses of a /24 network count together. With 0, all IPv4 addresses do.
    /// Values over 32 count as 32. Default: 32.
    pub fn ipv4_prefix(mut self, bits: u8) -> LimitPerPeer<F> {
        self.prefixes.ipv4 = bits;
        self
    }

    /// Sets the number of leading bits of an IPv6 address that identify a peer.
    ///
    /// With 128, each address counts separately. Values over 128 count as 128. Default: 64.
    pub fn ipv6_prefix(mut self, bits: u8) -> LimitPerPeer<F> {
        self.prefixes.ipv6 = bits;
        self
    }

    /// Changes the limit. Open connections stay open.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Number of open connections of the peer that this address belongs to.
    pub fn open(&self, peer: IpAddr) -> usize {
        self.open.borrow().get(&self.prefixes.network(peer)).copied().unwrap_or(0)
    }
}

impl<F> LimitTotal<F> {
    /// Claims a slot for the connection that is being built, unless it has one already.
    fn claim(&self, guards: &mut ConnectionGuards) -> bool {
        Count::Total(Rc::clone(&self.open)).claim(guards, self.limit)
    }
}

impl<F: Factory> Factory for LimitTotal<F> {
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        // The connection has had a slot since its accept, unless it was over the limit. A slot may
        // have become free since then.
        Count::Total(Rc::clone(&self.awaiting_overflow)).release(context.guards());
        match self.claim(context.guards()) {
            true => self.factory.build_protocol(context),
            false => self.overflow.as_mut().map(|build| build()),
        }
    }

    fn layers(&mut self, context: &mut BuildContext<'_>) -> Vec<Box<dyn Layer>> {
        if !self.claim(context.guards()) {
            // The overflow protocol also runs above the layers. Connections that wait for it are
            // limited as well.
            let awaiting_overflow = Count::Total(Rc::clone(&self.awaiting_overflow));
            if self.overflow.is_none() || !awaiting_overflow.claim(context.guards(), self.limit) {
                context.reject();
                return Vec::new();
            }
        }
        self.factory.layers(context)
    }

    fn start_factory(&mut self, reactor: &mut Reactor) {
        self.factory.start_factory(reactor);
    }

    fn stop_factory(&mut self, reactor: &mut Reactor) {
        self.factory.stop_factory(reactor);
    }
}

impl<F: Factory> Factory for LimitPerPeer<F> {
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        let ip = context.peer().ip();
        match self.peers().claim(context.guards(), ip) {
            true => self.factory.build_protocol(context),
            false => None,
        }
    }

    fn layers(&mut self, context: &mut BuildContext<'_>) -> Vec<Box<dyn Layer>> {
        let address_pending = context.addresses_pending();
        let mut layers = self.factory.layers(context);
        if address_pending && !layers.is_empty() {
            layers.insert(0, Box::new(self.peers()));
        } else if !context.addresses_pending() {
            let ip = context.peer().ip();
            if !self.peers().claim(context.guards(), ip) {
                context.reject();
            }
        }
        layers
    }

    fn start_factory(&mut self, reactor: &mut Reactor) {
        self.factory.start_factory(reactor);
    }

    fn stop_factory(&mut self, reactor: &mut Reactor) {
        self.factory.stop_factory(reactor);
    }
}

macro_rules! client_factory {
    ($limit:ident) => {
        impl<F: ClientFactory> ClientFactory for $limit<F> {
            fn started_connecting(&mut self, connector: &mut Connector<'_>) {
                self.factory.started_connecting(connector);
            }

            fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
                self.factory.client_connection_failed(connector, reason);
            }

            fn client_connection_lost(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
                self.factory.client_connection_lost(connector, reason);
            }
        }
    };
}

client_factory!(LimitTotal);
client_factory!(LimitPerPeer);

type PeerCounts = Rc<RefCell<HashMap<IpAddr, usize>>>;

/// Per-peer limit. As a layer it stands above the layer that learns the client's address and below
/// all layers that take time to become ready.
struct Peers {
    open: PeerCounts,
    limit: usize,
    prefixes: Prefixes,
}

/// Number of leading bits of an address that identify a peer.
#[derive(Clone, Copy)]
struct Prefixes {
    ipv4: u8,
    ipv6: u8,
}

impl Default for Prefixes {
    fn default() -> Prefixes {
        Prefixes { ipv4: 32, ipv6: 64 }
    }
}

impl Prefixes {
    /// Returns the first address of the peer's network.
    fn network(self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32u32.saturating_sub(self.ipv4.into())).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128u32.saturating_sub(self.ipv6.into())).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        }
    }
}

impl Peers {
    /// Claims a slot of this peer for a connection, unless it has one already.
    fn claim(&self, guards: &mut ConnectionGuards, peer: Option<IpAddr>) -> bool {
        let Some(ip) = peer else { return true };
        Count::Peer(Rc::clone(&self.open), self.prefixes.network(ip)).claim(guards, self.limit)
    }
}

impl Layer for Peers {
    fn started(&mut self, below: &mut LayerContext<'_>) {
        let ip = below.peer().ip();
        match self.claim(below.guards(), ip) {
            true => below.ready(),
            false => below.end(LayerError::new("limit per peer", LimitReached(self.limit))),
        }
    }
}

/// Error: the peer has reached its limit.
#[derive(Debug)]
struct LimitReached(usize);

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections are open with this peer", self.0)
    }
}

impl Error for LimitReached {}

/// Counter that a slot belongs to.
#[derive(Clone)]
enum Count {
    Total(Rc<Cell<usize>>),
    Peer(PeerCounts, IpAddr),
}

impl Count {
    /// Returns whether the connection has a slot, and claims one if the limit allows it.
    fn claim(self, guards: &mut ConnectionGuards, limit: usize) -> bool {
        if let Some(Slot(held)) = guards.find(|Slot(held)| held.is_of_limit(&self)) {
            if held.ip() == self.ip() {
                return true;
            }
            // A layer has since reported another client address.
            self.release(guards);
        }
        let has_room = self.open() < limit;
        if has_room {
            guards.hold(Slot::of(self));
        }
        has_room
    }

    fn release(&self, guards: &mut ConnectionGuards) {
        drop(guards.release(|Slot(held)| held.is_of_limit(self)));
    }

    /// Whether both belong to the same limit, for any peer.
    fn is_of_limit(&self, other: &Count) -> bool {
        match (self, other) {
            (Count::Total(one), Count::Total(other)) => Rc::ptr_eq(one, other),
            (Count::Peer(one, _), Count::Peer(other, _)) => Rc::ptr_eq(one, other),
            _ => false,
        }
    }

    fn open(&self) -> usize {
        match self {
            Count::Total(open) => open.get(),
            Count::Peer(open, ip) => open.borrow().get(ip).copied().unwrap_or(0),
        }
    }

    fn ip(&self) -> Option<IpAddr> {
        match self {
            Count::Total(_) => None,
            Count::Peer(_, ip) => Some(*ip),
        }
    }
}

/// A counted connection. The slot is stored with the connection and is freed when dropped.
struct Slot(Count);

impl Slot {
    fn of(count: Count) -> Slot {
        match &count {
            Count::Total(open) => open.set(open.get() + 1),
            Count::Peer(open, ip) => *open.borrow_mut().entry(*ip).or_default() += 1,
        }
        Slot(count)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        match &self.0 {
            Count::Total(open) => open.set(open.get().saturating_sub(1)),
            Count::Peer(open, ip) => {
                let mut open = open.borrow_mut();
                match open.get_mut(ip) {
                    Some(count) if *count > 1 => *count -= 1,
                    // Last connection of this address: remove the entry, so that the map does not
                    // grow without limit.
                    _ => drop(open.remove(ip)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_without_connections_are_forgotten() {
        let open = PeerCounts::default();
        let slot = || Slot::of(Count::Peer(Rc::clone(&open), Ipv4Addr::LOCALHOST.into()));
        let (one, other) = (slot(), slot());
        drop(one);
        assert_eq!(open.borrow().values().collect::<Vec<_>>(), [&1]);
        drop(other);
        assert!(open.borrow().is_empty());
    }
}
