//! Sockets of datagrams: what waits in them, what their processes are told, and the calls on them.

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
use crate::sim::world::tcp::io::STORM;
use crate::sim::world::unix::datagram::UnixMail;

/// A socket of datagrams and what has come to it.
pub(in crate::sim) struct DatagramQueue {
    /// Its number in this world: its index is used again.
    pub(in crate::sim) serial: u32,
    pub(in crate::sim) host: u32,
    pub(in crate::sim) process: u32,
    pub(in crate::sim) token: Token,
    pub(in crate::sim) family: Family,
    pub(in crate::sim) waiting: VecDeque<QueuedDatagram>,
    /// What the system counts for them, and how much it keeps.
    pub(in crate::sim) held: usize,
    pub(in crate::sim) room: usize,
    /// Told once, to whoever asks first.
    pub(in crate::sim) error: Option<Errno>,
    pub(in crate::sim) news: Readiness,
    /// With minimal edges: what may be told.
    pub(in crate::sim) armed: Readiness,
}

pub(in crate::sim) enum Family {
    Udp(Udp),
    Unix(UnixMail),
}

/// A datagram that has come.
pub(in crate::sim) struct QueuedDatagram {
    pub(in crate::sim) from: Address,
    /// Where it was sent to, if that is told.
    pub(in crate::sim) to: Option<Destination>,
    pub(in crate::sim) data: Vec<u8>,
    /// It is there from then on.
    pub(in crate::sim) at: u64,
    /// The UNIX socket that it counts for.
    pub(in crate::sim) sender: Option<MailboxId>,
}

/// A mailbox by its index, and by its serial number so that nobody takes its successor for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) struct MailboxId {
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
            news: Readiness::default(),
            armed: Readiness::ALL,
        }
    }

    pub(in crate::sim) fn udp(&self) -> Option<&Udp> {
        match &self.family {
            Family::Udp(udp) => Some(udp),
            Family::Unix(_) => None,
        }
    }

    pub(in crate::sim) fn unix(&self) -> Option<&UnixMail> {
        match &self.family {
            Family::Unix(unix) => Some(unix),
            Family::Udp(_) => None,
        }
    }

    pub(in crate::sim) fn unix_mut(&mut self) -> Option<&mut UnixMail> {
        match &mut self.family {
            Family::Unix(unix) => Some(unix),
            Family::Udp(_) => None,
        }
    }
}

impl World {
    pub(in crate::sim) fn mailbox(&self, process: u32, token: Token) -> io::Result<u32> {
        match self.process(process).get(token) {
            Socket::Datagram(index) => Ok(index),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The mailbox that was meant, if it is still there.
    pub(in crate::sim) fn mailbox_mut(&mut self, id: MailboxId) -> Option<&mut DatagramQueue> {
        self.mailboxes.get_mut(id.index as usize).filter(|mailbox| mailbox.serial == id.serial)
    }

    pub(in crate::sim) fn id_of(&self, index: u32) -> MailboxId {
        MailboxId { index, serial: self.mailboxes[index as usize].serial }
    }

    fn about_mailbox(&self, index: u32) -> About {
        About::listener(self.mailboxes[index as usize].serial)
    }

    // -- receiving --

    pub(in crate::sim) fn recv_datagrams(
        &mut self,
        process: u32,
        token: Token,
        into: &mut RecvBatch,
    ) -> io::Result<()> {
        let index = self.mailbox(process, token)?;
        let most = match self.may_take(process, index)? {
            // As many as its system gives with one call.
            _ if self.mailboxes[index as usize].unix().is_some() => 1,
            most => most,
        };
        let wanted = into.most();
        let (places, came) = into.places();
        let (mut start, mut bytes) = (0, 0);
        for place in places.take(most) {
            let Some(QueuedDatagram { from, to, data, .. }) = self.take_letter(index) else { break };
            let length = data.len().min(place.len());
            place[..length].copy_from_slice(&data[..length]);
            came.push(RecvMeta { start, length, from, to, truncated: length < data.len() });
            start += place.len();
            bytes += length;
        }
        let count = came.len();
        if count < wanted && self.mailboxes[index as usize].unix().is_none() {
            into.drained();
        }
        self.taken(process, index, [count, wanted], bytes)
    }

    /// Bytes copied, the whole length, and the sender.
    pub(in crate::sim) fn recv_from(
        &mut self,
        process: u32,
        token: Token,
        buffer: &mut [u8],
    ) -> io::Result<(usize, usize, Address)> {
        let index = self.mailbox(process, token)?;
        self.may_take(process, index)?;
        let letter = self.take_letter(index);
        let length = letter.as_ref().map_or(0, |letter| letter.data.len().min(buffer.len()));
        self.taken(process, index, [usize::from(letter.is_some()), BATCH], length)?;
        // Without one it was an error.
        let Some(QueuedDatagram { from, data, .. }) = letter else { return Err(Errno::EAGAIN.into()) };
        buffer[..length].copy_from_slice(&data[..length]);
        Ok((length, data.len(), from))
    }

    /// How many datagrams may be taken now.
    fn may_take(&mut self, process: u32, index: u32) -> io::Result<usize> {
        let verdict = self.before(process, CallKind::RecvDatagrams, 0);
        let result = match verdict {
            Verdict::Drop | Verdict::Fail(Errno::EAGAIN) => Err(self.mail_would_block(index)),
            Verdict::Fail(errno) => Err(errno),
            _ if self.reads_too_fast(process, index) => Err(self.mail_would_block(index)),
            _ => match (self.mailboxes[index as usize].error.take(), verdict) {
                (Some(errno), _) => Err(errno),
                (None, Verdict::Short(limit)) => Ok(limit.clamp(1, BATCH)),
                (None, _) => Ok(BATCH),
            },
        };
        if let Err(errno) = result {
            let about = self.about_mailbox(index);
            self.note_call(process, about, CallKind::RecvDatagrams, -i64::from(errno.raw()));
        }
        result.map_err(io::Error::from)
    }

    fn reads_too_fast(&mut self, process: u32, index: u32) -> bool {
        let host = self.mailboxes[index as usize].host;
        self.host(host).reads.is_some_and(|rate| self.slow_share(process, rate) == 0)
    }

    fn take_letter(&mut self, index: u32) -> Option<QueuedDatagram> {
        let now = self.now;
        let mailbox = &mut self.mailboxes[index as usize];
        mailbox.waiting.front().filter(|letter| letter.at <= now)?;
        let letter = mailbox.waiting.pop_front()?;
        mailbox.held = mailbox.held.saturating_sub(counted(letter.data.len()));
        self.letter_read(index, &letter);
        Some(letter)
    }

    /// So many of so many that were wanted were taken.
    fn taken(
        &mut self,
        process: u32,
        index: u32,
        [count, wanted]: [usize; 2],
        bytes: usize,
    ) -> io::Result<()> {
        let (now, about) = (self.now, self.about_mailbox(index));
        let mailbox = &mut self.mailboxes[index as usize];
        let more = mailbox.waiting.front().is_some_and(|letter| letter.at <= now);
        // One of UNIX may always have another behind it.
        let drained = count == 0 || (count < wanted && mailbox.unix().is_none());
        if drained {
            mailbox.armed.insert(Readiness::READABLE);
        }
        if count == 0 {
            self.note_call(process, about, CallKind::RecvDatagrams, -i64::from(Errno::EAGAIN.raw()));
            return Err(Errno::EAGAIN.into());
        }
        if drained && more {
            // By the contract a short batch is the end of what was there: the rest is news.
            let host = self.mailboxes[index as usize].host;
            self.fault(FaultKind::ShortRead, host);
            self.tell_mailbox(index, Readiness::READABLE);
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
        let index = self.mailbox(process, token)?;
        let about = self.about_mailbox(index);
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
        let mut most = match &self.mailboxes[index as usize].family {
            Family::Udp(_) => BATCH,
            Family::Unix(_) => 1,
        };
        let mut short = false;
        match self.before(process, CallKind::SendDatagrams, bytes.len()) {
            Verdict::Drop | Verdict::Fail(Errno::EAGAIN) => return Err(self.mail_would_block(index)),
            Verdict::Fail(errno) => return Err(errno),
            Verdict::Short(limit) if limit.max(1) < most.min(going.len()) => {
                (most, short) = (limit.max(1), true);
            }
            _ => {}
        }
        let (mut rest, mut sent) = (bytes, 0);
        for one in going.iter().take(most) {
            let (data, behind) = rest.split_at(one.length.min(rest.len()));
            rest = behind;
            match self.send_one(process, index, data, one) {
                Ok(()) => sent += 1,
                Err(errno) if sent == 0 => return Err(errno),
                // The system forgets it: who sends on hears of it again, or does not.
                Err(_) => break,
            }
        }
        if short {
            let host = self.mailboxes[index as usize].host;
            self.fault(FaultKind::ShortWrite, host);
            self.mailboxes[index as usize].armed.insert(Readiness::WRITABLE);
            self.tell_mailbox(index, Readiness::WRITABLE);
        }
        Ok(sent)
    }

    fn send_one(&mut self, process: u32, index: u32, data: &[u8], going: &Transmit) -> Result<(), Errno> {
        let unix = self.mailboxes[index as usize].unix().is_some();
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

    // -- news --

    /// Tells a process what its mailbox can do, with its next poll.
    pub(in crate::sim) fn tell_mailbox(&mut self, index: u32, what: Readiness) {
        let writable = self.mail_can_go(index);
        let (now, minimal) = (self.now, self.minimal_edges);
        let mailbox = &mut self.mailboxes[index as usize];
        let mut news = match mailbox.error {
            Some(_) => Readiness::ALL,
            None => Readiness::of(mailbox.waiting.front().is_some_and(|letter| letter.at <= now), writable),
        };
        if minimal && mailbox.error.is_none() {
            news = news.and(what).and(mailbox.armed);
            mailbox.armed.remove(news);
        }
        if news == Readiness::default() {
            return;
        }
        let (process, token, first) = (mailbox.process, mailbox.token, mailbox.news == Readiness::default());
        mailbox.news.insert(news);
        if first {
            self.process_mut(process).news.push(token);
            self.wake(process);
        }
    }

    /// A call does nothing although it could: the process is told again, later.
    fn mail_would_block(&mut self, index: u32) -> Errno {
        let (host, serial) = (self.mailboxes[index as usize].host, self.mailboxes[index as usize].serial);
        let again = self.host(host).reads_again.max(self.now.saturating_add(STORM));
        self.fault(FaultKind::WouldBlock, host);
        self.schedule(again, EventKind::MailAgain, 0, index, serial);
        Errno::EAGAIN
    }

    pub(in crate::sim) fn mail_again(&mut self, id: MailboxId) {
        if let Some(mailbox) = self.mailbox_mut(id) {
            mailbox.armed = Readiness::ALL;
            self.tell_mailbox(id.index, Readiness::ALL);
        }
    }

    // -- the end --

    pub(in crate::sim) fn close_mailbox(&mut self, index: u32) {
        let id = self.id_of(index);
        let mailbox = self.mailboxes.remove(index as usize);
        match &mailbox.family {
            Family::Udp(udp) => {
                if let Some(there) = self.host_mut(mailbox.host).mailboxes.get_mut(&udp.address.port()) {
                    there.retain(|other| *other != id.index);
                }
            }
            Family::Unix(_) => self.unix_mail_closed(mailbox),
        }
    }
}

/// What the system counts for a datagram, as Linux does: what it keeps beside the bytes is counted, too.
pub(in crate::sim) fn counted(length: usize) -> usize {
    length + KEPT_BESIDE
}

/// Measured: of datagrams of one byte 256 fit into 212,992.
const KEPT_BESIDE: usize = 831;
