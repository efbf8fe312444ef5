//! The connections of one target: the factory, which all attempts report to, and the protocol.
//!
//! A target has one connector for its whole life. It stays idle between probes, so that a probe
//! only costs a small protocol object.

use super::monitor::{Holds, Monitor};
use super::tls_facts::TlsFacts;
use super::track::TargetTracker;
use crate::{BuildContext, ClientFactory, Connector, Factory, Protocol, Reason, Transport};
use std::time::Duration;

/// The factory of one target.
pub(super) struct Watch {
    pub(super) monitor: Monitor,
    pub(super) index: u32,
}

/// One connection to a target.
struct Probe {
    monitor: Monitor,
    index: u32,
    /// Whether the peer has sent data.
    has_data: bool,
}

impl Factory for Watch {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Probe { monitor: self.monitor.clone(), index: self.index, has_data: false }))
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
        match self.monitor.lost(connector.reactor(), self.index, reason) {
            None => false,
            Some(Duration::ZERO) => connector.connect(),
            Some(delay) => connector.connect_later(delay),
        };
    }
}

impl Protocol for Probe {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        let handshake = transport.tls_info().map(|info| (TlsFacts::of(info), info.handshake_time));
        let took = transport.connect_time();
        let took = took.map(|took| took + handshake.map_or(Duration::ZERO, |(_, took)| took));
        let facts = handshake.map(|(facts, _)| facts);
        match self.monitor.connected(transport.reactor(), self.index, took, facts) {
            Holds::No => transport.lose_connection(),
            Holds::Yes => {}
            Holds::IfItLasts => {
                transport.call_later(TargetTracker::SHORT, |probe: &mut Probe, transport| {
                    probe.monitor.settled(transport.reactor(), probe.index);
                });
            }
        }
    }

    /// Only notes that data was received; its contents are ignored.
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {
        if !std::mem::replace(&mut self.has_data, true) {
            self.monitor.data_received(self.index);
        }
    }
}
