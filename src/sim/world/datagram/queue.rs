//! Datagram sockets: their receive queues, their readiness, and the calls on them.

use std::collections::VecDeque;
use std::io;

use crate::net::{Address, BATCH, Destination, Readiness, RecvBatch, RecvMeta, Token, Transmit};
use crate::sim::network::coverage::FaultKind;
use crate::sim::network::errno::Errno;
use crate::sim::network::rule::{CallKind, Verdict};
use crate::sim::network::trace::About;
use crate::sim::world::World;
use crate::sim::world::datagram::udp::Udp;
use crate::sim::world::events::EventKind;
use crate::sim::world::process::Socket;
use crate::sim::world::tcp::io::RETRY_DELAY;
use crate::sim::world::unix::datagram::UnixDatagramState;

/// A datagram socket and its receive queue.
pub(in crate::sim) struct DatagramQueue {
    /// Its number in this world, because its index is reused.
    pub(in crate::sim) serial: u32,
    pub(in crate::sim) host: u32,
    pub(in crate::sim) process: u32,
    pub(in crate::sim) token: Token,
    pub(in crate::sim) family: Family,
    pub(in crate::sim) waiting: VecDeque<QueuedDatagram>,
    /// Bytes accounted for the queued datagrams, and their limit.
    pub(in crate::sim) held: usize,
    pub(in crate::sim) room: usize,
    /// The pending error; the next call takes it.
    pub(in crate::sim) error: Option<Errno>,
    pub(in crate::sim) pending: Readiness,
    /// With minimal readiness: the events that may be reported.
    pub(in crate::sim) armed: Readiness,
}

pub(in crate::sim) enum Family {
    Udp(Udp),
    Unix(UnixDatagramState),
}

/// A received datagram.
pub(in crate::sim) struct QueuedDatagram {
    pub(in crate::sim) from: Address,
    /// The destination address, where it is reported.
    pub(in crate::sim) to: Option<Destination>,
    pub(in crate::sim) data: Vec<u8>,
    /// The time from which it is readable.
    pub(in crate::sim) at: u64,
    /// The UNIX socket whose send buffer it occupies.
    pub(in crate::sim) sender: Option<DatagramQueueId>,
}

/// A datagram queue's index, with the serial number that distinguishes it from a successor at the
/// same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) struct DatagramQueueId {
    pub(in crate::sim) index: u32,
    pub(in crate::sim) serial: u32,
}

impl DatagramQueue {
    pub(in crate::sim) fn new(
        serial: u32,
        host: u32,
        process: u32,
        token: Token,
        family: Family,
    ) -> DatagramQueue {
        DatagramQueue {
            serial,
            host,
            process,
            token,
            family,
            waiting: VecDeque::new(),
            held: 0,
            room: crate::sim::world::unix::stream::BUFFER,
            error: None,
            pending: Readiness::default(),
            armed: Readiness::ALL,
        }
    }

    pub(in crate::sim) fn udp(&self) -> Option<&Udp> {
        match &self.family {
            Family::Udp(udp) => Some(udp),
            Family::Unix(_) => None,
        }
    }

    pub(in crate::sim) fn unix(&self) -> Option<&UnixDatagramState> {
        match &self.family {
            Family::Unix(unix) => Some(unix),
            Family::Udp(_) => None,
        }
    }

    pub(in crate::sim) fn unix_mut(&mut self) -> Option<&mut UnixDatagramState> {
        match &mut self.family {
            Family::Unix(unix) => Some(unix),
            Family::Udp(_) => None,
        }
    }
}

impl World {
    pub(in crate::sim) fn datagram_queue(&self, process: u32, token: Token) -> io::Result<u32> {
        match self.process(process).get(token) {
            Socket::Datagram(index) => Ok(index),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Returns the queue, if it still exists.
    pub(in crate::sim) fn datagram_queue_mut(&mut self, id: DatagramQueueId) -> Option<&mut DatagramQueue> {
        self.datagram_queues.get_mut(id.index as usize).filter(|queue| queue.serial == id.serial)
    }

    pub(in crate::sim) fn id_of(&self, index: u32) -> DatagramQueueId {
        DatagramQueueId { index, serial: self.datagram_queues[index as usize].serial }
    }

    fn about_datagram_queue(&self, index: u32) -> About {
        About::listener(self.datagram_queues[index as usize].serial)
    }

    // -- receiving --

    pub(in crate::sim) fn recv_datagrams(
        &mut self,
        process: u32,
        token: Token,
        into: &mut RecvBatch,
    ) -> io::Result<()> {
        let index = self.datagram_queue(process, token)?;
        let max = match self.recv_limit(process, index)? {
            // One call receives one UNIX datagram, as the real driver does.
            _ if self.datagram_queues[index as usize].unix().is_some() => 1,
            max => max,
        };
        let wanted = into.most();
        let (places, came) = into.places();
        let (mut start, mut bytes) = (0, 0);
        for place in places.take(max) {
            let Some(QueuedDatagram { from, to, data, .. }) = self.pop_datagram(index) else { break };
            let length = data.len().min(place.len());
            place[..length].copy_from_slice(&data[..length]);
            came.push(RecvMeta { start, length, from, to, truncated: length < data.len() });
            start += place.len();
            bytes += length;
        }
        let count = came.len();
        if count < wanted && self.datagram_queues[index as usize].unix().is_none() {
            into.drained();
        }
        self.finish_recv(process, index, [count, wanted], bytes)
    }

    /// Receives one datagram. Returns the bytes copied, its whole length, and its sender.
    pub(in crate::sim) fn recv_from(
        &mut self,
        process: u32,
        token: Token,
        buffer: &mut [u8],
    ) -> io::Result<(usize, usize, Address)> {
        let index = self.datagram_queue(process, token)?;
        self.recv_limit(process, index)?;
        let datagram = self.pop_datagram(index);
        let length = datagram.as_ref().map_or(0, |datagram| datagram.data.len().min(buffer.len()));
        self.finish_recv(process, index, [usize::from(datagram.is_some()), BATCH], length)?;
        // `finish_recv` has returned an error without one.
        let Some(QueuedDatagram { from, data, .. }) = datagram else { return Err(Errno::EAGAIN.into()) };
        buffer[..length].copy_from_slice(&data[..length]);
        Ok((length, data.len(), from))
    }

    /// Returns the maximum number of datagrams that this call may receive.
    fn recv_limit(&mut self, process: u32, index: u32) -> io::Result<usize> {
        let verdict = self.before(process, CallKind::RecvDatagrams, 0);
        let result = match verdict {
            Verdict::Drop | Verdict::Fail(Errno::EAGAIN) => Err(self.datagram_would_block(index)),
            Verdict::Fail(errno) => Err(errno),
            _ if self.exceeds_read_rate(process, index) => Err(self.datagram_would_block(index)),
            _ => match (self.datagram_queues[index as usize].error.take(), verdict) {
                (Some(errno), _) => Err(errno),
                (None, Verdict::Short(limit)) => Ok(limit.clamp(1, BATCH)),
                (None, _) => Ok(BATCH),
            },
        };
        if let Err(errno) = result {
            let about = self.about_datagram_queue(index);
            self.note_call(process, about, CallKind::RecvDatagrams, -i64::from(errno.raw()));
        }
        result.map_err(io::Error::from)
    }

    fn exceeds_read_rate(&mut self, process: u32, index: u32) -> bool {
        let host = self.datagram_queues[index as usize].host;
        self.host(host).read_rate.is_some_and(|rate| self.read_quota(process, rate) == 0)
    }

    fn pop_datagram(&mut self, index: u32) -> Option<QueuedDatagram> {
        let now = self.now;
        let queue = &mut self.datagram_queues[index as usize];
        queue.waiting.front().filter(|datagram| datagram.at <= now)?;
        let datagram = queue.waiting.pop_front()?;
        queue.held = queue.held.saturating_sub(accounted_size(datagram.data.len()));
        self.datagram_read(index, &datagram);
        Some(datagram)
    }

    /// Finishes a receive of `count` datagrams, of `wanted` that were asked for.
    fn finish_recv(
        &mut self,
        process: u32,
        index: u32,
        [count, wanted]: [usize; 2],
        bytes: usize,
    ) -> io::Result<()> {
        let (now, about) = (self.now, self.about_datagram_queue(index));
        let queue = &mut self.datagram_queues[index as usize];
        let more = queue.waiting.front().is_some_and(|datagram| datagram.at <= now);
        // A short batch of UNIX datagrams does not mean that the queue is drained.
        let drained = count == 0 || (count < wanted && queue.unix().is_none());
        if drained {
            queue.armed.insert(Readiness::READABLE);
        }
        if count == 0 {
            self.note_call(process, about, CallKind::RecvDatagrams, -i64::from(Errno::EAGAIN.raw()));
            return Err(Errno::EAGAIN.into());
        }
        if drained && more {
            // By the contract a short batch has drained the queue, so the rest is reported as new.
            let host = self.datagram_queues[index as usize].host;
            self.fault(FaultKind::ShortRead, host);
            self.report_datagram_queue(index, Readiness::READABLE);
        }
        self.note_call(process, about, CallKind::RecvDatagrams, bytes as i64);
        Ok(())
    }

    // -- sending --

    pub(in crate::sim) fn send_datagrams(
        &mut self,
        process: u32,
        token: Token,
        bytes: &[u8],
        going: &[Transmit],
    ) -> io::Result<usize> {
        let index = self.datagram_queue(process, token)?;
        let about = self.about_datagram_queue(index);
        let result = self.send_some(process, index, bytes, going);
        let value = result.as_ref().map_or_else(|errno| -i64::from(errno.raw()), |count| *count as i64);
        self.note_call(process, about, CallKind::SendDatagrams, value);
        result.map_err(io::Error::from)
    }

    fn send_some(
        &mut self,
        process: u32,
        index: u32,
        bytes: &[u8],
        going: &[Transmit],
    ) -> Result<usize, Errno> {
        let mut max = match &self.datagram_queues[index as usize].family {
            Family::Udp(_) => BATCH,
            Family::Unix(_) => 1,
        };
        let mut short = false;
        match self.before(process, CallKind::SendDatagrams, bytes.len()) {
            Verdict::Drop | Verdict::Fail(Errno::EAGAIN) => return Err(self.datagram_would_block(index)),
            Verdict::Fail(errno) => return Err(errno),
            Verdict::Short(limit) if limit.max(1) < max.min(going.len()) => {
                (max, short) = (limit.max(1), true);
            }
            _ => {}
        }
        let (mut rest, mut sent) = (bytes, 0);
        for one in going.iter().take(max) {
            let (data, behind) = rest.split_at(one.length.min(rest.len()));
            rest = behind;
            match self.send_one(process, index, data, one) {
                Ok(()) => sent += 1,
                Err(errno) if sent == 0 => return Err(errno),
                // The kernel drops the error. The next send may meet it again.
                Err(_) => break,
            }
        }
        if short {
            let host = self.datagram_queues[index as usize].host;
            self.fault(FaultKind::ShortWrite, host);
            self.datagram_queues[index as usize].armed.insert(Readiness::WRITABLE);
            self.report_datagram_queue(index, Readiness::WRITABLE);
        }
        Ok(sent)
    }

    fn send_one(&mut self, process: u32, index: u32, data: &[u8], going: &Transmit) -> Result<(), Errno> {
        let unix = self.datagram_queues[index as usize].unix().is_some();
        match (unix, going.to.as_ref()) {
            (false, None) => self.send_udp(process, index, data, None, going.origin),
            (false, Some(Address::Udp(to) | Address::Tcp(to))) => {
                self.send_udp(process, index, data, Some(*to), going.origin)
            }
            (true, None) => self.send_unix(process, index, data, None),
            (true, Some(Address::Unix(to))) => self.send_unix(process, index, data, Some(to)),
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }

    // -- readiness --

    /// Reports a socket's readiness with the process's next poll.
    pub(in crate::sim) fn report_datagram_queue(&mut self, index: u32, events: Readiness) {
        let writable = self.is_datagram_writable(index);
        let (now, minimal) = (self.now, self.minimal_edges);
        let queue = &mut self.datagram_queues[index as usize];
        let mut pending = match queue.error {
            Some(_) => Readiness::ALL,
            None => Readiness::of(queue.waiting.front().is_some_and(|datagram| datagram.at <= now), writable),
        };
        if minimal && queue.error.is_none() {
            pending = pending.and(events).and(queue.armed);
            queue.armed.remove(pending);
        }
        if pending == Readiness::default() {
            return;
        }
        let (process, token, first) = (queue.process, queue.token, queue.pending == Readiness::default());
        queue.pending.insert(pending);
        if first {
            self.process_mut(process).pending.push(token);
            self.wake(process);
        }
    }

    /// A call fails with EAGAIN although it could proceed. Readiness is reported again later.
    fn datagram_would_block(&mut self, index: u32) -> Errno {
        let (host, serial) =
            (self.datagram_queues[index as usize].host, self.datagram_queues[index as usize].serial);
        let again = self.host(host).next_read.max(self.now.saturating_add(RETRY_DELAY));
        self.fault(FaultKind::WouldBlock, host);
        self.schedule(again, EventKind::DatagramAgain, 0, index, serial);
        Errno::EAGAIN
    }

    pub(in crate::sim) fn datagram_again(&mut self, id: DatagramQueueId) {
        if let Some(queue) = self.datagram_queue_mut(id) {
            queue.armed = Readiness::ALL;
            self.report_datagram_queue(id.index, Readiness::ALL);
        }
    }

    // -- close --

    pub(in crate::sim) fn close_datagram_queue(&mut self, index: u32) {
        let id = self.id_of(index);
        let queue = self.datagram_queues.remove(index as usize);
        match &queue.family {
            Family::Udp(udp) => {
                if let Some(queues) = self.host_mut(queue.host).datagram_queues.get_mut(&udp.address.port()) {
                    queues.retain(|other| *other != id.index);
                }
            }
            Family::Unix(_) => self.unix_datagram_closed(queue),
        }
    }
}

/// Returns the bytes accounted for a datagram: its length and the kernel's overhead, as on Linux.
pub(in crate::sim) fn accounted_size(length: usize) -> usize {
    length + OVERHEAD
}

/// Measured: 256 datagrams of one byte fit into 212,992 bytes.
const OVERHEAD: usize = 831;
