//! What travels on a simulated link comes when the link says, in order, and gets through when it can.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use twistor::sim::{DatagramSocket, Host, Latency, Link, Simulation, Socket, SocketOptions};
use twistor::{Protocol, Reason, Transport};

const MS: Duration = Duration::from_millis(1);

/// How often it is looked for what came.
const LOOK: Duration = Duration::from_micros(100);

/// A connection of plain sockets between two hosts.
struct Wire {
    simulation: Simulation,
    here: Host,
    there: Host,
    near: Socket,
    far: Socket,
}

fn wire(link: Link) -> Wire {
    let mut simulation = Simulation::new(1);
    let (here, there) = (simulation.host("here"), simulation.host("there"));
    let listener = simulation.listen(there, ([0, 0, 0, 0], 80).into(), 8).unwrap();
    let to = (simulation.address(there), 80).into();
    let near = simulation.connect(here, to, SocketOptions::default()).unwrap();
    simulation.run_for(10 * MS).unwrap();
    let (far, _) = listener.accept().unwrap();
    simulation.set_link(here, there, link);
    Wire { simulation, here, there, near, far }
}

impl Wire {
    /// Runs until so many bytes have come to the far side; how long it took, and the bytes.
    fn receive(&mut self, count: usize) -> (Duration, Vec<u8>) {
        let (begun, mut got) = (self.simulation.now(), Vec::new());
        let mut buffer = [0; 4096];
        while got.len() < count {
            match self.far.recv(&mut buffer) {
                Ok(some) => got.extend_from_slice(&buffer[..some]),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    self.simulation.run_for(LOOK).unwrap();
                }
            }
        }
        (self.simulation.now() - begun, got)
    }
}

#[test]
fn bytes_arrive_after_the_latency_and_not_before() {
    let mut wire = wire(Link::fixed(25 * MS));
    wire.near.send(b"hello").unwrap();
    wire.simulation.run_for(25 * MS - Duration::from_nanos(1)).unwrap();
    let mut buffer = [0; 8];
    assert_eq!(wire.far.recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    wire.simulation.run_for(Duration::from_nanos(1)).unwrap();
    assert_eq!(wire.far.recv(&mut buffer).unwrap(), 5);
}

#[test]
fn every_latency_stays_within_its_bounds() {
    let cases = [
        (Latency::Uniform { least: 5 * MS, most: 9 * MS }, 5 * MS, 9 * MS),
        (Latency::Exponential { least: 2 * MS, mean: 4 * MS }, 2 * MS, 100 * MS),
        (Latency::LongTail { least: MS, usual: 3 * MS, worst: 50 * MS }, MS, 50 * MS),
    ];
    for (latency, least, most) in cases {
        let mut wire = wire(Link { latency, ..Link::default() });
        let mut all = Vec::new();
        for _ in 0..200 {
            wire.near.send(b"x").unwrap();
            all.push(wire.receive(1).0);
        }
        assert!(all.iter().all(|took| *took >= least && *took <= most + LOOK), "{latency:?}");
        let mean = all.iter().sum::<Duration>() / 200;
        assert!(mean > least && mean < (least + most) / 2 + MS, "{latency:?}: {mean:?}");
    }
}

#[test]
fn a_bandwidth_is_what_it_says_and_shared() {
    let mut wire = wire(Link { bandwidth: Some(1_000_000), ..Link::fixed(MS) });
    wire.near.send(&[b'x'; 100_000]).unwrap();
    wire.near.send(&[b'y'; 100_000]).unwrap();
    let (took, got) = wire.receive(200_000);
    assert!(took >= 201 * MS && took <= 202 * MS, "{took:?}");
    assert!(
        got[..100_000].iter().all(|byte| *byte == b'x') && got[100_000..].iter().all(|byte| *byte == b'y')
    );
}

#[test]
fn what_is_lost_comes_later_and_in_order() {
    let mut wire = wire(Link { loss: 0.3, ..Link::fixed(MS) });
    let sent: Vec<u8> = (0..50).collect();
    for byte in &sent {
        wire.near.send(&[*byte]).unwrap();
    }
    let (took, got) = wire.receive(50);
    assert_eq!(got, sent);
    assert!(took >= 200 * MS, "a loss is a stall: {took:?}");
}

#[test]
fn a_partition_holds_up_what_travels_until_it_heals() {
    for one_way in [false, true] {
        let mut wire = wire(Link::fixed(10 * MS));
        wire.near.send(b"before").unwrap();
        match one_way {
            true => wire.simulation.partition_one_way(wire.here, wire.there),
            false => wire.simulation.partition(wire.here, wire.there),
        }
        wire.near.send(b" during").unwrap();
        wire.far.send(b"back").unwrap();
        wire.simulation.run_for(Duration::from_secs(60)).unwrap();
        let mut buffer = [0; 32];
        assert!(wire.far.recv(&mut buffer).is_err());
        assert_eq!(wire.near.recv(&mut buffer).is_ok(), one_way);
        wire.simulation.heal(wire.here, wire.there);
        assert_eq!(wire.receive(13).1, b"before during");
    }
}

#[test]
fn a_writer_that_is_never_answered_is_told_after_a_quarter_of_an_hour() {
    for back_only in [false, true] {
        let mut wire = wire(Link::fixed(MS));
        match back_only {
            true => wire.simulation.partition_one_way(wire.there, wire.here),
            false => wire.simulation.partition(wire.here, wire.there),
        }
        wire.near.send(b"hello").unwrap();
        wire.simulation.run_for(Duration::from_secs(900)).unwrap();
        assert_eq!(wire.near.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        wire.simulation.run_for(Duration::from_secs(200)).unwrap();
        assert_eq!(wire.near.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        let mut buffer = [0; 8];
        // The bytes had come, where only the answer was lost.
        assert_eq!(wire.far.recv(&mut buffer).is_ok(), back_only);
    }
}

/// Tells how its connect failed.
struct Never;

impl Protocol for Never {
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

struct Failures(Rc<RefCell<Vec<Reason>>>);

impl twistor::Factory for Failures {
    fn build_protocol(
        &mut self,
        _: &mut twistor::Reactor,
        _: &twistor::Address,
    ) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Never))
    }
}

impl twistor::ClientFactory for Failures {
    fn client_connection_failed(&mut self, _: &mut twistor::Connector<'_>, reason: &Reason) {
        self.0.borrow_mut().push(reason.clone());
    }
}

#[test]
fn hosts_are_found_by_their_names_and_by_both_of_their_addresses() {
    let mut simulation = Simulation::new(1);
    let (here, there) = (simulation.host("here"), simulation.host("there"));
    assert_eq!(simulation.address(there).to_string(), "10.0.0.2");
    simulation.reactor(there).listen_tcp("[::]:80", || Never).unwrap();
    simulation.add_name("alias", &[simulation.address(there)]);
    let failures = Rc::new(RefCell::new(Vec::new()));
    for to in ["there:80", "ALIAS:80", "10.0.0.2:80", "[fd00::2]:80", "nobody:80", "10.9.9.9:80"] {
        simulation.reactor(here).connect_tcp(to, Failures(Rc::clone(&failures))).unwrap();
    }
    simulation.run_for(Duration::from_secs(5)).unwrap();
    assert_eq!(simulation.reactor(there).statistics().connections, 4);
    let failures = failures.borrow();
    assert!(matches!(failures[0], Reason::Unresolved { .. }), "{failures:?}");
    assert!(matches!(failures[1], Reason::NoRoute(_)), "{failures:?}");
}

// -- datagrams --

fn mail(link: Link) -> (Simulation, DatagramSocket, DatagramSocket) {
    let simulation = Simulation::new(1);
    let (here, there) = (simulation.host("here"), simulation.host("there"));
    simulation.set_links(link);
    let from = simulation.bind_datagrams(here, ([0, 0, 0, 0], 0).into()).unwrap();
    let to = simulation.bind_datagrams(there, ([0, 0, 0, 0], 53).into()).unwrap();
    (simulation, from, to)
}

/// Sends a thousand numbered datagrams, one each millisecond, and returns the numbers that came.
fn thousand(link: Link) -> Vec<u16> {
    let (mut simulation, from, to) = mail(link);
    let address = "10.0.0.2:53".parse().unwrap();
    for number in 0..1000_u16 {
        from.send_to(&number.to_be_bytes(), address).unwrap();
        simulation.run_for(MS).unwrap();
    }
    simulation.run_for(Duration::from_secs(1)).unwrap();
    let (mut numbers, mut buffer) = (Vec::new(), [0; 2]);
    while let Ok((2, 2, sender)) = to.recv_from(&mut buffer) {
        assert_eq!(sender.ip(), simulation.address(simulation.host("here")));
        numbers.push(u16::from_be_bytes(buffer));
    }
    numbers
}

#[test]
fn datagrams_are_lost_doubled_and_overtaken_as_often_as_the_link_says() {
    let all: Vec<u16> = (0..1000).collect();
    assert_eq!(thousand(Link::default()), all);
    let lossy = thousand(Link { loss: 0.2, ..Link::default() });
    assert!((700..900).contains(&lossy.len()), "{}", lossy.len());
    let doubled = thousand(Link { duplicate: 0.2, ..Link::default() });
    assert!((1100..1300).contains(&doubled.len()), "{}", doubled.len());
    let mut overtaken = thousand(Link { reorder: 0.2, ..Link::fixed(3 * MS) });
    let late = overtaken.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!((100..300).contains(&late), "{late}");
    overtaken.sort_unstable();
    assert_eq!(overtaken, all);
}

#[test]
fn a_datagram_that_is_too_long_for_the_way_vanishes_and_one_too_long_for_any_is_refused() {
    let (mut simulation, from, to) = mail(Link { mtu: 1000, ..Link::default() });
    let address = "10.0.0.2:53".parse().unwrap();
    for length in [999, 1000, 1001, 0] {
        from.send_to(&vec![b'x'; length], address).unwrap();
    }
    let error = from.send_to(&vec![b'x'; 65_508], address).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(twistor::sim::Errno::EMSGSIZE.raw()));
    // Nobody is there, and nobody says so.
    from.send_to(b"x", "10.9.9.9:53".parse().unwrap()).unwrap();
    from.send_to(b"x", "10.0.0.2:54".parse().unwrap()).unwrap();
    simulation.run_for(Duration::from_secs(1)).unwrap();
    let mut buffer = [0; 500];
    let mut lengths = Vec::new();
    while let Ok((copied, whole, _)) = to.recv_from(&mut buffer) {
        assert_eq!(copied, whole.min(500), "what does not fit is lost, and told");
        lengths.push(whole);
    }
    assert_eq!(lengths, [999, 1000, 0]);
}
