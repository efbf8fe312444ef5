//! Sockets that somebody else opened: inherited from the process before, handed over by systemd, passed by a peer.

use std::os::fd::OwnedFd;

use crate::net::{Adopt, Close, Token};
use crate::reactor::connection::{Connection, Pauses, State};
use crate::reactor::layer::run::Built;
use crate::reactor::listen::{ListenOptions, cannot_listen};
use crate::reactor::queues::{Callback, SocketDisposal};
use crate::reactor::registry::Source;
use crate::reactor::{Address, ConnectionId, Error, Factory, Listener, Protocol, Reactor, Reason, Result};

impl Reactor {
    /// Listens on a socket that is listening already, TCP or UNIX, and makes a protocol with `factory` for each
    /// connection. Whoever else has the descriptor open goes on listening when this listener stops: it is closed, never
    /// shut down. A UNIX socket's file stays. The descriptor becomes non-blocking for all who share it. (Twisted:
    /// `adoptStreamPort`.)
    ///
    /// # Errors
    /// [`Error::CannotListen`] when it is no listening socket of streams, and the descriptor is closed;
    /// [`Error::Stopping`] or [`Error::ReactorFinished`] when the reactor stops or has stopped.
    pub fn adopt_listener(&mut self, descriptor: OwnedFd, factory: impl Factory) -> Result<Listener> {
        self.check_begins()?;
        let token = self.registry.next_token();
        let asked = "an adopted descriptor";
        let adopted = self.net.adopt(token, descriptor, Adopt::Listener);
        adopted.map_err(|failed| cannot_listen(asked, failed))?;
        self.begin_listening(token, ListenOptions::Adopted, Box::new(factory), asked)
    }

    /// Goes on with a connection that was made already, TCP or UNIX: `connection_made` of `protocol` is called from the
    /// loop, in the next turn. The descriptor becomes non-blocking for all who share it. (Twisted: `adoptStreamConnection`.)
    ///
    /// # Errors
    /// [`Error::System`] when it is no connected socket of streams, and the descriptor is closed;
    /// [`Error::Stopping`] or [`Error::ReactorFinished`] when the reactor stops or has stopped.
    pub fn adopt_connection(&mut self, descriptor: OwnedFd, protocol: impl Protocol) -> Result<ConnectionId> {
        self.check_begins()?;
        let token = self.registry.next_token();
        let adopted = self.net.adopt(token, descriptor, Adopt::Connection);
        adopted.map_err(|failed| Error::System { call: failed.step.name(), source: failed.error })?;
        let peer = self.net.peer_address(token).map_err(|source| {
            self.net.close(token, Close::Graceful);
            Error::System { call: "getpeername", source }
        })?;
        Ok(self.adopted(token, peer, Box::new(protocol)))
    }

    /// A place for what the network has adopted, whose protocol begins in the next turn.
    pub(in crate::reactor) fn adopted(
        &mut self,
        token: Token,
        peer: Address,
        protocol: Box<dyn Protocol>,
    ) -> ConnectionId {
        let mut connection = Connection::new(peer, Token::NONE, self.has_small_marks());
        // What has come already waits for the protocol to begin.
        connection.pauses.set(Pauses::UNBEGUN, true);
        let inserted = self.registry.insert(Source::Connection(connection));
        debug_assert_eq!(inserted, token);
        self.statistics.adopted += 1;
        self.queues.callbacks.push(Callback::Begin(token, protocol));
        ConnectionId(token)
    }

    /// Another descriptor of a listening socket, for the process that is to go on with it: both accept until one stops.
    /// The file of a UNIX socket stays from now on.
    ///
    /// # Errors
    /// [`Error::NotListening`]; [`Error::System`] when there are no descriptors left.
    pub fn duplicate_listener(&mut self, listener: &Listener) -> Result<OwnedFd> {
        let token = listener.token();
        if self.registry.listener_mut(token).is_none() {
            return Err(Error::NotListening);
        }
        self.net.duplicate(token).map_err(|source| Error::System { call: "dup", source })
    }

    /// Hands a connection over: the descriptor goes on as it is, its peer notices nothing, and what it sends next is
    /// whoever's who [adopts](Reactor::adopt_connection) it. Here the connection is lost, for [`Reason::Released`].
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

    pub(in crate::reactor) fn begin_adopted(&mut self, token: Token, protocol: Box<dyn Protocol>) {
        if let Some(connection) = self.registry.connection_mut(token) {
            connection.pauses.set(Pauses::UNBEGUN, false);
        }
        self.begin_connection(token, Built::Protocol(protocol));
        self.schedule_resume(token);
    }
}
