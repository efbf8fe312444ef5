//! One end of a connection: a protocol that records its calls and keeps the reason of its end.

use std::cell::RefCell;
use std::rc::Rc;

use twistor::tls::{TlsError, TlsInfo};
use twistor::{
    BuildContext, ClientFactory, Connector, Factory, Listener, Protocol, Reactor, Reason, Transport,
};

use crate::certificates::NAME;
use crate::world::{Record, World, kind};

/// What happens at one end. Clones share it.
#[derive(Clone, Default)]
pub struct Seen {
    pub record: Record,
    pub reason: Rc<RefCell<Option<Reason>>>,
    pub received: Rc<RefCell<Vec<u8>>>,
    pub info: Rc<RefCell<Option<TlsInfo>>>,
}

impl Seen {
    pub fn events(&self) -> Vec<String> {
        self.record.events()
    }

    /// The error of TLS with which the end was lost or not made.
    pub fn error(&self) -> TlsError {
        let reason = self.reason.borrow();
        let reason = reason.as_ref().expect("it has not ended");
        TlsError::of(reason).unwrap_or_else(|| panic!("ended with {reason:?}")).clone()
    }

    pub fn info(&self) -> TlsInfo {
        self.info.borrow().clone().expect("no handshake was completed")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.received.borrow()).into_owned()
    }

    pub fn has_ended(&self) -> bool {
        self.reason.borrow().is_some()
    }

    fn ends(&self, what: &str, reason: &Reason) {
        let name = TlsError::of(reason).map_or_else(|| kind(reason), |error| error.name().to_owned());
        self.record.add(format!("{what} {name}"));
        *self.reason.borrow_mut() = Some(reason.clone());
    }
}

type Act = Box<dyn FnMut(&str, &mut Transport<'_>, &[u8])>;

/// A protocol, and the factory of its only connection. It records `made`, `data`, `read lost`,
/// `write lost`, `layers ready`, `pause`, `resume`, `lost REASON` and `failed REASON`.
pub struct End {
    seen: Seen,
    act: Option<Act>,
}

pub fn end() -> (End, Seen) {
    let seen = Seen::default();
    (End { seen: seen.clone(), act: None }.saying(""), seen)
}

impl End {
    /// Calls `act` at each call, after it was recorded, with its name and data.
    pub fn acting(mut self, act: impl FnMut(&str, &mut Transport<'_>, &[u8]) + 'static) -> End {
        self.act = Some(Box::new(act));
        self
    }

    /// Writes when the connection is made, and closes when the peer closes.
    pub fn saying(self, text: &'static str) -> End {
        self.acting(move |what, transport, _| match what {
            "made" => transport.write(text),
            "read lost" => transport.lose_connection(),
            _ => {}
        })
    }

    pub fn echoing(self) -> End {
        self.acting(|what, transport, data| match what {
            "data" => transport.write(data),
            "read lost" => transport.lose_connection(),
            _ => {}
        })
    }

    pub fn into_protocol(mut self) -> Running {
        Running { seen: self.seen, act: self.act.take().unwrap() }
    }
}

pub struct Running {
    seen: Seen,
    act: Act,
}

impl Running {
    fn happened(&mut self, what: &str, transport: &mut Transport<'_>, data: &[u8]) {
        if let Some(info) = transport.tls_info() {
            *self.seen.info.borrow_mut() = Some(info.clone());
        }
        (self.act)(what, transport, data);
    }

    fn noted(&mut self, what: &str, transport: &mut Transport<'_>) {
        self.seen.record.add(what);
        self.happened(what, transport, b"");
    }
}

impl Protocol for Running {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.noted("made", transport);
    }
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.seen.received.borrow_mut().extend_from_slice(data);
        // Pieces depend on timing.
        if self.seen.events().last().is_none_or(|last| last != "data") {
            self.seen.record.add("data");
        }
        self.happened("data", transport, data);
    }
    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.noted("read lost", transport);
    }
    fn write_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.noted("write lost", transport);
    }
    fn layers_ready(&mut self, transport: &mut Transport<'_>) {
        self.noted("layers ready", transport);
    }
    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        self.noted("pause", transport);
    }
    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        self.noted("resume", transport);
    }
    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        self.seen.ends("lost", reason);
        self.happened("lost", transport, b"");
    }
}

impl Factory for End {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Running { seen: self.seen.clone(), act: self.act.take()? }))
    }
}

impl ClientFactory for End {
    fn client_connection_failed(&mut self, _: &mut Connector<'_>, reason: &Reason) {
        self.seen.ends("failed", reason);
    }
    fn client_connection_lost(&mut self, _: &mut Connector<'_>, _: &Reason) {}
}

/// Listens with `server`, connects with `client`, and runs until both connections are gone.
pub fn meet(world: &World, reactor: &mut Reactor, server: impl Factory, client: impl ClientFactory) {
    let listener = listen(world, reactor, server);
    reactor.connect_tcp(listener.address(), client).unwrap();
    finish(world, reactor, &listener);
}

pub fn listen(world: &World, reactor: &mut Reactor, server: impl Factory) -> Listener {
    reactor.listen_tcp(world.anywhere(), server).unwrap()
}

/// Runs until there is no connection, then stops listening.
pub fn finish(world: &World, reactor: &mut Reactor, listener: &Listener) {
    world.run_until(reactor, "no connection", |reactor| {
        reactor.resource_count() == 1 && reactor.delayed_call_count() == 1
    });
    world.close(reactor, listener);
}

/// The factory of a client, and one of a server, with an authority that both trust.
pub fn secured(
    authority: &crate::certificates::Authority,
    server: End,
    client: End,
) -> (impl Factory, impl ClientFactory) {
    let server = authority.acceptor().factory(server);
    (server, authority.connector().factory(client, NAME).unwrap())
}
