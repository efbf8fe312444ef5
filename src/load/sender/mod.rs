//! A sender of a load: a connection or a datagram socket.
//!
//! `echo` and `churn` are the protocols of connections, `datagram` that of datagram sockets.
//! `stream` and `pattern` are the bytes that they send and compare, `schedule` the times at which
//! messages are due.

mod churn;
mod datagram;
mod echo;
mod pattern;
mod schedule;
mod stream;

pub(super) use self::churn::Churning;
pub(super) use self::datagram::DatagramClient;
pub(super) use self::echo::Echoing;
pub(super) use self::pattern::Pattern;
pub(super) use self::schedule::Schedule;
use crate::load::config::Workload;
use crate::load::run::read_clock;
use crate::{ConnectionId, DatagramId, Instant, Reactor};

/// A sender by id. Its methods do nothing once the sender is gone.
#[derive(Clone, Copy)]
pub(super) enum Sender {
    Stream(ConnectionId),
    Datagrams(DatagramId),
}

impl Sender {
    /// Calls [`Echoing::begin`] or its datagram counterpart.
    pub(super) fn begin(self, reactor: &mut Reactor) {
        match self {
            Sender::Stream(id) => reactor.with_protocol(id, Echoing::begin),
            Sender::Datagrams(id) => reactor.with_datagram(id, DatagramClient::begin),
        };
    }

    /// Calls [`Echoing::start_paced`] or its datagram counterpart.
    pub(super) fn start_paced(self, reactor: &mut Reactor, schedule: Schedule, slot: u64, end: Instant) {
        match self {
            Sender::Stream(id) => {
                reactor.with_protocol(id, |echo: &mut Echoing, _| echo.start_paced(schedule, slot, end))
            }
            Sender::Datagrams(id) => reactor
                .with_datagram(id, |client: &mut DatagramClient, _| client.start_paced(schedule, slot, end)),
        };
    }

    /// Calls [`Echoing::send_due`] or its datagram counterpart.
    pub(super) fn send_due(self, reactor: &mut Reactor) {
        let now = read_clock(reactor);
        match self {
            Sender::Stream(id) => {
                reactor.with_protocol(id, |echo: &mut Echoing, transport| echo.send_due(now, transport))
            }
            Sender::Datagrams(id) => reactor.with_datagram(id, |client: &mut DatagramClient, transport| {
                client.follow_pace(now, true, transport)
            }),
        };
    }

    /// Calls [`Echoing::drain`] or its datagram counterpart.
    pub(super) fn drain(self, reactor: &mut Reactor, end: Instant) -> bool {
        match self {
            Sender::Stream(id) => reactor.with_protocol(id, |echo: &mut Echoing, _| echo.drain(end)),
            Sender::Datagrams(id) => {
                reactor.with_datagram(id, |client: &mut DatagramClient, _| client.drain(end))
            }
        }
        .unwrap_or(false)
    }

    /// Stops new messages until the final check.
    pub(super) fn await_check(self, reactor: &mut Reactor, end: Instant) {
        if let Sender::Stream(id) = self {
            reactor.with_protocol(id, |echo: &mut Echoing, _| echo.await_check(end));
        }
    }

    /// Sends the final check message.
    pub(super) fn send_check(self, reactor: &mut Reactor) {
        if let Sender::Stream(id) = self {
            reactor.with_protocol(id, Echoing::send_check);
        }
    }

    /// Counts datagrams in flight that are too old as lost.
    pub(super) fn sweep(self, reactor: &mut Reactor) {
        if let Sender::Datagrams(id) = self {
            let now = reactor.now();
            reactor.with_datagram(id, |client: &mut DatagramClient, transport| client.sweep(now, transport));
        }
    }

    /// Ends the sender. Returns the number of unanswered messages, without lost datagrams.
    pub(super) fn end(self, reactor: &mut Reactor, work: Workload, now: Instant) -> u64 {
        match (self, work) {
            (Sender::Stream(id), Workload::Churn) => {
                reactor.with_protocol(id, |churn: &mut Churning, transport| churn.end(transport, now))
            }
            (Sender::Stream(id), _) => {
                reactor.with_protocol(id, |echo: &mut Echoing, transport| echo.end(transport, now))
            }
            (Sender::Datagrams(id), _) => reactor
                .with_datagram(id, |client: &mut DatagramClient, transport| client.end(transport, now))
                .map(|()| 0),
        }
        .unwrap_or(0)
    }
}
