//! A world of hosts that listen and connect to each other under chaos, and the checks at its end.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use twistor::sim::{Chaos, DatagramSocket, Host, Latency, Link, Random, Simulation};
use twistor::{
    BuildContext, CallbackKind, ClientFactory, ConnectTcp, ConnectUdp, ConnectUnix, Connector,
    ConnectorState, Factory, Layer, ListenTcp, ListenUdp, ListenUnix, ListenUnixDatagram, Phase, Protocol,
    Reactor, Reason, Signal, SystemEvent, TurnHook, UnixAddress, factory, layered, shared,
};

use super::errand;
use super::ledger::{Ledger, Track};
use super::names;
use super::post::Post;
use super::postman::{Correspondent, Letterbox, Postman, UDP_PORT};
use super::scribe;
use super::wanderer::Wanderer;
use super::wayward::Wayward;

/// The connection ends of one host's process.
type Tracks = Rc<RefCell<Vec<Track>>>;

/// Runs one seed.
pub fn wander(simulation: &mut Simulation) -> Ledger {
    let mut random = simulation.random("scenario");
    let ledger = Ledger::new(&simulation.network());
    let post = Post::default();
    simulation.set_links(draw_link(&mut random));
    let hosts: Vec<Host> = (0..2 + random.index(4)).map(|n| simulation.host(&format!("host{n}"))).collect();
    let tracks: Vec<Tracks> = hosts.iter().map(|_| Tracks::default()).collect();
    let doors: Vec<SocketAddr> =
        hosts.iter().map(|host| (simulation.address(*host), UDP_PORT).into()).collect();
    for host in &hosts {
        assert!(simulation.disk(*host).create_dir("/var"));
    }
    for (host, tracks) in hosts.iter().zip(&tracks) {
        let (program, others) = (Program::new(&ledger, tracks, &post, &doors), hosts.len());
        simulation.boot(*host, move |reactor| program.boot(reactor, others)).unwrap();
    }
    watch_for_ends(simulation, &hosts, &tracks);
    let mail = Mail::between(simulation, &hosts, &mut random);
    simulation.start_chaos(Chaos::draw(&mut random));
    let length = Duration::from_millis(500 + random.below(20_000));
    simulation.run_for(length).unwrap();

    // Faults end; open connections deliver everything.
    simulation.stop_chaos();
    ledger.be_quiet();
    simulation.set_links(Link::default());
    simulation.run_for(Duration::from_secs(20)).unwrap();
    for host in &hosts {
        resume_all(simulation, *host);
    }
    simulation.run_for(Duration::from_secs(200)).unwrap();
    ledger.check_all_arrived();

    mail.check(simulation);

    // Everything is closed. Leftovers are checked on running hosts, then on stopped ones.
    for host in &hosts {
        close_all(simulation, *host);
    }
    simulation.run_for(Duration::from_secs(1200)).unwrap();
    check_nothing_left(simulation, &hosts);
    for host in &hosts {
        if simulation.reactor_ref(*host).is_some() {
            simulation.reactor(*host).stop_gracefully();
        }
    }
    simulation.run_for(Duration::from_secs(10)).unwrap();
    assert!(hosts.iter().all(|host| simulation.reactor_ref(*host).is_none()), "all have stopped");
    check_nothing_left(simulation, &hosts);
    ledger.check_all_lost();
    ledger
}

fn check_nothing_left(simulation: &Simulation, hosts: &[Host]) {
    for host in hosts {
        if let Some(reactor) = simulation.reactor_ref(*host) {
            assert_eq!(
                reactor.resource_count(),
                0,
                "in use on {}: {}",
                simulation.name(*host),
                simulation.trace(5)
            );
            assert_eq!(reactor.delayed_call_count(), 0, "timers on {}", simulation.name(*host));
            let seen = reactor.statistics();
            assert_eq!(seen.connections, 0);
        }
        assert_eq!(simulation.sockets(*host), 0, "sockets of {}", simulation.name(*host));
    }
    assert_eq!(simulation.connections(), 0, "connections of the world");
}

fn draw_link(random: &mut Random) -> Link {
    let latency = match random.below(4) {
        0 => Latency::Fixed(Duration::from_millis(1)),
        1 => Latency::Uniform { least: Duration::from_micros(10), most: Duration::from_millis(50) },
        2 => Latency::Exponential { least: Duration::from_millis(1), mean: Duration::from_millis(20) },
        _ => Latency::LongTail {
            least: Duration::from_millis(1),
            usual: Duration::from_millis(5),
            worst: Duration::from_secs(2),
        },
    };
    let bandwidth = random.chance(0.3).then(|| 20_000 + random.below(10_000_000));
    let loss = if random.chance(0.3) { 0.05 } else { 0.0 };
    let (duplicate, reorder) = if random.chance(0.5) { (0.1, 0.1) } else { (0.0, 0.0) };
    let mtu = if random.chance(0.5) { 1472 } else { 65_507 };
    Link { latency, bandwidth, loss, duplicate, reorder, mtu }
}

/// Numbered datagrams from the first host to the second.
struct Mail {
    sender: DatagramSocket,
    receiver: DatagramSocket,
    sent: u64,
}

impl Mail {
    fn between(simulation: &mut Simulation, hosts: &[Host], random: &mut Random) -> Mail {
        let anywhere = ([0, 0, 0, 0], 9000).into();
        let sender = simulation.bind_datagrams(hosts[0], anywhere).unwrap();
        let receiver = simulation.bind_datagrams(hosts[1], anywhere).unwrap();
        let to = (simulation.address(hosts[1]), 9000).into();
        let sent = 20;
        for number in 0..sent {
            let data = vec![number as u8; 1 + random.index(3000)];
            // A crash closes the socket.
            let _ = sender.send_to(&data, to);
        }
        if random.chance(0.2) {
            // More than any receive queue holds.
            for _ in 0..300 {
                let _ = sender.send_to(&[0], to);
            }
        }
        Mail { sender, receiver, sent }
    }

    /// Checks that each received datagram was sent, and arrived at most twice.
    fn check(self, simulation: &Simulation) {
        let mut buffer = [0; 4096];
        let mut came = vec![0; self.sent as usize];
        while let Ok((count, whole, from)) = self.receiver.recv_from(&mut buffer) {
            assert_eq!(count, whole);
            assert_eq!(from.ip(), simulation.address(simulation.host("host0")));
            assert!(buffer[..count].iter().all(|byte| *byte == buffer[0]));
            came[usize::from(buffer[0])] += 1;
        }
        // The first number is that of the flood as well.
        assert!(came.iter().skip(1).all(|times| *times <= 2), "{came:?}");
        drop(self.sender);
    }
}

/// Marks the ends of killed processes, whose protocols get no further callback.
fn watch_for_ends(simulation: &mut Simulation, hosts: &[Host], tracks: &[Tracks]) {
    for (host, tracks) in hosts.iter().zip(tracks) {
        look_again(simulation, *host, Rc::clone(tracks));
    }
}

fn look_again(simulation: &mut Simulation, host: Host, tracks: Tracks) {
    simulation.on_end(host, move |_| {
        for track in tracks.borrow_mut().drain(..) {
            let mut end = track.borrow_mut();
            end.gone |= !end.lost;
        }
    });
}

fn resume_all(simulation: &mut Simulation, host: Host) {
    if simulation.reactor_ref(host).is_none() {
        return;
    }
    let reactor = simulation.reactor(host);
    for id in reactor.connections() {
        if let Some(mut transport) = reactor.transport(id) {
            transport.resume_reading();
        }
    }
}

fn close_all(simulation: &mut Simulation, host: Host) {
    if simulation.reactor_ref(host).is_none() {
        return;
    }
    let reactor = simulation.reactor(host);
    for listener in reactor.listeners() {
        reactor.stop_listening(&listener).unwrap();
    }
    for id in reactor.connections() {
        if let Some(mut transport) = reactor.transport(id) {
            transport.unregister_producer();
            transport.lose_connection();
        }
    }
    for id in reactor.datagrams() {
        reactor.datagram_transport(id).unwrap().stop_listening();
    }
}

/// The program of a host.
#[derive(Clone)]
struct Program {
    ledger: Ledger,
    tracks: Tracks,
    post: Post,
    doors: Vec<SocketAddr>,
}

impl Program {
    fn new(ledger: &Ledger, tracks: &Tracks, post: &Post, doors: &[SocketAddr]) -> Program {
        let (ledger, tracks, doors) = (ledger.clone(), Rc::clone(tracks), doors.to_vec());
        Program { ledger, tracks, post: post.clone(), doors }
    }

    fn wanderer(&self, side: usize) -> Wanderer {
        Wanderer::new(&self.ledger, side, &self.tracks)
    }

    fn boot(&self, reactor: &mut Reactor, others: usize) -> twistor::Result<()> {
        let acts = |name| self.ledger.acts(name);
        acts("Reactor::listen_tcp");
        acts("ListenTcp::new");
        let mut listen = ListenTcp::new(([0, 0, 0, 0], PORT));
        listen.backlog = 1 + self.ledger.below(20) as u32;
        let program = self.clone();
        acts("factory");
        // Some connections are refused.
        let ledger = self.ledger.clone();
        let wanderers = factory(move |_| (ledger.below(20) > 0).then(|| program.wanderer(1)));
        let listener = match self.ledger.below(3) {
            0 => {
                acts("layered");
                let ledger = self.ledger.clone();
                reactor.listen_tcp(listen, layered(wanderers, move || Wayward::new(&ledger)))
            }
            _ => reactor.listen_tcp(listen, wanderers),
        };
        // An injected fault may make it fail: the host tries again.
        let Ok(listener) = listener else {
            let program = self.clone();
            reactor.call_later(Duration::from_secs(1), move |reactor| {
                let _ = program.boot(reactor, others);
            });
            return Ok(());
        };
        acts("Listener::address");
        assert_eq!(listener.address().port(), Some(PORT));
        acts("Reactor::listeners");
        assert_eq!(reactor.listeners(), [listener]);
        self.listen_unix(reactor);
        self.open_udp(reactor);
        self.open_letterbox(reactor);
        for _ in 0..1 + self.ledger.below(6) {
            self.connect(reactor, others);
        }
        scribe::keep_a_log(&self.ledger, reactor);
        self.tick(reactor, others);
        let mut holds = 0;
        acts("Reactor::add_system_event_trigger");
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |reactor, hold| {
            holds += 1;
            assert_eq!(holds, 1);
            reactor.call_later(Duration::from_millis(10), move |_| drop(hold));
        });
        acts("Reactor::on_signal");
        reactor.on_signal(Signal::Hangup, |_| {})?;
        Ok(())
    }

    /// Returns one of two names, so that some connects fail.
    fn unix_name(&self) -> UnixAddress {
        match self.ledger.below(2) {
            0 => {
                self.ledger.acts("UnixAddress::of_path");
                UnixAddress::of_path("/run/wander").unwrap()
            }
            _ => {
                self.ledger.acts("UnixAddress::of_abstract");
                UnixAddress::of_abstract("wander").unwrap()
            }
        }
    }

    /// Listens on UNIX sockets. An injected fault may make any of these calls fail.
    fn listen_unix(&self, reactor: &mut Reactor) {
        self.ledger.acts("Reactor::listen_unix");
        self.ledger.acts("ListenUnix::new");
        self.ledger.acts("ListenUnix::at");
        let mode = (self.ledger.below(2) == 0).then_some(0o600);
        let backlog = 1 + self.ledger.below(4) as u32;
        let listen = ListenUnix { mode, backlog, ..ListenUnix::new(self.unix_name()) };
        let program = self.clone();
        let _ = reactor.listen_unix(listen, move || program.wanderer(1));
        let _ = reactor.listen_unix(ListenUnix::at("/run/other").unwrap(), factory(|_| None::<Wanderer>));
    }

    fn connect_unix(&self, reactor: &mut Reactor) {
        self.ledger.acts("Reactor::connect_unix");
        self.ledger.acts("ConnectUnix::new");
        self.ledger.acts("ConnectUnix::at");
        let to = match self.ledger.below(10) {
            0 => ConnectUnix::at("/run/other").unwrap(),
            _ => ConnectUnix::new(self.unix_name()),
        };
        let caller = Caller { program: self.clone(), reconnects: self.ledger.below(3) };
        let _ = reactor.connect_unix(to, caller);
    }

    fn open_udp(&self, reactor: &mut Reactor) {
        self.ledger.acts("Reactor::listen_udp");
        self.ledger.acts("ListenUdp::new");
        self.ledger.acts("ListenUdp::multicast");
        let mut listen = match self.ledger.below(2) {
            0 => ListenUdp::new(([0, 0, 0, 0], UDP_PORT)),
            _ => ListenUdp::multicast(UDP_PORT),
        };
        listen.max_size = if self.ledger.below(4) == 0 { 500 } else { 65_507 };
        listen.receive_buffer = (self.ledger.below(2) == 0).then_some(10_000);
        let _ = reactor.listen_udp(listen, Postman::new(&self.ledger, &self.post, self.doors.clone()));
    }

    fn connect_udp(&self, reactor: &mut Reactor) {
        self.ledger.acts("Reactor::connect_udp");
        let mut to = self.doors[self.ledger.below(self.doors.len() as u64) as usize];
        if self.ledger.below(4) == 0 {
            // A port without a socket.
            to.set_port(UDP_PORT + 1);
        }
        let postman = Postman::new(&self.ledger, &self.post, vec![to]);
        let host = match self.ledger.below(2) {
            0 => names::late(&self.ledger, reactor, &[to]),
            _ => to.ip().to_string(),
        };
        let opened = match self.ledger.below(2) {
            0 => reactor.connect_udp(to, postman),
            _ => {
                self.ledger.acts("ConnectUdp::new");
                let local = ListenUdp { max_size: 500, ..ListenUdp::new(([0, 0, 0, 0], 0)) };
                let peer = ConnectUdp::new(host, to.port());
                reactor.connect_udp(ConnectUdp { local, ..peer }, postman)
            }
        };
        if let Ok(id) = opened {
            let delay = Duration::from_millis(self.ledger.below(5000));
            reactor.call_later(delay, move |reactor| {
                if let Some(mut transport) = reactor.datagram_transport(id) {
                    transport.stop_listening();
                }
            });
        }
    }

    fn open_letterbox(&self, reactor: &mut Reactor) {
        self.ledger.acts("Reactor::listen_unix_datagram");
        let name = if self.ledger.below(2) == 0 { "/run/mail" } else { "@mail" };
        let name: UnixAddress = name.parse().unwrap();
        let mode = (self.ledger.below(2) == 0).then_some(0o620);
        let letterbox =
            ListenUnixDatagram { address: Some(name.clone()), mode, ..ListenUnixDatagram::default() };
        if reactor.listen_unix_datagram(letterbox, Letterbox(self.post.clone())).is_err() {
            return;
        }
        for _ in 0..1 + self.ledger.below(3) {
            let peer = (self.ledger.below(2) == 0).then(|| name.clone());
            let sender = ListenUnixDatagram { peer, ..ListenUnixDatagram::default() };
            let protocol = Correspondent::new(&self.ledger, &self.post, name.clone());
            let _ = reactor.listen_unix_datagram(sender, protocol);
        }
    }

    fn connect(&self, reactor: &mut Reactor, others: usize) {
        if self.ledger.below(5) == 0 {
            return self.connect_unix(reactor);
        }
        self.ledger.acts("Reactor::connect_tcp");
        self.ledger.acts("ConnectTcp::new");
        let host = match self.ledger.below(4) {
            0 => names::late(&self.ledger, reactor, &self.doors),
            _ => format!("host{}", self.ledger.below(others as u64)),
        };
        let to = ConnectTcp::new(host, PORT);
        let caller = Caller { program: self.clone(), reconnects: self.ledger.below(5) };
        let (id, first) = if self.ledger.below(2) == 0 {
            self.ledger.acts("shared");
            let caller = shared(caller);
            let kept = caller.clone();
            self.ledger.acts("Shared::with_factory");
            (reactor.connect_tcp(to, caller), kept.with_factory(|caller| caller.reconnects))
        } else if self.ledger.below(3) == 0 {
            let ledger = self.ledger.clone();
            (reactor.connect_tcp(to, layered(caller, move || Wayward::new(&ledger))), None)
        } else {
            (reactor.connect_tcp(to, caller), None)
        };
        assert!(first.is_none_or(|first| first < 5));
        if let Ok(id) = id
            && self.ledger.below(10) == 0
        {
            self.ledger.acts("Reactor::connector");
            self.ledger.acts("Connector::disconnect");
            reactor.call_later(Duration::from_millis(self.ledger.below(500)), move |reactor| {
                if let Some(mut connector) = reactor.connector(id) {
                    connector.disconnect();
                }
            });
        }
    }

    /// Repeatedly calls methods of the reactor itself.
    fn tick(&self, reactor: &mut Reactor, others: usize) {
        let program = self.clone();
        let delay = Duration::from_millis(20 + self.ledger.below(300));
        let due = reactor.now() + delay;
        self.ledger.acts("Reactor::call_later");
        reactor.call_later(delay, move |reactor| {
            assert!(reactor.now() >= due, "early by {:?}", due - reactor.now());
            if !program.ledger.is_quiet() {
                program.act(reactor, others);
                program.tick(reactor, others);
            }
        });
    }

    fn act(&self, reactor: &mut Reactor, others: usize) {
        let acts = |name| self.ledger.acts(name);
        let now = reactor.now();
        match self.ledger.below(20) {
            0..=3 => self.connect(reactor, others),
            4 => {
                acts("Reactor::call_in_thread");
                acts("Reactor::remote");
                acts("RemoteHandle::call_from_thread");
                let remote = reactor.remote();
                let job = move || remote.call_from_thread(|reactor| assert!(reactor.running())).is_ok();
                let _ = reactor.call_in_thread(job, move |reactor, done| {
                    assert!(done.is_ok() && reactor.now() >= now);
                });
            }
            5 => {
                acts("Reactor::completion");
                acts("Completion::complete");
                let complete = self.ledger.below(2) == 0;
                let completion = reactor.completion(move |_, result: Option<u64>| {
                    assert_eq!(result, complete.then_some(7));
                });
                if complete {
                    completion.complete(7);
                }
                acts("Reactor::resolve");
                let ledger = self.ledger.clone();
                let asked = reactor.resolve("host0", PORT, move |_, found| {
                    if let Err(reason) = &found {
                        ledger.acts("Reason::is_local");
                        assert_eq!(reason.is_local(), !matches!(reason, Reason::Unresolved { .. }));
                    }
                    assert!(found.is_err() || found.is_ok_and(|found| found.len() == 2));
                });
                if let Ok(lookup) = asked
                    && self.ledger.below(5) == 0
                {
                    acts("Lookup::cancel");
                    lookup.cancel(reactor).unwrap();
                }
            }
            6 => {
                acts("Reactor::call_when_running");
                // It may have stopped meanwhile.
                let running = reactor.running();
                reactor.call_when_running(move |reactor| assert!(running || !reactor.running()));
                acts("Reactor::running");
            }
            7 => {
                acts("Reactor::remove_system_event_trigger");
                let trigger =
                    reactor.add_system_event_trigger(Phase::After, SystemEvent::Shutdown, |_, _| {
                        panic!("removed")
                    });
                reactor.remove_system_event_trigger(trigger).unwrap();
            }
            8 => {
                acts("Reactor::system_time");
                acts("Reactor::wall_clock");
                acts("Reactor::poll_timeout");
                acts("Reactor::random");
                acts("Reactor::settings");
                acts("Reactor::now");
                assert!(reactor.system_time() > std::time::SystemTime::UNIX_EPOCH);
                assert_eq!(reactor.wall_clock().now(), reactor.system_time());
                assert!(reactor.poll_timeout().is_some() || reactor.delayed_call_count() == 0);
                assert_ne!(reactor.random(), reactor.random());
                assert!(reactor.settings().max_connections > 0);
            }
            9 => {
                acts("Reactor::resource_count");
                acts("Reactor::resources");
                acts("Reactor::update_time");
                acts("Reactor::catch_panic");
                acts("Reactor::lend");
                acts("Handle::turn_hook");
                acts("Handle::waker");
                // All jobs are one line, and so are all look-ups.
                assert!(reactor.resources().len() <= reactor.resource_count());
                reactor.update_time();
                assert_eq!(reactor.catch_panic(CallbackKind::Call, |_| 7), Ok(7));
                let handle = reactor.handle();
                handle.waker().wake();
                handle.turn_hook(|| Idle);
                assert!(reactor.lend(|| handle.with_reactor(|reactor| reactor.now())).is_ok());
                acts("Reactor::statistics");
                acts("Reactor::delayed_call_count");
                let seen = reactor.statistics();
                assert!(reactor.resource_count() >= reactor.connections().len());
                assert!(seen.connections >= reactor.connections().len());
            }
            10 => {
                acts("Reactor::stop_listening");
                let refusing = factory(|_| None::<Wanderer>);
                if let Ok(listener) = reactor.listen_tcp("0.0.0.0:0", refusing) {
                    acts("Reactor::connections_of");
                    acts("Reactor::listen_options");
                    assert_eq!(reactor.connections_of(&listener), []);
                    assert!(reactor.listen_options(&listener).is_some());
                    acts("Reactor::pause_listening");
                    acts("Reactor::resume_listening");
                    reactor.pause_listening(&listener).unwrap();
                    reactor.resume_listening(&listener).unwrap();
                    reactor.stop_listening(&listener).unwrap();
                    assert!(reactor.stop_listening(&listener).is_err());
                    assert!(reactor.pause_listening(&listener).is_err());
                }
            }
            14 | 15 => self.connect_udp(reactor),
            16 | 17 => errand::begin(&self.ledger, reactor),
            18 => names::ask(&self.ledger, reactor, &self.doors),
            19 => scribe::begin(&self.ledger, reactor),
            11 if self.ledger.below(40) == 0 => {
                acts("Reactor::stop");
                // Unsent bytes are lost, and the peers see resets.
                let _ = reactor.stop();
            }
            12 if self.ledger.below(40) == 0 => {
                acts("RemoteHandle::stop");
                let _ = reactor.remote().stop();
            }
            13 if self.ledger.below(40) == 0 => {
                acts("Reactor::stop_gracefully");
                let _ = reactor.stop_gracefully();
            }
            _ => {}
        }
    }
}

/// A turn hook that never has work.
struct Idle;

impl TurnHook for Idle {
    fn has_work(&self) -> bool {
        false
    }

    fn run(&self, _: &mut Reactor) {
        unreachable!("there is no work");
    }
}

/// A client that reconnects some times.
struct Caller {
    program: Program,
    reconnects: u64,
}

impl Caller {
    fn again(&mut self, connector: &mut Connector<'_>) {
        let ledger = self.program.ledger.clone();
        if self.reconnects == 0 || ledger.is_quiet() {
            return;
        }
        self.reconnects -= 1;
        let acts = |name| ledger.acts(name);
        assert_eq!(connector.state(), ConnectorState::Disconnected);
        if ledger.below(2) == 0 {
            acts("Connector::connect");
            connector.connect();
        } else {
            acts("Connector::connect_later");
            connector.connect_later(Duration::from_millis(ledger.below(1000)));
            if ledger.below(10) == 0 {
                acts("Connector::stop_connecting");
                let _ = connector.stop_connecting();
            }
        }
        acts("Connector::id");
        acts("Connector::destination");
        acts("Connector::state");
        acts("Connector::connection");
        acts("Connector::connect_time");
        acts("Connector::now");
        acts("Connector::reactor");
        acts("Connector::options");
        assert!(connector.options().is_none_or(|options| options.port == PORT));
        let expected = if connector.options().is_some() { "host late" } else { "/run @wander" };
        let destination = connector.destination().get(..4).unwrap_or_default();
        assert!(connector.connection().is_none() && expected.contains(destination), "{destination}");
        let id = connector.id();
        assert!(connector.reactor().connector(id).is_some());
        let _ = (connector.connect_time(), connector.now());
    }
}

impl Factory for Caller {
    fn layers(&mut self, context: &mut BuildContext<'_>) -> Vec<Box<dyn Layer>> {
        let acts = |name| self.program.ledger.acts(name);
        acts("BuildContext::guards");
        acts("ConnectionGuards::hold");
        context.guards().hold(self.reconnects);
        acts("BuildContext::set_addresses_pending");
        context.set_addresses_pending();
        if self.program.ledger.below(50) == 0 {
            acts("BuildContext::reject");
            context.reject();
        }
        acts("BuildContext::is_rejected");
        acts("BuildContext::addresses_pending");
        let _ = (context.is_rejected(), context.addresses_pending());
        Vec::new()
    }

    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        let acts = |name| self.program.ledger.acts(name);
        acts("BuildContext::id");
        acts("BuildContext::peer");
        acts("BuildContext::host");
        acts("BuildContext::reactor");
        acts("BuildContext::extension");
        let (id, peer) = (context.id(), context.peer().clone());
        assert_ne!(context.host(), peer);
        assert!(context.extension::<u64>().is_none() && !context.addresses_pending());
        assert_eq!(*context.reactor().transport(id)?.peer(), peer);
        acts("ConnectionGuards::find");
        acts("ConnectionGuards::release");
        assert!(context.guards().find(|_: &u64| true).is_some());
        assert_eq!(context.guards().release(|_: &u64| true), Some(self.reconnects));
        (self.program.ledger.below(20) > 0).then(|| Box::new(self.program.wanderer(0)) as Box<dyn Protocol>)
    }
}

impl ClientFactory for Caller {
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, _: &Reason) {
        self.again(connector);
    }

    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, _: &Reason) {
        self.again(connector);
    }
}

const PORT: u16 = 7000;
