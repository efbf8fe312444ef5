//! Connection attempts to the addresses of a name race. The next attempt starts after a delay, or
//! at once after a failure. The first connection wins.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, Recorder, idle_protocol, on_the_real_network, once};
use twistor::sim::{
    Errno, Host, Latency, Link, Network, Packet, PacketKind, Random, Rule, Simulation, Verdict,
};
use twistor::{
    BuildContext, ClientFactory, ConnectTcp, Connector, ConnectorState, Factory, Instant, Protocol, Reactor,
    Reason,
};

const MILLISECOND: Duration = Duration::from_millis(1);
const PORT: u16 = 80;
/// Duration of a handshake, both ways.
const ROUND_TRIP: Duration = Duration::from_millis(20);

/// A client host, and servers that each have one address of the same name, in this order.
pub(super) struct Place {
    pub(super) simulation: Simulation,
    pub(super) here: Host,
    pub(super) others: Vec<Host>,
    /// Time and destination of each first handshake packet.
    pub(super) asked: Rc<RefCell<Vec<(Instant, SocketAddr)>>>,
}

/// The behaviour of a server host.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Does {
    Listens,
    Refuses,
    Nothing,
}
use Does::{Listens, Nothing, Refuses};

struct Noting(Rc<RefCell<Vec<(Instant, SocketAddr)>>>);

impl Rule for Noting {
    fn packet(&mut self, packet: &Packet, _: &mut Random) -> Verdict {
        let mut asked = self.0.borrow_mut();
        if packet.kind == PacketKind::Syn && !asked.iter().any(|(_, address)| *address == packet.destination)
        {
            asked.push((packet.at, packet.destination));
        }
        Verdict::Pass
    }
}

/// Drops handshakes to this host as unroutable.
struct NoRoute(Host);

impl Rule for NoRoute {
    fn packet(&mut self, packet: &Packet, _: &mut Random) -> Verdict {
        match packet.kind == PacketKind::Syn && packet.to == self.0 {
            true => Verdict::Fail(Errno::ENETUNREACH),
            false => Verdict::Pass,
        }
    }
}

impl Place {
    /// Creates servers with this behaviour, at IPv6 (6) or IPv4 (4) addresses.
    pub(super) fn new(hosts: &[(u8, Does)]) -> Place {
        let mut simulation = Simulation::new(1);
        simulation.set_links(Link { latency: Latency::Fixed(ROUND_TRIP / 2), ..Link::default() });
        let here = simulation.host("here");
        let (mut others, mut addresses) = (Vec::new(), Vec::new());
        for (at, (family, does)) in hosts.iter().enumerate() {
            let host = simulation.host(&format!("other-{at}"));
            let of_family = |address: &IpAddr| address.is_ipv6() == (*family == 6);
            addresses.push(simulation.addresses(host).into_iter().find(of_family).unwrap());
            match does {
                Listens => {
                    let at = if *family == 6 { "[::]:80" } else { "0.0.0.0:80" };
                    simulation.reactor(host).listen_tcp(at, idle_protocol).unwrap();
                }
                Refuses => {}
                Nothing => simulation.drop_connects(host, None),
            }
            others.push(host);
        }
        simulation.add_name("service", &addresses);
        let asked = Rc::<RefCell<Vec<_>>>::default();
        simulation.add_rule(Noting(Rc::clone(&asked)));
        Place { simulation, here, others, asked }
    }

    pub(super) fn options(&self) -> ConnectTcp {
        ConnectTcp::new("service", PORT)
    }

    /// Connects, and runs until there is an outcome.
    pub(super) fn connect(&mut self, options: ConnectTcp) -> Outcome {
        let outcome = Rc::<RefCell<Option<Outcome>>>::default();
        let asking = Asking { outcome: Rc::clone(&outcome), began: Instant::default() };
        self.simulation.reactor(self.here).connect_tcp(options, asking).unwrap();
        self.simulation.run_until(|_| outcome.borrow().is_some()).unwrap();
        outcome.take().unwrap()
    }

    /// The hosts in the order of attempts, and the time of each attempt after the first.
    fn asked(&self) -> Vec<(usize, Duration)> {
        let asked = self.asked.borrow();
        let of = |address: &SocketAddr| {
            let owns = |host: &Host| self.simulation.addresses(*host).contains(&address.ip());
            self.others.iter().position(owns).unwrap()
        };
        asked.iter().map(|(at, address)| (of(address), *at - asked[0].0)).collect()
    }

    fn connections(&self) -> usize {
        self.simulation.reactor_connections(self.here)
    }
}

trait Look {
    fn reactor_connections(&self, host: Host) -> usize;
}

impl Look for Simulation {
    fn reactor_connections(&self, host: Host) -> usize {
        self.reactor_ref(host).map_or(0, |reactor| reactor.connections().len())
    }
}

#[derive(Debug)]
pub(super) enum Outcome {
    /// The peer address, and the duration of the winning attempt alone.
    Made(SocketAddr, Option<Duration>),
    Failed(Reason),
}

/// A client of one attempt that reports its outcome once.
struct Asking {
    outcome: Rc<RefCell<Option<Outcome>>>,
    began: Instant,
}

impl Factory for Asking {
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        let outcome = Rc::clone(&self.outcome);
        let peer = context.peer().socket_address().unwrap();
        Some(Box::new(idle_protocol().acting(move |what, transport, _| {
            if what == "made" {
                let told = outcome.replace(Some(Outcome::Made(peer, transport.connect_time())));
                assert!(told.is_none(), "one outcome");
            }
        })))
    }
}

impl ClientFactory for Asking {
    fn started_connecting(&mut self, connector: &mut Connector<'_>) {
        self.began = connector.now();
    }

    fn client_connection_failed(&mut self, _: &mut Connector<'_>, reason: &Reason) {
        assert!(self.outcome.replace(Some(Outcome::Failed(reason.clone()))).is_none(), "one outcome");
    }
}

pub(super) fn made(outcome: Outcome) -> (SocketAddr, Duration) {
    match outcome {
        Outcome::Made(peer, took) => (peer, took.unwrap()),
        Outcome::Failed(reason) => panic!("{reason}"),
    }
}

pub(super) fn failed(outcome: Outcome) -> Reason {
    match outcome {
        Outcome::Failed(reason) => reason,
        Outcome::Made(peer, _) => panic!("{peer}"),
    }
}

#[test]
fn the_first_address_is_the_only_attempt_if_it_answers_in_time() {
    let mut place = Place::new(&[(6, Listens), (4, Listens)]);
    let (peer, took) = made(place.connect(place.options()));
    assert!(peer.is_ipv6());
    assert_eq!((place.asked(), took), (vec![(0, Duration::ZERO)], ROUND_TRIP));
    place.simulation.run_for(Duration::from_secs(60)).unwrap();
    assert_eq!(place.asked().len(), 1);
}

#[test]
fn a_silent_address_costs_its_head_start_and_no_more() {
    for (delay, waits) in [(None, 250), (Some(100), 100), (Some(10), 10), (Some(0), 10)] {
        let mut place = Place::new(&[(6, Nothing), (4, Listens)]);
        let mut options = place.options();
        if let Some(delay) = delay {
            options.attempt_delay = delay * MILLISECOND;
        }
        let (peer, took) = made(place.connect(options));
        assert!(peer.is_ipv4());
        assert_eq!(place.asked(), [(0, Duration::ZERO), (1, waits * MILLISECOND)]);
        assert_eq!(took, ROUND_TRIP, "the time of the attempt that won");
        // The other attempt is closed and has no effect.
        place.simulation.run_for(Duration::from_secs(300)).unwrap();
        assert_eq!((place.connections(), place.simulation.sockets(place.here)), (1, 1));
        let reactor = place.simulation.reactor_ref(place.here).unwrap();
        assert_eq!((reactor.statistics().connects, reactor.statistics().connect_failures), (1, 0));
        assert_eq!(reactor.delayed_call_count(), 0);
    }
}

#[test]
fn a_failure_begins_the_next_at_once() {
    let mut place = Place::new(&[(6, Refuses), (4, Refuses), (6, Listens)]);
    let (peer, took) = made(place.connect(place.options()));
    assert!(peer.is_ipv6());
    assert_eq!(place.asked(), [(0, Duration::ZERO), (1, ROUND_TRIP), (2, 2 * ROUND_TRIP)]);
    assert_eq!(took, ROUND_TRIP);
}

#[test]
fn a_failure_beside_a_silent_address_begins_the_next_at_once() {
    let mut place = Place::new(&[(6, Nothing), (4, Refuses), (6, Listens)]);
    made(place.connect(place.options()));
    let second = 250 * MILLISECOND;
    assert_eq!(place.asked(), [(0, Duration::ZERO), (1, second), (2, second + ROUND_TRIP)]);
}

#[test]
fn the_families_take_turns_whatever_the_resolver_lists() {
    let mut place = Place::new(&[(6, Nothing), (6, Nothing), (6, Nothing), (4, Nothing), (4, Listens)]);
    made(place.connect(place.options()));
    let order: Vec<_> = place.asked().iter().map(|(host, _)| *host).collect();
    assert_eq!(order, [0, 3, 1, 4]);
}

#[test]
fn a_slow_first_address_wins_if_it_is_the_first_to_connect() {
    let mut place = Place::new(&[(6, Listens), (4, Nothing), (4, Listens)]);
    let (here, slow) = (place.here, place.others[0]);
    let latency = Latency::Fixed(200 * MILLISECOND);
    place.simulation.set_link(here, slow, Link { latency, ..Link::default() });
    let (peer, took) = made(place.connect(place.options()));
    assert!(peer.is_ipv6());
    // The first address was tried first, and answered during the second one's delay.
    assert_eq!((place.asked().len(), took), (2, 400 * MILLISECOND));
    place.simulation.run_for(Duration::from_secs(300)).unwrap();
    assert_eq!(place.simulation.sockets(here), 1);
}

#[test]
fn a_connection_that_comes_second_is_closed_and_never_heard_of() {
    let mut place = Place::new(&[(6, Listens), (4, Listens)]);
    let (here, slow, quick) = (place.here, place.others[0], place.others[1]);
    let latency = Latency::Fixed(140 * MILLISECOND);
    place.simulation.set_link(here, slow, Link { latency, ..Link::default() });
    // The first server accepts after 140 ms, and its answer arrives after 280 ms. The second's
    // arrives after 270 ms.
    let (peer, _) = made(place.connect(place.options()));
    assert!(peer.is_ipv4());
    place.simulation.run_for(Duration::from_secs(300)).unwrap();
    assert_eq!(place.simulation.sockets(here), 1);
    assert_eq!(place.simulation.reactor_connections(slow), 0, "it heard of the end");
    assert_eq!(place.simulation.reactor_connections(quick), 1);
    assert_eq!(place.simulation.panics(), 0);
}

#[test]
fn when_all_fail_the_reason_that_tells_most_is_told() {
    let refused = |reason: &Reason| matches!(reason, Reason::Refused(_));
    for hosts in [[(6, Refuses), (4, Refuses)], [(4, Refuses), (6, Refuses)]] {
        let mut place = Place::new(&hosts);
        assert!(refused(&failed(place.connect(place.options()))));
    }
    // One family has no route. The other's failure is reported, in either order.
    for unreachable in [0, 1] {
        let mut place = Place::new(&[(6, Refuses), (4, Refuses)]);
        place.simulation.add_rule(NoRoute(place.others[unreachable]));
        let reason = failed(place.connect(place.options()));
        assert!(refused(&reason), "{reason}");
        assert_eq!(place.simulation.reactor_ref(place.here).unwrap().statistics().connect_failures, 1);
    }
}

#[test]
fn the_timeout_is_for_all_addresses_together() {
    let mut place = Place::new(&[(6, Nothing), (4, Nothing), (6, Nothing), (4, Nothing)]);
    let timeout = Duration::from_secs(1);
    let began = place.simulation.now();
    let reason = failed(place.connect(ConnectTcp { timeout, ..place.options() }));
    assert_eq!(reason, Reason::TimedOut(timeout));
    assert_eq!(place.simulation.now() - began, timeout);
    assert_eq!(place.asked().len(), 4);
    assert_eq!(place.simulation.sockets(place.here), 0, "all attempts are closed");
}

#[test]
fn a_refusal_tells_more_than_the_silence_of_other_addresses() {
    for hosts in [[(6, Nothing), (4, Refuses)], [(4, Refuses), (6, Nothing)]] {
        let mut place = Place::new(&hosts);
        let timeout = Duration::from_secs(1);
        let began = place.simulation.now();
        let reason = failed(place.connect(ConnectTcp { timeout, ..place.options() }));
        assert!(matches!(reason, Reason::Refused(_)), "{reason}");
        assert_eq!(place.simulation.now() - began, timeout, "the other address had its time");
    }
    // A timeout is more informative than a missing route.
    let mut place = Place::new(&[(6, Nothing), (4, Nothing)]);
    place.simulation.add_rule(NoRoute(place.others[1]));
    let timeout = Duration::from_secs(1);
    let reason = failed(place.connect(ConnectTcp { timeout, ..place.options() }));
    assert_eq!(reason, Reason::TimedOut(timeout));
}

#[test]
fn giving_up_ends_all_attempts() {
    let mut place = Place::new(&[(6, Nothing), (4, Nothing), (6, Nothing)]);
    let record = Record::new();
    let reactor = place.simulation.reactor(place.here);
    let id = reactor.connect_tcp(("service", PORT), once(idle_protocol(), &record)).unwrap();
    place.simulation.run_for(400 * MILLISECOND).unwrap();
    assert_eq!((place.asked().len(), place.simulation.sockets(place.here)), (2, 2));
    let reactor = place.simulation.reactor(place.here);
    assert_eq!(reactor.connector(id).unwrap().state(), ConnectorState::Connecting);
    reactor.connector(id).unwrap().stop_connecting().unwrap();
    place.simulation.run_for(Duration::from_secs(300)).unwrap();
    assert_eq!(record.events(), ["started", "connecting", "failed Cancelled", "stopped"]);
    assert_eq!((place.asked().len(), place.simulation.sockets(place.here)), (2, 0));
    assert_eq!(place.simulation.reactor_ref(place.here).unwrap().resource_count(), 0);
}

#[test]
fn a_local_address_is_used_for_its_family_alone() {
    let mut place = Place::new(&[(6, Listens), (4, Listens)]);
    let own = place.simulation.addresses(place.here).into_iter().find(IpAddr::is_ipv4).unwrap();
    let bind = Some(SocketAddr::new(own, 0));
    let (peer, _) = made(place.connect(ConnectTcp { bind, ..place.options() }));
    assert!(peer.is_ipv4());
    assert_eq!(place.asked(), [(1, Duration::ZERO)]);
}

#[test]
fn connecting_again_begins_with_the_first_address() {
    let mut place = Place::new(&[(6, Nothing), (4, Listens)]);
    let (record, count) = (Record::new(), Rc::new(Cell::new(0)));
    let peers = Rc::<RefCell<Vec<Option<u16>>>>::default();
    let (seen, counted) = (Rc::clone(&peers), Rc::clone(&count));
    let client = Recorder::new(&record).acting(move |what, transport, _| {
        if what == "made" {
            seen.borrow_mut().push(transport.peer().port());
            transport.lose_connection();
        }
    });
    let factory = once(client, &record).acting(move |what, connector| {
        if what == "gone" {
            counted.set(counted.get() + 1);
            if counted.get() == 1 {
                assert!(connector.connect());
            }
        }
    });
    place.simulation.reactor(place.here).connect_tcp(("service", PORT), factory).unwrap();
    place.simulation.run_until_idle(Duration::from_secs(300)).unwrap();
    // The factory has only one protocol, so the second connection is made and closed.
    assert_eq!((count.get(), peers.borrow().len()), (2, 1));
    assert_eq!(place.simulation.reactor_ref(place.here).unwrap().statistics().connects, 2);
    assert_eq!(place.simulation.sockets(place.here), 0);
}

/// Blocks the loop when it starts.
struct Holding {
    network: Network,
    here: Host,
    held: Rc<Cell<bool>>,
}

impl Factory for Holding {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        None
    }

    fn start_factory(&mut self, _: &mut Reactor) {
        self.network.advance_host_clock(self.here, Duration::from_secs(1));
        self.held.set(true);
    }
}

#[test]
fn a_loop_that_was_held_up_takes_the_answer_that_waits() {
    let mut place = Place::new(&[(6, Listens), (4, Listens)]);
    let here = place.here;
    let record = Record::new();
    let held = Rc::new(Cell::new(false));
    let network = place.simulation.network();
    let reactor = place.simulation.reactor(here);
    let client = Recorder::new(&record);
    reactor.connect_tcp(("service", PORT), once(client, &record)).unwrap();
    let asked = Rc::clone(&place.asked);
    place.simulation.run_until(|_| !asked.borrow().is_empty()).unwrap();
    // Time passes at the end of a turn while the first address answers. The next turn runs its
    // timers first.
    let holding = Holding { network, here, held: Rc::clone(&held) };
    place.simulation.reactor(here).listen_tcp("0.0.0.0:99", holding).unwrap();
    place.simulation.run_until(|_| record.has("made")).unwrap();
    assert!(held.get());
    assert_eq!(place.asked(), [(0, Duration::ZERO)], "the second was not asked");
}

#[test]
fn a_name_of_forty_silent_addresses_takes_few_descriptors() {
    let hosts = [(4, Nothing); 40];
    let mut place = Place::new(&hosts);
    let mut options = place.options();
    options.attempt_delay = 10 * MILLISECOND;
    let record = Record::new();
    place.simulation.reactor(place.here).connect_tcp(options, once(idle_protocol(), &record)).unwrap();
    place.simulation.run_for(Duration::from_secs(5)).unwrap();
    assert_eq!((place.asked().len(), place.simulation.sockets(place.here)), (16, 16));
    place.simulation.run_for(Duration::from_secs(60)).unwrap();
    assert_eq!(place.simulation.sockets(place.here), 0);
}

#[test]
fn a_silent_address_of_the_real_network_costs_its_head_start() {
    on_the_real_network("the system's own resolver, and two families of its own", |world| {
        let both = ("localhost", 0).to_socket_addrs().unwrap().collect::<Vec<_>>();
        let first = both.first().map(SocketAddr::ip);
        let [Some(silent), Some(other)] =
            [first, both.iter().map(SocketAddr::ip).find(|ip| Some(*ip) != first)]
        else {
            eprintln!("skipped: localhost has one address here, {both:?}");
            return;
        };
        let mut reactor = world.reactor();
        let record = Record::new();
        // A listener with a full backlog does not answer.
        let mute = socket2::Socket::new(
            socket2::Domain::for_address((silent, 0).into()),
            socket2::Type::STREAM,
            None,
        );
        let mute = mute.unwrap();
        mute.bind(&SocketAddr::from((silent, 0)).into()).unwrap();
        mute.listen(0).unwrap();
        let port = mute.local_addr().unwrap().as_socket().unwrap().port();
        let _full = std::net::TcpStream::connect((silent, port)).unwrap();
        let listener = reactor.listen_tcp(SocketAddr::from((other, port)), idle_protocol).unwrap();
        let client = Recorder::new(&record).closing();
        reactor.connect_tcp(("localhost", port), once(client, &Record::new())).unwrap();
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        for id in reactor.connections() {
            reactor.transport(id).unwrap().abort_connection();
        }
        world.close(&mut reactor, &listener);
    });
}
