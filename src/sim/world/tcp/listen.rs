//! Listening and accepting: ports, backlogs and the choice of a listener.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::net::{Accepted, Address, Buffers, Close, Open, OpenError, OpenStep, Readiness, Token};
use crate::sim::network::coverage::FaultKind;
use crate::sim::network::errno::Errno;
use crate::sim::network::rule::{CallKind, Verdict};
use crate::sim::network::trace::{About, RecordKind, Text};
use crate::sim::world::process::Socket;
use crate::sim::world::tcp::connection::Phase;
use crate::sim::world::unix::names::{Name, Naming};
use crate::sim::world::{FIRST_PORT, LAST_PORT, World};

/// A listener and its queue of connections.
pub(in crate::sim) struct Queue {
    pub(in crate::sim) serial: u32,
    pub(in crate::sim) process: u32,
    pub(in crate::sim) token: Token,
    pub(in crate::sim) host: u32,
    pub(in crate::sim) address: SocketAddr,
    /// The name of a UNIX listener.
    pub(in crate::sim) name: Option<Name>,
    pub(in crate::sim) backlog: usize,
    ipv6_only: bool,
    pub(in crate::sim) reuse_address: bool,
    reuse_port: bool,
    pub(in crate::sim) buffers: Buffers,
    pub(in crate::sim) waiting: VecDeque<u32>,
    /// Connections with an incomplete handshake; each occupies a place of the backlog.
    pub(in crate::sim) handshaking: usize,
    pub(in crate::sim) pending: Readiness,
    /// With minimal readiness: reported, and no `accept` has failed with EAGAIN since.
    reported: bool,
    /// Its readiness is not reported.
    paused: bool,
}

impl Queue {
    pub(in crate::sim) fn new(
        process: u32,
        token: Token,
        host: u32,
        address: SocketAddr,
        backlog: u32,
        buffers: Buffers,
    ) -> Queue {
        Queue {
            serial: 0,
            process,
            token,
            host,
            address,
            name: None,
            backlog: backlog as usize,
            ipv6_only: false,
            reuse_address: false,
            reuse_port: false,
            buffers,
            waiting: VecDeque::new(),
            handshaking: 0,
            pending: Readiness::default(),
            reported: false,
            paused: false,
        }
    }

    /// Takes the pending readiness; none if the queue is empty by now.
    pub(in crate::sim) fn take_pending(&mut self) -> Readiness {
        let pending = std::mem::take(&mut self.pending);
        if self.waiting.is_empty() { Readiness::default() } else { pending }
    }
}

impl World {
    pub(in crate::sim) fn open(&mut self, process: u32, token: Token, open: &Open) -> Result<(), OpenError> {
        self.allow(process, CallKind::Socket, OpenStep::Socket)?;
        if self.is_out_of_descriptors(process) {
            return failed(OpenStep::Socket, Errno::EMFILE);
        }
        match open {
            Open::TcpListen {
                address,
                reuse_address,
                reuse_port,
                ipv6_only,
                backlog,
                buffers,
                nodelay: _,
            } => {
                let host = self.process(process).host;
                self.listen(Queue {
                    ipv6_only: ipv6_only.unwrap_or(false),
                    reuse_address: *reuse_address,
                    reuse_port: *reuse_port,
                    ..Queue::new(process, token, host, *address, *backlog, *buffers)
                })
            }
            Open::TcpConnect { address, bind, reuse_address, buffers } => {
                self.connect(process, token, *address, (*bind, *reuse_address), *buffers)
            }
            Open::UnixListen { address, mode, backlog, remove_stale, unlink, buffers } => {
                let naming = Naming { mode: *mode, remove_stale: *remove_stale, unlink: *unlink };
                self.listen_unix(process, token, address, (naming, *backlog), *buffers)
            }
            Open::UnixConnect { address, bind, buffers } => {
                self.connect_unix(process, token, address, bind.as_ref(), *buffers)
            }
            Open::Udp { .. } => self.open_udp(process, token, open),
            Open::UnixDatagram { bind, connect, mode, remove_stale, unlink, buffers } => {
                let naming = Naming { mode: *mode, remove_stale: *remove_stale, unlink: *unlink };
                let bind = bind.as_ref().map(|bind| (bind, naming));
                self.open_unix_datagram(process, token, bind, connect.as_ref(), *buffers)
            }
        }
    }

    /// Asks the rules about a step of opening a socket.
    pub(in crate::sim) fn allow(
        &mut self,
        process: u32,
        kind: CallKind,
        step: OpenStep,
    ) -> Result<(), OpenError> {
        match self.before(process, kind, 0) {
            Verdict::Fail(errno) => {
                self.note_call(process, About::NOTHING, kind, -i64::from(errno.raw()));
                failed(step, errno)
            }
            _ => Ok(()),
        }
    }

    pub(in crate::sim) fn is_out_of_descriptors(&mut self, process: u32) -> bool {
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
        self.allow(process, CallKind::Bind, OpenStep::Bind)?;
        if !self.is_own(host, asked.ip()) {
            return failed(OpenStep::Bind, Errno::EADDRNOTAVAIL);
        }
        if asked.port() == 0 {
            let free = (FIRST_PORT..=LAST_PORT).find_map(|_| {
                let port = self.next_port(host);
                self.host(host).listeners.get(&port).is_none_or(Vec::is_empty).then_some(port)
            });
            queue
                .address
                .set_port(free.ok_or(OpenError { step: OpenStep::Bind, error: Errno::EADDRINUSE.into() })?);
        } else if self.listeners_at(host, asked, queue.ipv6_only).any(|o| !(o.reuse_port && queue.reuse_port))
            || self.is_connected_from(host, asked, queue.reuse_address)
        {
            return failed(OpenStep::Bind, Errno::EADDRINUSE);
        }
        self.allow(process, CallKind::Listen, OpenStep::Listen)?;
        self.allow(process, CallKind::Watch, OpenStep::Watch)?;
        let serial = self.next_serial();
        queue.serial = serial;
        let address = queue.address;
        let index = self.queues.insert(queue) as u32;
        self.host_mut(host).listeners.entry(address.port()).or_default().push(index);
        self.process_mut(process).insert(token, Socket::Listener(index));
        self.note_text(host, About::listener(serial), RecordKind::Opens, Text::ListensOn(address));
        Ok(())
    }

    pub(in crate::sim) fn is_own(&self, host: u32, address: IpAddr) -> bool {
        let (address, machine) = (address.to_canonical(), self.host(host));
        address.is_unspecified()
            || address.is_loopback()
            || machine.binds_any_address
            || machine.addresses.contains(&address)
    }

    /// Returns the listeners that conflict with a listener at this address.
    pub(in crate::sim) fn listeners_at(
        &self,
        host: u32,
        address: SocketAddr,
        ipv6_only: bool,
    ) -> impl Iterator<Item = &Queue> {
        let candidates = self.host(host).listeners.get(&address.port()).into_iter().flatten();
        let others = candidates.map(|queue| &self.queues[*queue as usize]);
        others.filter(move |other| {
            let (ours, theirs) = (address.ip().to_canonical(), other.address.ip().to_canonical());
            match (ours.is_ipv4(), theirs.is_ipv4()) {
                (true, true) | (false, false) => overlap(ours, theirs),
                // An IPv6 wildcard takes IPv4 as well, unless it is IPv6-only.
                (true, false) => theirs.is_unspecified() && !other.ipv6_only,
                (false, true) => ours.is_unspecified() && !ipv6_only,
            }
        })
    }

    /// Returns whether a connection has this local port and does not share it.
    pub(in crate::sim) fn is_connected_from(
        &self,
        host: u32,
        address: SocketAddr,
        reuse_address: bool,
    ) -> bool {
        let ends = self.connections.iter().flat_map(|(_, connection)| &connection.ends);
        let mut here = ends.filter(|end| end.host == host && end.address.port() == address.port());
        here.any(|end| {
            let shares = reuse_address && end.reuse_address;
            !end.phase.is_gone()
                && !shares
                && overlap(end.address.ip().to_canonical(), address.ip().to_canonical())
        })
    }

    /// Returns the listener for connections to this address: the most specific one. The seed
    /// chooses among equally specific ones.
    pub(in crate::sim) fn listener_for(&mut self, host: u32, address: SocketAddr) -> Option<u32> {
        let candidates = self.hosts[host as usize].listeners.get(&address.port())?;
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
        let best = candidates.iter().filter_map(rank).min()?;
        let mut equals = candidates.iter().copied().filter(|queue| rank(queue) == Some(best));
        match equals.clone().count() {
            1 => equals.next(),
            several => equals.nth(self.random.order.index(several)),
        }
    }

    pub(in crate::sim) fn close_queue(&mut self, index: u32, how: Close) {
        let Some(queue) = self.queues.try_remove(index as usize) else { return };
        if let Some(candidates) = self.host_mut(queue.host).listeners.get_mut(&queue.address.port()) {
            candidates.retain(|other| *other != index);
        }
        if let Some(name) = &queue.name {
            self.release_name(queue.host, queue.process, name);
        }
        self.note(queue.host, About::listener(queue.serial), RecordKind::Closes, 0);
        if queue.handshaking > 0 {
            let incomplete =
                |(at, connection): (usize, &mut crate::sim::world::tcp::connection::Connection)| {
                    let far = &mut connection.ends[1];
                    if connection.listener != index || far.phase != Phase::Handshaking {
                        return None;
                    }
                    // Later segments are answered with a reset, unless the host has lost power.
                    far.leave(if how == Close::Reset { Phase::Closed } else { Phase::Vanished });
                    Some(at as u32)
                };
            let incomplete: Vec<u32> = self.connections.iter_mut().filter_map(incomplete).collect();
            incomplete.into_iter().for_each(|connection| self.remove_if_over(connection));
        }
        for connection in queue.waiting {
            match how {
                Close::Reset => self.close_end(queue.host, connection, 1, self.now, Close::Reset),
                Close::Graceful => self.connections[connection as usize].ends[1].leave(Phase::Vanished),
            }
            self.remove_if_over(connection);
        }
    }

    // -- accepting --

    pub(in crate::sim) fn accept(
        &mut self,
        process: u32,
        listener: Token,
        token: Token,
    ) -> io::Result<Accepted> {
        let index = self.process(process).listener(listener)?;
        let accepted = self.accept_from(index, process, token);
        self.report_again(index);
        accepted
    }

    fn accept_from(&mut self, index: u32, process: u32, token: Token) -> io::Result<Accepted> {
        let serial = self.queues[index as usize].serial;
        let verdict = self.before(process, CallKind::Accept, 0);
        let result = match verdict {
            Verdict::Drop | Verdict::Fail(Errno::EAGAIN) => {
                let queue = &self.queues[index as usize];
                if !queue.waiting.is_empty() {
                    self.fault(FaultKind::WouldBlock, queue.host);
                }
                Err(Errno::EAGAIN)
            }
            Verdict::Fail(errno) => Err(errno),
            _ if self.queues[index as usize].waiting.is_empty() => Err(Errno::EAGAIN),
            _ if self.is_out_of_descriptors(process) => Err(Errno::EMFILE),
            _ => Ok(()),
        };
        let value = result.as_ref().map_or_else(|errno| -i64::from(errno.raw()), |()| 0);
        self.note_call(process, About::listener(serial), CallKind::Accept, value);
        result.map_err(io::Error::from)?;
        // The queue was not empty above.
        let Some(connection) = self.queues[index as usize].waiting.pop_front() else {
            return Err(Errno::EAGAIN.into());
        };
        let watched = self.allow(process, CallKind::Watch, OpenStep::Watch);
        let found = &mut self.connections[connection as usize];
        let unix = found.unix.as_ref().map(|unix| unix.names[0].clone());
        let [near, far] = &mut found.ends;
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
        let text = match &unix {
            Some(peer) => Text::Words(format!("from {peer}")),
            None => Text::ConnectedFrom(peer),
        };
        self.note_text(host, About::end(serial, 1), RecordKind::Opens, text);
        self.report(connection, 1, Readiness::ALL);
        Ok(Accepted::Connection(unix.map_or(Address::Tcp(peer), Address::Unix)))
    }

    pub(in crate::sim) fn set_listener_paused(&mut self, process: u32, listener: Token, paused: bool) {
        let Ok(index) = self.process(process).listener(listener) else { return };
        self.queues[index as usize].paused = paused;
        if !paused {
            self.report_again(index);
        }
    }

    /// Reports a queue that is still not empty.
    fn report_again(&mut self, index: u32) {
        let queue = &mut self.queues[index as usize];
        queue.reported = false;
        if !queue.waiting.is_empty() {
            self.report_listener(index);
        }
    }

    /// Reports that a connection is ready to be accepted.
    pub(in crate::sim) fn report_listener(&mut self, index: u32) {
        let queue = &mut self.queues[index as usize];
        if queue.paused || (std::mem::replace(&mut queue.reported, true) && self.minimal_edges) {
            return;
        }
        let first = queue.pending == Readiness::default();
        queue.pending.insert(Readiness::READABLE);
        if first {
            let (process, token) = (queue.process, queue.token);
            self.process_mut(process).pending.push(token);
            self.wake(process);
        }
    }

    pub(in crate::sim) fn shed(&mut self, process: u32, listener: Token, max: usize) -> usize {
        let Ok(index) = self.process(process).listener(listener) else { return 0 };
        let mut shed = 0;
        while shed < max {
            let queue = &mut self.queues[index as usize];
            let Some(connection) = queue.waiting.pop_front() else {
                queue.reported = false;
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

pub(in crate::sim) fn failed<T>(step: OpenStep, errno: Errno) -> Result<T, OpenError> {
    Err(OpenError { step, error: errno.into() })
}

/// Returns whether a destination could belong to both addresses, of one family.
pub(in crate::sim) fn overlap(one: IpAddr, other: IpAddr) -> bool {
    one == other || (one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified()))
}

pub(in crate::sim) fn mapped_address(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V6(address.to_ipv6_mapped()),
        address => address,
    }
}

/// Descriptors that every process uses: standard streams, the poll, the waker and the reserve for
/// EMFILE.
const OWN_DESCRIPTORS: usize = 6;
