//! The world of the demo: four services on ports that the system chose, and a door that opens and closes.

use super::Bytes;
use super::feed::{Roads, Server};
use crate::cli::{Failure, writer};
use crate::report::{Clock, Painted, Palette};
use crate::{Address, ConnectionId, Factory, Listener, Protocol, Reactor, Transport};
use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

/// The services.
pub(super) struct World {
    pub(super) echo: Listener,
    pub(super) door: Listener,
    pub(super) silent: Listener,
    pub(super) roads: Listener,
}

impl World {
    pub(super) fn start(reactor: &mut Reactor, clock: Clock, palette: Palette) -> Result<World, Failure> {
        let roads = Roads::start(reactor);
        let guests = Guests::default();
        let world = World {
            echo: reactor.listen_tcp(ANY, || Bytes)?,
            door: reactor.listen_tcp(ANY, guests.clone())?,
            silent: reactor.listen_tcp(ANY, || Silent)?,
            roads: reactor.listen_tcp(ANY, move || Server::new(Rc::clone(&roads)))?,
        };
        let door = Door { listener: world.door.clone(), guests, clock, palette };
        reactor.call_later(FIRST_CLOSE, move |reactor| door.close(reactor));
        Ok(world)
    }
}

/// Accepts and listens, and never answers.
struct Silent;

impl Protocol for Silent {
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

/// Connections that are open at the door: the factory knows them, so that they can be shown out.
#[derive(Clone, Default)]
struct Guests(Rc<RefCell<Vec<ConnectionId>>>);

struct Guest(Guests);

impl Factory for Guests {
    fn build_protocol(&mut self, _: &mut Reactor, _: &Address) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Guest(self.clone())))
    }
}

impl Protocol for Guest {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.0.0.borrow_mut().push(transport.id());
    }

    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _: &crate::Reason) {
        self.0.0.borrow_mut().retain(|guest| *guest != transport.id());
    }
}

/// A service that goes away and comes back, as services do.
struct Door {
    listener: Listener,
    guests: Guests,
    clock: Clock,
    palette: Palette,
}

impl Door {
    fn close(self, reactor: &mut Reactor) {
        self.say(reactor, "the door closes, and shows its guests out");
        // A reactor that stops has closed it already.
        let _ = reactor.stop_listening(&self.listener);
        let guests = self.guests.0.borrow().clone();
        for guest in guests {
            if let Some(mut transport) = reactor.transport(guest) {
                transport.lose_connection();
            }
        }
        reactor.call_later(CLOSED, move |reactor| self.open(reactor));
    }

    /// At its old address; should somebody else have taken the port meanwhile, it tries again.
    fn open(mut self, reactor: &mut Reactor) {
        match reactor.listen_tcp(self.listener.address(), self.guests.clone()) {
            Ok(listener) => {
                self.say(reactor, "the door opens again");
                self.listener = listener;
                reactor.call_later(OPEN, move |reactor| self.close(reactor));
            }
            Err(_) => {
                reactor.call_later(CLOSED, move |reactor| self.open(reactor));
            }
        }
    }

    /// The world's own voice, between the lines of those who watch it.
    fn say(&self, reactor: &Reactor, what: &str) {
        let time = self.clock.show(reactor.system_time());
        let line = Painted(self.palette.faint, format!("{time}  {:NAMES$}  {what}", "*"));
        // The watchers see to it that a reader who went away ends the demo.
        let _ = writeln!(writer::stdout(), "{line}");
    }
}

/// The width of the column of names.
pub(super) const NAMES: usize = 6;
const ANY: &str = "127.0.0.1:0";
const FIRST_CLOSE: Duration = Duration::from_secs(3);
const CLOSED: Duration = Duration::from_secs(2);
/// From opening to closing. With the others it lets the demo end on an open door.
const OPEN: Duration = Duration::from_secs(4);
