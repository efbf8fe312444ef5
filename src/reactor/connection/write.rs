//! Writing: small writes of a callback are sent together when it returns, and output that the
//! kernel does not accept is queued.

use std::io;

use crate::net::{Readiness, Token};
use crate::reactor::connection::write_batch::{WRITE_BATCH_SIZE, recycle_buffer};
use crate::reactor::connection::{Action, Connection, Event, Flow, Pauses};
use crate::reactor::turn::queues::Callback;
use crate::reactor::{Reactor, Reason, SystemError};

impl Reactor {
    #[inline]
    pub(in crate::reactor) fn write(&mut self, token: Token, data: &[u8]) {
        // Batched, and sent when the callback returns.
        let direct = self.send.batching && self.send.connection == token;
        if !direct || data.len() >= MAX_BATCHED_WRITE || !self.send.batch.push(data) {
            self.write_unbatched(token, data);
        }
    }

    /// Writes from a task. Its writes to one connection are batched as in a callback, until it
    /// writes to another connection, uses the reactor otherwise, or waits.
    #[inline]
    pub(crate) fn write_from_task(&mut self, token: Token, data: &[u8]) {
        if self.send.connection != token {
            self.end_task_writes();
            let connection = self.registry.connection(token);
            if let Some(connection) = connection
                && connection.state.is_open()
                && connection.outgoing.is_empty()
                && !connection.is_layered()
            {
                self.send.batching = connection.can_batch();
                self.send.connection = token;
            }
        }
        self.write(token, data);
    }

    /// Sends the batched writes of a task.
    #[inline]
    pub(in crate::reactor) fn end_task_writes(&mut self) {
        if self.send.connection != Token::NONE {
            self.send_task_writes();
        }
    }

    /// As the end of `call_taken`.
    #[inline(never)]
    fn send_task_writes(&mut self) {
        let token = std::mem::replace(&mut self.send.connection, Token::NONE);
        let Some(connection) = self.registry.connection_mut(token) else { return self.send.batch.clear() };
        let open = connection.state.is_open() && connection.outgoing.is_empty();
        if !open || !connection.readiness.has(Readiness::WRITABLE) || self.send.batch.is_empty() {
            return self.after_callback(token);
        }
        connection.wrote = true;
        self.send_whole_batch(token);
    }

    /// Sends the write batch of a connection that is writable and has no queued output. Returns
    /// `false` if the kernel did not accept all of it: the rest is queued.
    #[inline(always)] // on the path of every message
    pub(in crate::reactor) fn send_whole_batch(&mut self, token: Token) -> bool {
        match self.net.send(token, self.send.batch.bytes()) {
            Ok(count) if count == self.send.batch.len() => {
                self.statistics.bytes_sent += count as u64;
                self.send.batch.clear();
                true
            }
            result => {
                self.partial_send(token, result);
                false
            }
        }
    }

    /// Whether a task has to wait before it writes: the connection is above its high-water mark,
    /// closing or gone.
    #[inline]
    pub(crate) fn must_wait_to_write(&mut self, token: Token) -> bool {
        let paused = |connection: &Connection| connection.flow != Flow::Open;
        if self.send.connection == token && self.registry.connection(token).is_some_and(paused) {
            self.end_task_writes();
            self.update_water_marks(token);
        }
        let connection = self.registry.connection(token);
        connection.is_none_or(|connection| connection.flow != Flow::Open || connection.state.is_closing())
    }

    /// Handles a write from outside of the connection's callbacks, or one that does not fit into
    /// the batch.
    #[inline(never)]
    fn write_unbatched(&mut self, token: Token, data: &[u8]) {
        if self.registry.connection(token).is_some_and(Connection::is_layered) {
            if self.send.connection == token {
                self.batch_into_layers(token);
            }
            return self.write_to_layers(token, data);
        }
        let Some(connection) = self.registry.connection(token) else { return };
        if !connection.takes_writes() || data.is_empty() {
            return;
        }
        if self.send.connection == token {
            // A large first write is not worth a copy. Behind batched bytes, it is sent with them.
            let large = data.len() >= MAX_BATCHED_WRITE && self.send.batch.is_empty();
            if connection.outgoing.is_empty() && !large && self.send.batch.push(data) {
                return self.update_batch_water_marks(token);
            }
            self.send_write_batch(token);
        }
        let Some(connection) = self.registry.connection(token) else { return };
        let goes_now = self.send.connection == token || data.len() >= MAX_BATCHED_WRITE;
        if !connection.outgoing.is_empty() || !goes_now {
            self.enqueue(token, data);
        } else if data.len() < MAX_BATCHED_WRITE && self.send.batch.push(data) {
            self.update_batch_water_marks(token);
        } else {
            self.send_or_enqueue(token, data);
        }
    }

    /// Checks the water marks while a callback runs, for a connection with a small high-water mark.
    fn update_batch_water_marks(&mut self, token: Token) {
        if self.registry.connection(token).is_some_and(|connection| connection.small_marks) {
            self.update_water_marks(token);
            // The kernel may accept everything at the end of the callback. The flush notices that.
            self.schedule_flush(token);
        }
    }

    /// Takes output of the lowest layer. It is batched until the layers are idle.
    pub(in crate::reactor) fn write_from_layers(&mut self, token: Token, data: &[u8]) {
        let sends = |connection: &&Connection| connection.state.sends();
        let Some(connection) = self.registry.connection(token).filter(sends) else { return };
        if connection.outgoing.is_empty() {
            if self.send.batch.push(data) {
                return;
            }
            self.send_write_batch(token);
        }
        let Some(connection) = self.registry.connection(token).filter(sends) else { return };
        if !connection.outgoing.is_empty() {
            self.enqueue(token, data);
        } else if data.len() >= MAX_BATCHED_WRITE || !self.send.batch.push(data) {
            self.send_or_enqueue(token, data);
        }
    }

    fn send_or_enqueue(&mut self, token: Token, data: &[u8]) {
        let sent = self.send(token, data);
        if sent > 0 {
            self.note_progress(token);
        }
        if let Some(rest) = data.get(sent..)
            && !rest.is_empty()
        {
            self.enqueue(token, rest);
        }
    }

    /// Sends bytes and returns the number accepted by the kernel. If the connection is broken, all
    /// bytes count as sent, because they are discarded.
    #[inline]
    fn send(&mut self, token: Token, data: &[u8]) -> usize {
        let Some(connection) = self.registry.connection_mut(token) else {
            return data.len();
        };
        if !connection.state.sends() {
            return data.len();
        }
        connection.wrote = true;
        while connection.readiness.has(Readiness::WRITABLE) {
            match self.net.send(token, data) {
                Ok(count) => {
                    if count < data.len() {
                        connection.readiness.remove(Readiness::WRITABLE);
                    }
                    self.statistics.bytes_sent += count as u64;
                    if let Some(layers) = connection.layers_mut() {
                        layers.taken = layers.taken.saturating_add(count);
                    }
                    return count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.readiness.remove(Readiness::WRITABLE);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.output_failed(token, "send", &error);
                    return data.len();
                }
            }
        }
        0
    }

    /// Queues the rest of a callback's output after a short or failed send.
    #[cold]
    #[inline(never)]
    pub(in crate::reactor) fn partial_send(&mut self, token: Token, result: io::Result<usize>) {
        let Some(connection) = self.registry.connection_mut(token) else { return };
        match result {
            Ok(count) => {
                connection.readiness.remove(Readiness::WRITABLE);
                self.statistics.bytes_sent += count as u64;
                self.send.batch.consume(count);
                self.send_write_batch(token);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.send_write_batch(token),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                connection.readiness.remove(Readiness::WRITABLE);
                self.send_write_batch(token);
            }
            Err(error) => {
                self.send.batch.clear();
                self.output_failed(token, "send", &error);
            }
        }
    }

    /// Sends the output of the callback that just returned.
    #[inline]
    pub(in crate::reactor) fn send_write_batch(&mut self, token: Token) {
        if self.send.batch.is_empty() {
            return;
        }
        if self.send.above_layers {
            return self.batch_into_layers(token);
        }
        self.stop_relaying_down(token);
        let mut scratch = std::mem::take(&mut self.send.batch);
        self.send_or_enqueue(token, scratch.bytes());
        scratch.clear();
        self.send.batch = scratch;
    }

    /// Queues bytes until the kernel accepts them.
    pub(in crate::reactor) fn enqueue(&mut self, token: Token, data: &[u8]) {
        let limit = self.settings.write_buffer_limit;
        let Some(connection) = self.registry.connection_mut(token) else {
            return;
        };
        // Output of layers was checked against the limit when it was written.
        let layered = connection.is_layered();
        if !layered && connection.exceeds(connection.waiting(), limit) {
            self.statistics.buffer_limits += 1;
            self.queue_loss(token, Reason::BufferLimit(limit));
            return;
        }
        connection.wrote = true;
        self.send.batching &= self.send.connection != token;
        if connection.outgoing.capacity() == 0 {
            connection.outgoing = self.send.spare_buffers.pop().unwrap_or_default();
        }
        // Compacts the buffer when more than half of it was sent.
        if connection.sent > connection.outgoing.len() / 2 {
            connection.outgoing.drain(..connection.sent);
            connection.sent = 0;
        }
        connection.outgoing.extend_from_slice(data);
        self.schedule_flush(token);
        if !layered {
            self.update_water_marks(token);
        }
    }

    /// Queues a connection for a flush at the end of the turn.
    pub(in crate::reactor) fn schedule_flush(&mut self, token: Token) {
        if let Some(connection) = self.registry.connection_mut(token)
            && !connection.flush_scheduled
        {
            connection.flush_scheduled = true;
            self.queues.flush.push(token);
        }
    }

    #[inline]
    pub(in crate::reactor) fn run_flushes(&mut self) {
        if !self.queues.flush.is_empty() {
            self.flush_all();
        }
    }

    #[inline(never)] // keeps turns without it short
    fn flush_all(&mut self) {
        let mut dirty = std::mem::take(&mut self.queues.flush);
        for token in dirty.drain(..) {
            if let Some(connection) = self.registry.connection_mut(token) {
                connection.flush_scheduled = false;
                self.flush(token);
            } else {
                self.flush_dirty_datagrams(token);
            }
        }
        // Layers run during a flush and may have queued other connections. Those are flushed in the
        // next turn.
        dirty.append(&mut self.queues.flush);
        self.queues.flush = dirty;
    }

    /// Sends queued output, up to the write budget per turn, and handles the consequences.
    pub(in crate::reactor) fn flush(&mut self, token: Token) {
        let layered = self.registry.connection(token).is_some_and(Connection::is_layered);
        if layered {
            self.run_layers(token);
        }
        let mut share = self.settings.bytes_per_turn.saturating_mul(2);
        while let Some(connection) = self.registry.connection_mut(token) {
            let waiting = connection.waiting();
            if waiting == 0 || !connection.readiness.has(Readiness::WRITABLE) || !connection.state.sends() {
                break;
            }
            if share == 0 {
                self.schedule_resume(token);
                break;
            }
            // Taken out, so that the buffer and the table are not borrowed at the same time.
            let outgoing = std::mem::take(&mut connection.outgoing);
            let start = connection.sent;
            let ahead = connection.bytes_before_fds();
            let max = ahead.filter(|ahead| *ahead > 0).unwrap_or(share).min(share);
            let end = outgoing.len().min(start.saturating_add(max));
            let piece = outgoing.get(start..end).unwrap_or_default();
            let count = match ahead {
                Some(0) => self.send_fds(token, piece),
                _ => self.send(token, piece),
            };
            share = share.saturating_sub(count.max(1));
            if let Some(connection) = self.registry.connection_mut(token)
                && connection.state.sends()
            {
                connection.outgoing = outgoing;
                connection.sent = start + count;
                if ahead.is_some() {
                    connection.fds_sent(count);
                }
            }
            if count > 0 {
                self.note_progress(token);
            }
        }
        let sent = !layered || self.notify_layers_sent(token);
        if let Some(connection) = self.registry.connection_mut(token)
            && connection.waiting() == 0
            && (connection.outgoing.capacity() > 0 || layered)
        {
            let empty = std::mem::take(&mut connection.outgoing);
            connection.sent = 0;
            let all_sent = connection.held() == 0;
            recycle_buffer(empty, &mut self.send.spare_buffers);
            if all_sent {
                self.ask_once_sent(token, sent);
            }
        }
        self.update_water_marks(token);
        self.advance_close(token);
    }

    /// Returns a connection's water marks, high and low. The high mark is at max the buffer limit,
    /// so that `pause_writing` is delivered before the limit can end the connection.
    pub(in crate::reactor) fn marks(&self, connection: &Connection) -> (usize, usize) {
        let high_water = self.settings.high_water;
        let (high, low) = connection.water_marks().unwrap_or((high_water, high_water / 4));
        let high = high.min(self.settings.write_buffer_limit);
        (high, low.min(high))
    }

    /// Whether the high-water mark of a new connection is below the size of the write batch.
    pub(in crate::reactor) fn has_small_marks(&self) -> bool {
        self.settings.high_water.min(self.settings.write_buffer_limit) < WRITE_BATCH_SIZE
    }

    /// Unsent bytes, including those that the running callback has just written.
    pub(in crate::reactor) fn unsent(&self, token: Token) -> usize {
        let scratch = if self.send.connection == token { self.send.batch.len() } else { 0 };
        scratch + self.registry.connection(token).map_or(0, Connection::unsent)
    }

    /// Whether the connection has more unsent bytes than its high-water mark, or has not come down
    /// to the low one since.
    pub(in crate::reactor) fn writing_paused(&self, token: Token) -> bool {
        self.registry.connection(token).is_some_and(|connection| {
            connection.flow != Flow::Open || self.unsent(token) > self.marks(connection).0
        })
    }

    /// Checks the water marks and queues `pause_writing` or `resume_writing`.
    pub(in crate::reactor) fn update_water_marks(&mut self, token: Token) {
        let unsent = self.unsent(token);
        self.update_water_marks_at(token, unsent);
    }

    /// As `update_water_marks`, for a given number of unsent bytes.
    pub(in crate::reactor) fn update_water_marks_at(&mut self, token: Token, unsent: usize) {
        let Some(connection) = self.registry.connection(token) else { return };
        let (high, low) = self.marks(connection);
        let Some(connection) = self.registry.connection_mut(token) else { return };
        match connection.flow {
            Flow::Open if unsent > high => {
                connection.flow = Flow::PauseQueued;
                self.statistics.pauses += 1;
                self.queues.callbacks.push(Callback::PauseWriting(token));
            }
            Flow::PauseQueued | Flow::Paused if unsent <= low => {
                connection.flow = Flow::Open;
                self.queues.callbacks.push(Callback::ResumeWriting(token));
            }
            Flow::Paused => {
                let unsent = u32::try_from(unsent).unwrap_or(u32::MAX);
                connection.unsent_floor = connection.unsent_floor.min(unsent);
            }
            Flow::Open | Flow::PauseQueued => {}
        }
    }

    pub(in crate::reactor) fn output_failed(&mut self, token: Token, call: &'static str, error: &io::Error) {
        let reason = Reason::Lost(SystemError::new(call, error));
        let reads = self
            .registry
            .connection(token)
            .is_some_and(|connection| connection.state.reads() && !connection.pauses.has(Pauses::PROTOCOL));
        if self.change_state(token, Event::OutputFailed) != Action::DiscardOutput {
            return;
        }
        let Some(connection) = self.registry.connection_mut(token) else { return };
        connection.outgoing = Vec::new();
        connection.sent = 0;
        connection.drop_fds();
        connection.clear_layers();
        if reads {
            // Earlier input is delivered first. The end of the input then reports the loss.
            connection.cold().broken = Some(reason);
            connection.readiness.insert(Readiness::READABLE);
            connection.readiness.insert(Readiness::READ_CLOSED);
            self.schedule_resume(token);
        } else {
            self.queue_loss(token, reason);
        }
    }
}

/// Smallest write that is sent directly, without a copy, if nothing was written before it. In
/// bytes.
const MAX_BATCHED_WRITE: usize = 8 * 1024;
