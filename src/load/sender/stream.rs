//! The byte stream of one connection: sends the pattern, and compares what comes back.

use super::Pattern;
use crate::load::error::{Corruption, Mismatch};
use crate::{Instant, Transport};

/// The byte stream of one connection: the part of the pattern sent, and the part received.
pub(super) struct Stream {
    pub(super) number: u64,
    /// Offset of the first byte in the pattern.
    start: u64,
    /// Number of bytes passed to the transport.
    sent: u64,
    /// Number of bytes received and found correct.
    pub(super) received: u64,
    /// Time at which the connection was made.
    pub(super) made: Instant,
    /// Whether the transport has paused writing: `resume_writing` follows.
    paused: bool,
    /// Whether a timer checks for buffer space in the next turn.
    room_check_set: bool,
}

impl Stream {
    pub(super) fn new(number: u64) -> Stream {
        Stream {
            number,
            start: Pattern::start(number),
            sent: 0,
            received: 0,
            made: Instant::default(),
            paused: false,
            room_check_set: false,
        }
    }

    /// Sends the bytes up to `end` while the transport has room. Returns whether the caller has to
    /// call [`resume_sending`](Stream::resume_sending) in the next turn. Otherwise all bytes are
    /// sent, or `resume_writing` follows.
    #[inline]
    pub(super) fn send_up_to(&mut self, end: u64, pattern: &Pattern, transport: &mut Transport<'_>) -> bool {
        // The transport reports a pause after the callback, so there is room for one piece.
        let mut has_room = !(self.paused || self.room_check_set && is_full(transport));
        while self.sent < end && has_room {
            let piece = pattern.at(self.start + self.sent, end - self.sent);
            self.sent += piece.len() as u64;
            transport.write(piece);
            has_room = self.sent == end || !is_full(transport);
        }
        // Bytes in a layer or in the write batch can be sent without a pause being reported.
        self.sent < end && self.schedules_room_check()
    }

    /// Whether there is room for another message. `end` is the end of the previous messages.
    #[inline]
    pub(super) fn has_room(&self, end: u64) -> bool {
        !self.paused && self.sent == end
    }

    /// Whether the caller has to call [`resume_sending`](Stream::resume_sending) in the next turn.
    pub(super) fn schedules_room_check(&mut self) -> bool {
        !self.paused && !std::mem::replace(&mut self.room_check_set, true)
    }

    /// Notes `pause_writing`.
    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    /// Notes `resume_writing`.
    pub(super) fn resume(&mut self) {
        self.paused = false;
    }

    /// Continues sending in the turn after one that ended without room.
    pub(super) fn resume_sending(
        &mut self,
        end: u64,
        pattern: &Pattern,
        transport: &mut Transport<'_>,
    ) -> bool {
        // The flag is reset only afterwards, so that not even one piece is written without room.
        self.send_up_to(end, pattern, transport);
        self.room_check_set = self.sent < end && !self.paused;
        self.room_check_set
    }

    /// Compares received bytes with those sent. `size` is the size of a message.
    #[inline]
    pub(super) fn receive(&mut self, data: &[u8], size: u64, pattern: &Pattern) -> Result<(), Mismatch> {
        let position = self.start + self.received;
        let right = data.len() as u64 <= self.sent - self.received && pattern.compare(position, data).is_ok();
        if !right {
            return Err(self.mismatch(data, size, pattern));
        }
        self.received += data.len() as u64;
        Ok(())
    }

    #[cold]
    fn mismatch(&self, data: &[u8], size: u64, pattern: &Pattern) -> Mismatch {
        let position = self.start + self.received;
        let awaited = usize::try_from(self.sent - self.received).unwrap_or(usize::MAX).min(data.len());
        let wrong = pattern.compare(position, &data[..awaited]).err().unwrap_or(awaited);
        let offset = self.received + wrong as u64;
        let (expected, what) = match wrong < awaited {
            true => {
                let expected = pattern.at(position + wrong as u64, 1).first().copied();
                let ahead = self.sent - offset;
                (expected, pattern.explain(position + wrong as u64, &data[wrong..], offset, ahead))
            }
            false => (None, Corruption::TooMany),
        };
        let found = data.get(wrong).copied().unwrap_or_default();
        Mismatch { connection: self.number + 1, offset, message: offset / size + 1, expected, found, what }
    }
}

/// Whether the write buffer exceeds the high-water mark. Does not rely on the transport's callback.
pub(super) fn is_full(transport: &mut Transport<'_>) -> bool {
    transport.writing_paused() || transport.write_buffer_size() > transport.reactor().settings().high_water
}
