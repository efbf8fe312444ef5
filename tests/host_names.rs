//! Host names are looked up off the loop, within limits, and an outcome says whether the name or the look-up failed.

mod world;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use twistor::sim::{CallKind, Errno, Fault, Host, Simulation};
use twistor::{Address, ClientFactory, ConnectTcp, Connector, Factory, Protocol, Reactor, Reason};

const SECOND: Duration = Duration::from_secs(1);

/// Why attempts failed, in their order.
#[derive(Clone, Default)]
struct Failures(Rc<RefCell<Vec<Reason>>>);

impl Factory for Failures {
    fn build_protocol(&mut self, _: &mut Reactor, _: &Address) -> Option<Box<dyn Protocol>> {
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
