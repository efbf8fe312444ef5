//! Addresses without an order of their own are tried in that of RFC 6724. Addresses that arrive
//! late are sorted in.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use super::racing_addresses::Does::{self, Listens, Nothing};
use super::racing_addresses::{Place, made};
use crate::world::{Record, Recorder, on_each_back_end, once};
use twistor::sim::Host;
use twistor::{Answer, Answers, ConnectTcp, Query, Reactor};

const MILLISECOND: Duration = Duration::from_millis(1);

/// Answers with these addresses, each this long after the request. Those of one time arrive
/// together.
fn steps(
    addresses: Vec<(Duration, SocketAddr)>,
    unordered: bool,
) -> impl Fn(&mut Reactor, &Query, Answers) -> twistor::Result<()> {
    move |reactor: &mut Reactor, _: &Query, answers: Answers| {
        let answers = if unordered { answers.unordered() } else { answers };
        let answers = Rc::new(RefCell::new(Some(answers)));
        let mut batches = addresses.chunk_by(|one, next| one.0 == next.0).peekable();
        while let Some(batch) = batches.next() {
            let (answers, is_last) = (Rc::clone(&answers), batches.peek().is_none());
            let addresses: Vec<_> = batch.iter().map(|(_, address)| *address).collect();
            reactor.call_later(batch[0].0, move |_| match is_last {
                true => answers.take().unwrap().finish_with(addresses, None),
                false => answers.borrow().as_ref().unwrap().add(addresses, None),
            });
        }
        Ok(())
    }
}

/// The hosts in the order of attempts, and the time of the first attempt in milliseconds. The
/// addresses arrive at these times.
fn attempts(hosts: &[(u8, Does)], at: &[u32], unordered: bool) -> (Vec<usize>, u128) {
    let mut place = Place::new(hosts);
    let address = |(host, (family, _)): (&Host, &(u8, Does))| {
        let of_family = |address: &IpAddr| address.is_ipv6() == (*family == 6);
        place.simulation.addresses(*host).into_iter().find(of_family).unwrap()
    };
    let addresses: Vec<IpAddr> = place.others.iter().zip(hosts).map(address).collect();
    let arrive = at.iter().zip(&addresses);
    let arrive = arrive.map(|(at, address)| (*at * MILLISECOND, SocketAddr::new(*address, 0)));
    let resolver = steps(arrive.collect(), unordered);
    let (here, began) = (place.here, place.simulation.now());
    place.simulation.reactor(here).set_resolver(resolver);
    made(place.connect(place.options()));
    let asked = place.asked.borrow();
    let of = |to: &SocketAddr| addresses.iter().position(|address| *address == to.ip()).unwrap();
    (asked.iter().map(|(_, to)| of(to)).collect(), (asked[0].0 - began).as_millis())
}

#[test]
fn the_order_of_records_has_no_meaning() {
    // Unique local addresses rank below those of IPv4.
    let hosts = [(6, Nothing), (4, Listens)];
    assert_eq!(attempts(&hosts, &[0, 0], true), (vec![1], 0));
    assert_eq!(attempts(&hosts, &[0, 0], false), (vec![0, 1], 0));
}

#[test]
fn late_addresses_are_sorted_in() {
    let hosts = [(4, Listens), (6, Listens)];
    // The IPv4 address still waits for IPv6 addresses, but those turn out to rank below it.
    assert_eq!(attempts(&hosts, &[0, 20], true), (vec![0], 20));
    assert_eq!(attempts(&hosts, &[0, 20], false), (vec![1], 20));
    // The families alternate all the same.
    let hosts = [(4, Nothing), (4, Nothing), (6, Nothing), (6, Listens)];
    assert_eq!(attempts(&hosts, &[0, 1, 2, 3], true).0, [0, 2, 1, 3]);
}

#[test]
fn an_address_without_a_route_is_tried_last() {
    let mut place = Place::new(&[]);
    let unknown: IpAddr = "2001:db8::9".parse().unwrap();
    let known = place.simulation.addresses(place.here)[0];
    let addresses = [unknown, known].map(|address| (MILLISECOND, SocketAddr::new(address, 80)));
    let here = place.here;
    let reactor = place.simulation.reactor(here);
    reactor.set_resolver(steps(addresses.to_vec(), true));
    let found = Rc::<RefCell<Vec<SocketAddr>>>::default();
    let all = Rc::clone(&found);
    let told = move |_: &mut Reactor, answer: Answer| {
        if let Answer::End(outcome) = answer {
            *all.borrow_mut() = outcome.unwrap().addresses;
        }
    };
    reactor.look_up(("service", 80), told).unwrap();
    place.simulation.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(*found.borrow(), [known, unknown].map(|address| SocketAddr::new(address, 80)));
}

#[test]
fn the_loopback_of_ipv6_is_preferred() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let listen = |reactor: &mut Reactor, at: &str| {
            let serving = Recorder::new(&Record::new());
            reactor.listen_tcp(at, once(serving, &Record::new())).unwrap()
        };
        let listeners = ["127.0.0.1:0", "[::1]:0"].map(|at| listen(&mut reactor, at));
        let addresses = [0, 1].map(|index| listeners[index].address().socket_address().unwrap());
        reactor.set_resolver(steps(addresses.map(|address| (Duration::ZERO, address)).to_vec(), true));
        let peer = Rc::<RefCell<Option<SocketAddr>>>::default();
        let seen = Rc::clone(&peer);
        let client = Recorder::new(&record).acting(move |what, transport, _| {
            if what == "made" {
                *seen.borrow_mut() = transport.peer().socket_address();
            }
        });
        reactor.connect_tcp(ConnectTcp::new("service", 9), once(client, &record)).unwrap();
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        assert_eq!(peer.take(), Some(addresses[1]));
        for id in reactor.connections() {
            reactor.transport(id).unwrap().abort_connection();
        }
        reactor.stop_listening(&listeners[0]).unwrap();
        world.close(&mut reactor, &listeners[1]);
    });
}
