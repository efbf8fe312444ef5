//! Listening, connecting and accepting: handshakes, queues and ports.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::connection::{Connection, End, Payload, Phase};
use super::coverage::FaultKind;
use super::errno::Errno;
use super::events::Happening;
use super::process::Socket;
use super::rule::{CallKind, PacketKind, Verdict};
use super::trace::{About, Text, What};
use super::world::{FIRST_PORT, LAST_PORT, World};
use crate::net::{Accepted, Buffers, Close, Open, OpenError, Ready, Step, Token};

/// A listener and the connections that wait for it.
pub(super) struct Queue {
    pub(super) serial: u32,
    pub(super) process: u32,
    pub(super) token: Token,
    pub(super) host: u32,
    pub(super) address: SocketAddr,
    pub(super) backlog: usize,
    ipv6_only: bool,
    reuse_address: bool,
    reuse_port: bool,
    buffers: Buffers,
    pub(super) waiting: VecDeque<u32>,
    pub(super) news: Ready,
    /// With minimal edges: it may be told of one more.
    armed: bool,
}

impl World {
    pub(super) fn open(&mut self, process: u32, token: Token, what: &Open) -> Result<(), OpenError> {
        self.allow(process, CallKind::Socket, Step::Socket)?;
        if self.is_out_of_descriptors(process) {
            return failed(Step::Socket, Errno::EMFILE);
        }
        match what {
            Open::TcpListen { address, reuse_address, reuse_port, ipv6_only, backlog, buffers } => self
                .listen(Queue {
                    serial: 0,
                    process,
                    token,
                    host: self.process(process).host,
                    address: *address,
                    backlog: *backlog as usize,
                    ipv6_only: ipv6_only.unwrap_or(false),
                    reuse_address: *reuse_address,
                    reuse_port: *reuse_port,
                    buffers: *buffers,
                    waiting: VecDeque::new(),
                    news: Ready::default(),
                    armed: true,
                }),
            Open::TcpConnect { address, bind, reuse_address, buffers } => {
                self.connect(process, token, *address, (*bind, *reuse_address), *buffers)
            }
        }
    }

    /// Asks the rules about a step of opening a socket.
    fn allow(&mut self, process: u32, kind: CallKind, step: Step) -> Result<(), OpenError> {
        match self.before(process, kind, 0) {
            Verdict::Fail(errno) => {
                self.note_call(process, About::NOTHING, kind, -i64::from(errno.raw()));
                failed(step, errno)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn is_out_of_descriptors(&mut self, process: u32) -> bool {
        let found = self.process(process);
        let (out, host) = (found.open >= found.limit.saturating_sub(OWN_DESCRIPTORS), found.host);
        if out {
            self.fault(FaultKind::DescriptorLimit, host);
        }
        out
    }

    // -- listening --

    fn listen(&mut self, mut queue: Queue) -> Result<(), OpenError> {
        let (host, process, token, asked) = (queue.host, queue.process, queue.token, queue.address);
        self.allow(process, CallKind::Bind, Step::Bind)?;
        if !self.is_own(host, asked.ip()) {
            return failed(Step::Bind, Errno::EADDRNOTAVAIL);
        }
        if asked.port() == 0 {
            let free = (FIRST_PORT..=LAST_PORT).find_map(|_| {
                let port = self.next_port(host);
                self.host(host).listeners.get(&port).is_none_or(Vec::is_empty).then_some(port)
            });
            queue
                .address
                .set_port(free.ok_or(OpenError { step: Step::Bind, error: Errno::EADDRINUSE.into() })?);
        } else if self.listeners_at(host, asked, queue.ipv6_only).any(|o| !(o.reuse_port && queue.reuse_port))
            || self.is_connected_from(host, asked, queue.reuse_address)
        {
            return failed(Step::Bind, Errno::EADDRINUSE);
        }
        self.allow(process, CallKind::Listen, Step::Listen)?;
        self.allow(process, CallKind::Watch, Step::Watch)?;
        let serial = self.next_serial();
        queue.serial = serial;
        let address = queue.address;
        let index = self.queues.insert(queue) as u32;
        self.host_mut(host).listeners.entry(address.port()).or_default().push(index);
        self.process_mut(process).insert(token, Socket::Listener(index));
        self.note_text(host, About::listener(serial), What::Opens, Text::ListensOn(address));
        Ok(())
    }

    pub(super) fn is_own(&self, host: u32, address: IpAddr) -> bool {
        let (address, machine) = (address.to_canonical(), self.host(host));
        address.is_unspecified()
            || address.is_loopback()
            || machine.binds_any_address
            || machine.addresses.contains(&address)
    }

    /// Listeners that take connections which one at this address would take as well.
    fn listeners_at(&self, host: u32, address: SocketAddr, ipv6_only: bool) -> impl Iterator<Item = &Queue> {
        let there = self.host(host).listeners.get(&address.port()).into_iter().flatten();
        let others = there.map(|queue| &self.queues[*queue as usize]);
        others.filter(move |other| {
            let (ours, theirs) = (address.ip().to_canonical(), other.address.ip().to_canonical());
            match (ours.is_ipv4(), theirs.is_ipv4()) {
                (true, true) | (false, false) => overlap(ours, theirs),
                // An IPv6 wildcard takes IPv4 as well, if it may.
                (true, false) => theirs.is_unspecified() && !other.ipv6_only,
                (false, true) => ours.is_unspecified() && !ipv6_only,
            }
        })
    }

    /// Whether a connection has this port on its side, and does not share it.
    fn is_connected_from(&self, host: u32, address: SocketAddr, reuse_address: bool) -> bool {
        let ends = self.connections.iter().flat_map(|(_, connection)| &connection.ends);
        let mut here = ends.filter(|end| end.host == host && end.address.port() == address.port());
        here.any(|end| {
            let shares = reuse_address && end.reuse_address;
            !end.phase.is_gone()
                && !shares
                && overlap(end.address.ip().to_canonical(), address.ip().to_canonical())
        })
    }

    /// The listener that a connection to this address belongs to: the most particular one; of several of
    /// the same kind the one that the seed decides.
    fn listener_for(&mut self, host: u32, address: SocketAddr) -> Option<u32> {
        let there = self.hosts[host as usize].listeners.get(&address.port())?;
        let rank = |queue: &u32| {
            let queue = &self.queues[*queue as usize];
            let (ours, theirs) = (queue.address.ip(), address.ip().to_canonical());
            if ours.to_canonical() == theirs {
                Some(0)
            } else if ours.is_unspecified() && ours.is_ipv4() == theirs.is_ipv4() {
                Some(1)
            } else if ours.is_unspecified() && ours.is_ipv6() && !queue.ipv6_only {
                Some(2)
            } else {
                None
            }
        };
        let best = there.iter().filter_map(rank).min()?;
        let mut equals = there.iter().copied().filter(|queue| rank(queue) == Some(best));
        match equals.clone().count() {
            1 => equals.next(),
            several => equals.nth(self.random.order.index(several)),
        }
    }

    pub(super) fn close_queue(&mut self, index: u32, how: Close) {
        let Some(queue) = self.queues.try_remove(index as usize) else { return };
        if let Some(there) = self.host_mut(queue.host).listeners.get_mut(&queue.address.port()) {
            there.retain(|other| *other != index);
        }
        self.note(queue.host, About::listener(queue.serial), What::Closes, 0);
        for connection in queue.waiting {
            match how {
                Close::Reset => self.close_end(queue.host, connection, 1, self.now, Close::Reset),
                Close::Graceful => self.connections[connection as usize].ends[1].leave(Phase::Vanished),
            }
            self.forget_if_over(connection);
        }
    }

    // -- connecting --

    fn connect(
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
            // Both are addresses.
            remote.set_ip(loopback.parse().unwrap_or(remote.ip()));
        }
        let mut local = bind.unwrap_or(SocketAddr::new(remote.ip(), 0));
        if let Some(bind) = bind {
            self.allow(process, CallKind::Bind, Step::Bind)?;
            if !self.is_own(host, bind.ip()) {
                return failed(Step::Bind, Errno::EADDRNOTAVAIL);
            }
            if bind.is_ipv4() != remote.is_ipv4() {
                return failed(Step::Bind, Errno::EAFNOSUPPORT);
            }
            let taken = self.listeners_at(host, bind, false).next().is_some()
                || self.is_connected_from(host, bind, reuse_address);
            if bind.port() != 0 && taken {
                return failed(Step::Bind, Errno::EADDRINUSE);
            }
        }
        self.allow(process, CallKind::Connect, Step::Connect)?;
        if bind.is_none_or(|bind| bind.ip().is_unspecified()) {
            match self.source_address(host, remote.ip()) {
                Some(source) if remote.is_ipv6() && source.is_ipv4() => local.set_ip(mapped_address(source)),
                Some(source) => local.set_ip(source),
                None => return failed(Step::Connect, Errno::ENETUNREACH),
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
                None => return failed(Step::Connect, Errno::EADDRNOTAVAIL),
            }
        } else if self.ports.contains(&(host, local.port(), remote)) {
            return failed(Step::Connect, Errno::EADDRNOTAVAIL);
        }
        self.allow(process, CallKind::Watch, Step::Watch)?;
        let serial = self.next_serial();
        let to = self.find_host(host, remote.ip());
        let there = to.unwrap_or(host);
        let mut near = End::new(host, self.path(there, host), local);
        near.phase = Phase::Connecting;
        near.process = process;
        near.token = token;
        near.reuse_address = reuse_address;
        near.room = buffers.receive.map_or(RECEIVE_BUFFER, granted);
        let mut far = End::new(there, self.path(host, there), remote);
        far.room = buffers.send.map_or(SEND_BUFFER, granted);
        let with_itself =
            there == host && (local.ip().to_canonical(), local.port()) == (remote.ip(), remote.port());
        if with_itself {
            near.room += far.room;
        }
        let machine = self.host(host);
        let held = machine.holds_connects && machine.bare != Some(process) && !with_itself;
        let connection = Connection { serial, ends: [near, far], with_itself, held, attempts: 0 };
        let index = self.connections.insert(connection) as u32;
        self.ports.insert((host, local.port(), remote));
        self.process_mut(process).insert(token, Socket::Stream { connection: index, side: 0 });
        self.note_text(host, About::end(serial, 0), What::Opens, Text::Connects(local, remote));
        if with_itself {
            self.establish(index, 0);
        } else if !held {
            self.begin_handshake(index, to);
        }
        Ok(())
    }

    /// Asks a host for a connection, if there is one.
    pub(super) fn begin_handshake(&mut self, index: u32, to: Option<u32>) {
        if to.is_some() {
            return self.send_syn(index);
        }
        let process = self.connections[index as usize].ends[0].process;
        self.schedule_for(self.local_now(process) + NO_NEIGHBOUR, Happening::Unreachable, index, 0);
    }

    pub(super) fn next_port(&mut self, host: u32) -> u16 {
        let machine = self.host_mut(host);
        let port = machine.next_port;
        machine.next_port = if port >= LAST_PORT { FIRST_PORT } else { port + 1 };
        port
    }

    /// Sends the handshake, for the first time or again.
    pub(super) fn send_syn(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        let [near, far] = &connection.ends;
        if near.phase != Phase::Connecting || near.reset {
            return;
        }
        connection.attempts += 1;
        if connection.attempts > HANDSHAKES {
            return self.connect_fails(index, Errno::ETIMEDOUT);
        }
        let at = match near.process {
            super::connection::NOBODY => self.now,
            process => self.now + self.processes[process as usize].ahead,
        };
        let (source, destination, path) = (near.address, far.address, far.path);
        let wait = FIRST_HANDSHAKE << (connection.attempts - 1);
        let mut late = 0;
        match self.judge_packet(path, PacketKind::Syn, 0, source, destination) {
            Verdict::Drop => {
                return self.schedule_for(at + wait, Happening::SynAgain, index, 0);
            }
            Verdict::Fail(errno) => return self.connect_fails(index, errno),
            Verdict::Delay(by) => late = by.as_nanos() as u64,
            Verdict::Pass | Verdict::Short(_) => {}
        }
        let way = &mut self.paths[path as usize];
        let lost = way.link.loss > 0.0 && self.random.links.chance(way.link.loss);
        if lost {
            let to = way.to;
            self.fault(FaultKind::Loss, to);
            return self.schedule_for(at + wait, Happening::SynAgain, index, 0);
        }
        let arrival = match way.plain {
            Some(latency) => at + latency,
            None => way.travel(at, 0, &mut self.random.links),
        };
        if arrival + late <= self.now {
            self.syn_arrives(index);
        } else {
            self.schedule_for(arrival + late, Happening::Syn, index, 0);
        }
    }

    /// The handshake comes to the host that it asks.
    pub(super) fn syn_arrives(&mut self, index: u32) {
        let connection = &self.connections[index as usize];
        let [near, far] = &connection.ends;
        if near.phase != Phase::Connecting || near.reset {
            // Whoever asked has given up.
            return;
        }
        let (host, path, address, phase) = (far.host, far.path, far.address, far.phase);
        let wait = FIRST_HANDSHAKE << connection.attempts.saturating_sub(1);
        let again = self.now + wait;
        if !self.is_open(path) {
            return self.schedule_for(again, Happening::SynAgain, index, 0);
        }
        if phase != Phase::Nothing {
            return self.send_syn_ack(index);
        }
        let machine = self.host(host);
        if machine.silent.has(address.port()) {
            self.fault(FaultKind::Silence, host);
            return self.schedule_for(again, Happening::SynAgain, index, 0);
        }
        let refuses = machine.refuses.has(address.port());
        if refuses {
            self.fault(FaultKind::Refusal, host);
        }
        let listener = if refuses { None } else { self.listener_for(host, address) };
        let Some(listener) = listener else {
            self.note(host, self.about(index, 1), What::Lost(PacketKind::Syn), 0);
            let back = self.connections[index as usize].ends[0].path;
            let arrival = self.travel(back, self.now, 0);
            if arrival <= self.now {
                self.connect_fails(index, Errno::ECONNREFUSED);
            } else {
                self.schedule_for(arrival, Happening::Refused, index, 0);
            }
            return;
        };
        let full = self.host(host).full.has(address.port());
        let queue = &mut self.queues[listener as usize];
        // The system takes one more than it is asked for.
        if full || queue.waiting.len() > queue.backlog {
            self.fault(FaultKind::FullBacklog, host);
            return self.schedule_for(again, Happening::SynAgain, index, 0);
        }
        queue.waiting.push_back(index);
        let mapped = queue.address.is_ipv6() && address.is_ipv4();
        let (send, receive) = (queue.buffers.send, queue.buffers.receive);
        let reuse_address = queue.reuse_address;
        self.tell_queue(listener);
        let [near, far] = &mut self.connections[index as usize].ends;
        far.phase = Phase::Queued;
        far.reuse_address = reuse_address;
        far.room += receive.map_or(RECEIVE_BUFFER, granted);
        near.room += send.map_or(SEND_BUFFER, granted);
        if mapped {
            far.address.set_ip(mapped_address(far.address.ip()));
        }
        self.note(host, self.about(index, 1), What::Arrives(PacketKind::Syn), 0);
        self.send_syn_ack(index);
    }

    fn send_syn_ack(&mut self, index: u32) {
        let [near, far] = &self.connections[index as usize].ends;
        let (path, source, destination) = (near.path, far.address, near.address);
        let mut late = 0;
        match self.judge_packet(path, PacketKind::SynAck, 0, source, destination) {
            Verdict::Drop => {
                let again = self.now + FIRST_HANDSHAKE;
                return self.schedule_for(again, Happening::SynAgain, index, 0);
            }
            Verdict::Fail(errno) => {
                self.connect_fails(index, errno);
                return self.transmit_plainly(index, 1, self.now, Payload::Reset);
            }
            Verdict::Delay(by) => late = by.as_nanos() as u64,
            Verdict::Pass | Verdict::Short(_) => {}
        }
        let arrival = self.travel(path, self.now, 0).saturating_add(late);
        if arrival <= self.now {
            self.syn_ack_arrives(index);
        } else {
            self.schedule_for(arrival, Happening::SynAck, index, 0);
        }
    }

    pub(super) fn syn_ack_arrives(&mut self, index: u32) {
        let near = &self.connections[index as usize].ends[0];
        let (path, phase, host) = (near.path, near.phase, near.host);
        if phase.is_gone() {
            if self.host(host).up {
                self.transmit_plainly(index, 1, self.now, Payload::Reset);
            }
        } else if !self.is_open(path) {
            let attempts = self.connections[index as usize].attempts;
            let again = self.now + (FIRST_HANDSHAKE << attempts.saturating_sub(1));
            self.schedule_for(again, Happening::SynAgain, index, 0);
        } else if phase == Phase::Connecting {
            self.establish(index, 0);
        }
    }

    fn establish(&mut self, index: u32, side: usize) {
        let connection = &mut self.connections[index as usize];
        let serial = connection.serial;
        let end = &mut connection.ends[side];
        end.phase = Phase::Open;
        let host = end.host;
        self.note(host, About::end(serial, side), What::Arrives(PacketKind::SynAck), 0);
        // Its own buffer is empty, whatever the other side takes: that it can be written to is how it is told.
        self.tell_of_room(index, side, Ready::ALL, true);
    }

    pub(super) fn connect_fails(&mut self, index: u32, errno: Errno) {
        let [near, far] = &mut self.connections[index as usize].ends;
        if near.phase == Phase::Connecting {
            far.leave(Phase::Closed);
            self.reset_end(index, 0, errno);
        }
    }

    // -- accepting --

    pub(super) fn accept(&mut self, process: u32, listener: Token, token: Token) -> io::Result<Accepted> {
        let index = self.process(process).listener(listener)?;
        let serial = self.queues[index as usize].serial;
        let verdict = self.before(process, CallKind::Accept, 0);
        let result = match verdict {
            // The queue stays as it is, so it is news again.
            Verdict::Drop | Verdict::Fail(Errno::EAGAIN) => {
                self.accept_again(index);
                Err(Errno::EAGAIN)
            }
            Verdict::Fail(errno) => Err(errno),
            _ if self.queues[index as usize].waiting.is_empty() => {
                self.queues[index as usize].armed = true;
                Err(Errno::EAGAIN)
            }
            _ if self.is_out_of_descriptors(process) => Err(Errno::EMFILE),
            _ => Ok(()),
        };
        let value = result.as_ref().map_or_else(|errno| -i64::from(errno.raw()), |()| 0);
        self.note_call(process, About::listener(serial), CallKind::Accept, value);
        result.map_err(io::Error::from)?;
        // It was found to have one.
        let Some(connection) = self.queues[index as usize].waiting.pop_front() else {
            return Err(Errno::EAGAIN.into());
        };
        let watched = self.allow(process, CallKind::Watch, Step::Watch);
        let [near, far] = &mut self.connections[connection as usize].ends;
        let mapped = far.address.is_ipv6() && near.address.ip().to_canonical().is_ipv4();
        let mut peer = near.address;
        peer.set_ip(if mapped { mapped_address(peer.ip()) } else { peer.ip().to_canonical() });
        far.phase = Phase::Open;
        if let Err(failed) = watched {
            let host = far.host;
            self.close_end(host, connection, 1, self.now, Close::Graceful);
            return Ok(Accepted::Dropped(failed.error));
        }
        far.process = process;
        far.token = token;
        self.process_mut(process).insert(token, Socket::Stream { connection, side: 1 });
        let host = self.process(process).host;
        let serial = self.connections[connection as usize].serial;
        self.note_text(host, About::end(serial, 1), What::Opens, Text::ConnectedFrom(peer));
        self.tell(connection, 1, Ready::ALL);
        Ok(Accepted::Connection(peer))
    }

    fn accept_again(&mut self, index: u32) {
        let queue = &mut self.queues[index as usize];
        queue.armed = true;
        if !queue.waiting.is_empty() {
            let host = queue.host;
            self.fault(FaultKind::WouldBlock, host);
            self.tell_queue(index);
        }
    }

    /// A connection waits.
    fn tell_queue(&mut self, index: u32) {
        let queue = &mut self.queues[index as usize];
        if self.minimal_edges && !std::mem::replace(&mut queue.armed, false) {
            return;
        }
        let first = queue.news == Ready::default();
        queue.news.insert(Ready::READABLE);
        if first {
            let (process, token) = (queue.process, queue.token);
            self.process_mut(process).news.push(token);
            self.wake(process);
        }
    }

    pub(super) fn shed(&mut self, process: u32, listener: Token, most: usize) -> usize {
        let Ok(index) = self.process(process).listener(listener) else { return 0 };
        let mut shed = 0;
        while shed < most {
            let queue = &mut self.queues[index as usize];
            let Some(connection) = queue.waiting.pop_front() else {
                queue.armed = true;
                break;
            };
            let host = queue.host;
            self.connections[connection as usize].ends[1].phase = Phase::Open;
            self.close_end(host, connection, 1, self.now, Close::Graceful);
            shed += 1;
        }
        shed
    }
}

fn failed<T>(step: Step, errno: Errno) -> Result<T, OpenError> {
    Err(OpenError { step, error: errno.into() })
}

/// Whether some destination belongs to both addresses, of one family.
fn overlap(one: IpAddr, other: IpAddr) -> bool {
    one == other || (one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified()))
}

fn mapped_address(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V6(address.to_ipv6_mapped()),
        address => address,
    }
}

/// Linux doubles what it is asked for, and grants no less than this.
fn granted(asked: usize) -> usize {
    (asked * 2).max(4096)
}

/// The first wait for an answer, doubled each time, and how many there are: 127 seconds in all, as on Linux.
const FIRST_HANDSHAKE: u64 = 1_000_000_000;
const HANDSHAKES: u8 = 7;

/// How long a host looks for a neighbour that does not exist, as on Linux.
const NO_NEIGHBOUR: u64 = 3_000_000_000;

/// Bytes that the sender's and the receiver's systems keep where nobody asked for another size: what Linux lets
/// its buffers grow to on a loopback is about as much.
const SEND_BUFFER: usize = 1024 * 1024;
const RECEIVE_BUFFER: usize = 2 * 1024 * 1024;

/// Standard streams, the poll, the waker, the spare one.
const OWN_DESCRIPTORS: usize = 6;
