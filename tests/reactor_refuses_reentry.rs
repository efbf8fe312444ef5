//! A reactor does not run inside itself, and runs once.

mod world;

use std::time::Duration;

use twistor::{Error, Reactor};
use world::{Record, Recorder, nobody, on_each_back_end, once};

fn is_refused(reactor: &mut Reactor) -> bool {
    matches!(reactor.run(), Err(Error::AlreadyRunning))
        && matches!(reactor.turn(Some(Duration::ZERO)), Err(Error::AlreadyRunning))
}

#[test]
fn run_and_turn_inside_a_callback_are_refused_and_change_nothing() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        reactor.call_later(Duration::ZERO, move |reactor| {
            assert!(is_refused(reactor));
            noted.add("timed call");
        });
        let listener = reactor.listen_tcp(world.anywhere(), nobody).unwrap();
        let client = Recorder::new(&record).acting(|what, transport, _| {
            assert!(is_refused(transport.reactor()));
            if what == "made" {
                transport.abort_connection();
            }
        });
        world.ask(&mut reactor, &listener, client);
        world.run_until(&mut reactor, "lost", |_| record.has("lost Aborted"));
        assert_eq!(record.events(), ["timed call", "made", "lost Aborted"]);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_reactor_that_has_run_does_not_run_again_and_a_new_one_does() {
    on_each_back_end(|world| {
        for _ in 0..3 {
            let mut reactor = world.reactor();
            reactor.call_when_running(|reactor| {
                reactor.stop();
            });
            world.run(&mut reactor);
            assert!(matches!(reactor.run(), Err(Error::Finished)));
            assert!(matches!(reactor.turn(None), Err(Error::Finished)));
            let listening = reactor.listen_tcp(world.anywhere(), nobody);
            assert!(matches!(listening, Err(Error::Finished)));
            let connecting = reactor.connect_tcp("127.0.0.1:9", once(nobody(), &Record::new()));
            assert!(matches!(connecting, Err(Error::Finished)));
            assert!(!reactor.stop() && !reactor.stop_gracefully() && !reactor.running());
            assert_eq!(reactor.in_use(), 0);
        }
    });
}
