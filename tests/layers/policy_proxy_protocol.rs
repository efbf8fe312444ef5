//! Behind a proxy, a protocol sees its client's addresses from the start. A connection with an
//! invalid header is closed.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::peer::turns;
use crate::world::{Record, Recorder, World, on_each_back_end, once};
use twistor::policy::limit_per_peer;
use twistor::proxy_protocol::{
    Header, HeaderError, ProxyOptions, TrustedProxies, Value, Version, behind_proxy, with_proxy_header,
};
use twistor::{
    Address, BuildContext, ClientFactory, Factory, Layer, LayerError, Protocol, Reactor, Reason, factory,
    shared,
};

/// Records its peer and host in every callback.
fn knowing(record: &Record) -> Recorder {
    let noted = record.clone();
    Recorder::new(record).acting(move |what, transport, _| {
        let host = transport.host();
        noted.add(format!("{} at {host}", transport.peer()));
        if what == "read lost" {
            transport.lose_connection();
        }
    })
}

fn trusting() -> ProxyOptions {
    ProxyOptions::from("127.0.0.1".parse().unwrap())
}

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n";
const TOLD: &str = "192.0.2.7:40000 at 198.51.100.1:443";

fn binary() -> Vec<u8> {
    let address = |text: &str| Address::Tcp(text.parse().unwrap());
    Header::new(Version::Two, address("192.0.2.7:40000"), address("198.51.100.1:443")).encode()
}

#[test]
fn the_client_addresses_are_known_however_the_header_is_split() {
    on_each_back_end(|world| {
        for header in [LINE.to_vec(), binary()] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let noted = record.clone();
            let built = Record::new();
            let peers = built.clone();
            let factory = factory(move |peer| {
                peers.add(peer.to_string());
                Some(knowing(&noted))
            });
            let listener = reactor.listen_tcp(world.anywhere(), behind_proxy(factory, trusting())).unwrap();
            let bytes = [&header[..], b"hello"].concat();
            for cut in 0..=bytes.len() {
                let mut peer = world.connect(listener.address());
                peer.send(&bytes[..cut]);
                turns(&mut reactor);
                if cut < header.len() {
                    assert!(record.events().is_empty(), "made before the header was in");
                }
                peer.send(&bytes[cut..]);
                peer.finish();
                assert_eq!(peer.read_to_end(&mut reactor), (Vec::new(), None));
                drop(peer);
                world.run_until(&mut reactor, "lost", |_| record.has("lost Done"));
                turns(&mut reactor);
                let mut told = record.take();
                // In one or two pieces.
                if cut > header.len() && cut < bytes.len() {
                    let second = told.remove(4);
                    assert!(second.starts_with("data "));
                    told.remove(4);
                    told[2] = "data hello".to_owned();
                }
                let expected = ["made", TOLD, "data hello", TOLD, "read lost", TOLD, "lost Done", TOLD];
                assert_eq!(told, expected, "cut at {cut}");
                assert_eq!(built.take(), ["192.0.2.7:40000"]);
            }
            world.close(&mut reactor, &listener);
        }
    });
}

#[test]
fn a_local_or_unknown_proxy_header_keeps_the_addresses() {
    on_each_back_end(|world| {
        for header in [b"PROXY UNKNOWN\r\n".to_vec(), Header::local(Version::Two).encode()] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let factory = behind_proxy(once(knowing(&record), &Record::new()), trusting());
            let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
            let mut peer = world.connect(listener.address());
            let own = format!("{} at {}", peer.local_address(), peer.peer_address());
            peer.send(&header);
            peer.finish();
            peer.read_to_end(&mut reactor);
            drop(peer);
            world.close(&mut reactor, &listener);
            assert_eq!(record.events(), ["made", &own, "read lost", &own, "lost Done", &own]);
        }
    });
}

/// A factory whose layers record the loss of their connections.
struct Telling<F> {
    factory: F,
    reasons: Rc<RefCell<Vec<Reason>>>,
}

struct Teller(Rc<RefCell<Vec<Reason>>>);

impl Layer for Teller {
    fn connection_lost(&mut self, _: &mut Reactor, reason: &Reason) {
        self.0.borrow_mut().push(reason.clone());
    }
}

impl<F: Factory> Factory for Telling<F> {
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        self.factory.build_protocol(context)
    }

    fn layers(&mut self, context: &mut BuildContext<'_>) -> Vec<Box<dyn Layer>> {
        let mut layers = self.factory.layers(context);
        layers.push(Box::new(Teller(Rc::clone(&self.reasons))));
        layers
    }
}

/// The reason of the loss of a connection that starts with these bytes, and optionally ends after
/// them.
fn outcome(world: &World, receiving: &ProxyOptions, bytes: &[u8], finish: bool) -> Reason {
    let mut reactor = world.reactor();
    let record = Record::new();
    let reasons = Rc::new(RefCell::new(Vec::new()));
    let inner = once(Recorder::new(&record), &Record::new());
    let factory = Telling { factory: behind_proxy(inner, receiving.clone()), reasons: Rc::clone(&reasons) };
    let (innocent, _peer) =
        crate::world::peer::connection(world, &mut reactor, crate::world::idle_protocol());
    let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
    let mut peer = world.connect(listener.address());
    peer.send(bytes);
    if finish {
        peer.finish();
    }
    peer.read_to_end(&mut reactor);
    drop(peer);
    world.run_until(&mut reactor, "lost", |_| !reasons.borrow().is_empty());
    assert!(record.events().is_empty(), "the protocol never was");
    assert_eq!(reactor.connections(), [innocent], "the other connection is untouched");
    reactor.transport(innocent).unwrap().abort_connection();
    world.close(&mut reactor, &listener);
    reasons.take().remove(0)
}

fn header_error(reason: &Reason) -> HeaderError {
    let Reason::Layer(error) = reason else { panic!("{reason}") };
    error.error::<HeaderError>().unwrap().clone()
}

#[test]
fn a_wrong_header_ends_only_that_connection_with_a_typed_error() {
    on_each_back_end(|world| {
        let receiving = ProxyOptions { timeout: Duration::from_millis(20), ..trusting() };
        let cut = &LINE[..LINE.len() - 1];
        for (bytes, finish, error) in [
            (&b"GET / HTTP/1.1\r\n"[..], false, HeaderError::Missing),
            (b"PROXY TCP9 1.2.3.4 1.2.3.4 1 2\r\n", false, HeaderError::BadProtocol("TCP9".to_owned())),
            (b"\r\nx", false, HeaderError::Missing),
            (cut, true, HeaderError::Ended),
            (cut, false, HeaderError::TimedOut(receiving.timeout)),
            (b"", false, HeaderError::TimedOut(receiving.timeout)),
        ] {
            assert_eq!(header_error(&outcome(world, &receiving, bytes, finish)), error);
        }
        let error = LayerError::new("PROXY header", HeaderError::Missing);
        assert_eq!(
            Reason::Layer(error).to_string(),
            "connection ended by a layer: PROXY header: the connection does not begin with a PROXY header"
        );
        // A proxy's health check, which sends nothing, is not an error.
        assert_eq!(outcome(world, &receiving, b"", true), Reason::Done);
    });
}

#[test]
fn a_header_of_somebody_who_is_not_trusted_is_not_read() {
    on_each_back_end(|world| {
        let receiving = ProxyOptions::from("192.0.2.0/24".parse::<TrustedProxies>().unwrap());
        let error = header_error(&outcome(world, &receiving, LINE, false));
        assert!(matches!(error, HeaderError::NotTrusted(peer) if peer.ip() == world.anywhere().ip().into()));
    });
}

#[test]
fn the_timeout_ends_with_the_header() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let receiving = ProxyOptions { timeout: Duration::from_millis(50), ..trusting() };
        let factory = behind_proxy(once(Recorder::new(&record).echoing(), &Record::new()), receiving);
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let mut peer = world.connect(listener.address());
        peer.send(LINE);
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        // No timer that could end the connection is left.
        assert_eq!(reactor.delayed_call_count(), 0);
        peer.finish();
        peer.read_to_end(&mut reactor);
        world.close(&mut reactor, &listener);
        assert!(record.has("lost Done"));
    });
}

#[test]
fn limits_inside_count_clients_and_not_the_proxy() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        let limited = limit_per_peer(move || Recorder::new(&noted), 1);
        let listener = reactor.listen_tcp(world.anywhere(), behind_proxy(limited, trusting())).unwrap();
        let mut peers = Vec::new();
        for (client, made) in [("192.0.2.1", 1), ("192.0.2.2", 2), ("192.0.2.1", 2)] {
            let mut peer = world.connect(listener.address());
            peer.send(format!("PROXY TCP4 {client} 192.0.2.9 1 2\r\n").as_bytes());
            peers.push(peer);
            turns(&mut reactor);
            world.run_until(&mut reactor, "decided", |_| record.count("made") >= made);
            assert_eq!(record.count("made"), made);
        }
        assert_eq!(reactor.statistics().connections_refused, 1);
        crate::world::abort_all(&mut reactor);
        world.close(&mut reactor, &listener);
    });
}

/// With a limit of one, the first connection of each peer (marked +) is made and the others are
/// refused.
#[test]
fn limits_count_networks_of_ipv6_and_addresses_of_ipv4() {
    on_each_back_end(|world| {
        for (ipv4, ipv6, clients) in [
            (32, 64, "+2001:db8::1 -2001:db8::8000:0:0:2 +2001:db8:0:1::1 +fe80::1 -fe80::2"),
            (32, 64, "+::ffff:192.0.2.1 +::ffff:192.0.2.2 -192.0.2.1 +192.0.2.3 -::ffff:192.0.2.3"),
            (32, 128, "+2001:db8::1 +2001:db8::2 -2001:db8::1"),
            (32, 200, "+2001:db8::1 +2001:db8::2 -2001:db8::1"),
            (32, 48, "+2001:db8::1 -2001:db8:0:1::1 +2001:db8:1::1 +192.0.2.1 +192.0.2.2"),
            (32, 0, "+2001:db8::1 -ff00::1 +192.0.2.1 +::ffff:192.0.2.2"),
            (24, 64, "+192.0.2.1 -192.0.2.255 +192.0.3.0 -::ffff:192.0.3.9"),
            (200, 64, "+192.0.2.1 +192.0.2.2 -192.0.2.1"),
            (0, 64, "+192.0.2.1 -::ffff:9.9.9.9 +2001:db8::1"),
        ] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let noted = record.clone();
            let limited = limit_per_peer(move || Recorder::new(&noted), 1);
            // The first two cases are the defaults.
            let limited = match (ipv4, ipv6) {
                (32, 64) => limited,
                _ => limited.ipv4_prefix(ipv4).ipv6_prefix(ipv6),
            };
            let limited = shared(limited);
            let listener = reactor.listen_tcp(world.anywhere(), behind_proxy(limited.clone(), trusting()));
            let listener = listener.unwrap();
            let mut peers = Vec::new();
            let (mut made, mut refused) = (0, 0);
            for client in clients.split(' ') {
                let (sign, ip) = client.split_at(1);
                match sign {
                    "+" => made += 1,
                    _ => refused += 1,
                }
                let (family, server) = if ip.contains(':') { ("TCP6", "::1") } else { ("TCP4", "192.0.2.9") };
                let mut peer = world.connect(listener.address());
                peer.send(format!("PROXY {family} {ip} {server} 1 2\r\n").as_bytes());
                peers.push(peer);
                world.run_until(&mut reactor, "decided", |reactor| {
                    record.count("made") as u64 + reactor.statistics().connections_refused
                        >= made as u64 + refused
                });
                assert_eq!(
                    (record.count("made"), reactor.statistics().connections_refused),
                    (made, refused),
                    "{client}"
                );
                assert_eq!(
                    limited.with_factory(|limit| limit.open(ip.parse().unwrap())),
                    Some(1),
                    "{client}"
                );
            }
            crate::world::abort_all(&mut reactor);
            world.close(&mut reactor, &listener);
        }
    });
}

#[test]
fn the_factory_and_the_protocol_can_read_the_header_values() {
    /// Reads the host name in the PROXY header before it builds a protocol.
    struct Hosts(Record);

    impl Factory for Hosts {
        fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
            let host = context.extension::<Header>()?.value(AUTHORITY)?;
            self.0.add(format!("built for {}", String::from_utf8_lossy(host)));
            let noted = self.0.clone();
            Some(Box::new(crate::world::idle_protocol().acting(move |what, transport, _| {
                if matches!(what, "made" | "lost") {
                    let header = transport.extension::<Header>().unwrap();
                    noted.add(format!("{what}: {}", header.values.len()));
                    assert!(transport.extension::<String>().is_none());
                }
                if what == "read lost" {
                    transport.lose_connection();
                }
            })))
        }
    }

    const AUTHORITY: u8 = 2;
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let factory = behind_proxy(Hosts(record.clone()), trusting());
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let address = |text: &str| Address::Tcp(text.parse().unwrap());
        let mut header = Header::new(Version::Two, address("192.0.2.7:40000"), address("198.51.100.1:443"));
        header.values.push(Value { kind: AUTHORITY, bytes: b"example.org".to_vec() });
        header.values.push(Value { kind: 0xe0, bytes: Vec::new() });
        let mut peer = world.connect(listener.address());
        peer.send(&header.encode());
        peer.finish();
        peer.read_to_end(&mut reactor);
        drop(peer);
        world.close(&mut reactor, &listener);
        assert_eq!(record.events(), ["built for example.org", "made: 2", "lost: 2"]);
    });
}

#[test]
fn a_client_that_announces_itself_is_known_to_the_server() {
    on_each_back_end(|world| {
        for version in [Version::One, Version::Two] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let served = behind_proxy(once(knowing(&record), &Record::new()), trusting());
            let listener = reactor.listen_tcp(world.anywhere(), served).unwrap();
            let address = |text: &str| Address::Tcp(text.parse().unwrap());
            let header = Header::new(version, address("192.0.2.7:40000"), address("198.51.100.1:443"));
            let protocol = Recorder::new(&Record::new()).acting(|what, transport, _| {
                if what == "made" {
                    transport.write(b"hello");
                    transport.lose_connection();
                }
            });
            let client: Box<dyn ClientFactory> =
                Box::new(with_proxy_header(once(protocol, &Record::new()), header));
            reactor.connect_tcp(listener.address(), client).unwrap();
            world.run_until(&mut reactor, "lost", |_| record.has("lost Done"));
            world.close(&mut reactor, &listener);
            assert_eq!(record.events()[..4], ["made", TOLD, "data hello", TOLD]);
        }
    });
}
