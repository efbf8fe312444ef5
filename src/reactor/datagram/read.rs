//! Reading datagrams: in batches, within the budget per turn, unless reading is paused.

use std::io;
use std::time::Duration;

use crate::net::{BATCH, Readiness, RecvBatch, Token, is_icmp_error};
use crate::reactor::datagram::{CurrentDatagram, DatagramError, State};
use crate::reactor::{CallbackKind, Reactor, TimedCall};

impl Reactor {
    pub(in crate::reactor) fn read_datagrams(&mut self, token: Token, inbound: &mut RecvBatch) {
        let mut share = self.settings.bytes_per_turn;
        let held = self.registry.datagram_mut(token).and_then(|slot| slot.received.take());
        if let Some(mut held) = held
            && !self.deliver_datagrams(token, &mut held, &mut share)
        {
            return self.hold_datagrams(token, held, share);
        }
        while let Some(slot) = self.registry.datagram_mut(token) {
            if !slot.wants_read() {
                return;
            }
            if share == 0 {
                return self.schedule_datagrams(token);
            }
            inbound.prepare(slot.max_size, share.div_ceil(DATAGRAM_COST).min(slot.batch));
            match self.net.recv_datagrams(token, inbound) {
                Ok(()) if inbound.more() => slot.batch = (slot.batch * 2).min(BATCH),
                Ok(()) if slot.readiness.has(Readiness::READ_CLOSED) => {}
                Ok(()) => slot.readiness.remove(Readiness::READABLE),
                Err(error) => {
                    if !self.datagram_input_failed(token, &error) {
                        return;
                    }
                    share = share.saturating_sub(DATAGRAM_COST);
                    continue;
                }
            }
            if !self.deliver_datagrams(token, inbound, &mut share) {
                let rest = Box::new(inbound.rest());
                return self.hold_datagrams(token, rest, share);
            }
        }
    }

    /// Delivers datagrams until the protocol pauses reading or the budget is used up. Returns
    /// whether all were delivered.
    fn deliver_datagrams(&mut self, token: Token, inbound: &mut RecvBatch, share: &mut usize) -> bool {
        while let Some((meta, data)) = inbound.first() {
            let slot = self.registry.datagram(token).filter(|slot| slot.may_deliver());
            let Some(slot) = slot.filter(|_| *share > 0) else { return false };
            *share = share.saturating_sub(meta.length + DATAGRAM_COST);
            if slot.is_from_other(&meta.from) {
                self.statistics.datagrams_from_others += 1;
                inbound.hand_over();
                continue;
            }
            self.statistics.datagrams_received += 1;
            self.statistics.bytes_received += meta.length as u64;
            self.send.datagram = meta
                .to
                .zip(meta.from.socket_address())
                .map(|(destination, from)| CurrentDatagram { token, from, destination });
            let place = CallbackKind::DatagramReceived;
            self.call_datagram(token, place, |protocol, transport| match meta.truncated {
                false => protocol.datagram_received(transport, data, &meta.from),
                true => {
                    transport.reactor.statistics.datagrams_truncated += 1;
                    protocol.datagram_truncated(transport, data, &meta.from);
                }
            });
            self.send.datagram = None;
            inbound.hand_over();
        }
        true
    }

    /// Keeps undelivered datagrams for the next turn, or until the protocol resumes reading.
    fn hold_datagrams(&mut self, token: Token, rest: Box<RecvBatch>, share: usize) {
        let Some(slot) = self.registry.datagram_mut(token) else { return };
        if slot.state == State::Stopped {
            return;
        }
        slot.received = Some(rest);
        if share == 0 {
            self.schedule_datagrams(token);
        }
    }

    /// Handles a failed read. Returns whether to retry it.
    fn datagram_input_failed(&mut self, token: Token, error: &io::Error) -> bool {
        match error.kind() {
            io::ErrorKind::Interrupted => true,
            io::ErrorKind::WouldBlock => {
                if let Some(slot) = self.registry.datagram_mut(token) {
                    slot.readiness.remove(Readiness::READABLE);
                    slot.readiness.remove(Readiness::READ_CLOSED);
                }
                false
            }
            _ if is_icmp_error(error) => {
                if let Some(slot) = self.registry.datagram_mut(token) {
                    // The event reported the error and not an end of input: datagrams behind it are
                    // still to be read.
                    slot.readiness.remove(Readiness::READ_CLOSED);
                }
                self.report_datagram_error(token, "recv", DatagramError::Answer, error);
                true
            }
            _ => {
                let at = self.now() + READ_RETRY_DELAY;
                let timer = self.timers.set(at, TimedCall::ReadAgain(token));
                if let Some(slot) = self.registry.datagram_mut(token) {
                    slot.read_retry = Some(timer);
                }
                self.report_datagram_error(token, "recv", DatagramError::Answer, error);
                false
            }
        }
    }

    /// As [`reads_before_timers`](Reactor::reads_before_timers). The kernel does not report the
    /// number of waiting datagrams.
    pub(in crate::reactor) fn datagrams_before_timers(&mut self, token: Token) -> bool {
        let turn = self.statistics.turns;
        let Some(slot) =
            self.registry.datagram_mut(token).filter(|slot| slot.resume_scheduled && slot.wants_read())
        else {
            return false;
        };
        if turn > slot.timers_wait_until {
            slot.timers_wait_until = turn + TURNS_BEFORE_TIMERS;
        }
        turn < slot.timers_wait_until
    }

    pub(in crate::reactor) fn read_datagrams_again(&mut self, token: Token) {
        if let Some(slot) = self.registry.datagram_mut(token) {
            slot.read_retry = None;
            self.schedule_datagrams(token);
        }
    }
}

/// Delay before a failed read is retried.
const READ_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Number of turns in which a socket is read before its due timers run. Enough to read the 208 KiB
/// of Linux's default receive buffer.
const TURNS_BEFORE_TIMERS: u64 = 8;

/// Cost of a datagram in bytes, in addition to its length, in the budget per turn. Empty datagrams
/// cost a callback too.
const DATAGRAM_COST: usize = 256;
