//! Peers as plain sockets, whose behaviour no protocol can produce.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use twistor::{Address, BuildContext, ConnectionId, Factory, ListenTcp, Protocol, Reactor};

use super::World;
use super::back_end::{ListeningSocket, Socket};

/// A non-blocking socket without a reactor, connected by a world. Dropping it closes it.
pub struct Peer {
    socket: Socket,
}

impl Peer {
    pub(super) fn new(socket: Socket) -> Peer {
        Peer { socket }
    }

    /// Returns the local address, which is the reactor's peer address.
    pub fn local_address(&self) -> Address {
        self.socket.local_address().unwrap().into()
    }

    /// Returns the address of the reactor's side.
    pub fn peer_address(&self) -> Address {
        self.socket.peer_address().unwrap().into()
    }

    /// Sends data that is known to fit the system's buffers.
    pub fn send(&mut self, data: &[u8]) {
        let mut sent = 0;
        while sent < data.len() {
            sent += again(|| self.socket.send(&data[sent..])).unwrap();
        }
    }

    /// Sends until the system's buffers are full, and returns the number of bytes.
    pub fn fill(&mut self) -> usize {
        let piece = [b'f'; PIECE];
        let mut sent = 0;
        while let Ok(count) = again(|| self.socket.send(&piece)) {
            sent += count;
        }
        sent
    }

    /// Sends FIN.
    pub fn finish(&mut self) {
        self.socket.shutdown_write().unwrap();
    }

    /// Sends RST.
    pub fn reset(self) {
        self.socket.reset();
    }

    /// Returns all bytes that have arrived.
    pub fn read_now(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = self.read_on(&mut all);
        all
    }

    /// Returns at most `most` bytes that have arrived.
    pub fn read_some(&mut self, most: usize) -> Vec<u8> {
        let mut some = vec![0; most];
        let count = again(|| self.socket.recv(&mut some)).unwrap_or(0);
        some.truncate(count);
        some
    }

    /// Returns whether a FIN has arrived, with no unread bytes before it.
    pub fn at_end(&mut self) -> bool {
        matches!(again(|| self.socket.recv(&mut [0])), Ok(0))
    }

    /// Reads to the end while the reactor turns. Returns the bytes, and the error if the end is not
    /// a FIN.
    pub fn read_to_end(&mut self, reactor: &mut Reactor) -> (Vec<u8>, Option<ErrorKind>) {
        let mut all = Vec::new();
        for _ in 0..20_000 {
            match self.read_on(&mut all) {
                Ok(()) => return (all, None),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    reactor.iterate(Some(Duration::from_millis(1))).unwrap();
                }
                Err(error) => return (all, Some(error.kind())),
            }
        }
        panic!("no end came; {} bytes did", all.len());
    }

    /// Reads until FIN or an error.
    fn read_on(&mut self, all: &mut Vec<u8>) -> io::Result<()> {
        let mut piece = [0; PIECE];
        loop {
            match again(|| self.socket.recv(&mut piece))? {
                0 => return Ok(()),
                count => all.extend_from_slice(&piece[..count]),
            }
        }
    }
}

/// A peer that reads on a timer, and closes at the end.
pub(super) struct Reader {
    peer: Option<Peer>,
    read: Vec<u8>,
}

impl Reader {
    pub(super) fn new(peer: Peer) -> Reader {
        Reader { peer: Some(peer), read: Vec::new() }
    }

    pub(super) fn read(this: Rc<RefCell<Reader>>, reactor: &mut Reactor) {
        let Reader { peer, read } = &mut *this.borrow_mut();
        let ended = peer.as_mut().map(|peer| peer.read_on(read));
        if matches!(ended, Some(Err(error)) if error.kind() == ErrorKind::WouldBlock) {
            let this = Rc::clone(&this);
            reactor.call_later(Duration::from_millis(1), |reactor| Reader::read(this, reactor));
        } else {
            *peer = None;
        }
    }

    /// Reads to the end, and returns the total number of bytes.
    pub(super) fn read_the_rest(&mut self, reactor: &mut Reactor) -> usize {
        let rest = self.peer.take().map_or(0, |mut peer| peer.read_to_end(reactor).0.len());
        self.read.len() + rest
    }
}

/// Repeats a call while it fails with EINTR.
fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A listener without a reactor that never accepts: connections wait in its backlog. Dropping it
/// closes it.
pub struct RawListener {
    socket: ListeningSocket,
}

impl RawListener {
    pub(super) fn new(socket: ListeningSocket) -> RawListener {
        RawListener { socket }
    }

    pub fn address(&self) -> SocketAddr {
        self.socket.local_address().unwrap()
    }
}

/// A port with a full backlog. Further connects get no answer, as from a filtered host.
pub struct Filtered {
    pub address: SocketAddr,
    _listener: RawListener,
    _full: Vec<Peer>,
}

impl Filtered {
    pub(super) fn new(world: &World) -> Filtered {
        let listener = world.listen_with_backlog(1);
        let address = listener.address();
        // Linux queues one connection more than the backlog.
        let full = (0..2).map(|_| world.connect(&address.into())).collect();
        Filtered { address, _listener: listener, _full: full }
    }
}

/// Makes a connection: the reactor accepts it for `protocol`, and the other side is a plain socket.
pub fn connection(world: &World, reactor: &mut Reactor, protocol: impl Protocol) -> (ConnectionId, Peer) {
    accepted(world, reactor, protocol, ListenTcp::new(world.anywhere()), World::connect)
}

/// Like `connection`, with small buffers towards the peer.
pub fn narrow_connection(
    world: &World,
    reactor: &mut Reactor,
    protocol: impl Protocol,
) -> (ConnectionId, Peer) {
    let narrow = ListenTcp { send_buffer: Some(NARROW), ..ListenTcp::new(world.anywhere()) };
    accepted(world, reactor, protocol, narrow, World::connect_narrow)
}

fn accepted(
    world: &World,
    reactor: &mut Reactor,
    protocol: impl Protocol,
    listen: ListenTcp,
    connect: impl FnOnce(&World, &Address) -> Peer,
) -> (ConnectionId, Peer) {
    let id = Rc::new(Cell::new(None));
    let factory = Noting { protocol: Some(Box::new(protocol)), id: Rc::clone(&id) };
    let listener = reactor.listen_tcp(listen, factory).unwrap();
    let peer = connect(world, listener.address());
    world.run_until(reactor, "accepted", |_| id.get().is_some());
    reactor.stop_listening(&listener).unwrap();
    (id.get().unwrap(), peer)
}

/// Notes the connection's id before the protocol's first callback.
struct Noting {
    protocol: Option<Box<dyn Protocol>>,
    id: Rc<Cell<Option<ConnectionId>>>,
}

impl Factory for Noting {
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        self.id.set(Some(context.id()));
        self.protocol.take()
    }
}

/// Runs a few turns without waiting, so that all possible events are handled.
pub fn turns(reactor: &mut Reactor) {
    for _ in 0..5 {
        assert!(reactor.iterate(Some(Duration::ZERO)).unwrap());
    }
}

/// About the smallest buffers that Linux grants, in bytes.
pub(super) const NARROW: usize = 4096;

const PIECE: usize = 64 * 1024;
