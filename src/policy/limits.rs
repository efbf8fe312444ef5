//! Limits of how many connections there may be: in all, and from one peer.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::{Address, ClientFactory, Connector, Factory, Layer, Protocol, Reactor, Reason, Transport};

/// Lets a factory have at most `limit` connections at a time; others are closed at once, or have the overflow protocol. (Twisted:
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
    LimitTotal { factory, limit, open: Rc::default(), overflow: None }
}

/// See [`limit_total`].
pub struct LimitTotal<F> {
    factory: F,
    limit: usize,
    open: Rc<Cell<usize>>,
    overflow: Option<Box<dyn FnMut() -> Box<dyn Protocol>>>,
}

impl<F> LimitTotal<F> {
    /// What connections over the limit have for a protocol; they are not counted. Default: they are closed at once.
    pub fn overflow<P: Protocol>(mut self, mut build: impl FnMut() -> P + 'static) -> LimitTotal<F> {
        self.overflow = Some(Box::new(move || Box::new(build())));
        self
    }

    /// Changes the limit; connections that are open stay.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// How many connections are open within the limit.
    pub fn open(&self) -> usize {
        self.open.get()
    }
}

/// Lets a factory have at most `limit` connections at a time with one IP address; others are closed at once. 256 is a sensible
/// limit: a household or an office may come from one address. UNIX sockets are not limited. Behind a proxy, wrap this one inside of
/// [`behind_proxy`](super::proxy_protocol::behind_proxy), so that it counts clients and not the proxy. (Twisted:
/// `LimitConnectionsByPeer`.)
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
    LimitPerPeer { factory, limit, open: Rc::default() }
}

/// See [`limit_per_peer`].
pub struct LimitPerPeer<F> {
    factory: F,
    limit: usize,
    open: Rc<RefCell<HashMap<IpAddr, usize>>>,
}

impl<F> LimitPerPeer<F> {
    /// Changes the limit; connections that are open stay.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// How many connections are open with this address.
    pub fn open(&self, peer: IpAddr) -> usize {
        self.open.borrow().get(&peer.to_canonical()).copied().unwrap_or(0)
    }
}

impl<F: Factory> Factory for LimitTotal<F> {
    fn build_protocol(&mut self, reactor: &mut Reactor, peer: &Address) -> Option<Box<dyn Protocol>> {
        if self.open.get() >= self.limit {
            return self.overflow.as_mut().map(|build| build());
        }
        // Taken before the factory is asked: it may panic, and gives it back then.
        let place = Place::in_all(&self.open);
        let protocol = self.factory.build_protocol(reactor, peer)?;
        Some(Box::new(Placed { protocol, place: Some(place) }))
    }

    fn layers(&mut self, reactor: &mut Reactor, peer: &Address) -> Vec<Box<dyn Layer>> {
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
        let Some(ip) = peer.ip() else { return self.factory.build_protocol(reactor, peer) };
        if self.open(ip) >= self.limit {
            return None;
        }
        let place = Place::of_peer(&self.open, ip.to_canonical());
        let protocol = self.factory.build_protocol(reactor, peer)?;
        Some(Box::new(Placed { protocol, place: Some(place) }))
    }

    fn layers(&mut self, reactor: &mut Reactor, peer: &Address) -> Vec<Box<dyn Layer>> {
        self.factory.layers(reactor, peer)
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

/// One of the connections that are counted: it counts until it is dropped, whichever way the connection goes.
enum Place {
    InAll(Rc<Cell<usize>>),
    OfPeer(Rc<RefCell<HashMap<IpAddr, usize>>>, IpAddr),
}

impl Place {
    fn in_all(open: &Rc<Cell<usize>>) -> Place {
        open.set(open.get() + 1);
        Place::InAll(Rc::clone(open))
    }

    fn of_peer(open: &Rc<RefCell<HashMap<IpAddr, usize>>>, ip: IpAddr) -> Place {
        *open.borrow_mut().entry(ip).or_default() += 1;
        Place::OfPeer(Rc::clone(open), ip)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        match self {
            Place::InAll(open) => open.set(open.get().saturating_sub(1)),
            Place::OfPeer(open, ip) => {
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

/// A protocol that has its place.
struct Placed {
    protocol: Box<dyn Protocol>,
    place: Option<Place>,
}

impl Protocol for Placed {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.protocol.connection_made(transport);
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.protocol.data_received(transport, data);
    }

    fn descriptor_received(&mut self, transport: &mut Transport<'_>, descriptor: OwnedFd) {
        self.protocol.descriptor_received(transport, descriptor);
    }

    fn descriptors_lost(&mut self, transport: &mut Transport<'_>) {
        self.protocol.descriptors_lost(transport);
    }

    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.protocol.read_connection_lost(transport);
    }

    fn write_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.protocol.write_connection_lost(transport);
    }

    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        self.protocol.pause_writing(transport);
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        self.protocol.resume_writing(transport);
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        // Whoever hears of the loss may connect anew.
        self.place = None;
        self.protocol.connection_lost(transport, reason);
    }

    fn inner(&mut self, want: TypeId) -> Option<&mut dyn Any> {
        let protocol: &mut dyn Any = &mut *self.protocol;
        if (*protocol).type_id() == want {
            return Some(&mut *self.protocol);
        }
        self.protocol.inner(want)
    }
}
