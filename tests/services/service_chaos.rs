//! Whatever the network does: services come up, are connected again once it is well, and stop when they are told to.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use twistor::service::{
    Backoff, ClientService, ClientState, MultiService, Service, StopToken, StreamServerService, TimerService,
    run_service,
};
use twistor::sim::{Chaos, FaultKind, Simulation};
use twistor::{ConnectTcp, ListenTcp, Protocol, Reactor, Transport};

/// Says hello to everybody, and sends back what comes.
struct Greeter;

impl Protocol for Greeter {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        transport.write(b"hello\n");
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }
}

type Greeted = Rc<Cell<bool>>;

/// Knows whether it was greeted.
struct Guest(Greeted);

impl Protocol for Guest {
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {
        self.0.set(true);
    }
}

/// A client that is prepared once it was greeted.
fn client() -> ClientService {
    let current: Rc<RefCell<Greeted>> = Rc::default();
    let built = Rc::clone(&current);
    let factory = move || {
        let greeted = Greeted::default();
        *built.borrow_mut() = Rc::clone(&greeted);
        Guest(greeted)
    };
    ClientService::new(ConnectTcp::new("server", 80), factory)
        .prepare_timeout(Duration::from_secs(5))
        .retry(Backoff { max: Duration::from_secs(5), ..Backoff::default() })
        .prepare_connection(move |reactor, _, preparation| {
            let greeted = Rc::clone(&current.borrow());
            look(reactor, greeted, preparation);
        })
}

/// Looks ten times a second.
fn look(reactor: &mut Reactor, greeted: Greeted, preparation: twistor::service::PrepareToken) {
    if greeted.get() {
        return preparation.done();
    }
    // The protocol has dropped its copy: the connection is gone.
    if Rc::strong_count(&greeted) == 1 {
        return preparation.failed("it is gone");
    }
    reactor.call_later(Duration::from_millis(100), move |reactor| look(reactor, greeted, preparation));
}

#[test]
fn clients_reconnect_after_any_chaos_and_all_services_stop() {
    let connected_once = Cell::new(0);
    Simulation::explore(0..60, |simulation| {
        let (server, visitor) = (simulation.host("server"), simulation.host("visitor"));
        simulation
            .boot(server, |reactor| {
                let services = MultiService::new();
                let port = StreamServerService::new(ListenTcp::new(([0, 0, 0, 0], 80)), || Greeter);
                let _ = services.add(port.graceful(Duration::from_secs(3)));
                let _ = services.add(TimerService::new(Duration::from_millis(300), |_, _| {}));
                // A port that cannot be opened for a fault is tried again at the next boot.
                let _ = run_service(reactor, services, Duration::from_secs(10));
                Ok(())
            })
            .unwrap();
        let clients: Vec<ClientService> = (0..4).map(|_| client()).collect();
        for client in &clients {
            run_service(simulation.reactor(visitor), client.clone(), Duration::from_secs(30)).unwrap();
        }
        let mut random = simulation.random("chaos");
        let chaos = Chaos::draw(&mut random);
        // The visitor's own process lives on, so that its services can be looked at.
        let strikes = chaos.strikes.iter().copied();
        let strikes = strikes.filter(|kind| !matches!(kind, FaultKind::Kill | FaultKind::Crash)).collect();
        simulation.start_chaos(Chaos { strikes, ..chaos });
        for _ in 0..60 {
            simulation.run_for(Duration::from_secs(1)).unwrap();
            // Users come and go.
            let client = &clients[random.below(4) as usize];
            let reactor = simulation.reactor(visitor);
            match random.below(4) {
                0 => client.clone().stop(reactor, StopToken::ignored()),
                1 | 2 => client.clone().start(reactor).unwrap(),
                _ => {
                    client.clone().stop(reactor, StopToken::ignored());
                    client.clone().start(reactor).unwrap();
                }
            }
            connected_once
                .set(connected_once.get() + clients.iter().filter(|c| c.connection().is_some()).count());
        }
        simulation.stop_chaos();
        simulation.kill(server);
        simulation.restart(server).unwrap();
        for client in &clients {
            client.clone().start(simulation.reactor(visitor)).unwrap();
        }
        // Longest: a close that waits for a peer that is gone, 30 s; then an attempt of 10 s, and a wait of 6 s.
        simulation.run_for(Duration::from_secs(120)).unwrap();
        let states: Vec<ClientState> = clients.iter().map(ClientService::state).collect();
        assert!(clients.iter().all(|client| client.connection().is_some()), "{states:?}");

        let told = Rc::new(Cell::new(0));
        for client in &clients {
            let tells = Rc::clone(&told);
            let reactor = simulation.reactor(visitor);
            let stopped = StopToken::new(reactor, move |_| tells.set(tells.get() + 1));
            client.clone().stop(reactor, stopped);
        }
        simulation.run_for(Duration::from_secs(60)).unwrap();
        assert_eq!(told.get(), 4, "{:?}", clients.iter().map(ClientService::state).collect::<Vec<_>>());
        assert_eq!(simulation.reactor(visitor).connections(), []);
        simulation.reactor(server).stop();
        simulation.run_for(Duration::from_secs(30)).unwrap();
        assert!(simulation.reactor_ref(server).is_none_or(|reactor| !reactor.running()));
    });
    assert!(connected_once.get() > 1000, "chaos leaves some connections: {}", connected_once.get());
}
