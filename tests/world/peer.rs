//! The other side of a connection as a plain socket, which does what no protocol would.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use twistor::{Address, ConnectionId, Factory, ListenTcp, Protocol, Reactor};

use super::World;

/// A socket that belongs to no reactor and never blocks.
pub struct Peer {
    pub socket: TcpStream,
}

impl Peer {
    pub fn connect(address: &Address) -> Peer {
        Peer::connect_with(address, None)
    }

    /// One that takes little when it does not read.
    pub fn connect_narrow(address: &Address) -> Peer {
        Peer::connect_with(address, Some(NARROW))
    }

    fn connect_with(address: &Address, receive_buffer: Option<usize>) -> Peer {
        let Address::Tcp(address) = address else { panic!("{address} is no address of TCP") };
        let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None).unwrap();
        if let Some(size) = receive_buffer {
            socket.set_recv_buffer_size(size).unwrap();
        }
        // On the loopback this is done by the kernel alone.
        socket.connect(&(*address).into()).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.set_tcp_nodelay(true).unwrap();
        Peer { socket: socket.into() }
    }

    /// Sends what fits the system's buffers for sure.
    pub fn send(&mut self, data: &[u8]) {
        self.socket.write_all(data).unwrap();
    }

    /// Sends as much as the system takes now.
    pub fn fill(&mut self) -> usize {
        let piece = [b'f'; 64 * 1024];
        let mut sent = 0;
        while let Ok(count) = self.socket.write(&piece) {
            sent += count;
        }
        sent
    }

    /// Sends FIN.
    pub fn finish(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Sends RST.
    pub fn reset(self) {
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// What has come up to now.
    pub fn read_now(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = self.socket.read_to_end(&mut all);
        all
    }

    /// Up to `most` of what has come up to now.
    pub fn read_some(&mut self, most: usize) -> Vec<u8> {
        let mut some = vec![0; most];
        let count = self.socket.read(&mut some).unwrap_or(0);
        some.truncate(count);
        some
    }

    /// All that comes, while the reactor turns, and the error if it is not FIN that ends it.
    pub fn read_to_end(&mut self, reactor: &mut Reactor) -> (Vec<u8>, Option<ErrorKind>) {
        let mut all = Vec::new();
        for _ in 0..20_000 {
            match self.socket.read_to_end(&mut all) {
                Ok(_) => return (all, None),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    reactor.turn(Some(Duration::from_millis(1))).unwrap();
                }
                Err(error) => return (all, Some(error.kind())),
            }
        }
        panic!("no end came; {} bytes did", all.len());
    }
}

/// The reactor accepts one connection for `protocol`; the other side is a plain socket.
pub fn connection(world: &World, reactor: &mut Reactor, protocol: impl Protocol) -> (ConnectionId, Peer) {
    accepted(world, reactor, protocol, ListenTcp::new(world.anywhere()), Peer::connect)
}

/// As `connection`, with little room for bytes on their way to the peer.
pub fn narrow_connection(
    world: &World,
    reactor: &mut Reactor,
    protocol: impl Protocol,
) -> (ConnectionId, Peer) {
    let narrow = ListenTcp { send_buffer: Some(NARROW), ..ListenTcp::new(world.anywhere()) };
    accepted(world, reactor, protocol, narrow, Peer::connect_narrow)
}

fn accepted(
    world: &World,
    reactor: &mut Reactor,
    protocol: impl Protocol,
    listen: ListenTcp,
    connect: impl FnOnce(&Address) -> Peer,
) -> (ConnectionId, Peer) {
    let id = Rc::new(Cell::new(None));
    let factory = Noting { protocol: Some(Box::new(protocol)), id: Rc::clone(&id) };
    let listener = reactor.listen_tcp(listen, factory).unwrap();
    let peer = connect(listener.address());
    world.run_until(reactor, "accepted", |_| id.get().is_some());
    reactor.stop_listening(&listener).unwrap();
    (id.get().unwrap(), peer)
}

/// Knows its connection's name before the protocol does anything.
struct Noting {
    protocol: Option<Box<dyn Protocol>>,
    id: Rc<Cell<Option<ConnectionId>>>,
}

impl Factory for Noting {
    fn build_protocol(&mut self, reactor: &mut Reactor, peer: &Address) -> Option<Box<dyn Protocol>> {
        let is_new = |reactor: &mut Reactor, id| {
            reactor.transport(id).is_some_and(|transport| transport.peer() == peer)
        };
        self.id.set(reactor.connections().into_iter().find(|id| is_new(reactor, *id)));
        self.protocol.take()
    }
}

/// A few turns that wait for nothing: what could happen has happened after them.
pub fn turns(reactor: &mut Reactor) {
    for _ in 0..5 {
        assert!(reactor.turn(Some(Duration::ZERO)).unwrap());
    }
}

/// The smallest buffers that Linux grants are about this large.
const NARROW: usize = 4096;
