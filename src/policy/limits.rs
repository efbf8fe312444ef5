//! Limits of how many connections there may be: in all, and from one peer.
//!
//! A connection counts from its accept on, so that those count, too, that never come further than their layers.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use crate::{
    Address, ClientFactory, ConnectionId, Connector, Factory, Layer, LayerContext, LayerError, Protocol,
    Reactor, Reason,
};

/// Lets a factory have at most `limit` connections at a time; others are closed at once, or have the overflow protocol. They count
/// from their accept on, whatever layers they are still in, above this limit and beneath. (Twisted:
/// `LimitTotalConnectionsFactory`.)
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
pub fn limit_total<F: Factory>(factory: F, limit: usize) -> LimitTotal<F> {
    LimitTotal { factory, limit, open: Rc::default(), waiting: Rc::default(), overflow: None }
}

/// See [`limit_total`].
pub struct LimitTotal<F> {
    factory: F,
    limit: usize,
    open: Rc<Cell<usize>>,
    /// Those above it that wait within their layers for the overflow protocol.
    waiting: Rc<Cell<usize>>,
    overflow: Option<Box<dyn FnMut() -> Box<dyn Protocol>>>,
}

impl<F> LimitTotal<F> {
    /// What connections over the limit have for a protocol; they are not counted, but no more of them than the limit may wait
    /// within their layers for it. Default: they are closed at once.
    pub fn overflow<P: Protocol>(mut self, mut build: impl FnMut() -> P + 'static) -> LimitTotal<F> {
        self.overflow = Some(Box::new(move || Box::new(build())));
        self
    }

    /// Changes the limit; connections that are open stay.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// How many connections are open within the limit, those included that have no protocol yet.
    pub fn open(&self) -> usize {
        self.open.get()
    }
}

/// Lets a factory have at most `limit` connections at a time with one peer; others are closed at once. 256 is a sensible
/// limit: a household or an office may come from one address. UNIX sockets are not limited. They count from their accept on, whatever
/// layers they are still in.
///
/// A peer is an IPv4 address, or a /64 network of IPv6, because one host of IPv6 can use all 2^64 addresses of its network.
/// [`ipv4_prefix`](LimitPerPeer::ipv4_prefix) and [`ipv6_prefix`](LimitPerPeer::ipv6_prefix) change that. An IPv4-mapped
/// address (`::ffff:192.0.2.1`) counts as the IPv4 address. Zones (`%eth0`) are ignored, so all link-local addresses
/// (`fe80::/64`) are one peer by default.
///
///  Behind a proxy, wrap this one inside of [`behind_proxy`](crate::proxy_protocol::behind_proxy): it counts
/// clients and not the proxy, each from the moment that its header is in. (Twisted: `LimitConnectionsByPeer`.)
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
pub fn limit_per_peer<F: Factory>(factory: F, limit: usize) -> LimitPerPeer<F> {
    LimitPerPeer { factory, limit, prefixes: Prefixes::default(), open: Rc::default() }
}

/// See [`limit_per_peer`].
pub struct LimitPerPeer<F> {
    factory: F,
    limit: usize,
    prefixes: Prefixes,
    open: OfPeers,
}

impl<F> LimitPerPeer<F> {
    fn peers(&self) -> Peers {
        Peers { open: Rc::clone(&self.open), limit: self.limit, prefixes: self.prefixes }
    }

    /// How many leading bits of IPv4 addresses make one peer: 24 counts all addresses of a /24 network together, 0 counts
    /// all IPv4 addresses together. More than 32 is 32. Default: 32.
    pub fn ipv4_prefix(mut self, bits: u8) -> LimitPerPeer<F> {
        self.prefixes.ipv4 = bits;
        self
    }

    /// How many leading bits of IPv6 addresses make one peer: 128 counts each address by itself. More than 128 is 128.
    /// Default: 64.
    pub fn ipv6_prefix(mut self, bits: u8) -> LimitPerPeer<F> {
        self.prefixes.ipv6 = bits;
        self
    }

    /// Changes the limit; connections that are open stay.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// How many connections are open with the peer that this address belongs to.
    pub fn open(&self, peer: IpAddr) -> usize {
        self.open.borrow().get(&self.prefixes.network(peer)).copied().unwrap_or(0)
    }
}

impl<F> LimitTotal<F> {
    /// Whether the connection that is being built has a place among those that are open.
    fn has_place(&self, reactor: &mut Reactor) -> bool {
        let id = reactor.building();
        Count::InAll(Rc::clone(&self.open)).has_place(reactor, id, self.limit)
    }
}

impl<F: Factory> Factory for LimitTotal<F> {
    fn build_protocol(&mut self, reactor: &mut Reactor, peer: &Address) -> Option<Box<dyn Protocol>> {
        // It has one from its accept on, but for one above the limit: meanwhile there may be room.
        Count::InAll(Rc::clone(&self.waiting)).give_place_back(reactor);
        match self.has_place(reactor) {
            true => self.factory.build_protocol(reactor, peer),
            false => self.overflow.as_mut().map(|build| build()),
        }
    }

    fn layers(&mut self, reactor: &mut Reactor, peer: &Address) -> Vec<Box<dyn Layer>> {
        if !self.has_place(reactor) {
            // The overflow protocol stands above the layers, too. Those that wait for it there are as many at the most.
            let (id, waiting) = (reactor.building(), Count::InAll(Rc::clone(&self.waiting)));
            if self.overflow.is_none() || !waiting.has_place(reactor, id, self.limit) {
                reactor.refuse();
                return Vec::new();
            }
        }
        self.factory.layers(reactor, peer)
    }

    fn start_factory(&mut self, reactor: &mut Reactor) {
        self.factory.start_factory(reactor);
    }

    fn stop_factory(&mut self, reactor: &mut Reactor) {
        self.factory.stop_factory(reactor);
    }
}

impl<F: Factory> Factory for LimitPerPeer<F> {
    fn build_protocol(&mut self, reactor: &mut Reactor, peer: &Address) -> Option<Box<dyn Protocol>> {
        let id = reactor.building();
        match self.peers().has_place(reactor, id, peer) {
            true => self.factory.build_protocol(reactor, peer),
            false => None,
        }
    }

    fn layers(&mut self, reactor: &mut Reactor, peer: &Address) -> Vec<Box<dyn Layer>> {
        let known_later = reactor.awaits_addresses();
        let mut layers = self.factory.layers(reactor, peer);
        if known_later && !layers.is_empty() {
            layers.insert(0, Box::new(self.peers()));
        } else if !reactor.awaits_addresses() {
            let id = reactor.building();
            if !self.peers().has_place(reactor, id, peer) {
                reactor.refuse();
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

type OfPeers = Rc<RefCell<HashMap<IpAddr, usize>>>;

/// Counts by the peer. As a layer it stands above the one that tells who that is, and beneath those that take their time.
struct Peers {
    open: OfPeers,
    limit: usize,
    prefixes: Prefixes,
}

/// Leading bits of an address that make one peer.
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
    /// The first address of the network that is counted as one peer.
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
    /// Whether a connection has a place among those of its peer.
    fn has_place(&self, reactor: &mut Reactor, id: Option<ConnectionId>, peer: &Address) -> bool {
        let Some(ip) = peer.ip() else { return true };
        Count::OfPeer(Rc::clone(&self.open), self.prefixes.network(ip)).has_place(reactor, id, self.limit)
    }
}

impl Layer for Peers {
    fn started(&mut self, below: &mut LayerContext<'_>) {
        let (id, peer) = (below.id(), below.peer());
        match self.has_place(below.reactor(), Some(id), &peer) {
            true => below.ready(),
            false => below.end(LayerError::new("limit per peer", TooMany(self.limit))),
        }
    }
}

/// A peer has as many connections as it may have.
#[derive(Debug)]
struct TooMany(usize);

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections are open with this peer", self.0)
    }
}

impl Error for TooMany {}

/// What is counted.
#[derive(Clone)]
enum Count {
    InAll(Rc<Cell<usize>>),
    OfPeer(OfPeers, IpAddr),
}

impl Count {
    /// Whether a connection has its place here; it takes one if there is room. What is nobody's connection is not counted.
    fn has_place(self, reactor: &mut Reactor, id: Option<ConnectionId>, limit: usize) -> bool {
        let open = self.open();
        let Some(guards) = id.and_then(|id| reactor.guards(id)) else { return open < limit };
        if let Some(place) = self.place_among(guards) {
            let had = guards.get(place).and_then(|guard| guard.downcast_ref());
            if had.is_some_and(|Place(count)| count.ip() == self.ip()) {
                return true;
            }
            // A layer has told of another peer since.
            guards.swap_remove(place);
        }
        if open < limit {
            guards.push(Box::new(Place::of(self)));
        }
        open < limit
    }

    fn give_place_back(&self, reactor: &mut Reactor) {
        if let Some(guards) = reactor.building().and_then(|id| reactor.guards(id))
            && let Some(place) = self.place_among(guards)
        {
            guards.swap_remove(place);
        }
    }

    /// The place that was given by the same limit, for whichever peer.
    fn place_among(&self, guards: &[Box<dyn Any>]) -> Option<usize> {
        guards.iter().position(|guard| match (guard.downcast_ref(), self) {
            (Some(Place(Count::InAll(other))), Count::InAll(own)) => Rc::ptr_eq(other, own),
            (Some(Place(Count::OfPeer(other, _))), Count::OfPeer(own, _)) => Rc::ptr_eq(other, own),
            _ => false,
        })
    }

    fn open(&self) -> usize {
        match self {
            Count::InAll(open) => open.get(),
            Count::OfPeer(open, ip) => open.borrow().get(ip).copied().unwrap_or(0),
        }
    }

    fn ip(&self) -> Option<IpAddr> {
        match self {
            Count::InAll(_) => None,
            Count::OfPeer(_, ip) => Some(*ip),
        }
    }
}

/// One of the connections that are counted. It is left with the connection, and counts until it is dropped.
struct Place(Count);

impl Place {
    fn of(count: Count) -> Place {
        match &count {
            Count::InAll(open) => open.set(open.get() + 1),
            Count::OfPeer(open, ip) => *open.borrow_mut().entry(*ip).or_default() += 1,
        }
        Place(count)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        match &self.0 {
            Count::InAll(open) => open.set(open.get().saturating_sub(1)),
            Count::OfPeer(open, ip) => {
                let mut open = open.borrow_mut();
                match open.get_mut(ip) {
                    Some(count) if *count > 1 => *count -= 1,
                    // The last one: addresses are not kept for ever.
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
        let open = OfPeers::default();
        let place = || Place::of(Count::OfPeer(Rc::clone(&open), Ipv4Addr::LOCALHOST.into()));
        let (one, other) = (place(), place());
        drop(one);
        assert_eq!(open.borrow().values().collect::<Vec<_>>(), [&1]);
        drop(other);
        assert!(open.borrow().is_empty());
    }
}
