//! Who plays: protocols that record what they see, and do what their manners are.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use twistor::{
    Address, ClientFactory, ConnectionId, Connector, Factory, Producer, ProducerKind, Protocol, Reactor,
    Reason, Transport,
};

use super::step::Deed;

/// What an actor does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Closes when the peer has sent its end, as protocols do by default.
    Plain,
    /// Goes on when the peer has sent its end.
    Stays,
    /// Sends back what it gets.
    Echoes,
    /// Sends so many bytes at once.
    Greets(usize),
    /// Greets and closes.
    GreetsAndCloses(usize),
    /// Closes when it has got so many bytes.
    HangsUp(usize),
    /// Aborts when it has got so many bytes.
    Aborts(usize),
    /// Does not read on when it has got so many bytes.
    Pauses(usize),
    /// Answers the end with so many bytes and its own end.
    AnswersTheEnd(usize),
    /// Sends its own end at once, and reads on.
    OnlyReads,
    /// A producer sends so many pieces of so many bytes, whenever the last has left. (It does not send its end as well: that takes
    /// a turn for each piece, and how many turns the peer has meanwhile is nobody's promise.)
    Produces(usize, usize),
}

/// Something that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// So many bytes, in however many pieces, and a sum of them.
    Data(usize, u32),
    Event(String),
}

/// What everybody saw, and the names of their connections.
#[derive(Default)]
pub struct Book {
    pub seen: BTreeMap<String, Vec<Seen>>,
    pub connections: BTreeMap<String, ConnectionId>,
    /// How many bytes each has sent: what comes next is decided by that.
    sent: BTreeMap<String, usize>,
    /// There is a producer.
    pub produces: bool,
    /// Who was told not to read, and is there.
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

    /// The next bytes that somebody sends.
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

/// Does something with the connection of this name, if it is there.
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
        // It goes nowhere.
        transport.write(b"never");
        self.book.borrow_mut().paused.remove(&self.name);
        self.note(format!("lost {}", describe(reason)));
    }
}

/// What a producer has still to send.
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

/// Makes a client's protocol, and hears what becomes of it.
pub struct Starter {
    pub name: String,
    pub manner: Manner,
    pub book: Shared,
    /// When it failed or is gone it connects once more.
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
    fn build_protocol(&mut self, _: &mut Reactor, _: &Address) -> Option<Box<dyn Protocol>> {
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

/// A reason with its error.
fn describe(reason: &Reason) -> String {
    let text = format!("{reason:?}");
    let kind = text.split(['(', ' ', '{']).next().unwrap_or_default();
    match reason.system_error() {
        Some(error) => format!("{kind} {} {:?}", error.call, error.kind),
        None => kind.to_owned(),
    }
}
