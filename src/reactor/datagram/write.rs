//! Sending datagrams: those of one callback are sent together, and those that the kernel does not
//! accept are queued.

use std::io;
use std::time::Duration;

use crate::net::{Origin, Readiness, Token, is_icmp_error};
use crate::reactor::datagram::send_queue::Next;
use crate::reactor::datagram::{DatagramError, State};
use crate::reactor::{Address, Reactor, TimedCall};

impl Reactor {
    /// Queues a datagram. Returns `false` if the queue is full.
    pub(in crate::reactor) fn queue_datagram(
        &mut self,
        token: Token,
        data: &[u8],
        to: Option<Address>,
        origin: Option<Origin>,
    ) -> bool {
        let (limit, outside) = (self.settings.write_buffer_limit, self.send.datagram_socket != token);
        let Some(slot) = self.registry.datagram_mut(token) else { return true };
        if !slot.send_queue.enqueue(data, to, origin, limit) {
            self.statistics.datagrams_dropped += 1;
            return false;
        }
        if outside && !std::mem::replace(&mut slot.flush_scheduled, true) {
            self.queues.flush.push(token);
        }
        true
    }

    /// Flushes a socket that was written to from outside of its callbacks, at the end of the turn.
    pub(in crate::reactor) fn flush_dirty_datagrams(&mut self, token: Token) {
        if let Some(slot) = self.registry.datagram_mut(token) {
            slot.flush_scheduled = false;
            self.flush_datagrams(token);
        }
    }

    /// Sends queued datagrams and reports errors. After an error, the rest is sent in the next
    /// turn, because the protocol may have written more.
    pub(in crate::reactor) fn flush_datagrams(&mut self, token: Token) {
        if !self.registry.datagram_mut(token).is_some_and(|slot| slot.send_queue.has_work()) {
            return;
        }
        let errors = self.send_datagrams(token);
        if errors.is_empty() {
            return;
        }
        for (what, error) in errors {
            self.report_datagram_error(token, "send", what, &error);
        }
        self.schedule_datagrams(token);
    }

    /// Sends until the kernel accepts no more, or reports an error.
    pub(in crate::reactor) fn send_datagrams(&mut self, token: Token) -> Vec<(DatagramError, io::Error)> {
        let mut errors = Vec::new();
        let Some(slot) = self.registry.datagram_mut(token) else { return errors };
        if !slot.readiness.has(Readiness::WRITABLE) || slot.state == State::Stopped {
            return errors;
        }
        let (of_udp, many) = (matches!(slot.host, Address::Udp(_)), slot.has_many_receivers());
        // Taken out, so that the queue and the table are not borrowed at the same time.
        let mut outgoing = std::mem::take(&mut slot.send_queue);
        let mut blocked = false;
        // An error that may be about an earlier datagram. If so, the same datagram is sent at the
        // second attempt.
        let mut uncertain: Option<io::Error> = None;
        while errors.is_empty() && !blocked {
            let next = outgoing.next();
            if next == Next::None {
                break;
            }
            let (bytes, rest) = outgoing.front(next);
            let error = match self.net.send_datagrams(token, bytes, rest) {
                Ok(count) => {
                    let count = count.clamp(1, rest.len());
                    self.statistics.datagrams_sent += count as u64;
                    self.statistics.bytes_sent += outgoing.drop_first(next, count) as u64;
                    errors.extend(uncertain.take().map(|error| (DatagramError::Answer, error)));
                    continue;
                }
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock if many => outgoing.mark_full(next),
                io::ErrorKind::WouldBlock => blocked = true,
                // On UDP, always about an earlier datagram. On UNIX sockets, about this one.
                io::ErrorKind::ConnectionRefused if of_udp => errors.push((DatagramError::Answer, error)),
                _ if of_udp && is_icmp_error(&error) && !is_same(&uncertain, &error) => {
                    errors.extend(uncertain.replace(error).map(|error| (DatagramError::Answer, error)));
                }
                _ => {
                    let earlier =
                        uncertain.take().filter(|other| other.raw_os_error() != error.raw_os_error());
                    errors.extend(earlier.map(|error| (DatagramError::Answer, error)));
                    let to = rest.first().and_then(|transmit| transmit.to.clone());
                    outgoing.drop_first(next, 1);
                    errors.push((DatagramError::Lost(to), error));
                }
            }
        }
        errors.extend(uncertain.map(|error| (DatagramError::Answer, error)));
        let has_full_receivers = outgoing.has_full_receivers();
        let Some(slot) = self.registry.datagram_mut(token) else { return errors };
        slot.send_queue = outgoing;
        if blocked {
            slot.readiness.remove(Readiness::WRITABLE);
        }
        if has_full_receivers && slot.send_retry.is_none() {
            let at = self.now() + SEND_RETRY_DELAY;
            let timer = self.timers.set(at, TimedCall::SendAgain(token));
            if let Some(slot) = self.registry.datagram_mut(token) {
                slot.send_retry = Some(timer);
            }
        }
        errors
    }

    pub(in crate::reactor) fn send_datagrams_again(&mut self, token: Token) {
        if let Some(slot) = self.registry.datagram_mut(token) {
            slot.send_retry = None;
            slot.send_queue.try_again(MAX_SEND_RETRIES);
            self.flush_datagrams(token);
        }
    }
}

/// Whether the same error was returned twice in succession: then it is about this datagram.
fn is_same(earlier: &Option<io::Error>, error: &io::Error) -> bool {
    earlier.as_ref().is_some_and(|earlier| earlier.raw_os_error() == error.raw_os_error())
}

/// Delay before full receivers of UNIX sockets are tried again.
const SEND_RETRY_DELAY: Duration = Duration::from_millis(10);

/// Max number of receivers found full again per attempt. The others wait for the next one.
const MAX_SEND_RETRIES: usize = 32;
