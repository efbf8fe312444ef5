//! Equal questions are asked once, and one that is cancelled takes nothing from the others.

use std::rc::Rc;

use crate::lab::{Act, Lab, MILLISECOND, SECOND, table};
use crate::message::Asked;
use twistor::dns::{RecordType, Response};
use twistor::{Reactor, deferred};

fn slow(asked: &Asked) -> Vec<Act> {
    vec![Act::Later(SECOND, asked.reply().address(&asked.name, 60, "192.0.2.1"))]
}

#[test]
fn equal_questions_are_asked_once() {
    let mut lab = Lab::new(slow);
    let names = ["www.example", "WWW.EXAMPLE", "www.example."];
    let begun = names.map(|name| lab.begin(name, RecordType::A));
    let other = lab.begin("www.example", RecordType::AAAA);
    lab.wait(500 * MILLISECOND);
    let late = lab.begin("www.example", RecordType::A);
    let responses: Vec<Response> = begun.iter().chain([&late]).map(|one| lab.finish(one).unwrap()).collect();
    assert!(responses.iter().all(|response| *response == responses[0] && !response.cached()));
    lab.finish(&other).unwrap();
    assert_eq!((lab.count(0), lab.resolver.statistics().joined), (2, 3));
    lab.check_idle();
}

#[test]
fn a_cancelled_query_is_not_answered_and_leaves_nothing() {
    let mut lab = Lab::new(slow);
    let held = Rc::new(());
    let inside = Rc::clone(&held);
    let (resolver, name) = (lab.resolver.clone(), "www.example".parse().unwrap());
    let never = move |_: &mut Reactor, _| panic!("{inside:?}");
    let query = resolver.query(lab.reactor(), &name, RecordType::A, never).unwrap();
    let other = lab.begin("www.example", RecordType::A);
    lab.wait(500 * MILLISECOND);
    resolver.cancel(lab.reactor(), query);
    assert_eq!(Rc::strong_count(&held), 1);
    assert!(lab.finish(&other).is_ok(), "the other one is answered");
    resolver.cancel(lab.reactor(), query);
    // The last one ends the query.
    let begun = lab.begin("other.example", RecordType::A);
    lab.wait(10 * MILLISECOND);
    let client = lab.client;
    assert_eq!(lab.simulation.sockets(client), 1);
    resolver.cancel(lab.reactor(), begun.1.get().unwrap());
    lab.wait(10 * MILLISECOND);
    assert_eq!((lab.simulation.sockets(client), resolver.statistics().pending), (0, 0));
    // The same question can be asked again.
    assert_eq!(lab.address("other.example"), ["192.0.2.1"]);
    assert!(begun.0.borrow().is_none());
    lab.check_idle();
}

#[test]
fn a_cancelled_look_up_ends_its_queries() {
    let mut lab = Lab::new(|_| Vec::new());
    let never = |_: &mut Reactor, _| panic!("cancelled");
    let lookup = lab.reactor().look_up(("www.example", 80), never).unwrap();
    lab.wait(10 * MILLISECOND);
    assert_eq!(lab.resolver.statistics().pending, 2);
    lookup.cancel(lab.reactor()).unwrap();
    lab.wait(10 * MILLISECOND);
    assert_eq!(lab.resolver.statistics().pending, 0);
    // Its own time limit does the same.
    let deferred = deferred::resolve(
        lab.reactor(),
        twistor::Query { timeout: SECOND, ..twistor::Query::new("www.example", 80) },
    );
    deferred.done(|_, outcome| assert!(outcome.is_err()));
    lab.wait(SECOND + 10 * MILLISECOND);
    assert_eq!(lab.resolver.statistics().pending, 0);
    lab.check_idle();
}

#[test]
fn a_resolver_serves_several_reactors() {
    let mut lab = Lab::new(slow);
    let second = lab.simulation.host("second-client");
    let resolver = lab.resolver.clone();
    let begun = lab.begin("www.example", RecordType::A);
    let other = crate::lab::Begun::default();
    let place = Rc::clone(&other.0);
    let done = move |_: &mut Reactor, outcome| *place.borrow_mut() = Some(outcome);
    let name = "www.example".parse().unwrap();
    resolver.query(lab.simulation.reactor(second), &name, RecordType::A, done).unwrap();
    lab.finish(&begun).unwrap();
    lab.finish(&other).unwrap();
    assert_eq!(lab.count(0), 2, "each reactor has its own sockets");
    lab.check_idle();
}

#[test]
fn a_panic_of_a_callback_ends_no_other_query() {
    let mut lab = Lab::new(table("192.0.2.1"));
    lab.simulation.allow_panics();
    let resolver = lab.resolver.clone();
    let name = "www.example".parse().unwrap();
    let panics = |_: &mut Reactor, _| panic!("on purpose");
    resolver.query(lab.reactor(), &name, RecordType::A, panics).unwrap();
    let begun = lab.begin("www.example", RecordType::A);
    assert!(lab.finish(&begun).is_ok());
    assert_eq!(lab.simulation.panics(), 1);
}
