//! Datagrams, one of whose system calls fails: a server that sends back what it gets, and a client with this one peer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use twistor::sim::{CallKind, Errno, Fault, Simulation, Verdict};
use twistor::{Address, DatagramId, DatagramProtocol, DatagramTransport, ListenUdp, Reactor, SystemError};

use super::{Counting, Side};

/// What both sides saw.
#[derive(Default)]
pub struct Book {
    /// How often each number came back.
    pub echoed: BTreeMap<u8, usize>,
    /// What the sides were told, by number of the error.
    pub told: Vec<(Side, i32)>,
    pub opened: usize,
    pub not_opened: Vec<twistor::Error>,
}

pub struct Outcome {
    pub book: Book,
    pub struck: u64,
    pub wrong: Vec<String>,
    pub trace: String,
}

/// Calls of a socket's life, and how often each is made at least.
pub const CALLS: &[(Side, CallKind, &[u64])] = &[
    (Side::Server, CallKind::Socket, &[1]),
    (Side::Server, CallKind::Bind, &[1]),
    (Side::Server, CallKind::Watch, &[1]),
    (Side::Server, CallKind::LocalAddress, &[1]),
    (Side::Server, CallKind::RecvDatagrams, &[1, 2, 10]),
    (Side::Server, CallKind::SendDatagrams, &[1, 2, 10]),
    (Side::Client, CallKind::Socket, &[1]),
    (Side::Client, CallKind::Bind, &[1]),
    (Side::Client, CallKind::Connect, &[1]),
    (Side::Client, CallKind::Watch, &[1]),
    (Side::Client, CallKind::LocalAddress, &[1]),
    (Side::Client, CallKind::RecvDatagrams, &[1, 2, 10]),
    (Side::Client, CallKind::SendDatagrams, &[1, 2, 10]),
];

/// What is wrong when this call failed so.
pub fn judge(outcome: &Outcome, side: Side, kind: CallKind, errno: Errno) -> Vec<String> {
    use CallKind::{RecvDatagrams, SendDatagrams};
    let Book { echoed, told, opened, not_opened } = &outcome.book;
    let missing = usize::from(ALL) - echoed.len();
    let harmless = matches!(errno, Errno::EAGAIN | Errno::EINTR);
    let expected = match kind {
        RecvDatagrams | SendDatagrams if harmless => (0, vec![], 0),
        // What the system could not do is told; what may be an answer to an earlier one costs nothing.
        RecvDatagrams => (0, vec![(side, errno.raw())], 0),
        SendDatagrams if ANSWERS.contains(&errno) => (0, vec![(side, errno.raw())], 0),
        SendDatagrams => (1, vec![(side, errno.raw())], 0),
        _ => (0, vec![], 1),
    };
    let seen = (missing, told.clone(), not_opened.len());
    let mut wrong = outcome.wrong.clone();
    wrong.extend((seen != expected).then(|| format!("{seen:?}, not {expected:?}")));
    wrong.extend((*opened != 2).then(|| format!("{opened} opened")));
    wrong.extend((outcome.struck != 1).then(|| format!("it struck {} times", outcome.struck)));
    wrong.extend(echoed.values().any(|times| *times > 1).then(|| "one came twice".to_owned()));
    wrong
}

/// What is wrong when a call did little or nothing, or took long.
pub fn judge_harmless(outcome: &Outcome) -> Vec<String> {
    let Book { echoed, told, .. } = &outcome.book;
    let mut wrong = outcome.wrong.clone();
    wrong.extend((echoed.len() < usize::from(ALL)).then(|| format!("only {} came back", echoed.len())));
    wrong.extend((!told.is_empty()).then(|| format!("told {told:?}")));
    wrong.extend((outcome.struck == 0).then(|| "it never struck".to_owned()));
    wrong
}

/// What these calls can do beside failing.
pub fn unusual() -> [Verdict; 3] {
    [Verdict::Short(1), Verdict::Drop, Verdict::Delay(Duration::from_millis(3))]
}

pub fn run(side: Side, fault: Fault) -> Outcome {
    let mut simulation = Simulation::new(22);
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    let struck = Rc::default();
    let host = if side == Side::Server { server } else { client };
    simulation.add_rule(Counting { fault: fault.on(host), struck: Rc::clone(&struck) });
    let book = Rc::new(RefCell::new(Book::default()));
    let to = SocketAddr::from((simulation.address(server), PORT));
    open(simulation.reactor(server), None, &book);
    open(simulation.reactor(client), Some(to), &book);
    let ended = simulation.run_until_idle(Duration::from_secs(60));
    let mut wrong = Vec::new();
    wrong.extend(ended.err().map(|stalled| format!("it does not end: {stalled}")));
    for host in [server, client] {
        let left = simulation.reactor_ref(host).map_or(0, Reactor::resource_count) + simulation.sockets(host);
        wrong.extend((left > 0).then(|| format!("{left} left on {}", simulation.name(host))));
    }
    Outcome { struck: struck.get(), wrong, trace: simulation.trace(60), book: book.take() }
}

/// Opens a socket, and tries again if that fails.
fn open(reactor: &mut Reactor, to: Option<SocketAddr>, book: &Rc<RefCell<Book>>) {
    let mailbox = Mailbox { to, book: Rc::clone(book), next: 0 };
    let opened = match to {
        Some(to) => reactor.connect_udp(to, mailbox),
        None => reactor.listen_udp(ListenUdp::new(([0, 0, 0, 0], PORT)), mailbox),
    };
    match opened {
        Ok(id) => {
            book.borrow_mut().opened += 1;
            close_later(reactor, id);
        }
        Err(error) => {
            book.borrow_mut().not_opened.push(error);
            let book = Rc::clone(book);
            reactor.call_later(Duration::from_millis(1), move |reactor| open(reactor, to, &book));
        }
    }
}

fn close_later(reactor: &mut Reactor, id: DatagramId) {
    reactor.call_later(Duration::from_secs(10), move |reactor| {
        reactor.datagram_transport(id).unwrap().stop_listening();
    });
}

struct Mailbox {
    to: Option<SocketAddr>,
    book: Rc<RefCell<Book>>,
    next: u8,
}

impl Mailbox {
    fn send(&mut self, transport: &mut DatagramTransport<'_>) {
        // Two each time: one of them may be the shorter batch.
        for _ in 0..2 {
            transport.write(&[self.next; 40]).unwrap();
            self.next += 1;
        }
        if self.next < ALL {
            let wait = Duration::from_millis(10);
            transport.call_later(wait, |mailbox: &mut Mailbox, transport| mailbox.send(transport));
        }
    }

    fn side(&self) -> Side {
        if self.to.is_some() { Side::Client } else { Side::Server }
    }
}

impl DatagramProtocol for Mailbox {
    fn start_protocol(&mut self, transport: &mut DatagramTransport<'_>) {
        if self.to.is_some() {
            let wait = Duration::from_millis(100);
            transport.call_later(wait, |mailbox: &mut Mailbox, transport| mailbox.send(transport));
        }
    }

    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        assert_eq!(data, [data[0]; 40]);
        match self.to {
            Some(_) => *self.book.borrow_mut().echoed.entry(data[0]).or_default() += 1,
            None => transport.write_to(data, from).unwrap(),
        }
    }

    fn connection_refused(&mut self, _: &mut DatagramTransport<'_>) {
        let side = self.side();
        self.book.borrow_mut().told.push((side, Errno::ECONNREFUSED.raw()));
    }

    fn error_received(&mut self, _: &mut DatagramTransport<'_>, error: &SystemError) {
        let side = self.side();
        self.book.borrow_mut().told.push((side, error.code.unwrap_or(0)));
    }

    fn send_failed(&mut self, _: &mut DatagramTransport<'_>, _: Option<&Address>, error: &SystemError) {
        let side = self.side();
        self.book.borrow_mut().told.push((side, error.code.unwrap_or(0)));
    }
}

/// What the network can say of an earlier datagram.
const ANSWERS: [Errno; 5] =
    [Errno::ECONNREFUSED, Errno::EHOSTUNREACH, Errno::ENETUNREACH, Errno::EPROTO, Errno::EMSGSIZE];

const PORT: u16 = 3000;

/// How many there are.
const ALL: u8 = 24;
