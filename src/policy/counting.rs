//! Counting traffic, of each connection and of all.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::{Below, ConnectionId, Factory, Layer, Layered, Reactor, Reason, layered};

/// Bytes that went either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Received from the peer.
    pub received: u64,
    /// Written by this side, sent or about to be.
    pub sent: u64,
}

/// The books of all connections that are counted with it; clones are the same books.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Rc<Books>);

#[derive(Debug, Default)]
struct Books {
    total: Cell<Counts>,
    connections: Cell<u64>,
    open: RefCell<BTreeMap<ConnectionId, Rc<Cell<Counts>>>>,
}

impl Traffic {
    /// Empty books.
    pub fn new() -> Traffic {
        Traffic::default()
    }

    /// All connections together, those included that are gone.
    pub fn total(&self) -> Counts {
        self.0.total.get()
    }

    /// How many connections there were, those included that are gone.
    pub fn connections(&self) -> u64 {
        self.0.connections.get()
    }

    /// One open connection's; `None` when it is gone or not counted here.
    pub fn of(&self, connection: ConnectionId) -> Option<Counts> {
        self.0.open.borrow().get(&connection).map(|counts| counts.get())
    }

    /// Those of all open connections, in the order of their names.
    pub fn open(&self) -> Vec<(ConnectionId, Counts)> {
        self.0.open.borrow().iter().map(|(id, counts)| (*id, counts.get())).collect()
    }
}

/// Counts what the connections of a factory receive and send. Wrapped inside of a throttle it counts what protocols see,
/// outside what the system does.
///
/// ```
/// use twistor::policy::{Traffic, counted};
/// # struct Echo;
/// # impl twistor::Protocol for Echo {
/// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
/// # }
///
/// let traffic = Traffic::new();
/// twistor::Reactor::new()?.listen_tcp("127.0.0.1:0", counted(|| Echo, &traffic))?;
/// assert_eq!((traffic.total().sent, traffic.open().len()), (0, 0));
/// # Ok::<(), twistor::Error>(())
/// ```
pub fn counted<F: Factory>(factory: F, traffic: &Traffic) -> Layered<F, impl FnMut() -> Counting + use<F>> {
    let traffic = traffic.clone();
    layered(factory, move || Counting::new(&traffic))
}

/// Counts one connection.
pub struct Counting {
    traffic: Traffic,
    counts: Rc<Cell<Counts>>,
    id: Option<ConnectionId>,
}

impl Counting {
    /// Counts in these books.
    pub fn new(traffic: &Traffic) -> Counting {
        Counting { traffic: traffic.clone(), counts: Rc::default(), id: None }
    }

    fn count(&self, received: usize, sent: usize) {
        for counts in [&self.counts, &self.traffic.0.total] {
            let Counts { received: before, sent: after } = counts.get();
            counts.set(Counts { received: before + received as u64, sent: after + sent as u64 });
        }
    }
}

impl Layer for Counting {
    fn started(&mut self, below: &mut Below<'_>) {
        self.id = Some(below.id());
        self.traffic.0.open.borrow_mut().insert(below.id(), Rc::clone(&self.counts));
        self.traffic.0.connections.set(self.traffic.0.connections.get() + 1);
        below.ready();
    }

    fn received(&mut self, below: &mut Below<'_>, data: &[u8]) {
        self.count(data.len(), 0);
        below.deliver(data);
    }

    fn written(&mut self, below: &mut Below<'_>, data: &[u8]) {
        self.count(0, data.len());
        below.send(data);
    }

    fn lost(&mut self, _: &mut Reactor, _: &Reason) {
        if let Some(id) = self.id.take() {
            self.traffic.0.open.borrow_mut().remove(&id);
        }
    }
}
