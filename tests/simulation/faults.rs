//! Faults of a simulation have their documented effect, for their duration, and are counted.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, Recorder, idle_protocol, once};
use twistor::sim::{
    Call, CallKind, Chaos, Errno, Fault, FaultKind, Host, Link, Network, Packet, PacketKind, Random, Rule,
    Simulation, Socket, SocketListener, SocketOptions, Verdict,
};
use twistor::{
    BuildContext, ClientFactory, ConnectTcp, Connector, Factory, Protocol, Reactor, Reason, Transport,
};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const MOMENT: Duration = Duration::from_millis(10);

fn two_hosts() -> (Simulation, Host, Host) {
    let simulation = Simulation::new(1);
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    (simulation, server, client)
}

/// Runs a server that listens again after each restart.
fn serve(simulation: &mut Simulation, server: Host) -> Record {
    let record = Record::new();
    let own = record.clone();
    let boot = move |reactor: &mut Reactor| {
        let own = own.clone();
        reactor.listen_tcp("0.0.0.0:80", move || Recorder::new(&own).echoing()).map(drop)
    };
    simulation.boot(server, boot).unwrap();
    record
}

fn ask(simulation: &mut Simulation, client: Host, to: impl Into<ConnectTcp>) -> Record {
    let record = Record::new();
    let factory = once(Recorder::new(&record), &record);
    let to: ConnectTcp = to.into();
    simulation.reactor(client).connect_tcp(to, factory).unwrap();
    simulation.run_for(MOMENT).unwrap();
    record
}

/// Creates an echo server, and a client's record of its connection.
fn connected() -> (Simulation, Host, Host, Record) {
    let (mut simulation, server, client) = two_hosts();
    serve(&mut simulation, server);
    let record = ask(&mut simulation, client, ("server", 80));
    assert!(record.has("made"));
    (simulation, server, client, record)
}

fn write(simulation: &mut Simulation, host: Host, data: &[u8]) {
    let reactor = simulation.reactor(host);
    let id = reactor.connections()[0];
    reactor.transport(id).unwrap().write(data);
}

/// Returns plain sockets of the client and of the server.
fn sockets() -> (Simulation, Host, Host, Socket, Socket) {
    let (mut simulation, server, client) = two_hosts();
    let (listener, at) = listen(&simulation, server);
    let socket = simulation.connect(client, at, SocketOptions::default()).unwrap();
    simulation.run_for(MOMENT).unwrap();
    let (other, _) = listener.accept().unwrap();
    (simulation, server, client, socket, other)
}

fn listen(simulation: &Simulation, host: Host) -> (SocketListener, SocketAddr) {
    let at = SocketAddr::new(simulation.address(host), 80);
    (simulation.listen(host, at, 8).unwrap(), at)
}

/// Returns the result of a read: bytes, or an error number.
fn read(socket: &mut Socket) -> Result<Vec<u8>, Errno> {
    let mut buffer = [0; 64];
    let count = socket.recv(&mut buffer).map_err(errno)?;
    Ok(buffer[..count].to_vec())
}

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EAGAIN, Errno::from)
}

// -- connections --

#[test]
fn a_reset_between_two_hosts_hits_both_sides_and_no_others() {
    let (mut simulation, server, client) = two_hosts();
    let served = serve(&mut simulation, server);
    let third = simulation.host("third");
    let first = ask(&mut simulation, client, ("server", 80));
    let other = ask(&mut simulation, third, ("server", 80));
    assert_eq!(simulation.reset_connections(server, client), 1);
    simulation.run_for(SECOND).unwrap();
    assert!(first.has("lost Lost") && served.count("lost Lost") == 1);
    assert!(!other.has("lost Lost"));
    assert_eq!(simulation.reset_connections(client, server), 0);
}

#[test]
fn any_connection_is_reset_while_there_is_one() {
    let (mut simulation, .., record) = connected();
    assert!(simulation.reset_any_connection());
    simulation.run_for(SECOND).unwrap();
    assert!(record.has("lost Lost"));
    assert!(!simulation.reset_any_connection());
    assert_eq!(simulation.coverage().fault(FaultKind::Reset), 1);
}

// -- ports --

/// Returns the results of connects to two ports, during a fault and after its end.
fn at_two_ports(wrong: fn(&Network, Host, Option<u16>), port: Option<u16>) -> [[String; 2]; 2] {
    let (mut simulation, server, client) = two_hosts();
    for port in [80, 81] {
        let at: SocketAddr = ([0, 0, 0, 0], port).into();
        simulation.reactor(server).listen_tcp(at, idle_protocol).unwrap();
    }
    let try_both = |simulation: &mut Simulation| {
        [80, 81].map(|port| {
            let record = ask(simulation, client, ("10.0.0.1", port));
            simulation.run_for(60 * SECOND).unwrap();
            record.events().get(2).cloned().unwrap_or_default()
        })
    };
    wrong(&simulation, server, port);
    let during = try_both(&mut simulation);
    simulation.accept_connects(server, port);
    [during, try_both(&mut simulation)]
}

#[test]
fn a_port_or_all_refuse_until_they_are_admitted_again() {
    assert_eq!(at_two_ports(Network::refuse, Some(80)), [["failed Refused", "made"], ["made", "made"]]);
    assert_eq!(at_two_ports(Network::refuse, None), [["failed Refused"; 2], ["made"; 2]]);
}

#[test]
fn a_port_or_all_are_silent_until_they_are_admitted_again() {
    assert_eq!(
        at_two_ports(Network::drop_connects, Some(80)),
        [["failed TimedOut", "made"], ["made", "made"]]
    );
    assert_eq!(at_two_ports(Network::drop_connects, None), [["failed TimedOut"; 2], ["made"; 2]]);
}

#[test]
fn a_queue_or_all_are_full_until_they_are_admitted_again() {
    assert_eq!(
        at_two_ports(Network::fill_backlog, Some(81)),
        [["made", "failed TimedOut"], ["made", "made"]]
    );
    assert_eq!(at_two_ports(Network::fill_backlog, None), [["failed TimedOut"; 2], ["made"; 2]]);
}

#[test]
fn a_connect_held_by_a_full_backlog_succeeds_once_it_has_room() {
    let (mut simulation, server, client) = two_hosts();
    serve(&mut simulation, server);
    simulation.fill_backlog(server, None);
    let record = ask(&mut simulation, client, ConnectTcp { timeout: 60 * SECOND, ..("server", 80).into() });
    simulation.run_for(20 * SECOND).unwrap();
    assert!(!record.has("made"));
    simulation.accept_connects(server, None);
    simulation.run_for(20 * SECOND).unwrap();
    assert!(record.has("made"));
    assert!(simulation.coverage().fault(FaultKind::FullBacklog) > 1);
}

#[test]
fn open_connections_survive_refusal_silence_and_a_full_backlog() {
    let (mut simulation, server, client, record) = connected();
    for wrong in [Network::refuse, Network::drop_connects, Network::fill_backlog] {
        wrong(&simulation, server, None);
    }
    write(&mut simulation, client, b"hello");
    simulation.run_for(SECOND).unwrap();
    assert!(record.has("data hello"));
}

// -- descriptors, names, slow readers --

#[test]
fn without_descriptors_a_process_sheds_until_the_limit_rises() {
    let (mut simulation, server, client, record) = connected();
    // The process's own descriptors, the listener, and the connection that exists.
    simulation.set_descriptor_limit(server, 8);
    let late = ask(&mut simulation, client, ("server", 80));
    simulation.run_for(SECOND).unwrap();
    assert_eq!(late.events()[2..], ["made", "read lost"]);
    assert!(simulation.coverage().fault(FaultKind::DescriptorLimit) > 0);
    let statistics = simulation.reactor_ref(server).unwrap().statistics();
    assert!(statistics.accept_errors + statistics.accepts_shed > 0, "{statistics:?}");
    simulation.set_descriptor_limit(server, 9);
    simulation.run_for(SECOND).unwrap();
    let later = ask(&mut simulation, client, ("server", 80));
    simulation.run_for(SECOND).unwrap();
    assert!(later.has("made") && !later.has("read lost"), "{:?}", later.events());
    assert_eq!(record.events(), ["started", "connecting", "made"]);
}

#[test]
fn a_connect_without_descriptors_fails_with_emfile() {
    let (mut simulation, server, client) = two_hosts();
    serve(&mut simulation, server);
    simulation.reactor(client);
    simulation.set_descriptor_limit(client, 6);
    let record = ask(&mut simulation, client, ("10.0.0.1", 80));
    assert!(record.has("failed ConnectFailed"), "{:?}", record.events());
}

#[test]
fn a_descriptor_limit_holds_for_processes_that_begin_later() {
    let (mut simulation, server, client) = two_hosts();
    simulation.set_descriptor_limit(client, 6);
    let refused = |simulation: &Simulation| {
        let to = SocketAddr::new(simulation.address(server), 80);
        simulation.connect(client, to, SocketOptions::default()).err().map(errno)
    };
    assert_eq!(refused(&simulation), Some(Errno::EMFILE));
    let at_first = ask(&mut simulation, client, ("10.0.0.1", 80));
    simulation.restart(client).unwrap();
    let later = ask(&mut simulation, client, ("10.0.0.1", 80));
    assert!(at_first.has("failed ConnectFailed") && later.has("failed ConnectFailed"));
}

#[test]
fn a_host_finds_no_names_but_addresses_and_itself() {
    let (mut simulation, server, client) = two_hosts();
    serve(&mut simulation, server);
    simulation.set_name_resolution(client, false);
    let came = |simulation: &mut Simulation, name: &str| {
        let record = ask(simulation, client, (name, 80));
        simulation.run_for(SECOND).unwrap();
        record.events().get(2).cloned()
    };
    assert_eq!(came(&mut simulation, "server").unwrap(), "failed Unresolved");
    assert_eq!(came(&mut simulation, "10.0.0.1").unwrap(), "made");
    assert_eq!(came(&mut simulation, "localhost").unwrap(), "failed Refused");
    simulation.set_name_resolution(client, true);
    assert_eq!(came(&mut simulation, "server").unwrap(), "made");
    assert_eq!(simulation.coverage().fault(FaultKind::NameFailure), 1);
}

#[test]
fn a_slow_reader_reads_at_its_rate_and_then_all_once_lifted() {
    let (mut simulation, server, client, _) = connected();
    simulation.set_read_rate(server, Some(1000));
    write(&mut simulation, client, &[b'x'; 10_000]);
    simulation.run_for(5 * SECOND).unwrap();
    let read = |simulation: &Simulation| simulation.reactor_ref(server).unwrap().statistics().bytes_received;
    assert!((4900..=5100).contains(&read(&simulation)), "{}", read(&simulation));
    simulation.set_read_rate(server, None);
    simulation.run_for(SECOND).unwrap();
    assert_eq!(read(&simulation), 10_000);
}

// -- hosts that end --

#[test]
fn a_killed_process_closes_its_sockets_and_the_peer_sees_eof() {
    let (mut simulation, server, client, record) = connected();
    simulation.kill(server);
    simulation.run_for(SECOND).unwrap();
    assert_eq!(record.events().last().unwrap(), "read lost");
    let refused = ask(&mut simulation, client, ("server", 80));
    simulation.run_for(SECOND).unwrap();
    assert!(refused.has("failed Refused"), "its system goes on: {:?}", refused.events());
}

#[test]
fn a_killed_process_that_had_not_read_everything_resets() {
    let (mut simulation, server, client, record) = connected();
    simulation.pause(server);
    write(&mut simulation, client, b"unread");
    simulation.run_for(SECOND).unwrap();
    simulation.kill(server);
    simulation.run_for(SECOND).unwrap();
    assert!(record.has("lost Lost"), "{:?}", record.events());
}

#[test]
fn a_crash_is_silent_until_a_write_after_the_restart() {
    let (mut simulation, server, client, record) = connected();
    simulation.crash(server);
    simulation.run_for(3600 * SECOND).unwrap();
    simulation.restart(server).unwrap();
    simulation.run_for(3600 * SECOND).unwrap();
    assert_eq!(record.events().last().unwrap(), "made", "half open");
    write(&mut simulation, client, b"hello?");
    simulation.run_for(SECOND).unwrap();
    assert!(record.has("lost Lost"), "{:?}", record.events());
}

#[test]
fn a_crashed_host_answers_nobody_until_it_is_restarted() {
    let (mut simulation, server, client) = two_hosts();
    serve(&mut simulation, server);
    simulation.crash(server);
    let before = ask(&mut simulation, client, ("10.0.0.1", 80));
    simulation.run_for(60 * SECOND).unwrap();
    assert!(before.has("failed TimedOut"));
    simulation.restart(server).unwrap();
    let after = ask(&mut simulation, client, ("10.0.0.1", 80));
    assert!(after.has("made"));
}

#[test]
fn keepalive_finds_a_lost_peer_within_twice_its_idle_time() {
    for idle in [10, 60, 600].map(Duration::from_secs) {
        let (mut simulation, server, client) = two_hosts();
        serve(&mut simulation, server);
        let to = ConnectTcp { keepalive: Some(idle), ..("server", 80).into() };
        let record = ask(&mut simulation, client, to);
        // A peer that answers is not affected.
        simulation.run_for(10 * idle).unwrap();
        assert_eq!(record.events().last().unwrap(), "made");
        simulation.crash(server);
        simulation.run_for(idle * 2).unwrap();
        assert!(record.has("lost Lost"), "{idle:?}: {:?}", record.events());
    }
}

#[test]
fn a_user_timeout_ends_what_goes_unanswered_for_so_long() {
    for cut in ["both", "there", "back", "crash"] {
        for asks in [true, false] {
            let (mut simulation, server, client) = two_hosts();
            serve(&mut simulation, server);
            let keepalive = asks.then_some(4 * SECOND);
            let user_timeout = Some(Duration::from_millis(8500));
            let to = ConnectTcp { keepalive, user_timeout, ..("server", 80).into() };
            let record = ask(&mut simulation, client, to);
            simulation.run_for(600 * SECOND).unwrap();
            assert_eq!(record.events().last().unwrap(), "made", "{cut}");
            match cut {
                "both" => simulation.partition(server, client),
                "there" => simulation.partition_one_way(client, server),
                "back" => simulation.partition_one_way(server, client),
                _ => simulation.crash(server),
            }
            if asks {
                // The first probe comes at 4 s at the latest, the last one at 9 s.
                simulation.run_for(9 * SECOND).unwrap();
            } else {
                simulation.run_for(60 * SECOND).unwrap();
                assert_eq!(record.events().last().unwrap(), "made", "{cut}: nothing was sent");
                write(&mut simulation, client, b"hello?");
                simulation.run_for(8 * SECOND).unwrap();
                assert_eq!(record.events().last().unwrap(), "made", "{cut}");
                simulation.run_for(SECOND).unwrap();
            }
            assert!(record.has("lost Lost"), "{cut} {asks}: {:?}", record.events());
        }
    }
}

#[test]
fn a_cut_shorter_than_the_user_timeout_ends_no_connection() {
    let (mut simulation, server, client) = two_hosts();
    serve(&mut simulation, server);
    let (keepalive, user_timeout) = (Some(4 * SECOND), Some(Duration::from_millis(8500)));
    let to = ConnectTcp { keepalive, user_timeout, ..("server", 80).into() };
    let record = ask(&mut simulation, client, to);
    for _ in 0..100 {
        simulation.partition(server, client);
        write(&mut simulation, client, b"hello?");
        simulation.run_for(4 * SECOND).unwrap();
        simulation.heal(server, client);
        simulation.run_for(10 * SECOND).unwrap();
    }
    assert!(!record.has("lost Lost"), "{:?}", record.events());
}

#[test]
fn keepalive_finds_a_restarted_host_at_its_next_probe() {
    let (mut simulation, server, client) = two_hosts();
    serve(&mut simulation, server);
    let to = ConnectTcp { keepalive: Some(60 * SECOND), ..("server", 80).into() };
    let record = ask(&mut simulation, client, to);
    simulation.crash(server);
    simulation.restart(server).unwrap();
    simulation.run_for(61 * SECOND).unwrap();
    assert!(record.has("lost Lost"), "{:?}", record.events());
}

#[test]
fn a_handshake_that_is_not_completed_is_never_accepted() {
    let (mut simulation, server, client) = two_hosts();
    let at = SocketAddr::new(simulation.address(server), 80);
    // A backlog of one, and one more, as on Linux.
    let listener = simulation.listen(server, at, 1).unwrap();
    let rule = simulation.add_rule(Fault::packet(PacketKind::SynAck, Verdict::Drop));
    let connect = |simulation: &Simulation| simulation.connect(client, at, SocketOptions::default()).unwrap();
    let sockets = [connect(&simulation), connect(&simulation)];
    simulation.run_for(200 * SECOND).unwrap();
    assert_eq!(listener.accept().err().map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
    for socket in sockets {
        assert_eq!(socket.take_error().unwrap().map(errno), Some(Errno::ETIMEDOUT));
    }
    simulation.run_for(SECOND).unwrap();
    assert_eq!(simulation.connections(), 0);
    // Their places in the backlog are free again.
    simulation.remove_rule(rule);
    let _sockets = [connect(&simulation), connect(&simulation)];
    simulation.run_for(SECOND).unwrap();
    assert!(listener.accept().is_ok() && listener.accept().is_ok());
}

#[test]
fn a_place_in_the_queue_is_free_when_the_client_has_died() {
    let (mut simulation, server, client) = two_hosts();
    simulation.set_links(Link::fixed(MOMENT));
    let at = SocketAddr::new(simulation.address(server), 80);
    let listener = simulation.listen(server, at, 0).unwrap();
    let socket = simulation.connect(client, at, SocketOptions::default()).unwrap();
    // The SYN has arrived at the server, and the SYN-ACK is in flight.
    simulation.run_for(MOMENT * 3 / 2).unwrap();
    simulation.crash(client);
    drop(socket);
    simulation.run_for(70 * SECOND).unwrap();
    assert_eq!(listener.accept().err().map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
    simulation.restart(client).unwrap();
    let _socket = simulation.connect(client, at, SocketOptions::default()).unwrap();
    simulation.run_for(SECOND).unwrap();
    assert!(listener.accept().is_ok());
}

#[test]
fn a_server_has_a_connection_after_one_and_a_half_round_trips() {
    let (mut simulation, server, client) = two_hosts();
    simulation.set_links(Link::fixed(MOMENT));
    let (listener, at) = listen(&simulation, server);
    let mut socket = simulation.connect(client, at, SocketOptions::default()).unwrap();
    // Two of three legs: the client may send already, and the server has no connection yet.
    simulation.run_for(2 * MOMENT).unwrap();
    assert_eq!(socket.send(b"early").unwrap(), 5);
    assert_eq!(listener.accept().err().map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
    simulation.run_for(MOMENT).unwrap();
    let (mut other, _) = listener.accept().unwrap();
    assert_eq!(read(&mut other), Ok(b"early".to_vec()));
}

#[test]
fn an_abort_in_connection_made_is_a_loss_for_the_client() {
    struct Aborts;
    impl Protocol for Aborts {
        fn connection_made(&mut self, transport: &mut Transport<'_>) {
            transport.abort_connection();
        }
        fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
    }
    let (mut simulation, server, client) = two_hosts();
    simulation.reactor(server).listen_tcp("0.0.0.0:80", || Aborts).unwrap();
    let record = ask(&mut simulation, client, ("server", 80));
    simulation.run_for(SECOND).unwrap();
    assert!(record.has("made") && record.has("lost Lost"), "{:?}", record.events());
}

// -- clocks --

/// Returns the world time of a ten-second timer on a host with this drift, and the host's own time.
fn ten_seconds(drift: i32) -> (Duration, Duration) {
    let (mut simulation, host, _) = two_hosts();
    simulation.set_clock_drift(host, drift);
    let came = Rc::new(Cell::default());
    let (told, network) = (Rc::clone(&came), simulation.network());
    simulation.reactor(host).call_later(10 * SECOND, move |reactor| {
        told.set((network.now().since_origin(), reactor.now().since_origin()));
    });
    simulation.run_for(60 * SECOND).unwrap();
    came.get()
}

#[test]
fn timers_of_a_drifting_clock_are_off_by_exactly_the_drift() {
    assert_eq!(ten_seconds(0), (10 * SECOND, 10 * SECOND));
    assert_eq!(ten_seconds(250_000), (8 * SECOND, 10 * SECOND));
    assert_eq!(ten_seconds(-200_000), (10 * SECOND * 10 / 8, 10 * SECOND));
    assert_eq!(ten_seconds(-500_000), (20 * SECOND, 10 * SECOND));
}

#[test]
fn a_timer_that_is_set_already_follows_a_drift_that_begins() {
    let (mut simulation, host, other) = two_hosts();
    let came = Rc::new(RefCell::new(Vec::new()));
    for host in [host, other] {
        let (told, network) = (Rc::clone(&came), simulation.network());
        simulation.reactor(host).call_later(10 * SECOND, move |_| {
            told.borrow_mut().push((host, network.now().since_origin()));
        });
    }
    simulation.at(5 * SECOND, move |simulation| simulation.set_clock_drift(host, 250_000));
    simulation.run_for(60 * SECOND).unwrap();
    assert_eq!(*came.borrow(), [(host, 9 * SECOND), (other, 10 * SECOND)]);
}

#[test]
fn a_clock_that_steps_moves_the_calendar_and_no_timer() {
    for step in [3600_i64, -3600] {
        let (mut simulation, host, other) = two_hosts();
        let before = simulation.reactor(host).system_time();
        let came = Rc::new(Cell::new(Duration::ZERO));
        let told = Rc::clone(&came);
        simulation
            .reactor(host)
            .call_later(10 * SECOND, move |reactor| told.set(reactor.now().since_origin()));
        let clock = simulation.reactor(host).wall_clock();
        let (told, shows) = (Rc::new(Cell::new(None)), clock.clone());
        let tells = Rc::clone(&told);
        simulation.reactor(host).call_later(15 * SECOND, move |_| {
            // Another thread reads it, as the check of a certificate may.
            let now = std::thread::spawn(move || shows.now());
            tells.set(Some(now.join().unwrap()));
        });
        simulation.step_clock(host, step);
        simulation.run_for(20 * SECOND).unwrap();
        let at_20_s = simulation.reactor(host).system_time();
        assert_eq!(clock.now(), at_20_s);
        assert_eq!(told.get(), Some(at_20_s - 5 * SECOND));
        assert_eq!(came.get(), 10 * SECOND);
        let elsewhere = simulation.reactor(other).system_time();
        let here = simulation.reactor(host).system_time();
        let moved = here
            .duration_since(elsewhere)
            .map_or_else(|error| -(error.duration().as_secs() as i64), |d| d.as_secs() as i64);
        assert_eq!(moved, step);
        assert_eq!(elsewhere.duration_since(before).unwrap(), 20 * SECOND);
    }
}

// -- rules: their conditions --

/// Returns the results of ten sends of the client, one per second from 100 s on; `x` is a failure.
fn fates(fault: impl Fn(Fault, Host, Host) -> Fault) -> String {
    let (mut simulation, server, client, mut socket, _other) = sockets();
    let basis = Fault::fail(CallKind::Send, Errno::ENOBUFS);
    simulation.add_rule(fault(basis, server, client));
    let mut fates = String::new();
    for second in 100..110 {
        let wait = Duration::from_secs(second) - simulation.now().since_origin();
        simulation.run_for(wait).unwrap();
        fates.push(match socket.send(b"x") {
            Ok(_) => '.',
            Err(error) => {
                assert_eq!(errno(error), Errno::ENOBUFS);
                'x'
            }
        });
    }
    let failed = fates.matches('x').count() as u64;
    assert_eq!(simulation.coverage().fault(FaultKind::Failure), failed);
    fates
}

#[test]
fn a_fault_without_conditions_is_always_one() {
    assert_eq!(fates(|fault, _, _| fault), "xxxxxxxxxx");
}

#[test]
fn a_fault_on_a_host_is_one_of_its_calls() {
    assert_eq!(fates(|fault, _, client| fault.on(client)), "xxxxxxxxxx");
    assert_eq!(fates(|fault, server, _| fault.on(server)), "..........");
}

#[test]
fn a_fault_after_or_between_times_is_one_then() {
    let at = Duration::from_secs;
    assert_eq!(fates(|fault, _, _| fault.after(at(104))), "....xxxxxx");
    assert_eq!(fates(|fault, _, _| fault.between(at(103), at(106))), "...xxx....");
}

#[test]
fn nth_and_at_most_count_only_calls_matching_other_conditions() {
    let late = Duration::from_secs(104);
    assert_eq!(fates(|fault, _, _| fault.nth(3)), "..x.......");
    assert_eq!(fates(|fault, _, _| fault.at_most(2)), "xx........");
    assert_eq!(fates(|fault, _, _| fault.nth(3).after(late)), "......x...");
    assert_eq!(fates(|fault, _, _| fault.after(late).at_most(2)), "....xx....");
    assert_eq!(fates(|fault, _, _| fault.chance(0.5).at_most(2)).matches('x').count(), 2);
}

#[test]
fn a_fault_with_a_chance_is_one_now_and_then() {
    assert_eq!(fates(|fault, _, _| fault.chance(0.0)), "..........");
    let failed = fates(|fault, _, _| fault.chance(0.5)).matches('x').count();
    assert!((1..10).contains(&failed));
    assert_eq!(
        fates(|fault, _, _| fault.chance(0.5)),
        fates(|fault, _, _| fault.chance(0.5)),
        "the seed decides"
    );
}

#[test]
fn a_fault_is_one_while_its_condition_holds() {
    let asked = |fault: Fault| {
        let count = Cell::new(0);
        fault.when(move || {
            count.set(count.get() + 1);
            count.get() % 2 == 0
        })
    };
    assert_eq!(fates(|fault, _, _| asked(fault)), ".x.x.x.x.x");
}

/// Returns the latency of a byte to the server, and back, with this rule.
fn travels(rule: impl Fn(Host, Host) -> Fault) -> [Duration; 2] {
    let (mut simulation, server, client, mut socket, mut other) = sockets();
    simulation.add_rule(rule(server, client));
    let mut took = |from: &mut Socket, to: &mut Socket| {
        let began = simulation.now();
        from.send(b"x").unwrap();
        while read(to).is_err() {
            simulation.step().unwrap();
        }
        simulation.now() - began
    };
    [took(&mut socket, &mut other), took(&mut other, &mut socket)]
}

#[test]
fn a_packet_s_fault_may_be_for_one_receiver_or_for_one_sender() {
    let late = || Fault::packet(PacketKind::Data, Verdict::Delay(SECOND));
    let (slow, quick) = (SECOND + MILLISECOND, MILLISECOND);
    assert_eq!(travels(|_, _| late()), [slow, slow]);
    assert_eq!(travels(|server, _| late().on(server)), [slow, quick]);
    assert_eq!(travels(|server, _| late().from(server)), [quick, slow]);
    assert_eq!(travels(|_, client| late().from(client).on(client)), [quick, quick]);
}

// -- rules: their verdicts --

#[test]
fn a_dropped_packet_is_retransmitted_and_others_are_untouched() {
    let of = |verdict| travels(move |server, _| Fault::any_packet(verdict).on(server).at_most(1))[0];
    assert_eq!(of(Verdict::Pass), MILLISECOND);
    assert_eq!(of(Verdict::Short(1)), MILLISECOND, "there is nothing to shorten");
    assert_eq!(of(Verdict::Drop), 200 * MILLISECOND + MILLISECOND);
}

#[test]
fn a_failed_packet_gives_an_error_here_and_a_reset_there() {
    let (mut simulation, _, _, mut socket, mut other) = sockets();
    simulation.add_rule(Fault::packet(PacketKind::Data, Verdict::Fail(Errno::EHOSTUNREACH)));
    socket.send(b"hello").unwrap();
    simulation.run_for(SECOND).unwrap();
    assert_eq!(read(&mut socket), Err(Errno::EHOSTUNREACH));
    assert_eq!(read(&mut other), Err(Errno::ECONNRESET));
}

#[test]
fn a_handshake_is_late_lost_or_fails() {
    let took = |kind, verdict| {
        let (mut simulation, server, client) = two_hosts();
        serve(&mut simulation, server);
        simulation.add_rule(Fault::packet(kind, verdict).at_most(1));
        let record = ask(&mut simulation, client, ("10.0.0.1", 80));
        simulation.run_until(|_| record.events().len() > 2).unwrap();
        (record.events()[2].clone(), simulation.now().since_origin().as_secs())
    };
    for kind in [PacketKind::Syn, PacketKind::SynAck] {
        assert_eq!(took(kind, Verdict::Pass), ("made".into(), 0));
        assert_eq!(took(kind, Verdict::Delay(5 * SECOND)), ("made".into(), 5));
        assert_eq!(took(kind, Verdict::Drop), ("made".into(), 1));
        assert_eq!(took(kind, Verdict::Fail(Errno::ECONNREFUSED)), ("failed Refused".into(), 0));
    }
}

#[test]
fn a_call_moves_less_or_nothing_or_later() {
    let (mut simulation, _, _, mut socket, mut other) = sockets();
    let mut with = |kind, verdict, socket: &mut Socket, other: &mut Socket| {
        let rule = simulation.add_rule(Fault::call(kind, verdict));
        let sent = socket.send(b"hello").map_err(errno);
        simulation.run_for(SECOND).unwrap();
        let come = read(other);
        simulation.remove_rule(rule);
        let _ = read(other);
        (sent, come)
    };
    let (send, recv) = (CallKind::Send, CallKind::Recv);
    let hello = || Ok(b"hello".to_vec());
    assert_eq!(with(send, Verdict::Pass, &mut socket, &mut other), (Ok(5), hello()));
    assert_eq!(with(send, Verdict::Short(2), &mut socket, &mut other), (Ok(2), Ok(b"he".to_vec())));
    assert_eq!(with(send, Verdict::Short(0), &mut socket, &mut other), (Ok(1), Ok(b"h".to_vec())));
    assert_eq!(with(send, Verdict::Drop, &mut socket, &mut other), (Err(Errno::EAGAIN), Err(Errno::EAGAIN)));
    assert_eq!(with(recv, Verdict::Short(2), &mut socket, &mut other), (Ok(5), Ok(b"he".to_vec())));
    assert_eq!(with(recv, Verdict::Drop, &mut socket, &mut other), (Ok(5), Err(Errno::EAGAIN)));
    assert_eq!(with(recv, Verdict::Fail(Errno::EINTR), &mut socket, &mut other), (Ok(5), Err(Errno::EINTR)));
    let coverage = simulation.coverage();
    assert_eq!(coverage.fault(FaultKind::ShortWrite), 2);
    assert!(coverage.fault(FaultKind::ShortRead) > 0 && coverage.fault(FaultKind::WouldBlock) == 2);
}

#[test]
fn a_call_that_takes_long_makes_what_comes_after_it_late() {
    let (mut simulation, _, client, record) = connected();
    write(&mut simulation, client, b"hello");
    simulation.add_rule(Fault::call(CallKind::Send, Verdict::Delay(SECOND)).on(client));
    simulation.run_for(SECOND).unwrap();
    assert!(!record.has("data hello"));
    simulation.run_for(MOMENT).unwrap();
    assert!(record.has("data hello"));
    assert_eq!(simulation.coverage().fault(FaultKind::SlowCall), 1);
}

/// The peer reads nothing at first, and its buffer is filled to different degrees when a write
/// fails for no reason.
#[test]
fn room_is_reported_after_a_write_that_failed_for_no_reason() {
    for fill in (1..=40).map(|steps| steps * 8 * 1024) {
        let (mut simulation, host, _) = two_hosts();
        let received = Rc::new(Cell::new(0));
        let counted = Rc::clone(&received);
        let accepted = move || {
            let counted = Rc::clone(&counted);
            idle_protocol().acting(move |what, transport, data| {
                counted.set(counted.get() + data.len());
                if what == "made" {
                    transport.pause_reading();
                }
            })
        };
        simulation.reactor(host).listen_unix("@room", accepted).unwrap();
        let record = Record::new();
        let client = once(Recorder::new(&record), &record);
        simulation.reactor(host).connect_unix("@room", client).unwrap();
        simulation.run_for(MOMENT).unwrap();
        let reactor = simulation.reactor(host);
        let mut ids = reactor.connections();
        let is_paused = |id: &_| reactor.transport(*id).is_some_and(|transport| transport.reading_paused());
        ids.sort_by_key(is_paused);
        let [client, server] = ids[..] else { panic!("{ids:?}") };
        simulation.reactor(host).transport(client).unwrap().write(&vec![1; fill]);
        simulation.run_for(SECOND).unwrap();
        simulation.add_rule(Fault::call(CallKind::Send, Verdict::Drop).on(host).at_most(1));
        simulation.reactor(host).transport(client).unwrap().write(b"more");
        simulation.run_for(SECOND).unwrap();
        simulation.reactor(host).transport(server).unwrap().resume_reading();
        simulation.run_for(SECOND).unwrap();
        assert_eq!(received.get(), fill + 4);
    }
}

#[test]
fn reactors_do_not_mind_calls_that_do_nothing_at_first() {
    for kind in [CallKind::Accept, CallKind::Recv, CallKind::Send, CallKind::Poll] {
        for verdict in [Verdict::Drop, Verdict::Fail(Errno::EINTR), Verdict::Short(1), Verdict::Delay(MOMENT)]
        {
            let (mut simulation, server, client) = two_hosts();
            serve(&mut simulation, server);
            simulation.add_rule(Fault::call(kind, verdict).at_most(5));
            let record = ask(&mut simulation, client, ("10.0.0.1", 80));
            simulation.run_for(SECOND).unwrap();
            write(&mut simulation, client, b"x");
            simulation.run_for(SECOND).unwrap();
            assert_eq!(record.events(), ["started", "connecting", "made", "data x"], "{kind} {verdict:?}");
        }
    }
}

#[test]
fn every_call_or_every_packet_may_be_concerned() {
    let (mut simulation, _, client, record) = connected();
    simulation.add_rule(Fault::any_call(Verdict::Delay(MOMENT)).at_most(3));
    simulation.add_rule(Fault::any_packet(Verdict::Delay(MOMENT)).at_most(2));
    write(&mut simulation, client, b"hello");
    simulation.run_for(SECOND).unwrap();
    assert!(record.has("data hello"));
    let coverage = simulation.coverage();
    assert_eq!((coverage.fault(FaultKind::SlowCall), coverage.fault(FaultKind::Delay)), (3, 2));
}

// -- rules: their order, their sight, their end --

#[test]
fn the_first_rule_that_has_something_to_say_decides() {
    let (simulation, _, _, mut socket, _other) = sockets();
    simulation.add_rule(Fault::call(CallKind::Send, Verdict::Pass));
    let first = simulation.add_rule(Fault::fail(CallKind::Send, Errno::ENOBUFS));
    let second = simulation.add_rule(Fault::fail(CallKind::Send, Errno::ENOMEM));
    let mut send = || socket.send(b"x").map_err(errno);
    assert_eq!(send(), Err(Errno::ENOBUFS));
    assert!(simulation.remove_rule(first));
    assert_eq!(send(), Err(Errno::ENOMEM));
    assert!(!simulation.remove_rule(first));
    assert!(simulation.remove_rule(second));
    assert_eq!(send(), Ok(1));
}

/// Records all packets and calls.
struct Watching(Rc<RefCell<Vec<Packet>>>, Rc<RefCell<Vec<Call>>>);

impl Rule for Watching {
    fn packet(&mut self, packet: &Packet, _: &mut Random) -> Verdict {
        self.0.borrow_mut().push(packet.clone());
        Verdict::Pass
    }

    fn call(&mut self, call: &Call, _: &mut Random) -> Verdict {
        self.1.borrow_mut().push(call.clone());
        Verdict::Pass
    }
}

#[test]
fn a_rule_sees_every_packet_and_every_call_with_all_that_it_is() {
    let (mut simulation, server, client) = two_hosts();
    let (packets, calls) = (Rc::default(), Rc::default());
    simulation.add_rule(Watching(Rc::clone(&packets), Rc::clone(&calls)));
    let (listener, at) = listen(&simulation, server);
    let mut socket = simulation.connect(client, at, SocketOptions::default()).unwrap();
    simulation.run_for(MOMENT).unwrap();
    let (_other, peer) = listener.accept().unwrap();
    for _ in 0..2 {
        socket.send(b"hello").unwrap();
    }
    socket.shutdown_write().unwrap();
    simulation.run_for(MOMENT).unwrap();
    socket.reset();
    let kinds: Vec<PacketKind> = packets.borrow().iter().map(|packet: &Packet| packet.kind).collect();
    let (data, fin) = (PacketKind::Data, PacketKind::Fin);
    let handshake = [PacketKind::Syn, PacketKind::SynAck, PacketKind::Ack];
    assert_eq!((&kinds[..3], &kinds[3..6]), (&handshake[..], &[data, data, fin][..]));
    let packet = packets.borrow()[3].clone();
    let (source, destination) = (peer, at);
    let kind = PacketKind::Data;
    assert_eq!(
        packet,
        Packet { at: packet.at, from: client, to: server, source, destination, kind, size: 5 }
    );
    assert_eq!(packet.at.since_origin(), MOMENT);
    let sends: Vec<Call> =
        calls.borrow().iter().filter(|call: &&Call| call.kind == CallKind::Send).cloned().collect();
    let expected = |count| Call { at: packet.at, host: client, kind: CallKind::Send, count, size: 5 };
    assert_eq!(sends, [expected(1), expected(2)]);
    let coverage = simulation.coverage();
    for kind in [CallKind::Socket, CallKind::Bind, CallKind::Listen, CallKind::Connect, CallKind::Shutdown] {
        assert!(calls.borrow().iter().any(|call| call.kind == kind) && coverage.call(kind) > 0, "{kind}");
    }
    assert_eq!(coverage.call(CallKind::Send), 2);
}

#[test]
fn coverage_of_several_worlds_is_added_and_says_what_is_missing() {
    let (mut simulation, .., mut socket, _other) = sockets();
    socket.send(b"x").unwrap();
    let mut sum = simulation.coverage();
    sum.merge(&simulation.coverage());
    assert_eq!(sum.call(CallKind::Send), 2);
    assert!(
        !sum.missing_calls().contains(&CallKind::Send) && sum.missing_calls().contains(&CallKind::Offload)
    );
    simulation.stop_chaos();
    assert_eq!(simulation.coverage().missing_faults(), FaultKind::ALL, "that all is well is no fault");
    assert!(sum.to_string().contains("2 send()") && sum.to_string().contains("0 partition"));
}

// -- chaos --

/// Reconnects after each loss, and sends a little now and then.
struct Tireless;

impl Factory for Tireless {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Chatty(0)))
    }
}

impl ClientFactory for Tireless {
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, _: &Reason) {
        connector.connect_later(SECOND / 5);
    }

    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, _: &Reason) {
        connector.connect_later(SECOND / 5);
    }
}

struct Chatty(u32);

impl Protocol for Chatty {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        transport.write(&[b'x'; 100]);
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
        self.0 += 1;
        if self.0 > 5 {
            return transport.lose_connection();
        }
        transport.call_later(SECOND / 10, |_: &mut Chatty, transport| transport.write(&[b'x'; 100]));
    }
}

/// Runs five hundred seconds of chaos between two hosts, and checks that everything works
/// afterwards.
fn survives(chaos: Chaos) -> Simulation {
    let (mut simulation, server, client) = two_hosts();
    simulation.set_links(Link::fixed(MOMENT));
    serve(&mut simulation, server);
    let boot = move |reactor: &mut Reactor| reactor.connect_tcp(("server", 80), Tireless).map(drop);
    simulation.boot(client, boot).unwrap();
    simulation.start_chaos(chaos);
    simulation.run_for(500 * SECOND).unwrap();
    simulation.stop_chaos();
    let calm = simulation.coverage();
    // Connections with packets in flight may have to time out first.
    simulation.run_for(200 * SECOND).unwrap();
    let before = simulation.coverage();
    let received = simulation.reactor_ref(client).unwrap().statistics().bytes_received;
    simulation.run_for(100 * SECOND).unwrap();
    let after = simulation.coverage();
    for kind in FaultKind::ALL {
        assert_eq!(before.fault(*kind), after.fault(*kind), "{kind} after the end of chaos");
    }
    assert!(calm.fault(FaultKind::Heal) > 0);
    assert!(simulation.reactor_ref(client).unwrap().statistics().bytes_received > received + 10_000);
    simulation
}

#[test]
fn each_kind_of_strike_hits_and_is_over_when_it_is_calm() {
    for kind in Chaos::FAULTS {
        let simulation = survives(Chaos { strikes: vec![*kind], ..Chaos::default() });
        assert!(simulation.coverage().fault(*kind) > 5, "{kind}\n{}", simulation.coverage());
    }
}

#[test]
fn each_thing_that_may_happen_to_calls_and_packets_does() {
    let nothing = Chaos::default;
    for (chaos, kind) in [
        (Chaos { short_reads: 0.3, ..nothing() }, FaultKind::ShortRead),
        (Chaos { short_writes: 0.3, ..nothing() }, FaultKind::ShortWrite),
        (Chaos { would_block: 0.2, ..nothing() }, FaultKind::WouldBlock),
        (Chaos { interrupted: 0.1, ..nothing() }, FaultKind::Failure),
        (Chaos { failures: 0.02, ..nothing() }, FaultKind::Failure),
        (Chaos { slow_calls: 0.1, ..nothing() }, FaultKind::SlowCall),
        (Chaos { loss: 0.1, ..nothing() }, FaultKind::Loss),
        (Chaos { delays: 0.1, ..nothing() }, FaultKind::Delay),
    ] {
        let seen = survives(chaos).coverage();
        assert!(seen.fault(kind) > 10, "{kind}\n{seen}");
    }
}

#[test]
fn chaos_hits_only_the_hosts_that_it_is_for() {
    let (mut simulation, server, client) = two_hosts();
    let record = Record::new();
    for host in [server, client] {
        let ends = record.clone();
        simulation.boot(host, |_| Ok(())).unwrap();
        simulation.on_end(host, move |host| ends.add(format!("{}", host == client)));
    }
    simulation.start_chaos(Chaos { strikes: vec![FaultKind::Kill], hosts: vec![client], ..Chaos::default() });
    simulation.run_for(100 * SECOND).unwrap();
    assert!(record.count("true") > 5 && !record.has("false"));
}

#[test]
fn a_new_chaos_takes_the_place_of_the_old_one() {
    let (mut simulation, ..) = two_hosts();
    simulation.start_chaos(Chaos { strikes: vec![FaultKind::ClockStep], ..Chaos::default() });
    simulation.run_for(100 * SECOND).unwrap();
    simulation.start_chaos(Chaos { strikes: vec![FaultKind::Pause], ..Chaos::default() });
    let before = simulation.coverage();
    simulation.run_for(100 * SECOND).unwrap();
    let after = simulation.coverage();
    assert!(before.fault(FaultKind::ClockStep) > 5 && before.fault(FaultKind::Pause) == 0);
    assert!(after.fault(FaultKind::ClockStep) == before.fault(FaultKind::ClockStep));
    assert!(after.fault(FaultKind::Pause) > 5);
}

#[test]
fn the_seed_decides_what_chaos_does() {
    let hash = |seed| {
        let mut simulation = Simulation::new(seed);
        simulation.host("server");
        let mut random = simulation.random("which chaos");
        simulation.start_chaos(Chaos::draw(&mut random));
        simulation.run_for(60 * SECOND).unwrap();
        simulation.trace_hash()
    };
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
}
