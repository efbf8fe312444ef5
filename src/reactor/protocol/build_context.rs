//! The argument of a factory: the connection that it builds a protocol for.

use std::any::Any;

use crate::net::Token;
use crate::reactor::{Address, ConnectionGuards, ConnectionId, Factory, Layer, Protocol, Reactor};

/// The connection that a [`Factory`] is called for.
///
/// With it, a factory reads what is known about the connection, rejects it, and keeps values with
/// it. A factory that wraps another passes the context on, so policies stack in any order:
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// use twistor::{BuildContext, Factory, Layer, Protocol, Reactor};
///
/// /// Counts the open connections of a factory, and rejects those over a limit.
/// struct AtMost<F> {
///     factory: F,
///     limit: usize,
///     open: Rc<Cell<usize>>,
/// }
///
/// /// One open connection. Dropped when that is lost.
/// struct Open(Rc<Cell<usize>>);
///
/// impl Drop for Open {
///     fn drop(&mut self) {
///         self.0.set(self.0.get() - 1);
///     }
/// }
///
/// impl<F: Factory> Factory for AtMost<F> {
///     fn layers(&mut self, context: &mut BuildContext<'_>) -> Vec<Box<dyn Layer>> {
///         if self.open.get() == self.limit {
///             context.reject();
///             return Vec::new();
///         }
///         self.open.set(self.open.get() + 1);
///         context.guards().hold(Open(Rc::clone(&self.open)));
///         self.factory.layers(context)
///     }
///
///     fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
///         self.factory.build_protocol(context)
///     }
/// }
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
/// # }
///
/// let limited = AtMost { factory: || Echo, limit: 1000, open: Rc::default() };
/// Reactor::new()?.listen_tcp("127.0.0.1:0", limited)?;
/// # Ok::<(), twistor::Error>(())
/// ```
pub struct BuildContext<'a> {
    reactor: &'a mut Reactor,
    token: Token,
    peer: &'a Address,
    rejected: bool,
    addresses_pending: bool,
    /// Takes the guards of a connection that is gone.
    unattached: ConnectionGuards,
}

impl<'a> BuildContext<'a> {
    pub(in crate::reactor) fn new(
        reactor: &'a mut Reactor,
        token: Token,
        peer: &'a Address,
    ) -> BuildContext<'a> {
        BuildContext {
            reactor,
            token,
            peer,
            rejected: false,
            addresses_pending: false,
            unattached: ConnectionGuards::default(),
        }
    }

    /// The address of the peer. [`Factory::build_protocol`] sees the one that layers have set, such
    /// as a client behind a proxy. In [`Factory::layers`] it is always the socket's; see
    /// [`addresses_pending`](BuildContext::addresses_pending).
    pub fn peer(&self) -> &Address {
        self.peer
    }

    /// The connection's own address, like [`Transport::host`](crate::Transport::host).
    pub fn host(&self) -> Address {
        self.reactor.host_of(self.token)
    }

    /// The connection's id.
    pub fn id(&self) -> ConnectionId {
        ConnectionId(self.token)
    }

    /// The reactor.
    pub fn reactor(&mut self) -> &mut Reactor {
        self.reactor
    }

    /// Rejects the connection: it is closed at once, as if [`Factory::build_protocol`] had returned
    /// `None`. A protocol that is built all the same is dropped.
    #[doc(alias = "refuse")]
    pub fn reject(&mut self) {
        self.rejected = true;
    }

    /// Whether a factory has [rejected](BuildContext::reject) the connection in this call. A
    /// wrapping factory sees with it what the wrapped one did.
    pub fn is_rejected(&self) -> bool {
        self.rejected
    }

    /// Announces in [`Factory::layers`] that a layer of this factory will replace the connection's
    /// addresses by [`LayerContext::set_addresses`](crate::LayerContext::set_addresses).
    pub fn set_addresses_pending(&mut self) {
        self.addresses_pending = true;
    }

    /// Whether [`peer`](BuildContext::peer) is preliminary, because a factory has called
    /// [`set_addresses_pending`](BuildContext::set_addresses_pending). What depends on the peer is
    /// then decided in `build_protocol`, or in a layer of its own. Always `false` in
    /// `build_protocol`.
    pub fn addresses_pending(&self) -> bool {
        self.addresses_pending
    }

    /// The value of type `T` that a layer has
    /// [attached](crate::LayerContext::insert_extension) to the connection; `None` in
    /// [`Factory::layers`], which is called before there are layers.
    ///
    /// ```
    /// use twistor::BuildContext;
    /// use twistor::proxy_protocol::Header;
    ///
    /// /// The number of TLVs in the PROXY header of the connection.
    /// fn values(context: &BuildContext<'_>) -> Option<usize> {
    ///     Some(context.extension::<Header>()?.values.len())
    /// }
    /// ```
    pub fn extension<T: 'static>(&self) -> Option<&T> {
        self.reactor.attached(self.token)
    }

    /// The values that factories and layers hold until the connection is lost.
    pub fn guards(&mut self) -> &mut ConnectionGuards {
        guards(self.reactor, self.token, &mut self.unattached)
    }
}

/// The guards of a connection, or `unattached` if it is gone.
pub(in crate::reactor) fn guards<'a>(
    reactor: &'a mut Reactor,
    token: Token,
    unattached: &'a mut ConnectionGuards,
) -> &'a mut ConnectionGuards {
    match reactor.registry.connection_mut(token) {
        Some(connection) => &mut connection.cold().extensions.guards,
        None => unattached,
    }
}

/// The result of a factory for a new connection.
pub(in crate::reactor) enum Built {
    Protocol(Box<dyn Protocol>),
    /// The protocol is built once these are ready.
    Layers(Vec<Box<dyn Layer>>),
}

/// Calls a factory for the layers of a new connection, and for its protocol if there are no layers.
pub(in crate::reactor) fn build(
    factory: &mut dyn Factory,
    reactor: &mut Reactor,
    token: Token,
    peer: &Address,
) -> Option<Built> {
    let mut context = BuildContext::new(reactor, token, peer);
    let layers = factory.layers(&mut context);
    if context.rejected {
        return None;
    }
    if !layers.is_empty() {
        return Some(Built::Layers(layers));
    }
    context.addresses_pending = false;
    let protocol = factory.build_protocol(&mut context);
    protocol.filter(|_| !context.rejected).map(Built::Protocol)
}

/// Calls a factory for the protocol of a connection whose layers are ready.
pub(in crate::reactor) fn build_protocol(
    factory: &mut dyn Factory,
    reactor: &mut Reactor,
    token: Token,
    peer: &Address,
) -> Option<Box<dyn Protocol>> {
    let mut context = BuildContext::new(reactor, token, peer);
    let protocol = factory.build_protocol(&mut context);
    protocol.filter(|_| !context.rejected)
}

impl Reactor {
    pub(in crate::reactor) fn attach<T: 'static>(&mut self, token: Token, value: T) {
        let Some(connection) = self.registry.connection_mut(token) else { return };
        let values = &mut connection.cold().extensions.values;
        let earlier = values.iter().position(|earlier| earlier.is::<T>());
        let earlier = earlier.map(|place| values.swap_remove(place));
        values.push(Box::new(value));
        // Its drop may panic, and that belongs to the layer.
        drop(earlier);
    }

    pub(in crate::reactor) fn attached<T: 'static>(&self, token: Token) -> Option<&T> {
        let cold = self.registry.connection(token)?.cold.as_ref()?;
        cold.extensions.values.iter().find_map(|value| value.downcast_ref())
    }
}

/// Values kept with a connection.
#[derive(Default)]
pub(in crate::reactor) struct Extensions {
    /// Values of layers, one of each type. Any code can read them.
    values: Vec<Box<dyn Any>>,
    guards: ConnectionGuards,
}

impl Extensions {
    pub(in crate::reactor) fn take_guards(&mut self) -> ConnectionGuards {
        std::mem::take(&mut self.guards)
    }

    pub(in crate::reactor) fn into_values(self) -> Vec<Box<dyn Any>> {
        self.values
    }
}
