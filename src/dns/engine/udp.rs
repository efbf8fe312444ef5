//! Queries by UDP: each on a socket of its own, from a random port.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use crate::dns::DnsError;
use crate::dns::engine::flight::FlightId;
use crate::dns::engine::{Engine, SendError};
use crate::{
    Address, DatagramId, DatagramProtocol, DatagramTransport, Error, ListenUdp, Reactor, Reason, SystemError,
};

/// The socket of one query.
struct UdpQuery {
    engine: Rc<Engine>,
    flight: FlightId,
}

impl DatagramProtocol for UdpQuery {
    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], _: &Address) {
        let socket = transport.id();
        self.engine.datagram_received(transport.reactor(), self.flight, socket, data, false);
    }

    fn datagram_truncated(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], _: &Address) {
        let socket = transport.id();
        self.engine.datagram_received(transport.reactor(), self.flight, socket, data, true);
    }

    fn connection_refused(&mut self, transport: &mut DatagramTransport<'_>) {
        self.failed(transport, "the port is closed".to_owned());
    }

    fn error_received(&mut self, transport: &mut DatagramTransport<'_>, error: &SystemError) {
        self.failed(transport, error.to_string());
    }

    fn send_failed(
        &mut self,
        transport: &mut DatagramTransport<'_>,
        _: Option<&Address>,
        error: &SystemError,
    ) {
        self.failed(transport, error.to_string());
    }

    fn stop_protocol(&mut self, transport: &mut DatagramTransport<'_>, reason: &Reason) {
        if *reason != Reason::Done {
            self.failed(transport, reason.to_string());
        }
    }
}

impl UdpQuery {
    fn failed(&self, transport: &mut DatagramTransport<'_>, why: String) {
        let socket = transport.id();
        self.engine.socket_failed(transport.reactor(), self.flight, socket, why);
    }
}

impl Engine {
    /// Opens a socket from a random port and sends a query.
    pub(super) fn send_by_udp(
        self: &Rc<Engine>,
        reactor: &mut Reactor,
        flight: FlightId,
        server: SocketAddr,
        query: &[u8],
    ) -> Result<DatagramId, SendError> {
        let socket = self.open_socket(reactor, flight, server)?;
        let Some(mut transport) = reactor.datagram_transport(socket) else { return Err(SendError::Stopping) };
        match transport.write(query) {
            Ok(()) => Ok(socket),
            Err(error) => {
                transport.stop_listening();
                Err(SendError::Server(DnsError::Unreachable { server, why: error.to_string() }))
            }
        }
    }

    fn open_socket(
        self: &Rc<Engine>,
        reactor: &mut Reactor,
        flight: FlightId,
        server: SocketAddr,
    ) -> Result<DatagramId, SendError> {
        let mut tries = 0;
        loop {
            let port = match tries {
                // Most ports are in use: the system has to find one.
                MAX_PORT_TRIES => 0,
                _ => random_port(reactor.random()),
            };
            tries += 1;
            if port == server.port() {
                // A socket that is connected to its own address would receive its own query.
                continue;
            }
            let address = match server {
                SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
                SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
            };
            let options = ListenUdp { max_size: MAX_DATAGRAM, ..ListenUdp::new(address) };
            let protocol = Box::new(UdpQuery { engine: Rc::clone(self), flight });
            let error = match reactor.open_udp(&options, Some(server), protocol) {
                Ok(socket) => return Ok(socket),
                Err(error) => error,
            };
            match error {
                Error::CannotListen { call: "bind", source, .. }
                    if tries <= MAX_PORT_TRIES && is_about_the_port(&source) => {}
                Error::CannotListen { call: "connect", source, .. } => {
                    let why = format!("connect: {source}");
                    return Err(SendError::Server(DnsError::Unreachable { server, why }));
                }
                Error::CannotListen { call, source, .. } => {
                    return Err(SendError::Local(DnsError::NoSocket(format!("{call}: {source}"))));
                }
                Error::Stopping | Error::ReactorFinished => return Err(SendError::Stopping),
                error => {
                    let why = error.to_string();
                    return Err(SendError::Server(DnsError::Unreachable { server, why }));
                }
            }
        }
    }
}

/// Whether another port may be bound.
fn is_about_the_port(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

/// A port from 1024 on. (RFC 5452 section 9.2.) The system's own choice is random on Linux, but
/// from a smaller range, and in order on other systems.
fn random_port(random: u64) -> u16 {
    let ports = u64::from(u16::MAX - FIRST_PORT) + 1;
    FIRST_PORT + (random % ports) as u16
}

const FIRST_PORT: u16 = 1024;

/// Number of random ports that are tried before the system chooses one.
const MAX_PORT_TRIES: u32 = 16;

/// Limit on the size of a received datagram. We ask for 1232 bytes, and some servers send more.
const MAX_DATAGRAM: usize = 4096;
