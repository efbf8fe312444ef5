//! Reading: readiness is latched, and each connection has its share of a turn.

use std::io;

use super::connection::State;
use super::sources::Source;
use super::{Place, Reactor, Reason, SystemError};
use crate::net::{Ready, Token};

impl Reactor {
    /// The kernel has news of a connection; `false` when the token names none.
    pub(crate) fn connection_ready(&mut self, token: Token, ready: Ready) -> bool {
        let Some(connection) = self.sources.connection_mut(token) else { return false };
        connection.readable |= ready.has(Ready::READABLE);
        connection.read_closed |= ready.has(Ready::READ_CLOSED);
        connection.writable |= ready.has(Ready::WRITABLE);
        // First, because it frees memory and lets a close come to its end.
        if connection.writable && !connection.outgoing.is_empty() {
            self.flush(token);
        }
        self.read(token);
        true
    }

    /// Reads what there is, up to the connection's share of the turn.
    ///
    /// This is the path of every message, so it looks the connection up twice for each, not more.
    #[inline]
    fn read(&mut self, token: Token) {
        let mut buffer = std::mem::take(&mut self.read_buffer);
        let mut share = self.settings.read_per_turn;
        let mut found = self.sources.connection_mut(token);
        while let Some(connection) = found {
            if !connection.wants_read() {
                break;
            }
            if share == 0 {
                self.queue(token);
                break;
            }
            match self.net.recv(token, &mut buffer) {
                Ok(0) => {
                    connection.readable = false;
                    self.input_ended(token);
                    break;
                }
                Ok(count) => {
                    // Less than there was room for: the kernel has no more, and will tell when it has;
                    // unless the end has come already.
                    connection.readable = count == buffer.len() || connection.read_closed;
                    share = share.saturating_sub(count);
                    self.statistics.bytes_received += count as u64;
                    if let Some(protocol) = connection.protocol.take() {
                        let data = buffer.get(..count).unwrap_or_default();
                        self.call_taken(token, Place::DataReceived, protocol, |protocol, transport| {
                            protocol.data_received(transport, data);
                        });
                    } else {
                        // It lingers: what comes is dropped.
                        self.note_progress(token);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.readable = false;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    connection.readable = false;
                    self.input_failed(token, &error);
                    break;
                }
            }
            found = self.sources.connection_mut(token);
        }
        self.read_buffer = buffer;
    }

    fn input_ended(&mut self, token: Token) {
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        let next = match connection.state {
            State::Open => State::InputClosed,
            State::OutputClosing => State::InputClosedOutputClosing,
            // Both ways are shut: that is the end, whatever the protocol says to it.
            State::OutputClosed => State::Closing { eof: true },
            State::Broken => return self.lose_broken(token),
            State::Lingering => return self.end_lingering(token),
            State::InputClosed | State::InputClosedOutputClosing | State::Closing { .. } | State::Lost => {
                return;
            }
        };
        connection.state = next;
        self.call_protocol(token, Place::ReadConnectionLost, |protocol, transport| {
            protocol.read_connection_lost(transport);
        });
    }

    /// A write had failed, and what came before it was delivered.
    pub(super) fn lose_broken(&mut self, token: Token) {
        let Some(connection) = self.sources.connection_mut(token) else { return };
        let reason = connection.rare().broken.take();
        self.lose(token, reason.unwrap_or(Reason::Done));
    }

    fn input_failed(&mut self, token: Token, error: &io::Error) {
        let Some(connection) = self.sources.connection_mut(token) else {
            return;
        };
        match connection.state {
            State::Lingering => self.end_lingering(token),
            State::Broken => self.input_ended(token),
            _ => self.lose(token, Reason::Lost(SystemError::new("recv", error))),
        }
    }

    /// Gives a connection another share of the loop, in the next turn.
    pub(crate) fn queue(&mut self, token: Token) {
        if let Some(connection) = self.sources.connection_mut(token)
            && !connection.queued
        {
            connection.queued = true;
            self.ready.push_back(token);
        }
    }

    /// The turn of those that were queued.
    pub(crate) fn run_ready(&mut self, count: usize) {
        for _ in 0..count {
            let Some(token) = self.ready.pop_front() else {
                break;
            };
            match self.sources.get_mut(token) {
                Some(Source::Connection(connection)) => {
                    connection.queued = false;
                    if connection.writable && !connection.outgoing.is_empty() {
                        self.flush(token);
                    }
                    self.read(token);
                }
                Some(Source::Listener(_)) => self.accept_queued(token),
                _ => {}
            }
        }
    }
}
