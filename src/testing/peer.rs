//! The other side of a connection, in the test's hands.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use super::stage::SharedStage;
use crate::sim::{Host, Socket};

/// The other side of a connection: what a protocol has written, and everything that a peer can do to it. (Twisted: the
/// rest of `StringTransport`, and one side of `iosim`.)
///
/// Whatever is called, the reactor has had all the turns that it wants when the call returns; no time has passed.
/// See [`StringTransport`](super::StringTransport), which is one, and [`MemoryReactor`](super::MemoryReactor), which
/// hands them out.
pub struct Peer {
    stage: SharedStage,
    /// The host of the reactor on the other side.
    faces: Host,
    /// Until it is closed.
    socket: Option<Socket>,
    /// The address of this side.
    address: SocketAddr,
    /// What came, and was not taken.
    received: Vec<u8>,
    end: Option<PeerEnd>,
    /// What is still to be sent: the other side does not read.
    waiting: VecDeque<u8>,
    outgoing: Outgoing,
    /// The protocol on the other side has heard of the end: when FIN comes, nobody needs this side any more.
    left_alone: Option<Rc<Cell<bool>>>,
}

/// How the other side ended what it had to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerEnd {
    /// With FIN: all that it had written came before. It may still read.
    Finished,
    /// With a reset, or an error of the network.
    Reset,
}

/// What a peer has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outgoing {
    Open,
    /// FIN follows what waits.
    Finishing,
    Finished,
}

impl Peer {
    pub(super) fn new(stage: SharedStage, faces: Host, socket: Socket, address: SocketAddr) -> Peer {
        socket.set_receive_room(ROOM);
        socket.set_send_room(usize::MAX / 2);
        Peer {
            stage,
            faces,
            socket: Some(socket),
            address,
            received: Vec::new(),
            end: None,
            waiting: VecDeque::new(),
            outgoing: Outgoing::Open,
            left_alone: None,
        }
    }

    pub(super) fn leave_with(&mut self, gone: Rc<Cell<bool>>) {
        self.left_alone = Some(gone);
    }

    /// The address of this side: the one that the protocol knows as its peer's.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    // -- what the protocol did --

    /// All that came and was not [taken](Peer::take) or [cleared](Peer::clear). (Twisted: `value`.)
    #[track_caller]
    pub fn value(&mut self) -> &[u8] {
        self.sync();
        &self.received
    }

    /// Takes all that came.
    #[track_caller]
    pub fn take(&mut self) -> Vec<u8> {
        self.sync();
        std::mem::take(&mut self.received)
    }

    /// Forgets all that came. (Twisted: `clear`.)
    #[track_caller]
    pub fn clear(&mut self) {
        self.take();
    }

    /// How the other side ended what it had to say; `None` while it may go on.
    #[track_caller]
    pub fn end(&mut self) -> Option<PeerEnd> {
        self.sync();
        self.end
    }

    // -- what a peer can do --

    /// Sends bytes. They come to the protocol in one piece, however many they are: as exactly one `data_received`, unless it
    /// has paused reading; then they wait with what else waits. (Twisted: a call of `dataReceived`.)
    ///
    /// Without bytes nothing happens, as on a network. After [`finish`](Peer::finish), or when the connection
    /// is over, they go nowhere.
    #[track_caller]
    pub fn feed(&mut self, data: &[u8]) {
        if self.outgoing == Outgoing::Open {
            self.waiting.extend(data);
        }
        self.sync();
    }

    /// Sends FIN: no more comes, reading goes on.
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

    /// Closes both ways, as a process that ends does: sends FIN, and what the protocol writes from now on is answered
    /// with a reset.
    #[track_caller]
    pub fn close(&mut self) {
        self.sync();
        self.socket = None;
        self.sync();
    }

    /// Takes nothing any more: what is written from now on stays with the protocol's transport, unsent, and counts for its
    /// water marks and limits.
    #[track_caller]
    pub fn stop_reading(&mut self) {
        self.sync();
        if let Some(socket) = &self.socket {
            socket.set_receive_room(0);
        }
    }

    /// Takes what comes again.
    #[track_caller]
    pub fn resume_reading(&mut self) {
        if let Some(socket) = &self.socket {
            socket.set_receive_room(ROOM);
        }
        self.sync();
    }

    // -- for those who carry --

    /// Limits what may be on its way to the protocol, unread.
    pub(super) fn set_send_room(&self, bytes: usize) {
        if let Some(socket) = &self.socket {
            socket.set_send_room(bytes);
        }
    }

    /// Whether the other side leaves what comes unread.
    pub(super) fn is_stuck(&self) -> bool {
        !self.waiting.is_empty() && self.socket.is_some()
    }

    /// Lets everything happen, sends what waits, and reads what came. What comes of that, and so on, but not
    /// for ever: a producer may have no end.
    #[track_caller]
    pub(super) fn sync(&mut self) {
        self.stage.settle();
        // First, because errors are told once.
        self.read();
        self.send();
        self.stage.settle();
        self.read();
        if self.end == Some(PeerEnd::Finished) && self.left_alone.as_ref().is_some_and(|gone| gone.get()) {
            self.socket = None;
            self.stage.settle();
        }
    }

    /// Sends what waits, as much as is taken.
    #[track_caller]
    fn send(&mut self) {
        while !self.waiting.is_empty() {
            let Some(socket) = &mut self.socket else {
                self.waiting.clear();
                return;
            };
            let data = self.waiting.make_contiguous();
            let mut stage = self.stage.borrow();
            if !stage.has_stopped(self.faces) {
                stage.reactor(self.faces).read_at_once(data.len());
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
            self.stage.settle();
        }
        if self.outgoing == Outgoing::Finishing {
            self.outgoing = Outgoing::Finished;
            if let Some(socket) = &self.socket {
                // When the connection is over, so is this.
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
                // No more was received than there is room for.
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

/// More than a protocol writes at once; one that writes without end waits, until it is looked at, when it is full.
const ROOM: usize = 16 * 1024 * 1024;
