//! The peer of a tested protocol, controlled by the test.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use super::stage::SharedStage;
use crate::sim::{Host, Socket};

/// The peer end of a connection: it has the bytes that a protocol has written, and can do all that
/// a peer can do. (Twisted: the rest of `StringTransport`, and one side of `iosim`.)
///
/// Each method runs the reactor until it is idle before it returns. No virtual time passes. A
/// [`StringTransport`](super::StringTransport) dereferences to a peer, and a
/// [`MemoryReactor`](super::MemoryReactor) returns peers.
pub struct Peer {
    stage: SharedStage,
    /// The host of the tested reactor.
    reactor_host: Host,
    /// `None` after it was closed.
    socket: Option<Socket>,
    /// The local address.
    address: SocketAddr,
    /// Received bytes that were not taken.
    received: Vec<u8>,
    end: Option<PeerEnd>,
    /// Bytes not sent yet, because the tested protocol does not read.
    waiting: VecDeque<u8>,
    outgoing: Outgoing,
    /// Set by the tested protocol's `connection_lost`. After that, this socket is closed at the
    /// FIN.
    connection_lost: Option<Rc<Cell<bool>>>,
}

/// The end of a protocol's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerEnd {
    /// FIN: all written bytes arrived before. The protocol may still read.
    Finished,
    /// A reset, or a network error.
    Reset,
}

/// The state of the write side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outgoing {
    Open,
    /// FIN follows the waiting bytes.
    Finishing,
    Finished,
}

impl Peer {
    pub(super) fn new(stage: SharedStage, reactor_host: Host, socket: Socket, address: SocketAddr) -> Peer {
        socket.set_receive_buffer_size(RECEIVE_ROOM);
        socket.set_send_buffer_size(usize::MAX / 2);
        Peer {
            stage,
            reactor_host,
            socket: Some(socket),
            address,
            received: Vec::new(),
            end: None,
            waiting: VecDeque::new(),
            outgoing: Outgoing::Open,
            connection_lost: None,
        }
    }

    pub(super) fn close_after(&mut self, gone: Rc<Cell<bool>>) {
        self.connection_lost = Some(gone);
    }

    /// Returns the local address, which is the protocol's peer address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    // -- received from the protocol --

    /// Returns all received bytes that were not [taken](Peer::take) or [cleared](Peer::clear).
    /// (Twisted: `value`.)
    #[track_caller]
    pub fn value(&mut self) -> &[u8] {
        self.sync();
        &self.received
    }

    /// Takes all received bytes.
    #[track_caller]
    pub fn take(&mut self) -> Vec<u8> {
        self.sync();
        std::mem::take(&mut self.received)
    }

    /// Drops all received bytes. (Twisted: `clear`.)
    #[track_caller]
    pub fn clear(&mut self) {
        self.take();
    }

    /// Returns the end of the protocol's output; `None` while it is open.
    #[track_caller]
    pub fn end(&mut self) -> Option<PeerEnd> {
        self.sync();
        self.end
    }

    // -- actions of the peer --

    /// Sends bytes. The protocol receives them in exactly one `data_received`, at any
    /// length. If it has paused reading, they wait together with earlier ones. (Twisted: a call of
    /// `dataReceived`.)
    ///
    /// Empty data has no effect, as on a network. After [`finish`](Peer::finish), or after the end
    /// of the connection, the bytes are discarded.
    #[track_caller]
    pub fn feed(&mut self, data: &[u8]) {
        if self.outgoing == Outgoing::Open {
            self.waiting.extend(data);
        }
        self.sync();
    }

    /// Sends FIN. Reading continues.
    #[track_caller]
    pub fn finish(&mut self) {
        if self.outgoing == Outgoing::Open {
            self.outgoing = Outgoing::Finishing;
        }
        self.sync();
    }

    /// Resets the connection (RST).
    #[track_caller]
    pub fn reset(&mut self) {
        if let Some(socket) = self.socket.take() {
            socket.reset();
        }
        self.sync();
    }

    /// Closes both directions, as the end of a process does. It sends FIN, and bytes that the
    /// protocol writes from now on are answered with a reset.
    #[track_caller]
    pub fn close(&mut self) {
        self.sync();
        self.socket = None;
        self.sync();
    }

    /// Stops reading. Bytes written from now on stay in the protocol's write buffer, and count for
    /// its water marks and limits.
    #[track_caller]
    pub fn stop_reading(&mut self) {
        self.sync();
        if let Some(socket) = &self.socket {
            socket.set_receive_buffer_size(0);
        }
    }

    /// Resumes reading.
    #[track_caller]
    pub fn resume_reading(&mut self) {
        if let Some(socket) = &self.socket {
            socket.set_receive_buffer_size(RECEIVE_ROOM);
        }
        self.sync();
    }

    // -- for `Wire` --

    /// Limits the bytes in flight to the protocol.
    pub(super) fn set_send_buffer_size(&self, bytes: usize) {
        if let Some(socket) = &self.socket {
            socket.set_send_buffer_size(bytes);
        }
    }

    /// Returns whether bytes wait because the protocol does not read.
    pub(super) fn is_blocked(&self) -> bool {
        !self.waiting.is_empty() && self.socket.is_some()
    }

    /// Runs the reactor, sends waiting bytes, reads, and runs it again. Not in a loop, because a
    /// producer may be endless.
    #[track_caller]
    pub(super) fn sync(&mut self) {
        self.stage.run_due_events();
        // Reading comes first: `send` would take a pending error.
        self.read();
        self.send();
        self.stage.run_due_events();
        self.read();
        if self.end == Some(PeerEnd::Finished) && self.connection_lost.as_ref().is_some_and(|gone| gone.get())
        {
            self.socket = None;
            self.stage.run_due_events();
        }
    }

    /// Sends waiting bytes while there is room.
    #[track_caller]
    fn send(&mut self) {
        while !self.waiting.is_empty() {
            let Some(socket) = &mut self.socket else {
                self.waiting.clear();
                return;
            };
            let data = self.waiting.make_contiguous();
            let mut stage = self.stage.borrow();
            if !stage.has_stopped(self.reactor_host) {
                stage.reactor(self.reactor_host).read_at_once(data.len());
            }
            match socket.send(data) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.end.get_or_insert(PeerEnd::Reset);
                    self.waiting.clear();
                }
            }
            drop(stage);
            self.stage.run_due_events();
        }
        if self.outgoing == Outgoing::Finishing {
            self.outgoing = Outgoing::Finished;
            if let Some(socket) = &self.socket {
                // An error means that the connection has ended.
                let _ = socket.shutdown_write();
            }
        }
    }

    fn read(&mut self) {
        let Some(socket) = &mut self.socket else { return };
        if self.end.is_some() {
            return;
        }
        let mut buffer = [0; 16 * 1024];
        loop {
            match socket.recv(&mut buffer) {
                Ok(0) => self.end = Some(PeerEnd::Finished),
                // In bounds: `recv` returns at most the buffer's length.
                Ok(count) => {
                    self.received.extend_from_slice(&buffer[..count]);
                    continue;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => self.end = Some(PeerEnd::Reset),
            }
            return;
        }
    }
}

/// The receive room in bytes, more than a protocol writes at once. It stops an endless producer
/// until the test looks.
const RECEIVE_ROOM: usize = 16 * 1024 * 1024;
