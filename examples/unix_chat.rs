//! A chat room on a UNIX socket. The kernel's peer credentials name the clients.
//!
//! ```console
//! $ cargo run --example unix_chat -- /tmp/chat.sock
//! the room is open at /tmp/chat.sock
//! $ socat - UNIX-CONNECT:/tmp/chat.sock
//! * you are user 1000, process 4711
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::rc::Rc;

use twistor::escape::EscapedBytes;
use twistor::{ConnectionId, ListenUnix, Protocol, Reactor, Reason, Transport};

/// The clients in the room, shared by all connections.
type Room = Rc<RefCell<BTreeMap<ConnectionId, String>>>;

struct Guest {
    room: Room,
    name: String,
    line: Vec<u8>,
}

impl Guest {
    fn tell_others(&self, transport: &mut Transport<'_>, text: &str) {
        let own = transport.id();
        let others: Vec<_> = self.room.borrow().keys().copied().filter(|id| *id != own).collect();
        for id in others {
            if let Some(mut other) = transport.reactor().transport(id) {
                other.write(text.as_bytes());
            }
        }
    }
}

impl Protocol for Guest {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.name = match transport.peer_credentials() {
            Ok(peer) => format!("user {}, process {}", peer.user, peer.process.unwrap_or_default()),
            Err(error) => format!("unknown user ({error})"),
        };
        transport.write(format!("* you are {}\n", self.name).as_bytes());
        self.room.borrow_mut().insert(transport.id(), self.name.clone());
        self.tell_others(transport, &format!("* {} has come\n", self.name));
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        for byte in data {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    self.tell_others(transport, &format!("<{}> {}\n", self.name, EscapedBytes(&line)));
                }
                _ if self.line.len() < MAX_LINE => self.line.push(*byte),
                _ => {
                    transport.write(b"* that line was too long\n");
                    return transport.lose_connection();
                }
            }
        }
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _: &Reason) {
        self.room.borrow_mut().remove(&transport.id());
        self.tell_others(transport, &format!("* {} has gone\n", self.name));
    }
}

const MAX_LINE: usize = 1000;

fn main() -> twistor::Result<()> {
    let path = std::env::args().nth(1).unwrap_or("/tmp/chat.sock".into());
    let room = Room::default();
    let mut reactor = Reactor::new()?;
    // Only this user may connect. The file is removed with the listener.
    let listen = ListenUnix { mode: Some(0o600), ..ListenUnix::at(path)? };
    let listener = reactor.listen_unix(listen, move || Guest {
        room: Rc::clone(&room),
        name: String::new(),
        line: Vec::new(),
    })?;
    let _ = writeln!(std::io::stdout(), "the room is open at {}", listener.address());
    reactor.run()
}
