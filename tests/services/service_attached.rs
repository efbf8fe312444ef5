//! A service that is attached to a reactor starts at once, and stops with it, while everything is still alive.

use std::time::Duration;

use crate::world::{Record, Recorder, on_each_back_end};
use twistor::Failure;
use twistor::service::{Service, StopToken, StreamServerService, run_service};
use twistor::{ListenTcp, Reactor, Settings};

const LONG: Duration = Duration::from_secs(3600);

/// Stops after a while, and notes it.
struct Slow {
    record: Record,
    stopping: Duration,
    failing: bool,
}

impl Service for Slow {
    fn start(&mut self, _: &mut Reactor) -> Result<(), Failure> {
        self.record.add("starts");
        if self.failing { Err(Failure::new("not today")) } else { Ok(()) }
    }

    fn stop(&mut self, reactor: &mut Reactor, stopped: StopToken) {
        self.record.add("stops");
        let record = self.record.clone();
        reactor.call_later(self.stopping, move |_| {
            record.add("has stopped");
            drop(stopped);
        });
    }
}

#[test]
fn the_reactor_waits_for_its_end_with_connections_alive() {
    on_each_back_end(|world| {
        for gracefully in [false, true] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let notes = record.clone();
            let echo = StreamServerService::new(ListenTcp::new(world.anywhere()), move || {
                Recorder::new(&notes).echoing()
            });
            run_service(&mut reactor, echo.clone().graceful(LONG), LONG).unwrap();
            let mut peer = world.connect(echo.listener().unwrap().address());
            world.run_until(&mut reactor, "made", |_| record.has("made"));
            assert!(if gracefully { reactor.stop_gracefully() } else { reactor.stop() });
            peer.send(b"one more thing");
            world.run_until(&mut reactor, "data", |_| record.has("data one more thing"));
            assert!(reactor.running() && echo.listener().is_none());
            drop(peer);
            world.run(&mut reactor);
            assert_eq!(record.count("lost Stopped"), 0);
        }
    });
}

#[test]
fn after_the_limit_connections_are_aborted_and_the_reactor_ends() {
    on_each_back_end(|world| {
        let settings = Settings { graceful_stop_timeout: LONG, ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let record = Record::new();
        let service = Slow { record: record.clone(), stopping: LONG, failing: false };
        run_service(&mut reactor, service, Duration::from_millis(5)).unwrap();
        let listener = world.serve(&mut reactor, Recorder::new(&record));
        let peer = world.connect(listener.address());
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        reactor.stop_gracefully();
        world.run(&mut reactor);
        assert_eq!(record.events(), ["starts", "made", "stops", "lost Aborted"]);
        assert_eq!(world.logged(), ["the services have not stopped within 5ms"]);
        drop(peer);
    });
}

#[test]
fn a_failed_start_is_an_error_that_leaves_the_reactor_running() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let service = Slow { record: record.clone(), stopping: Duration::from_millis(1), failing: true };
        let error = run_service(&mut reactor, service, LONG).unwrap_err();
        assert_eq!(twistor::error_chain(&error).to_string(), "service 1 (Slow): not today");
        world.run_until(&mut reactor, "its end", |_| record.has("has stopped"));
        world.run_until_idle(&mut reactor);
        reactor.stop();
        world.run(&mut reactor);
        assert_eq!(record.events(), ["starts", "stops", "has stopped"]);
    });
}
