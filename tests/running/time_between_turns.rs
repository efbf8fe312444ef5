//! Time that passes between turns is not attributed to any callback.

use std::time::Duration;

use twistor::sim::{Host, Network, Simulation};
use twistor::{CallbackKind, Protocol, Reactor, Settings, Transport};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

struct Nothing;

impl Protocol for Nothing {
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

/// A reactor whose turns the program runs itself.
fn embedded() -> (Network, Host, Reactor) {
    let network = Network::new(1);
    let host = network.host("here");
    let reactor = network.reactor(host, Settings::default());
    (network, host, reactor)
}

#[test]
fn what_a_program_does_between_two_turns_is_no_callback_s_time() {
    let (network, host, mut reactor) = embedded();
    for _ in 0..100 {
        reactor.call_later(Duration::ZERO, |_| {});
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        network.advance_host_clock(host, HOUR);
    }
    assert!(reactor.statistics().timed_calls >= 99);
    assert_eq!(reactor.statistics().slowest, None);
}

#[test]
fn time_after_a_listen_or_cancel_counts_for_no_callback() {
    let (network, host, mut reactor) = embedded();
    let listener = reactor.listen_tcp("127.0.0.1:0", || Nothing).unwrap();
    network.advance_host_clock(host, HOUR);
    reactor.iterate(Some(Duration::ZERO)).unwrap();
    reactor.stop_listening(&listener).unwrap();
    network.advance_host_clock(host, HOUR);
    let call = reactor.call_later(SECOND, |_| {});
    call.cancel(&mut reactor).unwrap();
    network.advance_host_clock(host, HOUR);
    reactor.call_later(Duration::ZERO, |_| {});
    for _ in 0..3 {
        reactor.iterate(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(reactor.statistics().slowest, None);
}

#[test]
fn a_wait_is_nobody_s_time_and_a_callback_s_own_is() {
    let (network, host, mut reactor) = embedded();
    reactor.call_later(HOUR, |_| {});
    reactor.call_later(2 * HOUR, move |reactor| {
        network.advance_host_clock(host, SECOND);
        reactor.stop();
    });
    reactor.run().unwrap();
    let slowest = reactor.statistics().slowest.unwrap();
    assert_eq!((slowest.callback, slowest.took), (CallbackKind::TimedCall, SECOND));
}

#[test]
fn time_that_passes_in_a_simulation_is_no_callback_s_time() {
    let mut simulation = Simulation::new(1);
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    simulation.reactor(server).listen_tcp("0.0.0.0:80", || Nothing).unwrap();
    simulation.pause(server);
    simulation.run_for(HOUR).unwrap();
    simulation.resume(server);
    for _ in 0..10 {
        simulation.reactor(client).connect_tcp("server:80", || Nothing).unwrap();
        simulation.run_for(HOUR).unwrap();
    }
    for host in [server, client] {
        assert_eq!(simulation.reactor_ref(host).unwrap().statistics().slowest, None);
    }
}
