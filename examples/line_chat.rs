//! A chat room on lines, with names and commands. Try it with two `nc 127.0.0.1 7009` or `telnet
//! 127.0.0.1 7009`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;
use twistor::escape::EscapedBytes;
use twistor::framing::{LineDecoder, LineEncoder, LineReceiver, LineTransport, Lines};
use twistor::{ConnectionId, Reactor, Reason};

/// The clients in the room. Callbacks do not nest, so it is never borrowed twice.
type Room = Rc<RefCell<BTreeMap<ConnectionId, String>>>;

struct Guest {
    room: Room,
    name: Option<String>,
}

impl LineReceiver for Guest {
    fn connection_made(&mut self, transport: &mut LineTransport<'_>) {
        transport.send_line(b"Welcome! What is your name?");
        transport.call_later(Duration::from_secs(60), Guest::check_name);
    }

    fn line_received(&mut self, transport: &mut LineTransport<'_>, line: &[u8]) {
        // nc ends a line with LF, telnet with CR LF. The text is shown on other clients' terminals.
        let line = EscapedBytes(line.trim_ascii()).to_string();
        match (self.name.clone(), line.as_str()) {
            (_, "") => {}
            (_, "/quit") => transport.lose_connection(),
            (_, "/who") => self.list(transport),
            (None, name) => self.enter(transport, name),
            (Some(name), text) => self.say(transport, &format!("<{name}> {text}")),
        }
    }

    fn line_length_exceeded(&mut self, transport: &mut LineTransport<'_>, _: &[u8]) {
        transport.send_line(b"That is too long.");
    }

    fn connection_lost(&mut self, transport: &mut LineTransport<'_>, reason: &Reason) {
        self.room.borrow_mut().remove(&transport.id());
        if let Some(name) = &self.name {
            self.say(transport, &format!("* {name} has gone ({reason})"));
        }
    }
}

impl Guest {
    fn enter(&mut self, transport: &mut LineTransport<'_>, name: &str) {
        if self.room.borrow().values().any(|other| other == name) {
            return transport.send_line(b"This name is taken. Another one?");
        }
        transport.send_line(format!("Hello, {name}! /who lists who is here, /quit leaves.").as_bytes());
        self.list(transport);
        self.say(transport, &format!("* {name} has come"));
        self.room.borrow_mut().insert(transport.id(), name.to_owned());
        self.name = Some(name.to_owned());
    }

    fn list(&self, transport: &mut LineTransport<'_>) {
        let names = self.room.borrow().values().cloned().collect::<Vec<_>>().join(", ");
        transport
            .send_line(format!("Here: {}", if names.is_empty() { "no guests" } else { &names }).as_bytes());
    }

    /// Sends a line to all other clients in the room.
    fn say(&self, transport: &mut LineTransport<'_>, text: &str) {
        let others: Vec<_> = self.room.borrow().keys().copied().filter(|id| *id != transport.id()).collect();
        for other in others {
            if let Some(mut other) = transport.reactor().transport(other) {
                // It contains no delimiter: received text is escaped.
                let _ = other.write_message(&mut LineEncoder::new(b"\n"), text.as_bytes());
            }
        }
    }

    fn check_name(&mut self, transport: &mut LineTransport<'_>) {
        if self.name.is_none() {
            transport.send_line(b"No name given. Goodbye.");
            transport.lose_connection();
        }
    }
}

fn main() -> twistor::Result<()> {
    let room = Room::default();
    let mut reactor = Reactor::new()?;
    let guest = move || {
        let guest = Guest { room: room.clone(), name: None };
        Lines::with_decoder(guest, LineDecoder::new(b"\n", 1000))
    };
    let listener = reactor.listen_tcp("127.0.0.1:7009", guest)?;
    let _ = writeln!(std::io::stdout(), "the room is open at {}", listener.address());
    reactor.run()
}
