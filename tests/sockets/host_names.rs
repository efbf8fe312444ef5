//! Host names are looked up off the loop and within limits. Failures distinguish a missing name
//! from a failed lookup.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, Recorder, idle_protocol, on_each_back_end, once};
use twistor::endpoint::DatagramEndpoint;
use twistor::sim::{CallKind, Errno, Fault, Host, Link, Simulation};
use twistor::{
    Address, BuildContext, ClientFactory, ConnectTcp, ConnectUdp, Connector, DatagramProtocol,
    DatagramTransport, Error, Factory, Protocol, Reactor, Reason, Settings,
};

const SECOND: Duration = Duration::from_secs(1);

/// Reasons of failed attempts, in order.
#[derive(Clone, Default)]
struct Failures(Rc<RefCell<Vec<Reason>>>);

impl Factory for Failures {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        None
    }
}

impl ClientFactory for Failures {
    fn client_connection_failed(&mut self, _: &mut Connector<'_>, reason: &Reason) {
        self.0.borrow_mut().push(reason.clone());
    }
}

/// A server named `good.example` and a client.
fn two_hosts() -> (Simulation, Host, Host) {
    let simulation = Simulation::new(1);
    let (server, client) = (simulation.host("good.example"), simulation.host("client"));
    (simulation, server, client)
}

#[test]
fn a_name_that_is_not_looked_up_in_time_is_told_as_such() {
    let (mut simulation, _, client) = two_hosts();
    simulation.set_look_up_time(100 * SECOND);
    let failures = Failures::default();
    let to = ConnectTcp { timeout: SECOND, ..ConnectTcp::new("good.example", 80) };
    simulation.reactor(client).connect_tcp(to, failures.clone()).unwrap();
    simulation.run_for(2 * SECOND).unwrap();
    let reason = failures.0.take().pop().unwrap();
    let host = "good.example".to_owned();
    assert_eq!(reason, Reason::LookupTimedOut { host, limit: SECOND });
    assert_eq!(reason.to_string(), "the name good.example was not looked up within 1s");
}

#[test]
fn a_resolver_that_fails_is_no_name_without_an_address() {
    let (mut simulation, _, client) = two_hosts();
    simulation.add_rule(Fault::fail(CallKind::Resolve, Errno::EAGAIN));
    let failures = Failures::default();
    simulation.reactor(client).connect_tcp("good.example:80", failures.clone()).unwrap();
    simulation.run_for(SECOND).unwrap();
    let reason = failures.0.take().pop().unwrap();
    let Reason::LookupFailed { host, why } = &reason else { panic!("{reason:?}") };
    assert_eq!(host, "good.example");
    assert_eq!(reason.to_string(), format!("the name good.example could not be looked up: {why}"));
}

fn one_thread() -> Settings {
    Settings { lookup_threads: 1, ..Settings::default() }
}

#[test]
fn names_that_hang_hold_up_no_healthy_ones() {
    let (mut simulation, server, client) = two_hosts();
    let address = simulation.address(server);
    simulation.set_look_up_time(Duration::from_millis(30));
    simulation.reactor(server).listen_tcp("0.0.0.0:80", idle_protocol).unwrap();
    let record = Record::new();
    let connect = |simulation: &mut Simulation, name: &str| {
        let to = ConnectTcp { timeout: 5 * SECOND, ..ConnectTcp::new(name, 80) };
        let client_of = once(Recorder::new(&record), &record);
        simulation.reactor(client).connect_tcp(to, client_of).unwrap();
    };
    for number in 0..4 {
        let name = format!("hangs{number}.example");
        simulation.hold_name(&name, true);
        connect(&mut simulation, &name);
    }
    for number in 0..2000 {
        let name = format!("healthy{number}.example");
        simulation.add_name(&name, &[address]);
        connect(&mut simulation, &name);
    }
    simulation.run_for(2 * SECOND).unwrap();
    assert_eq!((record.count("made"), record.count("failed LookupTimedOut")), (2000, 0));
    simulation.run_for(4 * SECOND).unwrap();
    assert_eq!((record.count("made"), record.count("failed LookupTimedOut")), (2000, 4));
}

#[test]
fn a_name_that_no_thread_came_to_is_no_fault_of_the_resolver() {
    let (mut simulation, _, client) = two_hosts();
    simulation.set_settings(client, one_thread());
    simulation.hold_name("hangs.example", true);
    let (hangs, waits) = (Failures::default(), Failures::default());
    for (name, failures) in [("hangs.example", &hangs), ("good.example", &waits)] {
        let to = ConnectTcp { timeout: SECOND, ..ConnectTcp::new(name, 80) };
        simulation.reactor(client).connect_tcp(to, failures.clone()).unwrap();
    }
    simulation.run_for(2 * SECOND).unwrap();
    assert!(matches!(hangs.0.take()[..], [Reason::LookupTimedOut { .. }]));
    let reason = waits.0.take().pop().unwrap();
    let text = "the name good.example could not be looked up: other names were looked up for 1s, and no thread was free";
    assert_eq!(reason.to_string(), text);
}

#[test]
fn the_limit_counts_from_when_the_resolver_was_asked() {
    let (mut simulation, server, client) = two_hosts();
    simulation.set_settings(client, one_thread());
    simulation.reactor(server).listen_tcp("0.0.0.0:80", idle_protocol).unwrap();
    let record = Record::new();
    for name in ["first.example", "good.example"] {
        simulation.hold_name(name, true);
        let to = ConnectTcp { timeout: SECOND, ..ConnectTcp::new(name, 80) };
        simulation.reactor(client).connect_tcp(to, once(Recorder::new(&record), &record)).unwrap();
    }
    simulation.run_for(Duration::from_millis(800)).unwrap();
    simulation.hold_name("first.example", false);
    simulation.run_for(Duration::from_millis(900)).unwrap();
    assert_eq!(record.count("failed Unresolved"), 1);
    simulation.hold_name("good.example", false);
    simulation.run_for(Duration::from_millis(50)).unwrap();
    assert_eq!(record.count("made"), 1, "{:?}", record.events());
}

#[test]
fn a_look_up_that_nobody_wants_any_more_leaves_the_queue() {
    let (mut simulation, server, client) = two_hosts();
    let address = simulation.address(server);
    simulation.set_settings(client, one_thread());
    simulation.hold_name("hangs.example", true);
    let reactor = simulation.reactor(client);
    reactor.resolve("hangs.example", 80, |_, _| ()).unwrap();
    let queued: Vec<_> = (0..1000)
        .map(|number| {
            let name = format!("waits{number}.example");
            reactor.resolve(&name, 80, |_, _| panic!("it was cancelled")).unwrap()
        })
        .collect();
    let found = Rc::new(RefCell::new(None));
    let told = Rc::clone(&found);
    reactor.resolve("good.example", 80, move |_, result| *told.borrow_mut() = Some(result)).unwrap();
    let client_connects = reactor.connect_tcp("good.example:80", idle_protocol).unwrap();
    reactor.iterate(Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.resource_count(), 1004);
    reactor.connector(client_connects).unwrap().stop_connecting().unwrap();
    for lookup in queued {
        lookup.cancel(reactor).unwrap();
        assert!(matches!(lookup.cancel(reactor), Err(Error::TimerNotActive)));
    }
    simulation.run_for(Duration::from_millis(1)).unwrap();
    assert_eq!(simulation.reactor(client).resource_count(), 2);
    simulation.hold_name("hangs.example", false);
    simulation.run_for(SECOND).unwrap();
    assert!(found.take().unwrap().unwrap().contains(&(address, 80).into()));
}

/// Records the reason for which its socket was stopped.
struct Stopped(Rc<RefCell<Option<Reason>>>);

impl DatagramProtocol for Stopped {
    fn datagram_received(&mut self, _: &mut DatagramTransport<'_>, _: &[u8], _: &Address) {}

    fn stop_protocol(&mut self, _: &mut DatagramTransport<'_>, reason: &Reason) {
        *self.0.borrow_mut() = Some(reason.clone());
    }
}

#[test]
fn lookups_without_their_own_timeout_end_after_30_s() {
    let (mut simulation, _, client) = two_hosts();
    simulation.hold_name("good.example", true);
    let (socket, found) = (Rc::new(RefCell::new(None)), Rc::new(RefCell::new(None)));
    let told = Rc::clone(&found);
    let reactor = simulation.reactor(client);
    let peer = ConnectUdp::new("good.example", 53);
    peer.open(reactor, Box::new(Stopped(Rc::clone(&socket)))).unwrap();
    reactor.resolve("good.example", 80, move |_, result| *told.borrow_mut() = result.err()).unwrap();
    simulation.run_for(Duration::from_millis(29_999)).unwrap();
    assert!(socket.borrow().is_none() && found.borrow().is_none());
    simulation.run_for(Duration::from_millis(2)).unwrap();
    let (host, limit) = ("good.example".to_owned(), 30 * SECOND);
    let timed_out = Reason::LookupTimedOut { host, limit };
    assert_eq!((socket.take(), found.take()), (Some(timed_out.clone()), Some(timed_out)));
    assert_eq!(simulation.reactor(client).resource_count(), 0);
}

#[test]
fn an_invalid_name_is_refused_and_an_address_is_not_looked_up() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let long = format!("{}a", "a.".repeat(127));
        for (name, why) in [
            ("", "the host is missing"),
            (".", "the host is missing"),
            ("a\0b", "the host is neither an IP address nor a host name"),
            ("a b", "the host is neither an IP address nor a host name"),
            (&long, "the host is neither an IP address nor a host name"),
            ("1.2.3", "the host looks like an IP address but is not one"),
        ] {
            let error = reactor.resolve(name, 80, |_, _| panic!("it was looked up")).unwrap_err();
            assert!(matches!(&error, Error::BadAddress(bad) if bad.why == why), "{name}: {error}");
        }
        assert_eq!(long.len(), 255);
        let found = Rc::new(RefCell::new(Vec::new()));
        for address in ["192.0.2.1", "2001:db8::1"] {
            let told = Rc::clone(&found);
            reactor.resolve(address, 80, move |_, result| told.borrow_mut().extend(result.unwrap())).unwrap();
        }
        assert!(found.borrow().is_empty(), "never inside the call");
        world.run_until_idle(&mut reactor);
        let expected = ["192.0.2.1:80", "[2001:db8::1]:80"].map(|text| text.parse().unwrap());
        assert_eq!(found.take(), expected);
    });
}

#[test]
fn a_lookup_beyond_the_limit_is_refused_but_not_an_address() {
    const LIMIT: usize = 100_000;
    let (mut simulation, _, client) = two_hosts();
    simulation.hold_name("good.example", true);
    let reactor = simulation.reactor(client);
    let look_up = |reactor: &mut Reactor, name: &str| {
        reactor.resolve(name, 80, |_, _| panic!("it was looked up")).map(drop)
    };
    let first = reactor.resolve("good.example", 80, |_, _| panic!("it was cancelled")).unwrap();
    for _ in 1..LIMIT {
        look_up(reactor, "good.example").unwrap();
    }
    // Both are valid names, the first one of the maximum length.
    let long = format!("{}a", "a.".repeat(126));
    assert_eq!(long.len(), 253);
    for name in [&long, "a.b."] {
        let error = look_up(reactor, name).unwrap_err();
        assert!(matches!(error, Error::QueueFull(LIMIT)), "{error}");
    }
    let found = Rc::new(RefCell::new(None));
    let told = Rc::clone(&found);
    reactor.resolve("192.0.2.1", 80, move |_, result| *told.borrow_mut() = result.ok()).unwrap();
    first.cancel(reactor).unwrap();
    for name in [&long, "a.b."] {
        reactor.resolve(name, 80, |_, _| {}).unwrap().cancel(reactor).unwrap();
    }
    simulation.run_for(SECOND).unwrap();
    assert_eq!(found.take(), Some(vec!["192.0.2.1:80".parse().unwrap()]));
}

#[test]
fn a_wait_for_a_thread_takes_no_time_from_connecting() {
    let (mut simulation, server, client) = two_hosts();
    simulation.set_settings(client, one_thread());
    simulation.set_links(Link::fixed(Duration::from_millis(300)));
    simulation.reactor(server).listen_tcp("0.0.0.0:80", idle_protocol).unwrap();
    let record = Record::new();
    simulation.hold_name("first.example", true);
    for name in ["first.example", "good.example"] {
        let to = ConnectTcp { timeout: SECOND, ..ConnectTcp::new(name, 80) };
        simulation.reactor(client).connect_tcp(to, once(Recorder::new(&record), &record)).unwrap();
    }
    simulation.run_for(Duration::from_millis(800)).unwrap();
    simulation.hold_name("first.example", false);
    // The connection takes 600 ms, and is made 1.4 s after the request.
    simulation.run_for(SECOND).unwrap();
    assert_eq!(record.count("made"), 1, "{:?}", record.events());
}

#[test]
fn a_socket_that_closes_wants_no_name_any_more() {
    let (mut simulation, _, client) = two_hosts();
    simulation.hold_name("good.example", true);
    let why = Rc::new(RefCell::new(None));
    let reactor = simulation.reactor(client);
    let peer = ConnectUdp::new("good.example", 53);
    let id = peer.open(reactor, Box::new(Stopped(Rc::clone(&why)))).unwrap();
    reactor.datagram_transport(id).unwrap().stop_listening();
    simulation.run_for(Duration::from_millis(1)).unwrap();
    assert_eq!(simulation.reactor(client).resource_count(), 0);
    assert!(why.borrow().is_none(), "it was never started");
}
