//! Queries by TCP: each message with its length before it, several on one connection. (RFC 7766.)

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::dns::DnsError;
use crate::dns::engine::flight::{FlightId, Stage};
use crate::dns::engine::{Engine, SendError};
use crate::{
    BuildContext, ClientFactory, ConnectTcp, ConnectionId, Connector, ConnectorId, DelayedCall, Error,
    Factory, Protocol, Reactor, Reason, Transport,
};

/// A connection to a server, by its place and its serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamId {
    place: usize,
    serial: u64,
}

/// A connection to a server, with the queries on it.
pub(super) struct Stream {
    serial: u64,
    home: u16,
    pub(super) server: usize,
    connector: Option<ConnectorId>,
    connection: Option<ConnectionId>,
    /// Queries that wait for the connection.
    unsent: Vec<u8>,
    /// Unanswered queries by their ids.
    pending: Vec<(u16, FlightId)>,
    /// Number of responses.
    answered: u64,
    /// Closes the connection when it was idle for some time.
    idle: Option<DelayedCall>,
}

/// Removes the entry of a connection when its reactor ends without a callback.
struct StreamGuard {
    engine: Rc<Engine>,
    id: StreamId,
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        // The entry is gone already if the state is in use.
        if let Ok(mut state) = self.engine.state.try_borrow_mut()
            && state.stream_mut(self.id).is_some()
        {
            state.streams.remove(self.id.place);
        }
    }
}

struct StreamFactory(Rc<StreamGuard>);

impl Factory for StreamFactory {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        Some(Box::new(StreamProtocol { guard: Rc::clone(&self.0), received: Vec::new() }))
    }
}

impl ClientFactory for StreamFactory {
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        self.0.engine.stream_lost(connector.reactor(), self.0.id, reason);
    }

    /// The protocol has reported it.
    fn client_connection_lost(&mut self, _: &mut Connector<'_>, _: &Reason) {}
}

struct StreamProtocol {
    guard: Rc<StreamGuard>,
    /// The beginning of a message: less than 64 KiB and its length.
    received: Vec<u8>,
}

impl Protocol for StreamProtocol {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        let unsent = match self.guard.engine.state.borrow_mut().stream_mut(self.guard.id) {
            Some(stream) => {
                stream.connection = Some(transport.id());
                std::mem::take(&mut stream.unsent)
            }
            None => return transport.abort_connection(),
        };
        transport.write(unsent);
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.received.extend_from_slice(data);
        let received = std::mem::take(&mut self.received);
        let mut rest = received.as_slice();
        while let Some(([high, low], after)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let Some((message, after)) = after.split_at_checked(length) else { break };
            rest = after;
            self.guard.engine.stream_received(transport.reactor(), self.guard.id, message);
        }
        self.received = match rest.len() == received.len() {
            true => received,
            false => rest.to_vec(),
        };
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        self.guard.engine.stream_lost(transport.reactor(), self.guard.id, reason);
    }
}

impl super::State {
    fn stream_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.streams.get_mut(id.place).filter(|stream| stream.serial == id.serial)
    }

    /// Finds a connection with room for another query.
    fn stream_to(&mut self, home: u16, server: usize) -> Option<usize> {
        let usable = |stream: &Stream| {
            (stream.home, stream.server) == (home, server) && stream.pending.len() < MAX_PER_STREAM
        };
        self.streams.iter().find(|(_, stream)| usable(stream)).map(|(place, _)| place)
    }
}

impl Engine {
    /// Sends a query on a connection to the server, which is opened if there is none. Returns the
    /// place of the connection and the id of the query.
    pub(super) fn send_by_tcp(
        self: &Rc<Engine>,
        reactor: &mut Reactor,
        flight: FlightId,
        (home, server, address): (u16, usize, SocketAddr),
        query: &mut [u8],
    ) -> Result<(usize, u16), SendError> {
        let known = self.state.borrow_mut().stream_to(home, server);
        let place = match known {
            Some(place) => place,
            None => self.open_stream(reactor, home, server, address)?,
        };
        let mut id = reactor.random() as u16;
        let mut state = self.state.borrow_mut();
        let Some(stream) = state.streams.get_mut(place) else { return Err(SendError::Stopping) };
        while stream.pending.iter().any(|(other, _)| *other == id) {
            id = id.wrapping_add(1);
        }
        stream.pending.push((id, flight));
        if let Some(place) = query.first_chunk_mut::<2>() {
            *place = id.to_be_bytes();
        }
        let length = (query.len() as u16).to_be_bytes();
        let idle = stream.idle.take();
        match stream.connection {
            Some(connection) => {
                drop(state);
                if let Some(mut transport) = reactor.transport(connection) {
                    transport.write_sequence(&[&length, query]);
                }
            }
            None => {
                stream.unsent.extend_from_slice(&length);
                stream.unsent.extend_from_slice(query);
                drop(state);
            }
        }
        if let Some(idle) = idle {
            // It may have run in this turn.
            let _ = idle.cancel(reactor);
        }
        Ok((place, id))
    }

    fn open_stream(
        self: &Rc<Engine>,
        reactor: &mut Reactor,
        home: u16,
        server: usize,
        address: SocketAddr,
    ) -> Result<usize, SendError> {
        let id = {
            let mut state = self.state.borrow_mut();
            state.serial += 1;
            let serial = state.serial;
            let stream = Stream {
                serial,
                home,
                server,
                connector: None,
                connection: None,
                unsent: Vec::new(),
                pending: Vec::new(),
                answered: 0,
                idle: None,
            };
            StreamId { place: state.streams.insert(stream), serial }
        };
        let guard = Rc::new(StreamGuard { engine: Rc::clone(self), id });
        let options = ConnectTcp { timeout: self.config().timeout, ..ConnectTcp::from(address) };
        match reactor.connect_tcp(options, StreamFactory(guard)) {
            Ok(connector) => {
                if let Some(stream) = self.state.borrow_mut().stream_mut(id) {
                    stream.connector = Some(connector);
                }
                Ok(id.place)
            }
            // The guard removes the entry.
            Err(Error::Stopping | Error::ReactorFinished) => Err(SendError::Stopping),
            Err(error) => {
                let why = error.to_string();
                Err(SendError::Server(DnsError::Unreachable { server: address, why }))
            }
        }
    }

    fn stream_received(self: &Rc<Engine>, reactor: &mut Reactor, id: StreamId, message: &[u8]) {
        let flight = {
            let mut state = self.state.borrow_mut();
            let Some(stream) = state.stream_mut(id) else { return };
            stream.answered += 1;
            let query = match message.first_chunk::<2>() {
                Some(bytes) => u16::from_be_bytes(*bytes),
                None => return,
            };
            // A response to a query that has timed out is ignored.
            match stream.pending.iter().find(|(pending, _)| *pending == query) {
                Some((_, flight)) => *flight,
                None => return,
            }
        };
        self.message_received(reactor, flight, id.place, message);
    }

    /// Handles the end of a connection, or that none was made. Its queries are asked again: at the
    /// same server, if it only closed a connection that it had served.
    fn stream_lost(self: &Rc<Engine>, reactor: &mut Reactor, id: StreamId, reason: &Reason) {
        let stream = {
            let mut state = self.state.borrow_mut();
            match state.stream_mut(id) {
                Some(_) => state.streams.remove(id.place),
                None => return,
            }
        };
        if let Some(idle) = stream.idle {
            let _ = idle.cancel(reactor);
        }
        for (_, flight) in stream.pending {
            self.query_lost(reactor, flight, id.place, stream.answered > 0, reason);
        }
    }

    /// Removes a query from its connection. A connection without queries is closed, at once or
    /// after some time.
    pub(super) fn leave_stream(self: &Rc<Engine>, reactor: &mut Reactor, place: usize, flight: FlightId) {
        let mut state = self.state.borrow_mut();
        let Some(stream) = state.streams.get_mut(place) else { return };
        let before = stream.pending.len();
        stream.pending.retain(|(_, pending)| *pending != flight);
        if stream.pending.len() == before || !stream.pending.is_empty() {
            return;
        }
        let id = StreamId { place, serial: stream.serial };
        let (server, answered, connection) = (stream.server, stream.answered, stream.connection);
        let kept = state.servers.get(server).is_some_and(|server| server.config.transport != super::UDP)
            || self.config().tcp_only;
        drop(state);
        if kept && answered > 0 && connection.is_some() {
            let engine = Rc::clone(self);
            let idle = reactor.call_later(IDLE_TIMEOUT, move |reactor| engine.close_stream(reactor, id));
            if let Some(stream) = self.state.borrow_mut().stream_mut(id) {
                stream.idle = Some(idle);
            }
            return;
        }
        self.close_stream(reactor, id);
    }

    /// Closes a connection without queries, and forgets it.
    fn close_stream(&self, reactor: &mut Reactor, id: StreamId) {
        let stream = {
            let mut state = self.state.borrow_mut();
            match state.stream_mut(id) {
                Some(_) => state.streams.remove(id.place),
                None => return,
            }
        };
        match stream.connection.and_then(|connection| reactor.transport(connection)) {
            // A server that has answered is alive. Otherwise its end of the connection may not be.
            Some(mut transport) if stream.answered > 0 => transport.lose_connection(),
            Some(mut transport) => transport.abort_connection(),
            None => {
                if let Some(mut connector) = stream.connector.and_then(|id| reactor.connector(id)) {
                    connector.disconnect();
                }
            }
        }
    }

    /// Handles that the connection of a query was lost.
    fn query_lost(
        self: &Rc<Engine>,
        reactor: &mut Reactor,
        id: FlightId,
        place: usize,
        served: bool,
        reason: &Reason,
    ) {
        let waits = match self.state.borrow_mut().flight_mut(id) {
            Some(flight) => matches!(&flight.stage, Stage::Stream { stream, .. } if *stream == place),
            None => false,
        };
        if waits {
            self.attempt_lost(reactor, id, served, reason.to_string());
        }
    }
}

/// Limit on the queries of one connection.
const MAX_PER_STREAM: usize = 100;

/// Time after which an idle connection is closed, if the server is asked by TCP always. (RFC 7766
/// section 6.2.3: some seconds.)
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
