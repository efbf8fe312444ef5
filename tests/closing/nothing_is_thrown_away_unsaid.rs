//! A connection that ends with unsent output is reset: a FIN would tell the peer that the data is
//! complete.

use std::io::ErrorKind;
use std::time::Duration;

use crate::world::peer::{Peer, connection, narrow_connection, turns};
use crate::world::{Record, Recorder, World, on_each_back_end};
use twistor::sim::{CallKind, Errno, Fault, Simulation, SocketOptions};
use twistor::{Reactor, Settings, Transport};

const RESET: Option<ErrorKind> = Some(ErrorKind::ConnectionReset);

/// A connection with unsent output, to a peer that does not read.
fn stuck(world: &World, settings: Settings) -> (Reactor, Record, Peer) {
    let mut reactor = world.reactor_with(settings);
    let record = Record::new();
    let (id, peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
    reactor.transport(id).unwrap().write(&[b'w'; 500_000]);
    turns(&mut reactor);
    assert!(reactor.transport(id).unwrap().write_buffer_size() > 0);
    (reactor, record, peer)
}

/// Reads what the peer received, and its end, after the connection's reactor has finished. Turns of
/// another reactor advance the time.
fn read(world: &World, mut peer: Peer) -> (usize, Option<ErrorKind>) {
    let (all, end) = peer.read_to_end(&mut world.reactor());
    (all.len(), end)
}

#[test]
fn a_reactor_that_stops_resets_what_it_had_not_sent() {
    on_each_back_end(|world| {
        let (mut reactor, record, peer) = stuck(world, Settings::default());
        reactor.call_when_running(|reactor| {
            reactor.stop();
        });
        world.run(&mut reactor);
        assert_eq!(record.events().last().unwrap(), "lost Stopped");
        let (come, end) = read(world, peer);
        assert!(come < 500_000 && end == RESET, "{come} {end:?}");
    });
}

#[test]
fn a_reactor_that_stops_with_everything_sent_ends_cleanly() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, peer) = connection(world, &mut reactor, Recorder::new(&record));
        reactor.transport(id).unwrap().write(b"all");
        turns(&mut reactor);
        reactor.call_when_running(|reactor| {
            reactor.stop();
        });
        world.run(&mut reactor);
        assert_eq!(record.events().last().unwrap(), "lost Stopped");
        assert_eq!(read(world, peer), (3, None));
    });
}

#[test]
fn a_buffer_that_is_over_its_limit_is_thrown_away_with_a_reset() {
    on_each_back_end(|world| {
        let settings = Settings { write_buffer_limit: 100_000, ..Settings::default() };
        let (mut reactor, record, peer) = stuck(world, settings);
        let id = reactor.connections()[0];
        // Output written before `pause_writing` does not count.
        for _ in 0..3 {
            turns(&mut reactor);
            for _ in 0..2 {
                if let Some(mut transport) = reactor.transport(id) {
                    transport.write(&[b'w'; 100_000]);
                }
            }
        }
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events().last().unwrap(), "lost BufferLimit");
        assert_eq!(read(world, peer).1, RESET);
    });
}

#[test]
fn a_half_closed_peer_sees_no_clean_end_of_truncated_output() {
    on_each_back_end(|world| {
        let (mut reactor, record, mut peer) = stuck(world, Settings::default());
        peer.finish();
        world.run_until(&mut reactor, "the peer's end", |_| record.has("read lost"));
        let id = reactor.connections()[0];
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events().last().unwrap(), "lost Aborted");
        let (come, end) = read(world, peer);
        assert!(come < 500_000 && end == RESET, "{come} {end:?}");
    });
}

/// Returns what a peer receives if a write fails halfway. `first` acts on the connection before.
fn after_a_failed_write(first: fn(&mut Transport<'_>)) -> (usize, Option<ErrorKind>) {
    let mut simulation = Simulation::new(1);
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    let record = Record::new();
    let own = record.clone();
    let build = move || {
        Recorder::new(&own).acting(move |what, transport, _| {
            if what == "made" {
                (0..8).for_each(|_| transport.write(&[b'w'; 100_000]));
                first(transport);
            }
        })
    };
    simulation.reactor(server).listen_tcp("0.0.0.0:80", build).unwrap();
    let at = (simulation.address(server), 80).into();
    let options = SocketOptions { receive_buffer: Some(100_000), ..SocketOptions::default() };
    let mut peer = simulation.connect(client, at, options).unwrap();
    // All sends after the first few fail.
    simulation
        .add_rule(Fault::call(CallKind::Send, twistor::sim::Verdict::Short(10_000)).on(server).at_most(3));
    simulation.add_rule(Fault::fail(CallKind::Send, Errno::ENOBUFS).on(server));
    simulation.run_for(Duration::from_secs(60)).unwrap();
    assert_eq!(record.events().last().unwrap(), "lost Lost");
    let (mut come, mut buffer) = (0, vec![0; 100_000]);
    loop {
        match peer.recv(&mut buffer) {
            Ok(0) => return (come, None),
            Ok(count) => come += count,
            Err(error) => return (come, Some(error.kind())),
        }
    }
}

#[test]
fn a_failed_write_resets_whatever_was_requested_before() {
    for first in [
        |_: &mut Transport<'_>| {},
        |transport: &mut Transport<'_>| transport.lose_connection(),
        |transport: &mut Transport<'_>| transport.lose_write_connection(),
        |transport: &mut Transport<'_>| transport.pause_reading(),
    ] {
        let (come, end) = after_a_failed_write(first);
        assert!(come < 800_000, "{come}");
        assert_eq!(end, RESET);
    }
}
