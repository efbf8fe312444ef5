//! Accepting connections: a budget for each turn, and errors.

use std::io;
use std::time::Duration;

use crate::escape::Escaped;
use crate::net::{AcceptFault, Accepted, Address, Close, Token};
use crate::reactor::connection::Connection;
use crate::reactor::connection::options::StreamOptions;
use crate::reactor::protocol::build_context::build;
use crate::reactor::registry::Source;
use crate::reactor::{CallbackKind, Reactor, TimedCall};

/// The accept budget of a turn.
///
/// It is one connection at first and grows while consecutive polls report more. A larger budget has
/// a cost: on Linux, an accept that returns EAGAIN costs a tenth of a whole short connection.
/// (Twisted: `numberAccepts`, which follows the last number of accepted connections.)
#[derive(Default)]
pub(super) struct AcceptBudget {
    /// The turn of the last budget.
    turn: u64,
    /// The number of consecutive turns whose budget was used up.
    streak: u32,
}

impl AcceptBudget {
    pub(super) fn next(&mut self, turn: u64, max: usize) -> usize {
        self.streak = if self.turn + 1 == turn { self.streak.saturating_add(1) } else { 0 };
        self.turn = turn;
        let doublings = self.streak.saturating_sub(WARM_UP_TURNS);
        1_usize.checked_shl(doublings).map_or(max, |budget| budget.min(max))
    }

    /// Resets the budget after a turn that did not use it up.
    pub(super) fn reset(&mut self) {
        self.turn = 0;
    }
}

/// The number of further turns with a budget of one. After these, the backlog has a queue.
const WARM_UP_TURNS: u32 = 1;

impl Reactor {
    /// Accepts connections up to the budget of the turn. The next poll reports the rest.
    pub(in crate::reactor) fn accept_ready(&mut self, token: Token) {
        self.start_listener_factory(token);
        let (turn, max) = (self.statistics.turns, self.settings.accepts_per_turn);
        let Some(listener) = self.registry.listener_mut(token) else { return };
        for _ in 0..listener.accept_budget.next(turn, max) {
            if self.registry.listener_mut(token).is_none_or(|listener| listener.is_paused()) {
                return;
            }
            if !self.accept_one(token) {
                if let Some(listener) = self.registry.listener_mut(token) {
                    listener.accept_budget.reset();
                }
                return;
            }
        }
    }

    /// Accepts one connection. Returns whether more may be queued.
    fn accept_one(&mut self, token: Token) -> bool {
        let connection = self.registry.next_token();
        match self.net.accept(token, connection) {
            Ok(Accepted::Connection(peer)) => {
                self.accepted(token, connection, peer);
                true
            }
            Ok(Accepted::Dropped(error)) => {
                self.statistics.accept_errors += 1;
                self.log_accept_error(token, "cannot register an accepted connection", &error);
                true
            }
            Err(error) => self.accept_failed(token, &error),
        }
    }

    fn accepted(&mut self, listener: Token, token: Token, peer: Address) {
        if self.registry.connections() >= self.settings.max_connections {
            self.statistics.accepts_over_limit += 1;
            self.net.close(token, Close::Graceful);
            let limit = self.settings.max_connections;
            let why = io::Error::other(format!("{limit} connections are open"));
            self.log_accept_error(listener, "a connection was closed at once", &why);
            return;
        }
        self.statistics.accepts += 1;
        let connection = Connection::new(peer.clone(), listener, self.has_small_marks());
        let inserted = self.registry.insert(Source::Connection(connection));
        debug_assert_eq!(inserted, token);
        if let Some(state) = self.registry.listener_mut(listener) {
            let options = match peer {
                Address::Unix(_) | Address::Pipe => StreamOptions::default(),
                Address::Tcp(_) | Address::Udp(_) => {
                    state.options.of_connections(self.net.inherits_nodelay())
                }
            };
            if let Err(error) = self.set_options(token, options) {
                self.log_accept_error(listener, "an option of a connection could not be set", &error);
            }
        }
        let built = self.with_factory(listener, CallbackKind::BuildProtocol, |factory, reactor| {
            build(factory, reactor, token, &peer)
        });
        match built.flatten() {
            Some(built) => self.start_connection(token, built),
            None => {
                self.statistics.connections_refused += 1;
                self.net.close(token, Close::Graceful);
                self.forget(token);
            }
        }
    }

    /// Handles a failed accept. Returns whether another accept may succeed now.
    fn accept_failed(&mut self, token: Token, error: &io::Error) -> bool {
        match AcceptFault::of(error) {
            AcceptFault::NothingPending => false,
            AcceptFault::Interrupted => true,
            AcceptFault::Connection => {
                self.statistics.accept_errors += 1;
                true
            }
            AcceptFault::Descriptors => {
                let max = self.settings.accepts_per_turn;
                let shed = self.net.shed(token, max);
                self.statistics.accepts_shed += shed as u64;
                self.statistics.accept_errors += 1;
                let message = format!("out of descriptors, {shed} connections were closed at once");
                self.log_accept_error(token, &message, error);
                self.pause_accepting(token);
                false
            }
            AcceptFault::Listener => {
                self.statistics.accept_errors += 1;
                self.log_accept_error(token, "accepting failed", error);
                self.pause_accepting(token);
                false
            }
        }
    }

    /// Pauses accepting until a retry timer, because the poll would report the backlog again and
    /// again.
    fn pause_accepting(&mut self, token: Token) {
        let until = self.now() + ACCEPT_RETRY_DELAY;
        if let Some(listener) = self.registry.listener_mut(token) {
            listener.paused = true;
            self.net.set_listener_paused(token, true);
            self.timers.set(until, TimedCall::AcceptAgain(token));
        }
    }

    pub(in crate::reactor) fn accept_again(&mut self, token: Token) {
        if let Some(listener) = self.registry.listener_mut(token) {
            listener.paused = false;
            if !listener.paused_by_user {
                self.net.set_listener_paused(token, false);
            }
        }
    }

    /// Logs at max once a second for each listener.
    fn log_accept_error(&mut self, token: Token, message: &str, error: &io::Error) {
        let now = self.now();
        let Some(listener) = self.registry.listener_mut(token) else {
            return;
        };
        if listener.last_logged.is_some_and(|last| now - last < Duration::from_secs(1)) {
            return;
        }
        listener.last_logged = Some(now);
        let address = &listener.address;
        log_warn!([listener = address.to_string().as_str()] "{address}: {message}: {}", Escaped(error));
    }
}

/// Delay after an accept that failed for lack of descriptors or memory.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_budget_grows_while_it_is_used_up_in_a_row() {
        let mut pace = AcceptBudget::default();
        let budgets = |pace: &mut AcceptBudget, turns: std::ops::Range<u64>| -> Vec<usize> {
            turns.map(|turn| pace.next(turn, 10)).collect()
        };
        assert_eq!(budgets(&mut pace, 10..17), [1, 1, 2, 4, 8, 10, 10]);
        pace.reset();
        assert_eq!(budgets(&mut pace, 17..20), [1, 1, 2]);
        // A turn without accepts also ends the streak.
        assert_eq!(budgets(&mut pace, 21..24), [1, 1, 2]);
    }
}
