//! A blocking call from a thread runs on the loop and brings its result back, or an error in every
//! case in which there is none.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::world::on_the_real_network;
use twistor::{Error, RemoteHandle, Settings};

const THREADS: &str = "a thread of the process waits for the loop";

#[test]
fn a_blocking_call_returns_the_result_of_the_loop() {
    on_the_real_network(THREADS, |world| {
        let mut reactor = world.reactor();
        let own = thread::current().id();
        let remote = reactor.remote();
        let asking = thread::spawn(move || {
            let ran_on = remote.blocking_call_from_thread(|_| thread::current().id());
            let second = remote.blocking_call_from_thread(|reactor| reactor.connections().len());
            remote.stop().unwrap();
            (ran_on, second)
        });
        world.run(&mut reactor);
        let (ran_on, second) = asking.join().unwrap();
        assert_eq!((ran_on.unwrap(), second.unwrap()), (own, 0));
    });
}

#[test]
fn a_blocking_call_on_the_own_thread_is_refused() {
    on_the_real_network(THREADS, |world| {
        let mut reactor = world.reactor();
        let remote = reactor.remote();
        let outside = remote.blocking_call_from_thread(|_| ()).unwrap_err();
        assert!(matches!(outside, Error::WouldDeadlock), "{outside}");
        let (sender, inside) = mpsc::channel();
        reactor.call_when_running(move |reactor| {
            sender.send(remote.blocking_call_from_thread(|_| ())).unwrap();
            reactor.stop();
        });
        world.run(&mut reactor);
        assert!(matches!(inside.recv().unwrap(), Err(Error::WouldDeadlock)));
        assert_eq!(reactor.statistics().thread_calls, 0);
    });
}

#[test]
fn a_panic_of_a_blocking_call_is_an_error_for_the_caller() {
    on_the_real_network(THREADS, |world| {
        let mut reactor = world.reactor();
        let remote = reactor.remote();
        let asking = thread::spawn(move || {
            let panicked = remote.blocking_call_from_thread(|_| -> u8 { panic!("of the call") });
            let after = remote.blocking_call_from_thread(|_| 7);
            remote.stop().unwrap();
            (panicked, after)
        });
        world.run(&mut reactor);
        let (panicked, after) = asking.join().unwrap();
        assert_eq!(panicked.unwrap_err().to_string(), "the call panicked: of the call");
        assert_eq!(after.unwrap(), 7);
        assert_eq!(reactor.statistics().panics, 1);
        assert!(world.logged().iter().any(|line| line.contains("of the call")), "it is logged");
    });
}

/// Calls from another thread, and returns the error.
fn error_of(remote: &RemoteHandle) -> Error {
    let remote = remote.clone();
    thread::spawn(move || remote.blocking_call_from_thread(|_| ())).join().unwrap().unwrap_err()
}

#[test]
fn a_call_that_cannot_run_any_more_fails() {
    on_the_real_network(THREADS, |world| {
        let mut reactor = world.reactor();
        let remote = reactor.remote();
        reactor.call_when_running(|reactor| {
            reactor.stop();
        });
        world.run(&mut reactor);
        assert!(matches!(error_of(&remote), Error::ReactorGone), "it has finished");
        drop(reactor);
        assert!(matches!(error_of(&remote), Error::ReactorGone), "it is dropped");
    });
}

#[test]
fn a_call_that_waits_fails_when_the_reactor_is_dropped() {
    on_the_real_network(THREADS, |world| {
        let reactor = world.reactor();
        let remote = reactor.remote();
        let (sender, waits) = mpsc::channel();
        let asking = thread::spawn(move || {
            // It fails whether it is queued before the drop or after it.
            sender.send(()).unwrap();
            remote.blocking_call_from_thread(|_| ())
        });
        waits.recv().unwrap();
        drop(reactor);
        assert!(matches!(asking.join().unwrap(), Err(Error::ReactorGone)));
    });
}

#[test]
fn a_blocking_call_keeps_to_the_limit_of_the_queue() {
    on_the_real_network(THREADS, |world| {
        let settings = Settings { thread_call_queue: 1, ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let remote = reactor.remote();
        remote.call_from_thread(|_| {}).unwrap();
        assert!(matches!(error_of(&remote), Error::QueueFull(1)));
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        world.run_until_idle(&mut reactor);
    });
}
