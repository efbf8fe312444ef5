//! Datagram protocols that do anything that they may do.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use twistor::{Address, DatagramProtocol, DatagramTransport, Interface, Reason, SystemError, UnixAddress};

use super::ledger::Ledger;
use super::post::{Post, Seen};

/// The state of a socket, which protocols check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    New,
    Started,
    Stopped,
}

/// A UDP socket.
pub struct Postman {
    ledger: Ledger,
    post: Post,
    /// The addresses of the other sockets; for a connected socket, its peer.
    others: Vec<SocketAddr>,
    seen: Seen,
    life: Life,
}

impl Postman {
    pub fn new(ledger: &Ledger, post: &Post, others: Vec<SocketAddr>) -> Postman {
        Postman { ledger: ledger.clone(), post: post.clone(), others, seen: Seen::new(), life: Life::New }
    }

    fn tick(&mut self, transport: &mut DatagramTransport<'_>) {
        if self.ledger.is_quiet() {
            return;
        }
        self.ledger.acts("DatagramTransport::call_later");
        let delay = Duration::from_millis(20 + self.ledger.below(300));
        transport.call_later(delay, |postman: &mut Postman, transport| {
            assert_eq!(postman.life, Life::Started);
            postman.act(transport);
            postman.tick(transport);
        });
    }

    fn send(&self, transport: &mut DatagramTransport<'_>, to: Option<SocketAddr>) {
        let length = match self.ledger.below(10) {
            0 if self.ledger.below(4) == 0 => self.ledger.below(60_000),
            1..=4 => self.ledger.below(3000),
            _ => self.ledger.below(100),
        };
        let letter = self.post.letter(length as usize);
        // The send queue may be full, or the socket closed.
        let _ = match to {
            None => {
                self.ledger.acts("DatagramTransport::write");
                transport.write(&letter)
            }
            Some(to) => {
                self.ledger.acts("DatagramTransport::write_to");
                transport.write_to(&letter, &Address::Udp(to))
            }
        };
    }

    fn anybody(&self) -> SocketAddr {
        self.others[self.ledger.below(self.others.len() as u64) as usize]
    }

    fn act(&mut self, transport: &mut DatagramTransport<'_>) {
        let acts = |name| self.ledger.acts(name);
        acts("DatagramTransport::peer");
        if transport.peer().is_some() {
            let peer = self.ledger.below(2) == 0;
            return self.send(transport, (!peer).then(|| self.others[0]));
        }
        let group = IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3));
        let interface = if self.ledger.below(3) == 0 { Interface::Index(1) } else { Interface::Default };
        // An injected fault may make any of these fail.
        match self.ledger.below(16) {
            0..=4 => self.send(transport, Some(self.anybody())),
            5 => (0..self.ledger.below(60)).for_each(|_| self.send(transport, Some(self.anybody()))),
            6 => {
                acts("DatagramTransport::set_broadcast");
                let _ = transport.set_broadcast(self.ledger.below(2) == 0);
                self.send(transport, Some((Ipv4Addr::BROADCAST, UDP_PORT).into()));
            }
            7 => {
                acts("DatagramTransport::join_group");
                let _ = transport.join_group(group, interface);
            }
            8 => {
                acts("DatagramTransport::leave_group");
                let _ = transport.leave_group(group, interface);
            }
            9 | 10 => self.send(transport, Some((group, UDP_PORT).into())),
            11 => {
                acts("DatagramTransport::set_multicast_ttl");
                acts("DatagramTransport::set_multicast_loopback");
                acts("DatagramTransport::set_multicast_interface");
                acts("DatagramTransport::set_ttl");
                let _ = transport.set_multicast_ttl(self.ledger.below(2) as u8);
                let _ = transport.set_multicast_loopback(self.ledger.below(2) == 0);
                let _ = transport.set_multicast_interface(interface);
                let _ = transport.set_ttl(1 + self.ledger.below(255) as u8);
            }
            12 => {
                acts("DatagramTransport::pause_reading");
                acts("DatagramTransport::reading_paused");
                transport.pause_reading();
                assert!(transport.reading_paused());
                let delay = Duration::from_millis(self.ledger.below(1000));
                transport.call_later(delay, |postman: &mut Postman, transport| {
                    postman.ledger.acts("DatagramTransport::resume_reading");
                    transport.resume_reading();
                });
            }
            13 => {
                acts("DatagramTransport::id");
                acts("DatagramTransport::host");
                acts("DatagramTransport::now");
                acts("DatagramTransport::reactor");
                acts("DatagramTransport::write_buffer_size");
                acts("Reactor::datagrams");
                acts("Reactor::datagram_transport");
                acts("Reactor::with_datagram");
                let (id, now) = (transport.id(), transport.now());
                assert!(transport.host().port().is_some());
                assert!(transport.write_buffer_size() < 2_000_000);
                let reactor = transport.reactor();
                assert!(reactor.datagrams().contains(&id) && reactor.now() >= now);
                assert!(reactor.datagram_transport(id).is_some());
                // The protocol is out of its slot during its callback.
                assert!(reactor.with_datagram(id, |_: &mut Postman, _| ()).is_none());
            }
            14 if self.ledger.below(10) == 0 => {
                acts("DatagramTransport::stop_listening");
                acts("DatagramTransport::is_closing");
                transport.stop_listening();
                assert!(transport.is_closing());
                transport.write(b"too late").unwrap_err();
            }
            _ => {}
        }
    }
}

impl DatagramProtocol for Postman {
    fn start_protocol(&mut self, transport: &mut DatagramTransport<'_>) {
        assert_eq!(self.life, Life::New);
        self.life = Life::Started;
        self.tick(transport);
    }

    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        assert_eq!(self.life, Life::Started);
        self.post.came(&mut self.seen, data, false);
        self.ledger.acts("DatagramTransport::destination");
        self.ledger.acts("DatagramTransport::reply_source");
        let (asked, source) = (transport.destination(), transport.reply_source());
        assert!(source.is_none() || source == asked, "{source:?} of {asked:?}");
        if self.ledger.below(4) == 0 && !self.ledger.is_quiet() {
            match source {
                Some(source) if self.ledger.below(2) == 0 => {
                    self.ledger.acts("DatagramTransport::write_from");
                    let letter = self.post.letter(self.ledger.below(100) as usize);
                    // The socket may be closed, or bound to another address.
                    let _ = transport.write_from(&letter, from, source);
                }
                _ => self.send(transport, from.socket_address()),
            }
        }
    }

    fn datagram_truncated(&mut self, _: &mut DatagramTransport<'_>, data: &[u8], _: &Address) {
        assert_eq!(self.life, Life::Started);
        self.post.came(&mut self.seen, data, true);
    }

    fn connection_refused(&mut self, _: &mut DatagramTransport<'_>) {
        assert_eq!(self.life, Life::Started);
    }

    fn error_received(&mut self, _: &mut DatagramTransport<'_>, error: &SystemError) {
        self.ledger.acts("SystemError::is_too_long");
        assert_eq!(error.is_too_long(), error.to_string().contains("too long"), "{error}");
        assert_eq!(self.life, Life::Started);
    }

    fn send_failed(&mut self, _: &mut DatagramTransport<'_>, _: Option<&Address>, _: &SystemError) {
        assert_eq!(self.life, Life::Started);
    }

    fn stop_protocol(&mut self, transport: &mut DatagramTransport<'_>, reason: &Reason) {
        // A peer that was not found stops a socket that has not started.
        let opened = matches!(reason, Reason::Done | Reason::Stopped);
        assert!(self.life == Life::Started || self.life == Life::New && !opened, "{reason:?}");
        self.life = Life::Stopped;
        transport.write(b"too late").unwrap_err();
    }
}

/// A UNIX socket that receives from the senders of its host.
pub struct Letterbox(pub Post);

impl DatagramProtocol for Letterbox {
    fn datagram_received(&mut self, _: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        assert!(from.unix().is_some());
        self.0.came_in_line(data);
    }
}

/// A UNIX socket that sends to a `Letterbox`.
pub struct Correspondent {
    ledger: Ledger,
    post: Post,
    line: u32,
    to: UnixAddress,
}

impl Correspondent {
    pub fn new(ledger: &Ledger, post: &Post, to: UnixAddress) -> Correspondent {
        Correspondent { ledger: ledger.clone(), post: post.clone(), line: post.open_line(), to }
    }

    fn tick(&mut self, transport: &mut DatagramTransport<'_>) {
        if self.ledger.is_quiet() {
            return;
        }
        for _ in 0..self.ledger.below(40) {
            let letter = self.post.next_of(self.line);
            let taken = match transport.peer().is_some() {
                true => transport.write(&letter),
                false => transport.write_to(&letter, &Address::Unix(self.to.clone())),
            };
            if taken.is_ok() {
                self.post.written(self.line);
            }
        }
        let delay = Duration::from_millis(self.ledger.below(500));
        transport.call_later(delay, |this: &mut Correspondent, transport| this.tick(transport));
    }
}

impl DatagramProtocol for Correspondent {
    fn start_protocol(&mut self, transport: &mut DatagramTransport<'_>) {
        self.tick(transport);
    }

    fn datagram_received(&mut self, _: &mut DatagramTransport<'_>, _: &[u8], _: &Address) {
        panic!("no answer was expected");
    }

    fn send_failed(&mut self, _: &mut DatagramTransport<'_>, _: Option<&Address>, _: &SystemError) {
        self.post.given_up(self.line);
    }
}

pub const UDP_PORT: u16 = 8000;
