//! Datagrams: each travels by itself; some are lost, doubled, overtaken or too long.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use super::coverage::FaultKind;
use super::errno::Errno;
use super::events::Happening;
use super::link::LONGEST_DATAGRAM;
use super::process::Socket;
use super::rule::{CallKind, PacketKind, Verdict};
use super::trace::{About, What};
use super::world::{FIRST_PORT, LAST_PORT, World};
use crate::net::{Ready, Token};

/// A bound datagram socket and what has come to it.
pub(super) struct Mailbox {
    pub(super) host: u32,
    process: u32,
    token: Token,
    pub(super) address: SocketAddr,
    waiting: VecDeque<(SocketAddr, Vec<u8>)>,
    held: usize,
    /// Told once.
    error: Option<Errno>,
    pub(super) news: Ready,
}

/// One on its way.
pub(super) struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    path: u32,
    data: Vec<u8>,
}

impl World {
    pub(super) fn bind_datagrams(
        &mut self,
        process: u32,
        token: Token,
        asked: SocketAddr,
    ) -> Result<SocketAddr, Errno> {
        let host = self.process(process).host;
        if !self.is_own(host, asked.ip()) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let mut address = asked;
        if address.port() == 0 {
            let free = (FIRST_PORT..=LAST_PORT).find_map(|_| {
                let port = self.next_port(host);
                self.host(host).mailboxes.get(&port).is_none_or(Vec::is_empty).then_some(port)
            });
            address.set_port(free.ok_or(Errno::EADDRINUSE)?);
        } else if self.mailbox_for(host, address).is_some() {
            return Err(Errno::EADDRINUSE);
        }
        let mailbox = Mailbox {
            host,
            process,
            token,
            address,
            waiting: VecDeque::new(),
            held: 0,
            error: None,
            news: Ready::default(),
        };
        let index = self.mailboxes.insert(mailbox) as u32;
        self.host_mut(host).mailboxes.entry(address.port()).or_default().push(index);
        self.process_mut(process).insert(token, Socket::Datagram(index));
        Ok(address)
    }

    fn mailbox_for(&self, host: u32, address: SocketAddr) -> Option<u32> {
        let mut there = self.host(host).mailboxes.get(&address.port())?.iter().copied();
        there.find(|index| {
            let bound = self.mailboxes[*index as usize].address.ip();
            bound == address.ip() || bound.is_unspecified() || address.ip().is_unspecified()
        })
    }

    fn mailbox(&self, process: u32, token: Token) -> io::Result<u32> {
        match self.process(process).get(token) {
            Socket::Datagram(index) => Ok(index),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn send_to(
        &mut self,
        process: u32,
        token: Token,
        data: &[u8],
        to: SocketAddr,
    ) -> io::Result<usize> {
        let index = self.mailbox(process, token)?;
        let verdict = self.before(process, CallKind::Send, data.len());
        if let Some(error) = self.mailboxes[index as usize].error.take() {
            return Err(error.into());
        }
        match verdict {
            Verdict::Fail(errno) => return Err(errno.into()),
            Verdict::Drop => return Err(Errno::EAGAIN.into()),
            _ if data.len() > LONGEST_DATAGRAM => return Err(Errno::EMSGSIZE.into()),
            _ => {}
        }
        let host = self.process(process).host;
        let Some(source) = self.source_address(host, to.ip()) else {
            return Err(Errno::ENETUNREACH.into());
        };
        let bound = self.mailboxes[index as usize].address;
        let from =
            SocketAddr::new(if bound.ip().is_unspecified() { source } else { bound.ip() }, bound.port());
        self.note_call(process, About::NOTHING, CallKind::Send, data.len() as i64);
        // Where there is no such host, it goes nowhere.
        let Some(there) = self.find_host(host, to.ip()) else { return Ok(data.len()) };
        let path = self.path(host, there);
        let at = self.local_now(process);
        let mut late = 0;
        match self.judge_packet(path, PacketKind::Datagram, data.len(), from, to) {
            Verdict::Drop | Verdict::Fail(_) => return Ok(data.len()),
            Verdict::Delay(by) => late = by.as_nanos() as u64,
            Verdict::Pass | Verdict::Short(_) => {}
        }
        let way = &mut self.paths[path as usize];
        let link = way.link.clone();
        if data.len() > link.mtu {
            self.fault(FaultKind::TooLong, there);
            return Ok(data.len());
        }
        let random = &mut self.random.links;
        let (lost, twice) = (random.chance(link.loss), random.chance(link.duplicate));
        let overtaken = random.chance(link.reorder);
        if lost {
            self.fault(FaultKind::Loss, there);
            return Ok(data.len());
        }
        if overtaken {
            self.fault(FaultKind::Reorder, there);
            late += 2 * link.latency.draw(&mut self.random.links).as_nanos() as u64 + OVERTAKEN;
        }
        for _ in 0..1 + u8::from(twice) {
            let arrival = self.paths[path as usize].travel(at, data.len(), &mut self.random.links) + late;
            let datagram = Datagram { from, to, path, data: data.to_vec() };
            let index = self.datagrams.insert(datagram) as u32;
            if arrival <= self.now {
                self.datagram_arrives(index);
            } else {
                self.schedule(arrival, Happening::Datagram, 0, index, 0);
            }
        }
        if twice {
            self.fault(FaultKind::Duplicate, there);
        }
        Ok(data.len())
    }

    pub(super) fn datagram_arrives(&mut self, index: u32) {
        let Some(Datagram { from, to, path, data }) = self.datagrams.try_remove(index as usize) else {
            return;
        };
        let host = self.paths[path as usize].to;
        if !self.is_open(path) || self.host(host).silent.has(to.port()) {
            return self.note(host, About::NOTHING, What::Lost(PacketKind::Datagram), data.len() as i64);
        }
        let Some(mailbox) = self.mailbox_for(host, to) else {
            return self.note(host, About::NOTHING, What::Lost(PacketKind::Datagram), data.len() as i64);
        };
        let found = &mut self.mailboxes[mailbox as usize];
        if found.held + data.len() > MAILBOX {
            return self.note(host, About::NOTHING, What::Lost(PacketKind::Datagram), data.len() as i64);
        }
        found.held += data.len();
        let size = data.len() as i64;
        found.waiting.push_back((from, data));
        let (process, token, first) = (found.process, found.token, found.news == Ready::default());
        found.news.insert(Ready::READABLE);
        if first {
            self.process_mut(process).news.push(token);
            self.wake(process);
        }
        self.note(host, About::NOTHING, What::Arrives(PacketKind::Datagram), size);
    }

    /// Bytes copied, the whole length, and the sender.
    pub(super) fn recv_from(
        &mut self,
        process: u32,
        token: Token,
        buffer: &mut [u8],
    ) -> io::Result<(usize, usize, SocketAddr)> {
        let index = self.mailbox(process, token)?;
        if let Verdict::Fail(errno) = self.before(process, CallKind::Recv, buffer.len()) {
            return Err(errno.into());
        }
        let mailbox = &mut self.mailboxes[index as usize];
        let Some((from, data)) = mailbox.waiting.pop_front() else { return Err(Errno::EAGAIN.into()) };
        mailbox.held -= data.len();
        let count = data.len().min(buffer.len());
        buffer[..count].copy_from_slice(&data[..count]);
        self.note_call(process, About::NOTHING, CallKind::Recv, count as i64);
        Ok((count, data.len(), from))
    }

    pub(super) fn close_mailbox(&mut self, index: u32) {
        let Some(mailbox) = self.mailboxes.try_remove(index as usize) else { return };
        if let Some(there) = self.host_mut(mailbox.host).mailboxes.get_mut(&mailbox.address.port()) {
            there.retain(|other| *other != index);
        }
    }
}

/// How long one that is overtaken is held back at least.
const OVERTAKEN: u64 = 1_000_000;

/// Bytes that wait to be read; what comes beyond it is lost, as on Linux.
const MAILBOX: usize = 212_992;
