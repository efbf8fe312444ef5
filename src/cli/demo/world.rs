//! The services of the demo: four listeners on ports that the system chose, one of which closes now
//! and then.

use super::Bytes;
use super::feed::{Roads, Server};
use crate::cli::{Failure, writer};
use crate::report::{Painted, Palette, TimeFormat};
use crate::{BuildContext, ConnectionId, Factory, Listener, Protocol, Reactor, Transport};
use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

/// The listeners of the demo.
pub(super) struct World {
    pub(super) echo: Listener,
    pub(super) door: Listener,
    pub(super) silent: Listener,
    pub(super) roads: Listener,
}

impl World {
    pub(super) fn start(
        reactor: &mut Reactor,
        clock: TimeFormat,
        palette: Palette,
    ) -> Result<World, Failure> {
        let roads = Roads::start(reactor);
        let connections = DoorConnections::default();
        let world = World {
            echo: reactor.listen_tcp(ANY, || Bytes)?,
            door: reactor.listen_tcp(ANY, connections.clone())?,
            silent: reactor.listen_tcp(ANY, || Silent)?,
            roads: reactor.listen_tcp(ANY, move || Server::new(Rc::clone(&roads)))?,
        };
        let door = Door { listener: world.door.clone(), connections, clock, palette };
        reactor.call_later(FIRST_CLOSE, move |reactor| door.close(reactor));
        Ok(world)
    }
}

/// A service that accepts connections and never answers.
struct Silent;

impl Protocol for Silent {
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

/// The factory of the door, with its open connections, so that closing the door can close them.
#[derive(Clone, Default)]
struct DoorConnections(Rc<RefCell<Vec<ConnectionId>>>);

struct DoorConnection(DoorConnections);

impl Factory for DoorConnections {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        Some(Box::new(DoorConnection(self.clone())))
    }
}

impl Protocol for DoorConnection {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.0.0.borrow_mut().push(transport.id());
    }

    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _: &crate::Reason) {
        self.0.0.borrow_mut().retain(|connection| *connection != transport.id());
    }
}

/// A service that is closed and opened periodically.
struct Door {
    listener: Listener,
    connections: DoorConnections,
    clock: TimeFormat,
    palette: Palette,
}

impl Door {
    fn close(self, reactor: &mut Reactor) {
        self.log_line(reactor, "the door closes, and shows its guests out");
        // A stopping reactor has closed the listener already.
        let _ = reactor.stop_listening(&self.listener);
        let connections = self.connections.0.borrow().clone();
        for connection in connections {
            if let Some(mut transport) = reactor.transport(connection) {
                transport.lose_connection();
            }
        }
        reactor.call_later(CLOSED, move |reactor| self.open(reactor));
    }

    /// Opens the old address again. If the port is taken meanwhile, it tries again later.
    fn open(mut self, reactor: &mut Reactor) {
        match reactor.listen_tcp(self.listener.address(), self.connections.clone()) {
            Ok(listener) => {
                self.log_line(reactor, "the door opens again");
                self.listener = listener;
                reactor.call_later(OPEN, move |reactor| self.close(reactor));
            }
            Err(_) => {
                reactor.call_later(CLOSED, move |reactor| self.open(reactor));
            }
        }
    }

    /// Prints a line of the demo itself between those of the watchers.
    fn log_line(&self, reactor: &Reactor, what: &str) {
        let time = self.clock.show(reactor.system_time());
        let line = Painted(self.palette.faint, format!("{time}  {:NAMES$}  {what}", "*"));
        // A closed stdout ends the demo through the watchers.
        let _ = writeln!(writer::stdout(), "{line}");
    }
}

/// Width of the column of names.
pub(super) const NAMES: usize = 6;
const ANY: &str = "127.0.0.1:0";
const FIRST_CLOSE: Duration = Duration::from_secs(3);
const CLOSED: Duration = Duration::from_secs(2);
/// Time from opening to closing. With the other times it makes the demo end with an open door.
const OPEN: Duration = Duration::from_secs(4);
