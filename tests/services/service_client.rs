//! A client service keeps one connection alive, waits longer after each failure, and tells those who wait for a connection.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, Recorder, World, idle_protocol, kind, on_each_back_end, socket_address};
use twistor::policy::{TrafficCounter, count_traffic};
use twistor::service::{
    AttemptError, Backoff, ClientService, ClientServiceError, ClientState, Service, StopToken, run_service,
};
use twistor::sim::Simulation;
use twistor::{BuildContext, ConnectTcp, ConnectionId, Factory, Protocol, Reactor, Reason, Transport};

/// Makes recorders, and notes when it is started and stopped.
struct Recorders {
    record: Record,
    /// What its protocols do.
    act: fn(&str, &mut Transport<'_>),
}

impl Factory for Recorders {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        let act = self.act;
        Some(Box::new(Recorder::new(&self.record).acting(move |what, transport, _| act(what, transport))))
    }

    fn start_factory(&mut self, _: &mut Reactor) {
        self.record.add("factory starts");
    }

    fn stop_factory(&mut self, _: &mut Reactor) {
        self.record.add("factory stops");
    }
}

fn recorders(record: &Record) -> Recorders {
    Recorders { record: record.clone(), act: |_, _| {} }
}

/// Waits next to nothing.
fn hurried(to: SocketAddr, factory: impl Factory) -> ClientService {
    let wait = Duration::from_millis(1);
    let backoff = Backoff { initial: wait, factor: 1.0, jitter: 0.0, ..Backoff::default() };
    ClientService::new(ConnectTcp::from(to), factory).retry(backoff)
}

fn start(service: &ClientService, reactor: &mut Reactor) {
    service.clone().start(reactor).unwrap();
}

fn stop(world: &World, service: &ClientService, reactor: &mut Reactor) {
    let told = Rc::new(Cell::new(false));
    let tells = Rc::clone(&told);
    let stopped = StopToken::new(reactor, move |_| tells.set(true));
    service.clone().stop(reactor, stopped);
    world.run_until(reactor, "the service has stopped", |_| told.get());
    assert_eq!(service.state(), ClientState::Stopped);
}

/// The result of a wait for the connection.
type Answer = Rc<RefCell<Option<Result<ConnectionId, ClientServiceError>>>>;

fn ask(service: &ClientService, reactor: &mut Reactor) -> Answer {
    let answer = Answer::default();
    let told = Rc::clone(&answer);
    service.when_connected(reactor, move |_, result| *told.borrow_mut() = Some(result));
    assert!(answer.borrow().is_none(), "never inside the call");
    answer
}

fn wait(world: &World, reactor: &mut Reactor, answer: &Answer) -> Result<ConnectionId, ClientServiceError> {
    world.run_until(reactor, "an answer", |_| answer.borrow().is_some());
    answer.take().unwrap()
}

#[test]
fn the_service_reconnects_and_counts_consecutive_failures() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (record, address) = (Record::new(), world.unused());
        let waits: Rc<RefCell<Vec<u32>>> = Rc::default();
        let noted = Rc::clone(&waits);
        let service = ClientService::new(ConnectTcp::from(address), recorders(&record)).retry(
            move |failures: u32, _: u64| {
                noted.borrow_mut().push(failures);
                Some(Duration::from_millis(1))
            },
        );
        start(&service, &mut reactor);
        start(&service, &mut reactor);
        let answer = ask(&service, &mut reactor);
        world.run_until(&mut reactor, "three failures", |_| waits.borrow().len() == 3);
        assert_eq!((service.failures(), *waits.borrow() == [1, 2, 3]), (3, true));
        assert!(answer.borrow().is_none());

        let listener = reactor.listen_tcp(address, idle_protocol).unwrap();
        let first = wait(world, &mut reactor, &answer).unwrap();
        assert_eq!((service.connection(), service.failures()), (Some(first), 0));
        waits.borrow_mut().clear();
        for id in reactor.connections() {
            if id != first {
                reactor.transport(id).unwrap().lose_connection();
            }
        }
        // Our recorder does not close by itself.
        world.run_until(&mut reactor, "the peer's end", |_| record.has("read lost"));
        reactor.transport(first).unwrap().lose_connection();
        world.run_until(&mut reactor, "another connection", |_| {
            service.connection().is_some_and(|id| id != first)
        });
        assert_eq!(*waits.borrow(), [0], "a loss is no failure");
        reactor.stop_listening(&listener).unwrap();
        stop(world, &service, &mut reactor);
        crate::world::abort_all(&mut reactor);
        world.run_until_idle(&mut reactor);
        assert_eq!(
            record.events(),
            ["factory starts", "made", "read lost", "lost Done", "made", "lost Done", "factory stops"]
        );
    });
}

#[test]
fn an_existing_connection_is_reported_later_and_stop_flushes() {
    on_each_back_end(|world| {
        const MUCH: usize = 1 << 20;
        let mut reactor = world.reactor();
        let (record, here) = (Record::new(), Record::new());
        let received = Rc::new(RefCell::new(Vec::new()));
        let taken = Rc::clone(&received);
        let listener = reactor
            .listen_tcp(world.anywhere(), move || {
                let mut server = Recorder::new(&record).closing();
                server.received = Rc::clone(&taken);
                server
            })
            .unwrap();
        let service = hurried(socket_address(listener.address()), recorders(&here));
        start(&service, &mut reactor);
        let answer = ask(&service, &mut reactor);
        let id = wait(world, &mut reactor, &answer).unwrap();
        assert!(here.has("made"), "after connection_made");
        let answer = ask(&service, &mut reactor);
        assert_eq!(wait(world, &mut reactor, &answer), Ok(id));
        reactor.transport(id).unwrap().write(&vec![b'x'; MUCH]);
        stop(world, &service, &mut reactor);
        world.close(&mut reactor, &listener);
        assert_eq!(received.borrow().len(), MUCH);
        assert!(here.has("lost Done"));
        // It is over for those who come late, and begins anew with a start.
        let answer = ask(&service, &mut reactor);
        assert_eq!(wait(world, &mut reactor, &answer), Err(ClientServiceError::Cancelled));
    });
}

#[test]
fn a_waiter_can_give_up_after_n_failures_with_the_last_reason() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let service = hurried(world.unused(), idle_protocol);
        start(&service, &mut reactor);
        let patient = ask(&service, &mut reactor);
        let answers: Rc<RefCell<Vec<(u32, ClientServiceError)>>> = Rc::default();
        for failures in [3, 0, 2] {
            let answers = Rc::clone(&answers);
            service.clone().fail_after_failures(failures).when_connected(&mut reactor, move |_, result| {
                answers.borrow_mut().push((failures, result.unwrap_err()));
            });
        }
        world.run_until(&mut reactor, "answers", |_| answers.borrow().len() == 3);
        let counts: Vec<(u32, u32)> = answers
            .borrow()
            .iter()
            .map(|(asked, answer)| match answer {
                ClientServiceError::Failed {
                    failures,
                    last: AttemptError::Unreachable(Reason::Refused(_)),
                } => (*asked, *failures),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(counts, [(0, 1), (2, 2), (3, 3)]);
        assert!(patient.borrow().is_none());
        stop(world, &service, &mut reactor);
        assert_eq!(wait(world, &mut reactor, &patient), Err(ClientServiceError::Cancelled));
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_connection_counts_only_once_it_is_prepared() {
    const LIMIT: Duration = Duration::from_millis(300);

    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (record, prepared) = (Record::new(), Rc::new(Cell::new(0)));
        let listener = reactor.listen_tcp(world.anywhere(), || idle_protocol().closing()).unwrap();
        let count = Rc::clone(&prepared);
        let service = hurried(socket_address(listener.address()), recorders(&record))
            .prepare_timeout(LIMIT)
            .prepare_connection(move |reactor, id, preparation| {
                assert!(reactor.transport(id).is_some());
                count.set(count.get() + 1);
                match count.get() {
                    1 => preparation.failed("the wrong password"),
                    2 => drop(preparation),
                    3 => panic!("it panics"),
                    4 => {
                        reactor.call_later(2 * LIMIT, |_| preparation.done());
                    }
                    5 => reactor.transport(id).unwrap().abort_connection(),
                    _ => {
                        reactor.call_later(Duration::from_millis(1), |_| preparation.done());
                    }
                }
            });
        start(&service, &mut reactor);
        let failures: Rc<RefCell<Vec<AttemptError>>> = Rc::default();
        for number in 1..=5 {
            let failures = Rc::clone(&failures);
            service.clone().fail_after_failures(number).when_connected(&mut reactor, move |_, result| {
                match result {
                    Err(ClientServiceError::Failed { last, .. }) => failures.borrow_mut().push(last),
                    other => panic!("{other:?}"),
                }
            });
        }
        let answer = ask(&service, &mut reactor);
        wait(world, &mut reactor, &answer).unwrap();
        assert_eq!((prepared.get(), service.failures()), (6, 0));
        let failed = |why: &str| AttemptError::Preparation(why.to_owned());
        assert_eq!(
            *failures.borrow(),
            [
                failed("the wrong password"),
                failed("the preparation was abandoned"),
                failed("the preparation was abandoned"),
                failed("not within 300ms"),
                // The connection went, or the token did, whichever is heard of first.
                failures.borrow()[4].clone(),
            ]
        );
        assert_eq!((record.count("made"), record.count("lost Done") + record.count("lost Aborted")), (6, 5));
        stop(world, &service, &mut reactor);
        world.close(&mut reactor, &listener);
        let logged = world.logged();
        assert!(logged.len() == 1 && logged[0].contains("it panics"), "{logged:?}");
    });
}

#[test]
fn a_connection_refused_or_closed_during_setup_is_a_failure() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let listener = reactor.listen_tcp(world.anywhere(), || idle_protocol().closing()).unwrap();
        let to = socket_address(listener.address());
        let refusing = twistor::factory(|_| None::<Recorder>);
        let acting = |act| Recorders { record: Record::new(), act };
        let closing = acting(|what, transport| {
            if what == "made" {
                transport.lose_connection();
            }
        });
        let panicking = acting(|_, _| panic!("it panics"));
        let services = [hurried(to, refusing), hurried(to, closing), hurried(to, panicking)];
        for (service, reason) in services.into_iter().zip(["Done", "Done", "Panicked"]) {
            start(&service, &mut reactor);
            let answer: Rc<RefCell<Option<ClientServiceError>>> = Rc::default();
            let told = Rc::clone(&answer);
            service.clone().fail_after_failures(2).when_connected(&mut reactor, move |_, result| {
                *told.borrow_mut() = result.err();
            });
            world.run_until(&mut reactor, "an answer", |_| answer.borrow().is_some());
            let Some(ClientServiceError::Failed { failures: 2, last: AttemptError::LostEarly(lost) }) =
                answer.take()
            else {
                panic!("{answer:?}")
            };
            assert_eq!(kind(&lost), reason);
            stop(world, &service, &mut reactor);
        }
        world.close(&mut reactor, &listener);
        assert!(world.logged().iter().all(|line| line.contains("it panics")));
    });
}

#[test]
fn the_service_gives_up_with_its_policy_and_can_start_again() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let address = world.unused();
        let backoff = Backoff { initial: Duration::from_millis(1), jitter: 0.0, ..Backoff::default() };
        let service = ClientService::new(ConnectTcp::from(address), recorders(&record))
            .retry(backoff.give_up_after(3))
            .named("reports");
        start(&service, &mut reactor);
        let answer = ask(&service, &mut reactor);
        let given_up = wait(world, &mut reactor, &answer);
        assert!(matches!(given_up, Err(ClientServiceError::Failed { failures: 3, .. })), "{given_up:?}");
        assert_eq!(service.state(), ClientState::GivenUp);
        assert_eq!(world.logged(), ["reports: gave up after 3 attempts"]);
        let late = ask(&service, &mut reactor);
        assert_eq!(wait(world, &mut reactor, &late), given_up);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.take(), ["factory starts", "factory stops"]);

        let listener = reactor.listen_tcp(address, || idle_protocol().closing()).unwrap();
        start(&service, &mut reactor);
        let answer = ask(&service, &mut reactor);
        wait(world, &mut reactor, &answer).unwrap();
        stop(world, &service, &mut reactor);
        world.close(&mut reactor, &listener);
        assert_eq!(record.take(), ["factory starts", "made", "lost Done", "factory stops"]);
    });
}

#[test]
fn an_invalid_endpoint_is_a_failure_and_a_policy_panic_gives_up() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let service = ClientService::new(ConnectTcp::new("no host", 80), idle_protocol).retry(
            |failures: u32, _: u64| {
                assert!(failures < 2, "it panics");
                Some(Duration::ZERO)
            },
        );
        start(&service, &mut reactor);
        let answer = ask(&service, &mut reactor);
        let Err(ClientServiceError::Failed { failures: 2, last: AttemptError::Endpoint(why) }) =
            wait(world, &mut reactor, &answer)
        else {
            panic!("{:?}", service.state())
        };
        assert!(why.starts_with("bad address \"no host:80\""), "{why}");
        let logged = world.logged();
        assert!(logged.len() == 2 && logged[0].contains("it panics"), "{logged:?}");
        stop(world, &service, &mut reactor);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_waiter_may_stop_the_service_and_its_panic_is_contained() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let listener = reactor.listen_tcp(world.anywhere(), || idle_protocol().closing()).unwrap();
        let service = hurried(socket_address(listener.address()), idle_protocol);
        let record = Record::new();
        service.when_connected(&mut reactor, |_, _| panic!("it panics"));
        let (stops, told) = (service.clone(), record.clone());
        service.when_connected(&mut reactor, move |reactor, connection| {
            assert!(connection.is_ok());
            let stopped = StopToken::new(reactor, move |_| told.add("stopped"));
            stops.clone().stop(reactor, stopped);
        });
        let third = ask(&service, &mut reactor);
        start(&service, &mut reactor);
        // Told after the stop: that is how it stands then.
        assert_eq!(wait(world, &mut reactor, &third), Err(ClientServiceError::Cancelled));
        world.run_until(&mut reactor, "stopped", |_| record.has("stopped"));
        world.close(&mut reactor, &listener);
        assert_eq!(world.logged().len(), 1);
    });
}

struct Silent;

impl Protocol for Silent {
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

/// Hundreds of clients, a server that is away for ten minutes: all come back, at different times, and none asked too often.
#[test]
fn clients_of_a_server_that_was_away_come_back_one_by_one() {
    Simulation::explore(0..3, |simulation| {
        let server = simulation.host("server");
        simulation.boot(server, |reactor| reactor.listen_tcp("0.0.0.0:80", || Silent).map(drop)).unwrap();
        let client = simulation.host("client");
        let services: Vec<ClientService> =
            (0..200).map(|_| ClientService::new(ConnectTcp::new("server", 80), || Silent)).collect();
        for service in &services {
            run_service(simulation.reactor(client), service.clone(), Duration::from_secs(30)).unwrap();
        }
        let connected = |services: &[ClientService]| {
            services.iter().filter(|service| service.connection().is_some()).count()
        };
        simulation.run_for(Duration::from_secs(10)).unwrap();
        assert_eq!(connected(&services), 200);
        let before = simulation.reactor(client).statistics();
        simulation.kill(server);
        simulation.run_for(Duration::from_secs(600)).unwrap();
        assert_eq!(connected(&services), 0);
        // Waits of 1, 1.5, 2.25 .. 38.4 s, then 50 s each, give or take a fifth: 17 to 20 attempts.
        let failures = simulation.reactor(client).statistics().connect_failures - before.connect_failures;
        assert!((200 * 17..=200 * 20).contains(&failures), "{failures}");
        simulation.restart(server).unwrap();
        let mut counts = Vec::new();
        while connected(&services) < 200 {
            simulation.run_for(Duration::from_secs(1)).unwrap();
            counts.push(connected(&services));
            assert!(counts.len() <= 70, "{counts:?}");
        }
        counts.dedup();
        assert!(counts.len() >= 4, "all at once: {counts:?}");
        // And the end: every one is down before the reactor is.
        simulation.reactor(client).stop();
        simulation.run_for(Duration::from_secs(30)).unwrap();
        assert!(services.iter().all(|service| service.state() == ClientState::Stopped));
    });
}

#[test]
fn the_layers_of_its_factory_stand_in_its_connections() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let listener = world.serve(&mut reactor, idle_protocol().echoing());
        let total = TrafficCounter::new();
        let record = Record::new();
        let asks = Recorders {
            record: record.clone(),
            act: |what, transport| {
                if what == "made" {
                    transport.write(b"hello");
                }
            },
        };
        let service = hurried(socket_address(listener.address()), count_traffic(asks, &total));
        start(&service, &mut reactor);
        world.run_until(&mut reactor, "echoed", |_| record.has("data hello"));
        let counts = total.total();
        assert_eq!((counts.sent, counts.received), (5, 5));
        stop(world, &service, &mut reactor);
        world.close(&mut reactor, &listener);
    });
}
