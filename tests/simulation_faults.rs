//! Each fault of the simulated network does what its name says, ends when it is ended, and is counted.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use twistor::sim::{
    CallKind, Chaos, Errno, Fault, FaultKind, Host, PacketKind, Simulation, Socket, SocketOptions, Verdict,
};
use twistor::{
    Address, ClientFactory, Connector, Factory, Instant, Protocol, Reactor, Reason, Settings, Transport,
};

const SECOND: Duration = Duration::from_secs(1);

/// What a client's protocol and factory were told.
#[derive(Clone, Default)]
struct Told(Rc<RefCell<Vec<String>>>);

impl Told {
    fn add(&self, what: String) {
        self.0.borrow_mut().push(what);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut())
    }
}

impl Protocol for Told {
    fn connection_made(&mut self, _: &mut Transport<'_>) {
        self.add("made".to_owned());
    }

    fn data_received(&mut self, _: &mut Transport<'_>, data: &[u8]) {
        self.add(format!("data {}", data.len()));
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        self.add(format!("lost {}", error_of(reason)));
    }
}

impl Factory for Told {
    fn build_protocol(&mut self, _: &mut Reactor, _: &Address) -> Option<Box<dyn Protocol>> {
        Some(Box::new(self.clone()))
    }
}

impl ClientFactory for Told {
    fn client_connection_failed(&mut self, _: &mut Connector<'_>, reason: &Reason) {
        self.add(format!("failed {}", error_of(reason)));
    }
}

/// The system's error, or the kind of the reason.
fn error_of(reason: &Reason) -> String {
    match reason.system_error() {
        Some(error) => format!("{:?}", error.kind),
        None => format!("{reason:?}").split(['(', ' ', '{']).next().unwrap_or_default().to_owned(),
    }
}

/// A server that echoes on port 7, and a client.
struct Scene {
    simulation: Simulation,
    server: Host,
    client: Host,
    told: Told,
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }
}

fn scene() -> Scene {
    let mut simulation = Simulation::new(1);
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    simulation.boot(server, |reactor| reactor.listen_tcp("0.0.0.0:7", || Echo).map(drop)).unwrap();
    Scene { simulation, server, client, told: Told::default() }
}

impl Scene {
    fn run(&mut self, time: Duration) {
        self.simulation.run_for(time).unwrap();
    }

    fn connect(&mut self) -> Vec<String> {
        self.simulation.reactor(self.client).connect_tcp("server:7", self.told.clone()).unwrap();
        self.run(15 * SECOND);
        self.told.take()
    }

    fn write(&mut self, data: &[u8]) -> Vec<String> {
        let reactor = self.simulation.reactor(self.client);
        for id in reactor.connections() {
            reactor.transport(id).unwrap().write(data);
        }
        self.run(SECOND);
        self.told.take()
    }

    /// A plain socket of the client's, connected to the server.
    fn socket(&mut self) -> Socket {
        let to = (self.simulation.address(self.server), 7).into();
        let socket = self.simulation.connect(self.client, to, SocketOptions::default()).unwrap();
        self.run(SECOND);
        socket
    }

    fn count(&self, kind: FaultKind) -> u64 {
        self.simulation.coverage().fault(kind)
    }
}

#[test]
fn connections_are_reset_from_outside_on_both_sides() {
    let mut scene = scene();
    assert_eq!(scene.connect(), ["made"]);
    assert_eq!(scene.simulation.reset_connections(scene.server, scene.client), 1);
    scene.run(SECOND);
    assert_eq!(scene.told.take(), ["lost ConnectionReset"]);
    assert!(!scene.simulation.reset_any_connection());
    assert_eq!(scene.connect(), ["made"]);
    assert!(scene.simulation.reset_any_connection());
    scene.run(SECOND);
    assert_eq!(scene.simulation.reactor(scene.server).statistics().losses, 2);
    assert_eq!(scene.count(FaultKind::Reset), 2);
}

#[test]
fn a_host_that_refuses_is_filtered_or_full_admits_again_when_it_is_told_to() {
    type Change = fn(&Simulation, Host, Option<u16>);
    let kinds: [(Change, &str, FaultKind); 3] = [
        (|s, host, port| s.refuse(host, port), "failed ConnectionRefused", FaultKind::Refusal),
        (|s, host, port| s.silence(host, port), "failed TimedOut", FaultKind::Silence),
        (|s, host, port| s.fill_backlog(host, port), "failed TimedOut", FaultKind::FullBacklog),
    ];
    for (change, expected, kind) in kinds {
        for port in [None, Some(7)] {
            let mut scene = scene();
            change(&scene.simulation, scene.server, Some(8));
            assert_eq!(scene.connect(), ["made"], "another port");
            change(&scene.simulation, scene.server, port);
            assert_eq!(scene.connect(), [expected]);
            assert_eq!(scene.write(b"x"), ["data 1"], "what is open stays open");
            scene.simulation.admit(scene.server, port);
            assert_eq!(scene.connect(), ["made"]);
            assert!(scene.count(kind) > 0);
        }
    }
}

#[test]
fn a_process_without_descriptors_sheds_and_recovers_when_it_has_some() {
    let mut scene = scene();
    assert_eq!(scene.connect(), ["made"]);
    scene.simulation.set_descriptor_limit(scene.server, 8);
    assert_eq!(scene.connect(), ["made", "lost Done"]);
    assert_eq!(scene.simulation.reactor(scene.server).statistics().shed, 1);
    scene.simulation.set_descriptor_limit(scene.server, 100);
    assert_eq!(scene.connect(), ["made"]);
    // On the side that connects it is that connect's failure.
    scene.simulation.set_descriptor_limit(scene.client, 1);
    assert_eq!(scene.connect(), [format!("failed {:?}", std::io::Error::from(Errno::EMFILE).kind())]);
    assert!(scene.count(FaultKind::DescriptorLimit) > 0);
}

#[test]
fn names_are_not_found_while_they_are_not_to_be() {
    let mut scene = scene();
    scene.simulation.set_names_found(scene.client, false);
    assert_eq!(scene.connect(), ["failed Unresolved"]);
    scene.simulation.set_names_found(scene.client, true);
    assert_eq!(scene.connect(), ["made"]);
    assert_eq!(scene.count(FaultKind::NameFailure), 1);
}

#[test]
fn a_slow_reader_reads_as_much_as_it_may() {
    let mut scene = scene();
    scene.connect();
    scene.simulation.set_read_rate(scene.server, Some(10_000));
    scene.write(&[b'x'; 50_000]);
    let read = |scene: &mut Scene| scene.simulation.reactor(scene.server).statistics().bytes_received;
    let first = read(&mut scene);
    scene.run(2 * SECOND);
    let more = read(&mut scene) - first;
    assert!((15_000..=21_000).contains(&more), "{more}");
    scene.simulation.set_read_rate(scene.server, None);
    scene.run(SECOND);
    assert_eq!(read(&mut scene), 50_000);
}

#[test]
fn the_peer_of_a_host_that_lost_its_power_hears_of_it_when_it_writes_or_asks() {
    let mut scene = scene();
    scene.connect();
    scene.simulation.crash(scene.server);
    scene.run(3600 * SECOND);
    assert!(scene.told.take().is_empty(), "nobody said anything");
    scene.simulation.restart(scene.server).unwrap();
    assert_eq!(scene.write(b"are you there?"), ["lost ConnectionReset"]);
    // Keepalive asks by itself: within twice the idle time.
    scene.connect();
    let reactor = scene.simulation.reactor(scene.client);
    let id = reactor.connections()[0];
    reactor.transport(id).unwrap().set_tcp_keepalive(Some(20 * SECOND)).unwrap();
    scene.run(60 * SECOND);
    scene.simulation.crash(scene.server);
    scene.run(41 * SECOND);
    assert_eq!(scene.told.take(), ["lost TimedOut"]);
}

#[test]
fn what_a_killed_process_had_open_is_closed_by_its_system() {
    let mut scene = scene();
    scene.connect();
    scene.simulation.kill(scene.server);
    scene.run(SECOND);
    assert_eq!(scene.told.take(), ["lost Done"]);
    // With something unread it is a reset.
    scene.simulation.restart(scene.server).unwrap();
    scene.connect();
    scene.simulation.pause(scene.server);
    scene.write(b"unread");
    scene.simulation.kill(scene.server);
    scene.run(SECOND);
    assert_eq!(scene.told.take(), ["lost ConnectionReset"]);
}

#[test]
fn a_clock_that_drifts_moves_timers_and_one_that_jumps_moves_the_calendar_alone() {
    let mut simulation = Simulation::new(1);
    for (millionths, world) in [(100_000, 10_000_000_000_u64.div_ceil(11) * 10), (-500_000, 20_000_000_000)] {
        let host = simulation.host(&format!("{millionths}"));
        simulation.set_clock_drift(host, millionths);
        let (network, at) = (simulation.network(), Rc::new(Cell::new(Duration::ZERO)));
        let (begun, noted) = (simulation.now(), Rc::clone(&at));
        let call = move |_: &mut Reactor| noted.set(network.now() - begun);
        simulation.reactor(host).call_later(10 * SECOND, call);
        simulation.run_for(60 * SECOND).unwrap();
        let off = at.get().as_nanos().abs_diff(u128::from(world));
        assert!(off <= 20, "{millionths}: {:?}", at.get());
    }
    let host = simulation.host("jumper");
    let called = Rc::new(Cell::new(false));
    let noted = Rc::clone(&called);
    simulation.reactor(host).call_later(10 * SECOND, move |_| noted.set(true));
    let before = simulation.reactor(host).wall();
    simulation.step_clock(host, -3600);
    assert_eq!(before.duration_since(simulation.reactor(host).wall()).unwrap(), 3600 * SECOND);
    simulation.run_for(9 * SECOND).unwrap();
    assert!(!called.get());
    simulation.run_for(2 * SECOND).unwrap();
    assert!(called.get());
}

#[test]
fn a_rule_holds_where_when_and_as_often_as_it_says() {
    let accepts = |fault: Fault| {
        let mut scene = scene();
        scene.simulation.add_rule(fault);
        for _ in 0..6 {
            drop(scene.socket());
        }
        (scene.simulation.reactor(scene.server).statistics().accept_errors, scene)
    };
    let aborted = || Fault::fail(CallKind::Accept, Errno::ECONNABORTED);
    assert!(accepts(aborted().at_most(4)).0 == 4);
    assert_eq!(accepts(aborted().nth(3)).0, 1);
    assert_eq!(accepts(aborted().on(scene().client)).0, 0, "another host");
    assert_eq!(accepts(aborted().after(3600 * SECOND)).0, 0);
    let early = accepts(aborted().between(2 * SECOND, 4 * SECOND).at_most(100)).0;
    assert!((1..=100).contains(&early), "{early}");
    let asked = Rc::new(Cell::new(0));
    let counted = Rc::clone(&asked);
    let never = aborted().when(move || {
        counted.set(counted.get() + 1);
        false
    });
    assert_eq!(accepts(never).0, 0);
    assert!(asked.get() >= 6);
    let some = accepts(aborted().chance(0.5)).0;
    assert!((1..40).contains(&some), "{some}");
}

#[test]
fn every_verdict_on_a_packet_is_carried_out() {
    let run = |verdict: Verdict| {
        let mut scene = scene();
        scene.connect();
        let id = scene.simulation.add_rule(Fault::packet(PacketKind::Data, verdict).on(scene.server).nth(1));
        let at_once = scene.write(b"hello");
        assert!(scene.simulation.remove_rule(id) && !scene.simulation.remove_rule(id));
        scene.run(5 * SECOND);
        (at_once, scene.told.take(), scene)
    };
    assert_eq!(run(Verdict::Pass).0, ["data 5"]);
    let (at_once, later, scene) = run(Verdict::Delay(2 * SECOND));
    assert_eq!((at_once.len(), later), (0, vec!["data 5".to_owned()]));
    assert_eq!(scene.count(FaultKind::Delay), 1);
    let (_, _, scene) = run(Verdict::Drop);
    assert_eq!(scene.count(FaultKind::Loss), 1);
    assert_eq!(scene.simulation.look(scene.client).unwrap().statistics().bytes_received, 5);
    assert_eq!(run(Verdict::Fail(Errno::EHOSTUNREACH)).0, ["lost HostUnreachable"]);
}

#[test]
fn every_verdict_on_a_call_is_carried_out() {
    let run = |kind: CallKind, verdict: Verdict| {
        let mut scene = scene();
        scene.connect();
        scene.simulation.add_rule(Fault::call(kind, verdict).on(scene.client).nth(1));
        (scene.write(b"hello"), scene)
    };
    let (told, scene) = run(CallKind::Recv, Verdict::Short(2));
    assert_eq!(told, ["data 2", "data 3"]);
    assert_eq!(scene.count(FaultKind::ShortRead), 1);
    let (told, scene) = run(CallKind::Send, Verdict::Short(1));
    assert_eq!(told.len(), 1 + usize::from(told[0] != "data 5"), "{told:?}");
    assert_eq!(scene.count(FaultKind::ShortWrite), 1);
    for kind in [CallKind::Recv, CallKind::Send] {
        let (told, scene) = run(kind, Verdict::Drop);
        assert_eq!(told, ["data 5"], "a call that would block is tried again");
        assert_eq!(scene.count(FaultKind::WouldBlock), 1);
        assert_eq!(run(kind, Verdict::Fail(Errno::EINTR)).0, ["data 5"]);
    }
    assert_eq!(run(CallKind::Recv, Verdict::Fail(Errno::ETIMEDOUT)).0, ["lost TimedOut"]);
    let (told, scene) = run(CallKind::Send, Verdict::Delay(SECOND / 2));
    assert_eq!(told, ["data 5"]);
    assert_eq!(scene.count(FaultKind::SlowCall), 1);
}

#[test]
fn the_first_rule_that_has_something_to_say_decides() {
    let mut scene = scene();
    scene.connect();
    for errno in [Errno::ECONNRESET, Errno::ETIMEDOUT] {
        scene.simulation.add_rule(Fault::fail(CallKind::Recv, errno).on(scene.client));
    }
    assert_eq!(scene.write(b"hello"), ["lost ConnectionReset"]);
}

#[test]
fn every_kind_of_strike_happens_and_calm_ends_it() {
    for kind in Chaos::STRIKES {
        let mut scene = scene();
        scene.connect();
        // It is the client that looks for a name.
        let hosts = vec![if *kind == FaultKind::NameFailure { scene.client } else { scene.server }];
        let chaos =
            Chaos { strikes: vec![*kind], every: SECOND / 2, lasts: SECOND, hosts, ..Chaos::default() };
        scene.simulation.unleash(chaos);
        for _ in 0..20 {
            let told = scene.told.clone();
            scene.simulation.reactor(scene.client).connect_tcp("server:7", told).unwrap();
            scene.write(&[b'x'; 1000]);
        }
        assert!(scene.count(*kind) > 0, "{kind}: {}", scene.simulation.coverage());
        scene.simulation.calm();
        scene.run(30 * SECOND);
        scene.told.take();
        assert_eq!(scene.connect(), ["made"], "after {kind}");
    }
}

#[test]
fn what_a_call_costs_is_spent_by_its_host() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("slow");
    simulation.set_call_cost(host, SECOND);
    let at = Rc::new(RefCell::new(Vec::<Instant>::new()));
    let settings = Settings { time_callbacks: false, ..Settings::default() };
    simulation.set_settings(host, settings);
    for _ in 0..3 {
        let at = Rc::clone(&at);
        // Each of them sets one for the next turn, and each turn polls once.
        simulation.reactor(host).call_later(Duration::ZERO, move |reactor| {
            reactor.call_later(Duration::ZERO, move |reactor| at.borrow_mut().push(reactor.now()));
        });
    }
    simulation.run_for(60 * SECOND).unwrap();
    let at = at.borrow();
    assert_eq!(at.len(), 3);
    assert!(at[0] >= Instant::from_origin(SECOND), "{at:?}");
}
