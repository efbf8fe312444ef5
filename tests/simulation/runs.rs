//! A simulation follows its script, reports a useful error, and leaves the same trace for the same
//! seed.

use crate::world::child::test_path;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, Recorder, idle_protocol, once};
use twistor::sim::{
    CallKind, Chaos, FaultKind, Host, Link, Simulation, SimulationError, SimulationStep, SocketOptions,
};
use twistor::{Phase, Protocol, Reactor, Settings, Signal, SystemEvent, Transport};

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(10);

/// Creates an echo server, and a connected client that does nothing.
fn connected(seed: u64) -> (Simulation, Host, Host, Record) {
    let mut simulation = Simulation::new(seed);
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    simulation.reactor(server).listen_tcp("0.0.0.0:80", || idle_protocol().echoing()).unwrap();
    let record = Record::new();
    let factory = once(Recorder::new(&record), &Record::new());
    simulation.reactor(client).connect_tcp("server:80", factory).unwrap();
    simulation.run_for(SECOND).unwrap();
    assert!(record.has("made"));
    (simulation, server, client, record)
}

// -- the end of a run --

#[test]
fn a_run_that_waits_for_ever_says_who_waits_for_what() {
    let (mut simulation, ..) = connected(1);
    let error = simulation.run_until(|_| false).unwrap_err();
    let SimulationError::Deadlock { at, waiting } = error else { panic!("{error}") };
    // The connector's timeout was the last event.
    assert!(at.since_origin() >= SECOND);
    for line in [
        "server listens on 0.0.0.0:80",
        "client waits for bytes on",
        "server waits for bytes on",
        "to 10.0.0.1:80",
    ] {
        assert!(waiting.contains(line), "{line}: {waiting}");
    }
}

#[test]
fn a_stuck_run_reports_an_unaccepted_and_an_unread_connection() {
    let simulation = Simulation::new(1);
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    let at = (simulation.address(server), 80).into();
    let listener = simulation.listen(server, at, 8).unwrap();
    let mut socket = simulation.connect(client, at, SocketOptions::default()).unwrap();
    let mut simulation = simulation;
    let waiting = |simulation: &mut Simulation| simulation.run_until(|_| false).unwrap_err().to_string();
    let text = waiting(&mut simulation);
    assert!(text.contains("server waits to be accepted"), "{text}");
    let (_accepted, _) = listener.accept().unwrap();
    while socket.send(&[0; 65536]).is_ok() {}
    let text = waiting(&mut simulation);
    assert!(text.contains("server has unread data"), "{text}");
    assert!(text.contains("client waits for the peer to read"), "{text}");
}

#[test]
fn a_circle_in_which_no_time_passes_is_found() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("busy");
    fn again(reactor: &mut Reactor) {
        reactor.call_later(Duration::ZERO, again);
    }
    again(simulation.reactor(host));
    let error = simulation.run_for(SECOND).unwrap_err();
    assert!(matches!(error, SimulationError::Livelock { .. }), "{error}");
    assert!(error.to_string().contains("busy is always busy"), "{error}");
}

#[test]
fn a_circle_of_packets_that_take_no_time_is_the_links() {
    /// Sends at the start, and echoes.
    struct Echo;
    impl Protocol for Echo {
        fn connection_made(&mut self, transport: &mut Transport<'_>) {
            transport.write(b"x");
        }

        fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
            transport.write(data);
        }
    }
    let mut simulation = Simulation::new(1);
    simulation.set_links(Link::instant());
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    simulation.reactor(server).listen_tcp("0.0.0.0:80", || Echo).unwrap();
    simulation.reactor(client).connect_tcp("server:80", || Echo).unwrap();
    let error = simulation.run_for(SECOND).unwrap_err();
    let text = "packets to server and client have no latency: set one on the links";
    assert!(error.to_string().contains(text), "{error}");
}

#[test]
fn a_condition_may_look_at_reactors_without_stopping_the_time() {
    let (mut simulation, server, client, _) = connected(1);
    let done = Rc::new(Cell::new(false));
    let told = Rc::clone(&done);
    simulation.reactor(server).call_later(60 * SECOND, move |_| told.set(true));
    let before = simulation.turns();
    simulation
        .run_until(|simulation| {
            assert_eq!(simulation.reactor(client).connections().len(), 1);
            simulation.reactor(server).statistics();
            done.get()
        })
        .unwrap();
    assert!(simulation.turns() - before < 5, "{} turns to look at them", simulation.turns() - before);
}

#[test]
fn what_a_condition_does_with_a_reactor_is_done() {
    let (mut simulation, _, client, record) = connected(1);
    let mut asked = false;
    simulation
        .run_until(|simulation| {
            let id = simulation.reactor(client).connections()[0];
            if !std::mem::replace(&mut asked, true) {
                simulation.reactor(client).transport(id).unwrap().write(b"hello");
            }
            record.has("data hello")
        })
        .unwrap();
}

#[test]
fn a_condition_that_begins_something_each_time_is_the_circle() {
    let (mut simulation, _, client, _) = connected(1);
    let error = simulation
        .run_until(|simulation| {
            simulation.reactor(client).call_later(Duration::ZERO, |_| {});
            false
        })
        .unwrap_err();
    assert!(matches!(error, SimulationError::Livelock { .. }), "{error}");
    let text = "each step finds new work for client, started by the condition or the caller";
    assert!(error.to_string().contains(text), "{error}");
}

#[test]
fn a_host_has_no_reactor_between_its_end_and_its_restart() {
    let end: [fn(&mut Simulation, Host); 3] = [
        |simulation, host| simulation.kill(host),
        |simulation, host| simulation.crash(host),
        |simulation, host| {
            simulation.reactor(host).stop();
        },
    ];
    for (end, why) in end.into_iter().zip(["has ended", "has crashed", "has ended"]) {
        let (mut simulation, server, ..) = connected(1);
        end(&mut simulation, server);
        simulation.run_for(SECOND).unwrap();
        assert!(simulation.reactor_ref(server).is_none());
        let asked =
            catch_unwind(AssertUnwindSafe(|| simulation.reactor(server).resource_count())).unwrap_err();
        let text = asked.downcast_ref::<String>().unwrap();
        assert!(text.contains("server ") && text.contains(why) && text.contains("`restart`"), "{text}");
        assert_eq!((simulation.sockets(server), simulation.reactor_ref(server).is_none()), (0, true));
        // Without a boot function, the new process is empty.
        simulation.restart(server).unwrap();
        assert_eq!(simulation.reactor(server).resource_count(), 0);
        end(&mut simulation, server);
        simulation.run_for(SECOND).unwrap();
        if why == "has crashed" {
            simulation.restart(server).unwrap();
        }
        let listen = |reactor: &mut Reactor| reactor.listen_tcp("0.0.0.0:80", idle_protocol).map(drop);
        simulation.boot(server, listen).unwrap();
        assert_eq!(simulation.reactor(server).resource_count(), 1);
    }
}

#[test]
fn a_panic_of_a_callback_ends_the_run_and_says_where() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("clumsy");
    simulation.reactor(host).call_later(SECOND, |_| panic!("no"));
    let error = simulation.run_for(2 * SECOND).unwrap_err();
    let SimulationError::Panicked { host, at, text } = error else { panic!("{error}") };
    assert_eq!((host.as_str(), at.since_origin()), ("clumsy", SECOND));
    assert!(text.contains("no") && text.contains("a timed call"), "{text}");
}

#[test]
fn a_panic_that_was_allowed_is_counted_and_the_run_goes_on() {
    let mut simulation = Simulation::new(1);
    simulation.allow_panics();
    let host = simulation.host("clumsy");
    simulation.reactor(host).call_later(SECOND, |_| panic!("no"));
    simulation.run_for(2 * SECOND).unwrap();
    assert_eq!(simulation.panics(), 1);
    simulation.kill(host);
    assert_eq!(simulation.panics(), 1, "of reactors that are gone too");
}

#[test]
fn what_does_not_come_within_a_year_comes_too_late() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("patient");
    simulation.reactor(host).call_later(Duration::from_secs(400 * 24 * 3600), |_| {});
    let error = simulation.run_until(|_| false).unwrap_err();
    assert!(matches!(error, SimulationError::TimedOut { .. }), "{error}");
}

#[test]
fn a_failed_boot_fails_a_restart_and_a_run_with_chaos() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("server");
    let first = Cell::new(true);
    let boot = move |reactor: &mut Reactor| match first.replace(false) {
        true => Ok(()),
        false => reactor.listen_tcp("203.0.113.1:80", idle_protocol).map(drop),
    };
    simulation.boot(host, boot).unwrap();
    assert!(simulation.restart(host).is_err(), "no host has the address");
    simulation.start_chaos(Chaos { strikes: vec![FaultKind::Kill], ..Chaos::default() });
    let error = simulation.run_for(60 * SECOND).unwrap_err();
    assert!(matches!(&error, SimulationError::Failed { host, .. } if host == "server"), "{error}");
}

// -- time --

#[test]
fn idle_time_passes_all_the_same() {
    let mut simulation = Simulation::new(1);
    simulation.run_for(SECOND).unwrap();
    assert_eq!(simulation.now().since_origin(), SECOND);
    simulation.run_for(SECOND / 2).unwrap();
    assert_eq!(simulation.now().since_origin(), SECOND * 3 / 2);
}

#[test]
fn a_step_is_a_turn_or_a_time_or_nothing() {
    let mut simulation = Simulation::new(1);
    assert_eq!(simulation.step().unwrap(), SimulationStep::Nothing);
    let host = simulation.host("host");
    let called = Rc::new(Cell::new(false));
    let told = Rc::clone(&called);
    simulation.reactor(host).call_later(SECOND, move |_| told.set(true));
    let mut steps = Vec::new();
    while !called.get() {
        steps.push(simulation.step().unwrap());
    }
    assert!(steps.iter().all(|step| *step == SimulationStep::Turn(host)), "{steps:?}");
    assert_eq!(simulation.turns(), steps.len() as u64);
    assert_eq!(simulation.now().since_origin(), SECOND);
    while simulation.step().unwrap() != SimulationStep::Nothing {}
    // The arrival of an unexpected datagram is an event without a turn.
    let socket = simulation.bind_datagrams(host, (simulation.address(host), 0).into()).unwrap();
    let other = simulation.host("other");
    socket.send_to(b"hello", (simulation.address(other), 9).into()).unwrap();
    let SimulationStep::Time(at) = simulation.step().unwrap() else { panic!("a host had a turn") };
    assert_eq!(at.since_origin(), SECOND + Duration::from_millis(1));
}

#[test]
fn a_run_until_idle_ends_with_the_last_thing_that_happens() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("host");
    simulation.reactor(host).call_later(SECOND, |_| {});
    simulation.run_until_idle(10 * SECOND).unwrap();
    assert_eq!(simulation.now().since_origin(), SECOND);
    simulation.reactor(host).call_later(11 * SECOND, |_| {});
    assert!(matches!(simulation.run_until_idle(10 * SECOND), Err(SimulationError::TimedOut { .. })));
}

#[test]
fn what_is_scripted_for_later_is_not_idle_and_not_for_ever() {
    let mut simulation = Simulation::new(1);
    simulation.after(20 * SECOND, |_| {});
    assert!(matches!(simulation.run_until_idle(10 * SECOND), Err(SimulationError::TimedOut { .. })));
    simulation.after(Duration::from_secs(400 * 24 * 3600), |_| {});
    assert!(matches!(simulation.run_until(|_| false), Err(SimulationError::TimedOut { .. })));
}

#[test]
fn time_that_a_callback_spends_makes_the_next_ones_late() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("busy");
    let network = simulation.network();
    let at = Rc::new(Cell::new(Duration::ZERO));
    let told = Rc::clone(&at);
    let reactor = simulation.reactor(host);
    reactor.call_later(SECOND, move |_| network.advance_host_clock(host, 5 * SECOND));
    reactor.call_later(2 * SECOND, move |reactor| told.set(reactor.now().since_origin()));
    simulation.run_for(10 * SECOND).unwrap();
    assert_eq!(at.get(), 6 * SECOND);
}

#[test]
fn what_a_callback_does_after_it_has_worked_happens_later() {
    let (mut simulation, server, client, record) = connected(1);
    simulation.set_links(Link::fixed(MOMENT));
    let id = simulation.reactor(client).connections()[0];
    let network = simulation.network();
    simulation.reactor(client).call_later(Duration::ZERO, move |reactor| {
        network.advance_host_clock(client, 5 * SECOND);
        reactor.transport(id).unwrap().write(b"late");
    });
    simulation.run_for(5 * SECOND + MOMENT / 2).unwrap();
    assert_eq!(simulation.reactor_ref(server).unwrap().statistics().bytes_received, 0);
    simulation.run_for(MOMENT * 2).unwrap();
    assert!(record.has("data late"), "{:?}", record.events());
}

#[test]
fn calls_that_cost_time_make_timers_late() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("slow");
    simulation.set_call_cost(host, SECOND);
    let at = Rc::new(Cell::new(Duration::ZERO));
    let told = Rc::clone(&at);
    simulation.reactor(host).call_later(MOMENT, move |reactor| told.set(reactor.now().since_origin()));
    simulation.run_for(10 * SECOND).unwrap();
    // The poll of the previous turn took a second, and so did the extra poll before a late timer.
    assert_eq!(at.get(), 2 * SECOND);
}

// -- scripts --

#[test]
fn actions_run_by_time_and_then_in_script_order() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("host");
    let record = Record::new();
    let note = |name: &'static str| {
        let record = record.clone();
        move |simulation: &mut Simulation| record.add(format!("{name} {:?}", simulation.now().since_origin()))
    };
    let timed = record.clone();
    simulation.reactor(host).call_later(SECOND, move |_| timed.add("timer"));
    simulation.at(2 * SECOND, note("c"));
    simulation.at(SECOND, note("a"));
    simulation.after(SECOND, note("b"));
    simulation.at(SECOND, {
        let late = note("at once");
        move |simulation| simulation.at(Duration::ZERO, late)
    });
    simulation.run_for(3 * SECOND).unwrap();
    assert_eq!(record.events(), ["a 1s", "b 1s", "at once 1s", "timer", "c 2s"]);
}

#[test]
fn restarts_run_the_boot_again_and_every_end_is_reported() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("server");
    let record = Record::new();
    let (boots, ends) = (record.clone(), record.clone());
    let boot = move |reactor: &mut Reactor| {
        boots.add("boots");
        reactor.listen_tcp("0.0.0.0:80", idle_protocol).map(drop)
    };
    simulation.boot(host, boot).unwrap();
    simulation.on_end(host, move |_| ends.add("ends"));
    simulation.run_for(SECOND).unwrap();
    simulation.kill(host);
    assert!(simulation.reactor_ref(host).is_none() && simulation.sockets(host) == 0);
    simulation.kill(host);
    simulation.restart(host).unwrap();
    simulation.crash(host);
    assert!(!simulation.is_up(host));
    simulation.restart(host).unwrap();
    assert_eq!(simulation.sockets(host), 1);
    simulation.restart(host).unwrap();
    simulation.reactor(host).call_later(SECOND, |reactor| {
        reactor.stop();
    });
    simulation.run_for(2 * SECOND).unwrap();
    assert!(simulation.reactor_ref(host).is_none(), "it has stopped by itself");
    let one = ["boots", "ends"];
    assert_eq!(record.events(), [one, one, one, one].concat());
    assert_eq!(simulation.coverage().fault(FaultKind::Restart), 3);
}

#[test]
fn nothing_of_a_killed_process_is_called_any_more() {
    let (mut simulation, _, client, record) = connected(1);
    let timed = record.clone();
    simulation.reactor(client).call_later(SECOND, move |_| timed.add("timer"));
    record.take();
    simulation.kill(client);
    simulation.run_for(10 * SECOND).unwrap();
    assert_eq!(record.events(), [""; 0]);
}

#[test]
fn a_paused_process_stands_still_while_its_kernel_goes_on() {
    let (mut simulation, server, client, record) = connected(1);
    simulation.pause(server);
    let id = simulation.reactor(client).connections()[0];
    simulation.reactor(client).transport(id).unwrap().write(b"hello");
    let second = Record::new();
    let factory = once(Recorder::new(&second), &Record::new());
    simulation.reactor(client).connect_tcp("server:80", factory).unwrap();
    simulation.run_for(3600 * SECOND).unwrap();
    assert!(second.has("made"), "its system accepts");
    assert!(!record.has("data hello"));
    assert_eq!(simulation.reactor_ref(client).unwrap().statistics().bytes_sent, 5);
    simulation.resume(server);
    simulation.run_for(MOMENT).unwrap();
    assert!(record.has("data hello"), "{:?}", record.events());
}

#[test]
fn a_watched_signal_is_delivered_and_another_ends_the_process() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("host");
    let count = Rc::new(Cell::new(0));
    let told = Rc::clone(&count);
    simulation.reactor(host).on_signal(Signal::Hangup, move |_| told.set(told.get() + 1)).unwrap();
    simulation.run_for(SECOND).unwrap();
    for expected in 1..=2 {
        simulation.signal(host, Signal::Hangup);
        simulation.run_for(SECOND).unwrap();
        assert_eq!(count.get(), expected);
    }
    simulation.signal(host, Signal::WindowChange);
    simulation.signal(host, Signal::Child);
    assert!(simulation.reactor_ref(host).is_some(), "by default these two do nothing");
    simulation.signal(host, Signal::User1);
    assert!(simulation.reactor_ref(host).is_none());
}

#[test]
fn a_signal_stops_a_program_gracefully_and_a_second_one_at_once() {
    for signal in [Signal::Terminate, Signal::Interrupt] {
        for twice in [false, true] {
            let (mut simulation, server, client, record) = connected(1);
            let id = simulation.reactor(client).connections()[0];
            let (events, hold) = (record.clone(), 5 * SECOND);
            let reactor = simulation.reactor(client);
            reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |reactor, held| {
                events.add("shutting down");
                reactor.transport(id).unwrap().write(b"good-bye");
                reactor.call_later(hold, move |_| drop(held));
            });
            let ends = Rc::new(Cell::new(0));
            let told = Rc::clone(&ends);
            simulation.on_end(client, move |_| told.set(told.get() + 1));
            simulation.signal(client, signal);
            simulation.run_for(SECOND).unwrap();
            assert!(simulation.reactor_ref(client).is_some(), "its trigger holds the end up");
            if twice {
                simulation.signal(client, signal);
                assert_eq!((simulation.reactor_ref(client).is_none(), ends.get()), (true, 1));
                assert_eq!(simulation.coverage().fault(FaultKind::Kill), 1);
            } else {
                simulation.run_for(hold).unwrap();
                assert_eq!((simulation.reactor_ref(client).is_none(), ends.get()), (true, 1));
                assert_eq!(simulation.coverage().fault(FaultKind::Kill), 0);
            }
            let mut events = vec!["made", "shutting down", "data good-bye"];
            if !twice {
                events.push("lost Done");
            }
            assert_eq!(record.events(), events, "{signal}, twice: {twice}");
            simulation.run_for(SECOND).unwrap();
            assert_eq!(simulation.reactor(server).connections(), []);
        }
    }
}

#[test]
fn a_handler_takes_the_place_of_the_graceful_stop() {
    let (mut simulation, _, client, record) = connected(1);
    let events = record.clone();
    simulation.reactor(client).on_signal(Signal::Terminate, move |_| events.add("asked")).unwrap();
    for _ in 0..3 {
        simulation.signal(client, Signal::Terminate);
        simulation.run_for(SECOND).unwrap();
    }
    assert_eq!(record.events(), ["made", "asked", "asked", "asked"]);
    assert!(simulation.reactor_ref(client).is_some());
}

#[test]
fn a_program_that_leaves_signals_alone_dies_of_them() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("host");
    // No signal watch of the previous process is left.
    simulation.reactor(host);
    simulation.kill(host);
    simulation.set_settings(host, Settings { handle_signals: false, ..Settings::default() });
    simulation.restart(host).unwrap();
    simulation.reactor(host);
    simulation.signal(host, Signal::Terminate);
    assert!(simulation.reactor_ref(host).is_none());
}

#[test]
fn a_paused_process_has_its_signals_when_it_goes_on() {
    let (mut simulation, _, client, record) = connected(1);
    simulation.pause(client);
    // The second signal arrives while the first one's stop is in progress.
    for signal in [Signal::Terminate, Signal::Terminate] {
        simulation.signal(client, signal);
    }
    simulation.run_for(SECOND).unwrap();
    assert!(simulation.reactor_ref(client).is_some());
    simulation.resume(client);
    simulation.run_for(SECOND).unwrap();
    assert!(simulation.reactor_ref(client).is_none());
    assert_eq!(record.events(), ["made", "lost Done"]);
    // As Ctrl-Z and `fg` do.
    let (mut simulation, _, client, record) = connected(1);
    let ticks = Rc::new(Cell::new(0));
    let count = Rc::clone(&ticks);
    simulation.reactor(client).call_later(SECOND, move |_| count.set(count.get() + 1));
    simulation.signal(client, Signal::Suspend);
    simulation.signal(client, Signal::User2);
    simulation.run_for(5 * SECOND).unwrap();
    assert_eq!((simulation.reactor_ref(client).is_some(), ticks.get()), (true, 0));
    simulation.signal(client, Signal::Continue);
    assert!(simulation.reactor_ref(client).is_none());
    assert_eq!(record.events(), ["made"]);
}

#[test]
fn a_signal_that_a_running_program_stops_at_is_watched_once() {
    let network = twistor::sim::Network::new(1);
    let host = network.host("host");
    let mut reactor = network.reactor(host, twistor::Settings::default());
    let watched = Rc::new(RefCell::new(Vec::new()));
    let (sender, told) = (network.clone(), Rc::clone(&watched));
    reactor.call_later(SECOND, move |_| {
        for _ in 0..2 {
            told.borrow_mut().push(sender.signal(host, Signal::Terminate));
        }
    });
    reactor.run().unwrap();
    assert_eq!(
        *watched.borrow(),
        [true, false],
        "the second ends the process, as without anybody who watches"
    );
}

// -- traces and seeds --

fn trace(seed: u64) -> (u64, u64, String) {
    let (mut simulation, _, client, _) = connected(seed);
    let id = simulation.reactor(client).connections()[0];
    simulation.reactor(client).transport(id).unwrap().write(b"hello");
    simulation.trace_note("the end is near");
    simulation.run_for(SECOND).unwrap();
    (simulation.trace_hash(), simulation.trace_length(), simulation.trace(usize::MAX))
}

#[test]
fn the_same_seed_leaves_the_same_trace_and_another_seed_another() {
    assert_eq!(trace(1), trace(1));
    assert!((2..10).all(|seed| trace(seed).0 != trace(1).0 && trace(seed).2 != trace(1).2));
}

#[test]
fn a_trace_says_when_who_and_what() {
    let (_, length, text) = trace(1);
    assert_eq!(text.lines().count() as u64, length);
    let line = |parts: &[&str]| text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(line(&["server", "opens", "from 10.0.0.2:"]), "{text}");
    assert!(line(&["1.000000000", "client", "a ", "send", " 5"]), "{text}");
    assert!(line(&["1.001000000", "server", "b ", "> Data", " 5"]), "{text}");
    assert!(line(&["1.000000000", "note", "the end is near"]), "{text}");
}

#[test]
fn a_trace_keeps_what_it_is_told_to_keep_and_its_hash_knows_all() {
    let kept = |records| {
        let simulation = Simulation::new(1);
        simulation.keep_trace(records);
        (0..10).for_each(|number| simulation.trace_note(&format!("note {number}")));
        (simulation.trace(usize::MAX).lines().count(), simulation.trace_hash(), simulation.trace(1))
    };
    let (all, hash, last) = kept(100);
    assert_eq!(all, 10);
    assert!(last.contains("note 9"));
    assert_eq!(kept(3), (3, hash, last));
    assert_eq!(kept(0), (0, hash, String::new()));
}

#[test]
fn an_exploration_counts_what_its_seeds_saw() {
    let seen = Simulation::explore(3..6, |simulation| {
        let host = simulation.host("host");
        simulation.reactor(host).call_later(SECOND, |_| {});
        simulation.run_for(2 * SECOND).unwrap();
    });
    if std::env::var_os("TWISTOR_SEED").is_none() {
        assert_eq!(seen.seeds, 3);
    }
    assert!(seen.turns >= seen.seeds && seen.coverage.call(CallKind::Poll) >= seen.turns);
}

#[test]
fn the_first_failing_seed_is_reported_with_how_to_repeat_it() {
    if std::env::var_os("TWISTOR_SEED").is_some() {
        return;
    }
    let why = |scenario: fn(&mut Simulation)| {
        let failed = catch_unwind(AssertUnwindSafe(|| Simulation::explore(0..10, scenario)));
        *failed.unwrap_err().downcast::<String>().unwrap()
    };
    let text = why(|simulation| {
        simulation.run_for(SECOND).unwrap();
        simulation.trace_note("just before");
        assert!(simulation.seed() != 7, "seven is not wanted");
    });
    let name = test_path(the_first_failing_seed_is_reported_with_how_to_repeat_it);
    for part in ["seed 7 failed at", "seven is not wanted", "just before", "TWISTOR_SEED=7 cargo test", name]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    // A panic that the scenario does not check for.
    let text = why(|simulation| {
        let host = simulation.host("host");
        simulation.reactor(host).call_later(Duration::ZERO, |_| panic!("no"));
        let _ = simulation.run_for(SECOND);
    });
    assert!(text.contains("seed 0 failed") && text.contains("1 callbacks panicked"), "{text}");
}

#[test]
fn a_seed_from_the_environment_runs_alone_with_a_full_trace() {
    let scenario = |simulation: &mut Simulation| {
        (0..100).for_each(|number| {
            simulation.trace_note(&format!("line {number} of seed {}", simulation.seed()))
        });
    };
    let name = test_path(a_seed_from_the_environment_runs_alone_with_a_full_trace);
    if std::env::var_os("TWISTOR_SEED").is_some() {
        assert_eq!(Simulation::explore(0..10, scenario).seeds, 1);
        return;
    }
    let run = |seed: &str| {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env("TWISTOR_SEED", seed)
            .output()
            .unwrap();
        let text = [child.stdout, child.stderr].concat();
        (child.status.success(), String::from_utf8(text).unwrap())
    };
    let (succeeded, text) = run("77");
    assert!(succeeded, "{text}");
    assert_eq!(text.matches("of seed 77").count(), 100, "{text}");
    assert_eq!(text.matches("of seed").count(), 100, "{text}");
    let (succeeded, text) = run("seventy");
    assert!(!succeeded && text.contains("is no seed"), "{text}");
}
