//! Reading: readiness is latched, and each connection has its share of a turn.

use std::io;

use super::connection::{Pauses, State};
use super::handle::Share;
use super::keeping::worth_keeping;
use super::{CallbackKind, Protocol, Reactor, Reason, SystemError};
use crate::net::{Ready, Token};

impl Reactor {
    /// The kernel has news of a connection; `false` when the token names none.
    ///
    /// This is the path of every message: it looks the connection up twice for each, once before its callback
    /// and once after.
    #[inline(always)] // into the loop of the events
    pub(super) fn connection_ready(&mut self, token: Token, ready: Ready, buffer: &mut Vec<u8>) -> bool {
        let Some(mut connection) = self.sources.connection_mut(token) else { return false };
        connection.ready.insert(ready);
        if connection.queued {
            // It has its turn anyway: one share, not two.
            return true;
        }
        // First, because it frees memory and lets a close come to its end.
        if !connection.outgoing.is_empty() && connection.ready.has(Ready::WRITABLE) {
            self.flush(token);
            match self.sources.connection_mut(token) {
                Some(again) => connection = again,
                None => return true,
            }
        }
        let mut read = 0;
        let room = self.room.min(buffer.len());
        loop {
            if !connection.wants_read() {
                let ended = ready.has(Ready::READ_CLOSED) || connection.pauses_at_the_end();
                if connection.reads_descriptors() {
                    self.read_descriptors(token, buffer);
                }
                if ended {
                    self.look_for_reset(token);
                }
                break;
            }
            match self.net.recv(token, &mut buffer[..room]) {
                Ok(count @ 1..) => {
                    // Less than there was room for: the kernel has no more, and will tell when it has;
                    // unless the end has come already.
                    if count == room || connection.ready.has(Ready::READ_CLOSED) {
                        read += count;
                    } else {
                        connection.ready.remove(Ready::READABLE);
                    }
                    self.statistics.bytes_received += count as u64;
                    if let Some(protocol) = connection.protocol.take() {
                        self.direct = connection.writes_directly();
                        let done = match count {
                            MUCH.. => self.received_much(token, protocol, buffer, count, room),
                            // No more was received than there is room for.
                            _ => self.received(token, protocol, &buffer[..count]),
                        };
                        if done {
                            break;
                        }
                    } else {
                        // It lingers, or its protocol stands above layers.
                        self.received_beneath(token, buffer, count);
                    }
                }
                Ok(_) => {
                    connection.ready.remove(Ready::READABLE);
                    self.input_ended(token);
                    break;
                }
                Err(error) => {
                    if !self.input_failed(token, &error) {
                        break;
                    }
                }
            }
            match self.sources.connection_mut(token) {
                Some(again) => connection = again,
                None => break,
            }
            if read >= self.settings.read_per_turn && connection.wants_read() {
                self.queue(token);
                break;
            }
        }
        true
    }

    /// Calls the protocol with what came. `true` when it is certain that there is nothing more to read.
    #[inline(always)] // into the path of every message
    fn received(&mut self, token: Token, protocol: Box<dyn Protocol>, data: &[u8]) -> bool {
        self.call_taken(token, CallbackKind::DataReceived, protocol, |protocol, transport| {
            protocol.data_received(transport, data);
        })
    }

    /// The same for so much that it is worth not to copy it, and to have tasks look at it while it is in the processor's
    /// cache.
    #[inline(never)]
    fn received_much(
        &mut self,
        token: Token,
        protocol: Box<dyn Protocol>,
        buffer: &mut Vec<u8>,
        count: usize,
        room: usize,
    ) -> bool {
        if worth_keeping(count, buffer.len()) {
            self.offer_to_keep(buffer, count);
        }
        let data = &buffer[..count]; // no more was received than there is room for
        let done = self.received(token, protocol, data);
        let kept = self.keep_if_asked(buffer, count);
        self.much += count;
        // What is answered before the next read finds more there.
        if self.much >= WARM || (kept && count == room) {
            self.much = 0;
            self.run_residents(Share::Early);
        }
        done
    }

    /// Another share.
    #[inline(never)]
    fn connection_again(&mut self, token: Token, buffer: &mut Vec<u8>) {
        self.connection_ready(token, Ready::default(), buffer);
    }

    pub(super) fn input_ended(&mut self, token: Token) {
        if !self.end_beneath(token) {
            self.input_ended_above(token);
        }
    }

    /// The end of the input has come to the protocol.
    pub(super) fn input_ended_above(&mut self, token: Token) {
        // Our end went out before the peer's came, which may be all that it waited for.
        self.tell_finish(token);
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
        self.call_protocol(token, CallbackKind::ReadConnectionLost, |protocol, transport| {
            protocol.read_connection_lost(transport);
        });
        // The reset may have come with the end: no event will tell of it again.
        self.look_for_reset(token);
    }

    /// What is not read, or not now, does not say that the peer has reset it, and a write may never come. While bytes that came
    /// before are unread they go first, and the next read tells.
    #[cold]
    #[inline(never)]
    fn look_for_reset(&mut self, token: Token) {
        let Some(connection) = self.sources.connection(token) else { return };
        match connection.state {
            State::InputClosed | State::InputClosedOutputClosing | State::Closing { .. } => {}
            State::Open | State::OutputClosing | State::OutputClosed => {
                let waits = !connection.pauses.only_the_protocols() || connection.layers_keep_input();
                if waits || self.net.unread(token).is_ok_and(|unread| unread > 0) {
                    return;
                }
            }
            State::Broken | State::Lost | State::Lingering => return,
        }
        if let Ok(Some(error)) = self.net.take_error(token) {
            self.lose(token, Reason::Lost(SystemError::new("poll", &error)));
        }
    }

    /// A write had failed, and what came before it was delivered.
    pub(super) fn lose_broken(&mut self, token: Token) {
        let Some(connection) = self.sources.connection_mut(token) else { return };
        let reason = connection.rare().broken.take();
        self.lose(token, reason.unwrap_or(Reason::Done));
    }

    /// Whether reading should be tried again.
    #[cold]
    #[inline(never)]
    pub(super) fn input_failed(&mut self, token: Token, error: &io::Error) -> bool {
        if error.kind() == io::ErrorKind::Interrupted {
            return true;
        }
        if let Some(connection) = self.sources.connection_mut(token) {
            connection.ready.remove(Ready::READABLE);
            match connection.state {
                // Everything that came before the failed write is delivered.
                State::Broken => self.lose_broken(token),
                _ if error.kind() == io::ErrorKind::WouldBlock => {}
                State::Lingering => self.end_lingering(token),
                _ => self.lose(token, Reason::Lost(SystemError::new("recv", error))),
            }
        }
        false
    }

    /// Reads at least so many bytes in one piece, if they are there. For tests: the setting is for programs.
    pub(crate) fn read_at_once(&mut self, bytes: usize) {
        if self.read_buffer.len() <= bytes {
            // One more, so that a read is seen to have found the end.
            self.read_buffer.resize(bytes + 1, 0);
        }
        self.alone = self.alone.max(bytes + 1);
    }

    /// Sees how many share this turn, or may: much is read at once for many, and less for one, so that its peer goes on
    /// while it is answered.
    pub(super) fn make_room(&mut self, among: usize) {
        let all = self.read_buffer.len();
        self.room = if among > 1 { all } else { all.min(self.alone) };
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

    /// Whether timers of a connection or a socket of datagrams wait for the next turn, because what came before them is still
    /// to be read. They wait for what is there when the first of them is due, and for nothing that comes later.
    #[cold]
    #[inline(never)]
    pub(super) fn reads_before_timers(&mut self, token: Token) -> bool {
        let turn = self.statistics.turns;
        let Some(connection) = self.sources.connection_mut(token) else {
            return self.datagrams_before_timers(token);
        };
        if !connection.queued || !connection.wants_read() {
            return false;
        }
        let until = connection.rare().timers_wait_until;
        if turn <= until {
            return turn < until;
        }
        let unread = self.net.unread(token).unwrap_or(0);
        let turns = unread.div_ceil(self.settings.read_per_turn) as u64;
        if let Some(connection) = self.sources.connection_mut(token) {
            connection.rare().timers_wait_until = turn + turns;
        }
        turns > 0
    }

    /// Calls a protocol that keeps something which came, before anything else that has come since.
    #[cold]
    #[inline(never)]
    fn deliver_again(&mut self, token: Token) {
        if let Some(connection) = self.sources.connection_mut(token)
            && !connection.pauses.has(Pauses::PROTOCOL)
        {
            connection.pauses.set(Pauses::AGAIN, false);
            if !matches!(connection.state, State::Closing { .. } | State::Lost | State::Lingering) {
                self.call_protocol(token, CallbackKind::DataReceived, |protocol, transport| {
                    protocol.data_received(transport, &[]);
                });
            }
        }
    }

    /// The turn of those that were queued.
    #[inline(never)] // a turn without it is short
    pub(crate) fn run_ready(&mut self, count: usize) {
        let mut buffer = std::mem::take(&mut self.read_buffer);
        for _ in 0..count {
            let Some(token) = self.ready.pop_front() else { break };
            if let Some(connection) = self.sources.connection_mut(token) {
                connection.queued = false;
                if connection.pauses.has(Pauses::AGAIN) {
                    self.deliver_again(token);
                }
                self.connection_again(token, &mut buffer);
            } else {
                self.datagram_queued(token);
            }
        }
        self.read_buffer = buffer;
    }
}

/// A connection that is alone is read so much at once, at the most.
pub(super) const ALONE: usize = 32 * 1024;

/// From so many bytes on, a read counts towards `WARM`.
const MUCH: usize = 1024;

/// Bytes that are received before tasks look at them: more of them would push each other out of the cache.
const WARM: usize = 64 * 1024;
