//! A loop that was held up judges by what has happened, not by its own delay, and says who held it up.

mod world;

use std::time::Duration;

use twistor::sim::{CallKind, Simulation};
use twistor::{ConnectTcp, Place, Settings};
use world::{Record, Recorder, on_each_back_end, once, spend};

const TIMEOUT: Duration = Duration::from_millis(5);

#[test]
fn a_connection_that_was_made_in_time_has_not_timed_out() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let peer = world.listen();
        let options = ConnectTcp { timeout: TIMEOUT, ..peer.address().into() };
        let client = Recorder::new(&record).acting(|what, transport, _| {
            if what == "made" {
                transport.abort_connection();
            }
        });
        reactor.connect_tcp(options, once(client, &record)).unwrap();
        while !record.has("connecting") {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
        spend(TIMEOUT * 2);
        world.run_until_idle(&mut reactor);
        assert_eq!(
            record.events(),
            ["started", "connecting", "made", "lost Aborted", "gone Aborted", "stopped"]
        );
    });
}

#[test]
fn a_refusal_that_came_in_time_is_no_timeout() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let options = ConnectTcp { timeout: TIMEOUT, ..world.unused().into() };
        reactor.connect_tcp(options, once(Recorder::new(&record), &record)).unwrap();
        while !record.has("connecting") {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
        spend(TIMEOUT * 2);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["started", "connecting", "failed Refused", "stopped"]);
    });
}

#[test]
fn a_name_that_was_found_while_the_loop_was_held_up_is_still_connected_to() {
    // Only a simulated look-up certainly ends while the loop is held up.
    let (mut simulation, record) = (Simulation::new(1), Record::new());
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    simulation.reactor(server).listen_tcp("0.0.0.0:7", || Recorder::new(&Record::new())).unwrap();
    let options = ConnectTcp { timeout: Duration::from_secs(5), ..ConnectTcp::new("server", 7) };
    let factory = once(Recorder::new(&record), &record);
    simulation.reactor(client).connect_tcp(options, factory).unwrap();
    simulation.run_until(|simulation| simulation.coverage().call(CallKind::Resolve) == 1).unwrap();
    simulation.pause(client);
    simulation.run_for(Duration::from_secs(60)).unwrap();
    simulation.resume(client);
    simulation.run_for(Duration::from_millis(10)).unwrap();
    assert_eq!(record.events(), ["started", "connecting", "made"]);

    // What is left of it is the whole time, and no more.
    let (host, record) = (simulation.host("filtered"), Record::new());
    simulation.silence(host, None);
    let options = ConnectTcp { timeout: Duration::from_secs(5), ..ConnectTcp::new("filtered", 7) };
    let factory = once(Recorder::new(&record), &record);
    simulation.reactor(client).connect_tcp(options, factory).unwrap();
    simulation.run_until(|simulation| simulation.coverage().call(CallKind::Resolve) == 2).unwrap();
    simulation.pause(client);
    simulation.run_for(Duration::from_secs(60)).unwrap();
    simulation.resume(client);
    simulation.run_for(Duration::from_millis(4_990)).unwrap();
    assert_eq!(record.events(), ["started", "connecting"]);
    simulation.run_for(Duration::from_millis(20)).unwrap();
    assert_eq!(record.events(), ["started", "connecting", "failed TimedOut", "stopped"]);
}

#[test]
fn a_slow_callback_is_noticed_and_the_next_slower_one_is_known_by_its_place() {
    on_each_back_end(|world| {
        for measured in [true, false] {
            let settings = Settings { time_callbacks: measured, ..Settings::default() };
            let mut reactor = world.reactor_with(settings);
            let mut time = Duration::from_millis(11);
            let mut named = false;
            // More rounds than two only where the machine held up somebody else for longer still.
            for round in 1..=20 {
                reactor.remote().call_from_thread(move |_| spend(time)).unwrap();
                // One beside it, that is quick.
                reactor.call_later(Duration::ZERO, |_| {});
                world.run_until(&mut reactor, "both calls", |reactor| {
                    reactor.statistics().thread_calls == round && reactor.statistics().timed_calls == round
                });
                let Some(slowest) = reactor.statistics().slowest else { break };
                assert!(slowest.took >= time, "{slowest:?}");
                named = (slowest.place, slowest.among) == (Place::ThreadCall, 1);
                if named {
                    break;
                }
                time = slowest.took + Duration::from_millis(5);
            }
            assert_eq!(named, measured);
        }
    });
}
