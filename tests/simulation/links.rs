//! Links carry bytes with their latency, bandwidth and order, and not at all while they are cut.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, Recorder, idle_protocol, once};
use twistor::sim::{
    Errno, FaultKind, Host, Latency, Link, Network, Simulation, Socket, SocketListener, SocketOptions,
};
use twistor::{ConnectTcp, Instant, ListenTcp};

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(10);

fn two_hosts(link: Link) -> (Simulation, Host, Host) {
    let simulation = Simulation::new(1);
    simulation.set_links(link);
    let (near, far) = (simulation.host("near"), simulation.host("far"));
    (simulation, near, far)
}

/// Returns both sides of a connection between two hosts, as plain sockets.
fn sockets(simulation: &mut Simulation, from: Host, to: Host) -> (Socket, Socket) {
    let at = SocketAddr::new(simulation.address(to), 80);
    let listener = simulation.listen(to, at, 8).unwrap();
    let socket = simulation.connect(from, at, SocketOptions::default()).unwrap();
    let other = accepted(simulation, &listener);
    simulation.run_for(10 * SECOND).unwrap();
    (socket, other)
}

fn accepted(simulation: &mut Simulation, listener: &SocketListener) -> Socket {
    // Longer than all retransmissions together.
    for _ in 0..20_000 {
        if let Ok((socket, _)) = listener.accept() {
            return socket;
        }
        simulation.run_for(MOMENT).unwrap();
    }
    panic!("no connection came");
}

/// Returns all received bytes, and the error at the end if there is one.
fn read(socket: &mut Socket) -> (Vec<u8>, Option<io::ErrorKind>) {
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match socket.recv(&mut piece) {
            Ok(0) => return (all, None),
            Ok(count) => all.extend_from_slice(&piece[..count]),
            Err(error) => return (all, Some(error.kind())),
        }
    }
}

/// Runs a server that records the arrival time of each byte.
fn arrivals(simulation: &mut Simulation, host: Host) -> Rc<RefCell<Vec<Instant>>> {
    let times = Rc::<RefCell<Vec<Instant>>>::default();
    let told = Rc::clone(&times);
    let build = move || {
        let told = Rc::clone(&told);
        idle_protocol().acting(move |what, transport, _| {
            if what == "data" {
                told.borrow_mut().push(transport.now());
            }
        })
    };
    simulation.reactor(host).listen_tcp("0.0.0.0:80", build).unwrap();
    times
}

/// Measures the latency of single bytes.
fn latencies(latency: Latency, count: usize) -> Vec<Duration> {
    let (mut simulation, near, far) = two_hosts(Link::default());
    let times = arrivals(&mut simulation, far);
    let at = SocketAddr::new(simulation.address(far), 80);
    let mut socket = simulation.connect(near, at, SocketOptions::default()).unwrap();
    simulation.run_for(SECOND).unwrap();
    simulation.set_links(Link { latency, ..Link::default() });
    let mut all = Vec::new();
    for _ in 0..count {
        let began = simulation.now();
        socket.send(b"x").unwrap();
        simulation.run_for(100 * SECOND).unwrap();
        all.push(times.borrow_mut().pop().unwrap() - began);
    }
    all
}

// -- latency --

#[test]
fn with_a_fixed_latency_bytes_come_exactly_then() {
    let latency = Duration::from_micros(12_345);
    assert_eq!(latencies(Latency::Fixed(latency), 10), [latency; 10]);
}

#[test]
fn a_uniform_latency_is_anything_between_the_two() {
    let (least, most) = (MOMENT, 3 * MOMENT);
    let all = latencies(Latency::Uniform { least, most }, 300);
    assert!(all.iter().all(|took| (least..=most).contains(took)), "{all:?}");
    let early = all.iter().filter(|took| **took < 2 * MOMENT).count();
    assert!((100..200).contains(&early), "{early}");
}

#[test]
fn an_exponential_latency_has_its_least_and_its_mean() {
    let (least, mean) = (MOMENT, 5 * MOMENT);
    let all = latencies(Latency::Exponential { least, mean }, 1000);
    assert!(all.iter().all(|took| *took >= least));
    let found = all.iter().sum::<Duration>() / 1000;
    assert!(found > mean * 9 / 10 && found < mean * 11 / 10, "{found:?}");
    assert!(all.iter().any(|took| *took > 3 * mean), "some are much later");
}

#[test]
fn of_a_long_tail_one_in_a_hundred_is_beyond_the_usual() {
    let (least, usual, worst) = (MOMENT, 2 * MOMENT, 100 * MOMENT);
    let all = latencies(Latency::LongTail { least, usual, worst }, 1000);
    assert!(all.iter().all(|took| (least..=worst).contains(took)));
    let late = all.iter().filter(|took| **took > usual).count();
    assert!((2..30).contains(&late), "{late}");
}

#[test]
fn without_latency_what_is_sent_is_there() {
    let (simulation, near, far) = two_hosts(Link::instant());
    let at = SocketAddr::new(simulation.address(far), 80);
    let listener = simulation.listen(far, at, 8).unwrap();
    let mut socket = simulation.connect(near, at, SocketOptions::default()).unwrap();
    let (mut other, _) = listener.accept().unwrap();
    socket.send(b"hello").unwrap();
    assert_eq!(read(&mut other).0, b"hello");
    assert_eq!(simulation.now(), Instant::default());
}

#[test]
fn bytes_that_are_late_hold_up_those_behind_them() {
    let slowly = Latency::Uniform { least: Duration::ZERO, most: 10 * MOMENT };
    let (mut simulation, near, far) = two_hosts(Link { latency: slowly, ..Link::default() });
    let (mut socket, mut other) = sockets(&mut simulation, near, far);
    for number in 0..=255 {
        socket.send(&[number]).unwrap();
    }
    simulation.run_for(SECOND).unwrap();
    assert_eq!(read(&mut other).0, (0..=255).collect::<Vec<u8>>());
}

// -- bandwidth --

#[test]
fn bytes_take_their_number_divided_by_the_rate() {
    let link = Link { bandwidth: Some(1000), ..Link::fixed(MOMENT) };
    let (mut simulation, near, far) = two_hosts(link);
    let (mut socket, mut other) = sockets(&mut simulation, near, far);
    socket.send(&[b'x'; 2500]).unwrap();
    let due = Duration::from_millis(2500) + MOMENT;
    simulation.run_for(due - Duration::from_nanos(1)).unwrap();
    assert_eq!(read(&mut other).0.len(), 0);
    simulation.run_for(Duration::from_nanos(1)).unwrap();
    assert_eq!(read(&mut other).0.len(), 2500);
}

#[test]
fn connections_share_a_bandwidth_and_the_other_way_has_its_own() {
    let link = Link { bandwidth: Some(1000), ..Link::fixed(MOMENT) };
    let (mut simulation, near, far) = two_hosts(link);
    let (mut first, mut other_first) = sockets(&mut simulation, near, far);
    let (mut second, mut other_second) = sockets(&mut simulation, near, far);
    first.send(&[b'x'; 1000]).unwrap();
    second.send(&[b'x'; 1000]).unwrap();
    other_first.send(&[b'x'; 1000]).unwrap();
    simulation.run_for(SECOND + MOMENT).unwrap();
    let come = [read(&mut other_first), read(&mut other_second), read(&mut first)].map(|(all, _)| all.len());
    assert_eq!(come, [1000, 0, 1000]);
    simulation.run_for(SECOND).unwrap();
    assert_eq!(read(&mut other_second).0.len(), 1000);
}

// -- loss --

#[test]
fn a_loss_is_a_stall_that_keeps_every_byte_and_their_order() {
    let (mut simulation, near, far) = two_hosts(Link::fixed(MOMENT));
    let (mut socket, mut other) = sockets(&mut simulation, near, far);
    simulation.set_links(Link { loss: 0.3, ..Link::fixed(MOMENT) });
    let sent: Vec<u8> = (0..100_000_u32).map(|number| ((number * 31) >> 3) as u8).collect();
    for piece in sent.chunks(1000) {
        socket.send(piece).unwrap();
    }
    simulation.run_for(2 * MOMENT).unwrap();
    let mut come = read(&mut other).0;
    assert!(come.len() < sent.len(), "something is held up");
    simulation.run_for(600 * SECOND).unwrap();
    come.extend(read(&mut other).0);
    assert!(come == sent);
    assert!(simulation.coverage().fault(FaultKind::Loss) > 10);
}

#[test]
fn a_handshake_that_is_lost_is_sent_again() {
    let (mut simulation, near, far) = two_hosts(Link { loss: 0.5, ..Link::default() });
    for _ in 0..20 {
        sockets(&mut simulation, near, far);
    }
    assert!(simulation.coverage().fault(FaultKind::Loss) > 5);
}

// -- partitions --

#[test]
fn a_refusal_does_not_come_back_on_a_cut_way() {
    let (mut simulation, near, far) = two_hosts(Link::fixed(MOMENT));
    let at = SocketAddr::new(simulation.address(far), 80);
    let socket = simulation.connect(near, at, SocketOptions::default()).unwrap();
    simulation.partition_one_way(far, near);
    simulation.run_for(5 * SECOND).unwrap();
    assert!(socket.take_error().unwrap().is_none());
    // The handshake is sent again, and answered then.
    simulation.heal(far, near);
    simulation.run_for(60 * SECOND).unwrap();
    assert_eq!(
        socket.take_error().unwrap().map(|error| error.kind()),
        Some(io::ErrorKind::ConnectionRefused)
    );
}

#[test]
fn a_partition_freezes_data_both_ways_until_it_is_healed() {
    let (mut simulation, near, far) = two_hosts(Link::fixed(MOMENT));
    let (mut socket, mut other) = sockets(&mut simulation, near, far);
    // Packets in flight are caught as well.
    socket.send(b"under way").unwrap();
    simulation.partition(near, far);
    other.send(b"back").unwrap();
    simulation.run_for(60 * SECOND).unwrap();
    let nothing = (Vec::new(), Some(io::ErrorKind::WouldBlock));
    assert_eq!((read(&mut socket), read(&mut other)), (nothing.clone(), nothing));
    simulation.heal(far, near);
    simulation.run_for(60 * SECOND).unwrap();
    assert_eq!((read(&mut socket).0, read(&mut other).0), (b"back".to_vec(), b"under way".to_vec()));
}

#[test]
fn a_partition_of_one_way_leaves_the_other_open() {
    let (mut simulation, near, far) = two_hosts(Link::fixed(MOMENT));
    let (mut socket, mut other) = sockets(&mut simulation, near, far);
    simulation.partition_one_way(near, far);
    socket.send(b"there").unwrap();
    other.send(b"back").unwrap();
    simulation.run_for(60 * SECOND).unwrap();
    assert_eq!((read(&mut socket).0, read(&mut other).0), (b"back".to_vec(), Vec::new()));
    simulation.heal_all();
    simulation.run_for(60 * SECOND).unwrap();
    assert_eq!(read(&mut other).0, b"there");
}

#[test]
fn a_third_host_hears_nothing_of_a_partition() {
    let (mut simulation, near, far) = two_hosts(Link::default());
    let third = simulation.host("third");
    simulation.partition(near, far);
    sockets(&mut simulation, third, near);
    sockets(&mut simulation, far, third);
    sockets(&mut simulation, near, near);
}

/// The time until Linux gives up without an acknowledgement: fifteen tries from 200 ms on, doubled
/// up to 120 s.
const GIVEN_UP: Duration = Duration::from_millis(924_600);

/// Returns the time after which a writer learns that its connection is lost.
fn lost_after(cut: impl Fn(&Network, Host, Host)) -> Duration {
    let (mut simulation, near, far) = two_hosts(Link::fixed(MOMENT));
    simulation.reactor(far).listen_tcp("0.0.0.0:80", idle_protocol).unwrap();
    let lost = Rc::new(RefCell::new(None));
    let told = Rc::clone(&lost);
    let writer = Recorder::new(&Record::new()).acting(move |what, transport, _| {
        if what == "lost" {
            *told.borrow_mut() = Some(transport.now());
        }
    });
    let record = writer.record.clone();
    simulation.reactor(near).connect_tcp("far:80", once(writer, &record)).unwrap();
    simulation.run_for(SECOND).unwrap();
    cut(&simulation, near, far);
    let began = simulation.now();
    let id = simulation.reactor(near).connections()[0];
    simulation.reactor(near).transport(id).unwrap().write(b"hello?");
    simulation.run_until(|_| lost.borrow().is_some()).unwrap();
    assert!(record.has("lost Lost"), "{:?}", record.events());
    let lost = lost.borrow().unwrap();
    lost - began
}

#[test]
fn fifteen_minutes_without_an_ack_end_a_writers_connection() {
    for cut in
        [Network::partition as fn(&Network, Host, Host), Network::partition_one_way, |network, near, far| {
            network.partition_one_way(far, near)
        }]
    {
        let took = lost_after(cut);
        assert!(took >= GIVEN_UP && took <= GIVEN_UP + 2 * MOMENT, "{took:?}");
    }
}

#[test]
fn whoever_does_not_write_hears_of_no_partition() {
    let (mut simulation, near, far) = two_hosts(Link::default());
    let (mut socket, mut other) = sockets(&mut simulation, near, far);
    simulation.partition(near, far);
    simulation.run_for(24 * 3600 * SECOND).unwrap();
    let nothing = (Vec::new(), Some(io::ErrorKind::WouldBlock));
    assert_eq!((read(&mut socket), read(&mut other)), (nothing.clone(), nothing));
}

#[test]
fn the_system_gives_a_connect_up_after_127_seconds() {
    let (mut simulation, near, far) = two_hosts(Link::default());
    let at = SocketAddr::new(simulation.address(far), 80);
    let _listener = simulation.listen(far, at, 8).unwrap();
    simulation.partition(near, far);
    let socket = simulation.connect(near, at, SocketOptions::default()).unwrap();
    simulation.run_for(126 * SECOND).unwrap();
    assert!(socket.take_error().unwrap().is_none());
    simulation.run_for(2 * SECOND).unwrap();
    let error = socket.take_error().unwrap().unwrap();
    assert_eq!(error.raw_os_error(), Some(Errno::ETIMEDOUT.raw()));
}

#[test]
fn a_connect_into_a_partition_times_out_here_or_in_the_kernel() {
    let (mut simulation, near, far) = two_hosts(Link::default());
    simulation.reactor(far).listen_tcp("0.0.0.0:80", idle_protocol).unwrap();
    simulation.partition(near, far);
    let (patient, hasty) = (Record::new(), Record::new());
    for (record, timeout) in [(&hasty, 5 * SECOND), (&patient, 3600 * SECOND)] {
        let to = ConnectTcp { timeout, ..ConnectTcp::new("far", 80) };
        simulation.reactor(near).connect_tcp(to, once(Recorder::new(record), record)).unwrap();
    }
    simulation.run_for(6 * SECOND).unwrap();
    assert!(hasty.has("failed TimedOut") && !patient.has("failed SystemTimedOut"));
    // Two addresses are tried, one after the other.
    simulation.run_for(300 * SECOND).unwrap();
    assert!(patient.has("failed SystemTimedOut"), "{:?}", patient.events());
}

#[test]
fn a_connect_goes_on_when_the_partition_ends_in_time() {
    let (mut simulation, near, far) = two_hosts(Link::default());
    simulation.reactor(far).listen_tcp("0.0.0.0:80", idle_protocol).unwrap();
    simulation.partition(near, far);
    let record = Record::new();
    let to = ConnectTcp { timeout: 60 * SECOND, ..ConnectTcp::new("far", 80) };
    simulation.reactor(near).connect_tcp(to, once(Recorder::new(&record), &record)).unwrap();
    simulation.after(20 * SECOND, move |simulation| simulation.heal(near, far));
    simulation.run_for(60 * SECOND).unwrap();
    assert_eq!(record.events(), ["started", "connecting", "made"]);
}

// -- pairs, names and addresses --

#[test]
fn a_link_of_one_pair_is_its_own_until_all_are_set() {
    let (mut simulation, near, far) = two_hosts(Link::fixed(MOMENT));
    let third = simulation.host("third");
    simulation.set_link(near, far, Link::fixed(SECOND));
    let travelled = |simulation: &mut Simulation, from: Host, to: Host| {
        let (mut socket, mut other) = sockets(simulation, from, to);
        socket.send(b"x").unwrap();
        let began = simulation.now();
        while other.recv(&mut [0; 8]).is_err() {
            simulation.step().unwrap();
        }
        simulation.now() - began
    };
    assert_eq!(travelled(&mut simulation, near, far), SECOND);
    assert_eq!(travelled(&mut simulation, far, near), SECOND);
    assert_eq!(travelled(&mut simulation, near, third), MOMENT);
    simulation.set_loopback(Link::fixed(2 * MOMENT));
    assert_eq!(travelled(&mut simulation, near, near), 2 * MOMENT);
    simulation.set_links(Link::fixed(3 * MOMENT));
    assert_eq!(travelled(&mut simulation, near, far), 3 * MOMENT);
    assert_eq!(travelled(&mut simulation, near, near), 2 * MOMENT, "inside a host it is no link between two");
}

/// Connects from `near`, and returns the result and the address that the server saw.
fn connects(simulation: &mut Simulation, near: Host, to: &str) -> String {
    let record = Record::new();
    let own = record.clone();
    let client = Recorder::new(&Record::new()).acting(move |what, transport, _| {
        if what == "made" {
            own.add(format!("made {}", transport.peer()));
            transport.abort_connection();
        }
    });
    simulation.reactor(near).connect_tcp(to, once(client, &record)).unwrap();
    simulation.run_for(60 * SECOND).unwrap();
    record
        .events()
        .into_iter()
        .find(|event| event.starts_with("made ") || event.starts_with("failed"))
        .unwrap()
}

#[test]
fn a_name_leads_to_its_host_and_so_do_all_its_addresses() {
    let (mut simulation, near, far) = two_hosts(Link::default());
    simulation.reactor(far).listen_tcp("0.0.0.0:80", idle_protocol).unwrap();
    simulation.add_address(far, "203.0.113.7".parse().unwrap());
    simulation.add_name("www.example.org", &["203.0.113.7".parse().unwrap()]);
    for (to, found) in [
        ("far:80", "10.0.0.2:80"),
        ("FAR.:80", "10.0.0.2:80"),
        ("10.0.0.2:80", "10.0.0.2:80"),
        ("203.0.113.7:80", "203.0.113.7:80"),
        ("www.Example.org:80", "203.0.113.7:80"),
    ] {
        assert_eq!(connects(&mut simulation, near, to), format!("made {found}"), "{to}");
    }
    assert_eq!(connects(&mut simulation, near, "unknown:80"), "failed Unresolved");
    assert_eq!(connects(&mut simulation, near, "203.0.113.8:80"), "failed NoRoute");
    assert_eq!(connects(&mut simulation, near, "localhost:80"), "failed Refused", "that is itself");
    assert_eq!(simulation.addresses(far).len(), 3);
    assert_eq!(simulation.host("far"), far, "a name is one host");
}

#[test]
fn hosts_reach_each_other_over_ipv6() {
    let (mut simulation, near, far) = two_hosts(Link::default());
    let listen = ListenTcp::new("[fd00::2]:80".parse::<SocketAddr>().unwrap());
    simulation.reactor(far).listen_tcp(listen, idle_protocol).unwrap();
    assert_eq!(connects(&mut simulation, near, "[fd00::2]:80"), "made [fd00::2]:80");
    // The name has an address of each family; one is refused.
    assert_eq!(connects(&mut simulation, near, "far:80"), "made [fd00::2]:80");
}

#[test]
fn ports_of_one_host_are_its_own() {
    let (mut simulation, near, far) = two_hosts(Link::default());
    let same = "0.0.0.0:80";
    simulation.reactor(far).listen_tcp(same, idle_protocol).unwrap();
    simulation.reactor(near).listen_tcp(same, idle_protocol).unwrap();
    assert!(simulation.reactor(near).listen_tcp(same, idle_protocol).is_err());
}
