//! Plain sockets: peers whose behaviour no protocol can produce.

use std::io;

use twistor::Address;

use super::actor::Shared;
use super::sockets::{Listener, Net, Socket};
use super::step::Step;

pub struct Plain {
    listener: Option<Listener>,
    pub address: Address,
    sockets: Vec<Option<Socket>>,
    book: Shared,
    /// The result of the last read.
    pub received: usize,
}

impl Plain {
    pub fn new(listener: Listener, asked: &Address, book: Shared) -> Plain {
        let address = listener.address().map_or(asked.clone(), Address::Tcp);
        Plain { listener: Some(listener), address, sockets: Vec::new(), book, received: 0 }
    }

    /// Performs a step, and records the system's answer.
    pub fn perform(&mut self, number: usize, step: Step, net: &Net, addresses: &[Address]) {
        match step {
            Step::PlainConnect(listener) => {
                let socket = net.connect(&addresses[listener]);
                self.note(number, "connect", &socket.as_ref().map(|_| ()));
                self.sockets.push(socket.ok());
            }
            Step::PlainAccept => {
                let Some(listener) = &self.listener else { return };
                let socket = listener.accept();
                self.note(number, "accept", &socket.as_ref().map(|_| ()));
                self.sockets.push(socket.ok());
            }
            Step::PlainSend(which, count) => {
                let bytes = self.book.borrow_mut().next_bytes(&format!("plain {which}"), count);
                self.with(number, "send", which, |socket| socket.send(&bytes));
            }
            Step::PlainReceive(which, count) => {
                let mut buffer = vec![0; count];
                let mut received = 0;
                self.with(number, "receive", which, |socket| {
                    received = socket.recv(&mut buffer)?;
                    Ok(format!("{received} bytes {:08x}", sum(&buffer[..received])))
                });
                self.received = received;
            }
            Step::PlainFinish(which) => self.with(number, "finish", which, |socket| {
                // On Linux, a shutdown during the handshake aborts it. A reactor never does it.
                if socket.is_connected() { socket.finish().map(|()| "sent") } else { Ok("not connected") }
            }),
            Step::PlainState(which) => {
                self.with(number, "state", which, |socket| Ok(socket.state()));
            }
            Step::PlainClose(which) => {
                if let Some(socket) = self.sockets.get_mut(which) {
                    *socket = None;
                }
            }
            Step::PlainReset(which) => {
                if let Some(socket) = self.sockets.get_mut(which).and_then(Option::take) {
                    socket.reset();
                }
            }
            _ => unreachable!("{step:?} is not for plain sockets"),
        }
    }

    pub fn close(&mut self) {
        self.sockets.clear();
        self.listener = None;
    }

    /// Waits until a plain socket that is about to be read has as many bytes as in the other world.
    /// A kernel may delay the last of many small packets.
    pub fn await_bytes(&self, step: Step, count: usize) {
        let Step::PlainReceive(which, _) = step else { return };
        let socket = self.sockets.get(which).and_then(Option::as_ref).filter(|_| count > 0);
        // With fewer bytes, the read that follows shows the difference.
        let _ = socket.map(|socket| socket.await_bytes(count));
    }

    fn with<T: std::fmt::Debug>(
        &mut self,
        number: usize,
        what: &str,
        which: usize,
        call: impl FnOnce(&mut Socket) -> io::Result<T>,
    ) {
        if let Some(Some(socket)) = self.sockets.get_mut(which) {
            let result = call(socket);
            self.note(number, what, &result.as_ref());
        }
    }

    fn note<T: std::fmt::Debug>(&self, number: usize, what: &str, result: &Result<T, &io::Error>) {
        let result = match result {
            Ok(value) => format!("{value:?}"),
            Err(error) => format!("{:?}", error.kind()),
        };
        self.book.borrow_mut().note(&format!("step {number}"), format!("{what}: {result}"));
    }
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)))
}
