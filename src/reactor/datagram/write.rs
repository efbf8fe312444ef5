//! How datagrams are sent: what one callback has written leaves together, and what the system has no room for waits.

use std::io;
use std::time::Duration;

use crate::net::{Origin, Readiness, Token, is_icmp_error};
use crate::reactor::datagram::send_queue::Next;
use crate::reactor::datagram::{DatagramError, State};
use crate::reactor::{Address, Reactor, TimedCall};

impl Reactor {
    /// Takes a datagram to be sent; `false` when too much waits.
    pub(in crate::reactor) fn keep_datagram(
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

    /// The end of a turn in which others than its own callbacks have written.
    pub(in crate::reactor) fn flush_dirty_datagrams(&mut self, token: Token) {
        if let Some(slot) = self.registry.datagram_mut(token) {
            slot.flush_scheduled = false;
            self.flush_datagrams(token);
        }
    }

    /// Sends what waits, as far as the system takes it. After something went wrong with one the rest has the next turn,
    /// because its protocol may have written more.
    pub(in crate::reactor) fn flush_datagrams(&mut self, token: Token) {
        let troubles = self.send_datagrams(token);
        if troubles.is_empty() {
            return;
        }
        for (what, error) in troubles {
            self.datagram_trouble(token, "send", what, &error);
        }
        self.queue_datagrams(token);
    }

    /// Sends until the system takes no more, or has an error.
    pub(in crate::reactor) fn send_datagrams(&mut self, token: Token) -> Vec<(DatagramError, io::Error)> {
        let mut troubles = Vec::new();
        let Some(slot) = self.registry.datagram_mut(token) else { return troubles };
        if !slot.readiness.has(Readiness::WRITABLE) || slot.state == State::Stopped {
            return troubles;
        }
        let (of_udp, many) = (matches!(slot.host, Address::Udp(_)), slot.has_many_receivers());
        // Taken out, so that the queue and the table are not borrowed together.
        let mut outgoing = std::mem::take(&mut slot.send_queue);
        let mut blocked = false;
        // May have been about an earlier one: then the same one goes at the second attempt.
        let mut doubtful: Option<io::Error> = None;
        while troubles.is_empty() && !blocked {
            let next = outgoing.next();
            if next == Next::Nothing {
                break;
            }
            let (bytes, rest) = outgoing.front(next);
            let error = match self.net.send_datagrams(token, bytes, rest) {
                Ok(count) => {
                    let count = count.clamp(1, rest.len());
                    self.statistics.datagrams_sent += count as u64;
                    self.statistics.bytes_sent += outgoing.drop_first(next, count) as u64;
                    troubles.extend(doubtful.take().map(|error| (DatagramError::Answer, error)));
                    continue;
                }
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock if many => outgoing.mark_full(next),
                io::ErrorKind::WouldBlock => blocked = true,
                // This is about an earlier one in any case; of UNIX sockets it is about this one.
                io::ErrorKind::ConnectionRefused if of_udp => troubles.push((DatagramError::Answer, error)),
                _ if of_udp && is_icmp_error(&error) && !is_same(&doubtful, &error) => {
                    troubles.extend(doubtful.replace(error).map(|error| (DatagramError::Answer, error)));
                }
                _ => {
                    let earlier =
                        doubtful.take().filter(|other| other.raw_os_error() != error.raw_os_error());
                    troubles.extend(earlier.map(|error| (DatagramError::Answer, error)));
                    let to = rest.first().and_then(|going| going.to.clone());
                    outgoing.drop_first(next, 1);
                    troubles.push((DatagramError::Lost(to), error));
                }
            }
        }
        troubles.extend(doubtful.map(|error| (DatagramError::Answer, error)));
        let some_are_full = outgoing.some_are_full();
        let Some(slot) = self.registry.datagram_mut(token) else { return troubles };
        slot.send_queue = outgoing;
        if blocked {
            slot.readiness.remove(Readiness::WRITABLE);
        }
        if some_are_full && slot.send_retry.is_none() {
            let at = self.now() + CROWDED_PAUSE;
            let timer = self.timers.set(at, TimedCall::SendAgain(token));
            if let Some(slot) = self.registry.datagram_mut(token) {
                slot.send_retry = Some(timer);
            }
        }
        troubles
    }

    pub(in crate::reactor) fn send_datagrams_again(&mut self, token: Token) {
        if let Some(slot) = self.registry.datagram_mut(token) {
            slot.send_retry = None;
            slot.send_queue.try_again(MOST_CROWDED);
            self.flush_datagrams(token);
        }
    }
}

/// Whether an error was told twice in succession: then it is about the datagram in hand.
fn is_same(earlier: &Option<io::Error>, error: &io::Error) -> bool {
    earlier.as_ref().is_some_and(|earlier| earlier.raw_os_error() == error.raw_os_error())
}

/// How soon the full queues of other UNIX sockets are tried again.
const CROWDED_PAUSE: Duration = Duration::from_millis(10);

/// How many of them may turn out to be full still before the others wait for the next time.
const MOST_CROWDED: usize = 32;
