//! One target's connections: the factory that every attempt reports to, and the protocol.
//!
//! A target has one connector for its whole life; it waits between probes, so that a probe costs
//! one small protocol and nothing else.

use super::watching::Monitor;
use crate::{Address, ClientFactory, Connector, Factory, Protocol, Reactor, Reason, Transport};

/// The factory of one target.
pub(super) struct Watch {
    pub(super) monitor: Monitor,
    pub(super) index: u32,
}

/// One connection to a target.
struct Probe {
    monitor: Monitor,
    index: u32,
}

impl Factory for Watch {
    fn build_protocol(&mut self, _: &mut Reactor, _: &Address) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Probe { monitor: self.monitor.clone(), index: self.index }))
    }
}

impl ClientFactory for Watch {
    fn started_connecting(&mut self, connector: &mut Connector<'_>) {
        let now = connector.now();
        self.monitor.attempt_started(self.index, now);
    }

    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        if let Some(delay) = self.monitor.failed(connector.reactor(), self.index, reason) {
            connector.connect_later(delay);
        }
    }

    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        if let Some(delay) = self.monitor.lost(connector.reactor(), self.index, reason) {
            connector.connect_later(delay);
        }
    }
}

impl Protocol for Probe {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        let took = transport.connect_time();
        if !self.monitor.connected(transport.reactor(), self.index, took) {
            transport.lose_connection();
        }
    }

    /// What the peer says does not matter, only that it is there.
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}
