//! UNIX streams, one of whose system calls fails: a process with ten listeners and the clients that talk to them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use twistor::sim::{CallKind, Errno, Fault, Simulation};
use twistor::{
    BuildContext, ClientFactory, Connector, Factory, ListenUnix, Protocol, Reactor, Reason, Transport,
};

use super::Counting;

/// What both sides saw.
#[derive(Default)]
pub struct Book {
    /// By the number of the client: what it got back, and how it ended.
    pub clients: Vec<Client>,
    /// Connections made and lost on the listeners' side.
    pub made: usize,
    pub lost: Vec<Reason>,
    pub not_listening: Vec<twistor::Error>,
    pub nobody_knows: Vec<twistor::Error>,
}

#[derive(Default)]
pub struct Client {
    pub received: usize,
    pub ended: Vec<Reason>,
}

pub struct Outcome {
    pub book: Book,
    pub struck: u64,
    pub wrong: Vec<String>,
    pub trace: String,
}

/// What concerns a process that listens and connects, and when: later ones are of connections.
pub const CALLS: &[(CallKind, &[u64])] = &[
    (CallKind::Socket, &[1, 2, 10, 11, 20]),
    (CallKind::Bind, &[1, 2, 10]),
    (CallKind::SetMode, &[1, 2, 10]),
    (CallKind::Listen, &[1, 2, 10]),
    (CallKind::Watch, &[1, 2, 10, 11, 12, 20]),
    (CallKind::LocalAddress, &[1, 2, 10]),
    (CallKind::Connect, &[1, 2, 10]),
    (CallKind::Accept, &[1, 2, 10]),
    (CallKind::Recv, &[1, 2, 10]),
    (CallKind::Send, &[1, 2, 10]),
    (CallKind::Shutdown, &[1, 2, 10]),
    (CallKind::Credentials, &[1, 2, 10]),
];

/// What is wrong when this call failed so.
pub fn judge(outcome: &Outcome, kind: CallKind, errno: Errno) -> Vec<String> {
    use CallKind::{Accept, Bind, Connect, Credentials, Listen, Recv, Send, SetMode};
    let book = &outcome.book;
    let mut wrong = outcome.wrong.clone();
    let mut check = |holds: bool, what: String| wrong.extend((!holds).then_some(what));
    let unserved: Vec<&Client> = book.clients.iter().filter(|client| client.received < MESSAGE).collect();
    let again = matches!(errno, Errno::EAGAIN | Errno::EINTR);
    let most = match kind {
        Bind | Listen | SetMode | Credentials => 0,
        Recv | Send | Connect | Accept if again => 0,
        // Those that waited are closed.
        Accept if matches!(errno, Errno::EMFILE | Errno::ENFILE) => CLIENTS,
        Accept => 0,
        _ => 1,
    };
    check(unserved.len() <= most, format!("{} were not served", unserved.len()));
    for client in &unserved {
        let says = |reason: &Reason| reason.system_error().and_then(|error| error.code) == Some(errno.raw());
        let of_the_error = client.ended.iter().chain(&book.lost).any(says);
        let waited = matches!(kind, Accept | CallKind::Watch);
        check(of_the_error || waited, format!("one ended with {:?}", client.ended));
    }
    let listeners = usize::from(matches!(kind, Bind | SetMode | Listen));
    check(book.not_listening.len() >= listeners, "no listener failed".to_owned());
    let credentials = usize::from(kind == Credentials);
    check(book.nobody_knows.len() == credentials, format!("{:?}", book.nobody_knows));
    check(outcome.struck == 1, format!("it struck {} times", outcome.struck));
    wrong
}

pub fn run(fault: Fault) -> Outcome {
    let mut simulation = Simulation::new(22);
    simulation.keep_trace(300);
    let host = simulation.host("here");
    let struck = Rc::default();
    simulation.add_rule(Counting { fault, struck: Rc::clone(&struck) });
    let book = Rc::new(RefCell::new(Book::default()));
    let reactor = simulation.reactor(host);
    for number in 0..LISTENERS {
        listen(reactor, number, &book);
    }
    for number in 0..CLIENTS {
        book.borrow_mut().clients.push(Client::default());
        let caller = Caller { number, book: Rc::clone(&book) };
        reactor.call_later(BEGIN + BETWEEN * number as u32, move |reactor| {
            reactor.connect_unix(name(number % LISTENERS), caller).unwrap();
        });
    }
    let ended = simulation.run_until_idle(Duration::from_secs(600));
    let mut wrong = Vec::new();
    let mut check = |holds: bool, what: String| wrong.extend((!holds).then_some(what));
    check(ended.is_ok(), format!("it does not end: {ended:?}"));
    let left = simulation.reactor_ref(host).map_or(0, Reactor::resource_count) + simulation.sockets(host);
    check(left == 0, format!("{left} left"));
    check(simulation.connections() == 0, format!("{} connections left", simulation.connections()));
    for number in 0..LISTENERS {
        let file = simulation.socket_file(host, name(number));
        check(file.is_none(), format!("{} was left behind", name(number)));
    }
    let found = book.borrow();
    for (number, client) in found.clients.iter().enumerate() {
        check(client.ended.len() == 1, format!("client {number} ended {:?}", client.ended));
    }
    check(found.made == found.lost.len(), format!("{} made, {} lost", found.made, found.lost.len()));
    drop(found);
    Outcome { struck: struck.get(), wrong, trace: simulation.trace(60), book: book.take() }
}

fn name(number: usize) -> String {
    format!("/run/{number}")
}

/// Listens, and tries again if that fails.
fn listen(reactor: &mut Reactor, number: usize, book: &Rc<RefCell<Book>>) {
    let options = ListenUnix { mode: Some(0o600), ..ListenUnix::at(name(number)).unwrap() };
    let served = Rc::clone(book);
    match reactor.listen_unix(options, move || Served(Rc::clone(&served))) {
        Ok(listener) => {
            reactor.call_later(Duration::from_secs(60), move |reactor| {
                reactor.stop_listening(&listener).unwrap();
            });
        }
        Err(error) => {
            book.borrow_mut().not_listening.push(error);
            let book = Rc::clone(book);
            reactor.call_later(Duration::from_millis(5), move |reactor| listen(reactor, number, &book));
        }
    }
}

/// Sends back what it gets, until the client has said all.
struct Served(Rc<RefCell<Book>>);

impl Protocol for Served {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.0.borrow_mut().made += 1;
        if let Err(error) = transport.peer_credentials() {
            self.0.borrow_mut().nobody_knows.push(error);
        }
        transport.call_later(IDLE, |_: &mut Served, transport| transport.abort_connection());
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        self.0.borrow_mut().lost.push(reason.clone());
    }
}

#[derive(Clone)]
struct Caller {
    number: usize,
    book: Rc<RefCell<Book>>,
}

impl Factory for Caller {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        Some(Box::new(self.clone()))
    }
}

impl ClientFactory for Caller {
    fn client_connection_failed(&mut self, _: &mut Connector<'_>, reason: &Reason) {
        self.book.borrow_mut().clients[self.number].ended.push(reason.clone());
    }
}

impl Protocol for Caller {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        transport.write(&[self.number as u8; MESSAGE]);
        transport.call_later(IDLE, |_: &mut Caller, transport| transport.abort_connection());
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        let client = &mut self.book.borrow_mut().clients[self.number];
        assert!(data.iter().all(|byte| usize::from(*byte) == self.number));
        client.received += data.len();
        if client.received == MESSAGE {
            transport.lose_write_connection();
        }
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        self.book.borrow_mut().clients[self.number].ended.push(reason.clone());
    }
}

const LISTENERS: usize = 10;
const CLIENTS: usize = 20;
const MESSAGE: usize = 2000;
const BEGIN: Duration = Duration::from_millis(50);
const BETWEEN: Duration = Duration::from_millis(3);

/// A connection that lives longer is stuck.
const IDLE: Duration = Duration::from_secs(20);
