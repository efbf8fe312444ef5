//! A chat room: each line from one client is sent to all others. Try it with two `nc 127.0.0.1
//! 7008`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::rc::Rc;
use twistor::escape::EscapedBytes;
use twistor::{ConnectionId, Protocol, Reactor, Reason, Transport};

/// The clients in the room. Callbacks do not nest, so it is never borrowed twice.
type Room = Rc<RefCell<BTreeMap<ConnectionId, String>>>;

struct Guest {
    room: Room,
    name: Option<String>,
    unfinished: Vec<u8>,
}

impl Guest {
    fn say(&self, transport: &mut Transport<'_>, text: &str) {
        let others: Vec<_> = self.room.borrow().keys().copied().filter(|id| *id != transport.id()).collect();
        for other in others {
            if let Some(mut other) = transport.reactor().transport(other) {
                other.write(text.as_bytes());
                other.write(b"\n");
            }
        }
    }

    fn line_received(&mut self, transport: &mut Transport<'_>, line: &str) {
        if let Some(name) = &self.name {
            self.say(transport, &format!("<{name}> {line}"));
            return;
        }
        let here = self.room.borrow().values().cloned().collect::<Vec<_>>().join(", ");
        let here = if here.is_empty() { "no other guests".to_owned() } else { here };
        transport.write(format!("Welcome, {line}! Here: {here}.\n").as_bytes());
        self.room.borrow_mut().insert(transport.id(), line.to_owned());
        self.name = Some(line.to_owned());
        self.say(transport, &format!("* {line} has come"));
    }
}

impl Protocol for Guest {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        transport.write(b"Your name?\n");
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.unfinished.extend_from_slice(data);
        while let Some(end) = self.unfinished.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unfinished.drain(..=end).collect();
            // The line is shown on the terminals of other clients.
            self.line_received(transport, &EscapedBytes(line.trim_ascii()).to_string());
        }
        if self.unfinished.len() > 1000 {
            transport.write(b"That is too long.\n");
            transport.lose_connection();
        }
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _: &Reason) {
        self.room.borrow_mut().remove(&transport.id());
        if let Some(name) = &self.name {
            self.say(transport, &format!("* {name} has gone"));
        }
    }
}

fn main() -> twistor::Result<()> {
    let room = Room::default();
    let mut reactor = Reactor::new()?;
    let guest = move || Guest { room: room.clone(), name: None, unfinished: Vec::new() };
    let listener = reactor.listen_tcp("127.0.0.1:7008", guest)?;
    let _ = writeln!(std::io::stdout(), "the room is open at {}", listener.address());
    reactor.run()
}
