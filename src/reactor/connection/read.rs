//! Reading: readiness is latched, and each connection has a read budget per turn.

use std::io;

use crate::net::{Instant, Readiness, RecvBatch, Token};
use crate::reactor::connection::{Action, Event, Pauses, State};
use crate::reactor::{CallbackKind, Protocol, Reactor, Reason, SystemError};

/// Input state of the turn: the read buffer and the datagram batch.
pub(in crate::reactor) struct Receive {
    /// The read buffer, shared by all connections.
    pub(in crate::reactor) buffer: Vec<u8>,
    /// Datagrams received with one system call.
    pub(in crate::reactor) datagrams: RecvBatch,
    /// Time of the last log line about lost descriptors.
    pub(in crate::reactor) fd_loss_logged: Option<Instant>,
}

impl Receive {
    pub(in crate::reactor) fn new(buffer_size: usize) -> Receive {
        Receive { buffer: vec![0; buffer_size], datagrams: RecvBatch::default(), fd_loss_logged: None }
    }
}

impl Reactor {
    /// Handles readiness of a connection. Returns `false` if the token names no connection.
    ///
    /// This is the path of every message. It looks the connection up twice per message: once before
    /// the callback and once after.
    #[inline(always)] // into the event loop
    pub(in crate::reactor) fn connection_ready(
        &mut self,
        token: Token,
        ready: Readiness,
        buffer: &mut [u8],
    ) -> bool {
        let Some(mut connection) = self.registry.connection_mut(token) else { return false };
        connection.readiness.insert(ready);
        if connection.resume_scheduled {
            // It is queued for this turn anyway: one share, not two.
            return true;
        }
        // Flush first, because it frees memory and may complete a close.
        if !connection.outgoing.is_empty() && connection.readiness.has(Readiness::WRITABLE) {
            self.flush(token);
            match self.registry.connection_mut(token) {
                Some(again) => connection = again,
                None => return true,
            }
        }
        let mut read = 0;
        loop {
            if !connection.wants_read() {
                let ended = ready.has(Readiness::READ_CLOSED) || connection.pauses_at_the_end();
                if connection.reads_descriptors() {
                    self.read_descriptors(token, buffer);
                }
                if ended {
                    self.check_for_reset(token);
                }
                break;
            }
            match self.net.recv(token, buffer) {
                Ok(count @ 1..) => {
                    // A short read: the kernel has no more data and reports new data with an edge,
                    // unless the peer's FIN has already been reported.
                    if count == buffer.len() || connection.readiness.has(Readiness::READ_CLOSED) {
                        read += count;
                    } else {
                        connection.readiness.remove(Readiness::READABLE);
                    }
                    self.statistics.bytes_received += count as u64;
                    if let Some(protocol) = connection.protocol.take() {
                        self.send.batching = connection.can_batch();
                        // The count is at most the length of the buffer.
                        if self.received(token, protocol, &buffer[..count]) {
                            break;
                        }
                    } else {
                        // The connection lingers, or its protocol is above layers.
                        self.received_below(token, buffer, count);
                    }
                }
                Ok(_) => {
                    connection.readiness.remove(Readiness::READABLE);
                    self.input_ended(token);
                    break;
                }
                Err(error) => {
                    if !self.input_failed(token, &error) {
                        break;
                    }
                }
            }
            match self.registry.connection_mut(token) {
                Some(again) => connection = again,
                None => break,
            }
            if read >= self.settings.bytes_per_turn && connection.wants_read() {
                self.schedule_resume(token);
                break;
            }
        }
        true
    }

    /// Calls the protocol with received bytes. Returns `true` if there is certainly nothing more to
    /// read.
    #[inline(always)] // on the path of every message
    fn received(&mut self, token: Token, protocol: Box<dyn Protocol>, data: &[u8]) -> bool {
        self.call_taken(token, CallbackKind::DataReceived, protocol, |protocol, transport| {
            protocol.data_received(transport, data);
        })
    }

    /// Gives a queued connection its next share.
    #[inline(never)]
    fn resume_connection(&mut self, token: Token, buffer: &mut [u8]) {
        self.connection_ready(token, Readiness::default(), buffer);
    }

    pub(in crate::reactor) fn input_ended(&mut self, token: Token) {
        if !self.eof_below(token) {
            self.input_ended_above(token);
        }
    }

    /// Delivers the end of the input to the protocol.
    pub(in crate::reactor) fn input_ended_above(&mut self, token: Token) {
        // Our FIN may have been sent before the peer's arrived, and the peer may have waited for
        // it.
        self.notify_write_closed(token);
        match self.change_state(token, Event::InputEnded) {
            Action::DeliverEof => {}
            Action::ReportBroken => return self.finish_broken(token),
            Action::EndLingering => return self.end_lingering(token),
            _ => return,
        }
        self.call_protocol(token, CallbackKind::ReadConnectionLost, |protocol, transport| {
            protocol.read_connection_lost(transport);
        });
        // The reset may have arrived with the FIN. No further event reports it.
        self.check_for_reset(token);
    }

    /// Checks for a reset by the peer on a connection that does not read, or has paused reading. No
    /// read reports it, and a write may never come. Unread bytes come first; the read after them
    /// reports the reset.
    #[cold]
    #[inline(never)]
    fn check_for_reset(&mut self, token: Token) {
        let Some(connection) = self.registry.connection(token) else { return };
        match connection.state {
            State::InputClosed | State::InputClosedOutputClosing | State::Closing { .. } => {}
            State::Open | State::OutputClosing | State::OutputClosed => {
                let waits = !connection.pauses.only_protocol() || connection.layers_keep_input();
                if waits || self.net.unread(token).is_ok_and(|unread| unread > 0) {
                    return;
                }
            }
            State::Broken | State::Lost | State::Lingering => return,
        }
        if let Ok(Some(error)) = self.net.take_error(token) {
            self.queue_loss(token, Reason::Lost(SystemError::new("poll", &error)));
        }
    }

    /// Reports the loss after a failed write, once earlier input was delivered.
    pub(in crate::reactor) fn finish_broken(&mut self, token: Token) {
        let Some(connection) = self.registry.connection_mut(token) else { return };
        let reason = connection.cold().broken.take();
        self.queue_loss(token, reason.unwrap_or(Reason::Done));
    }

    /// Handles a failed read. Returns whether to retry it.
    #[cold]
    #[inline(never)]
    pub(in crate::reactor) fn input_failed(&mut self, token: Token, error: &io::Error) -> bool {
        if error.kind() == io::ErrorKind::Interrupted {
            return true;
        }
        if let Some(connection) = self.registry.connection_mut(token) {
            connection.readiness.remove(Readiness::READABLE);
            match connection.state {
                // All data received before the failed write was delivered.
                State::Broken => self.finish_broken(token),
                _ if error.kind() == io::ErrorKind::WouldBlock => {}
                State::Lingering => self.end_lingering(token),
                _ => self.queue_loss(token, Reason::Lost(SystemError::new("recv", error))),
            }
        }
        false
    }

    /// Raises the read limit to at least `bytes` per read. For tests; programs use the settings.
    #[cfg(any(feature = "sim", test))]
    pub(crate) fn read_at_once(&mut self, bytes: usize) {
        if self.receive.buffer.len() <= bytes {
            // One byte more, so that a full read of `bytes` counts as short.
            self.receive.buffer.resize(bytes + 1, 0);
        }
    }

    /// Queues a connection for another share in the next turn.
    pub(in crate::reactor) fn schedule_resume(&mut self, token: Token) {
        if let Some(connection) = self.registry.connection_mut(token)
            && !connection.resume_scheduled
        {
            connection.resume_scheduled = true;
            self.queues.resume.push_back(token);
        }
    }

    /// Whether timers of a connection or datagram socket wait for the next turn, because earlier
    /// input is still unread. They wait for the input that is there when the first of them is due,
    /// and not for later input.
    #[cold]
    #[inline(never)]
    pub(in crate::reactor) fn reads_before_timers(&mut self, token: Token) -> bool {
        let turn = self.statistics.turns;
        let Some(connection) = self.registry.connection_mut(token) else {
            return self.datagrams_before_timers(token);
        };
        if !connection.resume_scheduled || !connection.wants_read() {
            return false;
        }
        let until = connection.cold().timers_wait_until;
        if turn <= until {
            return turn < until;
        }
        let unread = self.net.unread(token).unwrap_or(0);
        let turns = unread.div_ceil(self.settings.bytes_per_turn) as u64;
        if let Some(connection) = self.registry.connection_mut(token) {
            connection.cold().timers_wait_until = turn + turns;
        }
        turns > 0
    }

    /// Calls `data_received` for a protocol that kept input, before newer input: with the bytes
    /// that it gave back, or with none.
    #[cold]
    #[inline(never)]
    fn deliver_again(&mut self, token: Token) {
        if let Some(connection) = self.registry.connection_mut(token)
            && !connection.pauses.has(Pauses::PROTOCOL)
        {
            connection.pauses.set(Pauses::AGAIN, false);
            if !matches!(connection.state, State::Closing { .. } | State::Lost | State::Lingering) {
                let unread = connection.take_unread();
                self.call_protocol(token, CallbackKind::DataReceived, |protocol, transport| {
                    protocol.data_received(transport, &unread);
                });
            }
        }
    }

    /// Gives bytes back that were delivered to the protocol. They come before all other input: to
    /// the layer that was just added, or to the protocol again.
    pub(in crate::reactor) fn unread(&mut self, token: Token, data: &[u8]) {
        let Some(connection) = self.registry.connection_mut(token) else { return };
        if data.is_empty()
            || matches!(connection.state, State::Closing { .. } | State::Lost | State::Lingering)
        {
            return;
        }
        if connection.unread_into_layer(data) {
            return self.schedule_flush(token);
        }
        connection.cold().unread.splice(..0, data.iter().copied());
        connection.pauses.set(Pauses::AGAIN, true);
        self.schedule_resume(token);
    }

    /// Gives the first `count` queued connections and sockets their share.
    #[inline(never)] // keeps turns without it short
    pub(in crate::reactor) fn run_resumed(&mut self, count: usize) {
        let mut buffer = std::mem::take(&mut self.receive.buffer);
        for _ in 0..count {
            let Some(token) = self.queues.resume.pop_front() else { break };
            if let Some(connection) = self.registry.connection_mut(token) {
                connection.resume_scheduled = false;
                if connection.pauses.has(Pauses::AGAIN) {
                    self.deliver_again(token);
                }
                self.resume_connection(token, &mut buffer);
            } else {
                self.datagram_queued(token);
            }
        }
        self.receive.buffer = buffer;
    }
}
