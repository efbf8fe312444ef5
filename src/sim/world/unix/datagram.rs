//! UNIX datagrams: local to a host, in order, without loss. A send to a full queue fails with
//! EAGAIN.

use std::io;

use crate::net::{Address, Buffers, OpenError, OpenStep, Readiness, Token, UnixAddress, nanoseconds};
use crate::sim::network::errno::Errno;
use crate::sim::network::rule::{CallKind, PacketKind};
use crate::sim::network::trace::{About, RecordKind, Text};
use crate::sim::world::World;
use crate::sim::world::datagram::queue::{DatagramQueue, DatagramQueueId, Family, QueuedDatagram};
use crate::sim::world::events::EventKind;
use crate::sim::world::process::Socket;
use crate::sim::world::tcp::listen::failed;
use crate::sim::world::unix::names::{Bound, Name, Naming};
use crate::sim::world::unix::stream::BUFFER;

/// The state of a UNIX datagram socket.
pub(in crate::sim) struct UnixDatagramState {
    pub(in crate::sim) name: Option<Name>,
    /// The connected peer. The socket sends to it and receives from it alone.
    pub(in crate::sim) peer: Option<(DatagramQueueId, UnixAddress)>,
    /// Bytes sent and not read yet, and their limit.
    unread: usize,
    max_unread: usize,
    /// A send found the send buffer full. Writability is reported when there is room.
    wants_room: bool,
    /// Sockets connected to this one that found its queue full.
    blocked_senders: Vec<DatagramQueueId>,
}

impl World {
    pub(in crate::sim) fn open_unix_datagram(
        &mut self,
        process: u32,
        token: Token,
        bind: Option<(&UnixAddress, Naming)>,
        connect: Option<&UnixAddress>,
        buffers: Buffers,
    ) -> Result<(), OpenError> {
        let host = self.process(process).host;
        let index = self.datagram_queues.vacant_key() as u32;
        let bound = bind.map(|(at, naming)| self.bind_name(process, at, naming, Bound::Datagram(index)));
        let name = bound.transpose()?;
        let serial = self.next_serial();
        let max_unread = buffers.send.map_or(BUFFER, crate::sim::world::tcp::connect::granted);
        let unix = UnixDatagramState {
            name,
            peer: None,
            unread: 0,
            max_unread,
            wants_room: false,
            blocked_senders: Vec::new(),
        };
        self.datagram_queues.insert(DatagramQueue::new(serial, host, process, token, Family::Unix(unix)));
        let connected = self
            .connect_unix_datagram(process, index, connect)
            .and_then(|()| self.allow(process, CallKind::Watch, OpenStep::Watch));
        if let Err(failed) = connected {
            if let Some(name) =
                self.datagram_queues[index as usize].unix_mut().and_then(|unix| unix.name.as_mut())
            {
                // The socket was never usable, so its file goes with it.
                name.unlink = true;
            }
            self.close_datagram_queue(index);
            return Err(failed);
        }
        self.process_mut(process).insert(token, Socket::Datagram(index));
        let here = bind.map_or(UnixAddress::UNNAMED, |(bind, _)| bind.clone());
        let text = Text::Words(format!("datagrams at {here}"));
        self.note_text(host, About::listener(serial), RecordKind::Opens, text);
        self.report_datagram_queue(index, Readiness::ALL);
        Ok(())
    }

    fn connect_unix_datagram(
        &mut self,
        process: u32,
        index: u32,
        to: Option<&UnixAddress>,
    ) -> Result<(), OpenError> {
        let Some(to) = to else { return Ok(()) };
        self.allow(process, CallKind::Connect, OpenStep::Connect)?;
        if to.is_unnamed() {
            return Err(OpenError { step: OpenStep::Connect, error: io::ErrorKind::Unsupported.into() });
        }
        match self.find_unix_datagram(index, to) {
            Ok(peer) => {
                // The address that the peer was bound to, which may be spelled differently from
                // `to`.
                let target =
                    self.datagram_queues[peer.index as usize].unix().and_then(|unix| unix.name.as_ref());
                let name = target.map_or(to, |name| &name.address).clone();
                if let Some(unix) = self.datagram_queues[index as usize].unix_mut() {
                    unix.peer = Some((peer, name));
                }
                Ok(())
            }
            Err(errno) => failed(OpenStep::Connect, errno),
        }
    }

    /// Returns the socket at an address, if it accepts datagrams from this one.
    fn find_unix_datagram(&self, index: u32, to: &UnixAddress) -> Result<DatagramQueueId, Errno> {
        let host = self.datagram_queues[index as usize].host;
        let target = match self.host(host).names.find(to)? {
            Bound::Datagram(target) => self.id_of(target),
            Bound::Queue(_) | Bound::Stream => return Err(Errno::EPROTOTYPE),
        };
        if self.connected_peer(target).is_some_and(|only| only != self.id_of(index)) {
            return Err(Errno::EPERM);
        }
        Ok(target)
    }

    /// Returns the only socket that `id` receives from, if it is connected.
    fn connected_peer(&self, id: DatagramQueueId) -> Option<DatagramQueueId> {
        self.datagram_queues[id.index as usize]
            .unix()
            .and_then(|unix| unix.peer.as_ref())
            .map(|(peer, _)| *peer)
    }

    pub(in crate::sim) fn send_unix(
        &mut self,
        process: u32,
        index: u32,
        data: &[u8],
        to: Option<&UnixAddress>,
    ) -> Result<(), Errno> {
        let id = self.id_of(index);
        let Some(unix) = self.datagram_queues[index as usize].unix_mut() else { return Err(Errno::EINVAL) };
        let peer = unix.peer.as_ref().map(|(peer, _)| *peer);
        if to.is_none() && peer.is_none() {
            return Err(Errno::ENOTCONN);
        }
        if data.len() > unix.max_unread.saturating_sub(HEADER) {
            return Err(Errno::EMSGSIZE);
        }
        if unix.unread >= unix.max_unread {
            unix.wants_room = true;
            self.datagram_queues[index as usize].armed.insert(Readiness::WRITABLE);
            return Err(Errno::EAGAIN);
        }
        let target = match (to, peer) {
            (Some(to), _) => self.find_unix_datagram(index, to)?,
            (None, Some(peer)) if self.datagram_queue_mut(peer).is_some() => peer,
            (None, _) => {
                self.lose_peer(index);
                return Err(Errno::ECONNREFUSED);
            }
        };
        if self.connected_peer(target).is_some_and(|only| only != id) {
            return Err(Errno::EPERM);
        }
        if self.is_full_for(target, id) {
            if peer == Some(target)
                && let Some(receiver) = self.datagram_queues[target.index as usize].unix_mut()
            {
                receiver.blocked_senders.push(id);
            }
            self.datagram_queues[index as usize].armed.insert(Readiness::WRITABLE);
            return Err(Errno::EAGAIN);
        }
        self.deliver_unix(process, index, target, data);
        Ok(())
    }

    fn deliver_unix(&mut self, process: u32, index: u32, target: DatagramQueueId, data: &[u8]) {
        let id = self.id_of(index);
        let mut from = UnixAddress::UNNAMED;
        if let Some(unix) = self.datagram_queues[index as usize].unix_mut() {
            unix.unread += data.len();
            from = unix.name.as_ref().map_or(UnixAddress::UNNAMED, |name| name.address.clone());
        }
        let host = self.datagram_queues[index as usize].host;
        let path = self.path(host, host);
        let latency = self.paths[path as usize].link.latency.draw(&mut self.random.links);
        let arrival = self.local_now(process).saturating_add(nanoseconds(latency));
        let receiver = &mut self.datagram_queues[target.index as usize];
        let at = receiver.waiting.back().map_or(arrival, |last| arrival.max(last.at));
        let datagram =
            QueuedDatagram { from: Address::Unix(from), to: None, data: data.to_vec(), at, sender: Some(id) };
        receiver.waiting.push_back(datagram);
        if at <= self.now {
            self.unix_datagram_arrives(target);
        } else {
            self.schedule(at, EventKind::UnixDatagram, 0, target.index, target.serial);
        }
    }

    pub(in crate::sim) fn unix_datagram_arrives(&mut self, id: DatagramQueueId) {
        let Some(queue) = self.datagram_queue_mut(id) else { return };
        let host = queue.host;
        self.note(host, About::listener(id.serial), RecordKind::Arrives(PacketKind::Datagram), 0);
        self.report_datagram_queue(id.index, Readiness::READABLE);
    }

    /// Returns whether a queue is full for this sender. Between two sockets that are connected to
    /// each other it never is.
    fn is_full_for(&self, target: DatagramQueueId, from: DatagramQueueId) -> bool {
        self.connected_peer(target) != Some(from)
            && self.datagram_queues[target.index as usize].waiting.len() > MAX_QUEUE
    }

    /// Returns whether the socket is writable.
    pub(in crate::sim) fn is_datagram_writable(&self, index: u32) -> bool {
        let Some(unix) = self.datagram_queues[index as usize].unix() else { return true };
        let target = unix.peer.as_ref().map(|(peer, _)| *peer).filter(|peer| {
            self.datagram_queues.get(peer.index as usize).is_some_and(|queue| queue.serial == peer.serial)
        });
        unix.unread * 4 <= unix.max_unread
            && target.is_none_or(|target| !self.is_full_for(target, self.id_of(index)))
    }

    /// A datagram has left a queue: reports writability to its waiting senders.
    pub(in crate::sim) fn datagram_read(&mut self, index: u32, datagram: &QueuedDatagram) {
        if let Some(sender) = datagram.sender {
            self.release_send_buffer(sender, datagram.data.len());
        }
        let Some(unix) = self.datagram_queues[index as usize].unix_mut() else { return };
        for sender in std::mem::take(&mut unix.blocked_senders) {
            if self.datagram_queue_mut(sender).is_some() {
                self.report_datagram_queue(sender.index, Readiness::WRITABLE);
            }
        }
    }

    fn release_send_buffer(&mut self, sender: DatagramQueueId, length: usize) {
        let Some(unix) = self.datagram_queue_mut(sender).and_then(DatagramQueue::unix_mut) else { return };
        unix.unread = unix.unread.saturating_sub(length);
        if unix.wants_room && unix.unread * 4 <= unix.max_unread {
            unix.wants_room = false;
            self.report_datagram_queue(sender.index, Readiness::WRITABLE);
        }
    }

    /// Disconnects from a closed peer. Its queued datagrams are lost.
    fn lose_peer(&mut self, index: u32) {
        if let Some(unix) = self.datagram_queues[index as usize].unix_mut() {
            unix.peer = None;
        }
        for datagram in std::mem::take(&mut self.datagram_queues[index as usize].waiting) {
            self.datagram_read(index, &datagram);
        }
    }

    pub(in crate::sim) fn unix_datagram_closed(&mut self, queue: DatagramQueue) {
        let (host, process) = (queue.host, queue.process);
        let Family::Unix(unix) = queue.family else { return };
        if let Some(name) = &unix.name {
            self.release_name(host, process, name);
        }
        for datagram in queue.waiting {
            if let Some(sender) = datagram.sender {
                self.release_send_buffer(sender, datagram.data.len());
            }
        }
        for sender in unix.blocked_senders {
            if self.datagram_queue_mut(sender).is_some() {
                self.report_datagram_queue(sender.index, Readiness::WRITABLE);
            }
        }
    }
}

/// The limit of queued datagrams; one more is accepted, as by Linux. (net.unix.max_dgram_qlen)
const MAX_QUEUE: usize = 10;

/// The overhead of a datagram in the send buffer, in bytes.
const HEADER: usize = 32;
