//! A connect by name begins with the first family that is answered, in the order of RFC 6724, with
//! the wait of RFC 8305 for IPv6.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use crate::lab::{Act, Lab, MILLISECOND, SECOND, no_data, nonexistent, silent};
use crate::message::Asked;
use twistor::sim::{Host, Packet, PacketKind, Random, Rule, Verdict};
use twistor::{ClientFactory, ConnectTcp, Instant, Protocol, Transport};

const A: u16 = 1;

/// Time until a family is answered. `None`: never.
type Delays = (Option<u64>, Option<u64>);

/// Time and destination of each first handshake packet.
type Attempts = Rc<RefCell<Vec<(Instant, IpAddr)>>>;

struct Noting(Attempts);

impl Rule for Noting {
    fn packet(&mut self, packet: &Packet, _: &mut Random) -> Verdict {
        let (to, mut attempts) = (packet.destination, self.0.borrow_mut());
        if packet.kind == PacketKind::Syn && to.port() == 80 && !attempts.iter().any(|(_, ip)| *ip == to.ip())
        {
            attempts.push((packet.at, to.ip()));
        }
        Verdict::Pass
    }
}

/// A client of a web server with an address of each family.
struct Web {
    lab: Lab,
    server: Host,
    attempts: Attempts,
}

/// Closes its connection at once.
struct Client(Rc<Cell<bool>>);

impl Protocol for Client {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.0.set(true);
        transport.lose_connection();
    }

    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

struct Server;

impl Protocol for Server {
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

impl Web {
    /// The delays are those of A and AAAA. With `global`, the IPv6 addresses rank above IPv4.
    fn new((four, six): Delays, global: bool) -> Web {
        let addresses = Rc::<RefCell<[String; 2]>>::default();
        let known = Rc::clone(&addresses);
        let script = move |asked: &Asked| {
            let known = known.borrow();
            let (delay, address) = if asked.record_type == A { (four, &known[0]) } else { (six, &known[1]) };
            let message = asked.reply().address(&asked.name, 60, address);
            delay.map(|delay| Act::Later(delay as u32 * MILLISECOND, message)).into_iter().collect()
        };
        let mut lab = Lab::new(script);
        let server = lab.simulation.host("web");
        lab.simulation.reactor(server).listen_tcp("[::]:80", || Server).unwrap();
        let own = lab.simulation.addresses(server);
        let of = |six: bool| own.iter().find(|ip| ip.is_ipv6() == six).unwrap().to_string();
        *addresses.borrow_mut() = [of(false), of(true)];
        if global {
            // To an address of its own, the host has the same source: the labels match.
            let address: IpAddr = "2001:db8::80".parse().unwrap();
            let client = lab.client;
            lab.simulation.network().add_address(client, address);
            lab.simulation.reactor(client).listen_tcp("[::]:80", || Server).unwrap();
            addresses.borrow_mut()[1] = address.to_string();
        }
        let attempts = Attempts::default();
        lab.simulation.add_rule(Noting(Rc::clone(&attempts)));
        Web { lab, server, attempts }
    }

    /// Connects, and returns the family and the time in milliseconds of each attempt.
    fn connect(&mut self) -> Vec<(u8, u128)> {
        let (start, made) = (self.lab.simulation.now(), Rc::<Cell<bool>>::default());
        let client = Client(Rc::clone(&made));
        let mut client = Some(client);
        let factory = move || client.take().unwrap();
        self.lab.reactor().connect_tcp(ConnectTcp::new("www.example", 80), factory).unwrap();
        self.lab.simulation.run_until(move |_| made.get()).unwrap();
        let attempts = self.attempts.borrow();
        let family = |ip: &IpAddr| if ip.is_ipv4() { 4 } else { 6 };
        attempts.iter().map(|(at, ip)| (family(ip), (*at - start).as_millis())).collect()
    }
}

// A query and its answer take 2 ms.

#[test]
fn both_families_are_asked_for_together() {
    let mut web = Web::new((Some(0), Some(0)), false);
    web.connect();
    assert_eq!(web.lab.asked(0), ["www.example A", "www.example AAAA"]);
    let log = web.lab.logs[0].borrow();
    assert_ne!(log[0].from.port(), log[1].from.port(), "each query has a socket of its own");
}

#[test]
fn ipv4_waits_50_ms_for_the_answer_about_ipv6() {
    let mut web = Web::new((Some(0), None), false);
    assert_eq!(web.connect(), [(4, 52)]);
    // The other query is not needed any more.
    web.lab.wait(MILLISECOND);
    assert_eq!(web.lab.resolver.statistics().pending, 0);
}

#[test]
fn ipv4_waits_no_longer_than_for_the_answer() {
    for (six, begins) in [(20, 22), (49, 51)] {
        let mut web = Web::new((Some(0), Some(six)), false);
        assert_eq!(web.connect(), [(4, begins)], "unique local addresses rank below IPv4");
        let mut web = Web::new((Some(0), Some(six)), true);
        assert_eq!(web.connect(), [(6, begins)]);
    }
}

#[test]
fn ipv6_waits_for_nothing() {
    let mut web = Web::new((Some(300), Some(0)), false);
    assert_eq!(web.connect(), [(6, 2)]);
}

#[test]
fn an_answer_after_the_wait_joins_the_race() {
    let mut web = Web::new((Some(0), Some(100)), false);
    let server = web.server;
    let four: IpAddr = web.lab.simulation.addresses(server).into_iter().find(IpAddr::is_ipv4).unwrap();
    web.lab.simulation.add_rule(Dropping(four));
    // The head start of the first attempt is 250 ms.
    assert_eq!(web.connect(), [(4, 52), (6, 302)]);
    let mut web = Web::new((Some(0), Some(400)), false);
    web.lab.simulation.add_rule(Dropping(four));
    assert_eq!(web.connect(), [(4, 52), (6, 402)]);
}

/// Drops handshakes to an address.
struct Dropping(IpAddr);

impl Rule for Dropping {
    fn packet(&mut self, packet: &Packet, _: &mut Random) -> Verdict {
        match packet.kind == PacketKind::Syn && packet.destination.ip() == self.0 {
            true => Verdict::Drop,
            false => Verdict::Pass,
        }
    }
}

#[test]
fn both_families_come_from_one_search_candidate() {
    // The first candidate has IPv6 addresses only, and the second one both.
    let script = |asked: &Asked| {
        let (six, name) = (asked.record_type != A, asked.name.as_str());
        match name {
            "web.one.example" if six => vec![asked.reply().address(name, 60, "fd00::9").into()],
            "web.one.example" => vec![no_data(asked).into()],
            _ => vec![asked.reply().address(name, 60, if six { "fd00::8" } else { "10.0.0.8" }).into()],
        }
    };
    let mut lab = Lab::with(vec![Box::new(script)], |config| {
        config.search = vec!["one.example".parse().unwrap(), "two.example".parse().unwrap()];
    });
    let found = lab.look_up(("web", 80)).unwrap().addresses;
    assert_eq!(found, ["[fd00::9]:80".parse::<SocketAddr>().unwrap()]);
    assert_eq!(lab.asked(0), ["web.one.example A", "web.one.example AAAA"]);
    lab.check_idle();
}

#[test]
fn a_connect_to_a_name_that_is_not_there_fails_at_once() {
    let script = |asked: &Asked| vec![nonexistent(asked).into()];
    for (script, longest) in [
        (Box::new(script) as Box<dyn FnMut(&Asked) -> Vec<Act>>, 10 * MILLISECOND),
        // The connector's own limit.
        (silent(), 10 * SECOND),
    ] {
        let mut lab = Lab::with(vec![script], |_| {});
        let (start, failed) = (lab.simulation.now(), Rc::<Cell<bool>>::default());
        let seen = Rc::clone(&failed);
        let factory = (|| Server).on_failure(move |_, _| seen.set(true));
        lab.reactor().connect_tcp(ConnectTcp::new("www.example", 80), factory).unwrap();
        lab.simulation.run_until(move |_| failed.get()).unwrap();
        let took: Duration = lab.simulation.now() - start;
        assert!(took <= longest + MILLISECOND, "{took:?}");
        lab.check_idle();
    }
}
