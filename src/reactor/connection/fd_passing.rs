//! File descriptors sent with the bytes of a UNIX socket (SCM_RIGHTS).

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::net::{MOST_DESCRIPTORS, Readiness, ReceivedFds, Token, too_many_fds_in_flight};
use crate::reactor::connection::{Connection, Pauses, State};
use crate::reactor::{Address, CallbackKind, ConnectionId, Error, Reactor, Result, TimedCall};

/// Descriptors to be sent, each set with the position of its first byte.
#[derive(Default)]
pub(crate) struct FdQueue {
    waiting: VecDeque<QueuedFds>,
    /// Too many descriptors are in flight. A timer is set for the next attempt.
    retry_scheduled: bool,
}

struct QueuedFds {
    /// Bytes to be sent before these descriptors.
    ahead: usize,
    descriptors: Vec<OwnedFd>,
}

impl FdQueue {
    /// Number of bytes to be sent before the first descriptors. 0: the first descriptors are next.
    pub(in crate::reactor) fn bytes_before(&self) -> Option<usize> {
        self.waiting.front().map(|queued| queued.ahead)
    }

    pub(in crate::reactor) fn sent(&mut self, count: usize) {
        for queued in &mut self.waiting {
            queued.ahead = queued.ahead.saturating_sub(count);
        }
    }
}

impl Connection {
    /// Whether reads use `recvmsg` and input may be there.
    pub(in crate::reactor) fn reads_descriptors(&self) -> bool {
        self.pauses == Pauses::DESCRIPTORS && self.readiness.has(Readiness::READABLE) && self.state.reads()
    }

    pub(in crate::reactor) fn fds_sent(&mut self, count: usize) {
        if let Some(passing) = self.cold.as_mut().and_then(|cold| cold.fd_queue.as_mut()) {
            passing.sent(count);
        }
    }

    /// Closes descriptors whose bytes are discarded.
    pub(in crate::reactor) fn drop_fds(&mut self) {
        if let Some(cold) = &mut self.cold {
            cold.fd_queue = None;
        }
    }

    /// Number of queued bytes that may be sent without descriptors.
    pub(in crate::reactor) fn bytes_before_fds(&self) -> Option<usize> {
        self.cold.as_ref()?.fd_queue.as_ref()?.bytes_before()
    }
}

impl Reactor {
    pub(in crate::reactor) fn write_descriptors(
        &mut self,
        token: Token,
        data: &[u8],
        descriptors: Vec<OwnedFd>,
    ) -> Result<()> {
        let unsupported = |why: &str| Error::System {
            call: "sendmsg",
            source: io::Error::new(ErrorKind::InvalidInput, why),
        };
        if self.send.connection == token {
            self.send_write_batch(token);
        }
        let Some(connection) = self.registry.connection_mut(token) else { return Err(Error::NotConnected) };
        if !matches!(connection.peer, Address::Unix(_)) || connection.is_layered() {
            return Err(unsupported("descriptors need a UNIX socket without layers"));
        }
        if data.is_empty() || descriptors.is_empty() || descriptors.len() > MOST_DESCRIPTORS {
            return Err(unsupported("needs 1 to 253 descriptors and at least one byte"));
        }
        if !connection.takes_writes() {
            return Err(Error::NotConnected);
        }
        let ahead = connection.waiting();
        let passing = connection.cold().fd_queue.get_or_insert_default();
        if passing.waiting.len() >= MAX_QUEUED_FDS {
            return Err(Error::QueueFull(MAX_QUEUED_FDS));
        }
        passing.waiting.push_back(QueuedFds { ahead, descriptors });
        self.enqueue(token, data);
        Ok(())
    }

    /// Sends the first queued descriptors, with bytes up to the next ones.
    pub(in crate::reactor) fn send_fds(&mut self, token: Token, piece: &[u8]) -> usize {
        let Some(connection) = self.registry.connection_mut(token) else { return piece.len() };
        let mut passing = connection.cold.as_mut().and_then(|cold| cold.fd_queue.as_mut());
        if passing.as_ref().is_some_and(|passing| passing.retry_scheduled) {
            // A WRITABLE event, as after each failed attempt, does not mean that the send would
            // succeed.
            connection.readiness.remove(Readiness::WRITABLE);
            return 0;
        }
        let Some(queued) = passing.as_mut().and_then(|passing| passing.waiting.pop_front()) else {
            return 0;
        };
        // The position of the next descriptors was counted from the same byte.
        let reach = passing.and_then(|passing| passing.bytes_before()).unwrap_or(usize::MAX);
        let piece = piece.get(..reach.max(1)).unwrap_or(piece);
        match self.net.send_descriptors(token, piece, &queued.descriptors) {
            Ok(count) => {
                if count < piece.len() {
                    connection.readiness.remove(Readiness::WRITABLE);
                }
                self.statistics.bytes_sent += count as u64;
                count
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                if error.kind() == ErrorKind::WouldBlock {
                    connection.readiness.remove(Readiness::WRITABLE);
                }
                if let Some(passing) = connection.cold.as_mut().and_then(|cold| cold.fd_queue.as_mut()) {
                    passing.waiting.push_front(queued);
                }
                0
            }
            Err(error) if too_many_fds_in_flight(&error) => {
                connection.readiness.remove(Readiness::WRITABLE);
                let passing = connection.cold().fd_queue.get_or_insert_default();
                passing.waiting.push_front(queued);
                self.write_again_later(token);
                0
            }
            Err(error) => {
                self.output_failed(token, "sendmsg", &error);
                piece.len()
            }
        }
    }

    /// Retries on a timer. No event reports that in-flight descriptors were received, and the limit
    /// counts all sockets of the user.
    fn write_again_later(&mut self, token: Token) {
        let at = self.now() + FD_RETRY_DELAY;
        let Some(connection) = self.registry.connection_mut(token) else { return };
        let passing = connection.cold().fd_queue.get_or_insert_default();
        if !std::mem::replace(&mut passing.retry_scheduled, true) {
            let timer = self.timers.set(at, TimedCall::WriteAgain(token));
            connection.cold().timers.push(timer);
        }
    }

    pub(in crate::reactor) fn write_again(&mut self, token: Token) {
        let Some(connection) = self.registry.connection_mut(token) else { return };
        if let Some(passing) = connection.cold.as_mut().and_then(|cold| cold.fd_queue.as_mut()) {
            passing.retry_scheduled = false;
        }
        connection.readiness.insert(Readiness::WRITABLE);
        self.flush(token);
    }

    /// Reads bytes and descriptors. Descriptors are delivered before the bytes that they came with.
    /// A short read does not mean drained, because the kernel stops a read at each set of
    /// descriptors.
    #[cold]
    pub(in crate::reactor) fn read_descriptors(&mut self, token: Token, buffer: &mut [u8]) {
        let mut share = self.settings.bytes_per_turn;
        let mut arrived = ReceivedFds::default();
        while let Some(connection) = self.registry.connection_mut(token) {
            if !connection.reads_descriptors() {
                return;
            }
            if share == 0 {
                return self.schedule_resume(token);
            }
            match self.net.recv_descriptors(token, buffer, &mut arrived) {
                Ok(count @ 1..) => {
                    share = share.saturating_sub(count);
                    self.statistics.bytes_received += count as u64;
                    for descriptor in arrived.descriptors.drain(..) {
                        self.call_protocol(token, CallbackKind::DescriptorReceived, |protocol, transport| {
                            protocol.descriptor_received(transport, descriptor);
                        });
                    }
                    let lost = std::mem::take(&mut arrived.lost);
                    if lost {
                        self.note_lost_descriptors(token);
                    }
                    let data = buffer.get(..count).unwrap_or_default();
                    // One call for both, so that a close in `descriptors_lost` begins after the
                    // bytes.
                    self.call_protocol(token, CallbackKind::DataReceived, |protocol, transport| {
                        if lost {
                            protocol.descriptors_lost(transport);
                        }
                        let connection = transport.reactor.registry.connection(token);
                        if connection.is_some_and(|connection| connection.state != State::Lost) {
                            protocol.data_received(transport, data);
                        }
                    });
                }
                Ok(_) => {
                    connection.readiness.remove(Readiness::READABLE);
                    return self.input_ended(token);
                }
                Err(error) => {
                    if !self.input_failed(token, &error) {
                        return;
                    }
                }
            }
        }
    }
}

impl Reactor {
    /// Records that received descriptors were lost because the process is out of descriptors.
    #[cold]
    fn note_lost_descriptors(&mut self, token: Token) {
        self.statistics.descriptors_lost += 1;
        let now = self.now();
        // At most one line a second: the limit is the process's, not the connection's.
        if self.receive.fd_loss_logged.is_none_or(|last| now - last >= Duration::from_secs(1)) {
            self.receive.fd_loss_logged = Some(now);
            let id = ConnectionId(token);
            log_warn!([connection:% = id] "out of descriptors: some received on connection {id} are lost");
        }
    }
}

/// Retry delay while too many of this user's descriptors are in flight.
const FD_RETRY_DELAY: Duration = Duration::from_millis(10);

/// Max queued writes with descriptors per connection. Each holds descriptors open.
const MAX_QUEUED_FDS: usize = 64;
