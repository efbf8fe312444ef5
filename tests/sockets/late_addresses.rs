//! Addresses that arrive while others race join the race. IPv6 addresses that arrive a moment after
//! IPv4 addresses are tried first. (RFC 8305, 3.)

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use super::racing_addresses::Does::{self, Listens, Nothing, Refuses};
use super::racing_addresses::{Outcome, Place, failed, made};
use crate::world::{Record, Recorder, on_each_back_end, once};
use twistor::sim::Host;
use twistor::{Answers, ConnectTcp, Query, Reactor, Reason};

/// Time after the request, and the server whose address is found then. The last one without a
/// server is the end of the answers.
type Steps = &'static [(u64, Option<usize>)];

/// A race whose addresses arrive in steps.
struct Late {
    place: Place,
    /// The look-up was cancelled.
    cancelled: Rc<Cell<bool>>,
}

impl Late {
    fn new(hosts: &[(u8, Does)], steps: Steps) -> Late {
        let mut place = Place::new(hosts);
        let cancelled = Rc::<Cell<bool>>::default();
        let address = |(host, (family, _)): (&Host, &(u8, Does))| {
            let of_family = |address: &IpAddr| address.is_ipv6() == (*family == 6);
            let address = place.simulation.addresses(*host).into_iter().find(of_family).unwrap();
            SocketAddr::new(address, 0)
        };
        let addresses: Vec<_> = place.others.iter().zip(hosts).map(address).collect();
        let noted = Rc::clone(&cancelled);
        let resolver = move |reactor: &mut Reactor, _: &Query, answers: Answers| {
            let noted = Rc::clone(&noted);
            answers.on_cancel(reactor, move |_| noted.set(true));
            let answers = Rc::new(RefCell::new(Some(answers)));
            for (at, host) in steps {
                let (answers, address) = (Rc::clone(&answers), host.map(|host| addresses[host]));
                reactor.call_later(Duration::from_millis(*at), move |_| match address {
                    Some(address) => answers.borrow().as_ref().unwrap().add([address], None),
                    None => answers.take().unwrap().finish(),
                });
            }
            Ok(())
        };
        let here = place.here;
        place.simulation.reactor(here).set_resolver(resolver);
        Late { place, cancelled }
    }

    /// Connects, and returns the outcome and its time in milliseconds.
    fn connect(&mut self, options: ConnectTcp) -> (Outcome, u128) {
        let began = self.place.simulation.now();
        let outcome = self.place.connect(options);
        (outcome, (self.place.simulation.now() - began).as_millis())
    }

    /// Connects to an address, and returns the hosts in the order of attempts, with the time of
    /// each in milliseconds.
    fn attempts(&mut self) -> Vec<(usize, u128)> {
        let began = self.place.simulation.now();
        made(self.place.connect(self.place.options()));
        let asked = self.place.asked.borrow();
        let of = |address: &SocketAddr| {
            let owns = |host: &Host| self.place.simulation.addresses(*host).contains(&address.ip());
            self.place.others.iter().position(owns).unwrap()
        };
        asked.iter().map(|(at, address)| (of(address), (*at - began).as_millis())).collect()
    }
}

#[test]
fn ipv4_addresses_wait_50_ms_for_those_of_ipv6() {
    let mut late = Late::new(&[(4, Listens)], &[(0, Some(0)), (10_000, None)]);
    assert_eq!(late.attempts(), [(0, 50)]);
    // The connection was made, so further addresses are not wanted.
    late.place.simulation.run_for(Duration::from_millis(1)).unwrap();
    assert!(late.cancelled.get());
    assert_eq!(late.place.simulation.reactor_ref(late.place.here).unwrap().resource_count(), 2);
}

#[test]
fn ipv4_addresses_wait_no_longer_than_the_lookup() {
    let mut late = Late::new(&[(4, Listens)], &[(0, Some(0)), (20, None)]);
    assert_eq!(late.attempts(), [(0, 20)]);
    late.place.simulation.run_for(Duration::from_secs(1)).unwrap();
    assert!(!late.cancelled.get(), "it had ended");
}

#[test]
fn ipv6_addresses_wait_for_nothing() {
    let mut late = Late::new(&[(6, Listens), (4, Listens)], &[(5, Some(0)), (10, Some(1)), (20, None)]);
    assert_eq!(late.attempts(), [(0, 5)]);
}

#[test]
fn ipv6_addresses_within_50_ms_are_tried_first() {
    let steps = &[(0, Some(0)), (20, Some(1)), (90, None)];
    let mut late = Late::new(&[(4, Listens), (6, Listens)], steps);
    assert_eq!(late.attempts(), [(1, 20)]);
    let mut late = Late::new(&[(4, Listens), (6, Nothing)], steps);
    assert_eq!(late.attempts(), [(1, 20), (0, 270)]);
}

#[test]
fn a_late_address_waits_for_the_head_start_of_the_last() {
    let mut late = Late::new(&[(4, Nothing), (6, Listens)], &[(0, Some(0)), (100, Some(1)), (110, None)]);
    assert_eq!(late.attempts(), [(0, 50), (1, 300)]);
}

#[test]
fn an_address_after_the_head_start_is_tried_at_once() {
    let mut late = Late::new(&[(4, Nothing), (6, Listens)], &[(0, Some(0)), (400, Some(1)), (410, None)]);
    assert_eq!(late.attempts(), [(0, 50), (1, 400)]);
}

#[test]
fn an_address_after_a_failure_is_tried_at_once() {
    // The refusal arrives after 70 ms.
    let mut late = Late::new(&[(4, Refuses), (6, Listens)], &[(0, Some(0)), (100, Some(1)), (110, None)]);
    assert_eq!(late.attempts(), [(0, 50), (1, 100)]);
}

#[test]
fn late_families_alternate() {
    let hosts = [(4, Nothing), (4, Nothing), (4, Listens), (6, Nothing), (6, Nothing)];
    let steps = &[(0, Some(0)), (1, Some(1)), (2, Some(2)), (60, Some(3)), (70, Some(4)), (80, None)];
    let mut late = Late::new(&hosts, steps);
    assert_eq!(late.attempts(), [(0, 50), (3, 300), (1, 550), (4, 800), (2, 1050)]);
}

#[test]
fn attempts_that_failed_are_final_only_after_the_lookup() {
    let mut late = Late::new(&[(4, Refuses)], &[(0, Some(0)), (500, None)]);
    let (outcome, took) = late.connect(late.place.options());
    assert!(matches!(failed(outcome), Reason::Refused(_)));
    assert_eq!(took, 500);
    assert_eq!(late.place.simulation.reactor_ref(late.place.here).unwrap().statistics().connect_failures, 1);
}

#[test]
fn a_lookup_without_an_end_takes_the_time_of_the_connector() {
    let second = Duration::from_secs(1);
    let mut late = Late::new(&[(4, Refuses)], &[(0, Some(0)), (5000, None)]);
    let (outcome, took) = late.connect(ConnectTcp { timeout: second, ..late.place.options() });
    assert!(matches!(failed(outcome), Reason::Refused(_)), "it tells more than a timeout");
    assert_eq!(took, 1000);
    let mut late = Late::new(&[], &[(5000, None)]);
    let (outcome, took) = late.connect(ConnectTcp { timeout: second, ..late.place.options() });
    assert_eq!(failed(outcome), Reason::LookupTimedOut { host: "service".to_owned(), limit: second });
    assert_eq!(took, 1000);
    late.place.simulation.run_for(Duration::from_millis(1)).unwrap();
    assert!(late.cancelled.get());
    assert_eq!(late.place.simulation.reactor_ref(late.place.here).unwrap().resource_count(), 0);
}

#[test]
fn a_local_address_is_not_used_before_the_lookup_has_ended() {
    // No IPv6 address arrives, so the IPv4 address is tried at the end, and cannot be bound.
    let mut late = Late::new(&[(4, Listens)], &[(0, Some(0)), (300, None)]);
    let own = late.place.simulation.addresses(late.place.here).into_iter().find(IpAddr::is_ipv6).unwrap();
    let bind = Some(SocketAddr::new(own, 0));
    let (outcome, took) = late.connect(ConnectTcp { bind, ..late.place.options() });
    failed(outcome);
    assert_eq!(took, 300);
}

#[test]
fn stopping_a_race_cancels_its_lookup() {
    let mut late = Late::new(&[(4, Nothing)], &[(0, Some(0)), (60_000, None)]);
    let here = late.place.here;
    let record = Record::new();
    let (client, options) = (once(Recorder::new(&record), &record), late.place.options());
    let id = late.place.simulation.reactor(here).connect_tcp(options, client).unwrap();
    late.place.simulation.run_for(Duration::from_millis(100)).unwrap();
    assert_eq!((late.place.simulation.sockets(here), late.cancelled.get()), (1, false));
    late.place.simulation.reactor(here).connector(id).unwrap().stop_connecting().unwrap();
    late.place.simulation.run_for(Duration::from_millis(1)).unwrap();
    assert_eq!(record.events(), ["started", "connecting", "failed Cancelled", "stopped"]);
    assert!(late.cancelled.get());
    let reactor = late.place.simulation.reactor_ref(here).unwrap();
    assert_eq!((late.place.simulation.sockets(here), reactor.resource_count()), (0, 0));
}

#[test]
fn a_late_address_joins_the_race_and_wins() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let silent = world.filtered();
        let listener = world.serve(&mut reactor, Recorder::new(&Record::new()));
        let late = listener.address().socket_address().unwrap();
        let first = silent.address;
        reactor.set_resolver(move |reactor: &mut Reactor, _: &Query, answers: Answers| {
            answers.add([first], None);
            // Longer than the wait for IPv6 addresses, so that the attempt to the first has begun.
            reactor.call_later(Duration::from_millis(60), move |_| answers.finish_with([late], None));
            Ok(())
        });
        let client = Recorder::new(&record).closing();
        let to = ConnectTcp { attempt_delay: Duration::from_millis(20), ..ConnectTcp::new("service", 9) };
        reactor.connect_tcp(to, once(client, &record)).unwrap();
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        assert_eq!(record.count("connecting"), 1);
        for id in reactor.connections() {
            reactor.transport(id).unwrap().abort_connection();
        }
        world.close(&mut reactor, &listener);
    });
}
