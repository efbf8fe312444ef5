//! Reading, writing and closing: what travels between the ends of a connection.

use std::io;
use std::time::Duration;

use super::connection::{Payload, Phase, Segment};
use super::coverage::FaultKind;
use super::errno::Errno;
use super::events::Happening;
use super::rule::{CallKind, PacketKind, Verdict};
use super::trace::{About, What};
use super::world::{LONGEST_RETRANSMISSION, RETRANSMISSION, RETRANSMISSIONS, World};
use crate::net::{Close, Ready, Token};

impl World {
    // -- what processes ask for --

    pub(super) fn recv(&mut self, process: u32, token: Token, buffer: &mut [u8]) -> io::Result<usize> {
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
        let mut most = buffer.len();
        match verdict {
            Verdict::Drop | Verdict::Fail(Errno::EAGAIN) => return self.would_block(process, index, side),
            Verdict::Fail(errno) => return Err(errno),
            Verdict::Short(limit) => most = most.min(limit.max(1)),
            Verdict::Pass | Verdict::Delay(_) => {}
        }
        if let Some(rate) = self.host(self.process(process).host).reads {
            most = match self.slow_share(process, rate) {
                0 => return self.would_block(process, index, side),
                share => most.min(share),
            };
        }
        let connection = &mut self.connections[index as usize];
        let other = connection.other(side);
        let end = &mut connection.ends[side];
        if end.visible > 0 {
            let count = end.visible.min(most);
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
                end.armed.insert(Ready::READABLE);
            }
            if connection.ends[other].wants_room {
                self.give_room(index, other);
            }
            if short {
                let host = self.process(process).host;
                self.fault(FaultKind::ShortRead, host);
                // By the contract a short read is the end of what was there: the rest is news.
                self.tell(index, side, Ready::READABLE);
            }
            return Ok(count);
        }
        if end.ended {
            return Ok(0);
        }
        if let Some(error) = end.error.take() {
            return Err(error);
        }
        if end.reset {
            // Its output was shut while it was under way.
            let given_up = end.phase == Phase::Connecting && end.finished;
            return if given_up { Err(Errno::ENOTCONN) } else { Ok(0) };
        }
        end.armed.insert(Ready::READABLE);
        Err(Errno::EAGAIN)
    }

    /// A call does nothing although it could: the process is told again, later.
    fn would_block(&mut self, process: u32, index: u32, side: usize) -> Result<usize, Errno> {
        let host = self.process(process).host;
        let again = self.now.max(self.host(host).reads_again).max(self.now + STORM);
        self.fault(FaultKind::WouldBlock, host);
        self.connections[index as usize].ends[side].armed = Ready::ALL;
        self.schedule_for(again, Happening::Again, index, side);
        Err(Errno::EAGAIN)
    }

    pub(super) fn again(&mut self, index: u32, side: usize) {
        self.connections[index as usize].ends[side].armed = Ready::ALL;
        self.tell(index, side, Ready::ALL);
    }

    /// What a host that reads slowly reads now.
    fn slow_share(&mut self, process: u32, rate: u64) -> usize {
        let at = self.local_now(process);
        let host = self.process(process).host;
        self.fault(FaultKind::SlowReader, host);
        let machine = self.host_mut(host);
        if at < machine.reads_again {
            return 0;
        }
        // A hundred times a second.
        let share = (rate / 100).max(1);
        machine.reads_again = at + share.saturating_mul(1_000_000_000) / rate.max(1);
        share as usize
    }

    pub(super) fn send(&mut self, process: u32, token: Token, data: &[u8]) -> io::Result<usize> {
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
        let mut most = data.len();
        match verdict {
            Verdict::Drop | Verdict::Fail(Errno::EAGAIN) => return self.would_block(process, index, side),
            Verdict::Fail(errno) => return Err(errno),
            Verdict::Short(limit) => most = most.min(limit.max(1)),
            Verdict::Pass | Verdict::Delay(_) => {}
        }
        let at = self.local_now(process);
        let connection = &mut self.connections[index as usize];
        let other = connection.other(side);
        let end = &mut connection.ends[side];
        if let Some(error) = end.error.take() {
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
        let count = most.min(room);
        if count > 0 {
            to.held += count;
            if !to.phase.is_gone() {
                to.incoming.extend(&data[..count]);
            }
        }
        let end = &mut connection.ends[side];
        if count < data.len() {
            end.armed.insert(Ready::WRITABLE);
            end.wants_room |= count == room;
        }
        if count == 0 {
            return Err(Errno::EAGAIN);
        }
        if count < data.len() && count < room {
            let host = self.process(process).host;
            self.fault(FaultKind::ShortWrite, host);
            self.tell(index, side, Ready::WRITABLE);
        }
        self.transmit(index, other, at, Payload::Data(count as u32));
        Ok(count)
    }

    pub(super) fn shutdown_write(&mut self, process: u32, token: Token) -> io::Result<()> {
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
            // There is no connection to end: it is given up.
            self.reset_end(index, side, Errno::ECONNRESET);
            self.connections[index as usize].ends[side].finished = true;
            return Ok(());
        }
        if end.phase != Phase::Open || end.reset || (end.ended && end.finished) {
            return Err(Errno::ENOTCONN);
        }
        if !std::mem::replace(&mut end.finished, true) {
            self.transmit(index, other, at, Payload::Fin);
            // Both directions may be at their end now, or the write side is: that is readiness.
            self.tell(index, side, Ready::WRITABLE);
        }
        Ok(())
    }

    pub(super) fn close_stream(&mut self, process: u32, index: u32, side: usize, how: Close) {
        let at = self.local_now(process);
        let host = self.process(process).host;
        self.close_end(host, index, side, at, how);
    }

    pub(super) fn close_end(&mut self, host: u32, index: u32, side: usize, at: u64, how: Close) {
        let connection = &mut self.connections[index as usize];
        let serial = connection.serial;
        let other = connection.other(side);
        let end = &mut connection.ends[side];
        // Closing with something unread tells the peer that it was not read.
        let reset = how == Close::Reset || end.visible > 0;
        let made = matches!(end.phase, Phase::Open | Phase::Queued);
        let (open, finished) = (made && !end.reset, end.finished);
        let over = end.ended && finished;
        end.leave(Phase::Closed);
        self.note(host, About::end(serial, side), What::Closes, 0);
        if open && reset && !over {
            self.transmit(index, other, at, Payload::Reset);
        } else if open && !finished {
            self.connections[index as usize].ends[side].finished = true;
            self.transmit(index, other, at, Payload::Fin);
        }
        self.forget_if_over(index);
    }

    // -- what travels --

    /// Sends something to an end.
    pub(super) fn transmit(&mut self, index: u32, to: usize, at: u64, what: Payload) {
        let connection = &self.connections[index as usize];
        let end = &connection.ends[to];
        let path = end.path;
        let (kind, size) = match what {
            Payload::Data(count) => (PacketKind::Data, count as usize),
            Payload::Fin => (PacketKind::Fin, 0),
            Payload::Reset => (PacketKind::Reset, 0),
        };
        let mut late = 0;
        if !self.rules.is_empty() {
            let from = connection.other(to);
            let (source, destination) = (connection.ends[from].address, end.address);
            match self.judge_packet(path, kind, size, source, destination) {
                Verdict::Delay(by) => late = by.as_nanos() as u64,
                Verdict::Drop => late = RETRANSMISSION,
                Verdict::Fail(errno) => {
                    self.fault(FaultKind::Reset, self.connections[index as usize].ends[to].host);
                    self.reset_end(index, from, errno);
                    self.connections[index as usize].ends[to].flight.clear();
                    return self.transmit_plainly(index, to, at, Payload::Reset);
                }
                Verdict::Pass | Verdict::Short(_) => {}
            }
        }
        let arrival = self.travel(path, at, size).saturating_add(late);
        self.depart(index, to, arrival, what);
    }

    /// Past the rules.
    pub(super) fn transmit_plainly(&mut self, index: u32, to: usize, at: u64, what: Payload) {
        let path = self.connections[index as usize].ends[to].path;
        let arrival = self.travel(path, at, 0);
        self.depart(index, to, arrival, what);
    }

    #[inline]
    fn depart(&mut self, index: u32, to: usize, arrival: u64, what: Payload) {
        let now = self.now;
        let end = &mut self.connections[index as usize].ends[to];
        let at = arrival.max(end.last_arrival);
        end.last_arrival = at;
        match (end.flight.back_mut(), what) {
            (Some(Segment { at: last, what: Payload::Data(size) }), Payload::Data(more)) if *last == at => {
                *size = size.saturating_add(more);
            }
            _ => end.flight.push_back(Segment { at, what }),
        }
        if end.frozen || end.scheduled {
            return;
        }
        if at <= now {
            // Nothing is before it, and it takes no time: it is there when the call returns.
            self.arrive(index, to);
        } else {
            end.scheduled = true;
            self.schedule_for(at, Happening::Arrival, index, to);
        }
    }

    /// What is due at an end comes there.
    pub(super) fn arrive(&mut self, index: u32, side: usize) {
        self.connections[index as usize].ends[side].scheduled = false;
        while let Some(connection) = self.connections.get_mut(index as usize) {
            let end = &mut connection.ends[side];
            let Some(&Segment { at, what }) = end.flight.front() else { break };
            let path = end.path;
            if at > self.now {
                end.scheduled = true;
                self.schedule_for(at, Happening::Arrival, index, side);
                break;
            }
            if !self.is_open(path) {
                self.freeze(index, side);
                break;
            }
            end_of(self, index, side).flight.pop_front();
            self.deliver(index, side, what);
        }
    }

    fn deliver(&mut self, index: u32, side: usize, what: Payload) {
        let now = self.now;
        let connection = &mut self.connections[index as usize];
        let (serial, other) = (connection.serial, connection.other(side));
        let end = &mut connection.ends[side];
        let host = end.host;
        if let Some(keepalive) = &mut end.keepalive {
            keepalive.heard = now;
            keepalive.probes = 0;
        }
        match (end.phase, what) {
            (Phase::Closed | Phase::Nothing, Payload::Fin | Payload::Reset)
            | (Phase::Vanished, Payload::Reset) => {}
            (Phase::Closed | Phase::Nothing | Phase::Vanished, _) => {
                // There is nobody: the sender hears so.
                end.flight.clear();
                self.transmit_plainly(index, other, now, Payload::Reset);
                return;
            }
            // The connection is over for this end, whatever comes.
            _ if end.reset => {}
            (_, Payload::Data(count)) => {
                end.visible += count as usize;
                self.note(host, About::end(serial, side), What::Arrives(PacketKind::Data), i64::from(count));
                self.tell(index, side, Ready::READABLE);
            }
            (_, Payload::Fin) => {
                end.ended = true;
                self.note(host, About::end(serial, side), What::Arrives(PacketKind::Fin), 0);
                self.tell(index, side, Ready::ALL);
            }
            (phase, Payload::Reset) => {
                let errno = match phase {
                    Phase::Connecting => Errno::ECONNREFUSED,
                    _ if end.ended => Errno::EPIPE,
                    _ => Errno::ECONNRESET,
                };
                self.note(host, About::end(serial, side), What::Arrives(PacketKind::Reset), 0);
                self.reset_end(index, side, errno);
                return;
            }
        }
        let back = self.connections[index as usize].ends[other].path;
        if !self.is_open(back) && end_of(self, index, side).unacknowledged.is_none() {
            end_of(self, index, side).unacknowledged = Some(0);
            self.schedule_for(now + RETRANSMISSION, Happening::Acknowledgement, index, side);
        }
    }

    /// An end is over, with an error that it tells once.
    pub(super) fn reset_end(&mut self, index: u32, side: usize, errno: Errno) {
        let end = end_of(self, index, side);
        if end.phase.is_gone() || end.reset || (end.ended && end.finished) {
            return;
        }
        end.reset = true;
        end.error = Some(errno);
        self.tell(index, side, Ready::ALL);
    }

    // -- what does not get through --

    /// What is on its way to an end waits until it is sent again.
    fn freeze(&mut self, index: u32, side: usize) {
        let now = self.now;
        let end = end_of(self, index, side);
        end.frozen = true;
        let again = backoff(end.retries);
        self.schedule_for(now + again, Happening::Retransmission, index, side);
    }

    pub(super) fn retransmit(&mut self, index: u32, side: usize) {
        let now = self.now;
        let path = end_of(self, index, side).path;
        if self.is_open(path) {
            let arrival = self.travel(path, now, 0);
            let end = end_of(self, index, side);
            end.frozen = false;
            end.retries = 0;
            for segment in &mut end.flight {
                segment.at = segment.at.max(arrival);
            }
            end.last_arrival = end.last_arrival.max(arrival);
            return self.arrive(index, side);
        }
        let end = end_of(self, index, side);
        end.retries += 1;
        if end.retries > RETRANSMISSIONS {
            end.flight.clear();
            end.frozen = false;
            let other = self.connections[index as usize].other(side);
            self.reset_end(index, other, Errno::ETIMEDOUT);
        } else {
            self.freeze(index, side);
        }
    }

    /// What came to an end is acknowledged, if the way back is open again.
    pub(super) fn acknowledge(&mut self, index: u32, side: usize) {
        let now = self.now;
        let connection = &self.connections[index as usize];
        let other = connection.other(side);
        let back = connection.ends[other].path;
        let open = self.is_open(back);
        let end = end_of(self, index, side);
        let tries = end.unacknowledged.map_or(0, |tries| tries + 1);
        end.unacknowledged = Some(tries);
        if open {
            end.unacknowledged = None;
        } else if tries > RETRANSMISSIONS {
            self.reset_end(index, other, Errno::ETIMEDOUT);
        } else {
            self.schedule_for(now + backoff(tries), Happening::Acknowledgement, index, side);
        }
    }

    // -- keepalive --

    pub(super) fn set_keepalive(&mut self, index: u32, side: usize, idle: Option<Duration>) {
        let now = self.now;
        let end = end_of(self, index, side);
        let Some(idle) = idle else {
            end.keepalive = None;
            return;
        };
        let idle = idle.as_nanos() as u64;
        let earlier =
            end.keepalive.replace(Box::new(super::connection::KeepAlive { idle, heard: now, probes: 0 }));
        if earlier.is_none() {
            self.schedule_for(now + idle, Happening::KeepAlive, index, side);
        }
    }

    pub(super) fn probe(&mut self, index: u32, side: usize) {
        let now = self.now;
        let connection = &self.connections[index as usize];
        let other = connection.other(side);
        let (there, back) = (connection.ends[other].path, connection.ends[side].path);
        let answered = self.is_open(there) && self.is_open(back);
        let gone = self.connections[index as usize].ends[other].phase == Phase::Vanished;
        let end = end_of(self, index, side);
        let Some(keepalive) = &mut end.keepalive else { return };
        let due = keepalive.heard.saturating_add(keepalive.idle);
        let again = if keepalive.probes == 0 && due > now {
            due
        } else if answered && gone {
            return self.reset_end(index, side, Errno::ECONNRESET);
        } else if answered {
            keepalive.heard = now;
            keepalive.probes = 0;
            now + keepalive.idle
        } else {
            keepalive.probes += 1;
            if keepalive.probes > KEEPALIVE_PROBES {
                return self.reset_end(index, side, Errno::ETIMEDOUT);
            }
            now + KEEPALIVE_INTERVAL
        };
        self.schedule_for(again, Happening::KeepAlive, index, side);
    }

    // -- room --

    /// Whether an end that had none may be told that there is room: a third of it, as on Linux.
    #[inline]
    pub(super) fn has_room(&self, index: u32, side: usize) -> bool {
        let connection = &self.connections[index as usize];
        let to = &connection.ends[connection.other(side)];
        to.held < to.room && to.held <= to.room / 3 * 2
    }

    /// The other side of `side` may send so many bytes from now on that are not read.
    pub(super) fn set_room(&mut self, index: u32, side: usize, room: usize) {
        end_of(self, index, side).room = room;
        let sender = self.connections[index as usize].other(side);
        if end_of(self, index, sender).wants_room {
            self.give_room(index, sender);
        }
    }

    /// The other side has read: the news travels back.
    fn give_room(&mut self, index: u32, side: usize) {
        if !self.has_room(index, side) {
            return;
        }
        let path = end_of(self, index, side).path;
        end_of(self, index, side).wants_room = false;
        let at = self.travel(path, self.now, 0);
        if at <= self.now {
            self.room_again(index, side);
        } else {
            self.schedule_for(at, Happening::Room, index, side);
        }
    }

    pub(super) fn room_again(&mut self, index: u32, side: usize) {
        let path = end_of(self, index, side).path;
        if self.is_open(path) {
            self.tell(index, side, Ready::WRITABLE);
        } else {
            self.schedule_for(self.now + RETRANSMISSION, Happening::Room, index, side);
        }
    }

    // -- the end --

    pub(super) fn forget_if_over(&mut self, index: u32) {
        if let Some(connection) = self.connections.get(index as usize)
            && connection.is_over()
        {
            let [near, far] = &connection.ends;
            let to = std::net::SocketAddr::new(far.address.ip().to_canonical(), far.address.port());
            let port = (near.host, near.address.port(), to);
            self.ports.remove(&port);
            self.connections.remove(index as usize);
        }
    }

    pub(super) fn note_result(
        &mut self,
        process: u32,
        index: u32,
        side: usize,
        kind: CallKind,
        result: &Result<usize, Errno>,
    ) {
        let about = self.about(index, side);
        let value = match result {
            Ok(count) => *count as i64,
            Err(errno) => -i64::from(errno.raw()),
        };
        self.note_call(process, about, kind, value);
    }

    /// For the trace.
    pub(super) fn about(&self, index: u32, side: usize) -> About {
        self.connections.get(index as usize).map_or(About::NOTHING, |c| About::end(c.serial, side))
    }
}

/// The connection is there: who calls has looked.
#[inline]
fn end_of(world: &mut World, index: u32, side: usize) -> &mut super::connection::End {
    &mut world.connections[index as usize].ends[side]
}

fn backoff(tries: u8) -> u64 {
    (RETRANSMISSION << tries.min(20)).min(LONGEST_RETRANSMISSION)
}

/// An emptied buffer larger than this is given back.
const BUFFER_KEPT: usize = 4096;

/// How long a call that would block for no reason waits to be tried again.
const STORM: u64 = 1_000_000;

/// As on Linux: nine probes, 75 seconds apart.
const KEEPALIVE_PROBES: u8 = 9;
const KEEPALIVE_INTERVAL: u64 = 75_000_000_000;
