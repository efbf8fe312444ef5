//! Listening and accepting.

use crate::escape::Escaped;
use std::io;
use std::time::Duration;

use rustix::io::Errno;

use crate::net::{Accepted, Close, Instant, Open, OpenError, Token};
use crate::reactor::connection::options::StreamOptions;
use crate::reactor::connection::{Connection, State};
use crate::reactor::error::Error;
use crate::reactor::layer::run::build;
use crate::reactor::queues::Callback;
use crate::reactor::registry::Source;
use crate::reactor::{
    Address, CallbackKind, ConnectionId, Factory, ListenTcp, Protocol, Reactor, Result, TimedCall,
};

/// A port that is listened on, by name. (Twisted: `IListeningPort`.)
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    token: Token,
    address: Address,
}

impl Listener {
    pub(in crate::reactor) fn token(&self) -> Token {
        self.token
    }

    /// The address that is listened on, with the real port where 0 was asked for.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

/// A listener in its slot.
pub(crate) struct ListenerSlot {
    /// Out of its place while one of its callbacks runs.
    factory: Option<Box<dyn Factory>>,
    started: bool,
    address: Address,
    options: ListenOptions,
    accept_budget: AcceptBudget,
    /// Waits for descriptors or memory.
    paused: bool,
    /// When a failed accept was last logged.
    logged: Option<Instant>,
}

/// How many connections are accepted in a turn: one, and more the longer the polls go on telling of some. Whoever asks for more
/// than wait pays for it: on Linux an accept that finds nobody costs a tenth of what a short connection does in all. (Twisted:
/// `numberAccepts`, which follows how many there were last.)
#[derive(Default)]
struct AcceptBudget {
    /// The turn of the last share.
    turn: u64,
    /// Turns in a row with a share, all of them used up.
    streak: u32,
}

impl AcceptBudget {
    fn share(&mut self, turn: u64, most: usize) -> usize {
        self.streak = if self.turn + 1 == turn { self.streak.saturating_add(1) } else { 0 };
        self.turn = turn;
        let doublings = self.streak.saturating_sub(WARM_UP_TURNS);
        1_usize.checked_shl(doublings).map_or(most, |share| share.min(most))
    }

    /// There were fewer.
    fn reset(&mut self) {
        self.turn = 0;
    }
}

/// So many turns in a row, and one more, connections come one by one; then there is a queue of them.
const WARM_UP_TURNS: u32 = 1;

/// How it was asked for.
pub(in crate::reactor) enum ListenOptions {
    Tcp(ListenTcp),
    Unix,
    Adopted,
}

impl ListenOptions {
    /// What is still to be set of each accepted connection.
    fn of_connections(&self, has_nodelay: bool) -> StreamOptions {
        match self {
            ListenOptions::Tcp(options) => {
                let options = options.of_connections();
                StreamOptions { nodelay: options.nodelay && !has_nodelay, ..options }
            }
            ListenOptions::Unix => StreamOptions::default(),
            ListenOptions::Adopted => StreamOptions { nodelay: true, ..StreamOptions::default() },
        }
    }
}

impl ListenerSlot {
    pub(in crate::reactor) fn address(&self) -> &Address {
        &self.address
    }
}

impl Reactor {
    /// Listens on a TCP port and makes a protocol with `factory` for each connection. The port is bound at
    /// once; nothing is called before this returns. (Twisted: `listenTCP`.)
    ///
    /// `address` is text (`"127.0.0.1:8080"`, `"[::]:80"`), a `SocketAddr` or a [`ListenTcp`].
    ///
    /// # Errors
    /// [`Error::BadAddress`], [`Error::CannotListen`];
    /// [`Error::Stopping`] or [`Error::ReactorFinished`] when the reactor stops or has stopped.
    pub fn listen_tcp<A>(&mut self, address: A, factory: impl Factory) -> Result<Listener>
    where
        A: TryInto<ListenTcp>,
        A::Error: Into<Error>,
    {
        let options = address.try_into().map_err(Into::into)?;
        options.of_connections().check()?;
        self.check_begins()?;
        let open = Open::TcpListen {
            address: options.address,
            reuse_address: options.reuse_address,
            reuse_port: options.reuse_port,
            ipv6_only: options.ipv6_only,
            backlog: options.backlog,
            buffers: options.buffers(),
            nodelay: options.nodelay,
        };
        let asked = options.address.to_string();
        let token = self.registry.next_token();
        self.net.open(token, &open).map_err(|failed| cannot_listen(&asked, failed))?;
        self.begin_listening(token, ListenOptions::Tcp(options), Box::new(factory), &asked)
    }

    /// Gives an open listening socket its slot and its factory.
    pub(in crate::reactor) fn begin_listening(
        &mut self,
        token: Token,
        options: ListenOptions,
        factory: Box<dyn Factory>,
        asked: &str,
    ) -> Result<Listener> {
        let address = self.net.local_address(token).map_err(|source| {
            self.net.close(token, Close::Graceful);
            Error::CannotListen { address: asked.to_owned(), call: "getsockname", source }
        })?;
        let state = ListenerSlot {
            factory: Some(factory),
            started: false,
            address: address.clone(),
            options,
            accept_budget: AcceptBudget::default(),
            paused: false,
            logged: None,
        };
        let inserted = self.registry.insert(Source::Listener(Box::new(state)));
        debug_assert_eq!(inserted, token);
        self.queues.callbacks.push(Callback::StartFactory(token));
        log::debug!(address = address.to_string().as_str(); "listening on {address}");
        Ok(Listener { token, address })
    }

    /// The ports that are listened on.
    pub fn listeners(&self) -> Vec<Listener> {
        let tokens = self.registry.tokens(|source| matches!(source, Source::Listener(_)));
        let named = |token| match self.registry.get(token)? {
            Source::Listener(listener) => Some(Listener { token, address: listener.address.clone() }),
            _ => None,
        };
        tokens.into_iter().filter_map(named).collect()
    }

    /// The open connections that a listener has accepted.
    pub(crate) fn connections_of(&self, listener: &Listener) -> Vec<ConnectionId> {
        let accepted = |source: &Source| match source {
            Source::Connection(connection) => {
                connection.origin == listener.token && connection.state != State::Lingering
            }
            _ => false,
        };
        self.registry.tokens(accepted).into_iter().map(ConnectionId).collect()
    }

    /// How a TCP listener was asked for.
    pub(crate) fn listen_options(&self, listener: &Listener) -> Option<&ListenTcp> {
        match self.registry.get(listener.token)? {
            Source::Listener(listener) => match &listener.options {
                ListenOptions::Tcp(options) => Some(options),
                ListenOptions::Unix | ListenOptions::Adopted => None,
            },
            _ => None,
        }
    }

    /// Stops accepting and closes the port at once; connections go on. Its factory is told in one of the
    /// next turns. To listen again, listen on the same address (with a factory that is [`shared`](crate::reactor::shared), if it
    /// is to be the same one). (Twisted: `stopListening`.)
    ///
    /// # Errors
    /// [`Error::NotListening`] when it has stopped before.
    pub fn stop_listening(&mut self, listener: &Listener) -> Result<()> {
        if self.stop_listener(listener.token) { Ok(()) } else { Err(Error::NotListening) }
    }

    pub(crate) fn stop_listener(&mut self, token: Token) -> bool {
        if self.registry.listener_mut(token).is_none() {
            return false;
        }
        self.net.close(token, Close::Graceful);
        if let Some(Source::Listener(mut listener)) = self.registry.remove(token) {
            // Out of its place it is the caller: `accept_one` ends it then.
            if let Some(mut factory) = listener.factory.take() {
                let started = listener.started;
                self.queues.callbacks.push(Callback::Call(Box::new(move |reactor| {
                    reactor.stop_factory(&mut *factory, started);
                })));
            }
        }
        true
    }

    fn stop_factory(&mut self, factory: &mut dyn Factory, started: bool) {
        if started {
            self.call(CallbackKind::StopFactory, |reactor| factory.stop_factory(reactor));
        }
    }

    pub(crate) fn start_listener_factory(&mut self, token: Token) {
        let Some(listener) = self.registry.listener_mut(token) else {
            return;
        };
        if listener.started {
            return;
        }
        listener.started = true;
        self.with_factory(token, CallbackKind::StartFactory, |factory, reactor| {
            factory.start_factory(reactor)
        });
    }

    /// Calls a listener's factory, which is out of its place meanwhile.
    fn with_factory<R>(
        &mut self,
        token: Token,
        place: CallbackKind,
        call: impl FnOnce(&mut dyn Factory, &mut Reactor) -> R,
    ) -> Option<R> {
        let mut factory = self.registry.listener_mut(token)?.factory.take()?;
        let result = self.catch_panic(place, None, |reactor| call(&mut *factory, reactor));
        match self.registry.listener_mut(token) {
            Some(listener) => listener.factory = Some(factory),
            // It stopped meanwhile.
            None => {
                self.stop_factory(&mut *factory, true);
                self.call(CallbackKind::Drop, |_| drop(factory));
            }
        }
        result.ok()
    }

    /// Accepts a share of what waits; the next poll tells of the rest.
    pub(crate) fn accept_ready(&mut self, token: Token) {
        self.start_listener_factory(token);
        let (turn, most) = (self.statistics.turns, self.settings.accepts_per_turn);
        let Some(listener) = self.registry.listener_mut(token) else { return };
        for _ in 0..listener.accept_budget.share(turn, most) {
            if self.registry.listener_mut(token).is_none_or(|listener| listener.paused) {
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

    /// Whether there may be more.
    fn accept_one(&mut self, token: Token) -> bool {
        let connection = self.registry.next_token();
        match self.net.accept(token, connection) {
            Ok(Accepted::Connection(peer)) => {
                self.accepted(token, connection, peer);
                true
            }
            Ok(Accepted::Dropped(error)) => {
                self.statistics.accept_errors += 1;
                self.log_accept_error(token, "an accepted connection cannot be watched", &error);
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
        let built = self.while_building(token, |reactor| {
            reactor.with_factory(listener, CallbackKind::BuildProtocol, |factory, reactor| {
                build(factory, reactor, &peer)
            })
        });
        match built.flatten() {
            Some(begun) => self.begin_connection(token, begun),
            None => {
                self.statistics.connections_refused += 1;
                self.net.close(token, Close::Graceful);
                self.registry.remove(token);
            }
        }
    }

    /// A protocol for a connection whose layers are ready. A listener that has stopped refuses it, as what waits in the
    /// system's queue.
    pub(in crate::reactor) fn build_for_listener(
        &mut self,
        listener: Token,
        peer: &Address,
    ) -> Option<Box<dyn Protocol>> {
        let build = |factory: &mut dyn Factory, reactor: &mut Reactor| factory.build_protocol(reactor, peer);
        self.with_factory(listener, CallbackKind::BuildProtocol, build).flatten()
    }

    /// Sets all that can be set; the first error. The connection goes on: an option is not worth it.
    pub(in crate::reactor) fn set_options(&mut self, token: Token, options: StreamOptions) -> io::Result<()> {
        let mut result = Ok(());
        for option in options.wanted() {
            let set = self.net.set(token, option);
            result = result.and(set);
        }
        result
    }

    /// Whether the next accept may do better.
    fn accept_failed(&mut self, token: Token, error: &io::Error) -> bool {
        match Errno::from_io_error(error) {
            Some(Errno::WOULDBLOCK) => false,
            Some(Errno::INTR) => true,
            // Errors of the one connection that was to be accepted: a reset or a firewall meanwhile, or, on Linux,
            // what its network had to say.
            Some(
                Errno::CONNABORTED
                | Errno::PERM
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NETUNREACH
                | Errno::OPNOTSUPP,
            ) => {
                self.statistics.accept_errors += 1;
                true
            }
            Some(Errno::MFILE | Errno::NFILE) => {
                let most = self.settings.accepts_per_turn;
                let shed = self.net.shed(token, most);
                self.statistics.accepts_shed += shed as u64;
                self.statistics.accept_errors += 1;
                let what = format!("out of descriptors, {shed} connections were closed at once");
                self.log_accept_error(token, &what, error);
                self.pause_accepting(token);
                false
            }
            _ => {
                self.statistics.accept_errors += 1;
                self.log_accept_error(token, "accepting failed", error);
                self.pause_accepting(token);
                false
            }
        }
    }

    /// What waits would be told of again and again: it is tried again later.
    fn pause_accepting(&mut self, token: Token) {
        let until = self.now() + self.settings.accept_retry_delay;
        if let Some(listener) = self.registry.listener_mut(token) {
            listener.paused = true;
            self.net.set_listener_paused(token, true);
            self.timers.set(until, TimedCall::AcceptAgain(token));
        }
    }

    pub(crate) fn accept_again(&mut self, token: Token) {
        if let Some(listener) = self.registry.listener_mut(token) {
            listener.paused = false;
            self.net.set_listener_paused(token, false);
        }
    }

    /// At most once a second for each listener.
    fn log_accept_error(&mut self, token: Token, what: &str, error: &io::Error) {
        let now = self.now();
        let Some(listener) = self.registry.listener_mut(token) else {
            return;
        };
        if listener.logged.is_some_and(|last| now - last < Duration::from_secs(1)) {
            return;
        }
        listener.logged = Some(now);
        let address = &listener.address;
        log_warn!([listener = address.to_string().as_str()] "{address}: {what}: {}", Escaped(error));
    }
}

pub(in crate::reactor) fn cannot_listen(asked: &str, failed: OpenError) -> Error {
    Error::CannotListen { address: asked.to_owned(), call: failed.step.name(), source: failed.error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_accepts_grows_while_all_of_it_is_used_in_a_row() {
        let mut pace = AcceptBudget::default();
        let shares = |pace: &mut AcceptBudget, turns: std::ops::Range<u64>| -> Vec<usize> {
            turns.map(|turn| pace.share(turn, 10)).collect()
        };
        assert_eq!(shares(&mut pace, 10..17), [1, 1, 2, 4, 8, 10, 10]);
        pace.reset();
        assert_eq!(shares(&mut pace, 17..20), [1, 1, 2]);
        // A turn without any ends the row, too.
        assert_eq!(shares(&mut pace, 21..24), [1, 1, 2]);
    }
}
