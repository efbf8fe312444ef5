//! UNIX datagrams: all of one host, in order, none lost. Who sends to a full queue is told that it would block.

use std::io;

use crate::net::{Address, Buffers, OpenError, OpenStep, Readiness, Token, UnixAddress, nanoseconds};
use crate::sim::network::errno::Errno;
use crate::sim::network::rule::{CallKind, PacketKind};
use crate::sim::network::trace::{About, Text, What};
use crate::sim::world::World;
use crate::sim::world::datagram::queue::{DatagramQueue, Family, MailboxId, QueuedDatagram};
use crate::sim::world::events::EventKind;
use crate::sim::world::process::Socket;
use crate::sim::world::tcp::listen::failed;
use crate::sim::world::unix::names::{Bound, Name, Naming};
use crate::sim::world::unix::stream::BUFFER;

/// What is particular to a UNIX socket of datagrams.
pub(in crate::sim) struct UnixMail {
    pub(in crate::sim) name: Option<Name>,
    /// The only one that it sends to and takes from.
    pub(in crate::sim) peer: Option<(MailboxId, UnixAddress)>,
    /// Bytes that were sent and are not read, and how many may be.
    unread: usize,
    most_unread: usize,
    /// It is told when it can send again.
    waits: bool,
    /// Connected ones that found this one's queue full.
    waiters: Vec<MailboxId>,
}

impl World {
    pub(in crate::sim) fn open_unix_mailbox(
        &mut self,
        process: u32,
        token: Token,
        bind: Option<(&UnixAddress, Naming)>,
        connect: Option<&UnixAddress>,
        buffers: Buffers,
    ) -> Result<(), OpenError> {
        let host = self.process(process).host;
        let index = self.mailboxes.vacant_key() as u32;
        let bound = bind.map(|(at, naming)| self.bind_name(process, at, naming, Bound::Mailbox(index)));
        let name = bound.transpose()?;
        let serial = self.next_serial();
        let most_unread = buffers.send.map_or(BUFFER, crate::sim::world::tcp::connect::granted);
        let unix = UnixMail { name, peer: None, unread: 0, most_unread, waits: false, waiters: Vec::new() };
        self.mailboxes.insert(DatagramQueue::new(serial, host, process, token, Family::Unix(unix)));
        let connected = self
            .connect_unix_mailbox(process, index, connect)
            .and_then(|()| self.allow(process, CallKind::Watch, OpenStep::Watch));
        if let Err(failed) = connected {
            if let Some(name) = self.mailboxes[index as usize].unix_mut().and_then(|unix| unix.name.as_mut())
            {
                // Nobody had it yet.
                name.unlink = true;
            }
            self.close_mailbox(index);
            return Err(failed);
        }
        self.process_mut(process).insert(token, Socket::Datagram(index));
        let here = bind.map_or(UnixAddress::UNNAMED, |(bind, _)| bind.clone());
        let text = Text::Words(format!("datagrams at {here}"));
        self.note_text(host, About::listener(serial), What::Opens, text);
        self.tell_mailbox(index, Readiness::ALL);
        Ok(())
    }

    fn connect_unix_mailbox(
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
        match self.find_unix_mailbox(index, to) {
            Ok(peer) => {
                // As it was bound, however it was written here.
                let there = self.mailboxes[peer.index as usize].unix().and_then(|unix| unix.name.as_ref());
                let name = there.map_or(to, |name| &name.address).clone();
                if let Some(unix) = self.mailboxes[index as usize].unix_mut() {
                    unix.peer = Some((peer, name));
                }
                Ok(())
            }
            Err(errno) => failed(OpenStep::Connect, errno),
        }
    }

    /// The socket that an address leads to, if it takes what comes from this one.
    fn find_unix_mailbox(&self, index: u32, to: &UnixAddress) -> Result<MailboxId, Errno> {
        let host = self.mailboxes[index as usize].host;
        let there = match self.host(host).names.find(to)? {
            Bound::Mailbox(there) => self.id_of(there),
            Bound::Queue(_) | Bound::Stream => return Err(Errno::EPROTOTYPE),
        };
        if self.takes_only(there).is_some_and(|only| only != self.id_of(index)) {
            return Err(Errno::EPERM);
        }
        Ok(there)
    }

    /// The only one that a mailbox takes from.
    fn takes_only(&self, id: MailboxId) -> Option<MailboxId> {
        self.mailboxes[id.index as usize].unix().and_then(|unix| unix.peer.as_ref()).map(|(peer, _)| *peer)
    }

    pub(in crate::sim) fn send_unix(
        &mut self,
        process: u32,
        index: u32,
        data: &[u8],
        to: Option<&UnixAddress>,
    ) -> Result<(), Errno> {
        let id = self.id_of(index);
        let Some(unix) = self.mailboxes[index as usize].unix_mut() else { return Err(Errno::EINVAL) };
        let peer = unix.peer.as_ref().map(|(peer, _)| *peer);
        if to.is_none() && peer.is_none() {
            return Err(Errno::ENOTCONN);
        }
        if data.len() > unix.most_unread.saturating_sub(HEADER) {
            return Err(Errno::EMSGSIZE);
        }
        if unix.unread >= unix.most_unread {
            unix.waits = true;
            self.mailboxes[index as usize].armed.insert(Readiness::WRITABLE);
            return Err(Errno::EAGAIN);
        }
        let there = match (to, peer) {
            (Some(to), _) => self.find_unix_mailbox(index, to)?,
            (None, Some(peer)) if self.mailbox_mut(peer).is_some() => peer,
            (None, _) => {
                self.lose_peer(index);
                return Err(Errno::ECONNREFUSED);
            }
        };
        if self.takes_only(there).is_some_and(|only| only != id) {
            return Err(Errno::EPERM);
        }
        if self.is_full_for(there, id) {
            if peer == Some(there)
                && let Some(receiver) = self.mailboxes[there.index as usize].unix_mut()
            {
                receiver.waiters.push(id);
            }
            self.mailboxes[index as usize].armed.insert(Readiness::WRITABLE);
            return Err(Errno::EAGAIN);
        }
        self.deliver_unix(process, index, there, data);
        Ok(())
    }

    fn deliver_unix(&mut self, process: u32, index: u32, there: MailboxId, data: &[u8]) {
        let id = self.id_of(index);
        let mut from = UnixAddress::UNNAMED;
        if let Some(unix) = self.mailboxes[index as usize].unix_mut() {
            unix.unread += data.len();
            from = unix.name.as_ref().map_or(UnixAddress::UNNAMED, |name| name.address.clone());
        }
        let host = self.mailboxes[index as usize].host;
        let path = self.path(host, host);
        let latency = self.paths[path as usize].link.latency.draw(&mut self.random.links);
        let arrival = self.local_now(process).saturating_add(nanoseconds(latency));
        let receiver = &mut self.mailboxes[there.index as usize];
        let at = receiver.waiting.back().map_or(arrival, |last| arrival.max(last.at));
        let letter =
            QueuedDatagram { from: Address::Unix(from), to: None, data: data.to_vec(), at, sender: Some(id) };
        receiver.waiting.push_back(letter);
        if at <= self.now {
            self.letter_arrives(there);
        } else {
            self.schedule(at, EventKind::Letter, 0, there.index, there.serial);
        }
    }

    pub(in crate::sim) fn letter_arrives(&mut self, id: MailboxId) {
        let Some(mailbox) = self.mailbox_mut(id) else { return };
        let host = mailbox.host;
        self.note(host, About::listener(id.serial), What::Arrives(PacketKind::Datagram), 0);
        self.tell_mailbox(id.index, Readiness::READABLE);
    }

    /// Whether a queue has no room for what this socket sends: two that are connected to each other always have.
    fn is_full_for(&self, there: MailboxId, from: MailboxId) -> bool {
        self.takes_only(there) != Some(from)
            && self.mailboxes[there.index as usize].waiting.len() > LONGEST_QUEUE
    }

    /// Whether a socket can be told that it is writable.
    pub(in crate::sim) fn mail_can_go(&self, index: u32) -> bool {
        let Some(unix) = self.mailboxes[index as usize].unix() else { return true };
        let there = unix.peer.as_ref().map(|(peer, _)| *peer).filter(|peer| {
            self.mailboxes.get(peer.index as usize).is_some_and(|mailbox| mailbox.serial == peer.serial)
        });
        unix.unread * 4 <= unix.most_unread
            && there.is_none_or(|there| !self.is_full_for(there, self.id_of(index)))
    }

    /// A letter has left a mailbox: those who wait may send.
    pub(in crate::sim) fn letter_read(&mut self, index: u32, letter: &QueuedDatagram) {
        if let Some(sender) = letter.sender {
            self.letter_counts_no_more(sender, letter.data.len());
        }
        let Some(unix) = self.mailboxes[index as usize].unix_mut() else { return };
        for waiter in std::mem::take(&mut unix.waiters) {
            if self.mailbox_mut(waiter).is_some() {
                self.tell_mailbox(waiter.index, Readiness::WRITABLE);
            }
        }
    }

    fn letter_counts_no_more(&mut self, sender: MailboxId, length: usize) {
        let Some(unix) = self.mailbox_mut(sender).and_then(DatagramQueue::unix_mut) else { return };
        unix.unread = unix.unread.saturating_sub(length);
        if unix.waits && unix.unread * 4 <= unix.most_unread {
            unix.waits = false;
            self.tell_mailbox(sender.index, Readiness::WRITABLE);
        }
    }

    /// The peer is gone: this is told once, and what it had sent is lost with it.
    fn lose_peer(&mut self, index: u32) {
        if let Some(unix) = self.mailboxes[index as usize].unix_mut() {
            unix.peer = None;
        }
        for letter in std::mem::take(&mut self.mailboxes[index as usize].waiting) {
            self.letter_read(index, &letter);
        }
    }

    pub(in crate::sim) fn unix_mail_closed(&mut self, mailbox: DatagramQueue) {
        let (host, process) = (mailbox.host, mailbox.process);
        let Family::Unix(unix) = mailbox.family else { return };
        if let Some(name) = &unix.name {
            self.release_name(host, process, name);
        }
        for letter in mailbox.waiting {
            if let Some(sender) = letter.sender {
                self.letter_counts_no_more(sender, letter.data.len());
            }
        }
        for waiter in unix.waiters {
            if self.mailbox_mut(waiter).is_some() {
                self.tell_mailbox(waiter.index, Readiness::WRITABLE);
            }
        }
    }
}

/// Datagrams that wait before a queue is full; one more is taken, as by Linux. (net.unix.max_dgram_qlen)
const LONGEST_QUEUE: usize = 10;

/// What the sender's buffer keeps beside a datagram.
const HEADER: usize = 32;
