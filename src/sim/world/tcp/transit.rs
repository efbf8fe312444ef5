//! Transit between the ends of a connection: arrivals, resets, retransmission, keep-alive and
//! buffer room.

use std::time::Duration;

use crate::net::{KEEPALIVE_PROBES, Readiness, keepalive_interval, nanoseconds};
use crate::sim::network::coverage::FaultKind;
use crate::sim::network::errno::Errno;
use crate::sim::network::rule::{CallKind, PacketKind, Verdict};
use crate::sim::network::trace::{About, RecordKind};
use crate::sim::world::World;
use crate::sim::world::events::EventKind;
use crate::sim::world::paths::{MAX_RETRANSMISSION_DELAY, RETRANSMISSION, RETRANSMISSIONS};
use crate::sim::world::tcp::connect::HANDSHAKE_LIMIT;
use crate::sim::world::tcp::connection::{Payload, Phase, Segment};

impl World {
    /// Sends a payload to an end.
    pub(in crate::sim) fn transmit(&mut self, index: u32, to: usize, at: u64, payload: Payload) {
        let connection = &self.connections[index as usize];
        if connection.unix.is_some() {
            let arrival = self.unix_arrival(index, to, at);
            return self.enqueue_segment(index, to, arrival, payload);
        }
        let end = &connection.ends[to];
        let path = end.path;
        let (kind, size) = match payload {
            Payload::Ack => (PacketKind::Ack, 0),
            Payload::Data(count) => (PacketKind::Data, count as usize),
            Payload::Fin => (PacketKind::Fin, 0),
            Payload::Reset | Payload::Hangup { .. } => (PacketKind::Reset, 0),
        };
        let mut late = 0;
        if !self.rules.is_empty() {
            let from = connection.other(to);
            let (source, destination) = (connection.ends[from].address, end.address);
            match self.judge_packet(path, kind, size, source, destination) {
                Verdict::Delay(by) => late = nanoseconds(by),
                Verdict::Drop => late = RETRANSMISSION,
                Verdict::Fail(errno) => {
                    self.fault(FaultKind::Reset, self.connections[index as usize].ends[to].host);
                    self.reset_end(index, from, errno);
                    self.connections[index as usize].ends[to].flight.clear();
                    return self.transmit_without_rules(index, to, at, Payload::Reset);
                }
                Verdict::Pass | Verdict::Short(_) => {}
            }
        }
        let arrival = self.travel(path, at, size).saturating_add(late);
        self.enqueue_segment(index, to, arrival, payload);
    }

    /// Sends a payload that no rule sees.
    pub(in crate::sim) fn transmit_without_rules(
        &mut self,
        index: u32,
        to: usize,
        at: u64,
        payload: Payload,
    ) {
        let path = self.connections[index as usize].ends[to].path;
        let arrival = self.travel(path, at, 0);
        self.enqueue_segment(index, to, arrival, payload);
    }

    #[inline]
    fn enqueue_segment(&mut self, index: u32, to: usize, arrival: u64, payload: Payload) {
        let now = self.now;
        let end = &mut self.connections[index as usize].ends[to];
        let at = arrival.max(end.last_arrival);
        end.last_arrival = at;
        match (end.flight.back_mut(), payload) {
            (Some(Segment { at: last, payload: Payload::Data(size) }), Payload::Data(more))
                if *last == at =>
            {
                *size = size.saturating_add(more);
            }
            _ => end.flight.push_back(Segment { at, payload }),
        }
        if end.frozen || end.scheduled {
            return;
        }
        if at <= now {
            // Without latency and earlier segments, it arrives before the call returns.
            self.arrive(index, to);
        } else {
            end.scheduled = true;
            self.schedule_for(at, EventKind::Arrival, index, to);
        }
    }

    /// Delivers the segments that are due at an end.
    pub(in crate::sim) fn arrive(&mut self, index: u32, side: usize) {
        self.connections[index as usize].ends[side].scheduled = false;
        while let Some(connection) = self.connections.get_mut(index as usize) {
            let end = &mut connection.ends[side];
            let Some(&Segment { at, payload }) = end.flight.front() else { break };
            let (path, unix) = (end.path, connection.unix.is_some());
            if at > self.now {
                end.scheduled = true;
                self.schedule_for(at, EventKind::Arrival, index, side);
                break;
            }
            if !unix && !self.is_open(path) {
                self.freeze(index, side);
                break;
            }
            end_of(self, index, side).flight.pop_front();
            self.deliver(index, side, payload);
        }
    }

    fn deliver(&mut self, index: u32, side: usize, payload: Payload) {
        let now = self.now;
        let connection = &mut self.connections[index as usize];
        let (serial, other) = (connection.serial, connection.other(side));
        let unix = connection.unix.is_some();
        let end = &mut connection.ends[side];
        let host = end.host;
        if let Some(keepalive) = &mut end.keepalive {
            keepalive.heard = now;
            keepalive.probes = 0;
        }
        match (end.phase, payload) {
            (Phase::Closed | Phase::Nothing, Payload::Fin | Payload::Reset)
            | (Phase::Vanished, Payload::Reset) => {}
            (Phase::Handshaking, Payload::Ack) => return self.handshake_completes(index),
            (Phase::Handshaking, Payload::Reset) => {
                end.flight.clear();
                return self.handshake_over(index);
            }
            // The sender learns of the close itself.
            (Phase::Closed | Phase::Nothing | Phase::Vanished, _) if unix => return,
            (Phase::Closed | Phase::Nothing | Phase::Vanished, _) => {
                // No socket is left: the sender receives a reset.
                end.flight.clear();
                self.transmit_without_rules(index, other, now, Payload::Reset);
                return;
            }
            // The connection has ended for this end; later segments have no effect.
            _ if end.reset => {}
            // The handshake was complete before.
            (_, Payload::Ack) => return,
            (_, Payload::Data(count)) => {
                end.visible += count as usize;
                self.note(
                    host,
                    About::end(serial, side),
                    RecordKind::Arrives(PacketKind::Data),
                    i64::from(count),
                );
                self.report(index, side, Readiness::READABLE);
            }
            (_, Payload::Fin) => {
                end.ended = true;
                self.note(host, About::end(serial, side), RecordKind::Arrives(PacketKind::Fin), 0);
                self.report(index, side, Readiness::ALL);
            }
            (_, Payload::Hangup { unread }) => return self.end_unix(index, side, unread),
            (phase, Payload::Reset) => {
                let errno = match phase {
                    Phase::Connecting => Errno::ECONNREFUSED,
                    _ if end.ended => Errno::EPIPE,
                    _ => Errno::ECONNRESET,
                };
                self.note(host, About::end(serial, side), RecordKind::Arrives(PacketKind::Reset), 0);
                self.reset_end(index, side, errno);
                return;
            }
        }
        let back = self.connections[index as usize].ends[other].path;
        if !unix && !self.is_open(back) && end_of(self, index, side).unacknowledged.is_none() {
            end_of(self, index, side).unacknowledged = Some(0);
            let again = self.retransmission_delay(index, side, 0);
            self.schedule_for(now.saturating_add(again), EventKind::Acknowledgement, index, side);
        }
    }

    /// Ends the connection for one end, with an error that its next call takes.
    pub(in crate::sim) fn reset_end(&mut self, index: u32, side: usize, errno: Errno) {
        let end = end_of(self, index, side);
        if end.phase.is_gone() || end.reset || (end.ended && end.finished) {
            return;
        }
        end.reset = true;
        end.error = Some(errno);
        self.report(index, side, Readiness::ALL);
    }

    // -- retransmission --

    /// Holds the segments in flight to an end until their retransmission.
    fn freeze(&mut self, index: u32, side: usize) {
        let now = self.now;
        let end = end_of(self, index, side);
        end.frozen = true;
        let tries = end.retries;
        if end.phase == Phase::Handshaking && tries == 0 {
            self.schedule_for(now + HANDSHAKE_LIMIT, EventKind::HandshakeOver, index, side);
        }
        let again = self.retransmission_delay(index, side, tries);
        self.schedule_for(now.saturating_add(again), EventKind::Retransmission, index, side);
    }

    /// Returns the peer's delay before it sends again what `side` has not acknowledged, at most the
    /// rest of its user timeout.
    fn retransmission_delay(&mut self, index: u32, side: usize, tries: u8) -> u64 {
        let now = self.now;
        let sender = self.connections[index as usize].other(side);
        let limit = end_of(self, index, sender).user_timeout;
        let since = *end_of(self, index, side).stalled.get_or_insert(now);
        let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(now - since).max(1));
        backoff(tries).min(left)
    }

    /// Returns whether the peer gives up waiting for an acknowledgement of `side`.
    fn is_timed_out(&mut self, index: u32, side: usize, tries: u8) -> bool {
        let sender = self.connections[index as usize].other(side);
        let since = end_of(self, index, side).stalled.unwrap_or(self.now);
        match end_of(self, index, sender).user_timeout {
            Some(limit) => self.now - since >= limit,
            None => tries > RETRANSMISSIONS,
        }
    }

    pub(in crate::sim) fn retransmit(&mut self, index: u32, side: usize) {
        let now = self.now;
        let path = end_of(self, index, side).path;
        if self.is_open(path) {
            let arrival = self.travel(path, now, 0);
            let end = end_of(self, index, side);
            end.frozen = false;
            end.retries = 0;
            end.stalled = None;
            for segment in &mut end.flight {
                segment.at = segment.at.max(arrival);
            }
            end.last_arrival = end.last_arrival.max(arrival);
            return self.arrive(index, side);
        }
        let end = end_of(self, index, side);
        end.retries = end.retries.saturating_add(1);
        let tries = end.retries;
        if self.is_timed_out(index, side, tries) {
            let end = end_of(self, index, side);
            end.flight.clear();
            end.frozen = false;
            let other = self.connections[index as usize].other(side);
            self.reset_end(index, other, Errno::ETIMEDOUT);
        } else {
            self.freeze(index, side);
        }
    }

    /// Acknowledges what has arrived at an end, if the path back is open again.
    pub(in crate::sim) fn acknowledge(&mut self, index: u32, side: usize) {
        let now = self.now;
        let connection = &self.connections[index as usize];
        let other = connection.other(side);
        let back = connection.ends[other].path;
        let open = self.is_open(back);
        let end = end_of(self, index, side);
        let tries = end.unacknowledged.map_or(0, |tries| tries.saturating_add(1));
        end.unacknowledged = Some(tries);
        if open {
            end.unacknowledged = None;
            end.stalled = None;
        } else if self.is_timed_out(index, side, tries) {
            self.reset_end(index, other, Errno::ETIMEDOUT);
        } else {
            let again = self.retransmission_delay(index, side, tries);
            self.schedule_for(now.saturating_add(again), EventKind::Acknowledgement, index, side);
        }
    }

    // -- keepalive --

    pub(in crate::sim) fn set_keepalive(&mut self, index: u32, side: usize, idle: Option<Duration>) {
        let now = self.now;
        let end = end_of(self, index, side);
        let Some(idle) = idle else {
            end.keepalive = None;
            return;
        };
        let idle = nanoseconds(idle);
        let earlier = end.keepalive.replace(Box::new(crate::sim::world::tcp::connection::KeepAlive {
            idle,
            heard: now,
            probes: 0,
        }));
        if earlier.is_none() {
            self.schedule_for(now.saturating_add(idle), EventKind::KeepAlive, index, side);
        }
    }

    pub(in crate::sim) fn probe(&mut self, index: u32, side: usize) {
        let now = self.now;
        let connection = &self.connections[index as usize];
        let other = connection.other(side);
        let (forth, back) = (connection.ends[other].path, connection.ends[side].path);
        let answered = self.is_open(forth) && self.is_open(back);
        let gone = self.connections[index as usize].ends[other].phase == Phase::Vanished;
        let end = end_of(self, index, side);
        let user_timeout = end.user_timeout;
        let Some(keepalive) = &mut end.keepalive else { return };
        let due = keepalive.heard.saturating_add(keepalive.idle);
        let again = if keepalive.probes == 0 && due > now {
            due
        } else if answered && gone {
            return self.reset_end(index, side, Errno::ECONNRESET);
        } else if answered {
            keepalive.heard = now;
            keepalive.probes = 0;
            now.saturating_add(keepalive.idle)
        } else {
            // With a user timeout the number of probes does not matter, but one must have been
            // sent.
            let gone = match user_timeout {
                Some(limit) => keepalive.probes > 0 && now - keepalive.heard >= limit,
                None => u32::from(keepalive.probes) >= KEEPALIVE_PROBES,
            };
            if gone {
                return self.reset_end(index, side, Errno::ETIMEDOUT);
            }
            keepalive.probes = keepalive.probes.saturating_add(1);
            now.saturating_add(nanoseconds(keepalive_interval(Duration::from_nanos(keepalive.idle))))
        };
        self.schedule_for(again, EventKind::KeepAlive, index, side);
    }

    // -- room --

    /// Returns whether an end is writable: a third of the room is free, as on Linux.
    #[inline]
    pub(in crate::sim) fn has_room(&self, index: u32, side: usize) -> bool {
        let connection = &self.connections[index as usize];
        let to = &connection.ends[connection.other(side)];
        // Three quarters for a UNIX socket.
        let max = if connection.unix.is_some() { to.room / 4 } else { to.room / 3 * 2 };
        to.held < to.room && to.held <= max
    }

    /// Limits the bytes in flight or unread at `side`.
    pub(in crate::sim) fn set_buffer_size(&mut self, index: u32, side: usize, room: usize) {
        end_of(self, index, side).room = room;
        let sender = self.connections[index as usize].other(side);
        if end_of(self, index, sender).wants_room {
            self.release_room(index, sender);
        }
    }

    /// Reports room to `side` after its peer has read; the report takes the path's latency.
    pub(in crate::sim) fn release_room(&mut self, index: u32, side: usize) {
        if !self.has_room(index, side) {
            return;
        }
        let path = end_of(self, index, side).path;
        end_of(self, index, side).wants_room = false;
        let at = match self.connections[index as usize].unix {
            Some(_) => self.unix_arrival(index, side, self.now),
            None => self.travel(path, self.now, 0),
        };
        if at <= self.now {
            self.room_again(index, side);
        } else {
            self.schedule_for(at, EventKind::Room, index, side);
        }
    }

    pub(in crate::sim) fn room_again(&mut self, index: u32, side: usize) {
        let path = end_of(self, index, side).path;
        if self.connections[index as usize].unix.is_some() || self.is_open(path) {
            self.report(index, side, Readiness::WRITABLE);
        } else {
            self.schedule_for(self.now.saturating_add(RETRANSMISSION), EventKind::Room, index, side);
        }
    }

    // -- removal --

    pub(in crate::sim) fn remove_if_over(&mut self, index: u32) {
        if let Some(connection) = self.connections.get(index as usize)
            && connection.is_over()
        {
            if connection.unix.is_some() {
                self.connections.remove(index as usize);
                return;
            }
            let [near, far] = &connection.ends;
            let to = std::net::SocketAddr::new(far.address.ip().to_canonical(), far.address.port());
            let port = (near.host, near.address.port(), to);
            self.ports.remove(&port);
            self.connections.remove(index as usize);
        }
    }

    pub(in crate::sim) fn note_result(
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

    /// Returns the subject of trace records.
    pub(in crate::sim) fn about(&self, index: u32, side: usize) -> About {
        self.connections.get(index as usize).map_or(About::NOTHING, |c| About::end(c.serial, side))
    }
}

/// Returns an end of an existing connection; the caller has checked the index.
#[inline]
fn end_of(world: &mut World, index: u32, side: usize) -> &mut crate::sim::world::tcp::connection::End {
    &mut world.connections[index as usize].ends[side]
}

fn backoff(tries: u8) -> u64 {
    (RETRANSMISSION << tries.min(20)).min(MAX_RETRANSMISSION_DELAY)
}
