//! UNIX streams: both ends are on one host.
//!
//! A connect succeeds or fails at once. Links, partitions and packet rules do not apply. Data
//! arrives with the latency of the host's loopback, so that virtual time advances while two
//! programs exchange messages.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::net::{
    Buffers, Credentials, OpenError, OpenStep, Readiness, SocketOption, Token, UnixAddress, nanoseconds,
};
use crate::sim::network::coverage::FaultKind;
use crate::sim::network::errno::Errno;
use crate::sim::network::rule::CallKind;
use crate::sim::network::trace::{About, RecordKind, Text};
use crate::sim::world::World;
use crate::sim::world::process::Socket;
use crate::sim::world::tcp::connection::{Connection, End, Payload, Phase};
use crate::sim::world::tcp::listen::{Queue, failed};
use crate::sim::world::unix::names::{Bound, Name, Naming};

/// The additional state of a UNIX stream.
pub(in crate::sim) struct Unix {
    pub(in crate::sim) names: [UnixAddress; 2],
    /// The processes of the connecting and of the listening side.
    processes: [u32; 2],
    /// The bound name of the connecting side.
    pub(in crate::sim) bound: Option<Name>,
}

impl World {
    pub(in crate::sim) fn listen_unix(
        &mut self,
        process: u32,
        token: Token,
        address: &UnixAddress,
        (naming, backlog): (Naming, u32),
        buffers: Buffers,
    ) -> Result<(), OpenError> {
        let host = self.process(process).host;
        let index = self.queues.vacant_key() as u32;
        let name = self.bind_name(process, address, naming, Bound::Queue(index))?;
        let allowed = self.allow(process, CallKind::Listen, OpenStep::Listen);
        let allowed = allowed.and_then(|()| self.allow(process, CallKind::Watch, OpenStep::Watch));
        if let Err(failed) = allowed {
            self.release_name(host, process, &name);
            return Err(failed);
        }
        let serial = self.next_serial();
        let mut queue = Queue::new(process, token, host, NO_ADDRESS, backlog, buffers);
        queue.serial = serial;
        queue.name = Some(name);
        self.queues.insert(queue);
        self.process_mut(process).insert(token, Socket::Listener(index));
        let text = Text::Words(format!("listens on {address}"));
        self.note_text(host, About::listener(serial), RecordKind::Opens, text);
        Ok(())
    }

    pub(in crate::sim) fn connect_unix(
        &mut self,
        process: u32,
        token: Token,
        address: &UnixAddress,
        bind: Option<&UnixAddress>,
        buffers: Buffers,
    ) -> Result<(), OpenError> {
        let host = self.process(process).host;
        let naming = Naming { mode: None, remove_stale: false, unlink: true };
        let bound = bind.map(|bind| self.bind_name(process, bind, naming, Bound::Stream)).transpose()?;
        let queue = match self.find_queue(process, address) {
            Ok(queue) => queue,
            Err(failed) => {
                if let Some(name) = bound {
                    self.release_name(host, process, &name);
                }
                return Err(failed);
            }
        };
        let listener = self.queues[queue as usize].process;
        let listener_name = self.queues[queue as usize].name.as_ref().map(|name| name.address.clone());
        let client_name = bound.as_ref().map_or(UnixAddress::UNNAMED, |name| name.address.clone());
        let path = self.path(host, host);
        let serial = self.next_serial();
        let text = Text::Words(format!("{client_name} to {address}"));
        let mut near = End::new(host, path, NO_ADDRESS);
        (near.phase, near.process, near.token) = (Phase::Open, process, token);
        // Linux accounts bytes in flight to the sender alone, and accepted sockets do not inherit
        // the listener's buffer sizes.
        near.room = BUFFER;
        let mut far = End::new(host, path, NO_ADDRESS);
        far.phase = Phase::Queued;
        far.room = buffers.send.map_or(BUFFER, crate::sim::world::tcp::connect::granted);
        let names = [client_name, listener_name.unwrap_or(UnixAddress::UNNAMED)];
        let unix = Some(Box::new(Unix { names, processes: [process, listener], bound }));
        let connection = Connection {
            serial,
            ends: [near, far],
            with_itself: false,
            held: false,
            attempts: 0,
            listener: 0,
            unix,
        };
        let index = self.connections.insert(connection) as u32;
        self.process_mut(process).insert(token, Socket::Stream { connection: index, side: 0 });
        self.queues[queue as usize].waiting.push_back(index);
        self.note_text(host, About::end(serial, 0), RecordKind::Opens, text);
        self.report_listener(queue);
        self.report(index, 0, Readiness::ALL);
        Ok(())
    }

    /// Returns the listener at an address, if its backlog has room.
    fn find_queue(&mut self, process: u32, address: &UnixAddress) -> Result<u32, OpenError> {
        self.allow(process, CallKind::Connect, OpenStep::Connect)?;
        if address.is_unnamed() {
            return Err(OpenError { step: OpenStep::Connect, error: io::ErrorKind::Unsupported.into() });
        }
        let host = self.process(process).host;
        let queue = match self.host(host).names.find(address) {
            Ok(Bound::Queue(queue)) => queue,
            Ok(Bound::Stream) => return failed(OpenStep::Connect, Errno::ECONNREFUSED),
            Ok(Bound::Datagram(_)) => return failed(OpenStep::Connect, Errno::EPROTOTYPE),
            Err(errno) => return failed(OpenStep::Connect, errno),
        };
        // The kernel accepts one connection more than the backlog.
        let found = &self.queues[queue as usize];
        if self.host(host).full.all || found.waiting.len() > found.backlog {
            self.fault(FaultKind::FullBacklog, host);
            return failed(OpenStep::Connect, Errno::EAGAIN);
        }
        self.allow(process, CallKind::Watch, OpenStep::Watch)?;
        Ok(queue)
    }

    /// Returns the arrival time of data that is sent to an end `at`.
    pub(in crate::sim) fn unix_arrival(&mut self, index: u32, to: usize, at: u64) -> u64 {
        let path = self.connections[index as usize].ends[to].path;
        let latency = self.paths[path as usize].link.latency.draw(&mut self.random.links);
        at.saturating_add(nanoseconds(latency))
    }

    /// The peer has closed. Writes fail from now on. With unread data at the peer, one call fails
    /// with ECONNRESET.
    pub(in crate::sim) fn end_unix(&mut self, index: u32, side: usize, unread: bool) {
        let end = &mut self.connections[index as usize].ends[side];
        end.ended = true;
        end.reset = true;
        if unread {
            end.error = Some(Errno::ECONNRESET);
        }
        let (host, about) = (end.host, self.about(index, side));
        self.note(host, about, RecordKind::Hangup, i64::from(unread));
        self.report(index, side, Readiness::ALL);
    }

    pub(in crate::sim) fn close_unix(&mut self, index: u32, side: usize, at: u64) {
        let connection = &mut self.connections[index as usize];
        let (serial, other) = (connection.serial, side ^ 1);
        let end = &mut connection.ends[side];
        let unread = !end.incoming.is_empty() || end.phase == Phase::Queued;
        let host = end.host;
        end.leave(Phase::Closed);
        if side == 0 {
            self.release_names_of(index);
        }
        self.note(host, About::end(serial, side), RecordKind::Closes, 0);
        if !self.connections[index as usize].ends[other].phase.is_gone() {
            self.transmit(index, other, at, Payload::Hangup { unread });
        }
        self.remove_if_over(index);
    }

    /// Releases the name of the connecting side.
    pub(in crate::sim) fn release_names_of(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        let host = connection.ends[0].host;
        if let Some(unix) = &mut connection.unix
            && let Some(name) = unix.bound.take()
        {
            let process = unix.processes[0];
            self.release_name(host, process, &name);
        }
    }

    /// Returns the credentials of the peer process.
    pub(in crate::sim) fn credentials(&mut self, process: u32, token: Token) -> io::Result<Credentials> {
        let (index, side) = self.process(process).stream(token)?;
        self.ask(process, CallKind::Credentials)?;
        let connection = &self.connections[index as usize];
        let unix = connection.unix.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        Ok(Credentials { process: Some(FIRST_PROCESS + unix.processes[side ^ 1]), user: USER, group: GROUP })
    }
}

/// Returns the result of setting an option of a UNIX socket.
pub(in crate::sim) fn set_unix(option: SocketOption) -> Result<(), Errno> {
    match option {
        SocketOption::KeepAlive(None) | SocketOption::Broadcast(_) => Ok(()),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// A placeholder for the IP address of a UNIX socket.
pub(in crate::sim) const NO_ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// The send buffer in bytes, as Linux's default. (net.core.wmem_default)
pub(in crate::sim) const BUFFER: usize = 212_992;

/// The first process number; all processes have the same user and group.
const FIRST_PROCESS: u32 = 1000;
const USER: u32 = 1000;
const GROUP: u32 = 1000;
