//! SIGINT and SIGTERM stop a reactor gracefully, a second one at once; other signals come to their handlers;
//! afterwards signals do again what they do by default.

use std::future::pending;
use std::time::Duration;

use crate::world::child;
use crate::world::child::test_path;
use crate::world::{Record, Recorder, on_each_back_end, on_the_real_network, raise, with_reactor};
use rustix::process::Signal as Os;
use twistor::task::{sleep, stopping};
use twistor::{Phase, Reactor, Settings, Signal, SystemEvent};

const KILLED: &str = "another process sends the signals, and sees how this one ends";

/// A reactor that says when it runs and when it ended, for the child.
fn run(prepare: impl FnOnce(&mut Reactor)) {
    let mut reactor = Reactor::new().unwrap();
    reactor.call_when_running(|_| eprintln!("runs"));
    prepare(&mut reactor);
    reactor.run().unwrap();
    eprintln!("ended");
}

#[test]
fn the_first_signal_lets_what_waits_be_sent() {
    child::alone(test_path(the_first_signal_lets_what_waits_be_sent), "", || {
        on_each_back_end(|world| {
            for signal in [Signal::Terminate, Signal::Interrupt] {
                const MUCH: usize = 8 << 20;
                let settings = Settings { write_buffer_limit: MUCH, ..Settings::default() };
                let mut reactor = world.reactor_that_signals_stop(settings);
                let record = Record::new();
                let server = Recorder::new(&record).acting(move |what, transport, _| {
                    if what == "made" {
                        transport.write(&vec![b'x'; MUCH]);
                        assert!(transport.write_buffer_size() > 0);
                        raise(signal);
                    }
                });
                let listener = world.serve(&mut reactor, server);
                let shutting = record.clone();
                reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |_, _| {
                    shutting.add("shutting down");
                });
                let read = world.run_read_by(&mut reactor, world.connect(listener.address()));
                assert_eq!(read, MUCH);
                let mut events = record.events();
                events.retain(|event| event != "pause" && event != "resume");
                assert_eq!(events, ["made", "shutting down", "lost Done"]);
            }
        });
    });
}

#[test]
fn the_second_signal_ends_the_process_at_once() {
    on_the_real_network(KILLED, |_| {
        for signal in [Os::TERM, Os::INT] {
            let Some(mut child) = child::begin(test_path(the_second_signal_ends_the_process_at_once), "")
            else {
                // A shutdown that never comes to its end.
                return run(|reactor| {
                    reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, |_, hold| {
                        eprintln!("shutting down");
                        std::mem::forget(hold);
                    });
                });
            };
            child.says("runs");
            child.kill(signal);
            child.says("shutting down");
            child.kill(signal);
            child.dies_of(signal);
        }
    });
}

#[test]
fn a_task_program_that_awaits_a_signal_ends_without_an_error() {
    on_the_real_network(KILLED, |_| {
        for signal in [Os::TERM, Os::INT] {
            let test = test_path(a_task_program_that_awaits_a_signal_ends_without_an_error);
            let Some(mut child) = child::begin(test, "") else {
                let ended = twistor::block_on(async {
                    eprintln!("runs");
                    stopping().await;
                    sleep(Duration::from_millis(1)).await;
                    7
                });
                return assert_eq!(ended.unwrap(), 7);
            };
            child.says("runs");
            child.kill(signal);
            child.succeeds();
        }
    });
}

#[test]
fn the_second_signal_ends_a_program_of_tasks_at_once() {
    on_the_real_network(KILLED, |_| {
        // While its future ends, and while the reactor does after it.
        for first in ["", "TWISTOR_TEST_RETURNS=yes"] {
            let Some(mut child) =
                child::begin(test_path(the_second_signal_ends_a_program_of_tasks_at_once), first)
            else {
                let returns = std::env::var_os("TWISTOR_TEST_RETURNS").is_some();
                let held = |_: &mut Reactor, hold| std::mem::forget(hold);
                return twistor::block_on(async {
                    let hold = |reactor: &mut Reactor| {
                        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, held);
                    };
                    with_reactor(hold);
                    eprintln!("runs");
                    stopping().await;
                    if returns {
                        // The first turn of the run that follows says so.
                        with_reactor(|reactor| {
                            reactor.call_later(Duration::from_millis(1), |reactor| {
                                reactor.call_later(Duration::from_millis(1), |_| eprintln!("told"));
                            })
                        });
                    } else {
                        eprintln!("told");
                        pending::<()>().await;
                    }
                })
                .unwrap();
            };
            child.says("runs");
            child.kill(Os::TERM);
            child.says("told");
            child.kill(Os::TERM);
            child.dies_of(Os::TERM);
        }
    });
}

#[test]
fn after_the_run_a_signal_does_what_it_does_by_default() {
    on_the_real_network(KILLED, |_| {
        for signal in [Os::TERM, Os::INT, Os::HUP] {
            let Some(mut child) =
                child::begin(test_path(after_the_run_a_signal_does_what_it_does_by_default), "")
            else {
                run(|reactor| {
                    reactor.on_signal(Signal::Hangup, |_| {}).unwrap();
                    reactor.call_when_running(|reactor| {
                        reactor.stop();
                    });
                });
                loop {
                    std::thread::park();
                }
            };
            child.says("ended");
            child.kill(signal);
            child.dies_of(signal);
        }
    });
}

#[test]
fn a_second_run_handles_signals_as_the_first_did() {
    child::alone(test_path(a_second_run_handles_signals_as_the_first_did), "", || {
        on_each_back_end(|world| {
            for _ in 0..2 {
                let mut reactor = world.reactor_that_signals_stop(Settings::default());
                reactor.call_when_running(|_| raise(Signal::Terminate));
                world.run(&mut reactor);
            }
        });
    });
}

#[test]
fn a_signal_ends_a_reactor_whose_start_is_held_up() {
    child::alone(test_path(a_signal_ends_a_reactor_whose_start_is_held_up), "", || {
        on_each_back_end(|world| {
            let mut reactor = world.reactor_that_signals_stop(Settings::default());
            let record = Record::new();
            let (starts, ends) = (record.clone(), record.clone());
            reactor.add_system_event_trigger(Phase::Before, SystemEvent::Startup, move |reactor, hold| {
                reactor.call_later(Duration::ZERO, move |_| {
                    starts.add("waits");
                    raise(Signal::Terminate);
                });
                reactor.call_later(Duration::from_secs(3600), move |_| drop(hold));
            });
            reactor
                .add_system_event_trigger(Phase::After, SystemEvent::Shutdown, move |_, _| ends.add("ends"));
            world.run(&mut reactor);
            assert_eq!(record.events(), ["waits", "ends"]);
        });
    });
}

#[test]
fn a_reactor_that_leaves_signals_alone_dies_of_them() {
    on_the_real_network(KILLED, |_| {
        let Some(mut child) = child::begin(test_path(a_reactor_that_leaves_signals_alone_dies_of_them), "")
        else {
            let settings = Settings { handle_signals: false, ..Settings::default() };
            let mut reactor = Reactor::with_settings(settings).unwrap();
            reactor.call_when_running(|_| eprintln!("runs"));
            return reactor.run().unwrap();
        };
        child.says("runs");
        child.kill(Os::TERM);
        child.dies_of(Os::TERM);
    });
}

#[test]
fn signals_reach_their_handlers_in_order_and_the_loop_goes_on() {
    child::alone(test_path(signals_reach_their_handlers_in_order_and_the_loop_goes_on), "", || {
        on_each_back_end(|world| {
            let mut reactor = world.reactor();
            let record = Record::new();
            let signals = [
                Signal::Hangup,
                Signal::User1,
                Signal::User2,
                Signal::WindowChange,
                Signal::Child,
                Signal::Quit,
                Signal::Suspend,
                Signal::Continue,
                Signal::Interrupt,
                Signal::Terminate,
            ];
            for signal in signals {
                for number in 1..=2 {
                    let record = record.clone();
                    reactor.on_signal(signal, move |_| record.add(format!("{signal} {number}"))).unwrap();
                }
            }
            for signal in signals {
                // Three in a row: a handler is no place where the second kills.
                for _ in 0..3 {
                    raise(signal);
                    world.run_until(&mut reactor, "the signal", |_| !record.events().is_empty());
                    assert_eq!(record.take(), [format!("{signal} 1"), format!("{signal} 2")]);
                }
            }
            reactor.iterate(Some(Duration::ZERO)).unwrap();
            assert_eq!(record.events(), [] as [String; 0]);
        });
    });
}

#[test]
fn many_signals_between_two_turns_lose_none_of_their_kinds() {
    child::alone(test_path(many_signals_between_two_turns_lose_none_of_their_kinds), "", || {
        on_each_back_end(|world| {
            let mut reactor = world.reactor();
            let record = Record::new();
            for signal in [Signal::Hangup, Signal::User1, Signal::User2] {
                let record = record.clone();
                reactor.on_signal(signal, move |_| record.add(signal.to_string())).unwrap();
            }
            for _ in 0..10_000 {
                raise(Signal::Hangup);
                raise(Signal::User1);
            }
            raise(Signal::User2);
            world.run_until(&mut reactor, "all kinds", |_| {
                ["SIGHUP", "SIGUSR1", "SIGUSR2"].iter().all(|name| record.has(name))
            });
        });
    });
}

#[test]
fn a_signal_that_waits_survives_that_another_one_is_asked_for() {
    child::alone(test_path(a_signal_that_waits_survives_that_another_one_is_asked_for), "", || {
        on_each_back_end(|world| {
            let mut reactor = world.reactor();
            let record = Record::new();
            let (first, second) = (record.clone(), record.clone());
            reactor.on_signal(Signal::Hangup, move |_| first.add("SIGHUP")).unwrap();
            reactor.call_later(Duration::ZERO, move |reactor| {
                raise(Signal::Hangup);
                reactor.on_signal(Signal::User1, move |_| second.add("SIGUSR1")).unwrap();
                raise(Signal::User1);
            });
            world.run_until(&mut reactor, "both", |_| record.has("SIGHUP") && record.has("SIGUSR1"));
            assert_eq!(record.events().len(), 2);
        });
    });
}

#[test]
fn a_signal_handler_replaces_the_stop_even_while_it_runs() {
    let test = test_path(a_signal_handler_replaces_the_stop_even_while_it_runs);
    child::alone(test, "", || {
        on_each_back_end(|world| {
            let mut reactor = world.reactor_that_signals_stop(Settings::default());
            let record = Record::new();
            let noted = record.clone();
            reactor.call_when_running(move |reactor| {
                let ending = noted.clone();
                reactor
                    .on_signal(Signal::Terminate, move |reactor| {
                        ending.add("came");
                        match ending.count("came") {
                            3 => {
                                reactor.stop();
                            }
                            _ => raise(Signal::Terminate),
                        }
                    })
                    .unwrap();
                raise(Signal::Terminate);
            });
            reactor.run().unwrap();
            assert_eq!(record.count("came"), 3);
        });
    });
}

#[test]
fn every_reactor_that_handles_a_signal_gets_it() {
    child::alone(test_path(every_reactor_that_handles_a_signal_gets_it), "", || {
        on_each_back_end(|world| {
            let (mut first, mut second) = (world.reactor(), world.reactor());
            let record = Record::new();
            let (one, two) = (record.clone(), record.clone());
            first.on_signal(Signal::Hangup, move |_| one.add("first")).unwrap();
            second.on_signal(Signal::Hangup, move |_| two.add("second")).unwrap();
            raise(Signal::Hangup);
            world.run_until(&mut first, "the first", |_| record.has("first"));
            world.run_until(&mut second, "the second", |_| record.has("second"));
            // When one is gone, the signal still is the other's.
            drop(first);
            raise(Signal::Hangup);
            world.run_until(&mut second, "the second again", |_| record.count("second") == 2);
        });
    });
}

#[test]
fn a_write_to_a_peer_that_is_gone_raises_no_signal() {
    child::alone(test_path(a_write_to_a_peer_that_is_gone_raises_no_signal), "", || {
        on_each_back_end(|world| {
            let mut reactor = world.reactor();
            let record = Record::new();
            let server = Recorder::new(&record).acting(|what, transport, _| {
                if what == "read lost" {
                    // The first is answered with a reset, the next ones find a broken pipe.
                    transport.call_later(Duration::ZERO, again);
                }
            });
            fn again(_: &mut Recorder, transport: &mut twistor::Transport<'_>) {
                transport.write(b"x");
                transport.call_later(Duration::ZERO, again);
            }
            let listener = world.serve(&mut reactor, server);
            drop(world.connect(listener.address()));
            world.run_until(&mut reactor, "lost", |_| record.has("lost Lost"));
            world.close(&mut reactor, &listener);
        });
    });
}
