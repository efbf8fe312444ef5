//! Reading, writing and closing of streams.

use std::io;

use crate::net::{Close, Readiness, Token};
use crate::sim::network::coverage::FaultKind;
use crate::sim::network::errno::Errno;
use crate::sim::network::rule::{CallKind, Verdict};
use crate::sim::network::trace::{About, RecordKind};
use crate::sim::world::World;
use crate::sim::world::events::EventKind;
use crate::sim::world::tcp::connection::{Payload, Phase};

impl World {
    // -- system calls --

    pub(in crate::sim) fn recv(
        &mut self,
        process: u32,
        token: Token,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let (index, side) = self.process(process).stream(token)?;
        let verdict = self.before(process, CallKind::Recv, buffer.len());
        let result = self.read(process, index, side, buffer, verdict);
        self.note_result(process, index, side, CallKind::Recv, &result);
        result.map_err(io::Error::from)
    }

    fn read(
        &mut self,
        process: u32,
        index: u32,
        side: usize,
        buffer: &mut [u8],
        verdict: Verdict,
    ) -> Result<usize, Errno> {
        let mut max = buffer.len();
        match verdict {
            Verdict::Drop | Verdict::Fail(Errno::EAGAIN) => return self.would_block(process, index, side),
            Verdict::Fail(errno) => return Err(errno),
            Verdict::Short(limit) => max = max.min(limit.max(1)),
            Verdict::Pass | Verdict::Delay(_) => {}
        }
        if let Some(rate) = self.host(self.process(process).host).read_rate {
            max = match self.read_quota(process, rate) {
                0 => return self.would_block(process, index, side),
                share => max.min(share),
            };
        }
        let connection = &mut self.connections[index as usize];
        let other = connection.other(side);
        let end = &mut connection.ends[side];
        if end.visible > 0 {
            let count = end.visible.min(max);
            let (first, second) = end.incoming.as_slices();
            let split = first.len().min(count);
            buffer[..split].copy_from_slice(&first[..split]);
            buffer[split..count].copy_from_slice(&second[..count - split]);
            if count == end.incoming.len() {
                end.incoming.clear();
                if end.incoming.capacity() > BUFFER_KEPT {
                    end.incoming = std::collections::VecDeque::new();
                }
            } else {
                end.incoming.drain(..count);
            }
            let short = count < end.visible && count < buffer.len();
            end.visible -= count;
            end.held -= count;
            if count < buffer.len() {
                end.armed.insert(Readiness::READABLE);
            }
            if connection.ends[other].wants_room {
                self.release_room(index, other);
            }
            if short {
                let host = self.process(process).host;
                self.fault(FaultKind::ShortRead, host);
                // By the contract a short read has drained the socket, so the rest is reported as
                // new.
                self.report(index, side, Readiness::READABLE);
            }
            return Ok(count);
        }
        // A UNIX stream's error comes before its end of stream.
        if end.ended && (end.error.is_none() || connection.unix.is_none()) {
            return Ok(0);
        }
        if let Some(error) = end.error.take() {
            return Err(error);
        }
        if end.reset {
            // `shutdown` was called during the handshake.
            let given_up = end.phase == Phase::Connecting && end.finished;
            return if given_up { Err(Errno::ENOTCONN) } else { Ok(0) };
        }
        end.armed.insert(Readiness::READABLE);
        Err(Errno::EAGAIN)
    }

    /// A call fails with EAGAIN although it could proceed. Readiness is reported again later.
    fn would_block(&mut self, process: u32, index: u32, side: usize) -> Result<usize, Errno> {
        let host = self.process(process).host;
        let again = self.now.max(self.host(host).next_read).max(self.now.saturating_add(RETRY_DELAY));
        self.fault(FaultKind::WouldBlock, host);
        let full = !self.has_room(index, side);
        let end = &mut self.connections[index as usize].ends[side];
        end.armed = Readiness::ALL;
        // There may be no room for the repeated call either.
        end.wants_room |= full;
        self.schedule_for(again, EventKind::Again, index, side);
        Err(Errno::EAGAIN)
    }

    pub(in crate::sim) fn again(&mut self, index: u32, side: usize) {
        self.connections[index as usize].ends[side].armed = Readiness::ALL;
        self.report(index, side, Readiness::ALL);
    }

    /// Returns the bytes that a host with a read limit may read now.
    pub(in crate::sim) fn read_quota(&mut self, process: u32, rate: u64) -> usize {
        let at = self.local_now(process);
        let host = self.process(process).host;
        self.fault(FaultKind::SlowReader, host);
        let machine = self.host_mut(host);
        if at < machine.next_read {
            return 0;
        }
        // The limit is applied a hundred times per second.
        let share = (rate / 100).max(1);
        machine.next_read = at + share.saturating_mul(1_000_000_000) / rate.max(1);
        share as usize
    }

    pub(in crate::sim) fn send(&mut self, process: u32, token: Token, data: &[u8]) -> io::Result<usize> {
        let (index, side) = self.process(process).stream(token)?;
        let verdict = self.before(process, CallKind::Send, data.len());
        let result = self.write(process, index, side, data, verdict);
        self.note_result(process, index, side, CallKind::Send, &result);
        result.map_err(io::Error::from)
    }

    fn write(
        &mut self,
        process: u32,
        index: u32,
        side: usize,
        data: &[u8],
        verdict: Verdict,
    ) -> Result<usize, Errno> {
        let mut max = data.len();
        match verdict {
            Verdict::Drop | Verdict::Fail(Errno::EAGAIN) => return self.would_block(process, index, side),
            Verdict::Fail(errno) => return Err(errno),
            Verdict::Short(limit) => max = max.min(limit.max(1)),
            Verdict::Pass | Verdict::Delay(_) => {}
        }
        let at = self.local_now(process);
        let connection = &mut self.connections[index as usize];
        let other = connection.other(side);
        let end = &mut connection.ends[side];
        if let Some(error) = end.error.take_if(|_| connection.unix.is_none()) {
            return Err(error);
        }
        if end.finished || end.reset {
            return Err(Errno::EPIPE);
        }
        if end.phase != Phase::Open {
            end.wants_room = true;
            return Err(Errno::EAGAIN);
        }
        if data.is_empty() {
            return Ok(0);
        }
        let to = &mut connection.ends[other];
        let room = to.room.saturating_sub(to.held);
        let count = max.min(room);
        if count > 0 {
            to.held += count;
            if !to.phase.is_gone() {
                to.incoming.extend(&data[..count]);
            }
        }
        let end = &mut connection.ends[side];
        if count < data.len() {
            end.armed.insert(Readiness::WRITABLE);
            end.wants_room |= count == room;
        }
        if count == 0 {
            return Err(Errno::EAGAIN);
        }
        if count < data.len() && count < room {
            let host = self.process(process).host;
            self.fault(FaultKind::ShortWrite, host);
            // If the room is too small for writability now, it is reported as soon as there is
            // enough.
            self.connections[index as usize].ends[side].wants_room |= !self.has_room(index, side);
            self.report(index, side, Readiness::WRITABLE);
        }
        self.transmit(index, other, at, Payload::Data(count as u32));
        Ok(count)
    }

    pub(in crate::sim) fn shutdown_write(&mut self, process: u32, token: Token) -> io::Result<()> {
        let (index, side) = self.process(process).stream(token)?;
        let verdict = self.before(process, CallKind::Shutdown, 0);
        let result = match verdict {
            Verdict::Fail(errno) => Err(errno),
            _ => self.finish(process, index, side).map(|()| 0),
        };
        self.note_result(process, index, side, CallKind::Shutdown, &result);
        result.map(|_| ()).map_err(io::Error::from)
    }

    fn finish(&mut self, process: u32, index: u32, side: usize) -> Result<(), Errno> {
        let at = self.local_now(process);
        let connection = &mut self.connections[index as usize];
        let other = connection.other(side);
        let end = &mut connection.ends[side];
        if end.phase == Phase::Connecting && !end.reset {
            // The handshake is aborted, because there is no connection to shut down.
            self.reset_end(index, side, Errno::ECONNRESET);
            self.connections[index as usize].ends[side].finished = true;
            return Ok(());
        }
        if connection.unix.is_some() && (end.reset || end.phase != Phase::Open) {
            // Without a peer, `shutdown` succeeds and does nothing.
            end.finished = true;
            return Ok(());
        }
        if connection.unix.is_none() && (end.phase != Phase::Open || end.reset || (end.ended && end.finished))
        {
            return Err(Errno::ENOTCONN);
        }
        if !std::mem::replace(&mut end.finished, true) {
            self.transmit(index, other, at, Payload::Fin);
            // The write side, and maybe the read side, has ended now: that is readiness.
            self.report(index, side, Readiness::WRITABLE);
        }
        Ok(())
    }

    pub(in crate::sim) fn close_stream(&mut self, process: u32, index: u32, side: usize, how: Close) {
        let at = self.local_now(process);
        let host = self.process(process).host;
        self.close_end(host, index, side, at, how);
    }

    pub(in crate::sim) fn close_end(&mut self, host: u32, index: u32, side: usize, at: u64, how: Close) {
        let connection = &mut self.connections[index as usize];
        if connection.unix.is_some() {
            return self.close_unix(index, side, at);
        }
        let serial = connection.serial;
        let other = connection.other(side);
        let end = &mut connection.ends[side];
        // Linux answers a close with unread data by a reset.
        let reset = how == Close::Reset || end.visible > 0;
        let made = matches!(end.phase, Phase::Open | Phase::Queued);
        let (open, finished) = (made && !end.reset, end.finished);
        let over = end.ended && finished;
        end.leave(Phase::Closed);
        self.note(host, About::end(serial, side), RecordKind::Closes, 0);
        if open && reset && !over {
            self.transmit(index, other, at, Payload::Reset);
        } else if open && !finished {
            self.connections[index as usize].ends[side].finished = true;
            self.transmit(index, other, at, Payload::Fin);
        }
        self.remove_if_over(index);
    }
}

/// The capacity in bytes above which an empty buffer is freed.
const BUFFER_KEPT: usize = 4096;

/// The delay before a call that failed with EAGAIN for no reason is retried, in nanoseconds.
pub(in crate::sim) const RETRY_DELAY: u64 = 1_000_000;
