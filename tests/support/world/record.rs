//! Recording protocols and factories.

use std::cell::RefCell;
use std::rc::Rc;

use twistor::{
    Address, BuildContext, ClientFactory, Connector, Factory, Protocol, Reactor, Reason, Transport,
};

/// A list of events, in order. Clones share it.
#[derive(Clone, Default)]
pub struct Record(Rc<RefCell<Vec<String>>>);

impl Record {
    pub fn new() -> Record {
        Record::default()
    }

    pub fn add(&self, event: impl Into<String>) {
        self.0.borrow_mut().push(event.into());
    }

    pub fn events(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut())
    }

    pub fn count(&self, event: &str) -> usize {
        self.0.borrow().iter().filter(|other| *other == event).count()
    }

    pub fn has(&self, event: &str) -> bool {
        self.count(event) > 0
    }
}

/// Records every callback by name: `made`, `data hello`, `read lost`, `write lost`, `pause`,
/// `resume`, `lost REASON`. If the recorder has a name, `name: ` is put before it.
pub struct Recorder {
    pub name: &'static str,
    pub record: Record,
    /// Received bytes. Large amounts are counted in the record, not written there.
    pub received: Rc<RefCell<Vec<u8>>>,
    /// Called at each callback with the callback's name, and with the bytes of `data`.
    pub act: Act,
}

pub type Act = Box<dyn FnMut(&str, &mut Transport<'_>, &[u8])>;

impl Recorder {
    pub fn new(record: &Record) -> Recorder {
        Recorder { name: "", record: record.clone(), received: Rc::default(), act: Box::new(|_, _, _| {}) }
    }

    pub fn named(name: &'static str, record: &Record) -> Recorder {
        Recorder { name, ..Recorder::new(record) }
    }

    /// Calls `act` at each callback, after it was recorded.
    pub fn acting(mut self, act: impl FnMut(&str, &mut Transport<'_>, &[u8]) + 'static) -> Recorder {
        self.act = Box::new(act);
        self
    }

    /// Closes when the peer closes.
    pub fn closing(self) -> Recorder {
        self.acting(|what, transport, _| {
            if what == "read lost" {
                transport.lose_connection();
            }
        })
    }

    /// Echoes data, and closes when the peer closes.
    pub fn echoing(self) -> Recorder {
        self.acting(|what, transport, data| match what {
            "data" => transport.write(data),
            "read lost" => transport.lose_connection(),
            _ => {}
        })
    }

    fn happened(&mut self, what: &str, transport: &mut Transport<'_>, data: &[u8], detail: &str) {
        let (name, colon) = (self.name, if self.name.is_empty() { "" } else { ": " });
        let space = if detail.is_empty() { "" } else { " " };
        self.record.add(format!("{name}{colon}{what}{space}{detail}"));
        (self.act)(what, transport, data);
    }
}

/// Returns a protocol that does nothing and whose record is not read.
pub fn idle_protocol() -> Recorder {
    Recorder::new(&Record::new())
}

impl Protocol for Recorder {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.happened("made", transport, b"", "");
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.received.borrow_mut().extend_from_slice(data);
        let text = match data.len() {
            0..=64 => String::from_utf8_lossy(data).into_owned(),
            length => format!("({length} bytes)"),
        };
        self.happened("data", transport, data, &text);
    }

    /// Unlike the default, it does not close; `act` may.
    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.happened("read lost", transport, b"", "");
    }

    fn write_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.happened("write lost", transport, b"", "");
    }

    fn layers_ready(&mut self, transport: &mut Transport<'_>) {
        self.happened("layers ready", transport, b"", "");
    }

    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        self.happened("pause", transport, b"", "");
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        self.happened("resume", transport, b"", "");
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        self.happened("lost", transport, b"", &kind(reason));
    }
}

/// Returns a reason's name without its details: `Done`, `Lost`, `Refused`.
pub fn kind(reason: &Reason) -> String {
    let text = format!("{reason:?}");
    text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
}

/// A factory that returns one protocol for the first connection and none for later ones. It records
/// a client's callbacks: `started`, `connecting`, `failed REASON`, `gone REASON`, `stopped`.
pub struct OneProtocol {
    pub protocol: Option<Box<dyn Protocol>>,
    pub record: Record,
    /// Called at `connecting`, `failed` and `gone`.
    pub act: ClientAct,
}

pub type ClientAct = Box<dyn FnMut(&str, &mut Connector<'_>)>;

/// Returns a factory of one protocol.
pub fn once(protocol: impl Protocol, record: &Record) -> OneProtocol {
    let protocol: Option<Box<dyn Protocol>> = Some(Box::new(protocol));
    OneProtocol { protocol, record: record.clone(), act: Box::new(|_, _| {}) }
}

impl OneProtocol {
    pub fn acting(mut self, act: impl FnMut(&str, &mut Connector<'_>) + 'static) -> OneProtocol {
        self.act = Box::new(act);
        self
    }
}

impl Factory for OneProtocol {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        self.protocol.take()
    }

    fn start_factory(&mut self, _: &mut Reactor) {
        self.record.add("started");
    }

    fn stop_factory(&mut self, _: &mut Reactor) {
        self.record.add("stopped");
    }
}

impl ClientFactory for OneProtocol {
    fn started_connecting(&mut self, connector: &mut Connector<'_>) {
        self.record.add("connecting");
        (self.act)("connecting", connector);
    }

    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        self.record.add(format!("failed {}", kind(reason)));
        (self.act)("failed", connector);
    }

    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        self.record.add(format!("gone {}", kind(reason)));
        (self.act)("gone", connector);
    }
}
