//! Recording protocols with a choice of behaviours.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use twistor::{
    BuildContext, ClientFactory, ConnectionId, Connector, Factory, Producer, ProducerKind, Protocol, Reactor,
    Reason, Transport,
};

use super::step::Deed;

/// The behaviour of an actor without steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Closes at the peer's FIN, as protocols do by default.
    Plain,
    /// Stays open at the peer's FIN.
    Stays,
    /// Echoes.
    Echoes,
    /// Sends this number of bytes at the start.
    Greets(usize),
    /// Sends this number of bytes at the start, and closes.
    GreetsAndCloses(usize),
    /// Closes after it has received this number of bytes.
    HangsUp(usize),
    /// Aborts after it has received this number of bytes.
    Aborts(usize),
    /// Pauses reading after it has received this number of bytes.
    Pauses(usize),
    /// Answers the peer's FIN with this number of bytes and its own FIN.
    AnswersTheEnd(usize),
    /// Sends FIN at the start, and reads on.
    OnlyReads,
    /// A producer sends a number of pieces of a number of bytes, each when the last one has left.
    /// It sends no FIN: the producer needs a turn for each piece, and the peer's number of turns
    /// meanwhile is not part of the contract.
    Produces(usize, usize),
}

/// A recorded event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The number of received bytes, in any number of pieces, and their checksum.
    Data(usize, u32),
    Event(String),
}

/// The records of all actors, and their connections.
#[derive(Default)]
pub struct Book {
    pub seen: BTreeMap<String, Vec<Seen>>,
    pub connections: BTreeMap<String, ConnectionId>,
    /// The number of bytes that each actor has sent, which determines the next bytes.
    sent: BTreeMap<String, usize>,
    /// A producer exists.
    pub produces: bool,
    /// Open connections that have paused reading.
    pub paused: BTreeSet<String>,
}

pub type Shared = Rc<RefCell<Book>>;

impl Book {
    pub fn note(&mut self, name: &str, event: impl Into<String>) {
        self.seen.entry(name.to_owned()).or_default().push(Seen::Event(event.into()));
    }

    pub fn data(&mut self, name: &str, data: &[u8]) {
        let seen = self.seen.entry(name.to_owned()).or_default();
        if !matches!(seen.last(), Some(Seen::Data(..))) {
            seen.push(Seen::Data(0, 0));
        }
        if let Some(Seen::Data(count, sum)) = seen.last_mut() {
            *count += data.len();
            *sum = data.iter().fold(*sum, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
        }
    }

    /// Returns an actor's next bytes.
    pub fn next_bytes(&mut self, name: &str, count: usize) -> Vec<u8> {
        let sent = self.sent.entry(name.to_owned()).or_default();
        let first = *sent + name.bytes().map(usize::from).sum::<usize>();
        *sent += count;
        (first..first + count).map(|place| (place ^ place >> 8) as u8).collect()
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Data(count, sum) => write!(f, "data {count} ({sum:08x})"),
            Seen::Event(event) => f.write_str(event),
        }
    }
}

/// Performs an action on the connection of this name, if it exists.
pub fn act(reactor: &mut Reactor, book: &Shared, name: &str, deed: Deed) {
    let Some(id) = book.borrow().connections.get(name).copied() else { return };
    let Some(mut transport) = reactor.transport(id) else { return };
    let bytes = |count| book.borrow_mut().next_bytes(name, count);
    match deed {
        Deed::Pause => book.borrow_mut().paused.insert(name.to_owned()),
        Deed::Resume => book.borrow_mut().paused.remove(name),
        _ => false,
    };
    match deed {
        Deed::Write(count) => transport.write(&bytes(count)),
        Deed::WriteAndClose(count) => {
            transport.write(&bytes(count));
            transport.lose_connection();
        }
        Deed::WriteAndAbort(count) => {
            transport.write(&bytes(count));
            transport.abort_connection();
        }
        Deed::CloseAndWrite(count) => {
            transport.lose_connection();
            transport.write(&bytes(count));
        }
        Deed::Finish => transport.lose_write_connection(),
        Deed::Pause => transport.pause_reading(),
        Deed::Resume => transport.resume_reading(),
        Deed::Close => transport.lose_connection(),
        Deed::Abort => transport.abort_connection(),
    }
}

/// A protocol.
pub struct Actor {
    name: String,
    manner: Manner,
    book: Shared,
    received: usize,
}

impl Actor {
    pub fn new(name: String, manner: Manner, book: &Shared) -> Actor {
        Actor { name, manner, book: Rc::clone(book), received: 0 }
    }

    fn note(&self, event: impl Into<String>) {
        self.book.borrow_mut().note(&self.name, event);
    }

    fn write(&self, transport: &mut Transport<'_>, count: usize) {
        let bytes = self.book.borrow_mut().next_bytes(&self.name, count);
        transport.write(&bytes);
    }
}

impl Protocol for Actor {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.book.borrow_mut().connections.insert(self.name.clone(), transport.id());
        self.note("made");
        match self.manner {
            Manner::Greets(count) => self.write(transport, count),
            Manner::GreetsAndCloses(count) => {
                self.write(transport, count);
                transport.lose_connection();
            }
            Manner::OnlyReads => transport.lose_write_connection(),
            Manner::Produces(pieces, size) => {
                self.book.borrow_mut().produces = true;
                let (name, book) = (self.name.clone(), Rc::clone(&self.book));
                let producer = Pieces { name, book, pieces, size };
                transport.register_producer(producer, ProducerKind::Pull).unwrap();
            }
            _ => {}
        }
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.book.borrow_mut().data(&self.name, data);
        self.received += data.len();
        match self.manner {
            Manner::Echoes => transport.write(data),
            Manner::HangsUp(count) if self.received >= count => transport.lose_connection(),
            Manner::Aborts(count) if self.received >= count => transport.abort_connection(),
            Manner::Pauses(count) if self.received >= count => {
                transport.pause_reading();
                // Only once.
                self.manner = Manner::Plain;
            }
            _ => {}
        }
    }

    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.note("read lost");
        match self.manner {
            Manner::Stays => {}
            Manner::AnswersTheEnd(count) => {
                self.write(transport, count);
                transport.lose_write_connection();
            }
            _ => transport.lose_connection(),
        }
    }

    fn write_connection_lost(&mut self, _: &mut Transport<'_>) {
        self.note("write lost");
    }

    fn pause_writing(&mut self, _: &mut Transport<'_>) {
        self.note("pause");
    }

    fn resume_writing(&mut self, _: &mut Transport<'_>) {
        self.note("resume");
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        // Discarded, because the connection is lost.
        transport.write(b"never");
        self.book.borrow_mut().paused.remove(&self.name);
        self.note(format!("lost {}", describe(reason)));
    }
}

/// The remaining pieces of a producer.
struct Pieces {
    name: String,
    book: Shared,
    pieces: usize,
    size: usize,
}

impl Producer for Pieces {
    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        if self.pieces == 0 {
            return transport.unregister_producer();
        }
        self.pieces -= 1;
        let bytes = self.book.borrow_mut().next_bytes(&self.name, self.size);
        transport.write(&bytes);
    }

    fn stop_producing(&mut self, _: &mut Reactor) {
        self.book.borrow_mut().note(&self.name, "stop producing");
    }
}

/// A factory of a client's protocol, which records its connector's callbacks.
pub struct Starter {
    pub name: String,
    pub manner: Manner,
    pub book: Shared,
    /// It connects once more after a failure or a loss.
    pub again: bool,
}

impl Starter {
    fn ended(&mut self, connector: &mut Connector<'_>, what: &str, reason: &Reason) {
        self.book.borrow_mut().note(&self.name, format!("{what} {}", describe(reason)));
        if std::mem::replace(&mut self.again, false) {
            let again = connector.connect();
            self.book.borrow_mut().note(&self.name, format!("again: {again}"));
        }
    }
}

impl Factory for Starter {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Actor::new(self.name.clone(), self.manner, &self.book)))
    }
}

impl ClientFactory for Starter {
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        self.ended(connector, "failed", reason);
    }

    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        self.ended(connector, "gone", reason);
    }
}

/// Formats a reason with its error.
fn describe(reason: &Reason) -> String {
    let text = format!("{reason:?}");
    let kind = text.split(['(', ' ', '{']).next().unwrap_or_default();
    match reason.system_error() {
        Some(error) => format!("{kind} {} {:?}", error.call, error.kind),
        None => kind.to_owned(),
    }
}
