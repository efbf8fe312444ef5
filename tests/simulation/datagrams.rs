//! Simulated datagrams are lost, duplicated, reordered or too long as their link says.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use twistor::policy::EchoGuard;
use twistor::sim::{DatagramSocket, Errno, Fault, FaultKind, Host, Link, PacketKind, Simulation, Verdict};
use twistor::{Address, DatagramId, DatagramProtocol, DatagramTransport, Interface, ListenUdp};

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(10);

/// Creates two hosts with a socket each, and this link between them.
fn two(link: Link) -> (Simulation, Host, Host, DatagramSocket, DatagramSocket) {
    let simulation = Simulation::new(1);
    simulation.set_links(link);
    let (near, far) = (simulation.host("near"), simulation.host("far"));
    let bind = |host| simulation.bind_datagrams(host, (simulation.address(host), 0).into()).unwrap();
    let (one, other) = (bind(near), bind(far));
    (simulation, near, far, one, other)
}

/// Sends `count` numbered datagrams.
fn send(from: &DatagramSocket, to: &DatagramSocket, count: u32) {
    for number in 0..count {
        from.send_to(&number.to_be_bytes(), to.local_address()).unwrap();
    }
}

/// Sends many numbered datagrams and reads them as they arrive, because the receive queue cannot
/// hold all. Returns the received numbers.
fn send_and_read(
    simulation: &mut Simulation,
    from: &DatagramSocket,
    to: &DatagramSocket,
    count: u32,
) -> Vec<u32> {
    let mut come = Vec::new();
    for number in 0..count {
        from.send_to(&number.to_be_bytes(), to.local_address()).unwrap();
        if number % 50 == 49 {
            simulation.run_for(Duration::from_millis(5)).unwrap();
            come.extend(numbers(to));
        }
    }
    simulation.run_for(SECOND).unwrap();
    come.extend(numbers(to));
    come
}

/// Returns the received numbers.
fn numbers(socket: &DatagramSocket) -> Vec<u32> {
    let mut buffer = [0; 4];
    std::iter::from_fn(|| socket.recv_from(&mut buffer).ok().map(|_| u32::from_be_bytes(buffer))).collect()
}

fn errno<T>(result: io::Result<T>) -> Option<Errno> {
    result.err().and_then(|error| error.raw_os_error()).map(Errno::from)
}

#[test]
fn a_multihomed_host_answers_from_the_queried_address() {
    struct Echo;
    impl DatagramProtocol for Echo {
        fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
            transport.write_to(data, from).unwrap();
        }
    }
    for at in ["0.0.0.0:7", "[::]:7"] {
        let mut simulation = Simulation::new(1);
        let (near, far) = (simulation.host("near"), simulation.host("far"));
        let second: std::net::IpAddr = "192.0.2.9".parse().unwrap();
        simulation.add_address(far, second);
        simulation.add_address(far, "2001:db8::9".parse().unwrap());
        simulation.reactor(far).listen_udp(at, Echo).unwrap();
        let asks = simulation.bind_datagrams(near, (simulation.address(near), 0).into()).unwrap();
        for asked in [simulation.address(far), second] {
            asks.send_to(b"hello", (asked, 7).into()).unwrap();
            simulation.run_for(SECOND).unwrap();
            let (length, _, from) = asks.recv_from(&mut [0; 9]).unwrap();
            assert_eq!((length, from), (5, (asked, 7).into()));
        }
    }
}

/// Two hosts run echo servers. One forged datagram seems to come from the first one's port.
#[test]
fn guarded_echo_servers_answer_a_forged_datagram_only_briefly() {
    struct Echo(Option<EchoGuard>);
    impl DatagramProtocol for Echo {
        fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
            if self.0.as_mut().is_none_or(|guard| guard.allows(transport, data, from)) {
                transport.write_to(data, from).unwrap();
            }
        }
    }
    let received = |guarded: [bool; 2], ports: [u16; 2]| {
        let mut simulation = Simulation::new(1);
        let hosts = [simulation.host("one"), simulation.host("other")];
        let ids = [0, 1].map(|index| {
            let at = (simulation.address(hosts[index]), ports[index]);
            let echo = Echo(guarded[index].then(EchoGuard::new));
            simulation.reactor(hosts[index]).listen_udp(SocketAddr::from(at), echo).unwrap()
        });
        let to = Address::Udp((simulation.address(hosts[1]), ports[1]).into());
        simulation.run_for(MOMENT).unwrap();
        simulation.reactor(hosts[0]).datagram_transport(ids[0]).unwrap().write_to(b"forged", &to).unwrap();
        simulation.run_for(60 * SECOND).unwrap();
        hosts.map(|host| simulation.reactor(host).statistics().datagrams_received).iter().sum::<u64>()
    };
    assert!(received([false, false], [7007, 7008]) > 10_000, "it goes on without a guard");
    assert_eq!(received([true, true], [7007, 7008]), 131);
    // One guard is enough.
    assert!(received([true, false], [7007, 7008]) <= 132);
    assert!(received([false, true], [7007, 7008]) <= 132);
    assert_eq!(received([true, true], [7007, 7007]), 1);
    assert_eq!(received([true, true], [7, 7007]), 1);
}

#[test]
fn a_datagram_arrives_whole_after_its_latency_with_its_sender() {
    let (mut simulation, _, _, one, other) = two(Link::fixed(MOMENT));
    assert_eq!(one.send_to(b"hello", other.local_address()).unwrap(), 5);
    simulation.run_for(MOMENT - Duration::from_nanos(1)).unwrap();
    let mut buffer = [0; 16];
    assert_eq!(errno(other.recv_from(&mut buffer)), Some(Errno::EAGAIN));
    simulation.run_for(Duration::from_nanos(1)).unwrap();
    assert_eq!(other.recv_from(&mut buffer).unwrap(), (5, 5, one.local_address()));
    assert_eq!(&buffer[..5], b"hello");
}

#[test]
fn on_a_plain_link_all_come_once_and_in_order() {
    let (mut simulation, _, _, one, other) = two(Link::fixed(MOMENT));
    simulation.set_fifo_order();
    send(&one, &other, 100);
    simulation.run_for(SECOND).unwrap();
    assert_eq!(numbers(&other), (0..100).collect::<Vec<_>>());
}

#[test]
fn some_are_lost_and_stay_so() {
    let (mut simulation, _, _, one, other) = two(Link { loss: 0.3, ..Link::default() });
    let come = send_and_read(&mut simulation, &one, &other, 1000).len() as u64;
    assert!((600..800).contains(&come), "{come}");
    assert_eq!(simulation.coverage().fault(FaultKind::Loss), 1000 - come);
}

#[test]
fn some_come_twice() {
    let (mut simulation, _, _, one, other) = two(Link { duplicate: 0.3, ..Link::default() });
    let mut come = send_and_read(&mut simulation, &one, &other, 1000);
    let twice = come.len() as u64 - 1000;
    come.sort_unstable();
    come.dedup();
    assert_eq!(come.len(), 1000);
    assert!((200..400).contains(&twice), "{twice}");
    assert_eq!(simulation.coverage().fault(FaultKind::Duplicate), twice);
}

#[test]
fn some_are_overtaken_and_none_is_missing() {
    let (mut simulation, _, _, one, other) = two(Link { reorder: 0.1, ..Link::fixed(MOMENT) });
    simulation.set_fifo_order();
    let come = send_and_read(&mut simulation, &one, &other, 1000);
    let late = simulation.coverage().fault(FaultKind::Reorder);
    assert!((50..200).contains(&late), "{late}");
    assert!(!come.is_sorted());
    let mut sorted = come;
    sorted.sort_unstable();
    assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
}

#[test]
fn one_that_is_longer_than_the_way_vanishes() {
    let (mut simulation, _, _, one, other) = two(Link { mtu: 100, ..Link::default() });
    for size in [100, 101] {
        assert_eq!(one.send_to(&vec![b'x'; size], other.local_address()).unwrap(), size);
    }
    simulation.run_for(SECOND).unwrap();
    let mut buffer = [0; 200];
    assert_eq!(other.recv_from(&mut buffer).unwrap().0, 100);
    assert_eq!(errno(other.recv_from(&mut buffer)), Some(Errno::EAGAIN));
    assert_eq!(simulation.coverage().fault(FaultKind::TooLong), 1);
}

#[test]
fn one_that_is_longer_than_any_is_refused() {
    let (simulation, _, _, one, other) = two(Link::instant());
    let longest = vec![b'x'; 65_508];
    assert_eq!(errno(one.send_to(&longest, other.local_address())), Some(Errno::EMSGSIZE));
    assert_eq!(one.send_to(&longest[1..], other.local_address()).unwrap(), 65_507);
    assert_eq!(other.recv_from(&mut vec![0; 70_000]).unwrap().0, 65_507);
    drop(simulation);
}

#[test]
fn bandwidth_lets_one_leave_after_the_other() {
    let (mut simulation, _, _, one, other) = two(Link { bandwidth: Some(1000), ..Link::fixed(MOMENT) });
    for _ in 0..3 {
        one.send_to(&[b'x'; 500], other.local_address()).unwrap();
    }
    let come = || std::iter::from_fn(|| other.recv_from(&mut [0; 500]).ok()).count();
    simulation.run_for(SECOND / 2 + MOMENT).unwrap();
    assert_eq!(come(), 1);
    simulation.run_for(SECOND / 2 - Duration::from_nanos(1)).unwrap();
    assert_eq!(come(), 0);
    simulation.run_for(SECOND).unwrap();
    assert_eq!(come(), 2);
}

#[test]
fn a_datagram_over_the_buffer_is_cut_and_its_length_reported() {
    let (_simulation, _, _, one, other) = two(Link::instant());
    one.send_to(b"hello", other.local_address()).unwrap();
    one.send_to(b"next", other.local_address()).unwrap();
    let mut buffer = [0; 3];
    assert_eq!(other.recv_from(&mut buffer).unwrap(), (3, 5, one.local_address()));
    assert_eq!(other.recv_from(&mut buffer).unwrap(), (3, 4, one.local_address()));
    assert_eq!(&buffer, b"nex");
}

#[test]
fn an_empty_one_is_one() {
    let (_simulation, _, _, one, other) = two(Link::instant());
    assert_eq!(one.send_to(b"", other.local_address()).unwrap(), 0);
    assert_eq!(other.recv_from(&mut [0; 8]).unwrap(), (0, 0, one.local_address()));
    assert_eq!(errno(other.recv_from(&mut [0; 8])), Some(Errno::EAGAIN));
}

#[test]
fn one_to_nobody_vanishes() {
    let (simulation, _, far, one, _other) = two(Link::instant());
    let closed: [SocketAddr; 2] = [(simulation.address(far), 9).into(), "203.0.113.7:9".parse().unwrap()];
    for to in closed {
        assert_eq!(one.send_to(b"hello", to).unwrap(), 5);
    }
    assert_eq!(errno(one.recv_from(&mut [0; 8])), Some(Errno::EAGAIN));
}

#[test]
fn more_than_the_system_holds_is_lost() {
    let (simulation, _, _, one, other) = two(Link::instant());
    for _ in 0..10 {
        one.send_to(&[b'x'; 60_000], other.local_address()).unwrap();
    }
    let come = std::iter::from_fn(|| other.recv_from(&mut [0; 8]).ok()).count();
    assert_eq!(come, 3, "of 212,992 bytes");
    assert_eq!(simulation.coverage().fault(FaultKind::Overflow), 7);
    // The overhead of a datagram counts as well.
    send(&one, &other, 1000);
    assert_eq!(numbers(&other).len(), 255);
}

#[test]
fn a_partition_lets_none_through_and_none_of_them_comes_later() {
    let (mut simulation, near, far, one, other) = two(Link::fixed(MOMENT));
    // One datagram is in flight.
    send(&one, &other, 1);
    simulation.partition_one_way(near, far);
    send(&one, &other, 10);
    send(&other, &one, 10);
    simulation.run_for(SECOND).unwrap();
    simulation.heal_all();
    simulation.run_for(60 * SECOND).unwrap();
    assert_eq!((numbers(&other).len(), numbers(&one).len()), (0, 10));
    send(&one, &other, 10);
    simulation.run_for(SECOND).unwrap();
    assert_eq!(numbers(&other).len(), 10);
}

#[test]
fn a_silent_port_takes_none_until_it_is_admitted_again() {
    let (simulation, _, far, one, other) = two(Link::instant());
    simulation.drop_connects(far, Some(other.local_address().port()));
    send(&one, &other, 10);
    simulation.accept_connects(far, None);
    assert_eq!(numbers(&other), [0; 0]);
    send(&one, &other, 2);
    assert_eq!(numbers(&other), [0, 1]);
}

#[test]
fn rules_delay_and_drop_datagrams() {
    let (mut simulation, _, _, one, other) = two(Link::fixed(MOMENT));
    simulation.add_rule(Fault::packet(PacketKind::Datagram, Verdict::Drop).nth(1));
    simulation.add_rule(Fault::packet(PacketKind::Datagram, Verdict::Delay(SECOND)).nth(1));
    send(&one, &other, 3);
    simulation.run_for(MOMENT).unwrap();
    assert_eq!(numbers(&other), [2]);
    simulation.run_for(SECOND).unwrap();
    assert_eq!(numbers(&other), [1]);
}

#[test]
fn an_address_has_one_socket_and_a_closed_one_leaves_it_free() {
    let (simulation, _, far, _one, other) = two(Link::instant());
    let at = other.local_address();
    assert_eq!(errno(simulation.bind_datagrams(far, at)), Some(Errno::EADDRINUSE));
    let elsewhere = "203.0.113.7:9".parse().unwrap();
    assert_eq!(errno(simulation.bind_datagrams(far, elsewhere)), Some(Errno::EADDRNOTAVAIL));
    assert_eq!(simulation.sockets(far), 1);
    drop(other);
    assert_eq!(simulation.sockets(far), 0);
    assert!(simulation.bind_datagrams(far, at).is_ok());
}

/// Records received datagrams.
struct Listens(Rc<RefCell<Vec<String>>>);

impl DatagramProtocol for Listens {
    fn datagram_received(&mut self, _: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        self.0.borrow_mut().push(format!("{} from {}", String::from_utf8_lossy(data), from.ip().unwrap()));
    }

    fn connection_refused(&mut self, _: &mut DatagramTransport<'_>) {
        self.0.borrow_mut().push("refused".to_owned());
    }
}

/// Creates three hosts, each with a reactor that listens on the same port, and their records.
#[allow(clippy::type_complexity, reason = "it is taken apart at once")]
fn three() -> (Simulation, Vec<Host>, Vec<DatagramId>, Vec<Rc<RefCell<Vec<String>>>>) {
    let mut simulation = Simulation::new(1);
    let hosts: Vec<Host> = ["one", "two", "three"].map(|name| simulation.host(name)).into();
    let came: Vec<Rc<RefCell<Vec<String>>>> = hosts.iter().map(|_| Rc::default()).collect();
    let listen = |(host, came): (&Host, &Rc<RefCell<Vec<String>>>)| {
        let reactor = simulation.reactor(*host);
        reactor.listen_udp(ListenUdp::multicast(9), Listens(Rc::clone(came))).unwrap()
    };
    let ids = hosts.iter().zip(&came).map(listen).collect();
    (simulation, hosts, ids, came)
}

fn write(simulation: &mut Simulation, host: Host, id: DatagramId, data: &str, to: &str) {
    let to = Address::Udp(to.parse().unwrap());
    simulation.reactor(host).datagram_transport(id).unwrap().write_to(data.as_bytes(), &to).unwrap();
}

#[test]
fn a_broadcast_comes_to_every_host_but_those_behind_a_partition() {
    let (mut simulation, hosts, ids, came) = three();
    simulation.reactor(hosts[0]).datagram_transport(ids[0]).unwrap().set_broadcast(true).unwrap();
    write(&mut simulation, hosts[0], ids[0], "hello", "255.255.255.255:9");
    simulation.run_for(SECOND).unwrap();
    assert!(came.iter().all(|came| came.take() == ["hello from 10.0.0.1"]));
    simulation.partition(hosts[0], hosts[2]);
    write(&mut simulation, hosts[0], ids[0], "again", "10.255.255.255:9");
    simulation.run_for(SECOND).unwrap();
    assert_eq!([&came[0], &came[1], &came[2]].map(|came| came.borrow().len()), [1, 1, 0]);
}

#[test]
fn what_goes_to_a_group_comes_to_its_members() {
    let (mut simulation, hosts, ids, came) = three();
    let group = "239.1.2.3".parse().unwrap();
    for place in [1, 2] {
        let mut transport = simulation.reactor(hosts[place]).datagram_transport(ids[place]).unwrap();
        transport.join_group(group, Interface::Default).unwrap();
    }
    write(&mut simulation, hosts[0], ids[0], "one", "239.1.2.3:9");
    write(&mut simulation, hosts[1], ids[1], "two", "239.1.2.3:9");
    simulation.run_for(SECOND).unwrap();
    let mut transport = simulation.reactor(hosts[1]).datagram_transport(ids[1]).unwrap();
    transport.leave_group(group, Interface::Default).unwrap();
    let mut transport = simulation.reactor(hosts[2]).datagram_transport(ids[2]).unwrap();
    transport.set_multicast_loopback(false).unwrap();
    write(&mut simulation, hosts[0], ids[0], "three", "239.1.2.3:9");
    write(&mut simulation, hosts[2], ids[2], "four", "239.1.2.3:9");
    simulation.run_for(SECOND).unwrap();
    let sorted = |place: usize| {
        let mut came: Vec<String> = came[place].take();
        came.sort();
        came.join(", ")
    };
    assert_eq!(sorted(0), "");
    assert_eq!(sorted(1), "one from 10.0.0.1, two from 10.0.0.2");
    assert_eq!(sorted(2), "one from 10.0.0.1, three from 10.0.0.1, two from 10.0.0.2");
}

#[test]
fn what_may_take_no_hop_stays_on_its_host() {
    let (mut simulation, hosts, ids, came) = three();
    let group = "239.1.2.3".parse().unwrap();
    for (host, id) in hosts.iter().zip(&ids) {
        let mut transport = simulation.reactor(*host).datagram_transport(*id).unwrap();
        transport.join_group(group, Interface::Default).unwrap();
        transport.set_multicast_ttl(0).unwrap();
    }
    write(&mut simulation, hosts[0], ids[0], "here", "239.1.2.3:9");
    simulation.run_for(SECOND).unwrap();
    assert_eq!([0, 1, 2].map(|place: usize| came[place].borrow().len()), [1, 0, 0]);
}

#[test]
fn a_refusal_travels_back_and_may_be_lost_on_its_way() {
    let (mut simulation, hosts, _, came) = three();
    let closed: SocketAddr = (simulation.address(hosts[1]), 10).into();
    let ask = |simulation: &mut Simulation| {
        let id = simulation.reactor(hosts[0]).connect_udp(closed, Listens(Rc::clone(&came[0]))).unwrap();
        simulation.reactor(hosts[0]).datagram_transport(id).unwrap().write(b"hello").unwrap();
    };
    ask(&mut simulation);
    simulation.run_for(Duration::from_micros(1999)).unwrap();
    assert!(came[0].borrow().is_empty());
    simulation.run_for(Duration::from_micros(1)).unwrap();
    simulation.run_for(Duration::ZERO).unwrap();
    assert_eq!(came[0].take(), ["refused"]);
    simulation.partition_one_way(hosts[1], hosts[0]);
    ask(&mut simulation);
    simulation.run_for(SECOND).unwrap();
    assert!(came[0].borrow().is_empty());
}

#[test]
fn sockets_that_share_a_port_share_by_sender() {
    let mut simulation = Simulation::new(1);
    let (near, far) = (simulation.host("near"), simulation.host("far"));
    let shared = ListenUdp { reuse_port: true, ..ListenUdp::new(([0, 0, 0, 0], 9)) };
    let came: [Rc<RefCell<Vec<String>>>; 4] = Default::default();
    for came in &came {
        simulation.reactor(far).listen_udp(shared.clone(), Listens(Rc::clone(came))).unwrap();
    }
    let to = (simulation.address(far), 9).into();
    for number in 0..40 {
        let from = simulation.bind_datagrams(near, (simulation.address(near), 0).into()).unwrap();
        for _ in 0..3 {
            from.send_to(format!("{number}").as_bytes(), to).unwrap();
        }
    }
    simulation.run_for(SECOND).unwrap();
    let counts: Vec<usize> = came.iter().map(|came| came.borrow().len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 120);
    // Each sender's three datagrams went to the same socket, and no socket received all.
    assert!(counts.iter().all(|count| count % 3 == 0 && (9..90).contains(count)), "{counts:?}");
}
