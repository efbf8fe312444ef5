//! UDP: datagrams arrive whole or are reported as truncated, in batches and with their source. A
//! socket survives errors of single datagrams.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use crate::world::child::test_path;
use crate::world::strace::under_strace;
use crate::world::{Record, World, kind, on_each_back_end, on_the_real_network};
use twistor::policy::EchoGuard;
use twistor::{
    Address, ConnectUdp, DatagramId, DatagramProtocol, DatagramTransport, Error, Interface, ListenUdp,
    Reactor, Reason, Settings, SystemError,
};

const SOCKETS: &str = "the other side is a socket of the system's";

type Act = Box<dyn FnMut(&str, &mut DatagramTransport<'_>, &[u8], Option<&Address>)>;

/// Records every callback by name, then runs an action.
struct Mailbox {
    record: Record,
    act: Act,
}

impl Mailbox {
    fn new(record: &Record) -> Mailbox {
        Mailbox { record: record.clone(), act: Box::new(|_, _, _, _| {}) }
    }

    fn acting(
        mut self,
        act: impl FnMut(&str, &mut DatagramTransport<'_>, &[u8], Option<&Address>) + 'static,
    ) -> Mailbox {
        self.act = Box::new(act);
        self
    }

    fn echoing(self) -> Mailbox {
        self.acting(|what, transport, data, from| {
            if what == "datagram" {
                transport.write_to(data, from.unwrap()).unwrap();
            }
        })
    }
}

fn text(data: &[u8]) -> String {
    match data.len() {
        0..=32 => String::from_utf8_lossy(data).into_owned(),
        length => format!("({length} bytes)"),
    }
}

impl DatagramProtocol for Mailbox {
    fn start_protocol(&mut self, transport: &mut DatagramTransport<'_>) {
        self.record.add("start");
        (self.act)("start", transport, b"", None);
    }

    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        self.record.add(format!("datagram {}", text(data)));
        (self.act)("datagram", transport, data, Some(from));
    }

    fn datagram_truncated(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        self.record.add(format!("truncated {}", text(data)));
        (self.act)("truncated", transport, data, Some(from));
    }

    fn connection_refused(&mut self, transport: &mut DatagramTransport<'_>) {
        self.record.add("refused");
        (self.act)("refused", transport, b"", None);
    }

    fn error_received(&mut self, transport: &mut DatagramTransport<'_>, error: &SystemError) {
        self.record.add(format!("error {} {:?}", error.call, error.kind));
        (self.act)("error", transport, b"", None);
    }

    fn send_failed(
        &mut self,
        transport: &mut DatagramTransport<'_>,
        to: Option<&Address>,
        error: &SystemError,
    ) {
        self.record.add(format!("failed {} {:?}", error.call, error.kind));
        (self.act)("failed", transport, b"", to);
    }

    fn stop_protocol(&mut self, transport: &mut DatagramTransport<'_>, reason: &Reason) {
        self.record.add(format!("stop {}", kind(reason)));
        (self.act)("stop", transport, b"", None);
    }
}

fn host(reactor: &mut Reactor, id: DatagramId) -> SocketAddr {
    reactor.datagram_transport(id).unwrap().host().socket_address().unwrap()
}

fn stop(world: &World, reactor: &mut Reactor, sockets: &[DatagramId]) {
    for id in sockets {
        reactor.datagram_transport(*id).unwrap().stop_listening();
    }
    world.run_until_idle(reactor);
}

fn plain(at: &str) -> UdpSocket {
    let socket = UdpSocket::bind(at).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

#[test]
fn a_datagram_comes_whole_with_the_address_that_answers_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (there, here) = (Record::new(), Record::new());
        let server = reactor.listen_udp(world.anywhere(), Mailbox::new(&there).echoing()).unwrap();
        let to = Address::Udp(host(&mut reactor, server));
        let asks = Mailbox::new(&here).acting(move |what, transport, _, from| match what {
            "start" => {
                transport.write_to(b"hello", &to).unwrap();
                transport.write_to(b"", &to).unwrap();
            }
            "datagram" => assert_eq!(from, Some(&to)),
            _ => {}
        });
        let client = reactor.listen_udp(world.anywhere(), asks).unwrap();
        assert_eq!(here.events(), [""; 0], "nothing inside the call");
        world.run_until(&mut reactor, "both back", |_| here.events().len() == 3);
        stop(world, &mut reactor, &[server, client]);
        assert_eq!(here.events(), ["start", "datagram hello", "datagram ", "stop Done"]);
        assert_eq!(there.events(), ["start", "datagram hello", "datagram ", "stop Done"]);
    });
}

#[test]
fn many_datagrams_of_one_callback_all_arrive_in_order() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let server = reactor.listen_udp(world.anywhere(), Mailbox::new(&record)).unwrap();
        let to = Address::Udp(host(&mut reactor, server));
        let sends = Mailbox::new(&Record::new()).acting(move |what, transport, _, _| {
            // Runs of equal length, which the kernel can send as one, with other lengths between.
            for number in (0..200).filter(|_| what == "start") {
                let padding = "x".repeat(if number % 50 < 40 { 4 } else { number % 7 });
                transport.write_to(format!("{number} {padding}").as_bytes(), &to).unwrap();
            }
        });
        let client = reactor.listen_udp(world.anywhere(), sends).unwrap();
        world.run_until(&mut reactor, "all there", |_| record.events().len() == 201);
        stop(world, &mut reactor, &[server, client]);
        let numbers: Vec<usize> = record.events()[1..201]
            .iter()
            .map(|event| event.split(' ').nth(1).unwrap().parse().unwrap())
            .collect();
        assert!(numbers.is_sorted() && numbers.len() == 200, "{numbers:?}");
    });
}

#[test]
fn the_longest_datagram_is_sent_and_one_byte_more_is_refused() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (there, here) = (Record::new(), Record::new());
        let server = reactor.listen_udp(world.anywhere(), Mailbox::new(&there)).unwrap();
        let to = Address::Udp(host(&mut reactor, server));
        let client = reactor.listen_udp(world.anywhere(), Mailbox::new(&here)).unwrap();
        let mut transport = reactor.datagram_transport(client).unwrap();
        for length in [65_506, 65_507] {
            transport.write_to(&vec![7; length], &to).unwrap();
        }
        let error = transport.write_to(&vec![7; 65_508], &to).unwrap_err();
        assert_eq!(error.to_string(), "a datagram of 65508 bytes is too long: the maximum is 65507");
        world.run_until(&mut reactor, "both there", |_| there.events().len() == 3);
        stop(world, &mut reactor, &[server, client]);
        assert_eq!(there.events()[1..3], ["datagram (65506 bytes)", "datagram (65507 bytes)"]);
    });
}

#[test]
fn a_truncated_datagram_is_reported_as_truncated() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let short = ListenUdp { max_size: 10, ..ListenUdp::new(world.anywhere()) };
        let server = reactor.listen_udp(short, Mailbox::new(&record)).unwrap();
        let to = Address::Udp(host(&mut reactor, server));
        let client = reactor.listen_udp(world.anywhere(), Mailbox::new(&Record::new())).unwrap();
        let mut transport = reactor.datagram_transport(client).unwrap();
        for data in ["123456789", "1234567890", "1234567890+"] {
            transport.write_to(data.as_bytes(), &to).unwrap();
        }
        world.run_until(&mut reactor, "all there", |_| record.events().len() == 4);
        assert_eq!(reactor.statistics().datagrams_truncated, 1);
        stop(world, &mut reactor, &[server, client]);
        assert_eq!(
            record.events()[1..4],
            ["datagram 123456789", "datagram 1234567890", "truncated 1234567890"]
        );
    });
}

#[test]
fn a_connected_socket_hears_only_its_peer_and_survives_refusal() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (here, there) = (Record::new(), Record::new());
        let peer = reactor.listen_udp(world.anywhere(), Mailbox::new(&Record::new())).unwrap();
        let address = host(&mut reactor, peer);
        stop(world, &mut reactor, &[peer]);
        // No socket listens there yet.
        let client = reactor.connect_udp(address, Mailbox::new(&here)).unwrap();
        reactor.datagram_transport(client).unwrap().write(b"anybody?").unwrap();
        world.run_until(&mut reactor, "refused", |_| here.has("refused"));
        // Now a socket does.
        let peer = reactor.listen_udp(address, Mailbox::new(&there).echoing()).unwrap();
        reactor.datagram_transport(client).unwrap().write(b"now?").unwrap();
        world.run_until(&mut reactor, "answered", |_| here.has("datagram now?"));
        let stranger = reactor.listen_udp(world.anywhere(), Mailbox::new(&Record::new())).unwrap();
        let me = Address::Udp(host(&mut reactor, client));
        reactor.datagram_transport(stranger).unwrap().write_to(b"psst", &me).unwrap();
        reactor.datagram_transport(client).unwrap().write(b"still?").unwrap();
        world.run_until(&mut reactor, "answered again", |_| here.has("datagram still?"));
        stop(world, &mut reactor, &[peer, client, stranger]);
        assert_eq!(here.events(), ["start", "refused", "datagram now?", "datagram still?", "stop Done"]);
    });
}

#[test]
fn an_unconnected_socket_is_not_told_of_refusals() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let gone = reactor.listen_udp(world.anywhere(), Mailbox::new(&Record::new())).unwrap();
        let closed = Address::Udp(host(&mut reactor, gone));
        stop(world, &mut reactor, &[gone]);
        let server = reactor.listen_udp(world.anywhere(), Mailbox::new(&record)).unwrap();
        let me = Address::Udp(host(&mut reactor, server));
        reactor.datagram_transport(server).unwrap().write_to(b"anybody?", &closed).unwrap();
        reactor.datagram_transport(server).unwrap().write_to(b"me", &me).unwrap();
        world.run_until(&mut reactor, "mine", |_| record.has("datagram me"));
        stop(world, &mut reactor, &[server]);
        assert_eq!(record.events(), ["start", "datagram me", "stop Done"]);
    });
}

#[test]
fn a_write_that_cannot_be_sent_is_refused_with_what_is_wrong() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let server = reactor.listen_udp(world.anywhere(), Mailbox::new(&Record::new())).unwrap();
        let address = host(&mut reactor, server);
        let client = reactor.connect_udp(address, Mailbox::new(&Record::new())).unwrap();
        let v6 = Address::Udp((Ipv6Addr::LOCALHOST, 9).into());
        let nowhere = Address::Udp((Ipv4Addr::LOCALHOST, 0).into());
        let unix = "@name".parse::<twistor::UnixAddress>().unwrap().into();
        let other = Address::Udp((Ipv4Addr::LOCALHOST, 9).into());
        let mut transport = reactor.datagram_transport(server).unwrap();
        let said = |result: Result<(), Error>| result.unwrap_err().to_string();
        assert_eq!(said(transport.write(b"x")), "the datagram socket has no peer");
        for (to, why) in [
            (&v6, "bad address \"[::1]:9\": an IPv4 socket cannot send to an IPv6 address"),
            (&nowhere, "bad address \"127.0.0.1:0\": port 0 cannot be sent to"),
            (&unix, "bad address \"@name\": the socket is of another address family"),
        ] {
            assert_eq!(said(transport.write_to(b"x", to)), why);
        }
        let mut transport = reactor.datagram_transport(client).unwrap();
        assert_eq!(
            said(transport.write_to(b"x", &other)),
            "bad address \"127.0.0.1:9\": the socket is connected to another peer"
        );
        transport.write_to(b"fine", &Address::Udp(address)).unwrap();
        transport.stop_listening();
        assert!(matches!(transport.write(b"x"), Err(Error::NotConnected)));
        let port_0 = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        assert!(reactor.connect_udp(port_0, Mailbox::new(&Record::new())).is_err());
        stop(world, &mut reactor, &[server]);
    });
}

#[test]
fn a_panic_over_one_datagram_leaves_the_socket_in_service() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let bad = Mailbox::new(&record).acting(|what, _, data, _| {
            assert!(what != "datagram" || data != b"bad", "a bad one");
        });
        let server = reactor.listen_udp(world.anywhere(), bad).unwrap();
        let to = Address::Udp(host(&mut reactor, server));
        let mut transport = reactor.datagram_transport(server).unwrap();
        for data in ["good", "bad", "fine"] {
            transport.write_to(data.as_bytes(), &to).unwrap();
        }
        world.run_until(&mut reactor, "all there", |_| record.events().len() == 4);
        stop(world, &mut reactor, &[server]);
        assert_eq!(record.events(), ["start", "datagram good", "datagram bad", "datagram fine", "stop Done"]);
        let logged = world.logged();
        assert_eq!(logged.len(), 2, "{logged:?}");
        assert!(logged[0].contains("panic in datagram_received: a bad one"), "{logged:?}");
        assert!(logged[1].contains(&to.to_string()), "{logged:?}");
    });
}

#[test]
fn a_flood_of_datagrams_has_its_share_of_a_turn_and_no_more() {
    on_each_back_end(|world| {
        let share = 10 * (256 + 1);
        let mut reactor = world.reactor_with(Settings { bytes_per_turn: share, ..Settings::default() });
        let record = Record::new();
        let server = reactor.listen_udp(world.anywhere(), Mailbox::new(&record)).unwrap();
        let to = Address::Udp(host(&mut reactor, server));
        let mut transport = reactor.datagram_transport(server).unwrap();
        for _ in 0..100 {
            transport.write_to(b"x", &to).unwrap();
        }
        let (mut most, mut before) = (0, 0);
        world.run_until(&mut reactor, "all there", |_| record.count("datagram x") == 100);
        let turns = reactor.statistics().turns;
        for _ in 0..100 {
            reactor.datagram_transport(server).unwrap().write_to(b"y", &to).unwrap();
        }
        while record.count("datagram y") < 100 {
            reactor.iterate(Some(Duration::ZERO)).unwrap();
            let now = record.count("datagram y");
            most = most.max(now - before);
            before = now;
        }
        assert_eq!(most, 10, "in one turn, {turns} turns before");
        stop(world, &mut reactor, &[server]);
    });
}

#[test]
fn what_a_socket_is_told_to_leave_comes_when_it_reads_again() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let server = reactor.listen_udp(world.anywhere(), Mailbox::new(&record)).unwrap();
        let to = Address::Udp(host(&mut reactor, server));
        let mut transport = reactor.datagram_transport(server).unwrap();
        transport.pause_reading();
        transport.write_to(b"later", &to).unwrap();
        let slow = Rc::new(RefCell::new(false));
        let done = Rc::clone(&slow);
        reactor.call_later(Duration::from_millis(1), move |_| *done.borrow_mut() = true);
        world.run_until(&mut reactor, "some time", |_| *slow.borrow());
        assert_eq!(record.events(), ["start"]);
        reactor.datagram_transport(server).unwrap().resume_reading();
        world.run_until(&mut reactor, "there", |_| record.has("datagram later"));
        stop(world, &mut reactor, &[server]);
    });
}

#[test]
fn a_paused_socket_delivers_datagrams_in_order_after_a_resume() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let pausing = Mailbox::new(&record).acting(|what, transport, data, _| {
            if what == "datagram" && data.ends_with(b"3") {
                transport.pause_reading();
            }
        });
        let server = reactor.listen_udp(world.anywhere(), pausing).unwrap();
        let to = Address::Udp(host(&mut reactor, server));
        let send = |reactor: &mut Reactor, numbers: std::ops::Range<u32>| {
            for number in numbers {
                reactor
                    .datagram_transport(server)
                    .unwrap()
                    .write_to(format!("{number:02}").as_bytes(), &to)
                    .unwrap();
            }
            // More turns than either of them needs.
            for _ in 0..20 {
                reactor.iterate(Some(Duration::ZERO)).unwrap();
            }
        };
        let told = |record: &Record| record.events().len() - 1;
        send(&mut reactor, 0..20);
        assert_eq!(told(&record), 4);
        // Later datagrams wait behind those already received.
        send(&mut reactor, 20..30);
        assert_eq!(told(&record), 4);
        for expected in [14, 24, 30] {
            reactor.datagram_transport(server).unwrap().resume_reading();
            send(&mut reactor, 0..0);
            assert_eq!(told(&record), expected);
        }
        let all: Vec<String> = (0..30).map(|number| format!("datagram {number:02}")).collect();
        assert_eq!(record.events()[1..], all);
        stop(world, &mut reactor, &[server]);
    });
}

#[test]
fn a_socket_that_is_closed_is_told_of_nothing_that_had_come() {
    for paused in [false, true] {
        on_each_back_end(|world| {
            let mut reactor = world.reactor();
            let record = Record::new();
            let closing = Mailbox::new(&record).acting(move |what, transport, data, _| {
                if what == "datagram" && data == b"3" {
                    match paused {
                        true => transport.pause_reading(),
                        false => transport.stop_listening(),
                    }
                }
            });
            let server = reactor.listen_udp(world.anywhere(), closing).unwrap();
            let to = Address::Udp(host(&mut reactor, server));
            for number in 0..10 {
                let mut transport = reactor.datagram_transport(server).unwrap();
                transport.write_to(number.to_string().as_bytes(), &to).unwrap();
            }
            world.run_until(&mut reactor, "closed or paused", |reactor| {
                reactor.datagram_transport(server).is_none_or(|transport| transport.reading_paused())
            });
            if let Some(mut transport) = reactor.datagram_transport(server) {
                transport.resume_reading();
                transport.stop_listening();
            }
            world.run_until_idle(&mut reactor);
            let all = ["start", "datagram 0", "datagram 1", "datagram 2", "datagram 3", "stop Done"];
            assert_eq!(record.events(), all);
        });
    }
}

#[test]
fn datagrams_from_strangers_before_the_connect_are_discarded() {
    on_the_real_network("a foreign socket, which was bound first and connected later", |world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let [socket, peer, stranger] = [(); 3].map(|()| plain("127.0.0.1:0"));
        let here = socket.local_addr().unwrap();
        stranger.send_to(b"psst", here).unwrap();
        peer.send_to(b"early", here).unwrap();
        socket.connect(peer.local_addr().unwrap()).unwrap();
        peer.send_to(b"late", here).unwrap();
        let id = reactor.adopt_datagram(socket.into(), Mailbox::new(&record)).unwrap();
        world.run_until(&mut reactor, "all", |_| record.has("datagram late"));
        assert_eq!(record.events(), ["start", "datagram early", "datagram late"]);
        let statistics = reactor.statistics();
        assert_eq!((statistics.datagrams_received, statistics.datagrams_from_others), (2, 1));
        stop(world, &mut reactor, &[id]);
    });
}

#[test]
fn an_ipv6_socket_uses_one_address_form_for_an_ipv4_peer() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (record, answers) = (Record::new(), Record::new());
        let server = reactor.listen_udp(world.anywhere(), Mailbox::new(&record).echoing()).unwrap();
        let plain = host(&mut reactor, server);
        let mapped: SocketAddr = format!("[::ffff:127.0.0.1]:{}", plain.port()).parse().unwrap();
        let both = ListenUdp { ipv6_only: Some(false), ..ListenUdp::new((Ipv6Addr::UNSPECIFIED, 0)) };
        for peer in [plain, mapped] {
            let told = Mailbox::new(&answers).acting(move |what, _, _, from| {
                if what == "datagram" {
                    assert_eq!(from, Some(&Address::Udp(mapped)));
                }
            });
            let connect = ConnectUdp { local: both.clone(), ..ConnectUdp::from(peer) };
            let client = reactor.connect_udp(connect, told).unwrap();
            let mut transport = reactor.datagram_transport(client).unwrap();
            assert_eq!(transport.peer(), Some(&Address::Udp(mapped)));
            for to in [plain, mapped] {
                transport.write_to(b"hello", &Address::Udp(to)).unwrap();
            }
            world.run_until(&mut reactor, "both back", |_| answers.count("datagram hello") == 2);
            reactor.datagram_transport(client).unwrap().stop_listening();
            answers.take();
        }
        // An IPv4 socket accepts the mapped address too.
        let local = ListenUdp::new(world.anywhere());
        let connect = ConnectUdp { local, ..ConnectUdp::from(mapped) };
        let client = reactor.connect_udp(connect, Mailbox::new(&answers)).unwrap();
        let mut transport = reactor.datagram_transport(client).unwrap();
        assert_eq!(transport.peer(), Some(&Address::Udp(plain)));
        transport.write_to(b"hello", &Address::Udp(mapped)).unwrap();
        world.run_until(&mut reactor, "back", |_| answers.has("datagram hello"));
        stop(world, &mut reactor, &[client, server]);
    });
}

#[test]
fn a_peer_without_an_address_is_this_host_and_is_heard() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let everywhere = ListenUdp::new((Ipv4Addr::UNSPECIFIED, 0));
        let server = reactor.listen_udp(everywhere, Mailbox::new(&Record::new()).echoing()).unwrap();
        let port = host(&mut reactor, server).port();
        let client = reactor.connect_udp(("0.0.0.0", port), Mailbox::new(&record)).unwrap();
        let mut transport = reactor.datagram_transport(client).unwrap();
        assert_eq!(transport.peer(), Some(&Address::Udp((Ipv4Addr::LOCALHOST, port).into())));
        transport.write(b"hello").unwrap();
        world.run_until(&mut reactor, "back", |_| record.has("datagram hello"));
        stop(world, &mut reactor, &[client, server]);
    });
}

#[test]
fn timers_of_a_socket_reach_its_protocol_and_go_with_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let ticking = Mailbox::new(&record).acting(|what, transport, _, _| {
            if what == "start" {
                transport.call_later(Duration::from_millis(1), |this: &mut Mailbox, transport| {
                    this.record.add("tick");
                    transport.stop_listening();
                });
                transport
                    .call_later(Duration::from_millis(2), |this: &mut Mailbox, _| this.record.add("late"));
            }
        });
        let id = reactor.listen_udp(world.anywhere(), ticking).unwrap();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["start", "tick", "stop Done"]);
        assert!(reactor.datagram_transport(id).is_none());
    });
}

#[test]
fn a_reactor_that_stops_stops_its_sockets() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let stops = Mailbox::new(&record).acting(|what, transport, _, _| {
            if what == "datagram" {
                transport.reactor().stop();
            }
        });
        let id = reactor.listen_udp(world.anywhere(), stops).unwrap();
        let to = Address::Udp(host(&mut reactor, id));
        reactor.datagram_transport(id).unwrap().write_to(b"stop", &to).unwrap();
        world.run(&mut reactor);
        assert_eq!(record.events(), ["start", "datagram stop", "stop Stopped"]);
    });
}

#[test]
fn a_port_in_use_is_refused_by_name_and_free_after_its_socket() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let first = reactor.listen_udp(world.anywhere(), Mailbox::new(&Record::new())).unwrap();
        let address = host(&mut reactor, first);
        let refused = reactor.listen_udp(address, Mailbox::new(&Record::new())).unwrap_err();
        let Error::CannotListen { address: named, call, source } = refused else { panic!("{refused}") };
        assert_eq!((named, call), (address.to_string(), "bind"));
        assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
        stop(world, &mut reactor, &[first]);
        let again = reactor.listen_udp(address, Mailbox::new(&Record::new())).unwrap();
        stop(world, &mut reactor, &[again]);
    });
}

#[test]
fn datagrams_to_everybody_need_to_be_allowed() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let id = reactor.listen_udp(world.anywhere(), Mailbox::new(&record)).unwrap();
        let everybody = Address::Udp((Ipv4Addr::BROADCAST, 9).into());
        let mut transport = reactor.datagram_transport(id).unwrap();
        transport.write_to(b"hello", &everybody).unwrap();
        world.run_until(&mut reactor, "refused", |_| record.has("failed send PermissionDenied"));
        assert_eq!(reactor.statistics().datagram_errors, 1);
        reactor.datagram_transport(id).unwrap().set_broadcast(true).unwrap();
        stop(world, &mut reactor, &[id]);
    });
}

#[test]
fn group_members_receive_multicast_until_they_leave() {
    on_the_real_network("groups of the loopback interface", |world| {
        let mut reactor = world.reactor();
        let group = Ipv4Addr::new(239, 255, 41, 7);
        let local = Interface::Address(Ipv4Addr::LOCALHOST);
        let records = [Record::new(), Record::new()];
        let first = ListenUdp { reuse_address: true, ..ListenUdp::new((Ipv4Addr::UNSPECIFIED, 0)) };
        let first = reactor.listen_udp(first, Mailbox::new(&records[0])).unwrap();
        let port = host(&mut reactor, first).port();
        let second = reactor.listen_udp(ListenUdp::multicast(port), Mailbox::new(&records[1])).unwrap();
        for id in [first, second] {
            reactor.datagram_transport(id).unwrap().join_group(IpAddr::V4(group), local).unwrap();
        }
        let to = Address::Udp((group, port).into());
        let mut transport = reactor.datagram_transport(first).unwrap();
        transport.set_multicast_interface(local).unwrap();
        transport.set_multicast_ttl(0).unwrap();
        transport.set_multicast_loopback(true).unwrap();
        transport.write_to(b"all", &to).unwrap();
        world.run_until(&mut reactor, "both", |_| records.iter().all(|r| r.has("datagram all")));
        reactor.datagram_transport(second).unwrap().leave_group(IpAddr::V4(group), local).unwrap();
        reactor.datagram_transport(first).unwrap().write_to(b"one", &to).unwrap();
        world.run_until(&mut reactor, "one", |_| records[0].has("datagram one"));
        assert!(!records[1].has("datagram one"));
        let bad = reactor.datagram_transport(first).unwrap().join_group(Ipv4Addr::LOCALHOST.into(), local);
        assert!(matches!(bad, Err(Error::BadAddress(_))));
        stop(world, &mut reactor, &[first, second]);
    });
}

#[test]
fn groups_of_ipv6_are_joined_by_the_number_of_the_interface() {
    on_the_real_network(
        "the loopback interface has no route for groups of IPv6: they are joined, and left",
        |world| {
            let mut reactor = world.reactor();
            let group: Ipv6Addr = "ff01::4107".parse().unwrap();
            let id = reactor.listen_udp("[::]:0", Mailbox::new(&Record::new())).unwrap();
            let mut transport = reactor.datagram_transport(id).unwrap();
            let local = Interface::Index(1);
            transport.join_group(group.into(), local).unwrap();
            transport.set_multicast_interface(local).unwrap();
            transport.set_multicast_ttl(3).unwrap();
            transport.set_multicast_loopback(false).unwrap();
            transport.leave_group(group.into(), local).unwrap();
            assert!(matches!(transport.leave_group(group.into(), local), Err(Error::System { .. })));
            let by_address = Interface::Address(Ipv4Addr::LOCALHOST);
            assert!(matches!(transport.join_group(group.into(), by_address), Err(Error::System { .. })));
            stop(world, &mut reactor, &[id]);
        },
    );
}

/// Opens a socket on a wildcard address that answers, and returns its port.
fn anywhere(world: &World, reactor: &mut Reactor, at: &str, mailbox: Mailbox) -> (DatagramId, u16) {
    let id = reactor.listen_udp(at, mailbox).unwrap();
    let _ = world;
    let port = host(reactor, id).port();
    (id, port)
}

#[test]
fn an_answer_leaves_from_the_address_that_was_asked() {
    on_each_back_end(|world| {
        for (at, asked) in [
            ("0.0.0.0:0", "127.0.0.2"),
            ("0.0.0.0:0", "127.0.0.1"),
            ("[::]:0", "127.0.0.2"),
            ("[::]:0", "::1"),
        ] {
            let mut reactor = world.reactor();
            let (there, here) = (Record::new(), Record::new());
            let asked: IpAddr = asked.parse().unwrap();
            let answers = Mailbox::new(&there).acting(move |what, transport, data, from| {
                assert_eq!(transport.destination(), (what == "datagram").then_some(asked), "{what}");
                assert_eq!(transport.reply_source(), transport.destination());
                if what == "datagram" {
                    // Datagrams of equal length may be sent as one.
                    for _ in 0..5 {
                        transport.write_to(data, from.unwrap()).unwrap();
                    }
                    transport.write_to(b"last", from.unwrap()).unwrap();
                }
            });
            let (server, port) = anywhere(world, &mut reactor, at, answers);
            // A connected socket receives only from this address.
            let asks = Mailbox::new(&here).acting(|what, transport, _, _| {
                if what == "start" {
                    transport.write(b"hello").unwrap();
                }
            });
            let client = reactor.connect_udp(SocketAddr::from((asked, port)), asks).unwrap();
            world.run_until(&mut reactor, "all", |_| here.has("datagram last"));
            assert_eq!(here.count("datagram hello"), 5, "{at} {asked}");
            stop(world, &mut reactor, &[server, client]);
        }
    });
}

#[test]
fn each_answer_of_a_batch_leaves_from_the_queried_address() {
    on_each_back_end(|world| {
        for at in ["0.0.0.0:0", "[::]:0"] {
            let mut reactor = world.reactor();
            let (there, here) = (Record::new(), Record::new());
            let server = reactor.listen_udp(at, Mailbox::new(&there).echoing()).unwrap();
            let port = host(&mut reactor, server).port();
            let client = reactor.listen_udp(world.anywhere(), noting_senders(&here)).unwrap();
            world.run_until(&mut reactor, "started", |_| there.has("start") && here.has("start"));
            let asked = [2, 3, 3, 3, 3, 2, 2, 2, 4].map(|last| IpAddr::from([127, 0, 0, last]));
            for asked in asked {
                let to = Address::Udp(SocketAddr::new(asked, port));
                reactor
                    .datagram_transport(client)
                    .unwrap()
                    .write_to(asked.to_string().as_bytes(), &to)
                    .unwrap();
            }
            world.run_until(&mut reactor, "all", |_| here.events().len() == 1 + 2 * asked.len());
            let answers =
                asked.iter().flat_map(|asked| [format!("datagram {asked}"), format!("from {asked}")]);
            assert_eq!(here.events()[1..], answers.collect::<Vec<_>>());
            stop(world, &mut reactor, &[server, client]);
        }
    });
}

#[test]
fn what_is_no_answer_leaves_from_where_the_system_likes() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (there, here, other) = (Record::new(), Record::new(), Record::new());
        let third = reactor.listen_udp(world.anywhere(), noting_senders(&other)).unwrap();
        let to_third = Address::Udp(host(&mut reactor, third));
        let tells = Mailbox::new(&there).acting(move |what, transport, data, from| {
            if what == "datagram" {
                transport.write_to(data, &to_third).unwrap();
                transport.write_to(b"answer", from.unwrap()).unwrap();
                transport.write_from(b"chosen", &to_third, "127.0.0.3".parse().unwrap()).unwrap();
            }
        });
        let (server, port) = anywhere(world, &mut reactor, "0.0.0.0:0", tells);
        let client = reactor.listen_udp(world.anywhere(), noting_senders(&here)).unwrap();
        let asked = Address::Udp(SocketAddr::new("127.0.0.2".parse().unwrap(), port));
        reactor.datagram_transport(client).unwrap().write_to(b"ask", &asked).unwrap();
        world.run_until(&mut reactor, "all", |_| other.has("from 127.0.0.3") && here.has("from 127.0.0.2"));
        assert_eq!(
            other.events()[1..],
            ["datagram ask", "from 127.0.0.1", "datagram chosen", "from 127.0.0.3"]
        );
        // Outside of the callback there is no source address for an answer.
        let from = Address::Udp(host(&mut reactor, client));
        reactor.datagram_transport(server).unwrap().write_to(b"later", &from).unwrap();
        world.run_until(&mut reactor, "later", |_| here.has("from 127.0.0.1"));
        stop(world, &mut reactor, &[server, client, third]);
    });
}

fn noting_senders(record: &Record) -> Mailbox {
    let noted = record.clone();
    Mailbox::new(record).acting(move |what, _, _, from| {
        if what == "datagram" {
            noted.add(format!("from {}", from.unwrap().ip().unwrap()));
        }
    })
}

#[test]
fn an_address_to_send_from_that_cannot_be_is_refused_or_told() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let peer = reactor.listen_udp(world.anywhere(), Mailbox::new(&Record::new())).unwrap();
        let to = Address::Udp(host(&mut reactor, peer));
        let at = host(&mut reactor, peer);
        let connected = reactor.connect_udp(at, Mailbox::new(&Record::new())).unwrap();
        let (socket, _) = anywhere(world, &mut reactor, "0.0.0.0:0", Mailbox::new(&record));
        let mut try_from = |id, source: &str| {
            let mut socket = reactor.datagram_transport(id).unwrap();
            socket.write_from(b"hello", &to, source.parse().unwrap())
        };
        for source in ["::1", "0.0.0.0", "224.0.0.1", "255.255.255.255"] {
            let error = try_from(socket, source).unwrap_err();
            assert!(matches!(&error, Error::BadAddress(bad) if bad.text == source), "{error}");
        }
        assert!(matches!(try_from(connected, "127.0.0.1"), Err(Error::BadAddress(_))));
        // Not an address of this host: the kernel refuses the datagram, and the next one is sent.
        try_from(socket, "203.0.113.1").unwrap();
        try_from(socket, "127.0.0.2").unwrap();
        world.run_until(&mut reactor, "told", |_| record.has("failed send NetworkUnreachable"));
        assert_eq!(reactor.statistics().datagram_errors, 1);
        stop(world, &mut reactor, &[peer, connected, socket]);
    });
}

#[test]
fn the_kernel_chooses_the_source_of_an_answer_to_multicast() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (there, here) = (Record::new(), Record::new());
        let answers = Mailbox::new(&there).acting(|what, transport, data, from| {
            if what == "datagram" {
                let group: IpAddr = "239.1.2.11".parse().unwrap();
                assert_eq!((transport.destination(), transport.reply_source()), (Some(group), None));
                transport.write_to(data, from.unwrap()).unwrap();
            }
        });
        let (server, port) = anywhere(world, &mut reactor, "0.0.0.0:0", answers);
        let group: IpAddr = "239.1.2.11".parse().unwrap();
        let local = Interface::Address(Ipv4Addr::LOCALHOST);
        reactor.datagram_transport(server).unwrap().join_group(group, local).unwrap();
        let client = reactor.listen_udp(world.anywhere(), Mailbox::new(&here)).unwrap();
        let to = Address::Udp(SocketAddr::new(group, port));
        reactor.datagram_transport(client).unwrap().write_to(b"hello", &to).unwrap();
        world.run_until(&mut reactor, "the answer", |_| here.has("datagram hello"));
        stop(world, &mut reactor, &[server, client]);
    });
}

/// The first write to the second server acts as a datagram with a forged source.
#[test]
fn two_guarded_echo_servers_do_not_answer_each_other_forever() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let records = [Record::new(), Record::new()];
        let echo = |record: &Record| {
            let mut guard = EchoGuard::new();
            let refused = record.clone();
            Mailbox::new(record).acting(move |what, transport, data, from| {
                if what != "datagram" {
                } else if guard.allows(transport, data, from.unwrap()) {
                    transport.write_to(data, from.unwrap()).unwrap();
                } else {
                    assert_eq!(guard.refused(), 1);
                    refused.add("refused");
                }
            })
        };
        let [one, other] = [&records[0], &records[1]]
            .map(|record| reactor.listen_udp(world.anywhere(), echo(record)).unwrap());
        let to = Address::Udp(host(&mut reactor, other));
        reactor.datagram_transport(one).unwrap().write_to(b"forged", &to).unwrap();
        world
            .run_until(&mut reactor, "the end of it", |_| records.iter().any(|record| record.has("refused")));
        let datagrams = |record: &Record| record.count("datagram forged");
        let all = datagrams(&records[0]) + datagrams(&records[1]);
        assert!((100..=131).contains(&all), "{all}");
        stop(world, &mut reactor, &[one, other]);
        // No datagram was in flight any more.
        assert_eq!(datagrams(&records[0]) + datagrams(&records[1]), all);
    });
}

/// A wildcard address needs as many calls per batch as a single address.
#[test]
fn to_know_the_address_costs_no_system_call() {
    let traced =
        under_strace(test_path(to_know_the_address_costs_no_system_call), "-e trace=network", |world| {
            for at in ["127.0.0.1:0", "0.0.0.0:0"] {
                let mut reactor = world.reactor();
                let record = Record::new();
                let id = reactor.listen_udp(at, Mailbox::new(&record).echoing()).unwrap();
                world.run_until(&mut reactor, "start", |_| record.has("start"));
                let client = plain("127.0.0.1:0");
                let port = host(&mut reactor, id).port();
                for number in 0..20 {
                    let data = vec![b'x'; 10 + number % 2];
                    client.send_to(&data, ("127.0.0.1", port)).unwrap();
                }
                world.run_until(&mut reactor, "all", |_| record.events().len() == 21);
                stop(world, &mut reactor, &[id]);
            }
        });
    let Some(traced) = traced else { return };
    let halves: Vec<usize> = [" recvmmsg(", " sendmmsg(", " sendmsg("]
        .iter()
        .flat_map(|call| {
            let calls: Vec<&str> = traced.lines().filter(|line| line.contains(call)).collect();
            let told = calls.iter().filter(|line| line.contains("IP_PKTINFO")).count();
            [calls.len() - told, told]
        })
        .collect();
    let [plain_reads, told_reads, plain_many, told_many, plain_one, told_one] = halves[..] else { panic!() };
    let _ = plain_reads;
    assert!(told_reads > 0 && told_many + told_one > 0, "{traced}");
    assert_eq!((told_many, told_one), (plain_many, plain_one), "{traced}");
}

#[test]
fn programs_of_others_send_and_receive() {
    on_the_real_network(SOCKETS, |world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let server = reactor.listen_udp("127.0.0.1:0", Mailbox::new(&record).echoing()).unwrap();
        let to = host(&mut reactor, server);
        let others: Vec<UdpSocket> = (0..3).map(|_| plain("127.0.0.1:0")).collect();
        // Several datagrams per receive call, and answers to several destinations per send call.
        for (number, other) in others.iter().enumerate() {
            for length in [5, 5, 5, 5, 3, 0] {
                other.send_to(&vec![b'0' + number as u8; length], to).unwrap();
            }
        }
        world.run_until(&mut reactor, "all there", |_| record.events().len() == 19);
        for (number, other) in others.iter().enumerate() {
            for length in [5, 5, 5, 5, 3, 0] {
                let mut buffer = [0; 16];
                let (count, from) = other.recv_from(&mut buffer).unwrap();
                assert_eq!((&buffer[..count], from), (&vec![b'0' + number as u8; length][..], to));
            }
        }
        stop(world, &mut reactor, &[server]);
    });
}

#[test]
fn who_tries_again_what_has_failed_does_not_hold_up_the_loop() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let everybody = Address::Udp((Ipv4Addr::BROADCAST, 9).into());
        let to = everybody.clone();
        let stubborn = Mailbox::new(&record).acting(move |what, transport, _, _| {
            if what == "failed" {
                transport.write_to(b"again", &to).unwrap();
            }
        });
        let id = reactor.listen_udp(world.anywhere(), stubborn).unwrap();
        reactor.datagram_transport(id).unwrap().write_to(b"once", &everybody).unwrap();
        let failed = "failed send PermissionDenied";
        for turns in 1..=20 {
            reactor.iterate(Some(Duration::ZERO)).unwrap();
            assert!(record.count(failed) <= 2 * turns, "{} in {turns} turns", record.count(failed));
        }
        assert!(record.count(failed) > 5);
        stop(world, &mut reactor, &[id]);
    });
}

#[test]
fn a_send_error_at_close_is_not_reported_inside_the_call() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let id = reactor.listen_udp(world.anywhere(), Mailbox::new(&record)).unwrap();
        world.run_until(&mut reactor, "started", |_| record.has("start"));
        let everybody = Address::Udp((Ipv4Addr::BROADCAST, 9).into());
        let mut transport = reactor.datagram_transport(id).unwrap();
        transport.write_to(b"last", &everybody).unwrap();
        transport.stop_listening();
        assert_eq!(record.events(), ["start"]);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["start", "stop Done"]);
        assert_eq!(reactor.statistics().datagram_errors, 1);
    });
}

#[test]
fn whose_panics_many_datagrams_cause_is_logged_once_a_second() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let bad = Mailbox::new(&record).acting(|what, _, _, _| assert!(what != "datagram", "a bad one"));
        let server = reactor.listen_udp(world.anywhere(), bad).unwrap();
        let to = Address::Udp(host(&mut reactor, server));
        let mut transport = reactor.datagram_transport(server).unwrap();
        for _ in 0..5 {
            transport.write_to(b"bad", &to).unwrap();
        }
        world.run_until(&mut reactor, "all there", |_| record.count("datagram bad") == 5);
        stop(world, &mut reactor, &[server]);
        let logged = world.logged();
        let named = logged.iter().filter(|line| line.contains("panic in the protocol of"));
        assert_eq!(named.count(), 1, "{logged:?}");
    });
}
