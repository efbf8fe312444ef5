//! Calling a connection's protocol: the one door through which its user code runs.

use super::connection::State;
use super::{Place, Protocol, Reactor, Reason, Transport};
use crate::net::Token;

impl Reactor {
    pub(crate) fn begin_connection(&mut self, token: Token, protocol: Box<dyn Protocol>) {
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        connection.protocol = Some(protocol);
        self.call_protocol(token, Place::ConnectionMade, |protocol, transport| {
            protocol.connection_made(transport);
        });
    }

    /// Calls a connection's protocol, which is out of its slot meanwhile, and sees what follows from it.
    #[inline]
    pub(crate) fn call_protocol(
        &mut self,
        token: Token,
        place: Place,
        call: impl FnOnce(&mut dyn Protocol, &mut Transport<'_>),
    ) {
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        if connection.state == State::Lost {
            return;
        }
        let Some(mut protocol) = connection.protocol.take() else {
            return;
        };
        self.enter(token, place, |transport| call(&mut *protocol, transport));
        if let Some(connection) = self.sources.connection_mut(token) {
            connection.protocol = Some(protocol);
        }
        self.settle(token);
    }

    /// Runs user code as this connection's.
    #[inline]
    pub(super) fn enter(&mut self, token: Token, place: Place, call: impl FnOnce(&mut Transport<'_>)) {
        self.current = token;
        let result = self.guarded(place, Some(token), |reactor| call(&mut Transport { reactor, token }));
        self.current = Token::NONE;
        if let Err(panic) = result {
            self.scratch.clear();
            let reason = Reason::Panicked(panic);
            match self.sources.connection(token).map(|connection| connection.state) {
                // It had been aborted in the same callback.
                Some(State::Lost) => self.tasks.correct_loss(token, reason),
                _ => self.lose(token, reason),
            }
        }
    }

    /// After a callback: what it wrote is sent, what it asked for begins.
    #[inline]
    pub(super) fn settle(&mut self, token: Token) {
        if !self.scratch.is_empty() {
            self.send_scratch(token);
        }
        if let Some(connection) = self.sources.connection(token)
            && connection.state != State::Open
        {
            self.advance(token);
        }
    }
}
