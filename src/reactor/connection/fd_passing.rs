//! Descriptors that travel with the bytes of a UNIX socket.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::net::{MOST_DESCRIPTORS, Readiness, ReceivedFds, Token, too_many_fds_in_flight};
use crate::reactor::connection::{Connection, Pauses, State};
use crate::reactor::{Address, CallbackKind, ConnectionId, Error, Reactor, Result, TimedCall};

/// Descriptors that wait to be sent, each with the first of its bytes.
#[derive(Default)]
pub(crate) struct FdQueue {
    waiting: VecDeque<QueuedFds>,
    /// Too many travel: a timer is set after which these are tried again.
    rests: bool,
}

struct QueuedFds {
    /// Bytes that go before.
    ahead: usize,
    descriptors: Vec<OwnedFd>,
}

impl FdQueue {
    /// How much of what waits may be sent without them; 0: it is the turn of the first.
    pub(in crate::reactor) fn bytes_before(&self) -> Option<usize> {
        self.waiting.front().map(|attached| attached.ahead)
    }

    pub(in crate::reactor) fn sent(&mut self, count: usize) {
        for attached in &mut self.waiting {
            attached.ahead = attached.ahead.saturating_sub(count);
        }
    }
}

impl Connection {
    /// Whether it is read in the way that brings descriptors, and there may be something.
    pub(in crate::reactor) fn reads_descriptors(&self) -> bool {
        self.pauses == Pauses::DESCRIPTORS && self.readiness.has(Readiness::READABLE) && self.state.reads()
    }

    pub(in crate::reactor) fn fds_sent(&mut self, count: usize) {
        if let Some(passing) = self.cold.as_mut().and_then(|rare| rare.fd_queue.as_mut()) {
            passing.sent(count);
        }
    }

    /// What was to travel with bytes that are thrown away is closed.
    pub(in crate::reactor) fn drop_fds(&mut self) {
        if let Some(rare) = &mut self.cold {
            rare.fd_queue = None;
        }
    }

    /// How much of what waits may be sent without descriptors.
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
            return Err(unsupported("descriptors travel over bare UNIX sockets alone"));
        }
        if data.is_empty() || descriptors.is_empty() || descriptors.len() > MOST_DESCRIPTORS {
            return Err(unsupported("1 to 253 descriptors travel with at least one byte"));
        }
        if !connection.takes_writes() {
            return Err(Error::NotConnected);
        }
        let ahead = connection.waiting();
        let passing = connection.rare().fd_queue.get_or_insert_default();
        if passing.waiting.len() >= MAX_QUEUED_FDS {
            return Err(Error::QueueFull(MAX_QUEUED_FDS));
        }
        passing.waiting.push_back(QueuedFds { ahead, descriptors });
        self.enqueue(token, data);
        Ok(())
    }

    /// Hands the first descriptors to the system, with bytes as far as theirs go.
    pub(in crate::reactor) fn send_fds(&mut self, token: Token, piece: &[u8]) -> usize {
        let Some(connection) = self.registry.connection_mut(token) else { return piece.len() };
        let mut passing = connection.cold.as_mut().and_then(|rare| rare.fd_queue.as_mut());
        if passing.as_ref().is_some_and(|passing| passing.rests) {
            // That there is room, as after each attempt that failed, is no news.
            connection.readiness.remove(Readiness::WRITABLE);
            return 0;
        }
        let Some(attached) = passing.as_mut().and_then(|passing| passing.waiting.pop_front()) else {
            return 0;
        };
        // What is ahead of the next was counted from the same byte.
        let reach = passing.and_then(|passing| passing.bytes_before()).unwrap_or(usize::MAX);
        let piece = piece.get(..reach.max(1)).unwrap_or(piece);
        match self.net.send_descriptors(token, piece, &attached.descriptors) {
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
                if let Some(passing) = connection.cold.as_mut().and_then(|rare| rare.fd_queue.as_mut()) {
                    passing.waiting.push_front(attached);
                }
                0
            }
            Err(error) if too_many_fds_in_flight(&error) => {
                connection.readiness.remove(Readiness::WRITABLE);
                let passing = connection.rare().fd_queue.get_or_insert_default();
                passing.waiting.push_front(attached);
                self.write_again_later(token);
                0
            }
            Err(error) => {
                self.output_failed(token, "sendmsg", &error);
                piece.len()
            }
        }
    }

    /// Nobody tells when what travels has arrived, whose ever it is: a look now and then finds it out.
    fn write_again_later(&mut self, token: Token) {
        let at = self.now() + FD_RETRY_DELAY;
        let Some(connection) = self.registry.connection_mut(token) else { return };
        let passing = connection.rare().fd_queue.get_or_insert_default();
        if !std::mem::replace(&mut passing.rests, true) {
            let timer = self.timers.set(at, TimedCall::WriteAgain(token));
            connection.rare().timers.push(timer);
        }
    }

    pub(in crate::reactor) fn write_again(&mut self, token: Token) {
        let Some(connection) = self.registry.connection_mut(token) else { return };
        if let Some(passing) = connection.cold.as_mut().and_then(|rare| rare.fd_queue.as_mut()) {
            passing.rests = false;
        }
        connection.readiness.insert(Readiness::WRITABLE);
        self.flush(token);
    }

    /// Reads what comes with descriptors, which are told of before the bytes they came with. Nothing is concluded
    /// from how much it is: the system stops at each of them.
    #[cold]
    pub(in crate::reactor) fn read_descriptors(&mut self, token: Token, buffer: &mut [u8]) {
        let mut share = self.settings.read_per_turn;
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
                    // One call for both: a close that the loss leads to begins after the bytes.
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
    /// The system had no room for what came.
    #[cold]
    fn note_lost_descriptors(&mut self, token: Token) {
        self.statistics.descriptors_lost += 1;
        let now = self.now();
        // At most once a second: it is the process that has no room, whichever connection finds out.
        if self.receive.fd_loss_logged.is_none_or(|last| now - last >= Duration::from_secs(1)) {
            self.receive.fd_loss_logged = Some(now);
            let id = ConnectionId(token);
            log_warn!([connection:% = id] "out of descriptors: some that came over connection {id} are lost");
        }
    }
}

/// How soon descriptors are sent again while too many of this user's travel.
const FD_RETRY_DELAY: Duration = Duration::from_millis(10);

/// Writes with descriptors that may wait on one connection: each holds some open.
const MAX_QUEUED_FDS: usize = 64;
