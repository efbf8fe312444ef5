//! A blocked loop judges by the events that happened, not by its own delay, and names the slow
//! callback.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::peer::connection;
use crate::world::{Record, Recorder, idle_protocol, on_each_back_end, once, spend};
use twistor::policy::idle_timeout;
use twistor::sim::{CallKind, Errno, Fault, FaultKind, Host, Simulation, Socket, SocketOptions};
use twistor::stream::{StreamReader, start_server};
use twistor::task::{timeout, yield_now};
use twistor::{
    Address, CallbackKind, ConnectTcp, DatagramId, DatagramProtocol, DatagramTransport, Reactor, Settings,
};

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
            reactor.iterate(Some(Duration::ZERO)).unwrap();
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
            reactor.iterate(Some(Duration::ZERO)).unwrap();
        }
        spend(TIMEOUT * 2);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["started", "connecting", "failed Refused", "stopped"]);
    });
}

#[test]
fn a_name_resolved_while_the_loop_was_blocked_still_connects() {
    // Only a simulated look-up certainly ends while the loop is blocked.
    let (mut simulation, record) = (Simulation::new(1), Record::new());
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    simulation.reactor(server).listen_tcp("0.0.0.0:7", || Recorder::new(&Record::new())).unwrap();
    connect_and_stand_still(&mut simulation, client, "server", &record);
    simulation.run_for(Duration::from_millis(10)).unwrap();
    assert_eq!(record.events(), ["started", "connecting", "made"]);

    // The remaining time is the whole timeout, and no more.
    let (host, record) = (simulation.host("filtered"), Record::new());
    simulation.drop_connects(host, None);
    connect_and_stand_still(&mut simulation, client, "filtered", &record);
    simulation.run_for(Duration::from_millis(4_990)).unwrap();
    assert_eq!(record.events(), ["started", "connecting"]);
    simulation.run_for(Duration::from_millis(20)).unwrap();
    assert_eq!(record.events(), ["started", "connecting", "failed TimedOut", "stopped"]);
}

/// Connects to a name with a timeout of 5 s, and blocks the loop for a minute once the look-up has
/// begun.
fn connect_and_stand_still(simulation: &mut Simulation, client: Host, name: &str, record: &Record) {
    let options = ConnectTcp { timeout: Duration::from_secs(5), ..ConnectTcp::new(name, 7) };
    let asked = simulation.coverage().call(CallKind::Resolve);
    simulation.reactor(client).connect_tcp(options, once(Recorder::new(record), record)).unwrap();
    simulation.run_until(|simulation| simulation.coverage().call(CallKind::Resolve) > asked).unwrap();
    simulation.pause(client);
    simulation.run_for(Duration::from_secs(60)).unwrap();
    simulation.resume(client);
}

#[test]
fn bytes_that_came_in_time_count_before_an_idle_timeout() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let factory = idle_timeout(once(Recorder::new(&record), &Record::new()), TIMEOUT);
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let mut peer = world.connect(listener.address());
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        peer.send(b"x");
        spend(TIMEOUT * 2);
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        assert_eq!(record.events(), ["made", "data x"]);
        // Without further data it ends as usual.
        world.run_until(&mut reactor, "the end", |_| record.has("lost Layer"));
        drop(peer);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn bytes_received_during_a_slow_callback_precede_a_timeout() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record));
        let late = record.clone();
        reactor.call_later(Duration::ZERO, move |reactor| {
            let mut transport = reactor.transport(id).unwrap();
            transport.call_later(TIMEOUT, move |_: &mut Recorder, _| late.add("time is up"));
            peer.send(b"x");
            spend(TIMEOUT * 2);
            // The peer is closed with the next call.
            reactor.call_later(TIMEOUT, move |_| drop(peer));
        });
        world.run_until(&mut reactor, "the end", |_| record.has("read lost"));
        assert_eq!(record.events(), ["made", "data x", "time is up", "read lost"]);
        reactor.transport(id).unwrap().lose_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_timeout_waits_for_all_that_had_come_before_it() {
    on_each_back_end(|world| {
        let settings = Settings { read_buffer: 1024, bytes_per_turn: 1024, ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let record = Record::new();
        let protocol = Recorder::new(&record);
        let received = Rc::clone(&protocol.received);
        let (id, mut peer) = connection(world, &mut reactor, protocol);
        let (early, late) = (record.clone(), record.clone());
        let mut transport = reactor.transport(id).unwrap();
        transport.call_later(TIMEOUT, move |protocol: &mut Recorder, _| {
            early.add(format!("after {} bytes", protocol.received.borrow().len()));
        });
        transport.call_later(TIMEOUT, move |_: &mut Recorder, _| late.add("second"));
        peer.send(&[b'x'; 40 * 1024]);
        spend(TIMEOUT * 2);
        world.run_until(&mut reactor, "the time", |_| record.has("second"));
        assert_eq!(received.borrow().len(), 40 * 1024);
        let events = record.events();
        assert_eq!(events[events.len() - 2..], ["after 40960 bytes", "second"]);
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_peer_that_never_pauses_puts_no_timeout_off_for_ever() {
    on_each_back_end(|world| {
        let settings = Settings { bytes_per_turn: 8192, ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let record = Record::new();
        let (id, mut peer) = connection(world, &mut reactor, idle_protocol());
        let mut transport = reactor.transport(id).unwrap();
        for name in ["first", "second"] {
            let record = record.clone();
            transport.call_later(TIMEOUT, move |_: &mut Recorder, _| record.add(name));
        }
        let record_of_loop = record.clone();
        reactor.call_later(TIMEOUT, move |_| record_of_loop.add("the loop's own"));
        spend(TIMEOUT * 2);
        let mut turns = 0;
        while !record.has("second") {
            peer.fill();
            reactor.iterate(Some(Duration::ZERO)).unwrap();
            assert!(record.has("the loop's own"), "one poll goes before it");
            turns += 1;
            assert!(turns < 100_000, "{:?}", record.events());
        }
        assert_eq!(record.events(), ["the loop's own", "first", "second"]);
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_task_has_what_came_in_time_before_its_time_is_up() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (record, peer) = (Record::new(), Rc::new(RefCell::new(None)));
        let (seen, sender) = (record.clone(), Rc::clone(&peer));
        reactor
            .block_on(async move {
                let server = start_server(world.anywhere(), async move |mut reader: StreamReader, _| {
                    seen.add("begun");
                    let read = timeout(TIMEOUT, reader.read_chunk(10)).await;
                    seen.add(format!("{:?}", read.map(|bytes| bytes.unwrap().to_vec())));
                })
                .unwrap();
                *sender.borrow_mut() = Some(world.connect(server.address()));
                while !record.has("begun") {
                    yield_now().await;
                }
                sender.borrow_mut().as_mut().unwrap().send(b"x");
                spend(TIMEOUT * 2);
                while record.events().len() < 2 {
                    yield_now().await;
                }
                assert_eq!(record.events(), ["begun", "Ok([120])"]);
            })
            .unwrap();
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_datagram_that_came_in_time_counts_before_a_timeout() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let [own, other] = sockets(&mut reactor, &record);
        let address = reactor.datagram_transport(own).unwrap().host();
        reactor.datagram_transport(other).unwrap().write_to(b"x", &address).unwrap();
        // The datagram is sent at the end of the turn.
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        let late = record.clone();
        let mut transport = reactor.datagram_transport(own).unwrap();
        transport.call_later(TIMEOUT, move |_: &mut Answers, _| late.add("time is up"));
        spend(TIMEOUT * 2);
        world.run_until(&mut reactor, "the time", |_| record.has("time is up"));
        assert_eq!(record.events(), ["data x", "time is up"]);
        for socket in [own, other] {
            reactor.datagram_transport(socket).unwrap().stop_listening();
        }
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_process_that_stood_still_hears_its_peers_before_its_timers() {
    let limit = Duration::from_secs(5);
    let (mut simulation, server, record, _socket) = server_that_stood_still(limit);
    simulation.resume(server);
    simulation.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(record.events(), ["made", "data x"]);
    simulation.run_for(limit).unwrap();
    assert_eq!(record.events(), ["made", "data x", "lost Layer"]);
}

#[test]
fn a_slow_callback_is_measured_and_a_slower_one_is_located() {
    on_each_back_end(|world| {
        for slow_callback in [Settings::default().slow_callback, Some(Duration::MAX), None] {
            let settings = Settings { slow_callback, ..Settings::default() };
            let mut reactor = world.reactor_with(settings);
            let mut time = Duration::from_millis(11);
            let mut named = false;
            // More than two rounds are needed only if the machine blocked another callback for
            // longer.
            for round in 1..=20 {
                reactor.remote().call_from_thread(move |_| spend(time)).unwrap();
                // A quick call beside it.
                reactor.call_later(Duration::ZERO, |_| {});
                world.run_until(&mut reactor, "both calls", |reactor| {
                    reactor.statistics().thread_calls == round && reactor.statistics().timed_calls == round
                });
                let Some(slowest) = reactor.statistics().slowest else { break };
                assert!(slowest.took >= time, "{slowest:?}");
                named = (slowest.callback, slowest.batch_size) == (CallbackKind::ThreadCall, 1);
                if named {
                    break;
                }
                time = slowest.took + Duration::from_millis(5);
            }
            assert_eq!(named, slow_callback.is_some());
        }
    });
}

#[test]
fn an_interrupted_poll_is_none_that_timers_could_follow() {
    let (mut simulation, server, record, _socket) = server_that_stood_still(Duration::from_secs(5));
    // SIGCONT interrupts a poll in the same way.
    simulation.add_rule(Fault::fail(CallKind::Poll, Errno::EINTR).at_most(3));
    simulation.resume(server);
    simulation.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(record.events(), ["made", "data x"]);
    assert_eq!(simulation.coverage().fault(FaultKind::Failure), 3);
}

/// A server with an idle timeout that was stopped for a minute (SIGSTOP, or a suspended machine). A
/// peer sent a byte at the beginning of that minute.
fn server_that_stood_still(limit: Duration) -> (Simulation, Host, Record, Socket) {
    let (mut simulation, record) = (Simulation::new(1), Record::new());
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    let factory = idle_timeout(once(Recorder::new(&record), &Record::new()), limit);
    simulation.reactor(server).listen_tcp("0.0.0.0:7", factory).unwrap();
    let address = std::net::SocketAddr::new(simulation.address(server), 7);
    let mut socket = simulation.connect(client, address, SocketOptions::default()).unwrap();
    simulation.run_for(Duration::from_secs(1)).unwrap();
    simulation.pause(server);
    socket.send(b"x").unwrap();
    simulation.run_for(Duration::from_secs(60)).unwrap();
    (simulation, server, record, socket)
}

/// Records events.
struct Answers(Record);

/// Opens two datagram sockets, of which the first records.
fn sockets(reactor: &mut Reactor, record: &Record) -> [DatagramId; 2] {
    let sockets = [record.clone(), Record::new()]
        .map(|record| reactor.listen_udp("127.0.0.1:0", Answers(record)).unwrap());
    reactor.iterate(Some(Duration::ZERO)).unwrap();
    sockets
}

impl DatagramProtocol for Answers {
    fn datagram_received(&mut self, _: &mut DatagramTransport<'_>, data: &[u8], _: &Address) {
        self.0.add(format!("data {}", String::from_utf8_lossy(data)));
    }
}

#[test]
fn all_datagrams_that_came_in_time_count_before_a_timeout() {
    on_each_back_end(|world| {
        // Each datagram uses up the budget of a turn.
        let mut reactor = world.reactor_with(Settings { bytes_per_turn: 1, ..Settings::default() });
        let record = Record::new();
        let [own, other] = sockets(&mut reactor, &record);
        let address = reactor.datagram_transport(own).unwrap().host();
        for data in [b"1", b"2", b"3", b"4"] {
            reactor.datagram_transport(other).unwrap().write_to(data, &address).unwrap();
        }
        let late = record.clone();
        let mut transport = reactor.datagram_transport(own).unwrap();
        transport.call_later(TIMEOUT, move |_: &mut Answers, _| late.add("time is up"));
        reactor.call_later(Duration::ZERO, |_| {});
        // The datagrams are sent at the end of the turn.
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        spend(TIMEOUT * 2);
        world.run_until(&mut reactor, "the time", |_| record.has("time is up"));
        assert_eq!(record.events(), ["data 1", "data 2", "data 3", "data 4", "time is up"]);
        for socket in [own, other] {
            reactor.datagram_transport(socket).unwrap().stop_listening();
        }
        world.run_until_idle(&mut reactor);
    });
}
