//! How a socket of datagrams is read: in batches, within its share of the turn, and not while it pauses.

use std::io;
use std::time::Duration;

use crate::net::{Readiness, RecvBatch, Token, is_icmp_error};
use crate::reactor::datagram::{DatagramError, InHand, State};
use crate::reactor::{CallbackKind, Reactor, TimedCall};

impl Reactor {
    pub(in crate::reactor) fn read_datagrams(&mut self, token: Token, inbound: &mut RecvBatch) {
        let mut share = self.settings.read_per_turn;
        let held = self.registry.datagram_mut(token).and_then(|slot| slot.received.take());
        if let Some(mut held) = held
            && !self.tell_datagrams(token, &mut held, &mut share)
        {
            return self.hold_datagrams(token, held, share);
        }
        while let Some(slot) = self.registry.datagram_mut(token) {
            if !slot.wants_read() {
                return;
            }
            if share == 0 {
                return self.queue_datagrams(token);
            }
            inbound.prepare(slot.max_size, share.div_ceil(DATAGRAM_COST));
            match self.net.recv_datagrams(token, inbound) {
                Ok(()) if inbound.more() || slot.readiness.has(Readiness::READ_CLOSED) => {}
                Ok(()) => slot.readiness.remove(Readiness::READABLE),
                Err(error) => {
                    if !self.datagram_input_failed(token, &error) {
                        return;
                    }
                    share = share.saturating_sub(DATAGRAM_COST);
                    continue;
                }
            }
            if !self.tell_datagrams(token, inbound, &mut share) {
                let rest = Box::new(inbound.rest());
                return self.hold_datagrams(token, rest, share);
            }
        }
    }

    /// Tells a protocol what has come, until it wants no more or its share is used up; whether that was all.
    fn tell_datagrams(&mut self, token: Token, inbound: &mut RecvBatch, share: &mut usize) -> bool {
        while let Some((came, data)) = inbound.first() {
            let slot = self.registry.datagram(token).filter(|slot| slot.may_be_told());
            let Some(slot) = slot.filter(|_| *share > 0) else { return false };
            *share = share.saturating_sub(came.length + DATAGRAM_COST);
            if slot.is_from_other(&came.from) {
                self.statistics.datagrams_from_others += 1;
                inbound.hand_over();
                continue;
            }
            self.statistics.datagrams_received += 1;
            self.statistics.bytes_received += came.length as u64;
            self.send.datagram = came.to.zip(came.from.socket_address()).map(|(destination, from)| InHand {
                token,
                from,
                destination,
            });
            let place = CallbackKind::DatagramReceived;
            self.call_datagram(token, place, |protocol, transport| match came.truncated {
                false => protocol.datagram_received(transport, data, &came.from),
                true => {
                    transport.reactor.statistics.datagrams_truncated += 1;
                    protocol.datagram_truncated(transport, data, &came.from);
                }
            });
            self.send.datagram = None;
            inbound.hand_over();
        }
        true
    }

    /// Keeps what was not told of, for the next turn or until the protocol reads again.
    fn hold_datagrams(&mut self, token: Token, rest: Box<RecvBatch>, share: usize) {
        let Some(slot) = self.registry.datagram_mut(token) else { return };
        if slot.state == State::Stopped {
            return;
        }
        slot.received = Some(rest);
        if share == 0 {
            self.queue_datagrams(token);
        }
    }

    /// Whether reading should be tried again.
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
                    // The error was the news, not the end: what came behind it is still to be read.
                    slot.readiness.remove(Readiness::READ_CLOSED);
                }
                self.datagram_trouble(token, "recv", DatagramError::Answer, error);
                true
            }
            _ => {
                let at = self.now() + READ_PAUSE;
                let timer = self.timers.set(at, TimedCall::ReadAgain(token));
                if let Some(slot) = self.registry.datagram_mut(token) {
                    slot.read_retry = Some(timer);
                }
                self.datagram_trouble(token, "recv", DatagramError::Answer, error);
                false
            }
        }
    }

    /// As [`reads_before_timers`](Reactor::reads_before_timers). The system does not tell how many datagrams wait.
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
            self.queue_datagrams(token);
        }
    }
}

/// How soon a socket is read again that could not be.
const READ_PAUSE: Duration = Duration::from_millis(100);

/// Turns in which a socket whose timer is due is read first: enough for the 208 KiB that Linux keeps by default.
const TURNS_BEFORE_TIMERS: u64 = 8;

/// What a datagram counts beside its bytes, in a socket's share of the turn: empty ones cost their callback, too.
const DATAGRAM_COST: usize = 256;
