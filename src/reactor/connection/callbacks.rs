//! Calls of a connection's protocol. All user code of a connection runs through here.

use crate::net::{Readiness, Token};
use crate::reactor::connection::State;
use crate::reactor::protocol::build_context::Built;
use crate::reactor::{CallbackKind, Protocol, Reactor, Reason, Transport};

impl Reactor {
    pub(in crate::reactor) fn start_connection(&mut self, token: Token, built: Built) {
        let Some(connection) = self.registry.connection_mut(token) else {
            return;
        };
        if connection.state == State::Lost {
            // Aborted while its protocol was built: `connection_made` was not called, so neither is
            // `connection_lost`.
            self.call(CallbackKind::Drop, |_| drop(built));
            return;
        }
        let protocol = match built {
            Built::Protocol(protocol) => protocol,
            Built::Layers(layers) => return self.start_layers(token, layers),
        };
        connection.protocol = Some(protocol);
        self.call_protocol(token, CallbackKind::ConnectionMade, |protocol, transport| {
            protocol.connection_made(transport);
        });
    }

    /// Calls a connection's protocol and then handles the consequences: writes and state changes.
    /// The protocol is out of its slot during the call.
    #[inline]
    pub(in crate::reactor) fn call_protocol(
        &mut self,
        token: Token,
        place: CallbackKind,
        call: impl FnOnce(&mut dyn Protocol, &mut Transport<'_>),
    ) {
        let Some(connection) = self.registry.connection_mut(token) else {
            return;
        };
        if connection.state == State::Lost {
            return;
        }
        if let Some(protocol) = connection.protocol.take() {
            self.send.batching = connection.can_batch();
            self.call_taken(token, place, protocol, call);
        } else if connection.is_layered() {
            self.call_above_layers(token, place, call);
            self.flush(token);
        }
    }

    /// Calls a protocol that was taken out of its slot, puts it back, and handles the consequences.
    /// Returns `true` if there is certainly nothing more to read.
    #[inline(always)] // on the path of every message
    pub(in crate::reactor) fn call_taken(
        &mut self,
        token: Token,
        place: CallbackKind,
        mut protocol: Box<dyn Protocol>,
        call: impl FnOnce(&mut dyn Protocol, &mut Transport<'_>),
    ) -> bool {
        self.enter(token, place, |transport| call(&mut *protocol, transport));
        // Only the loop frees slots, so the slot still exists.
        let Some(connection) = self.registry.connection_mut(token) else { return true };
        // The slot is empty, so there is nothing to drop.
        std::mem::forget(connection.protocol.replace(protocol));
        if !connection.state.is_open()
            || !connection.outgoing.is_empty()
            || !connection.readiness.has(Readiness::WRITABLE)
        {
            self.after_callback(token);
            return false;
        }
        let drained = !connection.readiness.has(Readiness::READABLE);
        if self.send.batch.is_empty() {
            return drained;
        }
        connection.wrote = true;
        self.send_whole_batch(token) && drained
    }

    /// Whether the connection has a protocol that may be called.
    pub(in crate::reactor) fn has_protocol(&self, token: Token) -> bool {
        let connection = self.registry.connection(token);
        connection.is_some_and(|connection| connection.state != State::Lost && connection.protocol_is_in())
    }

    /// Runs user code in the context of this connection.
    #[inline(always)]
    pub(in crate::reactor) fn enter(
        &mut self,
        token: Token,
        place: CallbackKind,
        call: impl FnOnce(&mut Transport<'_>),
    ) {
        self.send.connection = token;
        let result =
            self.run_user_code(place, Some(token), |reactor| call(&mut Transport { reactor, token }));
        self.send.connection = Token::NONE;
        if let Err(panic) = result {
            self.lose_panicked(token, panic);
        }
    }

    #[cold]
    #[inline(never)]
    fn lose_panicked(&mut self, token: Token, panic: String) {
        self.send.batch.clear();
        let reason = Reason::Panicked(panic);
        match self.registry.connection(token).map(|connection| connection.state) {
            // The callback aborted the connection before it panicked.
            Some(State::Lost) => self.queues.callbacks.correct_loss(token, reason),
            _ => self.queue_loss(token, reason),
        }
    }

    /// Sends what a callback wrote and starts the state changes that it requested.
    pub(in crate::reactor) fn after_callback(&mut self, token: Token) {
        if !self.send.batch.is_empty() {
            self.send_write_batch(token);
        }
        match self.registry.connection(token) {
            Some(connection) if connection.is_layered() => {
                self.move_above_layers(token);
                self.flush(token);
            }
            Some(connection) if !connection.state.is_open() => self.advance_close(token),
            _ => {}
        }
    }
}
