//! Traffic counters, per connection and in total.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use crate::{ConnectionId, Factory, Layer, LayerContext, Layered, Reactor, Reason, layered};

/// Byte counts of both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteCounts {
    /// Bytes received from the peer.
    pub received: u64,
    /// Bytes written by this side, including those not sent yet.
    pub sent: u64,
}

/// Byte and connection counters of a set of connections. Clones share the counters.
#[derive(Clone, Debug, Default)]
pub struct TrafficCounter(Rc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    total: Cell<ByteCounts>,
    connections: Cell<u64>,
    open: RefCell<HashMap<ConnectionId, Rc<Cell<ByteCounts>>>>,
}

impl TrafficCounter {
    /// Creates counters that are all zero.
    pub fn new() -> TrafficCounter {
        TrafficCounter::default()
    }

    /// Total byte counts, including closed connections.
    pub fn total(&self) -> ByteCounts {
        self.0.total.get()
    }

    /// Total number of connections, including closed ones.
    pub fn connections(&self) -> u64 {
        self.0.connections.get()
    }

    /// Byte counts of an open connection. `None` if it is closed or not counted here.
    pub fn of(&self, connection: ConnectionId) -> Option<ByteCounts> {
        self.0.open.borrow().get(&connection).map(|counts| counts.get())
    }

    /// Byte counts of all open connections, ordered by id.
    pub fn open(&self) -> Vec<(ConnectionId, ByteCounts)> {
        let counts = |(id, counts): (&ConnectionId, &Rc<Cell<ByteCounts>>)| (*id, counts.get());
        let mut open: Vec<_> = self.0.open.borrow().iter().map(counts).collect();
        open.sort_unstable_by_key(|(id, _)| *id);
        open
    }
}

/// Counts the traffic of a factory's connections. Inside a throttle it counts what the protocols
/// see. Outside, it counts what is exchanged with the kernel.
///
/// ```
/// use twistor::policy::{TrafficCounter, count_traffic};
/// # struct Echo;
/// # impl twistor::Protocol for Echo {
/// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
/// # }
///
/// let traffic = TrafficCounter::new();
/// twistor::Reactor::new()?.listen_tcp("127.0.0.1:0", count_traffic(|| Echo, &traffic))?;
/// assert_eq!((traffic.total().sent, traffic.open().len()), (0, 0));
/// # Ok::<(), twistor::Error>(())
/// ```
pub fn count_traffic<F: Factory>(
    factory: F,
    traffic: &TrafficCounter,
) -> Layered<F, impl FnMut() -> CountLayer + use<F>> {
    let traffic = traffic.clone();
    layered(factory, move || CountLayer::new(&traffic))
}

/// Layer that counts the traffic of one connection.
pub struct CountLayer {
    traffic: TrafficCounter,
    counts: Rc<Cell<ByteCounts>>,
    id: Option<ConnectionId>,
}

impl CountLayer {
    /// Creates a layer that adds to these counters.
    pub fn new(traffic: &TrafficCounter) -> CountLayer {
        CountLayer { traffic: traffic.clone(), counts: Rc::default(), id: None }
    }

    fn count(&self, received: usize, sent: usize) {
        for counts in [&self.counts, &self.traffic.0.total] {
            let ByteCounts { received: before, sent: after } = counts.get();
            counts.set(ByteCounts { received: before + received as u64, sent: after + sent as u64 });
        }
    }
}

impl Layer for CountLayer {
    fn started(&mut self, below: &mut LayerContext<'_>) {
        self.id = Some(below.id());
        self.traffic.0.open.borrow_mut().insert(below.id(), Rc::clone(&self.counts));
        self.traffic.0.connections.set(self.traffic.0.connections.get() + 1);
        below.ready();
    }

    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        self.count(data.len(), 0);
        below.pass_up(data);
    }

    fn data_written(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        self.count(0, data.len());
        below.pass_down(data);
    }

    fn connection_lost(&mut self, _: &mut Reactor, _: &Reason) {
        if let Some(id) = self.id.take() {
            self.traffic.0.open.borrow_mut().remove(&id);
        }
    }
}
