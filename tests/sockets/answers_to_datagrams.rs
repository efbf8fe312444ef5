//! An ICMP error for a datagram is returned by a later call. It is reported once, and no other
//! datagram is lost.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::world::{Record, World, on_each_back_end};
use socket2::{Domain, Protocol, Socket, Type};
use twistor::sim::{CallKind, Errno, Fault, PacketKind, Verdict};
use twistor::{
    Address, ConnectUdp, DatagramId, DatagramProtocol, DatagramTransport, ListenUdp, Reactor, SystemError,
};

struct Mailbox(Record);

impl DatagramProtocol for Mailbox {
    fn datagram_received(&mut self, _: &mut DatagramTransport<'_>, data: &[u8], _: &Address) {
        self.0.add(String::from_utf8_lossy(data).into_owned());
    }

    fn connection_refused(&mut self, _: &mut DatagramTransport<'_>) {
        self.0.add("refused");
    }

    fn error_received(&mut self, _: &mut DatagramTransport<'_>, error: &SystemError) {
        self.0.add(format!("error {}", error.code.unwrap()));
    }

    fn send_failed(&mut self, _: &mut DatagramTransport<'_>, _: Option<&Address>, error: &SystemError) {
        self.0.add(format!("failed {}", error.code.unwrap()));
    }
}

/// Two sockets. The second is connected to the first.
struct Two<'w> {
    world: &'w World,
    reactor: Reactor,
    there: Record,
    here: Record,
    peer: DatagramId,
    client: DatagramId,
}

impl Two<'_> {
    fn new(world: &World) -> Two<'_> {
        let mut reactor = world.reactor();
        let (there, here) = (Record::new(), Record::new());
        let peer = reactor.listen_udp(world.anywhere(), Mailbox(there.clone())).unwrap();
        let to = host(&mut reactor, peer);
        let local = ListenUdp::new(world.anywhere());
        let connect = ConnectUdp { local, ..ConnectUdp::from(to) };
        let client = reactor.connect_udp(connect, Mailbox(here.clone())).unwrap();
        world.run_until(&mut reactor, "started", |reactor| reactor.statistics().turns > 2);
        Two { world, reactor, there, here, peer, client }
    }

    /// Sends a datagram that is answered by an ICMP error. No call has returned the error yet.
    fn send_in_vain(&mut self, code: u8, errno: Errno) {
        let (from, to) = (host(&mut self.reactor, self.client), host(&mut self.reactor, self.peer));
        match self.world.simulated() {
            Some((network, _)) => {
                let lost = Fault::packet(PacketKind::Datagram, Verdict::Fail(errno));
                network.add_rule(lost.at_most(1));
                self.write("lost");
                // Outside of callbacks, the datagram is sent at the end of the turn, after the
                // reads.
                self.turn();
            }
            None => unreachable(code, from, to),
        }
    }

    fn write(&mut self, data: &str) {
        self.reactor.datagram_transport(self.client).unwrap().write(data.as_bytes()).unwrap();
    }

    fn turn(&mut self) {
        assert!(self.reactor.iterate(Some(Duration::ZERO)).unwrap());
    }

    fn end(mut self) {
        for id in [self.client, self.peer] {
            self.reactor.datagram_transport(id).unwrap().stop_listening();
        }
        self.world.run_until_idle(&mut self.reactor);
    }
}

fn host(reactor: &mut Reactor, id: DatagramId) -> SocketAddr {
    reactor.datagram_transport(id).unwrap().host().socket_address().unwrap()
}

/// Sends "destination unreachable" for a datagram between these addresses. (RFC 792.)
fn unreachable(code: u8, from: SocketAddr, to: SocketAddr) {
    let mut about = [0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1];
    let sum = checksum(&about).to_be_bytes();
    about[10..12].copy_from_slice(&sum);
    let ports = [from.port().to_be_bytes(), to.port().to_be_bytes(), [0, 8], [0, 0]].concat();
    let mut message = [&[3, code, 0, 0, 0, 0, 0, 0], &about[..], &ports].concat();
    let sum = checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
    raw.send_to(&message, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
}

/// The Internet checksum. (RFC 1071.)
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// Whether the test may send ICMP messages. Raw sockets need privileges.
fn may_speak_for_routers() -> bool {
    let may = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).is_ok();
    if !may {
        eprintln!("SKIPPED on the real network: it needs a raw socket");
    }
    may
}

fn on_each_that_can(promise: impl Fn(&World)) {
    let may = may_speak_for_routers();
    on_each_back_end(|world| {
        if may || world.simulated().is_some() {
            promise(world);
        }
    });
}

/// Codes of "destination unreachable" and the resulting errors. "Fragmentation needed" is left out:
/// the kernel would remember the path MTU for the loopback.
const ANSWERS: [(u8, Errno); 3] =
    [(13, Errno::EHOSTUNREACH), (6, Errno::ENETUNREACH), (2, Errno::ENOPROTOOPT)];

#[test]
fn an_answer_that_a_send_is_told_costs_it_nothing() {
    on_each_that_can(|world| {
        for (code, errno) in ANSWERS {
            let mut two = Two::new(world);
            two.send_in_vain(code, errno);
            // Sent before any read.
            two.write("next");
            two.reactor.datagram_transport(two.client).unwrap().pause_reading();
            let (here, there) = (two.here.clone(), two.there.clone());
            world.run_until(&mut two.reactor, "there", |_| there.has("next"));
            world.run_until(&mut two.reactor, "told", |_| !here.events().is_empty());
            assert_eq!(here.events(), [format!("error {}", errno.raw())]);
            assert_eq!(there.events(), ["next"]);
            assert_eq!(two.reactor.statistics().datagram_errors, 1);
            two.end();
        }
    });
}

#[test]
fn an_icmp_error_in_a_batched_send_is_reported_without_loss() {
    on_each_that_can(|world| {
        for (code, errno) in ANSWERS {
            let mut two = Two::new(world);
            two.reactor.datagram_transport(two.client).unwrap().pause_reading();
            two.send_in_vain(code, errno);
            for _ in 0..20 {
                two.write("alike");
            }
            let (here, there) = (two.here.clone(), two.there.clone());
            world.run_until(&mut two.reactor, "there", |_| there.count("alike") == 20);
            world.run_until(&mut two.reactor, "told", |_| !here.events().is_empty());
            assert_eq!(here.events(), [format!("error {}", errno.raw())]);
            two.end();
        }
    });
}

#[test]
fn an_icmp_error_seen_by_a_read_is_reported_and_reading_goes_on() {
    on_each_that_can(|world| {
        let mut two = Two::new(world);
        two.send_in_vain(13, Errno::EHOSTUNREACH);
        let me = Address::Udp(host(&mut two.reactor, two.client));
        two.reactor.datagram_transport(two.peer).unwrap().write_to(b"behind", &me).unwrap();
        let here = two.here.clone();
        world.run_until(&mut two.reactor, "both", |_| here.events().len() == 2);
        assert_eq!(here.events(), [format!("error {}", Errno::EHOSTUNREACH.raw()), "behind".into()]);
        two.end();
    });
}

#[test]
fn after_an_answer_a_read_that_brought_all_is_the_last_one() {
    // The calls are counted where that is possible.
    on_each_back_end(|world| {
        let Some((network, _)) = world.simulated() else { return };
        let mut two = Two::new(world);
        two.send_in_vain(13, Errno::EHOSTUNREACH);
        let (here, peer) = (two.here.clone(), two.peer);
        world.run_until(&mut two.reactor, "told", |_| here.events().len() == 1);
        let me = Address::Udp(host(&mut two.reactor, two.client));
        let mut before = network.coverage().call(CallKind::RecvDatagrams);
        for number in 1..=5 {
            two.reactor.datagram_transport(peer).unwrap().write_to(b"hello", &me).unwrap();
            world.run_until(&mut two.reactor, "there", |_| here.count("hello") == number);
            for _ in 0..3 {
                two.turn();
            }
            let calls = network.coverage().call(CallKind::RecvDatagrams);
            assert!(number == 1 || calls - before == 1, "{} calls for one datagram", calls - before);
            before = calls;
        }
        two.end();
    });
}

#[test]
fn a_datagram_that_cannot_be_sent_is_dropped_after_two_attempts() {
    on_each_back_end(|world| {
        let Some((network, _)) = world.simulated() else { return };
        let mut two = Two::new(world);
        network.add_rule(Fault::fail(CallKind::SendDatagrams, Errno::EHOSTUNREACH).at_most(2));
        for data in ["lost", "next"] {
            two.write(data);
        }
        let (here, there) = (two.here.clone(), two.there.clone());
        world.run_until(&mut two.reactor, "there", |_| there.has("next"));
        assert_eq!(here.events(), [format!("failed {}", Errno::EHOSTUNREACH.raw())]);
        assert_eq!(there.events(), ["next"]);
        two.end();
    });
}

#[test]
fn an_unreadable_socket_is_retried_periodically_without_loss() {
    on_each_back_end(|world| {
        let Some((network, _)) = world.simulated() else { return };
        let mut two = Two::new(world);
        let until = two.reactor.now() + Duration::from_secs(1);
        let begun = network.now();
        let time = Duration::from_nanos(1) + (until - two.reactor.now());
        let failing = Fault::fail(CallKind::RecvDatagrams, Errno::ENOMEM);
        let since = begun - twistor::Instant::default();
        network.add_rule(failing.between(since, since + time));
        two.write("hello");
        let there = two.there.clone();
        // Datagrams that arrive before the retry do not trigger one.
        let client = two.client;
        for number in 1..50 {
            two.reactor.call_later(number * Duration::from_millis(15), move |reactor| {
                reactor.datagram_transport(client).unwrap().write(b"more").unwrap();
            });
        }
        world.run_until(&mut two.reactor, "there", |_| there.has("hello"));
        let told = there.count(&format!("error {}", Errno::ENOMEM.raw()));
        assert!((9..=11).contains(&told), "told {told} times in a second");
        assert!(two.reactor.statistics().turns < 1000, "{} turns", two.reactor.statistics().turns);
        two.end();
    });
}
