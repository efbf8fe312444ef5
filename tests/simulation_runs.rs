//! A simulated run goes on as long as it can, says why it cannot, and is the same for the same seed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use twistor::sim::{Host, Link, RunError, Simulation, Step};
use twistor::{Instant, Protocol, Reason, Signal, Transport};

/// Sends back what it is sent.
struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }
}

/// As the echo, but it begins, and tells how it ended.
#[derive(Clone, Default)]
struct Caller(Rc<RefCell<Vec<Reason>>>);

impl Protocol for Caller {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        transport.write(b"hello");
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        self.0.borrow_mut().push(reason.clone());
    }
}

fn connected(simulation: &mut Simulation) -> (Host, Host, Caller) {
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    simulation.boot(server, |reactor| reactor.listen_tcp("0.0.0.0:7", || Echo).map(drop)).unwrap();
    let caller = Caller::default();
    let built = caller.clone();
    simulation.reactor(client).connect_tcp("server:7", move || built.clone()).unwrap();
    simulation.run_for(Duration::from_millis(20)).unwrap();
    (server, client, caller)
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn who_waits_in_vain_is_told_with_what_it_waits_for() {
    struct Silent;
    impl Protocol for Silent {
        fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
    }
    let mut simulation = Simulation::new(1);
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    simulation.reactor(server).listen_tcp("0.0.0.0:7", || Silent).unwrap();
    simulation.reactor(client).connect_tcp("server:7", || Silent).unwrap();
    let error = simulation.run_until(|_| false).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, RunError::Forever { .. }), "{text}");
    for part in ["nothing can ever happen again", "server listens on 0.0.0.0:7", "client waits for bytes"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_circle_that_takes_no_time_is_found() {
    let mut simulation = Simulation::new(1);
    simulation.set_links(Link::instant());
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    simulation.reactor(server).listen_tcp("0.0.0.0:7", || Echo).unwrap();
    simulation.reactor(client).connect_tcp("server:7", Caller::default).unwrap();
    let error = simulation.run_for(SECOND).unwrap_err();
    assert!(matches!(error, RunError::TimeStandsStill { .. }), "{error}");
}

#[test]
fn time_passes_although_nothing_happens_and_a_step_says_so() {
    let mut simulation = Simulation::new(1);
    assert_eq!(simulation.step().unwrap(), Step::Nothing);
    simulation.run_for(SECOND).unwrap();
    assert_eq!(simulation.now(), Instant::from_origin(SECOND));
    let host = simulation.host("one");
    simulation.reactor(host).call_later(SECOND, |_| {});
    assert_eq!(simulation.step().unwrap(), Step::Turn(host));
    simulation.run_until(|simulation| simulation.now() >= Instant::from_origin(2 * SECOND)).unwrap();
}

#[test]
fn a_panic_of_a_callback_ends_the_run_unless_it_is_allowed() {
    for allowed in [false, true] {
        let mut simulation = Simulation::new(1);
        if allowed {
            simulation.allow_panics();
        }
        let host = simulation.host("one");
        simulation.reactor(host).call_later(SECOND, |_| panic!("on purpose"));
        let result = simulation.run_for(2 * SECOND);
        assert_eq!(simulation.panics(), 1);
        match result {
            Ok(()) => assert!(allowed),
            Err(error) => {
                assert!(!allowed);
                assert_eq!(error.to_string(), "panic on one at 1s: a timed call: on purpose");
            }
        }
    }
}

#[test]
fn actions_of_a_script_come_in_their_order_and_may_script_more() {
    let mut simulation = Simulation::new(1);
    let seen = Rc::new(RefCell::new(Vec::new()));
    for (at, name) in [(2, "c"), (1, "a"), (1, "b")] {
        let seen = Rc::clone(&seen);
        simulation.at(at * SECOND, move |simulation| {
            seen.borrow_mut().push((simulation.now().since_origin(), name));
            if name == "a" {
                simulation.after(SECOND / 2, move |_| seen.borrow_mut().push((SECOND * 3 / 2, "later")));
            }
        });
    }
    simulation.run_for(3 * SECOND).unwrap();
    let expected = [(SECOND, "a"), (SECOND, "b"), (SECOND * 3 / 2, "later"), (2 * SECOND, "c")];
    assert_eq!(*seen.borrow(), expected);
}

#[test]
fn what_was_killed_boots_again_when_it_comes_back_and_its_end_is_told() {
    let mut simulation = Simulation::new(1);
    let (server, client, caller) = connected(&mut simulation);
    let ends = Rc::new(Cell::new(0));
    let told = Rc::clone(&ends);
    simulation.on_end(server, move |_| told.set(told.get() + 1));
    simulation.kill(server);
    simulation.run_for(SECOND).unwrap();
    assert_eq!((ends.get(), caller.0.borrow().len()), (1, 1));
    assert!(simulation.look(server).is_none());
    simulation.restart(server).unwrap();
    let built = caller.clone();
    simulation.reactor(client).connect_tcp("server:7", move || built.clone()).unwrap();
    simulation.run_for(SECOND).unwrap();
    assert_eq!(simulation.reactor(server).statistics().connections, 1);
    simulation.reactor(server).stop();
    simulation.run_for(SECOND).unwrap();
    assert_eq!((ends.get(), simulation.look(server).is_none()), (2, true));
}

#[test]
fn a_host_that_stands_still_takes_what_comes_and_answers_later() {
    let mut simulation = Simulation::new(1);
    let (server, client, _) = connected(&mut simulation);
    simulation.pause(server);
    simulation.run_for(SECOND).unwrap();
    let before = simulation.reactor(client).statistics().bytes_received;
    simulation.run_for(SECOND).unwrap();
    assert_eq!(simulation.reactor(client).statistics().bytes_received, before);
    simulation.resume(server);
    simulation.run_for(SECOND).unwrap();
    assert!(simulation.reactor(client).statistics().bytes_received > before);
}

#[test]
fn a_signal_goes_to_those_who_watch_it_and_ends_the_others() {
    let mut simulation = Simulation::new(1);
    let (server, client, caller) = connected(&mut simulation);
    let came = Rc::new(Cell::new(0));
    let counted = Rc::clone(&came);
    simulation.reactor(client).on_signal(Signal::Hangup, move |_| counted.set(counted.get() + 1)).unwrap();
    for host in [client, server] {
        simulation.signal(host, Signal::WindowChange);
        simulation.signal(host, Signal::Hangup);
        simulation.run_for(SECOND).unwrap();
    }
    assert_eq!(came.get(), 1);
    assert!(simulation.look(client).is_some() && simulation.look(server).is_none());
    assert_eq!(caller.0.borrow().len(), 1);
}

#[test]
fn what_a_callback_takes_makes_the_next_one_late() {
    let mut simulation = Simulation::new(1);
    let (host, network) = (simulation.host("one"), simulation.network());
    let at = Rc::new(Cell::new(Instant::default()));
    let noted = Rc::clone(&at);
    simulation.reactor(host).call_later(SECOND, move |_| network.spend(host, 3 * SECOND));
    simulation.reactor(host).call_later(2 * SECOND, move |reactor| noted.set(reactor.now()));
    simulation.run_for(10 * SECOND).unwrap();
    assert_eq!(at.get(), Instant::from_origin(4 * SECOND));
    // It is nobody's callback that took the time between two turns.
    let slowest = simulation.reactor(host).statistics().slowest.unwrap();
    assert_eq!(slowest.took, 3 * SECOND);
}

#[test]
fn the_first_seed_that_fails_is_named_with_the_way_to_run_it_again() {
    let failing = |simulation: &mut Simulation| {
        simulation.note("here it comes");
        assert_ne!(simulation.seed(), 3, "no threes");
    };
    let seen = Simulation::explore(0..3, failing);
    assert_eq!(seen.seeds, 3);
    let payload = std::panic::catch_unwind(|| Simulation::explore(0..10, failing)).unwrap_err();
    let text = payload.downcast_ref::<String>().unwrap();
    let name = "the_first_seed_that_fails_is_named_with_the_way_to_run_it_again";
    for part in
        ["seed 3 failed at 0ns", "no threes", "here it comes", &format!("TWISTOR_SEED=3 cargo test {name}")]
    {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn the_same_seed_leaves_the_same_trace_and_another_one_another() {
    let trace = |seed| {
        let mut simulation = Simulation::new(seed);
        connected(&mut simulation);
        (simulation.trace_hash(), simulation.trace(usize::MAX))
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1).0, trace(2).0);
    let text = trace(1).1;
    assert!(text.contains("server       1       opens        listens on 0.0.0.0:7"), "{text}");
    assert!(text.contains("send         5"), "{text}");
}
