//! Connecting: the TCP handshake and its answers.

use std::net::SocketAddr;

use crate::net::{Buffers, OpenError, OpenStep, Readiness, Token, nanoseconds};
use crate::sim::network::coverage::FaultKind;
use crate::sim::network::errno::Errno;
use crate::sim::network::rule::{CallKind, PacketKind, Verdict};
use crate::sim::network::trace::{About, RecordKind, Text};
use crate::sim::world::events::EventKind;
use crate::sim::world::process::Socket;
use crate::sim::world::tcp::connection::{Connection, End, NO_PROCESS, Payload, Phase};
use crate::sim::world::tcp::listen::{failed, mapped_address};
use crate::sim::world::{FIRST_PORT, LAST_PORT, World};

impl World {
    pub(in crate::sim) fn connect(
        &mut self,
        process: u32,
        token: Token,
        asked: SocketAddr,
        (bind, reuse_address): (Option<SocketAddr>, bool),
        buffers: Buffers,
    ) -> Result<(), OpenError> {
        let host = self.process(process).host;
        let mut remote = asked;
        if remote.ip().is_unspecified() {
            let loopback = if remote.is_ipv4() { "127.0.0.1" } else { "::1" };
            // Both texts are valid addresses.
            remote.set_ip(loopback.parse().unwrap_or(remote.ip()));
        }
        let mut local = bind.unwrap_or(SocketAddr::new(remote.ip(), 0));
        if let Some(bind) = bind {
            self.allow(process, CallKind::Bind, OpenStep::Bind)?;
            if !self.is_own(host, bind.ip()) {
                return failed(OpenStep::Bind, Errno::EADDRNOTAVAIL);
            }
            if bind.is_ipv4() != remote.is_ipv4() {
                return failed(OpenStep::Bind, Errno::EAFNOSUPPORT);
            }
            let taken = self.listeners_at(host, bind, false).next().is_some()
                || self.is_connected_from(host, bind, reuse_address);
            if bind.port() != 0 && taken {
                return failed(OpenStep::Bind, Errno::EADDRINUSE);
            }
        }
        self.allow(process, CallKind::Connect, OpenStep::Connect)?;
        if bind.is_none_or(|bind| bind.ip().is_unspecified()) {
            match self.source_address(host, remote.ip()) {
                Some(source) if remote.is_ipv6() && source.is_ipv4() => local.set_ip(mapped_address(source)),
                Some(source) => local.set_ip(source),
                None => return failed(OpenStep::Connect, Errno::ENETUNREACH),
            }
        }
        remote.set_ip(remote.ip().to_canonical());
        if local.port() == 0 {
            let free = (FIRST_PORT..=LAST_PORT).find_map(|_| {
                let port = self.next_port(host);
                (!self.ports.contains(&(host, port, remote))).then_some(port)
            });
            match free {
                Some(port) => local.set_port(port),
                None => return failed(OpenStep::Connect, Errno::EADDRNOTAVAIL),
            }
        } else if self.ports.contains(&(host, local.port(), remote)) {
            return failed(OpenStep::Connect, Errno::EADDRNOTAVAIL);
        }
        self.allow(process, CallKind::Watch, OpenStep::Watch)?;
        let serial = self.next_serial();
        let to = self.find_host(host, remote.ip());
        let remote_host = to.unwrap_or(host);
        let mut near = End::new(host, self.path(remote_host, host), local);
        near.phase = Phase::Connecting;
        near.process = process;
        near.token = token;
        near.reuse_address = reuse_address;
        near.room = buffers.receive.map_or(RECEIVE_BUFFER, granted);
        let mut far = End::new(remote_host, self.path(host, remote_host), remote);
        far.room = buffers.send.map_or(SEND_BUFFER, granted);
        let with_itself =
            remote_host == host && (local.ip().to_canonical(), local.port()) == (remote.ip(), remote.port());
        if with_itself {
            near.room = near.room.saturating_add(far.room);
        }
        let machine = self.host(host);
        let held = machine.holds_connects && machine.socket_process != Some(process) && !with_itself;
        let connection =
            Connection { serial, ends: [near, far], with_itself, held, attempts: 0, listener: 0, unix: None };
        let index = self.connections.insert(connection) as u32;
        self.ports.insert((host, local.port(), remote));
        self.process_mut(process).insert(token, Socket::Stream { connection: index, side: 0 });
        self.note_text(host, About::end(serial, 0), RecordKind::Opens, Text::Connects(local, remote));
        if with_itself {
            self.establish(index, 0);
        } else if !held {
            self.start_handshake(index, to);
        }
        Ok(())
    }

    /// Starts the handshake with a host; `None`: there is no such host.
    pub(in crate::sim) fn start_handshake(&mut self, index: u32, to: Option<u32>) {
        if to.is_some() {
            return self.send_syn(index);
        }
        let process = self.connections[index as usize].ends[0].process;
        self.schedule_for(
            self.local_now(process).saturating_add(NO_NEIGHBOUR),
            EventKind::Unreachable,
            index,
            0,
        );
    }

    pub(in crate::sim) fn next_port(&mut self, host: u32) -> u16 {
        let machine = self.host_mut(host);
        let port = machine.next_port;
        machine.next_port = if port >= LAST_PORT { FIRST_PORT } else { port + 1 };
        port
    }

    /// Sends a SYN, for the first time or again.
    pub(in crate::sim) fn send_syn(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        let [near, far] = &connection.ends;
        if near.phase != Phase::Connecting || near.reset {
            // The client has given up; the server does not know it.
            if far.phase == Phase::Handshaking {
                self.schedule_for(self.now + HANDSHAKE_LIMIT, EventKind::HandshakeOver, index, 1);
            }
            return;
        }
        connection.attempts += 1;
        if connection.attempts > HANDSHAKES {
            return self.connect_fails(index, Errno::ETIMEDOUT);
        }
        let at = match near.process {
            NO_PROCESS => self.now,
            process => self.now.saturating_add(self.processes[process as usize].ahead),
        };
        let (source, destination, path) = (near.address, far.address, far.path);
        let wait = FIRST_HANDSHAKE << (connection.attempts - 1);
        let mut late = 0;
        match self.judge_packet(path, PacketKind::Syn, 0, source, destination) {
            Verdict::Drop => {
                return self.schedule_for(at + wait, EventKind::SynAgain, index, 0);
            }
            Verdict::Fail(errno) => return self.connect_fails(index, errno),
            Verdict::Delay(by) => late = nanoseconds(by),
            Verdict::Pass | Verdict::Short(_) => {}
        }
        let route = &mut self.paths[path as usize];
        let lost = route.link.loss > 0.0 && self.random.links.chance(route.link.loss);
        if lost {
            let to = route.to;
            self.fault(FaultKind::Loss, to);
            return self.schedule_for(at + wait, EventKind::SynAgain, index, 0);
        }
        let arrival = match route.plain {
            Some(latency) => at + latency,
            None => route.travel(at, 0, &mut self.random.links),
        };
        if arrival + late <= self.now {
            self.syn_arrives(index);
        } else {
            self.schedule_for(arrival + late, EventKind::Syn, index, 0);
        }
    }

    /// A SYN arrives at the destination host.
    pub(in crate::sim) fn syn_arrives(&mut self, index: u32) {
        let connection = &self.connections[index as usize];
        let [near, far] = &connection.ends;
        if near.phase != Phase::Connecting || near.reset {
            // The client has given up.
            return;
        }
        let (host, path, address, phase) = (far.host, far.path, far.address, far.phase);
        let wait = FIRST_HANDSHAKE << connection.attempts.saturating_sub(1);
        let again = self.now.saturating_add(wait);
        if !self.is_open(path) {
            return self.schedule_for(again, EventKind::SynAgain, index, 0);
        }
        if phase != Phase::Nothing {
            return self.send_syn_ack(index);
        }
        let machine = self.host(host);
        if machine.silent.has(address.port()) {
            self.fault(FaultKind::Silence, host);
            return self.schedule_for(again, EventKind::SynAgain, index, 0);
        }
        let refuses = machine.refuses.has(address.port());
        if refuses {
            self.fault(FaultKind::Refusal, host);
        }
        let listener = if refuses { None } else { self.listener_for(host, address) };
        let Some(listener) = listener else {
            self.note(host, self.about(index, 1), RecordKind::Lost(PacketKind::Syn), 0);
            let back = self.connections[index as usize].ends[0].path;
            let arrival = self.travel(back, self.now, 0);
            if arrival <= self.now {
                self.refusal_arrives(index);
            } else {
                self.schedule_for(arrival, EventKind::Refused, index, 0);
            }
            return;
        };
        let full = self.host(host).full.has(address.port());
        let queue = &mut self.queues[listener as usize];
        // The kernel accepts one connection more than the backlog.
        if full || queue.waiting.len() + queue.handshaking > queue.backlog {
            self.fault(FaultKind::FullBacklog, host);
            return self.schedule_for(again, EventKind::SynAgain, index, 0);
        }
        queue.handshaking += 1;
        let mapped = queue.address.is_ipv6() && address.is_ipv4();
        let (send, receive) = (queue.buffers.send, queue.buffers.receive);
        let reuse_address = queue.reuse_address;
        let connection = &mut self.connections[index as usize];
        connection.listener = listener;
        let [near, far] = &mut connection.ends;
        far.phase = Phase::Handshaking;
        far.reuse_address = reuse_address;
        far.room = far.room.saturating_add(receive.map_or(RECEIVE_BUFFER, granted));
        near.room = near.room.saturating_add(send.map_or(SEND_BUFFER, granted));
        if mapped {
            far.address.set_ip(mapped_address(far.address.ip()));
        }
        self.note(host, self.about(index, 1), RecordKind::Arrives(PacketKind::Syn), 0);
        self.send_syn_ack(index);
    }

    /// A refusal arrives at the client. If its path is cut, the client retransmits.
    pub(in crate::sim) fn refusal_arrives(&mut self, index: u32) {
        let connection = &self.connections[index as usize];
        if self.is_open(connection.ends[0].path) {
            return self.connect_fails(index, Errno::ECONNREFUSED);
        }
        let again = self.now + (FIRST_HANDSHAKE << connection.attempts.saturating_sub(1));
        self.schedule_for(again, EventKind::SynAgain, index, 0);
    }

    fn send_syn_ack(&mut self, index: u32) {
        let [near, far] = &self.connections[index as usize].ends;
        let (path, source, destination) = (near.path, far.address, near.address);
        let mut late = 0;
        match self.judge_packet(path, PacketKind::SynAck, 0, source, destination) {
            Verdict::Drop => {
                let again = self.now.saturating_add(FIRST_HANDSHAKE);
                return self.schedule_for(again, EventKind::SynAgain, index, 0);
            }
            Verdict::Fail(errno) => return self.connect_fails(index, errno),
            Verdict::Delay(by) => late = nanoseconds(by),
            Verdict::Pass | Verdict::Short(_) => {}
        }
        let arrival = self.travel(path, self.now, 0).saturating_add(late);
        if arrival <= self.now {
            self.syn_ack_arrives(index);
        } else {
            self.schedule_for(arrival, EventKind::SynAck, index, 0);
        }
    }

    pub(in crate::sim) fn syn_ack_arrives(&mut self, index: u32) {
        let near = &self.connections[index as usize].ends[0];
        let (path, phase, host) = (near.path, near.phase, near.host);
        if phase.is_gone() {
            if self.host(host).up {
                self.transmit_without_rules(index, 1, self.now, Payload::Reset);
            } else {
                self.schedule_for(self.now + HANDSHAKE_LIMIT, EventKind::HandshakeOver, index, 1);
            }
        } else if !self.is_open(path) {
            let attempts = self.connections[index as usize].attempts;
            let again = self.now.saturating_add(FIRST_HANDSHAKE << attempts.saturating_sub(1));
            self.schedule_for(again, EventKind::SynAgain, index, 0);
        } else if phase == Phase::Connecting {
            let process = near.process;
            self.establish(index, 0);
            let at = if process == NO_PROCESS { self.now } else { self.local_now(process) };
            self.transmit(index, 1, at, Payload::Ack);
        }
    }

    /// The handshake's ACK has arrived: the connection is ready to be accepted.
    pub(in crate::sim) fn handshake_completes(&mut self, index: u32) {
        let listener = self.connections[index as usize].listener;
        // The listener exists: closing it drops the ends whose handshake is incomplete.
        let Some(queue) = self.queues.get_mut(listener as usize) else { return };
        let far = &mut self.connections[index as usize].ends[1];
        far.phase = Phase::Queued;
        queue.handshaking -= 1;
        queue.waiting.push_back(index);
        let host = queue.host;
        self.note(host, self.about(index, 1), RecordKind::Arrives(PacketKind::Ack), 0);
        self.report_listener(listener);
    }

    /// The listening side drops a connection whose handshake is incomplete. Later segments are
    /// answered with a reset.
    pub(in crate::sim) fn handshake_over(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        let listener = connection.listener;
        let far = &mut connection.ends[1];
        if far.phase != Phase::Handshaking {
            return;
        }
        far.flight.retain(|segment| segment.payload != Payload::Ack);
        far.leave(Phase::Closed);
        if let Some(queue) = self.queues.get_mut(listener as usize) {
            queue.handshaking -= 1;
        }
        self.remove_if_over(index);
    }

    fn establish(&mut self, index: u32, side: usize) {
        let connection = &mut self.connections[index as usize];
        let serial = connection.serial;
        let end = &mut connection.ends[side];
        end.phase = Phase::Open;
        let host = end.host;
        self.note(host, About::end(serial, side), RecordKind::Arrives(PacketKind::SynAck), 0);
        // The send buffer is empty even if the peer has no room: writability reports the
        // connection.
        self.report_with_room(index, side, Readiness::ALL, true);
    }

    /// Fails a connect. A server side that exists already receives a reset.
    pub(in crate::sim) fn connect_fails(&mut self, index: u32, errno: Errno) {
        let [near, far] = &mut self.connections[index as usize].ends;
        if near.phase != Phase::Connecting {
            return;
        }
        let taken = !far.phase.is_gone();
        if !taken {
            far.leave(Phase::Closed);
        }
        self.reset_end(index, 0, errno);
        if taken {
            self.transmit_without_rules(index, 1, self.now, Payload::Reset);
        }
    }
}

/// Returns the buffer size that Linux grants: twice the requested size, at least 4,096 bytes.
pub(in crate::sim) fn granted(asked: usize) -> usize {
    asked.saturating_mul(2).max(4096)
}

/// The first retransmission delay of a SYN in nanoseconds, doubled each time, and the number of
/// attempts: 127 s in all, as on Linux.
const FIRST_HANDSHAKE: u64 = 1_000_000_000;
const HANDSHAKES: u8 = 7;

/// The timeout of an incomplete handshake at the listening side in nanoseconds: five
/// retransmissions on Linux.
pub(in crate::sim) const HANDSHAKE_LIMIT: u64 = 63_000_000_000;

/// The timeout of neighbour discovery in nanoseconds, as on Linux.
const NO_NEIGHBOUR: u64 = 3_000_000_000;

/// Default sizes of the send and receive buffers in bytes: about the size to which Linux lets them
/// grow on a loopback.
const SEND_BUFFER: usize = 1024 * 1024;
const RECEIVE_BUFFER: usize = 2 * 1024 * 1024;
