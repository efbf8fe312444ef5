//! What a factory knows of the connection that it is asked about, and what is left with a connection.

use std::any::Any;

use crate::net::Token;
use crate::reactor::{ConnectionId, Reactor};

/// The connection that a factory is asked about.
pub(in crate::reactor) struct Building {
    token: Token,
    /// The factory wants none of it, before its layers begin.
    refused: bool,
    /// One of its layers will tell its addresses.
    awaits_addresses: bool,
}

/// What was left with a connection.
#[derive(Default)]
pub(crate) struct Extensions {
    /// By layers, for whoever wants to know: one of each type.
    values: Vec<Box<dyn Any>>,
    /// By factories: dropped when it is lost, before anybody hears of it.
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
    /// The connection that [`Factory::layers`](crate::reactor::Factory::layers) or
    /// [`Factory::build_protocol`](crate::reactor::Factory::build_protocol) is asked about; `None` outside of them. With it, a factory
    /// reaches what layers have [attached](crate::reactor::LayerContext::insert_extension), before it builds the protocol.
    pub fn building(&self) -> Option<ConnectionId> {
        self.building.as_ref().map(|building| ConnectionId(building.token))
    }

    /// Asks a factory about a connection; a panic does not come out of `call`.
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

    /// From [`Factory::layers`](crate::reactor::Factory::layers): the connection is closed, and nothing is built for it.
    pub(crate) fn refuse(&mut self) {
        if let Some(building) = &mut self.building {
            building.refused = true;
        }
    }

    pub(in crate::reactor) fn is_refused(&self) -> bool {
        self.building.as_ref().is_some_and(|building| building.refused)
    }

    /// From [`Factory::layers`](crate::reactor::Factory::layers): the addresses that are known now are not those that count.
    pub(crate) fn await_addresses(&mut self) {
        if let Some(building) = &mut self.building {
            building.awaits_addresses = true;
        }
    }

    pub(crate) fn awaits_addresses(&self) -> bool {
        self.building.as_ref().is_some_and(|building| building.awaits_addresses)
    }

    /// What is dropped as soon as a connection is lost, before its protocol hears of it; `None` when it is gone.
    pub(crate) fn guards(&mut self, id: ConnectionId) -> Option<&mut Vec<Box<dyn Any>>> {
        Some(&mut self.registry.connection_mut(id.0)?.rare().extensions.guards)
    }

    pub(in crate::reactor) fn attach<T: 'static>(&mut self, token: Token, value: T) {
        let Some(connection) = self.registry.connection_mut(token) else { return };
        let values = &mut connection.rare().extensions.values;
        let earlier = values.iter().position(|earlier| earlier.is::<T>());
        let earlier = earlier.map(|place| values.swap_remove(place));
        values.push(Box::new(value));
        // Whose drop may panic: that is the layer's own.
        drop(earlier);
    }

    pub(in crate::reactor) fn attached<T: 'static>(&self, token: Token) -> Option<&T> {
        let rare = self.registry.connection(token)?.cold.as_ref()?;
        rare.extensions.values.iter().find_map(|value| value.downcast_ref())
    }
}
