//! Datagrams in a run: their sockets are opened at once, and what does not come back is looked for.

use super::member::Member;
use super::run::{Run, Stage};
use super::trouble::{Mismatch, Trouble};
use super::volley::Volley;
use crate::{Instant, Reactor, Reason};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

impl Run {
    pub(super) fn look_up(self: &Rc<Run>, reactor: &mut Reactor, host: &str, port: u16) {
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.open_sockets(reactor, SocketAddr::new(address, port));
        }
        let run = Rc::clone(self);
        let found = move |reactor: &mut Reactor, found: Result<Vec<SocketAddr>, Reason>| {
            if run.state.borrow().stage == Stage::Finished {
                return;
            }
            match found.map(|addresses| addresses.first().copied()) {
                Ok(Some(address)) => run.open_sockets(reactor, address),
                Ok(None) => run.give_up(reactor, "the host has no address".to_owned()),
                Err(reason) => run.give_up(reactor, reason.to_string()),
            }
        };
        if let Err(full) = reactor.resolve(host, port, found) {
            self.give_up(reactor, full.to_string());
        }
    }

    /// Opens all sockets at once: there is nothing to wait for.
    pub(super) fn open_sockets(self: &Rc<Run>, reactor: &mut Reactor, peer: SocketAddr) {
        let now = reactor.now();
        for number in 0..self.plan.connections as u64 {
            self.state.borrow_mut().tally.begun += 1;
            match reactor.connect_udp(peer, Volley::new(Rc::clone(self), number, now)) {
                Ok(id) => {
                    let mut state = self.state.borrow_mut();
                    state.standing.insert(number, Member::Datagrams(id));
                    state.tally.connected += 1;
                }
                Err(error) => {
                    self.note(&Trouble::NotConnected { connection: number + 1, reason: error.to_string() });
                }
            }
        }
        self.opened(reactor);
        self.sweep(reactor);
    }

    pub(super) fn give_up(self: &Rc<Run>, reactor: &mut Reactor, reason: String) {
        self.state.borrow_mut().tally.begun += 1;
        self.note(&Trouble::NotConnected { connection: 1, reason });
        self.finish(reactor);
    }

    /// Looks for datagrams that are too late, again and again.
    pub(super) fn sweep(self: &Rc<Run>, reactor: &mut Reactor) {
        let state = self.state.borrow();
        if state.stage == Stage::Finished {
            return;
        }
        let members: Vec<Member> = state.standing.values().copied().collect();
        drop(state);
        for member in members {
            member.sweep(reactor);
        }
        let run = Rc::clone(self);
        let wait = (self.plan.lost_after / SWEEPS).max(Duration::from_millis(1));
        let next = reactor.call_later(wait, move |reactor| run.sweep(reactor));
        self.state.borrow_mut().sweep = Some(next);
    }

    /// A datagram did not come back in time.
    pub(super) fn dropped(&self, due: Instant) {
        let mut state = self.state.borrow_mut();
        if due >= state.since {
            state.tally.dropped += 1;
        }
    }

    /// A datagram came again, or too late.
    pub(super) fn repeated(&self) {
        self.state.borrow_mut().tally.repeated += 1;
    }

    /// A datagram has other bytes than were sent. The socket goes on.
    pub(super) fn wrong_datagram(&self, mismatch: Mismatch) {
        self.note(&Trouble::Wrong(mismatch));
    }

    /// Nobody listens there; if somebody did before, for so long, and with so many messages under way.
    pub(super) fn refused(
        self: &Rc<Run>,
        reactor: &mut Reactor,
        number: u64,
        heard: Option<(Duration, u64)>,
        busy: bool,
    ) {
        let reason = "connection refused".to_owned();
        let under_way = heard.map_or(0, |(_, under_way)| under_way);
        self.gone(reactor, number, under_way, busy);
        let connection = number + 1;
        match heard {
            Some((after, under_way)) => {
                self.note(&Trouble::Lost { connection, after, under_way, reason });
            }
            None => {
                let mut state = self.state.borrow_mut();
                state.tally.connected -= 1;
                state.tally.lost -= 1;
                drop(state);
                self.note(&Trouble::NotConnected { connection, reason });
            }
        }
    }
}

/// Looks for datagrams that are too late, in the time after which one is.
const SWEEPS: u32 = 10;
