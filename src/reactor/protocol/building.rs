//! State of a connection under construction, and values attached to connections.

use std::any::Any;

use crate::net::Token;
use crate::reactor::{ConnectionId, Reactor};

/// The connection for which a factory is being called.
pub(in crate::reactor) struct Building {
    token: Token,
    /// The factory has refused the connection before its layers begin.
    refused: bool,
    /// A layer will provide the connection's addresses.
    awaits_addresses: bool,
}

/// Values attached to a connection.
#[derive(Default)]
pub(crate) struct Extensions {
    /// Values of layers, one of each type. Any code can read them.
    values: Vec<Box<dyn Any>>,
    /// Guards of factories. They are dropped when the connection is lost, before `connection_lost`.
    guards: Vec<Box<dyn Any>>,
}

impl Extensions {
    pub(in crate::reactor) fn take_guards(&mut self) -> Vec<Box<dyn Any>> {
        std::mem::take(&mut self.guards)
    }

    pub(in crate::reactor) fn into_values(self) -> Vec<Box<dyn Any>> {
        self.values
    }
}

impl Reactor {
    /// The connection for which [`Factory::layers`](crate::reactor::Factory::layers) or
    /// [`Factory::build_protocol`](crate::reactor::Factory::build_protocol) is being called; `None`
    /// outside of them. With it, a factory can read the values that layers have
    /// [attached](crate::reactor::LayerContext::insert_extension) before it builds the protocol.
    pub fn building(&self) -> Option<ConnectionId> {
        self.building.as_ref().map(|building| ConnectionId(building.token))
    }

    /// Calls a factory for a connection. `call` must not panic.
    pub(in crate::reactor) fn while_building<R>(
        &mut self,
        token: Token,
        call: impl FnOnce(&mut Reactor) -> R,
    ) -> R {
        let building = Building { token, refused: false, awaits_addresses: false };
        let outer = self.building.replace(building);
        let returned = call(self);
        self.building = outer;
        returned
    }

    /// Refuses the connection. Called from [`Factory::layers`](crate::reactor::Factory::layers).
    /// The connection is closed and no protocol is built.
    pub(crate) fn refuse(&mut self) {
        if let Some(building) = &mut self.building {
            building.refused = true;
        }
    }

    pub(in crate::reactor) fn is_refused(&self) -> bool {
        self.building.as_ref().is_some_and(|building| building.refused)
    }

    /// Postpones the build until a layer provides the addresses. Called from
    /// [`Factory::layers`](crate::reactor::Factory::layers).
    pub(crate) fn await_addresses(&mut self) {
        if let Some(building) = &mut self.building {
            building.awaits_addresses = true;
        }
    }

    pub(crate) fn awaits_addresses(&self) -> bool {
        self.building.as_ref().is_some_and(|building| building.awaits_addresses)
    }

    /// The guards of a connection; `None` when it is gone.
    pub(crate) fn guards(&mut self, id: ConnectionId) -> Option<&mut Vec<Box<dyn Any>>> {
        Some(&mut self.registry.connection_mut(id.0)?.cold().extensions.guards)
    }

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
