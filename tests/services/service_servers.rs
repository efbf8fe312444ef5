//! A server service holds its port while it runs, and its connections end as it was asked: by themselves, or within a limit.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::peer::turns;
use crate::world::{Record, Recorder, World, idle_protocol, on_each_back_end};
use twistor::endpoint::{client_from_string, server_from_string};
use twistor::service::{ClientService, MultiService, Service, StopToken, StreamServerService};
use twistor::{Error, Factory, ListenTcp, Protocol, Reactor, Reason, Settings, Transport};

/// A service on a port of its own.
fn service(world: &World, factory: impl Factory) -> StreamServerService {
    StreamServerService::new(ListenTcp::new(world.anywhere()), factory)
}

fn start(service: &StreamServerService, reactor: &mut Reactor) {
    let mut service = service.clone();
    service.privileged_start(reactor).unwrap();
    service.start(reactor).unwrap();
}

fn stop(service: &StreamServerService, reactor: &mut Reactor) -> Rc<Cell<bool>> {
    let told = Rc::new(Cell::new(false));
    let tells = Rc::clone(&told);
    let stopped = StopToken::new(reactor, move |_| tells.set(true));
    service.clone().stop(reactor, stopped);
    told
}

#[test]
fn a_service_listens_from_privileged_start_until_its_stop() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let mut service = service(world, idle_protocol);
        assert!(service.listener().is_none());
        service.privileged_start(&mut reactor).unwrap();
        let listener = service.listener().unwrap();
        service.start(&mut reactor).unwrap();
        assert!(reactor.listeners() == [listener.clone()]);
        let stopped = stop(&service, &mut reactor);
        assert!(service.listener().is_none() && reactor.listeners().is_empty());
        world.run_until(&mut reactor, "stopped", |_| stopped.get());
        assert!(world.try_connect(listener.address()).is_err());
        let again = stop(&service, &mut reactor);
        world.run_until(&mut reactor, "stopped", |_| again.get());
    });
}

#[test]
fn connections_survive_a_stop_and_the_factory_can_start_again() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let notes = record.clone();
        let service = service(world, move || Recorder::new(&notes).echoing());
        start(&service, &mut reactor);
        let mut peer = world.connect(service.listener().unwrap().address());
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        let stopped = stop(&service, &mut reactor);
        world.run_until(&mut reactor, "stopped", |_| stopped.get());
        peer.send(b"still there?");
        world.run_until(&mut reactor, "data", |_| record.has("data still there?"));

        start(&service, &mut reactor);
        let second = world.connect(service.listener().unwrap().address());
        world.run_until(&mut reactor, "made", |_| record.count("made") == 2);
        let _ = stop(&service, &mut reactor);
        drop((peer, second));
        world.run_until_idle(&mut reactor);
    });
}

/// Works on when it is asked to finish.
struct WorksOn(Recorder);

impl Protocol for WorksOn {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.0.connection_made(transport);
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.0.data_received(transport, data);
    }

    fn drain(&mut self, transport: &mut Transport<'_>) {
        transport.write(b"draining ");
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        self.0.connection_lost(transport, reason);
    }
}

#[test]
fn a_graceful_stop_asks_each_protocol_to_finish() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let notes = record.clone();
        let service = service(world, move || Recorder::new(&notes)).graceful(Duration::from_secs(3600));
        start(&service, &mut reactor);
        let mut peer = world.connect(service.listener().unwrap().address());
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        let stopped = stop(&service, &mut reactor);
        assert_eq!(peer.read_to_end(&mut reactor), (Vec::new(), None));
        world.run_until(&mut reactor, "stopped", |_| stopped.get());
        assert_eq!(record.events(), ["made", "lost Done"]);
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_graceful_stop_waits_for_connections_that_end_by_themselves() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let notes = record.clone();
        let service = service(world, move || WorksOn(Recorder::new(&notes).echoing()))
            .graceful(Duration::from_secs(3600));
        start(&service, &mut reactor);
        let other = reactor.listen_tcp(world.anywhere(), idle_protocol).unwrap();
        let address = service.listener().unwrap().address().clone();
        let (mut first, second) = (world.connect(&address), world.connect(&address));
        let unconcerned = world.connect(other.address());
        world.run_until(&mut reactor, "made", |reactor| reactor.connections().len() == 3);
        let stopped = stop(&service, &mut reactor);
        assert!(reactor.listeners() == [other.clone()]);
        turns(&mut reactor);
        first.send(b"more");
        first.finish();
        assert_eq!(first.read_to_end(&mut reactor), (b"draining more".to_vec(), None));
        world.run_until(&mut reactor, "the first to end", |_| record.count("lost Done") == 1);
        assert!(!stopped.get());
        drop(second);
        world.run_until(&mut reactor, "stopped", |_| stopped.get());
        drop(unconcerned);
        crate::world::abort_all(&mut reactor);
        // Nothing of the hour is left either.
        world.close(&mut reactor, &other);
    });
}

#[test]
fn a_graceful_stop_aborts_what_has_not_ended_within_its_limit() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let notes = record.clone();
        let service =
            service(world, move || WorksOn(Recorder::new(&notes))).graceful(Duration::from_millis(5));
        start(&service, &mut reactor);
        let peer = world.connect(service.listener().unwrap().address());
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        let stopped = stop(&service, &mut reactor);
        world.run_until(&mut reactor, "stopped", |_| stopped.get());
        assert_eq!(record.events(), ["made", "lost Aborted"]);
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_failed_listen_names_the_service_and_the_address() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let taken = reactor.listen_tcp(world.anywhere(), idle_protocol).unwrap();
        let services = MultiService::new();
        let held = service(world, idle_protocol);
        services.add(held.clone()).unwrap();
        let web = StreamServerService::new(ListenTcp::try_from(taken.address()).unwrap(), idle_protocol)
            .named("web");
        services.add(web).unwrap();
        let error = services.clone().privileged_start(&mut reactor).unwrap_err();
        let text = error.to_string();
        let begins = format!("service web: cannot listen on {}: bind: ", taken.address());
        assert!(text.starts_with(&begins), "{text}");
        let mut cause = error.source();
        while let Some(source) = cause.filter(|source| source.downcast_ref::<Error>().is_none()) {
            cause = source.source();
        }
        assert!(matches!(cause.unwrap().downcast_ref(), Some(Error::CannotListen { .. })));
        world.run_until(&mut reactor, "the other is stopped", |_| held.listener().is_none());
        world.close(&mut reactor, &taken);
    });
}

#[test]
fn endpoints_parsed_from_text_can_serve_and_connect() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let notes = record.clone();
        let endpoint = server_from_string("tcp:0:interface=127.0.0.1").unwrap();
        let server = StreamServerService::new(endpoint, move || Recorder::new(&notes).closing());
        start(&server, &mut reactor);
        let port = crate::world::socket_address(server.listener().unwrap().address()).port();
        let endpoint = client_from_string(&format!("tcp:127.0.0.1:{port}")).unwrap();
        let mut client = ClientService::new(endpoint, idle_protocol);
        client.start(&mut reactor).unwrap();
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        client.stop(&mut reactor, StopToken::ignored());
        let _ = stop(&server, &mut reactor);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "read lost", "lost Done"]);
    });
}

#[test]
fn a_connection_that_only_lingers_is_not_waited_for() {
    on_each_back_end(|world| {
        let settings = Settings { linger: Duration::from_secs(3600), ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let record = Record::new();
        let notes = record.clone();
        let hasty = move || {
            Recorder::new(&notes).acting(|what, transport, _| {
                if what == "made" {
                    transport.write(b"bye");
                    transport.lose_connection();
                }
            })
        };
        let service = service(world, hasty).graceful(Duration::from_secs(1800));
        start(&service, &mut reactor);
        let peer = world.connect(service.listener().unwrap().address());
        world.run_until(&mut reactor, "lost", |_| record.has("lost Done"));
        let stopped = stop(&service, &mut reactor);
        turns(&mut reactor);
        assert!(stopped.get());
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}
