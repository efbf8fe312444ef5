//! A client service does what its state says, whatever happens in whichever of them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::world::Record;
use twistor::endpoint::ClientEndpoint;
use twistor::service::{Backoff, ClientService, ClientState, PrepareToken, Service, StopToken};
use twistor::sim::Errno;
use twistor::testing::{MemoryReactor, Peer};
use twistor::{ClientFactory, ConnectTcp, ConnectorId, Protocol, Reactor, Result, Transport};

struct Silent;

impl Protocol for Silent {
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

/// Every state, as the test brings it about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    New,
    Stopped,
    Waiting,
    Resolving,
    Connecting,
    Preparing,
    Discarding,
    Connected,
    StoppingAnAttempt,
    StoppingAConnection,
    Restarting,
    GivenUp,
}

const PLACES: [Place; 12] = [
    Place::New,
    Place::Stopped,
    Place::Waiting,
    Place::Resolving,
    Place::Connecting,
    Place::Preparing,
    Place::Discarding,
    Place::Connected,
    Place::StoppingAnAttempt,
    Place::StoppingAConnection,
    Place::Restarting,
    Place::GivenUp,
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Start,
    Stop,
    StopAndStart,
    /// The time of a wait passes.
    Wait,
    /// The peer ends the connection.
    PeerEnds,
    Prepared,
    Unprepared,
    /// The token of the preparation is dropped.
    Dropped,
    Ask,
}

const ACTS: [Act; 9] = [
    Act::Start,
    Act::Stop,
    Act::StopAndStart,
    Act::Wait,
    Act::PeerEnds,
    Act::Prepared,
    Act::Unprepared,
    Act::Dropped,
    Act::Ask,
];

/// An endpoint that counts how often it was used.
struct Counting(Rc<Cell<usize>>);

impl ClientEndpoint for Counting {
    fn connect(&self, reactor: &mut Reactor, factory: Box<dyn ClientFactory>) -> Result<ConnectorId> {
        self.0.set(self.0.get() + 1);
        ConnectTcp::new("example.org", 80).connect(reactor, factory)
    }

    fn describe(&self) -> String {
        "example.org:80".to_owned()
    }
}

struct Bench {
    memory: MemoryReactor,
    service: ClientService,
    preparation: Rc<RefCell<Option<PrepareToken>>>,
    record: Record,
    attempts: Rc<Cell<usize>>,
    peer: Option<Peer>,
}

const WAIT: Duration = Duration::from_secs(1);

impl Bench {
    fn new(prepares: bool) -> Bench {
        let (attempts, record) = (Rc::default(), Record::new());
        let backoff = Backoff { initial: WAIT, factor: 1.0, jitter: 0.0, ..Backoff::default() };
        let mut service = ClientService::new(Counting(Rc::clone(&attempts)), || Silent).retry(backoff);
        let preparation: Rc<RefCell<Option<PrepareToken>>> = Rc::default();
        if prepares {
            let token = Rc::clone(&preparation);
            service = service.prepare_connection(move |_, _, preparation| {
                *token.borrow_mut() = Some(preparation);
            });
        }
        Bench { memory: MemoryReactor::new(), service, preparation, record, attempts, peer: None }
    }

    /// A service that is in this state.
    fn at(place: Place) -> Bench {
        let mut bench = Bench::new(matches!(place, Place::Preparing | Place::Discarding));
        match place {
            Place::New => {}
            Place::Stopped => {
                bench.start();
                bench.fail();
                bench.stop("before");
                bench.memory.start();
                bench.record.take();
            }
            Place::Waiting => {
                bench.start();
                bench.fail();
            }
            Place::Resolving => bench.start_only(),
            Place::Connecting => bench.start(),
            Place::Preparing | Place::Connected => {
                bench.start();
                bench.succeed();
            }
            Place::Discarding => {
                bench.start();
                bench.succeed();
                let preparation = bench.preparation.borrow_mut().take().unwrap();
                preparation.failed("on purpose");
                bench.turn_until(ClientState::Discarding);
            }
            Place::StoppingAnAttempt => {
                bench.start();
                bench.stop("before");
            }
            Place::StoppingAConnection => {
                bench.start();
                bench.succeed();
                bench.stop("before");
            }
            Place::Restarting => {
                bench.start();
                bench.succeed();
                bench.stop("before");
                bench.start_only();
            }
            Place::GivenUp => {
                let service = ClientService::new(Counting(Rc::clone(&bench.attempts)), || Silent);
                bench.service = service.retry(Backoff::default().give_up_after(1));
                bench.start();
                bench.fail();
            }
        }
        let expected = match place {
            Place::New => ClientState::New,
            Place::Stopped => ClientState::Stopped,
            Place::Waiting => ClientState::Waiting,
            Place::Resolving | Place::Connecting => ClientState::Connecting,
            Place::Preparing | Place::Connected => bench.service.state(),
            Place::Discarding => ClientState::Discarding,
            Place::StoppingAnAttempt | Place::StoppingAConnection => ClientState::Stopping,
            Place::Restarting => ClientState::Restarting,
            Place::GivenUp => ClientState::GivenUp,
        };
        assert_eq!(bench.service.state(), expected, "{place:?}");
        assert_eq!(matches!(bench.service.state(), ClientState::Preparing(_)), place == Place::Preparing);
        assert_eq!(bench.service.connection().is_some(), place == Place::Connected);
        bench
    }

    fn start_only(&mut self) {
        self.service.clone().start(&mut self.memory.reactor()).unwrap();
    }

    fn start(&mut self) {
        self.start_only();
        self.memory.start();
    }

    fn stop(&mut self, name: &'static str) {
        let record = self.record.clone();
        let reactor = &mut self.memory.reactor();
        let stopped = StopToken::new(reactor, move |_| record.add(format!("{name} stopped")));
        self.service.clone().stop(reactor, stopped);
    }

    fn ask(&mut self) {
        let record = self.record.clone();
        self.service.when_connected(&mut self.memory.reactor(), move |_, connection| {
            record.add(match connection {
                Ok(_) => "connected".to_owned(),
                Err(error) => error.to_string(),
            });
        });
    }

    fn fail(&mut self) {
        self.memory.fail_next(Errno::ECONNREFUSED);
    }

    fn succeed(&mut self) {
        self.peer = Some(self.memory.succeed_next());
        self.memory.start();
    }

    /// One turn after the other, no longer than it takes.
    fn turn_until(&mut self, state: ClientState) {
        for _ in 0..100 {
            if self.service.state() == state {
                return;
            }
            self.memory.reactor().iterate(Some(Duration::ZERO)).unwrap();
        }
        panic!("{:?}, not {state:?}", self.service.state());
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Start => self.start_only(),
            Act::Stop => self.stop("now"),
            Act::StopAndStart => {
                self.stop("now");
                self.start_only();
            }
            Act::Wait => self.memory.advance(WAIT),
            Act::PeerEnds => {
                if let Some(peer) = &mut self.peer {
                    peer.close();
                }
            }
            Act::Prepared | Act::Unprepared | Act::Dropped => {
                if let Some(preparation) = self.preparation.borrow_mut().take() {
                    match act {
                        Act::Prepared => preparation.done(),
                        Act::Unprepared => preparation.failed("on purpose"),
                        _ => drop(preparation),
                    }
                }
            }
            Act::Ask => self.ask(),
        }
        self.memory.start();
    }

    fn kind(&self) -> &'static str {
        match self.service.state() {
            ClientState::New => "new",
            ClientState::Stopped => "stopped",
            ClientState::Waiting => "waiting",
            ClientState::Connecting => "connecting",
            ClientState::Preparing(_) => "preparing",
            ClientState::Discarding => "discarding",
            ClientState::Connected(_) => "connected",
            ClientState::Stopping => "stopping",
            ClientState::Restarting => "restarting",
            ClientState::GivenUp => "given up",
        }
    }
}

/// What an act in a state leads to, once everything that follows from it has happened: a loss that was asked for, too.
fn table(place: Place, act: Act) -> &'static str {
    match (place, act) {
        // To stop ends it from everywhere; to start again begins anew.
        (_, Act::Stop) => "stopped",
        (_, Act::StopAndStart) => "connecting",
        (Place::New | Place::Stopped | Place::GivenUp, Act::Start) => "connecting",
        (Place::StoppingAnAttempt | Place::StoppingAConnection, Act::Start) => "connecting",
        // What was being ended has ended, whatever else happens.
        (Place::StoppingAnAttempt | Place::StoppingAConnection, _) => "stopped",
        (Place::Restarting, _) => "connecting",
        // Likewise.
        (Place::Discarding, Act::Wait) => "connecting",
        (Place::Discarding, _) => "waiting",

        (Place::New, _) => "new",
        (Place::Stopped, _) => "stopped",
        (Place::GivenUp, _) => "given up",
        (Place::Waiting, Act::Wait) => "connecting",
        (Place::Waiting, _) => "waiting",
        (Place::Resolving | Place::Connecting, _) => "connecting",
        (Place::Preparing, Act::Prepared) => "connected",
        (Place::Preparing, Act::Unprepared | Act::Dropped | Act::PeerEnds) => "waiting",
        (Place::Preparing, _) => "preparing",
        (Place::Connected, Act::PeerEnds) => "waiting",
        (Place::Connected, _) => "connected",
    }
}

#[test]
fn every_act_in_every_state_leads_where_the_table_says() {
    for place in PLACES {
        for act in ACTS {
            let mut bench = Bench::at(place);
            let before = bench.attempts.get();
            bench.act(act);
            assert_eq!(bench.kind(), table(place, act), "{act:?} when {place:?}");
            let begun = bench.attempts.get() - before;
            let begins = table(place, act) == "connecting"
                && (!matches!(place, Place::Resolving | Place::Connecting) || act == Act::StopAndStart);
            assert_eq!(begun, usize::from(begins), "attempts after {act:?} when {place:?}");
        }
    }
}

#[test]
fn each_stop_is_confirmed_once_in_every_state_without_leaks() {
    for place in PLACES {
        let mut bench = Bench::at(place);
        bench.act(Act::Stop);
        assert_eq!(bench.record.count("now stopped"), 1, "{place:?}");
        drop(bench.preparation.borrow_mut().take());
        bench.memory.start();
        assert_eq!(bench.memory.reactor().resource_count(), 0, "{place:?}");
        assert_eq!(bench.memory.reactor().delayed_call_count(), 0, "{place:?}");
        bench.act(Act::Stop);
        assert_eq!(bench.record.count("now stopped"), 2, "{place:?}");
    }
}

#[test]
fn who_waits_for_a_connection_is_answered_as_the_state_says() {
    for place in PLACES {
        let mut bench = Bench::at(place);
        bench.act(Act::Ask);
        let mut answers = bench.record.take();
        answers.retain(|answer| !answer.ends_with("stopped") || answer.starts_with("no connection"));
        let expected = match place {
            Place::Connected => vec!["connected"],
            Place::Stopped | Place::StoppingAnAttempt | Place::StoppingAConnection => {
                vec!["no connection: the service was stopped"]
            }
            Place::GivenUp => vec!["no connection after 1 attempts: connection refused"],
            _ => vec![],
        };
        assert_eq!(answers, expected, "{place:?}");
        // Those that still wait are answered when it stops.
        bench.act(Act::Stop);
        let waited = usize::from(expected.is_empty());
        assert_eq!(bench.record.count("no connection: the service was stopped"), waited, "{place:?}");
    }
}

#[test]
fn a_start_while_stopping_waits_for_the_old_connections_loss() {
    let mut bench = Bench::at(Place::Restarting);
    assert_eq!((bench.kind(), bench.attempts.get()), ("restarting", 1));
    bench.stop("again");
    bench.start_only();
    bench.ask();
    bench.memory.start();
    assert_eq!((bench.kind(), bench.attempts.get()), ("connecting", 2));
    assert_eq!(bench.record.take(), ["before stopped", "again stopped"]);
    bench.succeed();
    assert_eq!((bench.kind(), bench.record.take()), ("connected", vec!["connected".to_owned()]));
}
