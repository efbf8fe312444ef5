//! The protocols of the scenario, which write down what they see.

use std::rc::Rc;
use std::time::Duration;

use twistor::{BuildContext, ClientFactory, Connector, Factory, Protocol, Reason, Transport};

use super::scenario::{End, Shared, message};

/// Sends back what it gets; on odd ports it closes at the end of the line, on others when the client does.
pub struct Served {
    pub book: Shared,
    pub place: usize,
    pub closes_first: bool,
}

impl Protocol for Served {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.seen(|end| end.made += 1);
        transport.host();
        // The test does not depend on this option.
        let _ = transport.set_tcp_nodelay(true);
        transport.call_later(IDLE, |served: &mut Served, transport| {
            served.book.borrow_mut().idle += 1;
            transport.abort_connection();
        });
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.seen(|end| {
            end.received.extend_from_slice(data);
            end.client = end.received.first().map(|number| usize::from(*number));
        });
        transport.write(data);
        if self.closes_first && data.ends_with(b"\n") {
            transport.lose_connection();
        }
    }

    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        transport.pause_reading();
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        transport.resume_reading();
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        self.seen(|end| end.lost.push(reason.clone()));
    }
}

impl Served {
    fn seen(&self, note: impl FnOnce(&mut End)) {
        let mut book = self.book.borrow_mut();
        let end = &mut book.served[self.place];
        end.after_the_end += end.lost.len();
        note(end);
    }
}

/// Makes the client's protocol, and hears what became of it.
pub struct Caller {
    pub book: Shared,
    pub number: usize,
}

impl Factory for Caller {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        let closes_first = self.number.is_multiple_of(2);
        Some(Box::new(Called { book: Rc::clone(&self.book), number: self.number, closes_first, sent: 0 }))
    }
}

impl ClientFactory for Caller {
    fn client_connection_failed(&mut self, _: &mut Connector<'_>, reason: &Reason) {
        self.book.borrow_mut().clients.get_mut(&self.number).unwrap().failed.push(reason.clone());
    }

    fn client_connection_lost(&mut self, _: &mut Connector<'_>, _: &Reason) {
        self.book.borrow_mut().clients.get_mut(&self.number).unwrap().gone += 1;
    }
}

/// Sends its message in pieces, and half-closes when all of it came back, if the server does not close.
struct Called {
    book: Shared,
    number: usize,
    closes_first: bool,
    sent: usize,
}

impl Protocol for Called {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.seen(|end| end.made += 1);
        transport.call_later(IDLE, |called: &mut Called, transport| {
            called.book.borrow_mut().idle += 1;
            transport.abort_connection();
        });
        self.send_piece(transport);
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        let all = message(self.number).len();
        let complete = self.seen(|end| {
            end.received.extend_from_slice(data);
            end.received.len() == all
        });
        if complete && self.closes_first {
            transport.lose_write_connection();
        }
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        self.seen(|end| end.lost.push(reason.clone()));
    }
}

impl Called {
    fn send_piece(&mut self, transport: &mut Transport<'_>) {
        let all = message(self.number);
        let piece = self.sent..all.len().min(self.sent + all.len().div_ceil(3));
        transport.write(&all[piece.clone()]);
        self.sent = piece.end;
        if self.sent < all.len() {
            let next = Duration::from_millis(1);
            transport.call_later(next, |called: &mut Called, transport| called.send_piece(transport));
        }
    }

    fn seen<R>(&self, note: impl FnOnce(&mut End) -> R) -> R {
        let mut book = self.book.borrow_mut();
        let end = book.clients.get_mut(&self.number).unwrap();
        end.after_the_end += end.lost.len();
        note(end)
    }
}

/// A connection that lives longer is stuck.
const IDLE: Duration = Duration::from_secs(20);
