//! Listening: listeners, their factories and options.

mod accept;

use std::io;

use self::accept::AcceptBudget;
use crate::net::{Close, Instant, Open, OpenError, Token};
use crate::reactor::connection::State;
use crate::reactor::connection::options::StreamOptions;
use crate::reactor::error::Error;
use crate::reactor::protocol::build_context::build_protocol;
use crate::reactor::registry::Source;
use crate::reactor::turn::queues::Callback;
use crate::reactor::{Address, CallbackKind, ConnectionId, Factory, ListenTcp, Protocol, Reactor, Result};

/// A handle to a listening socket. (Twisted: `IListeningPort`.)
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[doc(alias("IListeningPort", "Port"))]
pub struct Listener {
    token: Token,
    address: Address,
}

impl Listener {
    pub(in crate::reactor) fn token(&self) -> Token {
        self.token
    }

    /// The listening address, with the actual port where 0 was requested.
    #[doc(alias("local_addr", "getHost"))]
    pub fn address(&self) -> &Address {
        &self.address
    }
}

/// A listener in the registry.
pub(crate) struct ListenerSlot {
    /// `None` while one of its callbacks runs.
    factory: Option<Box<dyn Factory>>,
    started: bool,
    address: Address,
    options: ListenOptions,
    accept_budget: AcceptBudget,
    /// Accepting is paused until descriptors or memory may be available.
    paused: bool,
    /// `pause_listening` was called.
    paused_by_user: bool,
    /// The time of the last last_logged accept failure.
    last_logged: Option<Instant>,
}

impl ListenerSlot {
    fn is_paused(&self) -> bool {
        self.paused || self.paused_by_user
    }
}

/// The options of a listener.
pub(in crate::reactor) enum ListenOptions {
    Tcp(ListenTcp),
    Unix,
    Adopted,
}

impl ListenOptions {
    /// The options still to be set on each accepted connection.
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
    /// Listens on a TCP port and builds a protocol with `factory` for each connection. The port is
    /// bound at once. Nothing is called before this returns. (Twisted: `listenTCP`.)
    ///
    /// `address` is text (`"127.0.0.1:8080"`, `"[::]:80"`), a `SocketAddr`, an IP address and a
    /// port (`("127.0.0.1", 8080)`, `(Ipv4Addr::LOCALHOST, 8080)`) or a [`ListenTcp`]. There is no
    /// conversion from a port alone: write `(Ipv4Addr::UNSPECIFIED, 8080)` for all interfaces.
    ///
    /// # Errors
    /// - [`Error::BadAddress`], [`Error::BadOption`], [`Error::CannotListen`].
    /// - [`Error::Stopping`] or [`Error::ReactorFinished`] when the reactor is stopping or has
    ///   stopped.
    #[doc(alias("listenTCP", "create_server", "TcpListener", "bind"))]
    pub fn listen_tcp<A>(&mut self, address: A, factory: impl Factory) -> Result<Listener>
    where
        A: TryInto<ListenTcp>,
        A::Error: Into<Error>,
    {
        let options = address.try_into().map_err(Into::into)?;
        options.of_connections().check()?;
        self.check_not_stopping()?;
        let open = Open::TcpListen {
            address: options.address,
            reuse_address: options.reuse_address,
            reuse_port: options.reuse_port,
            ipv6_only: options.ipv6_only,
            backlog: options.backlog,
            buffers: options.buffers(),
            nodelay: options.nodelay,
        };
        let requested = options.address.to_string();
        let token = self.registry.next_token();
        self.net.open(token, &open).map_err(|failed| cannot_listen(&requested, failed))?;
        self.start_listening(token, ListenOptions::Tcp(options), Box::new(factory), &requested)
    }

    /// Registers an open listening socket with its factory.
    pub(in crate::reactor) fn start_listening(
        &mut self,
        token: Token,
        options: ListenOptions,
        factory: Box<dyn Factory>,
        requested: &str,
    ) -> Result<Listener> {
        let address = self.net.local_address(token).map_err(|source| {
            self.net.close(token, Close::Graceful);
            Error::CannotListen { address: requested.to_owned(), call: "getsockname", source }
        })?;
        let slot = ListenerSlot {
            factory: Some(factory),
            started: false,
            address: address.clone(),
            options,
            accept_budget: AcceptBudget::default(),
            paused: false,
            paused_by_user: false,
            last_logged: None,
        };
        let inserted = self.registry.insert(Source::Listener(Box::new(slot)));
        debug_assert_eq!(inserted, token);
        self.queues.callbacks.push(Callback::StartFactory(token));
        log::debug!(address = address.to_string().as_str(); "listening on {address}");
        Ok(Listener { token, address })
    }

    /// The handles of all listeners.
    #[doc(alias = "getReaders")]
    pub fn listeners(&self) -> Vec<Listener> {
        let tokens = self.registry.tokens(|source| matches!(source, Source::Listener(_)));
        let named = |token| match self.registry.get(token)? {
            Source::Listener(listener) => Some(Listener { token, address: listener.address.clone() }),
            _ => None,
        };
        tokens.into_iter().filter_map(named).collect()
    }

    /// The open connections that a listener has accepted.
    pub fn connections_of(&self, listener: &Listener) -> Vec<ConnectionId> {
        let accepted = |source: &Source| match source {
            Source::Connection(connection) => {
                connection.origin == listener.token && connection.state != State::Lingering
            }
            _ => false,
        };
        self.registry.tokens(accepted).into_iter().map(ConnectionId).collect()
    }

    /// The options of a TCP listener; `None` for others, and after it has stopped.
    pub fn listen_options(&self, listener: &Listener) -> Option<&ListenTcp> {
        match self.registry.get(listener.token)? {
            Source::Listener(listener) => match &listener.options {
                ListenOptions::Tcp(options) => Some(options),
                ListenOptions::Unix | ListenOptions::Adopted => None,
            },
            _ => None,
        }
    }

    /// Stops accepting and closes the port at once. Accepted connections stay open. The factory's
    /// `stop_factory` is called in one of the next turns. (Twisted: `stopListening`.)
    ///
    /// To listen again, call `listen_tcp` with the same address. To reuse the factory, make it
    /// [`shared`](crate::reactor::shared).
    ///
    /// # Errors
    /// [`Error::NotListening`] when the listener has already stopped.
    #[doc(alias = "stopListening")]
    pub fn stop_listening(&mut self, listener: &Listener) -> Result<()> {
        if self.stop_listener(listener.token) { Ok(()) } else { Err(Error::NotListening) }
    }

    /// Stops accepting. New connections stay in the kernel's backlog until
    /// [`resume_listening`](Reactor::resume_listening). A full backlog lets clients wait or fail,
    /// depending on the system. Has no effect on a listener that is paused. (Twisted:
    /// `stopReading` of a port.)
    ///
    /// # Errors
    /// [`Error::NotListening`] when the listener has stopped.
    pub fn pause_listening(&mut self, listener: &Listener) -> Result<()> {
        self.set_paused_by_user(listener.token, true)
    }

    /// Accepts again after [`pause_listening`](Reactor::pause_listening). (Twisted:
    /// `startReading` of a port.)
    ///
    /// # Errors
    /// [`Error::NotListening`] when the listener has stopped.
    pub fn resume_listening(&mut self, listener: &Listener) -> Result<()> {
        self.set_paused_by_user(listener.token, false)
    }

    fn set_paused_by_user(&mut self, token: Token, paused: bool) -> Result<()> {
        let listener = self.registry.listener_mut(token).ok_or(Error::NotListening)?;
        let before = listener.is_paused();
        listener.paused_by_user = paused;
        if listener.is_paused() != before {
            self.net.set_listener_paused(token, paused);
        }
        Ok(())
    }

    pub(in crate::reactor) fn stop_listener(&mut self, token: Token) -> bool {
        if self.registry.listener_mut(token).is_none() {
            return false;
        }
        self.net.close(token, Close::Graceful);
        if let Some(Source::Listener(mut listener)) = self.registry.remove(token) {
            // If the factory is out of its slot, `with_factory` is running it and stops it
            // afterwards.
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

    pub(in crate::reactor) fn start_listener_factory(&mut self, token: Token) {
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

    /// Calls a listener's factory, which is out of its slot meanwhile.
    fn with_factory<R>(
        &mut self,
        token: Token,
        place: CallbackKind,
        call: impl FnOnce(&mut dyn Factory, &mut Reactor) -> R,
    ) -> Option<R> {
        let mut factory = self.registry.listener_mut(token)?.factory.take()?;
        let result = self.run_user_code(place, None, |reactor| call(&mut *factory, reactor));
        match self.registry.listener_mut(token) {
            Some(listener) => listener.factory = Some(factory),
            // The listener stopped in the callback.
            None => {
                self.stop_factory(&mut *factory, true);
                self.call(CallbackKind::Drop, |_| drop(factory));
            }
        }
        result.ok()
    }

    /// Builds the protocol of a connection whose layers are ready. A listener that has stopped
    /// refuses it, as it does the connections in the backlog.
    pub(in crate::reactor) fn build_for_listener(
        &mut self,
        listener: Token,
        token: Token,
        peer: &Address,
    ) -> Option<Box<dyn Protocol>> {
        let build =
            |factory: &mut dyn Factory, reactor: &mut Reactor| build_protocol(factory, reactor, token, peer);
        self.with_factory(listener, CallbackKind::BuildProtocol, build).flatten()
    }

    /// Sets all options and returns the first error. The connection continues without the failed
    /// options.
    pub(in crate::reactor) fn set_options(&mut self, token: Token, options: StreamOptions) -> io::Result<()> {
        let mut result = Ok(());
        for option in options.wanted() {
            let set = self.net.set(token, option);
            result = result.and(set);
        }
        result
    }
}

pub(in crate::reactor) fn cannot_listen(requested: &str, failed: OpenError) -> Error {
    Error::CannotListen { address: requested.to_owned(), call: failed.step.name(), source: failed.error }
}
