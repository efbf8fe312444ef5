//! The kit's memory reactor: it records what it is asked for, and the test decides what becomes of it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use twistor::sim::Errno;
use twistor::testing::{AccumulatingProtocol, MemoryReactor, PeerEnd, assert_clean};
use twistor::{
    Address, BuildContext, ClientFactory, ConnectTcp, Connector, Error, Factory, ListenTcp, Phase, Protocol,
    Reason, Settings, SystemEvent, Transport, factory,
};

/// Says hello, then echoes.
struct Echo;

impl Protocol for Echo {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        transport.write(b"hello");
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }
}

type Log = Rc<RefCell<Vec<String>>>;

/// Writes down what becomes of its connections, and connects again a second after each failure.
struct Client {
    log: Log,
    again: bool,
}

impl Client {
    fn new(log: &Log) -> Client {
        Client { log: Rc::clone(log), again: false }
    }
}

impl Factory for Client {
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        self.log.borrow_mut().push(format!("made {}", context.peer()));
        Some(Box::new(Echo))
    }
}

impl ClientFactory for Client {
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        let text = format!("{reason:?}");
        let name = text.split(['(', ' ']).next().unwrap_or_default();
        self.log.borrow_mut().push(format!("failed {name}"));
        if self.again {
            connector.connect_later(Duration::from_secs(1));
        }
    }

    fn client_connection_lost(&mut self, _: &mut Connector<'_>, reason: &Reason) {
        self.log.borrow_mut().push(format!("lost {reason}"));
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn take(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.borrow_mut())
}

// -- listening --

#[test]
fn listening_ports_are_recorded_with_their_options() {
    let mut memory = MemoryReactor::new();
    assert_eq!(memory.listening(), []);
    let asked = ListenTcp { backlog: 5, nodelay: false, ..ListenTcp::new(address("192.0.2.1:80")) };
    let first = memory.reactor().listen_tcp(asked.clone(), || Echo).unwrap();
    let second = memory.reactor().listen_tcp("[2001:db8::1]:0", || Echo).unwrap();
    let recorded = memory.listening();
    assert_eq!(recorded.len(), 2);
    assert_eq!((&recorded[0].listener, &recorded[0].options), (&first, &asked));
    assert_eq!((&recorded[1].listener, recorded[1].options.address.port()), (&second, 0));
    assert_ne!(recorded[1].listener.address().port(), Some(0), "it has a real port");
    memory.reactor().stop_listening(&first).unwrap();
    assert_eq!(memory.listening().len(), 1);
}

#[test]
fn a_recorded_port_is_connected_to_by_the_test() {
    let mut memory = MemoryReactor::new();
    for at in ["192.0.2.1:80", "0.0.0.0:81", "127.0.0.1:82", "[::]:83", "[::1]:84"] {
        let listener = memory.reactor().listen_tcp(at, || Echo).unwrap();
        let to = memory.listening().last().map(|last| last.options.address).unwrap();
        let mut visitor = memory.connect(to);
        assert_eq!(visitor.value(), b"hello", "{at}");
        visitor.feed(b", echo");
        assert_eq!(visitor.take(), b"hello, echo");
        visitor.finish();
        assert_eq!(visitor.end(), Some(PeerEnd::Finished));
        visitor.close();
        memory.reactor().stop_listening(&listener).unwrap();
    }
    memory.advance(Duration::ZERO);
    assert_clean(&memory.reactor());
}

#[test]
fn a_visitor_comes_from_where_the_test_says() {
    let mut memory = MemoryReactor::new();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let known = Rc::clone(&seen);
    let choosy = factory(move |peer: &Address| {
        known.borrow_mut().push(peer.clone());
        (peer.port() != Some(666)).then_some(Echo)
    });
    memory.reactor().listen_tcp("192.0.2.1:80", choosy).unwrap();
    let to = address("192.0.2.1:80");
    let mut visitor = memory.connect_from(address("203.0.113.9:1234"), to);
    assert_eq!(visitor.address(), address("203.0.113.9:1234"));
    assert_eq!(visitor.value(), b"hello");
    let mut refused = memory.connect_from(address("203.0.113.9:666"), to);
    assert_eq!((refused.take(), refused.end()), (vec![], Some(PeerEnd::Finished)));
    let addresses = ["203.0.113.9:1234", "203.0.113.9:666"].map(|text| Address::Tcp(address(text)));
    assert_eq!(*seen.borrow(), addresses);
}

#[test]
#[should_panic(expected = "there is no listener on 192.0.2.1:81")]
fn nobody_can_visit_where_nobody_listens() {
    let mut memory = MemoryReactor::new();
    memory.reactor().listen_tcp("192.0.2.1:80", || Echo).unwrap();
    memory.connect(address("192.0.2.1:81"));
}

#[test]
fn many_visitors_are_many_connections() {
    let mut memory = MemoryReactor::with_settings(Settings { max_connections: 3, ..Settings::default() });
    memory.reactor().listen_tcp("192.0.2.1:80", || Echo).unwrap();
    let mut visitors: Vec<_> = (0..4).map(|_| memory.connect(address("192.0.2.1:80"))).collect();
    assert_eq!(memory.reactor().connections().len(), 3);
    assert_eq!(memory.reactor().statistics().accepts_over_limit, 1);
    for (index, visitor) in visitors.iter_mut().enumerate() {
        assert_eq!(visitor.end().is_some(), index == 3);
        visitor.reset();
    }
    assert_eq!(memory.reactor().connections().len(), 0);
}

// -- connecting --

#[test]
fn connections_that_were_asked_for_are_recorded_and_wait() {
    let mut memory = MemoryReactor::new();
    assert_eq!(memory.connecting(), []);
    let log = Log::default();
    let asked = ConnectTcp {
        bind: Some(address("203.0.113.1:0")),
        timeout: Duration::from_secs(60),
        ..ConnectTcp::new("198.51.100.7", 25)
    };
    let first = memory.reactor().connect_tcp(asked.clone(), Client::new(&log)).unwrap();
    let second = memory.reactor().connect_tcp("example.org:80", Client::new(&log)).unwrap();
    let recorded = memory.connecting();
    assert_eq!(recorded.len(), 2);
    assert_eq!((recorded[0].connector, &recorded[0].options), (first, &asked));
    assert_eq!(recorded[0].address, address("198.51.100.7:25"));
    assert_eq!((recorded[1].connector, recorded[1].options.host.as_str()), (second, "example.org"));
    memory.advance(Duration::from_secs(9));
    assert_eq!(memory.connecting(), recorded, "nothing travels by itself");
    assert_eq!(take(&log), [] as [&str; 0]);
}

#[test]
fn the_next_connection_succeeds_and_its_other_side_is_the_tests() {
    let (mut memory, log) = (MemoryReactor::new(), Log::default());
    memory.reactor().connect_tcp("198.51.100.7:25", Client::new(&log)).unwrap();
    memory.reactor().connect_tcp("198.51.100.8:25", Client::new(&log)).unwrap();
    let mut server = memory.succeed_next();
    assert_eq!(take(&log), ["made 198.51.100.7:25"]);
    assert_eq!(memory.connecting().len(), 1);
    assert_eq!((server.address(), server.take()), (address("198.51.100.7:25"), b"hello".to_vec()));
    server.feed(b"welcome");
    assert_eq!(server.take(), b"welcome");
    server.finish();
    assert_eq!(take(&log), ["lost connection closed cleanly"]);
    assert_eq!(memory.succeed_next().value(), b"hello");
}

#[test]
fn the_other_side_of_a_connection_takes_pieces_of_any_length() {
    let mut memory = MemoryReactor::new();
    memory.reactor().connect_tcp("198.51.100.7:25", AccumulatingProtocol::default).unwrap();
    let mut server = memory.succeed_next();
    server.feed(&vec![b'x'; 1_000_000]);
    let id = memory.reactor().connections()[0];
    let pieces = memory.reactor().with_protocol(id, |seen: &mut AccumulatingProtocol, _| seen.pieces.clone());
    assert_eq!(pieces, Some(vec![1_000_000]));
}

#[test]
fn the_next_connection_fails_for_the_tests_reason() {
    for (errno, expected) in [
        (Errno::ECONNREFUSED, "failed Refused"),
        (Errno::ETIMEDOUT, "failed SystemTimedOut"),
        (Errno::EHOSTUNREACH, "failed NoRoute"),
        (Errno::EPERM, "failed ConnectFailed"),
    ] {
        let (mut memory, log) = (MemoryReactor::new(), Log::default());
        memory.reactor().connect_tcp("198.51.100.7:25", Client::new(&log)).unwrap();
        memory.fail_next(errno);
        assert_eq!(take(&log), [expected]);
        assert_clean(&memory.reactor());
    }
}

#[test]
fn a_client_that_connects_again_is_led_through_all_of_it() {
    let (mut memory, log) = (MemoryReactor::new(), Log::default());
    let client = Client { log: Rc::clone(&log), again: true };
    memory.reactor().connect_tcp("example.org:25", client).unwrap();
    for _ in 0..3 {
        memory.fail_next(Errno::ECONNREFUSED);
        assert_eq!(take(&log), ["failed Refused"]);
        assert_eq!(memory.connecting(), []);
        memory.advance(Duration::from_secs(1));
    }
    // This time there is no answer, until it gives up.
    memory.advance(Duration::from_secs(10));
    assert_eq!(take(&log), ["failed TimedOut"]);
    assert_eq!(memory.connecting(), []);
    memory.advance(Duration::from_secs(1));
    assert_eq!(memory.succeed_next().value(), b"hello");
}

#[test]
fn a_name_is_found_or_not_as_the_test_wants() {
    let (mut memory, log) = (MemoryReactor::new(), Log::default());
    let (network, host) = memory.network();
    network.set_name_resolution(host, false);
    memory.reactor().connect_tcp("example.org:25", Client::new(&log)).unwrap();
    assert_eq!(memory.connecting(), []);
    assert_eq!(take(&log), ["failed Unresolved"]);
    network.set_name_resolution(host, true);
    network.add_name("two.example", &[[198, 51, 100, 1].into(), [198, 51, 100, 2].into()]);
    memory.reactor().connect_tcp("two.example:25", Client::new(&log)).unwrap();
    assert_eq!(memory.connecting()[0].address, address("198.51.100.1:25"));
    memory.fail_next(Errno::ECONNREFUSED);
    assert_eq!(memory.connecting()[0].address, address("198.51.100.2:25"), "the next address is tried");
    assert_eq!(memory.succeed_next().address(), address("198.51.100.2:25"));
}

#[test]
fn a_connection_can_go_its_own_way() {
    let (mut memory, log) = (MemoryReactor::new(), Log::default());
    memory.reactor().listen_tcp("192.0.2.1:80", || Echo).unwrap();
    memory.reactor().connect_tcp("192.0.2.1:80", Client::new(&log)).unwrap();
    memory.reactor().connect_tcp("192.0.2.1:81", Client::new(&log)).unwrap();
    memory.fail_next(Errno::ECONNREFUSED);
    memory.allow_next();
    assert_eq!(take(&log), ["failed Refused", "failed Refused"]);
    memory.reactor().connect_tcp("192.0.2.1:80", AccumulatingProtocol::default).unwrap();
    memory.allow_next();
    let data: Vec<Vec<u8>> = {
        let mut reactor = memory.reactor();
        let all = reactor.connections();
        all.into_iter()
            .filter_map(|id| {
                reactor.with_protocol(id, |seen: &mut AccumulatingProtocol, _| seen.data.clone())
            })
            .collect()
    };
    assert_eq!(data, [b"hello"]);
    assert_eq!(memory.reactor().connections().len(), 2, "both sides are this reactor's");
}

#[test]
#[should_panic(expected = "there is no pending connect")]
fn without_a_connection_that_waits_none_can_succeed() {
    MemoryReactor::default().succeed_next();
}

#[test]
#[should_panic(expected = "cannot accept a connection to 127.0.0.1:80")]
fn where_the_reactor_itself_listens_the_test_cannot_accept() {
    let mut memory = MemoryReactor::new();
    memory.reactor().listen_tcp("127.0.0.1:80", || Echo).unwrap();
    memory.reactor().connect_tcp("127.0.0.1:80", || Echo).unwrap();
    memory.succeed_next();
}

#[test]
fn inside_the_host_the_test_can_be_the_other_side_as_well() {
    let mut memory = MemoryReactor::new();
    memory.reactor().connect_tcp("localhost:25", || Echo).unwrap();
    assert_eq!(memory.succeed_next().value(), b"hello");
}

// -- refusing --

#[test]
fn every_listen_fails_as_long_as_the_test_wants() {
    let mut memory = MemoryReactor::new();
    memory.fail_listens(Errno::EACCES);
    memory.fail_listens(Errno::EADDRINUSE);
    for _ in 0..2 {
        match memory.reactor().listen_tcp("192.0.2.1:80", || Echo) {
            Err(Error::CannotListen { source, .. }) => {
                assert_eq!(source.raw_os_error(), Some(Errno::EADDRINUSE.raw()));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(memory.listening(), []);
    memory.fail_listens(None);
    assert!(memory.reactor().listen_tcp("192.0.2.1:80", || Echo).is_ok());
}

#[test]
fn every_connect_fails_as_long_as_the_test_wants() {
    let (mut memory, log) = (MemoryReactor::new(), Log::default());
    memory.fail_connects(Errno::ENETUNREACH);
    for _ in 0..2 {
        memory.reactor().connect_tcp("198.51.100.7:25", Client::new(&log)).unwrap();
        assert_eq!(memory.connecting(), []);
        assert_eq!(take(&log), ["failed NoLocalRoute"]);
    }
    memory.fail_connects(None);
    memory.reactor().connect_tcp("198.51.100.7:25", Client::new(&log)).unwrap();
    assert_eq!(memory.connecting().len(), 1);
}

// -- its life --

#[test]
fn the_reactor_runs_from_its_first_event_and_calls_triggers() {
    let (mut memory, log) = (MemoryReactor::new(), Log::default());
    let note = |name: &'static str| {
        let log = Rc::clone(&log);
        move || log.borrow_mut().push(name.to_owned())
    };
    let (before, running, shutdown) = (note("before"), note("running"), note("shutdown"));
    let mut reactor = memory.reactor();
    reactor.add_system_event_trigger(Phase::Before, SystemEvent::Startup, move |_, _| before());
    reactor.add_system_event_trigger(Phase::During, SystemEvent::Shutdown, move |_, _| shutdown());
    reactor.call_when_running(move |_| running());
    drop(reactor);
    assert!(!memory.has_run() && !memory.has_stopped());
    memory.start();
    assert!(memory.has_run() && !memory.has_stopped());
    assert_eq!(take(&log), ["before", "running"]);
    let mut visitor = {
        memory.reactor().listen_tcp("192.0.2.1:80", || Echo).unwrap();
        memory.connect(address("192.0.2.1:80"))
    };
    memory.stop();
    assert_eq!(take(&log), ["shutdown"]);
    assert!(memory.has_run() && memory.has_stopped());
    assert_eq!(visitor.end(), Some(PeerEnd::Finished), "its connections are lost with it");
    assert_eq!((memory.listening(), memory.connecting()), (vec![], vec![]));
    memory.stop();
}

#[test]
fn a_startup_that_is_held_up_has_not_run() {
    let mut memory = MemoryReactor::new();
    memory.reactor().add_system_event_trigger(Phase::Before, SystemEvent::Startup, |reactor, hold| {
        reactor.call_later(Duration::from_secs(5), move |_| drop(hold));
    });
    memory.start();
    assert!(!memory.has_run());
    memory.advance(Duration::from_secs(5));
    assert!(memory.has_run());
    assert_eq!(memory.now().since_origin(), Duration::from_secs(5));
}

#[test]
#[should_panic(expected = "told to")]
fn a_panic_of_a_factory_is_the_tests() {
    let mut memory = MemoryReactor::new();
    memory.reactor().listen_tcp("192.0.2.1:80", || -> Echo { panic!("told to") }).unwrap();
    memory.connect(address("192.0.2.1:80"));
}

#[test]
fn a_panic_that_is_allowed_closes_one_connection() {
    let mut memory = MemoryReactor::new();
    memory.allow_panics();
    memory.reactor().listen_tcp("192.0.2.1:80", || -> Echo { panic!("told to") }).unwrap();
    let mut visitor = memory.connect(address("192.0.2.1:80"));
    assert!(visitor.end().is_some());
    assert_eq!(memory.reactor().statistics().panics, 1);
}

#[test]
#[should_panic(expected = "the result of `reactor()` is still borrowed")]
fn a_reactor_that_is_held_while_a_peer_acts_is_found_out() {
    let mut memory = MemoryReactor::new();
    memory.reactor().listen_tcp("192.0.2.1:80", || Echo).unwrap();
    let mut visitor = memory.connect(address("192.0.2.1:80"));
    let reactor = memory.reactor();
    visitor.feed(b"x");
    drop(reactor);
}
