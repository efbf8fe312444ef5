//! The scenario: a server with ten ports and a client with some thirty connections, jobs and look-ups on both, and
//! another pair of hosts that has nothing to do with it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use twistor::sim::{Host, Simulation};
use twistor::{ConnectTcp, Error, Reactor, Reason};

use super::protocols::{Caller, Served};

/// What everybody saw.
#[derive(Default)]
pub struct Book {
    /// By the number of the client.
    pub clients: BTreeMap<usize, End>,
    /// In the order of being made.
    pub served: Vec<End>,
    /// Listening that failed, jobs that were refused, look-ups that found nothing.
    pub listens_failed: Vec<Error>,
    pub jobs_refused: usize,
    pub jobs_done: usize,
    pub names_missed: Vec<Reason>,
    pub names_found: usize,
    /// Connections that nothing but their idle timeout ended.
    pub idle: usize,
}

/// One end of a connection, or an attempt to make one.
#[derive(Default)]
pub struct End {
    /// Which client it is or talks to; a served one learns it from the first bytes.
    pub client: Option<usize>,
    pub made: usize,
    pub lost: Vec<Reason>,
    /// What the client's factory was told.
    pub failed: Vec<Reason>,
    pub gone: usize,
    pub received: Vec<u8>,
    pub after_the_end: usize,
}

pub type Shared = Rc<RefCell<Book>>;

pub struct Place {
    pub server: Host,
    pub client: Host,
    /// The pair that has nothing to do with it.
    pub near: Host,
    pub far: Host,
    pub book: Shared,
    pub bystanders: Shared,
}

/// Two pairs of hosts.
pub fn prepare(simulation: &mut Simulation) -> Place {
    let host = |name| simulation.host(name);
    let place = Place {
        server: host("server"),
        client: host("client"),
        near: host("near"),
        far: host("far"),
        book: Shared::default(),
        bystanders: Shared::default(),
    };
    // One address, so that one failure is the whole answer.
    for (name, host) in [("echo", place.server), ("other", place.far)] {
        simulation.add_name(name, &[simulation.address(host)]);
    }
    place
}

/// Lets it begin.
pub fn begin(simulation: &mut Simulation, place: &Place) {
    serve(simulation.reactor(place.server), PORTS, &place.book);
    serve(simulation.reactor(place.far), 2, &place.bystanders);
    let (to, from) = (simulation.address(place.server), simulation.address(place.client));
    for number in 0..CLIENTS + REFUSED + LATE {
        let port = if is_refused(number) { CLOSED_PORT } else { FIRST_PORT + number as u16 % PORTS };
        let host = if by_name(number) { "echo".to_owned() } else { to.to_string() };
        let bind = (!by_name(number)).then_some(SocketAddr::new(from, 0));
        let to = ConnectTcp { bind, ..ConnectTcp::new(host, port) };
        start_client(simulation.reactor(place.client), number, to, &place.book);
    }
    for number in 0..4 {
        let to = ConnectTcp::new("other", FIRST_PORT + number as u16 % 2);
        start_client(simulation.reactor(place.near), number, to, &place.bystanders);
    }
    for (host, book) in [(place.server, &place.book), (place.client, &place.book)] {
        work(simulation.reactor(host), book);
    }
}

/// Whether a client finds the server by its name.
pub fn by_name(number: usize) -> bool {
    number % 2 == 1
}

/// Whether this client connects to a port without a listener.
pub fn is_refused(number: usize) -> bool {
    (CLIENTS..CLIENTS + REFUSED).contains(&number)
}

/// Whether it comes when everything else is over.
pub fn is_late(number: usize) -> bool {
    number >= CLIENTS + REFUSED
}

/// What a client sends.
pub fn message(number: usize) -> Rc<[u8]> {
    thread_local! {
        static MESSAGES: RefCell<BTreeMap<usize, Rc<[u8]>>> = RefCell::default();
    }
    MESSAGES.with_borrow_mut(|made| Rc::clone(made.entry(number).or_insert_with(|| make(number).into())))
}

fn make(number: usize) -> Vec<u8> {
    // One has more than the systems between can hold.
    let length = if number == 5 { 300_000 } else { 200 + 37 * number };
    let mut bytes = vec![number as u8];
    bytes.extend((1..length - 1).map(|place| b'a' + ((place * 7 + number) % 23) as u8));
    bytes.push(b'\n');
    bytes
}

fn serve(reactor: &mut Reactor, ports: u16, book: &Shared) {
    for port in FIRST_PORT..FIRST_PORT + ports {
        listen(reactor, port, Rc::clone(book));
    }
}

/// Listens on a port, and tries again if that fails.
fn listen(reactor: &mut Reactor, port: u16, book: Shared) {
    let factory = {
        let book = Rc::clone(&book);
        move || {
            let mut found = book.borrow_mut();
            found.served.push(End::default());
            let place = found.served.len() - 1;
            Served { book: Rc::clone(&book), place, closes_first: port % 2 == 1 }
        }
    };
    match reactor.listen_tcp(SocketAddr::new([0, 0, 0, 0].into(), port), factory) {
        Ok(listener) => {
            reactor.call_later(SERVED_FOR, move |reactor| reactor.stop_listening(&listener).unwrap());
        }
        Err(error) => {
            book.borrow_mut().listens_failed.push(error);
            reactor.call_later(AGAIN, move |reactor| listen(reactor, port, book));
        }
    }
}

/// One client, which begins when its time has come.
fn start_client(reactor: &mut Reactor, number: usize, to: ConnectTcp, book: &Shared) {
    book.borrow_mut().clients.insert(number, End { client: Some(number), ..End::default() });
    let book = Rc::clone(book);
    let wait = if is_late(number) { MUCH_LATER } else { BEGIN };
    reactor.call_later(wait + BETWEEN * number as u32, move |reactor| {
        reactor.connect_tcp(to, Caller { book, number }).unwrap();
    });
}

/// Jobs for threads, look-ups, and timers, one of which never comes.
fn work(reactor: &mut Reactor, book: &Shared) {
    for round in 0..12 {
        let book = Rc::clone(book);
        reactor.call_later(BEGIN + BETWEEN * round, move |reactor| {
            let counted = Rc::clone(&book);
            let done = move |_: &mut Reactor, result: Result<u32, _>| {
                assert_eq!(result.unwrap(), round);
                counted.borrow_mut().jobs_done += 1;
            };
            if reactor.call_in_thread(move || round, done).is_err() {
                book.borrow_mut().jobs_refused += 1;
            }
            let found = move |_: &mut Reactor, result: Result<Vec<SocketAddr>, Reason>| match result {
                Ok(_) => book.borrow_mut().names_found += 1,
                Err(reason) => book.borrow_mut().names_missed.push(reason),
            };
            reactor.resolve("echo", 1, found).unwrap();
        });
    }
    let never = reactor.call_later(SERVED_FOR, |_| unreachable!("it was cancelled"));
    reactor.call_later(BEGIN, move |reactor| never.cancel(reactor).unwrap());
}

/// Ports that are listened on, clients that talk to them, clients of a port without a listener, and those that come when
/// everything else is over.
pub const PORTS: u16 = 10;
const CLIENTS: usize = 24;
pub const REFUSED: usize = 12;
pub const LATE: usize = 4;

const FIRST_PORT: u16 = 2000;
const CLOSED_PORT: u16 = 1999;

/// When the first client begins, and the time between two.
const BEGIN: Duration = Duration::from_millis(20);
const BETWEEN: Duration = Duration::from_millis(3);

/// When the late ones begin.
pub const MUCH_LATER: Duration = Duration::from_secs(10);

/// After this a listener that could not listen tries again.
const AGAIN: Duration = Duration::from_millis(5);

const SERVED_FOR: Duration = Duration::from_secs(60);

/// When all is over, and more.
pub const LONGEST: Duration = Duration::from_secs(600);
