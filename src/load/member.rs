//! One of those that send: a connection, or a socket of datagrams.

use super::churning::Churning;
use super::echoing::Echoing;
use super::run::fresh;
use super::schedule::Schedule;
use crate::load::config::Workload;
use crate::load::datagram_client::Volley;
use crate::{ConnectionId, DatagramId, Instant, Reactor};

/// A sender by name. What is gone does nothing.
#[derive(Clone, Copy)]
pub(super) enum Member {
    Stream(ConnectionId),
    Datagrams(DatagramId),
}

impl Member {
    /// As [`Echoing::begin`].
    pub(super) fn begin(self, reactor: &mut Reactor) {
        match self {
            Member::Stream(id) => reactor.with_protocol(id, Echoing::begin),
            Member::Datagrams(id) => reactor.with_datagram(id, Volley::begin),
        };
    }

    /// As [`Echoing::begin_pace`].
    pub(super) fn begin_pace(self, reactor: &mut Reactor, schedule: Schedule, lane: u64, end: Instant) {
        match self {
            Member::Stream(id) => {
                reactor.with_protocol(id, |echo: &mut Echoing, _| echo.begin_pace(schedule, lane, end))
            }
            Member::Datagrams(id) => {
                reactor.with_datagram(id, |volley: &mut Volley, _| volley.begin_pace(schedule, lane, end))
            }
        };
    }

    /// As [`Echoing::look`].
    pub(super) fn look(self, reactor: &mut Reactor) {
        let now = fresh(reactor);
        match self {
            Member::Stream(id) => {
                reactor.with_protocol(id, |echo: &mut Echoing, transport| echo.look(now, transport))
            }
            Member::Datagrams(id) => reactor
                .with_datagram(id, |volley: &mut Volley, transport| volley.follow_pace(now, true, transport)),
        };
    }

    /// As [`Echoing::drain`].
    pub(super) fn drain(self, reactor: &mut Reactor, end: Instant) -> bool {
        match self {
            Member::Stream(id) => reactor.with_protocol(id, |echo: &mut Echoing, _| echo.drain(end)),
            Member::Datagrams(id) => reactor.with_datagram(id, |volley: &mut Volley, _| volley.drain(end)),
        }
        .unwrap_or(false)
    }

    /// It will be asked, and nothing else.
    pub(super) fn expect(self, reactor: &mut Reactor, end: Instant) {
        if let Member::Stream(id) = self {
            reactor.with_protocol(id, |echo: &mut Echoing, _| echo.expect(end));
        }
    }

    /// As [`Echoing::ask`].
    pub(super) fn ask(self, reactor: &mut Reactor) {
        if let Member::Stream(id) = self {
            reactor.with_protocol(id, Echoing::ask);
        }
    }

    /// Gives up what is too late.
    pub(super) fn sweep(self, reactor: &mut Reactor) {
        if let Member::Datagrams(id) = self {
            let now = reactor.now();
            reactor.with_datagram(id, |volley: &mut Volley, transport| volley.sweep(now, transport));
        }
    }

    /// It is over. Returns the messages that were not answered, and should have been.
    pub(super) fn end(self, reactor: &mut Reactor, work: Workload, now: Instant) -> u64 {
        match (self, work) {
            (Member::Stream(id), Workload::Churn) => {
                reactor.with_protocol(id, |churn: &mut Churning, transport| churn.end(transport, now))
            }
            (Member::Stream(id), _) => {
                reactor.with_protocol(id, |echo: &mut Echoing, transport| echo.end(transport, now))
            }
            (Member::Datagrams(id), _) => reactor
                .with_datagram(id, |volley: &mut Volley, transport| volley.end(transport, now))
                .map(|()| 0),
        }
        .unwrap_or(0)
    }
}
