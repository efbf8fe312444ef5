//! Reading: readiness is latched, and each connection has its share of a turn.

use std::io;

use crate::net::{Instant, Readiness, RecvBatch, Token};
use crate::reactor::connection::read_handoff::{Handoff, worth_handing_off};
use crate::reactor::connection::{Pauses, State};
use crate::reactor::handle::Pass;
use crate::reactor::{CallbackKind, Protocol, Reactor, Reason, SystemError};

/// Input of the turn: the read buffer and its limits, the hand-off of the buffer, and the batch of datagrams.
pub(in crate::reactor) struct Receive {
    /// All connections are read into this buffer.
    pub(in crate::reactor) buffer: Vec<u8>,
    /// Bytes of the buffer that one read uses in this turn.
    pub(in crate::reactor) limit: usize,
    /// The limit when only one connection is ready.
    pub(in crate::reactor) single_limit: usize,
    pub(in crate::reactor) handoff: Handoff,
    /// Bytes received in large reads since tasks were polled.
    pub(in crate::reactor) bytes_since_tasks: usize,
    /// Datagrams of one system call.
    pub(in crate::reactor) datagrams: RecvBatch,
    /// When the loss of received descriptors was last logged.
    pub(in crate::reactor) fd_loss_logged: Option<Instant>,
}

impl Receive {
    pub(in crate::reactor) fn new(buffer_size: usize) -> Receive {
        Receive {
            buffer: vec![0; buffer_size],
            limit: 1,
            single_limit: SINGLE_READ_LIMIT,
            handoff: Handoff::default(),
            bytes_since_tasks: 0,
            datagrams: RecvBatch::default(),
            fd_loss_logged: None,
        }
    }
}

impl Reactor {
    /// The kernel has news of a connection; `false` when the token names none.
    ///
    /// This is the path of every message: it looks the connection up twice for each, once before its callback
    /// and once after.
    #[inline(always)] // into the loop of the events
    pub(in crate::reactor) fn connection_ready(
        &mut self,
        token: Token,
        ready: Readiness,
        buffer: &mut Vec<u8>,
    ) -> bool {
        let Some(mut connection) = self.registry.connection_mut(token) else { return false };
        connection.readiness.insert(ready);
        if connection.resume_scheduled {
            // It has its turn anyway: one share, not two.
            return true;
        }
        // First, because it frees memory and lets a close come to its end.
        if !connection.outgoing.is_empty() && connection.readiness.has(Readiness::WRITABLE) {
            self.flush(token);
            match self.registry.connection_mut(token) {
                Some(again) => connection = again,
                None => return true,
            }
        }
        let mut read = 0;
        let room = self.receive.limit.min(buffer.len());
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
            match self.net.recv(token, &mut buffer[..room]) {
                Ok(count @ 1..) => {
                    // Less than there was room for: the kernel has no more, and will tell when it has;
                    // unless the end has come already.
                    if count == room || connection.readiness.has(Readiness::READ_CLOSED) {
                        read += count;
                    } else {
                        connection.readiness.remove(Readiness::READABLE);
                    }
                    self.statistics.bytes_received += count as u64;
                    if let Some(protocol) = connection.protocol.take() {
                        self.send.batching = connection.can_batch();
                        let done = match count {
                            LARGE_READ.. => self.received_much(token, protocol, buffer, count, room),
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
            if read >= self.settings.read_per_turn && connection.wants_read() {
                self.schedule_resume(token);
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
        if worth_handing_off(count, buffer.len()) {
            self.offer_buffer(buffer, count);
        }
        let data = &buffer[..count]; // no more was received than there is room for
        let done = self.received(token, protocol, data);
        let kept = self.complete_handoff(buffer, count);
        self.receive.bytes_since_tasks += count;
        // What is answered before the next read finds more there.
        if self.receive.bytes_since_tasks >= TASK_POLL_BYTES || (kept && count == room) {
            self.receive.bytes_since_tasks = 0;
            self.run_residents(Pass::Early);
        }
        done
    }

    /// Another share.
    #[inline(never)]
    fn connection_again(&mut self, token: Token, buffer: &mut Vec<u8>) {
        self.connection_ready(token, Readiness::default(), buffer);
    }

    pub(in crate::reactor) fn input_ended(&mut self, token: Token) {
        if !self.end_beneath(token) {
            self.input_ended_above(token);
        }
    }

    /// The end of the input has come to the protocol.
    pub(in crate::reactor) fn input_ended_above(&mut self, token: Token) {
        // Our end went out before the peer's came, which may be all that it waited for.
        self.notify_write_closed(token);
        let Some(connection) = self.registry.connection_mut(token) else {
            return;
        };
        let next = match connection.state {
            State::Open => State::InputClosed,
            State::OutputClosing => State::InputClosedOutputClosing,
            // Both ways are shut: that is the end, whatever the protocol says to it.
            State::OutputClosed => State::Closing { eof: true },
            State::Broken => return self.finish_broken(token),
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
        self.check_for_reset(token);
    }

    /// What is not read, or not now, does not say that the peer has reset it, and a write may never come. While bytes that came
    /// before are unread they go first, and the next read tells.
    #[cold]
    #[inline(never)]
    fn check_for_reset(&mut self, token: Token) {
        let Some(connection) = self.registry.connection(token) else { return };
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
            self.queue_loss(token, Reason::Lost(SystemError::new("poll", &error)));
        }
    }

    /// A write had failed, and what came before it was delivered.
    pub(in crate::reactor) fn finish_broken(&mut self, token: Token) {
        let Some(connection) = self.registry.connection_mut(token) else { return };
        let reason = connection.rare().broken.take();
        self.queue_loss(token, reason.unwrap_or(Reason::Done));
    }

    /// Whether reading should be tried again.
    #[cold]
    #[inline(never)]
    pub(in crate::reactor) fn input_failed(&mut self, token: Token, error: &io::Error) -> bool {
        if error.kind() == io::ErrorKind::Interrupted {
            return true;
        }
        if let Some(connection) = self.registry.connection_mut(token) {
            connection.readiness.remove(Readiness::READABLE);
            match connection.state {
                // Everything that came before the failed write is delivered.
                State::Broken => self.finish_broken(token),
                _ if error.kind() == io::ErrorKind::WouldBlock => {}
                State::Lingering => self.end_lingering(token),
                _ => self.queue_loss(token, Reason::Lost(SystemError::new("recv", error))),
            }
        }
        false
    }

    /// Reads at least so many bytes in one piece, if they are there. For tests: the setting is for programs.
    pub(crate) fn read_at_once(&mut self, bytes: usize) {
        if self.receive.buffer.len() <= bytes {
            // One more, so that a read is seen to have found the end.
            self.receive.buffer.resize(bytes + 1, 0);
        }
        self.receive.single_limit = self.receive.single_limit.max(bytes + 1);
    }

    /// Sees how many share this turn, or may: much is read at once for many, and less for one, so that its peer goes on
    /// while it is answered.
    pub(in crate::reactor) fn choose_read_limit(&mut self, among: usize) {
        let all = self.receive.buffer.len();
        self.receive.limit = if among > 1 { all } else { all.min(self.receive.single_limit) };
    }

    /// Gives a connection another share of the loop, in the next turn.
    pub(crate) fn schedule_resume(&mut self, token: Token) {
        if let Some(connection) = self.registry.connection_mut(token)
            && !connection.resume_scheduled
        {
            connection.resume_scheduled = true;
            self.queues.resume.push_back(token);
        }
    }

    /// Whether timers of a connection or a socket of datagrams wait for the next turn, because what came before them is still
    /// to be read. They wait for what is there when the first of them is due, and for nothing that comes later.
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
        let until = connection.rare().timers_wait_until;
        if turn <= until {
            return turn < until;
        }
        let unread = self.net.unread(token).unwrap_or(0);
        let turns = unread.div_ceil(self.settings.read_per_turn) as u64;
        if let Some(connection) = self.registry.connection_mut(token) {
            connection.rare().timers_wait_until = turn + turns;
        }
        turns > 0
    }

    /// Calls a protocol that keeps something which came, before anything else that has come since.
    #[cold]
    #[inline(never)]
    fn deliver_again(&mut self, token: Token) {
        if let Some(connection) = self.registry.connection_mut(token)
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
    pub(crate) fn run_resumed(&mut self, count: usize) {
        let mut buffer = std::mem::take(&mut self.receive.buffer);
        for _ in 0..count {
            let Some(token) = self.queues.resume.pop_front() else { break };
            if let Some(connection) = self.registry.connection_mut(token) {
                connection.resume_scheduled = false;
                if connection.pauses.has(Pauses::AGAIN) {
                    self.deliver_again(token);
                }
                self.connection_again(token, &mut buffer);
            } else {
                self.datagram_queued(token);
            }
        }
        self.receive.buffer = buffer;
    }
}

/// A connection that is alone is read so much at once, at the most.
pub(in crate::reactor) const SINGLE_READ_LIMIT: usize = 32 * 1024;

/// From so many bytes on, a read counts towards `TASK_POLL_BYTES`.
const LARGE_READ: usize = 1024;

/// Bytes that are received before tasks look at them: more of them would push each other out of the cache.
const TASK_POLL_BYTES: usize = 64 * 1024;
