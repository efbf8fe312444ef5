//! Adopted sockets: inherited from a previous process, handed over by systemd, or passed by a peer.

use std::os::fd::OwnedFd;

use crate::net::{Adopt, Close, Token};
use crate::reactor::connection::{Connection, Pauses, State};
use crate::reactor::listen::{ListenOptions, cannot_listen};
use crate::reactor::protocol::build_context::Built;
use crate::reactor::registry::Source;
use crate::reactor::turn::queues::{Callback, SocketDisposal};
use crate::reactor::{Address, ConnectionId, Error, Factory, Listener, Protocol, Reactor, Reason, Result};

impl Reactor {
    /// Listens on a TCP or UNIX socket that is already listening, and builds a protocol with
    /// `factory` for each connection.
    ///
    /// When this listener stops, the socket is closed and never shut down, so other processes with
    /// the descriptor go on listening. The file of a UNIX socket stays. The descriptor becomes
    /// non-blocking for all processes that share it. (Twisted: `adoptStreamPort`.)
    ///
    /// # Errors
    /// The descriptor is closed on every error.
    /// - [`Error::CannotListen`]: not a listening stream socket
    /// - [`Error::Stopping`], [`Error::ReactorFinished`]: the reactor is stopping or has stopped
    #[doc(alias("adoptStreamPort", "from_std", "from_raw_fd"))]
    pub fn adopt_listener(&mut self, descriptor: OwnedFd, factory: impl Factory) -> Result<Listener> {
        self.check_not_stopping()?;
        let token = self.registry.next_token();
        let asked = "an adopted descriptor";
        let adopted = self.net.adopt(token, descriptor, Adopt::Listener);
        adopted.map_err(|failed| cannot_listen(asked, failed))?;
        self.start_listening(token, ListenOptions::Adopted, Box::new(factory), asked)
    }

    /// Takes over a connected TCP or UNIX socket. `connection_made` of `protocol` is called from
    /// the loop, in the next turn. The descriptor becomes non-blocking for all processes that share
    /// it. (Twisted: `adoptStreamConnection`.)
    ///
    /// # Errors
    /// The descriptor is closed on every error.
    /// - [`Error::System`]: not a connected stream socket
    /// - [`Error::Stopping`], [`Error::ReactorFinished`]: the reactor is stopping or has stopped
    #[doc(alias("adoptStreamConnection", "connect_accepted_socket", "from_std", "from_raw_fd"))]
    pub fn adopt_connection(&mut self, descriptor: OwnedFd, protocol: impl Protocol) -> Result<ConnectionId> {
        self.check_not_stopping()?;
        let token = self.registry.next_token();
        let adopted = self.net.adopt(token, descriptor, Adopt::Connection);
        adopted.map_err(|failed| Error::System { call: failed.step.name(), source: failed.error })?;
        let peer = self.net.peer_address(token).map_err(|source| {
            self.net.close(token, Close::Graceful);
            Error::System { call: "getpeername", source }
        })?;
        Ok(self.adopted(token, peer, Box::new(protocol)))
    }

    /// Registers a socket adopted by the driver. Its protocol begins in the next turn.
    pub(in crate::reactor) fn adopted(
        &mut self,
        token: Token,
        peer: Address,
        protocol: Box<dyn Protocol>,
    ) -> ConnectionId {
        let mut connection = Connection::new(peer, Token::NONE, self.has_small_marks());
        // Data that has already arrived waits until the protocol begins.
        connection.pauses.set(Pauses::NOT_STARTED, true);
        let inserted = self.registry.insert(Source::Connection(connection));
        debug_assert_eq!(inserted, token);
        self.statistics.adopted += 1;
        self.queues.callbacks.push(Callback::StartAdopted(token, protocol));
        ConnectionId(token)
    }

    /// Duplicates the descriptor of a listening socket, for a process that takes it over. Both
    /// processes accept connections until one of them stops. The file of a UNIX socket is no longer
    /// removed by this reactor.
    ///
    /// # Errors
    /// - [`Error::NotListening`]
    /// - [`Error::System`]: no descriptors left
    pub fn duplicate_listener(&mut self, listener: &Listener) -> Result<OwnedFd> {
        let token = listener.token();
        if self.registry.listener_mut(token).is_none() {
            return Err(Error::NotListening);
        }
        self.net.duplicate(token).map_err(|source| Error::System { call: "dup", source })
    }

    /// Detaches a connection from the reactor and returns its descriptor. The peer notices nothing;
    /// a process that [adopts](Reactor::adopt_connection) the descriptor receives what the peer
    /// sends next. Here the connection is lost, with [`Reason::Released`].
    pub(in crate::reactor) fn release(&mut self, token: Token) -> Result<OwnedFd> {
        if self.send.connection == token {
            self.send_write_batch(token);
        }
        let Some(connection) = self.registry.connection(token) else { return Err(Error::NotConnected) };
        match connection.state {
            State::Open if connection.unsent() == 0 && !connection.is_layered() => {}
            State::Open => return Err(Error::UnsentData(connection.unsent())),
            _ => return Err(Error::NotConnected),
        }
        let descriptor = self.net.duplicate(token).map_err(|source| Error::System { call: "dup", source })?;
        self.end(token, Reason::Released, SocketDisposal::Close(Close::Graceful));
        Ok(descriptor)
    }

    pub(in crate::reactor) fn start_adopted(&mut self, token: Token, protocol: Box<dyn Protocol>) {
        if let Some(connection) = self.registry.connection_mut(token) {
            connection.pauses.set(Pauses::NOT_STARTED, false);
        }
        self.start_connection(token, Built::Protocol(protocol));
        self.schedule_resume(token);
    }
}
