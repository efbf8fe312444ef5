//! A query as a callback, a Deferred and a future.

use std::cell::RefCell;
use std::rc::Rc;

use crate::lab::{Lab, SECOND, table};
use twistor::dns::{DnsError, Name, RecordType};
use twistor::task::timeout;

#[test]
fn a_deferred_has_the_response_or_the_error() {
    let mut lab = Lab::new(table("192.0.2.1"));
    let place = Rc::new(RefCell::new(None));
    let (resolver, name): (_, Name) = (lab.resolver.clone(), "www.example".parse().unwrap());
    for cached in [false, true] {
        let found = Rc::clone(&place);
        let deferred = resolver.query_deferred(lab.reactor(), &name, RecordType::A);
        deferred.done(move |_, outcome| *found.borrow_mut() = Some(outcome.unwrap()));
        lab.wait(SECOND);
        assert_eq!(place.take().unwrap().cached(), cached);
    }
    let server = lab.servers[0];
    lab.simulation.kill(server);
    let found = Rc::new(RefCell::new(None));
    let failed = Rc::clone(&found);
    let deferred = resolver.query_deferred(lab.reactor(), &name, RecordType::MX);
    deferred.done(move |_, outcome| *failed.borrow_mut() = Some(outcome.unwrap_err()));
    lab.wait(SECOND);
    let failure = found.take().unwrap();
    assert!(matches!(failure.downcast_ref(), Some(DnsError::Unreachable { .. })), "{failure}");
    lab.check_idle();
}

#[test]
fn a_dropped_deferred_cancels_its_query() {
    let mut lab = Lab::new(|_| Vec::new());
    let (resolver, name) = (lab.resolver.clone(), "www.example".parse().unwrap());
    let deferred = resolver.query_deferred(lab.reactor(), &name, RecordType::A);
    lab.wait(SECOND);
    assert_eq!(resolver.statistics().pending, 1);
    deferred.cancel();
    deferred.done(|_, outcome| assert!(outcome.unwrap_err().is_cancelled()));
    lab.wait(SECOND);
    assert_eq!(resolver.statistics().pending, 0);
    lab.check_idle();
}

#[test]
fn a_task_awaits_a_query() {
    let mut lab = Lab::new(table("192.0.2.1"));
    let place = Rc::new(RefCell::new(Vec::new()));
    let (found, resolver) = (Rc::clone(&place), lab.resolver.clone());
    let task = lab.reactor().spawn(async move {
        let name = "www.example".parse().unwrap();
        let response = resolver.query_async(&name, RecordType::A).await.unwrap();
        found.borrow_mut().push(response.addresses().len());
        let none = resolver.query_async(&name, RecordType::AAAA).await.unwrap();
        found.borrow_mut().push(none.addresses().len());
    });
    lab.wait(SECOND);
    assert_eq!(*place.borrow(), [1, 0]);
    drop(task);
    // Dropping the future cancels the query.
    let mut lab = Lab::new(|_| Vec::new());
    let resolver = lab.resolver.clone();
    let task = lab.reactor().spawn(async move {
        let name = "www.example".parse().unwrap();
        assert!(timeout(SECOND, resolver.query_async(&name, RecordType::A)).await.is_err());
        resolver.statistics().pending
    });
    lab.wait(3 * SECOND);
    assert_eq!(lab.resolver.statistics().pending, 0);
    drop(task);
    lab.check_idle();
}

#[test]
fn outside_of_a_task_there_is_no_reactor() {
    let lab = Lab::new(table("192.0.2.1"));
    let name = "www.example".parse().unwrap();
    let mut future = std::pin::pin!(lab.resolver.query_async(&name, RecordType::A));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(outcome) = future.as_mut().poll(&mut context) else { panic!("it waits") };
    assert_eq!(outcome, Err(DnsError::ReactorUnavailable));
}
