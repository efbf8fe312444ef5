//! A session of rustls without the layer, as a peer that does what no layer does.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;

use twistor::tls::rustls::{
    self, ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
};
use twistor::tls::{Identity, PrivateKeyDer};
use twistor::{BuildContext, ClientFactory, Connector, Factory, Protocol, Reason, Transport};

use crate::certificates::{Authority, NAME};

/// What a bare session has seen. Clones share it.
#[derive(Clone, Default)]
pub struct BareSeen {
    /// The first error of rustls.
    pub error: Rc<RefCell<Option<rustls::Error>>>,
    pub received: Rc<RefCell<Vec<u8>>>,
    /// Whether the peer has sent `close_notify`.
    pub closed: Rc<RefCell<bool>>,
    pub handshaken: Rc<RefCell<bool>>,
    pub lost: Rc<RefCell<Option<Reason>>>,
}

type Act = Box<dyn FnMut(&str, &mut Connection, &mut Transport<'_>)>;

/// A protocol without layers, and the factory of its only connection, that runs a session of rustls.
pub struct Bare {
    session: Option<Connection>,
    seen: BareSeen,
    /// Sends at most this many flights, then stalls.
    pub max_flights: usize,
    act: Option<Act>,
}

pub struct Running {
    session: Connection,
    seen: BareSeen,
    flights: usize,
    act: Act,
}

impl Bare {
    fn new(session: Connection) -> (Bare, BareSeen) {
        let seen = BareSeen::default();
        let act: Act = Box::new(|_, _, _| {});
        (Bare { session: Some(session), seen: seen.clone(), max_flights: usize::MAX, act: Some(act) }, seen)
    }

    pub fn server(identity: &Identity, key: PrivateKeyDer<'static>) -> (Bare, BareSeen) {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain().to_vec(), key)
            .unwrap();
        Bare::server_with(config)
    }

    pub fn server_with(config: ServerConfig) -> (Bare, BareSeen) {
        Bare::new(Connection::Server(ServerConnection::new(Arc::new(config)).unwrap()))
    }

    pub fn client(authority: &Authority) -> (Bare, BareSeen) {
        Bare::client_of(authority, rustls::ALL_VERSIONS)
    }

    pub fn client_of(
        authority: &Authority,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> (Bare, BareSeen) {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der()).unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Bare::client_with(config)
    }

    pub fn client_with(config: ClientConfig) -> (Bare, BareSeen) {
        let name = NAME.try_into().unwrap();
        Bare::new(Connection::Client(ClientConnection::new(Arc::new(config), name).unwrap()))
    }

    /// Calls `act` with `handshaken` once, `data` after data, `closed` after `close_notify`, and
    /// `finished` after FIN. What it has the session write is sent.
    pub fn acting(mut self, act: impl FnMut(&str, &mut Connection, &mut Transport<'_>) + 'static) -> Bare {
        self.act = Some(Box::new(act));
        self
    }

    pub fn stalling_after(mut self, flights: usize) -> Bare {
        self.max_flights = flights;
        self
    }
}

pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Sends what the session has to say.
pub fn send(session: &mut Connection, transport: &mut Transport<'_>) {
    let mut out = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut out).unwrap();
    }
    transport.write(&out);
}

pub fn say(session: &mut Connection, text: &[u8]) {
    session.writer().write_all(text).unwrap();
}

impl Running {
    fn happened(&mut self, what: &str, transport: &mut Transport<'_>) {
        (self.act)(what, &mut self.session, transport);
        self.flush(transport);
    }

    fn flush(&mut self, transport: &mut Transport<'_>) {
        if self.session.wants_write() && self.flights > 0 {
            self.flights -= 1;
            send(&mut self.session, transport);
        }
    }
}

impl Protocol for Running {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.flush(transport);
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, mut data: &[u8]) {
        while !data.is_empty() && !*self.seen.closed.borrow() {
            self.session.read_tls(&mut data).unwrap();
            let state = match self.session.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    self.seen.error.borrow_mut().get_or_insert(error);
                    return self.flush(transport);
                }
            };
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            self.session.reader().read_exact(&mut plain).unwrap();
            self.seen.received.borrow_mut().extend_from_slice(&plain);
            self.flush(transport);
            if !self.session.is_handshaking() && !self.seen.handshaken.replace(true) {
                self.happened("handshaken", transport);
            }
            if !plain.is_empty() {
                self.happened("data", transport);
            }
            if state.peer_has_closed() && !self.seen.closed.replace(true) {
                self.happened("closed", transport);
            }
        }
    }

    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.happened("finished", transport);
        transport.lose_connection();
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        *self.seen.lost.borrow_mut() = Some(reason.clone());
    }
}

impl Factory for Bare {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Running {
            session: self.session.take()?,
            seen: self.seen.clone(),
            flights: self.max_flights,
            act: self.act.take()?,
        }))
    }
}

impl ClientFactory for Bare {
    fn client_connection_lost(&mut self, _: &mut Connector<'_>, _: &Reason) {}
}
